"""Real data, and a real checkpoint where one is named, through the unmodified client and a Hub.

``XHARNESS_CHECKPOINT``: a folder with a checkpoint; a tiny one is made where it is not set.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from harness.cards.catalogue import read_card
from tests.checkpoints import build
from tests.e2e.conftest import Process, ended
from tests.hub.server import Hub


@pytest.mark.slow
def test_a_failing_hub_gives_the_scores_of_the_official_files(
    data_dir: Path, process: Process, tmp_path: Path
) -> None:
    named = os.environ.get("XHARNESS_CHECKPOINT")
    folder = Path(named) if named else build("xlm-roberta", tmp_path / "tiny")
    mirror = read_card("tatoeba").source.splits["test"].hub
    assert mirror is not None
    sides = [
        (data_dir / "tatoeba" / f"tatoeba.deu-eng.{code}").read_text(encoding="utf-8").splitlines()
        for code in ("deu", "eng")
    ]
    rows = [
        json.dumps({"sentence1": one, "sentence2": two}, ensure_ascii=False)
        for one, two in zip(*sides, strict=True)
    ]
    asked = ("--suite", "xtreme-r", "--task", "tatoeba", "--lang", "de", "--format", "json")
    with Hub() as hub:
        commit = hub.add("org/real", folder, card={"license": "apache-2.0"})
        hub.add(
            mirror.id,
            {"test/deu-eng.jsonl": "\n".join(rows).encode(), "README.md": b"data"},
            kind="datasets",
            commit=mirror.revision,
        )
        hub.fail("/api/datasets/", 429, headers={"Retry-After": "0"})
        hub.cut("deu-eng.jsonl", after=1000)
        hub.fail("/api/models/org/real", 500)
        hub.cut("model.safetensors", after=50_000, times=2)
        # The official files are out of reach.
        environment = hub.environment(tmp_path / "home") | {
            "HTTPS_PROXY": "http://127.0.0.1:9", "https_proxy": "http://127.0.0.1:9",
            "no_proxy": "127.0.0.1", "XHARNESS_CACHE": str(tmp_path / "cache"),
        }  # fmt: skip
        code, through_hub, stderr = ended(
            process("eval", "org/real", *asked, "--out", tmp_path / "a", **environment)
        )
        assert code == 0, stderr
        assert hub.failures == []
        code, stdout, stderr = ended(
            process("submit", "org/real", "--objective", "none", "--root", tmp_path, **environment)
        )
        assert code == 0, stderr
    assert f"revision: {commit}" in Path(stdout.strip()).read_text(encoding="utf-8")
    code, direct, stderr = ended(
        process("eval", folder, *asked, "--data", data_dir, "--out", tmp_path / "b",
                XHARNESS_CACHE=str(tmp_path / "other"))
    )  # fmt: skip
    assert code == 0, stderr
    scores = [
        {(row["direction"], row["metric"]): row["value"] for row in json.loads(text)}
        for text in (through_hub, direct)
    ]
    assert scores[0] == scores[1]
    assert ("en-de", "recall@10") in scores[0]
