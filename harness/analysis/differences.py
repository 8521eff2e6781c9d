"""Computes the paired difference of two sides with its breakdowns, once, and keeps it."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
from pydantic import TypeAdapter

from harness.analysis.cells import official_rows
from harness.analysis.chance import columns_at_chance
from harness.analysis.fold import fold_key
from harness.analysis.results import Result
from harness.analysis.runs import Replicated, Run
from harness.cards.languages import task_root
from harness.io.kept import keep_text, read_kept
from harness.metrics.by_kind import has_paired_mean
from harness.results.outcomes import OutcomeFile
from harness.statistics import contrast
from harness.statistics.contrast import Column, Estimate, Part
from harness.statistics.paired import Paired, pair
from harness.statistics.ratios import PairedRatios
from harness.statistics.resampling import RESAMPLES, Draws, resample_each
from harness.statistics.verdict import (
    DELTAS,
    UNADJUSTED,
    Adjusted,
    Evidence,
    Verdict,
    judge,
)

SEED = 20_200_526  # of the resampling: fixed, so that a board is the same every time
TOGETHER = 4  # differences that share their random weights: each takes memory while it is resampled
GROUPS: tuple[contrast.GroupedBy, ...] = ("family", "script", "resource")


@dataclass(frozen=True)
class Difference:
    """A − B over some tasks: the mean over languages, then tasks, and its breakdowns.

    ``chance``: the (task, language) columns in which no run is above chance; they tell nothing, and
    pull a mean over all languages to zero. ``above_chance``: the mean without them, where there
    are some and others are left. ``evidence``: the runs that it is of, see `over_replicates`.
    """

    label: str
    metric: str
    estimate: Estimate
    languages: tuple[Part, ...]
    groups: Mapping[str, tuple[Part, ...]]
    seen: tuple[str, ...] = ()
    unseen: tuple[str, ...] = ()
    seen_less_unseen: Estimate | None = None
    chance: tuple[Column, ...] = ()
    above_chance: Part | None = None
    evidence: Evidence = field(default_factory=Evidence)

    @property
    def columns(self) -> tuple[Column, ...]:
        """The (task, language) columns that it is the mean over."""
        return tuple(column for part in self.languages for column in part.columns)

    @property
    def seen_label(self) -> str:
        """The tasks that *seen − unseen* is the mean over: those with languages of both kinds."""
        sides = contrast.seen_unseen_columns(self.columns, self.seen, self.unseen)
        return "" if sides is None else contrast.label(sides[0])

    def verdict(self, adjusted: Adjusted = UNADJUSTED) -> Verdict:
        """Return the verdict on the mean."""
        return judge(
            self.estimate,
            self.evidence,
            adjusted,
            delta=DELTAS.get(self.metric),
            columns=len(self.columns),
            at_chance=len(self.chance),
        )

    def line_verdict(self, part: Part, *, adjusted: bool = True) -> Verdict:
        """Return the verdict on a line of a breakdown, by Benjamini and Hochberg within its task
        (or, for a group, its kind of groups); on the mean above chance it is not adjusted.
        """
        evidence = self.evidence
        if part.estimate.df is None:  # too few items for a test over seeds
            evidence = replace(evidence, claim="descriptive")
        size = sum(line.task == part.task for line in self.languages)
        for lines in self.groups.values():
            size = len(lines) if part in lines else size
        return judge(
            part.estimate,
            evidence,
            Adjusted("Benjamini–Hochberg", part.q, size) if adjusted else UNADJUSTED,
            delta=DELTAS.get(self.metric),
            columns=len(part.columns),
            at_chance=len(set(part.columns) & set(self.chance)),
        )


class TwoSides(NamedTuple):
    """Two sides to compare; ``trained``: the languages of the intermediate data of either."""

    a: Replicated
    b: Replicated
    trained: tuple[Collection[str], Collection[str]] = ((), ())

    @property
    def runs(self) -> tuple[Run, ...]:
        """The runs of both."""
        return (*self.a.runs, *self.b.runs)

    @property
    def tasks(self) -> tuple[str, ...]:
        """The tasks that every run has."""
        return tuple(self.runs[0].results)

    @property
    def can_be_paired(self) -> bool:
        """Whether there is a difference example by example: of single runs there is, of several
        where they have a mean.
        """
        single = max(len(self.a.runs), len(self.b.runs)) == 1
        results = self.runs[0].results.values()
        return single or all(has_paired_mean(one.card.kind, one.metric) for one in results)


def differ(of: TwoSides, results: Path, kept: Path | None = None) -> Difference:
    """Return the paired difference of two sides over items alone, task by task.

    ``results``: the folder that the paths of their results are under. ``kept``: the folder of
    differences that were computed before.
    """
    return differ_each([of], results, kept)[0]


def differ_each(
    every: Sequence[TwoSides], results: Path, kept: Path | None = None
) -> list[Difference]:
    """Return the paired difference of each two sides, as `differ` does for them alone.

    Those over the same items are resampled together, `TOGETHER` at a time.
    """
    paths = [
        kept / f"{key}.json" if kept and (key := difference_key(of, results)) else None
        for of in every
    ]
    found = {
        place: known
        for place, path in enumerate(paths)
        if path and (known := read_kept(path, _validated)) is not None
    }
    by_tasks: dict[tuple[str, ...], list[int]] = {}
    for place in range(len(every)):
        if place not in found:
            by_tasks.setdefault(every[place].tasks, []).append(place)
    for places in by_tasks.values():
        for start in range(0, len(places), TOGETHER):
            chunk = places[start : start + TOGETHER]
            compared = [
                [comparison(every[place], task, results) for task in every[place].tasks]
                for place in chunk
            ]
            for place, draws in zip(chunk, resample_each(compared, SEED), strict=True):
                found[place] = _difference(every[place], draws)
                if path := paths[place]:
                    keep_text(path, json.dumps(asdict(found[place])))
    return [found[place] for place in range(len(every))]


def _difference(of: TwoSides, draws: Draws) -> Difference:
    runs = [run.results for run in of.runs]
    langs = list(dict.fromkeys(lang for _, lang in draws.columns))
    seen, unseen = contrast.seen_unseen(langs, *of.trained) if any(of.trained) else ((), ())
    chance = columns_at_chance(runs)
    return Difference(
        label=contrast.label(draws.columns),
        metric=next(iter(runs[0].values())).metric,
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
        chance=tuple(column for column in draws.columns if column in chance),
        above_chance=contrast.without(draws, chance),
    )


def _validated(path: Path) -> Difference:
    return _kept_form().validate_json(path.read_bytes())


@cache  # making it takes longer than reading a difference
def _kept_form() -> TypeAdapter[Difference]:
    return TypeAdapter(Difference)


def comparison(of: TwoSides, task: str, results: Path) -> Paired | PairedRatios:
    """Return the outcomes of two sides on one of their tasks, paired by example; as for
    `differ`.
    """
    first = of.a.runs[0].results[task]
    rows_a, rows_b = (
        [_rows(run.results[task], results) for run in side.runs] for side in (of.a, of.b)
    )
    weights = (of.a.shares, of.b.shares)
    return pair(rows_a, rows_b, first.metric, first.card.kind, task=task, weights=weights)


def _rows(result: Result, results: Path) -> pa.Table:
    file = OutcomeFile(results / result.path)
    wanted = result.values
    rows = dict(file.tables(list(file.done().keys() & wanted.keys())))
    split = result.folded.meta["split"]
    return pa.concat_tables(
        [official_rows(rows[unit], result.card, split) for unit in wanted if unit in rows]
    )


def difference_key(of: TwoSides, results: Path) -> str | None:
    """Return sha256 hex over what decides a difference: its runs' folds, weights, languages and
    code.

    None where a file is not whole: more languages may come, so its difference is not kept.
    """
    every = (one for run in of.runs for one in run.results.values())
    if not all(OutcomeFile(results / one.path).whole for one in every):
        return None
    named = [
        [
            {task: (one.metric, fold_key(results / one.path)) for task, one in run.results.items()}
            for run in side.runs
        ]
        for side in (of.a, of.b)
    ]
    trained_on = [sorted(side) for side in of.trained]
    text = json.dumps([named, trained_on, of.a.shares, of.b.shares, RESAMPLES, _code_digest()])
    return sha256(text.encode()).hexdigest()


@cache
def _code_digest() -> str:
    """Return a digest of what decides a difference besides its runs' folds: code, languages and
    suites.
    """
    package = Path(__file__).parent.parent
    names = ("chance", "differences", "results", "runs")
    paths = [package / f"analysis/{name}.py" for name in names]
    paths += [package / f"cards/{name}.py" for name in ("catalogue", "languages", "task")]
    paths += sorted((package / "statistics").glob("*.py"))
    paths += [task_root() / name for name in ("languages.tsv", "suites.yaml")]
    return sha256(b"\0".join(path.read_bytes() for path in paths)).hexdigest()
