"""The k nearest candidates against a stable sort of every score."""

from __future__ import annotations

import tracemalloc
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import harness.inference.nearest
from harness.inference.nearest import Float32, Int64, top_k


def by_hand(queries: Float32, candidates: Float32, k: int) -> tuple[Float32, Int64]:
    """Sort every candidate by descending score, then by row."""
    every = queries @ candidates.T
    rows = np.argsort(-every, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(every, rows, axis=1), rows


def assert_equal(found: tuple[Float32, Int64], expected: tuple[Float32, Int64]) -> None:
    assert found[1].tolist() == expected[1].tolist()
    assert found[0].tolist() == expected[0].tolist()


@pytest.fixture
def blocks(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Set the sizes of the blocks."""

    def sizes(**given: int) -> None:
        for name, size in given.items():
            monkeypatch.setattr(harness.inference.nearest, name, size)

    return sizes


# Small whole numbers: every inner product is exact, and many are equal.
whole = st.integers(-2, 2).map(float)


def matrices(rows: st.SearchStrategy[int]) -> st.SearchStrategy[Float32]:
    return rows.flatmap(lambda n: hnp.arrays(np.float32, (n, 3), elements=whole))


@settings(deadline=None, max_examples=200)
@given(matrices(st.integers(1, 30)), matrices(st.integers(1, 80)), st.integers(1, 90), st.data())
def test_top_k_is_a_stable_sort(
    queries: Float32, candidates: Float32, k: int, data: st.DataObject
) -> None:
    with pytest.MonkeyPatch.context() as patched:
        for name, sizes in (("CANDIDATE_BLOCK", [1, 3, 16, 100]), ("QUERY_BLOCK", [2, 100]),
                            ("GROUP", [1, 4, 32])):  # fmt: skip
            patched.setattr(harness.inference.nearest, name, data.draw(st.sampled_from(sizes)))
        found = top_k(queries, candidates, k)
    assert_equal(found, by_hand(queries, candidates, k))


@pytest.mark.parametrize("order", [1, -1], ids=["better and better", "worse and worse"])
@pytest.mark.parametrize("k", [1, 4, 100])
def test_sorted_pools(order: int, k: int, blocks: Any) -> None:
    blocks(CANDIDATE_BLOCK=256)
    candidates = np.arange(3_000, dtype=np.float32)[::order, None] * [1, 0]
    queries = np.array([[1, 0], [-1, 0], [0, 1]], dtype=np.float32)
    pool = np.ascontiguousarray(candidates, dtype=np.float32)
    assert_equal(top_k(queries, pool, k), by_hand(queries, pool, k))


@pytest.mark.parametrize("pool", [100, 500, 20_000])
def test_ties_for_the_last_place_go_to_the_lower_row(pool: int) -> None:
    candidates = np.ones((pool, 2), dtype=np.float32)
    candidates[30:80] = 2
    queries = np.ones((40, 2), dtype=np.float32)
    _, rows = top_k(queries, candidates, 90)
    assert rows.tolist() == [[*range(30, 80), *range(30), *range(80, 90)]] * 40


def test_scores_of_zero_tie_too() -> None:
    candidates = np.zeros((20_000, 2), dtype=np.float32)
    candidates[-1, 1] = -1
    _, rows = top_k(np.array([[1, 0], [0, 1]], dtype=np.float32), candidates, 5)
    assert rows.tolist() == [[0, 1, 2, 3, 4]] * 2


def test_memory_does_not_grow_with_ties(blocks: Any) -> None:
    blocks(QUERY_BLOCK=8, CANDIDATE_BLOCK=1_024)
    queries, candidates = np.zeros((1_600, 2), np.float32), np.ones((3_000, 2), np.float32)
    top_k(queries[:8], candidates, 4)  # what is imported is counted elsewhere
    tracemalloc.start()
    try:
        _, rows = top_k(queries, candidates, 4)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert rows.tolist() == [[0, 1, 2, 3]] * 1_600
    assert peak < 5e6  # 1,600 × 1,024 ties would be 33 MB of queries, rows and scores


def test_what_a_program_has_set_in_torch_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(3)
    queries, candidates = (random.normal(size=(n, 64)).astype(np.float32) for n in (40, 600))
    expected = top_k(queries, candidates, 5)
    settings = torch.backends.mkldnn.matmul  # type: ignore[attr-defined]
    used = []

    def product(*matrices: torch.Tensor, out: torch.Tensor) -> torch.Tensor:
        used.append(settings.fp32_precision)
        return multiply(*matrices, out=out)

    multiply = torch.mm
    monkeypatch.setattr(torch, "mm", product)
    torch.set_default_dtype(torch.float64)
    torch.set_float32_matmul_precision("medium")
    left = settings.fp32_precision
    try:
        assert_equal(top_k(queries, candidates, 5), expected)
        assert set(used) == {"ieee"}
        assert settings.fp32_precision == left != "ieee"
    finally:
        torch.set_default_dtype(torch.float32)
        torch.set_float32_matmul_precision("highest")


def test_real_numbers_in_several_blocks() -> None:
    random = np.random.default_rng(4)
    queries = random.normal(size=(1_500, 16)).astype(np.float32)
    candidates = random.normal(size=(30_000, 16)).astype(np.float32)
    scores, rows = top_k(queries, candidates, 20)
    exact = queries.astype(np.float64) @ candidates.T.astype(np.float64)
    best = -np.sort(-exact, axis=1)[:, :20]
    np.testing.assert_allclose(scores, best, rtol=1e-5)
    np.testing.assert_allclose(np.take_along_axis(exact, rows, axis=1), best, rtol=1e-5)
    assert all(len(set(line)) == 20 for line in rows.tolist())


@pytest.mark.parametrize(("n", "m", "k"), [(0, 5, 3), (4, 0, 3), (0, 0, 1), (1, 1, 4), (3, 2, 2)])
def test_shapes_and_types(n: int, m: int, k: int) -> None:
    scores, rows = top_k(np.ones((n, 2), np.float32), np.ones((m, 2), np.float32), k)
    assert scores.shape == rows.shape == (n, min(k, m))
    assert (scores.dtype, rows.dtype) == (np.float32, np.int64)


def test_a_memory_map_is_read(tmp_path: Path, blocks: Any) -> None:
    random = np.random.default_rng(2)
    pool = random.integers(-3, 4, size=(1_000, 8)).astype(np.float32)
    np.save(tmp_path / "pool.npy", pool)
    queries = random.integers(-3, 4, size=(30, 8)).astype(np.float32)
    blocks(CANDIDATE_BLOCK=128)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # torch warns of memory that it cannot write
        found = top_k(queries, np.load(tmp_path / "pool.npy", mmap_mode="r"), 10)
    assert_equal(found, by_hand(queries, pool, 10))
