"""Reads the examples of an intermediate task; each format that a card may name has a reader."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields

from harness.cards.training import IntermediateCard
from harness.data.formats.tags import sentence_text
from harness.data.halves import in_second_half
from harness.data.load import DataLocation
from harness.errors import DataError, one_line
from harness.io.strict_json import has_half_pair
from harness.training.data.deal import choose, deal
from harness.training.data.dilemmas import read_copa
from harness.training.data.examples import Example, Found, Tagged, TrainingSet
from harness.training.data.mentions import read_mention_pairs
from harness.training.data.plain import read_conll, read_plain_lines
from harness.training.data.questions import read_squad
from harness.training.data.sources import Files, fetch
from harness.training.data.tables import read_parallel_lines, read_parallel_records, read_table

# A reader takes (card, files, labels, notes). It adds the labels that it finds to ``labels``, and
# sentences on what it leaves out to ``notes``.
Reader = Callable[[IntermediateCard, Files, list[str], list[str]], Found]
READERS: Mapping[str, Reader] = {
    "squad": read_squad,
    "demo_qa": read_squad,
    "tydiqa": read_squad,
    "records": read_table,
    "parallel_records": read_parallel_records,
    "parallel_lines": read_parallel_lines,
    "mention_pairs": read_mention_pairs,
    "conll": read_conll,
    "copa": read_copa,
    "lines": read_plain_lines,
}


def read(card: IntermediateCard, location: DataLocation, most: int | None = None) -> TrainingSet:
    """Read the examples of a task, at most ``most`` of them.

    Where the card says so, each parallel item is taken in one of its languages.

    Raises:
        IncompleteError: a file cannot be had.
        DataError: a file does not have the official schema, or there are no examples.
    """
    return read_files(card, fetch(card, location), most)


def read_files(card: IntermediateCard, files: Files, most: int | None = None) -> TrainingSet:
    """Read the examples of a task from files that were fetched, as `read` does."""
    notes: list[str] = []
    labels = list(card.labels)
    found = READERS[card.source.format](card, files, labels, notes)
    if card.half:
        found = {
            lang: [e for e in own if not in_second_half(_key(e))] for lang, own in found.items()
        }
    examples = _dealt(card, found) if card.deal else [e for group in found.values() for e in group]
    examples = [examples[at] for at in choose([e.item for e in examples], most)]
    if not examples:
        names = ", ".join(list(files.digests)[:3])
        why = f" ({'; '.join(notes)})" if notes else ""
        raise DataError(f"{card.name}: no examples in {names}{why}: nothing to train on")
    for one in examples:
        if any(has_half_pair(text) for text in _texts(one)):
            names = ", ".join(list(files.digests)[:3])
            raise DataError(
                f"{card.name}: {one_line(one.item, 80)} in {one.lang} ({names}) holds half of a "
                "surrogate pair, which is no text: download it again, or leave it out"
            )
    return TrainingSet(
        examples, tuple(labels), files.route, files.digests, files.revision, tuple(notes)
    )


def _key(example: Example) -> str:
    """Return what decides which half an example is in: its words, or the number of its row."""
    if isinstance(example, Tagged):
        return sentence_text(example.words)
    return example.item.rpartition(":")[2]


def _texts(example: Example) -> Iterator[str]:
    """Yield every text of an example."""
    for field in fields(example):
        value = getattr(example, field.name)
        if isinstance(value, str):
            yield value
        elif isinstance(value, tuple):
            yield from (text for text in value if isinstance(text, str))


def _dealt(card: IntermediateCard, found: Found) -> list[Example]:
    """Return every item of one language's file once, in the language that it is dealt to."""
    assert card.deal is not None
    by_item = {lang: {one.item: one for one in examples} for lang, examples in found.items()}
    partners = card.deal.partners
    available = {
        one.item: [
            lang
            for lang in card.languages
            if one.item in by_item[lang] and not (partners and lang == card.deal.items)
        ]
        for one in found[card.deal.items]
    }
    for item, langs in available.items():
        if not langs:
            raise DataError(f"{card.name}: {item} is in no other language: not parallel files")
    return [by_item[lang][item] for item, lang in deal(available, card.deal.seed).items()]
