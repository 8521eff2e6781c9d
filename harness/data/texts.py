"""Looks for text that no tokenizer takes, whichever format it came from."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from harness.data.examples import (
    Alternatives,
    Bitext,
    Examples,
    ItemSet,
    Mining,
    Pair,
    QuestionSet,
    Retrieval,
    Sentence,
)
from harness.errors import one_line
from harness.io.strict_json import has_half_pair

# A text, and what names it for a person.
Named = tuple[str, str]


def unreadable(examples: Examples) -> dict[str, str]:
    """Return unit → the first of its texts that UTF-8 cannot hold, in words.

    A text that all units share, such as a candidate, stands under an empty unit. No tokenizer takes
    such a text, and no file can keep it.
    """
    if isinstance(examples, Retrieval):
        parts: dict[str, Iterable[Named]] = {"": _candidates(examples)}
        parts |= {unit: _queries(queries) for unit, queries in examples.queries.items()}
    else:
        parts = {unit: _of_unit(one) for unit, one in examples.items()}
    found = {}
    for unit, texts in parts.items():
        name = next((name for text, name in texts if has_half_pair(text)), None)
        if name is not None:
            found[unit] = f"{one_line(name, 120)} holds half of a surrogate pair, which is no text"
    return found


def _candidates(pool: Retrieval) -> Iterator[Named]:
    for identifier, text in zip(pool.candidate_ids, pool.candidates, strict=True):
        yield identifier, f"the candidate id {identifier}"
        yield text, f"the candidate {identifier}"


def _queries(queries: Any) -> Iterator[Named]:
    for query in queries:
        for text in (query.id, query.text, query.cluster):
            yield text, f"the query {query.id}"


def _of_unit(examples: Any) -> Iterator[Named]:
    if isinstance(examples, Bitext):
        for side, name in ((examples.source, examples.lang), (examples.english, "English")):
            for number, text in enumerate(side, start=1):
                yield text, f"sentence {number} in {name}"
    elif isinstance(examples, QuestionSet):
        for one in examples.questions:
            for text in (one.id, one.question, one.context, one.cluster, *one.answers):
                yield text, f"the question {one.id}"
    elif isinstance(examples, ItemSet):
        for item in examples.items:
            for text in (item.id, item.cluster, *_of_item(item)):
                yield text, f"the example {item.id}"
    else:
        for corpora in examples.values():
            assert isinstance(corpora, Mining)
            for sentences in (corpora.source, corpora.english):
                for identifier, text in sentences.items():
                    yield identifier, f"the sentence id {identifier}"
                    yield text, f"the sentence {identifier}"


def _of_item(item: Pair | Alternatives | Sentence) -> tuple[str, ...]:
    if isinstance(item, Pair):
        return item.first, item.second
    return (item.prompt, *item.choices) if isinstance(item, Alternatives) else item.words
