"""The figures of the study's further analyses, drawn as those of the board are."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING

from harness.board import svg
from harness.board.words import points
from harness.statistics.multiplicity import benjamini_hochberg
from harness.statistics.verdict import Adjusted, Evidence, judge

if TYPE_CHECKING:
    from study.analyses import Line, Point

WIDE, COLOUR = 430, "#0969da"


def where(lines: Sequence[Line]) -> str:
    """A line per difference in differences, in points, with its plain 95 % interval.

    A mark is full where *q*, over all lines, is below .05.
    """
    values = benjamini_hochberg([line.points.p for line in lines])
    bounds = [
        100 * end
        for line in lines
        for end in (line.points.difference, line.points.low, line.points.high)
        if end is not None
    ]
    ticks = svg.ticks(min(0.0, *bounds), max(0.0, *bounds))
    left, width, top, step = 20, WIDE - 40, 58, 46
    bottom = top + step * len(lines)

    x = svg.scale(ticks, left, width)
    body = [
        svg.text((16, 24), "Differences of the differences, in points", "text", weight=600),
        svg.text(
            (16, 42), "bar: 95 % interval, unadjusted · hollow: not clear (q)", "faint", size=11
        ),
    ]
    for tick in ticks:
        kind = "zero" if tick == 0 else "grid"
        body.append(f'<path class="{kind}" d="M{x(tick):.1f} {top - 4}V{bottom}"/>')
    told = []
    for index, line in enumerate(lines):
        y = top + step * index + 12
        size = points(line.points.difference)
        told.append(f"{line.contrast}, {line.sides.name}: {size}")
        body.append(svg.text((16, y), svg.short(told[-1].rpartition(":")[0], 58), "text", size=12))
        body.append(svg.text((WIDE - 16, y), size, "text", "end", 12))
        q = Adjusted("Benjamini–Hochberg", values[index], len(lines))
        evidence = Evidence() if line.points.df is None else Evidence("recipe")  # over seeds
        verdict = judge(line.points, evidence, q)
        body += svg.interval(verdict, x, y + 14, simultaneous=False)
    body += svg.axis(ticks, x, bottom + 18)
    return svg.document(WIDE, bottom + 30, "Differences of the differences", told, body)


def scatter(found: Sequence[Point], measure: str) -> str:
    """A dot per recipe: the change of an alignment measure (across) and of recall@10 (up)."""
    across = svg.ticks(*_ends([point.changes[measure] for point in found]))
    up = svg.ticks(*_ends([100 * point.retrieval for point in found]))
    left, width, top, high = 56, WIDE - 86, 58, 240

    x = svg.scale(across, left, width)

    def y(at: float) -> float:
        return top + high * (1 - (at - up[0]) / (up[-1] - up[0]))

    title = f"Change of recall@10 in points, by change of {measure}"
    body = [svg.text((16, 24), title, "text", weight=600)]
    for tick in up:
        kind = "zero" if tick == 0 else "grid"
        body.append(f'<path class="{kind}" d="M{left} {y(tick):.1f}h{width}"/>')
        body += svg.axis([tick], lambda _: left - 22, y(tick) + 4)
    body += svg.axis(across, x, top + high + 20)
    told = []
    below = top + high + 48
    ordered = sorted(found, key=lambda point: -point.retrieval)
    for number, point in enumerate(ordered, start=1):
        at = x(point.changes[measure]), y(100 * point.retrieval)
        told.append(
            f"{point.title}: {measure} {point.changes[measure]:+.3f}, {points(point.retrieval)}"
        )
        body.append(f'<circle cx="{at[0]:.1f}" cy="{at[1]:.1f}" r="5" fill="{COLOUR}">'
                    f"<title>{escape(told[-1])}</title></circle>")  # fmt: skip
        body.append(svg.text((at[0] + 8, at[1] - 5), str(number), "text"))
        body.append(svg.text((16, below), f"{number} · {point.title}", "faint"))
        below += 20
    return svg.document(WIDE, below, title, told, body)


def _ends(values: Sequence[float]) -> tuple[float, float]:
    return min(0.0, *values), max(0.0, *values)
