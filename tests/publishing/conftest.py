"""A board with one model measured on LAReQA, and its repository on a loopback Hub."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from typer.testing import CliRunner

from harness.board.build import leaderboard
from harness.cards.catalogue import read_card
from harness.cli import app
from tests.board.boards import measure, submit
from tests.hub.inprocess import point
from tests.hub.server import Hub
from tests.hub.writing import TOKEN

MODEL = "maker/model"
DATA_SET = "tester/results"
CARD = b"---\r\nlicense: mit\r\n# a comment that stays\r\n---\r\n# A model\r\n\r\nText.\r\n"


def passages(hit: bool = True) -> dict[str, list[dict[str, object]]]:
    """Two questions a language; the first one's answers are found or not, the second one's are."""
    return {
        lang: [
            {
                "example_id": f"{lang}:{i}", "lang": lang, "cluster": f"xquad:{i}",
                "direction": f"{lang}-all", "ranks": [1] if hit or i else [50], "relevant": 1,
                "top_ids": [f"{lang}:{i}"],
            }
            for i in range(2)
        ]
        for lang in read_card("lareqa").languages
    }  # fmt: skip


def lay(root: Path, model: str = MODEL, hit: bool = True, **changes: object) -> Path:
    """A board with ``model`` measured on LAReQA."""
    rows = passages(hit)
    timing = {unit: {"seconds": 1.0, "finished": 1_767_225_600} for unit in rows}
    path = measure(root, model, rows, task="lareqa", **changes)
    _retime(path, timing)
    if "/" in model and "revision" not in changes:
        submit(root, model)
    leaderboard(root)
    return root


def _retime(path: Path, timing: dict[str, object]) -> None:
    import json

    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        meta = json.loads(file.schema_arrow.metadata[b"xharness"]) | {"timing": timing}
        groups = [file.read_row_group(i) for i in range(file.num_row_groups)]
    schema = groups[0].schema.with_metadata({b"xharness": json.dumps(meta).encode()})
    with pq.ParquetWriter(path, schema) as writer:
        for group in groups:
            writer.write_table(group.cast(schema))


@pytest.fixture
def hub(hub: Hub) -> Hub:
    hub.add(MODEL, {"README.md": CARD, "config.json": b"{}"})
    return hub


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return lay(tmp_path / "root")


@dataclass(frozen=True)
class Ran:
    """What a command left behind."""

    code: int
    out: str
    err: str


@pytest.fixture
def publish(
    hub: Hub, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Ran]:
    """Run `xharness publish … --to DATA_SET` on the board, with a token unless told otherwise."""

    def ran(*words: object, token: str | None = TOKEN, board: Path = root, keys: str = "") -> Ran:
        point(monkeypatch, hub, tmp_path / "home", token)
        args = ["publish", *words, "--to", DATA_SET, "--root", board]
        environment = {"XHARNESS_CACHE": str(tmp_path / "cache")}
        result = CliRunner().invoke(app, [str(arg) for arg in args], env=environment, input=keys)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return Ran(result.exit_code, result.stdout, result.stderr)

    return ran


@pytest.fixture(scope="module", autouse=True)
def _by_hand(rows_by_hand: None) -> None:
    """The boards of these tests are of rows by hand."""
