"""`compare A B`: the paired difference of two checkpoints, whatever they were measured on."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from harness.analysis.contrasts import FAMILY, Contrast, family_contrast, named_contrasts
from harness.analysis.differences import Difference, differ
from harness.analysis.entries import make_entries, place_of
from harness.analysis.fold import Folded
from harness.analysis.gather import fold_all, fold_files
from harness.analysis.replicates import Replicated, Run, evidence_of, over_replicates
from harness.analysis.results import Result, read_result
from harness.cards.catalogue import read_card
from harness.errors import (
    DataError,
    IncompleteError,
    NotFoundError,
    UsageError,
    together,
    unknown_name,
)
from harness.metrics.by_kind import METRICS, has_paired_mean
from harness.results.outcomes import OutcomeFile, find
from harness.statistics.hierarchy import Hierarchical
from harness.statistics.verdict import Verdict
from harness.submissions.submission import Submission, contamination, kind_of


@dataclass(frozen=True)
class Compared:
    """A − B in one track.

    ``verdict``: by Holm's method where A − B (or B − A) is one of the named contrasts of the board,
    else unadjusted. ``over``: the difference with seeds as a further source of variance, where a
    side is a recipe. ``remarks``: what a reader must know, such as rows that are unranked.
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


def compare(
    a: str,
    b: str,
    source: Source,
    *,
    only: Collection[str] = (),
    metric: str | None = None,
) -> list[Compared]:
    """The paired differences of two checkpoints over the tasks that both were measured on.

    ``a``, ``b``: an id, ``id@revision``, a slug, a results folder, or a recipe, which stands for
    the mean over its seeds. ``only``: of these tasks; ``metric``: in place of their headlines, of
    the tasks that have it. One entry per track and metric, which says what is left out because a
    side was trained on it, and which settings, splits or limits of both are not the usual ones.

    Raises:
        NotFoundError: a name has no outcomes.
        UsageError: there is no such task, or no task with that metric.
        IncompleteError: nothing was measured on both in the same way.
        DataError: outcome files are damaged; ``error.scores`` has what the others give.
    """
    tables = [read_card(task).metrics for task in only] or METRICS.values()
    names = {name for table in tables for name in table}
    if metric is not None and metric not in names:
        raise unknown_name(f"metric of {', '.join(only) or 'any task'}", metric, sorted(names))
    results, known, cache = source.results, source.submissions, source.cache
    sides = [_runs(name, source, metric) for name in (a, b)]
    groups: dict[tuple[str, str], dict[str, How]] = {}
    remarks: dict[tuple[str, str], list[str]] = {}
    every = [run for side in sides for run in side]
    # The usual layer, split and whole set of queries first: others only where these are not there.
    for how, seeds in sorted(every[0].items(), key=lambda item: len(item[1][0].notes)):
        first = seeds[0]
        if only and first.task not in only:
            continue
        group = (first.track, first.metric)
        if first.task in groups.get(group, {}) or any(how not in run for run in every):
            continue
        said = remarks.setdefault(group, [])
        seen = [name for name, side in zip((a, b), sides, strict=True)
                if any(run[how][0].contaminated for run in side)]  # fmt: skip
        if seen:
            said.append(f"{first.task} left out: {seen[0]} was trained on it")
            continue
        several = any(len(side) > 1 for side in sides)
        if several and not has_paired_mean(first.card.kind, first.metric):
            said.append(
                f"{first.task} left out: the mean of {first.metric} over seeds is not compared "
                "example by example, name one seed"
            )
            continue
        found = [result for run in every for result in run[how]]
        said += dict.fromkeys(f"{first.task}: {note}" for one in found for note in one.notes)
        lacking = [frozenset(one.missing) for one in found]
        if missing := sorted(frozenset.union(*lacking) - frozenset.intersection(*lacking)):
            said.append(f"{first.task}: not in every run, left out: {' '.join(missing)}")
        groups.setdefault(group, {})[first.task] = how
    groups = {group: tasks for group, tasks in groups.items() if tasks}
    if not groups:
        asked = f" ({' or '.join(only)})" if only else ""
        asked += f" with {metric}" if metric else ""
        raise IncompleteError(
            f"{a} and {b} were not measured on a common task{asked}, track, layer, recipe, split "
            "and limit: run `xharness eval` on both alike"
        )
    found_differences = []
    for (track, metric), tasks in sorted(
        groups.items(), key=lambda item: (place_of(item[0][0]), item[0][1])
    ):
        chosen = [
            [(number, one) for number, run in enumerate(side) for one in _by_seed(run, tasks)]
            for side in sides
        ]
        runs = [[one for _, one in side] for side in chosen]
        difference = differ(runs[0], runs[1], Path(), cache)
        difference, over = _over_seeds((a, b), chosen, difference, known)
        found_differences.append(
            Compared(
                a,
                b,
                track,
                metric,
                difference,
                over,
                tuple(remarks[track, metric]),
                difference.verdict(),
            )
        )
    slugs = (_slugs(sides[0], known), _slugs(sides[1], known))
    if _may_be_named(slugs, known):
        folded, damaged = fold_all(results, cache)
        source.damaged.update(dict.fromkeys(map(str, damaged)))
        contrasts = named_contrasts(make_entries(folded, known), results, cache)
        found_differences = [_in_family(one, slugs, contrasts) for one in found_differences]
    if source.damaged:
        raise together(map(DataError, source.damaged), found_differences)
    return found_differences


@dataclass(frozen=True)
class Source:
    """Where runs are looked for. ``damaged``: the files that could not be read, with the reason."""

    results: Path
    submissions: Mapping[str, Submission] = field(default_factory=dict)
    cache: Path | None = None
    damaged: dict[str, None] = field(default_factory=dict)

    def fold(self, files: Sequence[OutcomeFile]) -> list[tuple[Folded, str]]:
        """The files that are whole, with their paths."""
        found = []
        for file, one in zip(files, fold_files(files, self.cache), strict=True):
            if isinstance(one, DataError):
                self.damaged[str(one)] = None
            else:
                found.append((one, str(file.path)))
        return found


Slugs = frozenset[str]


def _slugs(
    side: Sequence[Mapping[How, Sequence[Result]]], submissions: Mapping[str, Submission]
) -> Slugs:
    """The slugs of the submissions whose runs a side has."""
    revisions = {
        one.folded.meta["revision"] for run in side for found in run.values() for one in found
    }
    return frozenset(slug for slug, one in submissions.items() if one.revision in revisions)


def _may_be_named(sides: tuple[Slugs, Slugs], submissions: Mapping[str, Submission]) -> bool:
    """Whether the sides are of the kinds of one of the named contrasts, in either order."""
    kinds = [
        {
            "base" if submissions[slug].objective == "none" else kind_of(submissions[slug])
            for slug in side
        }
        for side in sides
    ]
    return any(kinds in ([{a}, {b}], [{b}, {a}]) for a, b in FAMILY)


def _in_family(
    found: Compared, sides: tuple[Slugs, Slugs], contrasts: Sequence[Contrast]
) -> Compared:
    """The comparison with the verdict of the named contrast, if it is one of them."""
    measure, tasks = (found.track, found.metric), {task for task, _ in found.difference.columns}
    if named := family_contrast(contrasts, measure, *sides, tasks):
        return replace(found, verdict=named.verdict)
    if named := family_contrast(contrasts, measure, *sides[::-1], tasks):
        return replace(found, verdict=named.verdict.mirrored())
    return found


def _by_seed(
    run: Mapping[How, Sequence[Result]], tasks: Mapping[str, How]
) -> list[dict[str, Result]]:
    """Task → result, for each seed of tuning that all the tasks have; else the first of each."""
    seeds = {task: {result.seed: result for result in run[how]} for task, how in tasks.items()}
    common = sorted(set.intersection(*(set(of_task) for of_task in seeds.values())))
    if not common:
        return [{task: run[how][0] for task, how in tasks.items()}]
    return [{task: of_task[seed] for task, of_task in seeds.items()} for seed in common]


def _over_seeds(
    names: tuple[str, str],
    chosen: Sequence[Sequence[tuple[int, Mapping[str, Result]]]],
    found: Difference,
    submissions: Mapping[str, Submission],
) -> tuple[Difference, Hierarchical | None]:
    """Seeds and items together, where a side is a recipe or was tuned with several seeds.

    Of several checkpoints each is one seed, however often it was tuned. One checkpoint with frozen
    vectors is fixed, unless it is itself one seed of a training whose other seeds are not there.
    """
    sides = []
    trained = {one.revision for one in submissions.values() if one.recipe is not None}
    for name, runs in zip(names, chosen, strict=True):
        first = next(iter(runs[0][1].values()))
        drawn = first.track != "frozen" or first.folded.meta["revision"] in trained
        several = len({number for number, _ in runs}) > 1
        sides.append(
            Replicated(
                tuple(
                    Run(name, "", number if several else place, results)
                    for place, (number, results) in enumerate(runs)
                ),
                fixed=len(runs) == 1 and not drawn,
            )
        )
    every = [results for side in sides for run in side.runs for results in run.results.values()]
    # Where languages are missing, the runs' own means would be over different ones.
    if missing := sorted({lang for result in every for lang in result.missing}):
        why = f"{' '.join(missing)} missing"
        evidence = replace(evidence_of(sides[0], sides[1], None), incomplete=why)
        return replace(found, evidence=evidence), None
    if all(len(side.runs) == 1 for side in sides):
        return replace(found, evidence=evidence_of(sides[0], sides[1], None)), None
    return over_replicates(found, sides[0], sides[1])


def _runs(name: str, source: Source, metric: str | None) -> list[dict[How, tuple[Result, ...]]]:
    """The run that a name stands for; for a recipe, one run per seed."""
    submissions, results = source.submissions, source.results
    seeds = [slug for slug, one in submissions.items() if one.recipe == name]
    if name in submissions or not seeds:
        return [_side(name, source, metric)]
    bases = sorted({str(submissions[slug].base) for slug in seeds})
    if len(bases) > 1:
        raise UsageError(f"recipe {name} is on several bases ({', '.join(bases)}): name one seed")
    there = {file.path.parent.name for file in find(results)} if results.is_dir() else set()
    measured = [
        slug
        for slug in seeds
        if (submissions[slug].revision or "pending").removeprefix("local:")[:12] in there
    ]
    if not measured:
        raise NotFoundError(f"no seed of recipe {name} is measured: run `xharness eval` first")
    return [_side(slug, source, metric) for slug in measured]


How = tuple[str, str, int | None, tuple[str, ...], str | None, str, int | None]


def _side(name: str, source: Source, metric: str | None) -> dict[How, tuple[Result, ...]]:
    """(task, track, layer and other settings asked for, recipe, split, limit) → the run.

    Several results are seeds of tuning; paths are whole.
    """
    folder, results, submissions = Path(name), source.results, source.submissions
    found: list[tuple[Folded, str]] = []
    files = find(folder) if folder.is_dir() else []
    if files:
        found = source.fold(files)
    else:
        model, _, revision = name.partition("@")
        slug = submissions.get(name)
        for one, path in source.fold(find(results) if results.is_dir() else []):
            by_slug = slug is not None and one.meta["revision"] == slug.revision
            by_name = one.meta["model"] == (slug.model if slug else model)
            at = not revision or str(one.meta["revision"]).startswith(revision)
            if by_slug or (by_name and at):
                found.append((one, path))
    if not found:
        why = f"no outcomes of {name} under {results}: run `xharness eval {name}` first"
        missing = [] if files else [NotFoundError(why)]  # a folder's files are all damaged
        raise together([*map(DataError, source.damaged), *missing])
    revisions = sorted({str(one.meta["revision"]) for one, _ in found})
    if len(revisions) > 1:
        there = {str(Path(path).parent) if files else f"{name}@{one.meta['revision'][:12]}"
                 for one, path in found}  # fmt: skip
        choices = ", ".join(sorted(there))
        raise NotFoundError(
            f"{name} was measured at {len(revisions)} revisions: give one of {choices}"
        )
    seen = _seen(found, submissions)
    groups: dict[How, dict[int, Result]] = {}
    for one, path in sorted(found, key=lambda pair: pair[1]):
        if metric is not None and metric not in one.card.metrics:
            continue
        # Mining is compared by F1 alone.
        result = read_result(one, path, seen, None if one.card.kind == "mining" else metric)
        if metric not in (None, result.metric):
            continue
        # Without tuning nothing is drawn: a seed is a name, and any one of them stands for all.
        seed = result.seed if result.track == "tuned" else 0
        groups.setdefault(_how(result), {}).setdefault(seed, result)
    return {how: tuple(seeds[seed] for seed in sorted(seeds)) for how, seeds in groups.items()}


def _seen(
    found: Iterable[tuple[Folded, str]], submissions: Mapping[str, Submission]
) -> frozenset[str]:
    entries = make_entries(found, submissions)
    slugs = [entry.slug for entry in entries if entry.results and entry.slug in submissions]
    return contamination(slugs[0], submissions) if slugs else frozenset()


def _how(result: Result) -> How:
    meta = result.folded.meta
    # Models differ in depth and prompts: what is the protocol's own is one choice for all of them.
    asked = [reason.partition(" (protocol: ") for reason in meta["custom"]]
    settings = sorted(setting for setting, departs, _ in asked if departs)
    other = tuple(setting for setting in settings if not setting.startswith("layer "))
    layer = result.layer if len(other) < len(settings) and result.track != "tuned" else None
    recipe = (meta["resolved"].get("recipe") or {}).get("hash")
    return (result.task, result.track, layer, other, recipe, str(meta["split"]), meta["limit"])
