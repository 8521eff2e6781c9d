"""What is still to do, for a cluster that another program runs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

from harness.commands.options import Models, print_format, with_options
from harness.commands.outputs import echo, errors, print_notes
from harness.evaluation.options import Options, shown_options

if TYPE_CHECKING:
    from harness.evaluation.planned import Plan

# The commands that are printed run alone, each on a machine of its own.
NOT_HANDED_ON = ("workers", "fresh", "engine", "smoke")


@with_options(without=NOT_HANDED_ON)
def plan(
    models: Models,
    options: Options,
    format: Annotated[str, print_format("table", "jsonl")] = "table",
) -> None:
    """List what `eval` with these options has still to do; nothing is run.

    With --format jsonl one line for each language of each task: its size, and in `command` the
    command that does just that. They may run in any order and at once, on machines that share --out
    and --cache-dir, and end with the files and metrics of one `eval` (vectors agree within 1e-5,
    since other texts are in a batch). Without vectors of its candidates each command makes them:
    let one of a task go first.
    """
    with errors():
        from harness.evaluation.models import plan_model
        from harness.evaluation.options import make_request
        from harness.evaluation.run import check_complete

        # The nodes' device is theirs: it is repeated in the commands, and decides nothing here.
        request = make_request(replace(options, device="cpu"))
        plans = {model: plan_model(model, request) for model in dict.fromkeys(models)}
        if format == "jsonl":
            _print_lines(plans, _words(options))
        else:
            _print_table(plans.values())
        for one in plans.values():
            print_notes(
                f"{task} does not apply: {why}" for task, why in one.gaps.inapplicable.items()
            )
            print_notes(f"left out: {why}" for why in one.gaps.left_out.values())
        for one in plans.values():
            check_complete(one, None)


def _words(options: Options) -> list[str]:
    """The options of each command besides its task and language, without those left out."""
    words = []
    for name, declared in shown_options().items():
        value, default = getattr(options, name), getattr(Options(), name)
        if name in ("tasks", "languages") or str(value) == str(default):
            continue
        flag = declared.flag.partition("/")[0] or f"--{name.replace('_', '-')}"
        text = str(value)
        if value is True:
            words.append(flag)
        else:
            words += [f"{flag}={text}"] if text.startswith("-") else [flag, text]
    return words


def _print_lines(plans: Mapping[str, Plan], words: list[str]) -> None:
    import json
    from dataclasses import asdict

    from harness.evaluation.remaining import remaining

    for model, one in plans.items():
        for shard in remaining(one, model, words):
            echo(json.dumps(asdict(shard), ensure_ascii=False))


def _print_table(plans: Iterable[Plan]) -> None:
    from harness.terminal.console import plain_table, stdout

    numbers = ("to do", "finished", "texts")
    table = plain_table("model", "task", "track", *numbers, right=numbers)
    for one in plans:
        for task in one.tasks:
            left = len(task.unfinished)
            table.add_row(
                one.checkpoint.label, task.card.name, task.jobs[0].job.track, str(left),
                str(len(task.units) - left), f"{task.todo_texts:,}",
            )  # fmt: skip
    stdout().print(table)
