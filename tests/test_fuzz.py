"""The first hundredth of `make fuzz`."""

from __future__ import annotations

from tests.fuzz import run


def test_whatever_a_file_holds_is_read_or_refused_in_one_line() -> None:
    assert run(0, 100) > 50
