"""A Trainer of transformers whose steps, saves and losses are those of a fixed schedule.

This module imports torch and transformers, so it is imported where a training begins.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.utils.data import DataLoader, SequentialSampler
from transformers import (
    PrinterCallback,
    ProgressCallback,
    Trainer,
    TrainerCallback,
    TrainingArguments,
)

from harness.checkpoint.memory import keep_all_freed
from harness.errors import IncompleteError
from harness.training.batches import Steps
from harness.training.curve import LossLog
from harness.training.dropout import QuickDropout
from harness.training.gradients import RowGradients, clip_norm, kept_gradients, update_rows
from harness.training.saves import DONE, SAVES, last_saved, save_now, save_whole
from harness.training.selection import Selection, restore, store

if TYPE_CHECKING:
    from harness.training.trainer import Settings, TrainingReporter


class ScheduledTrainer(Trainer):
    """A Trainer to which every item of the data is one step, in the order of the schedule.

    The step alone decides the dropout, so a run that was resumed draws the same as one that was
    never stopped. IncompleteError is raised at the first loss or gradient that is not finite.
    """

    def __init__(
        self,
        model: torch.nn.Module,
        steps: Steps,
        settings: Settings,
        folder: Path,
        loss_log: LossLog,
        reporter: TrainingReporter,
    ) -> None:
        self.steps, self.settings, self.folder = steps, settings, folder
        self.loss_log, self.reporter = loss_log, reporter
        self.kept: RowGradients = {}
        super().__init__(
            model=model,
            args=_arguments(steps, settings, folder),
            train_dataset=steps,
            callbacks=[Saving(model, len(steps), settings.selection)],
        )
        self.remove_callback(PrinterCallback)
        self.remove_callback(ProgressCallback)

    def train(self, *args: Any, **kwargs: Any) -> Any:
        with _faster_on_cpu(self.model, self.steps, self.settings) as self.kept:
            return super().train(*args, **kwargs)

    def create_optimizer(self, *args: Any, **kwargs: Any) -> Any:
        optimiser = super().create_optimizer(*args, **kwargs)
        update_rows(optimiser, self.kept)
        return optimiser

    def get_train_dataloader(self) -> Any:
        return DataLoader(
            self.steps,  # type: ignore[arg-type]
            batch_size=1,
            sampler=SequentialSampler(range(len(self.steps))),
            collate_fn=self.steps.collate,
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
        with QuickDropout() if self.settings.device == "cpu" else nullcontext():
            return model(inputs["task"], inputs["inputs"])

    def training_step(self, model: Any, inputs: Any, num_items_in_batch: Any = None) -> Any:
        number, task, steps = self.state.global_step, inputs["task"], self.steps
        torch.manual_seed(_mixed(self.settings.seed, number, steps.rank))
        learning_rate = self._get_learning_rate()
        loss = super().training_step(model, inputs, num_items_in_batch)
        value = float(self.accelerator.reduce(loss, "mean") if steps.world > 1 else loss)
        _require_finite(value, "loss", number + 1, self.folder)
        self.loss_log.add(number + 1, task, value, learning_rate)
        rows = len(steps.schedule[number].rows)
        self.reporter.stepped(number + 1, len(steps), task, value, rows)
        return loss

    def _clip_grad_norm(self, model: Any) -> Any:
        if self.kept:
            norm = clip_norm(model.parameters(), self.args.max_grad_norm, self.kept)
        else:
            norm = super()._clip_grad_norm(model)  # type: ignore[no-untyped-call]
        _require_finite(float(norm), "gradient", self.state.global_step + 1, self.folder)
        return norm

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        number = self.state.global_step
        place = self.folder / f"checkpoint-{number}"
        if (place / DONE).is_file():
            return
        save = super()._save_checkpoint
        if self.args.should_save:
            save_whole(lambda: save(model, trial), place, number)
        else:
            save(model, trial)

    def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:
        del state_dict
        if self.args.should_save and output_dir is not None:
            Path(output_dir).mkdir(parents=True, exist_ok=True)
            store(self.model, Path(output_dir))

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        restore(self.model if model is None else model, Path(resume_from_checkpoint))


class Saving(TrainerCallback):
    """Decides which steps are saved: those of ``save_now``, and always the last one."""

    def __init__(self, model: torch.nn.Module, total: int, selection: Selection | None) -> None:
        self.model, self.total, self.selection = model, total, selection
        self.began = self.saved = time.monotonic()
        self.cost = 0.0

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if self.selection is not None:
            self.selection.catch_up(self.model, state.global_step, self.total)

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if self.selection is not None:
            self.selection.consider(self.model, state.global_step, self.total)
        self.began = time.monotonic()
        if args.world_size == 1:  # Several processes save the same steps, whatever the time.
            since = self.began - self.saved
            control.should_save = save_now(control.should_save, since, self.cost)
        if state.global_step >= self.total:
            control.should_save = True

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.saved = time.monotonic()
        self.cost = self.saved - self.began
        if self.selection is not None:
            self.selection.sweep()


def _arguments(steps: Steps, settings: Settings, folder: Path) -> TrainingArguments:
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
        warmup_steps=recipe.warmup_steps(total),
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
    return arguments


@contextmanager
def _faster_on_cpu(model: Any, steps: Steps, settings: Settings) -> Iterator[RowGradients]:
    """Make the steps on a CPU faster; their results stay the same. Yields the kept gradients."""
    kept: RowGradients = {}
    with ExitStack() as stack:
        if settings.device == "cpu":
            stack.enter_context(keep_all_freed())
            if steps.world == 1:  # Several processes exchange the gradients that torch makes.
                kept = stack.enter_context(kept_gradients(model))
        yield kept


def _mixed(*numbers: int) -> int:
    """Return one seed that is derived from several numbers."""
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
