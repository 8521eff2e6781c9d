"""The F1 that MTEB reports for bitext retrieval, row by row."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from harness.metrics.ranking import Ranks


def f1_mteb(ranks: Ranks) -> npt.NDArray[np.float64]:
    """float64[n]: each query's term of the F1 that MTEB computes for Tatoeba and BUCC.

    Every row index of a pool is a class with one gold member, and F1 is weighted by support. Where
    query i was mapped to its own row and c_i queries in all were mapped to that row, precision is
    1 / c_i, recall 1 and F1 2 / (1 + c_i); every other class has F1 0. The weights are all 1, so
    the score is the mean of the terms. Raises ValueError as `f1_mteb_terms` does.
    """
    return f1_mteb_terms(ranks.tops.first, ranks.first == 1)


def f1_mteb_terms(
    predicted: Sequence[str] | npt.NDArray[np.integer], correct: npt.NDArray[np.bool_]
) -> npt.NDArray[np.float64]:
    """float64[n]: what each row contributes to the F1 of `f1_mteb`, correct · 2 / (1 + c).

    predicted: n ids or indices, the candidate that each query was mapped to; c counts how
        often that candidate occurs in it, so all the queries of one pool belong in one call.
    correct: bool[n], whether that candidate is the query's own row.

    Raises ValueError where the lengths differ, `correct` is not boolean, or two rows are both
    correct with the same candidate: then candidates are not rows and the formula does not hold.
    """
    chosen = np.asarray(predicted)
    right = np.asarray(correct)
    if right.dtype != np.bool_:
        raise ValueError(f"correct has dtype {right.dtype}: give bool")
    if chosen.ndim != 1 or chosen.shape != right.shape:
        raise ValueError(
            f"predicted has shape {chosen.shape}, correct {right.shape}: give one of each per row"
        )
    names, candidate, counts = np.unique(chosen, return_inverse=True, return_counts=True)
    owners = np.bincount(candidate[right], minlength=len(names))
    if (owners > 1).any():
        shared = names[owners > 1][0]
        raise ValueError(
            f"candidate {shared!s} is correct for {owners.max()} rows: name candidates by row,"
            " not by text"
        )
    terms: npt.NDArray[np.float64] = np.where(right, 2.0 / (1.0 + counts[candidate]), 0.0)
    return terms
