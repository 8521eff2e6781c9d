"""Answers in rows are scored again where the gold is at hand."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa

from harness.cards.catalogue import card_of
from harness.cards.task import TaskCard
from harness.data.examples import QuestionSet
from harness.data.load import DataLocation, load
from harness.errors import CheckFailed, DataError, one_line
from harness.kinds.span_qa import score_answer
from harness.results.checks import REMEDY, check, is_official
from harness.results.outcomes import OutcomeFile, find

NEAR = 1e-6  # scores are kept as float32


def check_gold(results: Path, location: DataLocation) -> int:
    """Score the answers of all rows again whose gold is in the package or in the data folder.

    Nothing is downloaded. Returns how many rows were scored again.

    Raises:
        CheckFailed: names the files whose scores are not those of their answers.
        DataError: the data is damaged. What is not there is left out.
    """
    location = replace(location, offline=True)
    wrong, rows = [], 0
    for file in find(results) if results.is_dir() else []:
        try:
            meta = check(file)
        except DataError:
            continue  # whoever reads scores has named it
        card = card_of(meta)
        if card.kind != "span_qa" or not is_official(meta, card):
            continue
        if card.source.package or location.data is not None:
            count, why = _scored(file, meta, card, location)
            rows += count
            wrong += [f"{file.path}: {why}: {REMEDY}"] if why else []
    if wrong:
        more = f" (and {len(wrong) - 1} more files)" if len(wrong) > 1 else ""
        raise CheckFailed(wrong[0] + more)
    return rows


def _scored(
    file: OutcomeFile, meta: Mapping[str, Any], card: TaskCard, location: DataLocation
) -> tuple[int, str]:
    """How many rows of a file were scored again, and the first that differs, in words."""
    rows = 0
    loaded = load(card, meta["split"], meta["languages"], location)
    for unit, why in loaded.broken.items():
        raise DataError(f"{card.name} {unit}: {why}")
    examples: Any = loaded.examples
    for unit, table in file.tables([unit for unit in meta["languages"] if unit in examples]):
        rows += len(table)
        if why := differing(table, examples[unit], str(card.scorer)):
            return rows, f"{unit}: {why}"
    return rows, ""


def differing(rows: pa.Table, gold: QuestionSet, scorer: str) -> str:
    """The first row of a unit whose scores are not those of its answer, in words, or nothing."""
    answers = {question.id: question.answers for question in gold.questions}
    for row in rows.to_pylist():
        name = row["example_id"]
        if name not in answers:
            return f"{one_line(name, 80)} is no question of the data"
        found = score_answer(scorer, gold.lang, row["prediction"], answers[name])
        for what, value in zip(("exact_match", "f1"), found, strict=True):
            if abs(row[what] - value) > NEAR:
                return f"{one_line(name, 80)}: {what} is {row[what]:.4g}, its answer's {value:.4g}"
    return ""
