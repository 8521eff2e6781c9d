"""Power of a design: the difference that a test with its standard error detects."""

from __future__ import annotations

from harness.errors import UsageError
from harness.statistics.hierarchy import t_quantile

STEPS = 60  # of a bisection: far finer than any figure that is shown


def detectable(se: float, df: float, power: float = 0.8, level: float = 0.95) -> float:
    """The smallest true difference that a two-sided t test finds with a power.

    ``se``, ``df``: the standard error of the estimate and its degrees of freedom, as they were
    realised (`hierarchy.hierarchical`). The test statistic has a noncentral t distribution with
    noncentrality difference / se (Cohen 1988); the other tail, which would find it with the wrong
    sign, is not counted.

    Raises:
        UsageError: no standard error or degrees of freedom above 0, or a power outside (0, 1).
    """
    if not (se > 0 and df > 0 and 0 < power < 1):
        raise UsageError(
            f"power {power} with se {se} and df {df}: give positive ones, power below 1"
        )
    from scipy.stats import nct

    critical = t_quantile(level, df)
    low, high = 0.0, critical + 60.0
    for _ in range(STEPS):
        middle = (low + high) / 2
        if float(nct.sf(critical, df, middle)) < power:
            low = middle
        else:
            high = middle
    return high * se
