"""What every command does alike: errors as one line with an exit code, JSON, notes, scores."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import typer

from harness.errors import DataError, HarnessError, one_line

LONGEST = 2_000  # characters of an error: what it quotes of others' text is shorter where it is


def echo(text: object, *, err: bool = False, end: str = "\n") -> None:
    """A line on a stream, in its encoding: typer's own writes UTF-8 to a stream of ASCII."""
    print(text, end=end, file=sys.stderr if err else sys.stdout, flush=True)


def print_scores(rows: list[dict[str, Any]], format: str, *, headed: bool) -> None:
    """The scores as JSON, or as one table a model, under its name where ``headed``."""
    if format == "json":
        print_json(rows)
        return
    from rich.text import Text

    from harness.terminal.console import stdout
    from harness.terminal.tables import score_table

    models: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        models.setdefault(f"{row['model']} at {row['revision']}", []).append(row)
    for model, members in models.items():
        if headed:
            stdout().print(Text(model, style="bold"), soft_wrap=True)
        stdout().print(score_table(members))


def show_found(read: Callable[[], Any], show: Callable[[Any], None]) -> None:
    """Show what was read, also where some of its files are damaged; then that error goes on."""
    try:
        found = read()
    except HarnessError as error:
        if error.scores is not None:
            show(error.scores)
        raise
    show(found)


def print_notes(notes: Iterable[str]) -> None:
    for note in notes:
        echo(f"note: {note}", err=True)


def print_json(value: Any) -> None:
    import json

    try:
        text = json.dumps(value, ensure_ascii=False, indent=1, allow_nan=False)
    except ValueError:
        raise DataError(
            "a score is not a number (NaN or infinite): the rows that it is from are damaged, run "
            "`xharness eval` for them again"
        ) from None
    echo(text)


@contextmanager
def errors() -> Iterator[None]:
    """Turn an error that a user is meant to read into one line and its exit code."""
    try:
        yield
    except HarnessError as error:
        for one in (error, *error.also):
            echo(f"error: {one_line(one, LONGEST)}", err=True)
        raise typer.Exit(error.exit_code) from error
    except KeyboardInterrupt as error:
        echo("interrupted: run the same command again to go on", err=True)
        raise typer.Exit(130) from error
    except OSError as error:
        where = f" {error.filename}" if error.filename else ""
        reason = error.strerror or str(error)
        # A file where a folder has to be, or the other way round, is a wrong option.
        wrong = isinstance(error, (FileExistsError, IsADirectoryError, NotADirectoryError))
        remedy = "give another path" if wrong else "check path, rights and space"
        echo(f"error: cannot use{where}: {reason}; {remedy}", err=True)
        raise typer.Exit(2 if wrong else 5) from error
