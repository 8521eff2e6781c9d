"""The board's README: the answer, a picture of it, the ranking, and what is missing."""

from __future__ import annotations

from collections.abc import Sequence

from harness.analysis.contrasts import Contrast
from harness.analysis.gather import Board
from harness.analysis.published import Figure
from harness.analysis.standings import Standing
from harness.board.answer import answer, lead_contrast
from harness.board.figures import drawn_tasks, effects_name
from harness.board.markdown import Raw, cell, environment, picture
from harness.board.rankings import ROWS_SHOWN, ranking
from harness.cards.task import read_card

NAMED = 3  # checkpoints without a rank that the line of what is missing names


def write(board: Board) -> str:
    """`leaderboard/README.md`."""
    lead = lead_contrast(board)
    first = board.standings[0] if board.standings else None
    return environment().get_template("README.md.j2").render(
        answer=[Raw(line) for line in answer(board)],
        study=board.study,
        stand_ins=any(entry.stand_in for entry in board.entries),
        forest=any(one.difference is not None for one in board.contrasts),
        standing=first,
        ranking=first and ranking(first, board.standings),
        more=max(0, len(first.rows) - ROWS_SHOWN) if first else 0,
        tracks=[one.track for one in board.standings[1:]],
        published=_published(board.published, first),
        lead=lead,
        lead_base=board.entry(lead.base).title if lead else "",
        effects=_effects(lead) if lead else [],
        missing=Raw(_missing(board)),
    )  # fmt: skip


def _effects(lead: Contrast) -> list[Raw]:
    return [
        picture(f"{lead.name} in each language of {_title(task)}", effects_name(lead, task))
        for task in drawn_tasks(lead)
    ]


def _published(figures: Sequence[Figure], standing: Standing | None) -> str:
    """The highest published figure of each task of a ranking, over several languages."""
    found = []
    for task in standing.tasks if standing else ():
        fitting = [one for one in figures if one.task == task and (one.languages or 2) > 1]
        metrics = {one.metric: one for one in sorted(fitting, key=lambda one: one.value)}
        found += [f"{_title(task)} {one.metric} {one.shown} ({one.model})"
                  for one in metrics.values()]  # fmt: skip
    return "; ".join(found)


def _missing(board: Board) -> str:
    """What is not there, in one line of Markdown; empty where nothing is missing."""
    found = []
    measured = {one.base for one in board.contrasts if board.entry(one.base).results}
    for base in sorted(measured):
        asked = [one for one in board.contrasts if one.base == base and one.confirmatory]
        answers = [one for one in asked if one.difference is not None]
        if len(answers) < len(asked):
            text = f"{len(asked) - len(answers)} of {len(asked)} questions on "
            found.append(f"[{text}{cell(board.entry(base).title)}](contrasts.md#not-answered-yet)")
    found += [
        f"{cell(row.entry.title)} is not ranked ({cell(row.why)})"
        for standing in board.standings[:1]
        for row in standing.rows
        if row.why
    ][:NAMED]
    if waiting := sum(not entry.results for entry in board.entries):
        plural = "submissions are" if waiting > 1 else "submission is"
        found.append(f"[{waiting} {plural} not measured yet](pending.md)")
    return "; ".join(found)


def _title(task: str) -> str:
    return read_card(task).title
