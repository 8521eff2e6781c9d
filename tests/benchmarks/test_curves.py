"""Loss curves of several seeds: the comparison that the benchmark beside run_qa quotes."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))

from curves import binned, inside, line, permuted


def test_bins_by_hand() -> None:
    assert binned([1, 3, 2, 4, 9], 2).tolist() == [2.0, 5.0]  # a rest joins the last bin
    assert binned([1, 3], 10).tolist() == [2.0]


def test_inside_the_range_of_single_seeds() -> None:
    theirs = np.array([[1.0, 5.0], [2.0, 6.0]])
    assert inside(np.array([[0.0, 5.0], [3.5, 8.0]]), theirs) == 1  # means 1.75 and 6.5


def test_curves_of_one_kind_and_of_two() -> None:
    draw = np.random.default_rng(0)
    seeds = draw.normal(3.0, 0.1, (8, 5))
    apart = seeds + np.repeat([[0.0], [1.0]], 4, axis=0)
    assert permuted(apart[:4], apart[4:]) == pytest.approx(2 / 70)
    values = [permuted(one[:4], one[4:]) for one in draw.normal(3.0, 0.1, (200, 8, 5))]
    assert np.mean(np.array(values) <= 0.2) == pytest.approx(0.2, abs=0.08)


def test_a_line_of_relative_errors() -> None:
    assert line([100, 200, 400], [3.0, 5.0, 9.0]) == pytest.approx((1.0, 0.02))
    # Twice as long at the smallest size counts as much as twice as long at the largest.
    fixed, each = line([1, 1_000, 100_000], [2.0, 11.0, 1_001.0])
    assert fixed + each == pytest.approx(2.0, rel=0.1)
