"""Runs a plan: jobs → outcomes → scores; what is finished is not run again."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple
from uuid import uuid4

import pyarrow as pa

from harness.cards.task import CustomCard
from harness.errors import DataError, HarnessError, IncompleteError, together
from harness.evaluation.gaps import by_task
from harness.evaluation.jobs import Job
from harness.evaluation.lazy import LazyModel
from harness.evaluation.planned import Plan, PlannedJob, PlannedTask
from harness.evaluation.reporting import Advance, Reporter
from harness.evaluation.request import Request
from harness.inference.backbone import Backbone
from harness.inference.encoder import Encoder
from harness.inference.objects import GivenModel, ObjectEncoder
from harness.inference.protocol import PROTOCOL_VERSION, Encoding
from harness.io.environment import harness_version, libraries
from harness.kinds import KINDS
from harness.kinds.kind import UnitResult
from harness.results.metadata import FORMAT
from harness.results.scores import note_row, score_file
from harness.submissions.submission import is_contaminated, own_contamination
from harness.training.target import Tuning, provenance, tuned

if TYPE_CHECKING:
    from harness.checkpoint.resolve import Checkpoint


@dataclass(frozen=True)
class TaskContext:
    """What all units of a task share; it is sent to a worker once.

    ``checkpoint``: the checkpoint that the rows name. ``tuned``: the checkpoint that is measured in
    its place, in the tuned track, with its ``tuning_provenance``. ``since``: as in ``VectorStore``.
    """

    request: Request
    task: PlannedTask
    checkpoint: Checkpoint
    tuned: Checkpoint | None = None
    tuning_provenance: Mapping[str, Any] | None = None
    since: int = 0
    key: str = field(default_factory=lambda: uuid4().hex)

    @property
    def measured(self) -> Checkpoint:
        """The checkpoint whose weights are loaded."""
        return self.tuned or self.checkpoint


class Prepared(NamedTuple):
    """A model, and what the kind's ``prepare`` gave for it."""

    model: Encoder | ObjectEncoder | LazyModel
    shared: Any


def run(plan: Plan, reporter: Reporter) -> pa.Table:
    """Measure what is unfinished and return the scores of the whole plan.

    Each finished language is kept at once, each finished task is one Parquet file. What does not
    apply to the checkpoint, or could not be had, is a row without a value and with a note.

    Raises:
        HarnessError: why a task could not be measured. What is measured on another checkpoint,
            such as one that is tuned by another recipe, is measured before.
    """
    reporter.planned(plan)
    tables: list[pa.Table] = []
    failures: list[HarnessError] = []
    since = time.time_ns() if plan.request.runtime.fresh else 0
    for tuning, tasks in groups(plan):
        with _collected(failures):
            checkpoint, tuning_provenance = None, None
            if tuning is not None and not all(task.finished for task in tasks):
                with reporter.tuning(tuning) as watcher:
                    checkpoint = tuned(tuning, plan.request.location, watcher)
                tuning_provenance = provenance(tuning, checkpoint)
            of_all = plan.checkpoint, checkpoint, tuning_provenance, since
            contexts = [TaskContext(plan.request, task, *of_all) for task in tasks]
            tables += _measure(contexts, reporter)
    if failures:
        raise together({str(error): error for error in failures}.values())
    return pa.concat_tables([*tables, *not_measured(plan)])


@contextmanager
def _collected(failures: list[HarnessError]) -> Iterator[None]:
    """Keep an error of the block for later, so that it costs no other checkpoint."""
    try:
        yield
    except HarnessError as error:
        failures.append(error)


def groups(plan: Plan) -> list[tuple[Tuning | None, list[PlannedTask]]]:
    """Return the tasks by the checkpoint they are measured on: the plan's own, then each tuned
    one.
    """
    found: list[tuple[Tuning | None, list[PlannedTask]]] = []
    for tuning in (None, *plan.tunings.values()):
        recipe = tuning.recipe if tuning else None
        found.append((tuning, [task for task in plan.tasks if task.recipe == recipe]))
    return found


def not_measured(plan: Plan) -> list[pa.Table]:
    """Return a row without a value for what does not apply, could not be had, or was left out."""
    gaps = plan.gaps
    reasons = (
        ("", gaps.inapplicable),
        ("missing: ", gaps.missing),
        ("broken data: ", gaps.broken),
        ("left out: ", gaps.left_out),
    )
    return [
        note(plan, task, f"{what}{why}") for what, found in reasons for task, why in found.items()
    ]


def _measure(contexts: Sequence[TaskContext], reporter: Reporter) -> list[pa.Table]:
    """Return the tasks that are measured on one checkpoint: the plan's own, or a tuned one of
    it.
    """
    tables: list[pa.Table] = []
    encoding = [context for context in contexts if not context.task.reads]
    reading = [context for context in contexts if context.task.reads]
    if encoding and isinstance(encoding[0].measured, GivenModel):
        encoder = ObjectEncoder(encoding[0].measured, reporter.advance)
        for context in encoding:
            tables += _run_task(context, encoder, reporter)
    elif encoding:
        backbone = make_backbone(encoding)
        for context in encoding:
            # A variable would keep the encoder, and so the backbone, when a reader is loaded.
            tables += _run_task(
                context, make_encoder(context, backbone, reporter.advance), reporter
            )
        del backbone
    for head in dict.fromkeys(context.task.head for context in reading):
        of_head = [context for context in reading if context.task.head == head]
        reader = LazyModel(of_head[0], reporter.advance)
        for context in of_head:
            tables += _run_task(context, reader, reporter)
    return tables


def check_complete(plan: Plan, table: pa.Table | None) -> None:
    """Check that all that was planned could be measured.

    Raises:
        DataError: names whose data is broken; ``error.scores`` holds what there is.
        IncompleteError: names what is missing; likewise.
    """
    broken, lacking = by_task(plan.gaps.broken), by_task(plan.gaps.missing)
    missing = ", ".join(lacking)
    error: HarnessError
    if broken:
        why = next(iter(broken.values()))
        also = f"; no data for {missing}" if missing else ""
        error = DataError(
            f"broken data of {', '.join(broken)} ({why}){also}: replace it and run again"
        )
    elif lacking:
        error = IncompleteError(
            f"incomplete: no data for {missing} ({next(iter(lacking.values()))})"
        )
    else:
        return
    error.scores = table
    raise error


def _run_task(
    context: TaskContext, model: Encoder | ObjectEncoder | LazyModel, reporter: Reporter
) -> list[pa.Table]:
    task = context.task
    tables = []
    for planned in task.jobs:
        if context.request.runtime.fresh:
            planned.file.remove(planned.done)
        if not planned.done.issuperset(task.units):
            prepared = prepare(context, planned, model)
            for unit in task.units:
                if unit in planned.done:
                    _announce(task, planned.job, unit, model)
                else:
                    run_unit(context, planned, unit, prepared)
        tables.append(close_job(task, planned, reporter))
    return tables


def prepare(
    context: TaskContext, planned: PlannedJob, model: Encoder | ObjectEncoder | LazyModel
) -> Prepared:
    """Return what all units of a job share, such as the vectors of the candidates; computed
    once.
    """
    task = context.task
    kind, settings = KINDS[task.card.kind], planned.job.unit_settings
    return Prepared(model, kind.prepare(settings, task.loaded.examples, model))


def run_unit(context: TaskContext, planned: PlannedJob, unit: str, prepared: Prepared) -> None:
    """Measure one unit of a job and keep its rows as a part."""
    started = time.monotonic()
    task, settings = context.task, planned.job.unit_settings
    model, shared = prepared
    measured = KINDS[task.card.kind].run(settings, task.loaded.examples, unit, model, shared)
    seen = _seen(context.checkpoint)
    meta = {
        **_meta(context, planned, seen),
        **_unit_meta(unit, measured),
        **_notes(context, planned, model, seen),
        "timing": _timing(unit, started),
    }
    if context.tuning_provenance:
        meta["tuning"] = context.tuning_provenance
    planned.file.write_part(unit, measured.rows, meta)


def close_job(task: PlannedTask, planned: PlannedJob, reporter: Reporter) -> pa.Table:
    """Merge the parts of a job whose units are all finished, and return their scores."""
    planned.file.merge(task.card.languages)
    table = score_file(planned.file, task.units)
    reporter.finished(planned.job, table)
    return table


def _announce(
    task: PlannedTask, job: Job, unit: str, model: Encoder | ObjectEncoder | LazyModel
) -> None:
    # Batches are formed as if the finished units ran before: see Encoder.announce.
    if isinstance(model, Encoder):
        for role, texts in KINDS[task.card.kind].texts(task.loaded.examples, unit, job.limit):
            model.announce(texts, role=role)


def make_backbone(contexts: Sequence[TaskContext]) -> Backbone:
    """Return the checkpoint's encoder up to the highest layer that the tasks need; not loaded
    yet.
    """
    layers = sorted({one.job.layer for context in contexts for one in context.task.jobs})
    request = contexts[0].request
    return Backbone(
        contexts[0].measured,
        dtype=request.protocol.dtype,
        device=request.runtime.device,
        top=layers[-1],
        layers=layers,
    )


def make_encoder(context: TaskContext, backbone: Backbone, advance: Advance) -> Encoder:
    """Return the encoder of one task, under the settings of all its jobs."""
    settings = [planned.job.settings for planned in context.task.jobs]
    return Encoder(
        backbone,
        [one for one in settings if isinstance(one, Encoding)],
        cache=context.request.runtime.cache,
        batch_tokens=context.request.runtime.batch_tokens,
        since=context.since,
        progress=advance,
    )


def _meta(context: TaskContext, planned: PlannedJob, seen: frozenset[str]) -> dict[str, Any]:
    """Return the metadata of the Parquet file (key ``xharness``), the same for all units."""
    checkpoint, loaded, job = context.checkpoint, context.task.loaded, planned.job
    return {
        "format": FORMAT,
        "model": checkpoint.id,
        "revision": checkpoint.revision,
        "base": checkpoint.base_label,
        "model_type": checkpoint.model_type,
        "parameters": checkpoint.parameters,
        "task": job.card.name,
        "task_version": job.card.version,
        "card_hash": job.card.hash,
        # A card outside the package goes along, so that its rows can be read without it.
        **({"card": job.card.portable()} if isinstance(job.card, CustomCard) else {}),
        "kind": job.card.kind,
        "track": job.track,
        "protocol": job.protocol,
        "protocol_version": PROTOCOL_VERSION,
        "signature": job.signature,
        "resolved": job.resolved,
        "split": job.split,
        "limit": job.limit,
        "seed": job.seed,
        "dtype": job.dtype,
        "device": context.request.runtime.device,
        "custom": list(planned.unranked_reasons),
        **({"contaminated": sorted(seen)} if seen else {}),
        "data_complete": loaded.complete,
        "mixed": [],
        "route": loaded.route,
        "data": dict(loaded.files),
        "harness": harness_version(),
        "libraries": libraries(),
    }


def _unit_meta(unit: str, measured: UnitResult) -> dict[str, Any]:
    return {
        "languages": [unit],
        "degenerate": [unit] if measured.degenerate else [],
        "candidates": {} if measured.candidates is None else {unit: measured.candidates},
        "indistinct": {} if measured.indistinct is None else {unit: measured.indistinct},
    }


def _notes(
    context: TaskContext,
    planned: PlannedJob,
    model: Encoder | ObjectEncoder | LazyModel,
    seen: frozenset[str],
) -> dict[str, list[str]]:
    """Return the notes and remarks; a remark does not keep rows from being ranked."""
    of_weights = dict.fromkeys((*context.checkpoint.remarks, *context.measured.remarks))
    remarks = [*of_weights, *model.remarks, *context.task.loaded.remarks]
    notes = [*context.task.loaded.notes]
    if is_contaminated(seen, planned.job.card.name, planned.job.split):
        notes.append("trained on data of this task, as the checkpoint's own submission.yaml says")
    return {"notes": [*notes, *remarks], "remarks": remarks}


def _seen(checkpoint: Checkpoint) -> frozenset[str]:
    """Return the target data that the folder of a checkpoint says it was trained on."""
    return own_contamination(checkpoint.folder) if checkpoint.local else frozenset()


def _timing(unit: str, started: float) -> dict[str, Any]:
    seconds = round(time.monotonic() - started, 3)
    return {unit: {"seconds": seconds, "finished": int(time.time())}}


def note(plan: Plan, task: str, why: str) -> pa.Table:
    """Return a row without a value for ``task`` or ``task/unit``, and why there is none."""
    protocol, checkpoint = plan.request.protocol, plan.checkpoint
    name, _, unit = task.partition("/")
    common: Mapping[str, Any] = {
        "model": checkpoint.id,
        "revision": checkpoint.revision,
        "protocol": protocol.name,
        "task": name,
        "split": plan.request.selection.split,
        "seed": plan.request.seed,
    }
    return note_row({**common, **({"lang": unit} if unit else {})}, why)
