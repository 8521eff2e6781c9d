"""Reads the small data that ships with the package, for its four tasks."""

from __future__ import annotations

from typing import Any

from harness.cards.task import TaskCard
from harness.data.examples import Bitext, Mining, Question, QuestionSet
from harness.data.formats.files import (
    Files,
    Key,
    LocalFile,
    Parsed,
    named,
    read_json,
    read_table,
    read_text,
    take,
)
from harness.data.formats.passages import Passage, pooled
from harness.data.formats.questions import Asked
from harness.data.formats.sentences import counted_mining
from harness.errors import DataError


def read_demo_bitext(card: TaskCard, split: str, units: tuple[str, ...], files: Files) -> Parsed:
    """Read a table of sentences with one column for each language."""
    file = files[Key("", split, "table")]
    header = read_text(file).partition("\n")[0].split()
    for lang in (*units, "en"):
        if lang not in header:
            raise DataError(f"{file.name}: no column {lang}: its header names the languages")
    rows = [fields for _, fields in read_table(file, len(header))][1:]
    if not rows:
        raise DataError(f"{file.name}: no sentences under its header")
    columns = dict(zip(header, zip(*rows, strict=True), strict=True))
    examples = {unit: Bitext(unit, columns[unit], columns["en"]) for unit in units}
    return Parsed(examples, {split: {unit: len(rows) for unit in units}})


def read_demo_mining(card: TaskCard, split: str, units: tuple[str, ...], files: Files) -> Parsed:
    """Read corpora by pair of languages and split from one JSON file."""
    splits = (*card.source.splits[split].needs, split)
    file = files[Key("", split, "pairs")]
    pairs = take(read_json(file), "pairs", dict, file.name)
    examples = {}
    for unit in units:
        of_unit = take(pairs, f"{unit}-en", dict, file.name)
        examples[unit] = {
            part: _mining(unit, part, take(of_unit, part, dict, f"{file.name}: {unit}-en"), file)
            for part in splits
        }
    return counted_mining(splits, examples)


def _mining(lang: str, split: str, record: Any, file: LocalFile) -> Mining:
    place = f"{file.name}: {lang}-en.{split}"
    source, english = (
        {
            take(one, "id", str, place): take(one, "text", str, place)
            for one in take(record, side, list, place)
        }
        for side in ("source", "target")
    )
    gold = set()
    for pair in take(record, "gold", list, place):
        if not isinstance(pair, list) or [type(one) for one in pair] != [str, str]:
            raise DataError(f"{place}: a gold pair is not two ids")
        left, right = pair
        if left not in source or right not in english:
            raise DataError(f"{place}: a gold pair names no sentence")
        gold.add((left, right))
    return Mining(lang, split, source, english, frozenset(gold))


def read_demo_passages(card: TaskCard, split: str, units: tuple[str, ...], files: Files) -> Parsed:
    """Read the demo passages as one pool of sentences in all languages."""
    file = files[Key("", split, "passages")]
    records = _records(file)
    passages = {
        lang: [_passage(record, lang, file) for record in records] for lang in card.languages
    }
    return pooled(split, units, passages)


def read_demo_qa(card: TaskCard, split: str, units: tuple[str, ...], files: Files) -> Parsed:
    """Read the same passages as extractive questions. Raises DataError for an answer not in its
    context.
    """
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
    """Return the questions of one language; ``title`` is the passage's id.

    An answer is in its passage once. Raises DataError where it is not there.
    """
    found = []
    for record in _records(file):
        passage = _passage(record, lang, file)
        for question in take(record, "questions", list, file.name):
            place = f"{file.name}: {named(take(question, 'id', str, file.name))} in {lang}"
            own = take(question, lang, dict, place)
            answer = take(own, "answer", str, place)
            start = passage.context.find(answer)
            if start < 0:
                raise DataError(f"{place}: its answer is not in the passage")
            found.append(
                Asked(
                    question["id"], take(own, "question", str, place), passage.context, (answer,),
                    (start,), passage.id, place,
                )
            )  # fmt: skip
    return found


def _records(file: LocalFile) -> list[Any]:
    return take(read_json(file), "passages", list, file.name)


def _passage(record: Any, lang: str, file: LocalFile) -> Passage:
    identifier = take(record, "id", str, file.name)
    place = f"{file.name}: {named(identifier)} in {lang}"
    sentences = tuple(take(take(record, "texts", dict, place), lang, list, place))
    if not sentences or not all(isinstance(sentence, str) for sentence in sentences):
        raise DataError(f"{place}: its sentences are not a list of texts")
    questions = []
    for question in take(record, "questions", list, place):
        own = take(question, lang, dict, place)
        answer = take(own, "sentence", int, place)
        if not 0 <= answer < len(sentences):
            raise DataError(f"{place}: the passage has no sentence {named(answer)}")
        questions.append(
            (take(question, "id", str, place), take(own, "question", str, place), answer)
        )
    return Passage(
        id=identifier,
        cluster=f"demo:{identifier}",
        sentences=sentences,
        context=("" if lang == "zh" else " ").join(sentences),
        questions=tuple(questions),
    )
