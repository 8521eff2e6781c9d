"""Batches: every row once, within the budget, and halved when memory runs out."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.errors import IncompleteError
from harness.inference.batching import distinct, halving, token_batches

lengths_of_rows = st.lists(st.integers(0, 600), max_size=60)


@settings(deadline=None)
@given(st.lists(st.sampled_from(["", "a", "b", "ab", "A", " a"]), max_size=30))
def test_distinct_texts_in_order_of_appearance(texts: list[str]) -> None:
    unique, inverse = distinct(texts)
    assert [unique[place] for place in inverse] == texts
    assert unique == list(dict.fromkeys(texts))
    assert inverse.dtype == np.int64


@settings(deadline=None)
@given(lengths_of_rows, st.integers(1, 2_000))
def test_every_row_once_within_the_budget(lengths: list[int], budget: int) -> None:
    batches = token_batches(lengths, budget)
    rows = [int(row) for batch in batches for row in batch]
    assert sorted(rows) == list(range(len(lengths)))
    for batch in batches:
        longest = max(lengths[row] for row in batch)
        assert len(batch) * longest <= budget or len(batch) == 1
    longest_first = [lengths[row] for row in rows]
    assert longest_first == sorted(lengths, reverse=True)


@settings(deadline=None)
@given(lengths_of_rows, st.integers(1, 2_000))
def test_no_other_cut_costs_less_per_token(lengths: list[int], budget: int) -> None:
    ordered = sorted((max(length, 1) for length in lengths), reverse=True)
    start = 0
    for batch in token_batches(lengths, budget):
        most = max(budget // ordered[start], 1)
        costs = [
            (budget / 64 + rows * ordered[start]) / sum(ordered[start : start + rows])
            for rows in range(1, min(most, len(ordered) - start) + 1)
        ]
        assert costs[len(batch) - 1] == pytest.approx(min(costs))
        start += len(batch)


@settings(deadline=None)
@given(lengths_of_rows, st.integers(1, 2_000))
def test_batches_of_one_length_hold_no_padding_and_are_as_few_as_can_be(
    lengths: list[int], budget: int
) -> None:
    batches = token_batches(lengths, budget, one_length=True)
    assert sorted(int(row) for batch in batches for row in batch) == list(range(len(lengths)))
    assert all(len({max(lengths[row], 1) for row in batch}) == 1 for batch in batches)
    assert all(len(b) * max(lengths[b[0]], 1) <= budget or len(b) == 1 for b in batches)
    for length in {max(length, 1) for length in lengths}:
        rows = sum(max(other, 1) == length for other in lengths)
        found = sum(max(lengths[batch[0]], 1) == length for batch in batches)
        assert found == -(-rows // max(budget // length, 1))


def test_one_length_fills_the_budget() -> None:
    assert [len(batch) for batch in token_batches([10] * 25, 100)] == [10, 10, 5]


def test_a_few_shorter_rows_are_padded_and_many_are_not() -> None:
    # The pass costs 1 token, then 100: three rows of 10 are 31 for 30, with the row of 9 41 for 39.
    assert [len(batch) for batch in token_batches([10, 10, 10, 9], 64)] == [3, 1]
    assert [len(batch) for batch in token_batches([10, 9, 9, 9, 9], 64)] == [1, 4]
    assert [len(batch) for batch in token_batches([30, 30, 29, 29, 29], 6400)] == [5]


@settings(deadline=None)
@given(lengths_of_rows, st.integers(1, 2_000))
def test_batches_depend_on_lengths_alone(lengths: list[int], budget: int) -> None:
    again = token_batches(np.array(lengths, dtype=np.int64), budget)
    for one, other in zip(token_batches(list(lengths), budget), again, strict=True):
        assert np.array_equal(one, other)


def test_batches_by_hand() -> None:
    batches = token_batches([3, 10, 2, 30, 3], 12)
    assert [batch.tolist() for batch in batches] == [[3], [1], [0, 4], [2]]


class Memory:
    """A forward pass that has room for so many rows."""

    def __init__(self, room: int, error: Exception) -> None:
        self.room = room
        self.error = error
        self.tried: list[int] = []

    def __call__(self, rows: npt.NDArray[np.int64]) -> list[int]:
        self.tried.append(len(rows))
        if len(rows) > self.room:
            raise self.error
        return [int(row) * 10 for row in rows]


OUT_OF_MEMORY = [
    MemoryError(),
    RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB"),
    RuntimeError("MPS backend out of memory"),
    RuntimeError("[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: can't allocate memory"),
    RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    type("OutOfMemoryError", (RuntimeError,), {})("no room"),
]


@pytest.mark.parametrize("error", OUT_OF_MEMORY, ids=lambda error: str(error)[:12])
@pytest.mark.parametrize("room", [1, 2, 3, 8])
def test_halved_until_it_fits(room: int, error: Exception) -> None:
    rows = np.array([7, 1, 5, 2, 9, 0, 4], dtype=np.int64)
    forward = Memory(room, error)
    parts = list(halving(rows, forward))
    assert [int(row) for part, _ in parts for row in part] == rows.tolist()
    assert [value for _, result in parts for value in result] == [int(row) * 10 for row in rows]
    assert all(len(part) <= room for part, _ in parts)
    assert forward.tried[0] == 7


def test_a_gpu_gives_its_memory_back_before_each_half(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    forward = Memory(1, MemoryError())
    given_back: list[int] = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: given_back.append(forward.tried[-1]))
    list(halving(np.arange(4), forward))
    assert given_back == [4, 2, 2]


def test_a_single_row_too_large_is_incomplete() -> None:
    forward = Memory(0, MemoryError())
    with pytest.raises(IncompleteError, match="out of memory on a batch of one row") as raised:
        list(halving(np.arange(4), forward))
    assert forward.tried == [4, 2, 1]
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    "words",
    ["mat1 and mat2 shapes cannot be multiplied", "CUDA error: an illegal memory access"],
)
def test_other_errors_pass(words: str) -> None:
    forward = Memory(0, RuntimeError(words))
    with pytest.raises(RuntimeError, match=words):
        list(halving(np.arange(4), forward))
    assert forward.tried == [4]


def test_rows_of_one_length_keep_their_order() -> None:
    # Many rows, since a sort that is not stable may still keep the order of a few.
    lengths = np.tile([7, 5, 7, 6], 200)
    rows = np.concatenate(token_batches(lengths, 700))
    expected = [row for length in (7, 6, 5) for row in range(800) if lengths[row] == length]
    assert rows.tolist() == expected
