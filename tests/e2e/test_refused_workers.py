"""What a checkpoint does on a worker ends the command as it does without workers."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.e2e.conftest import Run


@pytest.fixture(scope="module")
def broken(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """It loads, and breaks when it runs: ids of its tokenizer lie beyond its vectors."""
    folder = shutil.copytree(tiny, tmp_path_factory.mktemp("broken") / "broken")
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"max_position_embeddings": 4}))
    return folder


@pytest.mark.parametrize("options", [(), ("--workers", 2)], ids=["alone", "workers"])
def test_a_refusal_has_code_4_and_costs_no_other_model(
    run: Run, tiny: Path, broken: Path, tmp_path: Path, options: tuple[object, ...]
) -> None:
    ran = run(
        "eval", broken, tiny, "--task", "demo_bitext", "--lang", "de", "--out", tmp_path / "out",
        "--device", "cpu", "--format", "json", *options,
    )  # fmt: skip
    assert ran.code == 4, ran.stderr
    lines = ran.stderr.splitlines()
    assert f"error: {broken.name}" in lines[-1]
    assert len([line for line in lines if line.startswith("error: ")]) == 1
    assert {row["model"] for row in json.loads(ran.stdout) if row["value"] is not None} == {
        tiny.name
    }
