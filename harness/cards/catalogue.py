"""Which tasks and suites there are: cards of the package and outside it, and `suites.yaml`."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, RootModel, ValidationError

from harness.cards.languages import task_root
from harness.cards.task import CustomCard, TaskCard
from harness.errors import DataError, NotFoundError, UsageError, one_line, unknown_name
from harness.io.strict_yaml import Name, Strict, read_document, read_model, validated


class SuiteEntry(Strict):
    """A task of a suite, with its languages where they are not all of the card's.

    ``recipe``: the target recipe that it is tuned by, where it is not the task's own. ``split``:
    what is measured, where it is not the card's own split.
    """

    task: Name
    languages: list[str] | None = None
    recipe: Name | None = None
    split: str | None = None


class Suites(RootModel[Mapping[str, Annotated[list[SuiteEntry], Field(min_length=1)]]]):
    """What suites.yaml holds."""


def read_card(name: str) -> TaskCard:
    """One card by the task's name, or by the path of a card outside the package (``….yaml``).

    Raises:
        UsageError: an unknown task, or a card outside the package with the name of one in it.
        NotFoundError: no such file. DataError: a broken card.
    """
    if name.endswith((".yaml", ".yml")):
        return _read_custom(Path(name))
    if name not in card_names():
        raise _unknown_task(name)
    return _read_card(name)


def usual_name(name: str) -> str:
    """The task that a name of papers or other harnesses stands for, else the name itself."""
    spelled = name.strip().lower().replace("-", "_").replace(" ", "_")
    return OTHER_NAMES.get(spelled, spelled)


def with_same_data(seen: Iterable[str]) -> frozenset[str]:
    """The tasks (``task`` or ``task/split``), and those that have the same questions or texts."""
    parts = {entry: entry.partition("/") for entry in seen}
    return frozenset(parts) | {
        f"{same}{slash}{split}"
        for task, slash, split in parts.values()
        for same in SAME_DATA.get(task, ())
    }


def with_halves(seen: Iterable[str]) -> frozenset[str]:
    """What was seen, and of a split (``task/split``) those that share rows with it: one is a half
    of the other's files.
    """
    entries = frozenset(seen)
    return entries | {
        f"{task}/{name}"
        for task, _, split in (entry.partition("/") for entry in entries)
        if task in card_names() and (own := read_card(task).source.splits.get(split))
        for name, part in read_card(task).source.splits.items()
        if bool(part.half) != bool(own.half) and part.files == own.files
    }


def counted_once(tasks: Iterable[str]) -> list[str]:
    """The tasks that a mean may be over: without other versions of the data of one of them.

    `xcopa_corrected` beside `xcopa` would count a target twice. XTREME's own version is kept.
    """
    tasks, suites = list(tasks), read_suites()
    own = {entry.task for suite in PAPER for entry in suites.get(suite, ())}
    return [
        task for task in tasks if task in own or not own & set(SAME_DATA.get(task, ())) & set(tasks)
    ]


def _unknown_task(name: str) -> UsageError:
    """The error for a name that is no task: what is meant, or what became of it."""
    known, meant = card_names(), usual_name(name)
    if name.lower() in read_suites():
        return UsageError(f"unknown task {name!r}: it is a suite, give --suite {name.lower()}")
    if meant in known:
        return UsageError(f"unknown task {name!r}: did you mean {meant}?")
    return unknown_name("task", name, known)


def card_of(meta: Mapping[str, Any]) -> TaskCard:
    """The card that outcomes were measured with: the package's, or the one that they bring along.

    ``meta``: the metadata of an outcome file. UsageError and DataError as for ``read_card``.
    """
    if not meta.get("card"):
        return read_card(meta["task"])
    try:
        return CustomCard.model_validate(meta["card"])
    except ValidationError as error:
        why = one_line(error.errors()[0]["msg"], 120)
        raise DataError(f"the card within the outcomes of {meta['task']}: {why}") from None


def _read_custom(path: Path) -> CustomCard:
    if not path.is_file():
        raise NotFoundError(f"no card {path}: give a task of `xharness tasks`, or a file")
    document = read_document(path, str(path))
    card = validated(document, TaskCard)
    if card.name in card_names():
        raise UsageError(
            f"{document.place(('name',))}: {card.name} is a task of the package: give the card a "
            "name of its own"
        )
    checksum = sha256(path.read_bytes()).hexdigest()
    return CustomCard.model_validate(
        {**document.value, "path": os.fspath(path), "checksum": checksum}
    )


PAPER = ("xtreme-r", "xtreme")  # the suites of the papers
# Who trains on the first task has seen the second, which has the same questions or texts.
SAME_DATA: Mapping[str, tuple[str, ...]] = {
    "xquad": ("lareqa",),
    "lareqa": ("xquad",),
    "mlqa": ("mlqa_cross",),
    "mlqa_cross": ("mlqa",),
    "udpos": ("udpos_hub",),
    "udpos_hub": ("udpos",),
    "xcopa": ("xcopa_corrected",),
    "xcopa_corrected": ("xcopa",),
}
# What papers and other harnesses call the tasks.
OTHER_NAMES: Mapping[str, str] = {
    "bucc": "bucc2018",
    "bucc18": "bucc2018",
    "xquad_r": "lareqa",
    "xquadr": "lareqa",
    "mewslix": "mewsli_x",
    "tydi": "tydiqa",
    "tydi_qa": "tydiqa",
    "tydiqa_goldp": "tydiqa",
    "paws_x": "pawsx",
    "pos": "udpos",
    "ud_pos": "udpos",
    "ner": "panx",
    "pan_x": "panx",
    "wikiann": "panx",
}


@cache
def _read_card(name: str) -> TaskCard:
    card = read_model(
        task_root() / "target" / f"{name}.yaml", TaskCard, f"tasks/target/{name}.yaml"
    )
    if card.name != name:
        raise DataError(f"tasks/target/{name}.yaml: name is {card.name}: the file is named for it")
    return card


def read_cards() -> dict[str, TaskCard]:
    """Every card by name."""
    return {name: read_card(name) for name in card_names()}


def card_names() -> list[str]:
    """The names of all tasks; no card is parsed."""
    return sorted(path.stem for path in (task_root() / "target").glob("*.yaml"))


@cache
def read_suites() -> dict[str, tuple[SuiteEntry, ...]]:
    """Suite → its tasks. DataError where an entry names an unknown task or language."""
    document = read_document(task_root() / "suites.yaml", "tasks/suites.yaml")
    suites = validated(document, Suites).root
    tasks = card_names()
    for suite, entries in suites.items():
        for index, entry in enumerate(entries):
            if entry.task not in tasks:
                place = document.place((suite, index))
                raise DataError(f"{place}: {unknown_name('task', entry.task, tasks)}")
    return {suite: tuple(entries) for suite, entries in suites.items()}
