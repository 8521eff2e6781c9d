"""Joining two runs: sums by hand, and what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import DataError, IncompleteError, UsageError
from harness.kinds import retrieval, span_qa
from harness.statistics.paired import Paired
from harness.statistics.paired import pair as pair_sides


def found(example: str, lang: str, cluster: str, rank: int, direction: str = "") -> dict[str, Any]:
    """A query whose one relevant candidate is at a rank."""
    return {
        "example_id": example,
        "lang": lang,
        "cluster": cluster,
        "direction": direction or f"{lang}-all",
        "ranks": [rank],
        "relevant": 1,
        "top_ids": [],
    }


def queries(*rows: dict[str, Any]) -> pa.Table:
    return pa.Table.from_pylist(list(rows), schema=retrieval.SCHEMA)


def answers(*rows: tuple[str, str, str, str, float]) -> pa.Table:
    """Rows of (example, context language, question language, cluster, F1)."""
    return pa.Table.from_pylist(
        [
            {
                "example_id": example,
                "lang": lang,
                "question_lang": asked,
                "cluster": cluster,
                "prediction": "",
                "exact_match": float(f1 == 1),
                "f1": f1,
                "answered": True,
            }
            for example, lang, asked, cluster, f1 in rows
        ],
        schema=span_qa.SCHEMA,
    )


def pair(a: pa.Table, b: pa.Table, metric: str, kind: str, task: str = "") -> Paired:
    """One run of either side, by a metric that is a mean."""
    paired = pair_sides([a], [b], metric, kind, task=task)
    assert isinstance(paired, Paired)
    return paired


A = queries(
    found("1", "de", "x:p", 1), found("2", "de", "x:p", 3), found("3", "de", "x:q", 20),
    found("1", "hi", "x:p", 11), found("2", "hi", "x:q", 10),
)  # fmt: skip
B = queries(
    found("2", "hi", "x:q", 12), found("1", "hi", "x:p", 40),
    found("3", "de", "x:q", 2), found("1", "de", "x:p", 30), found("2", "de", "x:p", 5),
)  # fmt: skip


def test_by_hand() -> None:
    # recall@10 of A: de 1 1 0, hi 0 1; of B: de 0 1 1, hi 0 0. The rows of B are in another order.
    paired = pair(A, B, "recall@10", "passages", task="t")
    assert paired.langs == ("de", "hi")
    assert paired.clusters.tolist() == ["x:p", "x:q"]
    assert paired.sums.tolist() == [[1, 0], [-1, 1]]
    assert paired.counts.tolist() == [[2, 1], [1, 1]]
    assert paired.observed.tolist() == [0, 0.5]
    assert paired.left_out == ()


def test_the_other_way_round_has_the_other_sign() -> None:
    ab, ba = (pair(*runs, "recall@10", "passages") for runs in ((A, B), (B, A)))
    columns = [ba.langs.index(lang) for lang in ab.langs]
    assert np.array_equal(ab.sums, -ba.sums[:, columns])


@given(order=st.permutations(range(5)), other=st.permutations(range(5)))
def test_the_order_of_rows_changes_nothing(order: list[int], other: list[int]) -> None:
    straight = pair(A, B, "hit@5", "passages")
    mixed = pair(A.take(order), B.take(other), "hit@5", "passages")
    columns = [mixed.langs.index(lang) for lang in straight.langs]
    assert np.array_equal(straight.sums, mixed.sums[:, columns])
    assert np.array_equal(straight.counts, mixed.counts[:, columns])


def test_tables_in_chunks() -> None:
    chunked = pa.concat_tables([A.slice(0, 2), A.slice(2)])
    assert np.array_equal(
        pair(chunked, B, "mrr", "passages").sums, pair(A, B, "mrr", "passages").sums
    )


def test_questions_in_another_language_are_a_unit_of_their_own() -> None:
    a = answers(("1", "de", "de", "m:1", 1.0), ("1", "de", "ar", "m:1", 0.5))
    b = answers(("1", "de", "ar", "m:1", 0.25), ("1", "de", "de", "m:1", 0.5))
    paired = pair(a, b, "f1", "span_qa")
    assert paired.langs == ("de", "de-ar")
    assert paired.sums.tolist() == [[0.5, 0.25]]
    assert pair(a, b, "exact_match", "span_qa").sums.tolist() == [[1, 0]]


def test_an_example_in_one_run_only_is_refused() -> None:
    with pytest.raises(IncompleteError, match="in one run only: 1 of hi;"):
        pair(A, B.slice(1), "recall@10", "passages")
    with pytest.raises(IncompleteError, match="in one run only: 2 of de;"):
        pair(A.take([0, 3, 4]), B, "recall@10", "passages")
    renamed = queries(*(row | {"example_id": row["example_id"] + "x"} for row in B.to_pylist()))
    with pytest.raises(IncompleteError, match="6 of de, 4 of hi"):
        pair(A, renamed, "recall@10", "passages")


def test_a_language_in_one_run_only_is_left_out_and_named() -> None:
    paired = pair(A, B.slice(2), "recall@10", "passages")
    assert (paired.langs, paired.left_out) == (("de",), ("hi",))
    assert paired.sums.tolist() == [[1], [-1]]
    with pytest.raises(IncompleteError, match="no language in common"):
        pair(A.slice(3), B.slice(2), "recall@10", "passages")


def test_what_does_not_belong_together_is_refused() -> None:
    twice = pa.concat_tables([A, A.slice(1, 1)])
    with pytest.raises(DataError, match="example 2 of de is there more than once"):
        pair(twice, B, "recall@10", "passages")
    moved = queries(*(row | {"cluster": "x:r"} for row in B.to_pylist()))
    with pytest.raises(DataError, match="5 examples into different clusters"):
        pair(A, moved, "recall@10", "passages")
    empty = answers(("1", "de", "de", "m:1", 0.5)).set_column(6, "f1", pa.array([None], "float32"))
    with pytest.raises(DataError, match="1 examples have no f1"):
        pair(empty, empty, "f1", "span_qa")


@pytest.mark.parametrize(
    ("metric", "kind", "message"),
    [
        ("f1_mteb", "bitext", "metric that can be contrasted 'f1_mteb'"),
        ("same_language@10", "passages", "metric that can be contrasted"),
        ("recall@11", "passages", "did you mean recall@1"),
        ("f1_mteb", "passages", "unknown metric"),
        ("recall@10", "mining", "unknown metric"),
    ],
)
def test_metrics_that_runs_are_not_compared_by(metric: str, kind: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        pair(A, B, metric, kind)


def test_the_mean_of_several_runs() -> None:
    # de: B₁ and B₂ find 0 1 1 and 1 1 0, so A − B̄ is ½ 0 −½; hi: A 0 1, B̄ 0 ½.
    both = pair_sides([A], [B, A], "recall@10", "passages")
    assert isinstance(both, Paired)
    assert both.sums.tolist() == [[0.5, 0], [-0.5, 0.5]]
    weighted = pair_sides([A], [B, A], "recall@10", "passages", weights=(None, [1.0, 0.0]))
    assert isinstance(weighted, Paired)
    assert np.array_equal(weighted.sums, pair(A, B, "recall@10", "passages").sums)
