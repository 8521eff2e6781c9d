"""How durations are written beside the progress of a run."""

from __future__ import annotations

import pytest

from harness.training.progress import clock_time


@pytest.mark.parametrize(
    ("seconds", "shown"), [(0, "0:00"), (65.4, "1:05"), (3599.7, "1:00:00"), (7205, "2:00:05")]
)
def test_a_span_of_time(seconds: float, shown: str) -> None:
    assert clock_time(seconds) == shown
