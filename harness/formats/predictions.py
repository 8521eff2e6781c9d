"""Prediction files in XTREME's formats, and gold in SQuAD's, taken apart."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from harness.errors import DataError, NotFoundError
from harness.formats.files import take

Answers = Sequence[tuple[str, Sequence[str]]]  # question id and accepted answers, in file order

_LINE = re.compile(r"\[?\s*(-?\d+)\s*\]?")


def read_answers(path: Path) -> dict[str, str]:
    """``{question id: answer text}``. DataError for any other JSON."""
    return _object_of(path, str, "the answer's text")


def read_rankings(path: Path) -> dict[str, list[str]]:
    """``{query id: [candidate ids, best first]}``. DataError for any other JSON."""
    rankings: dict[str, list[str]] = _object_of(path, list, "a list of ids")
    for identifier, ranked in rankings.items():
        if not all(isinstance(candidate, str) for candidate in ranked):
            raise DataError(f"{path}: prediction of {identifier} is not a list of ids as text")
    return rankings


def read_lines(path: Path) -> list[int | None]:
    """A line number per line, with or without brackets; None for an empty line.

    DataError for a line that holds anything else.
    """
    numbers: list[int | None] = []
    for number, line in enumerate(_lines(path), start=1):
        match = _LINE.fullmatch(line)
        if line and not match:
            raise DataError(f"{path}:{number}: {line[:40]!r} is not a line number: give one a line")
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
            raise DataError(f"{place}: question {identifier} has no answer: give the gold file")
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
            raise DataError(f"{path}: prediction of {identifier} is {found}: give {what}")
    return content


def _read_json(path: Path) -> Any:
    try:
        return json.loads(_text(path))
    except (ValueError, RecursionError) as error:
        what = " ".join(str(error).split())
        raise DataError(f"{path}: not JSON, maybe truncated: {what}") from None


def _lines(path: Path) -> list[str]:
    """The lines, stripped. Only a line feed ends one (with or without a carriage return)."""
    text = _text(path)
    return [line.strip() for line in text.removesuffix("\n").split("\n")] if text else []


def _text(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8")
    except FileNotFoundError:
        raise NotFoundError(f"no file {path}: give an existing one") from None
    except OSError as error:
        raise NotFoundError(f"{path} cannot be read: {error.strerror}: give a file") from None
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 at byte {error.start}: write it as UTF-8") from None
