"""Defines what a plan holds: jobs with their files, tasks with their examples, and the gaps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from harness.cards.target_recipes import TargetRecipe
from harness.cards.task import TaskCard
from harness.evaluation.gaps import Gaps
from harness.evaluation.jobs import Job
from harness.evaluation.request import Request
from harness.kinds import KINDS
from harness.results.outcomes import OutcomeFile

if TYPE_CHECKING:
    from harness.checkpoint.resolve import Checkpoint
    from harness.data.examples import Loaded
    from harness.training.target import Tuning


@dataclass(frozen=True)
class PlannedJob:
    """A job with the file of its outcomes.

    ``done``: the units that are finished. ``unranked_reasons``: why its rows are not ranked.
    """

    job: Job
    file: OutcomeFile
    done: frozenset[str]
    unranked_reasons: tuple[str, ...]


@dataclass(frozen=True)
class PlannedTask:
    """One task: its examples, and a job for it (several with ``--layer all``)."""

    card: TaskCard
    loaded: Loaded
    jobs: tuple[PlannedJob, ...]
    units: tuple[str, ...]
    texts: int
    todo_texts: int
    todo_characters: int

    @property
    def recipe(self) -> TargetRecipe | None:
        """What the checkpoint is tuned by before it."""
        return self.jobs[0].job.recipe

    @property
    def reads(self) -> bool:
        """Whether a head answers it; else it is searched in an encoder's vectors."""
        return self.head != "encoder"

    @property
    def head(self) -> str:
        """Which head it needs, or ``encoder`` for none."""
        return head_of(self.card)

    @property
    def unfinished(self) -> tuple[str, ...]:
        """The units that lack rows, of one layer or another."""
        return unfinished_of(self.units, self.jobs)

    @property
    def finished(self) -> bool:
        """Whether nothing is to do."""
        return not self.unfinished


@dataclass(frozen=True)
class Plan:
    """All that a run will do for one checkpoint.

    ``gaps``: what it does not measure, and why. ``tunings``: recipe → the tuned checkpoint that its
    tasks are measured on.
    """

    checkpoint: Checkpoint
    request: Request
    tasks: tuple[PlannedTask, ...]
    gaps: Gaps
    tunings: Mapping[str, Tuning] = field(default_factory=dict)


def head_of(card: TaskCard) -> str:
    """Return which head a task needs, or ``encoder`` for none."""
    return KINDS[card.kind].needs


def unfinished_of(units: Sequence[str], jobs: Sequence[PlannedJob]) -> tuple[str, ...]:
    """Return the units that one job or another has no rows of."""
    return tuple(unit for unit in units if any(unit not in planned.done for planned in jobs))
