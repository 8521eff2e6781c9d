"""Resampling by cluster: bootstrap weights and sign flips, as blocked matrix products."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import exp, factorial, sqrt
from typing import Protocol

import numpy as np
import numpy.typing as npt

from harness.errors import UsageError

RESAMPLES = 10_000
BLOCK = 4 << 20  # weights at a time: 16 MiB in single precision
STEPS = 1 << 16  # how fine a random number is before it is looked up
ROUNDING = 1e-6  # of a difference's magnitude: single precision, with room

Floats = npt.NDArray[np.float64]
Singles = npt.NDArray[np.float32]


class Comparison(Protocol):
    """What is resampled: `paired.Paired`, `ratios.PairedRatios` and `ratios.AveragedRatios`."""

    @property
    def task(self) -> str: ...
    @property
    def langs(self) -> tuple[str, ...]: ...
    @property
    def clusters(self) -> npt.NDArray[np.str_]: ...
    @property
    def observed(self) -> Floats: ...
    @property
    def sizes(self) -> Floats: ...
    @property
    def magnitude(self) -> Floats: ...
    @property
    def present(self) -> npt.NDArray[np.bool_]: ...
    def part(self, chosen: npt.NDArray[np.bool_]) -> Comparison: ...
    def weighted_columns(self) -> Floats: ...
    def weighted_differences(self, totals: Floats) -> Floats: ...
    def flipped_columns(self) -> Floats: ...
    def flipped_differences(self, totals: Floats) -> Floats: ...


@dataclass(frozen=True, eq=False)
class Draws:
    """Differences under resampling; a column is one language of one task.

    ``columns``: (task, language) × J; ``sizes``: the examples of each; ``clusters``: the number of
    distinct clusters; ``observed``: float64[J]; ``bootstrap``: float64[R, J], nan where a resample
    has no example of the column; ``flipped``: float64[R, J], with signs of whole clusters flipped;
    ``magnitude``: float64[J], what rounding errors are in proportion to; ``present``: bool[C, J],
    which of the clusters have examples of a column.
    """

    columns: tuple[tuple[str, str], ...]
    sizes: tuple[int, ...]
    clusters: int
    observed: Floats
    bootstrap: Floats
    flipped: Floats
    magnitude: Floats
    present: npt.NDArray[np.bool_]

    def clusters_of(self, weights: Floats) -> int:
        """The number of distinct clusters of the columns that have a weight."""
        return int(self.present[:, weights != 0].any(axis=1).sum())

    def varies(self, weights: Floats) -> bool:
        """Whether some column that has a weight is of two clusters or more.

        Else every resample that has all the columns repeats what was observed.
        """
        return bool((self.present[:, weights != 0].sum(axis=0) > 1).any())


def resample(
    comparisons: Sequence[Comparison], rng: np.random.Generator, resamples: int = RESAMPLES
) -> Draws:
    """Bootstrap and sign-flip one difference ``resamples`` times, with one weight (or sign) per
    cluster.

    Weights and signs are shared by all languages, and by the tasks that share clusters. Each
    namespace (the part of a cluster's name before the colon) is resampled to its own number of
    clusters: those of another task do not change it. The same generator state, comparisons and
    number of resamples give the same draws.

    Raises UsageError where there is nothing to resample or a task is given twice.
    """
    return _resample([comparisons], _clusters(comparisons), rng, resamples)[0]


def resample_each(
    differences: Sequence[Sequence[Comparison]], seed: int, resamples: int = RESAMPLES
) -> list[Draws]:
    """Resample several differences, each as `resample` does with a new generator of this seed.

    Those over the same clusters share their weights and signs, which take longer to draw than to
    apply. Raises UsageError as `resample` does.
    """
    alike: dict[tuple[str, bytes], tuple[npt.NDArray[np.str_], list[int]]] = {}
    for place, comparisons in enumerate(differences):
        clusters = _clusters(comparisons)
        key = (clusters.dtype.str, clusters.tobytes())
        alike.setdefault(key, (clusters, []))[1].append(place)
    found: dict[int, Draws] = {}
    for clusters, places in alike.values():
        chosen = [differences[place] for place in places]
        draws = _resample(chosen, clusters, np.random.default_rng(seed), resamples)
        found |= zip(places, draws, strict=True)
    return [found[place] for place in range(len(differences))]


def _resample(
    differences: Sequence[Sequence[Comparison]],
    clusters: npt.NDArray[np.str_],
    rng: np.random.Generator,
    resamples: int,
) -> list[Draws]:
    """Resample differences that are all over these clusters."""
    if resamples < 1:
        raise UsageError(f"{resamples} resamples: give at least 1")
    sizes = _namespaces(clusters)
    every = [_Resampled(comparisons, clusters, resamples) for comparisons in differences]
    for start, count in _blocks(resamples, len(clusters)):
        weights = _joined([cluster_weights(size, count, rng) for size in sizes])
        for one in every:
            one.weigh(start, weights)
    for start, count in _blocks(resamples, len(clusters)):
        signs = cluster_signs(len(clusters), count, rng)
        for one in every:
            one.flip(start, signs)
    return [one.draws() for one in every]


class _Resampled:
    """One difference while it is resampled, a block of resamples at a time."""

    def __init__(
        self, comparisons: Sequence[Comparison], clusters: npt.NDArray[np.str_], resamples: int
    ) -> None:
        self.comparisons, self.clusters = comparisons, clusters
        self.weighted = [_spread(c, c.weighted_columns(), clusters) for c in comparisons]
        self.flipped = [_spread(c, c.flipped_columns(), clusters) for c in comparisons]
        shape = (resamples, sum(len(c.langs) for c in comparisons))
        self.bootstrap, self.flips = np.empty(shape), np.empty(shape)

    def weigh(self, start: int, weights: Singles) -> None:
        """Fill in the bootstrap from ``start`` on; weights: float32[count, C]."""
        self.bootstrap[start : start + len(weights)] = np.hstack(
            [
                c.weighted_differences((weights[:, where] @ columns).astype(np.float64))
                for c, (where, columns) in zip(self.comparisons, self.weighted, strict=True)
            ]
        )

    def flip(self, start: int, signs: Singles) -> None:
        """Fill in the sign flips from ``start`` on; signs: float32[count, C]."""
        self.flips[start : start + len(signs)] = np.hstack(
            [
                c.flipped_differences((signs[:, where] @ columns).astype(np.float64))
                for c, (where, columns) in zip(self.comparisons, self.flipped, strict=True)
            ]
        )

    def draws(self) -> Draws:
        comparisons = self.comparisons
        return Draws(
            columns=tuple((c.task, lang) for c in comparisons for lang in c.langs),
            sizes=tuple(int(size) for c in comparisons for size in c.sizes),
            clusters=len(self.clusters),
            observed=np.concatenate([c.observed for c in comparisons]),
            bootstrap=self.bootstrap,
            flipped=self.flips,
            magnitude=np.concatenate([c.magnitude for c in comparisons]),
            present=np.hstack([_present(c, self.clusters) for c in comparisons]),
        )


def cluster_weights(clusters: int, resamples: int, rng: np.random.Generator) -> Singles:
    """How often each cluster is drawn: float32[resamples, clusters], rows are multinomial counts.

    Drawing C of C clusters with replacement, only faster: independent Poisson counts given their
    total are multinomial, so the counts start as Poisson with a total that is almost surely below
    C (five standard deviations; rows above it are drawn again), and what is left is drawn one by
    one. Exact but for the 53 bits of a random number.
    """
    rate = max(0.0, 1 - 5 / sqrt(clusters))
    weights = _poisson(rate, (resamples, clusters), rng)
    left = clusters - weights.sum(axis=1).astype(np.int64)
    while len(above := np.flatnonzero(left < 0)):
        weights[above] = _poisson(rate, (len(above), clusters), rng)
        left[above] = clusters - weights[above].sum(axis=1).astype(np.int64)
    row = np.repeat(np.arange(resamples) * clusters, left)
    drawn = row + rng.integers(0, clusters, size=len(row))
    np.add.at(weights.reshape(-1), drawn, np.float32(1))
    return weights


def cluster_signs(clusters: int, resamples: int, rng: np.random.Generator) -> Singles:
    """Fair signs: float32[resamples, clusters] of −1 and 1."""
    octets = -(-clusters // 8)
    drawn = np.frombuffer(rng.bytes(resamples * octets), dtype=np.uint8)
    bits = np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1)
    table = bits.astype(np.float32) * 2 - 1
    signs = np.take(table, drawn.reshape(resamples, octets), axis=0)
    return signs.reshape(resamples, octets * 8)[:, :clusters]


def percentile_interval(draws: Floats, level: float = 0.95) -> tuple[float, float]:
    """The central ``level`` of float64[R] draws; nan draws, which have no value, are left out."""
    known = draws[~np.isnan(draws)]
    if len(known) == 0:
        return float("nan"), float("nan")
    low, high = np.quantile(known, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def flip_p(observed: float, flipped: Floats, rounding: float) -> float:
    """p = (1 + #{|T*| ≥ |T|}) / (B + 1); differences below ``rounding`` count as equal.

    With the observed arrangement counted among the B + 1, the test keeps its level for any B
    (Phipson and Smyth 2010).
    """
    extreme = np.count_nonzero(np.abs(flipped) >= abs(observed) - rounding)
    return float((1 + extreme) / (len(flipped) + 1))


def _poisson(rate: float, shape: tuple[int, int], rng: np.random.Generator) -> Singles:
    """Poisson counts by inversion: float32[shape]. ``rate`` is at most 1."""
    below = np.cumsum([exp(-rate) * rate**k / factorial(k) for k in range(20)])
    below[-1] = 1.0
    edges = np.searchsorted(below, np.arange(STEPS + 1) / STEPS, side="right")
    # A step that the distribution function jumps within is marked, and decided by a finer number.
    table = np.where(edges[:-1] == edges[1:], edges[:-1], -1).astype(np.float32)
    words = -(-shape[0] * shape[1] // 4)
    coarse = rng.integers(0, 2**64, size=words, dtype=np.uint64).view(np.uint16)
    coarse = coarse[: shape[0] * shape[1]]
    counts: Singles = table[coarse]
    marked = np.flatnonzero(counts < 0)
    fine = (coarse[marked] + rng.random(len(marked))) / STEPS
    counts[marked] = np.searchsorted(below, fine, side="right")
    return counts.reshape(shape)


def _clusters(comparisons: Sequence[Comparison]) -> npt.NDArray[np.str_]:
    """The distinct clusters of one difference: str[C] sorted."""
    tasks = [comparison.task for comparison in comparisons]
    if not tasks or len(set(tasks)) != len(tasks):
        raise UsageError(f"tasks {tasks}: give one comparison of each task, and at least one")
    return np.unique(np.concatenate([comparison.clusters for comparison in comparisons]))


def _namespaces(clusters: npt.NDArray[np.str_]) -> list[int]:
    """How many of the sorted clusters each namespace has, in order."""
    names = np.array([name.partition(":")[0] for name in clusters.tolist()])
    starts = np.flatnonzero(np.append(True, names[1:] != names[:-1]))
    return [int(size) for size in np.diff(np.append(starts, len(names)))]


def _spread(
    comparison: Comparison, columns: Floats, clusters: npt.NDArray[np.str_]
) -> tuple[slice, Singles]:
    """Columns over the stretch of all clusters that holds the comparison's own."""
    at = np.searchsorted(clusters, comparison.clusters)
    where = slice(int(at[0]), int(at[-1]) + 1)
    spread = np.zeros((where.stop - where.start, columns.shape[1]), dtype=np.float32)
    spread[at - where.start] = columns
    return where, spread


def _present(comparison: Comparison, clusters: npt.NDArray[np.str_]) -> npt.NDArray[np.bool_]:
    """bool[C, L] over all clusters, from the comparison's own."""
    spread = np.zeros((len(clusters), len(comparison.langs)), dtype=np.bool_)
    spread[np.searchsorted(clusters, comparison.clusters)] = comparison.present
    return spread


def _joined(parts: Sequence[Singles]) -> Singles:
    return parts[0] if len(parts) == 1 else np.hstack(parts)


def _blocks(resamples: int, clusters: int) -> Iterator[tuple[int, int]]:
    """(start, count) of the resamples that are computed at a time."""
    step = max(1, BLOCK // clusters)
    for start in range(0, resamples, step):
        yield start, min(step, resamples - start)
