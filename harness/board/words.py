"""Numbers as the board writes them."""

from __future__ import annotations

from bisect import bisect_left
from functools import lru_cache

from harness.analysis.entries import Result
from harness.statistics import chance


def percent(value: float) -> str:
    """A score in [0, 1] in percent."""
    return f"{100 * value:.1f}"


def points(difference: float) -> str:
    """A difference of scores in [0, 1] in percentage points, with its sign.

    To two decimals: what is separable from zero may be less than a tenth of a point.
    """
    text = f"{100 * difference:+.2f}"
    return text.replace("-", "−") if text not in ("+0.00", "-0.00") else "0.00"


def span(low: float | None, high: float | None) -> str:
    """A 95 % interval of a difference."""
    return "—" if low is None or high is None else f"[{points(low)}, {points(high)}]"


def p_value(p: float | None) -> str:
    """A p-value to three decimals; never 0."""
    if p is None:
        return "—"
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def at_chance(result: Result, lang: str) -> bool:
    """Whether a language's headline cannot be told from an order at random."""
    value = result.values[lang]
    if result.card.kind == "passages" and not result.metric.startswith("recall"):
        return False  # its chance depends on how many candidates are relevant
    candidates = result.card.candidates or value.n
    rate = chance.chance_rate(result.metric, candidates)
    return rate is not None and value.value * value.n < _hits_above_chance(value.n, rate) - 1e-6


@lru_cache(maxsize=4096)
def _hits_above_chance(examples: int, rate: float) -> int:
    """The fewest hits that are more than chance: looked for once, asked for by every checkpoint."""
    return bisect_left(
        range(examples + 1),
        True,
        key=lambda hits: not chance.at_chance(hits / examples, examples, rate),
    )
