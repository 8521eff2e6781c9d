"""The benchmarks that need no checkpoint, peer or GPU run, at their smallest sizes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent


@pytest.mark.slow
@pytest.mark.parametrize(
    ("script", "parts"),
    [
        ("bench_board", ()),
        ("bench_search", ("search", "mining", "million")),  # the one left is beside FAISS
        ("bench_startup", ()),
    ],
)
def test_a_script_runs_to_its_end(script: str, parts: tuple[str, ...]) -> None:
    path = ROOT / "benchmarks" / f"{script}.py"
    asked = [word for part in parts for word in ("--part", part)]
    done = subprocess.run(
        [sys.executable, str(path), "--small", "--runs", "1", *asked],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2_000:]
    assert "target" in done.stdout
