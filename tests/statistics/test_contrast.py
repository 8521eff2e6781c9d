"""Contrasts: against scipy, and worked by hand."""

from __future__ import annotations

import numpy as np
import pytest

from harness.errors import UsageError
from harness.statistics.contrast import (
    by_group,
    by_language,
    difference_in_differences,
    label,
    language_groups,
    macro,
    macro_weights,
    seen_unseen,
    without,
)
from harness.statistics.multiplicity import benjamini_hochberg
from harness.statistics.paired import Paired
from harness.statistics.resampling import Draws, resample


def paired(sums: np.ndarray, counts: np.ndarray, langs: tuple[str, ...], task: str = "t") -> Paired:  # type: ignore[type-arg]
    clusters = np.array([f"x:{i:04d}" for i in range(len(sums))])
    return Paired(
        task, "f1", langs, (), clusters, sums.astype(np.float64), counts.astype(np.float64)
    )


def drawn(seed: int = 0, clusters: int = 60, resamples: int = 4000) -> Draws:
    rng = np.random.default_rng(seed)
    sums = rng.normal(0.4, 1.0, (clusters, 4)) + rng.normal(0, 1, (clusters, 1))
    counts = np.ones((clusters, 4)) * [1, 2, 3, 1]
    return resample([paired(sums, counts, ("de", "hi", "ru", "th"))], rng, resamples)


def test_by_hand() -> None:
    # Three clusters of one example, differences 1 1 0 in de and 1 0 0 in hi:
    # Δ = (2/3 + 1/3) / 2 = 1/2. Flips of t = (2, 1, 0)/6 reach |T| = 3/6 with + + and − −: half.
    sums = np.array([[1, 1], [1, 0], [0, 0]])
    draws = resample(
        [paired(sums, np.ones((3, 2)), ("de", "hi"))], np.random.default_rng(0), 40_000
    )
    estimate = macro(draws)
    assert estimate.difference == pytest.approx(0.5)
    assert estimate.p == pytest.approx(0.5, abs=0.01)
    # Δ* is the mean of three draws from {1, ½, 0}; 27 outcomes, the lowest and highest of 1 in 27
    # (3.7 % > 2.5 %) are the ends.
    assert (estimate.low, estimate.high) == pytest.approx((0.0, 1.0), abs=1e-6)
    assert estimate.resamples == 40_000


def test_an_end_that_only_rounding_parts_from_zero_is_zero() -> None:
    # A alone finds some queries and B none that A does not: no draw is below 0, and more than 2.5 %
    # of them, such as (1/3)^3, hold none of those queries and are 0. The sums are of residuals,
    # such as 1 - 2/3, in single precision.
    for won, of in ((2, 3), (2, 7), (3, 11), (1, 60)):
        sums = (np.arange(of) < won).astype(np.float64)[:, None]
        draws = resample([paired(sums, np.ones((of, 1)), ("de",))], np.random.default_rng(0))
        estimate = macro(draws)
        assert estimate.low == estimate.family_low == 0.0, (won, of)


def test_agrees_with_scipy_bootstrap() -> None:
    from scipy.stats import bootstrap

    rng = np.random.default_rng(3)
    values = rng.normal(0.2, 1, 150)  # one example a cluster, one language: a plain mean
    draws = resample([paired(values[:, None], np.ones((150, 1)), ("de",))], rng)
    theirs = bootstrap(
        (values,), np.mean, n_resamples=10_000, method="percentile", random_state=rng
    )
    ours = macro(draws)
    noise = 4 * theirs.standard_error * 0.03  # of a percentile of 10,000 draws
    assert ours.low == pytest.approx(theirs.confidence_interval.low, abs=noise)
    assert ours.high == pytest.approx(theirs.confidence_interval.high, abs=noise)
    assert ours.variance is not None
    assert ours.variance**0.5 == pytest.approx(theirs.standard_error, rel=0.05)


def test_agrees_with_scipy_bootstrap_of_a_ratio_over_languages() -> None:
    from scipy.stats import bootstrap

    rng = np.random.default_rng(4)
    counts = rng.integers(1, 6, (80, 3))
    sums = rng.normal(0, 1, (80, 3)) + 0.2 * counts

    def statistic(chosen: np.ndarray, axis: int) -> np.ndarray:  # type: ignore[type-arg]
        parts = [sums[chosen, k].sum(axis) / counts[chosen, k].sum(axis) for k in range(3)]
        mean: np.ndarray = np.mean(parts, axis=0)  # type: ignore[type-arg]
        return mean

    theirs = bootstrap(
        (np.arange(80),), statistic, n_resamples=10_000, method="percentile", random_state=rng
    )
    ours = macro(resample([paired(sums, counts, ("de", "hi", "th"))], rng))
    noise = 4 * theirs.standard_error * 0.03
    assert ours.low == pytest.approx(theirs.confidence_interval.low, abs=noise)
    assert ours.high == pytest.approx(theirs.confidence_interval.high, abs=noise)


@pytest.mark.parametrize("shift", [0.0, 0.3, 0.6])
def test_agrees_with_scipy_permutation(shift: float) -> None:
    from scipy.stats import permutation_test

    rng = np.random.default_rng(5)
    sums = rng.normal(shift, 1, (11, 2))
    counts = np.array([[1, 3]] * 11)
    per_cluster = (sums / counts.sum(axis=0)).mean(axis=1)
    # All 2^11 arrangements: flipping one sample's signs is swapping it with zeros.
    theirs = permutation_test(
        (per_cluster, -per_cluster),
        lambda a, b: (a - b).sum() / 2,
        permutation_type="samples",
        vectorized=False,
        n_resamples=np.inf,
    ).pvalue
    ours = macro(resample([paired(sums, counts, ("de", "hi"))], rng, 40_000)).p
    assert ours == pytest.approx(theirs, abs=4 * np.sqrt(theirs * (1 - theirs) / 40_000) + 1e-4)


def test_a_language_that_is_absent_is_not_averaged_over() -> None:
    # hi has one cluster of three, so it is absent from (2/3)^3 of the resamples.
    counts = np.array([[1, 1], [1, 0], [1, 0]])
    sums = np.array([[1, 1], [0, 0], [-1, 0]])
    draws = resample([paired(sums, counts, ("de", "hi"))], np.random.default_rng(0), 8000)
    estimate = macro(draws)
    assert estimate.resamples == pytest.approx(8000 * (1 - 8 / 27), rel=0.05)
    assert estimate.difference == pytest.approx((0 + 1) / 2)
    assert estimate.low is not None
    assert estimate.low > 0  # of hi always 1, of de at least −1/3 where x:0000 is drawn
    assert by_language(draws)[0].estimate.resamples == 8000


def test_breakdowns_are_on_the_same_weights() -> None:
    draws = drawn()
    parts = {part.name: part for part in by_language(draws)}
    assert list(parts) == ["de", "hi", "ru", "th"]
    assert [part.q for part in parts.values()] == pytest.approx(
        benjamini_hochberg([part.estimate.p for part in parts.values()])
    )
    mean = np.mean([part.estimate.difference for part in parts.values()])
    assert macro(draws).difference == pytest.approx(mean)
    scripts = {part.name: part for part in by_group(draws, language_groups(parts, "script"))}
    assert set(scripts) == {"Latn", "Deva", "Cyrl", "Thai"}
    assert scripts["Deva"].estimate == parts["hi"].estimate
    families = {p.name: p for p in by_group(draws, language_groups(parts, "family"))}
    assert families["Indo-European"].languages == ("de", "hi", "ru")
    assert families["Indo-European"].estimate.difference == pytest.approx(
        np.mean([parts[lang].estimate.difference for lang in ("de", "hi", "ru")])
    )
    assert by_group(draws, {"none of these": ("fi",)}) == []


def test_a_group_names_the_tasks_that_have_its_languages() -> None:
    rng = np.random.default_rng(1)
    sums, counts = rng.normal(0.4, 1.0, (40, 2)), np.ones((40, 2))
    draws = resample(
        [paired(sums, counts, ("de", "hi"), "one"), paired(sums, counts, ("de", "th"), "two")], rng
    )
    groups = by_group(draws, {"both": ("de",), "first": ("hi",), "second": ("th",)})
    assert {part.name: part.task for part in groups} == {
        "both": "mean of one and two",
        "first": "one",
        "second": "two",
    }
    # They are one breakdown, whatever their tasks.
    q_values = benjamini_hochberg([part.estimate.p for part in groups])
    assert [part.q for part in groups] == pytest.approx(q_values)
    assert q_values != [part.estimate.p for part in groups]


def test_difference_in_differences() -> None:
    draws = drawn()
    parts = {part.name: part.estimate.difference for part in by_language(draws)}
    result = difference_in_differences(draws, ("de", "ru"), ("hi", "th", "fi"))
    assert result is not None
    expected = (parts["de"] + parts["ru"]) / 2 - (parts["hi"] + parts["th"]) / 2
    assert result.difference == pytest.approx(expected)
    contrast = draws.bootstrap @ np.array([0.5, -0.5, 0.5, -0.5])
    assert (result.low, result.high) == pytest.approx(tuple(np.quantile(contrast, [0.025, 0.975])))
    centred = np.abs(contrast - contrast.mean()) >= abs(expected)
    assert result.p == pytest.approx(centred.mean(), abs=0.03)
    swapped = difference_in_differences(draws, ("hi", "th"), ("de", "ru"))
    assert swapped is not None
    assert swapped.difference == pytest.approx(-expected)
    assert swapped.p == pytest.approx(result.p)
    assert difference_in_differences(draws, (), ("de",)) is None
    assert difference_in_differences(draws, ("de",), ("fi",)) is None


def test_across_tasks_the_mean_is_over_tasks() -> None:
    ones = np.ones((5, 3))
    wide = paired(ones * [0.1, 0.2, 0.3], ones, ("de", "hi", "ru"), "wide")
    lone = paired(ones[:, :1] * 0.8, ones[:, :1], ("de",), "lone")
    draws = resample([wide, lone], np.random.default_rng(0), 200)
    assert label(draws.columns) == "mean of wide and lone"
    assert macro(draws).difference == pytest.approx((0.2 + 0.8) / 2)
    assert macro_weights(draws).tolist() == pytest.approx([1 / 6, 1 / 6, 1 / 6, 1 / 2])
    # Only `wide` has unseen languages: what `lone` gains in de is not a gain of seen over unseen.
    result = difference_in_differences(draws, ("de",), ("hi", "ru"))
    assert result is not None
    assert result.difference == pytest.approx(0.1 - 0.25)
    assert [(part.task, part.name) for part in by_language(draws)] == [
        ("wide", "de"), ("wide", "hi"), ("wide", "ru"), ("lone", "de"),
    ]  # fmt: skip


def test_seen_and_unseen() -> None:
    seen, unseen = seen_unseen(["de", "hi", "ru", "th"], ["de", "hi", "en"], ["hi"])
    assert (seen, unseen) == (("de",), ("ru", "th"))
    pairs = ["de", "ar", "vi", "de-ar", "ar-de", "de-vi", "vi-vi"]
    assert seen_unseen(pairs, ["de", "ar"], ["en"]) == (
        ("de", "ar", "de-ar", "ar-de"), ("vi", "vi-vi"),
    )  # fmt: skip


def test_groups_of_languages() -> None:
    assert language_groups(["de-ar", "de", "ar"], "script") == {
        "Latn": ("de-ar", "de"),
        "Arab": ("ar",),
    }
    with pytest.raises(UsageError, match="'qq' has no family"):
        language_groups(["qq"], "family")


def test_identical_runs() -> None:
    zero = np.zeros((30, 2))
    estimate = macro(resample([paired(zero, zero + 1, ("de", "hi"))], np.random.default_rng(0), 99))
    assert (estimate.difference, estimate.low, estimate.high, estimate.p) == (0, 0, 0, 1)


def test_languages_of_one_cluster_each_have_no_interval() -> None:
    # A passage in each language, not parallel: resamples that have both repeat what was observed.
    sums, counts = np.array([[2, 0], [0, 1]]), np.array([[3, 0], [0, 3]])
    draws = resample([paired(sums, counts, ("de", "hi"))], np.random.default_rng(0), 200)
    estimate = macro(draws)
    assert (estimate.low, estimate.high, estimate.variance) == (None, None, None)
    assert estimate.p == pytest.approx(0.5, abs=0.1)
    did = difference_in_differences(draws, ["de"], ["hi"])
    assert did is not None
    assert (did.low, did.p) == (None, 1.0)


def test_a_single_cluster_has_no_interval() -> None:
    draws = resample([paired(np.ones((1, 1)), np.ones((1, 1)), ("de",))], np.random.default_rng(0))
    estimate = macro(draws)
    assert (estimate.difference, estimate.p) == (1, 1)
    assert (estimate.low, estimate.high, estimate.family_low, estimate.se) == (None,) * 4


def test_without_columns_by_hand() -> None:
    # de +1 in every example, hi 0, ru +1/2: without hi the mean is 3/4.
    sums = np.array([[1.0, 0.0, 0.5]] * 4)
    langs = ("de", "hi", "ru")
    draws = resample([paired(sums, np.ones((4, 3)), langs)], np.random.default_rng(0), 500)
    part = without(draws, {("t", "hi")})
    assert part is not None
    assert (part.name, part.languages) == ("2 of 3", ("de", "ru"))
    assert part.estimate.difference == pytest.approx(0.75)
    assert without(draws, {("other", "hi")}) is None
    assert without(draws, {("t", lang) for lang in langs}) is None
