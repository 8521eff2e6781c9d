"""Reads mentions of entities in news, and their descriptions as one pool (Mewsli-X)."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from harness.cards.languages import canonical
from harness.cards.task import TaskCard
from harness.data.examples import Query, Retrieval
from harness.data.formats.files import (
    Files,
    Key,
    LocalFile,
    Parsed,
    first_repeated,
    named,
    read_json_lines,
    take,
)
from harness.errors import DataError, UsageError

# It matches braces that belong together on one line; a lone one stays.
_BRACES = re.compile(r"\{(.*?)\}")


def read_mewsli_x(card: TaskCard, split: str, units: tuple[str, ...], files: Files) -> Parsed:
    """Read the mentions of one split and the candidate set, which is the same for every split."""
    entities, ids, texts, langs = _candidates(files[Key("", split, "candidates")])
    queries: dict[str, list[Query]] = defaultdict(list)
    for place, record in read_json_lines(files[Key("", split, "mentions")]):
        lang, found = mention_queries(record, entities, place)
        if lang in units:
            queries[lang] += found
    name = files[Key("", split, "mentions")].name
    missing = {
        unit: f"{name} has no mentions in {unit}: put the whole file there"
        for unit in units
        if not queries[unit]
    }
    in_order = {unit: tuple(queries[unit]) for unit in units if unit not in missing}
    repeated = first_repeated(query.id for found in in_order.values() for query in found)
    if repeated is not None:
        raise DataError(f"{name}: mention {named(repeated)} given twice")
    counts = {unit: len(found) for unit, found in in_order.items()}
    pool = Retrieval(tuple(ids), tuple(texts), tuple(langs), in_order)
    return Parsed(pool, {split: counts}, candidates=len(ids), missing=missing)


def mention_queries(record: Any, entities: dict[str, int], place: str) -> tuple[str, list[Query]]:
    """Return (language, queries) of one article.

    Raises DataError for an article without its text.
    """
    context = take(record, "context", dict, place)
    lang = _language(context, "language", place)
    text = take(context, "text", str, place)
    if not text:
        raise DataError(
            f"{place}: text not filled in: the release leaves it out; restore it with the official"
            " get-mewsli-x.sh"
        )
    spans = _spans(context, text, place)
    queries = []
    for mention in take(record, "mentions", list, place):
        identifier = take(mention, "example_id", str, place)
        entity = take(mention, "entity_id", str, place)
        if entity not in entities:
            raise DataError(
                f"{place}: {named(entity)}, gold of {named(identifier)}, is not among the"
                " candidates"
            )
        start, end = _mention_span(mention, text, place, f"mention {named(identifier)}")
        marked = marked_mention(text, spans, start, end)
        if marked is None:
            raise DataError(f"{place}: mention {named(identifier)} lies in no single sentence")
        queries.append(Query(identifier, marked, f"mewsli_x:{entity}", (entities[entity],)))
    return lang, queries


def pair_of(record: Any, place: str) -> tuple[str, str] | None:
    """Return (mention as a query, its entity's description) of a training pair.

    None where no single sentence holds the mention. Raises DataError for another schema.
    """
    mentioned = take(record, "contextual_mention", dict, place)
    context = take(mentioned, "context", dict, place)
    text = take(context, "text", str, place)
    mention = take(mentioned, "mention", dict, place)
    start, end = _mention_span(mention, text, place, "the mention")
    marked = marked_mention(text, _spans(context, text, place), start, end)
    described = description(take(record, "entity", dict, place), place)
    return None if marked is None else (marked, described)


def marked_mention(text: str, spans: Sequence[tuple[int, int]], start: int, end: int) -> str | None:
    """Return the mention, a colon, and the first sentence that holds it, with `{ mention }` marked.

    As XTREME's `utils_mewslix.py` does it, which differs from the example in its docstring: blanks
    stand around both marks, before a comma too and in scripts without blanks. Braces that belong
    together on one side of the mention become parentheses; line ends become blanks, and two blanks
    one. None where no sentence holds the mention.
    """
    for begin, stop in spans:
        if begin <= start and end <= stop:
            left, right = (
                _BRACES.sub(r"(\1)", part) for part in (text[begin:start], text[end:stop])
            )
            mention = text[start:end]
            return _one_line(f"{mention}: {left} {{ {mention} }} {right}")
    return None


def description(record: Any, place: str) -> str:
    """Return the sentences of an entity's description, joined by blanks, on one line."""
    text = take(record, "description", str, place)
    return _one_line(" ".join(text[begin:stop] for begin, stop in _spans(record, text, place)))


def _language(record: Any, key: str, place: str) -> str:
    try:
        return canonical(take(record, key, str, place))
    except UsageError as error:  # the file's mistake, not the user's
        raise DataError(f"{place}: {named(error)}") from None


def _one_line(text: str) -> str:
    # There is one pass, as in the official code, so that three blanks become two.
    return " ".join(text.splitlines()).replace("  ", " ").strip()


def _mention_span(mention: Any, text: str, place: str, name: str) -> tuple[int, int]:
    """Return where a mention is in its text. Raises DataError where its words are not there, or are
    none.
    """
    span = take(mention, "mention_span", dict, place)
    start, end = (take(span, key, int, place) for key in ("start", "end"))
    if not 0 <= start < end or text[start:end] != take(span, "text", str, place):
        raise DataError(f"{place}: {name} is not at its offset {named(start)}")
    return start, end


def _spans(record: Any, text: str, place: str) -> list[tuple[int, int]]:
    spans = []
    for span in take(record, "sentence_spans", list, place):
        start, end = (take(span, key, int, place) for key in ("start", "end"))
        if not 0 <= start < end <= len(text):
            raise DataError(
                f"{place}: sentence {named(start)}–{named(end)} is not within {len(text)}"
                " characters"
            )
        spans.append((start, end))
    return spans


def _candidates(file: LocalFile) -> tuple[dict[str, int], list[str], list[str], list[str]]:
    """Return (entity → index), ids, texts and languages, in file order."""
    entities: dict[str, int] = {}
    texts: list[str] = []
    langs: list[str] = []
    for place, record in read_json_lines(file):
        entity = take(record, "entity_id", str, place)
        if entities.setdefault(entity, len(texts)) != len(texts):
            raise DataError(f"{place}: candidate {named(entity)} given twice")
        texts.append(description(record, place))
        langs.append(_language(record, "description_language", place))
    return entities, list(entities), texts, langs
