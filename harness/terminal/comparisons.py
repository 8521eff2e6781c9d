"""Shows contrasts and comparisons on a terminal, and returns them as plain data."""

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
from harness.terminal.console import plain_table


def compared_data(found: Iterable[Compared]) -> list[dict[str, Any]]:
    """Return comparisons for JSON: differences in [−1, 1]; ``p`` and ``interval`` unadjusted."""
    return [_finite(asdict(one) | {"p": one.p, "interval": one.interval}) for one in found]


def contrast_data(found: Iterable[Contrast]) -> list[dict[str, Any]]:
    """Return contrasts for JSON: differences in [−1, 1]; ``p`` and ``interval`` unadjusted."""
    names = ("p", "interval", "claim")
    return [
        _finite(
            asdict(one)
            | {"verdict": asdict(one.verdict)}
            | {name: getattr(one, name) for name in names}
        )
        for one in found
    ]


def compared_tables(found: Sequence[Compared], *, by_language: bool) -> list[Table | str]:
    """Return a line per track and metric, with its notes, groups and languages below it."""
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
    """Return the questions on each base; bases on which no question is answered share a line."""
    bases: dict[str, list[Contrast]] = {}
    for one in found:
        bases.setdefault(one.base, []).append(one)
    answered = [base for base, own in bases.items() if any(one.difference for one in own)]
    lines: list[str] = []
    for base in answered or bases:
        lines += [f"[bold]{escape(base)}[/]", *map(_contrast_line, bases[base])]
    others = [base for base in bases if base not in answered]
    if answered and others:
        lines.append(f"no question is answered on {escape(', '.join(others))}")
    return lines


def _contrast_line(one: Contrast) -> str:
    verdict = one.verdict
    text = f"  {one.track}, {one.metric}: {escape(one.name)}: [bold]{escape(word(verdict))}[/]"
    if one.difference is None:
        return text
    evidence = f"{_evidence(verdict)}; {one.difference.label}{'; stand-ins' * one.stand_ins}"
    return f"{text}: {escape(figures(verdict))} [dim]({escape(evidence)})[/]"


def _evidence(verdict: Verdict) -> str:
    """Return the claim that is possible and the numbers of runs: `recipe: 5 runs against 1`."""
    a, b = verdict.evidence.runs
    return f"{verdict.evidence.claim}: {a} run{'s' * (a != 1)} against {b}"


def _parts(by: str, difference: Difference, parts: Sequence[Part]) -> Table:
    table = plain_table(
        by, "task", "A − B", "95 % interval", "q", "verdict",
        right=("A − B", "95 % interval", "q"),
    )  # fmt: skip
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
    """Replace infinite numbers, such as degrees of freedom without variance, which JSON lacks."""
    if isinstance(value, dict):
        return {key: _finite(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(one) for one in value]
    return None if isinstance(value, float) and isinf(value) else value
