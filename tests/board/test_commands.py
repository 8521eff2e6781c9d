"""The commands of the board, as a person runs them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from harness.cli import app
from tests.board.boards import hand_worked


@pytest.fixture
def board(root: Path) -> Path:
    return hand_worked(root)


def run(*words: object, cache: Path) -> tuple[int, str, str]:
    environment = {"XHARNESS_CACHE": str(cache), "COLUMNS": "200"}
    ran = CliRunner().invoke(app, [str(word) for word in words], env=environment)
    return ran.exit_code, ran.stdout, ran.stderr


def test_leaderboard_check_verify(board: Path, tmp_path: Path) -> None:
    code, out, _ = run("leaderboard", "--root", board, cache=tmp_path / "c")
    assert code == 0
    assert "README.md" in out
    assert run("leaderboard", "--root", board, "--check", cache=tmp_path / "c")[:2] == (0, "")
    code, out, _ = run("verify", "--root", board, cache=tmp_path / "c")
    assert (code, out.split(" ", 1)[1]) == (0, "scores are what the outcomes give\n")
    (board / "leaderboard/README.md").write_text("x")
    code, out, err = run("leaderboard", "--root", board, "--check", cache=tmp_path / "c")
    assert code == 1
    assert "README.md" in err
    (board / "leaderboard/scores.parquet").unlink()
    assert run("verify", "--root", board, cache=tmp_path / "c")[0] == 3


def test_compare(board: Path, tmp_path: Path) -> None:
    words = ("compare", "hand/english-qa", "base", "--root", board)
    code, out, _ = run(*words, "--by-language", cache=tmp_path / "c")
    assert code == 0
    said = "not known (at chance): +50.00 points, 95 % interval [+50.00, +50.00]"
    assert said in " ".join(out.split())
    assert [line.split() for line in out.splitlines() if line.startswith("sw ")] == [
        ["sw", "demo_bitext", "0.00", "[0.00,", "0.00]", "1.000", "not", "known", "(at", "chance)"]
    ]
    (one,) = json.loads(run(*words, "--format", "json", cache=tmp_path / "c")[1])
    assert one["difference"]["estimate"]["difference"] == 0.5
    assert run(*words, "--task", "demo_bitext", cache=tmp_path / "c")[0] == 0
    assert run(*words, "--task", "tatoeba", cache=tmp_path / "c")[0] == 5
    assert run("compare", "none/x", "base", "--root", board, cache=tmp_path / "c")[0] == 3


def test_contrast(board: Path, tmp_path: Path) -> None:
    code, out, _ = run("contrast", "--root", board, cache=tmp_path / "c")
    assert code == 0
    assert "multilingual QA − English QA: not known (at chance): +25.00 points" in out
    assert "not known (English NLI: no checkpoint submitted)" in " ".join(out.split())
    found = json.loads(run("contrast", "--root", board, "--format", "json", cache=tmp_path)[1])
    assert len(found) == 8
    assert found[0]["interval"] == [0.5, 0.5]
    assert run("contrast", "--root", tmp_path / "no", cache=tmp_path / "c")[0] == 3
