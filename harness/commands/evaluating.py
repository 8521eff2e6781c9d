"""Commands that evaluate checkpoints, score predictions and export them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Annotated

import typer

from harness.commands.options import (
    CacheDir,
    Data,
    Format,
    Models,
    Offline,
    Quiet,
    Split,
    Verbose,
    with_options,
)
from harness.commands.outputs import echo, errors, print_json, print_notes, print_scores
from harness.evaluation.options import Options

if TYPE_CHECKING:
    from harness.terminal.display import Display


@with_options()
def eval(
    models: Models,
    options: Options,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run",
            help="Say what would run, and about what it takes by a probe of the model; then stop.",
        ),
    ] = False,
    format: Format = "table",
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Evaluate checkpoints: score them on a suite and keep one Parquet row per example."""
    with errors():
        import harness
        from harness.results.provenance import measuring
        from harness.terminal.display import Display

        if dry_run:
            _print_previews(models, options, format)
            return
        display = Display(quiet=quiet, verbose=verbose)
        results = Path(options.out)
        try:
            with display, measuring(results) as written:
                try:
                    harness.evaluate(models, **vars(replace(options, reporter=display)))
                finally:
                    written.update(path for path in _files(display) if path.is_relative_to(results))
        finally:  # also the scores of the models before one that failed
            if display.scores:
                print_scores(display.scores, format, headed=len(set(models)) > 1)
                if format == "table" and not options.smoke:
                    _print_files(display)


def _print_previews(models: list[str], options: Options, format: str) -> None:
    from harness.evaluation.options import make_request
    from harness.evaluation.summary import preview
    from harness.terminal.console import stdout
    from harness.terminal.plan import describe

    request = make_request(options)
    previews = {model: preview(model, request) for model in models}
    if format == "json":
        print_json({model: found.as_dict() for model, found in previews.items()})
        return
    lines = [line for found in previews.values() for line in describe(found)]
    stdout().print("\n".join(lines), soft_wrap=True)


def score(
    path: Annotated[
        Path,
        typer.Argument(
            metavar="DIR|PREDICTIONS", help="Folder in XTREME's layout, or a file of answers."
        ),
    ],
    gold: Annotated[
        Path | None, typer.Option(help="Gold answers for a file of answers.", metavar="FILE")
    ] = None,
    scorer: Annotated[
        str | None,
        typer.Option(help="Scorer for a file of answers (default: squad).", metavar="squad|mlqa"),
    ] = None,
    lang: Annotated[str | None, typer.Option(help="Language of a file of answers.")] = None,
    split: Split = None,
    data: Data = None,
    cache_dir: CacheDir = None,
    offline: Offline = False,
) -> None:
    """Score predictions that are on disk by the official scorers; prints JSON, in percent.

    DIR holds `<task>/test-<lang>.json|jsonl|tsv`, as XTREME's own evaluate.py reads it. One file of
    answers, `{question id: answer}`, is scored against --gold.
    """
    with errors():
        from harness.data.folders import data_location
        from harness.errors import UsageError
        from harness.results.averages import averages, in_words
        from harness.results.predictions import check_scored, score_file, score_folder

        if gold is not None:
            name = scorer or "squad"
            scored = score_file(path, gold, scorer=name, lang=lang)
            print_notes(scored.notes)
            print_json({name: {lang or "all": dict(scored.values)}})
            return
        for flag, value in (("--lang", lang), ("--scorer", scorer)):
            if value is not None:
                raise UsageError(
                    f"{flag} is for a file of answers: give --gold too, or leave it out"
                )
        found = score_folder(
            path, split=split, location=data_location(data, cache_dir, offline=offline)
        )
        print_notes([*found.notes, *map(in_words, averages(found.values))])
        print_json(found.values)
        check_scored(found)


def export(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A results folder or file.")],
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Where the predictions go.")],
    data: Data = None,
    cache_dir: CacheDir = None,
    offline: Offline = False,
) -> None:
    """Write a run's predictions in XTREME's layout, for its own evaluate.py."""
    with errors():
        from harness.data.folders import data_location
        from harness.results.export import export as exported

        done = exported(run, folder, location=data_location(data, cache_dir, offline=offline))
        print_notes(done.notes)
        for path in done.files:
            echo(path)


def _files(display: Display) -> list[Path]:
    return [
        planned.file.path for plan in display.plans for task in plan.tasks for planned in task.jobs
    ]


def _print_files(display: Display) -> None:
    """Print on stderr where the files are and what to run next."""
    files = _files(display)
    for file in files:
        display.console.print(f"{file}", soft_wrap=True, markup=False)
    if files:
        folder = quote(str(files[0].parent))
        display.console.print(f"next: xharness show {folder}", soft_wrap=True, markup=False)
