"""Plans a run: the jobs of a checkpoint, their examples, and what is done already."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import cache, partial
from typing import TYPE_CHECKING, NamedTuple

from harness.cards.target_recipes import TargetRecipe, recipe_of
from harness.cards.task import TaskCard
from harness.checkpoint.heads import label_order, lacking
from harness.errors import DataError, RefusedError, UsageError
from harness.evaluation.gaps import Gaps, of_units
from harness.evaluation.jobs import (
    MarkedJob,
    Shape,
    encoding_jobs,
    head_job,
    object_job,
    tuned_job,
)
from harness.evaluation.planned import Plan, PlannedJob, PlannedTask, head_of, unfinished_of
from harness.evaluation.request import (
    Choice,
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
from harness.submissions.submission import own_contamination

if TYPE_CHECKING:
    from harness.checkpoint.resolve import Checkpoint
    from harness.data.examples import Loaded
    from harness.training.target import Tuning, Tunings

NO_HEAD_REMEDY = "--finetune trains one by the target recipe"


def make_plan(checkpoint: Checkpoint, request: Request, *, download: bool = True) -> Plan:
    """Read the data of every chosen task and work out the jobs; no weight is loaded.

    With ``download`` false, data that is not on disk is listed in ``downloads`` and left there.

    Raises:
        UsageError: the request does not make sense.
        RefusedError: the protocol does not apply to the checkpoint.
        DataError: what is finished was measured on other data; or the submission in the
            checkpoint's folder cannot be read.
    """
    from harness.checkpoint.loading import describe

    if checkpoint.local:
        own_contamination(checkpoint.folder)  # read for every row: it must be readable
    choice = choose_cards(request.selection)
    chosen = _chosen(choice, request)
    tuned = _tunings(checkpoint, request, chosen, download)
    shape = cache(partial(describe, checkpoint))
    gaps = Gaps(downloads=dict(tuned.downloads), left_out=dict(choice.left_out))
    tasks = []
    for one in chosen:
        recipe, name = one.recipe, one.card.name
        if recipe is not None and recipe.name in tuned.missing:
            gaps.missing[name] = tuned.missing[recipe.name]
            continue
        if why := _inapplicable(checkpoint, request, one):
            gaps.inapplicable[name] = why
            continue
        tuning = tuned.planned.get(recipe.name) if recipe else None
        jobs = _jobs(checkpoint, request, one, tuning, shape)
        if (read := _read(request, one, gaps, download)) is None:
            continue
        loaded, units = read
        planned = [_planned_job(job, checkpoint, request, loaded, tuning, units) for job in jobs]
        tasks.append(_planned(one.card, loaded, planned, units, request.selection.limit))
    needed = {task.recipe.name for task in tasks if task.recipe}
    tunings = {name: tuning for name, tuning in tuned.planned.items() if name in needed}
    return Plan(checkpoint, request, tuple(tasks), gaps, tunings)


class Chosen(NamedTuple):
    """A task that was asked for, with its units, and what it is to be tuned by, if anything."""

    card: TaskCard
    units: tuple[str, ...]
    recipe: TargetRecipe | None


def _chosen(choice: Choice, request: Request) -> list[Chosen]:
    """Return the tasks of a request, once for each recipe that they are measured after.

    Retrieval comes first: the encoder is given back before a head is loaded.
    """
    for card, _ in choice.cards:
        split_of(request.selection, card)
    found = [
        Chosen(card, units, recipe)
        for card, units in choice.cards
        for recipe in measured_after(request, card.name)
    ]
    return sorted(found, key=lambda one: head_of(one.card) != "encoder")


def _inapplicable(checkpoint: Checkpoint, request: Request, chosen: Chosen) -> str:
    """Return why a task cannot be measured on the checkpoint, or nothing."""
    card = chosen.card
    if head_of(card) == "encoder":
        return ""
    if isinstance(checkpoint, GivenModel):
        return checkpoint.head_note
    if chosen.recipe is not None:
        return ""
    no_recipe = f"{card.name} has no target recipe"
    if why := _no_head(checkpoint, card, request.selection):
        return f"{why}: {NO_HEAD_REMEDY if recipe_of(card.name) else no_recipe}"
    if request.finetune:  # its own head would not be what was asked for
        return f"{no_recipe}: leave --finetune out to measure the head that the checkpoint brings"
    return ""


def _jobs(
    checkpoint: Checkpoint,
    request: Request,
    chosen: Chosen,
    tuning: Tuning | None,
    shape: Callable[[], Shape],
) -> list[MarkedJob]:
    """Return the jobs of a task: one, or with ``--layer all`` one a layer."""
    if isinstance(checkpoint, GivenModel):
        return [object_job(checkpoint, chosen.card, request)]
    if head_of(chosen.card) != "encoder":
        jobs = [head_job(chosen.card, request)]
    else:
        jobs = encoding_jobs(chosen.card, request, checkpoint.native, shape(), chosen.recipe)
    if chosen.recipe is None:
        return jobs
    return [tuned_job(job, chosen.recipe, tuning) for job in jobs]


def _read(
    request: Request, chosen: Chosen, gaps: Gaps, download: bool
) -> tuple[Loaded, tuple[str, ...]] | None:
    """Return the task's data and the units that can be measured; None where there are none.

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
    """Return why the head that the checkpoint brings, if any, cannot do the task; or nothing.

    Raises:
        RefusedError: the task is named, and the head has other labels.
    """
    needs = head_of(card)
    if needs == "span":
        return "" if checkpoint.has_qa_head else checkpoint.head_note
    if why := lacking(checkpoint.head, needs):
        return why
    from harness.checkpoint.loading import other_class

    if why := other_class(checkpoint):
        return why
    if card.labels and checkpoint.head is not None:
        try:
            label_order(checkpoint.head.labels, card.labels)
        except RefusedError as error:
            if selection.tasks:
                raise RefusedError(f"{checkpoint.label} {card.name}: {error}") from error
            return str(error)
    return ""


def check_applies(checkpoint: Checkpoint, request: Request) -> None:
    """Check that the options apply to a checkpoint, as far as that shows without any data.

    Raises:
        UsageError, RefusedError: as ``make_plan``.
    """
    from harness.checkpoint.loading import describe

    shape = None
    for card, _ in choose_cards(request.selection).cards:
        card.check_split(request.selection.split)
        for recipe in measured_after(request, card.name):
            if head_of(card) != "encoder" or isinstance(checkpoint, GivenModel):
                continue
            shape = shape or describe(checkpoint)
            encoding_jobs(card, request, checkpoint.native, shape, recipe)


def _tunings(
    checkpoint: Checkpoint,
    request: Request,
    chosen: Sequence[Chosen],
    download: bool,
) -> Tunings:
    """Return the tuned checkpoints that the tasks need.

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


def _done(
    file: OutcomeFile, checkpoint: Checkpoint, loaded: Loaded, tuning: Tuning | None
) -> frozenset[str]:
    """Return the units that are finished, on the same data and under the same protocols.

    Raises:
        DataError: they were measured (or tuned) on other data, since files without a published
            checksum can change; under another version of the protocols; or, of an adapter, on
            another revision of its base.
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
        if meta["base"] != checkpoint.base_label:
            raise DataError(
                f"{file.path} was measured on the base {meta['base']}, now "
                f"{checkpoint.base_label}: measure again with --fresh, or name another --out"
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
    units: tuple[str, ...],
) -> PlannedJob:
    job, reasons = marked
    file = outcome_file(
        request.runtime.out, checkpoint.slug, checkpoint.revision12, job.card.name, job.signature
    )
    try:
        done = _done(file, checkpoint, loaded, tuning)
    except DataError:
        if not request.runtime.fresh:
            raise
        done = frozenset()
    # A run from scratch leaves the languages alone that it does not measure.
    return PlannedJob(job, file, done - set(units) if request.runtime.fresh else done, reasons)


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

    unfinished = unfinished_of(units, jobs)
    count("document", kind.pool(loaded.examples), pending=bool(unfinished))
    for unit in units:
        for role, texts in kind.texts(loaded.examples, unit, limit):
            count(role, texts, pending=unit in unfinished)
    characters = sum(len(text) for _, text in todo)
    return PlannedTask(card, loaded, tuple(jobs), units, len(counted), len(todo), characters)
