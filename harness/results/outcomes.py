"""Outcomes on disk: one Parquet file per task, one row per example, one row group per unit.

Units (languages) are kept as parts while a task runs and merged when it is complete. Every file
appears by an atomic rename, and merging holds a lock, so that a killed run, or two runs on one
folder, leave whole files only.
"""

from __future__ import annotations

import errno
import shutil
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq
from filelock import FileLock

from harness.errors import DataError, IncompleteError, NotFoundError, one_line
from harness.io import strict_json
from harness.io.files import is_lfs_pointer, pointer_words, replacing, sweep
from harness.results.encoding import KEY, UNIT, write_units
from harness.results.metadata import check_metadata

Read = TypeVar("Read")

PARTS = ".parts"  # how the name of a folder of parts ends
# The same for all units, as a rule.
CONSTANT = ("libraries", "harness", "device", "route", "tuning")
PER_UNIT = ("candidates", "indistinct")  # numbers by unit; rows of before version 2 have none
# What reading a damaged file raises.
DAMAGE = (
    pa.ArrowException,
    OSError,
    LookupError,
    ValueError,
    TypeError,
    OverflowError,
    MemoryError,
)


@dataclass(frozen=True)
class OutcomeFile:
    """Where the outcomes of one checkpoint, task and signature lie.

    ``path`` is the merged file; the parts lie beside it in ``<name>.parts/``.
    """

    path: Path

    @property
    def parts(self) -> Path:
        """The folder of finished units of an unfinished task."""
        return self.path.with_suffix(PARTS)

    @property
    def whole(self) -> bool:
        """Whether it is merged and no part lies beside it: nothing is being added to it."""
        return self.path.exists() and not self.parts.is_dir()

    def done(self) -> dict[str, Path]:
        """Unit → the file that holds it, for all units that are finished."""
        # The parts are listed first: what another run merges meanwhile is then in the merged file.
        try:
            parts = sorted(self.parts.glob("*.parquet"))
        except FileNotFoundError:  # removed while it was listed
            parts = []
        found = {unit: self.path for unit in self._merged_units()}
        for part in parts:
            found.setdefault(part.stem, part)
        return found

    def read(self, unit: str) -> pa.Table:
        """The rows of one finished unit.

        Raises:
            NotFoundError: the unit is not finished.
            DataError: its file is damaged.
        """

        def rows() -> pa.Table:
            where = self.done().get(unit)
            if where is None:
                raise NotFoundError(
                    f"{self.path} has no rows of {unit}: run `xharness eval` for it"
                )
            return _rows(where, unit)

        return _steady(rows)

    def tables(self, units: Sequence[str]) -> Iterator[tuple[str, pa.Table]]:
        """Each unit with its rows, in the file's order. Raises as `read`."""
        if not set(units) <= set(self._merged_units()):
            yield from ((unit, self.read(unit)) for unit in units)
            return
        with _opened(self.path) as (file, groups):
            for unit in sorted(units, key=groups.__getitem__):
                yield unit, file.read_row_group(groups[unit])

    def meta(self) -> dict[str, Any]:
        """The metadata of the merged file and the parts, taken together.

        Raises:
            NotFoundError: nothing is finished.
            DataError: a file is damaged.
        """

        def joined() -> dict[str, Any]:
            done = self.done()
            if not done:
                with _refusing(self.path):
                    _check_file(self.path)
                raise NotFoundError(f"no outcomes at {self.path}: run `xharness eval` first")
            metas = [read_meta(path) for path in dict.fromkeys(done.values())]
            return _joined(self.path, metas, list(done))

        return _steady(joined)

    def write_part(self, unit: str, rows: pa.Table, meta: Mapping[str, Any]) -> None:
        """Keep a finished unit.

        Raises:
            IncompleteError: the disk is full or the folder cannot be written.
        """
        # Under the lock, since another run may be merging, which ends with the parts removed.
        with _disk_errors(self.parts), self._lock():
            self.parts.mkdir(exist_ok=True)
            write_units(self.parts / f"{unit}.parquet", [rows], meta)

    def merge(self, order: Sequence[str]) -> None:
        """Join the parts and what is merged already into one file, units in ``order``.

        Raises:
            IncompleteError: the disk is full or the folder cannot be written; the parts are kept.
            DataError: a part, or the merged file, is damaged.
        """
        if not self.parts.is_dir():  # nothing to do: the folder may even be read-only
            return
        with _disk_errors(self.path.parent), self._lock():
            # Of a run that was killed while it merged: the lock is ours now.
            sweep(self.path.parent, self.path.name)
            done = self.done()
            fresh = [unit for unit, where in done.items() if where != self.path]
            if fresh:
                units = [u for u in order if u in done] + sorted(set(done) - set(order))
                sources = sorted({str(path) for path in done.values()})
                meta = _joined(self.path, [read_meta(Path(path)) for path in sources], units)
                write_units(self.path, [self.read(unit) for unit in units], meta)
            shutil.rmtree(self.parts, ignore_errors=True)

    def take(self, finished: Path) -> None:
        """Put a finished file from elsewhere in the place of all that is here.

        Raises:
            IncompleteError: the disk is full or the folder cannot be written; what was here stays.
        """
        with _disk_errors(self.path.parent), self._lock():
            with replacing(self.path) as partial:
                shutil.copyfile(finished, partial)
            shutil.rmtree(self.parts, ignore_errors=True)  # they are of what went

    def remove(self, stays: Collection[str] = ()) -> None:
        """Forget what is done, for a run from scratch; ``stays``: but not these units.

        Raises:
            IncompleteError: the disk is full or the folder cannot be written.
            DataError: the merged file, of which a part stays, is damaged.
        """
        with _disk_errors(self.path.parent), self._lock():
            sweep(self.path.parent, self.path.name)
            kept = [unit for unit in self._merged_units() if unit in stays] if stays else []
            if kept:
                meta = _joined(self.path, [read_meta(self.path)], kept)
                meta["degenerate"] = [unit for unit in meta["degenerate"] if unit in kept]
                write_units(self.path, [self.read(unit) for unit in kept], meta)
            else:
                self.path.unlink(missing_ok=True)
            for part in self.parts.glob("*.parquet"):
                if part.stem not in stays or part.stem in kept:
                    part.unlink()
            if not any(self.parts.glob("*.parquet")):
                shutil.rmtree(self.parts, ignore_errors=True)

    def _merged_units(self) -> list[str]:
        return list(read_meta(self.path)["languages"]) if self.path.exists() else []

    def _lock(self) -> FileLock:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        return FileLock(self.path.with_name(f".{self.path.stem}.lock"))


def outcome_file(out: Path, slug: str, revision12: str, task: str, signature: str) -> OutcomeFile:
    """``OUT/<slug>/<revision12>/<task>.<signature8>.parquet``."""
    return OutcomeFile(out / slug / revision12 / f"{task}.{signature}.parquet")


def find(root: Path) -> list[OutcomeFile]:
    """Every outcome file under ``root`` (or ``root`` itself), finished or with parts only.

    A checkpoint or revision may be a link to a folder elsewhere; what is found twice counts once.
    """
    if root.is_file():
        return [OutcomeFile(root)]
    found = _named(root, "**/")  # which follows no link, as a fixed number of folders does
    if linked := (_named(root, "*/") | _named(root, "*/*/")) - found:
        own = {path.resolve() for path in found}
        others = {path.resolve(): path for path in sorted(linked, reverse=True)}
        found |= {path for real, path in others.items() if real not in own}
    return [OutcomeFile(path) for path in sorted(found)]


def _named(root: Path, below: str) -> set[Path]:
    """The paths of the outcome files that a pattern of folders leads to."""
    merged = {path for path in root.glob(f"{below}*.parquet") if path.parent.suffix != PARTS}
    parts = root.glob(f"{below}*{PARTS}/*.parquet")
    unfinished = {part.parent.with_suffix(".parquet") for part in parts}
    return {path for path in merged | unfinished if len(path.name.split(".")) == 3}


def found_under(path: str | Path) -> list[OutcomeFile]:
    """The outcome files under a path.

    Raises:
        NotFoundError: there is none.
    """
    root = Path(path)
    if files := find(root) if root.exists() else []:
        return files
    raise NotFoundError(f"no outcomes under {path}: run `xharness eval` first")


def read_each(
    files: Iterable[OutcomeFile], read: Callable[[OutcomeFile], Read]
) -> tuple[list[Read], list[DataError]]:
    """What ``read`` gives of each file that is whole, and what is wrong with the others."""
    found: list[Read] = []
    damaged: list[DataError] = []
    for file in files:
        try:
            found.append(read(file))
        except DataError as error:
            damaged.append(error)
    return found, damaged


def read_meta(path: Path) -> dict[str, Any]:
    """The ``xharness`` metadata of an outcome file.

    Raises:
        DataError: the file is damaged or was not written by xharness.
        FileNotFoundError: it is not there.
    """
    with _refusing(path):
        _check_file(path)
        return _meta_of(pq.read_schema(path))


def _joined(path: Path, metas: Sequence[dict[str, Any]], units: Sequence[str]) -> dict[str, Any]:
    """One metadata of several of the same signature: units, notes and timings are put together."""
    joined = dict(metas[0])
    for name in ("model", "revision", "base", "task", "signature"):
        if other := [meta[name] for meta in metas if meta[name] != joined[name]]:
            error = ValueError(f"its parts are of {name} {joined[name]} and {other[0]}")
            raise _damaged(path, error)
    timing = {unit: t for meta in metas for unit, t in meta["timing"].items()}
    names = list(units)
    joined["languages"] = names
    joined["timing"] = {unit: timing[unit] for unit in names if unit in timing}
    # Languages that were added later may have been measured elsewhere: said, not hidden.
    joined["mixed"] = sorted(
        {name for meta in metas for name in CONSTANT if meta.get(name) != metas[0].get(name)}
        | {name for meta in metas for name in meta["mixed"]}
    )
    joined["data_complete"] = all(meta["data_complete"] for meta in metas)
    joined["degenerate"] = sorted({u for m in metas for u in m["degenerate"]})
    for name in PER_UNIT:
        found = {unit: value for meta in metas for unit, value in meta.get(name, {}).items()}
        if any(name in meta for meta in metas):
            joined[name] = {unit: found[unit] for unit in names if unit in found}
    joined["notes"] = sorted({note for meta in metas for note in meta["notes"]})
    if any("contaminated" in meta for meta in metas):
        joined["contaminated"] = sorted({t for meta in metas for t in meta.get("contaminated", ())})
    joined["remarks"] = sorted({note for meta in metas for note in meta.get("remarks", ())})
    joined["data"] = {
        name: digest for meta in metas for name, digest in sorted(meta["data"].items())
    }
    return joined


def _rows(path: Path, unit: str) -> pa.Table:
    with _opened(path) as (file, groups):
        return file.read_row_group(groups[unit])


@contextmanager
def _opened(path: Path) -> Iterator[tuple[pq.ParquetFile, Mapping[str, int]]]:
    """A file and its units' row groups: both of one open file, as another run may replace it."""
    with _refusing(path):
        _check_file(path)
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            yield file, _row_groups(file)


@contextmanager
def _refusing(path: Path) -> Iterator[None]:
    """What reading a file raises, as a DataError that names it; it may not be there, though."""
    try:
        yield
    except FileNotFoundError:
        raise
    except DAMAGE as error:
        raise _damaged(path, error) from error


def _row_groups(file: pq.ParquetFile) -> dict[str, int]:
    """Unit → its row group. ValueError where there is not one for each."""
    units = _meta_of(file.schema_arrow)["languages"]
    footer = file.metadata
    if footer.num_row_groups != len(units):
        raise ValueError(f"{footer.num_row_groups} row groups for {len(units)} languages")
    # By what its rows say, which is in the footer; an empty one is the one that the order leaves.
    named = [_unit_of(footer.row_group(index)) or units[index] for index in range(len(units))]
    return {unit: named.index(unit) if unit in named else units.index(unit) for unit in units}


def _unit_of(group: pq.RowGroupMetaData) -> str:
    """The unit that a row group's statistics name: `context-question` for cross-lingual QA."""
    names = {}
    for index in range(group.num_columns):
        column = group.column(index)
        if column.path_in_schema in UNIT:
            found = column.statistics
            if found is None or not found.has_min_max or found.min != found.max:
                return ""
            names[column.path_in_schema] = str(found.min)
    lang, asked = names.get("lang", ""), names.get("question_lang", "")
    return f"{lang}-{asked}" if asked not in ("", lang) else lang


def _check_file(path: Path) -> None:
    """ValueError for a dead link, or for no regular file: to open a pipe would wait for ever."""
    if path.exists() and not path.is_file():
        raise ValueError("it is not a file")
    if path.is_symlink() and not path.exists():
        raise ValueError("it is a link that leads nowhere")


def _steady(read: Callable[[], Read]) -> Read:
    # Another run may merge a part between its being listed and read: then it is in the merged file.
    try:
        return read()
    except FileNotFoundError:
        return read()


def _meta_of(schema: pa.Schema) -> dict[str, Any]:
    metadata = (schema.metadata or {}).get(KEY)
    if metadata is None:
        raise ValueError("no xharness metadata")
    return check_metadata(strict_json.parse(metadata.decode()))


def _damaged(path: Path, error: Exception) -> DataError:
    if is_lfs_pointer(path):
        return DataError(pointer_words(str(path), path.parent))
    return DataError(
        f"{path} is not a readable outcome file "
        f"({one_line(error, 120) or type(error).__name__}): "
        "delete it and run `xharness eval` again"
    )


@contextmanager
def _disk_errors(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT) or "No space left" in str(error)
        what = "the disk is full" if full else f"{error.strerror or error}"
        raise IncompleteError(
            f"cannot write to {folder}: {what}; what is finished is kept, free space (or name "
            "another folder with --out) and run the same command again"
        ) from error
