"""Word pairs from sentence pairs."""

from __future__ import annotations

import pytest

from harness.alignment.lexicon import has_spaces, word_pairs, words
from harness.data.examples import Bitext


def test_words_keep_what_belongs_inside_them() -> None:
    assert words("Don't go - the well-known 'inn' is 100 m away, in 2b!") == [
        *("Don't", "go", "the", "well-known", "inn", "is", "m", "away", "in", "2b")
    ]
    assert words("می\u200cروم به خانه؟") == ["می\u200cروم", "به", "خانه"]
    assert words("हिन्दी में।") == ["हिन्दी", "में"]  # marks are part of a word
    assert words("… 12:30 —") == []


def test_dice_by_hand() -> None:
    bitext = Bitext(
        "de",
        source=("Das Haus brennt", "Ein Haus steht", "Der Hund bellt", "Tom schläft", "Tom lacht"),
        english=("The house burns", "A house stands", "The dog barks", "Tom sleeps", "Tom laughs"),
    )
    # house and Haus are twice together and nowhere else: Dice 2·2 / (2 + 2). "The" is twice too,
    # but never with one word. Tom is an equal word; all others occur once.
    assert word_pairs(bitext) == Bitext("de", ("Haus",), ("house",))


def test_a_word_between_two_is_no_pair() -> None:
    # "red" and "old" are always together, and so are "rot" and "alt": who is whose cannot be told.
    source = ("ein rot alt Haus", "das rot alt Dach")
    bitext = Bitext("de", source, ("one red old house", "that red old roof"))
    assert word_pairs(bitext).source == ()


def test_a_weak_pair_is_left_out() -> None:
    # "sea" is in 4 texts, "Meer" in 2 of them: Dice 2·2 / (4 + 2) is below 0.75.
    source = ("Meer a", "Meer b", "c d", "e f")
    bitext = Bitext("de", source, ("sea k", "sea l", "sea m", "sea n"))
    assert word_pairs(bitext).source == ()
    more = Bitext("de", (*source, "Meer g", "Meer h"), (*bitext.english, "sea o", "sea p"))
    assert word_pairs(more).source == ("Meer",)  # 2·4 / (6 + 4) = 0.8


def test_a_repeated_sentence_pair_counts_once() -> None:
    assert word_pairs(Bitext("de", ("Haus",) * 5, ("house",) * 5)).source == ()


def test_words_are_written_as_inside_a_sentence() -> None:
    bitext = Bitext(
        "de",
        ("Wasser ist nass", "ich trinke Wasser", "Morgen trinke ich"),
        ("Water is wet", "I drink water", "Tomorrow I drink"),
    )
    assert ("water", "Wasser") in zip(*reversed(_sides(word_pairs(bitext))), strict=True)


def _sides(bitext: Bitext) -> tuple[tuple[str, ...], tuple[str, ...]]:
    return bitext.source, bitext.english


@pytest.mark.parametrize(
    ("lang", "spaces"), [("de", True), ("ko", True), ("zh", False), ("th", False)]
)
def test_scripts_without_spaces(lang: str, spaces: bool) -> None:
    assert has_spaces(lang) is spaces
