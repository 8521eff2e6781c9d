"""What each example adds to a metric, and the one reduction that makes a score of it.

A metric is computed once, as statistics per example. Scores, bootstrap replicates and paired
differences are sums of these: over all examples, with a weight each, or of two runs.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class PerExample:
    """A metric over n examples; the score is Σ numerator / Σ denominator.

    A mean has a value and 1 per example (see `mean`). A ratio of sums, such as F1 over pairs, has
    2·tp and predicted + gold.

    numerator, denominator: float64[n].
    counted: float64[n], how much of the score's ``n`` each example is: 1, or its gold pairs.
    """

    numerator: Floats
    denominator: Floats
    counted: Floats

    @property
    def is_mean(self) -> bool:
        """Whether the score is a mean over the examples."""
        return self.denominator is self.counted

    @property
    def score(self) -> float:
        """The score; 0 where the denominators add up to 0, as precision of no prediction is."""
        below = len(self.denominator) if self.is_mean else self.denominator.sum()
        return float(self.numerator.sum() / below) if below > 0 else 0.0

    @property
    def n(self) -> int:
        """How many examples (or gold pairs) the score is over."""
        return len(self.counted) if self.is_mean else int(self.counted.sum())

    def of(self, rows: npt.NDArray[np.int64]) -> PerExample:
        """Those of some examples, by index."""
        if self.is_mean:
            return mean(self.numerator[rows])
        return PerExample(self.numerator[rows], self.denominator[rows], self.counted[rows])


def mean(values: npt.NDArray[np.floating]) -> PerExample:
    """A metric that is the mean of float[n] values over the examples."""
    each = _ones(len(values))
    return PerExample(values.astype(np.float64, copy=False), each, each)


@lru_cache(maxsize=64)
def _ones(count: int) -> Floats:
    """The same array every time: `is_mean`, and sums that many metrics share, go by identity."""
    ones = np.ones(count)
    ones.flags.writeable = False
    return ones
