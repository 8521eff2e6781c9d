"""The command against a Hub: dry run, prefetch, offline, and what the Hub refuses."""

from __future__ import annotations

from pathlib import Path

from tests.e2e.conftest import Process, ended
from tests.hub.server import Hub


def test_prefetched_then_offline_without_a_connection(
    hub: Hub, tiny: Path, process: Process, tmp_path: Path
) -> None:
    commit = hub.add("org/tiny", tiny)
    environment = hub.environment(tmp_path / "home")

    code, stdout, stderr = ended(
        process("eval", "org/tiny", "--suite", "demo", "--dry-run", **environment)
    )
    assert code == 0, stderr
    assert f"org/tiny at {commit}: to download" in stdout
    assert not [request for request in hub.requests if "/resolve/" in request]

    code, stdout, stderr = ended(process("prefetch", "org/tiny", "--suite", "demo", **environment))
    assert code == 0, stderr
    assert f"org/tiny@{commit}" in stdout

    hub.requests.clear()
    out = tmp_path / "out"
    code, stdout, stderr = ended(
        process("eval", "org/tiny", "--suite", "demo", "--offline", "--out", out, **environment)
    )
    assert code == 0, stderr
    assert hub.requests == []
    assert len(list((out / "org__tiny" / commit[:12]).glob("*.parquet"))) == 3


def test_missing_and_gated_repositories(
    hub: Hub, tiny: Path, process: Process, tmp_path: Path
) -> None:
    environment = hub.environment(tmp_path / "home")
    code, _, stderr = ended(process("eval", "org/none", "--suite", "demo", **environment))
    assert code == 3
    assert stderr.count("\n") == 1
    hub.add("org/gated", tiny, gated=True)
    code, _, stderr = ended(process("eval", "org/gated", "--suite", "demo", **environment))
    assert code == 3
    assert "hf auth login" in stderr
    assert stderr.count("\n") == 1
