"""Starts the process that evaluates: it has no token, no home folder, and makes no request.

The checkpoint of a contributor may be hostile. The process that starts this one does beforehand
what needs a token, such as downloads of gated models.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# A worker gets only these variables of the environment, and so no secrets.
PASSED = (
    "PATH", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "TMPDIR", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH",
    "PYTHONPATH", "PYTHONDONTWRITEBYTECODE", "CUDA_VISIBLE_DEVICES", "OMP_NUM_THREADS",
    "MKL_NUM_THREADS", "COLUMNS",
)  # fmt: skip
SET = {
    "HF_HUB_OFFLINE": "1",
    "HF_HUB_DISABLE_IMPLICIT_TOKEN": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "DO_NOT_TRACK": "1",
    "TOKENIZERS_PARALLELISM": "false",
}
INSIDE = "harness.worker_main"
GRACE = 10.0  # the seconds that a worker has to end itself before it is killed
LONGEST = 64 << 20  # the most bytes of scores that are read; the largest suite gives some 5 MB
_SET_DUMPABLE = 4  # prctl(2)


@dataclass(frozen=True)
class Ended:
    """How an evaluation ended: its exit code (negative for a signal) and the reason.

    ``notes``: task → what its row says instead of a score. ``stopped``: it ran out of time.
    """

    exit_code: int
    reason: str
    notes: Mapping[str, str]
    stopped: bool = False

    def then(self, other: Ended) -> Ended:
        """Return how two evaluations ended, one after the other: the first failure counts."""
        failed = self if self.exit_code else other
        notes = {**self.notes, **other.notes}
        return Ended(failed.exit_code, failed.reason, notes, self.stopped or other.stopped)


def environment(home: Path, *, cache: Path, hub_cache: Path) -> dict[str, str]:
    """Return the variables of a worker. ``home``: an empty folder; the caches have the files."""
    passed = {name: os.environ[name] for name in PASSED if name in os.environ}
    own = {
        "HOME": str(home),
        "HF_HOME": str(home),
        "HF_TOKEN_PATH": str(home / "none"),
        "HF_HUB_CACHE": str(hub_cache.absolute()),
        "XHARNESS_CACHE": str(cache.absolute()),
        "XDG_CACHE_HOME": str(home),
    }
    return passed | SET | own


def shield() -> None:
    """Hide memory and environment of this process from others of the same user, on Linux."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_SET_DUMPABLE, 0, 0, 0, 0)


def evaluate(
    arguments: Sequence[str],
    *,
    cache: Path,
    hub_cache: Path,
    seconds: float | None,
    echo: Callable[[str], None],
) -> Ended:
    """Run `xharness eval` with ``arguments``, offline, in a separate process.

    ``seconds``: the process is stopped after this time; finished units are kept. ``echo``: gets
    every line of its progress.
    """
    with tempfile.TemporaryDirectory() as home, tempfile.TemporaryFile() as scores:
        worker = subprocess.Popen(
            [sys.executable, "-m", INSIDE, "eval", *arguments, "--offline", "--format", "json"],
            stdin=subprocess.DEVNULL,
            stdout=scores,
            stderr=subprocess.PIPE,
            env=environment(Path(home), cache=cache, hub_cache=hub_cache),
            start_new_session=True,
        )
        last: deque[str] = deque(maxlen=20)
        reader = threading.Thread(target=_follow, args=(worker, last, echo), daemon=True)
        reader.start()
        stopped = False
        try:
            worker.wait(seconds)
        except subprocess.TimeoutExpired:
            stopped = True
        finally:
            _end(worker)
            reader.join(GRACE)
        code = worker.wait()
        scores.seek(0)
        notes = read_notes(scores.read(LONGEST))
    return Ended(code, _reason(code, last), notes, stopped)


def read_notes(output: bytes) -> dict[str, str]:
    """Return task → note of every row without a score that `eval --format json` printed."""
    try:
        rows: Any = json.loads(output)
        return {
            str(row["task"]): str(row["note"])[:500] for row in rows if row.get("value") is None
        }
    except (ValueError, TypeError, KeyError, AttributeError):
        return {}  # It ended before it printed anything.


def _follow(worker: subprocess.Popen[bytes], last: deque[str], echo: Callable[[str], None]) -> None:
    assert worker.stderr is not None
    with worker.stderr as told:
        while line := told.readline(1 << 16):
            # Others may have chosen the text, and terminals and build logs obey control characters.
            text = "".join(c for c in line.decode(errors="replace").rstrip() if c.isprintable())
            last.append(text)
            echo(text)


def _reason(code: int, last: Sequence[str]) -> str:
    if code == 0:
        return ""
    if code < 0:
        name = signal.Signals(-code).name if -code in set(signal.Signals) else f"signal {-code}"
        hint = ", most likely for memory" if -code == signal.SIGKILL else ""
        return f"the evaluation was ended by {name}{hint}"
    said = next((line for line in reversed(last) if line.startswith("error: ")), None)
    if said is None:
        lines = [line for line in last if line.strip()]
        said = f"the evaluation failed with exit code {code}: {lines[-1] if lines else 'no reason'}"
    return " ".join(said.removeprefix("error: ").split())[:500]


def _end(worker: subprocess.Popen[bytes]) -> None:
    """End a worker and all processes that it started, which are its process group."""
    if worker.poll() is None:
        _signal(worker, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            worker.wait(GRACE)
    _signal(worker, signal.SIGKILL)


def _signal(worker: subprocess.Popen[bytes], number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(worker.pid, number)
