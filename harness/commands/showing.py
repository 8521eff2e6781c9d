"""The command that shows what was measured: scores side by side, and single examples."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from harness.commands.options import CacheDir, Data, Langs, Tasks, print_format
from harness.commands.outputs import echo, errors, print_json, print_notes, show_found
from harness.errors import UsageError
from harness.evaluation.options import listed

FORMATS = ("table", "json", "csv", "markdown", "latex")
SHOWN = 20  # examples of --where without --worst


def show(
    paths: Annotated[
        list[Path],
        typer.Argument(metavar="DIR|RUN", help="Results folders or files, side by side."),
    ],
    task: Tasks = None,
    lang: Langs = None,
    by_language: Annotated[
        bool, typer.Option("--by-language", help="Show every language of every task.")
    ] = False,
    worst: Annotated[
        int | None, typer.Option(metavar="N", help="The N worst examples of each task.", min=1)
    ] = None,
    where: Annotated[
        list[str] | None,
        typer.Option(
            metavar="COND",
            help="Examples that match f1<0.5, lang=de or prediction~Paris; repeat to combine.",
        ),
    ] = None,
    data: Data = None,
    cache_dir: CacheDir = None,
    format: Annotated[str, print_format(*FORMATS)] = "table",
) -> None:
    """Show the scores of what is on disk, with intervals; nothing is run or downloaded.

    Several models stand side by side. With --worst or --where single examples are shown, with their
    texts where the data is at hand (--data, or the cache). JSON and CSV hold every metric and
    language in [0, 1]; a table, Markdown and LaTeX the headline in percent.
    """
    with errors():
        from harness.analysis.measured import (
            languages_at_chance,
            measured,
            of_languages,
            outcome_files,
            select,
        )
        from harness.data.folders import cache_folder
        from harness.terminal.scores import chance_notes, mean_notes

        files = outcome_files(paths)
        if worst is not None or where:
            chosen = select(files, listed(task))
            _print_examples(chosen, listed(lang), where or [], worst, (data, cache_dir), format)
            return
        chosen = select(files, listed(task))
        kept = cache_folder(cache_dir) / "board"

        def print_found(rows: list[dict[str, Any]]) -> None:
            shown = of_languages(rows, listed(lang))
            languages = by_language or lang is not None
            _print_scores(shown, format, languages)
            if format not in ("json", "csv"):
                print_notes([] if languages else mean_notes(shown))
                print_notes(chance_notes(languages_at_chance(chosen, kept), shown))

        show_found(lambda: measured(chosen, kept), print_found)


def _print_scores(rows: list[dict[str, Any]], format: str, by_language: bool) -> None:
    from harness.commands.outputs import print_scores
    from harness.terminal import grids
    from harness.terminal.console import stdout
    from harness.terminal.scores import score_grid

    if format == "json":
        print_json(rows)
    elif format == "csv":
        echo(grids.comma_separated(rows, list(rows[0]) if rows else []))
    elif format in ("markdown", "latex"):
        grid = score_grid(rows, by_language=by_language)
        echo(grids.markdown(grid) if format == "markdown" else grids.latex(grid))
        print_notes(_remarks(rows))
    elif by_language or len({(row["model"], row["revision"]) for row in rows}) > 1:
        grid = score_grid(rows, by_language=by_language)
        console = stdout()
        for number, part in enumerate(grids.fitted(grid, console.width)):
            if number:
                console.print()
            console.print(grids.rich_table(part))
        print_notes([grid.caption, *_remarks(rows)])
    else:
        from harness.results.averages import averages, in_words, of_rows

        print_scores(rows, format, headed=True)
        noted = {row["task"] for row in rows if row["note"]}
        print_notes([in_words(average, noted) for average in averages(of_rows(rows))])


def _remarks(rows: Sequence[dict[str, Any]]) -> list[str]:
    """The remarks about each model's scores, every remark once."""
    from harness.terminal.scores import model_names

    names = model_names(rows)
    notes = {
        f"{names[row['model'], row['revision']]}, {row['task']}: {row['note']}": None
        for row in rows
        if row["note"]
    }
    return list(notes)


def _print_examples(
    files: Sequence[Any],
    languages: Sequence[str],
    where: Sequence[str],
    worst: int | None,
    folders: tuple[Path | None, Path | None],
    format: str,
) -> None:
    from harness.analysis.single import examples, parse_condition
    from harness.cards.languages import canonical
    from harness.data.folders import data_location
    from harness.terminal import grids
    from harness.terminal.console import stdout
    from harness.terminal.single import example_grid, example_lines

    conditions = [parse_condition(text) for text in where]
    codes = [name if "-" in name else canonical(name) for name in languages]
    location = data_location(*folders, offline=True)
    there = sorted({unit for file in files for unit in file.meta()["languages"]})
    if absent := [code for code in codes if code not in there]:
        raise UsageError(f"no examples of {', '.join(absent)}: there are {', '.join(there)}")
    found: list[dict[str, Any]] = []
    notes: list[str] = []
    for file in files:
        own, why = examples(file, location, codes, conditions)
        meta = file.meta()
        most = worst or SHOWN
        name = {"model": meta["model"], "task": meta["task"], "signature": meta["signature"]}
        found += [name | one for one in own[:most]]
        if why:
            notes.append(f"{meta['task']}: without texts: {why}")
        if worst is None and len(own) > most:
            notes.append(f"{meta['task']}: {most} of {len(own):,} examples; --worst N shows more")
    if not found:
        notes.append(f"no example has {' and '.join(where)}")
    if format == "json":
        print_json(found)
    elif format == "csv":
        names = list(dict.fromkeys(name for one in found for name in one))
        echo(grids.comma_separated(found, names))
    elif format in ("markdown", "latex"):
        grid = example_grid(found)
        echo(grids.markdown(grid) if format == "markdown" else grids.latex(grid))
    else:
        for line in example_lines(found):
            stdout().print(line, soft_wrap=False)
    print_notes(dict.fromkeys(notes))
