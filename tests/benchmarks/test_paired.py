"""The runner: pairs in turn, whole commands, and which rows are kept with which commit."""

from __future__ import annotations

import json
import subprocess
import sys
from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture
def paired(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """The module over a repository of its own with one commit."""
    import paired

    (tmp_path / "code.py").write_text("one")
    for words in (["init", "-q"], ["add", "code.py"], ["commit", "-qm", "One"]):
        who = ["-c", "user.name=n", "-c", "user.email=e@x", "-c", "commit.gpgsign=false"]
        subprocess.run(["git", "-C", str(tmp_path), *who, *words], check=True)
    monkeypatch.setattr(paired, "ROOT", tmp_path)
    monkeypatch.setattr(paired, "RESULTS", tmp_path / "results")
    return paired


def declared(paired: Any) -> Any:
    """Two parts, each with a row."""

    def part(name: str) -> Any:
        def rows(given: Namespace) -> Iterator[Any]:
            yield paired.Row(name, "ours", "theirs", "times as fast", (given.size,))

        return rows

    parts = {name: part(name) for name in ("one", "two")}
    options = {"--size": {"type": float, "default": 1.0}}
    return paired.Benchmark("some", "Some", "make", ("numpy",), ("code.py",), parts, options)


def test_in_turn_leaves_out_the_warm_up(paired: Any) -> None:
    ours, theirs = iter((9.0, 1.0, 2.0)), iter((9.0, 3.0, 4.0))
    pairs = paired.in_turn_seconds(lambda: next(ours), lambda: next(theirs), runs=2)
    row = pairs.row("name", "ours", "theirs", target=1.5)
    assert row.ratio == (3.0, 2.0)
    assert row.median == 2.5


def test_a_command_is_measured_and_a_failed_one_is_not(paired: Any) -> None:
    used = paired.command([sys.executable, "-S", "-c", "bytearray(50_000_000)"])
    assert used.peak > 50_000_000
    assert used.wall > 0
    with pytest.raises(RuntimeError, match="exit 3"):
        paired.command([sys.executable, "-S", "-c", "raise SystemExit(3)"])


def test_options_as_words(paired: Any) -> None:
    words = paired.flags({"task": "xquad", "offline": True, "limit": 3})
    assert words == ["--task", "xquad", "--offline", "--limit", "3"]


@pytest.mark.parametrize("argv", [["--small"], ["--runs", "4"]])
def test_what_is_no_measurement_is_not_kept(paired: Any, argv: list[str]) -> None:
    assert paired.run(declared(paired), argv) == 0
    assert not paired.RESULTS.exists()


def test_a_row_names_its_commit_and_its_code(paired: Any) -> None:
    head = paired.git("rev-parse", "--short=12", "HEAD")
    assert paired.run(declared(paired), []) == 0
    rows = paired.saved("some")
    assert [(row.name, row.commit, row.about) for row in rows] == [
        ("one", head, ("code.py",)),
        ("two", head, ("code.py",)),
    ]
    (paired.ROOT / "code.py").write_text("two")  # not committed
    assert paired.run(declared(paired), ["--part", "two", "--size", "2"]) == 0
    assert [(row.commit, row.ratio) for row in paired.saved("some")] == [
        (head, (1.0,)),
        (head + paired.CHANGED, (2.0,)),
    ]


def test_a_whole_run_drops_rows_that_it_does_not_measure(paired: Any) -> None:
    assert paired.run(declared(paired), []) == 0
    file = paired.RESULTS / "some.json"
    document = json.loads(file.read_text())
    document["rows"][0]["name"] = "gone"
    file.write_text(json.dumps(document))
    assert paired.run(declared(paired), []) == 0
    assert [row.name for row in paired.saved("some")] == ["one", "two"]
