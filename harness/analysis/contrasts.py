"""Answers the named contrasts, per base: what a kind of intermediate training did."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from harness.analysis.differences import Difference, TwoSides, differ_each
from harness.analysis.entries import Entry
from harness.analysis.replicates import over_replicates, runs_of
from harness.analysis.runs import Replicated
from harness.analysis.variants import recipe_of
from harness.cards.catalogue import counted_once
from harness.cards.objectives import MULTILINGUAL
from harness.statistics.hierarchy import Claim, Hierarchical
from harness.statistics.multiplicity import FAMILY_SIZE, holm
from harness.statistics.verdict import Adjusted, Verdict, unanswered

# Confirmatory, per base (A − B); "base" is the checkpoint that the training began with.
FAMILY = (
    ("English QA", "base"),
    ("multilingual QA", "base"),
    ("multilingual QA", "English QA"),
    ("English NLI", "base"),
)
MEASURES = (("frozen", "recall@10"), ("tuned", "f1"))
# Kinds that are also trained in one language and in several: exploratory, without adjustment.
BESIDE = tuple(
    (f"{MULTILINGUAL} {what}", f"English {what}")
    for what in ("QA retrieval", "NLI", "contrastive", "multitask", "MLM")
)

UNMATCHED = "not of the matched design"


class LeftOut(NamedTuple):
    """A checkpoint (slug) that a contrast does not use, and why."""

    slug: str
    why: str


@dataclass(frozen=True)
class Contrast:
    """One question of the confirmatory family and its answer, or why there is none.

    ``a``, ``b``: slugs of the checkpoints on either side; ``over``: what the difference is with
    checkpoints or seeds as further sources of chance, where there are enough of them; ``holm``: p
    adjusted over the eight of the family, those not answered yet included, None for one that is
    exploratory (not ``confirmatory``); ``seen_holm``: likewise of seen − unseen, which is a family
    of its own; ``left_out``: the checkpoints (slugs) that were not used, each with the reason.
    """

    base: str
    name: str
    track: str
    metric: str
    a: tuple[str, ...]
    b: tuple[str, ...]
    difference: Difference | None
    over: Hierarchical | None
    holm: float | None
    why: str
    left_out: tuple[LeftOut, ...]
    stand_ins: bool
    confirmatory: bool = True
    seen_holm: float | None = None

    @property
    def verdict(self) -> Verdict:
        """The verdict, by Holm's method where the question is of the confirmatory family."""
        if self.difference is None:
            return unanswered(self.why)
        if not self.confirmatory:
            return self.difference.verdict()
        return self.difference.verdict(Adjusted("Holm", self.holm, FAMILY_SIZE))

    @property
    def p(self) -> float | None:
        """The p-value that is adjusted: over checkpoints or seeds where there are enough."""
        return self.verdict.p

    @property
    def interval(self) -> tuple[float | None, float | None]:
        """The plain 95 % interval that goes with ``p``."""
        return self.verdict.low, self.verdict.high

    @property
    def claim(self) -> Claim:
        """What the difference is about: an objective, a recipe, or just these checkpoints."""
        return "descriptive" if self.difference is None else self.difference.evidence.claim

    @property
    def tasks(self) -> frozenset[str]:
        """The tasks that it is the mean over."""
        return (
            frozenset(task for task, _ in self.difference.columns)
            if self.difference
            else frozenset()
        )

    def of(self, a: Collection[str], b: Collection[str], tasks: Collection[str]) -> bool:
        """Return whether it is the difference between these checkpoints (slugs) over these
        tasks.
        """
        sides = (set(self.a), set(self.b)) == (set(a), set(b))
        return self.difference is not None and sides and self.tasks == set(tasks)


def family_contrast(
    contrasts: Iterable[Contrast],
    measure: tuple[str, str],
    a: Collection[str],
    b: Collection[str],
    tasks: Collection[str],
) -> Contrast | None:
    """Return the confirmatory contrast between two sets of checkpoints (slugs), if it is one.

    ``measure``: track and metric. A difference of the family has one verdict, wherever it is
    printed.
    """
    return next(
        (
            one
            for one in contrasts
            if one.confirmatory and (one.track, one.metric) == measure and one.of(a, b, tasks)
        ),
        None,
    )


def named_contrasts(
    entries: Sequence[Entry], results: Path, kept: Path | None = None
) -> tuple[Contrast, ...]:
    """Return the confirmatory family of every base that has a variant on the board."""
    families = _families(entries)
    asked: list[_Asked] = []
    for base, kinds in families.items():
        asked += [
            _ask(_Question(base, a, b, track, metric), kinds)
            for track, metric in MEASURES
            for a, b in FAMILY
        ]
        asked += [
            one
            for a, b in BESIDE
            if a in kinds and b in kinds
            for one in [_ask(_Question(base, a, b, *MEASURES[0], confirmatory=False), kinds)]
            if one.of is not None and not _against_base(one.contrast, kinds[a])
        ]
    answered = _answer(asked, results, kept)
    found: list[Contrast] = []
    for base in families:
        own = [one for one in answered if one.base == base]
        family = [one for one in own if one.confirmatory]
        overall = _holm([one.p for one in family])
        of_seen = _holm([_seen_p(one) for one in family])
        found += [
            replace(one, holm=p, seen_holm=seen)
            for one, p, seen in zip(family, overall, of_seen, strict=True)
        ]
        found += [one for one in own if not one.confirmatory]
    return tuple(found)


def _against_base(one: Contrast, known: Sequence[Entry]) -> bool:
    """Return whether A is a single variant trained from B, whose difference has a verdict in
    `gains`. ``known``: the checkpoints that A is of.
    """
    used = [entry for entry in known if entry.slug in one.a]
    made = {recipe_of(entry) or entry.slug for entry in used}
    return len(made) == 1 and {entry.base for entry in used} == set(one.b)


def _holm(values: Sequence[float | None]) -> list[float | None]:
    """Return p-values adjusted over the whole family, answered or not: a new answer changes no
    other p.
    """
    known = [p for p in values if p is not None]
    adjusted = iter(holm(known, family=len(values)))
    return [None if p is None else next(adjusted) for p in values]


def _seen_p(one: Contrast) -> float | None:
    did = None if one.difference is None else one.difference.seen_less_unseen
    return None if did is None else did.p


def _families(entries: Sequence[Entry]) -> dict[str, dict[str, list[Entry]]]:
    """Return base → kind of training → the checkpoints that were trained from it in that way."""
    by_slug = {entry.slug: entry for entry in entries}
    families: dict[str, dict[str, list[Entry]]] = {}
    for entry in entries:
        made = entry.lineage
        if made is not None and made.base is not None:
            kinds = families.setdefault(made.base, {"base": [by_slug[made.base]]})
            kinds.setdefault(made.kind, []).append(entry)
    return families


class _Question(NamedTuple):
    """A minus B, two kinds of training on one base, in one metric."""

    base: str
    a: str
    b: str
    track: str
    metric: str
    confirmatory: bool = True


class _Asked(NamedTuple):
    """A question with the runs that answer it; ``of`` is None where none can, and the contrast says
    why.
    """

    contrast: Contrast
    of: TwoSides | None


def _ask(question: _Question, kinds: Mapping[str, Sequence[Entry]]) -> _Asked:
    base, a, b, track, metric, confirmatory = question
    sides, left_out = _sides(question, kinds)
    contrast = Contrast(
        base=base,
        name=f"{a} − {b}",
        track=track,
        metric=metric,
        a=(),
        b=(),
        difference=None,
        over=None,
        holm=None,
        why="",
        left_out=tuple(left_out),
        stand_ins=False,
        confirmatory=confirmatory,
    )
    for kind, side in zip((a, b), sides, strict=True):
        if not side:
            known = kinds.get(kind, ())
            what = "no checkpoint submitted" if not known else f"not measured whole ({track})"
            return _Asked(replace(contrast, why=f"{kind}: {what}"), None)
    every = [*sides[0], *sides[1]]
    usable = [_usable(entry, track, metric)[0] for entry in every]
    tasks = counted_once(task for task in usable[0] if all(task in own for own in usable))
    if not tasks:
        return _Asked(replace(contrast, why="no task that both sides have whole"), None)
    runs = [
        [run for entry in side for run in runs_of(entry, base, tasks, lambda one: one.tasks(track))]
        for side in sides
    ]
    one, other = (
        # With frozen vectors nothing is drawn at random for the base itself.
        Replicated(tuple(of_side), fixed=kind == "base" and track == "frozen")
        for kind, of_side in zip((a, b), runs, strict=True)
    )
    # What a base was made of is no intermediate data.
    trained = (_trained(sides[0]), frozenset() if b == "base" else _trained(sides[1]))
    named = all(MULTILINGUAL not in languages for languages in trained)
    contrast = replace(
        contrast,
        a=tuple(entry.slug for entry in sides[0]),
        b=tuple(entry.slug for entry in sides[1]),
        stand_ins=any(entry.stand_in for entry in every),
    )
    return _Asked(contrast, TwoSides(one, other, trained) if named else TwoSides(one, other))


def _answer(asked: Sequence[_Asked], results: Path, kept: Path | None) -> list[Contrast]:
    """Return the contrasts with their differences, where the questions can be answered."""
    compared = [one.of for one in asked if one.of is not None]
    differences = iter(differ_each(compared, results, kept))
    answered = []
    for contrast, of in asked:
        if of is not None:
            difference, over = over_replicates(next(differences), of.a, of.b)
            contrast = replace(contrast, difference=difference, over=over)
        answered.append(contrast)
    return answered


def _sides(
    question: _Question, kinds: Mapping[str, Sequence[Entry]]
) -> tuple[list[list[Entry]], list[LeftOut]]:
    """Return the checkpoints of either side, and what is left out, with the reasons."""
    sides: list[list[Entry]] = []
    left_out: list[LeftOut] = []
    for kind in (question.a, question.b):
        have = []
        for entry in kinds.get(kind, ()):
            usable, why = _usable(entry, question.track, question.metric)
            left_out += why
            if usable:
                have.append(entry)
        sides.append(have)
    left_out += [why for side in sides for why in _keep_evidence(side)]
    return sides, left_out + _keep_matched(sides)


def _keep_evidence(side: list[Entry]) -> list[LeftOut]:
    """Leave out stand-ins where a side has checkpoints that are none; return which."""
    stand_ins = [entry for entry in side if entry.stand_in]
    if len(stand_ins) == len(side):
        return []
    side[:] = [entry for entry in side if not entry.stand_in]
    return [LeftOut(entry.slug, "a stand-in") for entry in stand_ins]


def _usable(entry: Entry, track: str, metric: str) -> tuple[list[str], list[LeftOut]]:
    """Return the tasks of a metric that a checkpoint may be contrasted on, and what is left out."""
    usable, left_out = [], []
    for task, result in entry.tasks(track).items():
        if result.metric != metric:
            continue
        if result.contaminated:
            left_out.append(LeftOut(entry.slug, f"on {task}, trained on its data"))
        else:
            usable.append(task)
    # Without one of its seeds a recipe has another mean, so that is said of seeds; of other
    # checkpoints the ranking says why they are not in it.
    if recipe_of(entry) is not None:
        left_out += [
            LeftOut(entry.slug, f"on {task}, not ranked: {why}")
            for task, why in _unranked(entry, track, metric).items()
        ]
    return usable, left_out


def _unranked(entry: Entry, track: str, metric: str) -> dict[str, str]:
    """Return task → why no run of it is ranked, of the tasks that were measured."""
    regular = entry.tasks(track)
    return {
        one.task: "; ".join(one.notes) or f"{' '.join(one.missing)} missing"
        for one in reversed(entry.results)
        if (one.track, one.metric) == (track, metric) and one.task not in regular
    }


def _keep_matched(sides: list[list[Entry]]) -> list[LeftOut]:
    """Keep only checkpoints of one design, where both sides have some; return what is left out."""
    designs = [{e.submission.matched for e in side if e.submission} - {None} for side in sides]
    shared = designs[0] & designs[1]
    if not shared:
        return []
    left_out = []
    for side in sides:
        others = [e for e in side if e.submission is None or e.submission.matched not in shared]
        left_out += [LeftOut(entry.slug, UNMATCHED) for entry in others]
        side[:] = [entry for entry in side if entry not in others]
    return left_out


def _trained(side: Sequence[Entry]) -> frozenset[str]:
    """Return the languages of a side's training since the base."""
    named = (entry.lineage.whole.languages for entry in side if entry.lineage is not None)
    return frozenset(code for languages in named for code in languages)
