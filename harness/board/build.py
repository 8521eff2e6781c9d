"""A `Board` → everything under `leaderboard/`, the same bytes every time."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from harness.analysis.gather import Board, read_board, read_scores
from harness.board import (
    contrasts,
    coverage,
    figures,
    page,
    pages,
    publications,
    rankings,
    readme,
    targets,
)
from harness.errors import CheckFailed, DataError, HarnessError, NotFoundError, together
from harness.io.files import write_whole
from harness.results.outcomes import DAMAGE

SCORES = "leaderboard/scores.parquet"
PAGES = (
    "README.md",
    "contrasts.md",
    "rankings.md",
    "coverage.md",
    "pending.md",
    "published.md",
    "targets.md",
    "reproduce.md",
    "index.html",
)
WITHOUT_OUTCOMES = "has no outcomes"


def leaderboard(root: Path, *, check: bool = False, cache: Path | None = None) -> list[Path]:
    """Rebuild `leaderboard/` under ``root`` from its outcomes and submissions.

    Returns the files that were written because they are new or changed; files of pages that no
    longer exist are removed. ``cache``: a folder where folds and contrasts are kept.

    Raises:
        CheckFailed: with ``check``, something on disk is not what would be written; names it.
        NotFoundError: there are neither outcomes nor submissions.
        DataError: outcome files are damaged, or a submission does not fit. The board is that of
            the other files; ``error.scores`` has what was written.
    """
    board = read_board(root, cache)
    files = render(board)
    stale = [root / name for name, content in files.items() if not _same(root / name, content)]
    gone = [path for path in _generated(root) if path.relative_to(root).as_posix() not in files]
    if check:
        if stale or gone:
            names = ", ".join(str(path.relative_to(root)) for path in sorted([*stale, *gone]))
            failed = CheckFailed(
                f"stale: {names}; run `xharness leaderboard` and commit the result"
            )
            raise together([*board.damaged, failed])
        if board.damaged:
            raise together(board.damaged)
        return []
    for path in stale:
        write_whole(path, files[path.relative_to(root).as_posix()])
    for path in gone:
        path.unlink()
    if board.damaged:
        raise together(board.damaged, stale)
    return stale


def verify(root: Path) -> int:
    """Recompute every score from the outcomes, without any cache; returns how many there are.

    Raises:
        CheckFailed: names the first rows of scores.parquet that differ.
        NotFoundError: there is no scores.parquet, or there are no outcomes.
        DataError: outcome files or scores.parquet are damaged; what differs elsewhere is said too.
    """
    path = root / SCORES
    if not path.exists():
        raise NotFoundError(f"no {SCORES} under {root}: run `xharness leaderboard` first")
    errors: list[HarnessError] = []
    kept = None
    try:
        kept = pq.ParquetFile(path).read()
    except DAMAGE as error:
        errors.append(
            DataError(f"{path} cannot be read ({type(error).__name__}): run `xharness leaderboard`")
        )
    computed, damaged = read_scores(root)
    errors += damaged
    if kept is not None and (differing := _differing(kept, computed, damaged)):
        errors.append(CheckFailed(f"{SCORES} differs: {differing}"))
    if errors:
        raise together(errors)
    return int(computed.num_rows)


def _differing(kept: pa.Table, computed: pa.Table, damaged: Sequence[DataError]) -> str:
    """What differs, in words; damaged files are not compared."""
    if not kept.schema.equals(computed.schema):
        return "its columns are not those of this version: run `xharness leaderboard`"
    differences = list(_row_differences(kept, computed))
    if damaged:
        differences = [line for line in differences if not line.endswith(WITHOUT_OUTCOMES)]
    more = f" (and {len(differences) - 5} more)" if len(differences) > 5 else ""
    return "; ".join(differences[:5]) + more


def render(board: Board) -> dict[str, bytes]:
    """Path under the root → content, of everything that is generated."""
    files: dict[str, bytes] = {SCORES: parquet_bytes(board.scores)}
    texts = {
        "README.md": readme.write(board),
        "contrasts.md": contrasts.write(board),
        "rankings.md": rankings.write(board),
        "published.md": publications.write(board),
        "targets.md": targets.write(board),
        "index.html": page.write(board),
        **coverage.write(board),
    }
    for name, text in (figures.draw(board) | pages.write(board) | texts).items():
        files[f"leaderboard/{name}"] = text.encode()
    return dict(sorted(files.items()))


def parquet_bytes(table: pa.Table) -> bytes:
    """A table as one Parquet file, the same bytes every time."""
    sink = io.BytesIO()
    pq.write_table(table.combine_chunks(), sink, compression="zstd", row_group_size=1 << 20)
    return sink.getvalue()


def _same(path: Path, content: bytes) -> bool:
    """Whether a file has this content; Parquet files of different writers are compared by rows."""
    if not path.is_file():
        return False
    there = path.read_bytes()
    if there == content or path.suffix != ".parquet":
        return there == content
    try:
        one, other = (pq.ParquetFile(io.BytesIO(data)) for data in (there, content))
        if one.metadata.created_by == other.metadata.created_by:
            return False
        return bool(one.read().equals(other.read()))
    except (pa.ArrowException, OSError):
        return False


def _generated(root: Path) -> Iterator[Path]:
    """The files that an earlier build may have written."""
    folder = root / "leaderboard"
    for pattern in (*PAGES, "checkpoints/*.md", "figures/*.svg"):
        yield from sorted(folder.glob(pattern))
    yield from (path for path in [root / SCORES] if path.exists())


def _row_differences(kept: pa.Table, computed: pa.Table) -> Iterator[str]:
    keys = ("model", "revision", "signature", "task", "lang", "direction", "metric")

    def keyed(table: pa.Table) -> dict[tuple[Any, ...], dict[str, Any]]:
        return {tuple(row[key] for key in keys): row for row in table.to_pylist()}

    there, wanted = keyed(kept), keyed(computed)
    for key in sorted(there.keys() | wanted.keys(), key=repr):
        model, _, _, task, lang, direction, metric = key
        what = " ".join(str(part) for part in (model, task, lang, direction, metric) if part)
        if key not in there:
            yield f"{what} is not in it"
        elif key not in wanted:
            yield f"{what} {WITHOUT_OUTCOMES}"
        elif there[key] != wanted[key]:
            name = next(n for n in wanted[key] if there[key].get(n) != wanted[key][n])
            yield f"{what}: {name} is {there[key].get(name)}, recomputed {wanted[key][name]}"
    if kept.num_rows != len(there):
        yield f"{kept.num_rows - len(there)} rows are given twice"
