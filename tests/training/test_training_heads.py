"""Heads and their losses."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from harness.cards.training import LoraRecipe
from harness.checkpoint.loading import load_encoder
from harness.checkpoint.resolve import resolve
from harness.errors import RefusedError, UsageError
from harness.training.heads import HeadSpec, make_model
from harness.training.lora import adapted, merge, parse_layers
from harness.training.modules import SCALE, DualEncoder, in_batch_loss
from tests.checkpoints import build, build_head


def loss(
    query: list[list[float]],
    text: list[list[float]],
    query_ids: list[int],
    text_ids: list[int],
    scale: float = 1.0,
    symmetric: bool = False,
) -> float:
    return float(
        in_batch_loss(
            torch.tensor(query), torch.tensor(text), torch.tensor(query_ids),
            torch.tensor(text_ids), torch.tensor(scale), symmetric=symmetric,
        )
    )  # fmt: skip


def test_in_batch_loss_by_hand() -> None:
    query, text = [[1.0, 0.0], [0.0, 1.0]], [[1.0, 0.0], [0.6, 0.8]]
    # Scores, at scale 2: [[2, 1.2], [0, 1.6]].
    first = math.log(math.exp(2) + math.exp(1.2)) - 2
    second = math.log(1 + math.exp(1.6)) - 1.6
    assert loss(query, text, [0, 1], [0, 1], 2.0) == pytest.approx((first + second) / 2)
    columns = math.log(math.exp(2) + 1) - 2, math.log(math.exp(1.2) + math.exp(1.6)) - 1.6
    both = ((first + second) / 2 + sum(columns) / 2) / 2
    assert loss(query, text, [0, 1], [0, 1], 2.0, symmetric=True) == pytest.approx(both)


def test_equal_texts_and_queries_are_no_negatives() -> None:
    query, text = [[1.0, 0.0], [0.0, 1.0]], [[1.0, 0.0], [1.0, 0.0]]
    assert loss(query, text, [0, 1], [0, 1]) > 0.6
    # The same text, or the same query: nothing is left to tell apart.
    assert loss(query, text, [0, 1], [5, 5]) == 0.0
    assert loss(query, text, [5, 5], [0, 1], symmetric=True) == 0.0


class Given(torch.nn.Module):
    """An encoder whose hidden states are what it is given, one token a text."""

    def forward(self, *, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> Any:
        del attention_mask
        return SimpleNamespace(last_hidden_state=input_ids)


def pairs(rows: int) -> dict[str, torch.Tensor]:
    """Pairs of unit vectors that are alike: cosines between 0.99 and 1."""
    generator = torch.Generator().manual_seed(0)
    vectors = 1 + 0.05 * torch.randn(2, rows, 1, 64, generator=generator)
    query, text = torch.nn.functional.normalize(vectors, dim=-1)
    assert 0.99 < float((query[:, 0] @ text[:, 0].T).min()) < 1
    ones = torch.ones(rows, 1, dtype=torch.int64)
    return {
        "query_input_ids": query, "query_attention_mask": ones, "query_ids": torch.arange(rows),
        "text_input_ids": text, "text_attention_mask": ones, "text_ids": torch.arange(rows),
    }  # fmt: skip


@pytest.mark.parametrize("symmetric", [False, True])
def test_cosines_are_not_rounded_under_autocast(symmetric: bool) -> None:
    model = DualEncoder(Given(), symmetric=symmetric)
    inputs = pairs(16)
    alone = model(**inputs)["loss"].detach()
    with torch.autocast("cpu", torch.bfloat16):
        loss = model(**inputs)["loss"].detach()
    assert loss.dtype == torch.float32
    assert float(loss) == pytest.approx(float(alone), rel=1e-6)


def loaded(kind: str, folder: Path, **options: Any) -> tuple[Any, dict[str, torch.Tensor]]:
    from safetensors.torch import load_file

    path = build(kind, folder, **options)
    encoder, _ = load_encoder(resolve(str(path)), dtype="float32", device="cpu")
    return encoder, load_file(path / "model.safetensors")


def test_a_head_sits_on_the_checkpoints_encoder(tmp_path: Path) -> None:
    encoder, own = loaded("xlm-roberta", tmp_path)
    before = {name: value.clone() for name, value in encoder.named_parameters()}
    model = make_model(encoder, [HeadSpec("qa", "span")], own, pad=1, seed=0)
    reader = model.tasks["qa"]  # type: ignore[index]
    assert reader.roberta is encoder
    for name, value in reader.roberta.named_parameters():
        assert torch.equal(value, before[name])
        assert value.requires_grad


def test_the_seed_makes_the_head_and_nothing_else(tmp_path: Path) -> None:
    def weights(seed: int) -> torch.Tensor:
        encoder, own = loaded("bert", tmp_path)
        heads = [HeadSpec("nli", "classification", ("a", "b", "c"))]
        model: Any = make_model(encoder, heads, own, pad=0, seed=seed)
        weight: torch.Tensor = model.tasks["nli"].classifier.weight
        assert weight.shape == (3, 32)
        return weight

    state = torch.get_rng_state()
    assert torch.equal(weights(1), weights(1))
    assert not torch.equal(weights(1), weights(2))
    assert torch.equal(torch.get_rng_state(), state)


def test_a_head_that_the_base_brings_is_not_taken_over(tmp_path: Path) -> None:
    encoder, own = loaded("bert", tmp_path, qa_head=True)
    model: Any = make_model(encoder, [HeadSpec("qa", "span")], own, pad=0, seed=5)
    assert not torch.equal(model.tasks["qa"].qa_outputs.weight, own["qa_outputs.weight"])


def with_mlm_head(kind: str, folder: Path) -> tuple[Any, dict[str, torch.Tensor], list[str]]:
    """An encoder, the tensors of a whole model with values of its own, and its head's names."""
    import transformers

    encoder, _ = loaded(kind, folder)
    whole = transformers.AutoModelForMaskedLM.from_config(encoder.config)
    encoder_ids = {id(value) for value in whole.base_model.parameters()}
    head = [name for name, value in whole.named_parameters() if id(value) not in encoder_ids]
    for name, value in whole.named_parameters():
        if name in head:
            torch.nn.init.uniform_(value)
    own = {name: value.detach() for name, value in whole.state_dict().items()}
    return encoder, own, head


def made_mlm(
    encoder: Any, own: dict[str, torch.Tensor]
) -> tuple[dict[str, torch.Tensor], dict[str, list[str]]]:
    """The values of the made model, and what was said."""
    notes: dict[str, list[str]] = {}
    model: Any = make_model(encoder, [HeadSpec("mlm", "mlm")], own, pad=0, seed=0, notes=notes)
    head = model.tasks["mlm"]
    assert head.get_output_embeddings().weight is head.get_input_embeddings().weight
    return head.state_dict(), notes


def today(name: str) -> str:
    return name


def wrapped(name: str) -> str:
    return f"module.{name}"


def twice_wrapped(name: str) -> str:
    return f"_orig_mod.model.{name}"


def old(name: str) -> str:
    for one, other in (("weight", "gamma"), ("bias", "beta")):
        name = name.replace(f"LayerNorm.{one}", f"LayerNorm.{other}")
    return name


@pytest.mark.parametrize("named", [today, wrapped, twice_wrapped, old])
@pytest.mark.parametrize("kind", ["bert", "xlm-roberta", "modernbert", "distilbert"])
def test_masked_language_modelling_goes_on_with_the_bases_head(
    kind: str, named: Callable[[str], str], tmp_path: Path
) -> None:
    encoder, own, head = with_mlm_head(kind, tmp_path)
    assert len(head) > 2
    values, notes = made_mlm(encoder, {named(name): value for name, value in own.items()})
    for name in head:
        assert torch.equal(values[name], own[name]), name
    assert not notes


def test_a_head_that_is_there_in_part_starts_afresh_and_says_so(tmp_path: Path) -> None:
    encoder, own, head = with_mlm_head("bert", tmp_path)
    fresh, _ = made_mlm(encoder, {})
    last = "cls.predictions.transform.LayerNorm.bias"
    for broken in (torch.zeros(5), None):
        part = {name: value for name, value in own.items() if name != last}
        if broken is not None:
            part[last] = broken
        values, notes = made_mlm(encoder, part)
        assert all(torch.equal(values[name], fresh[name]) for name in head)
        assert notes == {
            "mlm": [
                f"the base has 4 of 5 weights of the masked language model head, not {last}: it "
                "starts afresh"
            ]
        }


def test_a_pooler_is_taken_over_whole_or_not_at_all(tmp_path: Path) -> None:
    heads = [HeadSpec("nli", "classification", ("a", "b"))]
    values = {"weight": torch.rand(32, 32), "bias": torch.rand(32)}
    for prefix in ("", "bert.", "module.bert."):
        encoder, own = loaded("bert", tmp_path)
        own = {name: value for name, value in own.items() if not name.startswith("pooler.")}
        own |= {f"{prefix}pooler.dense.{name}": value for name, value in values.items()}
        notes: dict[str, list[str]] = {}
        make_model(encoder, heads, own, pad=0, seed=0, notes=notes)
        for name, value in encoder.pooler.dense.named_parameters():
            assert torch.equal(value, values[name])
        assert not notes
    encoder, _ = loaded("bert", tmp_path)
    del own["module.bert.pooler.dense.bias"]
    make_model(encoder, heads, own, pad=0, seed=0, notes=notes)
    assert not torch.equal(encoder.pooler.dense.weight, values["weight"])
    assert notes == {
        "nli": [
            "the base has 1 of 2 weights of the pooler, not pooler.dense.bias: it starts afresh"
        ]
    }


def test_heads_of_several_tasks_share_one_encoder(tmp_path: Path) -> None:
    encoder, own = loaded("bert", tmp_path)
    specs = [
        HeadSpec("qa", "span"),
        HeadSpec("nli", "classification", ("a", "b")),
        HeadSpec("pairs", "dual_encoder"),
    ]
    model: Any = make_model(encoder, specs, own, pad=0, seed=0)
    assert model.tasks["qa"].bert is model.tasks["nli"].bert is model.tasks["pairs"].encoder
    assert model.tasks["pairs"].scale.item() == SCALE
    names = [name for name, _ in model.named_parameters()]
    assert len(names) == len(set(names))


def test_the_dual_encoder_is_the_normalised_mean(tmp_path: Path) -> None:
    encoder, own = loaded("bert", tmp_path)
    model: Any = make_model(encoder, [HeadSpec("p", "dual_encoder")], own, pad=0, seed=0)
    inputs = {
        "input_ids": torch.tensor([[2, 40, 50, 3], [2, 60, 3, 0]]),
        "attention_mask": torch.tensor([[1, 1, 1, 1], [1, 1, 1, 0]]),
    }
    vectors = model.eval().tasks["p"].embed(inputs)
    hidden = encoder(**inputs).last_hidden_state
    mean = hidden[1, :3].mean(0)
    assert torch.allclose(vectors[1], mean / mean.norm(), atol=1e-6)


def test_masked_language_modelling_needs_transformers_own_head(tmp_path: Path) -> None:
    encoder, own = loaded("qwen2", tmp_path)
    with pytest.raises(RefusedError, match="no masked language model head for qwen2"):
        make_model(encoder, [HeadSpec("x", "mlm")], own, pad=0, seed=0)


def test_adapters_on_chosen_layers_only_and_merged_away(tmp_path: Path) -> None:
    encoder, own = loaded("bert", tmp_path)
    names = {name for name, _ in encoder.named_parameters()}
    before = {name: value.clone() for name, value in encoder.named_parameters()}
    model = make_model(encoder, [HeadSpec("p", "dual_encoder")], own, pad=0, seed=0)
    wrapped = adapted(encoder, LoraRecipe(layers=[0, 1], rank=2, alpha=4), seed=0)
    trainable = [name for name, value in model.named_parameters() if value.requires_grad]
    inside = [name for name in trainable if "lora_" in name]
    assert set(trainable) - set(inside) == {"tasks.p.scale"}
    assert {name.split("layer.")[1][0] for name in inside} == {"0", "1"}
    for name, value in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.constant_(value, 0.1)
    ids = torch.tensor([[2, 40, 3]])
    inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    encoder.eval()
    adapted_output = encoder(**inputs).last_hidden_state
    merge(wrapped)
    assert not {"peft_config", "_hf_peft_config_loaded"} & vars(encoder).keys()
    assert all(value.requires_grad for value in encoder.parameters())
    assert {name for name, _ in encoder.named_parameters()} == names
    assert torch.allclose(encoder(**inputs).last_hidden_state, adapted_output, atol=1e-5)
    changed = {n for n, v in encoder.named_parameters() if not torch.equal(v, before[n])}
    assert changed
    assert all("layer.0." in name or "layer.1." in name for name in changed)


def test_layers_that_are_not_there(tmp_path: Path) -> None:
    encoder, _ = loaded("bert", tmp_path)
    with pytest.raises(UsageError, match="layers 1-3 of 3: they are numbered from 0"):
        adapted(encoder, LoraRecipe(layers=[1, 3]), seed=0)
    assert parse_layers("0-3") == [0, 3]
    assert parse_layers("2") == [2, 2]
    for text in ("3-1", "a", "", "1-2-3", "-1"):
        with pytest.raises(UsageError, match="--lora-layers"):
            parse_layers(text)


@pytest.mark.parametrize("kind", ["multiple_choice", "classification"])
def test_a_kept_head_goes_on_from_the_checkpoints(kind: str, tmp_path: Path) -> None:
    folder = build_head(tmp_path, kind, ("first", "second"), base="xlm-roberta")
    checkpoint = resolve(str(folder), offline=True)
    own = load_file(folder / "model.safetensors")
    for kept in (True, False):
        encoder, _ = load_encoder(checkpoint, dtype="float32", device="cpu")
        spec = HeadSpec("task", kind, ("first", "second"), kept=kept)
        made = make_model(encoder, [spec], own, pad=0, seed=3)
        weights = made.tasks["task"].state_dict()
        head = {name: own[name] for name in own if name.startswith(("classifier.", "pooler."))}
        assert head
        same = {torch.equal(weights[name], tensor) for name, tensor in head.items()}
        assert same == {True} if kept else False in same


def test_a_head_that_is_not_there_cannot_be_kept(tmp_path: Path) -> None:
    folder = build("bert", tmp_path / "bert")
    encoder, _ = load_encoder(resolve(str(folder), offline=True), dtype="float32", device="cpu")
    with pytest.raises(RefusedError, match="its head is to be trained further, but"):
        make_model(encoder, [HeadSpec("t", "multiple_choice", kept=True)], {}, pad=0, seed=0)
