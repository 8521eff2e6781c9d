"""The study's analyses on boards by hand: figures that a pencil gives."""

from __future__ import annotations

import json
from math import sqrt
from pathlib import Path
from xml.etree import ElementTree

import pytest

from harness.alignment.align import Alignment
from harness.alignment.numbers import METRICS, Row
from harness.analysis.gather import RESULTS, read_board
from harness.results.scores import MACRO
from harness.terminal.alignment import alignment_data
from study import figures
from study.analyses import (
    Point,
    Sides,
    alignment_points,
    alignment_table,
    layer_table,
    lines_of,
    power_table,
    read_alignment,
    sides_of,
    untrained_table,
    where_table,
)
from study.power import detectable
from tests.board.boards import BASE, bitext, hits, measure, submit
from tests.board.conftest import root as root
from tests.board.conftest import two_languages as two_languages

SENTENCES = 40
# Of 40 sentences the base finds 20 in German and 10 in Swahili.
LEVEL = (20, 10)
FOUND = {1: (24, 11), 2: (26, 12), 3: (28, 13)}  # by the seeds of a training on German


@pytest.fixture(scope="module", autouse=True)
def _by_hand(rows_by_hand: None) -> None:
    """The boards of these tests are of rows by hand."""


def rows(found: tuple[int, int]) -> dict[str, list[dict[str, object]]]:
    return {
        unit: hits(unit, [1] * count + [0] * (SENTENCES - count))
        for unit, count in zip(("de", "sw"), found, strict=True)
    }


@pytest.fixture
def board(root: Path) -> Path:
    measure(root, BASE, rows(LEVEL))
    submit(root, BASE)
    for seed, found in FOUND.items():
        model = f"hand/de-{seed}"
        measure(root, model, rows(found))
        submit(root, model, base=BASE, objective="extractive-qa", languages=["de", "es"],
               recipe="many", seed=seed)  # fmt: skip
    return root


def test_difference_in_differences_by_hand(board: Path) -> None:
    """German gains 6 of 40 in the mean of the seeds and Swahili 2: +15 and +5 points, so +10.

    Relative to the base that is 6 of 20 and 2 of 10: +30 % and +20 %, so +10 %. German is seen, of
    English's script as Swahili is, and of class 5 where Swahili is of class 2.
    """
    one = next(one for one in read_board(board).contrasts if one.difference is not None)
    found = {
        line.sides.name: line
        for line in lines_of(read_board(board), one, sorted(one.tasks), board / RESULTS)
    }
    assert set(found) == {"seen − unseen", "high − low resource"}
    for line in found.values():
        assert line.points.difference == pytest.approx(0.15 - 0.05)
        assert line.relative.difference == pytest.approx(0.30 - 0.20)
        # Over seeds: 4 6 8 of 40 less 1 2 3 of 40 is 3 4 5 of 40, of variance 1/1600.
        assert line.points.df is not None
        assert line.points.se is not None
        assert line.points.variance is not None
        assert line.points.se**2 == pytest.approx(line.points.variance + 1 / 1600 / 3)
        # Relative: 4/20 − 1/10, 6/20 − 2/10, 8/20 − 3/10 is 0.1 each: no seed differs.
        assert line.relative.se**2 == pytest.approx(line.relative.variance)
    text = where_table(list(found.values()))
    assert "| seen − unseen | 1 | 1 | +10.0" in text
    assert where_table([]) == "Not measured."
    drawn = ElementTree.fromstring(figures.where(list(found.values())))
    assert "seen − unseen: +10.00" in "".join(drawn.itertext())


def test_sets_of_languages() -> None:
    found = sides_of(["de", "ru", "sw", "ar", "ka"], ["de"], ["sw", "ar", "ka"])
    assert found == [
        Sides("seen − unseen", ("de",), ("sw", "ar", "ka")),
        Sides("Latin − other scripts", ("de", "sw"), ("ru", "ar", "ka")),
        Sides("high − low resource", ("de", "ru", "ar"), ("sw",)),
    ]


def test_power_is_that_of_the_realised_variance(board: Path) -> None:
    read = read_board(board)
    one = next(one for one in read.contrasts if one.difference is not None)
    verdict = one.verdict
    assert verdict.se is not None
    assert verdict.df is not None
    # Means of 35 38 41 of 80: a deviation of 3 of 80.
    line = next(line for line in power_table(read).splitlines() if one.name in line)
    cells = [cell.strip() for cell in line.strip("|").split("|")]
    assert cells[2:4] == ["3 seeds, 1 checkpoint", "3.75"]
    assert float(cells[6]) == pytest.approx(100 * verdict.se, abs=0.005)
    assert float(cells[8]) == pytest.approx(100 * detectable(verdict.se, verdict.df), abs=0.005)
    assert verdict.se > sqrt((3 / 80) ** 2 / 3)


def test_layers(board: Path) -> None:
    assert layer_table(read_board(board).entries) == (
        "No checkpoint has rows of three layers or more together with its base."
    )
    for layer in (4, 6):
        custom = [f"layer {layer} (protocol: 8)"]
        measure(board, BASE, rows((10, 10)), layer=layer, custom=custom)
        measure(board, "hand/de-1", rows((10 + layer, 10)), layer=layer, custom=custom)
    text = layer_table(read_board(board).entries)
    for layer in (4, 6):
        points = 100 * layer / 40 / 2
        assert f"| {layer} | +{points:.2f} [" in text.replace(" | [", " [")


def test_untrained_rows(root: Path) -> None:
    measure(root, BASE, bitext(BASE))
    text = untrained_table(root / RESULTS, ["hand__base", "absent"])
    assert text.count("| 0.0 | 0.0 |") == 2  # either direction
    assert untrained_table(root / RESULTS, ["absent"]) == "Not measured."


def alignment(cosine: float) -> Alignment:
    """Layer 7 of 10 is the standard protocol's; other rows must not be taken for it."""
    values = dict.fromkeys((*METRICS, "chance"), 0.5) | {"cosine": cosine, "median_rank": 0.1}
    given = [("sentences", "de", 7, values), ("words", "de", 7, values | {"cosine": 0.0}),
             ("sentences", "de", 6, values | {"cosine": 0.0}),
             ("sentences", MACRO, 7, values | {"cosine": 0.0})]  # fmt: skip
    made = tuple(
        Row(unit, lang, layer, 9, own, dict.fromkeys(METRICS, (0.0, 1.0)))
        for unit, lang, layer, own in given
    )
    return Alignment("m", "r", None, "tatoeba", "mean", "float32", 64, 10, None, made)


def test_alignment_is_read_and_a_recipe_is_one_point(board: Path, tmp_path: Path) -> None:
    folder = tmp_path / "alignment"
    folder.mkdir()
    cosines = {"base": 0.5, "de-1": 0.6, "de-2": 0.7, "de-3": 0.8}
    for slug, cosine in cosines.items():
        text = json.dumps(alignment_data(alignment(cosine)))
        (folder / f"{slug}.json").write_text(text, encoding="utf-8")
    measured = read_alignment(folder)
    assert {slug: own["de"]["cosine"] for slug, own in measured.items()} == cosines
    (point,) = alignment_points(read_board(board), measured, "demo_bitext")
    assert point.changes["cosine"] == pytest.approx(0.2)
    assert point.retrieval == pytest.approx(6 / 40)  # German alone: the alignment of it is there
    del measured["de-2"], measured["de-3"]  # the first seed alone was measured
    (point,) = alignment_points(read_board(board), measured, "demo_bitext")
    assert point.changes["cosine"] == pytest.approx(0.1)
    assert point.retrieval == pytest.approx(4 / 40)
    assert point.title.endswith("seed 1")
    del measured["de-1"]
    assert alignment_points(read_board(board), measured, "demo_bitext") == []


def test_alignment_and_retrieval() -> None:
    changes = {"cosine": [1, 2, 3, 4, 5], "gap": [2, 1, 4, 3, 5], "median_rank": [0] * 5}
    points = [
        Point(str(at), {name: float(own[at]) for name, own in changes.items()}, float(at))
        for at in range(5)
    ]
    text = alignment_table(points)
    assert "| cosine | 5 | +1.00 | [+1.00,&nbsp;+1.00] |" in text
    assert "| gap | 5 | +0.80 | [" in text
    assert "median" not in text  # it does not vary
    drawn = ElementTree.fromstring(figures.scatter(points, "cosine"))
    assert len(list(drawn.iter("{http://www.w3.org/2000/svg}circle"))) == 5
    assert "4: cosine +5.000, +400.00" in "".join(drawn.itertext())
    assert alignment_table(points[:3]) == (
        "Not measured: 3 recipes have both, and a correlation takes 4."
    )
