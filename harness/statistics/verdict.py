"""The verdict on a difference: the one place where figures become a word.

Everything that prints a difference (README, interactive page, ranks, `compare`, `contrast`, every
checkpoint against its base) prints what `judge` returns.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from harness.statistics.contrast import Estimate
from harness.statistics.hierarchy import Claim
from harness.statistics.multiplicity import ALPHA

Word = Literal["helps", "hurts", "equal within δ", "no clear difference", "not known"]
Method = Literal["Holm", "Benjamini–Hochberg", "none"]

# Differences that are too small to matter, fixed before anything is looked at: metric → δ.
DELTAS: Mapping[str, float] = {"recall@10": 0.005}
OPPOSITE: Mapping[Word, Word] = {"helps": "hurts", "hurts": "helps"}


@dataclass(frozen=True)
class Evidence:
    """What a difference A − B is made of.

    ``runs``: of A and of B, seeds included; ``checkpoints``: the independent ones of each;
    ``claim``: what may be said, see `hierarchy.claim`; ``incomplete``: what is missing, if anything
    is.
    """

    claim: Claim = "descriptive"
    runs: tuple[int, int] = (1, 1)
    checkpoints: tuple[int, int] = (1, 1)
    incomplete: str = ""


@dataclass(frozen=True)
class Adjusted:
    """A p-value that belongs to a family of ``size`` hypotheses, and how it was adjusted."""

    method: Method
    p: float | None
    size: int


UNADJUSTED = Adjusted("none", None, 1)


@dataclass(frozen=True)
class Verdict:
    """A difference A − B and what may be said of it. Scores and their differences are in [−1, 1].

    ``low``, ``high``: the plain 95 % interval; ``family_low``, ``family_high``: the simultaneous
    one, None outside a family of Holm's method. ``p`` is unadjusted, ``adjusted`` is p in its
    family. ``se``, ``df``: standard error and degrees of freedom of the interval (``df`` None for
    the percentiles of a bootstrap). ``delta``: δ of the metric, None where none was fixed.
    ``columns``: languages of tasks that it is the mean over, ``at_chance`` of which are marked.
    ``why``: for *not known*, the reason. ``estimate`` is None where nothing was measured.

    The simultaneous interval is Bonferroni's (Dunn 1961): at level 1 − .05 / m for a family of m.
    With a t test, interval and p are of one distribution, so it excludes 0 exactly where
    m × p < .05; Holm's adjusted p is at most m × p, so an interval without 0 always goes with
    an adjusted p < .05. The converse does not hold: Holm's step-down multiplies every p but the
    smallest by less than m and rejects some hypotheses whose interval holds 0; no interval of a
    fixed level agrees with it. Over items alone the interval is of the bootstrap and p of sign
    flips, two procedures that may differ at the border; such a verdict is descriptive.
    """

    word: Word
    why: str
    estimate: float | None
    low: float | None = None
    high: float | None = None
    family_low: float | None = None
    family_high: float | None = None
    p: float | None = None
    adjusted: Adjusted = UNADJUSTED
    se: float | None = None
    df: float | None = None
    delta: float | None = None
    columns: int = 0
    at_chance: int = 0
    evidence: Evidence = field(default_factory=Evidence)

    @property
    def decisive_p(self) -> float | None:
        """The p-value that decides: the adjusted one in a family, else the plain one."""
        return self.p if self.adjusted.method == "none" else self.adjusted.p

    def within(self, adjusted: Adjusted) -> Verdict:
        """The verdict on the same difference as one of a family."""
        found = replace(self, adjusted=adjusted)
        word, why = _word(found)
        return replace(found, word=word, why=why)

    def mirrored(self) -> Verdict:
        """The verdict on B − A."""

        def negative(value: float | None) -> float | None:
            return None if value is None else 0.0 - value

        return replace(
            self,
            word=OPPOSITE.get(self.word, self.word),
            estimate=negative(self.estimate),
            low=negative(self.high),
            high=negative(self.low),
            family_low=negative(self.family_high),
            family_high=negative(self.family_low),
            evidence=replace(
                self.evidence,
                runs=self.evidence.runs[::-1],
                checkpoints=self.evidence.checkpoints[::-1],
            ),
        )


def judge(
    estimate: Estimate,
    evidence: Evidence,
    adjusted: Adjusted = UNADJUSTED,
    *,
    delta: float | None = None,
    columns: int = 1,
    at_chance: int = 0,
) -> Verdict:
    """The verdict on one difference.

    *not known*: incomplete, at chance in every language, or descriptive; *helps* or *hurts*: p,
    adjusted where it belongs to a family, below .05; *equal within δ*: the interval, simultaneous
    in a family, lies inside ±δ; *no clear difference*: neither.
    """
    in_family = adjusted.method == "Holm"
    bare = Verdict(
        word="no clear difference",
        why="",
        estimate=estimate.difference,
        low=estimate.low,
        high=estimate.high,
        family_low=estimate.family_low if in_family else None,
        family_high=estimate.family_high if in_family else None,
        p=estimate.p,
        adjusted=adjusted,
        se=estimate.se,
        df=estimate.df,
        delta=delta,
        columns=columns,
        at_chance=at_chance,
        evidence=evidence,
    )
    word, why = _word(bare)
    return replace(bare, word=word, why=why)


def unanswered(why: str) -> Verdict:
    """The verdict where nothing can be compared."""
    return Verdict("not known", why, None, evidence=Evidence(incomplete=why))


def _word(found: Verdict) -> tuple[Word, str]:
    assert found.estimate is not None  # it is of an estimate
    if found.evidence.incomplete:
        return "not known", f"incomplete: {found.evidence.incomplete}"
    if found.columns and found.at_chance == found.columns:
        return "not known", "at chance"
    if found.evidence.claim == "descriptive":
        return "not known", "descriptive only"
    p = found.decisive_p
    if p is not None and p < ALPHA and found.estimate != 0:
        return ("helps" if found.estimate > 0 else "hurts"), ""
    low, high = found.low, found.high
    if found.adjusted.method == "Holm":
        low, high = found.family_low, found.family_high
    delta = found.delta
    if low is not None and high is not None and delta is not None and -delta < low <= high < delta:
        return "equal within δ", ""
    return "no clear difference", ""
