"""Opens a pull request on GitHub for a submission: git and gh make a branch with that one file."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.errors import IncompleteError, UsageError
from harness.submissions.submission import Submission, kind_of

REMOTE = "origin"


@dataclass(frozen=True)
class PullRequest:
    """A pull request with one file, on a new branch that starts at HEAD.

    ``root``: the top of a git work tree; ``file``: the file's path relative to it.
    """

    root: Path
    file: str
    branch: str
    title: str
    body: str

    @property
    def steps(self) -> tuple[tuple[str, ...], ...]:
        """The commands in order; only the file is committed, whatever else is staged."""
        return (
            ("git", "switch", "--create", self.branch),
            ("git", "add", "--", self.file),
            ("git", "commit", "--only", "--message", self.title, "--", self.file),
            ("git", "push", "--set-upstream", REMOTE, self.branch),
            ("gh", "pr", "create", "--head", self.branch, "--title", self.title,
             "--body", self.body),
            ("git", "switch", "-"),
        )  # fmt: skip

    @property
    def commands(self) -> tuple[str, ...]:
        """The commands as a person would type them."""
        return tuple(shlex.join(step) for step in self.steps)


def check_repository(root: Path) -> Path:
    """Return the top of the git work tree that ``root`` lies in.

    Raises:
        UsageError: git is not installed, ``root`` is in no work tree, or that has no remote.
    """
    if shutil.which("git") is None:
        raise UsageError("--create-pr needs git, which is not on PATH: install it, or leave it out")
    top = _run(("git", "rev-parse", "--show-toplevel"), root)
    if top.returncode:
        raise UsageError(
            f"--create-pr: {root} is in no git repository: clone the leaderboard's, or give --root"
        )
    if _run(("git", "remote", "get-url", REMOTE), root).returncode:
        raise UsageError(
            f"--create-pr: the repository has no remote {REMOTE}: git remote add {REMOTE} URL"
        )
    return Path(top.stdout.strip())


def plan(root: Path, path: Path, submission: Submission) -> PullRequest:
    """Describe the pull request that submits ``path``, a file under ``root``; change nothing."""
    top = check_repository(root)
    revision = (submission.revision or "")[:12]
    base = f", from {submission.base}" if submission.base else ""
    return PullRequest(
        root=top,
        file=path.resolve().relative_to(top.resolve()).as_posix(),
        branch=f"submit/{path.stem}",
        title=f"Submit {submission.model}",
        body=f"{submission.model}@{revision}: {kind_of(submission)}{base}",
    )


def open_request(request: PullRequest) -> str:
    """Make the branch, commit, push and open the pull request; return its address.

    Raises:
        IncompleteError: gh is not installed, or a step failed; the message has the commands that
            are left.
    """
    commands = request.commands
    if shutil.which("gh") is None:
        by_hand = [command for command in commands if not command.startswith("gh ")]
        raise IncompleteError(
            f"{request.file} is written, but gh (the GitHub CLI) is not on PATH: install it and run"
            f" the command again with --force, or run `{' && '.join(by_hand)}` and open the pull"
            f" request of {request.branch} in the browser"
        )
    said = ""
    for number, step in enumerate(request.steps):
        done = _run(step, request.root)
        if done.returncode:
            lines = (done.stderr.strip() or done.stdout.strip() or "no reason given").splitlines()
            raise IncompleteError(
                f"{request.file} is written, but `{' '.join(step[:3])}` failed"
                f" ({' '.join(lines[0].split())[:200]}): correct that, then run"
                f" `{' && '.join(commands[number:])}`"
            )
        if step[0] == "gh":
            said = done.stdout.strip()
    return said


def _run(step: Sequence[str], root: Path) -> subprocess.CompletedProcess[str]:
    """Run a command without a terminal, so that one which asks a question fails."""
    return subprocess.run(
        step,
        cwd=root,
        env=os.environ | {"GIT_TERMINAL_PROMPT": "0", "GH_PROMPT_DISABLED": "1"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        check=False,
    )
