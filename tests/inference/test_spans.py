"""Which span wins: worked examples by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.inference.spans import Candidates, best_spans, best_window


def select(
    start: list[float],
    end: list[float],
    *,
    context: tuple[int, int] | None = None,
    n_best: int = 20,
    max_answer_tokens: int = 30,
) -> tuple[int, int, float] | None:
    first, stop = context or (0, len(start))
    best = best_spans(
        np.array([start], dtype=np.float32),
        np.array([end], dtype=np.float32),
        np.array([first]),
        np.array([stop]),
        n_best=n_best,
        max_answer_tokens=max_answer_tokens,
    )
    if not best.valid[0]:
        assert best.score[0] == -np.inf
        return None
    return int(best.first[0]), int(best.last[0]), float(best.score[0])


def test_the_highest_sum_wins() -> None:
    assert select([0, 5, 1, 0], [0, 0, 3, 1]) == (1, 2, 8.0)


def test_a_span_never_ends_before_it_starts() -> None:
    # 5 + 9 would be backwards: the best forward sums are (0, 0) = 1 + 9 and (2, 3) = 5 + 2.
    assert select([1, 0, 5, 0], [9, 0, 0, 2]) == (0, 0, 10.0)


def test_question_and_special_tokens_are_no_answers() -> None:
    assert select([9, 9, 1, 2, 9], [9, 9, 1, 4, 9], context=(2, 4)) == (3, 3, 6.0)


def test_tokens_outside_the_context_still_take_places_among_the_best() -> None:
    start, end = [9.0, 8.0, 1.0, 2.0], [9.0, 8.0, 1.0, 2.0]
    assert select(start, end, context=(2, 4), n_best=2) is None
    assert select(start, end, context=(2, 4), n_best=3) == (3, 3, 4.0)


@pytest.mark.parametrize(
    ("longest", "expected"), [(4, (0, 3, 10.0)), (3, (0, 2, 7.0)), (1, (2, 2, 3.0))]
)
def test_longest_answer_counts_both_ends(longest: int, expected: tuple[int, int, float]) -> None:
    assert select([5, 0, 1, -4], [-4, 0, 2, 5], max_answer_tokens=longest) == expected


def test_equal_sums_go_to_the_higher_start() -> None:
    # (0, 1) = 3 + 1 and (1, 1) = 2 + ... : only the split of the sum differs.
    assert select([3, 2, 0], [-9, 1, 2], max_answer_tokens=2) == (0, 1, 4.0)


def test_equal_sums_of_one_start_go_to_the_later_of_equal_ends() -> None:
    # Short rows are sorted by insertion, so equal logits keep their order, read backwards.
    assert select([1, 0, 0], [2, 2, 2]) == (0, 2, 3.0)


def test_nothing_valid() -> None:
    assert select([1, 2], [1, 2], context=(1, 1)) is None
    assert select([0, 9], [9, 0], n_best=1) is None


def test_minus_infinity_is_a_valid_logit() -> None:
    low = float("-inf")
    assert select([0, low], [0, low], context=(1, 2)) == (1, 1, low)


def test_no_windows() -> None:
    empty = np.empty(0, dtype=np.int64)
    logits = np.empty((0, 384), dtype=np.float32)
    best = best_spans(logits, logits, empty, empty, n_best=20, max_answer_tokens=30)
    assert [len(array) for array in (best.first, best.last, best.score, best.valid)] == [0] * 4


def test_the_first_of_equal_windows_wins() -> None:
    score = np.array([1, 4, 4, 9], dtype=np.float32)
    assert best_window(score, np.array([True, True, True, False])) == 1
    assert best_window(score, np.array([False, False, True, True])) == 3
    assert best_window(score, np.zeros(4, dtype=np.bool_)) is None
    assert best_window(score[:0], np.zeros(0, dtype=np.bool_)) is None


@given(st.integers(0, 2**32 - 1))
def test_windows_do_not_touch_each_other(seed: int) -> None:
    draw = np.random.default_rng(seed)
    count, width = int(draw.integers(1, 6)), int(draw.integers(1, 60))
    logits = draw.standard_normal((2, count, width)).round(1).astype(np.float32)
    first = draw.integers(0, width, size=count)
    stop = draw.integers(first, width + 1)

    def chosen(rows: slice) -> Candidates:
        return best_spans(
            logits[0, rows],
            logits[1, rows],
            first[rows],
            stop[rows],
            n_best=7,
            max_answer_tokens=5,
        )

    together = chosen(slice(None))
    for row in range(count):
        alone = chosen(slice(row, row + 1))
        for name in ("first", "last", "score", "valid"):
            assert getattr(alone, name)[0] == getattr(together, name)[row]
        if together.valid[row]:
            assert first[row] <= together.first[row] <= together.last[row] < stop[row]
            assert together.last[row] - together.first[row] < 5
