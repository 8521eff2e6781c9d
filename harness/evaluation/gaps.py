"""Says what a run cannot measure, and why: by task, or by ``task/language``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from harness.cards.task import TaskCard

if TYPE_CHECKING:
    from harness.data.load import Download


@dataclass(frozen=True)
class Gaps:
    """What a plan leaves out.

    ``inapplicable``: task → why it does not apply to the checkpoint (not a failure).
    ``missing``: task or task/language → why its data could not be had. ``broken``: likewise, what
    is wrong with its data. ``left_out``: task of the suite → which languages it lacks.
    ``downloads``: task → what it still needs, in a plan that downloads nothing.
    """

    inapplicable: dict[str, str] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)
    broken: dict[str, str] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)
    downloads: dict[str, Sequence[Download]] = field(default_factory=dict)


def of_units(card: TaskCard, units: Sequence[str], reasons: Mapping[str, str]) -> dict[str, str]:
    """Return the reasons of some of a task's ``units``, by the names that they have in `Gaps`."""
    named = {f"{card.name}/{unit}": reason for unit, reason in reasons.items()}
    if len(reasons) < len(units) or not reasons:
        return named
    if len(set(reasons.values())) == 1:
        return {card.name: next(iter(reasons.values()))}
    return by_task(named, {card.name: len(units)})


def by_task(reasons: Mapping[str, str], totals: Mapping[str, int] | None = None) -> dict[str, str]:
    """Return the reasons of ``task`` or ``task/language`` as one line per task.

    ``totals``: task → how many languages it should have. Of several languages the first is named.
    """
    found: dict[str, list[tuple[str, str]]] = {}
    for name, why in reasons.items():
        task, _, unit = name.partition("/")
        found.setdefault(task, []).append((unit, why))
    lines = {}
    for task, of_task in found.items():
        unit, why = of_task[0]
        if len(of_task) > 1:
            total = f" of {totals[task]}" if totals and task in totals else ""
            why = f"{len(of_task)}{total} languages of {task}, such as {unit}: {why}"
        lines[f"{task}/{unit}" if unit and len(of_task) == 1 else task] = why
    return lines
