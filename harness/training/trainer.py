"""Trains with transformers' Trainer over a fixed schedule of steps.

A run that was killed resumes exactly where it was saved. Every step is checked for values that are
not finite, and its loss is written to a table.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any
from typing import Protocol as Interface

from harness.cards.training import Recipe
from harness.checkpoint.guard import quiet
from harness.errors import HarnessError, IncompleteError, is_out_of_memory, one_line
from harness.training.batches import Steps
from harness.training.curve import LossLog
from harness.training.saves import last_saved, remove_partial, step_of
from harness.training.selection import Selection, restore


class TrainingReporter(Interface):
    """Receives the progress events of a training."""

    def say(self, text: str) -> None:
        """Take a message for the user."""

    def started(self, step: int, total: int) -> None:
        """Note that training begins, or resumes, after ``step`` of ``total`` steps."""

    def stepped(self, step: int, total: int, task: str, loss: float, rows: int) -> None:
        """Note that a step over ``rows`` rows of a task has ended with this loss."""


@dataclass(frozen=True)
class Settings:
    """The settings of the training loop, besides the model and the steps.

    ``selection``: chooses the step that is kept; without it the last step is kept.
    """

    recipe: Recipe
    seed: int
    bf16: bool
    device: str
    selection: Selection | None = None


def run_steps(
    model: Any,
    steps: Steps,
    settings: Settings,
    folder: Path,
    loss_log: LossLog,
    reporter: TrainingReporter,
) -> None:
    """Train the model through all steps; training resumes after the last step that was saved.

    Steps are saved into ``folder``.

    Raises:
        IncompleteError: the loss, a gradient or a weight is not finite, or memory or disk is full;
            the last good step is kept.
        DataError: a line of the table of losses or scores is damaged.
    """
    if steps.rank == 0:
        remove_partial(folder)
    saved = last_saved(folder)
    done, total = step_of(saved), len(steps)
    loss_log.resume_after(done)
    reporter.started(done, total)
    if settings.selection is not None:
        settings.selection.resume_after(done)
    if saved is not None and done >= total:
        restore(model, saved)
        if settings.selection is not None:
            settings.selection.catch_up(model, done, total)
    else:
        from harness.training.scheduled import ScheduledTrainer

        trainer = ScheduledTrainer(model, steps, settings, folder, loss_log, reporter)
        try:
            with quiet():
                trainer.train(resume_from_checkpoint=None if saved is None else str(saved))
        except HarnessError:
            raise
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            raise IncompleteError(
                f"out of memory at a batch of {settings.recipe.batch_size}: lower --batch-size or "
                f"--max-length, or use a smaller base ({one_line(error, 160)})"
            ) from error
    if settings.selection is not None:
        settings.selection.restore_best(model)
    for name, weight in model.named_parameters():
        if not bool(weight.isfinite().all()):
            raise IncompleteError(
                f"{name} is not finite after the last step: train with a lower --lr or in float32 "
                "(with --fresh or another --out)"
            )
