"""What ranks and first candidates of a few rows contradict."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from harness.kinds import retrieval
from harness.kinds.kind import UnitFacts
from harness.kinds.retrieval import Flags

# Three candidates: a and c are relevant to the first question, b to the second.
GOLD = {"q0": "ac", "q1": "b"}
SHARED = {"lang": "de", "direction": "de-all", "cluster": "t:p"}
ROWS: list[dict[str, Any]] = [
    {"example_id": "q0", "ranks": [1, 3], "relevant": 2, "top_ids": ["a", "b", "c"], **SHARED},
    {"example_id": "q1", "ranks": [2], "relevant": 1, "top_ids": ["c", "b", "a"], **SHARED},
]


def found(pool: int | None = 3, **changes: Any) -> str:
    """What the rows contradict where the first has these changes."""
    rows = pa.Table.from_pylist([ROWS[0] | changes, ROWS[1]], retrieval.SCHEMA)
    facts = UnitFacts("de", "test", None, pool)
    return retrieval.contradiction(rows, facts, ["de-all"], judge, 0)


def judge(rows: pa.Table, first: retrieval.FirstCandidates) -> tuple[Flags, Flags]:
    """A judge that knows all that is relevant, so that what may be relevant is."""
    asked = rows.column("example_id").take(pa.array(first.row)).to_pylist()
    gold = np.array(
        [one in GOLD[name] for name, one in zip(asked, first.ids.to_pylist(), strict=True)]
    )
    return gold, gold


@pytest.mark.parametrize("pool", [3, None])
def test_rows_without_a_contradiction(pool: int | None) -> None:
    assert found(pool) == ""


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"direction": "all-de"}, "direction all-de has no rows, or is not one of de-all"),
        ({"relevant": 0, "ranks": []}, "q0 has no relevant candidate"),
        ({"ranks": [1]}, "q0 has not as many ranks as relevant candidates"),
        ({"ranks": [0, 3]}, "q0 has rank 0 of 3"),
        ({"ranks": [1, 4]}, "q0 has rank 4 of 3"),
        ({"ranks": [3, 1]}, "the ranks of q0 do not ascend"),
        ({"top_ids": ["a", "b"]}, "q0 has not 3 first candidates"),
        ({"top_ids": ["a", "a", "c"]}, "the first candidates of q0 repeat"),
        ({"ranks": [1, 2]}, "q0: b at rank 2 is not relevant"),
        ({"ranks": [1, 3], "top_ids": ["a", "c", "b"]}, "q0: b at rank 3 is not relevant"),
    ],
)
def test_what_is_contradicted(changes: dict[str, Any], words: str) -> None:
    assert found(**changes) == words


def test_a_relevant_candidate_among_the_first_has_its_rank() -> None:
    missing = "q0: c is relevant, and rank 3 is missing"
    assert found(pool=None, relevant=1, ranks=[1]) == missing
