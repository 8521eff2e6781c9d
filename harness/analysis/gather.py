"""Gathers outcomes and submissions in a `Board`, from which all of its pages are rendered."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from harness.analysis.alike import Alike, alike
from harness.analysis.contrasts import Contrast, named_contrasts
from harness.analysis.entries import TRACKS, Entry, make_entries
from harness.analysis.fold import Folded, fold, kept_fold, score_rows
from harness.analysis.gains import Gain, gains
from harness.analysis.published import PublishedScore, read_figures
from harness.analysis.standings import Standing, standing
from harness.analysis.target_table import TargetTable, target_tables
from harness.analysis.variants import titled, variants
from harness.cards.catalogue import card_names
from harness.errors import DataError, HarnessError, NotFoundError, together
from harness.inference.protocol import OBJECTS
from harness.io.variables import variables
from harness.results.outcomes import OutcomeFile, find
from harness.results.provenance import name_of, origin_of, read_origins
from harness.results.scores import SCHEMA
from harness.submissions.attempts import read_attempts
from harness.submissions.folder import readable

RESULTS = Path("leaderboard/results")
STUDY = Path("leaderboard/STUDY.md")
# Each process that folds has one thread: its products are small, and there is one a core.
BLAS_THREADS = (
    "OPENBLAS_NUM_THREADS",
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)
FEW = 8  # files that are folded in this process: starting others costs a second


@dataclass(frozen=True, eq=False)
class Board:
    """All that the pages are rendered from.

    ``shown``: the entries, with seeds put together; ``study``: there is a STUDY.md beside the board
    that tells how its checkpoints were made; ``gains``: every checkpoint against its base;
    ``targets``: of every base, intermediate tasks by target tasks; ``alike``: checkpoints that may
    be one;
    ``damaged``: what is wrong with the outcome files that could not be read.
    """

    entries: tuple[Entry, ...]
    shown: tuple[Entry, ...]
    scores: pa.Table
    standings: tuple[Standing, ...]
    contrasts: tuple[Contrast, ...]
    published: tuple[PublishedScore, ...]
    gains: tuple[Gain, ...] = ()
    targets: tuple[TargetTable, ...] = ()
    alike: tuple[Alike, ...] = ()
    study: bool = False
    damaged: tuple[DataError, ...] = ()

    def entry(self, slug: str) -> Entry:
        """Return the checkpoint with a slug."""
        return next(entry for entry in self.entries if entry.slug == slug)


class Folds(NamedTuple):
    """Outcome files folded, with their paths under the results, and what is wrong with others."""

    folded: list[tuple[Folded, str]]
    damaged: tuple[DataError, ...]


def read_scores(root: Path) -> tuple[pa.Table, tuple[DataError, ...]]:
    """Return scores.parquet, computed from the outcomes; and what is wrong with files that are
    damaged.
    """
    folded, damaged = fold_all(root / RESULTS)
    entries = make_entries(folded, readable(root), read_attempts(root))
    return _score_table(folded, entries), damaged


def read_contrasts(root: Path, cache: Path | None = None) -> tuple[Contrast, ...]:
    """Return the named contrasts of a board.

    Raises:
        NotFoundError: there is nothing to contrast.
        DataError: outcome files are damaged; ``error.scores`` has the contrasts of the others.
    """
    board = read_board(root, cache)
    if board.damaged:
        raise together(board.damaged, board.contrasts)
    return board.contrasts


def read_board(root: Path, cache: Path | None = None) -> Board:
    """Fold the outcomes and work out standings and contrasts."""
    submissions, attempts = readable(root), read_attempts(root)
    folded, damaged = fold_all(root / RESULTS, cache)
    if not folded and not submissions and not attempts:
        if damaged:
            raise together(damaged)
        raise NotFoundError(
            f"no outcomes under {root / RESULTS} and no submissions: run `xharness eval` first"
        )
    board = _board(make_entries(folded, submissions, attempts), folded, root / RESULTS, cache)
    return replace(board, published=read_figures(), study=(root / STUDY).is_file(), damaged=damaged)


def own_board(files: Sequence[OutcomeFile], cache: Path | None = None) -> Board:
    """Return a board of outcome files alone, wherever they lie; nothing is known of their
    training.
    """
    files = [file for file in files if _of_board(file)]
    found = zip(fold_files(files, cache), files, strict=True)
    folded = [(one, str(file.path.absolute())) for one, file in found if isinstance(one, Folded)]
    return _board(make_entries(folded, {}), folded, Path(), cache)


def _board(
    made: Sequence[Entry],
    folded: Sequence[tuple[Folded, str]],
    results: Path,
    cache: Path | None,
) -> Board:
    entries = titled(made)
    shown = titled(variants(entries))
    contrasts = named_contrasts(entries, results, cache)
    against_base = tuple(gains(shown, entries, contrasts, results, cache))
    standings = [standing(track, shown, contrasts, against_base) for track in TRACKS]
    return Board(
        entries=entries,
        shown=shown,
        scores=_score_table(folded, entries),
        standings=tuple(one for one in standings if one is not None),
        contrasts=contrasts,
        published=(),
        gains=against_base,
        targets=target_tables(shown, entries, against_base, results, cache),
        alike=alike(entries),
    )


def fold_all(results: Path, cache: Path | None = None) -> Folds:
    """Return every outcome file folded, with its path under ``results``, in path order.

    Those of cards outside the package and of objects are no part of a board.
    """
    files = [file for file in find(results) if _of_board(file)] if results.exists() else []
    origins = read_origins(results)
    found = fold_files(files, cache)
    whole = [
        (replace(one, origin=origin_of(file, results, origins)), name_of(file, results))
        for one, file in zip(found, files, strict=True)
        if isinstance(one, Folded)
    ]
    again = repeated(whole)
    damaged = [one for one in found if isinstance(one, DataError)] + [
        DataError(f"{results / path}: {results / first} is the same run: take one of them away")
        for path, first in again.items()
    ]
    return Folds([(one, path) for one, path in whole if path not in again], tuple(damaged))


def repeated(folded: Sequence[tuple[Folded, str]], *, versions: bool = False) -> dict[str, str]:
    """Return the path of each file whose run another file has too → that other's path.

    Such files may have other languages or rows: which is meant, nobody said. The one with the
    shortest path, where a run writes, is the other. ``versions``: rows of two versions of the
    protocols are two runs.
    """
    first: dict[tuple[Any, ...], str] = {}
    found = {}
    for one, path in sorted(folded, key=lambda pair: (len(Path(pair[1]).parts), pair[1])):
        version = one.meta.get("protocol_version", 1) if versions else None
        named = (one.meta[name] for name in ("model", "revision", "task", "signature"))
        run = (*named, version)
        if (other := first.setdefault(run, path)) != path:
            found[path] = other
    return found


def fold_files(files: Sequence[OutcomeFile], cache: Path | None) -> list[Folded | DataError]:
    """Return each file folded, or what is wrong with it.

    Kept folds are read first: other processes are only started for what is new.
    """
    found = {file: _kept_fold(file, cache) for file in files}
    new = [file for file in files if found[file] is None]
    folded = dict(zip(new, _fold_each(new, cache), strict=True))
    return [found[file] or folded[file] for file in files]


def _of_board(file: OutcomeFile) -> bool:
    if file.path.parent.parent.name.startswith(OBJECTS):
        return False
    # Only a task that the package lacks can be of a card outside it: no other file is opened.
    try:
        return file.path.name.split(".")[0] in card_names() or not file.meta().get("card")
    except DataError:
        return True


def _kept_fold(file: OutcomeFile, cache: Path | None) -> Folded | None:
    try:
        return None if cache is None else kept_fold(file, cache)
    except HarnessError:  # as folding it will say
        return None


def _fold_each(files: Sequence[OutcomeFile], cache: Path | None) -> list[Folded | DataError]:
    workers = min(os.cpu_count() or 1, len(files) // FEW)
    if workers < 2:
        return [_fold(file, cache) for file in files]
    from concurrent.futures import ProcessPoolExecutor
    from multiprocessing import get_context

    # Processes are spawned: Arrow and BLAS have threads by now, which do not survive a fork.
    pool = ProcessPoolExecutor(workers, get_context("spawn"), initializer=_one_thread)
    with variables(**dict.fromkeys(BLAS_THREADS, "1")), _no_main(), pool:
        return list(pool.map(_fold, files, [cache] * len(files), chunksize=4))


def _fold(file: OutcomeFile, cache: Path | None) -> Folded | DataError:
    try:
        return fold(file, cache)
    except DataError as error:
        return error


@contextmanager
def _no_main() -> Iterator[None]:
    """Hide the main module from processes started meanwhile.

    A spawned process imports the program that it was started from, which may be a script without a
    guard that would begin again in each of them.
    """
    own = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = own


def _one_thread() -> None:
    pa.set_cpu_count(1)
    pa.set_io_thread_count(1)


def _score_table(folded: Sequence[tuple[Folded, str]], entries: Sequence[Entry]) -> pa.Table:
    owner = {result.path: (entry, result) for entry in entries for result in entry.results}
    tables = []
    for _, path in folded:
        entry, result = owner[path]
        submission = entry.submission
        extra: dict[str, Any] = {"contaminated": result.contaminated}
        if submission is not None:
            extra |= {
                "base": submission.base,
                "objective": submission.objective,
                "train_languages": submission.languages,
            }
        tables.append(score_rows(result.folded, extra))
    return pa.concat_tables(tables) if tables else SCHEMA.empty_table()


def read_board_scores(root: Path) -> list[dict[str, Any]]:
    """Return the rows of the board's ``leaderboard/scores.parquet``; see ``harness.scores``.

    Raises:
        NotFoundError: there is no board. DataError: its file is damaged.
    """
    path = root / "leaderboard" / "scores.parquet"
    if not path.is_file():
        raise NotFoundError(f"no {path}: give the --root of a board, or run `xharness leaderboard`")
    try:
        rows: list[dict[str, Any]] = pq.read_table(path).to_pylist()
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{path} cannot be read: run `xharness leaderboard`") from error
    return rows
