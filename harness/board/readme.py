"""The board's README: the answer, a picture of it, the ranking, and what is missing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from harness.analysis.contrasts import Contrast
from harness.analysis.gather import Board
from harness.analysis.published import PublishedScore
from harness.analysis.results import SUITES
from harness.analysis.standings import Standing
from harness.board.answer import answer, lead_contrast
from harness.board.figures import effects_name
from harness.board.markdown import Raw, cell, environment, floating
from harness.board.pages import name
from harness.board.rankings import ROWS_SHOWN, ranking
from harness.cards.catalogue import read_card, read_suites
from harness.results.provenance import Provenance


def write(board: Board) -> str:
    """`leaderboard/README.md`."""
    lead = lead_contrast(board)
    first = board.standings[0] if board.standings else None
    return environment().get_template("README.md.j2").render(
        answer=[Raw(line) for line in answer(board)],
        study=board.study,
        stand_ins=any(entry.stand_in for entry in board.entries),
        standing=first,
        ranking=first and ranking(first, board),
        more=max(0, len(first.rows) - ROWS_SHOWN) if first else 0,
        tracks=[one.track for one in board.standings[1:]],
        published=_published(board.published, first),
        pictures=_pictures(board, lead),
        missing=Raw(_missing(board)),
        origins=_origins(board),
        alike=Raw(_alike(board)),
    )  # fmt: skip


def _pictures(board: Board, lead: Contrast | None) -> list[Raw]:
    """The forest plot, and beside it the lead contrast in the languages of each task.

    Images that float stand beside each other on a screen and below each other on a phone.
    """
    if not any(one.difference is not None for one in board.contrasts):
        return []
    forest = "Forest plot of the contrasts: differences in points with plain and simultaneous"
    shown = [floating(f"{forest} intervals", "figures/contrasts.svg", "left")]
    if lead is None or lead.difference is None:
        return shown
    sizes = Counter(part.task for part in lead.difference.languages)
    for at, task in enumerate(sorted(sizes, key=lambda task: -sizes[task])):
        text = f"{lead.name} in each language of {_title(task)}"
        shown.append(floating(text, effects_name(lead, task), "left" if at else "right"))
    return shown


def _published(figures: Sequence[PublishedScore], standing: Standing | None) -> str:
    """The highest published figure of each task of a ranking, over several languages."""
    found = []
    for task in standing.tasks if standing else ():
        fitting = [one for one in figures if one.task == task and (one.languages or 2) > 1]
        metrics = {one.metric: one for one in sorted(fitting, key=lambda one: one.value)}
        found += [f"{_title(task)} {one.metric} {one.shown} ({one.model})"
                  for one in metrics.values()]  # fmt: skip
    return "; ".join(found)


def _origins(board: Board) -> str:
    """How many results each origin has, where not all were measured by the board's own refresh."""
    words: dict[Provenance, str] = {
        "measured": "measured here",
        "replicated": "sent by others and replicated",
        "unreplicated": "sent by others, not replicated and so not ranked",
    }
    found = Counter(one.origin.provenance for entry in board.entries for one in entry.results)
    if found.keys() <= {"measured"}:
        return ""
    return ", ".join(f"{found[one]} {said}" for one, said in words.items() if found[one])


def _missing(board: Board) -> str:
    """What is missing, in one line of Markdown; empty where nothing is."""
    found = []
    measured = {one.base for one in board.contrasts if board.entry(one.base).results}
    for base in sorted(measured):
        asked = [one for one in board.contrasts if one.base == base and one.confirmatory]
        answers = [one for one in asked if one.difference is not None]
        if len(answers) < len(asked):
            text = f"{len(asked) - len(answers)} of {len(asked)} questions on "
            found.append(f"[{text}{cell(board.entry(base).title)}](contrasts.md#not-answered-yet)")
    there = {result.task for entry in board.entries for result in entry.results}
    if absent := [one.task for one in read_suites()[SUITES[0]] if one.task not in there]:
        found.append(f"nothing is measured of {cell(', '.join(_title(task) for task in absent))}")
    if waiting := sum(not entry.results for entry in board.entries):
        plural = "submissions are" if waiting > 1 else "submission is"
        found.append(f"[{waiting} {plural} not measured yet](pending.md)")
    return "; ".join(found)


def _alike(board: Board) -> str:
    """Which checkpoints may be one, in one line of Markdown; empty where none may."""
    return "; ".join(
        f"{' and '.join(name(entry) for entry in one.entries)} in {cell(_title(one.task))}"
        for one in board.alike
    )


def _title(task: str) -> str:
    return read_card(task).title
