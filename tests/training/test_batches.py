"""How processes share the batches of a run."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from harness.cards.training import Recipe
from harness.checkpoint.loading import load_encoder
from harness.checkpoint.resolve import resolve
from harness.inference.sequences import Sequences
from harness.training.batches import Steps, TaskData, _tensors
from harness.training.data.examples import Choice, Classified, Tagged
from harness.training.data.features import IGNORED, Codec, Features, encode
from harness.training.heads import HeadSpec, make_model
from harness.training.schedule import Step
from tests.checkpoints import build

ROWS = 7


def tokenizer() -> Any:
    """What batches need of one: padding is 0, the mask 1, the words 2 to 19."""

    class Tokenizer:
        special, special_ids = {"pad_token": 0, "mask_token": 1}, frozenset({0, 1})

        def __len__(self) -> int:
            return 20

    return Tokenizer()


def sequences(first: int) -> Sequences:
    """Two tokens a row; row ``i`` begins with the token ``first + i``."""
    tokens = np.array([[first + row, 19] for row in range(ROWS)], dtype=np.int32).reshape(-1)
    return Sequences(tokens, np.zeros_like(tokens, dtype=np.int8), np.arange(0, 2 * ROWS + 1, 2))


def data(kind: str) -> TaskData:
    numbers = np.arange(ROWS)
    labels: dict[str, Any] = {"labels": numbers} if kind == "classification" else {}
    sides = (sequences(2),)
    if kind == "dual_encoder":
        sides, labels = (sequences(2), sequences(9)), {"query_ids": numbers, "text_ids": numbers}
    codec: Any = SimpleNamespace(pad=0, typed=False, tokenizer=tokenizer())
    return TaskData(kind, Features(sides, labels, numbers), codec, 0.5)


def parts(kind: str, rows: int, world: int) -> list[dict[str, Any]]:
    """What each process has of a step of so many rows."""
    schedule = [Step("t", np.arange(rows)[::-1])]
    return [
        Steps(schedule, {"t": data(kind)}, seed=0, rank=rank, world=world).collate([0])["inputs"]
        for rank in range(world)
    ]


@pytest.mark.parametrize("kind", ["classification", "dual_encoder", "mlm"])
@pytest.mark.parametrize(("rows", "world"), [(1, 2), (1, 4), (2, 3), (3, 4), (3, 8)])
def test_fewer_rows_than_processes_are_what_one_process_has(
    kind: str, rows: int, world: int
) -> None:
    (alone,) = parts(kind, rows, 1)
    for mine in parts(kind, rows, world):
        assert mine.keys() == alone.keys()
        for name, value in alone.items():
            assert torch.equal(torch.as_tensor(mine[name]), torch.as_tensor(value))
    if kind == "dual_encoder":
        assert alone["whole"]


@pytest.mark.parametrize(("rows", "world"), [(4, 2), (7, 2), (6, 3), (7, 3), (4, 4), (7, 4)])
def test_every_process_has_as_many_rows_and_no_row_twice(rows: int, world: int) -> None:
    shares = [mine["labels"].tolist() for mine in parts("classification", rows, world)]
    assert {len(share) for share in shares} == {rows // world}
    every = [row for share in shares for row in share]
    assert len(set(every)) == len(every)
    assert not any(mine["whole"] for mine in parts("dual_encoder", rows, world))


@pytest.mark.parametrize("kind", ["classification", "multiple_choice", "tagging"])
def test_padding_to_the_longest_row_changes_no_loss(kind: str, tmp_path: Path) -> None:
    checkpoint = resolve(str(build("xlm-roberta", tmp_path)), offline=True)
    encoder, tokenizer = load_encoder(checkpoint, dtype="float32", device="cpu")
    examples: dict[str, list[Any]] = {
        "classification": [Classified("1", "en", "The owl", "sleeps.", 1),
                           Classified("2", "en", "A ferry leaves the island", "at seven.", 0)],
        "multiple_choice": [Choice("1", "en", "It rained.", ("Wet.", "Dry as a bone."), 0)],
        "tagging": [Tagged("1", "en", ("The", "owl"), (0, 1)), Tagged("2", "en", ("Go",), (1,))],
    }  # fmt: skip
    codec = Codec(tokenizer, encoder, Recipe(max_length=64))
    made = TaskData(kind, encode(kind, examples[kind], codec), codec, 0.15)
    model = make_model(encoder, [HeadSpec("t", kind, ("no", "yes"))], {}, pad=1, seed=0).eval()
    inputs = _tensors(made, np.arange(len(examples[kind])), np.random.default_rng(0))
    fill = {"input_ids": codec.pad, "attention_mask": 0, "token_type_ids": 0}
    if kind == "tagging":
        fill["labels"] = IGNORED
    width = inputs["input_ids"].shape[-1]
    wide = {
        name: torch.nn.functional.pad(one, (0, 64 - width), value=fill[name])
        if name in fill else one
        for name, one in inputs.items()
    }  # fmt: skip
    assert width < 64 == wide["input_ids"].shape[-1]
    with torch.no_grad():
        torch.testing.assert_close(model("t", inputs), model("t", wide))
