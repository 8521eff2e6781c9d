"""Two runs compared by a ratio of sums, such as the F1 of mined pairs."""

from __future__ import annotations

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


def _score(above: Values, below: Values) -> Values:
    """The ratio, and as in `PerExample.score` 0 where there is nothing to divide by."""
    return np.divide(above, below, out=np.zeros_like(above), where=below > 0)
