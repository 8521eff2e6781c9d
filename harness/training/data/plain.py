"""Reads files of plain lines: tagged words, and texts."""

from __future__ import annotations

from harness.cards.training import IntermediateCard
from harness.data.formats.files import read_text
from harness.data.formats.tags import read_sentences
from harness.errors import DataError
from harness.training.data.examples import Example, Found, Tagged, Text
from harness.training.data.sources import Files


def read_conll(card: IntermediateCard, files: Files, labels: list[str], notes: list[str]) -> Found:
    """Read ``token<TAB>tag`` per line, with a blank line between sentences.

    Where the card names no labels, all tags of the files are taken.
    """
    del notes
    sentences = {
        lang: [s for role in files.roles for s in read_sentences(files.of(lang, role), lang)]
        for lang in card.languages
    }
    if not labels:
        labels += sorted({tag for own in sentences.values() for one in own for tag in one.tags})
    ids = {label: number for number, label in enumerate(labels)}
    found: Found = {}
    for lang, own in sentences.items():
        examples: list[Example] = []
        for number, one in enumerate(own):
            for at, tag in enumerate(one.tags):
                if tag not in ids:
                    raise DataError(
                        f"{one.place_of(at)}: tag {tag[:40]!r} is not one of the card's"
                    )
            tags = tuple(ids[tag] for tag in one.tags)
            examples.append(Tagged(str(number), lang, one.words, tags))
        found[lang] = examples
    return found


def read_plain_lines(
    card: IntermediateCard, files: Files, labels: list[str], notes: list[str]
) -> Found:
    """Read one text per line; blank lines are skipped."""
    del labels, notes
    found: Found = {}
    for lang in card.languages:
        lines = [
            line.strip()
            for role in files.roles
            for line in read_text(files.of(lang, role)).split("\n")
        ]
        found[lang] = [Text(str(at), lang, line) for at, line in enumerate(lines) if line]
    return found
