"""Stores vectors by content: the vector of a text's token ids is computed once.

A store is a folder for one *fingerprint* (checkpoint, layer, pooling, dtype, length, prompt, …).
It holds immutable segments, Arrow IPC files with a 16-byte key and a row of numbers each; a
segment appears by an atomic rename, so that a killed run leaves whole segments or nothing, and
several runs can write to one store at once. Two kinds of store share this form:

- *vectors*: the key of a text's cut token ids → float32[d]. Texts that reach the model as equal
  ids have one vector, in every run and on every machine.
- *tokens*: the key of a text → uint8[16], the key of its ids. A run that finds it needs no
  tokenizer to know which vector is a text's.
"""

from __future__ import annotations

import json
import time
import zlib
from collections.abc import Iterator, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import numpy.typing as npt

from harness.errors import IncompleteError
from harness.io.files import ABANDONED, sweep, write_whole

Float32 = npt.NDArray[np.float32]
Numbers = npt.NDArray[Any]  # rows of a store: float32[n, d] or uint8[n, 16]

KEY_BYTES = 16
SEGMENT_BYTES = 64 * 2**20  # vectors buffered before a segment is written,
SEGMENT_SECONDS = 20.0  # or the time: what a killed run can lose
COPIED = 256  # vectors copied at a time: of 768 dimensions 0.8 MB, which stays in a core's cache


def text_key(text: str) -> bytes:
    """Return the 16-byte key of a text."""
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=KEY_BYTES).digest()


def ids_key(ids: npt.NDArray[np.int32]) -> bytes:
    """Return the 16-byte key of a text's cut token ids, int32[tokens]."""
    return blake2b(ids.astype("<i4").tobytes(), digest_size=KEY_BYTES).digest()


def fingerprint(parts: dict[str, Any]) -> str:
    """Return the name of the store for everything, besides the key, that decides what is in it."""
    canonical = json.dumps(parts, sort_keys=True, ensure_ascii=False)
    return blake2b(canonical.encode(), digest_size=16).hexdigest()


class Stored:
    """float32[n, d] that lies in a store; a slice of it is read when it is taken, as a copy."""

    def __init__(self, segments: Sequence[Numbers], where: npt.NDArray[np.int64]) -> None:
        """``where``: int64[n, 2], the segment and the row in it of each vector."""
        self._segments = segments
        self._where = where
        self.shape = (len(where), segments[0].shape[1] if segments else 0)

    def __len__(self) -> int:
        return len(self._where)

    def __getitem__(self, rows: slice) -> Numbers:
        count = len(range(*rows.indices(len(self))))
        dtype = self._segments[0].dtype if self._segments else np.float32
        return self.read(rows, np.empty((count, self.shape[1]), dtype=dtype))

    def take(self, rows: npt.NDArray[np.int64]) -> Stored:
        """Return the vectors of ``rows``, int64[m], still unread."""
        return Stored(self._segments, self._where[rows])

    def read(self, rows: slice, out: Numbers) -> Numbers:
        """Return ``out``, float32[n, d], with the vectors of ``rows`` in it."""
        where = self._where[rows]
        order = np.lexsort((where[:, 1], where[:, 0]))  # as they lie in the files
        bounds = np.flatnonzero(np.diff(where[order, 0])) + 1
        part = np.empty((min(COPIED, len(where)), self.shape[1]), dtype=out.dtype)
        for chosen in np.split(order, bounds) if len(where) else ():
            segment = self._segments[where[chosen[0], 0]]
            for start in range(0, len(chosen), COPIED):
                here = chosen[start : start + COPIED]
                # "clip" (no row is out of range) lets numpy take straight into ``part``.
                taken = part[: len(here)]
                np.take(segment, where[here, 1], axis=0, out=taken, mode="clip")
                out[here] = taken
        return out


Vectors = Float32 | Stored  # what is only taken in slices


def chosen(vectors: Vectors, rows: npt.NDArray[np.int64]) -> Vectors:
    """Return the vectors of ``rows``, int64[m]; those in a store stay there."""
    return vectors.take(rows) if isinstance(vectors, Stored) else vectors[rows]


def blocks(vectors: Vectors, size: int) -> Iterator[Float32]:
    """Yield ``vectors`` in blocks of ``size`` rows; of a store each lies where the last one lay."""
    starts = range(0, len(vectors), size)
    if isinstance(vectors, Stored):
        room = np.empty((min(size, len(vectors)), vectors.shape[1]), dtype=np.float32)
        for start in starts:
            rows = slice(start, min(start + size, len(vectors)))
            yield vectors.read(rows, room[: rows.stop - start])
    else:
        for start in starts:
            yield np.ascontiguousarray(vectors[start : start + size], dtype=np.float32)


class VectorStore:
    """Rows of numbers by key. ``parts`` says what decides a row besides its key.

    ``since``: a moment (``time.time_ns()``) before which nothing is believed: older segments are
    removed. What is written never looks older than it, whatever the clock of this machine says.
    """

    def __init__(self, root: Path, parts: dict[str, Any], *, since: int = 0) -> None:
        self.parts = parts
        self.folder = root / fingerprint(parts)
        self.damaged: list[Path] = []
        self._since = since
        self._where: dict[bytes, tuple[int, int]] = {}
        self._segments: list[Numbers] = []
        self._pending_keys: list[bytes] = []
        self._pending: list[int] = []  # segments that are in memory only
        self._flushed = time.monotonic()
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            described = self.folder / "parts.json"
            if not described.exists():
                write_whole(described, json.dumps(parts, indent=1, sort_keys=True).encode())
            sweep(self.folder, older_than=ABANDONED)
            for path in sorted(self.folder.glob("*.arrow")):
                if int(path.name.split("-")[0]) < since:
                    path.unlink(missing_ok=True)
                else:
                    self._open(path)
        except OSError as error:
            raise _cache_error(self.folder, error) from error

    def missing(self, keys: Sequence[bytes]) -> npt.NDArray[np.bool_]:
        """Return bool[n]: which keys have no vector."""
        return np.fromiter((key not in self._where for key in keys), dtype=bool, count=len(keys))

    def get(self, keys: Sequence[bytes]) -> Numbers:
        """Return float32[n, d] or uint8[n, 16]: the rows of ``keys``, all of which must be
        there.
        """
        return self.stored(keys)[:]

    def stored(self, keys: Sequence[bytes]) -> Stored:
        """Return the same without reading them: a pool that does not fit into memory."""
        where = np.array([self._where[key] for key in keys], dtype=np.int64).reshape(-1, 2)
        return Stored(tuple(self._segments), where)

    def append(self, keys: Sequence[bytes], vectors: Numbers) -> None:
        """Keep ``vectors[i]`` for ``keys[i]``; a key that is there already keeps its row."""
        new = [row for row, key in enumerate(keys) if key not in self._where]
        if not new:
            return
        kept = np.ascontiguousarray(vectors[new])
        self._pending.append(len(self._segments))
        self._pending_keys.extend(keys[row] for row in new)
        self._index([keys[row] for row in new], kept)
        size = sum(self._segments[segment].nbytes for segment in self._pending)
        if size >= SEGMENT_BYTES or time.monotonic() - self._flushed >= SEGMENT_SECONDS:
            self.flush()

    def flush(self) -> None:
        """Write what is pending as one segment.

        Raises:
            IncompleteError: the disk is full or the cache cannot be written.
        """
        self._flushed = time.monotonic()
        if not self._pending:
            return
        import pyarrow as pa

        vectors = np.concatenate([self._segments[segment] for segment in self._pending])
        keys = pa.array(self._pending_keys, pa.binary(KEY_BYTES))
        values = pa.FixedSizeListArray.from_arrays(pa.array(vectors.reshape(-1)), vectors.shape[1])
        schema = pa.schema([("key", keys.type), ("vector", values.type)])
        sink = pa.BufferOutputStream()
        with pa.ipc.new_file(sink, schema) as writer:
            writer.write_batch(pa.record_batch([keys, values], schema=schema))
        data = sink.getvalue()
        # Names sort by time, so that of two vectors for one key every later run sees the same, and
        # end in the checksum of the whole file, so that nothing of a damaged one is believed.
        written_at = max(time.time_ns(), self._since)
        path = self.folder / f"{written_at:020d}-{uuid4().hex[:8]}-{zlib.crc32(data):08x}.arrow"
        try:
            write_whole(path, data)
            written = _read_segment(path)
        except OSError as error:
            raise _cache_error(self.folder, error) from error
        if written is None:
            raise IncompleteError(f"the vector cache {self.folder} does not keep what is written")
        self._release(written[1])

    def _open(self, path: Path) -> None:
        try:
            segment = _read_segment(path)
        except FileNotFoundError:  # pruned by another run since the folder was listed
            return
        if segment is None:
            self.damaged.append(path)
        else:
            self._index(*segment)

    def _release(self, mapped: Numbers) -> None:
        # What has been written is read from the file from now on, not held in memory.
        start = 0
        for segment in self._pending:
            rows = len(self._segments[segment])
            self._segments[segment] = mapped[start : start + rows]
            start += rows
        self._pending_keys.clear()
        self._pending.clear()

    def _index(self, keys: Sequence[bytes], vectors: Numbers) -> None:
        segment = len(self._segments)
        self._segments.append(vectors)
        for row, key in enumerate(keys):
            self._where.setdefault(key, (segment, row))


def _read_segment(path: Path) -> tuple[list[bytes], Numbers] | None:
    """Return the keys and memory-mapped rows [n, d]; None where the file is damaged."""
    import pyarrow as pa

    try:
        data = pa.memory_map(str(path)).read_buffer()
        if f"{zlib.crc32(data):08x}" != path.stem.rpartition("-")[2]:
            return None
        file = pa.ipc.open_file(pa.BufferReader(data))
        batch = file.get_batch(0)  # a segment is one; a table's combined chunks would be a copy
    except pa.ArrowInvalid:  # empty, or not what its name says
        return None
    vectors = batch.column("vector").flatten().to_numpy().reshape(batch.num_rows, -1)
    return batch.column("key").to_pylist(), vectors


def _cache_error(folder: Path, error: OSError) -> IncompleteError:
    return IncompleteError(
        f"cannot use the vector cache {folder}: {error.strerror or error}; "
        "free space or name another folder with --cache-dir (finished tasks are kept)"
    )
