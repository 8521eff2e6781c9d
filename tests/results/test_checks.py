"""Whether a candidate is relevant to a question in every language that asks it, or in none."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from harness.results.checks import _gold_contradiction, _judged

Line = tuple[str, list[int], list[str]]  # question, ranks, first candidates


def rows(*lines: Line) -> pa.Table:
    return pa.table(
        dict(zip(("example_id", "ranks", "top_ids"), zip(*lines, strict=True), strict=True))
    )


ENGLISH = rows(("q1", [1, 4], ["a", "b", "c"]), ("q2", [2], ["a", "b", "c"]))


@pytest.mark.parametrize(
    ("line", "wrong"),
    [
        (("q1", [3], ["b", "c", "a"]), ""),  # a again; the other one is not among the first
        (("q1", [1], ["x", "b", "c"]), ""),  # x is among the first in one language only
        (("q1", [9], ["b", "c", "x"]), ""),
        (("q1", [2], ["a", "x", "c"]), "a is relevant to q1"),
        (("q2", [1], ["x", "b", "y"]), "b is relevant to q2"),
        (("q3", [1], ["b", "a", "x"]), ""),  # another question
    ],
)
def test_candidates_of_one_question_in_two_languages(line: Line, wrong: str) -> None:
    both = (ENGLISH, rows(line))
    pairs = (hash(pair) for table in both for pair, hit in _judged(table) if hit)
    hits = np.unique(np.fromiter(pairs, np.int64))
    found = [said for table in both if (said := _gold_contradiction(table, hits))]
    assert found == ([f"{wrong} in one language and not in another"] if wrong else [])
