"""Estimates what a run would take: time and memory by a short probe, the disk by counting."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

import numpy as np

from harness.data.examples import ItemSet, QuestionSet
from harness.evaluation.lazy import LazyModel
from harness.evaluation.planned import Plan, PlannedTask
from harness.evaluation.run import TaskContext, make_backbone, make_encoder
from harness.evaluation.space import row_bytes, vector_bytes, vector_width
from harness.inference.encoder import Encoder
from harness.inference.protocol import Role
from harness.kinds import KINDS

T = TypeVar("T")
# A probe runs the model on more texts of so many characters, and returns how many texts it ran, and
# their characters.
Probe = Callable[[int], tuple[int, int]]
LANGUAGES = 4  # of a task with a head that are tried
# Characters of a probe, one step after another: the first loads the model, the second fills a
# batch of a processor, the last that was taken counts.
STEPS = (400, 8_000, 32_000, 128_000)
SECONDS = 2.0  # after which a task's probe goes to no larger step
TENSOR = 4  # bytes of a weight of a tuned checkpoint
HOW = (
    "an estimate: the model was run on {texts:,} texts drawn at random, in one process, on this "
    "machine as busy as it is; searching, and vectors that the cache has already, are not counted"
)
WITHOUT = "an estimate of the disk alone, by counting: what is to do cannot be tried yet"


@dataclass(frozen=True)
class TaskEstimate:
    """The seconds that a task's texts would take, without loading the model."""

    task: str
    track: str
    seconds: float


@dataclass(frozen=True)
class Estimate:
    """About what the unfinished part of a plan needs.

    ``seconds``: all tasks and loading the model; ``memory``: the peak of one process, and
    ``device_memory`` of a GPU, in bytes; None where the model was not run. ``vectors``, ``rows``,
    ``checkpoints``: bytes on the disk, of the cache, of ``--out`` and of tuned checkpoints.
    ``how``: the method. ``uncounted``: work that no figure includes.
    """

    seconds: float | None
    memory: int | None
    device_memory: int | None
    vectors: int
    rows: int
    checkpoints: int
    tasks: tuple[TaskEstimate, ...]
    how: str
    uncounted: tuple[str, ...]


def estimate(plan: Plan) -> Estimate | None:
    """Return what the rest of a plan would need; None where nothing is left.

    The model is loaded and run on a few texts of each task, up to some seconds a task. Nothing is
    kept of it.

    Raises:
        RefusedError: the checkpoint cannot be loaded, or cannot be run.
        IncompleteError: memory ran out.
    """
    todo = [task for task in plan.tasks if not task.finished]
    tunings = [tuning for tuning in plan.tunings.values() if not tuning.done]
    if not todo and not tunings and not plan.gaps.downloads:
        return None
    encoded = [task for task in todo if not task.reads]
    own = [task for task in todo if task.reads and task.recipe is None]
    uncounted = [f"time of {name}: its data is not there yet" for name in plan.gaps.downloads]
    uncounted += [
        f"time and memory of training by {tuning.recipe.name}: {tuning.steps - tuning.saved:,} "
        "steps"
        for tuning in tunings
    ]
    uncounted += [
        f"time of {task.card.name}: its head is trained first"
        for task in todo
        if task.reads and task.recipe is not None
    ]
    started = time.monotonic()
    texts, measured = 0, []
    with TemporaryDirectory(prefix="xharness-probe-") as folder:
        for task, probe in _probes(_apart(plan, Path(folder)), encoded, own):
            tried, rate = _characters_per_second(probe)
            texts += tried
            seconds = round(task.todo_characters / rate, 1)
            measured.append(TaskEstimate(task.card.name, task.jobs[0].job.track, seconds))
    spent = time.monotonic() - started
    width = vector_width(plan.checkpoint)
    held = 4 * width * max((task.todo_texts for task in encoded), default=0)
    return Estimate(
        seconds=round(spent + sum(one.seconds for one in measured), 1) if measured else None,
        memory=_peak() + held if measured else None,
        device_memory=_device_peak(plan.request.runtime.device) if measured else None,
        vectors=vector_bytes(plan),
        rows=sum(row_bytes(task, task.todo_texts) for task in todo),
        checkpoints=TENSOR * plan.checkpoint.parameters * len(tunings),
        tasks=tuple(measured),
        how=HOW.format(texts=texts) if measured else WITHOUT,
        uncounted=tuple(uncounted),
    )


def _apart(plan: Plan, folder: Path) -> Plan:
    """Return the plan with a cache of its own, so that a probe finds and leaves nothing."""
    runtime = replace(plan.request.runtime, cache=folder, fresh=False)
    return replace(plan, request=replace(plan.request, runtime=runtime))


def _probes(
    plan: Plan, encoded: Sequence[PlannedTask], own: Sequence[PlannedTask]
) -> Iterator[tuple[PlannedTask, Probe]]:
    """Yield each task with what runs the model on some of its texts."""
    if encoded:
        contexts = [TaskContext(plan.request, task, plan.checkpoint) for task in encoded]
        backbone = make_backbone(contexts)
        for context in contexts:
            encoder = make_encoder(context, backbone, lambda texts, characters: None)
            yield context.task, _encoding(context, encoder)
    for head in dict.fromkeys(task.head for task in own):
        contexts = [
            TaskContext(plan.request, task, plan.checkpoint) for task in own if task.head == head
        ]
        model = LazyModel(contexts[0], lambda texts, characters: None)
        for context in contexts:
            yield context.task, _reading(context, model)


def _encoding(context: TaskContext, encoder: Encoder) -> Probe:
    task, limit = context.task, context.request.selection.limit
    kind, examples = KINDS[task.card.kind], task.loaded.examples
    found: dict[tuple[Role, str], None] = {("document", text): None for text in kind.pool(examples)}
    for unit in task.unfinished:
        for role, texts in kind.texts(examples, unit, limit):
            found.update(((role, text), None) for text in texts)
    drawn = _drawn(list(found))

    def run(characters: int) -> tuple[int, int]:
        own = list(_up_to(characters, drawn, lambda one: len(one[1])))
        for role in dict.fromkeys(role for role, _ in own):
            encoder.encode([text for its, text in own if its == role], role=role)
        return len(own), sum(len(text) for _, text in own)

    return run


def _reading(context: TaskContext, model: LazyModel) -> Probe:
    task, settings = context.task, context.task.jobs[0].job.unit_settings
    kind = KINDS[task.card.kind]
    examples: Any = task.loaded.examples
    step = -(-len(task.unfinished) // LANGUAGES)
    drawn = _drawn(
        [
            (unit, one)
            for unit in task.unfinished[::step]
            for one in _asked(examples[unit])[: settings.limit]
        ]
    )

    def alone(unit: str, *asked: Any) -> dict[str, Any]:
        name = "questions" if isinstance(examples[unit], QuestionSet) else "items"
        return {unit: replace(examples[unit], **{name: asked})}

    def size(one: tuple[str, Any]) -> int:
        return sum(
            len(text) for _, texts in kind.texts(alone(*one), one[0], None) for text in texts
        )

    def run(characters: int) -> tuple[int, int]:
        own = list(_up_to(characters, drawn, size))
        for unit in dict.fromkeys(unit for unit, _ in own):
            few = alone(unit, *(one for its, one in own if its == unit))
            kind.run(settings, few, unit, model, None)
        return len(own), sum(map(size, own))

    return run


def _asked(examples: QuestionSet | ItemSet) -> Sequence[Any]:
    return examples.questions if isinstance(examples, QuestionSet) else examples.items


def _drawn(things: Sequence[T]) -> Iterator[T]:
    """Return the items in a pseudo-random order, the same each time."""
    return (things[place] for place in np.random.default_rng(0).permutation(len(things)))


def _up_to(characters: int, things: Iterator[T], size: Callable[[T], int]) -> Iterator[T]:
    """Yield the first items that together have this many characters, or all of them."""
    while characters > 0 and (one := next(things, None)) is not None:
        characters -= size(one)
        yield one


def _characters_per_second(probe: Probe) -> tuple[int, float]:
    """Return how many texts were tried, and the rate of the last step; the first one loads the
    model.
    """
    tried, rate = 0, 1.0
    for characters in STEPS:
        started = time.perf_counter()
        texts, done = probe(characters)
        spent = time.perf_counter() - started
        if not texts:
            break
        tried, rate = tried + texts, done / max(spent, 1e-9)
        if characters != STEPS[0] and spent > SECONDS:
            break
    return tried, max(rate, 1.0)


def _peak() -> int:
    """Return the bytes of the most memory that this process has had."""
    import resource

    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else 1024 * most


def _device_peak(device: str) -> int | None:
    """Return the bytes of the most memory of a GPU that torch has had; None without one."""
    if not device.startswith("cuda"):
        return None
    import torch

    return int(torch.cuda.max_memory_reserved(device))
