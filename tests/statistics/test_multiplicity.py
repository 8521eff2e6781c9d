"""Adjusted p-values, by hand and against scipy."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.statistics.multiplicity import benjamini_hochberg, holm


def test_holm_by_hand() -> None:
    # Ordered .01 .02 .03 .04 × 4 3 2 1 = .04 .06 .06 .04, and none below a smaller one's.
    assert holm([0.03, 0.01, 0.04, 0.02]) == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert holm([0.5, 0.9]) == pytest.approx([1.0, 1.0])
    assert holm([]) == []


def test_holm_over_a_family_that_is_not_whole_yet() -> None:
    # Of four, two are known: 0.01 × 4, then 0.02 × 3; the others count as 1.
    assert holm([0.02, 0.01], family=4) == pytest.approx([0.06, 0.04])
    assert holm([0.02, 0.01, 1.0, 1.0])[:2] == pytest.approx(holm([0.02, 0.01], family=4))
    assert holm([], family=8) == []
    with pytest.raises(ValueError, match="2 p-values in a family of 1"):
        holm([0.5, 0.9], family=1)


def test_benjamini_hochberg_by_hand() -> None:
    # Ordered .01 .02 .03 .5 × 4/1 4/2 4/3 4/4 = .04 .04 .04 .5.
    assert benjamini_hochberg([0.5, 0.02, 0.03, 0.01]) == pytest.approx([0.5, 0.04, 0.04, 0.04])
    # .02 × 2 = .04 is above the larger one's .03: .03.
    assert benjamini_hochberg([0.03, 0.02]) == pytest.approx([0.03, 0.03])
    assert benjamini_hochberg([]) == []


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30))
def test_against_scipy_and_in_order(p_values: list[float]) -> None:
    from scipy.stats import false_discovery_control

    adjusted = benjamini_hochberg(p_values)
    assert adjusted == pytest.approx(false_discovery_control(p_values).tolist())
    strict = holm(p_values)
    for p, q, h in zip(p_values, adjusted, strict, strict=True):
        assert p <= q * (1 + 1e-12)
        assert q <= h * (1 + 1e-12)


@pytest.mark.parametrize("bad", [[-0.1], [1.1], [float("nan")]])
def test_not_a_p_value(bad: list[float]) -> None:
    with pytest.raises(ValueError, match="from 0 to 1"):
        holm(bad)
