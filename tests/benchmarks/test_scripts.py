"""The benchmarks that need no checkpoint, peer or GPU run, at their smallest sizes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent


@pytest.mark.slow
@pytest.mark.parametrize("script", ["bench_board", "bench_search", "bench_startup"])
def test_a_script_runs_to_its_end(script: str) -> None:
    path = ROOT / "benchmarks" / f"{script}.py"
    done = subprocess.run(
        [sys.executable, str(path), "--small", "--runs", "1"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2_000:]
    assert "target" in done.stdout
