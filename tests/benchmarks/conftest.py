"""The scripts of `benchmarks/` are imported by their names."""

from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent


@pytest.fixture(autouse=True)
def scripts(monkeypatch: pytest.MonkeyPatch) -> None:
    """The folder of the scripts comes first on the path."""
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
