"""The page of published scores, which others measured, for orientation."""

from __future__ import annotations

from collections.abc import Sequence

from harness.analysis.gather import Board
from harness.analysis.published import PublishedScore
from harness.board.markdown import Raw, environment, table

UNLIKE = "not comparable with the board's"


def write(board: Board) -> str:
    """`leaderboard/published.md`."""
    return environment().get_template("published.md.j2").render(
        published=_published_table(board), published_tables=_published_tables(board)
    )  # fmt: skip


def _published_table(board: Board) -> Raw:
    rows = [
        (one.model, one.task, one.metric, one.shown, one.languages or "not said", one.source,
         one.caveat, one.apart or "—")
        for one in board.published
        if not one.table
    ]  # fmt: skip
    headers = ("model", "task", "metric", "value", "languages", "source", "caveat", UNLIKE)
    return table(headers, rows, left=3, tail=3)


def _published_tables(board: Board) -> list[tuple[str, str, str, Raw]]:
    """Title, source, caveat and table of each that is shown whole; a model is a column."""
    found: dict[str, list[PublishedScore]] = {}
    for one in board.published:
        if one.table:
            found.setdefault(one.table, []).append(one)
    return [
        (title, figures[0].source, figures[0].caveat, _by_task(figures))
        for title, figures in found.items()
    ]


def _by_task(figures: Sequence[PublishedScore]) -> Raw:
    models = list(dict.fromkeys(one.model for one in figures))
    values = {(one.task, one.model): one.shown for one in figures}
    rows = [
        (one.task, one.metric, one.languages or "not said",
         *(values.get((one.task, model), "—") for model in models), one.apart or "—")
        for one in {one.task: one for one in figures}.values()
    ]  # fmt: skip
    return table(("task", "metric", "languages", *models, UNLIKE), rows, left=2, tail=1)
