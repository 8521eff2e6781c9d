"""Weights, signs, and the draws that they give."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.errors import UsageError
from harness.statistics.paired import Paired
from harness.statistics.resampling import (
    STEPS,
    _poisson,
    cluster_signs,
    cluster_weights,
    flip_p,
    percentile_interval,
    resample,
    resample_each,
)


def paired(
    sums: list[list[float]], counts: list[list[float]], task: str = "t", namespace: str = "x"
) -> Paired:
    """A comparison of languages a, b, … by clusters x:0, x:1, …"""
    langs = tuple("abcdefgh"[: len(sums[0])])
    clusters = np.array([f"{namespace}:{i:04d}" for i in range(len(sums))])
    return Paired(
        task, "recall@10", langs, (), clusters, np.array(sums, float), np.array(counts, float)
    )


@pytest.mark.parametrize("clusters", [1, 2, 7, 30, 240, 3000])
def test_weights_are_multinomial(clusters: int) -> None:
    weights = cluster_weights(clusters, 4000, np.random.default_rng(1))
    assert weights.dtype == np.float32
    assert (weights >= 0).all()
    assert (weights.sum(axis=1) == clusters).all()
    # Moments of one count: mean 1, variance 1 − 1/C, and P(0) = (1 − 1/C)^C.
    column = weights[:, :: max(1, clusters // 50)]
    error = 5 / np.sqrt(column.size)
    assert column.mean() == pytest.approx(1, abs=error)
    assert column.var() == pytest.approx(1 - 1 / clusters, abs=3 * error)
    assert (column == 0).mean() == pytest.approx((1 - 1 / clusters) ** clusters, abs=error)


def test_counts_of_weights_follow_the_binomial() -> None:
    from scipy.stats import binom, chisquare

    clusters = 40
    weights = cluster_weights(clusters, 20_000, np.random.default_rng(2))
    # One column: the draws of different rows are independent.
    seen = np.bincount(np.minimum(weights[:, 3].astype(int), 5), minlength=6)
    expected = binom.pmf(np.arange(6), clusters, 1 / clusters)
    expected[5] = 1 - expected[:5].sum()
    assert chisquare(seen, expected * 20_000).pvalue > 0.001


class EveryStep:
    """A generator that draws each of the 65,536 coarse steps once, and then their middles."""

    def integers(self, low: int, high: int, size: int, dtype: type) -> np.ndarray:  # type: ignore[type-arg]
        assert (low, high, size, dtype) == (0, 2**64, STEPS // 4, np.uint64)
        return np.arange(STEPS, dtype=np.uint16).view(np.uint64)

    def random(self, size: int) -> np.ndarray:  # type: ignore[type-arg]
        return np.full(size, 0.5)


@pytest.mark.parametrize("rate", [1.0, 0.7, 0.1])
def test_counts_are_the_quantiles_of_poisson_at_every_step(rate: float) -> None:
    from scipy.stats import poisson

    found = _poisson(rate, (STEPS, 1), EveryStep())  # type: ignore[arg-type]
    assert np.array_equal(found[:, 0], poisson.ppf((np.arange(STEPS) + 0.5) / STEPS, rate))


def test_pairs_of_weights_are_negatively_correlated() -> None:
    weights = cluster_weights(4, 100_000, np.random.default_rng(3)).astype(np.float64)
    covariance = np.cov(weights.T)  # multinomial: −1/C
    assert covariance[0, 1] == pytest.approx(-0.25, abs=0.02)


class HighFirst:
    """A generator whose first numbers are the highest there are."""

    def __init__(self) -> None:
        self.rng, self.first = np.random.default_rng(0), True

    def integers(self, low: int, high: int, size: int, dtype: type = np.int64) -> np.ndarray:  # type: ignore[type-arg]
        drawn = self.rng.integers(low, high, size=size, dtype=dtype)
        if self.first:
            drawn[:] = high - 1
        self.first = False
        return drawn

    def random(self, size: int) -> np.ndarray:  # type: ignore[type-arg]
        return self.rng.random(size)


def test_rows_of_too_many_draws_are_drawn_again() -> None:
    weights = cluster_weights(100, 3, HighFirst())  # type: ignore[arg-type]
    assert (weights.sum(axis=1) == 100).all()
    assert weights.max() < 10


@pytest.mark.parametrize("clusters", [1, 8, 13])
def test_signs_are_fair(clusters: int) -> None:
    signs = cluster_signs(clusters, 20_000, np.random.default_rng(0))
    assert signs.shape == (20_000, clusters)
    assert set(np.unique(signs)) == {-1.0, 1.0}
    assert np.abs(signs.mean(axis=0)).max() < 5 / np.sqrt(20_000)


def test_draws_by_hand() -> None:
    # With two clusters there are three weightings, (2 0) (1 1) (0 2), and two kinds of signs.
    draws = resample([paired([[1, 0], [-2, 1]], [[1, 2], [4, 1]])], np.random.default_rng(0), 400)
    assert draws.observed.tolist() == pytest.approx([-1 / 5, 1 / 3])
    first, second = np.unique(np.round(draws.bootstrap, 6), axis=0).T
    assert first.tolist() == pytest.approx([-0.5, -0.2, 1.0])
    assert second.tolist() == pytest.approx([1.0, 1 / 3, 0.0], abs=1e-6)
    assert set(np.round(draws.flipped[:, 0] * 5)) == {-3.0, -1.0, 1.0, 3.0}
    assert draws.sizes == (5, 3)
    assert draws.columns == (("t", "a"), ("t", "b"))


def test_a_language_without_a_draw_has_no_value() -> None:
    draws = resample([paired([[1, 1], [0, 0]], [[1, 1], [1, 0]])], np.random.default_rng(0), 400)
    absent = np.isnan(draws.bootstrap[:, 1])
    assert 0.15 < absent.mean() < 0.35  # both draws fell on the other cluster: 1/4
    assert (draws.bootstrap[absent, 0] == 0).all()
    assert not np.isnan(draws.bootstrap[:, 0]).any()


def test_tasks_that_share_clusters_share_weights() -> None:
    sums, counts = [[1.0], [0.0], [3.0], [-1.0]], [[2.0], [1.0], [4.0], [1.0]]
    same = [paired(sums, counts, task) for task in ("lareqa", "xquad")]
    other = paired(sums, counts, "mlqa", namespace="y")
    draws = resample([*same, other], np.random.default_rng(0), 300)
    assert np.array_equal(draws.bootstrap[:, 0], draws.bootstrap[:, 1])
    assert np.array_equal(draws.flipped[:, 0], draws.flipped[:, 1])
    assert abs(np.corrcoef(draws.bootstrap[:, 0], draws.bootstrap[:, 2])[0, 1]) < 0.25
    assert draws.clusters == 8


def test_namespaces_are_resampled_each_to_its_own_size() -> None:
    # Counts of one in a lone cluster: were both namespaces one urn, it would often be absent.
    lone = paired([[1.0]], [[1.0]], "one", namespace="a")
    many = paired([[1.0]] * 50, [[1.0]] * 50, "many", namespace="b")
    draws = resample([lone, many], np.random.default_rng(0), 200)
    assert not np.isnan(draws.bootstrap).any()


def test_clusters_of_one_task_within_those_of_another() -> None:
    whole = paired([[1.0], [2.0], [5.0]], [[1.0]] * 3, "whole")
    inner = Paired(
        "inner", "f1", ("a",), (), whole.clusters[[0, 2]], np.array([[1.0], [5.0]]), np.ones((2, 1))
    )
    draws = resample([inner, whole], np.random.default_rng(4), 300)
    assert draws.observed.tolist() == pytest.approx([3.0, 8 / 3])
    alone = draws.bootstrap[:, 0]
    assert set(np.round(alone[~np.isnan(alone)], 3)) == {1.0, 5.0, 3.0, 2.333, 3.667}


def test_a_seed_gives_the_same_draws() -> None:
    comparison = paired([[1.0, 0], [0, -1], [2, 2]], [[2.0, 1], [1, 1], [2, 3]])
    one, two, three = (
        resample([comparison], np.random.default_rng(seed), 100) for seed in (5, 5, 6)
    )
    assert np.array_equal(one.bootstrap, two.bootstrap)
    assert np.array_equal(one.flipped, two.flipped)
    assert not np.array_equal(one.bootstrap, three.bootstrap)


def test_differences_that_share_their_weights_are_what_they_are_alone() -> None:
    rng = np.random.default_rng(3)
    first, second, apart = (
        paired(rng.normal(size=(60, langs)).tolist(), np.ones((60, langs)).tolist(), task, name)
        for langs, task, name in ((3, "t", "x"), (2, "t", "x"), (2, "u", "y"))
    )
    alike = [[first], [second], [first]]
    for every in (alike, [[*one, apart] for one in alike], [[first], [apart], [second]]):
        for one, shared in zip(every, resample_each(every, 7, 300), strict=True):
            alone = resample(one, np.random.default_rng(7), 300)
            assert np.array_equal(shared.bootstrap, alone.bootstrap)
            assert np.array_equal(shared.flipped, alone.flipped)
            assert np.array_equal(shared.observed, alone.observed)
            assert (shared.columns, shared.sizes) == (alone.columns, alone.sizes)
    assert resample_each([], 7, 300) == []


TABLES = st.integers(2, 12).flatmap(
    lambda clusters: st.tuples(
        st.lists(st.tuples(st.integers(-5, 5), st.integers(-5, 5)), min_size=clusters,
                 max_size=clusters),
        st.lists(st.tuples(st.integers(1, 6), st.integers(1, 6)), min_size=clusters,
                 max_size=clusters),
    )
)  # fmt: skip


@settings(max_examples=40, deadline=None)
@given(TABLES)
def test_antisymmetry_and_a_constant_shift(
    table: tuple[list[list[float]], list[list[float]]],
) -> None:
    sums, counts = (np.array(part, dtype=float) for part in table)
    forth, back, moved = (
        resample([paired(values.tolist(), counts.tolist())], np.random.default_rng(0), 50)
        for values in (sums, -sums, sums + 0.5 * counts)
    )
    np.testing.assert_allclose(forth.bootstrap, -back.bootstrap, atol=1e-6)
    np.testing.assert_allclose(forth.flipped, -back.flipped, atol=1e-6)
    np.testing.assert_allclose(moved.bootstrap, forth.bootstrap + 0.5, atol=1e-5)


def test_all_flips_of_four_clusters() -> None:
    # |T| = 7 of 1 2 4 0: reached by + + + ±, − − − ±: 4 of 16 arrangements.
    signs = np.array(list(product([1, -1], repeat=4)))
    assert flip_p(7.0, signs @ np.array([1, 2, 4, 0]), 1e-6) == pytest.approx((1 + 4) / 17)


def test_rounding_does_not_break_ties() -> None:
    flipped = np.array([0.3 - 1e-9, -0.3 + 1e-9, 0.1])
    assert flip_p(0.3, flipped, 1e-6) == pytest.approx(3 / 4)
    assert flip_p(0.0, np.zeros(99), 0.0) == 1.0


def test_percentiles_leave_out_what_has_no_value() -> None:
    draws = np.append(np.arange(101.0), [np.nan] * 7)
    assert percentile_interval(draws) == pytest.approx((2.5, 97.5))
    assert all(np.isnan(percentile_interval(np.array([np.nan]))))


def test_nothing_to_resample() -> None:
    with pytest.raises(UsageError, match="at least one"):
        resample([], np.random.default_rng(0))
    one = paired([[1.0]], [[1.0]])
    with pytest.raises(UsageError, match="one comparison of each task"):
        resample([one, one], np.random.default_rng(0))
    with pytest.raises(UsageError, match="0 resamples"):
        resample([one], np.random.default_rng(0), 0)
