"""What was asked for: the options that decide what runs, and the tasks that they choose."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from harness.cards.target_recipes import TargetRecipe, chosen_recipe, recipe_beside
from harness.cards.task import TaskCard, read_card, read_suites
from harness.errors import UsageError, unknown_name
from harness.inference.protocol import Protocol

DEFAULT_SUITE = "xtreme-r"


@dataclass(frozen=True)
class Request:
    """What was asked for, besides the checkpoint. ``None`` leaves a choice to its default."""

    suite: str | None = None
    tasks: tuple[str, ...] = ()
    languages: tuple[str, ...] = ()
    split: str | None = None
    protocol: Protocol = field(default_factory=Protocol)
    device: str = "cpu"
    batch_tokens: int | None = None
    limit: int | None = None
    seed: int = 0
    data: Path | None = None
    out: Path = Path("leaderboard/results")
    cache: Path = Path(".cache")
    offline: bool = False
    finetune: bool = False
    fresh: bool = False

    def __post_init__(self) -> None:
        for what, value, least in (
            ("--limit", self.limit, 1),
            ("--batch-tokens", self.batch_tokens, 1),
            ("--seed", self.seed, 0),
        ):
            if value is not None and value < least:
                raise UsageError(f"{what} {value}: give a whole number from {least}")


def choose_cards(request: Request) -> list[tuple[TaskCard, tuple[str, ...]]]:
    """The cards and their units: the tasks of the suite, or those named of them.

    Without a suite it is ``xtreme-r``, and any task may be named; a task has the languages that the
    suite gives it, or all of its card's. A language named may be any of the card's.

    Raises:
        UsageError: an unknown task, suite or language, a task that is not in the suite named, or a
            language in none of the tasks.
    """
    suites = read_suites()
    suite = request.suite or DEFAULT_SUITE
    if suite not in suites:
        raise unknown_name("suite", suite, suites)
    entries = {entry.task: entry.languages for entry in suites[suite]}
    for name in request.tasks:
        read_card(name)
        if request.suite is not None and name not in entries:
            raise UsageError(f"task {name} is not in suite {suite}: it has {', '.join(entries)}")
    names = dict.fromkeys(request.tasks) if request.tasks else entries
    named = [(read_card(name), entries.get(name)) for name in names]
    if not request.languages:
        return [(card, card.select(languages)) for card, languages in named]
    return _with_languages(named, request.languages)


def _with_languages(
    named: Sequence[tuple[TaskCard, list[str] | None]], languages: Sequence[str]
) -> list[tuple[TaskCard, tuple[str, ...]]]:
    # A language must be in one task at least: in a suite, tasks without it are left out.
    chosen: list[tuple[TaskCard, tuple[str, ...]]] = []
    refused: dict[str, UsageError] = {}
    found: set[str] = set()
    for card, _ in named:
        units: list[str] = []
        for language in languages:
            try:
                units += card.select([language])
                found.add(language)
            except UsageError as error:
                refused[language] = error
        if units:
            chosen.append((card, tuple(unit for unit in card.languages if unit in units)))
    for language in languages:
        if language not in found:
            raise refused[language]
    return chosen


def measured_after(request: Request, task: str) -> tuple[TargetRecipe | None, ...]:
    """The recipes that a task is measured after; None stands for the checkpoint as it is."""
    if not request.finetune:
        return (None,)
    recipe, beside = chosen_recipe(task, request.suite), recipe_beside(task)
    return (recipe,) if recipe is not None or beside is None else (None, beside)
