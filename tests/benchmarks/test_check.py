"""`make bench-check`: it fails where a ratio is worse, and says which."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent


@pytest.fixture
def check(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """The module, with a results folder of its own and one quick measure."""
    import check
    import paired

    monkeypatch.setattr(paired, "RESULTS", tmp_path)
    monkeypatch.setattr(check, "MEASURES", {"work": measure(0.01)})
    return check


def measure(ours: float) -> Callable[[int], Any]:
    """Work that says it took so many seconds, beside work that says it took 0.02."""

    def measured(runs: int) -> Any:
        import check
        import paired

        found = paired.in_turn_seconds(lambda: ours, lambda: 0.02, runs=runs)
        return check.beside("Work", "ours", "theirs", found)

    return measured


def slow(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], Any]:
    """The same comparison, measured by a clock that each piece of work moves on."""
    import check
    import paired

    now = [0.0]

    def takes(seconds: float) -> Callable[[], None]:
        return lambda: now.__setitem__(0, now[0] + seconds)

    def measured(runs: int) -> Any:
        with monkeypatch.context() as patched:
            patched.setattr(paired, "time", SimpleNamespace(perf_counter=lambda: now[0]))
            found = paired.in_turn(takes(0.1), takes(0.01), runs=runs)
        return check.beside("Work", "ours", "theirs", found)

    return measured


def row(check: Any, *ratios: float, name: str = "Work") -> Any:
    return check.paired.Row(name, "ours", "theirs", "of its FLOP/s", ratios)


def test_as_committed(check: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert check.main(["--write"]) == 0
    assert check.main([]) == 0
    assert capsys.readouterr().out == ""


def test_a_slower_piece_fails(
    check: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(check.MEASURES, "work", measure(0.01))
    assert check.main(["--write"]) == 0
    monkeypatch.setitem(check.MEASURES, "work", slow(monkeypatch))
    assert check.main([]) == 1
    (line,) = capsys.readouterr().out.splitlines()
    assert line == "Work: 0.10 theirs ÷ ours, in seconds, committed 2.00, allowed from 1.60"


def test_a_doctored_file_fails(
    check: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert check.main(["--write"]) == 0
    file = tmp_path / "check.json"
    document = json.loads(file.read_text())
    document["rows"][0]["ratio"] = [4.0, 4.0, 4.0]
    file.write_text(json.dumps(document))
    assert check.main([]) == 1
    assert "committed 4.00" in capsys.readouterr().out


def test_a_ratio_without_a_committed_one_fails(check: Any) -> None:
    found = check.differences([row(check, 1.0)], [row(check, 1.0, name="Other")])
    assert found == ["Work: 1.00, none committed: check.py --write"]


@pytest.mark.parametrize(
    ("before", "now", "worse"),
    [
        ([1.0, 1.0, 1.0], [0.81, 0.81, 0.81], False),  # a fifth is noise at the least,
        ([1.0, 1.0, 1.0], [0.79, 0.79, 0.79], True),
        ([0.9, 1.0, 1.2], [0.60, 0.75, 0.80], False),  # 0.15 + 0.133: 28 % here,
        ([0.9, 1.0, 1.2], [0.70, 0.70, 0.70], True),  # but 20 % here,
        ([0.1, 1.0, 2.0], [0.30, 0.58, 2.00], True),  # and never more than 40 %
        ([1.0, 1.0, 1.0], [3.00, 3.00, 3.00], False),  # better is no difference
    ],
)
def test_noise_by_hand(check: Any, before: list[float], now: list[float], worse: bool) -> None:
    assert bool(check.differences([row(check, *now)], [row(check, *before)])) is worse


def test_every_measure_is_committed() -> None:
    committed = json.loads((ROOT / "benchmarks/results/check.json").read_text())
    assert [row["name"] for row in committed["rows"]] == [
        "Encode", "Search", "Read", "Help", "Contrast",
    ]  # fmt: skip
    assert all(row["ratio"] for row in committed["rows"])


@pytest.mark.slow
@pytest.mark.parametrize("name", ["encode", "search", "read", "help", "contrast"])
def test_the_real_measures_give_a_ratio(name: str) -> None:
    import check

    assert check.MEASURES[name](1).median > 0
