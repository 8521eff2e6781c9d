"""Checks before a run starts that the disk has room for what it writes."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

from harness.errors import IncompleteError
from harness.inference.objects import GivenModel
from harness.inference.vector_store import KEY_BYTES
from harness.io.files import existing

if TYPE_CHECKING:
    from harness.checkpoint.resolve import Checkpoint
    from harness.evaluation.planned import Plan, PlannedTask

ROW_BYTES = 200  # of an outcome in a Parquet file, at most: real ones take 20 to 200
WIDTHS = ("hidden_size", "d_model", "dim", "n_embd")  # what configurations call a vector's length


def vector_bytes(plan: Plan) -> int:
    """Return the bytes of the vectors that a run has still to make: float32, one per text and
    layer.

    0 where the length of a vector is not known before the model is loaded.
    """
    width = vector_width(plan.checkpoint)
    return sum(task_vector_bytes(task, task.todo_texts, width) for task in plan.tasks)


def task_vector_bytes(task: PlannedTask, texts: int, width: int) -> int:
    """Return the bytes of the vectors of some texts of a task, with the keys of texts and of token
    ids.
    """
    each = 4 * width + 3 * KEY_BYTES if width and not task.reads else 0
    return each * texts * len(task.jobs)


def row_bytes(task: PlannedTask, texts: int) -> int:
    """Return the bytes of the outcomes of some texts of a task, at most."""
    return ROW_BYTES * texts * len(task.jobs)


def vector_width(checkpoint: Checkpoint) -> int:
    """Return the length of a checkpoint's vectors as its configuration has it, 0 where it does not
    say.
    """
    from harness.checkpoint.vet import read_config

    if isinstance(checkpoint, GivenModel):
        return 0
    config = read_config(checkpoint.weights_folder / "config.json")
    return next((config[name] for name in WIDTHS if isinstance(config.get(name), int)), 0)


def check_space(plan: Plan) -> None:
    """Refuse a run whose files have no place: in the results folder or in the cache.

    Vectors that are in the cache already may be those of this run: they count as its own.

    Raises:
        IncompleteError: a folder may not be written, or has too little room.
    """
    runtime = plan.request.runtime
    if all(task.finished for task in plan.tasks):
        return  # nothing is written
    for option, folder in (("--out", runtime.out), ("--cache-dir", runtime.cache)):
        if not os.access(existing(folder), os.W_OK | os.X_OK):
            raise IncompleteError(f"{folder} may not be written: name another with {option}")
    texts = sum(task.todo_texts for task in plan.tasks)
    free = shutil.disk_usage(existing(runtime.cache)).free
    needed = vector_bytes(plan)
    if needed > free:
        free += sum(path.stat().st_size for path in (runtime.cache / "vectors").rglob("*.arrow"))
    if needed > free:
        raise IncompleteError(
            f"the vectors of {texts:,} texts need {needed / 1e9:.1f} GB and {runtime.cache} has "
            f"{free / 1e9:.1f} GB free: make room, or name another --cache-dir"
        )
    needed = sum(row_bytes(task, task.todo_texts) for task in plan.tasks)
    free = shutil.disk_usage(existing(runtime.out)).free
    if needed > free:
        raise IncompleteError(
            f"the rows of {texts:,} texts need up to {needed / 1e6:.1f} MB and {runtime.out} has "
            f"{free / 1e6:.1f} MB free: make room, or name another --out"
        )
