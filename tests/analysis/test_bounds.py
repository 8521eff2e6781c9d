"""What a ranking's scores are held against: a random order, and the most there is."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from harness.analysis.chance import ceiling, expected


def result(metric: str, relevant: float = 1, candidates: int | None = None) -> Any:
    """Two languages of 200 and of 50 queries."""
    values = {"de": SimpleNamespace(n=200), "sw": SimpleNamespace(n=50)}
    card = SimpleNamespace(kind="bitext", candidates=candidates, counts={})
    meta = {"limit": None, "split": "test"}
    return SimpleNamespace(
        metric=metric, card=card, values=values, relevant=dict.fromkeys(values, relevant),
        folded=SimpleNamespace(meta=meta),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("metric", "candidates", "by_chance"),
    [
        ("recall@10", None, (10 / 200 + 10 / 50) / 2),
        ("recall@10", 13_014, 10 / 13_014),
        ("accuracy", None, (1 / 200 + 1 / 50) / 2),
        ("mrr", None, None),
    ],
)
def test_what_a_random_order_scores(
    metric: str, candidates: int | None, by_chance: float | None
) -> None:
    assert expected(result(metric, candidates=candidates)) == (
        None if by_chance is None else pytest.approx(by_chance)
    )


@pytest.mark.parametrize(
    ("metric", "relevant", "most"),
    [("recall@10", 11, 10 / 11), ("recall@20", 11, 1), ("recall@10", 1, 1), ("f1", 11, 1)],
)
def test_the_most_there_is(metric: str, relevant: float, most: float) -> None:
    assert ceiling(result(metric, relevant)) == pytest.approx(most)
