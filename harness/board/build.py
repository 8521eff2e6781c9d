"""Outcomes and submissions → everything under `leaderboard/`, the same bytes every time."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any
from uuid import uuid4

import pyarrow as pa
import pyarrow.parquet as pq

from harness.attempts import read_attempts
from harness.board.contrasts import Contrast, named_contrasts
from harness.board.entries import TRACKS, Entry, make_entries
from harness.board.fold import Folded, fold, score_rows
from harness.board.gains import Gain, gains
from harness.board.published import Figure, read_figures
from harness.board.standings import Standing, standing
from harness.board.variants import variants
from harness.errors import CheckFailed, DataError, NotFoundError
from harness.outcomes import DAMAGE, OutcomeFile, find
from harness.scoring import SCHEMA
from harness.submission import Submission, read_submissions

RESULTS = Path("leaderboard/results")
SCORES = "leaderboard/scores.parquet"
FEW = 8  # files that are folded in this process: starting others costs a second


@dataclass(frozen=True, eq=False)
class Board:
    """All that the pages are rendered from. ``shown``: the entries, with seeds put together."""

    entries: tuple[Entry, ...]
    shown: tuple[Entry, ...]
    scores: pa.Table
    standings: tuple[Standing, ...]
    contrasts: tuple[Contrast, ...]
    published: tuple[Figure, ...]

    @cached_property
    def gains(self) -> list[Gain]:
        """Every checkpoint against its base."""
        return gains(self.shown, self.entries)

    def entry(self, slug: str) -> Entry:
        """The checkpoint with a slug."""
        return next(entry for entry in self.entries if entry.slug == slug)


def leaderboard(
    root: Path,
    *,
    check: bool = False,
    cache: Path | None = None,
    submissions: Mapping[str, Submission] | None = None,
) -> list[Path]:
    """Rebuild `leaderboard/` under ``root`` from its outcomes and submissions.

    Returns the files that were written because they are new or changed; files of pages that no
    longer exist are removed. ``cache``: a folder where folds and contrasts are kept.
    ``submissions``: those to show, where not all of `submissions/` can be read.

    Raises:
        CheckFailed: with ``check``, something on disk is not what would be written; names it.
        NotFoundError: there are neither outcomes nor submissions.
        DataError: an outcome file is damaged, or a submission does not fit.
    """
    files = render(read_board(root, cache, submissions))
    stale = [root / name for name, content in files.items() if not _same(root / name, content)]
    gone = [path for path in _generated(root) if path.relative_to(root).as_posix() not in files]
    if check:
        if stale or gone:
            names = ", ".join(str(path.relative_to(root)) for path in sorted([*stale, *gone]))
            raise CheckFailed(f"stale: {names}; run `xharness leaderboard` and commit the result")
        return []
    for path in stale:
        _write(path, files[path.relative_to(root).as_posix()])
    for path in gone:
        path.unlink()
    return stale


def verify(root: Path) -> int:
    """Recompute every score from the outcomes, without any cache; returns how many there are.

    Raises:
        CheckFailed: names the first rows of scores.parquet that differ.
        NotFoundError: there is no scores.parquet, or there are no outcomes.
        DataError: an outcome file or scores.parquet is damaged.
    """
    path = root / SCORES
    if not path.exists():
        raise NotFoundError(f"no {SCORES} under {root}: run `xharness leaderboard` first")
    try:
        kept = pq.read_table(path)
    except DAMAGE as error:
        raise DataError(
            f"{path} cannot be read ({type(error).__name__}): run `xharness leaderboard`"
        ) from error
    computed = read_scores(root)
    if kept.schema.names != computed.schema.names:
        raise CheckFailed(f"{path}: its columns are not those of this version: rebuild it")
    differences = list(_row_differences(kept, computed))
    if differences:
        more = f" (and {len(differences) - 5} more)" if len(differences) > 5 else ""
        raise CheckFailed(f"{SCORES} differs: {'; '.join(differences[:5])}{more}")
    return int(computed.num_rows)


def read_scores(root: Path, cache: Path | None = None) -> pa.Table:
    """scores.parquet, computed from the outcomes."""
    submissions = read_submissions(root / "submissions")
    folded = fold_all(root / RESULTS, cache)
    return _score_table(folded, make_entries(folded, submissions))


def read_contrasts(root: Path, cache: Path | None = None) -> tuple[Contrast, ...]:
    """The named contrasts of a board. NotFoundError where there is nothing to contrast."""
    return read_board(root, cache).contrasts


def read_board(
    root: Path, cache: Path | None = None, submissions: Mapping[str, Submission] | None = None
) -> Board:
    """Fold the outcomes and work out standings and contrasts."""
    if submissions is None:
        submissions = read_submissions(root / "submissions")
    attempts = read_attempts(root)
    folded = fold_all(root / RESULTS, cache)
    if not folded and not submissions and not attempts:
        raise NotFoundError(
            f"no outcomes under {root / RESULTS} and no submissions: run `xharness eval` first"
        )
    entries = make_entries(folded, submissions, attempts)
    shown = variants(entries)
    standings = [standing(track, shown) for track in TRACKS]
    return Board(
        entries=entries,
        shown=shown,
        scores=_score_table(folded, entries),
        standings=tuple(one for one in standings if one is not None),
        contrasts=named_contrasts(entries, root / RESULTS, cache),
        published=read_figures(),
    )


def fold_all(results: Path, cache: Path | None = None) -> list[tuple[Folded, str]]:
    """Every outcome file folded, with its path under ``results``, in path order."""
    files = find(results) if results.exists() else []
    names = [file.path.relative_to(results).as_posix() for file in files]
    workers = min(os.cpu_count() or 1, len(files) // FEW)
    if workers < 2:
        return [(fold(file, cache), name) for file, name in zip(files, names, strict=True)]
    from concurrent.futures import ProcessPoolExecutor
    from multiprocessing import get_context

    # Spawned, not forked: Arrow and BLAS have threads by now, which a fork does not survive.
    pool = ProcessPoolExecutor(workers, get_context("spawn"), initializer=_one_thread)
    with _one_blas_thread(), pool:
        folded = pool.map(_fold, files, [cache] * len(files), chunksize=4)
        return list(zip(folded, names, strict=True))


def _fold(file: OutcomeFile, cache: Path | None) -> Folded:
    return fold(file, cache)


@contextmanager
def _one_blas_thread() -> Iterator[None]:
    """For processes started meanwhile: their products are small, and there is one a core."""
    names = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")
    before = {name: os.environ.get(name) for name in names}
    os.environ.update(dict.fromkeys(names, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _one_thread() -> None:
    pa.set_cpu_count(1)
    pa.set_io_thread_count(1)


def render(board: Board) -> dict[str, bytes]:
    """Path under the root → content, of everything that is generated."""
    from harness.board import figures, page, pages, readme

    files: dict[str, bytes] = {SCORES: parquet_bytes(board.scores)}
    texts = {"README.md": readme.write(board), "index.html": page.write(board)}
    for name, text in (figures.draw(board) | pages.write(board) | texts).items():
        files[f"leaderboard/{name}"] = text.encode()
    return dict(sorted(files.items()))


def _score_table(folded: Sequence[tuple[Folded, str]], entries: Sequence[Entry]) -> pa.Table:
    owner = {result.path: (entry, result) for entry in entries for result in entry.results}
    tables = []
    for one, path in folded:
        entry, result = owner[path]
        submission = entry.submission
        extra: dict[str, Any] = {"contaminated": result.contaminated}
        if submission is not None:
            extra |= {
                "base": submission.base,
                "objective": submission.objective,
                "train_languages": submission.languages,
            }
        tables.append(score_rows(one, extra))
    return pa.concat_tables(tables) if tables else SCHEMA.empty_table()


def parquet_bytes(table: pa.Table) -> bytes:
    """A table as one Parquet file, the same bytes every time."""
    sink = io.BytesIO()
    pq.write_table(table.combine_chunks(), sink, compression="zstd", row_group_size=1 << 20)
    return sink.getvalue()


def _same(path: Path, content: bytes) -> bool:
    """Whether a file has this content; a Parquet file of another writer, by its rows."""
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
    """What an earlier build may have left."""
    folder = root / "leaderboard"
    for pattern in ("README.md", "index.html", "checkpoints/*.md", "figures/*.svg"):
        yield from sorted(folder.glob(pattern))
    yield from (path for path in [root / SCORES] if path.exists())


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{uuid4().hex[:8]}")
    try:
        temporary.write_bytes(content)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


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
            yield f"{what} has no outcomes"
        elif there[key] != wanted[key]:
            name = next(n for n in wanted[key] if there[key].get(n) != wanted[key][n])
            yield f"{what}: {name} is {there[key].get(name)}, recomputed {wanted[key][name]}"
    if kept.num_rows != len(there):
        yield f"{kept.num_rows - len(there)} rows are given twice"
