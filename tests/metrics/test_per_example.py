"""The one reduction, by hand; and that every kind's table of metrics is the one that is used."""

from __future__ import annotations

from typing import get_args

import numpy as np
import pytest

from harness.cards.task import Kind
from harness.kinds import KINDS
from harness.metrics import ranking
from harness.metrics.by_kind import METRICS, NOT_COMPARED, per_example
from harness.metrics.per_example import PerExample, mean
from harness.metrics.span_qa import Answers


def test_a_mean_and_a_ratio_by_hand() -> None:
    values = mean(np.array([1, 0, 1, 1], dtype=np.float32))
    assert (values.score, values.n, values.is_mean) == (3 / 4, 4, True)
    # Two sentences: 2 right of 3 predicted and 4 gold, 0 of 1 and 2.
    ratio = PerExample(np.array([4.0, 0]), np.array([7.0, 3]), np.array([4.0, 2]))
    assert (ratio.score, ratio.n, ratio.is_mean) == (4 / 10, 6, False)


def test_some_of_the_examples() -> None:
    rows = np.array([3, 1])
    assert mean(np.array([1.0, 0, 1, 0.5])).of(rows).score == 1 / 4
    assert mean(np.arange(4.0)).of(rows).is_mean
    ratio = PerExample(np.arange(4.0), np.full(4, 4.0), np.ones(4))
    assert (ratio.of(rows).score, ratio.of(rows).n) == (4 / 8, 2)


def test_nothing_below_scores_zero() -> None:
    assert PerExample(np.zeros(2), np.zeros(2), np.ones(2)).score == 0


def test_means_share_their_denominators() -> None:
    one, other = mean(np.zeros(5)), mean(np.ones(5))
    assert one.denominator is other.denominator
    with pytest.raises(ValueError, match="read-only"):
        one.denominator[0] = 2


def test_an_example_without_a_value_is_refused() -> None:
    answers = Answers(np.array([1.0, np.nan, 0.0]), np.ones(3))
    assert per_example(METRICS["span_qa"], "f1", answers).score == 1
    with pytest.raises(ValueError, match="1 examples have no exact_match"):
        per_example(METRICS["span_qa"], "exact_match", answers)


def test_cards_and_kinds_go_by_the_same_tables() -> None:
    assert METRICS.keys() == KINDS.keys() == set(get_args(Kind))
    for name, kind in KINDS.items():
        assert kind.metrics is METRICS[name]
    assert set(NOT_COMPARED) <= set().union(*METRICS.values())


@pytest.mark.parametrize("kind", ["bitext", "passages"])
def test_a_cutoff_is_the_one_in_the_name(kind: str) -> None:
    cutoffs = {"hit": {1, 5, 10, 20, 100}, "recall": {1, 5, 10, 20, 100}, "map": {20}, "ndcg": {10}}
    found: dict[str, set[int]] = {name: set() for name in cutoffs}
    for metric in METRICS[kind]:
        name, _, cutoff = metric.partition("@")
        if cutoff and name in cutoffs:
            k = int(cutoff)
            found[name].add(k)
            # One relevant candidate a query, in the last place that counts and in the next.
            at_k = ranking.Ranks(
                np.array([k, k + 1], dtype=np.int32),
                np.array([0, 1, 2]),
                np.array([1, 1], dtype=np.int32),
            )
            inside, outside = per_example(METRICS[kind], metric, at_k).numerator
            assert (inside > 0, outside) == (True, 0)
    assert found == cutoffs
