"""Very long texts are cut before they are tokenised; the oracle reads the whole text."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.checkpoint import tokenizer as tokenizers
from harness.checkpoint.resolve import Checkpoint, resolve
from harness.checkpoint.tokenizer import Tokenizer, load_tokenizer, portions
from harness.errors import DataError
from harness.inference.backbone import Backbone
from harness.inference.encoder import Encoder
from harness.inference.protocol import Encoding
from harness.inference.token_ids import CUT_EARLY
from harness.inference.windows import WindowShape, cut_questions, make_windows
from tests.checkpoints import build

WORDS = [
    "a",
    "ferry",
    "北の島へ",
    "<s>",
    "[MASK]",
    "[PAD]",
    ".",
    "  ",
    "\n",
    "été",
    "xx" * 30,
    "'s",
]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    return resolve(str(build("bert", tmp_path_factory.mktemp("long") / "m")))


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small bounds, so that small texts are very long."""
    for name, value in (("LONG", 256), ("LONGEST", 2048), ("MARGIN", 64), ("PORTION", 700)):
        monkeypatch.setattr(tokenizers, name, value)
    monkeypatch.setattr("harness.inference.token_ids.LONG", 256)


def whole(tokenizer: Tokenizer, text: str, length: int, side: Any) -> list[int]:
    tokenizer.backend.enable_truncation(length, direction=side)
    ids: list[int] = tokenizer.backend.encode(text).ids
    return ids


@given(
    words=st.lists(st.sampled_from(WORDS), min_size=1, max_size=60),
    repeats=st.integers(1, 12),
    length=st.integers(2, 40),
    side=st.sampled_from(["left", "right"]),
)
def test_a_cut_that_is_called_exact_is(
    checkpoint: Checkpoint, words: list[str], repeats: int, length: int, side: Any
) -> None:
    tokenizer = load_tokenizer(checkpoint)
    text = " ".join(words * repeats)
    kept, exact = tokenizer.shortened(text, length, side)
    assert len(kept) <= 2048 or exact
    assert (text.startswith if side == "right" else text.endswith)(kept)
    [ids] = tokenizer.ids([text], max_length=length, side=side)
    assert len(ids) <= length
    if exact:
        assert ids == whole(tokenizer, text, length, side)


@pytest.mark.parametrize(
    ("text", "exact"),
    [
        ("word " * 50, True),  # not very long
        ("word " * 5_000, True),
        ("x" * 1_000, True),  # no boundary, and not too long to be read whole
        ("x" * 50_000, False),
        (" " * 300 + "word " * 5_000, True),  # more is read, until there are enough tokens
    ],
)
def test_where_a_boundary_lies_before_the_cut(
    checkpoint: Checkpoint, text: str, exact: bool
) -> None:
    kept, found = load_tokenizer(checkpoint).shortened(text, 16)
    assert found == exact
    assert len(kept) <= 2048


def test_a_cut_without_a_boundary_is_said_on_the_row(
    checkpoint: Checkpoint, tmp_path: Path
) -> None:
    lengths: Any = {"query": 12, "document": 12}
    plain = Encoding("mean", 2, 3, lengths, {"query": "", "document": ""}, "float32")

    def remarks(*texts: str) -> tuple[str, ...]:
        backbone = Backbone(checkpoint, dtype="float32", device="cpu", top=2)
        encoder = Encoder(backbone, [plain], cache=tmp_path)
        vectors = encoder.encode(list(texts), role="query")
        assert np.isfinite(vectors).all()
        return encoder.remarks

    assert CUT_EARLY not in remarks("word " * 5_000, "short")
    assert CUT_EARLY in remarks("x" * 50_000, "short")
    assert CUT_EARLY in remarks("x" * 50_000, "short")  # its ids are in the store already


def test_questions_are_cut_exactly_or_refused(checkpoint: Checkpoint) -> None:
    tokenizer = load_tokenizer(checkpoint)
    shape = WindowShape(max_length=40, question_length=10, stride=8)
    long = "  who rows the ferry " * 5_000
    assert cut_questions(tokenizer, [long], shape) == cut_questions(tokenizer, [long[:200]], shape)
    with pytest.raises(DataError, match=r"50,000 characters is too long to be tokenised"):
        cut_questions(tokenizer, ["x" * 50_000], shape)


def test_contexts_are_read_whole_or_refused(checkpoint: Checkpoint) -> None:
    tokenizer = load_tokenizer(checkpoint)
    shape = WindowShape(max_length=40, question_length=10, stride=8)
    read = make_windows(tokenizer, [("who", "ferry " * 300)], shape)
    assert read.offsets.max() == len("ferry " * 300)
    with pytest.raises(DataError, match=r"30,00\d characters"):
        make_windows(tokenizer, [("who", "ferry " * 5_000)], shape)


def test_training_texts_are_cut_as_if_they_were_read_whole(checkpoint: Checkpoint) -> None:
    tokenizer = load_tokenizer(checkpoint)
    pair = ("who rows? " * 150, "the ferry leaves " * 150)
    [cut] = tokenizer.encode([pair], max_length=24)
    tokenizer.backend.enable_truncation(24)
    assert cut.ids == tokenizer.backend.encode(*pair).ids
    words = ["ferry"] * 2_000
    with pytest.raises(DataError, match=r"10,000 characters"):
        tokenizer.encode([words], max_length=24)


def test_portions_keep_order_and_hold_at_least_one_text() -> None:
    texts = ["a" * 300, "b" * 500, "c" * 9_000, "d", ("e", "f")]
    assert list(portions(texts)) == [["a" * 300], ["b" * 500], ["c" * 9_000], ["d", ("e", "f")]]
