"""Claims over seeds and checkpoints."""

from __future__ import annotations

from math import inf, sqrt

import numpy as np
import pytest

from harness.errors import UsageError
from harness.statistics.hierarchy import Replicate, Side, claim, hierarchical, independent, shares


def checkpoints(*scores: float, base: str = "xlmr", name: str = "a") -> Side:
    return Side(tuple(Replicate(f"{name}{i}", base, 0, s) for i, s in enumerate(scores)))


def seeds(*scores: float, origin: str = "a") -> Side:
    return Side(tuple(Replicate(origin, "xlmr", i, s) for i, s in enumerate(scores)))


BASE = Side((Replicate("xlmr", "xlmr", 0, 0.4),), fixed=True)


def test_what_may_be_claimed() -> None:
    three = checkpoints(0.1, 0.2, 0.3)
    assert claim(three, checkpoints(0.1, 0.2, 0.3, name="b")) == "objective"
    assert claim(three, BASE) == "objective"
    assert claim(three, seeds(0.1, 0.2, 0.3, origin="b")) == "recipe"
    assert claim(seeds(0.1, 0.2, 0.3), BASE) == "recipe"
    assert claim(seeds(0.1, 0.2), BASE) == "descriptive"
    assert claim(checkpoints(0.1, 0.2), BASE) == "descriptive"
    assert claim(BASE, BASE) == "descriptive"


def test_another_base_is_no_claim_about_the_objective() -> None:
    other = checkpoints(0.1, 0.2, 0.3, base="mbert", name="b")
    assert claim(checkpoints(0.1, 0.2, 0.3), other) == "descriptive"
    assert claim(other, BASE) == "descriptive"


def test_seeds_are_not_checkpoints() -> None:
    # Two checkpoints of three seeds each are six runs, and no claim.
    runs = tuple(Replicate(f"a{i}", "xlmr", seed, 0.1) for i in range(2) for seed in range(3))
    assert claim(Side(runs), BASE) == "descriptive"
    # The same seed three times is one seed.
    assert claim(Side(tuple(Replicate("a", "xlmr", 1, 0.1) for _ in range(3))), BASE) == (
        "descriptive"
    )


def made(*origins: tuple[str, set[str], float]) -> Side:
    return Side(
        tuple(
            Replicate(origin, "xlmr", seed, score, frozenset(corpora))
            for origin, corpora, score in origins
            for seed in range(3)
        )
    )


def test_checkpoints_from_the_same_data_are_not_independent() -> None:
    squad, again = ("squad, 100 steps", {"squad"}, 0.1), ("squad, 400 steps", {"squad"}, 0.3)
    mlqa, tydiqa = ("mlqa", {"mlqa"}, 0.4), ("tydiqa", {"tydiqa"}, 0.6)
    # Two amounts of training on one corpus and another corpus are two checkpoints, and no claim.
    assert claim(made(squad, again, mlqa), BASE) == "descriptive"
    # Nor are three amounts the seeds of one recipe.
    assert claim(made(squad, again), BASE) == "descriptive"
    assert claim(made(squad, mlqa, tydiqa), BASE) == "objective"
    both = made(squad, again, mlqa, tydiqa)
    assert claim(both, BASE) == "objective"
    # The units are .2 (the mean of SQuAD's two), .4 and .6: the mean is .4, s² is .04.
    result = hierarchical(both, BASE, 0.0, 100)
    assert result.difference == pytest.approx(0.0)
    assert result.se == pytest.approx(sqrt(0.04 / 3))
    assert result.df == pytest.approx(2)
    assert shares(both.runs) == pytest.approx([1 / 18] * 6 + [1 / 9] * 6)


def test_data_overlap_through_another_checkpoint() -> None:
    # The third has both corpora, so it joins the first two.
    bridge = made(("a", {"x"}, 0.1), ("b", {"y"}, 0.2), ("c", {"x", "y"}, 0.3), ("d", {"z"}, 0.4))
    assert independent(bridge.runs) == [0] * 9 + [1] * 3
    assert independent(made(("a", set(), 0.1), ("b", set(), 0.2)).runs) == [0] * 3 + [1] * 3


def test_by_hand() -> None:
    # Means .5 and .3; s² of .4 .5 .6 is .01, of .2 .3 .4 too; SE² = .01/3 + .01/3 + .0001.
    result = hierarchical(seeds(0.4, 0.5, 0.6), seeds(0.2, 0.3, 0.4, origin="b"), 0.0001, 101)
    variance = 0.02 / 3 + 0.0001
    assert result.claim == "recipe"
    assert result.difference == pytest.approx(0.2)
    assert result.se == pytest.approx(sqrt(variance))
    assert result.df == pytest.approx(variance**2 / ((0.01 / 3) ** 2 / 2 * 2 + 0.0001**2 / 100))


@pytest.mark.parametrize("size", [3, 5])
def test_welch_where_items_add_nothing(size: int) -> None:
    from scipy.stats import ttest_ind

    rng = np.random.default_rng(size)
    a, b = rng.normal(0.5, 0.1, 3), rng.normal(0.3, 0.02, size)
    theirs = ttest_ind(a, b, equal_var=False)
    ours = hierarchical(checkpoints(*a), checkpoints(*b, name="b"), 0.0, 100)
    assert ours.p == pytest.approx(theirs.pvalue)
    assert ours.df == pytest.approx(theirs.df)
    interval = theirs.confidence_interval()
    assert (ours.low, ours.high) == pytest.approx((interval.low, interval.high))


def test_one_sample_where_the_other_side_is_fixed() -> None:
    from scipy.stats import ttest_1samp

    scores = [0.41, 0.47, 0.44, 0.52]
    ours = hierarchical(checkpoints(*scores), BASE, 0.0, 100)
    assert ours.p == pytest.approx(ttest_1samp(scores, 0.4).pvalue)


def test_seeds_within_checkpoints_are_averaged() -> None:
    uneven = [("a0", 0, 0.1), ("a0", 1, 0.3), ("a1", 0, 0.4), ("a2", 0, 0.6)]
    side = Side(tuple(Replicate(origin, "xlmr", seed, s) for origin, seed, s in uneven))
    assert shares(side.runs) == pytest.approx([1 / 6, 1 / 6, 1 / 3, 1 / 3])
    ours, plain = (hierarchical(a, BASE, 0.001, 50) for a in (side, checkpoints(0.2, 0.4, 0.6)))
    assert ours.difference == pytest.approx(plain.difference)
    assert ours.se == pytest.approx(plain.se)


def test_descriptive_is_a_difference_and_no_more() -> None:
    result = hierarchical(checkpoints(0.5, 0.7), BASE, 0.01, 50)
    assert result.claim == "descriptive"
    assert result.difference == pytest.approx(0.2)
    assert (result.se, result.df, result.low, result.high, result.p) == (None,) * 5


def test_no_variance_at_all() -> None:
    same = hierarchical(seeds(0.4, 0.4, 0.4), BASE, 0.0, 50)
    assert (same.p, same.df) == (1.0, inf)
    assert (same.low, same.high) == pytest.approx((0.0, 0.0))
    assert hierarchical(seeds(0.5, 0.5, 0.5), BASE, 0.0, 50).p == 0.0


def test_small_differences_are_judged_as_large_ones_are() -> None:
    scores = (0.1, 0.2, 0.4)
    base = Side((Replicate("xlmr", "xlmr", 0, 0.0),), fixed=True)
    large = hierarchical(seeds(*scores), base, 0.001, 50)
    small = hierarchical(seeds(*(score / 1e6 for score in scores)), base, 0.001 / 1e12, 50)
    assert (small.p, small.df) == pytest.approx((large.p, large.df))


def test_refusals() -> None:
    with pytest.raises(UsageError, match="0 runs"):
        hierarchical(Side(()), BASE, 0.1, 50)
    with pytest.raises(UsageError, match="2 runs"):
        hierarchical(seeds(0.1), Side(seeds(0.1, 0.2).runs, fixed=True), 0.1, 50)
    with pytest.raises(UsageError, match="item variance nan"):
        hierarchical(seeds(0.1), BASE, float("nan"), 50)


def test_targets_of_one_training_seed_are_one_run() -> None:
    # Seed 0 was tuned twice, .4 and .6: it counts once, as .5, beside .5 and .8.
    runs = [(0, 0.4), (0, 0.6), (1, 0.5), (2, 0.8)]
    a = Side(tuple(Replicate("a", "xlmr", seed, score) for seed, score in runs))
    variance = float(np.var([0.5, 0.5, 0.8], ddof=1))
    assert hierarchical(a, BASE, 0.0, 10).se == pytest.approx(sqrt(variance / 3))


def test_the_mean_and_the_test_weight_runs_alike() -> None:
    # Seed 0 was tuned three times: its mean is .3, and the side's that of .3, .5 and .7.
    runs = [(0, 0.1), (0, 0.3), (0, 0.5), (1, 0.5), (2, 0.7)]
    a = Side(tuple(Replicate("a", "xlmr", seed, score) for seed, score in runs))
    assert shares(a.runs) == pytest.approx([1 / 9] * 3 + [1 / 3] * 2)
    assert hierarchical(a, BASE, 0.0, 10).difference == pytest.approx(0.5 - 0.4)
    # Within a checkpoint beside others as well: (.2 + .6) / 2 = .4, beside .1 and .7.
    runs_of = [("x", 0, 0.1), ("x", 0, 0.3), ("x", 1, 0.6), ("y", 0, 0.1), ("z", 0, 0.7)]
    b = Side(tuple(Replicate(origin, "xlmr", seed, score) for origin, seed, score in runs_of))
    result = hierarchical(b, BASE, 0.0, 10)
    assert result.difference == pytest.approx(0.4 - 0.4)
    assert result.se == pytest.approx(sqrt(float(np.var([0.4, 0.1, 0.7], ddof=1)) / 3))
