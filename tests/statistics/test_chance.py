"""What guessing scores."""

from __future__ import annotations

import pytest

from harness.errors import UsageError
from harness.statistics.chance import at_chance, chance_rate


def test_rates_by_hand() -> None:
    assert chance_rate("recall@10", 1000) == 0.01
    assert chance_rate("recall@10", 13_014, 11) == pytest.approx(10 / 13_014)
    assert chance_rate("accuracy", 200) == pytest.approx(1 / 200)
    assert chance_rate("hit@1", 50, 5) == pytest.approx(0.1)
    # One of 2 relevant in the first 2 of 4: all but the one pair of the 6 that has neither.
    assert chance_rate("hit@2", 4, 2) == pytest.approx(5 / 6)
    assert chance_rate("recall@100", 20) == 1.0
    assert chance_rate("mrr", 1000) is None
    assert chance_rate("f1", 10) is None


def test_the_interval_by_hand() -> None:
    # Binomial(10, ½): P(X ≤ 7) = .945, P(X ≤ 8) = .989: up to 8 of 10 may be guessing.
    assert at_chance(0.8, 10, 0.5)
    assert not at_chance(0.9, 10, 0.5)
    assert at_chance(0.0, 10, 0.5)
    # 1000 queries at 1 %: up to 16 of them.
    assert at_chance(0.016, 1000, 0.01)
    assert not at_chance(0.018, 1000, 0.01)


def test_refusals() -> None:
    with pytest.raises(UsageError, match="11 relevant of 10 candidates"):
        chance_rate("recall@10", 10, 11)
    with pytest.raises(UsageError, match=r"score 1\.6"):
        at_chance(1.6, 100, 0.01)
