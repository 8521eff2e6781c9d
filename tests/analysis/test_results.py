"""Which languages a mean of the board is over."""

from __future__ import annotations

from harness.analysis.results import board_units
from harness.cards.catalogue import read_card, read_suites


def test_a_split_that_a_suite_names_has_the_languages_of_that_suite() -> None:
    """Of UDPOS and PAN-X nine languages have a dev set here; the tests are of 38 and 48."""
    for task, most in (("udpos", 38), ("panx", 48)):
        card = read_card(task)
        languages = tuple(card.languages)
        (small,) = (one for one in read_suites()["xtreme-small"] if one.task == task)
        assert board_units(task, languages) == board_units(task, languages, card.split)
        assert len(board_units(task, languages)) == most
        assert board_units(task, languages, "half") == tuple(small.languages or ())
        assert len(small.languages or ()) == 9


def test_a_split_that_no_suite_names_has_those_of_the_task() -> None:
    languages = tuple(read_card("bucc2018").languages)
    assert board_units("bucc2018", languages, "dev") == board_units("bucc2018", languages)
