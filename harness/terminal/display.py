"""What a run shows while it goes: the plan, and live progress, on stderr."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from harness.terminal.console import megabytes, percent
from harness.terminal.tables import summary

if TYPE_CHECKING:
    import pyarrow as pa

    from harness.evaluation.jobs import Job
    from harness.evaluation.plan import Plan
    from harness.training.target import Tuning
    from harness.training.trainer import Told


class TextsColumn(ProgressColumn):
    """Texts done, and per second. The bar goes by characters, since texts differ in length."""

    def render(self, task: Task) -> Text:
        """Such as ``1,200/7,000 texts 85/s``."""
        done, total = task.fields["texts"], task.fields["total_texts"]
        rate = f" {done / task.elapsed:,.0f}/s" if task.elapsed and done else ""
        return Text(f"{done:,}/{total:,} texts{rate}", style="progress.download")


class Display:
    """Reports a run on stderr: live on a terminal, a line per finished task in a pipe."""

    def __init__(self, *, quiet: bool = False, verbose: bool = False) -> None:
        self.console = Console(stderr=True, quiet=quiet, highlight=False)
        self._verbose = verbose
        self._progress: Progress | None = None
        self._bar: TaskID | None = None

    def __enter__(self) -> Display:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop()

    def planned(self, plan: Plan) -> None:
        """Say what will run, then start the progress display where there is something to do."""
        for line in describe_plan(plan, verbose=self._verbose):
            self.console.print(line, soft_wrap=True)
        todo = sum(task.todo_characters for task in plan.tasks)
        texts = sum(task.todo_texts for task in plan.tasks)
        if self._progress is not None and self._bar is not None:  # one bar for several models
            bar = self._progress.tasks[0]
            self._progress.update(
                self._bar,
                total=(bar.total or 0) + todo,
                total_texts=bar.fields["total_texts"] + texts,
            )
        elif todo and self.console.is_terminal and not self.console.quiet:
            self._progress = Progress(
                BarColumn(),
                TextsColumn(),
                TimeElapsedColumn(),
                TextColumn("left"),
                TimeRemainingColumn(),
                console=self.console,
                transient=True,
            )
            self._progress.start()
            self._bar = self._progress.add_task("", total=todo, texts=0, total_texts=texts)

    def advance(self, texts: int, characters: int) -> None:
        """Move the bar on."""
        if self._progress is not None and self._bar is not None:
            done = self._progress.tasks[0].fields["texts"] + texts
            self._progress.update(self._bar, advance=characters, texts=done)

    def finished(self, job: Job, table: pa.Table) -> None:
        """One line per finished task."""
        shown = summary(table.to_pylist())
        if shown:
            row = shown[0]
            layer = f" layer {row['layer']}" if row["layer"] is not None else ""
            self.console.print(
                f"  [green]✓[/] {job.card.name}{layer}: {row['metric']} {percent(row['mean'])}"
            )

    @contextmanager
    def tuning(self, tuning: Tuning) -> Iterator[Told]:
        """Say what is trained and how it goes; the bar of the run stands still meanwhile."""
        from harness.training.progress import Progress as Training

        training = Training(quiet=self.console.quiet)
        if tuning.done:
            yield training
            return
        running = self._progress
        if running is not None:
            running.stop()
        with training:
            training.say(f"tuning on {tuning.recipe.train}, seed {tuning.seed}")
            yield training
        if running is not None:
            running.start()

    def _stop(self) -> None:
        if self._progress is not None:
            self._progress.stop()
            self._progress = None


def describe_plan(plan: Plan, *, verbose: bool = False) -> list[str]:
    """What will run, line by line, with rich's markup."""
    checkpoint, request = plan.checkpoint, plan.request
    millions = f"{checkpoint.parameters / 1e6:,.1f}M parameters"
    lines = [
        f"[bold]{escape(checkpoint.id)}[/] at {escape(checkpoint.revision)}"
        f" ({escape(checkpoint.model_type)}, {millions})",
        f"  protocol {request.protocol.name}, dtype {request.protocol.dtype},"
        f" device {request.device}",
    ]
    if checkpoint.base is not None:
        lines.append(
            f"  adapter on {escape(checkpoint.base.id)} at {escape(checkpoint.base.revision)}"
        )
    lines += [_tuning_line(tuning) for tuning in plan.tunings.values()]
    for task in plan.tasks:
        jobs = task.jobs
        first = jobs[0]
        signature = first.signature if len(jobs) == 1 else f"{len(jobs)} layers"
        layer = f", layer {first.layer}" if len(jobs) == 1 and task.card.lengths else ""
        done = min(len(task.done[job.signature] & set(task.units)) for job in jobs)
        state = "done already" if done == len(task.units) else f"{task.todo_texts:,} texts to do"
        if 0 < done < len(task.units):
            state += f", {done} of {len(task.units)} languages done"
        tuned = f", tuned on {task.recipe.train}" if task.recipe else ""
        lines.append(
            f"  {task.card.name} [dim]{signature}[/]: {_count(len(task.units), 'language')}{layer}"
            f"{tuned}, {task.texts:,} distinct texts, {state}"
        )
        lines += [f"    [yellow]note[/] {escape(note)}" for note in task.loaded.notes]
        for job in jobs if verbose or len(jobs) == 1 else ():
            lines += [f"    [yellow]not ranked[/] {escape(reason)}" for reason in job.custom]
    lines += [f"  [yellow]note[/] {escape(remark)}" for remark in plan.checkpoint.remarks]
    for name, downloads in plan.downloads.items():
        size = sum(download.size or 0 for download in downloads)
        known = "" if all(download.size for download in downloads) else " or more"
        lines.append(
            f"  {name}: to download, {_count(len(downloads), 'file')}, {megabytes(size)}{known}"
        )
    lines += [
        f"  {task} [dim]does not apply[/]: {escape(why)}" for task, why in plan.inapplicable.items()
    ]
    lines += [f"  [red]{task} missing[/]: {escape(why)}" for task, why in plan.missing.items()]
    lines += [f"  [red]{task} broken[/]: {escape(why)}" for task, why in plan.broken.items()]
    lines += [f"  [yellow]left out[/]: {escape(why)}" for why in plan.left_out.values()]
    return lines


def _tuning_line(tuning: Tuning) -> str:
    recipe, settings = tuning.recipe, tuning.recipe.recipe
    windows = " or more" if recipe.card.kind == "span" else ""  # of a long context several
    size = (
        f"{tuning.examples:,} examples, {settings.epochs:g} epochs, {tuning.steps:,} steps{windows}"
    )
    if tuning.done:
        state = f"trained already ({tuning.folder})"
    else:
        saved = f", goes on after step {tuning.saved:,}" if tuning.saved else ""
        state = f"to train into {tuning.folder}{saved}"
    head = "fresh QA head" if recipe.card.kind == "span" else "dual encoder"
    return (
        f"  {head} by {recipe.name} on {recipe.train}, seed {tuning.seed}: {size}, {escape(state)}"
    )


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"
