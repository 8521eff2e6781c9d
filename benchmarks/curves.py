"""Loss curves of several seeds on two sides: do they differ by more than their seeds do? And the
straight line through seconds against sizes.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations, pairwise
from math import comb

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


def binned(losses: Sequence[float], size: int = 10) -> Floats:
    """The mean of every ``size`` steps in turn, float64[bins]; a rest joins the last bin."""
    count = max(1, len(losses) // size)
    bounds = [at * size for at in range(count)] + [len(losses)]
    return np.array([np.mean(losses[a:b]) for a, b in pairwise(bounds)])


def inside(ours: Floats, theirs: Floats) -> int:
    """In how many bins our mean over seeds lies within the range of their single seeds.

    Both float64[seeds, bins].
    """
    mean = ours.mean(axis=0)
    return int(((theirs.min(axis=0) <= mean) & (mean <= theirs.max(axis=0))).sum())


def permuted(ours: Floats, theirs: Floats) -> float:
    """Exact permutation p-value of the mean absolute difference of the sides' mean curves.

    Seeds are dealt to the two sides in every possible way. With n seeds a side it is no less than
    ``least(n)``: 0.1 for three, 0.029 for four.
    """
    every = np.concatenate([ours, theirs])
    found, most = 0, 0
    limit = _apart(every, range(len(ours)))
    for chosen in combinations(range(len(every)), len(ours)):
        most += 1
        found += _apart(every, chosen) >= limit - 1e-12
    return found / most


def least(seeds: int) -> float:
    """The smallest p-value that so many seeds a side can give."""
    return 2 / comb(2 * seeds, seeds)


def line(sizes: Sequence[float], seconds: Sequence[float]) -> tuple[float, float]:
    """Fixed seconds and seconds for each unit of size, by least squares of the relative errors.

    Of absolute ones, the largest size would decide alone.
    """
    taken = np.asarray(seconds, dtype=float)
    each, fixed = np.polyfit(np.asarray(sizes, dtype=float), taken, 1, w=1 / taken)
    return float(fixed), float(each)


def _apart(every: Floats, chosen: Sequence[int]) -> float:
    mask = np.zeros(len(every), dtype=bool)
    mask[list(chosen)] = True
    return float(np.abs(every[mask].mean(axis=0) - every[~mask].mean(axis=0)).mean())
