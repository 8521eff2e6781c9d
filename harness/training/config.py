"""The configuration of a training, and everything in it that decides the weights."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.cards.training import IntermediateCard, LoraRecipe, Recipe
from harness.checkpoint.resolve import Checkpoint
from harness.errors import UsageError
from harness.training.data.examples import TrainingSet
from harness.training.selection import DevSet

# One optimiser trains all tasks, so these settings must be the same in all of their recipes.
SHARED = ("lr", "warmup", "weight_decay", "eps", "clip")
DTYPES = ("float32", "bfloat16")


@dataclass(frozen=True)
class TrainingConfig:
    """The settings of a training.

    ``recipes``: task → its recipe, with the user's values in place of the card's. ``keep_head``:
    training continues with the base's own head, not a fresh one. ``dev``: the data on which the
    step to keep is chosen; without it, the last step is kept.
    """

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
    keep_head: bool = False
    dev: DevSet | None = None
    command: str = "harness.train"


def recipes(
    cards: Sequence[IntermediateCard], **overrides: float | int | None
) -> dict[str, Recipe]:
    """Return task → the recipe of its card, with the values of ``overrides`` that are not None.

    Raises:
        UsageError: a value is impossible, or the optimisers of the tasks differ.
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
        if card.kind == "dual_encoder" and found[card.name].batch_size < 2:
            raise UsageError(
                f"--batch-size 1: a pair of {card.name} is told from the others of its batch, give "
                "at least 2"
            )
    for name in SHARED:
        values = {getattr(recipe, name) for recipe in found.values()}
        if len(values) > 1:
            remedy = "give --lr" if name == "lr" else "train one after the other"
            shown = ", ".join(f"{value:g}" for value in sorted(values))
            raise UsageError(f"tasks with different recipes ({name} {shown}): {remedy}")
    return found


def resolved_settings(config: TrainingConfig, sets: Mapping[str, TrainingSet]) -> dict[str, Any]:
    """Return everything that decides the weights: equal settings are the same training.

    ``tasks`` has the recipe of every task. The recipe of the first task stands beside it too,
    because all tasks share what it says about the optimiser.
    """
    tasks = {
        card.name: {
            "card": card.hash,
            "recipe": config.recipes[card.name].model_dump(),
            "files": dict(sets[card.name].files),
            "examples": len(sets[card.name].examples),
            **hub_columns(card, sets[card.name].route),
        }
        for card in config.cards
    }
    lora = config.lora
    return {
        "base": f"{config.base.id}@{config.base.revision}",
        "intermediate": [card.name for card in config.cards],
        "seed": config.seed,
        "dtype": config.dtype,
        "device": config.device.partition(":")[0],
        "processes": process()[1],
        "lora": None if lora is None else lora.model_dump(mode="json"),
        "max_examples": config.max_examples,
        "max_steps": config.max_steps,
        **({"keep_head": True} if config.keep_head else {}),
        **({"select": config.dev.settings} if config.dev else {}),
        **config.recipes[config.cards[0].name].model_dump(),
        "tasks": tasks,
    }


def hub_columns(card: IntermediateCard, route: str) -> dict[str, Any]:
    """Return the columns that are read, where the card names other ones for the Hub's files.

    They decide the examples and are not in the card's hash.
    """
    hub = card.source.splits[card.split].hub
    if route != "hub" or hub is None or not hub.columns:
        return {}
    return {"columns": {role: dict(columns) for role, columns in hub.columns.items()}}


def process() -> tuple[int, int]:
    """Return the rank of this process and the number of processes, as torchrun sets them."""
    return int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
