"""Commands about tasks, downloads and this machine."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from harness.commands.options import CacheDir, Data, Format, Offline, completed, with_options
from harness.commands.outputs import echo, errors, print_json, print_notes
from harness.evaluation.options import Options


def tasks(
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="[NAME]",
            help="A task or suite.",
            autocompletion=lambda incomplete: sorted(
                {*completed("tasks", incomplete), *completed("intermediate", incomplete)}
            ),
        ),
    ] = None,
    intermediate: Annotated[
        bool,
        typer.Option(
            "--intermediate", "-i", help="List the intermediate tasks of `xharness train`."
        ),
    ] = False,
    overlap: Annotated[
        bool,
        typer.Option("--overlap", help="Which targets' examples occur in NAME's training data."),
    ] = False,
    data: Data = None,
    cache_dir: CacheDir = None,
    format: Format = "table",
) -> None:
    """List the tasks and suites, or show one card; target tasks, or the intermediate ones.

    With --overlap: of every target whose data lies in --data (or the cache), by language, the share
    of its examples of which a text is in the training data, or shares 13 words in a row with it (26
    characters in scripts without spaces). Nothing is downloaded.
    """
    with errors():
        if overlap:
            _show_overlap(name, data, cache_dir, format)
            return
        from harness.cards.catalogue import card_names, read_card, read_cards, read_suites
        from harness.cards.training import intermediate_names, read_intermediate_suites
        from harness.terminal import training_tasks as listing
        from harness.terminal.console import stdout
        from harness.terminal.tables import card_lines, task_table

        suites = read_suites()
        # A few names are those of a target and of an intermediate task: the target first.
        path = name is not None and name.endswith((".yaml", ".yml"))
        target = path or name in (*suites, *card_names())
        known = (*intermediate_names(), *read_intermediate_suites())
        if intermediate or (name in known and not target):
            if format == "json":
                print_json(listing.data(name))
            else:
                stdout().print(listing.shown(name), soft_wrap=True)
            return
        if name is not None and name not in suites:
            card = read_card(name)
            if format == "json":
                print_json(card.model_dump(mode="json") | {"hash": card.hash})
            else:
                stdout().print("\n".join(card_lines(card)), soft_wrap=True)
            return
        chosen = {name: suites[name]} if name is not None else suites
        cards = read_cards()
        if format == "json":
            print_json(
                {
                    suite: [entry.model_dump(mode="json") for entry in entries]
                    for suite, entries in chosen.items()
                }
            )
            return
        stdout().print(task_table(chosen, cards, everything=name is None))


def _show_overlap(name: str | None, data: Path | None, cache_dir: Path | None, format: str) -> None:
    from harness.data.folders import data_location
    from harness.errors import UsageError
    from harness.terminal import training_tasks as listing
    from harness.terminal.console import stdout
    from harness.training.contamination import as_record, measure
    from harness.training.data.reading import read

    if name is None:
        raise UsageError("--overlap without a name: give an intermediate task or suite")
    location = data_location(data, cache_dir, offline=True)
    cards = listing.cards(name)
    measured = measure(
        [read(card, location) for card in cards], location, lambda text: print_notes([text])
    )
    if format == "json":
        print_json(as_record(measured))
    else:
        declared = {task for card in cards for task in card.contaminates}
        stdout().print(listing.overlap_table(measured, declared))


@with_options(only=("suite", "tasks", "languages", "split", "cache_dir", "finetune"))
def prefetch(
    options: Options,
    models: Annotated[
        list[str] | None, typer.Argument(metavar="[MODEL[@REV]]...", help="Hub ids.")
    ] = None,
    no_data: Annotated[bool, typer.Option("--no-data", help="Download checkpoints only.")] = False,
) -> None:
    """Download checkpoints and task data, for a later run with --offline.

    With --finetune also the data that `eval --finetune` trains on.
    """
    with errors():
        from harness import api
        from harness.evaluation.options import make_request

        request = make_request(replace(options, device="cpu"))
        for line in api.prefetch(models or (), request, with_data=not no_data):
            echo(line)


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
    with errors():
        from harness.commands.doctor import examine
        from harness.terminal.console import stdout

        findings = examine(model, data=data, cache_dir=cache_dir, offline=offline)
        if format == "json":
            print_json(findings)
            return
        for topic, facts in findings.items():
            stdout().print(f"[bold]{topic}[/]")
            for key, value in facts.items():
                stdout().print(f"  {key}: {value}", markup=False, soft_wrap=True)


def cache_ls(cache_dir: CacheDir = None, format: Format = "table") -> None:
    """List what the cache holds, with sizes and ages."""
    with errors():
        from harness.data.folders import cache_folder
        from harness.io.cache import entries
        from harness.terminal.console import stdout
        from harness.terminal.tables import cache_table

        found = entries(cache_folder(cache_dir))
        if format == "json":
            print_json([entry.as_dict() for entry in found])
        else:
            stdout().print(cache_table(found, cache_folder(cache_dir)))


def cache_prune(
    older_than: Annotated[
        float, typer.Option(help="Days since the last use; 0 removes all.", min=0.0)
    ] = 30.0,
    cache_dir: CacheDir = None,
) -> None:
    """Remove vectors and tuned checkpoints that were not used lately.

    All of them are made again when they are needed. Downloads and results are not touched.
    """
    with errors():
        from harness.data.folders import cache_folder
        from harness.io.cache import prune
        from harness.terminal.console import megabytes

        removed = prune(cache_folder(cache_dir), days=older_than)
        kinds = [entry.kind for entry in removed]
        size = megabytes(sum(entry.size for entry in removed)) if removed else "0 MB"
        echo(
            f"removed {kinds.count('vectors')} vector stores, {kinds.count('tokens')} stores of "
            f"keys of token ids and {kinds.count('tuned')} tuned checkpoints, {size}"
        )
