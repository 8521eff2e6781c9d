"""Two runs, or several a side, compared by a ratio of sums, such as the F1 of mined pairs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

Values = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class PairedRatios:
    """Two runs compared cluster by cluster, where the score is Σ numerator / Σ denominator.

    ``clusters``: str[C] sorted, those of either run; ``numerator_a``, ``numerator_b``,
    ``denominator_a``, ``denominator_b``: float64[C, L], sums over a cluster's examples;
    ``counted``: float64[C, L], how many examples (or gold pairs) these are. What decides a
    prediction, such as a threshold, stays as it is. The other fields and the methods are those of
    `harness.statistics.paired.Paired`.
    """

    task: str
    metric: str
    langs: tuple[str, ...]
    left_out: tuple[str, ...]
    clusters: npt.NDArray[np.str_]
    numerator_a: Values
    numerator_b: Values
    denominator_a: Values
    denominator_b: Values
    counted: Values

    @property
    def observed(self) -> Values:
        """float64[L]: the score of A − the score of B."""
        observed: Values = self.weighted_differences(self.weighted_columns().sum(axis=0)[None])[0]
        return observed

    @property
    def sizes(self) -> Values:
        """float64[L]: the examples, or gold pairs, of each language."""
        sizes: Values = self.counted.sum(axis=0)
        return sizes

    @property
    def magnitude(self) -> Values:
        """float64[L]: what rounding errors are in proportion to."""
        differing = np.abs(self.flipped_columns()).sum(axis=0).reshape(2, -1).sum(axis=0)
        below = np.minimum(self.denominator_a.sum(axis=0), self.denominator_b.sum(axis=0))
        magnitude: Values = 2 * differing / np.where(below > 0, below, 1.0)
        return magnitude

    @property
    def present(self) -> npt.NDArray[np.bool_]:
        """bool[C, L]: whether a cluster adds anything to a score of a language."""
        present: npt.NDArray[np.bool_] = self.denominator_a + self.denominator_b > 0
        return present

    def part(self, chosen: npt.NDArray[np.bool_]) -> PairedRatios:
        """The comparison on some clusters alone; ``chosen``: bool[C]."""
        return replace(
            self,
            clusters=self.clusters[chosen],
            numerator_a=self.numerator_a[chosen],
            numerator_b=self.numerator_b[chosen],
            denominator_a=self.denominator_a[chosen],
            denominator_b=self.denominator_b[chosen],
            counted=self.counted[chosen],
        )

    def over(self, clusters: npt.NDArray[np.str_]) -> PairedRatios:
        """The same comparison, with further clusters in which neither run has anything."""
        places = np.searchsorted(clusters, self.clusters)

        def spread(values: Values) -> Values:
            whole = np.zeros((len(clusters), values.shape[1]))
            whole[places] = values
            return whole

        return replace(
            self,
            clusters=clusters,
            numerator_a=spread(self.numerator_a),
            numerator_b=spread(self.numerator_b),
            denominator_a=spread(self.denominator_a),
            denominator_b=spread(self.denominator_b),
            counted=spread(self.counted),
        )

    def weighted_columns(self) -> Values:
        """float64[C, 4L] to be summed with a weight per cluster."""
        return np.hstack(
            [self.numerator_a, self.numerator_b, self.denominator_a, self.denominator_b]
        )

    def weighted_differences(self, totals: Values) -> Values:
        """float64[R, L] Σ w·numerator / Σ w·denominator of A − of B, from sums [R, 4L]; nan where
        no weight fell on any cluster of the language. In a language without any both score 0."""
        above_a, above_b, below_a, below_b = np.hsplit(totals, 4)
        absent = (below_a + below_b == 0) & self.present.any(axis=0)
        differences = _score(above_a, below_a) - _score(above_b, below_b)
        return np.where(absent, np.nan, differences)

    def flipped_columns(self) -> Values:
        """float64[C, 2L] to be summed with a sign per cluster: −1 swaps A and B there."""
        return np.hstack(
            [self.numerator_a - self.numerator_b, self.denominator_a - self.denominator_b]
        )

    def flipped_differences(self, totals: Values) -> Values:
        """float64[R, L] differences with some clusters swapped, from signed sums [R, 2L].

        A swapped sum is (Σ a + Σ b ± Σ s·(a − b)) / 2.
        """
        above, below = np.hsplit(totals, 2)
        all_above = (self.numerator_a + self.numerator_b).sum(axis=0)
        all_below = (self.denominator_a + self.denominator_b).sum(axis=0)
        one = _score(all_above + above, all_below + below)
        return one - _score(all_above - above, all_below - below)


@dataclass(frozen=True, eq=False)
class AveragedRatios:
    """The weighted mean of comparisons of two runs each, over the same clusters and languages.

    A mean of ratios is no ratio of sums, so every part has its own in every resample.
    ``weights``: float64[P] that sum to 1. The other fields and the methods are those of
    `PairedRatios`.
    """

    parts: Sequence[PairedRatios]
    weights: Sequence[float]

    @property
    def task(self) -> str:
        return self.parts[0].task

    @property
    def langs(self) -> tuple[str, ...]:
        return self.parts[0].langs

    @property
    def clusters(self) -> npt.NDArray[np.str_]:
        return self.parts[0].clusters

    @property
    def sizes(self) -> Values:
        return self.parts[0].sizes

    @property
    def observed(self) -> Values:
        return self._mean([part.observed for part in self.parts])

    @property
    def magnitude(self) -> Values:
        return self._mean([part.magnitude for part in self.parts])

    @property
    def present(self) -> npt.NDArray[np.bool_]:
        present: npt.NDArray[np.bool_] = np.any([part.present for part in self.parts], axis=0)
        return present

    def part(self, chosen: npt.NDArray[np.bool_]) -> AveragedRatios:
        return replace(self, parts=[part.part(chosen) for part in self.parts])

    def weighted_columns(self) -> Values:
        return np.hstack([part.weighted_columns() for part in self.parts])

    def weighted_differences(self, totals: Values) -> Values:
        split = np.hsplit(totals, len(self.parts))
        every = zip(self.parts, split, strict=True)
        return self._mean([part.weighted_differences(own) for part, own in every])

    def flipped_columns(self) -> Values:
        return np.hstack([part.flipped_columns() for part in self.parts])

    def flipped_differences(self, totals: Values) -> Values:
        split = np.hsplit(totals, len(self.parts))
        every = zip(self.parts, split, strict=True)
        return self._mean([part.flipped_differences(own) for part, own in every])

    def _mean(self, values: Sequence[Values]) -> Values:
        mean: Values = np.tensordot(np.asarray(self.weights), np.stack(values), axes=1)
        return mean


def averaged(parts: Sequence[PairedRatios], weights: Sequence[float]) -> AveragedRatios:
    """Return the mean of comparisons over the same languages, over the clusters of any of them."""
    clusters = np.unique(np.concatenate([part.clusters for part in parts]))
    return AveragedRatios([part.over(clusters) for part in parts], weights)


def coupled(a: Sequence[float], b: Sequence[float]) -> Iterator[tuple[int, int, float]]:
    """Yield (run of A, run of B, weight), with which each run has its own weight on either side.

    ``a``, ``b``: the runs' weights, which sum to 1. The weighted mean of the differences of these
    pairs is the mean of A less the mean of B; there are fewer of them than runs.
    """
    ends = [np.cumsum(side) for side in (a, b)]
    cuts = np.unique(np.concatenate(ends).round(12))
    for low, high in zip((0.0, *cuts[:-1]), cuts, strict=True):
        middle = (low + high) / 2
        i, j = (int(np.searchsorted(end, middle)) for end in ends)
        yield i, j, float(high - low)


def _score(above: Values, below: Values) -> Values:
    """The ratio, and as in `PerExample.score` 0 where there is nothing to divide by."""
    return np.divide(above, below, out=np.zeros_like(above), where=below > 0)
