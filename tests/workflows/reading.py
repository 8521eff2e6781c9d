"""The workflows as data, and copies of the checkout to run their commands in."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / ".github" / "workflows"
WORKFLOWS = sorted(FOLDER.glob("*.yml"))
IGNORED = shutil.ignore_patterns(
    ".git", ".venv", "__pycache__", ".*_cache", ".hypothesis", "dist", "build", "demo-model",
    "*.egg-info", ".cache",
)  # fmt: skip
GIT = {
    "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull,
    "GIT_AUTHOR_NAME": "t", "GIT_AUTHOR_EMAIL": "t@example.org",
    "GIT_COMMITTER_NAME": "t", "GIT_COMMITTER_EMAIL": "t@example.org",
    "GIT_TERMINAL_PROMPT": "0",
}  # fmt: skip


@dataclass(frozen=True)
class Step:
    """A step of a job, by its place."""

    workflow: str
    job: str
    index: int
    content: Mapping[str, Any]


def read(path: Path) -> dict[str, Any]:
    """A workflow; YAML's ``on`` is read as true and called by its name again."""
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    content["on"] = content.pop(True)
    return dict(content)


def steps() -> Iterator[Step]:
    """Every step of every workflow."""
    for path in WORKFLOWS:
        for job, content in read(path)["jobs"].items():
            for index, step in enumerate(content.get("steps", ())):
                yield Step(path.name, job, index, step)


def git(folder: Path, *words: str) -> str:
    """Run git, without the settings of who runs the tests; its output."""
    done = subprocess.run(
        ["git", "-C", str(folder), *words],
        capture_output=True, text=True, check=False, env=os.environ | GIT,
    )  # fmt: skip
    assert done.returncode == 0, f"git {' '.join(words)}: {done.stderr}"
    return done.stdout.strip()


def _ignored(folder: str, names: list[str]) -> set[str]:
    # Megabytes of rows that no test of a clone reads.
    rows = {"results"} if Path(folder) == ROOT / "leaderboard" else set()
    return IGNORED(folder, names) | rows


def commit_all(where: Path) -> Path:
    """The checkout as one commit on main, in a bare repository of its own."""
    work, bare = where / "all", where / "all.git"
    shutil.copytree(ROOT, work, ignore=_ignored, symlinks=True)
    git(where, "init", "--quiet", "--initial-branch=main", str(work))
    git(work, "add", "--all")
    git(work, "commit", "--quiet", "--message", "all")
    git(where, "clone", "--quiet", "--bare", str(work), str(bare))
    return bare


def published(where: Path, checkout: Path) -> tuple[Path, Path]:
    """What ``commit_all`` has made, for one test: (a bare repository, a clone of it)."""
    work, bare = where / "work", where / "origin.git"
    git(where, "clone", "--quiet", "--bare", str(checkout), str(bare))
    git(where, "clone", "--quiet", str(bare), str(work))
    return bare, work


def bash(folder: Path, command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a command as a runner does: bash, stopping at the first failure."""
    return subprocess.run(
        ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", command],
        cwd=folder, capture_output=True, text=True, check=False,
        env=os.environ | GIT | environment,
    )  # fmt: skip
