"""Spearman's ρ by hand and beside scipy's."""

from __future__ import annotations

from math import atanh, sqrt, tanh

import numpy as np
import pytest
import scipy
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import UsageError
from harness.statistics.correlation import rank_correlation


def test_by_hand() -> None:
    """Ranks 1 2 3 4 5 against 2 1 4 3 5: ρ = 1 − 6 · 4 / (5 · 24) = 0.8."""
    found = rank_correlation([10, 20, 30, 40, 50], [0.2, 0.1, 0.4, 0.3, 0.9])
    assert (found.rho, found.n) == (pytest.approx(0.8), 5)
    reach = 1.96 * sqrt((1 + 0.32) / 2)
    assert found.low == pytest.approx(tanh(atanh(0.8) - reach), abs=1e-3)
    assert found.high == pytest.approx(tanh(atanh(0.8) + reach), abs=1e-3)


@given(
    st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=4, max_size=20).filter(
        lambda pairs: all(len(set(side)) > 1 for side in zip(*pairs, strict=True))
    )
)
def test_beside_scipy(pairs: list[tuple[int, int]]) -> None:
    x, y = zip(*pairs, strict=True)
    found = rank_correlation(x, y)
    assert found.rho == pytest.approx(float(scipy.stats.spearmanr(x, y).statistic), abs=1e-9)
    assert -1 <= found.low <= found.rho + 1e-9
    assert found.rho - 1e-9 <= found.high <= 1


@pytest.mark.parametrize("sign", [1, -1])
def test_perfect_order(sign: int) -> None:
    found = rank_correlation([1, 2, 3, 4], [sign * v for v in (1, 2, 3, 4)])
    assert (found.rho, found.low, found.high) == (sign, sign, sign)


@pytest.mark.parametrize(("x", "y"), [([1, 2, 3], [1, 2, 3]), ([1, 1, 1, 1], [1, 2, 3, 4]),
                                      ([1, 2, 3, 4], [1, 2, 3])])  # fmt: skip
def test_refused(x: list[float], y: list[float]) -> None:
    with pytest.raises(UsageError):
        rank_correlation(x, y)


def test_interval_covers() -> None:
    """Of 12 pairs of two normals with a correlation of 0.5 the interval holds Spearman's ρ, 6/π ·
    asin(0.25) = 0.483, in some 95 of 100 samples."""
    rng = np.random.default_rng(5)
    held = 0
    for _ in range(400):
        x = rng.normal(size=12)
        y = 0.5 * x + sqrt(0.75) * rng.normal(size=12)
        found = rank_correlation(list(x), list(y))
        held += found.low <= 0.4826 <= found.high
    assert 0.91 < held / 400 < 0.99
