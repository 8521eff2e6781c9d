"""Shows a run on stderr while it goes: its plan and its progress."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any

from rich.console import Console
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

from harness.errors import HarnessError, one_line
from harness.evaluation.summary import summarise
from harness.terminal.console import percent
from harness.terminal.plan import describe_plan
from harness.terminal.tables import summary
from harness.training.progress import Progress as TrainingProgress
from harness.training.progress import clock_time

if TYPE_CHECKING:
    import pyarrow as pa

    from harness.evaluation.jobs import Job
    from harness.evaluation.planned import Plan
    from harness.training.target import Tuning
    from harness.training.trainer import TrainingReporter


EVERY = 30.0  # seconds between two lines in a pipe


class TextsColumn(ProgressColumn):
    """Shows the number of texts. The bar itself counts characters, since texts differ in length."""

    def render(self, task: Task) -> Text:
        """Write text such as ``1,200/7,000 texts 85/s``."""
        done, total = task.fields["texts"], task.fields["total_texts"]
        rate = f" {done / task.elapsed:,.0f}/s" if task.elapsed and done else ""
        return Text(f"{done:,}/{total:,} texts{rate}", style="progress.download")


@dataclass
class Steps:
    """Says in lines how far a run is.

    ``started``, ``said``: when it began, and when the last line was written, in seconds. ``todo``,
    ``texts``: the characters and texts to do. ``done``, ``done_texts``: those that are done.
    """

    started: float
    said: float
    todo: int = 0
    texts: int = 0
    done: int = 0
    done_texts: int = 0

    def pause(self, seconds: float) -> None:
        """Leave out a time in which no text was encoded."""
        self.started += seconds
        self.said += seconds

    def advance(self, texts: int, characters: int, now: float) -> str:
        """Return ``1:30: 1,200 of 7,000 texts (18 %), 13/s, 6:50 left``, or nothing yet."""
        self.done += characters
        self.done_texts += texts
        if now - self.said < EVERY or not self.done:
            return ""
        self.said = now
        elapsed = now - self.started
        share = min(self.done / self.todo, 1.0) if self.todo else 1.0
        left = elapsed * (1 - share) / share
        return (
            f"  {clock_time(elapsed)}: {self.done_texts:,} of {self.texts:,} texts ({share:.0%}), "
            f"{self.done_texts / elapsed:,.0f}/s, {clock_time(left)} left"
        )


class Display:
    """Reports a run on stderr.

    A terminal has a bar. In a pipe there is a line for every finished task, and every half a minute
    a line that says how far the run is.
    """

    def __init__(self, *, quiet: bool = False, verbose: bool = False) -> None:
        self.console = Console(stderr=True, quiet=quiet, highlight=False)
        self._verbose = verbose
        self._progress: Progress | None = None
        self._bar: TaskID | None = None
        self._steps: Steps | None = None
        self.plans: list[Plan] = []
        self.scores: list[dict[str, Any]] = []

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
        for line in describe_plan(summarise(plan), verbose=self._verbose):
            self.console.print(line, soft_wrap=True)
        todo = sum(task.todo_characters for task in plan.tasks)
        texts = sum(task.todo_texts for task in plan.tasks)
        if not self.console.is_terminal:
            self._steps = self._steps or Steps(started=time.monotonic(), said=time.monotonic())
            self._steps.todo += todo
            self._steps.texts += texts
        if self._progress is not None and self._bar is not None:  # Several models share a bar.
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
        """Move the bar on, or say in a line how far it is."""
        if self._steps is not None and (
            line := self._steps.advance(texts, characters, time.monotonic())
        ):
            self.console.print(line, soft_wrap=True)
        if self._progress is not None and self._bar is not None:
            done = self._progress.tasks[0].fields["texts"] + texts
            self._progress.update(self._bar, advance=characters, texts=done)

    def finished(self, job: Job, table: pa.Table) -> None:
        """Print a line for a finished task."""
        shown = summary(table.to_pylist())
        if shown:
            row = shown[0]
            layer = f" layer {row['layer']}" if row["layer"] is not None else ""
            self.console.print(
                f"  [green]✓[/] {job.card.name}{layer}: {row['metric']} {percent(row['mean'])}"
            )

    def refused(self, error: HarnessError) -> None:
        """Print the error at once; the command raises it after the other models have run."""
        text = f"cannot be evaluated, the other models are: {one_line(error)}"
        self.console.print(text, soft_wrap=True, markup=False, highlight=False)

    def measured(self, plan: Plan, table: pa.Table) -> None:
        """Keep the scores, so that they are shown even where a later checkpoint fails."""
        self.plans.append(plan)
        self.scores += table.to_pylist()

    @contextmanager
    def tuning(self, tuning: Tuning) -> Iterator[TrainingReporter]:
        """Report the training of a checkpoint; the run's bar is hidden, and its clock stands."""
        training = TrainingProgress(quiet=self.console.quiet)
        if tuning.done:
            yield training
            return
        running, began = self._progress, time.monotonic()
        if running is not None:
            running.stop()
        with training:
            training.say(f"tuning on {tuning.recipe.train}, seed {tuning.seed}")
            yield training
        spent = time.monotonic() - began
        if self._steps is not None:
            self._steps.pause(spent)
        if running is not None:
            for bar in running.tasks:
                bar.start_time = (bar.start_time or began) + spent
            running.start()

    def _stop(self) -> None:
        if self._progress is not None:
            self._progress.stop()
            self._progress = None
