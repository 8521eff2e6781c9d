"""Extractive question answering (XQuAD, MLQA, TyDiQA-GoldP)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from harness.data.examples import QuestionSet
from harness.errors import one_line
from harness.inference.protocol import Role
from harness.kinds.columns import joined, text
from harness.kinds.kind import (
    Group,
    Kind,
    UnitFacts,
    UnitResult,
    UnitSettings,
    table,
)
from harness.metrics import mlqa, squad
from harness.metrics.by_kind import METRICS
from harness.metrics.span_qa import Answers

if TYPE_CHECKING:
    from harness.inference.reader import Reader

SCHEMA = pa.schema(
    [
        ("example_id", pa.string()),
        ("lang", pa.string()),
        ("question_lang", pa.string()),
        ("cluster", pa.string()),
        ("prediction", pa.string()),
        ("exact_match", pa.float32()),
        ("f1", pa.float32()),
        ("answered", pa.bool_()),
    ]
)

Examples = Mapping[str, QuestionSet]


def texts(examples: Examples, unit: str, limit: int | None) -> Sequence[tuple[Role, Sequence[str]]]:
    """The unit's pairs, as what is counted before a run; a reader encodes no vectors."""
    asked = examples[unit].questions[:limit]
    return [("query", [f"{q.question}\n{q.context}" for q in asked])]


def score_answer(
    scorer: str, lang: str, prediction: str, answers: Sequence[str]
) -> tuple[float, float]:
    """(exact match, F1) in [0, 1] by the task's official scorer, in the context's language."""
    if scorer == "mlqa":
        exact = partial(mlqa.exact_match, language=lang)
        overlap = partial(mlqa.f1, language=lang)
        return exact(prediction, answers), overlap(prediction, answers)
    return squad.exact_match(prediction, answers), squad.f1(prediction, answers)


def run(
    settings: UnitSettings, examples: Examples, unit: str, reader: Reader, prepared: None
) -> UnitResult:
    """One row per question, scored by the task's official scorer."""
    chosen = examples[unit]
    asked = chosen.questions[: settings.limit]
    scorer = settings.scorer
    spans = reader.read([(q.question, q.context) for q in asked], lang=chosen.lang)
    rows = []
    for question, span in zip(asked, spans, strict=True):
        exact, overlap = score_answer(scorer, chosen.lang, span.text, question.answers)
        rows.append(
            {
                "example_id": question.id,
                "lang": chosen.lang,
                "question_lang": chosen.question_lang,
                "cluster": question.cluster,
                "prediction": span.text,
                "exact_match": exact,
                "f1": overlap,
                "answered": span.answered,
            }
        )
    return UnitResult(table(SCHEMA, rows))


def read(rows: pa.Table) -> Answers:
    """The scores that rows were written with; nan where one is missing."""
    exact, overlap = (rows.column(name).to_numpy().astype(float) for name in ("exact_match", "f1"))
    return Answers(exact, overlap)


def groups(rows: pa.Table) -> Sequence[Group]:
    """All rows of the unit; an unanswered question is a zero that counts."""
    lang, asked_in = (rows.column(name)[0].as_py() for name in ("lang", "question_lang"))
    direction = "" if asked_in == lang else f"{asked_in}-{lang}"
    return [Group(lang, direction, "", np.arange(len(rows)))]


def unit(rows: pa.Table) -> pa.Array:
    """The unit of each row: a language, or `context-question`."""
    lang, asked_in = text(rows.column("lang")), text(rows.column("question_lang"))
    return pc.if_else(pc.equal(lang, asked_in), lang, joined(lang, asked_in, separator="-"))


def contradiction(rows: pa.Table, facts: UnitFacts) -> str:
    """What the rows of a unit contradict, or nothing."""
    exact, overlap, answered = (
        rows.column(name).to_numpy() for name in ("exact_match", "f1", "answered")
    )
    empty = pc.equal(rows.column("prediction"), "").to_numpy()
    for what, wrong in (
        ("exact_match is not 0 or 1", (exact != 0) & (exact != 1)),
        ("f1 is not between 0 and 1", ~((overlap >= 0) & (overlap <= 1))),
        # An equal text has all words in common, or none where the scorer leaves no word of it.
        ("an exact match has another f1 than 1 or 0", (exact == 1) & (overlap > 0) & (overlap < 1)),
        ("there is an answer, and it is not answered", ~answered.astype(bool) & ~empty),
    ):
        if wrong.any():
            name = rows.column("example_id")[int(np.flatnonzero(wrong)[0])].as_py()
            return f"{one_line(name, 80)}: {what}"
    return ""


KIND = Kind(
    needs="span",
    schema=SCHEMA,
    texts=texts,
    run=run,
    metrics=METRICS["span_qa"],
    read=read,
    groups=groups,
    unit=unit,
    contradiction=contradiction,
)
