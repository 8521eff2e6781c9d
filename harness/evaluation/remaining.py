"""Lists the unfinished units of a plan, each with the command that measures it alone."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from harness.evaluation.planned import Plan, PlannedTask
from harness.evaluation.space import row_bytes, task_vector_bytes, vector_width
from harness.kinds import KINDS


@dataclass(frozen=True)
class Remaining:
    """One language of one task that is not finished.

    ``signature``: of the outcome file; with ``--layer all`` those of all layers, which one command
    measures from one pass, separated by spaces. ``texts``, ``characters``: distinct ones that a
    machine with an empty cache encodes for it (or questions that it reads), the pool of candidates
    included. ``disk``: bytes of their vectors and, at most, of their rows. ``tuned``: whether the
    checkpoint that it is measured on is trained already; None where that is the checkpoint itself.
    """

    model: str
    revision: str
    task: str
    lang: str
    signature: str
    track: str
    texts: int
    characters: int
    disk: int
    tuned: bool | None
    command: str


def remaining(plan: Plan, model: str, options: Sequence[str]) -> Iterator[Remaining]:
    """Yield the shards of a plan that are not finished, in the order that one run takes them.

    ``model``: as it was named. ``options``: those of ``xharness eval`` besides tasks and languages,
    as words.
    """
    checkpoint = plan.checkpoint
    width = vector_width(checkpoint)
    named = model if checkpoint.local else f"{checkpoint.id}@{checkpoint.revision}"
    for task in plan.tasks:
        tuning = plan.tunings.get(task.recipe.name) if task.recipe else None
        pool = set(KINDS[task.card.kind].pool(task.loaded.examples))
        pooled = len(pool), sum(len(text) for text in pool)
        for unit in task.unfinished:
            texts, characters = _size(task, unit, plan.request.selection.limit, pooled)
            words = [
                "xharness",
                "eval",
                named,
                "--task",
                task.card.argument,
                "--lang",
                unit,
                *options,
            ]
            yield Remaining(
                model=checkpoint.id,
                revision=checkpoint.revision,
                task=task.card.name,
                lang=unit,
                signature=" ".join(planned.job.signature for planned in task.jobs),
                track=task.jobs[0].job.track,
                texts=texts,
                characters=characters,
                disk=task_vector_bytes(task, texts, width) + row_bytes(task, texts),
                tuned=tuning.done if tuning else None,
                command=shlex.join(words),
            )


def _size(
    task: PlannedTask, unit: str, limit: int | None, pooled: tuple[int, int]
) -> tuple[int, int]:
    own: set[tuple[str, str]] = set()
    for role, texts in KINDS[task.card.kind].texts(task.loaded.examples, unit, limit):
        own.update((role, text) for text in texts)
    return len(own) + pooled[0], sum(len(text) for _, text in own) + pooled[1]
