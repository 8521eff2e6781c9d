"""The commands that README.md and docs/ print: all are understood, and the tutorial's run."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import typer

from harness.cli import app
from tests.conftest import ROOT
from tests.e2e.conftest import Run

PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("benchmarks/*.md")])
BLOCK = re.compile(r"```sh\n(.*?)```", re.DOTALL)


def commands(page: Path) -> list[list[str]]:
    """The words behind `xharness`, or `-m harness`, of each command in a page's blocks."""
    found = []
    for block in BLOCK.findall(page.read_text(encoding="utf-8")):
        for line in block.replace("\\\n", " ").splitlines():
            words = shlex.split(line, comments=True)
            for name in ("xharness", "harness"):
                if name in words and words[: words.index(name)][-1:] in ([], ["-m"]):
                    found.append(words[words.index(name) + 1 :])
    return found


@pytest.mark.parametrize("page", [page for page in PAGES if commands(page)], ids=lambda p: p.name)
def test_every_command_is_understood(page: Path) -> None:
    for words in commands(page):
        command, rest = typer.main.get_command(app), list(words)
        while isinstance(command, typer.core.TyperGroup):
            command = command.commands[rest.pop(0)]
        command.make_context("xharness", rest)  # It raises where an option is none.


@pytest.mark.slow
def test_the_tutorial_runs_as_printed(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    ran = []
    for words in commands(ROOT / "docs/tutorial.md"):
        if words[0] == "view":  # It serves until Ctrl-C.
            continue
        fewer = ["--max-steps", "2"] if words[0] == "train" else []
        done = run(*words, *fewer)
        assert done.code == 0, (words, done.stderr)
        ran.append((words[0], done.stdout))
    assert [name for name, _ in ran] == ["eval", "show", "train", "train", "eval", "compare"]
    assert "base − english-qa" in ran[-1][1]
