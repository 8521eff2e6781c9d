from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.metrics.bitext import f1_mteb, f1_mteb_terms
from harness.metrics.ranking import Ranks, Tops


def test_by_hand() -> None:
    # Row 0 is right, and row 3 was mapped to it too; row 1 is right alone; row 2 is wrong.
    predicted = ["s0", "s1", "s1b", "s0"]
    correct = np.array([True, True, False, False])
    assert f1_mteb_terms(predicted, correct).tolist() == [2 / 3, 1, 0, 0]


def test_each_pool_has_candidates_of_its_own() -> None:
    # Two pools whose candidates have the same numbers: in the first, queries 0 and 1 were both
    # mapped to candidate 0, in the second each to its own.
    tops = Tops(
        candidate=np.array([0, 1, 0, 1, 0, 1, 1, 0]),
        offsets=np.array([0, 2, 4, 6, 8]),
        pool=np.array([0, 0, 1, 1]),
        read_own_language=lambda: np.ones(8, dtype=bool),
    )
    found = Ranks.of([[1], [2], [1], [1]], [1] * 4)
    ranks = Ranks(found.values, found.offsets, found.relevant, lambda: tops)
    assert f1_mteb(ranks).tolist() == [2 / 3, 0, 1, 1]
    with pytest.raises(ValueError, match="give top_ids"):
        f1_mteb(found)


def test_indices_and_ids_are_the_same() -> None:
    indices = np.array([0, 0, 2, 2, 4])
    correct = indices == np.arange(5)
    ids = [f"row-{i}" for i in indices]
    terms = f1_mteb_terms(indices, correct)
    assert terms.tolist() == f1_mteb_terms(ids, correct).tolist()
    assert terms.mean() == pytest.approx((4 / 3 + 1) / 5)


def test_all_right_is_one_and_all_on_one_row_is_nearly_nothing() -> None:
    assert f1_mteb_terms(np.arange(10), np.ones(10, dtype=bool)).mean() == 1
    one_row = np.zeros(10, dtype=np.int64)
    terms = f1_mteb_terms(one_row, one_row == np.arange(10))
    assert terms.mean() == pytest.approx(2 / 11 / 10)


@given(
    st.integers(1, 30).flatmap(lambda n: st.lists(st.integers(0, n - 1), min_size=n, max_size=n))
)
def test_terms_follow_precision_and_recall_of_each_row(predicted: list[int]) -> None:
    chosen = np.array(predicted)
    gold = np.arange(len(chosen))
    expected = []
    for row in gold:
        true_positive = int(chosen[row] == row)
        precision = true_positive / max(1, int((chosen == row).sum()))
        expected.append(2 * precision / (precision + 1) if true_positive else 0.0)
    terms = f1_mteb_terms(chosen, chosen == gold)
    assert terms == pytest.approx(expected, abs=1e-12)


def test_agrees_with_scikit_learn() -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    random = np.random.default_rng(3)
    for rows in (1, 7, 500):
        gold = np.arange(rows)
        predicted = np.where(random.random(rows) < 0.4, gold, random.integers(0, rows, rows))
        theirs = metrics.f1_score(gold, predicted, average="weighted", zero_division=0)
        ours = f1_mteb_terms(predicted, predicted == gold).mean()
        assert ours == pytest.approx(theirs, abs=1e-12)


@pytest.mark.parametrize(
    ("predicted", "correct", "message"),
    [
        (["a", "b"], np.array([True]), "one of each per row"),
        (["a"], np.array([1]), "give bool"),
        (["a", "a", "b"], np.array([True, True, False]), "candidate a is correct for 2 rows"),
    ],
)
def test_what_does_not_belong_together_is_refused(
    predicted: Sequence[str], correct: npt.NDArray[np.bool_], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        f1_mteb_terms(predicted, correct)


def test_no_rows_have_no_terms() -> None:
    assert f1_mteb_terms([], np.zeros(0, dtype=bool)).shape == (0,)
