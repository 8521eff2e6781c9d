"""Reads extractive questions: SQuAD's JSON, or rows of the Hub (XQuAD, MLQA, TyDiQA)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from harness.cards.task import TaskCard
from harness.data.examples import Question, QuestionSet
from harness.data.formats.files import (
    Files,
    Key,
    LocalFile,
    Parsed,
    file_of,
    named,
    read_json,
    read_rows,
    take,
)
from harness.errors import DataError


@dataclass(frozen=True)
class Asked:
    """A question as its file has it. ``place``: where, for errors."""

    id: str
    question: str
    context: str
    answers: tuple[str, ...]
    starts: tuple[int, ...]
    title: str | None
    place: str


def read_xquad(card: TaskCard, split: str, units: tuple[str, ...], files: Files) -> Parsed:
    """Read questions; the cluster is the paragraph, named by its first question's id."""
    return _read(split, units, files, lambda unit, asked: paragraph_clusters(asked))


def read_tydiqa(card: TaskCard, split: str, units: tuple[str, ...], files: Files) -> Parsed:
    """Read questions; the cluster is the passage.

    In one file of all languages, the ids begin with the language.
    """

    def belongs(unit: str, file: LocalFile, asked: Asked) -> bool:
        return not file.mixed or asked.id.startswith(f"{card.code(unit)}-")

    return _read(split, units, files, lambda unit, asked: passage_clusters(asked), belongs)


def read_mlqa(card: TaskCard, split: str, units: tuple[str, ...], files: Files) -> Parsed:
    """Read questions; the cluster is the parallel article, by its English title.

    Titles differ by language, but every question is there in English too: the file of English
    questions on English contexts says which article an id belongs to.
    """
    index = files.get(Key("", split, "index"))
    titles = {asked.id: asked.title for asked in read_questions(index)} if index else {}
    notes: set[str] = set()

    def clusters(unit: str, asked: Sequence[Asked]) -> list[str]:
        context = unit.split("-")[0]
        own = "" if context == "en" else f"{context}:"
        apart = sum(not titles.get(one.id) for one in asked)
        if apart and own:
            notes.add(
                f"mlqa {unit}: {apart} of {len(asked)} questions are clustered by their own"
                " language's article, since the English file does not have them"
            )
        return [
            f"mlqa:{title}" if (title := titles.get(one.id)) else f"mlqa:{own}{_title(one)}"
            for one in asked
        ]

    parsed = _read(split, units, files, clusters)
    return Parsed(parsed.examples, parsed.counts, notes=tuple(sorted(notes)))


def _title(asked: Asked) -> str:
    if not asked.title:
        raise DataError(f"{asked.place}: no article title: not the official schema")
    return asked.title


def _read(
    split: str,
    units: tuple[str, ...],
    files: Files,
    clusters: Callable[[str, Sequence[Asked]], list[str]],
    belongs: Callable[[str, LocalFile, Asked], bool] = lambda unit, file, asked: True,
) -> Parsed:
    examples = {}
    read: dict[LocalFile, list[Asked]] = {}
    for unit in units:
        file = _file_of(files, unit, split)
        if file not in read:
            read = {file: read_questions(file)}
        asked = [one for one in read[file] if belongs(unit, file, one)]
        if not asked:
            raise DataError(f"{file.name}: no questions in {unit}: download it again")
        check_answers(asked, file)
        examples[unit] = question_set(unit, asked, clusters(unit, asked))
    counts = {unit: len(found.questions) for unit, found in examples.items()}
    return Parsed(examples, {split: counts})


def _file_of(files: Files, unit: str, split: str) -> LocalFile:
    """Return the unit's file of official JSON, or of rows of the Hub."""
    official = any(key.role == "questions" for key in files)
    return file_of(files, unit, split, "questions" if official else "rows")


def question_set(unit: str, asked: Sequence[Asked], clusters: Sequence[str]) -> QuestionSet:
    """Return the unit's questions. An id that comes again gets `#2`, `#3` … appended."""
    seen: Counter[str] = Counter()
    questions = []
    for one, cluster in zip(asked, clusters, strict=True):
        seen[one.id] += 1
        name = one.id if seen[one.id] == 1 else f"{one.id}#{seen[one.id]}"
        questions.append(Question(name, one.question, one.context, one.answers, cluster))
    context, _, question = unit.partition("-")
    return QuestionSet(context, question or context, tuple(questions))


def check_answers(asked: Sequence[Asked], file: LocalFile) -> None:
    """Raise DataError for a file stripped of its answers, a question without words or an answer,
    and an answer that is not at its offset.
    """
    if not any(text for one in asked for text in one.answers):
        raise DataError(
            f"{file.name}: has no answers: stripped test annotations; put the official file with"
            " answers there"
        )
    for one in asked:
        if not one.question.strip():
            raise DataError(f"{one.place}: question {named(one.id)} is empty: download it again")
        if not one.answers or not all(one.answers):
            raise DataError(
                f"{one.place}: question {named(one.id)} has no answer: download it again"
            )
        for text, start in zip(one.answers, one.starts, strict=True):
            if start < 0 or not one.context.startswith(text, start):
                raise DataError(
                    f"{one.place}: answer {named(repr(text), 42)} of {named(one.id)} is not at"
                    f" offset {named(start)} of its context: download it again"
                )


def paragraph_clusters(asked: Sequence[Asked]) -> list[str]:
    """Return `xquad:` + the id of the first of the neighbouring questions on one context."""
    clusters: list[str] = []
    for index, one in enumerate(asked):
        same = index > 0 and asked[index - 1].context == one.context
        clusters.append(clusters[-1] if same else f"xquad:{one.id}")
    return clusters


def passage_clusters(asked: Iterable[Asked]) -> list[str]:
    """Return `tydiqa:` + 12 hex digits of the passage's sha256."""
    # A text that UTF-8 cannot hold has a cluster too: it is refused where its language is known.
    contexts = (one.context.encode("utf-8", "surrogatepass") for one in asked)
    return [f"tydiqa:{sha256(context).hexdigest()[:12]}" for context in contexts]


def read_questions(file: LocalFile) -> list[Asked]:
    """Return every question of a file, in its order.

    Raises DataError where the schema is another.
    """
    if file.name.endswith(".json"):
        return list(_from_squad(file))
    return [_from_row(place, row) for place, row in read_rows(file)]


def _from_squad(file: LocalFile) -> Iterator[Asked]:
    for article_number, article in enumerate(take(read_json(file), "data", list, file.name)):
        place = f"{file.name}: data[{article_number}]"
        titled = isinstance(article, dict) and "title" in article
        title = take(article, "title", str, place) if titled else None
        for number, paragraph in enumerate(take(article, "paragraphs", list, place)):
            yield from from_paragraph(paragraph, title, f"{place}.paragraphs[{number}]")


def from_paragraph(paragraph: Any, title: str | None, place: str) -> Iterator[Asked]:
    """Yield the questions of one paragraph."""
    context = take(paragraph, "context", str, place)
    for number, record in enumerate(take(paragraph, "qas", list, place)):
        where = f"{place}.qas[{number}]"
        answers = take(record, "answers", list, where)
        yield Asked(
            take(record, "id", str, where),
            take(record, "question", str, where),
            context,
            tuple(take(answer, "text", str, where) for answer in answers),
            tuple(take(answer, "answer_start", int, where) for answer in answers),
            title,
            where,
        )


def _from_row(place: str, row: Any) -> Asked:
    answers = take(row, "answers", dict, place)
    texts, starts = (take(answers, key, list, place) for key in ("text", "answer_start"))
    if len(texts) != len(starts):
        raise DataError(f"{place}: {len(texts)} answer texts, {len(starts)} offsets")
    if not all(isinstance(text, str) for text in texts) or not all(
        isinstance(start, int) for start in starts
    ):
        raise DataError(f"{place}: answers are not texts with whole numbers as offsets")
    return Asked(
        take(row, "id", str, place),
        take(row, "question", str, place),
        take(row, "context", str, place),
        tuple(texts),
        tuple(starts),
        take(row, "title", str, place) if "title" in row else None,
        place,
    )
