"""The loss of every step."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import pytest

from harness.errors import DataError
from harness.training.curve import LossLog, smoothed, svg


def test_a_resumed_run_drops_what_it_does_again(tmp_path: Path) -> None:
    curve = LossLog(tmp_path / "loss.tsv")
    curve.resume_after(0)
    for step in (1, 2, 3):
        curve.add(step, "a", 1.0 / step, 0.1)
    with curve.path.open("a") as file:
        file.write("4\ta\t0.")  # killed in the middle of a line
    curve.resume_after(2)
    assert curve.rows() == [(1, "a", 1.0, 0.1), (2, "a", 0.5, 0.1)]
    curve.add(3, "a", 1 / 3, 0.1)
    assert curve.rows()[-1] == (3, "a", 1 / 3, 0.1)  # to the last digit


@pytest.mark.parametrize("torn", ["4", "4\ta\t0.5\t", "4\ta\t0.5\t0.", "\0\0\0"])
def test_a_torn_last_line_is_as_if_it_was_not_written(torn: str, tmp_path: Path) -> None:
    curve = LossLog(tmp_path / "loss.tsv")
    curve.resume_after(0)
    curve.add(1, "a", 1.0, 0.1)
    whole = curve.path.read_text()
    curve.path.write_text(whole + torn)
    assert curve.rows() == [(1, "a", 1.0, 0.1)]
    curve.resume_after(4)
    assert curve.path.read_text() == whole
    curve.path.write_text(f"{whole}{torn}\n{whole}")
    with pytest.raises(DataError, match=r"loss\.tsv:[34]: '.*' is damaged: remove .*, and the tra"):
        curve.rows()


def test_smoothing_by_hand() -> None:
    assert smoothed([1.0, 2.0, 3.0, 4.0], share=0.5) == [1.0, 1.5, 2.5, 3.5]
    assert smoothed([5.0], share=0.05) == [5.0]


def test_the_curve_is_a_picture_with_its_figures_as_text() -> None:
    rows = [(step, "b" if step % 2 else "a", 3.0 / step, 0.1) for step in range(1, 41)]
    root = ElementTree.fromstring(svg(rows))
    texts = [element.text or "" for element in root.iter()]
    assert any("b: 3 at step 1, 0.07" in text and "at step 39" in text for text in texts)
    lines = [element for element in root.iter() if element.tag.endswith("polyline")]
    assert len(lines) == 2
    for x, y in (point.split(",") for line in lines for point in line.attrib["points"].split()):
        assert 0 <= float(x) <= 720
        assert 0 <= float(y) <= 320
    ElementTree.fromstring(svg([(1, "a", 0.0, 0.1)]))  # one step, no loss
