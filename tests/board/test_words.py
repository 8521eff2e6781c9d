"""Decimals and sentences."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.board.words import decimals, figures, points, size, span, told, word
from harness.statistics.contrast import Estimate
from harness.statistics.verdict import Adjusted, Evidence, judge, unanswered


@pytest.mark.parametrize(
    ("se", "values", "places"),
    [
        (0.00035, (-0.0009, -0.0016, -0.0002), 3),  # .035 points
        (0.0018, (-0.0073, -0.011, -0.0032), 2),
        (0.02, (0.3, 0.26, 0.34), 2),
        (0.0018, (0.00001, -0.003, 0.003), 3),  # .001 points is not zero
        (None, (0.5, 0.5, 0.5), 2),
        (None, (0.0, 0.0, 0.0), 2),
        (1e-7, (1e-7, 0.0, 0.0), 6),
        (0.0018, (-0.0073, -0.0149, -4e-9), 2),  # half of the last decimal would read as zero
    ],
)
def test_decimals(se: float | None, values: tuple[float, ...], places: int) -> None:
    assert decimals(se, *values) == places


@given(st.floats(-1, 1).filter(lambda v: abs(v) > 1e-8), st.floats(1e-6, 1))
def test_what_is_not_zero_does_not_read_as_zero(value: float, se: float) -> None:
    places = decimals(se, value)
    assert float(points(value, places).replace("−", "-")) != 0 or abs(100 * value) < 5e-7


def test_signs() -> None:
    assert points(0.0) == points(-0.0) == points(-0.000001) == "0.00"
    assert points(-0.0009, 3) == "−0.090"
    assert span(-0.0016, 0.0, 3) == "[−0.160, 0.000]"
    assert span(None, 1.0) == "—"


def test_a_verdict_in_a_line() -> None:
    found = Estimate(
        -0.000868, -0.00158, -0.000156, 0.0179, 0,
        family_low=-0.00188, family_high=0.00014, se=0.000354, df=48.6,
    )  # fmt: skip
    verdict = judge(
        found, Evidence("recipe", (5, 1), (1, 1)), Adjusted("Holm", 0.107, 8), delta=0.005,
        columns=52, at_chance=1,
    )  # fmt: skip
    assert size(verdict) == "−0.087"
    assert told(verdict) == (
        "equal within 0.5 points: −0.087 points, 95 % interval [−0.158, −0.016], simultaneous"
        " [−0.188, +0.014], p = 0.018, Holm p = 0.107, at chance in 1 of 52"
    )
    assert figures(judge(found, Evidence("recipe"))).endswith("p = 0.018, unadjusted")
    assert told(unanswered("English NLI: no checkpoint submitted")) == (
        "not known (English NLI: no checkpoint submitted)"
    )
    assert word(judge(found, Evidence())) == "not known (descriptive only)"
