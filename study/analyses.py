"""The study's further analyses, from the committed rows: tables in Markdown, and figures.

    python -m study.analyses [--root DIR] [--cache DIR] [--figures DIR]

Where an effect is (languages of the training data, scripts near English, resources, layers),
whether a measure of alignment tells what retrieval does, what the design could have found, and what
is found without a trained model. What was not measured is said to be so. `xharness contrast` and
the board have the contrasts themselves.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import numpy as np

from harness.analysis.contrasts import Contrast
from harness.analysis.differences import SEED, TwoSides, comparison
from harness.analysis.entries import Entry
from harness.analysis.gains import from_draws
from harness.analysis.gather import RESULTS, Board, read_board
from harness.analysis.replicates import mean_score, over_seeds, runs_of
from harness.analysis.results import Result
from harness.analysis.runs import Replicated
from harness.board.curves import layer_curves
from harness.board.markdown import Raw, table, unbroken
from harness.board.words import decimals, p_value, percent, points, span
from harness.cards.languages import read_languages
from harness.results.outcomes import find
from harness.results.scores import MACRO, scores
from harness.statistics.contrast import (
    Column,
    Estimate,
    difference_in_differences,
    mean_over,
    seen_unseen_columns,
)
from harness.statistics.hierarchy import units
from harness.statistics.multiplicity import benjamini_hochberg
from harness.statistics.resampling import RESAMPLES, Draws, resample
from study import figures
from study.correlation import FEWEST, rank_correlation
from study.power import detectable

ROOT = Path(__file__).resolve().parent.parent
ALIGNMENT = ROOT / "study" / "alignment"
NOT_MEASURED = "Not measured."
NEAR = "Latn"  # English's script
HIGH, LOW = ("4", "5"), ("0", "1", "2")  # classes of Joshi et al. 2020; 3 lies between
MEASURES = ("cosine", "gap", "median_rank")  # of `xharness align`


@dataclass(frozen=True)
class Sides:
    """Two sets of languages whose differences are compared, such as near and far scripts."""

    name: str
    first: tuple[str, ...]
    second: tuple[str, ...]


@dataclass(frozen=True)
class Line:
    """A difference in differences in points and relative to B's scores; with its q in its table."""

    contrast: str
    sides: Sides
    points: Estimate
    relative: Estimate


def sides_of(langs: Sequence[str], seen: Sequence[str], unseen: Sequence[str]) -> list[Sides]:
    """The sets that are compared. ``seen``, ``unseen``: those of the `Difference`."""
    known = read_languages()

    def those(belongs: Callable[[str], bool]) -> tuple[str, ...]:
        return tuple(lang for lang in langs if belongs(lang.split("-")[0]))

    return [
        Sides("seen − unseen", tuple(seen), tuple(unseen)),
        Sides("Latin − other scripts", those(lambda code: known[code].script == NEAR),
              those(lambda code: known[code].script != NEAR)),
        Sides("high − low resource", those(lambda code: known[code].resource in HIGH),
              those(lambda code: known[code].resource in LOW)),
    ]  # fmt: skip


def lines_of(board: Board, one: Contrast, tasks: Sequence[str], results: Path) -> list[Line]:
    """A contrast's differences in differences over some of its tasks: over items and, of three
    seeds or more, seeds.
    """
    a, b = (_replicated(board, one, tasks, slugs) for slugs in (one.a, one.b))
    draws = resample(
        [comparison(TwoSides(a, b), task, results) for task in tasks],
        np.random.default_rng(SEED),
        RESAMPLES,
    )
    langs = list(dict.fromkeys(lang for _, lang in draws.columns))
    level = {
        (task, lang): float(
            np.dot(b.shares, [run.results[task].values[lang].value for run in b.runs])
        )
        for task, lang in draws.columns
    }
    found = []
    assert one.difference is not None  # it is answered
    for sides in sides_of(langs, one.difference.seen, one.difference.unseen):
        in_points = _over_seeds(draws, sides, None, a, b)
        relative = _over_seeds(draws, sides, level, a, b) if all(level.values()) else None
        if in_points is not None and relative is not None:
            found.append(Line(one.name, sides, in_points, relative))
    return found


def _replicated(
    board: Board, one: Contrast, tasks: Sequence[str], slugs: Sequence[str]
) -> Replicated:
    runs = [
        run
        for slug in slugs
        for run in runs_of(board.entry(slug), one.base, tasks, lambda entry: entry.tasks(one.track))
    ]
    return Replicated(tuple(runs), fixed=tuple(slugs) == (one.base,) and one.track == "frozen")


def _over_seeds(
    draws: Draws, sides: Sides, scale: Mapping[Column, float] | None, a: Replicated, b: Replicated
) -> Estimate | None:
    estimate = difference_in_differences(draws, sides.first, sides.second, scale)
    columns = seen_unseen_columns(draws.columns, sides.first, sides.second)
    if estimate is None or columns is None:
        return None

    def score(results: Mapping[str, Result]) -> float:
        def scaled(task: str, lang: str) -> float:
            return results[task].values[lang].value / (scale[task, lang] if scale else 1.0)

        first, second = (mean_over(side, scaled) for side in columns)
        return first - second

    return over_seeds(estimate, score, a, b)[0]


def where_table(lines: Sequence[Line]) -> Raw | str:
    """Differences in differences, with Benjamini and Hochberg's q over the table."""
    if not lines:
        return NOT_MEASURED
    q = [benjamini_hochberg([getattr(line, scale).p for line in lines])
         for scale in ("points", "relative")]  # fmt: skip
    rows = [
        (line.contrast, line.sides.name, len(line.sides.first), len(line.sides.second),
         *_told(line.points, of_points), *_told(line.relative, of_relative))
        for line, of_points, of_relative in zip(lines, *q, strict=True)
    ]  # fmt: skip
    headers = ("contrast", "languages", "first", "second", "points", "95 % interval", "q",
               "relative (%)", "95 % interval", "q")  # fmt: skip
    return table(headers, rows, left=2)


def _told(one: Estimate, q: float | None = None) -> tuple[object, ...]:
    """The figure, its plain interval and, where there is one, q."""
    places = decimals(one.se, one.difference, one.low, one.high)
    told = (points(one.difference, places), unbroken(span(one.low, one.high, places)))
    return told if q is None else (*told, p_value(q))


def layer_table(entries: Sequence[Entry]) -> Raw | str:
    """Every layer of a variant less the same layer of its base, over items alone."""
    rows = []
    for task, curves in layer_curves(entries).items():
        by_slug = {entry.slug: {r.layer: r for r in results} for entry, results in curves}
        for entry, results in curves:
            base = by_slug.get(entry.base or "", {})
            for mine in results:
                if (theirs := base.get(mine.layer)) is not None:
                    estimate = from_draws({task: mine}, {task: theirs}, [task])
                    rows.append((task, entry.title, mine.layer, *_told(estimate)))
    if not rows:
        return "No checkpoint has rows of three layers or more together with its base."
    return table(("task", "checkpoint", "layer", "points", "95 % interval"), rows, left=2)


@dataclass(frozen=True)
class Point:
    """A variant: the change of each alignment measure, and of its retrieval, against the base."""

    title: str
    changes: Mapping[str, float]
    retrieval: float


Aligned = Mapping[str, Mapping[str, float]]  # language → measure → value


def alignment_points(
    board: Board, measured: Mapping[str, Aligned], task: str = "tatoeba"
) -> list[Point]:
    """A point for each variant: seeds of a recipe are one, their mean, since they are no
    independent pieces of evidence. ``measured``: slug → what `read_alignment` gives.

    Both changes are over the same seeds and languages: those whose alignment was measured.
    """
    found = []
    for entry in board.shown:
        base = board.entry(str(entry.base)) if entry.base in measured else None
        members = [one for one in entry.members or (entry,) if one.slug in measured]
        if base is None or not members:
            continue
        every = [base, *members]
        results = [one.tasks("frozen").get(task) for one in every]
        langs = set.intersection(*(set(measured[one.slug]) for one in every))
        if not langs or not all(one is not None and langs <= one.values.keys() for one in results):
            continue
        aligned = [
            {name: mean(measured[one.slug][lang][name] for lang in langs) for name in MEASURES}
            for one in every
        ]
        retrieved = [
            mean(one.values[lang].value for lang in langs) for one in results if one is not None
        ]
        changes = {
            name: mean(own[name] for own in aligned[1:]) - aligned[0][name] for name in MEASURES
        }
        whole = len(members) == len(entry.members or (entry,))
        title = entry.title if whole else " and ".join(one.title for one in members)
        found.append(Point(title, changes, mean(retrieved[1:]) - retrieved[0]))
    return found


def read_alignment(folder: Path) -> dict[str, Aligned]:
    """Slug → language → measure → its value at the standard layer, over sentences.

    ``folder``: files `SLUG.json`, as `xharness align MODEL --format json` prints them.
    """
    found: dict[str, Aligned] = {}
    for path in sorted(folder.glob("*.json")):
        loaded: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        found[path.stem] = {
            row["lang"]: {name: float(row[name]) for name in MEASURES}
            for row in loaded["rows"]
            if (row["unit"], row["layer"]) == ("sentences", loaded["standard_layer"])
            and row["lang"] != MACRO
        }
    return found


def alignment_table(found: Sequence[Point]) -> Raw | str:
    """Spearman's ρ between the change of each measure and that of retrieval, over recipes."""
    if len(found) < FEWEST:
        return f"Not measured: {len(found)} recipes have both, and a correlation takes {FEWEST}."
    rows = []
    for name in MEASURES:
        changes = [point.changes[name] for point in found]
        if len(set(changes)) == 1:
            continue
        one = rank_correlation(changes, [point.retrieval for point in found])
        shown = (f"{one.rho:+.2f}", unbroken(f"[{one.low:+.2f}, {one.high:+.2f}]"))
        rows.append((name.replace("_", " "), one.n, *(Raw(s.replace("-", "−")) for s in shown)))
    return table(("measure", "recipes", "ρ with recall@10", "95 % interval"), rows)


def power_table(board: Board) -> Raw | str:
    """What each contrast could have found, from the variance of its seeds and items."""
    rows = []
    for one in board.contrasts:
        verdict = one.verdict
        if one.difference is None or not verdict.se or not verdict.df:
            continue
        score = mean_score(one.difference.columns)
        sides = [_replicated(board, one, sorted(one.tasks), slugs) for slugs in (one.a, one.b)]
        a, b = (units(side.scored(score)) for side in sides)
        counts = ", ".join(_counted(side) for side in sides)
        item = one.difference.estimate.variance or 0.0
        rows.append(
            (one.name, one.track, counts, *(_deviation(side) for side in (a, b)),
             points(item**0.5).lstrip("+"), points(verdict.se).lstrip("+"), f"{verdict.df:.1f}",
             points(detectable(verdict.se, verdict.df)).lstrip("+"))
        )  # fmt: skip
    headers = ("contrast", "track", "recipes or seeds", "deviation of A's", "of B's",
               "of the items", "standard error", "df", "found with a power of 80 %")  # fmt: skip
    return table(headers, rows, left=2) if rows else NOT_MEASURED


def _counted(side: Replicated) -> str:
    """What a side's deviation is over: its recipes where it has several, else its seeds."""
    if side.checkpoints > 1:
        return f"{side.checkpoints} recipes"
    return "1 checkpoint" if len(side.runs) == 1 else f"{len(side.runs)} seeds"


def _deviation(side: Sequence[float]) -> str:
    return points(stdev(side)).lstrip("+") if len(side) > 1 else "—"


def untrained_table(results: Path, names: Iterable[str]) -> Raw | str:
    """recall@10 and accuracy in both directions of the rows of some folders of results."""
    rows = []
    for name in names:
        for file in find(results / name) if (results / name).is_dir() else ():
            if not file.path.is_file():  # not finished
                continue
            found = {
                (row["direction"], row["metric"]): row["value"]
                for row in scores(file.path).to_pylist()
                if row["lang"] == MACRO
            }
            rows += [
                (name, file.path.name.split(".")[0], direction, *(
                    percent(found[direction, metric]) if (direction, metric) in found else "—"
                    for metric in ("recall@10", "accuracy")
                ))
                for direction in dict.fromkeys(direction for direction, _ in found)
            ]  # fmt: skip
    headers = ("rows", "task", "direction", "recall@10 (%)", "accuracy (%)")
    return table(headers, rows, left=3) if rows else NOT_MEASURED


def main() -> None:
    """Print the tables, and draw the figures where a folder is given."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", type=Path, default=ROOT)
    parser.add_argument("--cache", type=Path, help="holds what an earlier run worked out")
    parser.add_argument("--figures", type=Path, help="a folder to draw them in")
    given = parser.parse_args()
    board = read_board(given.root, given.cache)
    results = given.root / RESULTS
    answered = [one for one in board.contrasts if one.difference is not None]
    # Those that all contrasts have: the points of means over other tasks do not compare.
    tasks = sorted(frozenset.intersection(*(one.tasks for one in answered))) if answered else []
    lines = [line for one in answered for line in lines_of(board, one, tasks, results)]
    found = alignment_points(board, read_alignment(ALIGNMENT))
    untrained = sorted(
        path.name
        for path in results.iterdir()
        if path.name.startswith("object@") or path.name.endswith(("-random", "-4bit"))
    )
    for title, shown in (
        ("Where the differences are", where_table(lines)),
        ("At which layers", layer_table(board.entries)),
        ("Does alignment tell what retrieval does?", alignment_table(found)),
        ("What the design could have found", power_table(board)),
        ("Without a trained model", untrained_table(results, untrained)),
    ):  # fmt: skip
        print(f"## {title}\n\n{shown}\n")
    if given.figures is not None:
        given.figures.mkdir(parents=True, exist_ok=True)
        if lines:
            (given.figures / "where.svg").write_text(figures.where(lines), encoding="utf-8")
        for name in MEASURES if len(found) >= FEWEST else ():
            drawn = figures.scatter(found, name)
            (given.figures / f"alignment-{name}.svg").write_text(drawn, encoding="utf-8")


if __name__ == "__main__":
    main()
