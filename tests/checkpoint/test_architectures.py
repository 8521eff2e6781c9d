"""Architectures that users expect: each layer is plain transformers' own, or there is a reason."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers

from harness.checkpoint.loading import describe, load_encoder
from harness.checkpoint.ported import PORTED, check_head, check_keys
from harness.checkpoint.resolve import Checkpoint, resolve
from harness.errors import RefusedError
from harness.inference.backbone import Backbone
from harness.inference.encoder import Encoder
from harness.inference.probe import ONE_LENGTH
from harness.inference.protocol import Encoding
from tests.real_names import ARCHITECTURES, Architecture, build

TEXTS = (
    "a",
    "My sister planted three apple trees.",
    "Die Fähre zur nördlichen Insel fährt um sieben Uhr morgens ab.",
    "Le bac pour l'île du nord part à sept heures",
    "开往北岛的渡轮早上七点出发。",
    "0 1 2 3 4",
    "0 1 2 3 5",
)


def encoder(checkpoint: Checkpoint, cache: Path, layers: list[int], **options: Any) -> Encoder:
    backbone = options.pop("backbone", None) or Backbone(
        checkpoint, dtype="float32", device="cpu", top=max(layers), layers=layers
    )
    depth = describe(checkpoint)[0]
    lengths: Any = {"query": 32, "document": 32}
    prompts: Any = {"query": "", "document": ""}
    encodings = [Encoding("mean", layer, depth, lengths, prompts, "float32") for layer in layers]
    return Encoder(backbone, encodings, cache=cache, **options)


def plain(folder: Path, architecture: Architecture) -> dict[int, Any]:
    """Layer → vectors as transformers gives them of one text at a time, by its own loading."""
    kind = getattr(transformers, architecture.model)
    model = kind.from_pretrained(folder).eval()
    tokenizer: Any = transformers.PreTrainedTokenizerFast.from_pretrained(folder)
    rows = []
    for text in TEXTS:
        ids = torch.tensor([tokenizer(text, truncation=True, max_length=32)["input_ids"]])
        with torch.no_grad():
            states = model(
                input_ids=ids, attention_mask=torch.ones_like(ids), output_hidden_states=True
            ).hidden_states
        rows.append([torch.nn.functional.normalize(s.mean(1), dim=-1)[0].numpy() for s in states])
    return {layer: np.stack(vectors) for layer, vectors in enumerate(zip(*rows, strict=True))}


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_every_layer_is_transformers_own_whatever_the_batches_or_is_refused(
    name: str, tmp_path: Path
) -> None:
    architecture = ARCHITECTURES[name]
    folder = build(architecture, tmp_path / "model")
    reason = architecture.refused.get("all")
    if reason is not None:
        with pytest.raises(RefusedError) as raised:
            encoder(resolve(str(folder)), tmp_path, [1]).encode(TEXTS, role="query")
        assert reason in str(raised.value)
        assert "\n" not in str(raised.value)
        return
    checkpoint = resolve(str(folder))
    expected = plain(folder, architecture)
    depth = describe(checkpoint)[0]
    layers = [layer for layer in range(depth + 1) if layer not in architecture.refused]
    backbone = Backbone(checkpoint, dtype="float32", device="cpu", top=max(layers), layers=layers)
    for tokens in (32, 2_048, 65_536):
        options: Any = {"batch_tokens": tokens, "backbone": backbone}
        made = encoder(checkpoint, tmp_path / f"cache{tokens}", layers, **options)
        for layer in layers:
            found = made.encode(TEXTS, role="query", layer=layer)
            np.testing.assert_allclose(found, expected[layer], atol=1e-5, err_msg=str(layer))
        assert made.remarks == ((ONE_LENGTH,) if architecture.one_length else ())
    for layer, why in architecture.refused.items():
        with pytest.raises(RefusedError, match=why) as raised:
            encoder(checkpoint, tmp_path, [int(layer)]).encode(TEXTS, role="query")
        assert "\n" not in str(raised.value)


# Code of the repository's own


def test_the_code_of_a_ported_repository_is_not_run_and_that_is_said(tmp_path: Path) -> None:
    folder = build(ARCHITECTURES["EuroBERT"], tmp_path / "own")
    for name in ("configuration_eurobert.py", "m.py"):
        (folder / name).write_text("raise SystemExit('this must not run')")
    checkpoint = resolve(str(folder))
    load_encoder(checkpoint, dtype="float32", device="cpu")
    assert len(checkpoint.remarks) == 1
    assert "auto_map) was not run" in checkpoint.remarks[0]
    native = resolve(str(build(ARCHITECTURES["EuroBERT"], tmp_path / "native", auto_map="absent")))
    assert native.remarks == ()


@pytest.mark.parametrize(
    ("name", "stated", "said"),
    [
        ("EuroBERT", {"attention_window": 8}, "'attention_window'"),
        ("EuroBERT", {"partial_rotary_factor": 0.5}, "'partial_rotary_factor'"),
        ("EuroBERT", {"logit_scale": None}, "'logit_scale'"),
        ("EuroBERT", {"is_decoder": True}, "is_decoder = True"),
        ("EuroBERT", {"pruned_heads": {"0": [1]}}, "pruned_heads = {'0': [1]}"),
        # Also without code of its own, for the class would ignore it all the same.
        ("EuroBERT", {"auto_map": "absent", "qk_norm": True}, "'qk_norm'"),
        ("nomic (native configuration)", {"n_head": 2}, "'n_head'"),
        ("nomic (native configuration)", {"moe_every_n_layers": 2}, "'moe_every_n_layers'"),
        ("gte-multilingual (native port)", {"logn_attention_scale": True}, "logn_attention"),
        ("jina-embeddings-v3 (native configuration)", {"lora_adaptations": []}, "'lora_adap"),
        ("gte-Qwen2", {}, "auto_map"),
        ("EuroBERT", {"rope_parameters": {"auto_map": {"a": "b.C"}}}, "auto_map"),
    ],
)
def test_a_key_that_the_port_does_not_read_is_refused_by_name(
    name: str, stated: dict[str, Any], said: str, tmp_path: Path
) -> None:
    folder = build(ARCHITECTURES[name], tmp_path, **stated)
    with pytest.raises(RefusedError) as raised:
        describe(resolve(str(folder)))
    assert said in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("pooling", ["bos", "late", "mean"])
def test_the_head_of_a_port_pools_as_the_repository_says(pooling: str, tmp_path: Path) -> None:
    """transformers has another name for the key, and would take its own default."""
    folder = build(ARCHITECTURES["EuroBERT"], tmp_path, clf_pooling=pooling)
    model, _ = load_encoder(resolve(str(folder)), dtype="float32", device="cpu")
    assert model.config.classifier_pooling == pooling
    check_head({"model_type": "eurobert", "clf_pooling": pooling})


@pytest.mark.parametrize("pooling", ["max", ["bos"], None])
def test_a_pooling_that_the_port_does_not_know_concerns_the_head_alone(
    pooling: Any, tmp_path: Path
) -> None:
    folder = build(ARCHITECTURES["EuroBERT"], tmp_path, clf_pooling=pooling)
    load_encoder(resolve(str(folder)), dtype="float32", device="cpu")
    with pytest.raises(RefusedError, match=r"clf_pooling = .* it can be bos, late, mean"):
        check_head(json.loads((folder / "config.json").read_text()))


@pytest.mark.parametrize("model_type", PORTED)
def test_what_transformers_itself_writes_of_a_port_is_read(model_type: str) -> None:
    kind = transformers.CONFIG_MAPPING[model_type]
    stated = json.loads(kind().to_json_string(use_diff=False))
    known = {*kind.__dataclass_fields__, *kind.attribute_map}
    check_keys(stated, known)
    with pytest.raises(RefusedError, match="'own_key'"):
        check_keys(stated | {"own_key": 1}, known)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"model.layers.1.mlp.up_proj.weight": None}, "layers.1.mlp.up_proj.weight"),
        ({"model.layers.1.mlp.up_proj.lora_A": (4, 4)}, "no place in transformers' class"),
        ({"model.layers.1.self_attn.q_norm.weight": (8,)}, "self_attn.q_norm.weight"),
    ],
)
def test_a_port_takes_every_weight_of_the_encoder_and_lacks_none(
    change: dict[str, tuple[int, ...] | None], said: str, tmp_path: Path
) -> None:
    from safetensors.torch import load_file, save_file

    folder = build(ARCHITECTURES["EuroBERT"], tmp_path)
    tensors = load_file(folder / "model.safetensors")
    for name, shape in change.items():
        if shape is None:
            del tensors[name]
        else:
            tensors[name] = torch.ones(shape)
    save_file(tensors, folder / "model.safetensors")
    with pytest.raises(RefusedError, match=said):
        load_encoder(resolve(str(folder)), dtype="float32", device="cpu")
