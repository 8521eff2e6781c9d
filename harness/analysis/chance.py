"""Finds which languages of a result are at chance, by the rule of `statistics.chance`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from harness.analysis.results import Result
from harness.statistics import chance
from harness.statistics.chance import RandomDraws, random_draws
from harness.statistics.contrast import Column

RETRIEVAL = ("bitext", "passages")


def at_chance(results: Iterable[Result], lang: str) -> bool:
    """Return whether in a language none of the runs behind a task's results beats random draws.

    A mean over seeds stands for its seeds: each is a run. Results without the language are left
    out.
    """
    runs = [run for result in results for run in _runs(result) if lang in run.values]
    if not runs:
        return False
    return chance.at_chance((run.values[lang].value for run in runs), draws_of(runs[0], lang))


def columns_at_chance(sides: Iterable[Mapping[str, Result]]) -> tuple[Column, ...]:
    """Return the (task, language) columns in which no run is above chance; ``sides``: task →
    result.
    """
    runs = list(sides)
    return tuple(
        (task, lang)
        for task, result in runs[0].items()
        for lang in result.values
        if at_chance((run[task] for run in runs), lang)
    )


def draws_of(result: Result, lang: str) -> RandomDraws | None:
    """Return the random draws that a language's score is held against.

    None without a chance rule, and where the size of the pool is not known: with --limit fewer
    queries are asked of the same pool, and not every card has its counts.
    """
    queries = result.values[lang].n
    if result.card.chance is not None and result.metric == "accuracy":
        # The classes differ by split and language: 57 % of PAWS-X's English dev, 55 % of its test.
        return RandomDraws(queries, result.larger.get(lang, result.card.chance))
    if result.card.kind not in RETRIEVAL:
        return None
    meta, card = result.folded.meta, result.card
    candidates: int | None = card.candidates
    if candidates is None and card.kind == "passages":  # all languages are searched in one pool
        sizes = meta.get("candidates", {})
        candidates = sum(sizes.values()) if set(card.languages) <= set(sizes) else None
    elif candidates is None:
        counts = card.counts.get(str(meta["split"]), {})
        candidates = queries if meta["limit"] is None else counts.get(lang)
    if candidates is None:
        return None
    return random_draws(result.metric, queries, candidates, result.relevant.get(lang, 1))


def expected(result: Result) -> float | None:
    """Return the mean over languages of what a random order of the candidates scores; None without
    a rule.

    Exact for recall@k, hit@k and accuracy: the probability of a hit, see `statistics.chance`.
    """
    rates = [
        None if (draws := draws_of(result, lang)) is None else draws.rate for lang in result.values
    ]
    known = [rate for rate in rates if rate is not None]
    return sum(known) / len(known) if known and len(known) == len(rates) else None


def ceiling(result: Result) -> float:
    """Return the most that a metric can be, as the mean over languages: 1, and for recall@k no more
    than k of the relevant candidates of a query.
    """
    name, _, depth = result.metric.partition("@")
    if name != "recall" or not depth.isdecimal():
        return 1.0
    most = [min(1.0, int(depth) / result.relevant.get(lang, 1)) for lang in result.values]
    return sum(most) / len(most)


def _runs(result: Result) -> Iterator[Result]:
    if not result.seeds:
        yield result
    for seed in result.seeds:
        yield from _runs(seed)
