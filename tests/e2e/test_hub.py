"""The command against a Hub: dry run, prefetch, offline, and what the Hub refuses."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.conftest import Run
from tests.hub.server import Hub

pytestmark = pytest.mark.usefixtures("asks_hub")


def test_prefetched_then_offline_without_a_connection(
    hub: Hub, tiny: Path, run: Run, tmp_path: Path
) -> None:
    commit = hub.add("org/tiny", tiny)
    ran = run("eval", "org/tiny", "--suite", "demo", "--dry-run")
    assert ran.code == 0, ran.stderr
    assert f"org/tiny at {commit}: to download" in ran.stdout
    assert not [request for request in hub.requests if "/resolve/" in request]

    ran = run("prefetch", "org/tiny", "--suite", "demo")
    assert ran.code == 0, ran.stderr
    assert f"org/tiny@{commit}" in ran.stdout

    hub.requests.clear()
    out = tmp_path / "out"
    ran = run("eval", "org/tiny", "--suite", "demo", "--offline", "--out", out)
    assert ran.code == 0, ran.stderr
    assert hub.requests == []
    assert len(list((out / "org__tiny" / commit[:12]).glob("*.parquet"))) == 3


def test_missing_and_gated_repositories(hub: Hub, tiny: Path, run: Run) -> None:
    ran = run("eval", "org/none", "--suite", "demo")
    assert (ran.code, ran.stderr.count("\n")) == (3, 1)
    hub.add("org/gated", tiny, gated=True)
    ran = run("eval", "org/gated", "--suite", "demo")
    assert (ran.code, ran.stderr.count("\n")) == (3, 1)
    assert "hf auth login" in ran.stderr
