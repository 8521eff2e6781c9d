"""The page of intermediate tasks by target tasks: what is said of each cell."""

from __future__ import annotations

from html import unescape
from pathlib import Path

from harness.analysis.gather import read_board
from harness.board import targets
from harness.board.build import leaderboard
from harness.board.words import adjusted_p, plain, size
from tests.board.boards import (
    BASE,
    ENGLISH,
    MANY,
    answers,
    bitext,
    hand_worked,
    measure,
    submit,
)


def rows(text: str, first: str) -> list[list[str]]:
    lines = [line.strip("|").split(" | ") for line in text.splitlines() if line.startswith("|")]
    return [[unescape(cell).strip() for cell in line] for line in lines if first in line[0]]


def test_page(root: Path) -> None:
    leaderboard(hand_worked(root))
    text = (root / "leaderboard/targets.md").read_text(encoding="utf-8")
    assert "[intermediate tasks by target](targets.md)" in (
        root / "leaderboard/README.md"
    ).read_text(encoding="utf-8")
    ((_, score, none),) = rows(text, "none (the base)")
    assert (score, none) == ("**0.0** [0.0, 0.0]", "—")
    for gain in read_board(root).gains:
        ((_, cell, mean),) = rows(text, f"[{gain.entry.title}]")
        figures = f"**{size(gain.verdict)}** {plain(gain.verdict)}<br>{adjusted_p(gain.verdict)}"
        assert cell.replace("\xa0", " ").startswith(figures)
        assert cell == mean
    ((_, chosen, naive, _, honest),) = rows(text, "Demo") or rows(text, "demo")
    assert (chosen, naive) == ("hand/multilingual-qa", "+75.00")
    assert honest.startswith("**+")
    # Published figures are in a table of their own, the losses too: 1.2 1.3 −0.7 0.6 0.7 10.9.
    assert text.index("## As published") < text.index("X-STILTs (XLM-R large)")
    published = text.partition("## As published")[2]
    assert rows(published, "tydiqa")[0][:5] == ["tydiqa", "f1", "65.1", "76.0", "+10.90"]
    assert rows(published, "panx")[0][:5] == ["panx", "f1", "65.4", "64.7", "−0.70"]
    assert rows(published, "mean")[0][4] == "+2.33"


def test_marks_and_what_is_not_measured(root: Path) -> None:
    hand_worked(root)
    units = ("en", "de", "es", "ru", "ar", "hi", "zh", "sw")
    for model in (BASE, ENGLISH):
        given = {unit: answers(unit, [0.5] * 8) for unit in units}
        measure(root, model, given, task="demo_qa", layer=None)
    submit(root, MANY, base=BASE, objective="extractive-qa", languages=["de", "sw"],
           contaminated=["demo_bitext"])  # fmt: skip
    text = targets.write(read_board(root))
    ((_, bitext, qa, mean),) = rows(text, "[hand/multilingual-qa]")
    assert bitext.endswith(" †")
    assert (qa, mean) == ("not measured", "missing: demo_qa; contaminated: demo_bitext")
    ((_, _, qa, mean),) = rows(text, "[hand/english-qa]")
    assert qa.endswith(" ‡")
    assert mean.startswith("**+25.00**")


def test_never_ranked_targets_have_a_table_that_says_how_they_were_measured(root: Path) -> None:
    hand_worked(root)
    units = ("en", "de", "es", "ru", "ar", "hi", "zh", "sw")
    given = {unit: answers(unit, [0.5] * 8) for unit in units}
    why = ["dtype bfloat16 (protocol: float32)", "split half"]
    for model in (BASE, "hand/en-1"):
        measure(root, model, given, task="demo_qa", layer=None, track="tuned", custom=why)
    for seed in (1, 2):
        submit(root, f"hand/en-{seed}", base=BASE, objective="extractive-qa", languages=["en"],
               recipe="en", seed=seed)  # fmt: skip
        measure(root, f"hand/en-{seed}", bitext(ENGLISH))
    ranked, others = targets.write(read_board(root)).split("### Targets that are never ranked")
    assert "demo_qa" not in ranked
    assert "1. dtype bfloat16 (protocol: float32); split half" in others
    assert "&#91;1&#93; |" in others
    ((_, cell, mean),) = rows(others.split("The best intermediate task")[0], "2 seeds")
    assert cell.replace("\xa0", " ").startswith("**0.00** [0.00, 0.00]")
    assert cell.endswith("<br>1 of 2 seeds ‡")
    assert mean.endswith("<br>1 of 2 seeds")


def test_nothing_to_show(root: Path) -> None:
    submit(root, BASE)
    text = targets.write(read_board(root))
    assert "No variant is measured together with its base yet." in text
