"""Extractive question answering with a reader whose answers are known."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from harness.data.examples import Question, QuestionSet
from harness.inference.spans import UNANSWERED, Span
from harness.kinds.kind import UnitSettings
from harness.kinds.span_qa import KIND, score_answer


def asked(name: str, *answers: str) -> Question:
    return Question(name, f"{name}?", f"Context of {name}.", answers, f"demo:{name}")


QUESTIONS = (
    asked("q0", "the green boat"),
    asked("q1", "seven", "at seven o'clock"),
    asked("q2", "nobody"),
    asked("q3", "an island"),
)
PREDICTIONS = {"q0": "Green boat!", "q1": "at eight o'clock", "q2": "the miller", "q3": None}


class Known:
    """A reader that answers by the question's name."""

    def __init__(self) -> None:
        self.langs: list[str] = []

    def read(self, pairs: Sequence[tuple[str, str]], *, lang: str) -> list[Span]:
        self.langs.append(lang)
        spans = []
        for question, context in pairs:
            name = question.removesuffix("?")
            assert context == f"Context of {name}."
            text = PREDICTIONS[name]
            spans.append(UNANSWERED if text is None else Span(text, 0, len(text), 1.0, True))
        return spans


def outcome(
    questions: QuestionSet, unit: str, scorer: str | None = "squad", limit: int | None = None
) -> Any:
    settings = UnitSettings(scorer=scorer, limit=limit)
    measured = KIND.run(settings, {unit: questions}, unit, Known(), None)
    table, flat = measured[:2]
    assert measured[2:] == (None, None)  # nothing is searched
    assert not flat
    assert table.schema.equals(KIND.schema)
    return table


ENGLISH = QuestionSet("en", "en", QUESTIONS)


def test_rows_by_hand() -> None:
    rows = outcome(ENGLISH, "en").to_pylist()
    # q0: equal once normalised. q1: of 3 words 2 are in the second answer's 3. q3: unanswered.
    assert [row["exact_match"] for row in rows] == [1, 0, 0, 0]
    assert [row["f1"] for row in rows] == pytest.approx([1, 2 / 3, 0, 0])
    assert [row["answered"] for row in rows] == [True, True, True, False]
    assert [row["prediction"] for row in rows] == [
        "Green boat!",
        *list(PREDICTIONS.values())[1:3],
        "",
    ]
    assert [row["cluster"] for row in rows] == [f"demo:q{number}" for number in range(4)]
    assert [row["example_id"] for row in rows] == ["q0", "q1", "q2", "q3"]
    assert {(row["lang"], row["question_lang"]) for row in rows} == {("en", "en")}


def test_an_unanswered_question_is_a_zero_that_counts() -> None:
    scores = KIND.fold(outcome(ENGLISH, "en"), ["f1", "exact_match"], "test")
    assert [(s.lang, s.direction, s.group, s.metric, s.n) for s in scores] == [
        ("en", "", "", "f1", 4),
        ("en", "", "", "exact_match", 4),
    ]
    assert [score.value for score in scores] == pytest.approx([(1 + 2 / 3) / 4, 1 / 4])


def test_limit_is_the_first_questions() -> None:
    assert outcome(ENGLISH, "en", limit=2).to_pylist() == outcome(ENGLISH, "en").to_pylist()[:2]
    assert KIND.texts({"en": ENGLISH}, "en", 1) == [("query", ["q0?\nContext of q0."])]
    only = KIND.fold(outcome(ENGLISH, "en", limit=1), ["f1"], "test")
    assert [(score.value, score.n) for score in only] == [(1, 1)]


def test_a_pair_of_languages() -> None:
    crossed = QuestionSet("de", "ar", QUESTIONS)
    table = outcome(crossed, "de-ar", "mlqa")
    assert {(row["lang"], row["question_lang"]) for row in table.to_pylist()} == {("de", "ar")}
    (score,) = KIND.fold(table, ["f1"], "test")
    assert (score.lang, score.direction) == ("de", "ar-de")


def test_each_task_has_its_own_scorer_in_the_language_of_the_context() -> None:
    # SQuAD drops English articles in every language, MLQA those of the context's language.
    # MLQA takes Chinese apart by character, SQuAD by white space.
    for scorer, lang, prediction, answers, exact, overlap in (
        ("squad", "de", "das Boot", ["Boot"], 0, 2 / 3),
        ("mlqa", "de", "das Boot", ["Boot"], 1, 1),
        ("squad", "de", "the Boot", ["Boot"], 1, 1),
        ("mlqa", "de", "the Boot", ["Boot"], 0, 2 / 3),
        ("squad", "zh", "绿色的船", ["绿色船"], 0, 0),
        ("mlqa", "zh", "绿色的船", ["绿色船"], 0, 6 / 7),
        # The best over the accepted answers, each score for itself.
        ("squad", "en", "seven boats", ["seven", "seven boats sail"], 0, 4 / 5),
    ):
        got = score_answer(scorer, lang, prediction, answers)
        assert got[0] == exact, (scorer, lang, prediction)
        assert got[1] == pytest.approx(overlap), (scorer, lang, prediction)


def test_questions_of_the_reader_are_in_the_language_of_the_context() -> None:
    reader = Known()
    settings = UnitSettings(scorer="mlqa")
    KIND.run(settings, {"de-ar": QuestionSet("de", "ar", QUESTIONS)}, "de-ar", reader, None)
    assert reader.langs == ["de"]
