"""Do 95 % intervals cover, and does the null reject at 5 %? 2,000 simulated contrasts each."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pytest

from harness.statistics.contrast import difference_in_differences, macro
from harness.statistics.paired import Paired
from harness.statistics.ratios import PairedRatios
from harness.statistics.resampling import resample

pytestmark = pytest.mark.slow

SIMULATIONS = 2_000
RESAMPLES = 2_000
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Scenario:
    """Logits of success: rate by language + an effect of the cluster (a part shared by languages)
    + one of run × cluster. ``size``: mean examples a cluster by language, at least one; where
    ``present`` is below 1 only that share of clusters has the language."""

    clusters: int
    size: tuple[float, ...]
    rate_a: tuple[float, ...]
    rate_b: tuple[float, ...]
    spread: float
    shared: float
    present: tuple[float, ...] | None = None

    def simulate(
        self, rng: np.random.Generator, null: bool = False, clusters: int | None = None
    ) -> tuple[Floats, Floats]:
        shape = (clusters or self.clusters, len(self.size))
        counts = 1 + rng.poisson(np.array(self.size) - 1, shape)
        if self.present is not None:
            counts = counts * (rng.random(shape) < self.present)
        item = self.spread * (
            np.sqrt(self.shared) * rng.standard_normal((shape[0], 1))
            + np.sqrt(1 - self.shared) * rng.standard_normal(shape)
        )
        found = []
        for rate in (self.rate_a, self.rate_a if null else self.rate_b):
            logit = np.log(np.array(rate) / (1 - np.array(rate)))
            own = self.spread / 2 * rng.standard_normal(shape)
            found.append(rng.binomial(counts, 1 / (1 + np.exp(-(logit + item + own)))))
        kept = counts.sum(axis=1) > 0
        return (found[0] - found[1])[kept].astype(np.float64), counts[kept].astype(np.float64)

    def truth(self) -> Floats:
        sums, counts = self.simulate(np.random.default_rng(1), clusters=400_000)
        means: Floats = sums.sum(axis=0) / counts.sum(axis=0)
        return means


SCENARIOS = {
    "unequal sizes": Scenario(100, (8, 3, 1), (0.6, 0.5, 0.4), (0.5, 0.5, 0.35), 1.0, 0.5),
    "near the floor": Scenario(100, (8, 3, 1), (0.03, 0.02, 0.02), (0.015, 0.01, 0.02), 1.0, 0.5),
    "floor, 240 clusters": Scenario(240, (5,) * 11, (0.03,) * 11, (0.02,) * 11, 1.5, 0.7),
    "strong correlation": Scenario(
        100,
        (10, 5, 5, 5, 3, 3, 2, 2, 1, 1, 1),
        tuple(np.linspace(0.02, 0.8, 11)),
        tuple(np.linspace(0.02, 0.7, 11)),
        2.0,
        0.8,
    ),
    "languages share few items": Scenario(
        300,
        (1,) * 5,
        tuple(np.linspace(0.02, 0.5, 5)),
        tuple(np.linspace(0.02, 0.4, 5)),
        1.5,
        0.8,
        (0.9, 0.6, 0.4, 0.3, 0.2),
    ),
    "large clusters": Scenario(100, (30, 10, 2), (0.1, 0.05, 0.03), (0.08, 0.05, 0.03), 2.5, 0.9),
}


def paired(table: tuple[Floats, Floats]) -> Paired:
    sums, counts = table
    langs = tuple(f"l{i}" for i in range(sums.shape[1]))
    clusters = np.array([f"x:{i:06d}" for i in range(len(sums))])
    return Paired("t", "recall@10", langs, (), clusters, sums, counts)


@pytest.mark.parametrize("name", SCENARIOS)
def test_intervals_cover(name: str) -> None:
    scenario, rng = SCENARIOS[name], np.random.default_rng(10)
    truth = float(scenario.truth().mean())
    below = above = 0
    for _ in range(SIMULATIONS):
        estimate = macro(resample([paired(scenario.simulate(rng))], rng, RESAMPLES))
        assert estimate.low is not None
        assert estimate.high is not None
        below += estimate.high < truth
        above += estimate.low > truth
    coverage = 1 - (below + above) / SIMULATIONS
    print(f"{name}: coverage {coverage:.4f}, missed below {below}, above {above}")
    assert 0.93 <= coverage <= 0.97


@pytest.mark.parametrize("name", SCENARIOS)
def test_the_null_rejects_at_its_level(name: str) -> None:
    scenario, rng = SCENARIOS[name], np.random.default_rng(11)
    rejected = sum(
        macro(resample([paired(scenario.simulate(rng, null=True))], rng, RESAMPLES)).p <= 0.05
        for _ in range(SIMULATIONS)
    )
    print(f"{name}: null rejects {rejected / SIMULATIONS:.4f}")
    assert 0.03 <= rejected / SIMULATIONS <= 0.07


def test_difference_in_differences_when_both_sides_gain() -> None:
    # All languages gain the same: the gain is no difference between seen and unseen.
    scenario, rng = (
        Scenario(150, (4, 3, 2, 1), (0.7,) * 4, (0.4,) * 4, 1.0, 0.6),
        (np.random.default_rng(12)),
    )
    covered = rejected = 0
    for _ in range(SIMULATIONS):
        draws = resample([paired(scenario.simulate(rng))], rng, RESAMPLES)
        result = difference_in_differences(draws, ("l0", "l3"), ("l1", "l2"))
        assert result is not None
        assert result.low is not None
        assert result.high is not None
        covered += result.low <= 0 <= result.high
        rejected += result.p <= 0.05
    print(f"differences in differences: {covered / SIMULATIONS:.4f} {rejected / SIMULATIONS:.4f}")
    assert 0.93 <= covered / SIMULATIONS <= 0.97
    assert 0.03 <= rejected / SIMULATIONS <= 0.07


def mined(
    rng: np.random.Generator, hit_a: float, hit_b: float, sources: int = 300, gold: float = 0.5
) -> PairedRatios:
    """Sources with a gold pair are found or mined wrongly; some others are mined by mistake."""
    ease = 0.8 * rng.standard_normal(sources)
    is_gold = rng.random(sources) < gold
    parts = []
    for hit in (hit_a, hit_b):
        right = is_gold & (np.log(hit / (1 - hit)) + ease + rng.logistic(size=sources) > 0)
        parts += [right, right | (rng.random(sources) < 0.15)]
    hits_a, kept_a, hits_b, kept_b, of_gold = (
        part.astype(np.float64)[:, None] for part in (*parts, is_gold)
    )
    clusters = np.array([f"b:de:{i:06d}" for i in range(sources)])
    return PairedRatios(
        "b", "f1", ("de",), (), clusters,
        2 * hits_a, 2 * hits_b, kept_a + of_gold, kept_b + of_gold, of_gold,
    )  # fmt: skip


def test_mining() -> None:
    rng = np.random.default_rng(13)
    truth = float(mined(rng, 0.7, 0.6, 400_000).observed[0])
    covered = rejected = 0
    for _ in range(SIMULATIONS):
        estimate = macro(resample([mined(rng, 0.7, 0.6)], rng, RESAMPLES))
        assert estimate.low is not None
        assert estimate.high is not None
        covered += estimate.low <= truth <= estimate.high
        rejected += macro(resample([mined(rng, 0.6, 0.6)], rng, RESAMPLES)).p <= 0.05
    print(f"mining: coverage {covered / SIMULATIONS:.4f}, null {rejected / SIMULATIONS:.4f}")
    assert 0.93 <= covered / SIMULATIONS <= 0.97
    assert 0.03 <= rejected / SIMULATIONS <= 0.07
