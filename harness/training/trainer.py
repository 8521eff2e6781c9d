"""transformers' Trainer over a fixed schedule: exact resume, checks at every step, a loss table."""

from __future__ import annotations

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

DONE = "complete"  # a file in a saved step that is whole
SAVES = 20  # a run saves about so many times, and at least
SAVE_SECONDS = 900.0  # this often,
SAVE_SHARE = 0.05  # but no more than this share of its time,
CHEAP = 0.5  # unless a save takes no more than so many seconds
SCALE_NAMES = ("scale",)


class TrainingReporter(Interface):
    """Receives the progress events of a training."""

    def say(self, text: str) -> None:
        """A message for the user."""

    def started(self, step: int, total: int) -> None:
        """Training begins, or resumes, after ``step`` of ``total`` steps."""

    def stepped(self, step: int, total: int, task: str, loss: float, rows: int) -> None:
        """A step over ``rows`` rows of a task has ended with this loss."""


@dataclass(frozen=True)
class Settings:
    """What the loop needs besides model and steps.

    ``selection``: the best step is kept, in place of the last one.
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
    curve: LossLog,
    reporter: TrainingReporter,
) -> None:
    """Train through all steps, saving into ``folder``; goes on from the last step saved there.

    Raises:
        IncompleteError: the loss, a gradient or a weight is not finite, memory or disk is full; the
            last good step is kept.
    """
    if steps.rank == 0:
        _tidy(folder)
    resume = last_saved(folder)
    done = 0 if resume is None else int(resume.name.rpartition("-")[2])
    curve.go_on_from(done)
    total = len(steps)
    reporter.started(done, total)
    if settings.selection is not None:
        settings.selection.go_on_from(done)
    if resume is None or done < total:
        _run(model, steps, settings, folder, curve, reporter)
    else:
        restore(model, resume)
    if settings.selection is not None:
        settings.selection.take(model)
    for name, weight in model.named_parameters():
        if not bool(weight.isfinite().all()):
            raise IncompleteError(
                f"{name} is not finite after the last step: train with a lower --lr or in float32 "
                "(with --fresh or another --out)"
            )


def _run(
    model: Any,
    steps: Steps,
    settings: Settings,
    folder: Path,
    curve: LossLog,
    reporter: TrainingReporter,
) -> None:
    resume = last_saved(folder)
    trainer = _trainer(model, steps, settings, folder, curve, reporter)
    try:
        with quiet():
            trainer.train(resume_from_checkpoint=None if resume is None else str(resume))
    except HarnessError:
        raise
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        text = one_line(error, 160)
        raise IncompleteError(
            f"out of memory at a batch of {settings.recipe.batch_size}: lower --batch-size or "
            f"--max-length, or use a smaller base ({text})"
        ) from error


def last_saved(folder: Path) -> Path | None:
    """The newest saved step that is whole."""
    whole = [path.parent for path in folder.glob(f"checkpoint-*/{DONE}")]
    return max(whole, key=lambda path: int(path.name.rpartition("-")[2]), default=None)


def _tidy(folder: Path) -> None:
    """Remove what a killed process had not saved to the end."""
    for path in folder.glob("checkpoint-*"):
        if not (path / DONE).is_file():
            shutil.rmtree(path, ignore_errors=True)


def warmup_steps(recipe: Recipe, total: int) -> int:
    """Steps of warmup out of ``total``."""
    return int(recipe.warmup) if recipe.warmup >= 1 else round(recipe.warmup * total)


def save_every(total: int) -> int:
    """Steps between two saves."""
    return max(1, -(-total // SAVES))


def save_now(planned: bool, since: float, cost: float) -> bool:
    """Whether to save after a step.

    ``planned``: by the number of steps. ``since``: seconds since the last save; ``cost``: seconds
    that it took, 0 before the first one. So a kill loses no more than SAVE_SECONDS, or
    ``cost`` / SAVE_SHARE where that is more.
    """
    worth = cost <= CHEAP or cost <= SAVE_SHARE * since
    return worth and (planned or since > SAVE_SECONDS)


@contextmanager
def _quick(model: Any, steps: Steps, settings: Settings) -> Iterator[None]:
    """What makes steps on a CPU quicker and leaves their results as they are."""
    with ExitStack() as stack:
        if settings.device == "cpu":
            stack.enter_context(keep_all_freed())
            if steps.world == 1:  # several processes exchange gradients as torch makes them
                from harness.training.gradients import kept_gradients

                stack.enter_context(kept_gradients(model))
        yield


def _trainer(
    model: Any,
    steps: Steps,
    settings: Settings,
    folder: Path,
    curve: LossLog,
    reporter: TrainingReporter,
) -> Any:
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
        per_device_train_batch_size=1,  # an item of the data set is a whole step
        learning_rate=recipe.lr,
        weight_decay=recipe.weight_decay,
        adam_epsilon=recipe.eps,
        max_grad_norm=recipe.clip,
        lr_scheduler_type="linear",
        warmup_steps=warmup_steps(recipe, total),
        logging_strategy="no",
        save_strategy="steps",
        save_steps=save_every(total),
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
    arguments._n_gpu = min(1, arguments.n_gpu)  # several GPUs: one process each, never DataParallel

    class Saving(TrainerCallback):
        """Also saves where a run is slow, and after its last step; less often where saves are."""

        def __init__(self) -> None:
            self.began = self.saved = time.monotonic()
            self.cost = 0.0

        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            if settings.selection is not None:
                settings.selection.look(model, state.global_step, total)
            self.began = time.monotonic()
            if args.world_size == 1:  # several processes save together, by the number alone
                since = self.began - self.saved
                control.should_save = save_now(control.should_save, since, self.cost)
            if state.global_step >= total:
                control.should_save = True

        def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            self.saved = time.monotonic()
            self.cost = self.saved - self.began
            if settings.selection is not None:
                settings.selection.saved()

    class Scheduled(Trainer):
        """One item is one step; the order was fixed before."""

        def train(self, *args: Any, **kwargs: Any) -> Any:
            with _quick(model, steps, settings):
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
            names: list[str] = super().get_decay_parameter_names(model)
            return [name for name in names if name.rpartition(".")[2] not in SCALE_NAMES]

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
            # Dropout depends on the step alone, so that a resumed run draws what an undisturbed
            # one does.
            number = self.state.global_step
            torch.manual_seed(_mixed(settings.seed, number, steps.rank))
            learning_rate = self._get_learning_rate()
            loss = super().training_step(model, inputs, num_items_in_batch)
            mean = self.accelerator.reduce(loss, "mean") if steps.world > 1 else loss
            value = float(mean)
            _check(value, "loss", number + 1, folder)
            curve.add(number + 1, inputs["task"], value, learning_rate)
            reporter.stepped(
                number + 1, total, inputs["task"], value, len(steps.schedule[number].rows)
            )
            return loss

        def _clip_grad_norm(self, model: Any) -> Any:
            norm = super()._clip_grad_norm(model)  # type: ignore[no-untyped-call]
            _check(float(norm), "gradient", self.state.global_step + 1, folder)
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
    """One seed of several numbers."""
    import numpy as np

    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint32)[0])


def _check(value: float, what: str, step: int, folder: Path) -> None:
    import math

    if math.isfinite(value):
        return
    kept = last_saved(folder)
    state = f"{kept.name.replace('-', ' ')} is kept in {folder}" if kept else "no step is saved yet"
    raise IncompleteError(
        f"the {what} is {value} at step {step}; {state}: train with a lower --lr or in float32 "
        "(with --fresh or another --out)"
    )


def _saving(save: Callable[[], None], place: Path, number: int) -> None:
    try:
        save()
        (place / DONE).touch()
    except KeyboardInterrupt:
        raise
    except Exception as error:  # safetensors and torch have errors of their own for a full disk
        shutil.rmtree(place, ignore_errors=True)
        kept = last_saved(place.parent)
        state = f"step {kept.name.rpartition('-')[2]} is kept" if kept else "no step is saved yet"
        reason = one_line(error, 160)
        raise IncompleteError(
            f"step {number} cannot be saved to {place.parent} ({reason}); {state}: free space and "
            "run the same command again"
        ) from error
