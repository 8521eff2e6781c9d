"""How checkpoints are tuned before target tasks: strict YAML → frozen models. Data only."""

from __future__ import annotations

import json
from collections.abc import Iterable
from functools import cache
from hashlib import sha256
from typing import Any

from pydantic import Field, RootModel

from harness.cards.catalogue import read_card, read_suites, with_halves, with_same_data
from harness.cards.languages import task_root
from harness.cards.training import IntermediateCard, Recipe, intermediate_names, read_intermediate
from harness.errors import DataError, UsageError
from harness.io.strict_yaml import Document, Name, Strict, read_document, validated

# Raised when the training code comes to make other weights of the same recipe and data: what was
# tuned before is then made again, and rows measured on it are stale.
VERSION = 2
VERSIONS = {"tagging": 3}  # kinds with one of their own
# What a target kind needs trained.
HEADS = {
    "span_qa": "span",
    "passages": "dual_encoder",
    "bitext": "dual_encoder",
    "classification": "classification",
    "multiple_choice": "multiple_choice",
    "tagging": "tagging",
}


class Select(Strict):
    """The step that is kept, in place of the last one: the best by ``metric`` on a dev set.

    ``task``, ``split``, ``language``: that dev set, of a target task. ``every``: so many steps are
    between two that are scored; the last one is scored too. Of equal scores the first one counts.
    """

    task: Name
    split: Name = "dev"
    language: str = "en"
    metric: str
    every: int = Field(gt=0)


class TargetRecipe(Strict):
    """One recipe, which every checkpoint is tuned by alike, from a fresh head.

    ``tasks``: those that are ranked after it; none for a recipe that a suite names. ``beside``:
    those that are measured as they are, and after it as well. ``train``: the intermediate task
    whose data, and kind of head, it takes. ``after``: the recipe that the checkpoint is tuned by
    first, whose head goes on. ``examples``: how many, as published. ``select``: which step is kept.
    """

    name: Name
    title: str
    tasks: list[Name] = Field(default_factory=list)
    beside: list[Name] = Field(default_factory=list)
    train: Name
    after: Name | None = None
    examples: int = Field(gt=0)
    recipe: Recipe
    select: Select | None = None
    notes: list[str] = Field(default_factory=list)

    @property
    def card(self) -> IntermediateCard:
        """The intermediate task under this recipe."""
        card = read_intermediate(self.train)
        return card.model_copy(update={"recipe": self.recipe, "lora": None})

    @property
    def hash(self) -> str:
        """sha256 hex over everything in the recipe that can change a weight, and no prose."""
        before = [self.first.hash] if self.first else []
        chosen = [self.select.model_dump()] if self.select else []
        version = VERSIONS.get(self.card.kind, VERSION)
        text = json.dumps([version, self.card.hash, *before, *chosen])
        return sha256(text.encode()).hexdigest()

    @property
    def first(self) -> TargetRecipe | None:
        """The recipe before it, if there is one."""
        return None if self.after is None else read_target_recipes()[self.after]

    @property
    def short(self) -> str:
        """The first 12 hex digits of the hash, as rows carry it."""
        return self.hash[:12]

    @property
    def resolved(self) -> dict[str, Any]:
        """The recipe as a part of a signature: its name, its hash, and what it says."""
        settings = self.recipe.model_dump()
        before = {"after": self.after} if self.after else {}
        if self.select:
            settings["select"] = self.select.model_dump()
        return {"name": self.name, "hash": self.short, "train": self.train, **before, **settings}

    @property
    def seen(self) -> frozenset[str]:
        """The splits (``task/split``) that it trains on or chooses its step by.

        A card that trains on the first half of a split has not seen the second one.
        """
        trained = with_same_data(entry for entry in self.card.contaminates if "/" in entry)
        chosen = [f"{self.select.task}/{self.select.split}"] if self.select else []
        own = trained if self.card.half else with_halves(trained)
        own |= with_halves(with_same_data(chosen))
        return own | self.first.seen if self.first else own

    def unranked_reasons(self, task: str, split: str) -> list[str]:
        """Why rows of a split under this recipe are never ranked; nothing where it is its own."""
        seen = [f"tuned or chosen on {task}/{split}"] if f"{task}/{split}" in self.seen else []
        if task in self.tasks or task in self.beside:
            return seen
        own = recipe_of(task)
        if own is not None and own.train == self.train:
            return [f"target recipe {self.name} (protocol: {own.name})", *seen]
        return [f"target data {self.train} (protocol: {own.train if own else 'none'})", *seen]


class TargetRecipes(RootModel[list[TargetRecipe]]):
    """What target_recipes.yaml holds."""


@cache
def read_target_recipes() -> dict[str, TargetRecipe]:
    """Every recipe by name. DataError where the file does not hold together."""
    document = read_document(task_root() / "target_recipes.yaml", "tasks/target_recipes.yaml")
    recipes = validated(document, TargetRecipes).root
    for problem in _problems(document, recipes):
        raise DataError(problem)
    return {recipe.name: recipe for recipe in recipes}


def recipe_of(task: str) -> TargetRecipe | None:
    """The recipe that a task is ranked after; None for a task that is measured frozen."""
    return next((one for one in read_target_recipes().values() if task in one.tasks), None)


def recipe_beside(task: str) -> TargetRecipe | None:
    """The recipe that a task is measured after as well, in a track of its own."""
    return next((one for one in read_target_recipes().values() if task in one.beside), None)


def chosen_recipe(task: str, suite: str | None) -> TargetRecipe | None:
    """The recipe of a task in a suite: that which the suite names, else the task's own."""
    for entry in read_suites()[suite] if suite else ():
        if entry.task == task and entry.recipe is not None:
            return read_target_recipes()[entry.recipe]
    return recipe_of(task)


def suite_of(recipe: str) -> str | None:
    """The suite that names a recipe."""
    suites = read_suites().items()
    return next((name for name, entries in suites if recipe in [e.recipe for e in entries]), None)


def _fits(select: Select, kind: str) -> bool:
    try:
        card = read_card(select.task)
    except UsageError:
        return False
    there = select.split in card.source.splits and select.language in card.languages
    return there and select.metric in card.metrics and HEADS.get(card.kind) == kind != "span"


def _problems(document: Document, recipes: list[TargetRecipe]) -> Iterable[str]:
    names: set[str] = set()
    tasks: set[str] = set()
    for number, recipe in enumerate(recipes):
        place = document.place((number,))
        if recipe.name in names:
            yield f"{place}: recipe {recipe.name} given twice"
        names.add(recipe.name)
        if recipe.train not in intermediate_names():
            yield f"{place}: no intermediate task {recipe.train}"
        first = next((one for one in recipes[:number] if one.name == recipe.after), None)
        if recipe.after is not None and (first is None or first.card.kind != recipe.card.kind):
            yield f"{place}: no recipe {recipe.after} before it that trains a head of its kind"
        if recipe.select is not None and not _fits(recipe.select, recipe.card.kind):
            yield f"{place}: select names no dev set of its kind with that metric"
        for task in (*recipe.tasks, *recipe.beside):
            if task in tasks:
                yield f"{place}: {task} has another recipe"
            tasks.add(task)
            try:
                needed = HEADS.get(read_card(task).kind)
            except UsageError as error:
                yield f"{place}: {error}"
                continue
            if recipe.card.kind != needed:
                yield f"{place}: {recipe.train} trains no {needed} for {task}"
    for suite, entries in read_suites().items():
        for entry in entries:
            if entry.recipe is not None and entry.recipe not in names:
                yield f"tasks/suites.yaml: {suite} names recipe {entry.recipe}, which is not there"
