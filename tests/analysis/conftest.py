"""The folder of tasks with two languages, and the empty root of a board."""

from __future__ import annotations

import pytest

from tests.board.conftest import root as root
from tests.board.conftest import two_languages as two_languages


@pytest.fixture(scope="module", autouse=True)
def _by_hand(rows_by_hand: None) -> None:
    """The boards of these tests are of rows by hand."""
