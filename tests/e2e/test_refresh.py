"""The whole refresh: downloads with a token, evaluates without, board with reasons."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.checkpoints import build
from tests.e2e.conftest import Run
from tests.hub.inprocess import point
from tests.hub.server import Hub
from tests.hub.writing import TOKEN


def test_refresh(run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    root = tmp_path / "root"
    (root / "submissions").mkdir(parents=True)
    for name in ("good", "pickle"):
        text = f"# kept\nmodel: org/{name}\nobjective: none\n"
        (root / "submissions" / f"{name}.yaml").write_text(text)
    with Hub() as hub:
        commit = hub.add("org/good", build("bert", tmp_path / "tiny"))
        hub.add("org/pickle", {"config.json": b"{}", "pytorch_model.bin": b"x"})
        point(monkeypatch, hub, tmp_path / "home", TOKEN)
        ran = run("refresh", "--suite", "demo", "--root", root)
        assert set(hub.tokens) == {TOKEN}  # the worker asked nothing
    out, err = ran.stdout, ran.stderr
    assert ran.code == 5
    assert "pickle: failed: org/pickle@" in out
    assert "good: measured, without demo_qa (does not apply)" in out
    assert err.splitlines()[-1].startswith("error: failed: pickle (pickle: org/pickle@")
    assert (root / "submissions" / "good.yaml").read_text().splitlines()[:3] == [
        "# kept", "model: org/good", f"revision: {commit}",
    ]  # fmt: skip
    results = root / "leaderboard" / "results" / "org__good" / commit[:12]
    tasks = sorted(path.name.split(".")[0] for path in results.glob("*.parquet"))
    assert tasks == ["demo_bitext", "demo_mining", "demo_passages"]
    attempts = json.loads((root / "leaderboard" / "attempts.json").read_text())
    assert list(attempts["good"]["without"]) == [
        "demo_qa",
        "demo_pairs",
        "demo_choices",
        "demo_tags",
    ]
    board = (root / "leaderboard" / "pending.md").read_text()
    assert "org/pickle@" in board
    assert TOKEN not in out + err + board


def test_strangers_are_not_sent_to_a_cluster(run: Run, tmp_path: Path) -> None:
    ran = run("refresh", "--engine", "ray", "--root", tmp_path)
    assert ran.code == 2
    assert "processes without secrets" in ran.stderr
    assert ran.stderr.count("\n") == 1
