"""The outlier gate."""

from __future__ import annotations

import numpy as np
import pytest

from harness.errors import UsageError
from harness.statistics.outliers import outliers


def scores(checkpoints: int = 5, langs: int = 8, noise: float = 0.15, seed: int = 0) -> np.ndarray:  # type: ignore[type-arg]
    """Strong and weak checkpoints on easy and hard languages."""
    rng = np.random.default_rng(seed)
    logits = (
        np.linspace(-1, 1, checkpoints)[:, None]
        + np.linspace(-0.5, 1.5, langs)
        + rng.normal(0, noise, (checkpoints, langs))
    )
    return 1 / (1 + np.exp(-logits))


def names(values: np.ndarray) -> tuple[list[str], list[str]]:  # type: ignore[type-arg]
    return [f"c{i}" for i in range(len(values))], [f"l{i}" for i in range(values.shape[1])]


@pytest.mark.parametrize("seed", range(20))
def test_strong_and_weak_are_no_outliers(seed: int) -> None:
    values = scores(seed=seed)
    assert outliers(*names(values), values) == []


def test_a_broken_cell() -> None:
    values = scores()
    expected, values[2, 6] = values[2, 6], 0.02
    found = outliers(*names(values), values)
    assert [(o.checkpoint, o.lang) for o in found] == [("c2", "l6")]
    assert found[0].score == 0.02
    assert found[0].predicted == pytest.approx(expected, abs=0.1)
    assert found[0].deviations < -5


def test_a_language_that_is_broken_for_all() -> None:
    values = scores(langs=8)
    values[:, 3] = [0.01, 0.02, 0.01, 0.015, 0.02]
    values[:, [0, 1, 2, 4, 5, 6, 7]] = scores(langs=7) * 0.1 + 0.6
    found = outliers(*names(values), values)
    assert [(o.checkpoint, o.lang) for o in found] == [(None, "l3")]


def test_by_hand() -> None:
    # All alike but one: prediction ½ everywhere, logit(0.1) = −2.197, over the least deviation ¼.
    values = np.full((3, 4), 0.5)
    values[1, 2] = 0.1
    found = outliers(*names(values), values)
    assert len(found) == 1
    assert found[0].predicted == pytest.approx(0.5)
    assert found[0].deviations == pytest.approx(np.log(0.1 / 0.9) / 0.25)


def test_a_language_by_hand() -> None:
    # From the median, which is 2 and no evidence of spread, the others are 0.5, 0.5, 1 and 6 away.
    logits = np.array([2, 2.5, 1.5, 3, -4])
    values = np.tile(1 / (1 + np.exp(-logits)), (3, 1))
    (found,) = outliers(*names(values), values)
    assert (found.checkpoint, found.lang) == (None, "l4")
    assert (found.score, found.predicted) == pytest.approx((values[0, 4], values[0, 0]))
    assert found.deviations == pytest.approx(-6 / (1.4826 * 0.75))


@pytest.mark.parametrize(("deviations", "flagged"), [(3.9, 0), (4.1, 1)])
def test_four_deviations_or_more(deviations: float, flagged: int) -> None:
    values = np.full((3, 4), 0.5)
    values[1, 2] = 1 / (1 + np.exp(deviations * 0.25))
    assert len(outliers(*names(values), values)) == flagged


def test_residuals_that_are_zero_because_a_median_was_fitted_are_no_spread() -> None:
    # All medians are zero, and so are five residuals of nine; the four others are 2 in size.
    logits = np.array([[2.0, -2, 0], [-2, 2, 0], [0, 0, 0]])
    assert outliers(*names(logits), 1 / (1 + np.exp(-logits))) == []


def test_ten_points_at_least_and_only_below() -> None:
    for value in (0.41, 0.99):
        values = np.full((3, 4), 0.5)
        values[1, 2] = value
        assert outliers(*names(values), values) == []
    floor = np.full((4, 4), 0.12)
    floor[0, 0] = 0.03
    assert outliers(*names(floor), floor) == []


def test_too_few_to_say() -> None:
    for shape in ((2, 9), (9, 2), (0, 0)):
        values = np.full(shape, 0.9)
        values[:1, :1] = 0.0
        assert outliers(*names(values), values) == []


def test_missing_scores() -> None:
    values = scores()
    values[0, 1] = values[3, 4] = np.nan
    values[1, 5] = 0.0
    values = np.hstack([values, np.full((5, 1), np.nan)])
    values[0, 8] = 0.0  # one score of its language: nothing to predict it from
    assert [(o.checkpoint, o.lang) for o in outliers(*names(values), values)] == [("c1", "l5")]


def test_refusals() -> None:
    with pytest.raises(UsageError, match="nan where it is missing"):
        outliers(["a"], ["de", "hi"], np.zeros((1, 1)))
    with pytest.raises(UsageError, match="give \\[0, 1\\]"):
        outliers(["a"], ["de"], np.full((1, 1), 50.0))
