"""Contrasts and comparisons for a terminal, and as plain data."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from math import isinf
from typing import Any

from rich.markup import escape
from rich.table import Table

from harness.analysis.compare import Compared
from harness.analysis.contrasts import Contrast
from harness.analysis.differences import Difference
from harness.board.words import figures, p_value, plain, size, word
from harness.statistics.contrast import Part
from harness.statistics.verdict import Verdict

RIGHT = ("A − B", "95 % interval", "simultaneous", "p", "q")


def compared_data(found: Iterable[Compared]) -> list[dict[str, Any]]:
    """As JSON: differences in [−1, 1]; ``p`` and ``interval`` are the plain ones."""
    return [_finite(asdict(one) | {"p": one.p, "interval": one.interval}) for one in found]


def contrast_data(found: Iterable[Contrast]) -> list[dict[str, Any]]:
    """As JSON: differences in [−1, 1]; ``p`` and ``interval`` are the plain ones."""
    return [
        _finite(
            asdict(one)
            | {
                "verdict": asdict(one.verdict),
                "p": one.p,
                "interval": one.interval,
                "claim": one.claim,
            }
        )
        for one in found
    ]


def compared_tables(found: Sequence[Compared], *, by_language: bool) -> list[Table | str]:
    """A line per track and metric, then its languages, and what a reader must know."""
    shown: list[Table | str] = []
    for one in found:
        verdict, difference = one.verdict, one.difference
        shown.append(
            f"[bold]{escape(one.a)} − {escape(one.b)}[/] {one.track}, {one.metric},"
            f" {escape(difference.label)}: [bold]{escape(word(verdict))}[/]:"
            f" {escape(figures(verdict))} [dim]({escape(_evidence(verdict))})[/]"
        )
        if (above := difference.above_chance) is not None:
            line = difference.line_verdict(above, adjusted=False)
            shown.append(
                f"  where not at chance, {above.name}: {escape(f'{size(line)} {plain(line)}')}"
            )
        shown += [f"  [yellow]note[/] {escape(remark)}" for remark in one.remarks]
        for by, parts in difference.groups.items():
            shown.append(_parts(by, difference, parts))
        if by_language:
            shown.append(_parts("language", difference, difference.languages))
    return shown


def contrast_lines(found: Sequence[Contrast]) -> list[str]:
    """The named contrasts: a line per question, answered or not."""
    lines = []
    for one in found:
        verdict = one.verdict
        text = f"{escape(one.base)}, {one.track}, {one.metric}: [bold]{escape(one.name)}[/]:"
        text += f" [bold]{escape(word(verdict))}[/]"
        if one.difference is not None:
            evidence = f"{_evidence(verdict)}; {one.difference.label}"
            evidence += "; stand-ins" * one.stand_ins
            text += f": {escape(figures(verdict))} [dim]({escape(evidence)})[/]"
        lines.append(text)
    return lines


def _evidence(verdict: Verdict) -> str:
    """What may be said, of how many runs: `recipe: 5 runs against 1`."""
    a, b = verdict.evidence.runs
    return f"{verdict.evidence.claim}: {a} run{'s' * (a != 1)} against {b}"


def _parts(by: str, difference: Difference, parts: Sequence[Part]) -> Table:
    table = _table(by, "task", "A − B", "95 % interval", "q", "verdict")
    for part in parts:
        verdict = difference.line_verdict(part)
        table.add_row(
            escape(part.name),
            escape(part.task),
            size(verdict),
            escape(plain(verdict)),
            p_value(part.q),
            escape(word(verdict)),
        )
    return table


def _finite(value: Any) -> Any:
    """Without infinite numbers, which JSON does not have: degrees of freedom without variance."""
    if isinstance(value, dict):
        return {key: _finite(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(one) for one in value]
    return None if isinstance(value, float) and isinf(value) else value


def _table(*names: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold", show_edge=False)
    for name in names:
        right = name in RIGHT
        table.add_column(name, justify="right" if right else "left")
    return table
