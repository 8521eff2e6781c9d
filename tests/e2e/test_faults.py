"""A Hub that fails: what passes is waited for, what stays is one line, nothing is half-written.

The unmodified client talks to the loopback Hub; the faults are the Hub's.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.e2e.conftest import Run
from tests.hub.server import Hub

Fault = Callable[[Hub, str, int], None]
WEIGHTS = "model.safetensors"


def resolved(hub: Hub, home: Path, names: list[str], **options: Any) -> list[dict[str, Any]]:
    """Every name in one process, each with a cache of its own; no word on stderr."""
    calls = [
        {"model": name, "cache": str(home / name.partition("/")[2]), **options} for name in names
    ]
    ran = subprocess.run(
        [sys.executable, "-m", "tests.hub.resolving"],
        input=json.dumps(calls),
        env=os.environ | hub.environment(home),
        capture_output=True,
        text=True,
        check=True,
    )
    assert ran.stderr == ""
    return list(json.loads(ran.stdout))


PASSING: dict[str, Fault] = {
    "busy-listing": lambda hub, name, size: hub.fail(
        f"/api/models/{name}", 429, headers={"Retry-After": "1"}
    ),
    "broken-listing": lambda hub, name, size: hub.fail(f"/api/models/{name}", 500),
    "cut-listing": lambda hub, name, size: hub.cut(f"/api/models/{name}"),
    "half-listing": lambda hub, name, size: hub.cut(f"/api/models/{name}", after=40),
    "busy-file": lambda hub, name, size: hub.fail(
        f"/{name}/resolve/", 429, times=2, headers={"Retry-After": "0"}
    ),
    "broken-file": lambda hub, name, size: hub.fail(f"/{name}/resolve/", 500, times=2),
    "unanswered-file": lambda hub, name, size: hub.cut(f"/{name}/resolve/", times=2),
    "half-file": lambda hub, name, size: hub.cut(f"/{name}/resolve/", after=20),
}


def test_what_passes_is_waited_for(hub: Hub, tiny: Path, tmp_path: Path) -> None:
    commits = {}
    for fault, inject in PASSING.items():
        commits[f"org/{fault}"] = hub.add(f"org/{fault}", tiny)
        inject(hub, f"org/{fault}", (tiny / WEIGHTS).stat().st_size)
    answers = resolved(hub, tmp_path, list(commits))
    for answer, (name, commit) in zip(answers, commits.items(), strict=True):
        assert answer.get("revision") == commit, (name, answer)
        assert (Path(answer["folder"]) / WEIGHTS).read_bytes() == (tiny / WEIGHTS).read_bytes()
    assert hub.failures == []  # each was met


STAYING: dict[str, tuple[Callable[[Hub, str], None], int, str]] = {
    "corrupted": (lambda hub, name: hub.damaged.add(f"{name}/{WEIGHTS}"), 6, "another digest"),
    "truncated": (lambda hub, name: hub.shortened.add(f"{name}/{WEIGHTS}"), 6, "another digest"),
    "cut-config": (lambda hub, name: hub.shortened.add(f"{name}/config.json"), 6, "another digest"),
    "gone": (lambda hub, name: hub.fail(f"/{name}/resolve/", 404, times=99), 3, "HTTP 404"),
    "forbidden": (lambda hub, name: hub.fail(f"/api/models/{name}", 403, times=9), 3, "HTTP 403"),
    "down": (lambda hub, name: hub.fail(
        f"/api/models/{name}", 500, times=9, headers={"Retry-After": "0"}), 3, "HTTP 500"),
}  # fmt: skip


def test_what_stays_is_one_line_and_leaves_nothing(hub: Hub, tiny: Path, tmp_path: Path) -> None:
    names = [f"org/{fault}" for fault in STAYING]
    for name, (inject, _, _) in zip(names, STAYING.values(), strict=True):
        hub.add(name, tiny)
        inject(hub, name)
    hub.add("org/gated", tiny, gated=True)
    hub.add("org/empty", {".gitattributes": b"*.bin filter=lfs"})
    answers = resolved(hub, tmp_path, [*names, "org/gated", "org/empty"])
    expected = [
        *((code, words) for _, code, words in STAYING.values()),
        (3, "hf auth login"),
        (4, "has no weights: it holds .gitattributes"),
    ]
    for answer, (code, words) in zip(answers, expected, strict=True):
        assert answer.get("exit_code") == code, answer
        assert words in answer["message"]
        assert "\n" not in answer["message"]
    # What came broken is not taken for whole later, neither offline nor when the Hub is well again.
    for answer in resolved(hub, tmp_path, names, offline=True):
        assert answer.get("exit_code") in (3, 4), answer
    hub.failures.clear()
    hub.damaged.clear()
    hub.shortened.clear()
    for answer in resolved(hub, tmp_path, names):
        assert (Path(answer["folder"]) / WEIGHTS).read_bytes() == (tiny / WEIGHTS).read_bytes()


def test_evaluated_and_submitted_through_a_failing_hub(
    hub: Hub, asks_hub: None, tiny: Path, run: Run, tmp_path: Path
) -> None:
    commit = hub.add("org/tiny", tiny, card={"license": "mit"})
    out = tmp_path / "out"
    asked = ("eval", "org/tiny", "--suite", "demo", "--task", "demo_bitext", "--out", out)
    hub.fail("/api/models/org/tiny", 429, headers={"Retry-After": "0"})
    hub.cut(f"/resolve/{commit}/", after=30)
    # The branch moves as soon as the first request is answered: the run stays at one commit.
    hub.after_info = lambda: hub.add("org/tiny", {"config.json": b"{}", WEIGHTS: b""})
    ran = run(*asked)
    assert ran.code == 0, ran.stderr
    assert len(list((out / "org__tiny" / commit[:12]).glob("*.parquet"))) == 1
    hub.after_info = None
    hub.fail("/api/models/org/tiny", 500, headers={"Retry-After": "0"})
    hub.cut(f"/resolve/{commit}/", times=2)
    ran = run("submit", f"org/tiny@{commit}", "--objective", "none", "--root", tmp_path)
    assert ran.code == 0, ran.stderr
    assert ran.stderr == "note: licence from the model card: mit\n"
    written = Path(ran.stdout.strip()).read_text(encoding="utf-8")
    assert f"revision: {commit}\n" in written
    ran = run("validate", tmp_path / "submissions" / "org__tiny.yaml")
    assert (ran.code, ran.stdout, ran.stderr) == (0, "", "")
