"""Holds what a board shows of one outcome file, or of the mean over seeds of several."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from harness.analysis.cells import Parts, official
from harness.analysis.draws import one_interval
from harness.analysis.fold import Folded
from harness.cards.catalogue import read_suites
from harness.cards.target_recipes import read_target_recipes
from harness.cards.task import TaskCard
from harness.results.provenance import Origin
from harness.results.scores import INDISTINCT, MACRO, indistinct_shares
from harness.statistics import hierarchy
from harness.statistics.hierarchy import ENOUGH
from harness.submissions.submission import is_contaminated

Floats = npt.NDArray[np.float64]
Key = TypeVar("Key")

# A task's languages on the board are those of the first suite here that has the task.
SUITES = ("xtreme-r", "xtreme", "full", "demo")


@dataclass(frozen=True)
class Value:
    """A score in [0, 1] with its 95 % interval, over ``n`` examples; None of one parallel item."""

    value: float
    low: float | None
    high: float | None
    n: int


@dataclass(frozen=True, eq=False)
class Result:
    """What the board shows of one outcome file: its primary metric over the board's languages.

    ``values``: unit → ``metric``, the headline; where the file has none of the board's units, of
    all that it has, so that two such runs can be compared; ``draws``: unit → float32[DRAWS];
    ``parts``: unit → clusters and what each adds to the value; ``beside``: other metrics, their
    means over the board's languages. ``missing``: units of the board that are not there: then there
    is no mean (``macro`` is None). ``contaminated``: the checkpoint was trained, or tuned,
    on the task's data. ``seeds``: for a mean over seeds, the results that it averages.
    """

    folded: Folded
    path: str
    metric: str
    values: Mapping[str, Value]
    draws: Mapping[str, Floats]
    parts: Mapping[str, Parts]
    beside: Mapping[str, float]
    missing: tuple[str, ...]
    contaminated: bool
    seeds: tuple[Result, ...] = ()

    @property
    def seed(self) -> int:
        """The seed of the run, of the first one for a mean over seeds."""
        return int(self.folded.meta["seed"])

    @property
    def card(self) -> TaskCard:
        """The task."""
        return self.folded.card

    @property
    def relevant(self) -> Mapping[str, float]:
        """Language → the mean number of relevant candidates of a query, of retrieval."""
        found: Mapping[str, float] = self.folded.meta.get("relevant", {})
        return found

    @property
    def larger(self) -> Mapping[str, float]:
        """Language → the share of the larger class among its gold labels, of classification."""
        found: Mapping[str, float] = self.folded.meta.get("larger", {})
        return found

    @property
    def task(self) -> str:
        """The task's id."""
        return self.card.name

    @property
    def track(self) -> str:
        """The track that it is ranked in, if at all."""
        return str(self.folded.meta["track"])

    @property
    def layer(self) -> int | None:
        """The layer that was pooled, None for QA."""
        layer: int | None = self.folded.meta["resolved"].get("layer")
        return layer

    @property
    def origin(self) -> Origin:
        """Who measured its rows."""
        return self.folded.origin

    @property
    def notes(self) -> list[str]:
        """Why it is not ranked; empty for a result that may be."""
        return self.folded.notes

    @cached_property
    def indistinct(self) -> dict[str, float]:
        """Unit → the share of its candidates without token ids of their own, where it is over 5 %.

        Seeds of one recipe share the tokenizer: of their mean it is that of the first.
        """
        shares = indistinct_shares(self.folded.meta)
        return {unit: shares[unit] for unit in self.values if shares.get(unit, 0) > INDISTINCT}

    @property
    def on_board(self) -> bool:
        """Whether its languages are among those of the board's mean; else none of them is."""
        split = str(self.folded.meta["split"])
        wanted = board_units(self.task, tuple(self.card.languages), split)
        return not self.values.keys().isdisjoint(wanted)

    @property
    def regular(self) -> bool:
        """Measured whole, under the protocol as it is: contaminated or not."""
        return not self.notes and not self.missing

    @property
    def rankable(self) -> bool:
        """Whether it may be ranked and contrasted."""
        return self.regular and not self.contaminated

    @cached_property
    def macro_draws(self) -> Floats:
        """float64[DRAWS]: the mean over languages in each draw."""
        total = np.zeros(len(next(iter(self.draws.values()))))
        for draws in self.draws.values():
            total = total + draws
        return total / len(self.draws)

    @cached_property
    def macro(self) -> Value | None:
        """The unweighted mean over the board's languages; None where one is missing."""
        if self.missing or not self.values:
            return None
        return mean_value(list(self.values.values()), mean_interval(self.macro_draws, [self]))


def mean_value(values: Sequence[Value], interval: tuple[float | None, float | None]) -> Value:
    """Return the unweighted mean of some values, with its own interval."""
    return Value(sum(v.value for v in values) / len(values), *interval, sum(v.n for v in values))


def mean_interval(draws: Floats, results: Sequence[Result]) -> tuple[float | None, float | None]:
    """Return the 95 % interval of a mean over languages, then over the tasks of ``results``.

    ``draws``: float64[DRAWS] of that mean. Over seeds and items where every task has the same
    seeds, three or more, see `hierarchy.mean_interval`; else over items alone.
    """
    if np.isnan(draws).any():  # of a single parallel item
        return None, None
    seeds = {tuple(seed.seed for seed in result.seeds) for result in results}
    means = [[seed.macro for seed in result.seeds] for result in results]
    if len(seeds) == 1 and len(min(seeds)) >= ENOUGH and all(all(line) for line in means):
        scores = np.mean([[m.value for m in line if m is not None] for line in means], axis=0)
        keys = [keys for result in results for keys, _ in result.parts.values()]
        clusters = len(np.unique(np.concatenate(keys)))
        if clusters > 1:
            return hierarchy.mean_interval(list(scores), float(draws.var(ddof=1)), clusters)
    return one_interval(draws)


def seed_mean(results: Sequence[Result]) -> Result:
    """Return one result for several seeds: means of values and of draws, language by language.

    It is contaminated where one of them is.
    """
    if len(results) == 1:
        return results[0]
    first = results[0]
    draws = {
        unit: np.mean([result.draws[unit].astype(np.float64) for result in results], axis=0)
        for unit in first.draws
    }
    values = {}
    for unit, drawn in draws.items():
        low, high = one_interval(drawn)
        mean = sum(result.values[unit].value for result in results) / len(results)
        values[unit] = Value(mean, low, high, first.values[unit].n)
    beside = {
        metric: sum(result.beside[metric] for result in results) / len(results)
        for metric in first.beside
    }
    parts = {unit: mean_parts([result.parts[unit] for result in results]) for unit in first.parts}
    return replace(
        first,
        values=values,
        draws=draws,
        parts=parts,
        beside=beside,
        contaminated=any(result.contaminated for result in results),
        seeds=tuple(results),
    )


def seed_means(results: Iterable[Result], key: Callable[[Result], Key]) -> dict[Key, Result]:
    """Return the mean over seeds of the results of each key.

    Only tuning draws anything: elsewhere a seed is a name, and the lowest stands for all.
    """
    seeds: dict[Key, dict[int, Result]] = {}
    for result in results:
        seeds.setdefault(key(result), {}).setdefault(result.seed, result)
    found = {}
    for name, of_key in seeds.items():
        ordered = [of_key[seed] for seed in sorted(of_key)]
        found[name] = seed_mean(ordered if ordered[0].track == "tuned" else ordered[:1])
    return found


def mean_parts(runs: Sequence[Parts]) -> Parts:
    """Return what each cluster adds to the mean over several runs.

    A run may have no row of a cluster, and adds nothing there: mining has none of a sentence that
    is in no gold pair and that it did not mine.
    """
    keys = np.unique(np.concatenate([own for own, _ in runs]))
    total = np.zeros(len(keys))
    for own, added in runs:
        total[np.searchsorted(keys, own)] += added
    return keys, total / len(runs)


@cache
def board_units(task: str, languages: tuple[str, ...], split: str | None = None) -> tuple[str, ...]:
    """Return the units of a task that the board's means are over: a suite's, else all of the
    card's.

    ``split``: that of the rows. A suite that names it for the task says which languages have it.
    """
    suites = read_suites()
    named = (one for entries in suites.values() for one in entries if one.split is not None)
    of_suites = (one for suite in SUITES for one in suites.get(suite, ()))
    for entry in (*(one for one in named if one.split == split), *of_suites):
        if entry.task == task:
            return tuple(entry.languages or languages)
    return languages


def read_result(
    folded: Folded, path: str, contaminated: frozenset[str], metric: str | None = None
) -> Result:
    """Return a folded file as the board shows it.

    ``metric``: one of the card's in place of the headline; it has no draws and no parts.
    """
    card = folded.card
    wanted = board_units(card.name, tuple(card.languages), str(folded.meta["split"]))
    rows = folded.table.drop_columns(["draws", "keys", "parts"]).to_pylist()
    drawn, keyed, added = (folded.table.column(name) for name in ("draws", "keys", "parts"))
    headline = (row["metric"] for row, draws in zip(rows, drawn, strict=True) if draws.is_valid)
    metric = metric or next(headline)
    values: dict[str, Value] = {}
    draws: dict[str, Floats] = {}
    parts: dict[str, Parts] = {}
    others: dict[str, list[float]] = {}
    there = {unit_of(row, card) for row in rows if row["lang"] != MACRO}
    units = there & set(wanted) or there
    for index, row in enumerate(rows):
        unit = unit_of(row, card)
        if unit not in units or not official(card, row["group"]):
            continue
        if row["metric"] == metric:
            values[unit] = Value(row["value"], row["low"], row["high"], row["n"])
            if drawn[index].is_valid:
                draws[unit] = drawn[index].values.to_numpy()
                parts[unit] = (keyed[index].values.to_numpy(), added[index].values.to_numpy())
        else:
            others.setdefault(row["metric"], []).append(row["value"])
    order = [unit for unit in dict.fromkeys((*wanted, *card.languages)) if unit in values]
    return Result(
        folded=folded,
        path=path,
        metric=metric,
        values={unit: values[unit] for unit in order},
        draws={unit: draws[unit] for unit in order if unit in draws},
        parts={unit: parts[unit] for unit in order if unit in parts},
        beside={name: sum(line) / len(line) for name, line in others.items()},
        missing=tuple(unit for unit in wanted if unit not in values or not folded.merged),
        contaminated=is_contaminated(
            contaminated | _seen_by_rows(folded.meta), card.name, str(folded.meta["split"])
        ),
    )


def _seen_by_rows(meta: Mapping[str, Any]) -> frozenset[str]:
    """Return the target data that the rows themselves say was trained on: by their checkpoint, as
    its folder had it, and by the recipe that it was tuned by.
    """
    recipe = read_target_recipes().get((meta["resolved"].get("recipe") or {}).get("name", ""))
    return frozenset(meta.get("contaminated", ())) | (recipe.seen if recipe else frozenset())


def unit_of(row: Mapping[str, object], card: TaskCard) -> str:
    """Return the unit of a score: its language, `context-question` for cross-lingual QA."""
    lang, direction, group = str(row["lang"]), str(row["direction"]), row["group"]
    if card.pairs and not direction:
        return f"{lang}-{lang}"
    if direction and not group:
        return f"{lang}-{direction.split('-')[0]}"
    return lang
