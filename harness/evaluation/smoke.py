"""Takes a few texts of each task: the whole path is tried in seconds, and no score counts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from harness.data.examples import Bitext, ItemSet, Loaded, Mining, QuestionSet, Retrieval

UNITS = 2  # languages of a task
PAIRS = 40  # of translations, and lines of a side of mining besides the gold ones
QUERIES = 8
QUESTIONS = 4
ITEMS = 8  # that have a label
NOTE = "smoke: a few texts, no result"


def small_units(units: tuple[str, ...]) -> tuple[str, ...]:
    """Return the languages that are tried: the first ones."""
    return units[:UNITS]


def small(loaded: Loaded) -> Loaded:
    """Return the same data with a small pool, marked as no result."""
    return replace(
        loaded, examples=_small(loaded.examples), complete=False, notes=(*loaded.notes, NOTE)
    )


def _small(examples: Any) -> Any:
    if isinstance(examples, Retrieval):
        return _small_pool(examples)
    if isinstance(examples, Bitext):
        return replace(examples, source=examples.source[:PAIRS], english=examples.english[:PAIRS])
    if isinstance(examples, QuestionSet):
        return replace(examples, questions=examples.questions[:QUESTIONS])
    if isinstance(examples, ItemSet):
        return replace(examples, items=examples.items[:ITEMS])
    if isinstance(examples, Mining):
        gold = sorted(examples.gold)[:QUERIES]
        sources, targets = {one for one, _ in gold}, {two for _, two in gold}
        return replace(
            examples,
            source=_some(examples.source, sources),
            english=_some(examples.english, targets),
            gold=frozenset(gold),
        )
    if not isinstance(examples, Mapping):
        raise TypeError(f"no small pool of {type(examples).__name__}")
    return {name: _small(one) for name, one in examples.items()}


def _some(side: Any, kept: set[str]) -> dict[str, str]:
    """Return the lines with these ids, and the first others, in the order of the file."""
    first = set(list(side)[:PAIRS])
    return {name: text for name, text in side.items() if name in kept or name in first}


def _small_pool(examples: Retrieval) -> Retrieval:
    """Return the first queries of each language, their relevant candidates and the first others."""
    queries = {lang: own[:QUERIES] for lang, own in examples.queries.items()}
    needed = {index for own in queries.values() for query in own for index in query.relevant}
    kept = sorted(needed | set(range(min(PAIRS, len(examples.candidates)))))
    place = {index: new for new, index in enumerate(kept)}
    return Retrieval(
        tuple(examples.candidate_ids[index] for index in kept),
        tuple(examples.candidates[index] for index in kept),
        tuple(examples.candidate_langs[index] for index in kept),
        {
            lang: tuple(replace(q, relevant=tuple(place[i] for i in q.relevant)) for q in own)
            for lang, own in queries.items()
        },
    )
