"""Classification, multiple choice and tagging with a labeller whose answers are known."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pytest

from harness.data.examples import Alternatives, ItemSet, Pair, Sentence
from harness.kinds import KINDS
from harness.kinds.decisions import decided
from harness.kinds.kind import UnitSettings

PAIRS = tuple(Pair(f"t:{n}", f"p{n}", "h", "ab"[n % 2], f"c:{n // 2}") for n in range(4))
CHOICES = tuple(Alternatives(f"t:{n}", f"p{n}", ("x", "y"), n % 2, f"c:{n}") for n in range(3))
TAGS = (Sentence("t:0", ("u", "v"), ("O", "B-X"), "c:0"), Sentence("t:1", ("w",), ("O",), "c:1"))


class Known:
    """Says b, the second choice, and O."""

    def classify(
        self, pairs: Sequence[tuple[str, str]], labels: Sequence[str], *, lang: str
    ) -> np.ndarray:
        assert tuple(labels) == ("a", "b")
        return np.array([[0.0, 1.0]] * len(pairs), dtype=np.float32)

    def choose(self, questions: Sequence[tuple[str, Sequence[str]]], *, lang: str) -> np.ndarray:
        return np.array([[1.0, 1.0]] * len(questions), dtype=np.float32)

    def tag(
        self, sentences: Sequence[Sequence[str]], labels: Sequence[str], *, lang: str
    ) -> list[list[str]]:
        return [["O"] * len(words) for words in sentences]


def run(
    kind: str, items: tuple, labels: tuple[str, ...] = (), limit: int | None = None
) -> pa.Table:
    examples = {"de": ItemSet("de", items)}
    settings = UnitSettings(limit=limit, labels=labels)
    found = KINDS[kind].run(settings, examples, "de", Known(), None)
    assert found.rows.schema.equals(KINDS[kind].schema)
    assert found[1:] == (False, None, None)
    return found.rows


def test_classification() -> None:
    rows = run("classification", PAIRS, ("a", "b"))
    assert rows.column("prediction").to_pylist() == ["b"] * 4
    assert rows.column("correct").to_pylist() == [False, True, False, True]
    assert rows.slice(1, 1).to_pylist()[0] == {
        "example_id": "t:1",
        "lang": "de",
        "cluster": "c:0",
        "gold": "b",
        "prediction": "b",
        "correct": True,
        "scores": [0.0, 1.0],
    }
    (score,) = KINDS["classification"].fold(rows, ["accuracy"], "test")
    assert (score.lang, score.value, score.n) == ("de", 0.5, 4)


def test_equal_scores_take_the_first_choice() -> None:
    rows = run("multiple_choice", CHOICES, limit=2)
    assert rows.column("prediction").to_pylist() == ["0", "0"]
    assert rows.column("gold").to_pylist() == ["0", "1"]
    (score,) = KINDS["multiple_choice"].fold(rows.slice(1), ["accuracy"], "test")
    assert (score.lang, score.value, score.n) == ("de", 0, 1)


def test_tagging_counts_words_and_spans() -> None:
    rows = run("tagging", TAGS, ("O", "B-X"))
    assert rows.column("gold").to_pylist() == [["O", "B-X"], ["O"]]
    accuracy, f1 = KINDS["tagging"].fold(rows, ["accuracy", "f1_span"], "test")
    assert accuracy.value == pytest.approx(2 / 3)
    assert f1.value == 0


def test_rows_that_contradict_themselves_are_refused() -> None:
    rows = run("classification", PAIRS, ("a", "b"))
    at = rows.schema.get_field_index("correct")
    wrong = rows.set_column(at, "correct", pa.array([True] * 4))
    with pytest.raises(ValueError, match="`correct` is not"):
        KINDS["classification"].fold(wrong, ["accuracy"], "test")


def test_scores_of_other_rows_are_refused() -> None:
    with pytest.raises(ValueError, match="longer than"):
        decided("de", [("t:0", "c:0", "a")], np.zeros((2, 1), dtype=np.float32), ["a"])


def test_texts_are_what_is_read() -> None:
    examples = {"de": ItemSet("de", CHOICES)}
    ((role, texts),) = KINDS["multiple_choice"].texts(examples, "de", 1)
    assert (role, texts) == ("query", ["p0\nx", "p0\ny"])
