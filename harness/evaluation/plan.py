"""What a run will do: the jobs of a checkpoint, their examples, and what is done already."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from harness.cards.target_recipes import TargetRecipe
from harness.cards.task import TaskCard
from harness.checkpoint.heads import label_order, lacking
from harness.errors import DataError, RefusedError, UsageError
from harness.evaluation.jobs import (
    Job,
    MarkedJob,
    encoding_jobs,
    head_job,
    object_job,
    tuned_job,
)
from harness.evaluation.request import (
    Request,
    Selection,
    choose_cards,
    measured_after,
    split_of,
)
from harness.evaluation.smoke import small, small_units
from harness.inference.objects import GivenModel
from harness.inference.protocol import PROTOCOL_VERSION
from harness.kinds import KINDS
from harness.results.outcomes import OutcomeFile, outcome_file

if TYPE_CHECKING:
    from harness.checkpoint.resolve import Checkpoint
    from harness.data.examples import Loaded
    from harness.data.load import Download
    from harness.training.target import Tuning, Tunings

NO_HEAD_REMEDY = "--finetune trains one by the target recipe"


@dataclass(frozen=True)
class PlannedJob:
    """A job with the file of its outcomes.

    ``done``: the units that are finished. ``unranked_reasons``: why its rows are not ranked.
    """

    job: Job
    file: OutcomeFile
    done: frozenset[str]
    unranked_reasons: tuple[str, ...]


@dataclass(frozen=True)
class PlannedTask:
    """One task: its examples, and a job for it (several with ``--layer all``)."""

    card: TaskCard
    loaded: Loaded
    jobs: tuple[PlannedJob, ...]
    units: tuple[str, ...]
    texts: int
    todo_texts: int
    todo_characters: int

    @property
    def recipe(self) -> TargetRecipe | None:
        """What the checkpoint is tuned by before it."""
        return self.jobs[0].job.recipe

    @property
    def reads(self) -> bool:
        """Whether a head answers it; else it is searched in an encoder's vectors."""
        return self.head != "encoder"

    @property
    def head(self) -> str:
        """Which head it needs, or ``encoder`` for none."""
        return KINDS[self.card.kind].needs

    @property
    def unfinished(self) -> tuple[str, ...]:
        """The units that lack rows, of one layer or another."""
        return _unfinished(self.units, self.jobs)

    @property
    def finished(self) -> bool:
        """Whether nothing is to do."""
        return not self.unfinished


@dataclass(frozen=True)
class Plan:
    """All that a run will do for one checkpoint.

    ``inapplicable``: task → why it does not apply to the checkpoint (not a failure).
    ``missing``: task or task/language → why its data could not be had. ``broken``: likewise, what
    is wrong with its data. ``left_out``: task of the suite → which languages it lacks.
    ``downloads``: task → what it still needs, in a plan that downloads nothing. ``tunings``: recipe
    → the tuned checkpoint that its tasks are measured on.
    """

    checkpoint: Checkpoint
    request: Request
    tasks: tuple[PlannedTask, ...]
    inapplicable: Mapping[str, str]
    missing: Mapping[str, str]
    downloads: Mapping[str, Sequence[Download]]
    tunings: Mapping[str, Tuning] = field(default_factory=dict)
    broken: Mapping[str, str] = field(default_factory=dict)
    left_out: Mapping[str, str] = field(default_factory=dict)


def make_plan(checkpoint: Checkpoint, request: Request, *, download: bool = True) -> Plan:
    """Read the data of every chosen task and work out the jobs; no weight is loaded.

    With ``download`` false, data that is not on disk is listed in ``downloads`` and left there.

    Raises:
        UsageError: the request does not make sense.
        RefusedError: the protocol does not apply to the checkpoint.
        DataError: what is finished was measured on other data.
    """
    from harness.checkpoint.loading import describe
    from harness.data.load import load, planned_downloads

    choice = choose_cards(request.selection)
    for card, _ in choice.cards:
        split_of(request.selection, card)
    chosen = [
        (card, units, recipe)
        for card, units in choice.cards
        for recipe in measured_after(request, card.name)
    ]
    # Retrieval first: the encoder is given back before a head is loaded.
    chosen.sort(key=lambda one: KINDS[one[0].kind].needs != "encoder")
    tuned = _tunings(checkpoint, request, chosen, download)
    shape = None
    tasks: list[PlannedTask] = []
    inapplicable: dict[str, str] = {}
    missing: dict[str, str] = {}
    broken: dict[str, str] = {}
    downloads: dict[str, list[Download]] = {}
    for card, units, recipe in chosen:
        split = split_of(request.selection, card)
        needs = KINDS[card.kind].needs
        reads = needs != "encoder"
        if recipe is not None and recipe.name in tuned.missing:
            missing[card.name] = tuned.missing[recipe.name]
            continue
        if reads and isinstance(checkpoint, GivenModel):
            inapplicable[card.name] = checkpoint.head_note
            continue
        if recipe is None and reads and (why := _no_head(checkpoint, card, request.selection)):
            remedy = f"{card.name} has no target recipe" if request.finetune else NO_HEAD_REMEDY
            inapplicable[card.name] = f"{why}: {remedy}"
            continue
        if isinstance(checkpoint, GivenModel):
            jobs = [object_job(checkpoint, card, request)]
        elif reads:
            jobs = [head_job(card, request)]
        else:
            shape = shape or describe(checkpoint)
            jobs = encoding_jobs(card, request, checkpoint.native, shape, recipe)
        tuning = tuned.planned.get(recipe.name) if recipe else None
        if recipe is not None:
            jobs = [tuned_job(job, recipe, tuning) for job in jobs]
        pending = [] if download else planned_downloads(card, split, units, request.location)
        if pending:
            downloads[card.name] = pending
            continue
        units = small_units(units) if request.selection.smoke else units
        try:
            loaded = load(card, split, units, request.location)
            if request.selection.smoke:
                loaded = small(loaded)
        except DataError as error:  # costs no other task
            broken[card.name] = str(error)
            continue
        broken |= _missing(card, units, loaded.broken)
        lacking = {
            **KINDS[card.kind].unscored(loaded.examples, split, request.selection.limit),
            **loaded.missing,
        }
        lacking = {unit: why for unit, why in lacking.items() if unit not in loaded.broken}
        missing |= _missing(card, units, lacking)
        units = tuple(unit for unit in units if unit not in lacking and unit not in loaded.broken)
        if units:
            planned = [_planned_job(job, checkpoint, request, loaded, tuning) for job in jobs]
            tasks.append(_planned(card, loaded, planned, units, request.selection.limit))
    needed = {task.recipe.name for task in tasks if task.recipe}
    return Plan(
        checkpoint,
        request,
        tuple(tasks),
        inapplicable,
        missing,
        {**downloads, **tuned.downloads},
        {name: tuning for name, tuning in tuned.planned.items() if name in needed},
        broken,
        choice.left_out,
    )


def _no_head(checkpoint: Checkpoint, card: TaskCard, selection: Selection) -> str:
    """Why the head that the checkpoint brings, if any, cannot do the task; or nothing.

    Raises:
        RefusedError: the task is named, and the head has other labels.
    """
    needs = KINDS[card.kind].needs
    if needs == "span":
        return "" if checkpoint.has_qa_head else checkpoint.head_note
    if why := lacking(checkpoint.head, needs):
        return why
    if card.labels and checkpoint.head is not None:
        try:
            label_order(checkpoint.head.labels, card.labels)
        except RefusedError as error:
            if card.argument in selection.tasks:
                raise RefusedError(f"{checkpoint.label} {card.name}: {error}") from error
            return str(error)
    return ""


def check_applies(checkpoint: Checkpoint, request: Request) -> None:
    """Whether the options apply to a checkpoint, as far as that shows without any data.

    Raises:
        UsageError, RefusedError: as ``make_plan``.
    """
    from harness.checkpoint.loading import describe

    shape = None
    for card, _ in choose_cards(request.selection).cards:
        card.check_split(request.selection.split)
        for recipe in measured_after(request, card.name):
            if KINDS[card.kind].needs != "encoder" or isinstance(checkpoint, GivenModel):
                continue
            shape = shape or describe(checkpoint)
            encoding_jobs(card, request, checkpoint.native, shape, recipe)


def _tunings(
    checkpoint: Checkpoint,
    request: Request,
    chosen: Sequence[tuple[TaskCard, tuple[str, ...], TargetRecipe | None]],
    download: bool,
) -> Tunings:
    """The tuned checkpoints that the tasks need.

    Raises:
        UsageError: the request would encode otherwise than a dual encoder is trained.
    """
    from harness.training.target import Tunings, TuningSettings, plan_tunings

    recipes = {recipe.name: recipe for _, _, recipe in chosen if recipe is not None}
    if not recipes:
        return Tunings()
    encoders = [card.name for card, _, recipe in chosen if recipe and card.lengths is not None]
    asked = request.protocol
    if encoders and (asked.pooling or asked.layer != "auto" or any(asked.prompts.values())):
        raise UsageError(
            f"--finetune trains a dual encoder for {', '.join(encoders)}, which is pooled as it is "
            "trained: leave --pooling, --layer and --prompt-… out, or name other tasks"
        )
    return plan_tunings(
        checkpoint,
        recipes.values(),
        TuningSettings(request.seed, request.protocol.dtype, request.runtime.device),
        request.location,
        download=download,
    )


def _missing(card: TaskCard, units: Sequence[str], reasons: Mapping[str, str]) -> dict[str, str]:
    of_units = {f"{card.name}/{unit}": reason for unit, reason in reasons.items()}
    if len(reasons) < len(units) or not reasons:
        return of_units
    if len(set(reasons.values())) == 1:
        return {card.name: next(iter(reasons.values()))}
    return by_task(of_units, {card.name: len(units)})


def by_task(reasons: Mapping[str, str], totals: Mapping[str, int] | None = None) -> dict[str, str]:
    """The reasons of ``task`` or ``task/language`` as one line per task.

    ``totals``: task → how many languages it should have. Of several languages the first is named.
    """
    found: dict[str, list[tuple[str, str]]] = {}
    for name, why in reasons.items():
        task, _, unit = name.partition("/")
        found.setdefault(task, []).append((unit, why))
    lines = {}
    for task, of_task in found.items():
        unit, why = of_task[0]
        if len(of_task) > 1:
            total = f" of {totals[task]}" if totals and task in totals else ""
            why = f"{len(of_task)}{total} languages of {task}, such as {unit}: {why}"
        lines[f"{task}/{unit}" if unit and len(of_task) == 1 else task] = why
    return lines


def _done(file: OutcomeFile, loaded: Loaded, tuning: Tuning | None) -> frozenset[str]:
    """The units that are finished, on the same data and under the same protocols.

    Raises:
        DataError: they were measured (or tuned) on other data, since files without a published
            checksum can change, or under another version of the protocols.
    """
    done = frozenset(file.done())
    if done:
        meta = file.meta()
        before, version = meta["data"], meta.get("protocol_version", 1)
        if version != PROTOCOL_VERSION:
            raise DataError(
                f"{file.path} was measured under version {version} of the protocols, now "
                f"{PROTOCOL_VERSION}: measure again with --fresh, or name another --out"
            )
        now = {**loaded.files}
        if tuning is not None:
            before = {**before, **meta["tuning"]["data"]}
            now |= tuning.all_data
        for path, digest in now.items():
            if before.get(path, digest) != digest:
                raise DataError(
                    f"{file.path} was measured on another {path} ({before[path][:12]}, now "
                    f"{digest[:12]}): measure again with --fresh, or name another --out"
                )
    return done


def _planned_job(
    marked: MarkedJob,
    checkpoint: Checkpoint,
    request: Request,
    loaded: Loaded,
    tuning: Tuning | None,
) -> PlannedJob:
    job, reasons = marked
    file = outcome_file(
        request.runtime.out, checkpoint.slug, checkpoint.revision12, job.card.name, job.signature
    )
    done = frozenset[str]() if request.runtime.fresh else _done(file, loaded, tuning)
    return PlannedJob(job, file, done, reasons)


def _planned(
    card: TaskCard,
    loaded: Loaded,
    jobs: Sequence[PlannedJob],
    units: tuple[str, ...],
    limit: int | None,
) -> PlannedTask:
    kind = KINDS[card.kind]
    counted: set[tuple[str, str]] = set()
    todo: set[tuple[str, str]] = set()

    def count(role: str, texts: Iterable[str], *, pending: bool) -> None:
        new = {(role, text) for text in texts} - counted
        counted.update(new)
        if pending:
            todo.update(new)

    unfinished = _unfinished(units, jobs)
    count("document", kind.pool(loaded.examples), pending=bool(unfinished))
    for unit in units:
        for role, texts in kind.texts(loaded.examples, unit, limit):
            count(role, texts, pending=unit in unfinished)
    characters = sum(len(text) for _, text in todo)
    return PlannedTask(card, loaded, tuple(jobs), units, len(counted), len(todo), characters)


def _unfinished(units: Sequence[str], jobs: Sequence[PlannedJob]) -> tuple[str, ...]:
    return tuple(unit for unit in units if any(unit not in planned.done for planned in jobs))
