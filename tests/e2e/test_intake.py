"""submit, validate and convert, as a contributor runs them."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.e2e.conftest import Run
from tests.hub.server import Hub

pytestmark = pytest.mark.usefixtures("asks_hub")
GH = """#!/bin/sh
printf '%s\\n' "$@" > "$(dirname "$0")/asked"
test -z "$REFUSE" || { echo "gh: $REFUSE" >&2; exit 4; }
echo https://github.test/org/board/pull/7
"""
SUBMIT = ("submit", "org/tiny", "--objective", "extractive-qa", "--language", "en",
          "--dataset", "SQuAD v1.1")  # fmt: skip


def git(root: Path, *words: str) -> str:
    return subprocess.run(
        ("git", *words), cwd=root, capture_output=True, text=True, check=True
    ).stdout.strip()


@pytest.fixture
def board(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A clone with a commit, a remote beside it, and a file that is staged for something else."""
    for name, value in {"NAME": "A Tester", "EMAIL": "tester@example.org"}.items():
        for role in ("AUTHOR", "COMMITTER"):
            monkeypatch.setenv(f"GIT_{role}_{name}", value)
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    git(tmp_path, "init", "--quiet", "--bare", "remote.git")
    root = tmp_path / "board"
    git(tmp_path, "init", "--quiet", "--initial-branch", "main", "board")
    git(root, "remote", "add", "origin", str(tmp_path / "remote.git"))
    (root / "README.md").write_text("a board\n")
    git(root, "add", ".")
    git(root, "commit", "--quiet", "--message", "Start")
    (root / "other.txt").write_text("not to be submitted\n")
    git(root, "add", "other.txt")
    return root


@pytest.fixture
def gh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A gh on PATH that writes down what it was asked."""
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "gh").write_text(GH)
    (folder / "gh").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    return folder


@pytest.fixture
def no_gh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A PATH that has git and no gh."""
    folder = tmp_path / "bin"
    folder.mkdir()
    found = shutil.which("git")
    assert found is not None
    (folder / "git").symlink_to(found)
    monkeypatch.setenv("PATH", str(folder))


def test_pull_request_with_that_one_file(
    hub: Hub, tiny: Path, board: Path, gh: Path, run: Run, tmp_path: Path
) -> None:
    commit = hub.add("org/tiny", tiny)
    ran = run(*SUBMIT, "--create-pr", "--root", board)
    assert ran.code == 0, ran.stderr
    written = board / "submissions" / "org__tiny.yaml"
    assert ran.stdout.splitlines() == [str(written), "https://github.test/org/board/pull/7"]
    asked = (gh / "asked").read_text().splitlines()
    assert asked[:6] == ["pr", "create", "--head", "submit/org__tiny", "--title", "Submit org/tiny"]
    assert f"org/tiny@{commit[:12]}: English QA" in asked
    remote = tmp_path / "remote.git"
    assert git(remote, "show", "--name-only", "--format=%s", "submit/org__tiny").split("\n") == [
        "Submit org/tiny", "", "submissions/org__tiny.yaml",
    ]  # fmt: skip
    assert f"revision: {commit}" in git(
        remote, "show", "submit/org__tiny:submissions/org__tiny.yaml"
    )
    # Back where it was, and what was staged is staged still.
    assert git(board, "branch", "--show-current") == "main"
    assert git(board, "status", "--short") == "A  other.txt"


def test_dry_run_writes_nothing(hub: Hub, tiny: Path, board: Path, no_gh: None, run: Run) -> None:
    hub.add("org/tiny", tiny)
    ran = run(*SUBMIT, "--create-pr", "--dry-run", "--root", board)
    assert ran.code == 0, ran.stderr
    lines = ran.stdout.splitlines()
    assert lines[0] == "model: org/tiny"
    assert lines[-6] == "git switch --create submit/org__tiny"
    assert "gh pr create --head submit/org__tiny --title 'Submit org/tiny'" in ran.stdout
    assert not (board / "submissions").exists()
    assert git(board, "branch", "--list", "submit/*") == ""


def test_without_gh_what_to_do_by_hand(
    hub: Hub, tiny: Path, board: Path, no_gh: None, run: Run
) -> None:
    hub.add("org/tiny", tiny)
    ran = run(*SUBMIT, "--create-pr", "--root", board)
    assert ran.code == 5
    assert ran.stdout == f"{board / 'submissions' / 'org__tiny.yaml'}\n"
    for words in ("is written, but gh", "`git switch --create submit/org__tiny && git add", "push"):
        assert words in ran.stderr
    assert [line[:5] for line in ran.stderr.splitlines()] == ["note:", "error"]
    assert git(board, "branch", "--show-current") == "main"


def test_a_step_that_fails_says_what_is_left(
    hub: Hub, tiny: Path, board: Path, gh: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.add("org/tiny", tiny)
    monkeypatch.setenv("REFUSE", "not logged in")
    ran = run(*SUBMIT, "--create-pr", "--root", board)
    assert ran.code == 5
    assert "`gh pr create` failed (gh: not logged in): correct that, then run `gh pr" in ran.stderr
    git(board, "switch", "--quiet", "main")
    ran = run(*SUBMIT, "--create-pr", "--root", board)
    assert ran.code == 5
    assert "`git switch --create` failed (fatal: a branch named" in ran.stderr


def test_create_pr_outside_a_repository(hub: Hub, tmp_path: Path, run: Run) -> None:
    ran = run(*SUBMIT, "--create-pr", "--root", tmp_path)
    assert ran.code == 2
    assert "is in no git repository" in ran.stderr
    git(tmp_path, "init", "--quiet", "x")
    ran = run(*SUBMIT, "--create-pr", "--root", tmp_path / "x")
    assert ran.code == 2
    assert "no remote origin" in ran.stderr
    assert hub.requests == []


def test_refusals_are_one_line(hub: Hub, tiny: Path, tmp_path: Path, run: Run) -> None:
    hub.add("org/empty", {".gitattributes": b"x"})
    hub.add("org/gated", tiny, gated=True)
    hub.add("org/tiny", tiny)
    for name, objective, code in (
        ("org/empty", "nli", 4),
        ("org/gated", "nli", 3),
        ("org/none", "nli", 3),
        ("org/tiny", "nly", 2),
        ("./nowhere", "nli", 3),
    ):
        ran = run("submit", name, "--objective", objective, "--language", "en", "--root", tmp_path)
        assert (ran.code, ran.stdout, ran.stderr.count("\n")) == (code, "", 1), (name, ran)
    assert not (tmp_path / "submissions").exists()


def submission(folder: Path, slug: str, text: str) -> Path:
    path = folder / f"{slug}.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_validate_names_every_problem(run: Run, tmp_path: Path) -> None:
    good = submission(tmp_path, "good", "model: org/good\nobjective: none\n")
    bad = submission(tmp_path, "bad", "model: org/bad\nobjective: magic\nextra: 1\n")
    ran = run("validate", good)
    assert (ran.code, ran.stdout, ran.stderr) == (0, "", "")
    ran = run("validate", good, bad)
    assert ran.code == 1
    assert ran.stdout.splitlines()[0].startswith(f"{bad}:3: unknown key extra")
    assert len(ran.stdout.splitlines()) == 2
    assert ran.stderr == "error: 2 problems in 1 of 2 files: correct them and run again\n"
    assert run("validate", tmp_path / "none.yaml").code == 3
    assert run("validate").code == 2
