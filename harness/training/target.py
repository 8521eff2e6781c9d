"""Tuned checkpoints: a target recipe trains a fresh head or a dual encoder once, and it is kept.

A tuned checkpoint lies in the cache, in a folder named after what was asked for: checkpoint,
recipe, data, seed and precision. Its record says with which libraries it was trained. The folder
counts only when it has its record, which training writes last.
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
from harness.errors import DataError, HarnessError, IncompleteError, UsageError, one_line
from harness.io.cache import NO_RECORD, lock_of
from harness.training.config import TrainingConfig, hub_columns
from harness.training.data.questions import MOST_MISPLACED
from harness.training.data.reading import read
from harness.training.data.sources import fetch
from harness.training.output import RECORD
from harness.training.run import train
from harness.training.saves import last_saved, step_of
from harness.training.selection import dev_downloads, dev_files, read_dev
from harness.training.trainer import TrainingReporter
from harness.training.workspace import WORK

FOLDER = "tuned"  # the folder's name in the cache


@dataclass(frozen=True)
class Tuning:
    """A checkpoint that one recipe tunes with one seed, whether or not it has been trained yet.

    ``data``: training file → sha256. ``examples``: the number of training examples. ``folder``:
    where the tuned checkpoint lies; its name does not depend on the device, although dropout draws
    other numbers on another one, as with another seed. ``first``: the tuning whose result is
    trained further, where the recipe has two stages. ``dev``: file → sha256 of the data that a step
    is chosen on.
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
        """File → sha256 of all data: of both stages, and of the dev set."""
        return {**(self.first.all_data if self.first else {}), **self.data, **self.dev}

    @property
    def done(self) -> bool:
        """Whether it has been trained."""
        return (self.folder / RECORD).is_file()

    @property
    def saved(self) -> int:
        """The step that an interrupted training resumes after; 0 where none is saved."""
        return step_of(last_saved(self.folder / WORK))

    @property
    def steps(self) -> int:
        """The number of optimiser steps; long contexts, which have several windows, add to it."""
        recipe = self.recipe.recipe
        return ceil(round(recipe.epochs * self.examples) / recipe.batch_size)

    @property
    def unranked_reasons(self) -> list[str]:
        """Why rows that are measured on it are not ranked, besides the recipe's own reasons.

        Reading may leave out a share of MOST_MISPLACED of the published questions.
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
        """The record that training wrote. DataError where it cannot be read."""
        return _record(self.folder, self.recipe.train)


@dataclass(frozen=True)
class TuningSettings:
    """Seed and precision, which decide a tuned checkpoint too, and the device that trains it."""

    seed: int = 0
    dtype: str = "float32"
    device: str = "cpu"


@dataclass(frozen=True)
class Tunings:
    """The tunings that a plan needs, by recipe.

    ``missing``: recipe → why it cannot be tuned. ``downloads``: intermediate task → the files that
    are to be downloaded for it, in a plan that downloads nothing.
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
    """Find the training data of every recipe, and the folder of each tuned checkpoint.

    Raises:
        DataError: a file is not the official one.
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
    """Plan the tuning of a checkpoint by one recipe.

    Raises:
        IncompleteError: the data cannot be had.
        DataError: a file is not the official one.
    """
    card = recipe.card
    first = plan_tuning(checkpoint, recipe.first, settings, location) if recipe.first else None
    fetched = fetch(card, location)
    data = dict(fetched.digests)
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
        **hub_columns(card, fetched.route),
    }
    name = sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:16]
    folder = location.cache / FOLDER / name
    if (folder / RECORD).is_file():
        examples = int(_record(folder, card.name)["tasks"][card.name]["examples"])
    else:
        examples = len(read(card, location).examples)
    return Tuning(
        checkpoint, recipe, settings.seed, trained, settings.device,
        data, examples, folder, first, dev,
    )  # fmt: skip


def _waiting(recipe: TargetRecipe, location: DataLocation) -> dict[str, list[Download]]:
    """Return intermediate task → the files to download before training, for both stages."""
    stages = [stage for stage in (recipe.first, recipe) if stage is not None]
    found = {stage.train: planned_downloads(stage, location) for stage in stages}
    if (select := recipe.select) is not None:
        dev = dev_downloads(select, location)
        found[recipe.train] = [*found[recipe.train], *dev]
    return {task: pending for task, pending in found.items() if pending}


def planned_downloads(recipe: TargetRecipe, location: DataLocation) -> list[Download]:
    """Return the files to download before training; nothing is asked of the network."""
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
    """Return the tuned checkpoint, which is trained now unless it was kept.

    One process at a time trains it; the others wait.

    Raises:
        IncompleteError: training ran out of memory or space, or its loss is not finite.
        DataError: the checkpoint that was kept is damaged, or was trained on other data.
        RefusedError: a library cannot work with the checkpoint.
    """
    with refusing(tuning.checkpoint, "cannot be tuned"):
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
    """Return what the rows that are measured on the tuned checkpoint say about it."""
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
            # It was begun on another device, or from a folder of another name: it starts again.
            train(replace(config, fresh=True), location, reporter)
    except IncompleteError as error:
        reason = str(error)
        if reason.startswith("out of memory"):  # The recipe fixes the batch, so that stays.
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


def _record(folder: Path, task: str) -> dict[str, Any]:
    """Return the record of a training on ``task``. DataError where it is not what one writes."""
    path = folder / RECORD
    try:
        record: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        own = record["tasks"][task]
        typed: dict[type, list[Any]] = {
            int: [own["examples"], record["steps"]],
            str: [record["revision"], record["settings"]["device"]],
            dict: [own["files"], record["versions"]["libraries"], record.get("selection", {})],
        }
        if not all(isinstance(one, kind) for kind, ones in typed.items() for one in ones):
            raise TypeError("a value has another type")
    except NO_RECORD as error:
        why = one_line(error if isinstance(error, OSError) else repr(error), 200)
        raise DataError(
            f"{path} cannot be read ({why}): remove {folder}, and it is trained again"
        ) from error
    return record
