"""What `contrast` prints of bases with and without an answer."""

from typing import Any, cast

import pytest

from harness.analysis.contrasts import Contrast
from harness.statistics.verdict import unanswered
from harness.terminal import comparisons


def question(base: str, difference: object = None) -> Contrast:
    answer = cast(Any, difference)
    why = "no checkpoint submitted"
    sides = ("English QA − base", "frozen", "recall@10", ("a",), ("b",))
    return Contrast(base, *sides, answer, None, None, why, (), False)


def test_where_nothing_is_answered_every_question_says_why() -> None:
    lines = comparisons.contrast_lines([question("x"), question("y")])
    why = "not known (no checkpoint submitted)"
    assert [line.strip() for line in lines] == [
        part for base in "xy" for part in (f"[bold]{base}[/]",
        f"frozen, recall@10: English QA − base: [bold]{why}[/]")
    ]  # fmt: skip


def test_bases_without_an_answer_share_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    answered = question("y", object())
    monkeypatch.setattr(Contrast, "verdict", property(lambda _: unanswered("no")))
    monkeypatch.setattr(comparisons, "_contrast_line", lambda one: f"  {one.base}")
    lines = comparisons.contrast_lines([question("x"), answered, question("y"), question("z")])
    assert lines == ["[bold]y[/]", "  y", "  y", "no question is answered on x, z"]
