"""Weights → modules: all of them from the checkpoint, none by chance."""

from __future__ import annotations

import errno
import json
import socket
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

import harness.checkpoint.loading
from harness.checkpoint.layers import depth, encoder_layers, max_positions
from harness.checkpoint.loading import describe, load_encoder, load_head, load_reader
from harness.checkpoint.resolve import Checkpoint, resolve
from harness.errors import IncompleteError, RefusedError
from harness.inference.stores import Stores
from tests.checkpoints import (
    KINDS,
    LAYERS,
    build,
    build_adapter,
    build_head,
    build_sentence_transformer,
)

TEXTS = ["The ferry leaves at seven.", "Die Fähre fährt um sieben Uhr morgens ab.", "北の島"]
# Positions that RoBERTa-like models leave unused up to their padding index are taken off.
POSITIONS = {kind: 128 for kind in KINDS} | {"t5": 512, "mt5": 512}
EAGER = {"deberta-v2", "mpnet"}


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No address is looked up: libraries swallow the error, so the tries are counted."""
    tried: list[Any] = []

    def refuse(host: Any, *_: Any, **__: Any) -> Any:
        tried.append(host)
        raise OSError("no network in this test")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    yield
    assert tried == []


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("built")


def built(folders: Path, kind: str, *, qa_head: bool = False) -> Checkpoint:
    folder = folders / f"{kind}-{'qa' if qa_head else 'base'}"
    return resolve(str(folder if folder.exists() else build(kind, folder, qa_head=qa_head)))


def encoder(checkpoint: Checkpoint, dtype: str = "float32") -> tuple[Any, Any]:
    return load_encoder(checkpoint, dtype=dtype, device="cpu")


def hidden(model: Any, tokenizer: Any, text: str = TEXTS[1]) -> torch.Tensor:
    inputs = torch.tensor(tokenizer.ids([text]))
    with torch.inference_mode():
        output = model(input_ids=inputs, attention_mask=torch.ones_like(inputs))
    states: torch.Tensor = output.last_hidden_state
    return states


def paired(tokenizer: Any) -> dict[str, torch.Tensor]:
    (encoding,) = tokenizer.encode([TEXTS[:2]])
    ids = torch.tensor([encoding.ids])
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids)}


def edited(folder: Path, change: dict[str, torch.Tensor | None]) -> None:
    """Tensors of the file replaced, added or (None) taken out."""
    tensors = {name: tensor.clone() for name, tensor in load_file(folder).items()}
    tensors.update({name: tensor for name, tensor in change.items() if tensor is not None})
    save_file(
        {name: tensor for name, tensor in tensors.items() if change.get(name, tensor) is not None},
        folder,
        metadata={"format": "pt"},
    )


# --- every architecture -------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_encoder_is_what_transformers_loads(folders: Path, kind: str) -> None:
    import transformers

    checkpoint = built(folders, kind)
    model, tokenizer = encoder(checkpoint)
    if kind in ("t5", "mt5"):
        name = "T5EncoderModel" if kind == "t5" else "MT5EncoderModel"
        plain = getattr(transformers, name).from_pretrained(checkpoint.folder)
    else:
        plain = transformers.AutoModel.from_pretrained(checkpoint.folder)
        plain = plain.get_encoder() if plain.config.is_encoder_decoder else plain
    for text in TEXTS:
        torch.testing.assert_close(
            hidden(model, tokenizer, text), hidden(plain.eval(), tokenizer, text)
        )
    assert not model.training
    assert not any(parameter.requires_grad for parameter in model.parameters())
    assert model.config._attn_implementation == ("eager" if kind in EAGER else "sdpa")


@pytest.mark.parametrize("kind", KINDS)
def test_layers_depth_and_positions(folders: Path, kind: str) -> None:
    checkpoint = built(folders, kind)
    model, tokenizer = encoder(checkpoint)
    layers = encoder_layers(model)
    assert len(layers) == depth(model) == LAYERS
    assert len({type(layer) for layer in layers}) == 1
    assert max_positions(model, tokenizer) == POSITIONS[kind]
    assert describe(checkpoint) == (LAYERS, POSITIONS[kind])
    full = hidden(model, tokenizer)
    del layers[1:]
    assert len(encoder_layers(model)) == 1
    assert depth(model) == LAYERS
    assert not torch.equal(hidden(model, tokenizer), full)


@pytest.mark.parametrize("kind", KINDS)
def test_reader_is_what_transformers_loads(folders: Path, kind: str) -> None:
    from transformers import AutoModelForQuestionAnswering

    checkpoint = built(folders, kind, qa_head=True)
    assert checkpoint.has_qa_head
    reader, tokenizer = load_reader(checkpoint, dtype="float32", device="cpu")
    plain = AutoModelForQuestionAnswering.from_pretrained(checkpoint.folder).eval()
    inputs = paired(tokenizer)
    with torch.inference_mode():
        ours, theirs = reader(**inputs), plain(**inputs)
    torch.testing.assert_close(ours.start_logits, theirs.start_logits)
    torch.testing.assert_close(ours.end_logits, theirs.end_logits)
    assert len(encoder_layers(reader)) == LAYERS
    # The encoder of a checkpoint with a head is loaded from under that head's model.
    assert torch.isfinite(hidden(*encoder(checkpoint))).all()


@pytest.mark.parametrize("kind", ["xlm-roberta", "bert", "mpnet"])
def test_all_positions_can_be_used_and_no_more(folders: Path, kind: str) -> None:
    model, tokenizer = encoder(built(folders, kind))
    usable = max_positions(model, tokenizer)
    assert usable is not None
    ids = torch.full((1, usable), 7)
    model(input_ids=ids, attention_mask=torch.ones_like(ids))
    more = torch.full((1, usable + 1), 7)
    with pytest.raises((IndexError, RuntimeError)):
        model(input_ids=more, attention_mask=torch.ones_like(more))


def test_positions_without_a_bound(folders: Path) -> None:
    model, tokenizer = encoder(built(folders, "mt5"))
    assert max_positions(model, replace(tokenizer, model_max_length=None)) is None


# --- coverage -----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_a_missing_weight_is_refused(tmp_path: Path, kind: str) -> None:
    folder = build(kind, tmp_path / "m")
    checkpoint = resolve(str(folder))
    path = folder / "model.safetensors"
    whole = load_file(path)
    used = [name for name in whole if not name.startswith(("pooler.", "decoder.", "lm_head."))]
    inputs = next(name for name in used if "embed" in name or name.startswith("shared."))
    layer = [name for name in used if f".{LAYERS - 1}." in name]
    for name in (inputs, layer[-1], used[-1]):
        save_file({k: v.clone() for k, v in whole.items() if k != name}, path)
        with pytest.raises(RefusedError, match=r"\d+ of \d+ (encoder )?weights are not in the"):
            encoder(checkpoint)


def test_only_a_pooler_may_be_missing(tmp_path: Path) -> None:
    folder = build("bert", tmp_path / "m")
    expected = hidden(*encoder(resolve(str(folder))))
    pooler = {"pooler.dense.weight": None, "pooler.dense.bias": None}
    edited(folder / "model.safetensors", dict(pooler))
    model, tokenizer = encoder(resolve(str(folder)))
    assert torch.equal(hidden(model, tokenizer), expected)
    assert model.pooler is None


@pytest.mark.parametrize("name", ["qa_outputs.bias", "bert.encoder.layer.1.output.dense.bias"])
def test_a_reader_misses_nothing(tmp_path: Path, name: str) -> None:
    folder = build("bert", tmp_path / "m", qa_head=True)
    checkpoint = resolve(str(folder))
    edited(folder / "model.safetensors", {name: None})
    with pytest.raises(RefusedError, match=f"1 of 55 weights are not in the checkpoint.*{name}"):
        load_reader(checkpoint, dtype="float32", device="cpu")


def test_no_head_no_reader(folders: Path) -> None:
    with pytest.raises(RefusedError, match="cannot answer questions: no QA head"):
        load_reader(built(folders, "bert"), dtype="float32", device="cpu")


def renamed(folder: Path, rename: Any) -> Path:
    path = folder / "model.safetensors"
    save_file({rename(name): tensor.clone() for name, tensor in load_file(path).items()}, path)
    return folder


@pytest.mark.parametrize(
    "rename", [lambda name: f"foo.{name}", lambda name: name.replace("embed", "e_")]
)
def test_under_names_of_others_nothing_matches(tmp_path: Path, rename: Any) -> None:
    folder = renamed(build("bert", tmp_path / "m"), rename)
    with pytest.raises(RefusedError, match="weights are not in the checkpoint"):
        encoder(resolve(str(folder)))


def test_one_foreign_prefix_is_taken_off(tmp_path: Path, folders: Path) -> None:
    expected = hidden(*encoder(built(folders, "bert")))
    folder = renamed(build("bert", tmp_path / "m"), lambda name: f"module.encoder.{name}")
    assert torch.equal(hidden(*encoder(resolve(str(folder)))), expected)


def test_two_encoders_in_one_file_are_refused(tmp_path: Path) -> None:
    folder = build("bert", tmp_path / "m")
    path = folder / "model.safetensors"
    whole = load_file(path)
    both = {f"{side}.{k}": v.clone() for side in ("query", "passage") for k, v in whole.items()}
    save_file(both, path)
    with pytest.raises(RefusedError, match="53 of 53 weights are not in the checkpoint"):
        encoder(resolve(str(folder)))


def test_head_under_a_task_name_is_loaded(tmp_path: Path, folders: Path) -> None:
    plain, tokenizer = load_reader(
        built(folders, "xlm-roberta", qa_head=True), dtype="float32", device="cpu"
    )
    folder = renamed(
        build("xlm-roberta", tmp_path / "m", qa_head=True),
        lambda name: name.replace("qa_outputs.", "task_heads.qa_head.qa_outputs."),
    )
    reader, _ = load_reader(resolve(str(folder)), dtype="float32", device="cpu")
    inputs = paired(tokenizer)
    assert torch.equal(plain(**inputs).start_logits, reader(**inputs).start_logits)


def test_another_shape_is_refused(tmp_path: Path) -> None:
    folder = build("bert", tmp_path / "m")
    name = "encoder.layer.1.intermediate.dense.weight"
    edited(folder / "model.safetensors", {name: torch.zeros(5, 32)})
    with pytest.raises(RefusedError, match=rf"{name} is \[5, 32\], not \[64, 32\]"):
        encoder(resolve(str(folder)))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_weights_that_are_not_finite(tmp_path: Path, value: float, dtype: str) -> None:
    folder = build("bert", tmp_path / "m")
    name = "encoder.layer.1.output.dense.weight"
    weight = load_file(folder / "model.safetensors")[name].clone()
    weight[3, 4] = value
    edited(folder / "model.safetensors", {name: weight})
    with pytest.raises(RefusedError, match=f"NaN or infinity in {name} .1 of 2,048 values"):
        encoder(resolve(str(folder)), dtype)


def test_finite_weights_that_sum_to_infinity_pass(tmp_path: Path) -> None:
    folder = build("bert", tmp_path / "m")
    name = "encoder.layer.1.output.dense.weight"
    edited(folder / "model.safetensors", {name: torch.full((32, 64), 3e38)})
    model, _ = encoder(resolve(str(folder)))
    assert float(model.encoder.layer[1].output.dense.weight[0, 0]) == pytest.approx(3e38)


def test_a_configuration_much_larger_than_the_weights(tmp_path: Path) -> None:
    folder = build("bert", tmp_path / "m")
    config = json.loads((folder / "config.json").read_text())
    config |= {"num_hidden_layers": 200, "hidden_size": 8192, "intermediate_size": 32768}
    (folder / "config.json").write_text(json.dumps(config | {"num_attention_heads": 64}))
    with pytest.raises(RefusedError, match=r"config.json describes [\d,]+ parameters, the weights"):
        encoder(resolve(str(folder)))


def test_files_that_change_after_vetting(tmp_path: Path) -> None:
    folder = build("bert", tmp_path / "m")
    checkpoint = resolve(str(folder))
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(RefusedError, match="truncated"):
        encoder(checkpoint)


# --- what the configuration asks for ------------------------------------------------------------


def changed(folder: Path, change: dict[str, Any]) -> Checkpoint:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | change))
    return resolve(str(folder))


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"model_type": "unheard-of"}, "cannot be loaded: .*unheard-of"),
        ({"hidden_act": "unheard-of"}, "cannot be loaded"),
        ({"num_attention_heads": 5}, "cannot be loaded"),
        ({"hidden_dropout_prob": "much"}, "cannot be loaded"),
    ],
)
def test_a_configuration_that_makes_no_model(
    tmp_path: Path, change: dict[str, Any], word: str
) -> None:
    checkpoint = changed(build("bert", tmp_path / "m"), change)
    with pytest.raises(RefusedError, match=word) as caught:
        encoder(checkpoint)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("key", ["attn_implementation", "_attn_implementation"])
def test_attention_from_elsewhere_is_refused(tmp_path: Path, key: str) -> None:
    folder = build("bert", tmp_path / "m")
    with pytest.raises(RefusedError, match=f"attention from elsewhere .{key} = 'org/kernel'"):
        changed(folder, {key: "org/kernel"})
    model, _ = encoder(changed(folder, {key: "eager"}))
    assert model.config._attn_implementation == "sdpa"


def test_a_stack_that_is_not_plain_is_refused(tmp_path: Path) -> None:
    from transformers import XLMConfig, XLMModel

    folder = build("bert", tmp_path / "m")
    XLMModel(XLMConfig(vocab_size=512, emb_dim=32, n_layers=4, n_heads=4)).save_pretrained(folder)
    with pytest.raises(RefusedError, match="not a plain stack of 4 layers"):
        encoder(resolve(str(folder)))


# --- types, shards, tokenizers, randomness ------------------------------------------------------


@pytest.mark.parametrize("stored", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize("asked", ["float32", "bfloat16"])
def test_type_is_the_one_asked_for(tmp_path: Path, stored: str, asked: str) -> None:
    checkpoint = resolve(str(build("bert", tmp_path / "m", dtype=stored)))
    model, _ = encoder(checkpoint, asked)
    assert {parameter.dtype for parameter in model.parameters()} == {getattr(torch, asked)}


def test_shards_make_the_same_model(tmp_path: Path, folders: Path) -> None:
    folder = build("bert", tmp_path / "m", shards=True)
    assert len(list(folder.glob("model-*.safetensors"))) > 1
    whole, parts = built(folders, "bert"), resolve(str(folder))
    assert parts.parameters == whole.parameters
    assert torch.equal(hidden(*encoder(parts)), hidden(*encoder(whole)))


def test_model_in_a_module_folder(tmp_path: Path) -> None:
    folder = build_sentence_transformer(tmp_path / "m", transformer="0_Transformer", kind="bert")
    model, tokenizer = encoder(resolve(str(folder)))
    assert hidden(model, tokenizer).shape[-1] == 32


def test_tokenizer_of_another_checkpoint(tmp_path: Path) -> None:
    folder = build("bert", tmp_path / "m", vocab_size=100)
    with pytest.raises(RefusedError, match="the model embeds 100"):
        encoder(resolve(str(folder)))


def test_a_broken_tokenizer(tmp_path: Path) -> None:
    folder = build("bert", tmp_path / "m")
    (folder / "tokenizer.json").write_text('{"version": "1.0"}')
    with pytest.raises(RefusedError, match=r"tokenizer\.json cannot be read"):
        encoder(resolve(str(folder)))


def test_loading_leaves_the_random_state_and_the_environment(tmp_path: Path) -> None:
    import os

    checkpoint = resolve(str(build("electra", tmp_path / "m")))
    state, environment = torch.get_rng_state(), dict(os.environ)
    encoder(checkpoint)
    assert torch.equal(torch.get_rng_state(), state)
    assert dict(os.environ) == environment


# --- adapters -----------------------------------------------------------------------------------


def pinned(folder: Path, base: Path, **options: Any) -> Checkpoint:
    pytest.importorskip("peft")
    return resolve(str(build_adapter(folder, str(base), base, **options)))


@pytest.mark.parametrize("kind", ["bert", "xlm-roberta", "qwen3", "mt5"])
def test_adapter_is_merged_as_peft_does(tmp_path: Path, kind: str) -> None:
    base = build(kind, tmp_path / "base")
    checkpoint = pinned(tmp_path / "lora", base)
    from peft import PeftModel
    from transformers import AutoModel

    model, tokenizer = encoder(checkpoint)
    plain = AutoModel.from_pretrained(base)
    theirs = PeftModel.from_pretrained(plain, str(checkpoint.folder)).merge_and_unload().eval()
    theirs = theirs.get_encoder() if kind == "mt5" else theirs
    torch.testing.assert_close(hidden(model, tokenizer), hidden(theirs, tokenizer))
    before = hidden(*encoder(resolve(str(base))))
    assert not torch.allclose(hidden(model, tokenizer), before, atol=1e-3)
    assert len(encoder_layers(model)) == LAYERS
    assert not any("lora" in name for name, _ in model.named_modules())


def test_adapter_trained_inside_a_model_with_a_head(tmp_path: Path) -> None:
    base = build("xlm-roberta", tmp_path / "base", qa_head=True)
    checkpoint = pinned(tmp_path / "lora", base, qa_head=True)
    assert checkpoint.has_qa_head
    model, tokenizer = encoder(checkpoint)
    reader, _ = load_reader(checkpoint, dtype="float32", device="cpu")
    torch.testing.assert_close(hidden(model, tokenizer), hidden(reader.roberta, tokenizer))
    unadapted = hidden(*encoder(resolve(str(base))))
    assert not torch.allclose(hidden(model, tokenizer), unadapted, atol=1e-3)


@pytest.mark.parametrize(
    "pattern", ["roberta.encoder.layer.1.attention.self.query", r"^roberta\..*query", "query"]
)
def test_patterns_of_an_adapter_are_for_the_names_of_its_training(
    tmp_path: Path, pattern: str
) -> None:
    base = build("xlm-roberta", tmp_path / "base", qa_head=True)
    checkpoint = pinned(
        tmp_path / "lora", base, qa_head=True, alpha_pattern={pattern: 64, "classifier": 2}
    )
    from peft import PeftModel
    from transformers import AutoModelForQuestionAnswering

    plain = AutoModelForQuestionAnswering.from_pretrained(base)
    theirs = PeftModel.from_pretrained(plain, str(checkpoint.folder)).merge_and_unload().eval()
    model, tokenizer = encoder(checkpoint)
    torch.testing.assert_close(hidden(model, tokenizer), hidden(theirs.roberta, tokenizer))
    reader, _ = load_reader(checkpoint, dtype="float32", device="cpu")
    torch.testing.assert_close(hidden(reader.roberta, tokenizer), hidden(theirs.roberta, tokenizer))
    # Vectors that were stored before patterns were followed are not taken for those of now.
    assert "adapter" in Stores(checkpoint, "cpu", tmp_path, 0).deciding


def test_adapter_that_lacks_a_tensor_or_fits_nothing(tmp_path: Path) -> None:
    base = build("bert", tmp_path / "base")
    checkpoint = pinned(tmp_path / "lora", base)
    path = checkpoint.folder / "adapter_model.safetensors"
    first = next(iter(load_file(path)))
    edited(path, {first: None})
    with pytest.raises(RefusedError, match="1 of 12 adapter weights are not in adapter_model"):
        encoder(checkpoint)
    config = json.loads((checkpoint.folder / "adapter_config.json").read_text())
    config["target_modules"] = ["unheard_of"]
    (checkpoint.folder / "adapter_config.json").write_text(json.dumps(config))
    with pytest.raises(RefusedError, match=r"cannot be loaded: .*unheard_of"):
        encoder(checkpoint)


def test_adapter_that_changes_more_than_it_says(tmp_path: Path) -> None:
    checkpoint = pinned(tmp_path / "lora", build("bert", tmp_path / "base"))
    path = checkpoint.folder / "adapter_model.safetensors"
    key = "base_model.model.encoder.layer.0.attention.self.key.lora_A.weight"
    edited(path, {key: torch.zeros(4, 32)})
    with pytest.raises(RefusedError, match=r"changes encoder\.layer\.0\.attention\.self\.key"):
        encoder(checkpoint)
    words = "base_model.model.bert.embeddings.word_embeddings.weight"
    edited(path, {key: None, words: torch.zeros(4, 32)})
    with pytest.raises(RefusedError, match=r"changes embeddings\.word_embeddings"):
        encoder(checkpoint)
    edited(path, {words: None, "base_model.model.classifier.weight": torch.zeros(3, 32)})
    encoder(checkpoint)


def test_adapter_without_peft(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    checkpoint = pinned(tmp_path / "lora", build("bert", tmp_path / "base"))
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(IncompleteError, match=r"pip install 'xharness\[peft\]'"):
        encoder(checkpoint)


# --- what is this machine's, not the checkpoint's -----------------------------------------------


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (OSError(errno.EMFILE, "Too many open files"), IncompleteError),
        (PermissionError(errno.EACCES, "Permission denied"), IncompleteError),
        (ImportError("this tokenizer requires the sentencepiece library"), IncompleteError),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), IncompleteError),
        (FileNotFoundError(errno.ENOENT, "No such file or directory"), RefusedError),
        (OSError("config.json is not a valid JSON file"), RefusedError),
        (ValueError("memory_size must be positive"), RefusedError),
    ],
    ids=str,
)
@pytest.mark.parametrize("load", [encoder, describe])
def test_what_the_machine_fails_at_is_no_refusal(
    folders: Path,
    monkeypatch: pytest.MonkeyPatch,
    load: Any,
    error: Exception,
    kind: type[Exception],
) -> None:
    checkpoint = built(folders, "bert")

    def fails(*_: Any) -> Any:
        raise error

    monkeypatch.setattr(harness.checkpoint.loading, "_tokenizer", fails)
    with pytest.raises(kind) as caught:
        load(checkpoint)
    assert str(error) in str(caught.value)
    assert str(caught.value).count(checkpoint.label) == 1


def test_weights_that_cannot_be_read_are_no_refusal(
    folders: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint = built(folders, "bert")

    def fails(*_: Any, **__: Any) -> Any:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(Path, "open", fails)
    with pytest.raises(IncompleteError, match=r"cannot be read: Input/output error"):
        encoder(checkpoint)


@pytest.mark.parametrize("words", ["CUDA out of memory", "CUDA error: an illegal memory access"])
@pytest.mark.parametrize("qa_head", [False, True])
def test_a_device_that_does_not_take_the_model(
    folders: Path, monkeypatch: pytest.MonkeyPatch, words: str, qa_head: bool
) -> None:
    checkpoint = built(folders, "bert", qa_head=qa_head)

    def fails(*_: Any) -> Any:
        raise RuntimeError(f"{words}\nsearch for it")

    monkeypatch.setattr(torch.nn.Module, "to", fails)
    load = load_reader if qa_head else load_encoder
    with pytest.raises(IncompleteError) as caught:
        load(checkpoint, dtype="float32", device="cuda:1")
    line = f"{checkpoint.label} cannot be put on the device cuda:1: {words} search for it"
    assert str(caught.value) == line


def _precision() -> tuple[bool, bool]:
    return torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32


@pytest.fixture
def short_products() -> Iterator[None]:
    """Torch as an environment may leave it: float32 products on a GPU in TF32."""
    before = _precision()
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    yield
    torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = before


@pytest.mark.usefixtures("short_products")
@pytest.mark.parametrize("qa_head", [False, True])
def test_products_on_a_gpu_are_of_float32(
    folders: Path, monkeypatch: pytest.MonkeyPatch, qa_head: bool
) -> None:
    checkpoint = built(folders, "bert", qa_head=qa_head)
    load = load_reader if qa_head else load_encoder
    load(checkpoint, dtype="float32", device="cpu")
    assert _precision() == (True, True)  # the CPU's are not touched
    monkeypatch.setattr(torch.nn.Module, "to", lambda model, device: model)
    load(checkpoint, dtype="float32", device="cuda")
    assert _precision() == (False, False)


@pytest.mark.parametrize("qa_head", [False, True])
def test_products_on_a_cpu_are_of_float32(folders: Path, qa_head: bool) -> None:
    """A program may have asked for less, and processors with AMX then take bfloat16."""
    torch.set_float32_matmul_precision("medium")
    try:
        load = load_reader if qa_head else load_encoder
        load(built(folders, "bert", qa_head=qa_head), dtype="float32", device="cpu")
        assert torch.backends.mkldnn.matmul.fp32_precision == "ieee"  # type: ignore[attr-defined]
    finally:
        torch.set_float32_matmul_precision("highest")


@pytest.mark.parametrize("name", ["BertCrfForTokenClassification", "MyForTokenClassification"])
def test_a_head_of_a_class_of_somebody_else_is_not_read(name: str, tmp_path: Path) -> None:
    """Its last layer has the usual name, and what comes behind or before it is not known."""
    folder = build_head(tmp_path, "tagging", ("NOUN", "VERB"))
    load_head(resolve(str(folder)), "tagging", dtype="float32", device="cpu")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"architectures": [name]}))
    checkpoint = resolve(str(folder))
    with pytest.raises(RefusedError, match=f"its head is of the class {name}, which transformers"):
        load_head(checkpoint, "tagging", dtype="float32", device="cpu")
    load_encoder(checkpoint, dtype="float32", device="cpu")
