"""The scripts behind the workflows, with real git repositories and hostile input."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from tests.workflows.reading import ROOT, bash, git


@pytest.fixture
def origin(tmp_path: Path) -> Path:
    """A bare repository with a small board, the scripts, and one submission on main."""
    work = tmp_path / "first"
    shutil.copytree(ROOT / ".ci", work / ".ci")
    for name, text in {
        "leaderboard/README.md": "old\n",
        "submissions/a.yaml": "model: org/a\nobjective: none\n",
        "other.txt": "other\n",
    }.items():
        (work / name).parent.mkdir(exist_ok=True, parents=True)
        (work / name).write_text(text)
    git(tmp_path, "init", "--quiet", "--initial-branch=main", str(work))
    git(work, "add", "--all")
    git(work, "commit", "--quiet", "--message", "first")
    git(tmp_path, "clone", "--quiet", "--bare", str(work), "origin.git")
    return tmp_path / "origin.git"


def clone(origin: Path, name: str) -> Path:
    git(origin.parent, "clone", "--quiet", str(origin), name)
    return origin.parent / name


def packed(origin: Path) -> Path:
    """What a refresh of main changes: a board file, rows with any bytes, and a pin."""
    work = clone(origin, "evaluated")
    (work / "leaderboard" / "README.md").write_text("new\n")
    (work / "leaderboard" / "results" / "org__a" / "0123").mkdir(parents=True)
    rows = work / "leaderboard" / "results" / "org__a" / "0123" / "t.parquet"
    rows.write_bytes(bytes(range(256)) * 40)
    (work / "submissions" / "a.yaml").write_text("model: org/a\nrevision: b\nobjective: none\n")
    (work / "other.txt").write_text("not packed\n")
    done = bash(work, f".ci/pack {origin.parent / 'changes'}")
    assert done.returncode == 0, done.stderr
    return origin.parent / "changes"


def push(origin: Path, name: str, path: str, text: str) -> str:
    """Somebody else pushes a change."""
    work = clone(origin, name)
    (work / path).parent.mkdir(exist_ok=True, parents=True)
    (work / path).write_text(text)
    git(work, "add", "--all")
    git(work, "commit", "--quiet", "--message", name)
    git(work, "push", "--quiet", "origin", "main")
    return git(work, "rev-parse", "HEAD")


def commit_board(work: Path, changes: Path, **environment: str) -> tuple[int, str]:
    given = {"PAUSE": "0", "PUSH_TOKEN": "t", **environment}
    done = bash(work, f".ci/commit-board {changes}", **given)
    return done.returncode, done.stdout + done.stderr


def shown(origin: Path, path: str, branch: str = "main") -> str:
    return git(origin, "show", f"{branch}:{path}")


def test_a_difference_is_one_commit(origin: Path, tmp_path: Path) -> None:
    output = tmp_path / "output"
    work = clone(origin, "work")
    code, said = commit_board(work, packed(origin), GITHUB_OUTPUT=str(output))
    assert code == 0, said
    assert output.read_text() == "changed=true\n"
    assert git(origin, "rev-list", "--count", "main") == "2"
    assert shown(origin, "leaderboard/README.md") == "new"
    assert shown(origin, "other.txt") == "other"
    assert "revision: b" in shown(origin, "submissions/a.yaml")
    path = "leaderboard/results/org__a/0123/t.parquet"
    there = git(origin, "rev-parse", f"main:{path}")
    assert there == git(tmp_path / "evaluated", "hash-object", path)


def test_without_a_difference_there_is_none(origin: Path, tmp_path: Path) -> None:
    work = clone(origin, "work")
    assert bash(clone(origin, "same"), f".ci/pack {tmp_path / 'changes'}").returncode == 0
    output = tmp_path / "output"
    code, said = commit_board(work, tmp_path / "changes", GITHUB_OUTPUT=str(output))
    assert (code, said) == (0, "nothing changed\n")
    assert output.read_text() == "changed=false\n"
    assert git(origin, "rev-list", "--count", "main") == "1"


def test_a_competing_push_is_rebased_onto(origin: Path) -> None:
    changes = packed(origin)
    work = clone(origin, "work")  # as it was before the other's push
    theirs = push(origin, "theirs", "submissions/b.yaml", "model: org/b\nobjective: none\n")
    code, said = commit_board(work, changes)
    assert code == 0, said
    assert "rejected (try 1)" in said
    assert git(origin, "rev-parse", "main^") == theirs
    assert shown(origin, "leaderboard/README.md") == "new"
    assert shown(origin, "submissions/b.yaml").startswith("model: org/b")


def test_pushes_that_go_on_competing_end_it(origin: Path) -> None:
    changes = packed(origin)
    work = clone(origin, "work")
    hook = origin / "hooks" / "update"
    hook.write_text("#!/bin/sh\nexit 1\n")
    hook.chmod(0o755)
    code, said = commit_board(work, changes)
    assert code == 1
    assert said.count("rejected (try") == 5
    assert "the next refresh tries again" in said
    assert git(origin, "rev-list", "--count", "main") == "1"


def test_a_conflict_is_left_to_the_next_refresh(origin: Path) -> None:
    changes = packed(origin)
    work = clone(origin, "work")
    push(origin, "theirs", "submissions/a.yaml", "model: org/a\nobjective: mlm\n")
    code, said = commit_board(work, changes)
    assert code == 1
    assert "the next refresh starts from theirs" in said
    assert "mlm" in shown(origin, "submissions/a.yaml")
    assert not (work / ".git" / "rebase-merge").exists()


def test_the_branch_may_have_moved_on_before(origin: Path) -> None:
    changes = packed(origin)
    push(origin, "theirs", "other.txt", "theirs\n")
    code, said = commit_board(clone(origin, "work"), changes)
    assert code == 0, said
    assert (shown(origin, "other.txt"), shown(origin, "leaderboard/README.md")) == ("theirs", "new")


def test_the_token_is_in_no_file_and_no_argument(origin: Path, tmp_path: Path) -> None:
    work = clone(origin, "work")
    code, said = commit_board(work, packed(origin), GIT_TRACE="1", PUSH_TOKEN="s3cret")
    assert code == 0
    assert "s3cret" not in said
    found = bash(tmp_path, "grep -r s3cret work origin.git || true").stdout
    assert found == ""


HOSTILE = {
    "a file elsewhere": ("echo x > .ci/run", "it changes .ci/run"),
    "a workflow": ("mkdir -p .github && echo x > .github/w.yml", "it changes .github/w.yml"),
    "a link": ("ln -s /etc/passwd leaderboard/link", "it links or makes executable"),
    "a program": ("echo x > leaderboard/x && chmod +x leaderboard/x", "it links or makes exec"),
    "a new right": ("chmod +x leaderboard/README.md", "it links or makes executable"),
    "a new submission": ("cp submissions/a.yaml submissions/b.yaml", "adds or removes"),
    "a submission less": ("rm submissions/a.yaml", "adds or removes"),
    "a submission that is a link": ("ln -sf /etc/passwd submissions/a.yaml", "it links"),
    "another kind of file": ("echo x > submissions/.x.yaml", "it changes submissions/.x.yaml"),
    "a module": ("git init -q leaderboard/m; git -C leaderboard/m commit -q --allow-empty -m x",
                 "it links"),
    "a file moved in": ("mv other.txt leaderboard/other.txt", "it changes other.txt"),
    "a script moved in": ("mv .ci/run leaderboard/run", "it changes .ci/run"),
    "a script moved away": ("mv .ci/validate .ci/other", "it changes .ci/"),
    "a submission moved in": ("mv submissions/a.yaml leaderboard/a.yaml", "adds or removes"),
    "a submission from a copy": ("cp leaderboard/README.md submissions/b.yaml",
                                 "adds or removes"),
    "a script from a copy": ("cp leaderboard/README.md .ci/new", "it changes .ci/new"),
}  # fmt: skip


@pytest.mark.parametrize("renames", ["--no-renames", "--find-copies-harder"])
@pytest.mark.parametrize(("command", "reason"), HOSTILE.values(), ids=HOSTILE)
def test_only_what_a_refresh_changes_is_applied(
    origin: Path, tmp_path: Path, command: str, reason: str, renames: str
) -> None:
    evil = clone(origin, "evil")
    assert bash(evil, command).returncode == 0
    git(evil, "add", "--all")
    patch = bash(evil, f"git diff --cached --binary {renames}").stdout
    code, said = commit_board(clone(origin, "work"), forged(evil, patch))
    assert code == 1
    assert said.startswith("refused: ")
    assert reason in said
    assert git(origin, "rev-list", "--count", "main") == "1"
    assert git(tmp_path / "work", "status", "--porcelain") == ""


def forged(evil: Path, patch: str) -> Path:
    """A patch as an artifact of the commit that a clone is at."""
    changes = evil.parent / "changes"
    changes.mkdir()
    (changes / "base").write_text(git(evil, "rev-parse", "HEAD") + "\n")
    (changes / "changes.patch").write_text(patch)
    return changes


@pytest.mark.parametrize("words", ["from to", "old new"])
def test_a_rename_is_two_changes(origin: Path, tmp_path: Path, words: str) -> None:
    """Also in git's older words, which it writes no more and still reads."""
    old, new = words.split()
    patch = (
        "diff --git a/other.txt b/leaderboard/x\nsimilarity index 100%\n"
        f"rename {old} other.txt\nrename {new} leaderboard/x\n"
    )
    code, said = commit_board(clone(origin, "work"), forged(clone(origin, "evil"), patch))
    assert (code, said) == (1, "refused: it changes other.txt\n")
    assert (tmp_path / "work" / "other.txt").exists()


@pytest.mark.parametrize("base", ["", "main", "0" * 40, "--help", "a" * 41])
def test_an_odd_base_is_refused(origin: Path, tmp_path: Path, base: str) -> None:
    changes = packed(origin)
    (changes / "base").write_text(base)
    code, _ = commit_board(clone(origin, "work"), changes)
    assert code != 0
    assert git(origin, "rev-list", "--count", "main") == "1"


def test_names_that_leave_the_checkout_are_refused(origin: Path, tmp_path: Path) -> None:
    changes = packed(origin)
    text = (changes / "changes.patch").read_text()
    (changes / "changes.patch").write_text(
        text.replace("leaderboard/README.md", "leaderboard/../../README.md")
    )
    code, _ = commit_board(clone(origin, "work"), changes)
    assert code != 0
    assert not (tmp_path / "README.md").exists()
    assert git(origin, "rev-list", "--count", "main") == "1"


@pytest.mark.parametrize(
    ("code", "check", "wanted"),
    [(0, 0, 0), (5, 0, 0), (5, 1, 5), (5, 3, 5), (1, 0, 1), (6, 0, 6), (130, 0, 130)],
)
def test_failed_evaluations_do_not_stop_the_refresh(
    origin: Path, code: int, check: int, wanted: int
) -> None:
    """A board that the disk had no room for does."""
    work = clone(origin, "work")
    (work / ".venv" / "bin").mkdir(parents=True)
    fake = work / ".venv" / "bin" / "xharness"
    fake.write_text(
        '#!/bin/sh\necho "$@"\n'
        f'if [ "$1" = refresh ]; then exit {code}; fi\n'
        f'[ "$*" = "leaderboard --check" ] && exit {check}\n'
    )
    fake.chmod(0o755)
    done = bash(work, ".ci/refresh --max-minutes 3")
    assert done.returncode == wanted
    assert done.stdout.startswith("refresh --max-minutes 3\n")
    assert ("::warning::" in done.stdout) == (code == 5 and wanted == 0)


def test_scripts_can_be_run() -> None:
    for path in sorted((ROOT / ".ci").iterdir()):
        assert path.read_text().startswith("#!/usr/bin/env bash\n"), path.name
        assert os.access(path, os.X_OK), path.name
        assert bash(ROOT, f"bash -n {path}").returncode == 0
