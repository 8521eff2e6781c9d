"""The rankings: a table per track for the README, and the page with secondary metrics."""

from __future__ import annotations

from collections.abc import Sequence

from harness.analysis.chance import ceiling, expected
from harness.analysis.gains import Gain, widest
from harness.analysis.gather import Board
from harness.analysis.results import Result, board_units
from harness.analysis.standings import Row, Standing
from harness.board.curves import layer_curves
from harness.board.figures import effect_columns, effect_map_name
from harness.board.markdown import Raw, cell, environment, picture, table, unbroken
from harness.board.pages import name, named, scored
from harness.board.words import percent, plain, size, word
from harness.cards.catalogue import read_card

BESIDE = (
    "hit@10", "map@20", "accuracy", "exact_match", "same_language@10", "other_language_recall@10"
)  # fmt: skip
TASKS_SHOWN, ROWS_SHOWN = 3, 20  # on the README


def write(board: Board) -> str:
    """`leaderboard/rankings.md`."""
    return environment().get_template("rankings.md.j2").render(
        standings=[_standing(one, board) for one in board.standings],
        curves=[
            picture(
                f"Curves of {task} over the layers that were pooled; a ring marks the standard"
                " protocol's layer",
                f"figures/layers-{task}.svg",
            )
            for task in layer_curves(board.entries)
        ],
    )  # fmt: skip


def _standing(standing: Standing, board: Board) -> dict[str, object]:
    return {
        "track": standing.track,
        "metric": standing.metric,
        "tasks": [_taskname(task) for task in standing.tasks],
        "beside": list(standing.beside),
        "maps": [
            picture(
                f"Differences of {task}, {standing.track}, in each language: each variant against"
                " its base",
                effect_map_name(standing, task),
            )
            for task in standing.tasks
            if effect_columns(board, standing, task)
        ],
        "ranking": ranking(standing, board, whole=True),
        "metrics": _metric_table(standing),
        "notes": _unranked(standing),
    }


def _unranked(standing: Standing) -> list[str]:
    """A line for each reason: the checkpoints that are not ranked for it."""
    titles: dict[str, list[str]] = {}
    for row in standing.rows:
        if row.why:
            titles.setdefault(row.why, []).append(row.entry.title)
    return [f"Not ranked ({why}): {'; '.join(names)}" for why, names in titles.items()]


def ranking(standing: Standing, board: Board, *, whole: bool = False) -> Raw:
    """The ranking of a track, with reference rows: chance, the ceiling, and the best checkpoint
    under its own protocol. Unless ``whole``, a long ranking is cut, and of more than `TASKS_SHOWN`
    tasks the mean alone is shown.
    """
    several = len(standing.tasks) > 1
    tasks = (*standing.tasks, *standing.beside) if whole else standing.tasks
    if len(tasks) > TASKS_SHOWN and not whole:
        tasks = ()
    gains = widest(board.gains, standing.track, standing.tasks)
    against_base = bool(gains)
    headers = ["rank", "checkpoint"]
    headers += [f"mean {standing.metric} (%)"] * several
    headers += [f"{_title(task)}{'' if several else ' (%)'}" for task in tasks]
    headers += ["against its base (points)"] * against_base
    rows: list[list[object]] = []
    for row in standing.rows if whole else standing.rows[:ROWS_SHOWN]:
        cells: list[object] = ["—" if row.rank is None else row.rank, named(row.entry)]
        if several:
            cells.append(scored(row.mean) if row.mean is not None else row.why)
        cells += [_task_cell(row, task) for task in tasks]
        if against_base:
            cells.append(_against_base(gains.get(row.entry.slug), standing))
        rows.append(cells)
    for what, values in _references(standing, board.standings):
        shown = [values.get(task) for task in standing.tasks]
        known = [value for value in shown if value is not None]
        cells = ["", Raw(f"*{what}*")]
        if several:
            whole_mean = len(known) == len(shown)
            cells.append(percent(sum(known) / len(known)) if whole_mean else "—")
        cells += ["—" if values.get(task) is None else percent(values[task]) for task in tasks]
        rows.append(cells + ["—"] * against_base)
    return table(headers, rows, left=2, tail=int(against_base))


def _references(
    standing: Standing, others: Sequence[Standing]
) -> list[tuple[str, dict[str, float]]]:
    """Rows that are no checkpoints of the ranking: what they are, and task → score."""
    some: dict[str, Result] = {}
    for row in standing.rows:
        some = {task: result for task, result in row.tasks.items() if not result.missing} | some
    basis = {task: some[task] for task in standing.tasks if task in some}
    found: list[tuple[str, dict[str, float]]] = []
    chances = {task: expected(result) for task, result in basis.items()}
    found.append(("chance", {t: value for t, value in chances.items() if value is not None}))
    found.append(("ceiling", {task: ceiling(result) for task, result in basis.items()}))
    for other in others:
        if other.track != "native" or standing.track != "frozen":
            continue
        ranked = [row for row in other.rows if row.mean is not None]
        if ranked and other.metric == standing.metric and set(other.tasks) <= set(standing.tasks):
            best = max(ranked, key=lambda row: row.mean.value if row.mean else 0.0)
            values = {task: r.macro.value for task, r in best.tasks.items() if r.macro is not None}
            name_of = cell(best.entry.title)
            found.append((f"reference: {name_of} under its own (native) protocol", values))
    return [(what, values) for what, values in found if values]


def _title(task: str) -> str:
    return read_card(task).title


def _against_base(gain: Gain | None, standing: Standing) -> Raw | str:
    """The difference with its plain interval, the verdict, and the tasks where some are missing."""
    if gain is None:
        return "—"
    verdict = gain.verdict
    only = "" if len(gain.tasks) == len(standing.tasks) else f"; {', '.join(gain.tasks)} alone"
    return Raw(f"{size(verdict)} {unbroken(plain(verdict))}, **{word(verdict)}**{cell(only)}")


def _taskname(task: str) -> str:
    card = read_card(task)
    return f"{card.title} ({len(board_units(task, tuple(card.languages)))} languages)"


def _task_cell(row: Row, task: str) -> object:
    result = row.tasks.get(task)
    if result is None:
        return "—"
    text = scored(result.macro)
    return Raw(f"{text} †") if result.contaminated else text


def _metric_table(standing: Standing) -> Raw:
    """recall@10 beside hit@10 and mAP@20 or accuracy: none of them alone tells enough."""
    present = [
        metric
        for metric in BESIDE
        if any(metric in r.beside for row in standing.rows for r in row.tasks.values())
    ]
    rows = []
    for task in (*standing.tasks, *standing.beside):
        for row in standing.rows:
            if result := row.tasks.get(task):
                beside = [result.beside.get(metric) for metric in present]
                if "hit@10" in present and result.card.kind == "bitext" and result.macro:
                    beside[present.index("hit@10")] = result.macro.value  # one relevant candidate
                rows.append(
                    (task, name(row.entry), result.metric, scored(result.macro),
                     *("" if value is None else percent(value) for value in beside))
                )  # fmt: skip
    return table(("task", "checkpoint", "headline", "value", *present), rows, left=3)
