"""Rank correlation over a few checkpoints, with an interval."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import atanh, inf, sqrt, tanh

import numpy as np
import numpy.typing as npt

from harness.errors import UsageError

FEWEST = 4  # pairs: with three the interval's standard error is infinite


@dataclass(frozen=True)
class Correlation:
    """Spearman's ρ in [−1, 1] over ``n`` pairs with its 95 % interval."""

    rho: float
    low: float
    high: float
    n: int


def rank_correlation(x: Sequence[float], y: Sequence[float]) -> Correlation:
    """Spearman's ρ, ties at their mean rank, with the interval of Bonett and Wright (2000).

    Fisher's transform of ρ has a standard error of √((1 + ρ² / 2) / (n − 3)).

    Raises:
        UsageError: fewer than 4 pairs, or one side has no two different values.
    """
    if len(x) != len(y) or len(x) < FEWEST:
        raise UsageError(
            f"a rank correlation of {len(x)} and {len(y)}: give {FEWEST} pairs or more"
        )
    a, b = (_ranks(side) for side in (x, y))
    if a.std() == 0 or b.std() == 0:
        raise UsageError("a rank correlation of equal values: one side does not vary")
    rho = float(np.clip(np.corrcoef(a, b)[0, 1], -1, 1))
    reach = 1.959963984540054 * sqrt((1 + rho**2 / 2) / (len(x) - 3))
    centre = inf * rho if abs(rho) == 1 else atanh(rho)
    return Correlation(rho, tanh(centre - reach), tanh(centre + reach), len(x))


def _ranks(values: Sequence[float]) -> npt.NDArray[np.float64]:
    """float64[n]: ranks from 1, equal values at the mean of theirs."""
    given = np.asarray(values, dtype=np.float64)
    below = (given[None, :] < given[:, None]).sum(axis=1)
    equal = (given[None, :] == given[:, None]).sum(axis=1)
    ranks: npt.NDArray[np.float64] = below + (equal + 1) / 2
    return ranks
