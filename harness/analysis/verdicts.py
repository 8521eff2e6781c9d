"""Finds the verdicts that the board has on a difference, which are printed everywhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from harness.analysis.contrasts import BESIDE, FAMILY, named_contrasts
from harness.analysis.entries import Entry
from harness.analysis.gains import gains
from harness.analysis.variants import variants
from harness.statistics.verdict import Verdict
from harness.submissions.lineage import lineage
from harness.submissions.submission import Submission, base_of

Slugs = frozenset[str]
Sides = tuple[Slugs, Slugs]  # the checkpoints of A and of B
Measure = tuple[str, str, frozenset[str]]  # track, metric and tasks


def may_have(sides: Sides, submissions: Mapping[str, Submission]) -> bool:
    """Return whether the board may have a verdict on A − B or B − A: it asks for every checkpoint
    less its base, and for the named contrasts.
    """
    kinds = [
        {
            "base" if submissions[slug].objective == "none" else lineage(slug, submissions).kind
            for slug in side
        }
        for side in sides
    ]
    named = any(kinds in ([{a}, {b}], [{b}, {a}]) for a, b in (*FAMILY, *BESIDE))
    return named or any(_trained_from(*pair, submissions) for pair in (sides, sides[::-1]))


def board_verdicts(
    sides: Sides, entries: Sequence[Entry], results: Path, cache: Path | None
) -> dict[Measure, Verdict]:
    """Return the verdicts that a board of these entries has on A − B, by what they are of.

    That of a named contrast goes before that of a checkpoint less its base. ``results``, ``cache``:
    as for `differences.differ`.
    """
    contrasts = named_contrasts(entries, results, cache)
    found: dict[Measure, Verdict] = {}

    def add(a: Slugs, b: Slugs, measure: Measure, verdict: Verdict) -> None:
        if sides in ((a, b), (b, a)):
            found.setdefault(measure, verdict if sides == (a, b) else verdict.mirrored())

    for one in contrasts:
        if one.difference is not None:
            measure = (one.track, one.metric, one.tasks)
            add(frozenset(one.a), frozenset(one.b), measure, one.verdict)
    for gain in gains(variants(entries), entries, contrasts, results, cache):
        variant = frozenset(one.slug for one in gain.entry.members or (gain.entry,))
        measure = (gain.track, gain.metric, frozenset(gain.tasks))
        add(variant, frozenset({gain.base.slug}), measure, gain.verdict)
    return found


def _trained_from(variant: Slugs, base: Slugs, submissions: Mapping[str, Submission]) -> bool:
    ends = (
        {base_of(slug, submissions) for slug in variant},
        {lineage(slug, submissions).base for slug in variant},
    )
    return bool(variant) and base in ends
