"""Many tests at once: adjusted p-values."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

ALPHA = 0.05
# The confirmatory family of a base: four contrasts in two measures.
FAMILY_SIZE = 8
# Of a simultaneous interval in that family, after Bonferroni.
FAMILY_LEVEL = 1 - ALPHA / FAMILY_SIZE


def holm(p_values: Sequence[float], family: int | None = None) -> list[float]:
    """Adjusted p-values of Holm (1979), in the given order: they bound the chance of any error.

    The i-th smallest of m is multiplied by m − i + 1; then none is below a smaller one's, nor
    above 1. ``family``: m, where some hypotheses have no p-value yet; they count as p = 1.
    """
    ordered, order = _sorted(p_values)
    size = len(ordered) if family is None else family
    if size < len(ordered):
        raise ValueError(f"{len(ordered)} p-values in a family of {size}")
    factors = np.arange(size, size - len(ordered), -1)
    return _restored(np.maximum.accumulate(ordered * factors), order)


def benjamini_hochberg(p_values: Sequence[float]) -> list[float]:
    """Adjusted p-values of Benjamini and Hochberg (1995), in the given order: they bound the
    expected share of errors among what is called different.

    The i-th smallest of m is multiplied by m / i; then none is above a larger one's, nor above 1.
    """
    ordered, order = _sorted(p_values)
    scaled = ordered * len(ordered) / np.arange(1, len(ordered) + 1)
    return _restored(np.minimum.accumulate(scaled[::-1])[::-1], order)


def _sorted(
    p_values: Sequence[float],
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.intp]]:
    values = np.array(p_values, dtype=np.float64)
    if not ((values >= 0) & (values <= 1)).all():
        raise ValueError(f"p-values {list(p_values)}: each is a number from 0 to 1")
    order = np.argsort(values, kind="stable")
    return values[order], order


def _restored(adjusted: npt.NDArray[np.float64], order: npt.NDArray[np.intp]) -> list[float]:
    restored = np.empty(len(adjusted))
    restored[order] = np.minimum(adjusted, 1.0)
    return [float(value) for value in restored]
