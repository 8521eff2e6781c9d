"""Draws the bootstrap weights that every checkpoint, task and language shares.

A Bayesian cluster bootstrap (Rubin 1981): each draw gives every cluster (parallel item) one weight
from Exp(1). The weight is a function of the cluster's name and the draw's number alone, so that

- one checkpoint's draws do not depend on which others there are (one more costs only itself);
- draws of two checkpoints can be subtracted: the difference is a paired bootstrap;
- one draw weights an item alike in all languages and tasks, as the statistics ask.

Weights are whole 64ths and values are taken to 2⁻²⁰: every sum is exact in float64, in any order,
so that the same outcomes give the same interval on any machine.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from hashlib import blake2b
from math import isnan

import numpy as np
import numpy.typing as npt

from harness.metrics.per_example import Floats, PerExample

DRAWS = 500
LEVEL = (0.025, 0.975)
BITS = 12  # an Exp(1) quantile is chosen by that many random bits
BLOCK = 512  # clusters whose weights are drawn at a time
CACHED = 256  # such blocks kept, 128 MiB: the items of 130 languages of 1,000
SMALL = 16_384  # rows of a language whose keys are kept as well: a larger one is looked at anew
STEP = 2.0**-20


def cluster_keys(clusters: Iterable[str]) -> npt.NDArray[np.uint64]:
    """Return uint64[n]: the number that a cluster's weights are drawn from."""
    return np.fromiter(map(_key, clusters), dtype=np.uint64)


@lru_cache(maxsize=400_000)
def _key(cluster: str) -> int:
    return int.from_bytes(blake2b(cluster.encode(), digest_size=8).digest(), "little")


def weighted(sums: Floats, keys: npt.NDArray[np.uint64]) -> Floats:
    """Return float64[m, DRAWS]: each row of float64[m, n] added up with each draw's weights.

    keys: uint64[n], of the clusters. The weights of a million clusters would take 4 GB: they are
    there a block at a time, and sums are exact in any order.
    """
    total = np.zeros((len(sums), DRAWS))
    for start in range(0, len(keys), BLOCK):
        own = slice(start, start + BLOCK)
        total += sums[:, own] @ (_weights(keys[own].tobytes()) / 64.0)
    return total


@lru_cache(maxsize=CACHED)
def _weights(raw: bytes) -> npt.NDArray[np.uint16]:
    """Return uint16[n, DRAWS]: the weights of the clusters with these keys in 64ths, 1 or more."""
    keys = np.frombuffer(raw, dtype=np.uint64)
    steps = np.arange(1, DRAWS + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    drawn: npt.NDArray[np.uint16] = _quantiles()[
        _mixed(keys[:, None] + steps) >> np.uint64(64 - BITS)
    ]
    return drawn


def _mixed(numbers: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """Return the finaliser of splitmix64 (Steele, Lea and Flood 2014), element by element."""
    numbers = (numbers ^ (numbers >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    numbers = (numbers ^ (numbers >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return numbers ^ (numbers >> np.uint64(31))


@lru_cache(maxsize=1)
def _quantiles() -> npt.NDArray[np.uint16]:
    """Return uint16[2^BITS]: Exp(1) at equally likely points, in 64ths, 1 or more."""
    points = (np.arange(2**BITS) + 0.5) / 2**BITS
    quantiles: npt.NDArray[np.uint16] = np.maximum(np.round(-np.log(points) * 64), 1.0).astype(
        np.uint16
    )
    return quantiles


def replicates(examples: Sequence[PerExample], keys: npt.NDArray[np.uint64]) -> Floats:
    """Return float64[m, DRAWS]: m scores over the same n examples, with the weights of each draw.

    keys: uint64[n], the cluster of each example. A score is Σ w·numerator / Σ w·denominator. All
    are nan where the examples are of a single cluster, which says nothing about other ones.
    """
    needed = [part for one in examples for part in (one.numerator, one.denominator)]
    distinct = {id(part): part for part in needed}  # metrics share theirs: all means the same ones
    sums, clusters = cluster_sums(distinct.values(), keys)
    if len(clusters) < 2:
        return np.full((len(examples), DRAWS), np.nan)
    totals = dict(zip(distinct, weighted(sums, clusters), strict=True))
    above = np.stack([totals[id(one.numerator)] for one in examples])
    below = np.stack([totals[id(one.denominator)] for one in examples])
    scores: Floats = above / np.where(below > 0, below, 1.0)
    return scores


def cluster_sums(
    values: Iterable[Floats], keys: npt.NDArray[np.uint64]
) -> tuple[Floats, npt.NDArray[np.uint64]]:
    """Return float64[m, c] sums of m rows of values by cluster, rounded to 2⁻²⁰, and the c keys."""
    places = _places if len(keys) <= SMALL else _places.__wrapped__
    distinct, place = places(keys.tobytes())
    # Rows go one at a time, because a stack of all metrics would be most of what a fold takes.
    rounded = (np.round(row / STEP) * STEP for row in values)
    return np.stack([np.bincount(place, row, len(distinct)) for row in rounded]), distinct


@lru_cache(maxsize=2 * CACHED)
def _places(raw: bytes) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.int64]]:
    """Return the distinct keys in order, and where each key is among them."""
    distinct, place = np.unique(np.frombuffer(raw, dtype=np.uint64), return_inverse=True)
    return distinct, place.astype(np.int64)


def interval(draws: Floats) -> tuple[Floats, Floats]:
    """Return the 95 % percentile interval along the last axis of float64[…, DRAWS], to 6 decimals.

    It is nan where the draws are. Order statistics give what `numpy.quantile` does, and are faster:
    a board asks for hundreds of thousands.
    """
    count = draws.shape[-1]
    places = [level * (count - 1) for level in LEVEL]
    below = [int(place) for place in places]
    parted = np.partition(draws, sorted({k + step for k in below for step in (0, 1)}), axis=-1)
    low, high = (
        parted[..., k] + (place - k) * (parted[..., k + 1] - parted[..., k])
        for k, place in zip(below, places, strict=True)
    )
    return np.round(low, 6), np.round(high, 6)


def one_interval(draws: Floats) -> tuple[float | None, float | None]:
    """`interval` of float64[DRAWS]; None for ends that do not exist."""
    low, high = (float(end) for end in interval(draws))
    return (None, None) if isnan(low) else (low, high)
