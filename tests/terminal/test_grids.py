"""Grids are wholly legible in the width that there is."""

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from harness.terminal.grids import Grid, fitted, rich_table

WIDE = Grid(("task", "run", "one", "two", "six"), (("a", "", "1.0", "2.0", "6.0"),), left=2)


def printed(grid: Grid, width: int) -> list[str]:
    console = Console(file=io.StringIO(), width=width)
    console.print(rich_table(grid))
    return [line.rstrip() for line in console.file.getvalue().splitlines()]  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("width", "lines"),
    [
        (WIDE.width, [["task  run  one  two  six", "a          1.0  2.0  6.0"]]),
        (WIDE.width - 1, [["       a", "one  1.0", "two  2.0", "six  6.0"]]),
    ],
)
def test_a_grid_stands_upright_where_it_is_too_wide(width: int, lines: list[list[str]]) -> None:
    assert [printed(grid, width) for grid in fitted(WIDE, width)] == lines


def test_what_fits_neither_way_is_parted_by_columns() -> None:
    names = ("lang", "model-1", "model-2", "model-3")
    many = Grid(names, tuple((f"l{n}", *"123") for n in range(9)))
    first, second = fitted(many, 24)
    assert (first.names, second.names) == (names[:3], (names[0], names[3]))
    assert (first.rows[8], second.rows[8]) == (("l8", "1", "2"), ("l8", "3"))


@given(st.integers(1, 200), st.integers(1, 9), st.integers(1, 9), st.integers(1, 4))
def test_no_column_is_lost(width: int, columns: int, lines: int, left: int) -> None:
    heads = tuple(f"h{n}" for n in range(left + columns))
    rows = tuple(
        tuple(f"{line}.{column}" for column in range(left + columns)) for line in range(lines)
    )
    cells = sorted(cell for row in rows for cell in row[left:])
    parts = fitted(Grid(heads, rows, left=left), width)
    assert sorted(cell for part in parts for row in part.rows for cell in row[part.left :]) == cells
    assert all(part.width <= width or len(part.names) <= part.left + 1 for part in parts)


def test_the_width_is_that_of_the_printed_table() -> None:
    wide = Grid(("語", "b\nlonger"), (("x", "é"), ("yy", "1.0")))
    assert max(map(len, printed(wide, 80))) == wide.width
