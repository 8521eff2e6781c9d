"""Turns a plan into plain data, which a terminal shows and JSON holds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.data.folders import hub_cache
from harness.evaluation.models import DEMO_MODEL, plan_model
from harness.evaluation.planned import Plan, PlannedTask
from harness.evaluation.request import Request, choose_cards, measured_after, split_of

if TYPE_CHECKING:
    from harness.data.load import Download
    from harness.evaluation.estimate import Estimate
    from harness.training.target import Tuning


@dataclass(frozen=True)
class Waiting:
    """Files that are still to be downloaded; ``bytes`` are those of the files of known size."""

    files: int
    bytes: int
    sizes_known: bool = True


@dataclass(frozen=True)
class TuningSummary:
    """A tuned checkpoint: there, or to be trained after the optimiser step ``saved``."""

    recipe: str
    train: str
    kind: str
    seed: int
    examples: int
    epochs: float
    steps: int
    done: bool
    saved: int
    folder: str


@dataclass(frozen=True)
class TaskSummary:
    """A task that can run.

    ``signatures``: of its outcome files, one per layer. ``layer``: where it is one and is pooled.
    ``finished``: the languages that are done. ``texts``: distinct ones. ``unranked_reasons``:
    signature → why its rows are not ranked.
    """

    task: str
    track: str
    signatures: tuple[str, ...]
    layer: int | None
    tuned_on: str | None
    languages: tuple[str, ...]
    finished: tuple[str, ...]
    texts: int
    texts_to_do: int
    notes: tuple[str, ...]
    unranked_reasons: Mapping[str, Sequence[str]]


@dataclass(frozen=True)
class PlanSummary:
    """What a run of one checkpoint would do.

    ``downloads``: task → what it still needs. ``inapplicable``, ``missing``, ``broken``: task (or
    task/language) → why it is not measured. ``left_out``: task → which languages it lacks.
    ``estimate``: time, memory and disk, where they were asked for and something is to do.
    """

    model: str
    revision: str
    model_type: str
    parameters: int
    base: str | None
    protocol: str
    dtype: str
    device: str
    tunings: tuple[TuningSummary, ...]
    tasks: tuple[TaskSummary, ...]
    remarks: tuple[str, ...]
    downloads: Mapping[str, Waiting]
    inapplicable: Mapping[str, str]
    missing: Mapping[str, str]
    broken: Mapping[str, str]
    left_out: Mapping[str, str]
    estimate: Estimate | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON takes it."""
        return asdict(self)


@dataclass(frozen=True)
class TaskDownloads:
    """A task, the files that it still needs, and those of the recipes that it is measured after."""

    task: str
    languages: tuple[str, ...]
    waiting: Waiting
    recipes: Mapping[str, tuple[str, Waiting]] = field(default_factory=dict)


@dataclass(frozen=True)
class DownloadSummary:
    """What a run would download first; layers and signatures are known when the model is there."""

    model: str
    revision: str
    waiting: Waiting
    tasks: tuple[TaskDownloads, ...]
    left_out: Mapping[str, str]

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON takes it."""
        return asdict(self)


def preview(model: str, request: Request) -> PlanSummary | DownloadSummary:
    """Return what ``evaluate`` would do; neither weights nor data are downloaded.

    A checkpoint that is there is loaded and tried on a few texts, for the estimate.

    Raises:
        HarnessError: one of its subclasses, as for ``make_plan`` and ``estimate``.
    """
    from harness.checkpoint.address import parse_model
    from harness.checkpoint.snapshot import pending

    name, revision = parse_model(model)
    if model == DEMO_MODEL or request.location.offline or Path(name).expanduser().exists():
        return _estimated(plan_model(model, request, download=False))
    found = pending(name, revision, cache=hub_cache(request.runtime.cache))
    if not found.missing:
        return _estimated(plan_model(f"{found.id}@{found.commit}", request, download=False))
    choice = choose_cards(request.selection)
    return DownloadSummary(
        found.id,
        found.commit,
        Waiting(len(found.missing), found.size),
        tuple(_task_downloads(request, card, units) for card, units in choice.cards),
        choice.left_out,
    )


def _estimated(plan: Plan) -> PlanSummary:
    from harness.evaluation.estimate import estimate

    return replace(summarise(plan), estimate=estimate(plan))


def summarise(plan: Plan) -> PlanSummary:
    """Return the plan without examples and weights."""
    checkpoint, request, base = plan.checkpoint, plan.request, plan.checkpoint.base
    return PlanSummary(
        model=checkpoint.id,
        revision=checkpoint.revision,
        model_type=checkpoint.model_type,
        parameters=checkpoint.parameters,
        base=f"{base.id}@{base.revision}" if base else None,
        protocol=request.protocol.name,
        dtype=request.protocol.dtype,
        device=request.runtime.device,
        tunings=tuple(_tuning(tuning) for tuning in plan.tunings.values()),
        tasks=tuple(_task(task) for task in plan.tasks),
        remarks=tuple(checkpoint.remarks),
        downloads={name: _waiting(downloads) for name, downloads in plan.gaps.downloads.items()},
        inapplicable=dict(plan.gaps.inapplicable),
        missing=dict(plan.gaps.missing),
        broken=dict(plan.gaps.broken),
        left_out=dict(plan.gaps.left_out),
    )


def _task(task: PlannedTask) -> TaskSummary:
    first = task.jobs[0].job
    unfinished = set(task.unfinished)
    return TaskSummary(
        task=task.card.name,
        track=first.track,
        signatures=tuple(planned.job.signature for planned in task.jobs),
        layer=first.layer if len(task.jobs) == 1 and task.card.lengths else None,
        tuned_on=task.recipe.train if task.recipe else None,
        languages=task.units,
        finished=tuple(unit for unit in task.units if unit not in unfinished),
        texts=task.texts,
        texts_to_do=task.todo_texts,
        notes=(*task.loaded.notes, *task.loaded.remarks),
        unranked_reasons={planned.job.signature: planned.unranked_reasons for planned in task.jobs},
    )


def _tuning(tuning: Tuning) -> TuningSummary:
    recipe = tuning.recipe
    return TuningSummary(
        recipe=recipe.name,
        train=recipe.train,
        kind=recipe.card.kind,
        seed=tuning.seed,
        examples=tuning.examples,
        epochs=recipe.recipe.epochs,
        steps=tuning.steps,
        done=tuning.done,
        saved=tuning.saved,
        folder=str(tuning.folder),
    )


def _task_downloads(request: Request, card: Any, units: tuple[str, ...]) -> TaskDownloads:
    from harness.data.load import planned_downloads
    from harness.training.target import planned_downloads as training_downloads

    split, location = split_of(request.selection, card), request.location
    return TaskDownloads(
        card.name,
        units,
        _waiting(planned_downloads(card, split, units, location)),
        {
            recipe.name: (recipe.train, _waiting(training_downloads(recipe, location)))
            for recipe in filter(None, measured_after(request, card.name))
        },
    )


def _waiting(downloads: Iterable[Download]) -> Waiting:
    sizes = [download.size for download in downloads]
    return Waiting(len(sizes), sum(size or 0 for size in sizes), all(sizes))
