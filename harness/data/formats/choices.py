"""Reads questions with two choices (COPA, XCOPA): JSON lines, or rows of the Hub."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from harness.cards.task import TaskCard
from harness.data.examples import Alternatives, ItemSet
from harness.data.formats.files import Files, LocalFile, Parsed, file_of, read_rows, take
from harness.errors import DataError

QUESTIONS = ("cause", "effect")
REFERENCE = "reference"  # how the roles begin of files that say which question is meant


class Dilemma(NamedTuple):
    """A question as its file has it. ``place``: where, for errors."""

    place: str
    idx: int
    premise: str
    question: str
    choices: tuple[str, str]
    label: int

    @property
    def prompt(self) -> str:
        """What both choices stand behind, in XTREME's wording: English in every language."""
        return f"{self.premise} What was the {self.question}?"


def read_xcopa(card: TaskCard, split: str, units: tuple[str, ...], files: Files) -> Parsed:
    """Read questions as they are published.

    The cluster is the question by its idx, which all languages share.
    """
    return _read(split, units, files, {})


def read_xcopa_corrected(
    card: TaskCard, split: str, units: tuple[str, ...], files: Files
) -> Parsed:
    """Read questions, each of which is the one that the reference files have under the same idx.

    Raises DataError where these do not agree, or lack an idx.
    """
    asked: dict[int, str] = {}
    for key, file in files.items():
        if key.split != split or not key.role.startswith(REFERENCE):
            continue
        for one in read_dilemmas(file):
            if asked.setdefault(one.idx, one.question) != one.question:
                raise DataError(
                    f"{one.place}: idx {one.idx} asks for the {one.question}, in another reference "
                    f"language for the {asked[one.idx]}: not the published files"
                )
    return _read(split, units, files, asked)


def _read(split: str, units: tuple[str, ...], files: Files, asked: Mapping[int, str]) -> Parsed:
    examples = {}
    for unit in units:
        file = file_of(files, unit, split, "rows")
        items = []
        for one in read_dilemmas(file):
            if asked and one.idx not in asked:
                raise DataError(f"{one.place}: idx {one.idx} is in no reference language")
            meant = one._replace(question=asked[one.idx]) if asked else one
            name = f"{split}:{one.idx}"
            items.append(Alternatives(name, meant.prompt, one.choices, one.label, f"copa:{name}"))
        examples[unit] = ItemSet(unit, tuple(items))
    return Parsed(examples, {split: {unit: len(own.items) for unit, own in examples.items()}})


def read_dilemmas(file: LocalFile) -> list[Dilemma]:
    """Return every question of a file. Raises DataError where the schema is another, or an idx
    comes twice.
    """
    found = list(_dilemmas(file))
    if not found:
        raise DataError(f"{file.name}: no questions: download it again")
    seen: set[int] = set()
    for one in found:
        if one.idx in seen:
            raise DataError(f"{one.place}: idx {one.idx} given twice")
        seen.add(one.idx)
    return found


def _dilemmas(file: LocalFile) -> Iterator[Dilemma]:
    for place, row in read_rows(file):
        premise, first, second = (
            take(row, key, str, place).strip() for key in ("premise", "choice1", "choice2")
        )
        for name, text in (("premise", premise), ("choice1", first), ("choice2", second)):
            if not text:
                raise DataError(f"{place}: {name} is empty: download it again")
        question = take(row, "question", str, place)
        if question not in QUESTIONS:
            raise DataError(f"{place}: question {question[:40]!r} is not cause or effect")
        label = take(row, "label", int, place)
        if label not in (0, 1):
            raise DataError(f"{place}: label {label} is none of the 2 choices, 0 and 1")
        idx = take(row, "idx", int, place)
        yield Dilemma(place, idx, premise, question, (first, second), label)
