"""Reads sentence pairs (Tatoeba), and comparable corpora with hidden pairs (BUCC 2018)."""

from __future__ import annotations

from collections.abc import Mapping

from harness.cards.task import TaskCard
from harness.data.examples import Bitext, Mining
from harness.data.formats.files import (
    Files,
    LocalFile,
    Parsed,
    file_of,
    named,
    read_lines,
    read_rows,
    read_table,
    take,
)
from harness.errors import DataError


def read_tatoeba(card: TaskCard, split: str, units: tuple[str, ...], files: Files) -> Parsed:
    """Read two files for each language, where line i of one translates line i of the other.

    A file of the Hub has `sentence1` in the language and `sentence2` in English instead.
    """
    examples = {}
    official = any(key.role == "source" for key in files)
    for unit in units:
        if official:
            file, english = (file_of(files, unit, split, role) for role in ("source", "english"))
            examples[unit] = pair_up(unit, file, read_lines(file), read_lines(english))
        else:
            rows = file_of(files, unit, split, "rows")
            sides: tuple[list[str], list[str]] = ([], [])
            for place, row in read_rows(rows):
                for side, column in zip(sides, ("sentence1", "sentence2"), strict=True):
                    text = take(row, column, str, place).strip()
                    if not text:
                        raise DataError(f"{place}: {column} is empty: download it again")
                    side.append(text)
            examples[unit] = pair_up(unit, rows, *sides)
    counts = {unit: len(bitext.source) for unit, bitext in examples.items()}
    return Parsed(examples, {split: counts})


def pair_up(lang: str, file: LocalFile, source: list[str], english: list[str]) -> Bitext:
    """Return the pairs. Raises DataError where the sides differ in length or hold no pair."""
    if len(source) != len(english):
        raise DataError(
            f"{file.name}: {len(source)} lines, its English side {len(english)}: not parallel"
        )
    if not source:
        raise DataError(f"{file.name}: no pairs: download it again")
    return Bitext(lang, tuple(source), tuple(english))


def read_bucc(card: TaskCard, split: str, units: tuple[str, ...], files: Files) -> Parsed:
    """Read both corpora and the gold pairs of each language, for the split and those it needs."""
    splits = (*card.source.splits[split].needs, split)
    examples = {
        unit: {
            part: corpora(
                unit,
                part,
                read_ids(file_of(files, unit, part, "source")),
                read_ids(file_of(files, unit, part, "english")),
                file_of(files, unit, part, "gold"),
            )
            for part in splits
        }
        for unit in units
    }
    return counted_mining(splits, examples)


def read_ids(file: LocalFile) -> dict[str, str]:
    """Return the sentences by id. Raises DataError for an id that is there twice."""
    sentences: dict[str, str] = {}
    for number, (identifier, sentence) in read_table(file, 2):
        if identifier in sentences:
            raise DataError(f"{file.name}:{number}: id {named(identifier)} given twice")
        sentences[identifier] = sentence
    return sentences


def corpora(
    lang: str, split: str, source: dict[str, str], english: dict[str, str], gold: LocalFile
) -> Mining:
    """Return the corpora of one language and split. Raises DataError for a gold id that is on
    neither side.
    """
    pairs = set()
    for number, (left, right) in read_table(gold, 2):
        for identifier, side in ((left, source), (right, english)):
            if identifier not in side:
                raise DataError(
                    f"{gold.name}:{number}: gold id {named(identifier)} names no sentence"
                )
        pairs.add((left, right))
    return Mining(lang, split, source, english, frozenset(pairs))


def counted_mining(splits: tuple[str, ...], examples: Mapping[str, Mapping[str, Mining]]) -> Parsed:
    """Return the examples with their numbers of gold pairs."""
    counts = {
        split: {unit: len(parts[split].gold) for unit, parts in examples.items()}
        for split in splits
    }
    return Parsed(examples, counts)
