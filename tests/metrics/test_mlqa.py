from __future__ import annotations

import json
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.metrics.mlqa import exact_match, f1, normalize

LANGUAGES = ["ar", "de", "en", "es", "hi", "vi", "zh"]
GOLDEN = json.loads(
    (Path(__file__).parent.parent / "golden" / "mlqa.json").read_text(encoding="utf-8")
)


@pytest.mark.parametrize("case", GOLDEN["normalized"], ids=lambda case: case["why"])
def test_normal_form(case: dict[str, str]) -> None:
    assert normalize(case["text"], case["language"]) == case["normal"]


@pytest.mark.parametrize("case", GOLDEN["scored"], ids=lambda case: case["why"])
def test_scores_by_hand(case: dict[str, str]) -> None:
    prediction, answers, language = case["prediction"], case["answers"], case["language"]
    shared, found, gold = (int(count) for count in case["shared_found_gold"])
    expected = 2 * shared / (found + gold) if shared else 0.0
    assert f1(prediction, list(answers), language) == pytest.approx(expected)
    assert exact_match(prediction, list(answers), language) == float(case["exact_match"])


def test_the_golden_cases_cover_every_language() -> None:
    assert {case["language"] for case in GOLDEN["normalized"]} == set(LANGUAGES)
    assert {case["language"] for case in GOLDEN["scored"]} == set(LANGUAGES)


@pytest.mark.parametrize("language", ["fr", "EN", "zh-CN", ""])
def test_a_language_without_rules_is_refused(language: str) -> None:
    with pytest.raises(ValueError, match=f"language '{language}': use one of en, es"):
        normalize("word", language)
    # A missing prediction does not hide the mistake.
    with pytest.raises(ValueError, match="no answer rules"):
        exact_match(None, ["word"], language)
    with pytest.raises(ValueError, match="no answer rules"):
        f1(None, ["word"], language)


def test_a_question_without_gold_is_refused() -> None:
    with pytest.raises(ValueError, match="no gold answers"):
        exact_match("word", [], "en")
    with pytest.raises(ValueError, match="no gold answers"):
        f1(None, [], "en")


def test_a_missing_prediction_scores_zero_and_an_empty_one_is_compared() -> None:
    assert exact_match(None, ["der"], "de") == 0
    assert f1(None, ["der"], "de") == 0
    assert exact_match("", ["der"], "de") == 1
    assert f1("", ["der"], "de") == 0


def _segment(text: str) -> list[str]:
    """Chinese words, character by character."""
    words, word = [], ""
    for char in text:
        if "\u4e00" <= char <= "\u9fa5":
            words += [*word.split(), char]
            word = ""
        else:
            word += char
    return [*words, *word.split()]


@given(st.text(st.sampled_from("ab1 \u3000\u4e00\u5317\u9fa5\u9fa6\u3042\uac00") | st.characters()))
def test_chinese_is_segmented_by_character(text: str) -> None:
    bare = "".join(
        char
        for char in text.lower()
        if not unicodedata.category(char).startswith("P") and char not in "$+<=>^`|~"
    )
    assert normalize(text, "zh") == " ".join(_segment(bare))


@given(st.text(), st.lists(st.text(), min_size=1), st.sampled_from(LANGUAGES))
def test_bounds_and_the_relation_of_both(
    prediction: str, answers: list[str], language: str
) -> None:
    value = f1(prediction, answers, language)
    assert 0 <= value <= 1
    if exact_match(prediction, answers, language) and normalize(prediction, language):
        assert value == 1
    assert value == max(f1(prediction, [answer], language) for answer in answers)
