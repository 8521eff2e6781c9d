"""Writes a plan in words: what will run, line by line, with rich's markup."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.markup import escape

from harness.evaluation.gaps import by_task
from harness.evaluation.summary import PlanSummary
from harness.terminal.console import counted, duration, megabytes

if TYPE_CHECKING:
    from harness.evaluation.estimate import Estimate
    from harness.evaluation.summary import DownloadSummary, TaskSummary, TuningSummary, Waiting

# Kind of head → what a recipe trains, in words.
HEADS = {
    "span": "fresh QA head",
    "dual_encoder": "dual encoder",
    "classification": "fresh classification head",
    "multiple_choice": "fresh multiple choice head",
    "tagging": "fresh tagging head",
}


def describe(summary: PlanSummary | DownloadSummary) -> list[str]:
    """Return the lines on what will run, or on what is to be downloaded first."""
    if isinstance(summary, PlanSummary):
        return describe_plan(summary)
    return _describe_downloads(summary)


def describe_plan(plan: PlanSummary, *, verbose: bool = False) -> list[str]:
    """Return the lines on what will run.

    ``verbose``: why rows are not ranked is said even where there are several layers.
    """
    lines = [
        f"[bold]{escape(plan.model)}[/] at {escape(plan.revision)}"
        f" ({escape(plan.model_type)}, {plan.parameters / 1e6:,.1f}M parameters)",
        f"  protocol {plan.protocol}, dtype {plan.dtype}, device {plan.device}",
    ]
    if plan.base is not None:
        base, _, revision = plan.base.rpartition("@")
        lines.append(f"  adapter on {escape(base)} at {escape(revision)}")
    lines += [_tuning_line(tuning) for tuning in plan.tunings]
    for task in plan.tasks:
        lines.append(_task_line(task))
        lines += [f"    [yellow]note[/] {escape(note)}" for note in task.notes]
        if verbose or len(task.signatures) == 1:
            reasons = [why for every in task.unranked_reasons.values() for why in every]
            lines += [f"    [yellow]not ranked[/] {escape(why)}" for why in reasons]
    lines += [f"  [yellow]note[/] {escape(remark)}" for remark in plan.remarks]
    lines += [f"  {name}: {_download(waiting)}" for name, waiting in plan.downloads.items()]
    lines += [
        f"  {task} [dim]does not apply[/]: {escape(why)}" for task, why in plan.inapplicable.items()
    ]
    for what, lacking in (("missing", plan.missing), ("broken", plan.broken)):
        lines += [
            f"  [red]{task} {what}[/]: {escape(why)}" for task, why in by_task(lacking).items()
        ]
    lines += [f"  [yellow]left out[/]: {escape(why)}" for why in plan.left_out.values()]
    return [*lines, *_estimate_lines(plan.estimate)]


def _estimate_lines(estimate: Estimate | None) -> list[str]:
    if estimate is None:
        return []
    shown = {
        "time": estimate.seconds and duration(estimate.seconds),
        "memory": estimate.memory and megabytes(estimate.memory),
        "GPU memory": estimate.device_memory and megabytes(estimate.device_memory),
        "vectors on disk": estimate.vectors and megabytes(estimate.vectors),
        "rows on disk": estimate.rows and f"up to {megabytes(estimate.rows)}",
        "tuned checkpoints on disk": estimate.checkpoints and megabytes(estimate.checkpoints),
    }
    figures = ", ".join(f"{name} {size}" for name, size in shown.items() if size)
    lines = [f"  [bold]about[/] {figures}", f"    {estimate.how}"]
    slow = [f"{one.task} ({one.track}) {duration(one.seconds)}" for one in estimate.tasks]
    lines += [f"    {', '.join(slow)}"] if len(slow) > 1 else []
    return [*lines, *(f"    [yellow]not counted[/] {escape(what)}" for what in estimate.uncounted)]


def _describe_downloads(summary: DownloadSummary) -> list[str]:
    lines = [
        f"{summary.model} at {summary.revision}: {_download(summary.waiting)}; its layer, "
        "signatures, time and memory are known when it is there"
    ]
    lines += [f"  left out: {why}" for why in summary.left_out.values()]
    for task in summary.tasks:
        languages = counted(len(task.languages), "language")
        lines.append(f"  {task.task}: {languages}, {_download(task.waiting)}")
        lines += [
            f"    tuned by {recipe} on {train}: {_download(waiting)}"
            for recipe, (train, waiting) in task.recipes.items()
        ]
    return lines


def _task_line(task: TaskSummary) -> str:
    several = len(task.signatures) > 1
    signature = f"{len(task.signatures)} layers" if several else task.signatures[0]
    layer = "" if task.layer is None else f", layer {task.layer}"
    done, all_of_them = len(task.finished), len(task.languages)
    state = "done already" if done == all_of_them else f"{counted(task.texts_to_do, 'text')} to do"
    if 0 < done < all_of_them:
        state += f", {done} of {counted(all_of_them, 'language')} done"
    tuned = f", tuned on {task.tuned_on}" if task.tuned_on else ""
    return (
        f"  {task.task} [dim]{signature}[/]: {counted(all_of_them, 'language')}{layer}"
        f"{tuned}, {counted(task.texts, 'distinct text')}, {state}"
    )


def _tuning_line(tuning: TuningSummary) -> str:
    windows = " or more" if tuning.kind == "span" else ""  # A long context has several windows.
    size = (
        f"{counted(tuning.examples, 'example')}, {tuning.epochs:g} epoch"
        f"{'s' * (tuning.epochs != 1)}, {counted(tuning.steps, 'step')}{windows}"
    )
    if tuning.done:
        state = f"trained already ({tuning.folder})"
    else:
        saved = f", goes on after step {tuning.saved:,}" if tuning.saved else ""
        state = f"to train into {tuning.folder}{saved}"
    head = HEADS[tuning.kind]
    by = f"{head} by {tuning.recipe} on {tuning.train}, seed {tuning.seed}"
    return f"  {by}: {size}, {escape(state)}"


def _download(waiting: Waiting) -> str:
    if not waiting.files:
        return "data there"
    more = "" if waiting.sizes_known else " or more"
    return f"to download, {counted(waiting.files, 'file')}, {megabytes(waiting.bytes)}{more}"
