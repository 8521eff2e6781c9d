"""The command line: which commands there are. Nothing heavy is imported before a command runs."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Mapping
from typing import Annotated

import typer

from harness.commands import (
    aligning,
    board,
    evaluating,
    intake,
    looking,
    planning,
    publishing,
    showing,
    training,
    viewing,
)
from harness.commands.outputs import echo, errors
from harness.commands.parsing import Command
from harness.terminal import streams

app = typer.Typer(
    name="xharness",
    help="Did intermediate-task training help a multilingual encoder? Evaluate any checkpoint on "
    "the XTREME-R retrieval and QA suite.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
)
cache_app = typer.Typer(
    help="What is kept between runs: downloads and vectors.",
    no_args_is_help=True,
    epilog="Examples: xharness cache ls; xharness cache prune --older-than 30",
)

# Each command and the example under its help.
COMMANDS: Mapping[Callable[..., None], str] = {
    evaluating.eval: (
        "xharness eval sentence-transformers/all-MiniLM-L6-v2 --task tatoeba --lang de"
    ),
    planning.plan: "xharness plan org/name --suite retrieval --format jsonl",
    showing.show: "xharness show leaderboard/results --by-language --lang de,sw",
    viewing.view: "xharness view leaderboard/results",
    evaluating.score: "xharness score predictions/",
    evaluating.export: "xharness export leaderboard/results/org__name/0123456789ab predictions/",
    training.train: "xharness train FacebookAI/xlm-roberta-base --intermediate squad_v1 --out ./x",
    looking.tasks: "xharness tasks lareqa",
    looking.prefetch: "xharness prefetch sentence-transformers/LaBSE --suite xtreme-r",
    looking.doctor: "xharness doctor sentence-transformers/all-MiniLM-L6-v2",
    aligning.align: "xharness align sentence-transformers/LaBSE --lang de --lang sw",
    intake.submit: (
        "xharness submit org/model --base org/base --objective extractive-qa --language en"
        " --dataset SQuAD"
    ),
    intake.validate: "xharness validate submissions/org__model.yaml",
    intake.convert: "xharness convert org/model ./model-safetensors",
    board.leaderboard: "xharness leaderboard --check",
    board.verify: "xharness verify",
    board.compare: "xharness compare org/variant org/base --by-language",
    board.contrast: "xharness contrast --format json",
    publishing.refresh: "xharness refresh --max-parameters 300000000 --dry-run",
    publishing.publish: "xharness publish org/name --to org/results --dry-run",
}
CACHE_COMMANDS: Mapping[str, tuple[Callable[..., None], str]] = {
    "ls": (looking.cache_ls, "xharness cache ls"),
    "prune": (looking.cache_prune, "xharness cache prune --older-than 30"),
}

for _command, _example in COMMANDS.items():
    app.command(cls=Command, epilog=f"Example: {_example}")(_command)
app.add_typer(cache_app, name="cache")
for _name, (_command, _example) in CACHE_COMMANDS.items():
    cache_app.command(_name, cls=Command, epilog=f"Example: {_example}")(_command)


def _version(value: bool) -> None:
    if value:
        from harness.version import __version__

        echo(f"xharness {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    """xharness."""


def main() -> None:
    """The console script. A usage error is one line too, not typer's box."""
    streams.prepare()
    # Schedulers and build servers end a job so; it stops as at Ctrl-C, with a word and code 130.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with errors():  # help and version are printed before a command has its own
            code = app(standalone_mode=False)
    except typer.Exit as end:
        code = end.exit_code
    except Exception as error:
        # typer brings click's errors under a name of its own, which is not public.
        message = getattr(error, "format_message", None)
        if message is None:
            raise
        if type(error).__name__ == "NoArgsIsHelpError":
            echo(message(), err=True)
        else:
            context = getattr(error, "ctx", None)
            where = context.command_path if context is not None else "xharness"
            text = " ".join(message().split()).rstrip(".")
            echo(f"error: {text}; see `{where} --help`", err=True)
        code = getattr(error, "exit_code", 2)
    sys.exit(code if isinstance(code, int) else 0)
