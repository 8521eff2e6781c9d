"""The console for data, on wide and narrow terminals."""

from __future__ import annotations

import sys

import pytest

from harness.terminal.console import stdout


@pytest.mark.parametrize(
    ("terminal", "columns", "width"),
    [(True, "20", 80), (True, "79", 80), (True, "120", 120), (False, "20", 160)],
)
def test_a_narrow_terminal_loses_no_digits(
    terminal: bool, columns: str, width: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: terminal, raising=False)
    assert stdout().width == width
