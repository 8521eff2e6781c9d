"""Shows on stderr how a training goes: a bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Any

EVERY = 15.0  # seconds between lines
DECAY = 0.95  # weight of the earlier steps in the smoothed loss


class Silent:
    """A reporter that shows nothing."""

    def started(self, step: int, total: int) -> None: ...

    def stepped(self, step: int, total: int, task: str, loss: float, rows: int) -> None: ...

    def say(self, text: str) -> None: ...


class Progress:
    """A reporter that shows the smoothed loss, examples per second, and the time left."""

    def __init__(self, *, quiet: bool) -> None:
        from rich.console import Console

        self.console = Console(stderr=True, quiet=quiet, highlight=False)
        self.bar: Any = None
        self.loss: float | None = None
        self.since = self.said = 0.0
        self.first = self.rows = 0

    def __enter__(self) -> Progress:
        from rich.progress import BarColumn, TextColumn
        from rich.progress import Progress as Bar

        if self.console.is_terminal:
            self.bar = Bar(BarColumn(), TextColumn("{task.description}"), console=self.console)
            self.bar.start()
            self.line = self.bar.add_task("", total=None)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.bar is not None:
            self.bar.stop()

    def say(self, text: str) -> None:
        """Print the text on a line of its own."""
        self.console.print(text, markup=False, soft_wrap=True)

    def started(self, step: int, total: int) -> None:
        self.since = self.said = time.monotonic()
        self.first = step
        if step:
            self.say(f"going on after step {step} of {total}")

    def stepped(self, step: int, total: int, task: str, loss: float, rows: int) -> None:
        self.loss = loss if self.loss is None else DECAY * self.loss + (1 - DECAY) * loss
        self.rows += rows
        now = time.monotonic()
        taken = max(now - self.since, 1e-9)
        left = taken / (step - self.first) * (total - step)
        text = (
            f"step {step}/{total} · loss {self.loss:.4f} · {self.rows / taken:.1f} examples/s · "
            f"{clock_time(left)} left"
        )
        if self.bar is not None:
            self.bar.update(self.line, total=total, completed=step, description=text)
        elif now - self.said > EVERY or step == total:
            self.said = now
            self.say(text)


def clock_time(seconds: float) -> str:
    """Write a duration such as ``1:05`` (minutes and seconds), or ``2:00:05`` from an hour on."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
