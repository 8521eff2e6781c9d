"""Contrasts and comparisons for a terminal, and as plain data."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any

from rich.markup import escape
from rich.table import Table

from harness.analysis.compare import Compared
from harness.analysis.contrasts import Contrast
from harness.board.words import p_value, points, span
from harness.statistics.contrast import Part


def compared_data(found: Iterable[Compared]) -> list[dict[str, Any]]:
    """As JSON: differences in [−1, 1]."""
    return [asdict(one) | {"p": one.p, "interval": one.interval} for one in found]


def contrast_data(found: Iterable[Contrast]) -> list[dict[str, Any]]:
    """As JSON: differences in [−1, 1]; ``p`` and ``interval`` are those that are reported."""
    return [
        asdict(one) | {"p": one.p, "interval": one.interval, "claim": one.claim} for one in found
    ]


def compared_tables(found: Sequence[Compared], *, by_language: bool) -> list[Table | str]:
    """A line per track and metric, then its languages, and what a reader must know."""
    shown: list[Table | str] = []
    for one in found:
        estimate = one.difference.estimate
        shown.append(
            f"[bold]{escape(one.a)} − {escape(one.b)}[/] {one.track}, {one.metric},"
            f" {escape(one.difference.label)}: [bold]{points(estimate.difference)}[/] points"
            f" {escape(span(*one.interval))} p {p_value(one.p)}"
            + (f" [dim]({one.over.claim}: seeds and items)[/]" if one.over is not None else "")
        )
        shown += [f"  [yellow]note[/] {escape(remark)}" for remark in one.remarks]
        for by, parts in one.difference.groups.items():
            shown.append(_parts(by, parts))
        if by_language:
            shown.append(_parts("language", one.difference.languages))
    return shown


def contrast_table(found: Sequence[Contrast]) -> Table:
    """The confirmatory family: a line per question, answered or not."""
    table = _table("base", "contrast", "measure", "A − B", "95 % interval", "Holm p", "rests on")
    for one in found:
        measure = f"{one.metric}, {one.track}"
        if one.difference is None:
            why = f"[dim]not answered: {escape(one.why)}[/]"
            table.add_row(escape(one.base), one.name, measure, "—", "", "", why)
            continue
        rests = f"{one.claim}: {len(one.a)} against {len(one.b)}; {one.difference.label}"
        rests += "; stand-ins" * one.stand_ins
        table.add_row(
            escape(one.base), one.name, measure, points(one.difference.estimate.difference),
            escape(span(*one.interval)),
            p_value(one.holm) if one.confirmatory else f"{p_value(one.p)} (p)", escape(rests),
        )  # fmt: skip
    return table


def _parts(by: str, parts: Sequence[Part]) -> Table:
    table = _table(by, "task", "A − B", "95 % interval", "q")
    for part in parts:
        table.add_row(
            escape(part.name),
            escape(part.task),
            points(part.estimate.difference),
            escape(span(part.estimate.low, part.estimate.high)),
            p_value(part.q),
        )
    return table


def _table(*names: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold", show_edge=False)
    for name in names:
        right = name in ("A − B", "95 % interval", "Holm p", "q")
        table.add_column(name, justify="right" if right else "left")
    return table
