"""What is still to do, for a cluster that another program runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from harness.commands.options import (
    BatchTokens,
    CacheDir,
    Data,
    Device,
    Dtype,
    Finetune,
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
    Seed,
    Split,
    SuiteName,
    Tasks,
)
from harness.commands.outputs import errors, print_notes


def plan(
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
    device: Device = None,
    batch_tokens: BatchTokens = None,
    limit: Limit = None,
    seed: Seed = 0,
    data: Data = None,
    out: Out = Path("leaderboard/results"),
    cache_dir: CacheDir = None,
    finetune: Finetune = False,
    offline: Offline = False,
    format: Annotated[str, typer.Option("--format", help="table or jsonl.")] = "table",
) -> None:
    """List what `eval` with these options has still to do; nothing is run.

    With --format jsonl one line for each language of each task: its size, and in `command` the
    command that does just that. They may run in any order and at once, on machines that share --out
    and --cache-dir, and end with the files and metrics of one `eval` (vectors agree within 1e-5,
    since other texts are in a batch). Without vectors of its candidates each command makes them:
    let one of a task go first.
    """
    with errors():
        from harness import api
        from harness.errors import UsageError
        from harness.evaluation.options import make_request
        from harness.evaluation.run import check_complete

        if format not in ("table", "jsonl"):
            raise UsageError(f"--format {format}: give table or jsonl")
        # The nodes' device is theirs: it is repeated in the commands, and decides nothing here.
        request = make_request(
            suite=suite, tasks=tasks or (), languages=langs or (), split=split, protocol=protocol,
            pooling=pooling, layer=layer, prompt_query=prompt_query,
            prompt_document=prompt_document, dtype=dtype, device="cpu",
            batch_tokens=batch_tokens, limit=limit, seed=seed, data=data, out=out,
            cache_dir=cache_dir, offline=offline, finetune=finetune,
        )  # fmt: skip
        given = {
            "--suite": suite, "--split": split, "--protocol": protocol, "--pooling": pooling,
            "--layer": layer, "--prompt-query": prompt_query, "--prompt-document": prompt_document,
            "--dtype": dtype, "--device": device, "--batch-tokens": batch_tokens, "--limit": limit,
            "--seed": seed, "--data": data, "--out": out, "--cache-dir": cache_dir,
        }  # fmt: skip
        words = _words(given)
        words += ["--finetune"] * finetune + ["--offline"] * offline
        plans = {model: api.plan_request(model, request) for model in dict.fromkeys(models)}
        if format == "jsonl":
            _print_lines(plans, words)
        else:
            _print_table(plans.values())
        for made in plans.values():
            print_notes(f"{task} does not apply: {why}" for task, why in made.inapplicable.items())
            print_notes(f"left out: {why}" for why in made.left_out.values())
        for made in plans.values():
            check_complete(made, None)


# Options that `eval` takes to be so when they are left out.
DEFAULTS = {"--protocol": "standard", "--layer": "auto", "--dtype": "float32", "--seed": 0}


def _words(given: dict[str, Any]) -> list[str]:
    words = []
    for name, value in given.items():
        if value is not None and value != DEFAULTS.get(name):
            text = str(value)
            words += [f"{name}={text}"] if text.startswith("-") else [name, text]
    return words


def _print_lines(plans: dict[str, Any], words: list[str]) -> None:
    import json
    import sys
    from dataclasses import asdict

    from harness.evaluation.remaining import remaining
    from harness.terminal.console import discard_stdout

    try:
        for model, made in plans.items():
            for shard in remaining(made, model, words):
                sys.stdout.write(json.dumps(asdict(shard), ensure_ascii=False) + "\n")
        sys.stdout.flush()
    except BrokenPipeError:
        discard_stdout()


def _print_table(plans: Any) -> None:
    from rich.table import Table

    from harness.terminal.console import stdout

    table = Table(box=None, pad_edge=False, header_style="bold", show_edge=False)
    for name in ("model", "task", "track", "to do", "finished", "texts"):
        table.add_column(name, justify="left" if name in ("model", "task", "track") else "right")
    for made in plans:
        for task in made.tasks:
            left = len(task.unfinished)
            table.add_row(
                made.checkpoint.label, task.card.name, task.jobs[0].track, str(left),
                str(len(task.units) - left), f"{task.todo_texts:,}",
            )  # fmt: skip
    stdout().print(table)
