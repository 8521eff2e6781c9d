"""Defines a request: the options that decide what runs, and the tasks that they choose."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from harness.cards.catalogue import card_names, read_card, read_suites
from harness.cards.languages import canonical
from harness.cards.target_recipes import TargetRecipe, chosen_recipe, recipe_beside
from harness.cards.task import TaskCard
from harness.data.layout import DataLocation
from harness.errors import UsageError, unknown_name
from harness.inference.protocol import Protocol

DEFAULT_SUITE = "xtreme-r"


def _check_from(option: str, value: int | None, least: int) -> None:
    if value is not None and value < least:
        raise UsageError(f"{option} {value}: give a whole number from {least}")


@dataclass(frozen=True)
class Selection:
    """Which tasks and languages are measured. ``None`` leaves a choice to its default.

    ``limit``: only the first queries (or questions) of each language. ``smoke``: pools are cut too.
    """

    suite: str | None = None
    tasks: tuple[str, ...] = ()
    languages: tuple[str, ...] = ()
    split: str | None = None
    limit: int | None = None
    smoke: bool = False

    def __post_init__(self) -> None:
        _check_from("--limit", self.limit, 1)


@dataclass(frozen=True)
class Runtime:
    """Where a run takes place and what it leaves; nothing here changes a score.

    ``out``: the results. ``cache``: vectors and tuned checkpoints. ``worker_devices``: of the local
    worker processes, such as ``("cuda:0", "cuda:1")``, each of which sees its own as ``device``;
    without any, this process does the work. ``fresh``: what is finished is measured again.
    """

    out: Path = Path("leaderboard/results")
    cache: Path = Path(".cache")
    device: str = "cpu"
    worker_devices: tuple[str, ...] = ()
    batch_tokens: int | None = None
    fresh: bool = False

    def __post_init__(self) -> None:
        _check_from("--batch-tokens", self.batch_tokens, 1)


@dataclass(frozen=True)
class Request:
    """What was asked for, besides the checkpoint. ``location``: where its data may come from."""

    selection: Selection = Selection()
    protocol: Protocol = field(default_factory=Protocol)
    runtime: Runtime = Runtime()
    location: DataLocation = field(default_factory=lambda: DataLocation(None, Runtime().cache))
    seed: int = 0
    finetune: bool = False

    def __post_init__(self) -> None:
        _check_from("--seed", self.seed, 0)


@dataclass(frozen=True)
class Choice:
    """The tasks of a request: each card with its units.

    ``left_out``: task of the suite → which of the languages asked for it lacks, in words.
    """

    cards: tuple[tuple[TaskCard, tuple[str, ...]], ...]
    left_out: Mapping[str, str]


def choose_cards(selection: Selection) -> Choice:
    """Return the cards and their units: the tasks of the suite, or those named of them.

    Without a suite it is ``xtreme-r``, and any task may be named, or the path of a card; a task has
    the languages that the suite gives it, or all of its card's. A language named may be any of the
    card's. A named task must have every named language; a task of a suite that lacks one is
    measured without it, with a note.

    Raises:
        UsageError: an unknown task, suite or language, a task that is not in the suite named, two
            cards of one name, a named task without a language that is named, or a language in none
            of the tasks.
        NotFoundError, DataError: a card that is not there, or is broken.
    """
    suites = read_suites()
    suite = selection.suite or DEFAULT_SUITE
    if suite not in suites:
        if suite in card_names():
            raise UsageError(f"unknown suite {suite!r}: it is a task, give --task {suite}")
        raise unknown_name("suite", suite, suites)
    entries = {entry.task: entry.languages for entry in suites[suite]}
    cards: dict[str, TaskCard] = {}
    for name in selection.tasks or entries:
        card = read_card(name)
        if selection.suite is not None and card.name not in entries:
            raise UsageError(f"task {name} is not in suite {suite}: it has {', '.join(entries)}")
        if cards.setdefault(card.name, card).hash != card.hash:
            raise UsageError(f"two cards are named {card.name}: give one, or rename one of them")
    if not selection.languages:
        units = [card.select(entries.get(name)) for name, card in cards.items()]
        return Choice(tuple(zip(cards.values(), units, strict=True)), {})
    return _with_languages(list(cards.values()), selection)


def split_of(selection: Selection, card: TaskCard) -> str:
    """Return the split of a task: the one asked for, else the suite's, else the card's own.

    Raises UsageError for one that the card has not.
    """
    entries = read_suites().get(selection.suite or DEFAULT_SUITE, ())
    own = next((entry.split for entry in entries if entry.task == card.name), None)
    return card.check_split(selection.split or own)


def _with_languages(cards: Sequence[TaskCard], selection: Selection) -> Choice:
    chosen: list[tuple[TaskCard, tuple[str, ...]]] = []
    left_out: dict[str, str] = {}
    refused: dict[str, UsageError] = {}
    found: set[str] = set()
    for card in cards:
        units: list[str] = []
        lacking: list[str] = []
        for language in selection.languages:
            try:
                units += card.select([language])
                found.add(language)
            except UsageError as error:
                refused.setdefault(language, error)
                lacking.append(language)
        if lacking:
            left_out[card.name] = f"{card.name} has no {', '.join(dict.fromkeys(lacking))}"
        if units:
            chosen.append((card, tuple(unit for unit in card.languages if unit in units)))
    for language in selection.languages:
        if language not in found and not (selection.tasks and _known(language)):
            raise refused[language]
    for card in cards if selection.tasks else ():
        if card.name in left_out:
            raise UsageError(
                f"task {left_out[card.name]}: its languages are {', '.join(card.languages)}"
            )
    return Choice(tuple(chosen), left_out)


def _known(language: str) -> bool:
    """Return whether it is a language (or pair) at all, in a task or not."""
    try:
        return all(canonical(part) for part in language.split("-"))
    except UsageError:
        return False


def measured_after(request: Request, task: str) -> tuple[TargetRecipe | None, ...]:
    """Return the recipes that a task is measured after; None stands for the checkpoint as it is."""
    if not request.finetune:
        return (None,)
    recipe, beside = chosen_recipe(task, request.selection.suite), recipe_beside(task)
    return (recipe,) if recipe is not None or beside is None else (None, beside)
