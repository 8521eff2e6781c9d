"""Accuracy, span F1 and POS F1: worked examples, and what seqeval 0.0.12 gave."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.metrics.labels import (
    Decisions,
    TaggedSentences,
    accuracy,
    f1_spans,
    word_accuracy,
)
from harness.metrics.tag_spans import spans

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "seqeval.json").read_text())
TAGS = st.sampled_from(["O", "B-PER", "I-PER", "B-LOC", "I-LOC", "NOUN", "SCONJ", "CCONJ", "X"])


@pytest.mark.parametrize("case", GOLDEN, ids=range(len(GOLDEN)))
def test_spans_and_f1_are_those_of_seqeval(case: dict) -> None:
    assert [spans(tags) for tags in case["gold"]] == [
        {tuple(span) for span in found} for found in case["spans"]
    ]
    found = f1_spans(TaggedSentences(case["gold"], case["predicted"]))
    assert found.score == pytest.approx(case["f1"], abs=1e-12)


# The spans by hand: which words, of which type.
@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        ("NOUN NOUN VERB", {("NOUN", 0, 1), ("VERB", 2, 2)}),
        ("SCONJ SCONJ", {("SCONJ", 0, 0), ("SCONJ", 1, 1)}),
        ("CCONJ SCONJ", {("CCONJ", 0, 0), ("SCONJ", 1, 1)}),
        ("SYM SYM X X", {("SYM", 0, 0), ("SYM", 1, 1), ("X", 2, 3)}),
        ("O I-PER I-PER", {("PER", 1, 2)}),
        ("B-PER I-LOC", {("PER", 0, 0), ("LOC", 1, 1)}),
        ("B-PER B-PER I-PER", {("PER", 0, 0), ("PER", 1, 2)}),
        ("X- O", {("", 0, 0)}),
        ("O O", set()),
    ],
)
def test_spans_by_hand(tags: str, expected: set) -> None:
    assert spans(tags.split()) == expected


def test_one_wrong_word_in_a_run_costs_the_run() -> None:
    # Gold: two runs, NOUN 0-1 and VERB 2. Predicted: NOUN 0, VERB 1-2. No span is right.
    tagged = TaggedSentences([["NOUN", "NOUN", "VERB"]], [["NOUN", "VERB", "VERB"]])
    assert f1_spans(tagged).score == 0.0
    assert word_accuracy(tagged).score == pytest.approx(2 / 3)


def test_f1_is_over_all_spans_and_accuracy_over_all_words() -> None:
    gold = [["B-PER", "I-PER", "O"], ["B-LOC"], ["O"]]
    predicted = [["B-PER", "I-PER", "B-LOC"], ["B-PER"], ["O"]]
    found = f1_spans(TaggedSentences(gold, predicted))
    # 1 right of 3 predicted and 2 gold: 2·1 / 5.
    assert found.numerator.tolist() == [2, 0, 0]
    assert found.denominator.tolist() == [3, 2, 0]
    assert (found.score, found.n) == (pytest.approx(0.4), 2)
    words = word_accuracy(TaggedSentences(gold, predicted))
    assert (words.score, words.n) == (pytest.approx(3 / 5), 5)
    assert not words.is_mean


def test_no_span_on_either_side_scores_0() -> None:
    assert f1_spans(TaggedSentences([["O"]], [["O"]])).score == 0.0


def test_accuracy_of_decisions() -> None:
    assert accuracy(Decisions(np.array([1.0, 0.0, 1.0, 1.0]))).mean() == 0.75


@pytest.mark.parametrize(
    ("gold", "predicted", "what"),
    [
        ([["O", "O"]], [["O"]], "2 words, 1 predictions"),
        ([["O"]], [[""]], "empty tag"),
        ([["O"], ["O"]], [["O"]], "zip"),
    ],
)
def test_what_does_not_fit_is_refused(gold: list, predicted: list, what: str) -> None:
    with pytest.raises(ValueError, match=what):
        f1_spans(TaggedSentences(gold, predicted))


@given(st.lists(st.lists(TAGS, min_size=1, max_size=8), min_size=1, max_size=4))
def test_right_tags_score_1(gold: list) -> None:
    found = f1_spans(TaggedSentences(gold, gold))
    assert found.score == (1.0 if any(spans(tags) for tags in gold) else 0.0)
    assert word_accuracy(TaggedSentences(gold, gold)).score == 1.0
