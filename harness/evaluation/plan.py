"""What a run will do: the jobs of a checkpoint, their examples, and what is done already."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, partial
from typing import TYPE_CHECKING

from harness.cards.target_recipes import TargetRecipe
from harness.cards.task import TaskCard
from harness.checkpoint.heads import label_order, lacking
from harness.errors import DataError, RefusedError, UsageError
from harness.evaluation.gaps import Gaps, of_units
from harness.evaluation.jobs import (
    Job,
    MarkedJob,
    Shape,
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

    choice = choose_cards(request.selection)
    for card, _ in choice.cards:
        split_of(request.selection, card)
    chosen = [
        Chosen(card, units, recipe)
        for card, units in choice.cards
        for recipe in measured_after(request, card.name)
    ]
    # Retrieval first: the encoder is given back before a head is loaded.
    chosen.sort(key=lambda one: one.needs != "encoder")
    tuned = _tunings(checkpoint, request, chosen, download)
    shape = cache(partial(describe, checkpoint))
    gaps = Gaps(downloads=dict(tuned.downloads))
    tasks = []
    for one in chosen:
        tuning = tuned.planned.get(one.recipe.name) if one.recipe else None
        if one.recipe is not None and one.recipe.name in tuned.missing:
            gaps.missing[one.card.name] = tuned.missing[one.recipe.name]
        elif why := _inapplicable(checkpoint, request, one):
            gaps.inapplicable[one.card.name] = why
        else:
            jobs = _jobs(checkpoint, request, one, tuning, shape)
            if (read := _read(request, one, gaps, download)) is None:
                continue
            loaded, units = read
            planned = [_planned_job(job, checkpoint, request, loaded, tuning) for job in jobs]
            tasks.append(_planned(one.card, loaded, planned, units, request.selection.limit))
    needed = {task.recipe.name for task in tasks if task.recipe}
    return Plan(
        checkpoint,
        request,
        tuple(tasks),
        gaps.inapplicable,
        gaps.missing,
        gaps.downloads,
        {name: tuning for name, tuning in tuned.planned.items() if name in needed},
        gaps.broken,
        choice.left_out,
    )


@dataclass(frozen=True)
class Chosen:
    """A task that was asked for, with its units, and what it is to be tuned by, if anything."""

    card: TaskCard
    units: tuple[str, ...]
    recipe: TargetRecipe | None

    @property
    def needs(self) -> str:
        """Which head it needs, or ``encoder`` for none."""
        return KINDS[self.card.kind].needs


def _inapplicable(checkpoint: Checkpoint, request: Request, chosen: Chosen) -> str:
    """Why a task cannot be measured on the checkpoint, or nothing."""
    card = chosen.card
    if chosen.needs == "encoder":
        return ""
    if isinstance(checkpoint, GivenModel):
        return checkpoint.head_note
    if chosen.recipe is None and (why := _no_head(checkpoint, card, request.selection)):
        remedy = f"{card.name} has no target recipe" if request.finetune else NO_HEAD_REMEDY
        return f"{why}: {remedy}"
    return ""


def _jobs(
    checkpoint: Checkpoint,
    request: Request,
    chosen: Chosen,
    tuning: Tuning | None,
    shape: Callable[[], Shape],
) -> list[MarkedJob]:
    """The jobs of a task: one, or with ``--layer all`` one a layer."""
    if isinstance(checkpoint, GivenModel):
        return [object_job(checkpoint, chosen.card, request)]
    if chosen.needs != "encoder":
        jobs = [head_job(chosen.card, request)]
    else:
        jobs = encoding_jobs(chosen.card, request, checkpoint.native, shape(), chosen.recipe)
    if chosen.recipe is None:
        return jobs
    return [tuned_job(job, chosen.recipe, tuning) for job in jobs]


def _read(
    request: Request, chosen: Chosen, gaps: Gaps, download: bool
) -> tuple[Loaded, tuple[str, ...]] | None:
    """The task's data and the units that can be measured; None where there are none.

    What is missing or broken is added to ``gaps``.
    """
    from harness.data.load import load, planned_downloads

    card, units, selection = chosen.card, chosen.units, request.selection
    split = split_of(selection, card)
    pending = [] if download else planned_downloads(card, split, units, request.location)
    if pending:
        gaps.downloads[card.name] = pending
        return None
    units = small_units(units) if selection.smoke else units
    try:
        loaded = load(card, split, units, request.location)
        if selection.smoke:
            loaded = small(loaded)
    except DataError as error:  # costs no other task
        gaps.broken[card.name] = str(error)
        return None
    gaps.broken.update(of_units(card, units, loaded.broken))
    unscored = KINDS[card.kind].unscored(loaded.examples, split, selection.limit)
    lacking = {
        unit: why
        for unit, why in {**unscored, **loaded.missing}.items()
        if unit not in loaded.broken
    }
    gaps.missing.update(of_units(card, units, lacking))
    left = tuple(unit for unit in units if unit not in lacking and unit not in loaded.broken)
    return (loaded, left) if left else None


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
    chosen: Sequence[Chosen],
    download: bool,
) -> Tunings:
    """The tuned checkpoints that the tasks need.

    Raises:
        UsageError: the request would encode otherwise than a dual encoder is trained.
    """
    from harness.training.target import Tunings, TuningSettings, plan_tunings

    recipes = {one.recipe.name: one.recipe for one in chosen if one.recipe is not None}
    if not recipes:
        return Tunings()
    encoders = [one.card.name for one in chosen if one.recipe and one.card.lengths is not None]
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
