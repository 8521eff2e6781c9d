"""The options of commands: those of an evaluation as it declares them, and a few of their own."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Iterable, Mapping
from functools import wraps
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

import typer

from harness.commands.outputs import errors
from harness.errors import UsageError
from harness.evaluation.options import Names, Option, Options, PathName, hints, shown_options

Models = Annotated[list[str], typer.Argument(metavar="MODEL[@REV]...", help="Hub id or folder.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print only errors on stderr.")]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Print more on stderr.")]
BoardRoot = Annotated[
    Path, typer.Option("--root", help="Folder with leaderboard/ and submissions/.", metavar="DIR")
]

Command = Callable[..., None]


def print_format(*known: str) -> Any:
    """The option `--format` with its choices.

    Another one is an error in our own words, as those of an evaluation's options are.
    """

    def check(value: str) -> str:
        with errors():
            if value not in known:
                raise UsageError(f"--format {value}: give {' or '.join(known)}")
        return value

    return typer.Option(
        "--format",
        help="How to print it.",
        metavar="|".join(known),
        callback=check,
        autocompletion=lambda incomplete: [one for one in known if one.startswith(incomplete)],
    )


Format = Annotated[str, print_format("table", "json")]
# What the command line makes of a type that it has no reading of.
READ_AS: dict[Any, Any] = {
    Names: list[str] | None,
    PathName: Path,
    PathName | None: Path | None,
    int | str: str,
}


def option(name: str) -> Any:
    """An option of an evaluation, for another command that has it too."""
    return _shown(name, shown_options()[name])


def with_options(
    only: Collection[str] = (), *, without: Collection[str] = ()
) -> Callable[[Command], Command]:
    """Give a command the options of an evaluation in place of its parameter ``options``.

    ``only``: some of them; the others keep their defaults. ``without``: all but these.
    """
    names = [name for name in shown_options() if name not in without and (not only or name in only)]

    def decorate(command: Command) -> Command:
        own = inspect.signature(command, eval_str=True)
        parameters = [
            parameter
            for one in own.parameters.values()
            for parameter in (_parameters(names) if one.name == "options" else [one])
        ]

        @wraps(command)
        def called(**given: Any) -> None:
            options = Options(**{name: given.pop(name) for name in names})
            command(options=options, **given)

        del called.__wrapped__  # typer would read the parameters of the function within
        called.__signature__ = own.replace(parameters=parameters)  # type: ignore[attr-defined]
        called.__annotations__ = {one.name: one.annotation for one in parameters}
        return called

    return decorate


def _parameters(names: Collection[str]) -> list[inspect.Parameter]:
    declared = inspect.signature(Options).parameters
    return [
        inspect.Parameter(
            name,
            inspect.Parameter.POSITIONAL_OR_KEYWORD,
            default=declared[name].default,
            annotation=Annotated[_read_as(name, hints()[name]), option(name)],
        )
        for name in names
    ]


def _read_as(name: str, hint: Any) -> Any:
    if _choices(name) is not None:
        return str | None if type(None) in get_args(hint) else str
    return READ_AS.get(hint, hint)


def _shown(name: str, declared: Option) -> Any:
    flag = declared.flag or f"--{name.replace('_', '-')}"
    return typer.Option(
        flag,
        help=declared.help,
        metavar=declared.metavar or _choices(name),
        autocompletion=lambda incomplete: completed(name, incomplete),
    )


def completed(name: str, incomplete: str) -> list[str]:
    """What a shell offers for the value of an option of an evaluation or of a training."""
    from harness.cards.catalogue import card_names, read_suites
    from harness.cards.languages import read_languages
    from harness.cards.training import intermediate_names, read_intermediate_suites

    known: Mapping[str, Callable[[], Iterable[str]]] = {
        "tasks": card_names,
        "intermediate": lambda: (*intermediate_names(), *read_intermediate_suites()),
        "suite": read_suites,
        "languages": read_languages,
        "device": lambda: ("cpu", "cuda", "mps", "all"),
    }
    values = known[name]() if name in known else (_choices(name) or "").split("|")
    return [value for value in values if value and value.startswith(incomplete)]


def _choices(name: str) -> str | None:
    """The choices of an option; a wrong one is refused where Python's is, in the same words."""
    hint = hints()[name]
    of_type = [hint, *get_args(hint)]
    literal = next((one for one in of_type if get_origin(one) is Literal), None)
    return "|".join(get_args(literal)) if literal is not None else None


Langs = Annotated[list[str] | None, option("languages")]
Tasks = Annotated[list[str] | None, option("tasks")]
Out = Annotated[Path, option("out")]
Split = Annotated[str | None, option("split")]
Data = Annotated[Path | None, option("data")]
CacheDir = Annotated[Path | None, option("cache_dir")]
Offline = Annotated[bool, option("offline")]
