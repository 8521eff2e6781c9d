"""Tuned checkpoints: a fresh head or dual encoder by a target recipe, made once and kept.

They lie in the cache by content: checkpoint, recipe, data, seed and precision. A folder is one of
them only when its record is there, which training writes last.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from hashlib import sha256
from math import ceil
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from harness.cards.target_recipes import TargetRecipe
from harness.checkpoint.guard import refusing
from harness.checkpoint.heads import LINEAR
from harness.checkpoint.loading import skeleton
from harness.checkpoint.resolve import Checkpoint, resolve
from harness.data import official
from harness.data.load import DataLocation, Download
from harness.errors import DataError, HarnessError, IncompleteError, UsageError
from harness.io.cache import lock_of
from harness.training.config import TrainingConfig
from harness.training.data.questions import MOST_MISPLACED
from harness.training.data.reading import read
from harness.training.data.sources import fetch
from harness.training.output import RECORD
from harness.training.run import train
from harness.training.selection import dev_downloads, dev_files, read_dev
from harness.training.trainer import DONE, TrainingReporter
from harness.training.workspace import WORK

FOLDER = "tuned"  # of the cache


@dataclass(frozen=True)
class Tuning:
    """A checkpoint tuned by one recipe with one seed, there or to be made.

    ``data``: training file → sha256. ``examples``: how many there are. ``folder``: where the tuned
    checkpoint lies. ``first``: the tuning that it goes on from, where its recipe has two stages.
    ``dev``: file → sha256 of what a step is chosen on.
    The device decides no more than the last bits and is left out of its name.
    """

    checkpoint: Checkpoint
    recipe: TargetRecipe
    seed: int
    dtype: str
    device: str
    data: Mapping[str, str]
    examples: int
    folder: Path
    first: Tuning | None = None
    dev: Mapping[str, str] = field(default_factory=dict)

    @property
    def all_data(self) -> dict[str, str]:
        """File → sha256, of both stages and of what a step is chosen on."""
        return {**(self.first.all_data if self.first else {}), **self.data, **self.dev}

    @property
    def done(self) -> bool:
        """Whether it is there."""
        return (self.folder / RECORD).is_file()

    @property
    def saved(self) -> int:
        """The step that an interrupted training goes on after."""
        whole = (self.folder / WORK).glob(f"checkpoint-*/{DONE}")
        return max((int(path.parent.name.rpartition("-")[2]) for path in whole), default=0)

    @property
    def steps(self) -> int:
        """Optimiser steps, or the fewest that there can be: a long context has several windows."""
        recipe = self.recipe.recipe
        return ceil(round(recipe.epochs * self.examples) / recipe.batch_size)

    @property
    def unranked_reasons(self) -> list[str]:
        """Why rows measured on it are not ranked, besides what the recipe says.

        A reader leaves out up to MOST_MISPLACED of the published questions.
        """
        published = self.recipe.examples
        before = self.first.unranked_reasons if self.first else []
        if published * (1 - MOST_MISPLACED) <= self.examples <= published:
            return before
        return [
            *before,
            f"target data {self.recipe.train} has {self.examples} of {published} examples",
        ]

    @cached_property
    def record(self) -> dict[str, Any]:
        """What training wrote of it. DataError where that cannot be read."""
        return _record(self.folder)


@dataclass(frozen=True)
class TuningSettings:
    """What decides a tuned checkpoint besides checkpoint, recipe and data, and where it is made."""

    seed: int = 0
    dtype: str = "float32"
    device: str = "cpu"


@dataclass(frozen=True)
class Tunings:
    """The tunings that a plan needs, by recipe.

    ``missing``: why there is none. ``downloads``: intermediate task → what is still
    to be downloaded for it, in a plan that downloads nothing.
    """

    planned: Mapping[str, Tuning] = field(default_factory=dict)
    missing: Mapping[str, str] = field(default_factory=dict)
    downloads: Mapping[str, list[Download]] = field(default_factory=dict)


def plan_tunings(
    checkpoint: Checkpoint,
    recipes: Iterable[TargetRecipe],
    settings: TuningSettings,
    location: DataLocation,
    *,
    download: bool = True,
) -> Tunings:
    """Find the training data of every recipe, and where the tuned checkpoint is or is to be.

    Raises:
        DataError: data is not the official data.
        RefusedError: the checkpoint cannot be loaded.
    """
    skeleton(checkpoint)
    planned: dict[str, Tuning] = {}
    missing: dict[str, str] = {}
    downloads: dict[str, list[Download]] = {}
    for recipe in recipes:
        waiting = {} if download else _waiting(recipe, location)
        if waiting:
            downloads |= waiting
            continue
        try:
            planned[recipe.name] = plan_tuning(checkpoint, recipe, settings, location)
        except IncompleteError as error:
            missing[recipe.name] = f"cannot be tuned: {error}"
    return Tunings(planned, missing, downloads)


def plan_tuning(
    checkpoint: Checkpoint, recipe: TargetRecipe, settings: TuningSettings, location: DataLocation
) -> Tuning:
    """One tuning.

    Raises:
        IncompleteError: the data cannot be had.
        DataError: it is not the official data.
    """
    card, before = recipe.card, recipe.first
    first = plan_tuning(checkpoint, before, settings, location) if before else None
    data = dict(fetch(card, location).digests)
    dev = dev_files(recipe.select, location) if recipe.select else {}
    trained = "bfloat16" if settings.dtype == "bfloat16" else "float32"
    key = {
        "checkpoint": f"{'' if checkpoint.local else checkpoint.id}@{checkpoint.revision}",
        "base": str(checkpoint.base),
        "recipe": recipe.hash,
        "data": data,
        "seed": settings.seed,
        "dtype": trained,
        **({"first": first.folder.name} if first else {}),
        **({"dev": dev} if dev else {}),
    }
    name = sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:16]
    folder = location.cache / FOLDER / name
    if (folder / RECORD).is_file():
        examples = int(_record(folder)["tasks"][card.name]["examples"])
    else:
        examples = len(read(card, location).examples)
    return Tuning(
        checkpoint,
        recipe,
        settings.seed,
        trained,
        settings.device,
        data,
        examples,
        folder,
        first,
        dev,
    )


def _waiting(recipe: TargetRecipe, location: DataLocation) -> dict[str, list[Download]]:
    """Intermediate task → what training would have to download first, of both stages."""
    stages = [stage for stage in (recipe.first, recipe) if stage is not None]
    found = {stage.train: planned_downloads(stage, location) for stage in stages}
    if (select := recipe.select) is not None:
        dev = dev_downloads(select, location)
        found[recipe.train] = [*found[recipe.train], *dev]
    return {task: pending for task, pending in found.items() if pending}


def planned_downloads(recipe: TargetRecipe, location: DataLocation) -> list[Download]:
    """What training would have to download first; no connection is tried."""
    if location.data is not None or location.offline:
        return []
    card = recipe.card
    try:
        fetch(card, replace(location, offline=True))
    except IncompleteError:
        absent = official.absent(card, card.split, card.languages, location)
        return [Download(piece.url or card.name, piece.size) for piece in absent]
    return []


def tuned(tuning: Tuning, location: DataLocation, reporter: TrainingReporter) -> Checkpoint:
    """The tuned checkpoint: as it was kept, or trained now. One run at a time makes it.

    Raises:
        IncompleteError: training failed, for want of memory or space or by its numbers.
        DataError: what was kept is damaged, or the data is not that of the plan.
        RefusedError: the libraries fail over the checkpoint.
    """
    with refusing(tuning.checkpoint, "cannot be tuned"):
        return _tuned(tuning, location, reporter)


def _tuned(tuning: Tuning, location: DataLocation, reporter: TrainingReporter) -> Checkpoint:
    if not tuning.done:
        tuning.folder.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(lock_of(tuning.folder))
        try:
            lock.acquire(timeout=0)
        except Timeout:
            reporter.say("another run is training it: waiting for that one")
            lock.acquire()
        try:
            if not tuning.done:
                _train(tuning, location, reporter)
        finally:
            lock.release()
    return _kept(tuning)


def provenance(tuning: Tuning, checkpoint: Checkpoint) -> dict[str, Any]:
    """What rows measured on the tuned checkpoint say of it."""
    record = tuning.record
    chosen = {key: one for key, one in record.get("selection", {}).items() if key != "scores"}
    return {
        "revision": checkpoint.revision,
        "recipe": tuning.recipe.name,
        "head": tuning.recipe.card.kind,
        "head_class": LINEAR if checkpoint.linear_head else checkpoint.architecture,
        "data": tuning.all_data,
        "examples": tuning.examples,
        "steps": record["steps"],
        **({"selection": chosen} if chosen else {}),
        "device": record["settings"]["device"],
        "libraries": record["versions"]["libraries"],
    }


def _train(tuning: Tuning, location: DataLocation, reporter: TrainingReporter) -> None:
    checkpoint, card = tuning.checkpoint, tuning.recipe.card
    base = tuned(tuning.first, location, reporter) if tuning.first else checkpoint
    select = tuning.recipe.select
    model = checkpoint.id if checkpoint.local else f"{checkpoint.id}@{checkpoint.revision}"
    config = TrainingConfig(
        base=base,
        keep_head=tuning.first is not None,
        dev=read_dev(select, location) if select else None,
        cards=[card],
        recipes={card.name: card.recipe},
        out=tuning.folder,
        seed=tuning.seed,
        dtype=tuning.dtype,
        device=tuning.device,
        command=f"xharness eval {model} --finetune --seed {tuning.seed}",
    )
    try:
        try:
            train(config, location, reporter)
        except UsageError:
            # Begun on another device, or from a folder of another name: it is begun anew.
            train(replace(config, fresh=True), location, reporter)
    except IncompleteError as error:
        reason = str(error)
        if reason.startswith("out of memory"):  # the batch is a part of the recipe
            reason = f"{reason.partition(':')[0]}: use a device with more memory"
        raise IncompleteError(f"{tuning.recipe.name}: {reason}") from error


def _kept(tuning: Tuning) -> Checkpoint:
    folder = tuning.folder
    remedy = "remove it, and it is trained again"
    try:
        found = resolve(str(folder), offline=True)
    except HarnessError as error:
        raise DataError(f"the tuned checkpoint {folder} is damaged ({error}): {remedy}") from error
    if found.revision != tuning.record["revision"]:
        raise DataError(f"the tuned checkpoint {folder} is not what was trained: {remedy}")
    if tuning.record["tasks"][tuning.recipe.train]["files"] != dict(tuning.data):
        raise DataError(f"{folder} was trained on other data than was planned: {remedy}")
    return found


def _record(folder: Path) -> dict[str, Any]:
    try:
        record: dict[str, Any] = json.loads((folder / RECORD).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(
            f"{folder / RECORD} cannot be read ({error}): remove {folder}, and it is trained again"
        ) from error
    return record
