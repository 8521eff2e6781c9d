"""Defines who receives the progress of a run, and a reporter that shows nothing."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING
from typing import Protocol as Interface

from harness.errors import HarnessError
from harness.training import progress

if TYPE_CHECKING:
    import pyarrow as pa

    from harness.evaluation.jobs import Job
    from harness.evaluation.planned import Plan
    from harness.training.target import Tuning
    from harness.training.trainer import TrainingReporter

# It is called with how many more distinct texts are encoded (or questions read), and characters.
Advance = Callable[[int, int], None]


class Reporter(Interface):
    """Receives the progress events of a run."""

    def refused(self, error: HarnessError) -> None:
        """One of several models cannot be evaluated; the others are, and then it is raised."""

    def planned(self, plan: Plan) -> None:
        """The plan is made; nothing has run."""

    def advance(self, texts: int, characters: int) -> None:
        """So many more distinct texts are encoded, or questions read, of so many characters."""

    def finished(self, job: Job, table: pa.Table) -> None:
        """A job's file is complete; ``table`` are its scores."""

    def measured(self, plan: Plan, table: pa.Table) -> None:
        """All of a plan has run; ``table`` are its scores."""

    def tuning(self, tuning: Tuning) -> AbstractContextManager[TrainingReporter]:
        """A checkpoint is tuned for as long as the context lasts."""


class Silent(progress.Silent):
    """A reporter that shows nothing, of a training neither."""

    def refused(self, error: HarnessError) -> None: ...

    def planned(self, plan: Plan) -> None: ...

    def advance(self, texts: int, characters: int) -> None: ...

    def finished(self, job: Job, table: pa.Table) -> None: ...

    def measured(self, plan: Plan, table: pa.Table) -> None: ...

    def tuning(self, tuning: Tuning) -> AbstractContextManager[Silent]:
        return nullcontext(self)
