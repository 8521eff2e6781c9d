"""Reads one pool of answer sentences in all languages (LAReQA XQuAD-R)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from harness.cards.task import TaskCard
from harness.data.examples import Query, Retrieval
from harness.data.formats.files import Files, LocalFile, Parsed, file_of, named, read_json, take
from harness.data.formats.questions import Asked, check_answers, from_paragraph
from harness.errors import DataError


@dataclass(frozen=True)
class Passage:
    """A paragraph cut into sentences. ``questions``: (id, text, index of its answer sentence)."""

    id: str
    cluster: str
    sentences: tuple[str, ...]
    context: str
    questions: tuple[tuple[str, str, int], ...]


def read_lareqa(card: TaskCard, split: str, units: tuple[str, ...], files: Files) -> Parsed:
    """Read one file for every language of the card: the pool is never smaller."""
    passages = {lang: _passages(file_of(files, lang, split, "passages")) for lang in card.languages}
    names = {lang: file_of(files, lang, split, "passages").name for lang in card.languages}
    _same_ids(passages, names)
    return pooled(split, units, passages)


def pooled(split: str, units: Sequence[str], passages: Mapping[str, Sequence[Passage]]) -> Parsed:
    """Return the pool in order of languages and files, and the queries of the units.

    A candidate is its sentence and then the whole context, without a separator and without line
    feeds, as XTREME evaluates it. Relevant is every sentence of the question's paragraph
    that equals its answer sentence, in each language that has the question.
    """
    ids: list[str] = []
    texts: list[str] = []
    langs: list[str] = []
    relevant: dict[str, list[int]] = defaultdict(list)
    for lang, found in passages.items():
        for passage in found:
            first = len(ids)
            for index, sentence in enumerate(passage.sentences):
                ids.append(f"{lang}:{passage.id}:{index}")
                texts.append((sentence + passage.context).replace("\n", ""))
                langs.append(lang)
            for identifier, _, answer in passage.questions:
                relevant[identifier] += [
                    first + index
                    for index, sentence in enumerate(passage.sentences)
                    if sentence == passage.sentences[answer]
                ]
    queries = {
        unit: tuple(
            Query(identifier, text, passage.cluster, tuple(sorted(relevant[identifier])))
            for passage in passages[unit]
            for identifier, text, _ in passage.questions
        )
        for unit in units
    }
    counts = {unit: len(found) for unit, found in queries.items()}
    pool = Retrieval(tuple(ids), tuple(texts), tuple(langs), queries)
    return Parsed(pool, {split: counts}, candidates=len(ids))


def _passages(file: LocalFile) -> list[Passage]:
    passages = []
    asked: list[Asked] = []
    for article_number, article in enumerate(take(read_json(file), "data", list, file.name)):
        for number, paragraph in enumerate(
            take(article, "paragraphs", list, f"{file.name}: data[{article_number}]")
        ):
            place = f"{file.name}: data[{article_number}].paragraphs[{number}]"
            questions = list(from_paragraph(paragraph, None, place))
            asked += questions
            passages.append(_passage(paragraph, questions, place))
    check_answers(asked, file)
    return passages


def _passage(paragraph: object, questions: Sequence[Asked], place: str) -> Passage:
    context = take(paragraph, "context", str, place)
    breaks = take(paragraph, "sentence_breaks", list, place)
    before = 0
    for index, span in enumerate(breaks):
        where = f"{place}.sentence_breaks[{index}]"
        if not _is_span(span, len(context)):
            raise DataError(f"{where}: not a span [start, end) of the text")
        if span[0] < before:
            raise DataError(
                f"{where}: begins at {span[0]}, before the sentence in front of it ends"
            )
        before = span[1]
    if not questions:
        raise DataError(f"{place}: no questions: download it again")
    return Passage(
        id=questions[0].id,
        cluster=f"xquad:{questions[0].id}",
        # The field `sentences` is not read, by XTREME neither: two of its 13,014 (tr) lie two
        # characters off.
        sentences=tuple(context[start:end] for start, end in breaks),
        context=context,
        questions=tuple((one.id, one.question, _answer_sentence(one, breaks)) for one in questions),
    )


def _is_span(span: object, length: int) -> bool:
    if not (isinstance(span, list) and len(span) == 2):
        return False
    start, end = span
    whole = type(start) is int and type(end) is int  # bool is none
    return whole and 0 <= start < end <= length


def _answer_sentence(asked: Asked, breaks: Sequence[Sequence[int]]) -> int:
    """Return the sentence whose span [start, end) holds the first answer's offset."""
    start = asked.starts[0] if asked.starts else -1
    holding = [index for index, (begin, end) in enumerate(breaks) if begin <= start < end]
    if len(holding) != 1:
        raise DataError(
            f"{asked.place}: {len(holding)} sentences hold the answer of {named(asked.id)}"
        )
    return holding[0]


def _same_ids(passages: Mapping[str, Sequence[Passage]], names: Mapping[str, str]) -> None:
    """Raise DataError where a language has other questions than the first one, or one twice."""
    expected: set[str] | None = None
    for lang, found in passages.items():
        ids = [identifier for passage in found for identifier, _, _ in passage.questions]
        if len(set(ids)) != len(ids):
            repeated = next(one for one in ids if ids.count(one) > 1)
            raise DataError(f"{names[lang]}: question {named(repeated)} given twice")
        expected = set(ids) if expected is None else expected
        if set(ids) != expected:
            odd = sorted(expected.symmetric_difference(ids))[0]
            raise DataError(
                f"{names[lang]}: questions differ from {next(iter(names.values()))}, first"
                f" {named(odd)}: every language needs the same ids"
            )
