"""The pages of coverage: what is measured, what is pending, and how to measure it again."""

from __future__ import annotations

from collections.abc import Sequence

from harness.analysis.entries import Entry
from harness.analysis.gather import Board
from harness.analysis.results import board_units
from harness.analysis.standings import Standing, gate
from harness.board.curves import layer_curves
from harness.board.markdown import Raw, code, environment, table
from harness.board.pages import command, name, scored
from harness.board.waiting import waiting_table
from harness.board.words import percent
from harness.results.scores import indistinct_words


def write(board: Board) -> dict[str, str]:
    """Name under `leaderboard/` → text."""
    template = environment().get_template
    return {
        "coverage.md": template("coverage.md.j2").render(
            coverage=_coverage_table(board),
            apart=_apart_table(board.entries),
            flagged=_flagged_table(board.standings),
            indistinct=_indistinct_table(board.entries),
        ),
        "pending.md": template("pending.md.j2").render(waiting=waiting_table(board.entries)),
        "reproduce.md": template("reproduce.md.j2").render(commands=_command_table(board.entries)),
    }


def _coverage_table(board: Board) -> Raw | None:
    cards = {r.task: r.card for entry in board.entries for r in entry.results}
    tasks = sorted(cards)
    sizes = {task: len(board_units(task, tuple(cards[task].languages))) for task in tasks}
    rows = []
    for entry in (entry for entry in board.entries if entry.results):
        cells: list[object] = [name(entry), entry.kind]
        for task in tasks:
            found = [r for r in entry.results if r.task == task]
            whole = sorted({r.track for r in found if r.regular})
            partial = max((len(r.values) for r in found), default=0)
            cells.append(", ".join(whole) or (f"{partial} of {sizes[task]}" if found else "—"))
        seen = ", ".join(sorted(entry.contaminated)) or "—"
        made = entry.submission.conversion if entry.submission else None
        said = [result.origin.provenance for result in entry.results]
        state = ", ".join(
            one if len(set(said)) == 1 else f"{said.count(one)} of {len(said)} {one}"
            for one in dict.fromkeys(said)
        )
        state += f", safetensors from {made}" if made else ""
        cells += [seen, f"{state}; not whole: {entry.why}" if entry.why else state]
        rows.append(cells)
    headers = ("checkpoint", "kind", *tasks, "trained on targets", "provenance")
    return table(headers, rows, left=len(headers)) if rows else None


def _apart_table(entries: Sequence[Entry]) -> Raw | None:
    rows = []
    curves = _curve_results(entries)
    for entry in entries:
        for result in entry.results:
            if result.path in curves:
                continue
            why = list(result.notes)
            if result.missing:
                why.append(f"no mean, missing: {' '.join(result.missing)}")
            if why:
                rows.append(
                    (name(entry), result.task, result.track, result.metric,
                     scored(result.macro), "; ".join(why))
                )  # fmt: skip
    headers = ("checkpoint", "task", "track", "metric", "mean", "why")
    return table(headers, rows, left=4, tail=1) if rows else None


def _indistinct_table(entries: Sequence[Entry]) -> Raw | None:
    """The languages where more than 5 % of the candidates share their token ids with another."""
    curves = _curve_results(entries)
    rows = [
        (name(entry), result.task, result.track,
         indistinct_words(result.indistinct).partition(": ")[2])
        for entry in entries
        for result in entry.results
        if result.indistinct and result.path not in curves
    ]  # fmt: skip
    return table(("checkpoint", "task", "track", "share"), rows, left=4) if rows else None


def _flagged_table(standings: Sequence[Standing]) -> Raw | None:
    rows = [
        (standing.track, task, one.checkpoint or "all checkpoints", one.lang,
         percent(one.score), percent(one.predicted))
        for standing in standings
        for task, found in gate(standing).items()
        for one in found
    ]  # fmt: skip
    headers = ("track", "task", "checkpoint", "language", "score", "predicted")
    return table(headers, rows, left=4) if rows else None


def _curve_results(entries: Sequence[Entry]) -> set[str]:
    """The results of the curves over layers, without the protocol's own layer."""
    return {
        result.path
        for lines in layer_curves(entries).values()
        for _, results in lines
        for result in results
        if result.notes
    }


def _command_table(entries: Sequence[Entry]) -> Raw | None:
    curves = _curve_results(entries)
    rows = [
        (name(entry), result.task, result.track, code(command(result, every_layer=several)))
        for entry in entries
        for result in entry.results
        for several in [
            any(other.path in curves for other in entry.results if other.task == result.task)
        ]
        if result.path not in curves
    ]
    return table(("checkpoint", "task", "track", "command"), rows, left=4) if rows else None
