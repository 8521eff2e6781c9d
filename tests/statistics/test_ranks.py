"""Tie groups."""

from __future__ import annotations

import numpy as np
import pytest

from harness.errors import UsageError
from harness.statistics.contrast import macro
from harness.statistics.paired import Paired
from harness.statistics.ranks import KnownTests, tie_groups
from harness.statistics.resampling import resample


def profiles(*rates: float, clusters: int = 400, seed: int = 0) -> np.ndarray:  # type: ignore[type-arg]
    """Checkpoints that find a query with some probability; easy queries are easy for all."""
    ease = np.random.default_rng(seed).random((clusters, 1))
    return (ease < np.array(rates)).astype(np.float64) / clusters


def test_groups_by_their_leader() -> None:
    # With shared ease the differing queries all favour the better one: 6 of 6 is p = 2/64 ≤ 5 %,
    # 5 of 5 is p = 2/32 > 5 %. So a group reaches as far as 5 queries below its leader.
    ease = np.arange(100)[:, None]
    values = (ease < np.array([80, 77, 75, 74, 70, 69, 40])) / 100
    places = tie_groups(list("gfedcba"), values, np.random.default_rng(0))
    assert [place.name for place in places] == list("gfedcba")
    assert [place.rank for place in places] == [1, 1, 1, 4, 4, 4, 7]
    assert [place.leader for place in places] == ["g", "g", "g", "d", "d", "d", "a"]
    assert places[2].p == pytest.approx(2 / 32, abs=0.01)
    assert places[0].p == places[3].p == 1.0
    assert [place.score for place in places] == pytest.approx(
        [0.8, 0.77, 0.75, 0.74, 0.7, 0.69, 0.4]
    )


def test_separable_from_the_leader_only() -> None:
    # c is not separable from b, but it is from a, which leads: it starts a group of its own.
    ease = np.arange(100)[:, None]
    values = (ease < np.array([80, 76, 73])) / 100
    places = tie_groups(list("abc"), values, np.random.default_rng(0))
    assert [(place.name, place.rank, place.leader) for place in places] == [
        ("a", 1, "a"), ("b", 1, "a"), ("c", 3, "c"),
    ]  # fmt: skip
    # A verdict that does not separate c from b keeps it in the group.
    known = KnownTests(verdict=lambda one, other: 0.3 if (one, other) == ("b", "c") else None)
    places = tie_groups(list("abc"), values, np.random.default_rng(0), known=known)
    assert [place.rank for place in places] == [1, 1, 1]


def test_the_test_is_the_one_of_a_contrast() -> None:
    rng = np.random.default_rng(7)
    a, b = rng.random((2, 300)) < [[0.5], [0.46]]
    places = tie_groups(["a", "b"], np.stack([a, b], axis=1) / 300, rng, 40_000, level=0.0)
    clusters = np.array([f"x:{i:03d}" for i in range(300)])
    difference = (a.astype(float) - b)[:, None]
    paired = Paired("t", "hit@1", ("de",), (), clusters, difference, np.ones((300, 1)))
    expected = macro(resample([paired], rng, 40_000)).p
    assert places[1].p == pytest.approx(expected, abs=0.02)


def test_equal_scores_and_equal_runs() -> None:
    column = profiles(0.5)
    places = tie_groups(["b", "a"], np.hstack([column, column]), np.random.default_rng(0), 500)
    assert [(place.name, place.rank, place.p) for place in places] == [("a", 1, 1), ("b", 1, 1)]
    assert tie_groups([], np.zeros((5, 0)), np.random.default_rng(0)) == []


def test_order_of_input_and_seed() -> None:
    values = profiles(0.5, 0.6, 0.52, 0.3)
    names = list("wxyz")
    straight = tie_groups(names, values, np.random.default_rng(0), 2000)
    mixed = tie_groups(names[::-1], values[:, ::-1], np.random.default_rng(0), 2000)
    assert [(p.name, p.rank, p.leader) for p in straight] == [
        (p.name, p.rank, p.leader) for p in mixed
    ]
    assert straight == tie_groups(names, values, np.random.default_rng(0), 2000)


def test_the_unit_of_a_score_says_nothing() -> None:
    values = profiles(0.5, 0.6, 0.52, 0.3)
    for unit in (100, 1e-6):
        found = [
            [(place.name, place.rank, place.leader, place.p)
             for place in tie_groups(list("wxyz"), each, np.random.default_rng(0), 500)]
            for each in (values, values * unit)
        ]  # fmt: skip
        assert found[0] == found[1]


def test_what_all_have_in_common_says_nothing() -> None:
    # Three queries of a hundred tell the two apart: p = 2/8.
    values = np.arange(100)[:, None] < np.array([50, 53])
    common = np.random.default_rng(1).integers(0, 2**22, (100, 1))
    found = [
        tie_groups(["a", "b"], each.astype(float), np.random.default_rng(0), 4000)[1].p
        for each in (values, values + common)
    ]
    assert found[0] == found[1] == pytest.approx(2 / 8, abs=0.02)


def test_what_another_checkpoint_has_says_nothing() -> None:
    values = np.arange(100)[:, None] < np.array([53, 50])
    other = -4096 * np.random.default_rng(1).random((100, 1))
    beside, alone = (
        tie_groups(names, each, np.random.default_rng(0), 4000)
        for names, each in (("abc", np.hstack([values, other])), ("ab", values.astype(float)))
    )
    assert [place.name for place in beside] == list("abc")
    assert beside[1].p == alone[1].p == pytest.approx(2 / 8, abs=0.02)


def test_a_p_value_at_the_level_separates_nothing() -> None:
    values = profiles(0.5, 0.4)
    p = tie_groups(["a", "b"], values, np.random.default_rng(0), 500, level=0.0)[1].p
    for level, rank in ((p, 1), (np.nextafter(p, 1), 2)):
        places = tie_groups(["a", "b"], values, np.random.default_rng(0), 500, level=level)
        assert places[1].rank == rank


def test_either_sign_of_a_single_cluster_is_as_extreme() -> None:
    places = tie_groups(["a", "b"], np.array([[1.0, 0.0]]), np.random.default_rng(0), 500)
    assert [place.p for place in places] == [1, 1]


def test_names_that_do_not_fit_are_refused() -> None:
    with pytest.raises(UsageError, match="one for each"):
        tie_groups(["a", "a"], profiles(0.5, 0.4), np.random.default_rng(0))
