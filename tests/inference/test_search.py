"""Search against brute force, with scores that are exact so that ties are ties."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import harness.inference.nearest
import harness.inference.search
from harness.inference.search import (
    Distinct,
    Float32,
    Ranked,
    distinct_vectors,
    mine,
    rank_all,
    rank_top,
    uncomparable,
)

# Small whole numbers: every inner product is exact, and many are equal.
whole = st.integers(-2, 2).map(float)


def matrices(rows: st.SearchStrategy[int]) -> st.SearchStrategy[Float32]:
    return rows.flatmap(lambda n: hnp.arrays(np.float32, (n, 3), elements=whole))


@st.composite
def searches(draw: st.DrawFn) -> tuple[Float32, Float32, list[list[int]]]:
    """Queries, candidates (many of them equal), and the relevant candidates of each query."""
    queries = draw(matrices(st.integers(1, 8)))
    pool = draw(matrices(st.integers(1, 25)))
    one = st.lists(st.integers(0, len(pool) - 1), min_size=1, unique=True).map(sorted)
    relevant = draw(st.lists(one, min_size=len(queries), max_size=len(queries)))
    return queries, pool, relevant


def by_hand(
    queries: Float32, pool: Float32, relevant: Sequence[Sequence[int]], top: int
) -> tuple[list[list[int]], list[list[int]]]:
    """Sort every candidate of the pool by descending score, then by index."""
    ranks, best = [], []
    for query, wanted in zip(queries, relevant, strict=True):
        scores = [float(query @ candidate) for candidate in pool]
        order = sorted(range(len(pool)), key=lambda entry: (-scores[entry], entry))
        ranks.append(sorted(order.index(entry) + 1 for entry in wanted))
        best.append(order[:top])
    return ranks, best


def lists(ranked: Ranked) -> tuple[list[list[int]], list[list[int]]]:
    return [r.tolist() for r in ranked.ranks], [t.tolist() for t in ranked.top]


@settings(deadline=None, max_examples=150)
@given(searches(), st.integers(1, 12))
def test_rank_all_is_a_sort(search: Any, top: int) -> None:
    queries, pool, relevant = search
    expected = by_hand(queries, pool, relevant, top)
    assert lists(rank_all(queries, distinct_vectors(pool), relevant, top=top)) == expected


@settings(deadline=None, max_examples=150)
@given(searches(), st.integers(1, 30), st.integers(1, 7))
def test_rank_top_is_rank_all_cut_at_the_depth(search: Any, depth: int, block: int) -> None:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(harness.inference.nearest, "CANDIDATE_BLOCK", block)
        queries, candidates, relevant = search
        pool = distinct_vectors(candidates)
        ranks, top = lists(rank_top(queries, pool, relevant, depth=depth))
    whole_ranks, whole_top = lists(rank_all(queries, pool, relevant))
    assert ranks == [[rank for rank in line if rank <= depth] for line in whole_ranks]
    assert top == [line[:depth] for line in whole_top]


def test_types_and_blocks_of_queries(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(1)
    queries, candidates = (random.normal(size=(n, 4)).astype(np.float32) for n in (7, 9))
    relevant = [[n, n + 2] for n in range(7)]
    expected = by_hand(queries, candidates, relevant, 10)
    monkeypatch.setattr(harness.inference.search, "QUERY_BLOCK", 3)
    ranked = rank_all(queries, distinct_vectors(candidates), relevant)
    assert lists(ranked) == expected
    assert {ranks.dtype for ranks in ranked.ranks} == {np.dtype(np.int32)}
    assert {top.dtype for top in ranked.top} == {np.dtype(np.int64)}


def test_equal_scores_go_to_the_lowest_index() -> None:
    candidates = np.array([[1, 0], [1, 1], [1, 0], [2, 0]], dtype=np.float32)
    query = np.array([[1, 0]], dtype=np.float32)
    ranked = rank_all(query, distinct_vectors(candidates), [[2]])
    assert lists(ranked) == ([[4]], [[3, 0, 1, 2]])


@settings(deadline=None)
@given(matrices(st.integers(0, 30)), st.integers(1, 7))
def test_distinct_vectors(vectors: Float32, block: int) -> None:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(harness.inference.search, "HASHED", block)
        found = distinct_vectors(vectors)
    order = list(dict.fromkeys(map(tuple, vectors.tolist())))
    assert found.vectors[:].tolist() == [list(vector) for vector in order]
    assert found.rows.tolist() == [order.index(tuple(vector)) for vector in vectors.tolist()]
    assert found.first.tolist() == [found.rows.tolist().index(row) for row in range(len(order))]
    assert len(found) == len(vectors)


def test_distinct_to_the_bit_and_zeros_of_either_sign() -> None:
    one = np.float32(1)
    vectors = np.array([[0.0, one], [-0.0, one], [0.0, np.nextafter(one, 2)]], dtype=np.float32)
    found = distinct_vectors(vectors)
    assert found.rows.tolist() == [0, 0, 1]
    assert distinct_vectors(vectors[1:]).vectors is not vectors
    alone = np.ascontiguousarray(vectors[1:])
    assert isinstance(found, Distinct)
    assert distinct_vectors(alone).vectors is alone  # distinct: not copied


@pytest.mark.parametrize("queries", [1, 3, 257, 300])
def test_equal_queries_and_candidates_rank_alike_in_every_block(
    queries: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Real numbers: in a plain matrix product equal columns and rows differ in the last bit.
    random = np.random.default_rng(queries)
    base = random.normal(size=(40, 64)).astype(np.float32)
    pool = base[random.integers(0, 40, size=500)]
    asked = base[random.integers(0, 40, size=queries)]
    asked += np.float32(0.1) * np.roll(base, 1, axis=0)[:1]
    relevant = [[int(n) for n in np.unique(random.integers(0, 500, size=5))]] * queries
    distinct = distinct_vectors(pool)
    monkeypatch.setattr(harness.inference.search, "QUERY_BLOCK", 2)
    ranks, top = lists(rank_all(asked, distinct, relevant))
    monkeypatch.setattr(harness.inference.nearest, "CANDIDATE_BLOCK", 7)
    cut, cut_top = lists(rank_top(asked, distinct, relevant, depth=500))
    assert (cut, cut_top) == (ranks, top)
    same: dict[bytes, tuple[list[int], list[int]]] = {}
    for query, rank, best in zip(asked, ranks, top, strict=True):
        assert same.setdefault(query.tobytes(), (rank, best)) == (rank, best)
    exact = asked.astype(np.float64) @ pool.astype(np.float64).T
    for line, rank, wanted in zip(exact, ranks, relevant, strict=True):
        order = np.argsort(-line.round(12), kind="stable").tolist()
        assert rank == sorted(order.index(one) + 1 for one in wanted)


def test_uncomparable_is_what_has_no_finite_product_with_itself() -> None:
    vectors = np.zeros((6, 300), dtype=np.float32)
    vectors[:, 0] = [1, 1e19, 2e19, -2e19, np.nan, -np.inf]
    assert uncomparable(vectors).tolist() == [False, False, True, True, True, True]
    assert uncomparable(np.full((1, 300), 1e19, np.float32)).tolist() == [True]
    kept = vectors[:2]
    assert np.isfinite(kept @ kept.T).all()


def test_one_query_one_candidate() -> None:
    vector = np.array([[0.6, 0.8]], dtype=np.float32)
    pool = distinct_vectors(vector)
    assert lists(rank_all(vector, pool, [[0]])) == ([[1]], [[0]])
    assert lists(rank_top(vector, pool, [[0]], depth=100)) == ([[1]], [[0]])


def slow_mining(source: Float32, target: Float32, k: int) -> dict[tuple[int, int], float]:
    """Ratio margins of the best forward and backward pair of each sentence, one by one."""
    cosine = source.astype(np.float64) @ target.astype(np.float64).T

    def nearest(line: Any) -> list[int]:
        return sorted(range(len(line)), key=lambda place: -line[place])[:k]

    forward = [float(np.mean([line[j] for j in nearest(line)])) for line in cosine]
    backward = [float(np.mean([line[i] for i in nearest(line)])) for line in cosine.T]

    def margin(i: int, j: int) -> float:
        return float(cosine[i, j] / ((forward[i] + backward[j]) / 2))

    pairs = [
        max(((i, j) for j in nearest(cosine[i])), key=lambda p: margin(*p))
        for i in range(len(source))
    ]
    pairs += [
        max(((i, j) for i in nearest(cosine[:, j])), key=lambda p: margin(*p))
        for j in range(len(target))
    ]
    return {pair: margin(*pair) for pair in pairs}


@pytest.mark.parametrize(("n", "m"), [(1, 1), (2, 7), (30, 20), (3, 2)])
@pytest.mark.parametrize("neighbours", [1, 4])
def test_mining_against_a_slow_one(n: int, m: int, neighbours: int) -> None:
    random = np.random.default_rng(n + m)
    sides = [np.abs(random.normal(size=(size, 5))).astype(np.float32) for size in (n, m)]
    source, target = (side / np.linalg.norm(side, axis=1, keepdims=True) for side in sides)
    left, right, margins = mine(source, target, neighbours=neighbours)
    assert left.shape == right.shape == margins.shape == (n + m,)
    assert left[:n].tolist() == list(range(n))
    assert right[n:].tolist() == list(range(m))
    assert margins.dtype == np.float32
    expected = slow_mining(source, target, neighbours)
    assert set(zip(left.tolist(), right.tolist(), strict=True)) == set(expected)
    for i, j, margin in zip(left.tolist(), right.tolist(), margins, strict=True):
        assert margin == pytest.approx(expected[i, j], abs=1e-5)


def test_mining_of_vectors_without_a_neighbour_is_a_margin_of_zero() -> None:
    axes = np.eye(4, dtype=np.float32)
    _, _, margins = mine(axes[:2], axes[2:])
    assert margins.tolist() == [0, 0, 0, 0]
