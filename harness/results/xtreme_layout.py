"""Prediction folders and files in XTREME's layout, and gold in SQuAD's, taken apart."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from harness.cards.catalogue import card_names, read_card
from harness.cards.languages import canonical
from harness.cards.task import TaskCard
from harness.data.formats.files import take
from harness.errors import DataError, NotFoundError, UsageError, one_line
from harness.io import strict_json
from harness.io.files import is_lfs_pointer, pointer_words

FOLDERS = {"mewsli_x": "mewslix"}  # XTREME-R's name of a task, where it is not ours
SUFFIXES = {
    "bitext": "tsv",
    "mining": "tsv",
    "span_qa": "json",
    "passages": "json",
    "classification": "tsv",
    "multiple_choice": "jsonl",
    "tagging": "tsv",
}

Answers = Sequence[tuple[str, Sequence[str]]]  # question id and accepted answers, in file order

_NAME = re.compile(r"(?P<split>[a-z]+)-(?P<unit>[A-Za-z]+(?:-[A-Za-z]+)?)\.(?P<suffix>\w+)")
_LINE = re.compile(r"\[?\s*(-?\d{1,18})\s*\]?")  # Python reads no number of 4,300 digits


def sorted_order(english: Sequence[str]) -> list[int]:
    """The lines of a Tatoeba file in the order of XTREME's processed one.

    Its script sorts the stripped English lines by code points and keeps equal ones in file
    order (tatoeba_preprocess); the other side stays as it is. Line k there is line result[k].
    """
    return sorted(range(len(english)), key=lambda line: english[line])


def folder_name(card: TaskCard) -> str:
    """XTREME's folder of a task."""
    return FOLDERS.get(card.name, card.name)


def has_layout(card: TaskCard) -> bool:
    """Whether the task has an official prediction file; of the passage tasks Mewsli-X alone."""
    return card.kind != "passages" or card.name in FOLDERS


def find_task(folder: str) -> tuple[TaskCard | None, str]:
    """The card of a folder's name, or why there is none to score with."""
    names = {ours: name for name, ours in FOLDERS.items()}
    name = names.get(folder, folder)
    if name not in card_names():
        return None, "not a task that is scored here"
    card = read_card(name)
    return (card, "") if has_layout(card) else (None, "the task has no official prediction file")


def layout_files(folder: Path) -> list[Path]:
    """Every file under a folder that has the name of predictions, of any task that is scored."""
    inside = [path for path in folder.iterdir() if path.is_dir() and find_task(path.name)[0]]
    return [file for path in sorted(inside) for file in sorted(path.iterdir()) if _named(file)]


def _named(path: Path) -> bool:
    named = _NAME.fullmatch(path.name)
    return named is not None and named["suffix"] in SUFFIXES.values()


def find_files(folder: Path, card: TaskCard, split: str) -> tuple[dict[str, Path], list[str]]:
    """Unit → its prediction file, in card order; and a note for each file that is ignored."""
    found: dict[str, dict[str, Path]] = {}
    notes = []
    for path in sorted(folder.iterdir()):
        if path.name.startswith("."):
            continue
        named = _NAME.fullmatch(path.name)
        unit = _unit(card, named["unit"]) if named else None
        if named is None or unit is None or named["suffix"] != SUFFIXES[card.kind]:
            form = f"<split>-<language of {card.name}>.{SUFFIXES[card.kind]}"
            notes.append(f"{folder.name}/{path.name} ignored: its name is not {form}")
            continue
        other = found.setdefault(named["split"], {}).setdefault(unit, path)
        if other != path:
            raise UsageError(f"{other.name} and {path.name} are both {unit}: keep one of them")
    chosen = split if split in found else "test"
    for prefix, files in found.items():
        if prefix != chosen:
            names = ", ".join(f"{folder.name}/{path.name}" for path in files.values())
            notes.append(f"{names} ignored: not of split {split} (see --split)")
    files = found.get(chosen, {})
    return {unit: files[unit] for unit in card.languages if unit in files}, notes


def _unit(card: TaskCard, name: str) -> str | None:
    """The card's unit for a language or pair as a file's name has it."""
    try:
        unit = "-".join(canonical(part) for part in name.split("-"))
    except UsageError:
        return None
    return unit if unit in card.languages else None


# What is in a file


def read_answers(path: Path) -> dict[str, str]:
    """``{question id: answer text}``. DataError for any other JSON."""
    return _object_of(path, str, "the answer's text")


def read_rankings(path: Path) -> dict[str, list[str]]:
    """``{query id: [candidate ids, best first]}``. DataError for any other JSON."""
    rankings: dict[str, list[str]] = _object_of(path, list, "a list of ids")
    for identifier, ranked in rankings.items():
        if not all(isinstance(candidate, str) for candidate in ranked):
            shown = one_line(identifier, 80)
            raise DataError(f"{path}: prediction of {shown} is not a list of ids as text")
    return rankings


def read_lines(path: Path) -> list[int | None]:
    """A line number per line, with or without brackets; None for an empty line.

    DataError for a line that holds anything else.
    """
    numbers: list[int | None] = []
    for number, line in enumerate(_lines(path), start=1):
        match = _LINE.fullmatch(line)
        if line and not match:
            shown = one_line(repr(line[:40]))
            raise DataError(f"{path}:{number}: {shown} is not a line number: give one a line")
        numbers.append(int(match[1]) if match else None)
    return numbers


def read_pairs(path: Path) -> set[tuple[str, str]]:
    """Pairs of ids, one a line between which is a tab; empty lines are skipped.

    DataError for a line with another number of fields.
    """
    pairs = set()
    for number, line in enumerate(_lines(path), start=1):
        fields = [part.strip() for part in line.split("\t")]
        if line and (len(fields) != 2 or not all(fields)):
            raise DataError(f"{path}:{number}: not xx-id<TAB>en-id: give one pair of ids a line")
        if line:
            pairs.add((fields[0], fields[1]))
    return pairs


def read_labels(path: Path, card: TaskCard) -> list[str]:
    """The card's label a line, by its name or by what the files call it. DataError for another."""
    labels = []
    for number, line in enumerate(_lines(path), start=1):
        label = card.label_names.get(line, line)
        if label not in card.labels:
            known = ", ".join((*card.label_names, *card.labels))
            raise DataError(
                f"{path}:{number}: {one_line(repr(line[:40]))} is not one of {known}: give one "
                "label a line"
            )
        labels.append(label)
    return labels


def read_choices(path: Path) -> list[int]:
    """``{"label": 0}`` or ``{"label": 1}`` a line. DataError for any other."""
    choices = []
    for number, line in enumerate(_lines(path), start=1):
        place = f"{path}:{number}"
        try:
            label = take(strict_json.parse(line), "label", int, place)
        except ValueError as error:
            raise DataError(f"{place}: not JSON: {one_line(error, 200)}") from None
        if label not in (0, 1):
            raise DataError(f"{place}: label {label} is none of the 2 choices, 0 and 1")
        choices.append(label)
    return choices


def read_tag_lists(path: Path, card: TaskCard) -> list[list[str]]:
    """A tag a line and a blank line behind each sentence, as XTREME's script reads them.

    A blank line too many is a sentence without words. Of tags that the card has not, only ``O`` is
    taken, which XTREME's own heads have beside those of UDPOS. DataError for another.
    """
    sentences: list[list[str]] = []
    tags: list[str] = []
    for number, line in enumerate(_lines(path), start=1):
        if not line:
            sentences.append(tags)
            tags = []
        elif line in card.labels or line == "O":
            tags.append(line)
        else:
            shown = one_line(repr(line[:40]))
            raise DataError(f"{path}:{number}: {shown} is no tag of {card.name}: give one a line")
    return [*sentences, tags] if tags else sentences


def read_gold(path: Path) -> tuple[Answers, int]:
    """(answers of every question in file order, number of unanswerable ones left out).

    SQuAD's JSON, or as XTREME's reader allows the list under its ``data``. DataError for a file
    without answers, such as stripped test data, and for a question without one that is not
    marked ``is_impossible``.
    """
    content = _read_json(path)
    articles = content if isinstance(content, list) else take(content, "data", list, str(path))
    answers: list[tuple[str, tuple[str, ...]]] = []
    unanswerable = 0
    for place, question in _questions(articles, path):
        identifier = take(question, "id", str, place)
        given = take(question, "answers", list, place)
        accepted = tuple(take(answer, "text", str, place) for answer in given)
        if accepted:
            answers.append((identifier, accepted))
        elif question.get("is_impossible") is True:
            unanswerable += 1
        else:
            shown = one_line(identifier, 80)
            raise DataError(f"{place}: question {shown} has no answer: give the gold file")
    if not any(text for _, accepted in answers for text in accepted):
        raise DataError(f"{path}: has no answers: give the official file with annotations")
    return answers, unanswerable


def _questions(articles: list[Any], path: Path) -> list[tuple[str, Any]]:
    """(place, question) of every question of the articles."""
    return [
        (f"{path}: data[{i}].paragraphs[{j}].qas[{k}]", question)
        for i, article in enumerate(articles)
        for j, paragraph in enumerate(take(article, "paragraphs", list, f"{path}: data[{i}]"))
        for k, question in enumerate(
            take(paragraph, "qas", list, f"{path}: data[{i}].paragraphs[{j}]")
        )
    ]


def _object_of(path: Path, kind: type, what: str) -> dict[str, Any]:
    content = _read_json(path)
    if not isinstance(content, dict):
        raise DataError(f"{path}: a JSON {type(content).__name__}: give an object of {what} by id")
    for identifier, value in content.items():
        if not isinstance(value, kind):
            found = type(value).__name__
            shown = one_line(identifier, 80)
            raise DataError(f"{path}: prediction of {shown} is {found}: give {what}")
    return content


def _read_json(path: Path) -> Any:
    try:
        return strict_json.parse(_text(path))
    except ValueError as error:
        why = one_line(error, 200)
        raise DataError(f"{path}: not JSON, maybe truncated: {why}") from None


def _lines(path: Path) -> list[str]:
    """The lines, stripped. Only a line feed ends one (with or without a carriage return)."""
    text = _text(path)
    return [line.strip() for line in text.removesuffix("\n").split("\n")] if text else []


def _text(path: Path) -> str:
    try:
        if is_lfs_pointer(path):
            raise DataError(pointer_words(str(path), path.parent))
        return path.read_bytes().decode("utf-8-sig")  # a byte order mark in front is no text
    except FileNotFoundError:
        raise NotFoundError(f"no file {path}: give an existing one") from None
    except OSError as error:
        raise NotFoundError(f"{path} cannot be read: {error.strerror}: give a file") from None
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 at byte {error.start}: write it as UTF-8") from None
