"""Shows intermediate tasks, for `xharness tasks`."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Any

from harness.cards.training import (
    IntermediateCard,
    intermediate_names,
    read_intermediate,
    read_intermediate_suites,
)
from harness.submissions.submission import CONTAMINATED, is_contaminated
from harness.terminal.console import plain_table

if TYPE_CHECKING:
    from rich.console import RenderableType

    from harness.training.contamination import Measured


def cards(name: str | None) -> list[IntermediateCard]:
    """Read the cards of a suite, the one card of that name, or all cards for None."""
    if name is None:
        return [read_intermediate(one) for one in intermediate_names()]
    return [read_intermediate(one) for one in read_intermediate_suites().get(name, [name])]


def data(name: str | None) -> dict[str, Any]:
    """Return all cards by name, those of a suite, or one card, for JSON."""
    found = {card.name: card.model_dump(mode="json") | {"hash": card.hash} for card in cards(name)}
    several = name is None or name in read_intermediate_suites()
    return found if several else next(iter(found.values()))


def shown(name: str | None) -> RenderableType:
    """Return the same for people."""
    from rich.text import Text

    suites = read_intermediate_suites()
    if name is not None and name not in suites:
        return Text("\n".join(_lines(read_intermediate(name))))
    table = plain_table(
        "intermediate task", "head", "objective", "languages", "contaminates", "suites",
        right=("languages",),
    )  # fmt: skip
    for card in cards(name):
        inside = [suite for suite, tasks in suites.items() if card.name in tasks]
        table.add_row(
            card.name,
            card.kind,
            card.objective,
            str(len(card.languages)),
            ", ".join(card.contaminates),
            ", ".join(inside),
        )
    return table


def overlap_table(measured: Measured, declared: Collection[str]) -> RenderableType:
    """Make a table with a row for each language that has examples which occur in training data.

    Languages that have none share a row. ``declared``: the targets that cards call contaminated.
    """
    numbers = ("examples", "exact", "run", "either", "share")
    table = plain_table(
        "target", "split", "language", *numbers, "declared", "counts as contaminated",
        right=numbers,
    )  # fmt: skip
    for target, splits in measured.items():
        for split, counts in splits.items():
            known = "yes" if is_contaminated(declared, target, split) else "no"
            for lang, one in counts.items():
                if one.either:
                    above = "yes" if one.share > CONTAMINATED else "no"
                    table.add_row(
                        target, split, lang, f"{one.examples:,}", f"{one.exact:,}", f"{one.run:,}",
                        f"{one.either:,}", f"{100 * one.share:.2f} %", known, above,
                    )  # fmt: skip
            clean = [one for one in counts.values() if not one.either]
            if clean:
                examples = sum(one.examples for one in clean)
                table.add_row(
                    target, split, f"{len(clean)} without any", f"{examples:,}", "0", "0", "0",
                    "0.00 %", known, "no",
                )  # fmt: skip
    return table


def _lines(card: IntermediateCard) -> list[str]:
    recipe = ", ".join(
        f"{key.replace('_', ' ')} {value:g}" for key, value in card.recipe.model_dump().items()
    )
    part = card.source.splits[card.split]
    lines = [
        f"{card.title} ({card.name}, {card.kind}, {card.objective}, version {card.version})",
        f"  languages: {' '.join(card.languages)}",
        f"  data: {', '.join(file.path for file in part.files.values())} ({card.split})",
        f"  recipe: {recipe}",
        f"  contaminates: {', '.join(card.contaminates) or 'none'}",
        f"  licence: {card.licence}",
        f"  citation: {' '.join(card.citation.split())}",
        f"  card hash: {card.hash[:12]}",
    ]
    if part.hub is not None:
        revision = part.hub.revision or "the newest revision, which the checkpoint records"
        lines.insert(3, f"  or from the Hub: {part.hub.id} at {revision}")
    if card.labels:
        lines.insert(2, f"  labels: {', '.join(card.labels)}")
    if card.deal is not None:
        how = "paired with one other language" if card.deal.partners else "in one language"
        lines.insert(2, f"  each item of {card.deal.items} once, {how}, spread evenly")
    return lines + [f"  note: {' '.join(note.split())}" for note in card.notes]
