"""Figures over the layers of a checkpoint: a task's metric, and how well translations align."""

from __future__ import annotations

from collections.abc import Sequence
from math import isnan
from typing import TYPE_CHECKING

from harness.analysis.entries import Entry
from harness.analysis.results import Result
from harness.board import svg

if TYPE_CHECKING:
    from harness.alignment.align import Alignment

LINES = ("#0969da", "#bc4c00", "#1a7f37", "#8250df", "#bf3989", "#9a6700", "#0a7ea4", "#cf222e")
LINES_SHOWN = len(LINES)


def layer_curves(entries: Sequence[Entry]) -> dict[str, list[tuple[Entry, list[Result]]]]:
    """Task → checkpoints that were measured at three layers or more (frozen, else regular)."""
    found: dict[str, list[tuple[Entry, list[Result]]]] = {}
    for entry in entries:
        tasks: dict[str, dict[int, Result]] = {}
        for result in entry.results:
            only_layer = all(note.startswith("layer ") for note in result.notes)
            whole = result.layer is not None and not result.missing
            if result.track == "frozen" and only_layer and whole:
                tasks.setdefault(result.task, {}).setdefault(result.layer or 0, result)
        for task, layers in tasks.items():
            if len(layers) >= 3:
                found.setdefault(task, []).append((entry, [layers[k] for k in sorted(layers)]))
    return dict(sorted(found.items()))


def curve_chart(task: str, lines: Sequence[tuple[Entry, list[Result]]]) -> str:
    """A line per checkpoint over its layers; a ring marks the layer of the standard protocol."""
    lines = lines[:LINES_SHOWN]
    deepest = max(result.layer or 0 for _, results in lines for result in results)
    most = max(r.macro.value for _, results in lines for r in results if r.macro)
    ticks = svg.ticks(0.0, 100 * most)
    left, width, top, high = 56, svg.NARROW - 86, 46, 220

    def at(layer: int, value: float) -> tuple[float, float]:
        return left + width * layer / max(deepest, 1), top + high * (1 - 100 * value / ticks[-1])

    metric = lines[0][1][0].metric
    title = f"{task}: {metric} in percent by layer"
    body = [svg.text((16, 26), title, "text", weight=600)]
    for tick in ticks:
        y = at(0, tick / 100)[1]
        body.append(f'<path class="grid" d="M{left} {y:.1f}H{left + width}"/>')
        body.append(svg.text((left - 8, y + 4), f"{tick:g}", "faint", "end", 11))
    for layer in range(0, deepest + 1, max(1, deepest // 12)):
        body.append(svg.text((at(layer, 0)[0], top + high + 18), str(layer), "faint", "middle", 11))
    told = []
    for index, ((entry, results), colour) in enumerate(zip(lines, LINES, strict=False)):
        points = [(at(r.layer or 0, r.macro.value), r) for r in results if r.macro]
        path = "L".join(f"{x:.1f} {y:.1f}" for (x, y), _ in points)
        dash = "" if index % 2 == 0 else ' stroke-dasharray="6 3"'
        body.append(f'<path fill="none" stroke="{colour}" stroke-width="2"{dash} d="M{path}"/>')
        for (x, y), result in points:
            if not result.notes:
                ring = f'fill="none" stroke="{colour}" stroke-width="2"'
                body.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="5" {ring}/>')
        y = top + high + 44 + 18 * index
        body.append(f'<path stroke="{colour}" stroke-width="3"{dash} d="M{left} {y - 4}h24"/>')
        body.append(svg.text((left + 32, y), svg.short(entry.title, 60), "text", size=12))
        best = max((r for r in results if r.macro), key=lambda r: r.macro.value if r.macro else 0)
        value = best.macro.value if best.macro else 0.0
        told.append(f"{entry.title}: best at layer {best.layer} with {100 * value:.1f}")
    return svg.document(left + width + 30, top + high + 44 + 18 * len(lines) + 4, title, told, body)


def alignment_chart(found: Alignment) -> str:
    """Two panels over the layers, a colour for words and one for sentences.

    Left the cosine of translations (solid) and of random pairs (dashed), right recall@10 with its
    95 % intervals; a ring marks the layer of the standard protocol.
    """
    units = [(unit, rows) for unit in ("words", "sentences") if (rows := found.of(unit))]
    deepest, wide, high, top = found.depth, 270, 220, 78
    every = [row for _, rows in units for row in rows]
    # nan: nothing was ranked, no text is another's random pair, or one text has no interval.
    cosines = [
        value
        for row in every
        for value in (row.values["cosine"], row.values["random"])
        if not isnan(value)
    ]
    recalls = [
        100 * value
        for row in every
        for value in (row.values["recall@10"], row.intervals["recall@10"][1])
        if not isnan(value)
    ]
    panels = (
        (
            56,
            "cosine",
            ("cosine", "random"),
            1.0,
            svg.ticks(min([0.0, *cosines]), max(cosines, default=1.0)),
        ),
        (
            400,
            "recall@10 in percent",
            ("recall@10",),
            100.0,
            svg.ticks(0.0, max(recalls, default=1.0)),
        ),
    )
    body = [
        svg.text((16, 26), svg.short(f"{found.model}: alignment by layer", 80), "text", weight=600)
    ]
    told = []
    for left, title, metrics, scale, ticks in panels:

        def at(layer: int, value: float, left: int = left, ticks: list[float] = ticks) -> str:
            share = (value - ticks[0]) / (ticks[-1] - ticks[0])
            return f"{left + wide * layer / max(deepest, 1):.1f} {top + high * (1 - share):.1f}"

        body.append(svg.text((left, top - 22), title, "faint", size=12))
        for tick in ticks:
            y = float(at(0, tick).split()[1])
            body.append(f'<path class="grid" d="M{left} {y:.1f}h{wide}"/>')
            body.append(svg.text((left - 8, y + 4), f"{tick:g}", "faint", "end", 11))
        for layer in range(0, deepest + 1, max(1, deepest // 6)):
            x = float(at(layer, ticks[0]).split()[0])
            body.append(svg.text((x, top + high + 18), str(layer), "faint", "middle", 11))
        for (unit, rows), colour in zip(units, LINES, strict=False):
            for metric in metrics:
                drawn = [row for row in rows if not isnan(row.values[metric])]
                if not drawn:
                    continue
                dash = ' stroke-dasharray="6 3"' if metric == "random" else ""
                path = "L".join(at(row.layer, scale * row.values[metric]) for row in drawn)
                pen = f'fill="none" stroke="{colour}" stroke-width="2"'
                body.append(f'<path {pen}{dash} d="M{path}"/>')
                for row in drawn:
                    if metric == "recall@10" and not isnan(row.intervals[metric][0]):
                        low, above = (at(row.layer, scale * v) for v in row.intervals[metric])
                        body.append(f'<path stroke="{colour}" d="M{low}L{above}"/>')
                    if row.layer == found.standard_layer:
                        across, down = at(row.layer, scale * row.values[metric]).split()
                        body.append(f'<circle cx="{across}" cy="{down}" r="5" {pen}/>')
                best = max(drawn, key=lambda row: row.values[metric])
                told.append(
                    f"{unit}, {metric}: highest at layer {best.layer}, {best.values[metric]:.3f}"
                )
    key = top + high + 44
    for index, ((unit, _), colour) in enumerate(zip(units, LINES, strict=False)):
        x = 56 + 110 * index
        body.append(f'<path stroke="{colour}" stroke-width="3" d="M{x} {key - 4}h24"/>')
        body.append(svg.text((x + 32, key), unit, "text", size=12))
    told_dash = "dashed: random pairs · ring: layer of the standard protocol"
    body.append(svg.text((56 + 110 * len(units), key), told_dash, "faint", size=11))
    return svg.document(700, key + 18, f"{found.model}: alignment by layer", told, body)
