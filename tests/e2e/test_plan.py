"""`xharness plan`: the commands that it prints do together what one `eval` does."""

from __future__ import annotations

import json
import shlex
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from harness.results.outcomes import find, read_meta
from tests.checkpoints import build
from tests.e2e.conftest import Run

OPTIONS = ("--suite", "demo", "--seed", "3", "--batch-tokens", "200")


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build("xlm-roberta", tmp_path_factory.mktemp("model") / "reader", qa_head=True)


def planned(run: Run, *words: object) -> list[dict[str, Any]]:
    ran = run("plan", *words, "--format", "jsonl")
    assert ran.code == 0, ran.stderr
    return [json.loads(line) for line in ran.stdout.splitlines()]


def places(folder: Path) -> tuple[object, ...]:
    return ("--out", folder / "out", "--cache-dir", folder / "cache")


def same_files(ours: Path, theirs: Path) -> None:
    """The same rows and metadata but for the times, and no part left."""
    files = find(theirs / "out")
    names = [file.path.relative_to(theirs) for file in files]
    assert [file.path.relative_to(ours) for file in find(ours / "out")] == names
    assert not list((ours / "out").rglob("*.parts"))
    for name in names:
        table, other_table = pq.read_table(ours / name), pq.read_table(theirs / name)
        if "margin" in table.column_names:  # other batches: vectors differ in their last bits
            margins, others = (t.column("margin").to_numpy() for t in (table, other_table))
            assert np.allclose(margins, others, rtol=0, atol=1e-5, equal_nan=True)
            table, other_table = (t.drop_columns("margin") for t in (table, other_table))
        assert table.to_pylist() == other_table.to_pylist()
        meta, other = read_meta(ours / name), read_meta(theirs / name)
        del meta["timing"], other["timing"]
        assert meta == other


def test_the_printed_commands_end_with_the_files_of_one_eval(
    run: Run, reader: Path, tmp_path: Path
) -> None:
    whole, apart = tmp_path / "whole", tmp_path / "apart"
    some = ("--lang", "de", "--lang", "sw")
    assert run("eval", reader, *OPTIONS, *places(whole), *some).code == 0
    # One language is there already; it is not among what is to do.
    assert (
        run("eval", reader, *OPTIONS, *places(apart), "--task", "demo_qa", "--lang", "sw").code == 0
    )
    lines = planned(run, reader, *OPTIONS, *places(apart), *some)
    assert len(lines) == 2 + 1 + 2 + 2 - 1
    assert {(line["task"], line["lang"]) for line in lines} >= {("demo_bitext", "de")}
    assert ("demo_qa", "sw") not in {(line["task"], line["lang"]) for line in lines}
    # Backwards, since no order is to matter.
    for line in reversed(lines):
        program, *words = shlex.split(line["command"])
        assert program == "xharness"
        ran = run(*words)
        assert ran.code == 0, ran.stderr
    same_files(apart, whole)
    assert planned(run, reader, *OPTIONS, *places(apart), *some) == []
    table = run("plan", reader, *OPTIONS, *places(apart)).stdout
    assert [line.split()[3:5] for line in table.splitlines()[1:]] == [
        ["5", "2"], ["2", "1"], ["6", "2"], ["6", "2"],
    ]  # fmt: skip


def test_a_line_says_what_it_is_of(run: Run, reader: Path, tmp_path: Path) -> None:
    lines = planned(run, reader, *OPTIONS, *places(tmp_path), "--lang", "de", "--limit", "3")
    by_task = {line["task"]: line for line in lines}
    assert list(by_task) == ["demo_bitext", "demo_mining", "demo_passages", "demo_qa"]
    line = by_task["demo_passages"]
    assert (line["model"], line["lang"], line["track"]) == ("reader", "de", "frozen")
    assert line["revision"].startswith("local:")
    assert line["texts"] == 384 + 3  # the pool is never cut
    assert by_task["demo_qa"]["texts"] == 3
    assert by_task["demo_qa"]["track"] == "own-head"
    assert line["tuned"] is None
    assert line["command"].startswith(f"xharness eval {reader} --task demo_passages --lang de ")
    assert not (tmp_path / "out").exists()
    words = shlex.split(line["command"])[1:]
    assert run(*words).code == 0
    (file,) = find(tmp_path / "out")
    assert file.meta()["signature"] == line["signature"]

    layers = planned(run, reader, *OPTIONS, *places(tmp_path), "--lang", "de", "--layer", "all")
    assert [len(line["signature"].split()) for line in layers] == [4, 4, 4, 1]


def test_what_cannot_be_planned(run: Run, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    asked = ("plan", "xharness/demo", "--task", "lareqa", "--data", tmp_path / "data")
    ran = run(*asked, *places(tmp_path))
    assert ran.code == 5
    assert "lareqa/xquad-r/ar.json" in ran.stderr
    ran = run("plan", "xharness/demo", "--format", "xml")
    assert (ran.code, ran.stderr) == (2, "error: --format xml: give table or jsonl\n")
    ran = run("plan", "xharness/demo", "--task", "demo_qa", *places(tmp_path))
    assert ran.code == 0
    assert "note: demo_qa does not apply: no QA head" in ran.stderr


@pytest.mark.slow
def test_two_of_the_commands_at_a_time(
    run: Run, process: Callable[..., subprocess.Popen[str]], reader: Path, tmp_path: Path
) -> None:
    whole, apart = tmp_path / "whole", tmp_path / "apart"
    options = (*OPTIONS, "--task", "demo_bitext", "--lang", "de", "--lang", "es", "--lang", "sw")
    assert run("eval", reader, *options, *places(whole)).code == 0
    lines = planned(run, reader, *options, *places(apart))
    commands = [shlex.split(line["command"])[1:] for line in lines]
    for pair in zip(commands[::2], commands[1::2], strict=False):
        running = [process(*words) for words in pair]
        for one in running:
            _, err = one.communicate()
            assert one.returncode == 0, err
    assert len(commands) % 2 == 1
    assert run(*commands[-1]).code == 0
    same_files(apart, whole)
