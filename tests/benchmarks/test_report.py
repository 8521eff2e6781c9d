"""The kept rows and the page that is made of them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent


@pytest.fixture
def paired(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    import paired

    monkeypatch.setattr(paired, "RESULTS", tmp_path / "results")
    return paired


def row(paired: Any, name: str, *ratios: float, **more: Any) -> Any:
    return paired.Row(name, "ours", "theirs", "times as fast", ratios, **more)


def test_a_part_measured_again_takes_the_place_of_its_row(
    paired: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    import report

    monkeypatch.setattr(report, "HERE", paired.RESULTS.parent)
    first = [row(paired, "one", 1.0, 2.0), row(paired, "two", 3.0)]
    days = iter(("2026-01-01", "2026-01-02", "2026-01-03"))
    monkeypatch.setattr(paired.time, "strftime", lambda *args: next(days))
    paired.save("some", "Some", "make bench", first, ["numpy"])
    assert "- **" not in report.page()
    paired.save("some", "Some", "make bench", [row(paired, "one", 4.0)], ["numpy"], keep=True)
    one = row(paired, "one", 4.0, measured="2026-01-02")
    two = replace(first[1], measured="2026-01-01")
    assert paired.saved("some") == [one, two]
    page = report.page()  # a row of another day says so
    assert "- **two**: Measured 2026-01-01." in page
    assert "- **one**" not in page
    assert "\nMeasured 2026-01-02: " in page
    paired.save("some", "Some", "make bench", [row(paired, "one", 4.0)], ["numpy"])
    assert paired.saved("some") == [replace(one, measured="2026-01-03")]


def test_a_row_kept_from_another_machine_or_other_versions_names_them(
    paired: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    import report

    monkeypatch.setattr(report, "HERE", paired.RESULTS.parent)
    monkeypatch.setattr(paired, "_version", lambda package: numbers[package])
    monkeypatch.setattr(paired.time, "strftime", lambda *args: "2026-01-01")
    rows = [row(paired, name, 1.0) for name in ("one", "two")]
    numbers = {"numpy": "1.0"}
    paired.save("some", "Some", "make bench", rows, ["numpy"])
    numbers = {"numpy": "2.0"}
    for name in ("one", "one"):  # the second time the file names the new versions
        paired.save("some", "Some", "make bench", [row(paired, name, 2.0)], ["numpy"], keep=True)
    page = report.page()
    (told,) = [line for line in page.splitlines() if line.startswith("- **")]
    assert told.startswith("- **two**: Measured 2026-01-01: ")
    assert told.endswith("; numpy 1.0.")
    assert "; numpy 2.0.\n" in page
    assert [one.under != "" for one in paired.saved("some")] == [False, True]


def test_what_could_not_be_measured_says_so(paired: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import report

    rows = [row(paired, "one", 1.0, 3.0, 2.0, target=1.3), row(paired, "two", note="No unit.")]
    paired.save("some", "Some", "make bench", rows, ["numpy"])
    monkeypatch.setattr(report, "HERE", paired.RESULTS.parent)
    page = report.page()
    assert "| one | **2.00** [1.00, 3.00]<br>times as fast | 1.3 | ours | theirs |" in page
    assert "| two | not measured |  | ours | theirs |" in page
    assert "- **two**: No unit." in page
    assert paired.show(rows[1]) == "two: not measured\n    No unit."


def test_the_page_is_what_the_results_give(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    import report

    assert report.page() == (ROOT / "benchmarks/README.md").read_text(encoding="utf-8")
