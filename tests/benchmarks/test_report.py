"""The kept rows and the page that is made of them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent


@pytest.fixture
def paired(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """The module with a folder of its own, on one machine, at a commit that git knows."""
    import paired

    monkeypatch.setattr(paired, "RESULTS", tmp_path / "results")
    monkeypatch.setattr(paired, "machine", lambda packages: "one machine")
    monkeypatch.setattr(paired, "commit", lambda paths: "c0ffee")
    monkeypatch.setattr(paired.time, "strftime", lambda *args: "2026-01-01")
    answer(monkeypatch, paired, "")
    return paired


def answer(monkeypatch: pytest.MonkeyPatch, paired: Any, changed: str | None) -> None:
    """Git says that these files have changed since."""
    monkeypatch.setattr(paired, "git", lambda *words: changed)


def declared(paired: Any) -> Any:
    return paired.Benchmark("search", "Some", "make bench", ("numpy",), ("harness",), {})


def row(paired: Any, name: str, *ratios: float, **more: Any) -> Any:
    return paired.Row(name, "ours", "theirs", "times as fast", ratios, **more)


def test_a_row_with_all_that_it_says(paired: Any) -> None:
    import report

    equal, note = "Same scores.", "Three pairs."
    first = row(paired, "one", 1.0, 3.0, 2.0, target=1.3, equal=equal, note=note)
    first = replace(first, ours_seconds=(0.5, 0.25, 1.0))
    paired.save(declared(paired), [first])
    (line,) = [line for line in report.page().splitlines() if line.startswith("| **")]
    assert line == (
        "| **one**<br>Same scores.<br>Three pairs. | 2.00 [1.00, 3.00]<br>times as fast | 1.3 | "
        "ours<br>0.5 s | theirs | 2026-01-01 c0ffee |"
    )
    assert "- `make bench` on one machine.\n" in report.page()


@pytest.mark.parametrize(
    ("commit", "changed", "said"),
    [
        ("c0ffee", "", ""),
        ("c0ffee", "harness/a.py", " **older**"),
        ("c0ffee", None, ""),  # git does not know the commit
        ("", "", " **older**"),  # nobody knows it
        ("c0ffee+", "", " with changes that no commit holds"),
    ],
)
def test_a_row_older_than_its_code_is_marked(
    paired: Any, monkeypatch: pytest.MonkeyPatch, commit: str, changed: str | None, said: str
) -> None:
    import report

    answer(monkeypatch, paired, changed)
    text = report.line(row(paired, "one", 1.0, measured="2026-01-01", commit=commit))
    assert text.endswith(f"| 2026-01-01 {commit.strip('+')}".rstrip() + f"{said} |")
    assert report.unmarked(text).endswith(f"| 2026-01-01 {commit.strip('+')}".rstrip() + " |")


def test_a_row_of_another_machine_names_it(paired: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import report

    rows = [row(paired, name, 1.0) for name in ("one", "two", "three")]
    paired.save(declared(paired), rows)
    monkeypatch.setattr(paired, "machine", lambda packages: "another")
    paired.save(declared(paired), [row(paired, "two", 4.0)])
    assert [one.ratio for one in paired.saved("search")] == [(1.0,), (4.0,), (1.0,)]
    assert "- two: on another.\n- `make bench` on one machine.\n" in report.page()


def test_what_could_not_be_measured_says_so(paired: Any) -> None:
    import report

    missing = row(paired, "two", note="No unit.")
    paired.save(declared(paired), [missing])
    assert "| **two**<br>No unit. | not measured |  | ours | theirs |" in report.page()
    assert paired.show(missing) == "two: not measured\n    No unit."


def test_the_page_is_what_the_results_give() -> None:
    import report

    page = (ROOT / "benchmarks/README.md").read_text(encoding="utf-8")
    assert report.unmarked(report.page()) == report.unmarked(page)


def test_every_kept_row_has_a_day_and_the_code_that_it_is_about() -> None:
    import paired

    for path in paired.RESULTS.glob("*.json"):
        for one in paired.saved(path.stem):
            assert one.measured, one.name
            assert one.about, one.name
