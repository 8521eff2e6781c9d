"""Compares two checkpoints by paired differences, whatever they were measured on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import isclose
from pathlib import Path

from harness.analysis.differences import Difference, TwoSides, differ
from harness.analysis.entries import make_entries, place_of, submitted
from harness.analysis.gather import fold_all
from harness.analysis.replicates import evidence_of, over_replicates
from harness.analysis.results import Result
from harness.analysis.runs import Replicated, Run
from harness.analysis.sides import Measured, Measurements, Source, find_runs
from harness.analysis.verdicts import Measure, Slugs, board_verdicts, may_have
from harness.cards.catalogue import counted_once, read_card
from harness.cards.task import CustomCard, TaskCard
from harness.errors import DataError, IncompleteError, together, unknown_name
from harness.metrics.by_kind import METRICS, has_paired_mean
from harness.statistics.hierarchy import ROUNDING, Hierarchical
from harness.statistics.verdict import Verdict
from harness.submissions.submission import Submission

Group = tuple[str, str]  # track and metric, which are compared by themselves


@dataclass(frozen=True)
class Compared:
    """A − B in one track.

    ``verdict``: the board's, where it has one on A − B or B − A over these tasks and rows, else
    unadjusted. ``over``: the difference with seeds as a further source of variance, where a side is
    a recipe. ``remarks``: what a reader must know, such as rows that are unranked.
    """

    a: str
    b: str
    track: str
    metric: str
    difference: Difference
    over: Hierarchical | None
    remarks: tuple[str, ...]
    verdict: Verdict

    @property
    def interval(self) -> tuple[float | None, float | None]:
        """The plain 95 % interval: over seeds and items where there are enough seeds."""
        return self.verdict.low, self.verdict.high

    @property
    def p(self) -> float | None:
        """The unadjusted p-value, which goes with the interval."""
        return self.verdict.p


@dataclass
class Common:
    """What two sides have in common in one group: task → what was measured of it, and remarks."""

    tasks: dict[str, Measured] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)


def compare(
    a: str,
    b: str,
    source: Source,
    *,
    only: Collection[str] = (),
    metric: str | None = None,
    signatures: tuple[Collection[str] | None, Collection[str] | None] = (None, None),
) -> list[Compared]:
    """Return the paired differences of two checkpoints over the tasks that both were measured on.

    ``a``, ``b``: an id, ``id@revision``, a slug, a results folder, or a recipe, which stands for
    the mean over its seeds. ``only``: of these tasks; ``metric``: in place of their headlines, of
    the tasks that have it; ``signatures``: of the files that count, by side, None where all do.
    One entry per track and metric, which says what is left out because a side was trained on it,
    and which settings, splits or limits of both are not the usual ones.

    Raises:
        NotFoundError: a name has no outcomes.
        UsageError: there is no such task, or no task with that metric.
        IncompleteError: nothing was measured on both in the same way.
        DataError: outcome files are damaged; ``error.scores`` has what the others give.
    """
    cards = [read_card(task) for task in only]
    _check_metric(metric, cards)
    sides = [
        find_runs(name, source, metric, of_side)
        for name, of_side in zip((a, b), signatures, strict=True)
    ]
    sides, fewer = _with_tasks((a, b), sides, cards)
    alike = _common((a, b), sides, cards)
    common = {group: shared for group, shared in alike.items() if shared.tasks}
    for shared in common.values():
        shared.remarks += fewer
    if not common:
        if remarks := [remark for shared in alike.values() for remark in shared.remarks]:
            raise IncompleteError(f"nothing of {a} and {b} can be compared: {'; '.join(remarks)}")
        asked = f" ({' or '.join(card.argument for card in cards)})" if cards else ""
        asked += f" with {metric}" if metric else ""
        raise IncompleteError(
            f"{a} and {b} were not measured on a common task{asked}, track, layer, recipe, split, "
            "limit and version: run `xharness eval` on both alike"
        )
    found = [
        _compared((a, b), sides, group, common[group], source)
        for group in sorted(common, key=lambda group: (place_of(group[0]), group[1]))
    ]
    found = _as_printed(found, sides, source)
    if source.damaged:
        raise together(map(DataError, source.damaged), found)
    return found


def _check_metric(metric: str | None, cards: Sequence[TaskCard]) -> None:
    tables = [card.metrics for card in cards] or METRICS.values()
    names = {name for table in tables for name in table}
    if metric is not None and metric not in names:
        of = ", ".join(card.name for card in cards) or "any task"
        raise unknown_name(f"metric of {of}", metric, sorted(names))


def _with_tasks(
    names: tuple[str, str], sides: Sequence[list[Measurements]], cards: Sequence[TaskCard]
) -> tuple[list[list[Measurements]], list[str]]:
    """Return the runs of each side that were measured by all of some cards, as the board's table of
    targets has them, and remarks on the recipes of which these are only some seeds.
    """
    kept, remarks = [], []
    for name, side in zip(names, sides, strict=True):
        able = [
            run
            for run in side
            if all(any(_is_by(measured, card) for measured in run) for card in cards)
        ]
        if 0 < len(able) < len(side):
            tasks = " and ".join(card.argument for card in cards)
            remarks.append(f"{name}: {len(able)} of {len(side)} seeds were measured on {tasks}")
        kept.append(able or side)
    return kept, remarks


def _is_by(measured: Measured, card: TaskCard) -> bool:
    """Return whether it is of the card's task; of a card outside the package, by that very card."""
    custom = isinstance(card, CustomCard)
    return measured.task == card.name and (not custom or measured.card == card.hash)


def _common(
    names: tuple[str, str], sides: Sequence[Sequence[Measurements]], only: Sequence[TaskCard]
) -> dict[Group, Common]:
    """Return what every run of both sides measured alike, and what is left out of it.

    ``only``: these tasks; of a card outside the package, measured by that very card.
    """
    runs = [run for side in sides for run in side]
    several = any(len(side) > 1 for side in sides)
    alike = [measured for measured in runs[0] if all(measured in run for run in runs)]
    custom = {one for one in alike if isinstance(runs[0][one][0].card, CustomCard)}
    cards = {(one.task, one.card) for one in custom if not only}
    unclear = [task for task, number in Counter(task for task, _ in cards).items() if number > 1]
    common: dict[Group, Common] = {}
    # The usual layer, split and whole set of queries come first; others count only without them.
    for measured, seeds in sorted(runs[0].items(), key=lambda item: len(item[1][0].notes)):
        first, task = seeds[0], measured.task
        if measured not in alike or (only and not any(_is_by(measured, card) for card in only)):
            continue
        shared = common.setdefault((first.track, first.metric), Common())
        if task in unclear:
            shared.remarks.append(
                f"{task} left out: it was measured with several cards of that name, name the file "
                "of one as --task ./CARD.yaml"
            )
            continue
        if task in shared.tasks:
            continue
        if seen := [
            name
            for name, side in zip(names, sides, strict=True)
            if any(run[measured][0].contaminated for run in side)
        ]:
            shared.remarks.append(f"{task} left out: {seen[0]} was trained on it")
        elif several and not has_paired_mean(first.card.kind, first.metric):
            shared.remarks.append(
                f"{task} left out: the mean of {first.metric} over seeds is not compared "
                "example by example, name one seed"
            )
        else:
            found = [result for run in runs for result in run[measured]]
            shared.remarks += _remarks(task, found)
            shared.tasks[task] = measured
    for shared in common.values():
        shared.remarks = list(dict.fromkeys(shared.remarks))
        _keep_whole(shared, runs)
    return common


def _keep_whole(shared: Common, runs: Sequence[Measurements]) -> None:
    """Leave out of a mean what is not whole in every run, and a second version of a task's data."""
    lacking = {
        task: sorted({lang for run in runs for one in run[measured] for lang in one.missing})
        for task, measured in shared.tasks.items()
    }
    if not all(lacking.values()):
        for task, languages in lacking.items():
            if languages:
                del shared.tasks[task]
                named = " ".join(languages[:8]) + " …" * (len(languages) > 8)
                shared.remarks.append(f"{task} left out of the mean: {named} missing")
    once = counted_once(shared.tasks)
    for task in [task for task in shared.tasks if task not in once]:
        del shared.tasks[task]
        shared.remarks.append(
            f"{task} left out of the mean: other data of a task in it, `--task {task}` compares it"
        )


def _remarks(task: str, found: Sequence[Result]) -> list[str]:
    """Return what a reader must know of a task's results: why they are unranked, and what is left
    out.
    """
    remarks = list(dict.fromkeys(f"{task}: {note}" for one in found for note in one.notes))
    lacking = [frozenset(one.missing) for one in found]
    if missing := sorted(frozenset.union(*lacking) - frozenset.intersection(*lacking)):
        remarks.append(f"{task}: not in every run, left out: {' '.join(missing)}")
    counted = set().union(*(one.values for one in found))
    measured = {unit for one in found for unit in one.folded.meta["languages"]}
    if outside := sorted(measured - counted):
        remarks.append(f"{task}: not of the suite's languages, left out: {' '.join(outside)}")
    return remarks


def _compared(
    names: tuple[str, str],
    sides: Sequence[Sequence[Measurements]],
    group: Group,
    common: Common,
    source: Source,
) -> Compared:
    """Return A − B over the tasks that both sides have in one group."""
    a, b = (
        _replicated(name, side, common.tasks, source.submissions)
        for name, side in zip(names, sides, strict=True)
    )
    difference, over = _over_seeds(differ(TwoSides(a, b), Path(), source.cache), a, b)
    remarks = tuple(common.remarks)
    return Compared(*names, *group, difference, over, remarks, difference.verdict())


def _as_printed(
    found: list[Compared], sides: Sequence[Sequence[Measurements]], source: Source
) -> list[Compared]:
    """Return the comparisons, with the board's verdict where it has one of these rows."""
    known = source.submissions
    slugs = (_slugs(sides[0], known), _slugs(sides[1], known))
    if not may_have(slugs, known):
        return found
    folded, damaged = fold_all(source.results, source.cache)
    source.damaged.update(dict.fromkeys(map(str, damaged)))
    entries = make_entries(folded, known)
    printed = board_verdicts(slugs, entries, source.results, source.cache)
    return [_with_verdict(one, printed) for one in found]


def _with_verdict(found: Compared, printed: Mapping[Measure, Verdict]) -> Compared:
    """Return it with the verdict on the same tasks, unless that is of other rows."""
    tasks = frozenset(task for task, _ in found.difference.columns)
    verdict = printed.get((found.track, found.metric, tasks))
    if verdict is None or verdict.estimate is None:
        return found
    same = isclose(verdict.estimate, found.difference.estimate.difference, abs_tol=ROUNDING)
    return replace(found, verdict=verdict) if same else found


def _slugs(side: Sequence[Measurements], submissions: Mapping[str, Submission]) -> Slugs:
    """Return the slugs of the submissions whose runs a side has, as the board finds them."""
    metas = [one.folded.meta for run in side for found in run.values() for one in found]
    found = {submitted(meta["model"], meta["revision"], submissions) for meta in metas}
    return frozenset(slug for slug in found if slug is not None)


def _by_seed(run: Measurements, tasks: Mapping[str, Measured]) -> list[dict[str, Result]]:
    """Return task → result, for each seed of tuning that all the tasks have; else the first of
    each.
    """
    seeds = {
        task: {result.seed: result for result in run[measured]} for task, measured in tasks.items()
    }
    common = sorted(set.intersection(*(set(of_task) for of_task in seeds.values())))
    if not common:
        return [{task: run[measured][0] for task, measured in tasks.items()}]
    return [{task: of_task[seed] for task, of_task in seeds.items()} for seed in common]


def _replicated(
    name: str,
    side: Sequence[Measurements],
    tasks: Mapping[str, Measured],
    submissions: Mapping[str, Submission],
) -> Replicated:
    """Return the runs of a side over some tasks: the seeds of its tuning, or of its recipe.

    Of several checkpoints each is one seed, however often it was tuned. One checkpoint with frozen
    vectors is fixed, unless it is itself one seed of a training whose other seeds are not there.
    """
    chosen = [(number, one) for number, run in enumerate(side) for one in _by_seed(run, tasks)]
    several = len({number for number, _ in chosen}) > 1
    first = next(iter(chosen[0][1].values()))
    trained = {one.revision for one in submissions.values() if one.recipe is not None}
    drawn = first.track != "frozen" or first.folded.meta["revision"] in trained
    runs = tuple(
        Run(name, "", number if several else place, results)
        for place, (number, results) in enumerate(chosen)
    )
    return Replicated(runs, fixed=len(chosen) == 1 and not drawn)


def _over_seeds(
    found: Difference, a: Replicated, b: Replicated
) -> tuple[Difference, Hierarchical | None]:
    """Take seeds and items together, where a side is a recipe or was tuned with several seeds."""
    evidence = evidence_of(a, b, None)
    every = [result for side in (a, b) for run in side.runs for result in run.results.values()]
    # Where languages are missing, the runs' own means would be over different ones.
    if missing := sorted({lang for result in every for lang in result.missing}):
        evidence = replace(evidence, incomplete=f"{' '.join(missing)} missing")
    elif max(len(a.runs), len(b.runs)) > 1:
        return over_replicates(found, a, b)
    return replace(found, evidence=evidence), None
