"""Cuts a plan into shards, on which machines work independently, and orders them.

A lane is a tuning with its tasks, or one task. It gives stages of shards; a stage begins when the
one before has ended. Texts come before languages, so that each distinct text is encoded once, in
the batches that a run on one machine would form.
"""

from __future__ import annotations

import time
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from harness.data.load import DataLocation
from harness.errors import KINDS as ERRORS
from harness.errors import HarnessError, IncompleteError
from harness.evaluation.planned import Plan, PlannedTask
from harness.evaluation.reporting import Reporter
from harness.evaluation.run import (
    TaskContext,
    close_job,
    groups,
    make_backbone,
    make_encoder,
    note,
)
from harness.inference.protocol import Role
from harness.kinds import KINDS
from harness.results.outcomes import OutcomeFile
from harness.results.scores import score_file
from harness.training.target import Tuning, provenance

if TYPE_CHECKING:
    from harness.checkpoint.resolve import Checkpoint

# So many characters of a part of texts are a shard of their own: a few batches on a core, so that
# no language is waited for alone; or so many that a GPU does not wait for the tokenizer, which goes
# over the whole part each time.
SHARD_CHARACTERS = {"cpu": 16_000, "cuda": 16_000_000}
SEEN_SECONDS = 90.0  # what another machine wrote is waited for; NFS keeps a listing up to a minute


@dataclass(frozen=True)
class Tune:
    """Train the checkpoint that tasks are measured on; gives the tuned Checkpoint."""

    tuning: Tuning
    location: DataLocation


@dataclass(frozen=True)
class Encode:
    """Vectors of one share of a part's batches, into the store."""

    texts: Sequence[str]
    role: Role
    lang: str
    share: tuple[int, int]


@dataclass(frozen=True)
class Measure:
    """The rows of one unit of the task's ``job``-th job, as a part beside the outcome file."""

    job: int
    unit: str


Shard = Tune | Encode | Measure


@dataclass(frozen=True)
class ShardResult:
    """How a shard ended.

    ``texts``, ``characters``: how many it encoded. ``checkpoint``: what it trained. ``failed``: why
    the shard itself failed; ``code``: the exit code of that error (5 for an unexpected one).
    ``missing_path``: the folder that its machine does not see.
    """

    texts: int = 0
    characters: int = 0
    checkpoint: Checkpoint | None = None
    failed: str = ""
    code: int = IncompleteError.exit_code
    missing_path: str = ""


Stage = list[tuple[TaskContext | None, Shard]]
Lane = Generator[Stage, list[ShardResult], list[pa.Table]]


Failures = list[HarnessError]


def lanes(plan: Plan, machines: int, reporter: Reporter, failures: Failures) -> list[Lane]:
    """Return the lanes of a plan, in the order of its tables.

    ``machines``: how many shards run at a time. A failure, on a worker or here, is recorded in
    ``failures`` and as a row without a value; the other shards continue.
    """
    since = time.time_ns() if plan.request.runtime.fresh else 0

    def lane(
        task: PlannedTask,
        checkpoint: Checkpoint | None = None,
        tuning_provenance: Mapping[str, Any] | None = None,
    ) -> Lane:
        context = TaskContext(
            plan.request, task, plan.checkpoint, checkpoint, tuning_provenance, since
        )
        alone = _task_lane(plan, context, machines, reporter, failures)
        return _kept(alone, plan, [task.card.name], failures)

    def tuned_lane(tuning: Tuning, tasks: Sequence[PlannedTask]) -> Lane:
        checkpoint, tuning_provenance = None, None
        if not all(task.finished for task in tasks):
            with reporter.tuning(tuning):  # says that it begins; its steps are another machine's
                pass
            (result,) = yield [(None, Tune(tuning, plan.request.location))]
            if result.checkpoint is None:
                names = [task.card.name for task in tasks]
                return _failed(plan, dict.fromkeys(names, result), failures)
            checkpoint = result.checkpoint
            tuning_provenance = provenance(tuning, checkpoint)
        return (yield from _together([lane(task, checkpoint, tuning_provenance) for task in tasks]))

    found: list[Lane] = []
    for tuning, tasks in groups(plan):
        if tuning is None:
            found += [lane(task) for task in tasks]
        else:
            found.append(tuned_lane(tuning, tasks))
    return found


def _task_lane(
    plan: Plan, context: TaskContext, machines: int, reporter: Reporter, failures: Failures
) -> Lane:
    task, request = context.task, context.request
    if request.runtime.fresh:
        for planned in task.jobs:
            planned.file.remove(planned.done)
    todo = [
        Measure(number, unit)
        for number, planned in enumerate(task.jobs)
        for unit in task.units
        if unit not in planned.done
    ]
    failed: dict[tuple[int, str], ShardResult] = {}
    if todo and not task.reads:
        texts = _encode_shards(context, machines, reporter)
        if texts:  # what fails here fails again below, where it has a name
            yield [(context, shard) for shard in texts]
    if todo:
        results = yield [(context, shard) for shard in todo]
        failed = {
            (shard.job, shard.unit): result
            for shard, result in zip(todo, results, strict=True)
            if result.failed
        }
    tables: list[pa.Table] = []
    for number, planned in enumerate(task.jobs):
        bad = {unit: result for (of, unit), result in failed.items() if of == number}
        if not bad:
            _wait_until_seen(planned.file, task.units)
            tables.append(close_job(task, planned, reporter))
            continue
        if len(bad) < len(task.units):  # parts stay parts: another run finishes them
            tables.append(score_file(planned.file, task.units))
        named = {f"{task.card.name}/{unit}": result for unit, result in bad.items()}
        tables += _failed(plan, named, failures)
    return tables


def _failed(plan: Plan, results: Mapping[str, ShardResult], failures: Failures) -> list[pa.Table]:
    """Return the rows of what failed, by task or task/unit; each is named in ``failures``."""
    rows, label = [], plan.checkpoint.label
    for name, result in results.items():
        why = result.failed.removeprefix(f"{label}: ")
        lost = result.code == IncompleteError.exit_code
        failures.append(ERRORS[result.code](f"{label} {name} ({why})" if lost else result.failed))
        rows.append(note(plan, name, f"failed: {why}"))
    return rows


def _kept(lane: Lane, plan: Plan, names: Sequence[str], failures: Failures) -> Lane:
    """Return the lane, whose errors in this process (as from its tokenizer) end no other lane."""
    try:
        return (yield from lane)
    except HarnessError as error:
        result = ShardResult(failed=str(error), code=error.exit_code)
        return _failed(plan, dict.fromkeys(names, result), failures)


def _encode_shards(context: TaskContext, machines: int, reporter: Reporter) -> list[Encode]:
    """Return the texts that have no vector yet, part by part as one machine would take them.

    The texts of finished units come first to be announced, as in ``Encoder.announce``. Parts are
    formed by token ids: the command's own machine tokenises what the store does not know, without
    the weights, and leaves the keys of the ids there for the workers.
    """
    task, request = context.task, context.request
    kind = KINDS[task.card.kind]
    backbone = make_backbone([context])
    encoder = make_encoder(context, backbone, reporter.advance)
    least = SHARD_CHARACTERS.get(request.runtime.device.split(":")[0], SHARD_CHARACTERS["cpu"])
    shards: list[Encode] = []

    def add(texts: Sequence[str], role: Role, lang: str) -> None:
        for part in encoder.parts(texts, role=role):
            characters = sum(len(text) for text in part)
            if not encoder.missing(part, role=role).any():
                reporter.advance(len(part), characters)
                continue
            shares = min(machines, len(part), max(1, characters // least))
            shards.extend(Encode(part, role, lang, (share, shares)) for share in range(shares))

    unfinished = set(task.unfinished)
    add(kind.pool(task.loaded.examples), "document", "")
    for unit in task.units:
        for role, texts in kind.texts(task.loaded.examples, unit, request.selection.limit):
            if unit in unfinished:
                add(texts, role, unit)
            else:
                encoder.announce(texts, role=role)
    return shards


def _wait_until_seen(file: OutcomeFile, units: Sequence[str]) -> None:
    """Wait for the parts that other machines wrote: a merge that misses one would lose it.

    Raises:
        IncompleteError: they do not come.
    """
    deadline = time.monotonic() + SEEN_SECONDS
    while unseen := set(units) - file.done().keys():
        if time.monotonic() > deadline:
            raise IncompleteError(
                f"{file.parts} lacks {', '.join(sorted(unseen))}, which workers have written: put "
                "--out on a folder that all nodes share, and run the same command again"
            )
        time.sleep(0.2)


def _together(members: Sequence[Lane]) -> Lane:
    """Return several lanes as one: their first stages together, then their second ones."""
    tables: list[list[pa.Table]] = [[] for _ in members]
    answers: list[list[ShardResult] | None] = [None for _ in members]
    running = set(range(len(members)))
    while running:
        stages: dict[int, Stage] = {}
        for number in sorted(running):
            try:
                stages[number] = members[number].send(answers[number])  # type: ignore[arg-type]
            except StopIteration as end:
                tables[number] = end.value
                running.discard(number)
        if not stages:
            break
        results = iter((yield [shard for stage in stages.values() for shard in stage]))
        for number, stage in stages.items():
            answers[number] = [next(results) for _ in stage]
    return [table for found in tables for table in found]
