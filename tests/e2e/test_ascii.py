"""Streams of ASCII: each command prints escapes there, and JSON can still be read."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import pytest

from harness.board.build import leaderboard
from harness.cards.catalogue import read_card
from harness.cli import COMMANDS, main
from tests.metadata import metadata
from tests.mini_xtreme import run_task

ID = "org/model"


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A board, and a folder whose name is not ASCII."""
    made = tmp_path_factory.mktemp("ascii") / "größe 大小"
    card = read_card("demo_qa")
    changes = {"revision": f"0123456789ab{'0' * 28}", "route": "package"}
    own = metadata(card, card.languages, model=ID, **changes)["signature"]
    run_task(card, None, None, made / "leaderboard/results", signature=own, **changes)
    (made / "submissions").mkdir()
    text = f"model: {ID}\nrevision: {changes['revision']}\nobjective: none\n"
    (made / "submissions/org__model.yaml").write_text(text)
    leaderboard(made, cache=made / "cache")
    return made


def printed(monkeypatch: pytest.MonkeyPatch, root: Path, *words: object) -> tuple[object, str, str]:
    """The real entry with streams of ASCII: its exit code, stdout and stderr."""
    streams = [io.TextIOWrapper(io.BytesIO(), encoding="ascii") for _ in range(2)]
    monkeypatch.setattr(sys, "stdout", streams[0])
    monkeypatch.setattr(sys, "stderr", streams[1])
    monkeypatch.setattr(sys, "argv", ["xharness", *(str(word) for word in words)])
    monkeypatch.setenv("XHARNESS_CACHE", str(root / "cache"))
    monkeypatch.setenv("XHARNESS_DATA", "")
    with pytest.raises(SystemExit) as end:
        main()
    texts = []
    for stream in streams:
        stream.flush()
        texts.append(stream.buffer.getvalue().decode("ascii"))  # type: ignore[attr-defined]
    return (end.value.code or 0, *texts)


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ("show {results} --by-language", 0),
        ("show {results} --format markdown", 0),
        ("show {results} --format csv", 0),
        ("show {results} --worst 3", 0),
        ("show {results} --worst 3 --format csv", 0),
        ("show {results}/fehlt-größe", 3),
        ("leaderboard --root {root}", 0),
        ("verify --root {root}", 0),
        ("validate {root}/submissions/org__model.yaml", 0),
        ("tasks", 0),
        ("tasks tatoeba", 0),
        ("tasks --intermediate", 0),
        ("tasks größe", 2),
        ("plan xharness/demo --suite demo --offline", 0),
        ("export {results}/org__model/0123456789ab {root}/predictions", 0),
        ("doctor", 0),
        ("cache ls", 0),
        ("--größe", 2),
    ],
)
def test_what_commands_print(
    words: str, code: int, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    places = {"results": root / "leaderboard/results", "root": root}
    line = [word.format(**places) for word in words.split()]
    found, stdout, stderr = printed(monkeypatch, root, *line)
    assert found == code, stderr
    assert code == 0 or stderr.startswith("error: ")
    assert code or stdout.strip() or words.startswith(("validate", "leaderboard"))


@pytest.mark.parametrize("command", [command.__name__ for command in COMMANDS])
def test_the_help_of_each_command(
    command: str, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code, stdout, stderr = printed(monkeypatch, root, command, "--help")
    assert code == 0, stderr
    assert "Usage" in stdout


def test_json_is_the_same_as_in_utf_8(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = ("show", root / "leaderboard/results", "--worst", 100, "--format", "json")
    code, stdout, stderr = printed(monkeypatch, root, *words)
    assert code == 0, stderr
    rows = json.loads(stdout)
    assert any(not str(row["prediction"]).isascii() for row in rows)
    assert "\\u00" in stdout  # a sign that Python alone would write as \\x


def test_a_sign_beyond_the_first_plane_is_a_pair(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code, _, stderr = printed(monkeypatch, root, "tasks", "\U0001f600é")
    assert code == 2
    assert "\\ud83d\\ude00\\u00e9" in stderr
