"""The pages of `xharness view`: it answers every address that the browser asks for.

No part of an address is opened: a page is one of ``PAGES``, and a run is looked up among the files
of the folders that were given.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

from harness.analysis.gather import own_board
from harness.analysis.measured import (
    languages_at_chance,
    measured,
    of_languages,
    outcome_files,
)
from harness.analysis.single import examples, parse_condition
from harness.board import page as board_page
from harness.cards.languages import read_languages
from harness.data.layout import DataLocation
from harness.errors import DataError, HarnessError, UsageError, one_line, unknown_name
from harness.results.outcomes import OutcomeFile
from harness.results.scores import MACRO
from harness.terminal import grids
from harness.terminal.scores import chance_notes, mean_notes, score_grid
from harness.terminal.single import LABELS, name_of, score_of, texts_of

Row = dict[str, Any]
Query = Mapping[str, str]
NUMBERS = (20, 50, 200)  # examples on one page
HTML = "text/html; charset=utf-8"
JSON = "application/json; charset=utf-8"
CSV = "text/csv; charset=utf-8"


@dataclass(frozen=True)
class Source:
    """What the pages show.

    ``paths``: folders with results. ``location``: where texts may come from. ``kept``: the folder
    in which computed scores are kept.
    """

    paths: tuple[Path, ...]
    location: DataLocation
    kept: Path


@dataclass(frozen=True)
class Answer:
    """An HTTP status, the type of the content, and the content."""

    status: int
    kind: str
    body: bytes


def answer(source: Source, address: str) -> Answer:
    """Return what the browser gets for an address such as ``/examples?run=…``."""
    path, _, asked = address.partition("?")
    page = PAGES.get(path)
    if page is None:
        return _page(404, "no such page", problems=[f"there is {', '.join(PAGES)}"])
    query = {name: value for name, value in parse_qsl(asked) if value}
    try:
        return page(source, query)
    except HarnessError as error:
        status = 400 if isinstance(error, UsageError) else 404
        return _page(status, "cannot be shown", problems=[one_line(error)])
    except Exception as error:  # The server goes on; a traceback would not help in a browser.
        problem = f"{type(error).__name__}: {one_line(error)}"
        return _page(500, "a fault of xharness", problems=[problem])


def _scores(source: Source, query: Query) -> Answer:
    files = outcome_files(source.paths)
    rows, problems = _measured(files, source)
    tasks = list(dict.fromkeys(row["task"] for row in rows))
    spoken = sorted({row["lang"] for row in rows} - {MACRO})
    chosen = _chosen(rows, query)
    by_language = "by" in query or "language" in query
    notes = dict.fromkeys(f"{row['model']}, {row['task']}: {row['note']}" for row in chosen
                          if row["note"])  # fmt: skip
    return _page(
        200,
        "Scores",
        grid=score_grid(chosen, by_language=by_language),
        tasks=tasks,
        languages=_named(spoken),
        query=query,
        problems=problems,
        notes=[
            *notes,
            *([] if by_language else mean_notes(chosen)),
            *chance_notes(languages_at_chance(files, source.kept), chosen),
        ],
        runs=_titled([file for file in files if _readable(file)]),
    )


def _measured(files: Sequence[OutcomeFile], source: Source) -> tuple[list[Row], list[str]]:
    """Return the rows, and the errors of the files that are damaged."""
    try:
        return measured(files, source.kept), []
    except DataError as error:
        return error.scores or [], [one_line(one) for one in (error, *error.also)]


def _chosen(rows: Sequence[Row], query: Query) -> list[Row]:
    tasks = list(dict.fromkeys(row["task"] for row in rows))
    if "task" in query and query["task"] not in tasks:
        raise unknown_name("measured task", query["task"], tasks)
    found = of_languages(rows, [query["language"]] if "language" in query else [])
    return [row for row in found if row["task"] == query.get("task", row["task"])]


def _examples(source: Source, query: Query) -> Answer:
    files = {str(file.path): file for file in outcome_files(source.paths)}
    file = files.get(query.get("run", ""))
    if file is None:
        return _page(404, "no such run", problems=["choose one on the first page"])
    spoken = list(file.meta()["languages"])
    language = query.get("language")
    if language is not None and language not in spoken:
        raise UsageError(f"no examples of {language}: there are {', '.join(spoken)}")
    conditions = [parse_condition(query["where"])] if "where" in query else []
    found, why = examples(file, source.location, [language] if language else [], conditions)
    number = query.get("number", "")
    most = int(number) if number in map(str, NUMBERS) else NUMBERS[0]
    return _page(
        200,
        f"Examples of {_title(file)}",
        examples=[
            (name_of(one), score_of(one), [
                (label, text) for name, label in LABELS.items() for text in texts_of(one, name)
            ])
            for one in found[:most]
        ],
        total=len(found),
        most=most,
        numbers=NUMBERS,
        languages=_named(spoken),
        query=query,
        problems=[],
        notes=[f"without texts: {why}"] if why else [],
    )  # fmt: skip


def _as_json(source: Source, query: Query) -> Answer:
    rows = measured(outcome_files(source.paths), source.kept)
    text = json.dumps(_chosen(rows, query), ensure_ascii=False, indent=1, allow_nan=False)
    return Answer(200, JSON, text.encode())


def _as_csv(source: Source, query: Query) -> Answer:
    rows = measured(outcome_files(source.paths), source.kept)
    chosen = _chosen(rows, query)
    return Answer(200, CSV, grids.comma_separated(chosen, list(rows[0]) if rows else []).encode())


def _board(source: Source, query: Query) -> Answer:
    board = own_board(outcome_files(source.paths), source.kept)
    return Answer(200, HTML, board_page.write(board, pages=False).encode())


PAGES: Mapping[str, Callable[[Source, Query], Answer]] = {
    "/": _scores,
    "/examples": _examples,
    "/compare": _board,
    "/scores.json": _as_json,
    "/scores.csv": _as_csv,
}


def _titled(files: Sequence[OutcomeFile]) -> list[tuple[str, str]]:
    """Return the path and the title of each; of several with one title, the path is in it."""
    titles = [_title(file) for file in files]
    return [
        (str(file.path), title if titles.count(title) == 1 else f"{title}: {file.path}")
        for file, title in zip(files, titles, strict=True)
    ]


def _readable(file: OutcomeFile) -> bool:
    try:
        return bool(file.meta()["languages"])
    except DataError:
        return False


def _title(file: OutcomeFile) -> str:
    meta = file.meta()
    return f"{meta['model']}, {meta['task']} ({meta['track']}, {meta['signature']})"


def _named(codes: Sequence[str]) -> list[tuple[str, str]]:
    """Return (code, name) of each language; a pair has the names of both."""
    known = read_languages()
    names = [[known[part].name if part in known else part for part in code.split("-")]
             for code in codes]  # fmt: skip
    return [(code, ", ".join(name)) for code, name in zip(codes, names, strict=True)]


def _page(status: int, title: str, **content: Any) -> Answer:
    import jinja2
    from markupsafe import Markup

    packages = [jinja2.PackageLoader(f"harness.{room}") for room in ("viewer", "board")]
    environment = jinja2.Environment(
        loader=jinja2.ChoiceLoader(packages), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    grid = content.pop("grid", None)
    table = None if grid is None else Markup(grids.html(grid))
    text = environment.get_template("view.html.j2").render(title=title, table=table, **content)
    return Answer(status, HTML, text.encode())
