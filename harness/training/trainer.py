"""Trains with transformers' Trainer over a fixed schedule of steps.

A run that was killed resumes exactly where it was saved. Every step is checked for values that are
not finite, and its loss is written to a table.
"""

from __future__ import annotations

import math
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from typing import Protocol as Interface

from harness.cards.training import Recipe
from harness.checkpoint.guard import quiet
from harness.checkpoint.memory import keep_all_freed
from harness.errors import HarnessError, IncompleteError, is_out_of_memory, one_line
from harness.training.batches import Steps
from harness.training.curve import LossLog
from harness.training.selection import Selection, restore, store

DONE = "complete"  # This file is written last into a saved step, and says that the step is whole.
SAVES = 20  # A run saves about this many times, at equal distances in steps.
SAVE_SECONDS = 900.0  # A run whose steps are slow also saves when this time has passed.
SAVE_SHARE = 0.05  # Saving takes at most this share of the time of a run.
CHEAP_SECONDS = 0.5  # A save that takes no longer than this is made whatever its share is.


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
    """
    if steps.rank == 0:
        _remove_partial(folder)
    saved = last_saved(folder)
    done, total = step_of(saved), len(steps)
    loss_log.resume_after(done)
    reporter.started(done, total)
    if settings.selection is not None:
        settings.selection.resume_after(done)
    if saved is not None and done >= total:
        restore(model, saved)
    else:
        trainer = _trainer(model, steps, settings, folder, loss_log, reporter)
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


def last_saved(folder: Path) -> Path | None:
    """Return the folder of the newest saved step that is whole, or None where there is none."""
    whole = [path.parent for path in folder.glob(f"checkpoint-*/{DONE}")]
    return max(whole, key=step_of, default=None)


def step_of(saved: Path | None) -> int:
    """Return the number of a saved step, which its folder is named by; 0 for None."""
    return 0 if saved is None else int(saved.name.rpartition("-")[2])


def _remove_partial(folder: Path) -> None:
    """Remove the steps that a killed process had begun to save."""
    for path in folder.glob("checkpoint-*"):
        if not (path / DONE).is_file():
            shutil.rmtree(path, ignore_errors=True)


def warmup_steps(recipe: Recipe, total: int) -> int:
    """Return how many of ``total`` steps warm up; a recipe gives a number or a share of them."""
    return int(recipe.warmup) if recipe.warmup >= 1 else round(recipe.warmup * total)


def save_now(planned: bool, since: float, cost: float) -> bool:
    """Say whether a step is to be saved.

    ``planned``: whether the step is one of the SAVES steps at equal distances. ``since``: seconds
    since the last save. ``cost``: seconds that the last save took, 0 before the first one. A
    process that is killed loses SAVE_SECONDS of work at most, or ``cost`` / SAVE_SHARE seconds
    where that is more.
    """
    affordable = cost <= CHEAP_SECONDS or cost <= SAVE_SHARE * since
    return affordable and (planned or since > SAVE_SECONDS)


@contextmanager
def _faster_on_cpu(model: Any, steps: Steps, settings: Settings) -> Iterator[None]:
    """Make the steps on a CPU faster; their results stay the same."""
    with ExitStack() as stack:
        if settings.device == "cpu":
            stack.enter_context(keep_all_freed())
            if steps.world == 1:  # Several processes exchange the gradients that torch makes.
                from harness.training.gradients import kept_gradients

                stack.enter_context(kept_gradients(model))
        yield


def _trainer(
    model: Any,
    steps: Steps,
    settings: Settings,
    folder: Path,
    loss_log: LossLog,
    reporter: TrainingReporter,
) -> Any:
    """Make a Trainer of transformers whose steps, saves and losses are those of this module."""
    import torch
    from torch.utils.data import DataLoader, SequentialSampler
    from transformers import (
        PrinterCallback,
        ProgressCallback,
        Trainer,
        TrainerCallback,
        TrainingArguments,
    )

    from harness.training.dropout import QuickDropout

    recipe, total = settings.recipe, len(steps)
    arguments = TrainingArguments(
        output_dir=str(folder),
        max_steps=total,
        per_device_train_batch_size=1,  # An item of the data set is a whole step.
        learning_rate=recipe.lr,
        weight_decay=recipe.weight_decay,
        adam_epsilon=recipe.eps,
        max_grad_norm=recipe.clip,
        lr_scheduler_type="linear",
        warmup_steps=warmup_steps(recipe, total),
        logging_strategy="no",
        save_strategy="steps",
        save_steps=max(1, math.ceil(total / SAVES)),
        save_total_limit=2,
        seed=settings.seed,
        bf16=settings.bf16,
        use_cpu=settings.device == "cpu",
        report_to="none",
        disable_tqdm=True,
        remove_unused_columns=False,
        logging_nan_inf_filter=False,
        ddp_find_unused_parameters=len(steps.tasks) > 1,
    )
    # Each of several GPUs has a process of its own; DataParallel is never used.
    arguments._n_gpu = min(1, arguments.n_gpu)

    class Saving(TrainerCallback):
        """Decides which steps are saved: see ``save_now``; the last step always is."""

        def __init__(self) -> None:
            self.began = self.saved = time.monotonic()
            self.cost = 0.0

        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            if settings.selection is not None:
                settings.selection.consider(model, state.global_step, total)
            self.began = time.monotonic()
            if args.world_size == 1:  # Several processes save the same steps, whatever the time.
                since = self.began - self.saved
                control.should_save = save_now(control.should_save, since, self.cost)
            if state.global_step >= total:
                control.should_save = True

        def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            self.saved = time.monotonic()
            self.cost = self.saved - self.began
            if settings.selection is not None:
                settings.selection.sweep()

    class Scheduled(Trainer):
        """A Trainer to which every item of the data is one step, in the order of the schedule."""

        def train(self, *args: Any, **kwargs: Any) -> Any:
            with _faster_on_cpu(model, steps, settings):
                return super().train(*args, **kwargs)

        def get_train_dataloader(self) -> Any:
            return DataLoader(
                steps,  # type: ignore[arg-type]
                batch_size=1,
                sampler=SequentialSampler(range(total)),
                collate_fn=steps.collate,
                generator=torch.Generator(),
            )

        def get_decay_parameter_names(self, model: Any) -> list[str]:
            # The scale of a dual encoder's cosines would decay towards 0.
            names: list[str] = super().get_decay_parameter_names(model)
            return [name for name in names if name.rpartition(".")[2] != "scale"]

        def compute_loss(
            self,
            model: Any,
            inputs: Mapping[str, Any],
            return_outputs: bool = False,
            num_items_in_batch: Any = None,
        ) -> Any:
            del return_outputs, num_items_in_batch
            with QuickDropout() if settings.device == "cpu" else nullcontext():
                return model(inputs["task"], inputs["inputs"])

        def training_step(self, model: Any, inputs: Any, num_items_in_batch: Any = None) -> Any:
            # The step alone decides the dropout, so that a resumed run draws the same as one that
            # was never stopped.
            number, task = self.state.global_step, inputs["task"]
            torch.manual_seed(_mixed(settings.seed, number, steps.rank))
            learning_rate = self._get_learning_rate()
            loss = super().training_step(model, inputs, num_items_in_batch)
            value = float(self.accelerator.reduce(loss, "mean") if steps.world > 1 else loss)
            _require_finite(value, "loss", number + 1, folder)
            loss_log.add(number + 1, task, value, learning_rate)
            reporter.stepped(number + 1, total, task, value, len(steps.schedule[number].rows))
            return loss

        def _clip_grad_norm(self, model: Any) -> Any:
            norm = super()._clip_grad_norm(model)  # type: ignore[no-untyped-call]
            _require_finite(float(norm), "gradient", self.state.global_step + 1, folder)
            return norm

        def _save_checkpoint(self, model: Any, trial: Any) -> None:
            number = self.state.global_step
            place = folder / f"checkpoint-{number}"
            if (place / DONE).is_file():
                return
            if not self.args.should_save:
                super()._save_checkpoint(model, trial)
                return
            _saving(lambda: super(Scheduled, self)._save_checkpoint(model, trial), place, number)

        def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:
            del state_dict
            if self.args.should_save and output_dir is not None:
                Path(output_dir).mkdir(parents=True, exist_ok=True)
                store(self.model, Path(output_dir))

        def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
            restore(self.model if model is None else model, Path(resume_from_checkpoint))

    trainer = Scheduled(model=model, args=arguments, train_dataset=steps, callbacks=[Saving()])
    trainer.remove_callback(PrinterCallback)
    trainer.remove_callback(ProgressCallback)
    return trainer


def _mixed(*numbers: int) -> int:
    """Return one seed that is derived from several numbers."""
    import numpy as np

    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint32)[0])


def _require_finite(value: float, what: str, step: int, folder: Path) -> None:
    if math.isfinite(value):
        return
    kept = last_saved(folder)
    state = f"{kept.name.replace('-', ' ')} is kept in {folder}" if kept else "no step is saved yet"
    raise IncompleteError(
        f"the {what} is {value} at step {step}; {state}: train with a lower --lr or in float32 "
        "(with --fresh or another --out)"
    )


def _saving(save: Callable[[], None], place: Path, number: int) -> None:
    """Save step ``number`` into the folder ``place``; a step that cannot be saved is removed."""
    try:
        save()
        (place / DONE).touch()
    except KeyboardInterrupt:
        raise
    except Exception as error:  # safetensors and torch have errors of their own for a full disk.
        shutil.rmtree(place, ignore_errors=True)
        kept = step_of(last_saved(place.parent))
        state = f"step {kept} is kept" if kept else "no step is saved yet"
        raise IncompleteError(
            f"step {number} cannot be saved to {place.parent} ({one_line(error, 160)}); {state}: "
            "free space and run the same command again"
        ) from error
