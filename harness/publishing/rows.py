"""Makes the data set of the results: a row per example, the scores of checkpoints, and a card."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import pyarrow.compute as pc

from harness.analysis.entries import Entry
from harness.analysis.gather import RESULTS, Board
from harness.board.build import parquet_bytes
from harness.cards.catalogue import read_cards
from harness.publishing.measured import published
from harness.publishing.proposal import Content, RepositoryState

MARK = "<!-- xharness -->"  # A card with this mark is ours; any other card is not changed.


def files(board: Board, entries: Sequence[Entry], root: Path) -> dict[str, Content]:
    """Return path in the data set → content: the files of rows, and scores per checkpoint."""
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


def wanted(new: Mapping[str, Content], there: RepositoryState) -> dict[str, Content]:
    """Return the new files, and a card of these and the data set's own files.

    There is no new card where the data set has a card that is not ours.
    """
    card = there.read("README.md")
    if card is not None and MARK.encode() not in card:
        return dict(new)
    return {**new, "README.md": _card({*there.files, *new}).encode()}


def _card(names: Collection[str]) -> str:
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
