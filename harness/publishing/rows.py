"""The data set with the results: rows per example, scores per checkpoint, and its card."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import pyarrow.compute as pc

from harness.analysis.entries import Entry
from harness.analysis.gather import RESULTS, Board
from harness.board.build import parquet_bytes
from harness.cards.catalogue import read_cards
from harness.publishing.measured import published
from harness.publishing.proposal import Content, RepositoryState

MARK = "<!-- xharness -->"  # a card with it is ours; any other is left alone


def files(board: Board, entries: Sequence[Entry], root: Path) -> dict[str, Content]:
    """Path in the data set → content: the rows as on disk, the scores of each checkpoint."""
    found: dict[str, Content] = {}
    for entry in entries:
        results = published(entry)
        for result in results:
            found[f"results/{result.path}"] = root / RESULTS / result.path
        folder = Path(results[0].path).parent.as_posix()
        signatures = sorted({result.folded.meta["signature"] for result in results})
        scores = board.scores.filter(
            (pc.field("model") == results[0].folded.meta["model"])
            & (pc.field("revision") == results[0].folded.meta["revision"])
            & pc.field("signature").isin(signatures)
        )
        found[f"scores/{folder}.parquet"] = parquet_bytes(scores)
    return found


def wanted(there: RepositoryState, new: Mapping[str, Content]) -> dict[str, Content]:
    """The files, and a card over them and those that are there, unless it has another card."""
    card = there.read("README.md")
    if card is not None and MARK.encode() not in card:
        return dict(new)
    return {**new, "README.md": _card({*there.names, *new}).encode()}


def _card(names: Iterable[str]) -> str:
    names = list(names)
    cards = read_cards()
    tasks = sorted({Path(n).name.split(".")[0] for n in names if n.startswith("results/")})
    tasks = [task for task in tasks if task in cards]
    lines = ["---", "configs:", "- config_name: scores", "  data_files: scores/**/*.parquet"]
    lines += ["  default: true"]
    for task in tasks:
        lines += [f"- config_name: {task}", f"  data_files: results/**/{task}.*.parquet"]
    lines += ["---", MARK, "", "# Results of xharness", ""]
    lines += [
        "`results/` has one row per example of every checkpoint and task, `scores/` the scores that"
        " follow from them, in [0, 1]. Every file names checkpoint, commit, protocol and versions"
        " in its metadata (key `xharness`).",
        "",
        "Predicted answers are pieces of the tasks' texts and come under the tasks' licences:",
        "",
    ]
    lines += [f"- {cards[task].title}: {cards[task].licence}" for task in tasks]
    return "\n".join(lines) + "\n"
