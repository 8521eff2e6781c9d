"""Numbers and verdicts as every page and table writes them."""

from __future__ import annotations

from math import floor, log10

from harness.statistics.verdict import Verdict

FEWEST, MOST = 2, 6  # decimals of a difference in points
NOTHING = 0.5 * 10**-MOST  # points: less reads as zero however it is written


def percent(value: float) -> str:
    """A score in [0, 1] in percent."""
    return f"{100 * value:.1f}"


def bracketed(low: float | None, high: float | None) -> str:
    """The interval of a score, ``[70.9, 72.5]`` in percent; empty where there is none."""
    return "" if low is None or high is None else f"[{percent(low)}, {percent(high)}]"


def decimals(se: float | None, *values: float | None) -> int:
    """How many decimals differences of scores need in percentage points.

    Two significant digits of the standard error ``se``, two decimals at least; and as many as it
    takes that none of ``values`` reads as zero without being it.
    """
    places = FEWEST
    if se is not None and 100 * se > NOTHING:
        places = max(FEWEST, 1 - floor(log10(100 * se)))
    sizes = [abs(100 * value) for value in values if value is not None]
    while places < MOST and any(
        size > NOTHING and float(f"{size:.{places}f}") == 0 for size in sizes
    ):
        places += 1
    return min(places, MOST)


def points(difference: float, places: int = FEWEST) -> str:
    """A difference of scores in [0, 1] in percentage points, with its sign."""
    text = f"{100 * difference:+.{places}f}"
    return text.replace("-", "−") if float(text) else text[1:]


def span(low: float | None, high: float | None, places: int = FEWEST) -> str:
    """An interval of a difference."""
    if low is None or high is None:
        return "—"
    return f"[{points(low, places)}, {points(high, places)}]"


def p_value(p: float | None) -> str:
    """A p-value to three decimals; never 0."""
    if p is None:
        return "—"
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def equals(p: float | None) -> str:
    """A p-value behind its name: `= 0.018`, `< 0.001`."""
    text = p_value(p)
    return text if text.startswith("<") else f"= {text}"


def places_of(verdict: Verdict) -> int:
    """The decimals that a verdict's figures are written with."""
    return decimals(
        verdict.se,
        verdict.estimate,
        verdict.low,
        verdict.high,
        verdict.family_low,
        verdict.family_high,
    )


def size(verdict: Verdict) -> str:
    """The difference in points."""
    return "—" if verdict.estimate is None else points(verdict.estimate, places_of(verdict))


def plain(verdict: Verdict) -> str:
    """The plain 95 % interval in points."""
    return span(verdict.low, verdict.high, places_of(verdict))


def simultaneous(verdict: Verdict) -> str:
    """The simultaneous interval in points, a dash outside a family."""
    return span(verdict.family_low, verdict.family_high, places_of(verdict))


def adjusted_p(verdict: Verdict) -> str:
    """The p-value in its family, and by which method; `unadjusted` outside of one."""
    adjusted = verdict.adjusted
    if adjusted.method == "none":
        return "unadjusted"
    name = "Holm p" if adjusted.method == "Holm" else "q"
    return f"{name} {equals(adjusted.p)}"


def word(verdict: Verdict) -> str:
    """The word of a verdict, with its δ or with the reason for the lack of one."""
    if verdict.word == "equal within δ" and verdict.delta is not None:
        return f"equal within {100 * verdict.delta:g} points"
    return f"{verdict.word} ({verdict.why})" if verdict.why else verdict.word


def figures(verdict: Verdict) -> str:
    """Estimate, intervals and p-values of a verdict in one line."""
    if verdict.estimate is None:
        return "—"
    text = f"{size(verdict)} points, 95 % interval {plain(verdict)}"
    if verdict.family_low is not None:
        text += f", simultaneous {simultaneous(verdict)}"
    text += f", p {equals(verdict.p)}, {adjusted_p(verdict)}"
    if verdict.at_chance:
        text += f", at chance in {verdict.at_chance} of {verdict.columns}"
    return text


def told(verdict: Verdict) -> str:
    """A verdict in one line: the word, then the figures."""
    return word(verdict) if verdict.estimate is None else f"{word(verdict)}: {figures(verdict)}"
