"""Commands that measure, and that read and write what was measured."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from harness.commands.options import (
    BatchTokens,
    CacheDir,
    Data,
    Devices,
    Dtype,
    Finetune,
    Format,
    Langs,
    Layer,
    Limit,
    Models,
    Offline,
    Out,
    Pooling,
    PromptDocument,
    PromptQuery,
    ProtocolName,
    Quiet,
    Seed,
    Split,
    SuiteName,
    Tasks,
    Verbose,
    Workers,
)
from harness.commands.outputs import check_format, errors, print_json, print_notes, print_scores


def eval(
    models: Models,
    suite: SuiteName = None,
    tasks: Tasks = None,
    langs: Langs = None,
    split: Split = None,
    protocol: ProtocolName = "standard",
    pooling: Pooling = None,
    layer: Layer = "auto",
    prompt_query: PromptQuery = None,
    prompt_document: PromptDocument = None,
    dtype: Dtype = "float32",
    device: Devices = None,
    workers: Workers = None,
    batch_tokens: BatchTokens = None,
    limit: Limit = None,
    seed: Seed = 0,
    data: Data = None,
    out: Out = Path("leaderboard/results"),
    cache_dir: CacheDir = None,
    finetune: Finetune = False,
    engine: Annotated[
        str, typer.Option(help="local, or ray: a cluster (RAY_ADDRESS) or all of this machine.")
    ] = "local",
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
    check_format(format)
    with errors():
        from harness import api
        from harness.evaluation.engines import choose
        from harness.evaluation.options import make_request
        from harness.evaluation.run import check_complete
        from harness.terminal.console import stdout
        from harness.terminal.display import Display

        request = make_request(
            suite=suite, tasks=tasks or (), languages=langs or (), split=split, protocol=protocol,
            pooling=pooling, layer=layer, prompt_query=prompt_query,
            prompt_document=prompt_document, dtype=dtype, device=device, workers=workers,
            batch_tokens=batch_tokens, limit=limit, seed=seed, data=data, out=out,
            cache_dir=cache_dir, offline=offline, finetune=finetune, engine=engine, fresh=fresh,
        )  # fmt: skip
        import pyarrow as pa

        if dry_run:
            previews = {model: api.preview(model, request) for model in models}
            if format == "json":
                from rich.text import Text

                print_json(
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
                made = (api.plan_request(model, request) for model in models)
                for plan, table in choose(engine)(made, display):
                    plans.append(plan)
                    tables.append(table)
        finally:  # also the scores of the models before one that failed
            if tables:
                rows = [row for table in tables for row in table.to_pylist()]
                print_scores(rows, format, headed=len(models) > 1)
                if format == "table":
                    _where(plans, display)
        scores = pa.concat_tables(tables)
        for plan in plans:
            check_complete(plan, scores)


def show(
    path: Annotated[Path, typer.Argument(metavar="DIR|RUN", help="A results folder or file.")],
    format: Format = "table",
) -> None:
    """Show the scores of what is on disk; nothing is run."""
    check_format(format)
    with errors():
        from harness.results.scores import scores

        print_scores(scores(path).to_pylist(), format, headed=True)


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
    with errors():
        from harness.data.folders import where
        from harness.results.predictions import check_scored, score_file, score_folder

        if gold is not None:
            scored = score_file(path, gold, scorer=scorer, lang=lang)
            print_notes(scored.notes)
            print_json({scorer: {lang or "all": dict(scored.values)}})
            return
        found = score_folder(path, split=split, where=where(data, cache_dir, offline=offline))
        print_notes(found.notes)
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
        from harness.data.folders import where
        from harness.results.export import export as exported

        done = exported(run, folder, where=where(data, cache_dir, offline=offline))
        print_notes(done.notes)
        for path in done.files:
            typer.echo(path)


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
