"""Train: base and cards → examples → features → steps → a checkpoint. Resumes where it was."""

from __future__ import annotations

import json
import os
import random
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.checkpoint import Checkpoint
from harness.environment import harness_version, libraries
from harness.errors import UsageError
from harness.loading import load_encoder
from harness.sources import Where
from harness.train.batches import Steps, TaskData
from harness.train.cards import IntermediateCard, LoraRecipe, Recipe
from harness.train.curve import Curve, Unwritten
from harness.train.examples import TrainingSet
from harness.train.features import Codec, encode
from harness.train.heads import HeadSpec, make_model
from harness.train.lora import adapted, merge
from harness.train.output import RECORD, Made, write
from harness.train.progress import Silent
from harness.train.reading import read
from harness.train.schedule import Share, make_schedule
from harness.train.trainer import Settings, Told, run_steps

WORK = ".training"
SETTINGS = "settings.json"
# One optimiser runs all the tasks, so these have to be the same in all of their recipes.
SHARED = ("lr", "warmup", "weight_decay", "eps", "clip")
DTYPES = ("float32", "bfloat16")


@dataclass(frozen=True)
class Order:
    """What is to be trained. ``recipes``: task → its recipe with what was overridden."""

    base: Checkpoint
    cards: Sequence[IntermediateCard]
    recipes: Mapping[str, Recipe]
    out: Path
    seed: int = 0
    dtype: str = "float32"
    device: str = "cpu"
    lora: LoraRecipe | None = None
    max_examples: int | None = None
    max_steps: int | None = None
    fresh: bool = False
    command: str = "harness.train"


def train(order: Order, where: Where, told: Told | None = None) -> Path:
    """Train and return the folder of the finished checkpoint, at once where it is there already.

    Raises:
        UsageError: the target holds another training, or something else.
        RefusedError: the base's weights are not whole, or it cannot have the head.
        DataError: data that does not fit, or nothing left of it.
        IncompleteError: no data, no space, no memory, a loss that is not finite.
    """
    check_target(order.out)
    sets = {card.name: read(card, where, order.max_examples) for card in order.cards}
    settings = decided(order, sets)
    work = order.out / WORK
    first = process()[0] == 0
    if _finished(order, settings):
        return order.out
    if first:
        _begin(order, work, settings)
    with _own_randomness():
        encoder, tokenizer = load_encoder(order.base, dtype="float32", device="cpu")
        tasks = _features(order, sets, encoder, tokenizer)
        model = make_model(encoder, _heads(order, sets), _own_tensors(order.base), seed=order.seed)
        wrapped = None if order.lora is None else adapted(encoder, order.lora, seed=order.seed)
        steps = _steps(order, tasks)
        recipe = order.recipes[order.cards[0].name]
        curve = Curve(work / "loss.tsv") if first else Unwritten(work / "loss.tsv")
        run_steps(
            model,
            steps,
            Settings(recipe, order.seed, order.dtype == "bfloat16", order.device),
            work,
            curve,
            told or Silent(),
        )
        if first:
            model.to("cpu").eval()
            if wrapped is not None:
                merge(wrapped)
            described = _described(order, sets, tasks)
            made = Made(
                base=order.base,
                cards=order.cards,
                sets=described,
                settings=settings,
                steps=len(steps),
                command=order.command,
                versions={"xharness": harness_version(), "libraries": _libraries()},
            )
            write(made, model, tokenizer, curve, work, order.out)
    return order.out


def recipes(
    cards: Sequence[IntermediateCard], **overrides: float | int | None
) -> dict[str, Recipe]:
    """Task → its card's recipe, with the overrides that are not None.

    Raises:
        UsageError: an impossible value, or tasks together whose optimisers differ.
    """
    from pydantic import ValidationError

    given = {name: value for name, value in overrides.items() if value is not None}
    found = {}
    for card in cards:
        try:
            found[card.name] = Recipe.model_validate({**card.recipe.model_dump(), **given})
        except ValidationError as error:
            one = error.errors()[0]
            name = str(one["loc"][0]).replace("_", "-")
            raise UsageError(f"--{name} {one['input']}: {one['msg']}") from None
    for name in SHARED:
        values = {getattr(recipe, name) for recipe in found.values()}
        if len(values) > 1:
            remedy = "give --lr" if name == "lr" else "train one after the other"
            shown = ", ".join(f"{value:g}" for value in sorted(values))
            raise UsageError(f"tasks with different recipes ({name} {shown}): {remedy}")
    return found


def check_target(out: Path) -> None:
    """UsageError where the target holds what is no training of ours."""
    if out.exists() and not out.is_dir():
        raise UsageError(f"{out} is a file: give --out a folder")
    ours = (out / RECORD).is_file() or (out / WORK).is_dir()
    if out.is_dir() and not ours and any(out.iterdir()):
        raise UsageError(f"{out} holds other files: give --out a new folder")


def decided(order: Order, sets: Mapping[str, TrainingSet]) -> dict[str, Any]:
    """Everything that decides the weights; the same settings are the same training."""
    tasks = {
        card.name: {
            "card": card.hash,
            "recipe": order.recipes[card.name].model_dump(),
            "files": dict(sets[card.name].files),
            "examples": len(sets[card.name].examples),
        }
        for card in order.cards
    }
    lora = order.lora
    return {
        "base": f"{order.base.id}@{order.base.revision}",
        "intermediate": [card.name for card in order.cards],
        "seed": order.seed,
        "dtype": order.dtype,
        "device": order.device.partition(":")[0],
        "processes": process()[1],
        "lora": None if lora is None else lora.model_dump(mode="json"),
        "max_examples": order.max_examples,
        "max_steps": order.max_steps,
        **order.recipes[order.cards[0].name].model_dump(),
        "tasks": tasks,
    }


def process() -> tuple[int, int]:
    """This process's number and how many there are, as accelerate and torchrun say it."""
    return int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))


def _finished(order: Order, settings: Mapping[str, Any]) -> bool:
    """Whether the target is this training's. UsageError where it is another's."""
    for path, key in ((order.out / RECORD, "settings"), (order.out / WORK / SETTINGS, None)):
        if order.fresh or not path.is_file():
            continue
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
        except ValueError:
            continue
        before = found.get(key) if key else found
        if before != settings:
            name = next((n for n in settings if (before or {}).get(n) != settings[n]), "settings")
            was, now = (str((one or {}).get(name))[:60] for one in (before, settings))
            what = f"{name} was {was}, is {now}" if name != "tasks" else "data or recipe differ"
            raise UsageError(
                f"{order.out} holds another training ({what}): give another --out, or --fresh to "
                "start over"
            )
        if key:
            return True
    return False


def _begin(order: Order, work: Path, settings: Mapping[str, Any]) -> None:
    """The work folder, with the settings; with ``fresh`` nothing of an earlier training stays."""
    if order.fresh and order.out.is_dir():
        shutil.rmtree(order.out)
    work.mkdir(parents=True, exist_ok=True)
    text = json.dumps(settings, ensure_ascii=False, indent=2)
    (work / f"{SETTINGS}.new").write_text(text, encoding="utf-8")
    (work / f"{SETTINGS}.new").replace(work / SETTINGS)


def _features(
    order: Order, sets: Mapping[str, TrainingSet], encoder: Any, tokenizer: Any
) -> dict[str, TaskData]:
    tasks = {}
    for card in order.cards:
        recipe = order.recipes[card.name]
        codec = Codec(tokenizer, encoder, recipe)
        features = encode(card.kind, sets[card.name].examples, codec)
        tasks[card.name] = TaskData(card.kind, features, codec, recipe.mask)
    return tasks


def _heads(order: Order, sets: Mapping[str, TrainingSet]) -> list[HeadSpec]:
    return [
        HeadSpec(card.name, card.kind, sets[card.name].labels, card.symmetric)
        for card in order.cards
    ]


def _steps(order: Order, tasks: Mapping[str, TaskData]) -> Steps:
    rank, world = process()
    shares = []
    for card in order.cards:
        recipe, features = order.recipes[card.name], tasks[card.name].features
        if recipe.batch_size % world:
            raise UsageError(
                f"--batch-size {recipe.batch_size} does not divide among {world} processes"
            )
        capped = min(len(features), card.cap) if len(order.cards) > 1 else len(features)
        shares.append(Share(card.name, features.lengths, recipe.batch_size, recipe.epochs, capped))
    schedule = make_schedule(shares, seed=order.seed, max_steps=order.max_steps)
    return Steps(schedule, tasks, seed=order.seed, rank=rank, world=world)


def _described(
    order: Order, sets: Mapping[str, TrainingSet], tasks: Mapping[str, TaskData]
) -> dict[str, dict[str, Any]]:
    """What each task's data was, for the record."""
    return {
        card.name: {
            "title": card.title,
            "objective": card.objective,
            "examples": len(sets[card.name].examples),
            "rows": len(tasks[card.name].features),
            "languages": sets[card.name].languages,
            "labels": list(sets[card.name].labels),
            "card": card.hash,
            "route": sets[card.name].route,
            "hub": sets[card.name].revision,
            "files": dict(sets[card.name].files),
            "contaminates": card.contaminates,
            "notes": list(sets[card.name].notes),
        }
        for card in order.cards
    }


def _own_tensors(base: Checkpoint) -> dict[str, Any]:
    """The base's tensors by name, mapped into memory: heads and poolers are looked up in them."""
    from safetensors.torch import load_file

    from harness.vet import vet

    tensors: dict[str, Any] = {}
    for path in vet(base.weights_folder).files:
        tensors.update(load_file(path))
    return tensors


def _libraries() -> dict[str, str]:
    from importlib.metadata import version

    return {**libraries(), "accelerate": version("accelerate")}


@contextmanager
def _own_randomness() -> Iterator[None]:
    """Training seeds torch, numpy and Python; the caller's random states come back after it."""
    import numpy as np
    import torch

    python, arrays = random.getstate(), np.random.get_state()
    try:
        with torch.random.fork_rng():
            yield
    finally:
        random.setstate(python)
        np.random.set_state(arrays)


__all__ = ["Order", "recipes", "train"]
