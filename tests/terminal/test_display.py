"""Progress in a pipe: a line every half minute, by a clock of the test's own."""

from __future__ import annotations

from harness.terminal.display import EVERY, Steps


def test_a_line_every_so_often_says_share_rate_and_what_is_left() -> None:
    steps = Steps(started=100.0, said=100.0, todo=1_000, texts=50)
    assert steps.advance(5, 100, 100.0 + EVERY - 1) == ""
    assert steps.advance(5, 150, 150.0) == "  0:50: 10 of 50 texts (25%), 0/s, 2:30 left"
    assert steps.advance(20, 250, 151.0) == ""
    assert steps.advance(0, 0, 200.0) == "  1:40: 30 of 50 texts (50%), 0/s, 1:40 left"


def test_nothing_is_said_before_the_first_text_and_never_more_than_all() -> None:
    steps = Steps(started=0.0, said=0.0, todo=10, texts=1)
    assert steps.advance(0, 0, 10 * EVERY) == ""
    assert "(100%)" in steps.advance(1, 20, 10 * EVERY)


def test_a_training_between_two_texts_counts_in_no_rate() -> None:
    steps = Steps(started=0.0, said=0.0, todo=1_000, texts=50)
    steps.pause(900.0)
    assert steps.advance(5, 250, 910.0) == ""
    assert steps.advance(5, 250, 940.0) == "  0:40: 10 of 50 texts (50%), 0/s, 0:40 left"
