"""What random draws give."""

from __future__ import annotations

from math import comb

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import UsageError
from harness.statistics.chance import RandomDraws, at_chance, chance_rate, random_draws


def quantile(level: float, draws: int, rate: float) -> int:
    """The quantile of the binomial distribution by scipy's own search."""
    from scipy.stats import binom

    return int(binom.ppf(level, draws, rate))


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


@pytest.mark.parametrize(
    ("metric", "relevant", "draws", "rate"),
    [
        ("recall@10", 1, 1_190, 10 / 13_014),
        # LAReQA: every one of the eleven relevant candidates of a question is a draw.
        ("recall@10", 11, 13_090, 10 / 13_014),
        ("hit@10", 11, 1_190, 1 - comb(13_003, 10) / comb(13_014, 10)),
        ("accuracy", 11, 1_190, 11 / 13_014),
    ],
)
def test_draws_of_a_metric(metric: str, relevant: int, draws: int, rate: float) -> None:
    found = random_draws(metric, 1_190, 13_014, relevant)
    assert found is not None
    assert found.draws == draws
    assert found.rate == pytest.approx(rate)
    assert found.most() == quantile(0.975, draws, rate)


@given(
    st.integers(1, 10**7),
    st.floats(0, 1) | st.sampled_from([1e-300, 1e-12, 1 - 1e-12]),
    st.sampled_from([0.5, 0.95, 0.99999]),
)
def test_the_most_hits_are_the_quantile_of_scipy(draws: int, rate: float, level: float) -> None:
    expected = quantile((1 + level) / 2, draws, rate)
    assert RandomDraws(draws, rate).most(level) == expected


@pytest.mark.parametrize("metric", ["mrr", "map@20", "ndcg@10", "f1", "other_language_recall@10"])
def test_metrics_that_count_no_hits_have_no_chance(metric: str) -> None:
    assert random_draws(metric, 100, 1_000) is None
    assert not at_chance([0.0], None)


def test_the_most_hits_by_hand() -> None:
    # Binomial(10, ½): P(X ≤ 7) = .945, P(X ≤ 8) = .989: up to 8 of 10 may be guessing.
    random = RandomDraws(10, 0.5)
    assert random.most() == 8
    assert at_chance([0.8], random)
    assert not at_chance([0.9], random)
    assert at_chance([0.0], random)
    # 1000 queries at 1 %: P(X ≤ 16) = .974, so up to 17 of them.
    assert at_chance([0.017], RandomDraws(1_000, 0.01))
    # A mean of fractional hits above 17 exceeds it: there is no whole hit to wait for.
    assert not at_chance([0.01702], RandomDraws(1_000, 0.01))


def test_one_run_above_chance_is_enough() -> None:
    random = RandomDraws(10, 0.5)
    assert at_chance([0.8, 0.7, 0.8], random)
    # The mean of the runs would be at chance: one of them is not.
    assert not at_chance([0.2, 0.9, 0.3], random)
    assert not at_chance([], random)


def test_several_relevant_candidates_are_several_draws() -> None:
    """1,190 questions with 11 relevant of 13,014: 17 hits of 13,090 draws may be guessing.

    As a recall that is 17 / 13,090 = .0013. Over questions alone 3 of 1,190 may be, a recall of
    .0025: that rule would call a score at chance which random draws never reach.
    """
    random = random_draws("recall@10", 1_190, 13_014, 11)
    assert random is not None
    assert random.most() == 17
    assert at_chance([17 / 13_090], random)
    assert not at_chance([18 / 13_090], random)
    assert quantile(0.975, 1_190, 10 / 13_014) == 3


def test_refusals() -> None:
    with pytest.raises(UsageError, match="11 relevant of 10 candidates"):
        chance_rate("recall@10", 10, 11)
    with pytest.raises(UsageError, match="0 queries"):
        random_draws("recall@10", 0, 10)
    with pytest.raises(UsageError, match=r"score 1\.6"):
        at_chance([1.6], RandomDraws(100, 0.01))
