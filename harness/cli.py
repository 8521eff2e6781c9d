"""The command line: parse, call, print. Nothing heavy is imported before a command runs."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from harness.errors import HarnessError, UsageError

app = typer.Typer(
    name="xharness",
    help="Did intermediate-task training help a multilingual encoder? Evaluate any checkpoint on "
    "the XTREME-R retrieval and QA suite.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
)

Tasks = Annotated[list[str] | None, typer.Option("--task", help="A task; repeat for several.")]
Langs = Annotated[list[str] | None, typer.Option("--lang", help="A language; repeat for several.")]
SuiteName = Annotated[str | None, typer.Option(help="A suite of tasks. Default: xtreme-r.")]
Split = Annotated[str | None, typer.Option(help="Another split than the task's own.")]
Data = Annotated[
    Path | None,
    typer.Option(help="Folder with the official files (or set XHARNESS_DATA).", metavar="DIR"),
]
Out = Annotated[Path, typer.Option(help="Where results are kept.", metavar="DIR")]
CacheDir = Annotated[
    Path | None, typer.Option(help="Where downloads and vectors are kept.", metavar="DIR")
]
Offline = Annotated[bool, typer.Option("--offline", help="Make no connection at all.")]
Format = Annotated[str, typer.Option("--format", help="table or json.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing on stderr but errors.")]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Say more on stderr.")]


@app.command(
    epilog="Example: xharness eval sentence-transformers/all-MiniLM-L6-v2 --task tatoeba --lang de"
)
def eval(
    models: Annotated[
        list[str], typer.Argument(metavar="MODEL[@REV]...", help="Hub id or folder.")
    ],
    suite: SuiteName = None,
    tasks: Tasks = None,
    langs: Langs = None,
    split: Split = None,
    protocol: Annotated[str, typer.Option(help="standard or native.")] = "standard",
    pooling: Annotated[str | None, typer.Option(help="mean, cls, max or last.")] = None,
    layer: Annotated[str, typer.Option(help="A layer, auto, or all.")] = "auto",
    prompt_query: Annotated[str | None, typer.Option(help="Put before every query.")] = None,
    prompt_document: Annotated[str | None, typer.Option(help="Put before every document.")] = None,
    dtype: Annotated[str, typer.Option(help="float32, bfloat16 or float16.")] = "float32",
    device: Annotated[str | None, typer.Option(help="cpu, cuda or mps.")] = None,
    batch_tokens: Annotated[
        int | None, typer.Option(help="Tokens a batch; halved when memory runs out.")
    ] = None,
    limit: Annotated[int | None, typer.Option(help="First N queries of each language.")] = None,
    seed: Annotated[int, typer.Option(help="Recorded with the results.")] = 0,
    data: Data = None,
    out: Out = Path("leaderboard/results"),
    cache_dir: CacheDir = None,
    finetune: Annotated[
        bool, typer.Option("--finetune/--no-finetune", help="Train the target heads first.")
    ] = False,
    engine: Annotated[str, typer.Option(help="local or ray.")] = "local",
    offline: Offline = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would run, and stop.")
    ] = False,
    fresh: Annotated[bool, typer.Option("--fresh", help="Run again what is done already.")] = False,
    format: Format = "table",
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Evaluate checkpoints: score them on a suite and keep one Parquet row per example."""
    _check_format(format)
    with _errors():
        from harness import api
        from harness.console import Display, stdout
        from harness.run import check_complete, run

        request = api.make_request(
            suite=suite, tasks=tasks or (), languages=langs or (), split=split, protocol=protocol,
            pooling=pooling, layer=layer, prompt_query=prompt_query,
            prompt_document=prompt_document, dtype=dtype, device=device,
            batch_tokens=batch_tokens, limit=limit, seed=seed, data=data, out=out,
            cache_dir=cache_dir, offline=offline, finetune=finetune, engine=engine, fresh=fresh,
        )  # fmt: skip
        import pyarrow as pa

        if dry_run:
            previews = {model: api.preview(model, request) for model in models}
            if format == "json":
                from rich.text import Text

                _print_json(
                    {
                        model: [Text.from_markup(line).plain for line in lines]
                        for model, lines in previews.items()
                    }
                )
            else:
                lines = [line for preview in previews.values() for line in preview]
                stdout().print("\n".join(lines), soft_wrap=True)
            return
        models = list(dict.fromkeys(models))
        plans, tables = [], []
        display = Display(quiet=quiet, verbose=verbose)
        try:
            with display:
                for model in models:
                    plans.append(api.plan(model, request))
                    tables.append(run(plans[-1], display))
        finally:  # also the scores of the models before one that failed
            if tables:
                rows = [row for table in tables for row in table.to_pylist()]
                _print_scores(rows, format, headed=len(models) > 1)
                if format == "table":
                    _where(plans[: len(tables)], display)
        scores = pa.concat_tables(tables)
        for plan in plans:
            check_complete(plan, scores)


@app.command(epilog="Example: xharness show leaderboard/results")
def show(
    path: Annotated[Path, typer.Argument(metavar="DIR|RUN", help="A results folder or file.")],
    format: Format = "table",
) -> None:
    """Show the scores of what is on disk; nothing is run."""
    _check_format(format)
    with _errors():
        from harness.scoring import scores

        _print_scores(scores(path).to_pylist(), format, headed=True)


@app.command(epilog="Example: xharness score predictions/")
def score(
    path: Annotated[
        Path,
        typer.Argument(metavar="DIR|PREDICTIONS", help="XTREME's layout, or one file of answers."),
    ],
    gold: Annotated[
        Path | None, typer.Option(help="Gold of one file of answers.", metavar="FILE")
    ] = None,
    scorer: Annotated[str, typer.Option(help="squad or mlqa, for one file of answers.")] = "squad",
    lang: Annotated[str | None, typer.Option(help="Language of one file of answers.")] = None,
    split: Split = None,
    data: Data = None,
    cache_dir: CacheDir = None,
    offline: Offline = False,
) -> None:
    """Score predictions that are on disk by the official scorers; prints JSON, in percent.

    DIR holds `<task>/test-<lang>.json|tsv`, as XTREME's own evaluate.py reads it. One file of
    answers, `{question id: answer}`, is scored against --gold.
    """
    with _errors():
        from harness import api
        from harness.predictions import check_gold, score_file, score_folder

        if gold is not None:
            scored = score_file(path, gold, scorer=scorer, lang=lang)
            _print_notes(scored.notes)
            _print_json({scorer: {lang or "all": dict(scored.values)}})
            return
        where = api.where(data, cache_dir, offline=offline)
        found = score_folder(path, split=split, where=where)
        _print_notes(found.notes)
        _print_json(found.values)
        check_gold(found)


@app.command(
    epilog="Example: xharness export leaderboard/results/org__name/0123456789ab predictions/"
)
def export(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A results folder or file.")],
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Where the predictions go.")],
    data: Data = None,
    cache_dir: CacheDir = None,
    offline: Offline = False,
) -> None:
    """Write a run's predictions in XTREME's layout, for its own evaluate.py."""
    with _errors():
        from harness import api
        from harness.export import export as exported

        done = exported(run, folder, where=api.where(data, cache_dir, offline=offline))
        _print_notes(done.notes)
        for path in done.files:
            typer.echo(path)


@app.command(epilog="Example: xharness tasks lareqa")
def tasks(
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="A task or suite.")] = None,
    format: Format = "table",
) -> None:
    """List the tasks and suites, or show one card."""
    _check_format(format)
    with _errors():
        from harness.cards import read_card, read_cards, read_suites
        from harness.console import card_lines, stdout, task_table

        suites = read_suites()
        if name is not None and name not in suites:
            card = read_card(name)
            if format == "json":
                _print_json(card.model_dump(mode="json") | {"hash": card.hash})
            else:
                stdout().print("\n".join(card_lines(card)), soft_wrap=True)
            return
        chosen = {name: suites[name]} if name is not None else suites
        cards = read_cards()
        if format == "json":
            _print_json(
                {
                    suite: [entry.model_dump(mode="json") for entry in entries]
                    for suite, entries in chosen.items()
                }
            )
            return
        stdout().print(task_table(chosen, cards, everything=name is None))


@app.command(epilog="Example: xharness prefetch sentence-transformers/LaBSE --suite xtreme-r")
def prefetch(
    models: Annotated[
        list[str] | None, typer.Argument(metavar="[MODEL[@REV]]...", help="Hub ids.")
    ] = None,
    suite: SuiteName = None,
    tasks: Tasks = None,
    langs: Langs = None,
    split: Split = None,
    cache_dir: CacheDir = None,
    no_data: Annotated[bool, typer.Option("--no-data", help="Checkpoints only.")] = False,
) -> None:
    """Download checkpoints and task data, for a later run with --offline."""
    with _errors():
        from harness import api

        request = api.make_request(
            suite=suite, tasks=tasks or (), languages=langs or (), split=split,
            cache_dir=cache_dir, device="cpu",
        )  # fmt: skip
        for line in api.prefetch(models or (), request, with_data=not no_data):
            typer.echo(line)


@app.command(epilog="Example: xharness doctor sentence-transformers/all-MiniLM-L6-v2")
def doctor(
    model: Annotated[
        str | None, typer.Argument(metavar="[MODEL]", help="Also vet this checkpoint.")
    ] = None,
    data: Data = None,
    cache_dir: CacheDir = None,
    offline: Offline = False,
    format: Format = "table",
) -> None:
    """Check this machine, its caches and data, and whether a checkpoint can be evaluated."""
    _check_format(format)
    with _errors():
        from harness.console import stdout
        from harness.doctor import examine

        findings = examine(model, data=data, cache_dir=cache_dir, offline=offline)
        if format == "json":
            _print_json(findings)
            return
        for topic, facts in findings.items():
            stdout().print(f"[bold]{topic}[/]")
            for key, value in facts.items():
                stdout().print(f"  {key}: {value}", markup=False, soft_wrap=True)


BoardRoot = Annotated[
    Path, typer.Option("--root", help="Holds leaderboard/ and submissions/.", metavar="DIR")
]


@app.command(epilog="Example: xharness leaderboard --check")
def leaderboard(
    check: Annotated[
        bool, typer.Option("--check", help="Write nothing; exit 1 and name what is stale.")
    ] = False,
    root: BoardRoot = Path("."),
    cache_dir: CacheDir = None,
) -> None:
    """Rebuild the leaderboard from outcomes and submissions; prints the files that changed."""
    with _errors():
        from harness.api import cache_folder
        from harness.board.build import leaderboard as rebuilt

        for path in rebuilt(root, check=check, cache=cache_folder(cache_dir) / "board"):
            typer.echo(path)


@app.command(epilog="Example: xharness verify")
def verify(root: BoardRoot = Path(".")) -> None:
    """Recompute every score of the leaderboard from its outcomes; exit 1 where one differs."""
    with _errors():
        from harness.board.build import verify as verified

        typer.echo(f"{verified(root):,} scores are what the outcomes give")


@app.command(epilog="Example: xharness compare org/variant org/base --by-language")
def compare(
    a: Annotated[str, typer.Argument(metavar="A", help="An id, id@rev, slug or results folder.")],
    b: Annotated[str, typer.Argument(metavar="B", help="What A is compared with.")],
    by_language: Annotated[
        bool, typer.Option("--by-language", help="Also every language of every task.")
    ] = False,
    root: BoardRoot = Path("."),
    out: Out = Path("leaderboard/results"),
    cache_dir: CacheDir = None,
    format: Format = "table",
) -> None:
    """Compare two checkpoints example by example: paired differences with intervals and tests."""
    _check_format(format)
    with _errors():
        from harness.api import cache_folder
        from harness.board.compare import compare as compared
        from harness.board.report import compared_data, compared_tables
        from harness.console import stdout
        from harness.submission import read_submissions

        found = compared(
            a, b, results=root / out, submissions=read_submissions(root / "submissions"),
            cache=cache_folder(cache_dir) / "board",
        )  # fmt: skip
        if format == "json":
            _print_json(compared_data(found))
            return
        for line in compared_tables(found, by_language=by_language):
            stdout().print(line)


@app.command(epilog="Example: xharness contrast --format json")
def contrast(
    root: BoardRoot = Path("."), cache_dir: CacheDir = None, format: Format = "table"
) -> None:
    """The named contrasts between kinds of intermediate training, per base."""
    _check_format(format)
    with _errors():
        from harness.api import cache_folder
        from harness.board.build import read_contrasts
        from harness.board.report import contrast_data, contrast_table
        from harness.console import stdout

        found = read_contrasts(root, cache_folder(cache_dir) / "board")
        if format == "json":
            _print_json(contrast_data(found))
        else:
            stdout().print(contrast_table(found))


cache_app = typer.Typer(
    help="What is kept between runs: downloads and vectors.", no_args_is_help=True
)
app.add_typer(cache_app, name="cache")


@cache_app.command("ls", epilog="Example: xharness cache ls")
def cache_ls(cache_dir: CacheDir = None, format: Format = "table") -> None:
    """List what the cache holds, with sizes and ages."""
    _check_format(format)
    with _errors():
        from harness.api import cache_folder
        from harness.console import cache_table, stdout
        from harness.storage import entries

        found = entries(cache_folder(cache_dir))
        if format == "json":
            _print_json([entry.as_dict() for entry in found])
        else:
            stdout().print(cache_table(found, cache_folder(cache_dir)))


@cache_app.command("prune", epilog="Example: xharness cache prune --older-than 30")
def cache_prune(
    older_than: Annotated[
        float, typer.Option(help="Days without use; 0 removes all vectors.", min=0.0)
    ] = 30.0,
    cache_dir: CacheDir = None,
) -> None:
    """Remove vectors that were not used lately. Downloads and results are not touched."""
    with _errors():
        from harness.api import cache_folder
        from harness.console import megabytes
        from harness.storage import prune

        freed, removed = prune(cache_folder(cache_dir), days=older_than)
        typer.echo(f"removed {removed} vector stores, {megabytes(freed) if removed else '0 MB'}")


def _where(plans: list[Any], display: Any) -> None:
    """Where the files are and what to run next, on stderr."""
    files = [
        job.file(plan.request.out).path
        for plan in plans
        for task in plan.tasks
        for job in task.jobs
    ]
    for file in files:
        display.console.print(f"{file}", soft_wrap=True, markup=False)
    if files:
        display.console.print(
            f"next: xharness show {files[0].parent}", soft_wrap=True, markup=False
        )


def _print_scores(rows: list[dict[str, Any]], format: str, *, headed: bool) -> None:
    """The scores as JSON, or as one table a model, under its name where ``headed``."""
    if format == "json":
        _print_json(rows)
        return
    from rich.text import Text

    from harness.console import score_table, stdout

    models: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        models.setdefault(f"{row['model']} at {row['revision']}", []).append(row)
    for model, members in models.items():
        if headed:
            stdout().print(Text(model, style="bold"), soft_wrap=True)
        stdout().print(score_table(members))


def _print_notes(notes: Iterable[str]) -> None:
    for note in notes:
        typer.echo(f"note: {note}", err=True)


def _print_json(value: Any) -> None:
    import json

    from harness.console import discard_stdout

    text = json.dumps(value, ensure_ascii=False, indent=1, allow_nan=False)
    try:
        sys.stdout.write(f"{text}\n")
        sys.stdout.flush()
    except BrokenPipeError:
        discard_stdout()


def _check_format(format: str) -> None:
    if format not in ("table", "json"):
        with _errors():
            raise UsageError(f"--format {format}: give table or json")


@contextmanager
def _errors() -> Iterator[None]:
    """Turn an error that a user is meant to read into one line and its exit code."""
    try:
        yield
    except HarnessError as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(error.exit_code) from error
    except KeyboardInterrupt as error:
        typer.echo("interrupted: run the same command again to go on", err=True)
        raise typer.Exit(130) from error
    except BrokenPipeError as error:
        raise typer.Exit(0) from error
    except OSError as error:
        where = f" {error.filename}" if error.filename else ""
        reason = error.strerror or str(error)
        typer.echo(f"error: cannot use{where}: {reason}; check path, rights and space", err=True)
        raise typer.Exit(5) from error


def _version(value: bool) -> None:
    if value:
        from harness import __version__

        typer.echo(f"xharness {__version__}")
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
    if sys.stdout is None:  # closed by the caller: nobody is there to read
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115
    try:
        code = app(standalone_mode=False)
    except Exception as error:
        # typer brings click's errors under a name of its own, which is not public.
        message = getattr(error, "format_message", None)
        if message is None:
            raise
        if type(error).__name__ == "NoArgsIsHelpError":
            typer.echo(message(), err=True)
        else:
            context = getattr(error, "ctx", None)
            where = context.command_path if context is not None else "xharness"
            text = " ".join(message().split()).rstrip(".")
            typer.echo(f"error: {text}; see `{where} --help`", err=True)
        code = getattr(error, "exit_code", 2)
    sys.exit(code if isinstance(code, int) else 0)
