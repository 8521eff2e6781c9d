"""What a test detects, beside a simulation and the normal limit."""

from __future__ import annotations

from math import inf, sqrt

import numpy as np
import pytest
import scipy

from harness.errors import UsageError
from harness.statistics.power import detectable


def test_normal_limit() -> None:
    """1.960 + 0.842 standard errors."""
    assert detectable(1.0, 1e6) == pytest.approx(2.8016, abs=1e-3)
    assert detectable(0.5, 1e6, power=0.9) == pytest.approx(0.5 * (1.95996 + 1.28155), abs=1e-3)


@pytest.mark.parametrize(("seeds", "deviations"), [(5, 2.02), (3, 3.07)])
def test_two_arms_of_seeds(seeds: int, deviations: float) -> None:
    """In deviations of a seed, with 2 (k − 1) degrees of freedom; t tables give the same."""
    assert detectable(sqrt(2 / seeds), 2 * (seeds - 1)) == pytest.approx(deviations, abs=0.02)


def test_simulated() -> None:
    rng = np.random.default_rng(3)
    a = rng.normal(detectable(sqrt(2 / 5), 8), size=(4000, 5))
    p = scipy.stats.ttest_ind(a, rng.normal(size=(4000, 5)), axis=1).pvalue
    assert float((p < 0.05).mean()) == pytest.approx(0.8, abs=0.025)


@pytest.mark.parametrize(
    ("se", "df", "power"), [(0, 8, 0.8), (1, 0, 0.8), (1, 8, 1), (-inf, 8, 0.8)]
)
def test_refused(se: float, df: float, power: float) -> None:
    with pytest.raises(UsageError):
        detectable(se, df, power)
