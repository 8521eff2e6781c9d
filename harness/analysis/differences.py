"""The paired difference of two sides, with its breakdowns; worked out once and kept."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path

import numpy as np
import pyarrow as pa

from harness.analysis.entries import Result, board_units
from harness.analysis.fold import fold_key
from harness.board.words import at_chance
from harness.io.files import write_whole
from harness.results.outcomes import OutcomeFile
from harness.statistics import contrast
from harness.statistics.contrast import Estimate, Part
from harness.statistics.mined import pair_mining
from harness.statistics.paired import pair_runs
from harness.statistics.resampling import RESAMPLES, Comparison, resample

SEED = 20_200_526  # of the resampling: fixed, so that a board is the same every time
GROUPS: tuple[contrast.GroupedBy, ...] = ("family", "script", "resource")


@dataclass(frozen=True)
class Difference:
    """A − B over some tasks: the mean over languages, then tasks, and its breakdowns.

    ``at_chance``: how many cells (a language of a task) every run is at chance in; they say
    nothing, and pull a mean over all languages to zero. ``above_chance``: the mean without them,
    where there are some and others are left.
    """

    label: str
    estimate: Estimate
    languages: tuple[Part, ...]
    groups: Mapping[str, tuple[Part, ...]]
    seen: tuple[str, ...] = ()
    unseen: tuple[str, ...] = ()
    seen_less_unseen: Estimate | None = None
    at_chance: int = 0
    above_chance: Part | None = None
    clusters: int = 0


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
    chance = _at_chance([*a, *b])
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
        at_chance=len(chance & set(draws.columns)),
        above_chance=contrast.without(draws, chance),
        clusters=draws.clusters,
    )
    if path:
        write_whole(path, json.dumps(asdict(difference)))
    return difference


def _at_chance(runs: Sequence[Mapping[str, Result]]) -> set[tuple[str, str]]:
    """(task, language) in which every run is at chance."""
    return {
        (task, lang)
        for task, result in runs[0].items()
        for lang in result.values
        if all(at_chance(run[task], lang) for run in runs if lang in run[task].values)
    }


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
        [{t: (r.metric, fold_key(results / r.path)) for t, r in run.items()} for run in side]
        for side in (a, b)
    ]
    here = Path(__file__).parent
    code = [here / "differences.py", *sorted((here.parent / "statistics").glob("*.py"))]
    digests = [sha256(path.read_bytes()).hexdigest() for path in code]
    text = json.dumps([named, [sorted(side) for side in trained], weights, resamples, digests])
    return sha256(text.encode()).hexdigest()


def _from_json(loaded: dict[str, object]) -> Difference:
    def parts(lines: object) -> tuple[Part, ...]:
        return tuple(
            Part(
                line["task"], line["name"], tuple((task, lang) for task, lang in line["columns"]),
                Estimate(**line["estimate"]), line["q"],
            )
            for line in lines  # type: ignore[attr-defined]
        )  # fmt: skip

    did = loaded["seen_less_unseen"]
    above = loaded["above_chance"]
    return Difference(
        label=str(loaded["label"]),
        estimate=Estimate(**loaded["estimate"]),  # type: ignore[arg-type]
        languages=parts(loaded["languages"]),
        groups={by: parts(lines) for by, lines in loaded["groups"].items()},  # type: ignore[attr-defined]
        seen=tuple(loaded["seen"]),  # type: ignore[arg-type]
        unseen=tuple(loaded["unseen"]),  # type: ignore[arg-type]
        seen_less_unseen=Estimate(**did) if isinstance(did, dict) else None,
        at_chance=int(loaded["at_chance"]),  # type: ignore[call-overload]
        above_chance=parts([above])[0] if above is not None else None,
        clusters=int(loaded["clusters"]),  # type: ignore[call-overload]
    )
