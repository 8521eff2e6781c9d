"""The named contrasts, per base: what a kind of intermediate training did, with its statistics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from harness.analysis.differences import Difference, differ
from harness.analysis.entries import Entry
from harness.analysis.replicates import Replicated, Run, over_replicates
from harness.analysis.variants import recipe_of, training_seed
from harness.cards.objectives import MULTILINGUAL
from harness.statistics.hierarchy import Hierarchical
from harness.statistics.multiplicity import holm

# Confirmatory, per base (A − B); "base" is the checkpoint without intermediate training.
FAMILY = (
    ("English QA", "base"),
    ("multilingual QA", "base"),
    ("multilingual QA", "English QA"),
    ("English NLI", "base"),
)
MEASURES = (("frozen", "recall@10"), ("tuned", "f1"))
# Kinds that are also trained in one language and in several: exploratory, without adjustment.
BESIDE = ("QA retrieval", "NLI", "contrastive", "multitask", "MLM")


@dataclass(frozen=True)
class Contrast:
    """One question of the confirmatory family and its answer, or why there is none.

    ``a``, ``b``: slugs of the checkpoints on either side; ``over``: what the difference is with
    checkpoints or seeds as further sources of chance, where there are enough of them; ``holm``: p
    adjusted over the eight of the family, those not answered yet included, None for one that is
    exploratory (not ``confirmatory``); ``seen_holm``: likewise of seen − unseen, which is a family
    of its own; ``left_out``: what was not used, and why.
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
    left_out: tuple[str, ...]
    stand_ins: bool
    confirmatory: bool = True
    seen_holm: float | None = None

    @property
    def p(self) -> float | None:
        """The p-value that is adjusted: over checkpoints or seeds where there are enough."""
        if self.over is not None and self.over.p is not None:
            return self.over.p
        return self.difference.estimate.p if self.difference is not None else None

    @property
    def interval(self) -> tuple[float | None, float | None]:
        """The 95 % interval that goes with ``p``."""
        if self.over is not None and self.over.p is not None:
            return self.over.low, self.over.high
        if self.difference is None:
            return None, None
        return self.difference.estimate.low, self.difference.estimate.high

    @property
    def claim(self) -> str:
        """What it may be said of: an objective, a recipe, or (descriptive) these checkpoints."""
        return "descriptive" if self.over is None else self.over.claim


def named_contrasts(
    entries: Sequence[Entry], results: Path, kept: Path | None = None
) -> tuple[Contrast, ...]:
    """The confirmatory family of every base that has a variant on the board."""
    by_slug = {entry.slug: entry for entry in entries}
    found: list[Contrast] = []
    for base, variants in _families(entries).items():
        kinds: dict[str, list[Entry]] = {"base": [by_slug[base]]}
        for variant in variants:
            kinds.setdefault(variant.kind, []).append(variant)
        asked = [
            _answer(base, a, b, track, metric, kinds, results, kept)
            for track, metric in MEASURES
            for a, b in FAMILY
        ]
        overall = _holm([one.p for one in asked])
        of_seen = _holm([_seen_p(one) for one in asked])
        found += [
            replace(one, holm=p, seen_holm=seen)
            for one, p, seen in zip(asked, overall, of_seen, strict=True)
        ]
        found += [
            replace(one, confirmatory=False)
            for what in BESIDE
            for a, b in [(f"{MULTILINGUAL} {what}", f"English {what}")]
            if a in kinds and b in kinds
            for one in [_answer(base, a, b, *MEASURES[0], kinds, results, kept)]
            if one.difference is not None
        ]
    return tuple(found)


def _holm(values: Sequence[float | None]) -> list[float | None]:
    """Adjusted over all of a family, so that an answer to one question changes no other's p."""
    known = [p for p in values if p is not None]
    adjusted = iter(holm(known, family=len(values)))
    return [None if p is None else next(adjusted) for p in values]


def _seen_p(one: Contrast) -> float | None:
    did = None if one.difference is None else one.difference.seen_less_unseen
    return None if did is None else did.p


def _families(entries: Sequence[Entry]) -> dict[str, list[Entry]]:
    """Base without intermediate training → the checkpoints that go back to it."""
    by_slug = {entry.slug: entry for entry in entries}
    families: dict[str, list[Entry]] = {}
    for entry in entries:
        root = entry
        while root.base is not None:
            root = by_slug[root.base]
        if root is not entry:
            families.setdefault(root.slug, []).append(entry)
    return families


def _answer(
    base: str,
    a: str,
    b: str,
    track: str,
    metric: str,
    kinds: Mapping[str, Sequence[Entry]],
    results: Path,
    kept: Path | None,
) -> Contrast:
    name = f"{a} − {b}"
    sides: list[list[Entry]] = []
    left_out: list[str] = []
    for kind in (a, b):
        have = []
        for entry in kinds.get(kind, ()):
            usable, why = _usable(entry, track, metric)
            left_out += why
            if usable:
                have.append(entry)
        sides.append(have)
    left_out += _keep_matched(sides)
    blank = Contrast(
        base, name, track, metric, (), (), None, None, None, "", tuple(left_out), False
    )
    for kind, side in zip((a, b), sides, strict=True):
        if not side:
            known = kinds.get(kind, ())
            what = "no checkpoint submitted" if not known else f"not measured whole ({track})"
            return replace(blank, why=f"{kind}: {what}")
    every = [*sides[0], *sides[1]]
    tasks = [
        task
        for task in _usable(every[0], track, metric)[0]
        if all(task in _usable(entry, track, metric)[0] for entry in every)
    ]
    if not tasks:
        return replace(blank, why="no task that both sides have whole")
    runs = [[run for entry in side for run in _runs(entry, base, track, tasks)] for side in sides]
    measured = [
        # With frozen vectors nothing is drawn at random for the base itself.
        Replicated(tuple(of_side), fixed=kind == "base" and track == "frozen")
        for kind, of_side in zip((a, b), runs, strict=True)
    ]
    difference = differ(
        [run.results for run in runs[0]],
        [run.results for run in runs[1]],
        results,
        kept,
        # What a base was made of is no intermediate data.
        trained=(_trained(sides[0]), frozenset() if b == "base" else _trained(sides[1])),
        weights=(measured[0].shares, measured[1].shares),
    )
    difference, over = over_replicates(difference, measured[0], measured[1])
    return replace(
        blank,
        a=tuple(entry.slug for entry in sides[0]),
        b=tuple(entry.slug for entry in sides[1]),
        difference=difference,
        over=over,
        stand_ins=any(entry.stand_in for entry in every),
    )


def _usable(entry: Entry, track: str, metric: str) -> tuple[list[str], list[str]]:
    """The tasks of a metric that a checkpoint may be contrasted on, and what is left out."""
    usable, left_out = [], []
    for task, result in entry.tasks(track).items():
        if result.metric != metric:
            continue
        if result.contaminated:
            left_out.append(f"{entry.slug} on {task}: trained on its data")
        else:
            usable.append(task)
    return usable, left_out


def _keep_matched(sides: list[list[Entry]]) -> list[str]:
    """Where both sides have checkpoints of one design, keep those alone; says what is left out."""
    designs = [{e.submission.matched for e in side if e.submission} - {None} for side in sides]
    shared = designs[0] & designs[1]
    if not shared:
        return []
    left_out = []
    for side in sides:
        others = [e for e in side if e.submission is None or e.submission.matched not in shared]
        left_out += [f"{entry.slug}: not of the matched design" for entry in others]
        side[:] = [entry for entry in side if entry not in others]
    return left_out


def _runs(entry: Entry, base: str, track: str, tasks: Sequence[str]) -> list[Run]:
    """A run for each seed that all the tasks were run with.

    Checkpoints of one recipe are one origin, and their training seeds its seeds. Where no seed has
    all the tasks, the first of each.
    """
    recipe, trained = recipe_of(entry), training_seed(entry)
    origin = entry.slug if recipe is None else f"recipe {recipe[1]}"
    found = entry.tasks(track)
    seeds = {task: {r.seed: r for r in found[task].seeds or (found[task],)} for task in tasks}
    common = sorted(set.intersection(*(set(of_task) for of_task in seeds.values())))
    if not common:
        first = {task: next(iter(seeds[task].values())) for task in tasks}
        return [Run(origin, base, trained or 0, first)]
    return [
        Run(
            origin,
            base,
            seed if trained is None else trained,
            {task: seeds[task][seed] for task in tasks},
        )
        for seed in common
    ]


def _trained(side: Sequence[Entry]) -> frozenset[str]:
    """The languages that the intermediate data of a side names; none for `multilingual`."""
    named = [set(e.submission.languages) for e in side if e.submission is not None]
    return frozenset(set[str]().union(*named) - {MULTILINGUAL})
