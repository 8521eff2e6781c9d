"""Reads sentences with a tag for each word (UDPOS, PAN-X): a word a line, or rows of the Hub."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from hashlib import sha256
from typing import NamedTuple

from harness.cards.task import TaskCard
from harness.data.examples import ItemSet, Sentence
from harness.data.formats.files import (
    Files,
    LocalFile,
    Parsed,
    file_of,
    holds_rows,
    read_rows,
    read_text,
    take,
)
from harness.data.formats.labels import label_of, label_text, names_of
from harness.data.halves import in_second_half
from harness.errors import DataError

# The two Chinese treebanks GSD and GSDSimp are one text in two scripts: their tags tell the pairs.
TWINS = ("udpos", "udpos_hub")
_PREFIX = re.compile(r"([a-z]{2,3}):")  # WikiANN's files have the language before every word


class Tagged(NamedTuple):
    """A sentence as its file has it. ``place``: the file, or the row of one; ``line``: the line of
    the file that the first word is in, 0 of a row.
    """

    words: tuple[str, ...]
    tags: tuple[str, ...]
    place: str
    line: int = 0

    def place_of(self, number: int) -> str:
        """Return where a word and its tag are, for errors; ``number``: the word's, from 0."""
        return f"{self.place}:{self.line + number}" if self.line else self.place


def read_udpos(card: TaskCard, split: str, units: tuple[str, ...], files: Files) -> Parsed:
    """Read parts of speech; equal sentences are one cluster."""
    return _read(card, split, units, files, "pos_tags")


def read_panx(card: TaskCard, split: str, units: tuple[str, ...], files: Files) -> Parsed:
    """Read named entities; equal sentences are one cluster."""
    return _read(card, split, units, files, "ner_tags")


def _read(card: TaskCard, split: str, units: tuple[str, ...], files: Files, column: str) -> Parsed:
    """Read sentences. ``column``: what rows of the Hub call the tags."""
    part = card.source.splits[split]
    examples = {}
    counts = {}
    for unit in units:
        file = file_of(files, unit, split, "tokens")
        rows = holds_rows(file)
        read = _rows(card, split, file, column) if rows else read_sentences(file, unit)
        if not (found := list(read)):
            raise DataError(f"{file.name}: no sentences: download it again")
        examples[unit] = ItemSet(
            unit,
            tuple(
                Sentence(
                    f"{split}:{number}",
                    one.words,
                    tuple(label_of(card, tag, one.place_of(at)) for at, tag in enumerate(one.tags)),
                    f"{card.name}:{unit}:{_cluster(card, unit, one)}",
                )
                for number, one in enumerate(found)
                if unit not in part.half or in_second_half(sentence_text(one.words))
            ),
        )
        counts[unit] = len(examples[unit].items)
    return Parsed(examples, {split: counts})


def sentence_text(words: Sequence[str]) -> str:
    """Return what equal sentences have in common."""
    return " ".join(words)


def _cluster(card: TaskCard, unit: str, one: Tagged) -> str:
    twins = card.name in TWINS and unit == "zh"
    text = sentence_text(one.tags if twins else one.words)
    return sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:12]


def read_sentences(file: LocalFile, lang: str) -> Iterator[Tagged]:
    """Yield the sentences of a file of ``word<TAB>tag`` lines, with a blank line between sentences.

    Where all words begin with ``<lang>:``, that is taken off.

    Raises DataError for a line that is not a word, a tab and a tag, and where all words begin with
    the code of another language, or most of them but not all with that of this one.
    """
    lines = [line.removesuffix("\r") for line in read_text(file).split("\n")]
    found = _PREFIX.match(next(filter(str.strip, lines), ""))
    prefix = found[0] if found else f"{lang}:"
    places = [place for place, line in enumerate(lines, start=1) if line.strip()]
    bare = [place for place in places if not lines[place - 1].startswith(prefix)]
    prefixed = not bare
    if bare and prefix == f"{lang}:" and 2 * len(bare) < len(places):
        raise DataError(
            f"{file.name}:{bare[0]}: a word without {prefix}, which most words begin with: "
            "download it again"
        )
    if prefixed and found and found[1] != lang:
        raise DataError(
            f"{file.name}: its words begin with {prefix}, so that it is not of {lang}: put the "
            "file of that language there"
        )
    words: list[str] = []
    tags: list[str] = []
    first = 1
    for number, line in enumerate([*lines, ""], start=1):
        if not line.strip() and "\t" not in line:
            if words:
                yield Tagged(tuple(words), tuple(tags), file.name, first)
            words, tags, first = [], [], number + 1
            continue
        fields = line.split("\t")
        word = fields[0].removeprefix(prefix) if prefixed else fields[0]
        if len(fields) != 2 or not word.strip() or not fields[1].strip():
            raise DataError(
                f"{file.name}:{number}: not a word, a tab and a tag: put the official file with "
                "tags there"
            )
        words.append(word.strip())
        tags.append(fields[1].strip())


def _rows(card: TaskCard, split: str, file: LocalFile, column: str) -> Iterator[Tagged]:
    names = names_of(card, split, file, column)
    for place, row in read_rows(file):
        words, tags = (take(row, key, list, place) for key in ("tokens", column))
        if len(words) != len(tags):
            raise DataError(f"{place}: {len(words)} words and {len(tags)} tags")
        if not all(isinstance(word, str) and word.strip() for word in words):
            raise DataError(f"{place}: an empty word, or one that is no text")
        if any(mark in word for word in words for mark in "\t\n\r"):
            raise DataError(f"{place}: a tab or a line break inside a word: download it again")
        if words:
            known = tuple(label_text(tag, names, place) for tag in tags)
            yield Tagged(tuple(word.strip() for word in words), known, place)
