"""Finds single examples of a run: the worst ones, or those under a condition, with texts."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import inf, isnan
from typing import Any

import numpy as np
import pyarrow as pa

from harness.cards.catalogue import card_of
from harness.cards.task import TaskCard
from harness.data.examples import (
    Alternatives,
    Bitext,
    ItemSet,
    Mining,
    Pair,
    QuestionSet,
    Retrieval,
)
from harness.data.layout import DataLocation
from harness.data.load import load
from harness.errors import HarnessError, UsageError, unknown_name
from harness.kinds import KINDS
from harness.kinds.kind import of_split
from harness.results.checks import consistent
from harness.results.outcomes import OutcomeFile

Example = dict[str, Any]

OPERATORS: Mapping[str, Callable[[Any, Any], bool]] = {
    "<=": operator.le,
    ">=": operator.ge,
    "!=": operator.ne,
    "=": operator.eq,
    "<": operator.lt,
    ">": operator.gt,
    "~": lambda value, part: str(part).lower() in str(value).lower(),
}
CONDITION = re.compile(r"\s*(\w[\w@]*)\s*(<=|>=|!=|==|=|<|>|~)\s*(.*?)\s*", re.DOTALL)
TOP = 3  # hits of a search that are shown


@dataclass(frozen=True)
class Condition:
    """``column operator value``, such as ``f1<0.5``, ``lang=de``, ``prediction~Paris``."""

    column: str
    operator: str
    value: str

    def holds(self, example: Example) -> bool:
        """Return whether an example meets it; one without a value in the column does not.

        Raises:
            UsageError: the value is not of the column's type, or the column holds lists.
        """
        value = example.get(self.column)
        if value is None:
            return False
        if isinstance(value, list) and self.operator != "~":
            raise UsageError(
                f"--where {self.column}{self.operator}…: an example has a list there, in which ~ "
                "finds a text"
            )
        return OPERATORS[self.operator](value, self._as(value))

    def _as(self, value: Any) -> Any:
        if self.operator == "~" or not isinstance(value, (bool, int, float)):
            return self.value
        try:
            if isinstance(value, bool):
                return {"true": True, "false": False, "1": True, "0": False}[self.value.lower()]
            number = float(self.value)
            if isnan(number):  # neither below nor above anything
                raise ValueError(self.value)
            return number
        except (KeyError, ValueError):
            kind = "true or false" if isinstance(value, bool) else "a number"
            raise UsageError(f"--where {self.column}: {self.value!r} is not {kind}") from None


def parse_condition(text: str) -> Condition:
    """Return a condition from the command line.

    Raises:
        UsageError: it has another form.
    """
    found = CONDITION.fullmatch(text)
    if found is None:
        raise UsageError(
            f"--where {text!r}: give a column, one of {' '.join(OPERATORS)}, and a value: f1<0.5"
        )
    column, sign, value = found.groups()
    return Condition(column, "=" if sign == "==" else sign, value.strip("'\""))


def examples(
    file: OutcomeFile,
    location: DataLocation,
    languages: Sequence[str] = (),
    conditions: Iterable[Condition] = (),
) -> tuple[list[Example], str]:
    """Return the examples of an outcome file, worst first, and why their texts are missing, or
    nothing.

    An example has the columns of its row, ``score`` (its part of the task's headline, in [0, 1]),
    for retrieval ``rank`` (of the best relevant candidate, None where it was not found), and, where
    the data is at hand, its texts: ``text``, ``gold`` and ``hits`` (texts) of a search,
    ``question``, ``context``, ``gold``, or ``texts`` and ``choices`` of what has a label.

    ``languages``: units; none for all.

    Raises:
        UsageError: a condition on a column that there is not. DataError: damaged rows.
    """
    meta = file.meta()
    card = card_of(meta)
    units = [unit for unit in meta["languages"] if not languages or unit in languages]
    found: list[Example] = []
    for unit, rows in file.tables(units):
        with consistent(file):
            found += _scored(card, unit, of_split(rows, meta["split"]))
    # Sorting is stable: examples of equal score stay in the order of the file.
    found.sort(key=lambda one: (one["score"], -(one.get("rank") or inf)))
    why = _add_texts(card, meta, units, found, location)
    columns = dict.fromkeys(name for one in found for name in one)
    for condition in conditions:
        if columns and condition.column not in columns:
            raise unknown_name("column", condition.column, columns)
        found = [one for one in found if condition.holds(one)]
    return found, why


def _scored(card: TaskCard, unit: str, rows: pa.Table) -> list[Example]:
    """Return the rows with their score.

    It is 1 where there is nothing to find and nothing was found; a missed or a wrongly kept pair of
    mining scores 0.
    """
    if not len(rows):
        return []
    kind = KINDS[card.kind]
    metric = card.primary if kind.defined(card.primary, card.split) else card.metrics[0]
    part = kind.per_example(rows, metric)
    scores = np.ones(len(rows))
    np.divide(part.numerator, part.denominator, out=scores, where=part.denominator > 0)
    listed: list[Example] = rows.to_pylist()
    single = [field.name for field in rows.schema if field.type == pa.float32()]
    for row, score in zip(listed, scores.tolist(), strict=True):
        row["unit"], row["score"] = unit, _decimal(score)
        row |= {name: _decimal(row[name]) for name in single if row[name] is not None}
        if "ranks" in row:  # none where a search that was cut did not find it
            row["rank"] = row["ranks"][0] if row["ranks"] else None
    return listed


def _decimal(value: float) -> float:
    """Return the shortest decimal of a float32: 0.8, so that ``f1<=0.8`` holds, not 0.80000001."""
    return float(str(np.float32(value)))


def _add_texts(
    card: TaskCard,
    meta: Mapping[str, Any],
    units: Sequence[str],
    found: Sequence[Example],
    location: DataLocation,
) -> str:
    if card.kind not in TEXTS or not found:
        return ""
    try:
        loaded = load(card, meta["split"], units, location)
    except HarnessError as error:
        return str(error)
    measured = meta["data"]
    for name, digest in loaded.files.items():
        if measured.get(name, digest) != digest:
            return f"{name} is not the file that was measured: give the same data with --data"
    lacking = {**loaded.missing, **loaded.broken}
    add = TEXTS[card.kind](loaded.examples, meta)
    for example in found:
        if example["unit"] not in lacking:
            add(example)
    return next(iter(lacking.values()), "")


Adds = Callable[[Example], None]


def _bitext_texts(loaded: Mapping[str, Bitext], meta: Mapping[str, Any]) -> Adds:
    def add(example: Example) -> None:
        pairs = loaded[example["unit"]]
        sides = (pairs.english, pairs.source)
        query, pool = sides if str(example["direction"]).startswith("en-") else sides[::-1]
        number = _line(example["example_id"])
        example["text"], example["gold"] = query[number], [pool[number]]
        example["hits"] = [pool[_line(one)] for one in example["top_ids"][:TOP]]

    return add


def _line(name: str) -> int:
    return int(name.rpartition(":")[2])


def _passage_texts(loaded: Retrieval, meta: Mapping[str, Any]) -> Adds:
    # The translations of a question have one id.
    asked = {unit: {one.id: one for one in own} for unit, own in loaded.queries.items()}
    place = {name: index for index, name in enumerate(loaded.candidate_ids)}

    def add(example: Example) -> None:
        query = asked[example["unit"]][example["example_id"]]
        example["text"] = query.text
        example["gold"] = [loaded.candidates[index] for index in query.relevant[:TOP]]
        example["hits"] = [loaded.candidates[place[one]] for one in example["top_ids"][:TOP]]

    return add


def _mining_texts(loaded: Mapping[str, Mapping[str, Mining]], meta: Mapping[str, Any]) -> Adds:
    def add(example: Example) -> None:
        corpora = loaded[example["unit"]][meta["split"]]
        example["text"] = corpora.source.get(example["source_id"])
        example["hits"] = [corpora.english.get(example["target_id"])]

    return add


def _question_texts(loaded: Mapping[str, QuestionSet], meta: Mapping[str, Any]) -> Adds:
    asked = {unit: {one.id: one for one in own.questions} for unit, own in loaded.items()}

    def add(example: Example) -> None:
        found = asked[example["unit"]][example["example_id"]]
        example["question"], example["context"] = found.question, found.context
        example["gold"] = list(found.answers)

    return add


def _item_texts(loaded: Mapping[str, ItemSet], meta: Mapping[str, Any]) -> Adds:
    items = {unit: {one.id: one for one in own.items} for unit, own in loaded.items()}

    def add(example: Example) -> None:
        found = items[example["unit"]][example["example_id"]]
        if isinstance(found, Pair):
            example["texts"] = [found.first, found.second]
        elif isinstance(found, Alternatives):
            example["texts"], example["choices"] = [found.prompt], list(found.choices)
        else:
            example["texts"] = [" ".join(found.words)]
            example["gold"] = " ".join(example["gold"])
            example["prediction"] = " ".join(example["prediction"])

    return add


# Kind → what adds the texts to an example, given the task's data and the run's metadata.
TEXTS: Mapping[str, Callable[[Any, Mapping[str, Any]], Adds]] = {
    "bitext": _bitext_texts,
    "mining": _mining_texts,
    "passages": _passage_texts,
    "span_qa": _question_texts,
    "classification": _item_texts,
    "multiple_choice": _item_texts,
    "tagging": _item_texts,
}
