"""Evaluate: plan → jobs → outcomes → scores, and resume."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any
from typing import Protocol as Interface

import pyarrow as pa

from harness.cards.task import CustomCard
from harness.checkpoint.loading import load_reader, refusing
from harness.checkpoint.tokenizer import load_tokenizer
from harness.data.load import Where
from harness.errors import DataError, HarnessError, IncompleteError
from harness.evaluation.jobs import Job
from harness.evaluation.plan import Plan, PlannedTask
from harness.evaluation.request import Request
from harness.inference.encoder import Backbone, Encoder
from harness.inference.objects import GivenModel, ObjectEncoder
from harness.inference.probe import READS_PADDING, UNTRIED
from harness.inference.protocol import PROTOCOL_VERSION, Encoding
from harness.inference.reader import Reader, Reading
from harness.io.environment import harness_version, libraries
from harness.kinds import KINDS
from harness.kinds.kind import UnitResult
from harness.results.outcomes import FORMAT
from harness.results.scores import note_row, score_file
from harness.training.target import Tuning, provenance, tuned
from harness.training.trainer import Told

if TYPE_CHECKING:
    from harness.checkpoint.resolve import Checkpoint


Advance = Callable[[int, int], None]


class Reporter(Interface):
    """Who is told how a run goes."""

    def planned(self, plan: Plan) -> None:
        """The plan is made; nothing has run."""

    def advance(self, texts: int, characters: int) -> None:
        """So many more distinct texts are encoded, or questions read, of so many characters."""

    def finished(self, job: Job, table: pa.Table) -> None:
        """A job's file is complete; ``table`` are its scores."""

    def tuning(self, tuning: Tuning) -> AbstractContextManager[Told]:
        """A checkpoint is tuned, for as long as the context lasts."""


def run(plan: Plan, reporter: Reporter) -> pa.Table:
    """Do what is not done yet and return the scores of all that was planned.

    Each finished language is kept at once, each finished task is one Parquet file. What does not
    apply to the checkpoint, or could not be had, is a row without a value and with a note.
    """
    reporter.planned(plan)
    tables: list[pa.Table] = []
    for tuning, tasks in groups(plan):
        checkpoint, made = plan.checkpoint, None
        if tuning is not None and not all(task.finished for task in tasks):
            with reporter.tuning(tuning) as watcher:
                checkpoint = tuned(tuning, where_of(plan.request), watcher)
            made = provenance(tuning, checkpoint)
        tables += _measure(plan.request, tasks, checkpoint, made, reporter)
    return pa.concat_tables([*tables, *not_measured(plan)])


def groups(plan: Plan) -> list[tuple[Tuning | None, list[PlannedTask]]]:
    """The tasks by the checkpoint they are measured on: the plan's own, then each tuned one."""
    found: list[tuple[Tuning | None, list[PlannedTask]]] = []
    for tuning in (None, *plan.tunings.values()):
        recipe = tuning.recipe if tuning else None
        found.append((tuning, [task for task in plan.tasks if task.recipe == recipe]))
    return found


def where_of(request: Request) -> Where:
    """Where a request's data may come from."""
    return Where(data=request.data, cache=request.cache, offline=request.offline)


def reads(task: PlannedTask) -> bool:
    """Whether a task is answered by a reader, not searched in an encoder's vectors."""
    return KINDS[task.card.kind].needs == "reader"


def not_measured(plan: Plan) -> list[pa.Table]:
    """A row without a value for what does not apply, could not be had, or was left out."""
    reasons = [
        *plan.inapplicable.items(),
        *((task, f"missing: {why}") for task, why in plan.missing.items()),
        *((task, f"broken data: {why}") for task, why in plan.broken.items()),
        *((task, f"left out: {why}") for task, why in plan.left_out.items()),
    ]
    return [note(plan, task, why) for task, why in reasons]


def _measure(
    request: Request,
    tasks: Sequence[PlannedTask],
    checkpoint: Checkpoint,
    made: Mapping[str, Any] | None,
    reporter: Reporter,
) -> list[pa.Table]:
    """The tasks that are measured on a checkpoint: the plan's own, or a tuned one of it."""
    tables: list[pa.Table] = []
    encoding_tasks = [task for task in tasks if not reads(task)]
    reading_tasks = [task for task in tasks if reads(task)]
    if isinstance(checkpoint, GivenModel):
        encoder = ObjectEncoder(checkpoint, reporter.advance)
        for task in encoding_tasks:
            tables += _run_task(request, task, encoder, made, reporter)
    elif encoding_tasks:
        backbone = make_backbone(request, checkpoint, encoding_tasks)
        since = time.time_ns() if request.fresh else 0
        for task in encoding_tasks:
            # Under no name of its own, which would keep the backbone when a reader is loaded.
            tables += _run_task(
                request,
                task,
                make_encoder(request, task, backbone, since, reporter.advance),
                made,
                reporter,
            )
        del backbone
    if reading_tasks:
        reader = LazyReader(request, checkpoint, reporter.advance)
        for task in reading_tasks:
            tables += _run_task(request, task, reader, made, reporter)
    return tables


def check_complete(plan: Plan, table: pa.Table | None) -> None:
    """Raise when something planned could not be measured.

    Raises:
        DataError: names whose data is broken; ``error.scores`` holds what there is.
        IncompleteError: names what is missing; likewise.
    """
    missing = ", ".join(plan.missing)
    error: HarnessError
    if plan.broken:
        why = next(iter(plan.broken.values()))
        also = f"; no data for {missing}" if missing else ""
        error = DataError(f"broken data of {', '.join(plan.broken)} ({why}){also}")
    elif plan.missing:
        error = IncompleteError(
            f"incomplete: no data for {missing} ({next(iter(plan.missing.values()))})"
        )
    else:
        return
    error.scores = table
    raise error


def _run_task(
    request: Request,
    task: PlannedTask,
    model: Encoder | ObjectEncoder | LazyReader,
    made: Mapping[str, Any] | None,
    reporter: Reporter,
) -> list[pa.Table]:
    tables = []
    for job in task.jobs:
        if request.fresh:
            job.file(request.out).remove()
        done = task.done[job.signature]
        if not done.issuperset(task.units):
            prepared = KINDS[task.card.kind].prepare(job, task.loaded.examples, model)
            for unit in task.units:
                if unit in done:
                    _announce(task, job, unit, model)
                else:
                    run_unit(request, task, job, unit, model, prepared, made)
        tables.append(close_job(request, task, job, reporter))
    return tables


def run_unit(
    request: Request,
    task: PlannedTask,
    job: Job,
    unit: str,
    model: Encoder | ObjectEncoder | LazyReader,
    prepared: Any,
    made: Mapping[str, Any] | None,
) -> None:
    """Measure one unit of a job and keep its rows as a part.

    ``prepared``: what the kind's ``prepare`` gave for the job. ``made``: the provenance of the
    tuned checkpoint that ``model`` is, if it is one.
    """
    started = time.monotonic()
    kind = KINDS[task.card.kind]
    measured = kind.run(job, task.loaded.examples, unit, model, prepared)
    remarks = [*job.checkpoint.remarks, *model.remarks]
    meta = _meta(request, task, job, unit, measured, remarks, time.monotonic() - started)
    if made:
        meta["tuning"] = made
    job.file(request.out).write_part(unit, measured.rows, meta)


def close_job(request: Request, task: PlannedTask, job: Job, reporter: Reporter) -> pa.Table:
    """Merge the parts of a job whose units are all finished; returns their scores."""
    file = job.file(request.out)
    file.merge(task.card.languages)
    table = score_file(file, task.units)
    reporter.finished(job, table)
    return table


def _announce(
    task: PlannedTask, job: Job, unit: str, model: Encoder | ObjectEncoder | LazyReader
) -> None:
    # Batches are formed as if the finished units ran before: see Encoder.announce.
    if isinstance(model, Encoder):
        for role, texts in KINDS[task.card.kind].texts(task.loaded.examples, unit, job.limit):
            model.announce(texts, role=role)


def make_backbone(
    request: Request,
    checkpoint: Checkpoint,
    tasks: Sequence[PlannedTask],
) -> Backbone:
    """The checkpoint's encoder up to the highest layer that the tasks need; not loaded yet."""
    layers = {job.layer for task in tasks for job in task.jobs}
    return Backbone(
        checkpoint,
        dtype=request.protocol.dtype,
        device=request.device,
        top=max(layers),
        layers=sorted(layers),
    )


def make_encoder(
    request: Request, task: PlannedTask, backbone: Backbone, since: int, advance: Advance
) -> Encoder:
    """The encoder of one task, under the encodings of all its jobs."""
    return Encoder(
        backbone,
        [job.how for job in task.jobs if isinstance(job.how, Encoding)],
        cache=request.cache,
        batch_tokens=request.batch_tokens,
        since=since,
        progress=advance,
    )


class LazyReader:
    """A checkpoint's reader, loaded when the first question is read."""

    def __init__(self, request: Request, checkpoint: Checkpoint, advance: Advance) -> None:
        self._request = request
        self._checkpoint = checkpoint
        self._progress = advance
        self._reader: Reader | None = None

    @property
    def remarks(self) -> tuple[str, ...]:
        """What is to be said beside the scores of these answers."""
        notes = load_tokenizer(self._checkpoint).notes
        one_length = self._reader is not None and self._reader.one_length
        return (*notes, READS_PADDING) if one_length else notes

    def read(self, pairs: Sequence[tuple[str, str]], *, lang: str) -> Any:
        """As ``Reader.read``."""
        if self._reader is None:
            request = self._request
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
            with refusing(self._checkpoint, UNTRIED):
                self._reader.probe()
        mean = sum(len(question) + len(context) for question, context in pairs) // len(pairs)
        return self._reader.read(
            pairs, lang=lang, progress=lambda read: self._progress(read, read * mean)
        )


def _meta(
    request: Request,
    task: PlannedTask,
    job: Job,
    unit: str,
    measured: UnitResult,
    remarks: Sequence[str],
    seconds: float,
) -> dict[str, Any]:
    """What stands in the Parquet file under the key ``xharness``."""
    checkpoint, loaded, card = job.checkpoint, task.loaded, job.card
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
        # A card outside the package goes along, so that its rows can be read without it.
        **({"card": card.portable()} if isinstance(card, CustomCard) else {}),
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
        "device": request.device,
        "custom": list(job.custom),
        "degenerate": [unit] if measured.degenerate else [],
        "candidates": {} if measured.candidates is None else {unit: measured.candidates},
        "indistinct": {} if measured.indistinct is None else {unit: measured.indistinct},
        "data_complete": loaded.complete,
        "notes": [*loaded.notes, *remarks],
        "remarks": list(remarks),  # of the notes those that set no row apart
        "mixed": [],
        "route": loaded.route,
        "data": dict(loaded.files),
        "harness": harness_version(),
        "libraries": libraries(),
        "timing": {unit: {"seconds": round(seconds, 3), "finished": int(time.time())}},
    }


def note(plan: Plan, task: str, why: str) -> pa.Table:
    """A row without a value for ``task`` or ``task/unit``, and why there is none."""
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
    return note_row({**common, **({"lang": unit} if unit else {})}, why)
