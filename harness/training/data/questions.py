"""Reads questions on contexts, for span heads, dual encoders and masked language modelling."""

from __future__ import annotations

from collections.abc import Sequence

from harness.cards.training import IntermediateCard
from harness.data.formats.demo import read_demo_questions
from harness.data.formats.questions import Asked, read_questions
from harness.errors import DataError
from harness.training.data.examples import Found, Matched, Span, Text
from harness.training.data.sources import Files
from harness.training.data.splitting import sentence_at

# So large a share of the answers may be absent from their offset, as a few are in old files. More
# of them show that the file has another format.
MOST_MISPLACED = 0.01


def read_squad(card: IntermediateCard, files: Files, labels: list[str], notes: list[str]) -> Found:
    """Read questions on contexts.

    A dual encoder gets each question with the sentence of its answer. Masked language modelling
    gets the contexts: each once, or with ``deal`` one for every question.
    """
    del labels
    # XTREME's copy of TyDiQA has only the last number of every id, so that ids repeat there.
    by_number = card.source.format == "tydiqa"
    found: Found = {}
    for lang in card.languages:
        asked = [
            (f"{lang}:{number}" if by_number else one.id, one)
            for number, one in enumerate(_questions(card, files, lang))
        ]
        if card.kind == "mlm":
            found[lang] = [
                Text(item, lang, one.context)
                for number, (item, one) in enumerate(asked)
                if card.deal is not None
                or not number
                or one.context != asked[number - 1][1].context
            ]
            continue
        spans = _spans(card, lang, asked, notes)
        if card.kind == "dual_encoder":
            found[lang] = [_with_sentence(one) for one in spans if one.start is not None]
        else:
            found[lang] = list(spans)
    return found


def _questions(card: IntermediateCard, files: Files, lang: str) -> list[Asked]:
    """Read the questions of a language.

    In a file of all languages, the ids of its questions begin with the language.
    """
    if card.source.format == "demo_qa":
        return read_demo_questions(files.of(lang, files.roles[0]), lang)
    asked = [one for role in files.roles for one in read_questions(files.of(lang, role))]
    if card.source.format != "tydiqa" or not any("-" in one.id for one in asked):
        return asked
    code = card.source.codes.get(lang, lang)
    return [one for one in asked if one.id.startswith(f"{code}-")]


def _spans(
    card: IntermediateCard, lang: str, asked: Sequence[tuple[str, Asked]], notes: list[str]
) -> list[Span]:
    spans: list[Span] = []
    misplaced = 0
    for item, one in asked:
        if not one.answers:
            if not card.unanswerable:
                raise DataError(f"{one.place}: question {one.id} has no answer: not this task's")
            spans.append(Span(item, lang, one.question, one.context, "", None))
            continue
        answer, start = one.answers[0], one.starts[0]
        if not answer or start < 0 or not one.context.startswith(answer, start):
            misplaced += 1
            continue
        spans.append(Span(item, lang, one.question, one.context, answer, start))
    if misplaced > MOST_MISPLACED * len(asked):
        raise DataError(
            f"{card.name} {lang}: {misplaced} of {len(asked)} answers are empty or not at their "
            "offset: not the official files, or stripped of their answers"
        )
    if misplaced:
        notes.append(f"{misplaced} of {len(asked)} in {lang} left out: answer not at its offset")
    return spans


def _with_sentence(one: Span) -> Matched:
    """Make LAReQA's candidate: the sentence of the answer, directly followed by its context."""
    assert one.start is not None
    sentence = sentence_at(one.context, one.start, one.start + len(one.answer))
    text = f"{sentence}{one.context}".replace("\n", "")
    return Matched(one.item, one.lang, one.question.strip(), text, one.lang)
