"""The best of several: a choice by hand, and a simulation in which no variant does anything."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.statistics.paired import Paired
from harness.statistics.ratios import PairedRatios
from harness.statistics.selection import choose, halves

SEED = 7


def paired(sums: object, counts: object = None, names: list[str] | None = None) -> Paired:
    """A comparison with one example in each cluster and language, unless ``counts`` are given."""
    values = np.array(sums, dtype=np.float64)
    clusters = np.array(names or [f"t:{at:04}" for at in range(len(values))])
    sizes = np.ones_like(values) if counts is None else np.array(counts, dtype=np.float64)
    langs = tuple("abc"[: values.shape[1]])
    return Paired("t", "recall@10", langs, (), clusters, values, sizes)


def test_by_hand() -> None:
    """Four sentences in two languages; two choose and two measure.

                  chooses   measures   all items
        lucky      1  1      0  0       +0.50 in each language
        steady     .5 .5     .4 .4      +0.45

    On all items, and on the half that chooses, `lucky` is best; the others find nothing of it.
    """
    choosing = halves([f"t:{at:04}" for at in range(4)], SEED)
    chooses = np.isin([f"t:{at:04}" for at in range(4)], choosing)[:, None]
    lucky = paired(np.where(chooses, 1.0, 0.0).repeat(2, axis=1))
    steady = paired(np.where(chooses, 0.5, 0.4).repeat(2, axis=1))
    assert lucky.observed.mean() == pytest.approx(0.5)
    choice = choose({"lucky": lucky, "steady": steady}, SEED)
    assert choice is not None
    assert (choice.name, choice.difference) == ("lucky", 0.0)
    assert set(choice.other.clusters) == {f"t:{at:04}" for at in range(4)} - set(choosing)
    # The other way round the steady one is chosen, and what it has is measured on the rest.
    choice = choose({"lucky": paired(1 - lucky.sums), "steady": steady}, SEED)
    assert choice is not None
    assert (choice.name, choice.difference) == ("steady", pytest.approx(0.4))


def test_a_mean_over_examples_and_then_languages() -> None:
    """A cluster of three examples counts three times in its language, and languages count alike."""
    names = [f"t:{at:04}" for at in range(4)]
    chooses = np.isin(names, halves(names, SEED))
    sums, counts = np.zeros((4, 2)), np.ones((4, 2))
    first, second = np.flatnonzero(~chooses)
    counts[first, 0], sums[first, 0] = 3, 3.0  # (3 + 0) / (3 + 1) in one language, 0 in the other
    choice = choose({"one": paired(sums, counts)}, SEED)
    assert choice is not None
    assert choice.difference == pytest.approx((3 / 4 + 0) / 2)
    assert second in np.flatnonzero(~chooses)


def test_no_choice_where_a_language_has_nothing_in_a_half() -> None:
    counts = np.ones((4, 2))
    counts[1:, 1] = 0  # one example of the second language
    assert choose({"one": paired(np.zeros((4, 2)), counts)}, SEED) is None


@given(st.integers(1, 60), st.integers(0, 5))
def test_halves(size: int, seed: int) -> None:
    names = [f"xquad:{at}" for at in range(size)]
    chosen = set(halves(names, seed))
    assert len(chosen) == (size + 1) // 2
    assert chosen <= set(names)
    assert set(halves(reversed(names), seed)) == chosen


def test_another_seed_is_another_half() -> None:
    names = [f"t:{at}" for at in range(40)]
    assert set(halves(names, 1)) != set(halves(names, 2))


def test_part_of_a_ratio() -> None:
    """2 of 4 mined pairs right against 1 of 4, over two sentences; on the first alone 1/2 − 1/2."""
    column = np.array([[1.0], [1.0]])
    whole = PairedRatios(
        "bucc2018", "f1", ("zh",), (), np.array(["b:1", "b:2"]),
        column, np.array([[1.0], [0.0]]), 2 * column, 2 * column, column,
    )  # fmt: skip
    assert whole.observed == pytest.approx([0.25])
    first = whole.part(np.array([True, False]))
    assert (first.observed, list(first.clusters), list(first.sizes)) == ([0.0], ["b:1"], [1.0])


def test_without_any_effect_the_honest_figure_is_centred_on_zero_and_the_naive_one_is_not() -> None:
    """Nine variants that do nothing, 60 items, 300 times.

    An item's difference has a deviation of 1, so that of a mean over 60 items in 2 languages is
    1/√120 = 0.091; the largest of nine is 1.485 of these above 0 in the mean, some 0.136.
    """
    rng = np.random.default_rng(11)
    naive, honest = [], []
    for _ in range(300):
        candidates = {f"v{at}": paired(rng.normal(size=(60, 2))) for at in range(9)}
        naive.append(max(one.observed.mean() for one in candidates.values()))
        choice = choose(candidates, SEED)
        assert choice is not None
        honest.append(choice.difference)
    error = np.std(honest) / np.sqrt(len(honest))
    assert abs(np.mean(honest)) < 3 * error
    assert np.mean(naive) == pytest.approx(1.485 / np.sqrt(120), abs=0.01)
    assert np.mean(naive) > 10 * error
