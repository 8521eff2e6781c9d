"""Asking again: after overload and cut connections, as long as the server wishes."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TypeVar

ATTEMPTS = 5
LONGEST_WAIT = 300.0  # seconds; a server that asks for more is not waited for
OVERLOADED = frozenset({408, 425, 429, 500, 502, 503, 504})  # statuses of HTTP
Result = TypeVar("Result")


def retried(action: Callable[[], Result], passing: Callable[[Exception], bool]) -> Result:
    """The result of ``action``, which is tried up to five times.

    ``passing`` says whether another attempt may succeed after an error. The wait is what the
    server asks for in ``Retry-After``, else 1, 2, 4 and 8 seconds. The last error is raised as it
    came.
    """
    for attempt in range(ATTEMPTS - 1):
        try:
            return action()
        except Exception as error:
            asked = retry_after(error)
            wait = 2.0**attempt if asked is None else asked
            if not passing(error) or wait > LONGEST_WAIT:
                raise
            time.sleep(wait)
    return action()


def retry_after(error: Exception) -> float | None:
    """Seconds that the response of an error asks to wait; None where it does not say."""
    response = getattr(error, "response", None)
    header = None if response is None else response.headers.get("Retry-After")
    if not header:
        return None
    try:
        return max(0.0, float(header))
    except ValueError:
        pass
    try:
        return max(0.0, (parsedate_to_datetime(header) - datetime.now(UTC)).total_seconds())
    except (ValueError, TypeError):
        return None
