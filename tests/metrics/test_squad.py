from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.metrics.squad import exact_match, f1, normalize


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("The  Cat\tsat.", "cat sat"),
        ("  an apple a day ", "apple day"),
        ("Theatre of Athens", "theatre of athens"),
        # Punctuation goes before articles: what it kept apart becomes one word.
        ("the-end", "theend"),
        ("A.", ""),
        ("a's", "as"),
        ("$1,000.50", "100050"),
        # English articles in every language; other languages' articles stay.
        ("la maison a deux étages", "la maison deux étages"),
        ("Der Hund", "der hund"),
        # Only ASCII punctuation goes.
        ("\u00abmot\u00bb \u2013 \u201cword\u201d", "\u00abmot\u00bb \u2013 \u201cword\u201d"),
        ("\u5317\u4eac\u3002", "\u5317\u4eac\u3002"),
        # White space is Unicode's.
        ("one\u00a0two\u3000three\n", "one two three"),
        ("", ""),
    ],
)
def test_normal_form(text: str, normal: str) -> None:
    assert normalize(text) == normal


def test_exact_match_is_the_best_over_the_gold_answers() -> None:
    assert exact_match("The Rhine!", ["Danube", "rhine"]) == 1
    assert exact_match("the river Rhine", ["Danube", "rhine"]) == 0


def test_f1_by_hand() -> None:
    # Found 4 words, gold 3, shared 2: precision 1/2, recall 2/3.
    assert f1("in March of 1905", ["early March 1905"]) == pytest.approx(4 / 7)
    # Repeated words count as often as both sides have them: shared 2 of 3 and of 2.
    assert f1("new new york", ["new york"]) == pytest.approx(0.8)
    # The best gold answer counts, wherever it stands.
    assert f1("new york", ["york", "the New York", "boston"]) == 1
    assert f1("new york", ["boston"]) == 0


def test_unsegmented_scripts_are_all_or_nothing() -> None:
    assert f1("\u5317\u4eac\u5e02", ["\u5317\u4eac"]) == 0
    assert f1("\u5317\u4eac", ["\u5317\u4eac"]) == 1


def test_a_missing_prediction_scores_zero_and_an_empty_one_is_compared() -> None:
    assert exact_match(None, ["the"]) == 0
    assert f1(None, ["the"]) == 0
    # Nothing is left of either: an exact match that shares no word.
    assert exact_match("", ["the"]) == 1
    assert f1("", ["the"]) == 0
    assert exact_match("", ["word"]) == 0


@pytest.mark.parametrize("metric", [exact_match, f1])
@pytest.mark.parametrize("prediction", ["word", None])
def test_a_question_without_gold_is_refused(metric: object, prediction: str | None) -> None:
    assert callable(metric)
    with pytest.raises(ValueError, match="no gold answers"):
        metric(prediction, [])


@given(st.text(), st.lists(st.text(), min_size=1))
def test_bounds_and_the_relation_of_both(prediction: str, answers: list[str]) -> None:
    value = f1(prediction, answers)
    assert 0 <= value <= 1
    if exact_match(prediction, answers) and normalize(prediction):
        assert value == 1
    assert f1(prediction, answers) == max(f1(prediction, [answer]) for answer in answers)


@given(st.text())
def test_an_answer_matches_itself(text: str) -> None:
    assert exact_match(text, [text]) == 1
    assert f1(text, [text]) == float(bool(normalize(text)))
