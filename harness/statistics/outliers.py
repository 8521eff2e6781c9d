"""The outlier gate: scores far below what the other languages and checkpoints predict."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from harness.errors import UsageError

Values = npt.NDArray[np.float64]

ENOUGH = 3  # checkpoints and languages: medians of fewer are no evidence
DEVIATIONS = 4.0  # robust standard deviations below the prediction
POINTS = 0.10  # and at least this far below it, in scores
EDGE = 0.01  # scores nearer to 0 or 1 count as this: their logits are mostly noise
LEAST_DEVIATION = 0.25  # in logits, about 6 points at a half: a perfect fit flags no trifles
ROUNDS = 50


@dataclass(frozen=True)
class Outlier:
    """A suspicious score, or a suspicious language.

    ``checkpoint`` is None for a language that is far below the others for the checkpoints
    altogether (how a broken data subset shows when everybody was measured on it); then ``score``
    and ``predicted`` are medians over checkpoints. ``deviations``: how many robust standard
    deviations the score is from the prediction (negative), in logits.
    """

    checkpoint: str | None
    lang: str
    score: float
    predicted: float
    deviations: float


def outliers(checkpoints: Sequence[str], langs: Sequence[str], scores: Values) -> list[Outlier]:
    """What is far too low in float64[K, L] scores in [0, 1] of one task and metric; nan: missing.

    Logits are fitted by overall + checkpoint + language with medians (Tukey's median polish), so
    that neither a weak checkpoint nor a hard language is an outlier, and one broken cell does not
    move the prediction for itself. A cell is flagged where it is more than 4 robust standard
    deviations (1.4826 × the median absolute residual, at least 0.25) below the prediction, and at
    least 10 points; a language by the same rule on the languages' effects. With fewer than 3
    checkpoints or languages there is nothing to predict from, and nothing is flagged; the same
    goes for a row or column with fewer than 3 scores. Lowest first.

    Raises UsageError where the shape does not fit or a score is outside [0, 1].
    """
    if scores.shape != (len(checkpoints), len(langs)):
        raise UsageError(
            f"scores {list(scores.shape)} of {len(checkpoints)} checkpoints and {len(langs)}"
            " languages: give one for each, nan where it is missing"
        )
    if ((scores < 0) | (scores > 1)).any():
        raise UsageError(f"scores from {np.nanmin(scores)} to {np.nanmax(scores)}: give [0, 1]")
    kept_rows, kept_columns = _with_enough(~np.isnan(scores))
    if len(kept_rows) < ENOUGH or len(kept_columns) < ENOUGH:
        return []
    known = scores[np.ix_(kept_rows, kept_columns)]
    logits = _logit(known)
    overall, columns, residuals = _polish(logits)
    found = []
    spread = _spread(residuals[~np.isnan(residuals)], sum(known.shape) - 1)
    predicted = _expit(logits - residuals)
    below = (residuals < -DEVIATIONS * spread) & (predicted - known >= POINTS)
    for row, column in np.argwhere(below):
        found.append(
            Outlier(
                checkpoint=checkpoints[kept_rows[row]],
                lang=langs[kept_columns[column]],
                score=float(known[row, column]),
                predicted=float(predicted[row, column]),
                deviations=float(residuals[row, column] / spread),
            )
        )
    spread = _spread(columns, 1)
    typical = float(_expit(np.array(overall)))
    medians = _expit(overall + columns)
    for column in np.flatnonzero((columns < -DEVIATIONS * spread) & (typical - medians >= POINTS)):
        found.append(
            Outlier(
                checkpoint=None,
                lang=langs[kept_columns[column]],
                score=float(medians[column]),
                predicted=typical,
                deviations=float(columns[column] / spread),
            )
        )
    return sorted(found, key=lambda outlier: outlier.deviations)


def _with_enough(
    known: npt.NDArray[np.bool_],
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """The rows and columns left when those with fewer than 3 scores are dropped, repeatedly."""
    rows, columns = np.arange(known.shape[0]), np.arange(known.shape[1])
    while True:
        left = known[np.ix_(rows, columns)]
        good_rows, good_columns = left.sum(axis=1) >= ENOUGH, left.sum(axis=0) >= ENOUGH
        if good_rows.all() and good_columns.all():
            return rows, columns
        rows, columns = rows[good_rows], columns[good_columns]


def _polish(logits: Values) -> tuple[float, Values, Values]:
    """(overall, columns, residuals) by sweeping out medians until nothing moves."""
    rows, columns = np.zeros(logits.shape[0]), np.zeros(logits.shape[1])
    residuals = logits
    for _ in range(ROUNDS):
        of_rows = np.nanmedian(residuals, axis=1)
        residuals = residuals - of_rows[:, None]
        of_columns = np.nanmedian(residuals, axis=0)
        residuals = residuals - of_columns
        rows, columns = rows + of_rows, columns + of_columns
        if max(np.abs(of_rows).max(), np.abs(of_columns).max()) < 1e-9:
            break
    overall = float(np.median(rows) + np.median(columns))
    return overall, columns - np.median(columns), residuals


def _spread(residuals: Values, fitted: int) -> float:
    """The robust standard deviation: 1.4826 × the median of |residual|.

    ``fitted`` medians make as many residuals zero, which says nothing of the spread: the median is
    over the others, taking the smallest for the fitted ones.
    """
    others = np.sort(np.abs(residuals))[fitted:]
    return max(1.4826 * float(np.median(others)) if len(others) else 0.0, LEAST_DEVIATION)


def _logit(scores: Values) -> Values:
    inside = np.clip(scores, EDGE, 1 - EDGE)
    logits: Values = np.log(inside / (1 - inside))
    return logits


def _expit(logits: Values) -> Values:
    scores: Values = 1 / (1 + np.exp(-logits))
    return scores
