"""The vector store: whole segments or nothing, and never a vector of something else."""

from __future__ import annotations

import errno
import json
import multiprocessing
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

import harness.inference.vector_store
from harness.errors import IncompleteError
from harness.inference.vector_store import Float32, VectorStore, blocks, fingerprint, text_key

PARTS: dict[str, Any] = {
    "checkpoint": "org/name@" + "0" * 40,
    "base": "None",
    "device": "cpu",
    "pooling": "mean",
    "layer": 8,
    "length": 96,
    "prompt": "",
    "dtype": "float32",
    "lower_case": False,
    "steps": ["normalize"],
}


def keys(*texts: str) -> list[bytes]:
    return [text_key(text) for text in texts]


def vectors(*firsts: float, dim: int = 3) -> Float32:
    return np.array([[first, *range(1, dim)] for first in firsts], dtype=np.float32)


def denied(*_: object, **__: object) -> None:
    raise PermissionError(errno.EACCES, "Permission denied")


def written(root: Path, *texts: str, start: float = 0) -> VectorStore:
    store = VectorStore(root, PARTS)
    store.append(keys(*texts), vectors(*(start + i for i in range(len(texts)))))
    store.flush()
    return store


def test_round_trip_in_memory_and_after_reopening(tmp_path: Path) -> None:
    store = VectorStore(tmp_path, PARTS)
    store.append(keys("a", "b"), vectors(1, 2))
    store.append(keys("c"), vectors(3))
    wanted = keys("c", "a", "c", "b")
    for state in ("pending", "flushed"):
        assert store.get(wanted)[:, 0].tolist() == [3, 1, 3, 2], state
        assert store.missing(keys("a", "x", "c")).tolist() == [False, True, False]
        store.flush()
    again = VectorStore(tmp_path, PARTS)
    assert again.get(wanted).tolist() == vectors(3, 1, 3, 2).tolist()
    assert again.get(wanted).dtype == np.float32
    assert again.missing(keys("a", "x", "c")).tolist() == [False, True, False]
    assert again.damaged == []


def test_stored_vectors_are_read_slice_by_slice(tmp_path: Path) -> None:
    written(tmp_path, "a", "b")
    store = written(tmp_path, "c", "d", start=2)
    stored = VectorStore(tmp_path, PARTS).stored(keys("d", "a", "c", "d", "b"))
    whole = [3, 0, 2, 3, 1]
    assert (len(stored), stored.shape) == (5, (5, 3))
    assert stored[:][:, 0].tolist() == whole
    for start in range(6):
        assert stored[start : start + 2][:, 0].tolist() == whole[start : start + 2]
    taken = stored[1:2]
    taken[:] = 9  # a copy: the store keeps what it has
    assert stored[1:2][0, 0] == store.get(keys("a"))[0, 0] == 0


def test_blocks_of_a_store_are_those_of_an_array(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        harness.inference.vector_store, "COPIED", 2
    )  # so that five rows are three copies
    written(tmp_path, "a", "b")
    store = written(tmp_path, "c", "d", start=2)
    stored = VectorStore(tmp_path, PARTS).stored(keys("d", "a", "c", "d", "b"))
    array = store.get(keys("d", "a", "c", "d", "b"))
    for size in (1, 2, 3, 5, 9):
        of_store = [block.tolist() for block in blocks(stored, size)]
        assert of_store == [block.tolist() for block in blocks(array, size)]
        assert [len(block) for block in of_store] == [
            len(array[i : i + size]) for i in range(0, 5, size)
        ]
        assert [row for block in of_store for row in block] == array.tolist()
    assert list(blocks(VectorStore(tmp_path, PARTS).stored([]), 2)) == []


def test_what_is_written_stays_in_its_file(tmp_path: Path) -> None:
    many = [f"text {number}" for number in range(4_000)]
    store = VectorStore(tmp_path, PARTS)
    store.append(keys(*many), np.ones((len(many), 256), dtype=np.float32))
    store.flush()
    before = pa.total_allocated_bytes()
    again = VectorStore(tmp_path, PARTS)
    assert not again.missing(keys(*many)).any()
    assert pa.total_allocated_bytes() - before < 100_000  # of 4 MB: they are mapped, not copied


def test_nothing_asked_nothing_given(tmp_path: Path) -> None:
    assert VectorStore(tmp_path, PARTS).get([]).shape == (0, 0)
    store = written(tmp_path, "a")
    assert store.get([]).shape == (0, 3)
    assert store.missing([]).shape == (0,)
    store.flush()
    assert len(list(store.folder.glob("*.arrow"))) == 1


def test_a_key_keeps_its_first_vector(tmp_path: Path) -> None:
    store = written(tmp_path, "a")
    store.append(keys("a", "b"), vectors(7, 8))
    store.flush()
    for opened in (store, VectorStore(tmp_path, PARTS)):
        assert opened.get(keys("a", "b"))[:, 0].tolist() == [0, 8]


def test_a_segment_is_written_when_enough_is_pending(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(harness.inference.vector_store, "SEGMENT_BYTES", 5 * 12)
    store = VectorStore(tmp_path, PARTS)
    for row in range(12):
        store.append(keys(str(row)), vectors(row))
    assert len(list(store.folder.glob("*.arrow"))) == 2
    assert VectorStore(tmp_path, PARTS).missing(keys("9", "10")).tolist() == [False, True]
    assert store.get(keys(*map(str, range(12))))[:, 0].tolist() == list(range(12))


def test_nothing_older_than_a_fresh_run_is_believed_then_or_later(tmp_path: Path) -> None:
    written(tmp_path, "a", "b")
    since = time.time_ns()
    store = VectorStore(tmp_path, PARTS, since=since)
    assert store.missing(keys("a", "b")).all()
    store.append(keys("a"), vectors(5))
    store.flush()
    for later in (VectorStore(tmp_path, PARTS, since=since), VectorStore(tmp_path, PARTS)):
        assert later.missing(keys("a", "b")).tolist() == [False, True]
        assert later.get(keys("a"))[0, 0] == 5


@pytest.mark.parametrize("part", sorted(PARTS))
def test_every_part_has_a_folder_of_its_own(tmp_path: Path, part: str) -> None:
    value = PARTS[part]
    other = PARTS | {part: [*value, "x"] if isinstance(value, list) else f"{value}x"}
    store = written(tmp_path, "a")
    changed = VectorStore(tmp_path, other)
    assert changed.folder != store.folder
    assert changed.missing(keys("a")).all()
    assert json.loads((changed.folder / "parts.json").read_text()) == other
    assert fingerprint(PARTS) == fingerprint(dict(reversed(PARTS.items())))


def test_keys_of_texts() -> None:
    texts = ["", " ", "a", "A", "a ", "é", "e\u0301", "\ud800"]
    assert len(set(keys(*texts))) == len(texts)
    assert {len(key) for key in keys(*texts)} == {16}


@pytest.mark.parametrize("kept", [0, 1, 8, 100, -1])
def test_a_truncated_segment_is_ignored(tmp_path: Path, kept: int) -> None:
    (first,) = written(tmp_path, "a", "b").folder.glob("*.arrow")
    written(tmp_path, "c", start=2)
    first.write_bytes(first.read_bytes()[:kept])
    store = VectorStore(tmp_path, PARTS)
    assert store.damaged == [first]
    assert store.missing(keys("a", "b", "c")).tolist() == [True, True, False]
    assert store.get(keys("c"))[0, 0] == 2


def test_one_wrong_bit_anywhere_is_noticed(tmp_path: Path) -> None:
    (segment,) = written(tmp_path, "a", "b").folder.glob("*.arrow")
    whole = segment.read_bytes()
    for place in range(len(whole)):
        broken = bytearray(whole)
        broken[place] ^= 1 << (place % 8)
        segment.write_bytes(broken)
        store = VectorStore(tmp_path, PARTS)
        assert store.damaged == [segment], f"byte {place} of {len(whole)}"
        assert store.missing(keys("a", "b")).all()


def test_what_a_killed_run_leaves_is_not_read(tmp_path: Path) -> None:
    store = written(tmp_path, "a")
    (segment,) = store.folder.glob("*.arrow")
    leftover = store.folder / f".{segment.name}.0a1b2c3d.tmp"
    leftover.write_bytes(segment.read_bytes()[:50])
    opened = VectorStore(tmp_path, PARTS)
    assert opened.damaged == []
    assert opened.get(keys("a"))[0, 0] == 0
    assert leftover.exists()  # for all that is known it is being written


def test_what_a_killed_run_left_long_ago_is_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = written(tmp_path, "a")
    (segment,) = store.folder.glob("*.arrow")
    leftover = store.folder / f".{segment.name}.0a1b2c3d.tmp"
    two_days = time.time() - 2 * 86_400
    for path in (leftover, store.folder / ".nfs0a1b", segment, store.folder / "parts.json"):
        path.touch()
        os.utime(path, (two_days, two_days))
    with monkeypatch.context() as patched:
        patched.setattr(Path, "unlink", denied)  # a cache that is only read
        VectorStore(tmp_path, PARTS)
    VectorStore(tmp_path, PARTS)
    left = sorted(path.name for path in store.folder.iterdir())
    assert left == [".nfs0a1b", segment.name, "parts.json"]


def append_many(root: Path, name: str) -> None:
    store = VectorStore(root, PARTS)
    for row in range(20):
        store.append(keys(f"{name}{row}", f"both{row}"), vectors(row, row))
        store.flush()


def test_two_runs_append_at_once(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    runs = [context.Process(target=append_many, args=(tmp_path, name)) for name in "xy"]
    for run in runs:
        run.start()
    for run in runs:
        run.join()
    assert [run.exitcode for run in runs] == [0, 0]
    store = VectorStore(tmp_path, PARTS)
    assert store.damaged == []
    for name in ("x", "y", "both"):
        wanted = keys(*(f"{name}{row}" for row in range(20)))
        assert store.get(wanted)[:, 0].tolist() == list(range(20))


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    store = written(tmp_path, "a")

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    store.append(keys("b"), vectors(5))
    with monkeypatch.context() as patched:
        patched.setattr(os, call, full)
        with pytest.raises(IncompleteError, match=r"No space left.*--cache-dir") as raised:
            store.flush()
    assert "\n" not in str(raised.value)
    assert sorted(path.suffix for path in store.folder.iterdir()) == [".arrow", ".json"]
    assert VectorStore(tmp_path, PARTS).missing(keys("a", "b")).tolist() == [False, True]
    store.flush()  # there is room again: nothing was lost
    assert VectorStore(tmp_path, PARTS).get(keys("a", "b"))[:, 0].tolist() == [0, 5]


def test_a_cache_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("")
    with pytest.raises(IncompleteError, match=r"cannot use the vector cache.*--cache-dir"):
        VectorStore(tmp_path / "cache" / "vectors", PARTS)


def test_a_cache_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(Path, "mkdir", denied)
        with pytest.raises(IncompleteError, match="Permission denied"):
            VectorStore(tmp_path, PARTS)
    # A folder that exists already and has gone read-only can still be read.
    written(tmp_path, "a")
    store = VectorStore(tmp_path, PARTS)
    monkeypatch.setattr(Path, "open", denied)
    assert store.get(keys("a"))[0, 0] == 0
    store.append(keys("b"), vectors(1))
    with pytest.raises(IncompleteError, match="Permission denied"):
        store.flush()


def test_a_segment_pruned_while_the_store_is_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = written(tmp_path, "a")
    (segment,) = store.folder.glob("*.arrow")
    monkeypatch.setattr(Path, "glob", lambda *_: [segment])
    segment.unlink()
    opened = VectorStore(tmp_path, PARTS)
    assert opened.missing(keys("a")).all()
    assert opened.damaged == []
