"""The word of a difference, and the figures that go with it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import scipy

from harness.statistics.contrast import Estimate
from harness.statistics.hierarchy import Replicate, Side, hierarchical, mean_interval
from harness.statistics.multiplicity import FAMILY_LEVEL, holm
from harness.statistics.verdict import DELTAS, Adjusted, Evidence, judge, unanswered

RECIPE = Evidence("recipe", (5, 1), (1, 1))


def estimate(difference: float, half: float, p: float, *, family: float | None = None) -> Estimate:
    """An interval of ``half`` to each side, a simultaneous one of ``family``."""
    wide = half if family is None else family
    return Estimate(
        difference, difference - half, difference + half, p, 0,
        family_low=difference - wide, family_high=difference + wide, se=half / 2, df=4.0,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("found", "adjusted", "word"),
    [
        (estimate(0.02, 0.01, 0.001), Adjusted("Holm", 0.008, 8), "helps"),
        (estimate(-0.02, 0.01, 0.001), Adjusted("Holm", 0.008, 8), "hurts"),
        # The plain interval leaves out zero; Holm's p decides.
        (estimate(-0.007, 0.004, 0.007, family=0.008), Adjusted("Holm", 0.055, 8),
         "no clear difference"),
        (estimate(-0.0009, 0.0007, 0.018, family=0.001), Adjusted("Holm", 0.107, 8),
         "equal within δ"),
        # The plain interval lies inside ±δ, the simultaneous one does not.
        (estimate(0.001, 0.003, 0.3, family=0.0045), Adjusted("Holm", 1.0, 8),
         "no clear difference"),
        (estimate(0.001, 0.003, 0.3, family=0.0045), Adjusted("none", None, 1), "equal within δ"),
        (estimate(0.02, 0.01, 0.03), Adjusted("Benjamini–Hochberg", 0.06, 9),
         "no clear difference"),
        (estimate(0.02, 0.01, 0.03), Adjusted("Benjamini–Hochberg", 0.04, 9), "helps"),
        (estimate(0.02, 0.01, 0.03), Adjusted("none", None, 1), "helps"),
        (estimate(0.02, 0.01, 0.05), Adjusted("none", None, 1), "no clear difference"),
        (estimate(0.0, 0.0, 1.0), Adjusted("none", None, 1), "equal within δ"),
    ],
)  # fmt: skip
def test_words(found: Estimate, adjusted: Adjusted, word: str) -> None:
    verdict = judge(found, RECIPE, adjusted, delta=0.005)
    assert (verdict.word, verdict.why) == (word, "")
    # A metric without δ is never called equal.
    without = judge(found, RECIPE, adjusted)
    assert without.word == (word if word != "equal within δ" else "no clear difference")


@pytest.mark.parametrize(
    ("low", "high", "word"),
    [(-0.25, 0.25, "equal within δ"), (-0.5, 0.25, "no clear difference"),
     (-0.25, 0.5, "no clear difference")],
)  # fmt: skip
def test_an_interval_that_reaches_delta_does_not_lie_inside_it(
    low: float, high: float, word: str
) -> None:
    found = Estimate(0.0, low, high, 1.0, 0, family_low=low, family_high=high)
    for adjusted in (Adjusted("none", None, 1), Adjusted("Holm", 1.0, 8)):
        assert judge(found, RECIPE, adjusted, delta=0.5).word == word


@pytest.mark.parametrize(
    ("half", "word"), [(0.004, "equal within δ"), (0.006, "no clear difference")]
)
def test_half_a_point_of_recall_is_too_small_to_matter(half: float, word: str) -> None:
    assert judge(estimate(0.0, half, 1.0), RECIPE, delta=DELTAS["recall@10"]).word == word


def test_not_known() -> None:
    clear = estimate(0.2, 0.01, 0.001)
    descriptive = judge(clear, Evidence("descriptive", (2, 1), (2, 1)))
    assert (descriptive.word, descriptive.why) == ("not known", "descriptive only")
    assert descriptive.estimate == 0.2  # the figures are there all the same
    chance = judge(clear, RECIPE, columns=3, at_chance=3)
    assert (chance.word, chance.why) == ("not known", "at chance")
    assert judge(clear, RECIPE, columns=3, at_chance=2).word == "helps"
    incomplete = judge(clear, replace(RECIPE, incomplete="sw missing"))
    assert (incomplete.word, incomplete.why) == ("not known", "incomplete: sw missing")
    none = unanswered("no checkpoint")
    assert (none.estimate, none.columns, none.at_chance) == (None, 0, 0)


def test_the_other_way_round() -> None:
    verdict = judge(estimate(0.02, 0.01, 0.001, family=0.015), RECIPE, Adjusted("Holm", 0.01, 8))
    mirrored = verdict.mirrored()
    assert (mirrored.word, mirrored.estimate) == ("hurts", -0.02)
    assert (mirrored.low, mirrored.high) == pytest.approx((-0.03, -0.01))
    assert (mirrored.family_low, mirrored.family_high) == pytest.approx((-0.035, -0.005))
    assert mirrored.evidence.runs == (1, 5)
    assert mirrored.mirrored() == verdict


def test_a_simultaneous_interval_without_zero_goes_with_an_adjusted_p_below_the_level() -> None:
    """Families of eight t tests: Bonferroni's interval implies Holm's rejection, not conversely."""
    rng = np.random.default_rng(0)
    implied = converse = 0
    for _ in range(60):
        tests = []
        for _ in range(8):
            scores = rng.normal(0.01, 0.006, 3)
            side = Side(tuple(Replicate("a", "", k, float(v)) for k, v in enumerate(scores)))
            base = Side((Replicate("b", "", 0, 0.0),), fixed=True)
            tests.append(hierarchical(side, base, 1e-6, 50))
        adjusted = holm([float(test.p or 0.0) for test in tests])
        for test, p in zip(tests, adjusted, strict=True):
            low, high = test.interval(FAMILY_LEVEL)
            assert low is not None
            assert high is not None
            excludes = low > 0 or high < 0
            assert not excludes or p < 0.05
            implied += excludes
            converse += p < 0.05 and not excludes
    assert implied > 0
    assert converse > 0


def test_the_interval_of_a_mean_over_seeds() -> None:
    scores, item = [0.2, 0.3, 0.4], 0.0004
    seeds = 0.01 / 3  # s² = .01
    df = (item + seeds) ** 2 / (item**2 / 9 + seeds**2 / 2)
    reach = scipy.stats.t.ppf(0.975, df) * (item + seeds) ** 0.5
    assert mean_interval(scores, item, 10) == pytest.approx((0.3 - reach, 0.3 + reach))
    assert mean_interval([0.3, 0.3], 0.0, 10) == (0.3, 0.3)
