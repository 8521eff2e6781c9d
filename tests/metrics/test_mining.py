from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from harness.metrics.mining import (
    Pairs,
    Threshold,
    best_threshold,
    f1,
    f1_oracle,
    greedy_one_to_one,
    precision,
    recall,
)


def _bools(*values: int) -> npt.NDArray[np.bool_]:
    return np.array(values, dtype=bool)


def _pairs(
    scores: npt.NDArray[np.floating], gold: npt.NDArray[np.bool_], n_gold: int, threshold: float
) -> Pairs:
    """Candidates at a threshold, and the gold pairs that are none of them."""
    missed = n_gold - int(gold.sum())
    return Pairs(
        margin=np.append(scores, [np.nan] * missed),
        kept=np.append(scores.astype(np.float64) >= threshold, [False] * missed).astype(bool),
        gold=np.append(gold, [True] * missed).astype(bool),
        unit=np.zeros(len(scores) + missed, dtype=np.int64),
    )


def _at(
    scores: npt.NDArray[np.floating], gold: npt.NDArray[np.bool_], n_gold: int, threshold: float
) -> tuple[float, float, float]:
    """Precision, recall and F1 at a threshold."""
    pairs = _pairs(scores, gold, n_gold, threshold)
    return precision(pairs).score, recall(pairs).score, f1(pairs).score


def test_best_threshold_by_hand() -> None:
    # Prefixes by descending score: 1.5 (gold), 1.4 (gold), 1.2, 1.1 (gold), 0.9; 4 gold pairs.
    scores = np.array([1.1, 1.5, 0.9, 1.4, 1.2])
    gold = _bools(1, 1, 0, 1, 0)
    # F1: 2/5, 4/6, 4/7, 6/8, 6/9: the first four are best, the cut lies between 1.1 and 0.9.
    assert best_threshold(scores, gold, 4) == Threshold(1.0, 3 / 4, 3 / 4, 3 / 4)


def test_the_fewest_candidates_win_where_f1_is_equal() -> None:
    # F1: 2/4, 2/5, 4/6 with one gold pair more, and 4/6 is first met at the third.
    scores = np.array([4.0, 3.0, 2.0, 1.0])
    found = best_threshold(scores, _bools(1, 0, 1, 0), 3)
    assert found.value == 1.5
    assert found.f1 == pytest.approx(4 / 6)
    # 2/3 at the first and again at the fourth: 2 · 2 / (4 + 2).
    found = best_threshold(scores, _bools(1, 0, 0, 1), 2)
    assert (found.value, found.precision, found.recall) == (3.5, 1, 1 / 2)


def test_the_best_on_the_last_candidate_keeps_all() -> None:
    scores = np.array([1.3, 1.2, 1.1])
    gold = _bools(1, 1, 1)
    assert best_threshold(scores, gold, 3) == Threshold(1.1, 1, 1, 1)
    assert _at(scores, gold, 3, 1.1) == (1, 1, 1)
    assert best_threshold(np.array([0.7]), _bools(1), 2).value == 0.7


def test_equal_scores_are_kept_or_dropped_together() -> None:
    # Taken one by one, gold first, the first two of the three 1.0 would give F1 1.
    scores = np.array([2.0, 1.0, 1.0, 1.0, 0.5])
    found = best_threshold(scores, _bools(1, 1, 0, 0, 0), 2)
    # Attainable: {2.0} with F1 2/3; down to 1.0 with 4/6; all with 4/7.
    assert found == Threshold(1.5, 1, 1 / 2, 2 / 3)
    for order in ([0, 1, 2, 3, 4], [4, 3, 2, 1, 0], [2, 0, 3, 1, 4]):
        assert best_threshold(scores[order], _bools(1, 1, 0, 0, 0)[order], 2) == found


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_neighbouring_floats_are_still_parted(dtype: type[np.floating]) -> None:
    # In float64 the midpoint of the two rounds to the lower one.
    scores = np.array([np.nextafter(dtype(1), dtype(2)), 1], dtype=dtype)
    gold = _bools(1, 0)
    found = best_threshold(scores, gold, 1)
    assert float(scores[1]) < found.value <= float(scores[0])
    assert _at(scores, gold, 1, found.value) == (1, 1, 1)


@pytest.mark.parametrize("scores", [np.array([1.2, 1.1]), np.zeros(0)])
def test_without_a_gold_candidate_every_threshold_has_f1_zero(
    scores: npt.NDArray[np.float64],
) -> None:
    gold = np.zeros(len(scores), dtype=bool)
    assert best_threshold(scores, gold, 5) == Threshold(0, 0, 0, 0)
    assert _at(scores, gold, 5, 0.0) == (0, 0, 0)
    assert f1_oracle(_pairs(scores, gold, 5, 0.0)).score == 0


def test_precision_recall_and_f1_by_hand() -> None:
    scores = np.array([1.5, 1.2, 1.2, 0.9])
    gold = _bools(1, 0, 1, 1)
    # The threshold itself is kept: 3 kept, 2 right, 4 gold.
    pairs = _pairs(scores, gold, 4, 1.2)
    assert _at(scores, gold, 4, 1.2) == pytest.approx((2 / 3, 1 / 2, 4 / 7))
    assert f1(pairs).numerator.tolist() == [2, 0, 2, 0, 0]
    assert f1(pairs).denominator.tolist() == [2, 1, 2, 1, 1]
    assert f1(pairs).counted.tolist() == [1, 0, 1, 1, 1]
    assert f1(pairs).n == 4
    assert not f1(pairs).is_mean
    assert _at(scores, gold, 4, -math.inf) == pytest.approx((3 / 4, 3 / 4, 3 / 4))
    assert _at(scores, gold, 4, 1.6) == (0, 0, 0)


def test_the_oracle_has_a_threshold_for_each_language() -> None:
    # Alone, either language is perfect at a threshold of its own; one for both could not be.
    pairs = Pairs(
        margin=np.array([2.0, 1.9, 1.2, 1.1]),
        kept=np.zeros(4, dtype=bool),
        gold=_bools(1, 0, 1, 0),
        unit=np.array([0, 0, 1, 1]),
    )
    assert f1_oracle(pairs).score == 1
    with pytest.raises(ValueError, match="0 gold pairs of a language"):
        Pairs(pairs.margin, pairs.kept, _bools(1, 0, 0, 0), pairs.unit)


@pytest.mark.parametrize(
    ("scores", "gold", "n_gold", "message"),
    [
        (np.array([1.0]), _bools(0), 0, "0 gold pairs"),
        (np.array([1.0]), _bools(0), -1, "-1 gold pairs"),
        (np.array([1.0, 2.0]), _bools(1, 1), 1, "2 gold candidates of 1 gold pairs"),
        (np.array([1.0, np.nan]), _bools(1, 0), 1, "score of candidate 1 is nan"),
        (np.array([1.0, 2.0]), _bools(1), 1, "a number and a bool per candidate"),
        (np.array([1.0]), np.array([1]), 1, "a number and a bool per candidate"),
    ],
)
def test_what_cannot_be_scored_is_refused(
    scores: npt.NDArray[np.float64], gold: npt.NDArray[np.bool_], n_gold: int, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        best_threshold(scores, gold, n_gold)


def _official_f1(
    scores: npt.NDArray[np.float64], gold: npt.NDArray[np.bool_], n_gold: int, threshold: float
) -> float:
    """F1 as the official optimiser computes it, with its rounding."""
    kept = scores >= threshold
    right = int((kept & gold).sum())
    precision, recall = right / int(kept.sum()), right / n_gold
    return 2 * precision * recall / (precision + recall) if right else 0.0


@st.composite
def candidates(
    draw: st.DrawFn, distinct: bool
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_], int]:
    """Scores on a grid (so that equal ones occur), gold flags and a gold count."""
    scores = draw(st.lists(st.integers(0, 60), unique=distinct, max_size=25))
    gold = draw(st.lists(st.booleans(), min_size=len(scores), max_size=len(scores)))
    missed = draw(st.integers(0, 5))
    return (
        np.array(scores, dtype=np.float64) / 16,
        np.array(gold, dtype=bool),
        max(1, sum(gold) + missed),
    )


@given(candidates(distinct=False))
@example((np.array([0] * 9 + [1] * 3) / 16, np.array([0] * 8 + [1] + [0, 0, 1], dtype=bool), 4))
@example((np.array([0] * 8 + [1] * 3) / 16, np.array([0] * 7 + [1] + [0, 0, 1], dtype=bool), 5))
def test_no_threshold_is_better(
    drawn: tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_], int],
) -> None:
    scores, gold, n_gold = drawn
    found = best_threshold(scores, gold, n_gold)
    wanted = pytest.approx((found.precision, found.recall, found.f1))
    assert _at(scores, gold, n_gold, found.value) == wanted
    pairs = _pairs(scores, gold, n_gold, found.value)
    assert f1_oracle(pairs).numerator.tolist() == f1(pairs).numerator.tolist()
    assert f1_oracle(pairs).denominator.tolist() == f1(pairs).denominator.tolist()
    every = [_at(scores, gold, n_gold, score)[2] for score in scores]
    assert found.f1 == pytest.approx(max(every, default=0.0))
    if found.f1 > 0:
        higher = [score for score in scores if score >= found.value]
        shorter = set(higher) - {min(higher)}
        # Where two cuts have the same F1, the rounding of the official form decides.
        assert all(_official_f1(scores, gold, n_gold, score) < found.f1 for score in shorter)


@given(candidates(distinct=True))
def test_distinct_scores_give_the_official_threshold(
    drawn: tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_], int],
) -> None:
    scores, gold, n_gold = drawn
    ranked = sorted(zip(scores.tolist(), gold.tolist(), strict=True), reverse=True)
    best, threshold, right = 0.0, 0.0, 0
    for taken, (score, is_gold) in enumerate(ranked, start=1):
        right += is_gold
        if right:
            precision, recall = right / taken, right / n_gold
            value = 2 * precision * recall / (precision + recall)
            if value > best:
                lower = ranked[taken][0] if taken < len(ranked) else score
                best, threshold = value, (score + lower) / 2
    found = best_threshold(scores, gold, n_gold)
    assert (found.value, found.f1) == (threshold, best)


@given(candidates(distinct=False), st.floats(-1, 5))
def test_f1_follows_its_definition(
    drawn: tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_], int], threshold: float
) -> None:
    scores, gold, n_gold = drawn
    kept = [g for s, g in zip(scores, gold, strict=True) if s >= threshold]
    assert _at(scores, gold, n_gold, threshold) == pytest.approx(
        (sum(kept) / max(1, len(kept)), sum(kept) / n_gold, 2 * sum(kept) / (len(kept) + n_gold))
    )


def test_greedy_by_hand() -> None:
    source = np.array([0, 0, 1, 2, 1])
    target = np.array([5, 6, 5, 6, 7])
    score = np.array([1.0, 1.4, 1.2, 1.3, 1.1])
    # 1.4 takes (0, 6), which blocks 1.3; 1.2 takes (1, 5), which blocks 1.1 and 1.0.
    assert greedy_one_to_one(source, target, score).tolist() == [1, 2]


def test_greedy_takes_equal_scores_in_the_given_order() -> None:
    same = np.ones(3)
    kept = greedy_one_to_one(np.array([0, 0, 1]), np.array([0, 1, 0]), same)
    assert kept.tolist() == [0]
    kept = greedy_one_to_one(np.array([0, 1, 0]), np.array([1, 0, 0]), same)
    assert kept.tolist() == [0, 1]


def test_greedy_drops_no_score_and_accepts_no_candidates() -> None:
    assert greedy_one_to_one(np.array([0]), np.array([0]), np.array([-0.5])).tolist() == [0]
    none = np.zeros(0, dtype=np.int64)
    kept = greedy_one_to_one(none, none, np.zeros(0))
    assert kept.dtype == np.int64
    assert kept.shape == (0,)


def test_greedy_refuses_what_does_not_belong_together() -> None:
    two = np.array([0, 1])
    with pytest.raises(ValueError, match="one of each per candidate"):
        greedy_one_to_one(two, two, np.array([1.0]))
    with pytest.raises(ValueError, match="score of candidate 0 is nan"):
        greedy_one_to_one(two, two, np.array([np.nan, 1.0]))


@given(
    st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6), st.integers(0, 10)), max_size=40),
)
def test_greedy_takes_the_best_that_is_free(rows: list[tuple[int, int, int]]) -> None:
    source = np.array([s for s, _, _ in rows], dtype=np.int64)
    target = np.array([t for _, t, _ in rows], dtype=np.int64)
    score = np.array([x for _, _, x in rows], dtype=np.float32)

    left = list(range(len(rows)))
    expected = []
    while left:
        best = max(left, key=lambda i: (score[i], -i))
        expected.append(best)
        left = [i for i in left if source[i] != source[best] and target[i] != target[best]]
    assert greedy_one_to_one(source, target, score).tolist() == expected
