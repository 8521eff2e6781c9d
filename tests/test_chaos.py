"""One kill, one full disk and two writers at once, of `make chaos`."""

from __future__ import annotations

import subprocess
import sys


def test_what_is_disturbed_ends_as_what_is_not() -> None:
    """In a process of its own: this one has threads, which a fork does not survive."""
    words = [sys.executable, "-m", "tests.chaos", "1", "eval", "leaderboard"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert [line.split(":")[0] for line in done.stdout.splitlines()] == ["eval", "leaderboard"]
    assert done.stdout.count("1 kills, 1 full disks") == 2
