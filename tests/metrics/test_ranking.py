from __future__ import annotations

import math
from collections.abc import Callable
from random import Random

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.metrics.ranking import (
    Ranks,
    average_precision,
    hit_at,
    ndcg_at,
    other_language_recall,
    recall_at,
    reciprocal_rank,
)

Metric = Callable[[Ranks], npt.NDArray[np.float64]]

METRICS: dict[str, Metric] = {
    "hit@1": lambda ranks: hit_at(ranks, 1),
    "hit@10": lambda ranks: hit_at(ranks, 10),
    "recall@10": lambda ranks: recall_at(ranks, 10),
    "mrr": reciprocal_rank,
    "map": average_precision,
    "map@20": lambda ranks: average_precision(ranks, 20),
    "ndcg@10": lambda ranks: ndcg_at(ranks, 10),
}

# Found at the top; found late, one of three never; nothing found; one beyond ten; all three on
# top. The queries without ranks are first, last and next to each other: no value may leak.
LISTS: list[list[int]] = [[], [1], [2, 5], [], [], [11], [1, 2, 3], []]
RELEVANT = [2, 1, 3, 1, 4, 1, 3, 1]


@pytest.fixture
def ranks() -> Ranks:
    return Ranks.of(LISTS, RELEVANT)


def test_the_arrays_are_the_lists_one_after_another(ranks: Ranks) -> None:
    assert len(ranks) == 8
    assert ranks.values.dtype == np.int32
    assert ranks.values.tolist() == [1, 2, 5, 11, 1, 2, 3]
    assert ranks.offsets.dtype == np.int64
    assert ranks.offsets.tolist() == [0, 0, 1, 3, 3, 3, 4, 7, 7]
    assert ranks.relevant.dtype == np.int32
    assert ranks.query.tolist() == [1, 2, 2, 5, 6, 6, 6]


def test_hits_by_hand(ranks: Ranks) -> None:
    assert hit_at(ranks, 1).tolist() == [0, 1, 0, 0, 0, 0, 1, 0]
    assert hit_at(ranks, 2).tolist() == [0, 1, 1, 0, 0, 0, 1, 0]
    assert hit_at(ranks, 10).tolist() == [0, 1, 1, 0, 0, 0, 1, 0]
    assert hit_at(ranks, 11).tolist() == [0, 1, 1, 0, 0, 1, 1, 0]


def test_recall_divides_by_the_gold_count_not_by_what_was_found(ranks: Ranks) -> None:
    assert recall_at(ranks, 2).tolist() == [0, 1, 1 / 3, 0, 0, 0, 2 / 3, 0]
    assert recall_at(ranks, 10).tolist() == [0, 1, 2 / 3, 0, 0, 0, 1, 0]
    assert recall_at(ranks, 100).tolist() == [0, 1, 2 / 3, 0, 0, 1, 1, 0]


def test_recall_at_ten_of_eleven_relevant_is_at_most_ten_elevenths() -> None:
    perfect = Ranks.of([list(range(1, 12))], [11])
    assert recall_at(perfect, 10).tolist() == [10 / 11]
    assert hit_at(perfect, 10).tolist() == [1]
    assert average_precision(perfect, 20).tolist() == [1]
    assert average_precision(perfect, 10).tolist() == [1]


def test_reciprocal_rank_by_hand(ranks: Ranks) -> None:
    assert reciprocal_rank(ranks).tolist() == [0, 1, 1 / 2, 0, 0, 1 / 11, 1, 0]


def test_average_precision_by_hand(ranks: Ranks) -> None:
    # Query 2: the first relevant at rank 2, the second at rank 5, the third never.
    uncut = [0, 1, (1 / 2 + 2 / 5) / 3, 0, 0, 1 / 11, 1, 0]
    assert average_precision(ranks) == pytest.approx(uncut, abs=1e-15)
    # At 2, min(relevant, 2) divides: query 2 has 1/2 over 2, query 6 two of two.
    at_two = [0, 1, (1 / 2) / 2, 0, 0, 0, 1, 0]
    assert average_precision(ranks, 2) == pytest.approx(at_two, abs=1e-15)
    assert average_precision(ranks, 20) == pytest.approx(uncut, abs=1e-15)


def test_average_precision_at_one_gold_is_the_reciprocal_rank_cut() -> None:
    ranks = Ranks.of([[1], [7], [20], [21], []], [1] * 5)
    assert average_precision(ranks, 20).tolist() == [1, 1 / 7, 1 / 20, 0, 0]


def test_ndcg_by_hand(ranks: Ranks) -> None:
    ideal = 1 + 1 / math.log2(3) + 1 / math.log2(4)
    by_hand = [0, 1, (1 / math.log2(3) + 1 / math.log2(6)) / ideal, 0, 0, 0, 1, 0]
    assert ndcg_at(ranks, 10) == pytest.approx(by_hand, abs=1e-15)
    # At 2 the ideal order holds two of the three.
    at_two = [0, 1, (1 / math.log2(3)) / (1 + 1 / math.log2(3)), 0, 0, 0, 1, 0]
    assert ndcg_at(ranks, 2) == pytest.approx(at_two, abs=1e-15)


@pytest.mark.parametrize("name", METRICS)
def test_no_queries_give_no_values(name: str) -> None:
    values = METRICS[name](Ranks.of([], []))
    assert values.dtype == np.float64
    assert values.shape == (0,)


@pytest.mark.parametrize("name", METRICS)
def test_a_single_query_without_ranks_scores_zero(name: str) -> None:
    values = METRICS[name](Ranks.of([[]], [3]))
    assert values.dtype == np.float64
    assert values.tolist() == [0]


@pytest.mark.parametrize(
    ("lists", "relevant", "message"),
    [
        ([[1], [0]], [1, 1], "rank 0 of query 1"),
        ([[-3]], [1], "rank -1 of query 0"),
        ([[], [2, 2]], [1, 2], "rank 2 of query 1: ranks must strictly ascend"),
        ([[5, 3]], [2], "rank 3 of query 0: ranks must strictly ascend"),
        ([[1], [1, 2]], [1, 1], "number of ranks 2 of query 1"),
        ([[], []], [1, 0], "relevant 0 of query 1"),
        ([[1]], [1, 1], "2 offsets for 2 queries"),
        ([[1], [1]], [1], "3 offsets for 1 queries"),
        ([[1.5]], [1], "whole numbers"),
        ([[1]], [1.0], "whole numbers"),
        ([[2**31]], [1], "does not fit in int32"),
        ([[1]], [[1]], "one dimension"),
    ],
)
def test_what_is_not_ranks_is_refused(
    lists: list[list[int]], relevant: npt.ArrayLike, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        Ranks.of(lists, relevant)


def test_a_descent_between_queries_is_no_descent_within_one() -> None:
    assert Ranks.of([[9], [], [1]], [1, 1, 1]).values.tolist() == [9, 1]


@pytest.mark.parametrize("offsets", [[1, 2], [0, 1], [0, 3], [2, 0]])
def test_offsets_that_do_not_cut_the_ranks_are_refused(offsets: list[int]) -> None:
    with pytest.raises(ValueError, match="offsets do not cut 2 ranks"):
        Ranks(
            np.array([1, 2], dtype=np.int32),
            np.array(offsets, dtype=np.int64),
            np.array([2], dtype=np.int32),
        )


def test_a_wrong_dtype_is_refused() -> None:
    with pytest.raises(ValueError, match="values is int64"):
        Ranks(
            np.array([1]),
            np.array([0, 1], dtype=np.int64),
            np.array([1], dtype=np.int32),
        )


@pytest.mark.parametrize("k", [0, -1])
def test_a_cut_below_one_is_refused(ranks: Ranks, k: int) -> None:
    for metric in (hit_at, recall_at, average_precision, ndcg_at, other_language_recall):
        with pytest.raises(ValueError, match=f"k = {k}"):
            metric(ranks, k)


@st.composite
def queries(draw: st.DrawFn) -> list[tuple[list[int], int]]:
    """Queries as (ranks, relevant), often with none or not all relevant candidates found."""
    one = st.tuples(
        st.lists(st.integers(1, 40), unique=True, max_size=12).map(sorted), st.integers(0, 4)
    )
    return [(found, max(1, len(found) + missed)) for found, missed in draw(st.lists(one))]


def _ranks(rows: list[tuple[list[int], int]]) -> Ranks:
    return Ranks.of([found for found, _ in rows], np.array([n for _, n in rows], dtype=int))


def _by_hand(found: list[int], relevant: int, k: int) -> dict[str, float]:
    """The definitions, one query at a time, candidate by candidate."""
    top = [rank in found for rank in range(1, k + 1)]
    precisions = [sum(top[: i + 1]) / (i + 1) for i in range(k) if top[i]]
    gains = [1 / math.log2(i + 2) for i in range(k) if top[i]]
    ideal = [1 / math.log2(i + 2) for i in range(min(k, relevant))]
    return {
        "hit": float(any(top)),
        "recall": sum(top) / relevant,
        "ap": math.fsum(precisions) / min(relevant, k),
        "ndcg": math.fsum(gains) / math.fsum(ideal),
    }


@given(queries(), st.integers(1, 45))
def test_metrics_follow_their_definitions(rows: list[tuple[list[int], int]], k: int) -> None:
    ranks = _ranks(rows)
    expected = [_by_hand(found, relevant, k) for found, relevant in rows]
    for name, values in (
        ("hit", hit_at(ranks, k)),
        ("recall", recall_at(ranks, k)),
        ("ap", average_precision(ranks, k)),
        ("ndcg", ndcg_at(ranks, k)),
    ):
        assert values == pytest.approx([row[name] for row in expected], abs=1e-12)
    assert reciprocal_rank(ranks) == pytest.approx(
        [1 / found[0] if found else 0.0 for found, _ in rows], abs=1e-12
    )
    assert average_precision(ranks) == pytest.approx(
        [sum((i + 1) / r for i, r in enumerate(found)) / n for found, n in rows], abs=1e-12
    )


@given(queries(), st.integers(1, 45))
def test_metrics_are_bounded_and_ordered(rows: list[tuple[list[int], int]], k: int) -> None:
    ranks = _ranks(rows)
    for values in (
        hit_at(ranks, k),
        recall_at(ranks, k),
        reciprocal_rank(ranks),
        average_precision(ranks),
        average_precision(ranks, k),
        ndcg_at(ranks, k),
    ):
        assert ((values >= 0) & (values <= 1)).all()
    assert (recall_at(ranks, k) <= hit_at(ranks, k)).all()
    assert (hit_at(ranks, k) <= hit_at(ranks, k + 1)).all()
    assert (recall_at(ranks, k) <= recall_at(ranks, k + 1)).all()
    assert ((hit_at(ranks, k) > 0) == (reciprocal_rank(ranks) >= 1 / k)).all()


@given(queries(), st.randoms(use_true_random=False))
def test_queries_in_another_order_give_the_same_values(
    rows: list[tuple[list[int], int]], random: Random
) -> None:
    order = list(range(len(rows)))
    random.shuffle(order)
    for metric in METRICS.values():
        there = metric(_ranks(rows))
        assert metric(_ranks([rows[i] for i in order])).tolist() == there[order].tolist()


def test_agrees_with_trec_eval() -> None:
    """Random queries as qrels and a run; trec_eval's map_cut divides by the gold count."""
    ir_measures = pytest.importorskip("ir_measures")
    from ir_measures import AP, RR, R, Success, nDCG

    random = np.random.default_rng(7)
    depth = 60
    rows: list[tuple[list[int], int]] = []
    for _ in range(300):
        size = int(random.integers(0, 12))
        drawn = np.sort(random.choice(depth, size=size, replace=False)) + 1
        rows.append((drawn.tolist(), max(1, size + int(random.integers(0, 3)))))
    ranks = _ranks(rows)

    qrels, run = [], []
    for query, (found, relevant) in enumerate(rows):
        for rank in range(1, depth + 1):
            name = f"gold{found.index(rank)}" if rank in found else f"other{rank}"
            run.append(ir_measures.ScoredDoc(str(query), name, float(depth - rank)))
        qrels += [ir_measures.Qrel(str(query), f"gold{i}", 1) for i in range(relevant)]

    cut = np.minimum(ranks.relevant, 20) / ranks.relevant
    ours = {
        RR: reciprocal_rank(ranks),
        AP: average_precision(ranks),
        AP @ 20: average_precision(ranks, 20) * cut,
        R @ 10: recall_at(ranks, 10),
        R @ 20: recall_at(ranks, 20),
        Success @ 1: hit_at(ranks, 1),
        Success @ 10: hit_at(ranks, 10),
        nDCG @ 10: ndcg_at(ranks, 10),
        nDCG @ 5: ndcg_at(ranks, 5),
    }
    theirs = {measure: np.full(len(rows), np.nan) for measure in ours}
    for metric in ir_measures.iter_calc(list(ours), qrels, run):
        theirs[metric.measure][int(metric.query_id)] = metric.value
    for measure, values in ours.items():
        assert values == pytest.approx(theirs[measure], abs=1e-9), str(measure)
