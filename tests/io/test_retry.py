"""Asking again: how often, how long in between, and when not."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from types import SimpleNamespace

import pytest

from harness.io import retry
from harness.io.retry import ATTEMPTS, LONGEST_WAIT, retried, retry_after


class Answered(Exception):
    """An answer of a server with a `Retry-After`, or without."""

    def __init__(self, header: str | None = None) -> None:
        self.response = SimpleNamespace(headers={"Retry-After": header} if header else {})


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    found: list[float] = []
    monkeypatch.setattr(retry.time, "sleep", found.append)
    return found


def failing(times: int, error: Exception):  # type: ignore[no-untyped-def]
    """An action that fails so many times and then answers 7."""
    left = [times]

    def action() -> int:
        left[0] -= 1
        if left[0] >= 0:
            raise error
        return 7

    return action


@pytest.mark.parametrize(
    ("times", "header", "expected"),
    [
        (0, None, []),
        (3, None, [1, 2, 4]),
        (ATTEMPTS - 1, None, [1, 2, 4, 8]),
        (2, "30", [30, 30]),
        (1, "-5", [0]),
        (2, "soon", [1, 2]),
        (1, str(LONGEST_WAIT), [LONGEST_WAIT]),
    ],
)
def test_it_waits_as_asked_or_doubles(
    waits: list[float], times: int, header: str | None, expected: list[float]
) -> None:
    assert retried(failing(times, Answered(header)), lambda error: True) == 7
    assert waits == expected


@pytest.mark.parametrize(
    ("times", "header", "passing", "slept"),
    [(ATTEMPTS, None, True, ATTEMPTS - 1), (1, None, False, 0), (1, "301", True, 0)],
    ids=["too often", "of no use", "too long"],
)
def test_the_last_error_is_raised(
    waits: list[float], times: int, header: str | None, passing: bool, slept: int
) -> None:
    with pytest.raises(Answered):
        retried(failing(times, Answered(header)), lambda error: passing)
    assert len(waits) == slept


def test_a_date_is_seconds_from_now() -> None:
    def asked(hours: int) -> float | None:
        then = datetime.now(UTC) + timedelta(hours=hours)
        return retry_after(Answered(format_datetime(then, usegmt=True)))

    assert asked(-1) == 0
    later = asked(24)
    assert later is not None
    assert 20 * 3600 < later <= 24 * 3600
    assert retry_after(Answered()) is None
    assert retry_after(ValueError()) is None
