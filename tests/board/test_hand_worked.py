"""A board small enough for a pencil.

Four English sentences, each with a German and a Swahili translation; 1 is a hit in the top ten.

                     German    Swahili   mean
    base             0 0 0 0   0 0 0 0    0.0
    English QA       1 1 1 1   0 0 0 0   50.0
    multilingual QA  1 1 1 1   1 1 0 0   75.0

English QA − base: every sentence adds 1 in German and 0 in Swahili, so any resample of the four has
a difference of (1 + 0) / 2 = +50.0. Of the 16 ways to flip four signs two reach it: p = 1/8.
Multilingual QA − base: German 1 in any resample; Swahili is the share of the first two sentences
among the four drawn, which is 0 in 1 of 16 resamples and 1 in another, more than 2.5 % each: from
(1 + 0) / 2 to (1 + 1) / 2. Again p = 1/8.
Multilingual − English QA: German 0, Swahili from 0 to 1, mean 1/2: +25.0 from 0.0 to +50.0. Half of
the flips have the first two signs equal: p = 1/2.
Holm over the three: 3/8, 3/8 (2/8 would be below the one before) and 1/2.
With four sentences p is at least 1/8, so no two checkpoints can be separated: all share rank 1.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.analysis.gather import read_board
from harness.board.build import leaderboard
from tests.board.boards import hand_worked


def lines(text: str, *words: str) -> list[str]:
    """The lines of a text that hold all the words."""
    return [line for line in text.splitlines() if all(word in line for word in words)]


@pytest.fixture
def readme(root: Path) -> str:
    leaderboard(hand_worked(root))
    return (root / "leaderboard" / "README.md").read_text(encoding="utf-8")


@pytest.fixture
def contrasts(readme: str, root: Path) -> str:
    return (root / "leaderboard" / "contrasts.md").read_text(encoding="utf-8")


def test_answer(readme: str) -> None:
    (first,) = lines(readme, "intermediate training on English QA", "On hand/base")
    # One checkpoint a side is descriptive, and of 4 candidates all are among the first ten.
    said = "what intermediate training on English QA does to cross-lingual retrieval is **not known"
    assert f"{said} (at chance)**: +50.00 points, 95 % interval [+50.00, +50.00], sim" in first
    assert "in 2 languages.)" in first
    assert "Holm p = 1.000, at chance in 2 of 2, against no intermediate training." in first
    for what, figures in (
        ("no intermediate training", "+75.00 points, 95 % interval [+50.00, +100.00]"),
        ("English QA", "+25.00 points, 95 % interval [0.00, +50.00]"),
    ):
        (line,) = lines(readme, f"- multilingual QA against {what}: ")
        assert f": **not known (at chance)**, {figures}, " in line
    (missing,) = lines(readme, "**Missing:** ")
    assert "[5 of 8 questions on hand/base](contrasts.md#not-answered-yet)" in missing
    assert lines(readme, "describes these checkpoints in these languages")


def test_contrast_tables(contrasts: str) -> None:
    found = [
        [cell.strip() for cell in line.split("|")[1:-1]]
        for line in lines(contrasts, "recall@10, frozen |")
    ]
    verdict = "**not known (at chance)**"
    assert [row[0:1] + row[2:5] for row in found] == [
        ["English QA − base", verdict, "**+50.00**", "[+50.00,&nbsp;+50.00]"],
        ["multilingual QA − base", verdict, "**+75.00**", "[+50.00,&nbsp;+100.00]"],
        ["multilingual QA − English QA", verdict, "**+25.00**", "[0.00,&nbsp;+50.00]"],
    ]
    assert [row[7] for row in found] == ["Holm p = 1.000"] * 3
    rests = [line.split(" | ") for line in lines(contrasts, "| frozen | ", "descriptive: ")]
    assert [row[2] for row in rests] == ["none"] * 3  # of 4 candidates all are in the first ten
    assert [row[3] for row in rests] == ["n/a"] * 3  # no language is seen in one and none unseen
    assert all(row[4].startswith("descriptive: 1 checkpoint against 1") for row in rests)


def test_ranking(readme: str) -> None:
    ranking = [line for line in lines(readme, "| 1 | [hand/")]
    assert [line.split("[")[1].split("]")[0] for line in ranking] == [
        "hand/multilingual-qa", "hand/english-qa", "hand/base",
    ]  # fmt: skip
    assert "**75.0** [" in ranking[0]
    assert "**50.0** [50.0, 50.0]" in ranking[1]
    assert "**0.0** [0.0, 0.0]" in ranking[2]
    # Of four candidates all are among the first ten, whatever the order.
    assert "|  | *chance* | 100.0 | — |" in readme
    assert "|  | *ceiling* | 100.0 | — |" in readme
    assert "+75.00 [+50.00,&nbsp;+100.00], **not known (at chance)**" in ranking[0]


def test_p_values(root: Path) -> None:
    board = read_board(hand_worked(root))
    found = {one.name: one for one in board.contrasts if one.difference is not None}
    assert [one.p for one in found.values()] == pytest.approx([1 / 8, 1 / 8, 1 / 2], abs=0.02)
    # Of the family of eight three are answered: 8 / 8, 7 / 8 raised to it, and no more than 1.
    assert [one.holm for one in found.values()] == pytest.approx([1.0, 1.0, 1.0], abs=0.15)
    tuned = [one for one in board.contrasts if one.track == "tuned"]
    assert len(tuned) == 4
    assert all(one.why and one.holm is None for one in tuned)


def test_figures_tell_the_numbers(root: Path) -> None:
    leaderboard(hand_worked(root))
    figures = root / "leaderboard/figures"
    by_language = (figures / "effects-frozen-demo_bitext.svg").read_text(encoding="utf-8")
    assert "hand/multilingual-qa, Swahili: +50.00, not known (at chance)" in by_language
    assert ">+100.00</text>" in by_language  # German, in the cell itself
    forest = (figures / "contrasts.svg").read_text(encoding="utf-8")
    said = (
        "multilingual QA − base on hand/base: not known (at chance): +75.00 points, 95 % interval"
    )
    assert f"{said} [+50.00, +100.00]" in forest
    lines_of = (figures / "effects-base-english-qa-base-frozen-demo_bitext.svg").read_text("utf-8")
    assert lines_of.index("German: ") < lines_of.index("Swahili: ")  # the largest effect first


def test_page_of_a_checkpoint(root: Path) -> None:
    leaderboard(hand_worked(root))
    page = (root / "leaderboard/checkpoints/multilingual-qa.md").read_text(encoding="utf-8")
    (swahili,) = lines(page, "| sw |")
    assert "| en-sw | 4 | 50.0 |" in swahili
    assert "xharness eval hand/multilingual-qa@" in page
    assert "[hand/base](base.md)" in page
