"""Shows an alignment as tables, as plain data, and as a figure."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from math import isnan
from pathlib import Path
from typing import Any

from rich.markup import escape
from rich.table import Table

from harness.alignment.align import LEAST_WORDS, Alignment
from harness.alignment.numbers import METRICS, RESAMPLES, Row
from harness.board.curves import alignment_chart
from harness.errors import UsageError
from harness.io.files import write_whole
from harness.terminal.console import percent

COLUMNS = ("layer", "cosine", "random", "gap", "recall@10", "acc.", "mrr", "rank")


def alignment_data(found: Alignment) -> dict[str, Any]:
    """Return values for JSON, with a row per unit, language and layer; None stands for NaN."""
    return {
        "model": found.model,
        "revision": found.revision,
        "base": found.base,
        "task": found.task,
        "protocol": "standard",
        "pooling": found.pooling,
        "dtype": found.dtype,
        "length": found.length,
        "depth": found.depth,
        "standard_layer": found.standard_layer,
        "limit": found.limit,
        "resamples": RESAMPLES,
        "without_words": dict(found.left_out),
        "notes": list(found.notes),
        "rows": [_plain(row) for row in found.rows],
    }


def check_figure(path: Path | None) -> None:
    """Refuse a figure that could not be written, before anything is measured.

    Raises:
        UsageError: the name does not end in .svg, or is that of a folder.
    """
    if path is not None and (path.suffix != ".svg" or path.is_dir()):
        raise UsageError(f"--figure {path}: give a file that ends in .svg")


def write_figure(found: Alignment, path: Path) -> None:
    """Write the figure; after an error there is no file."""
    write_whole(path, alignment_chart(found))


def _plain(row: Row) -> dict[str, Any]:
    bounds = {
        f"{metric}_{end}": value
        for metric in METRICS
        for end, value in zip(("low", "high"), row.intervals[metric], strict=True)
    }
    numbers = {
        name: None if isnan(value) else value for name, value in {**row.values, **bounds}.items()
    }
    return {
        "unit": row.unit,
        "lang": row.lang,
        "layer": row.layer,
        "pairs": row.pairs,
    } | numbers


def alignment_tables(found: Alignment) -> Iterator[str | Table]:
    """Yield lines and tables with rich's markup: the means over languages, layer by layer."""
    taken = f", the first {found.limit:,} pairs" if found.limit is not None else ""
    yield (
        f"{found.task}{taken}, English → language; {found.pooling} pooling, {found.dtype};"
        " means over languages"
    )
    for unit in ("words", "sentences"):
        rows = found.of(unit)
        if not rows:
            continue
        sizes = [row.pairs for row in found.rows if row.unit == unit and row.layer == 0][:-1]
        least, most = min(sizes), max(sizes)
        span = f"{least:,} to {most:,}" if least != most else f"{most:,}"
        each = f" ({span} each)" if len(sizes) > 1 else ""
        yield (
            f"\n[bold]{unit}[/]: {len(sizes)} language{'s' * (len(sizes) != 1)},"
            f" {rows[0].pairs:,} pairs{each};"
            f" by chance recall@10 is {percent(rows[0].values['chance'])}"
        )
        yield _table(rows, found.standard_layer)
    if found.left_out:
        reasons: dict[str, list[str]] = {}
        for lang, why in found.left_out.items():
            reasons.setdefault(why, []).append(lang)
        listed = "; ".join(f"{' '.join(langs)} ({why})" for why, langs in reasons.items())
        yield f"\nno words (fewer than {LEAST_WORDS} pairs) of: {listed}"
    yield from (f"[yellow]{escape(note)}[/]" for note in found.notes)
    yield (
        "\n[dim]gap: the cosine of translations less that of random pairs. Both near 1 is"
        " anisotropy, not alignment. rank: the translation's median rank in percent of its pool,"
        " 50 by chance. In brackets 95 % intervals over English texts."
        " * is the standard protocol's layer.[/]"
    )


def _table(rows: list[Row], standard: int) -> Table:
    # With one blank between columns the table fits into 80 columns, even where the intervals are
    # as wide as they can be.
    table = Table(
        box=None, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold", show_edge=False
    )
    for name in COLUMNS:
        table.add_column(name, justify="right", no_wrap=True)
    for row in rows:
        values = row.values
        table.add_row(
            f"{row.layer}{'*' if row.layer == standard else ' '}",
            _cosine(values["cosine"]),
            _cosine(values["random"]),
            _bold(values["gap"], row.intervals["gap"], _cosine),
            _bold(values["recall@10"], row.intervals["recall@10"], _percent),
            _percent(values["accuracy"]),
            _percent(values["mrr"]),
            _percent(values["median_rank"]),
        )
    return table


def _bold(value: float, interval: tuple[float, float], shown: Callable[[float], str]) -> str:
    """A value in bold with its interval behind it, if it has one."""
    low, high = interval
    behind = "" if isnan(low) else f" \\[{shown(low)}, {shown(high)}]"
    return f"[bold]{shown(value)}[/]{behind}"


def _cosine(value: float) -> str:
    return "—" if isnan(value) else f"{value:.3f}"


def _percent(value: float) -> str:
    return "—" if isnan(value) else percent(value)
