"""What `harness.evaluate` returns."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

import harness
from harness.errors import IncompleteError, UsageError
from harness.evaluated import Evaluation
from harness.results.scores import MACRO, SCHEMA
from harness.terminal.plot import panels


def evaluation(*folders: str) -> Evaluation:
    def row(lang: str, metric: str, value: float | None) -> dict[str, Any]:
        return {
            "model": "org/m", "revision": "0" * 40, "task": "xquad", "lang": lang,
            "direction": "", "metric": metric, "value": value, "n": 3, "note": "",
            "signature": "0c10941b",
        }  # fmt: skip

    rows = [
        row("de", "f1", 0.5), row("el", "f1", 0.25), row("de", "exact_match", 0.125),
        row(MACRO, "f1", 0.375), {**row(MACRO, "f1", None), "task": "mlqa", "metric": None},
    ]  # fmt: skip
    compared = lambda *sides: [sides]  # noqa: E731
    table = pa.Table.from_pylist(rows, schema=SCHEMA)
    return Evaluation(table, tuple(map(Path, folders)), compared)  # type: ignore[arg-type]


def test_by_language() -> None:
    rows = evaluation().by_language().to_pylist()
    assert [(r["lang"], r["metric"]) for r in rows] == [
        ("de", "f1"), ("el", "f1"), ("de", "exact_match")
    ]  # fmt: skip
    assert evaluation().by_language("f1").column("value").to_pylist() == [0.5, 0.25]
    with pytest.raises(UsageError, match="'mrr' was not measured: give exact_match, f1"):
        evaluation().by_language("mrr")


def test_it_is_shown_as_a_table() -> None:
    shown = repr(evaluation())
    assert shown.startswith("org/m at 000")
    assert "37.5" in shown
    assert len(evaluation()) == 5


def test_it_is_compared_by_folder() -> None:
    one, other = evaluation("out/a"), evaluation("out/b")
    own = frozenset({"0c10941b"})
    assert one.compare(other) == [("out/a", "out/b", own, own)]
    assert one.compare("org/name") == [("out/a", "org/name", own, None)]
    with pytest.raises(UsageError, match="evaluation of 2 models"):
        evaluation("a", "b").compare(other)


def test_other_settings_in_the_same_folder_are_not_its_own(tmp_path: Path) -> None:
    def measured(**options: Any) -> Evaluation:
        return harness.evaluate(
            "xharness/demo", "demo_bitext", languages="de",
            out=tmp_path / "out", cache_dir=tmp_path / "cache", **options,
        )  # fmt: skip

    usual, shallow = measured(), measured(layer=1)
    assert usual.folders == shallow.folders
    for one, other in ((usual, shallow), (shallow, usual)):
        with pytest.raises(IncompleteError, match="not measured on a common task"):
            one.compare(other)
    (found,) = shallow.compare(measured(layer=1))
    assert found.remarks
    assert found.difference.estimate.difference == 0


def test_pandas_is_named_where_it_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    found = evaluation()  # pyarrow looks for pandas when it makes its first table
    monkeypatch.setitem(sys.modules, "pandas", None)
    monkeypatch.setattr("harness.evaluated.find_spec", lambda name: None)
    with pytest.raises(UsageError, match="pip install pandas"):
        found.to_pandas()


def test_a_notebook_shows_a_table_and_no_markup_of_others() -> None:
    table = evaluation().table
    name = pa.array(["<b>m</b>"] * len(table), pa.string())
    place = table.schema.get_field_index("model")
    shown = Evaluation(table.set_column(place, "model", name), (), list)._repr_html_()  # type: ignore[arg-type]
    assert shown.startswith("<table>")
    assert shown.count("<tr>") == 3  # a head and two tasks
    assert "37.5" in shown
    assert "<b>" not in shown
    assert "&lt;b&gt;m&lt;/b&gt;" in shown


def test_the_panels_of_a_figure() -> None:
    rows = evaluation().table.to_pylist()
    assert panels(rows) == {"xquad, f1": {"org/m": {"de": 0.5, "el": 0.25}}}
    assert panels(rows, "exact_match") == {"xquad, exact_match": {"org/m": {"de": 0.125}}}
    with pytest.raises(UsageError, match="'mrr' was not measured"):
        panels(rows, "mrr")


def test_a_figure_names_the_extra_where_it_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.terminal.plot.find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"pip install 'xharness\[plot\]'"):
        evaluation().plot()


def test_a_figure_has_a_panel_per_task() -> None:
    pytest.importorskip("matplotlib")
    figure = evaluation().plot()
    assert [axes.get_title() for axes in figure.axes] == ["xquad, f1"]
    (line,) = figure.axes[0].lines
    assert list(line.get_ydata()) == [50.0, 25.0]
