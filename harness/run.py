"""Evaluate: plan → jobs → outcomes → scores, and resume."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any
from typing import Protocol as Interface

import pyarrow as pa

from harness.encoder import Backbone, Encoder
from harness.environment import harness_version, libraries
from harness.errors import IncompleteError
from harness.jobs import Job
from harness.kinds import KINDS
from harness.loading import load_reader
from harness.outcomes import FORMAT
from harness.plan import Plan, PlannedTask
from harness.protocol import PROTOCOL_VERSION, Encoding
from harness.reader import Reader, Reading
from harness.scoring import note_row, score_file
from harness.sources import Where
from harness.train.target import Tuning, Watcher, provenance, tuned

if TYPE_CHECKING:
    from harness.checkpoint import Checkpoint


class Reporter(Interface):
    """Who is told how a run goes."""

    def planned(self, plan: Plan) -> None:
        """The plan is made; nothing has run."""

    def advance(self, texts: int, characters: int) -> None:
        """So many more distinct texts are encoded, or questions read, of so many characters."""

    def finished(self, job: Job, table: pa.Table) -> None:
        """A job's file is complete; ``table`` are its scores."""

    def tuning(self, tuning: Tuning) -> AbstractContextManager[Watcher]:
        """A checkpoint is tuned, for as long as the context lasts."""


def run(plan: Plan, reporter: Reporter) -> pa.Table:
    """Do what is not done yet and return the scores of all that was planned.

    Each finished language is kept at once, each finished task is one Parquet file. What does not
    apply to the checkpoint, or could not be had, is a row without a value and with a note.
    """
    reporter.planned(plan)
    tables = _measure(plan, plan.checkpoint, None, reporter)
    for tuning in plan.tunings.values():
        tables += _measure(plan, _tuned(plan, tuning, reporter), tuning, reporter)
    tables += [_note(plan, task, why) for task, why in plan.inapplicable.items()]
    tables += [_note(plan, task, f"missing: {why}") for task, why in plan.missing.items()]
    return pa.concat_tables(tables)


def _measure(
    plan: Plan, checkpoint: Checkpoint, tuning: Tuning | None, reporter: Reporter
) -> list[pa.Table]:
    """The tasks that are measured on a checkpoint: the plan's own, or a tuned one of it."""
    recipe = tuning.recipe if tuning else None
    tasks = [task for task in plan.tasks if task.recipe == recipe]
    made = None
    if tuning is not None and checkpoint is not plan.checkpoint:
        made = provenance(tuning, checkpoint)
    tables: list[pa.Table] = []
    encoding_tasks = [t for t in tasks if KINDS[t.card.kind].needs == "encoder"]
    reading_tasks = [t for t in tasks if KINDS[t.card.kind].needs == "reader"]
    if encoding_tasks:
        backbone = _backbone(plan, checkpoint, encoding_tasks)
        since = time.time_ns() if plan.request.fresh else 0
        for task in encoding_tasks:
            encoder = _encoder(plan, task, backbone, since, reporter)
            tables += _run_task(plan, task, encoder, made, reporter)
        del backbone
    if reading_tasks:
        reader = _LazyReader(plan, checkpoint, reporter)
        for task in reading_tasks:
            tables += _run_task(plan, task, reader, made, reporter)
    return tables


def _tuned(plan: Plan, tuning: Tuning, reporter: Reporter) -> Checkpoint:
    """The tuned checkpoint, trained where it is not there; the plan's own where none is needed."""
    if all(task.finished for task in plan.tasks if task.recipe == tuning.recipe):
        return plan.checkpoint
    request = plan.request
    where = Where(data=request.data, cache=request.cache, offline=request.offline)
    with reporter.tuning(tuning) as watcher:
        return tuned(tuning, where, watcher)


def check_complete(plan: Plan, table: pa.Table) -> None:
    """Raise when something planned could not be measured.

    Raises:
        IncompleteError: names what is missing; ``error.scores`` holds what there is.
    """
    if plan.missing:
        names = ", ".join(plan.missing)
        why = next(iter(plan.missing.values()))
        error = IncompleteError(f"incomplete: no data for {names} ({why})")
        error.scores = table
        raise error


def _run_task(
    plan: Plan,
    task: PlannedTask,
    model: Encoder | _LazyReader,
    made: Mapping[str, Any] | None,
    reporter: Reporter,
) -> list[pa.Table]:
    kind = KINDS[task.card.kind]
    tables = []
    for job in task.jobs:
        file = job.file(plan.request.out)
        if plan.request.fresh:
            file.remove()
        done = task.done[job.signature]
        if not done.issuperset(task.units):
            prepared = kind.prepare(job, task.loaded.examples, model)
            for unit in task.units:
                if unit in done:
                    _announce(task, job, unit, model)
                    continue
                started = time.monotonic()
                rows, degenerate = kind.run(job, task.loaded.examples, unit, model, prepared)
                seconds = time.monotonic() - started
                meta = _meta(plan, task, job, unit, degenerate, seconds)
                file.write_part(unit, rows, {**meta, "tuning": made} if made else meta)
        file.merge(task.card.languages)
        tables.append(score_file(file, task.units))
        reporter.finished(job, tables[-1])
    return tables


def _announce(task: PlannedTask, job: Job, unit: str, model: Encoder | _LazyReader) -> None:
    # Batches are formed as if the finished units ran before: see Encoder.announce.
    if isinstance(model, Encoder):
        for role, texts in KINDS[task.card.kind].texts(task.loaded.examples, unit, job.limit):
            model.announce(texts, role=role)


def _backbone(plan: Plan, checkpoint: Checkpoint, tasks: Sequence[PlannedTask]) -> Backbone:
    top = max(job.layer for task in tasks for job in task.jobs)
    return Backbone(
        checkpoint,
        dtype=plan.request.protocol.dtype,
        device=plan.request.device,
        top=top,
    )


def _encoder(
    plan: Plan, task: PlannedTask, backbone: Backbone, since: int, reporter: Reporter
) -> Encoder:
    return Encoder(
        backbone,
        [job.how for job in task.jobs if isinstance(job.how, Encoding)],
        cache=plan.request.cache,
        batch_tokens=plan.request.batch_tokens,
        since=since,
        progress=reporter.advance,
    )


class _LazyReader:
    """A checkpoint's reader, loaded when the first question is read."""

    def __init__(self, plan: Plan, checkpoint: Checkpoint, reporter: Reporter) -> None:
        self._plan = plan
        self._checkpoint = checkpoint
        self._progress = reporter.advance
        self._reader: Reader | None = None

    def read(self, pairs: Sequence[tuple[str, str]], *, lang: str) -> Any:
        if self._reader is None:
            request = self._plan.request
            model, tokenizer = load_reader(
                self._checkpoint, dtype=request.protocol.dtype, device=request.device
            )
            self._reader = Reader(
                model,
                tokenizer,
                reading=Reading(),
                device=request.device,
                batch_tokens=request.batch_tokens,
            )
        mean = sum(len(question) + len(context) for question, context in pairs) // len(pairs)
        return self._reader.read(
            pairs, lang=lang, progress=lambda read: self._progress(read, read * mean)
        )


def _meta(
    plan: Plan, task: PlannedTask, job: Job, unit: str, degenerate: bool, seconds: float
) -> dict[str, Any]:
    """What stands in the Parquet file under the key ``xharness``."""
    checkpoint, loaded = job.checkpoint, task.loaded
    return {
        "format": FORMAT,
        "model": checkpoint.id,
        "revision": checkpoint.revision,
        "base": f"{checkpoint.base.id}@{checkpoint.base.revision}" if checkpoint.base else None,
        "model_type": checkpoint.model_type,
        "parameters": checkpoint.parameters,
        "task": job.card.name,
        "task_version": job.card.version,
        "card_hash": job.card.hash,
        "kind": job.card.kind,
        "track": job.track,
        "protocol": job.protocol,
        "protocol_version": PROTOCOL_VERSION,
        "signature": job.signature,
        "resolved": job.resolved,
        "languages": [unit],
        "split": job.split,
        "limit": job.limit,
        "seed": job.seed,
        "dtype": job.dtype,
        "device": plan.request.device,
        "custom": list(job.custom),
        "degenerate": [unit] if degenerate else [],
        "data_complete": loaded.complete,
        "notes": list(loaded.notes),
        "mixed": [],
        "route": loaded.route,
        "data": dict(loaded.files),
        "harness": harness_version(),
        "libraries": libraries(),
        "timing": {unit: {"seconds": round(seconds, 3), "finished": int(time.time())}},
    }


def _note(plan: Plan, task: str, note: str) -> pa.Table:
    protocol, checkpoint = plan.request.protocol, plan.checkpoint
    name, _, unit = task.partition("/")
    common: Mapping[str, Any] = {
        "model": checkpoint.id,
        "revision": checkpoint.revision,
        "protocol": protocol.name,
        "task": name,
        "split": plan.request.split,
        "seed": plan.request.seed,
    }
    return note_row({**common, **({"lang": unit} if unit else {})}, note)
