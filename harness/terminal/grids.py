"""Tables of text: a grid is printed by rich, or as Markdown, LaTeX or HTML; rows also as CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape as escape_html
from typing import Any

from rich.cells import cell_len
from rich.markup import escape
from rich.table import Table

GAP = 2  # characters between two columns on a terminal
LATEX = {
    "\\": r"\textbackslash{}",
    **{sign: "\\" + sign for sign in "&%$#_{}"},
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "—": "---",
    "−": "$-$",
    "→": r"$\rightarrow$",
}


@dataclass(frozen=True)
class Grid:
    """Rows of text under names. ``left``: how many of the first columns are aligned left."""

    names: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    left: int = 1
    caption: str = ""

    @property
    def width(self) -> int:
        """The characters that its lines have as a `rich_table`, if no column is broken."""
        columns = zip(self.names, *self.rows, strict=True)
        lines = ("\n".join(column).split("\n") for column in columns)
        widths = [max(map(cell_len, own)) for own in lines]
        return sum(widths) + GAP * (len(widths) - 1)

    @property
    def transposed(self) -> Grid:
        """The grid with columns and rows exchanged: the first ``left`` columns become names."""
        heads = ("\n".join(filter(None, row[: self.left])) for row in self.rows)
        lines = zip(self.names[self.left :], *(row[self.left :] for row in self.rows), strict=True)
        return Grid(("", *heads), tuple(lines), caption=self.caption)


def fitted(grid: Grid, width: int) -> list[Grid]:
    """Return the grid as it is or transposed, if one of these fits into ``width`` characters.

    Otherwise parts of its columns are returned, which are printed one below another.
    """
    if grid.width <= width:
        return [grid]
    if grid.transposed.width <= width:
        return [grid.transposed]
    parts: list[Grid] = []
    start = grid.left
    while start < len(grid.names):
        stop = start + 1
        while stop < len(grid.names) and _columns(grid, start, stop + 1).width <= width:
            stop += 1
        parts.append(_columns(grid, start, stop))
        start = stop
    return parts


def _columns(grid: Grid, start: int, stop: int) -> Grid:
    """Return the first ``left`` columns, and those from ``start`` up to ``stop``."""

    def of(line: tuple[str, ...]) -> tuple[str, ...]:
        return line[: grid.left] + line[start:stop]

    return Grid(of(grid.names), tuple(map(of, grid.rows)), grid.left, grid.caption)


def rich_table(grid: Grid) -> Table:
    """Make a table of rich for a terminal."""
    table = Table(box=None, pad_edge=False, header_style="bold", show_edge=False)
    for place, name in enumerate(grid.names):
        left = place < grid.left
        table.add_column(escape(name), justify="left" if left else "right", overflow="fold")
    for row in grid.rows:
        table.add_row(*map(escape, row))
    return table


def markdown(grid: Grid) -> str:
    """Write a table in GitHub's Markdown."""
    rule = [":--" if place < grid.left else "--:" for place in range(len(grid.names))]
    lines = [grid.names, rule, *grid.rows]
    body = ["| " + " | ".join(_one_cell(cell) for cell in line) + " |" for line in lines]
    return "\n".join([*([f"{grid.caption}\n"] if grid.caption else []), *body])


def _one_cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def latex(grid: Grid) -> str:
    """Write a ``tabular`` of LaTeX with the rules of the package booktabs."""
    columns = "".join("l" if place < grid.left else "r" for place in range(len(grid.names)))
    lines = [rf"\begin{{tabular}}{{{columns}}}", r"\toprule", _latex_line(grid.names), r"\midrule"]
    lines += [_latex_line(row) for row in grid.rows]
    lines += [r"\bottomrule", r"\end{tabular}"]
    caption = [f"% {' '.join(grid.caption.split())}"] if grid.caption else []
    return "\n".join([*caption, *lines])


def _latex_line(cells: Iterable[str]) -> str:
    shown = (" ".join("".join(LATEX.get(c, c) for c in cell).split()) for cell in cells)
    return " & ".join(shown) + r" \\"


def html(grid: Grid) -> str:
    """Write a table of HTML that needs no script and no style sheet."""

    def line(cells: Iterable[str], tag: str) -> str:
        shown = "".join(
            f'<{tag} style="text-align:{"left" if place < grid.left else "right"}">'
            f"{escape_html(cell)}</{tag}>"
            for place, cell in enumerate(cells)
        )
        return f"<tr>{shown}</tr>"

    caption = f"<caption>{escape_html(grid.caption)}</caption>" if grid.caption else ""
    body = "".join(line(row, "td") for row in grid.rows)
    return f"<table>{caption}<thead>{line(grid.names, 'th')}</thead><tbody>{body}</tbody></table>"


def comma_separated(rows: Sequence[Mapping[str, Any]], names: Sequence[str]) -> str:
    """Write rows as CSV (RFC 4180); a missing value is empty, and a list is joined by blanks."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(names)
    for row in rows:
        values = (row.get(name) for name in names)
        writer.writerow([" ".join(map(str, v)) if isinstance(v, list) else v for v in values])
    return text.getvalue().rstrip("\n")
