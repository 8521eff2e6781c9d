"""The small data that ships with the package, in four tasks: one of every kind."""

from __future__ import annotations

from typing import Any

from harness.cards.task import TaskCard
from harness.data.examples import Bitext, Mining, Question, QuestionSet
from harness.data.formats.files import Files, Key, LocalFile, Parsed, read_json, read_table, take
from harness.data.formats.passages import Passage, pooled
from harness.data.formats.questions import Asked
from harness.data.formats.sentences import counted_mining
from harness.errors import DataError


def read_demo_bitext(card: TaskCard, split: str, units: tuple[str, ...], files: Files) -> Parsed:
    """A table of sentences with one column a language."""
    file = files[Key("", split, "table")]
    with file.path.open(encoding="utf-8") as stream:
        header = stream.readline().split()
    rows = [fields for _, fields in read_table(file, len(header))][1:]
    columns = dict(zip(header, zip(*rows, strict=True), strict=True))
    examples = {unit: Bitext(unit, columns[unit], columns["en"]) for unit in units}
    return Parsed(examples, {split: {unit: len(rows) for unit in units}})


def read_demo_mining(card: TaskCard, split: str, units: tuple[str, ...], files: Files) -> Parsed:
    """Corpora by pair of languages and split, in one JSON file."""
    splits = (*card.source.splits[split].needs, split)
    file = files[Key("", split, "pairs")]
    pairs = take(read_json(file), "pairs", dict, file.name)
    examples = {
        unit: {part: _mining(unit, part, pairs[f"{unit}-en"][part]) for part in splits}
        for unit in units
    }
    return counted_mining(splits, examples)


def _mining(lang: str, split: str, record: Any) -> Mining:
    source, english = (
        {one["id"]: one["text"] for one in record[side]} for side in ("source", "target")
    )
    return Mining(lang, split, source, english, frozenset((a, b) for a, b in record["gold"]))


def read_demo_passages(card: TaskCard, split: str, units: tuple[str, ...], files: Files) -> Parsed:
    """The demo passages as one pool of sentences in all languages."""
    records = _records(files[Key("", split, "passages")])
    passages = {lang: [_passage(record, lang) for record in records] for lang in card.languages}
    return pooled(split, units, passages)


def read_demo_qa(card: TaskCard, split: str, units: tuple[str, ...], files: Files) -> Parsed:
    """The same passages as extractive questions. DataError for an answer not in its context."""
    file = files[Key("", split, "passages")]
    examples = {}
    for unit in units:
        asked = read_demo_questions(file, unit)
        questions = tuple(
            Question(one.id, one.question, one.context, one.answers, f"demo:{one.title}")
            for one in asked
        )
        examples[unit] = QuestionSet(unit, unit, questions)
    return Parsed(examples, {split: {unit: len(s.questions) for unit, s in examples.items()}})


def read_demo_questions(file: LocalFile, lang: str) -> list[Asked]:
    """The questions of one language; ``title`` is the passage's id.

    An answer is in its passage once. DataError where it is not there.
    """
    found = []
    for record in _records(file):
        context = _passage(record, lang).context
        for question in record["questions"]:
            place = f"{file.name}: {question['id']} in {lang}"
            answer = question[lang]["answer"]
            start = context.find(answer)
            if start < 0:
                raise DataError(f"{place}: its answer is not in the passage")
            found.append(
                Asked(
                    question["id"], question[lang]["question"], context, (answer,), (start,),
                    record["id"], place,
                )
            )  # fmt: skip
    return found


def _records(file: LocalFile) -> list[Any]:
    return take(read_json(file), "passages", list, file.name)


def _passage(record: Any, lang: str) -> Passage:
    sentences = tuple(record["texts"][lang])
    return Passage(
        id=record["id"],
        cluster=f"demo:{record['id']}",
        sentences=sentences,
        context=("" if lang == "zh" else " ").join(sentences),
        questions=tuple(
            (question["id"], question[lang]["question"], question[lang]["sentence"])
            for question in record["questions"]
        ),
    )
