"""Folds one outcome file → its scores with intervals, once, and keeps them.

The numbers are those of ``harness.results.scores``; a file is read in columns, and its draws are
computed with it, since a board folds hundreds of them.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property, partial
from hashlib import sha256
from math import isnan
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from harness.analysis.cells import Cell, unit_cells
from harness.analysis.draws import interval
from harness.cards.catalogue import card_of
from harness.cards.languages import task_root
from harness.cards.task import TaskCard
from harness.errors import DataError, UsageError
from harness.io.kept import keep, read_kept
from harness.metrics.per_example import Floats
from harness.results.checks import REMEDY, checked, consistent, folders_of, known_card
from harness.results.encoding import KEY
from harness.results.outcomes import OutcomeFile, read_meta
from harness.results.provenance import Origin
from harness.results.scores import (
    SCHEMA,
    indistinct_shares,
    is_complete,
    macro,
    run_columns,
    unranked_reasons,
)

# A kept fold has a score and what it is a mean over. The headline also has what pairs of
# checkpoints need: its draws, and what each cluster (by key) adds to it.
FOLD_SCHEMA = pa.schema(
    [
        ("lang", pa.string()),
        ("direction", pa.string()),
        ("group", pa.string()),
        ("metric", pa.string()),
        ("value", pa.float64()),
        ("n", pa.int64()),
        ("low", pa.float64()),
        ("high", pa.float64()),
        ("draws", pa.list_(pa.float32())),
        ("keys", pa.list_(pa.uint64())),
        ("parts", pa.list_(pa.float64())),
    ]
)
DROPPED = ("timing", "data")  # of the metadata: not needed, and different in every run


@dataclass(frozen=True, eq=False)
class Folded:
    """The scores of one outcome file. ``meta``: its metadata without timing and data digests.

    ``origin``: who measured its rows, according to the board that it lies on. ``doubt``: what that
    board cannot know of the checkpoint.
    """

    meta: dict[str, Any]
    merged: bool
    table: pa.Table
    origin: Origin = field(default_factory=Origin)
    doubt: str = ""

    @cached_property
    def card(self) -> TaskCard:
        """The task, as its card is now."""
        return card_of(self.meta)

    @cached_property
    def notes(self) -> list[str]:
        """Why these scores are never ranked."""
        doubts = filter(None, (self.origin.doubtful, self.doubt))
        return [*unranked_reasons(self.meta, self.card), *doubts]

    @property
    def complete(self) -> bool:
        """Whether the languages of some suite are there."""
        return self.merged and is_complete(self.card, self.meta)


def fold(file: OutcomeFile, kept: Path | None = None) -> Folded:
    """Return the scores of one outcome file; ``kept`` is a folder of folds that were computed
    before.

    A fold is kept under the digest of the file, its card and this code, so that it is never used
    for another.

    Raises:
        DataError: the file is damaged, or its rows cannot be of one run.
    """
    path = _kept_path(file, kept) if kept else None
    if path is None:
        return _fold(file)
    if (found := _read_kept(path)) is not None:
        return found
    folded = _fold(file)
    keep(path, partial(_write_kept, folded))
    return folded


def kept_fold(file: OutcomeFile, kept: Path) -> Folded | None:
    """Return the fold of a file, if it was computed before; one that is damaged is removed."""
    path = _kept_path(file, kept)
    return None if path is None else _read_kept(path)


def _kept_path(file: OutcomeFile, kept: Path) -> Path | None:
    """Return where the fold of a file is kept; None for one that is not whole, since it may
    change.
    """
    if not file.whole:
        return None
    return kept / f"{fold_key(file.path)}.arrow"


def _read_kept(path: Path) -> Folded | None:
    def mapped(path: Path) -> Folded:
        table = pa.ipc.open_file(pa.memory_map(str(path))).read_all()
        return Folded(json.loads(table.schema.metadata[KEY]), True, table)

    return read_kept(path, mapped)


def _write_kept(folded: Folded, path: Path) -> None:
    text = json.dumps(folded.meta, ensure_ascii=False)
    table = folded.table.replace_schema_metadata({KEY: text})
    # Arrow's own format is mapped in a fraction of Parquet's time; these numbers hardly compress.
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)


def fold_key(path: Path) -> str:
    """Return sha256 hex over an outcome file's bytes, its card and the code that folds it."""
    digest = sha256(_code_digest())
    try:
        card = card_of(read_meta(path))
    except UsageError as error:
        raise DataError(f"{path}: {error}; {REMEDY}") from error
    # The path counts too, because a file that contradicts its path is refused.
    places = ("/".join((*folder.parts[-2:], path.name)) for folder in folders_of(path))
    digest.update("//".join(places).encode())
    digest.update(" ".join((card.hash, card.primary, *card.metrics)).encode())
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


@cache
def _code_digest() -> bytes:
    """Return a digest of all modules that decide what a fold holds."""
    package = Path(__file__).parent.parent
    modules = [package / f"analysis/{name}.py" for name in ("cells", "draws", "fold")]
    # The means over languages, and what a file is checked by before it is folded.
    modules += [
        package / f"results/{name}.py" for name in ("scores", "checks", "metadata", "provenance")
    ]
    modules += [package / "cards/examples.py", task_root() / "target/examples.tsv"]
    for room in ("kinds", "metrics"):
        modules += sorted((package / room).glob("*.py"))
    return sha256(b"\0".join(path.read_bytes() for path in modules)).digest()


def _fold(file: OutcomeFile) -> Folded:
    meta = file.meta()
    card = known_card(file, meta)
    cells: list[Cell] = []
    relevant: dict[str, float] = {}  # language → the mean number of a query's relevant candidates
    larger: dict[str, float] = {}  # language → the share of the larger class of gold labels
    for _, rows in checked(file, meta):
        with consistent(file):
            cells += unit_cells(rows, card, meta["split"])
        if "relevant" in rows.schema.names:
            relevant[cells[-1].score.lang] = float(pc.mean(rows.column("relevant")).as_py())
        if card.kind == "classification":
            of_classes = pc.value_counts(rows.column("gold")).field("counts")
            larger[cells[-1].score.lang] = pc.max(of_classes).as_py() / len(rows)
    cells += _macros(cells)
    lows, highs = interval(np.stack([cell.draws for cell in cells]))
    lines = []
    for cell, low, high in zip(cells, lows.tolist(), highs.tolist(), strict=True):
        ends = {} if isnan(low) else {"low": low, "high": high}
        row: dict[str, Any] = cell.score._asdict() | ends
        if cell.parts is not None:
            keys, added = cell.parts
            row |= {"draws": cell.draws.astype(np.float32), "keys": keys, "parts": added}
        lines.append(row)
    table = pa.Table.from_pylist(lines, schema=FOLD_SCHEMA)
    kept = {key: meta[key] for key in meta if key not in DROPPED}
    kept |= {"relevant": relevant, "larger": larger}
    return Folded(kept, file.path.exists(), table)


def _macros(cells: Sequence[Cell]) -> list[Cell]:
    """Return the means over languages, draw by draw: a draw weights an item alike in all of
    them.
    """
    drawn: dict[tuple[str, str], list[Floats]] = {}
    for cell in cells:
        drawn.setdefault((cell.score.group, cell.score.metric), []).append(cell.draws)
    return [
        Cell(whole, sum(members[1:], members[0].copy()) / len(members))
        for whole in macro([cell.score for cell in cells])
        for members in [drawn[whole.group, whole.metric]]
    ]


def score_rows(folded: Folded, extra: dict[str, Any]) -> pa.Table:
    """Return the rows of scores.parquet; ``extra``: base, objective, train_languages,
    contaminated.
    """
    meta = folded.meta
    common = {
        **run_columns(meta),
        "provenance": folded.origin.provenance,
        "complete": folded.complete,
        "note": "; ".join(folded.notes),
        **{key: value for key, value in extra.items() if value is not None},
    }
    size = folded.table.num_rows
    columns = []
    for wanted in SCHEMA:
        if wanted.name == "indistinct":
            tied = indistinct_shares(meta)
            langs = folded.table.column("lang").to_pylist()
            columns.append(pa.array([tied.get(lang) for lang in langs], wanted.type))
        elif wanted.name in FOLD_SCHEMA.names:
            columns.append(folded.table.column(wanted.name).combine_chunks())
        else:
            columns.append(pa.array([common.get(wanted.name)] * size, wanted.type))
    return pa.Table.from_arrays(columns, schema=SCHEMA)
