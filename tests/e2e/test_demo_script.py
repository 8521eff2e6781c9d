"""demo.sh, the whole story in small: its commands in few steps in this process, and all of it."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from harness.analysis.gather import Board, read_board
from tests.conftest import ROOT
from tests.e2e.conftest import Run

SCRIPT = ROOT / "demo.sh"
ANSWERED = {"English QA − base", "multilingual QA − base", "multilingual QA − English QA"}
TASKS = {"frozen": {"demo_bitext", "demo_passages"}, "tuned": {"demo_qa"}}
FEWER = re.compile(r"tiny-qa-.*-[12]$")
# Stands in for xharness: notes how it was called, and makes what later lines look for.
NOTING = """#!{python}
import json, pathlib, sys
with open({log!r}, "a") as log:
    log.write(json.dumps(sys.argv[1:]) + "\\n")
if sys.argv[1] == "train":
    out = pathlib.Path(sys.argv[sys.argv.index("--out") + 1])
    out.mkdir(parents=True)
    (out / "submission.yaml").touch()
"""
REAL = """#!/bin/sh
exec {python} -m harness "$@"
"""
# Ctrl-C, for all that the script has started, when a variant has saved a step for the first time.
ENDED = """#!{python}
import os, signal, sys
from harness.cli import main
from harness.training import saves
saving = saves.save_whole
def ended(*args):
    saving(*args)
    os.killpg(0, signal.SIGINT)
if "tiny-qa" in " ".join(sys.argv):
    saves.save_whole = ended
sys.exit(main())
"""


def on_path(folder: Path, script: str, **values: str) -> dict[str, str]:
    """The environment in which ``xharness`` is this script."""
    folder.mkdir()
    program = folder / "xharness"
    program.write_text(script.format(python=sys.executable, **values))
    program.chmod(0o755)
    return os.environ | {
        "PATH": f"{folder}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path]),
        "XHARNESS_DATA": "",
    }


def commands(tmp_path: Path, demo: Path) -> list[list[str]]:
    """Every call of xharness in the script, as bash expands it."""
    log = tmp_path / "calls.jsonl"
    environment = on_path(tmp_path / "noting", NOTING, log=str(log))
    subprocess.run(["bash", SCRIPT, demo], check=True, env=environment, capture_output=True)
    shutil.rmtree(demo)
    return [json.loads(line) for line in log.read_text().splitlines()]


def submit(demo: Path) -> None:
    """What the script does between two commands."""
    (demo / "submissions").mkdir(exist_ok=True)
    for checkpoint in demo.glob("tiny-*"):
        target = demo / "submissions" / f"{checkpoint.name}.yaml"
        shutil.copyfile(checkpoint / "submission.yaml", target)


def written(demo: Path) -> dict[str, bytes]:
    """The board, the submissions and the weights; rows have their timing with them."""
    files = [
        *(p for p in (demo / "leaderboard").rglob("*") if "results" not in p.parts),
        *(demo / "submissions").iterdir(),
        *demo.glob("tiny-*/model.safetensors"),
    ]
    return {str(p.relative_to(demo)): p.read_bytes() for p in files if p.is_file()}


def check(board: Board, folder: Path) -> None:
    """Retrieval and QA are contrasted, on clean tasks, and it is said to be no evidence."""
    answered = [one for one in board.contrasts if one.difference is not None]
    assert {(one.name, one.track) for one in answered} == {
        (name, track) for name in ANSWERED for track in TASKS
    }
    for one in answered:
        assert one.difference is not None
        assert {part.task for part in one.difference.languages} == TASKS[one.track]
        assert one.stand_ins
        assert not one.left_out
    results = [result for entry in board.entries for result in entry.results]
    assert {result.task for result in results} == {
        "demo_bitext", "demo_passages", "demo_mining", "demo_qa", "demo_pairs", "demo_choices",
        "demo_tags",
    }  # fmt: skip
    assert not any(result.contaminated for result in results)
    base, english, many = (
        next(e.submission for e in board.entries if e.slug.startswith(slug))
        for slug in ("tiny-base", "tiny-qa-en", "tiny-qa-multilingual")
    )
    assert base is not None
    assert english is not None
    assert many is not None
    assert english.base == many.base == "tiny-base"
    assert english.base_revision == many.base_revision == base.revision
    assert english.matched == many.matched is not None
    readme, contrasts = (
        (folder / "leaderboard" / name).read_text(encoding="utf-8")
        for name in ("README.md", "contrasts.md")
    )
    answer = next(line for line in readme.splitlines() if line.startswith("On Multilingual MLM"))
    assert "intermediate training on English QA" in answer
    assert "no evidence about any kind of training" in readme
    for name in ANSWERED:
        said = r"\*\*[^*|]+\*\* \| \*\*[+−]?\d+\.\d+\*\*"
        row = rf"\| {name} \| recall@10, frozen \| {said} \|"
        assert re.search(row, contrasts), name


@pytest.mark.slow
def test_its_commands_in_few_steps(run: Run, tmp_path: Path) -> None:
    demo = tmp_path / "demo"
    calls = commands(tmp_path, demo)
    assert [call[0] for call in calls].count("train") == 7
    evaluated = [arg for call in calls if call[0] == "eval" for arg in call if "tiny-" in arg]
    assert sorted(evaluated) == sorted(
        call[call.index("--out") + 1] for call in calls if call[0] == "train"
    )
    for call in calls:
        # Few steps and one seed: the flow is the same.
        fewer = [arg for arg in call if not FEWER.search(arg)]
        if call[0] == "train":
            if fewer != call:
                continue
            fewer += ["--max-steps", "3"]
        if call[0] == "leaderboard":
            submit(demo)
        ran = run(*fewer)
        assert ran.code == 0, ran.stderr
    assert "multilingual QA − English QA" in ran.stdout
    check(read_board(demo), demo)
    before = written(demo)
    (again,) = (call for call in calls if call[0] == "leaderboard")
    assert run(*again).stdout == ""
    assert written(demo) == before


@pytest.mark.slow
def test_all_of_it_interrupted_or_not(tmp_path: Path) -> None:
    own_cache = {"XHARNESS_CACHE": str(tmp_path / "cache")}
    environment = on_path(tmp_path / "bin", REAL) | own_cache
    broken, whole = tmp_path / "broken" / "demo", tmp_path / "whole" / "demo"
    for demo in (broken, whole):
        demo.parent.mkdir()

    def script(demo: Path, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["bash", SCRIPT, "demo"], cwd=demo.parent, env=environment, text=True,
            capture_output=True, check=False, start_new_session=True,
        )  # fmt: skip

    def finish(demo: Path) -> str:
        done = script(demo, environment)
        assert done.returncode == 0, done.stderr
        return done.stdout

    ended = script(broken, on_path(tmp_path / "ended", ENDED) | own_cache)
    assert ended.returncode != 0
    assert list(broken.glob("tiny-qa-*/.training")), "it was interrupted before its work"
    assert not (broken / "leaderboard").exists(), "it was interrupted after its work"

    printed = finish(broken)
    assert "demo/leaderboard/README.md" in printed
    finish(whole)
    assert written(broken) == written(whole)
    check(read_board(whole), whole)
    claims = {one.name: one.claim for one in read_board(whole).contrasts
              if one.difference is not None and one.track == "frozen"}  # fmt: skip
    assert claims == dict.fromkeys(ANSWERED, "recipe")
    printed = finish(whole)
    # No file of the board changed: the last lines alone name it.
    assert "README.md" not in printed.split("These checkpoints show")[0]
    assert written(whole) == written(broken)
