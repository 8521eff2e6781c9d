"""The named contrasts, per base: what a kind of intermediate training did, with its statistics."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from hashlib import sha256
from pathlib import Path
from uuid import uuid4

import numpy as np
import pyarrow as pa

from harness import contrast
from harness.board.entries import Entry, Result, board_units
from harness.board.fold import fold_key
from harness.contrast import Estimate, Part
from harness.hierarchy import Hierarchical, Replicate, Side, hierarchical, shares
from harness.mined import pair_mining
from harness.multiplicity import holm
from harness.outcomes import OutcomeFile
from harness.paired import pair_runs
from harness.resampling import RESAMPLES, Comparison, resample
from harness.submission import MULTILINGUAL

SEED = 20_200_526  # of the resampling: fixed, so that a board is the same every time
GROUPS: tuple[contrast.GroupedBy, ...] = ("family", "script", "resource")
# Confirmatory, per base (A − B); "base" is the checkpoint without intermediate training.
FAMILY = (
    ("English QA", "base"),
    ("multilingual QA", "base"),
    ("multilingual QA", "English QA"),
    ("English NLI", "base"),
)
MEASURES = (("frozen", "recall@10"), ("tuned", "f1"))


@dataclass(frozen=True)
class Difference:
    """A − B over some tasks: the mean over languages, then tasks, and its breakdowns."""

    label: str
    estimate: Estimate
    languages: tuple[Part, ...]
    groups: Mapping[str, tuple[Part, ...]]
    seen: tuple[str, ...] = ()
    unseen: tuple[str, ...] = ()
    seen_less_unseen: Estimate | None = None
    item_variance: float = 0.0
    clusters: int = 0


@dataclass(frozen=True)
class Contrast:
    """One question of the confirmatory family and its answer, or why there is none.

    ``a``, ``b``: slugs of the checkpoints on either side; ``over``: what the difference is with
    checkpoints or seeds as further sources of chance, where there are enough of them; ``holm``: p
    adjusted over the answered contrasts of the base; ``left_out``: what was not used, and why.
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
        values = {(one.name, one.track): one.p for one in asked if one.p is not None}
        adjusted = dict(zip(values, holm(list(values.values())), strict=True))
        found += [replace(one, holm=adjusted.get((one.name, one.track))) for one in asked]
    return tuple(found)


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
    runs = [[run for entry in side for run in _runs(entry, track, tasks)] for side in sides]
    measured = [
        Side(
            tuple(Replicate(slug, base, seed, _score(run)) for slug, seed, run in of_side),
            # With frozen vectors nothing is drawn at random for the base itself.
            fixed=kind == "base" and track == "frozen",
        )
        for kind, of_side in zip((a, b), runs, strict=True)
    ]
    difference = differ(
        [run for _, _, run in runs[0]],
        [run for _, _, run in runs[1]],
        results,
        kept,
        trained=(_trained(sides[0]), _trained(sides[1])),
        weights=(shares(measured[0]), shares(measured[1])),
    )
    return replace(
        blank,
        a=tuple(entry.slug for entry in sides[0]),
        b=tuple(entry.slug for entry in sides[1]),
        difference=difference,
        over=hierarchical(measured[0], measured[1], difference.item_variance, difference.clusters)
        if difference.clusters > 1
        else None,
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


def _runs(
    entry: Entry, track: str, tasks: Sequence[str]
) -> list[tuple[str, int, dict[str, Result]]]:
    """(slug, seed, task → result) of each seed that all the tasks were run with, else the first."""
    found = entry.tasks(track)
    seeds = {task: {r.seed: r for r in found[task].seeds or (found[task],)} for task in tasks}
    common = sorted(set.intersection(*(set(of_task) for of_task in seeds.values())))
    if not common:
        return [(entry.slug, 0, {task: next(iter(seeds[task].values())) for task in tasks})]
    return [(entry.slug, seed, {task: seeds[task][seed] for task in tasks}) for seed in common]


def _score(run: Mapping[str, Result]) -> float:
    means = [result.macro.value for result in run.values() if result.macro is not None]
    return sum(means) / len(means)


def _trained(side: Sequence[Entry]) -> frozenset[str]:
    """The languages that the intermediate data of a side names; none for `multilingual`."""
    named = [set(e.submission.languages) for e in side if e.submission is not None]
    return frozenset(set[str]().union(*named) - {MULTILINGUAL})


def differ(
    a: Sequence[Mapping[str, Result]],
    b: Sequence[Mapping[str, Result]],
    results: Path,
    kept: Path | None = None,
    *,
    trained: tuple[Collection[str], Collection[str]] = ((), ()),
    weights: tuple[list[float] | None, list[float] | None] = (None, None),
    resamples: int = RESAMPLES,
) -> Difference:
    """The paired difference of two sides, each of one or more runs, task by task.

    ``a``, ``b``: task → result, per run; all have the same tasks. ``weights``: of each run in its
    side's mean, equal ones where not given. ``results``: the folder
    that their paths are under. ``trained``: languages of the intermediate data of either side.
    """
    key = _key(a, b, results, trained, weights, resamples)
    path = kept / f"{key}.json" if kept else None
    if path and path.exists():
        return _from_json(json.loads(path.read_text(encoding="utf-8")))
    comparisons: list[Comparison] = []
    for task, first in a[0].items():
        card = first.card
        rows_a, rows_b = ([_rows(run[task], results) for run in side] for side in (a, b))
        if card.kind == "mining":
            comparisons.append(
                pair_mining(rows_a[0], rows_b[0], first.folded.meta["split"], task=task)
            )
            continue
        comparisons.append(
            pair_runs(
                rows_a,
                rows_b,
                first.metric,
                card.kind,
                task=task,
                direction="en-xx" if card.kind == "bitext" else None,
                weights_a=weights[0],
                weights_b=weights[1],
            )
        )
    draws = resample(comparisons, np.random.default_rng(SEED), resamples)
    langs = list(dict.fromkeys(lang for _, lang in draws.columns))
    seen, unseen = contrast.seen_unseen(langs, *trained) if any(trained) else ((), ())
    difference = Difference(
        label=contrast.label(draws),
        estimate=contrast.macro(draws),
        languages=tuple(contrast.by_language(draws)),
        groups={
            by: tuple(
                sorted(
                    contrast.by_group(draws, contrast.language_groups(langs, by)),
                    key=lambda part: part.name,
                )
            )
            for by in GROUPS
        },
        seen=seen,
        unseen=unseen,
        seen_less_unseen=contrast.difference_in_differences(draws, seen, unseen),
        item_variance=contrast.item_variance(draws) if resamples > 1 else 0.0,
        clusters=draws.clusters,
    )
    if path:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.{uuid4().hex[:8]}")
        temporary.write_text(json.dumps(asdict(difference)), encoding="utf-8")
        temporary.replace(path)
    return difference


def _rows(result: Result, results: Path) -> pa.Table:
    file = OutcomeFile(results / result.path)
    wanted = board_units(result.task, tuple(result.card.languages))
    there = file.done()
    return pa.concat_tables([file.read(unit) for unit in wanted if unit in there])


def _key(
    a: Sequence[Mapping[str, Result]],
    b: Sequence[Mapping[str, Result]],
    results: Path,
    trained: tuple[Collection[str], Collection[str]],
    weights: tuple[list[float] | None, list[float] | None],
    resamples: int,
) -> str:
    named = [
        [{task: fold_key(results / result.path) for task, result in run.items()} for run in side]
        for side in (a, b)
    ]
    here = Path(__file__).parent
    code = [here / "contrasts.py", *(here.parent / f"{name}.py" for name in STATISTICS)]
    digests = [sha256(path.read_bytes()).hexdigest() for path in code]
    text = json.dumps([named, [sorted(side) for side in trained], weights, resamples, digests])
    return sha256(text.encode()).hexdigest()


STATISTICS = ("contrast", "mined", "multiplicity", "paired", "resampling")


def _from_json(loaded: dict[str, object]) -> Difference:
    def parts(lines: object) -> tuple[Part, ...]:
        return tuple(
            Part(
                line["task"], line["name"], tuple(line["languages"]),
                Estimate(**line["estimate"]), line["q"],
            )
            for line in lines  # type: ignore[attr-defined]
        )  # fmt: skip

    did = loaded["seen_less_unseen"]
    return Difference(
        label=str(loaded["label"]),
        estimate=Estimate(**loaded["estimate"]),  # type: ignore[arg-type]
        languages=parts(loaded["languages"]),
        groups={by: parts(lines) for by, lines in loaded["groups"].items()},  # type: ignore[attr-defined]
        seen=tuple(loaded["seen"]),  # type: ignore[arg-type]
        unseen=tuple(loaded["unseen"]),  # type: ignore[arg-type]
        seen_less_unseen=Estimate(**did) if isinstance(did, dict) else None,
        item_variance=float(loaded["item_variance"]),  # type: ignore[arg-type]
        clusters=int(loaded["clusters"]),  # type: ignore[call-overload]
    )
