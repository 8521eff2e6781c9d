"""Intermediate tasks as `xharness tasks` shows them."""

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

if TYPE_CHECKING:
    from rich.console import RenderableType

    from harness.training.contamination import Measured


def suites() -> list[str]:
    """The names of the suites."""
    return list(read_intermediate_suites())


def data(name: str | None) -> dict[str, Any]:
    """All cards by name, those of a suite, or one card; for JSON."""
    if name is not None and name not in suites():
        return _card_data(read_intermediate(name))
    return {card.name: _card_data(card) for card in _cards(name)}


def shown(name: str | None) -> RenderableType:
    """The same for people."""
    from rich.table import Table
    from rich.text import Text

    if name is not None and name not in suites():
        return Text("\n".join(_lines(read_intermediate(name))))
    table = Table(box=None, pad_edge=False, header_style="bold", show_edge=False)
    for heading in (
        "intermediate task",
        "head",
        "objective",
        "languages",
        "contaminates",
        "suites",
    ):
        table.add_column(heading, justify="right" if heading == "languages" else "left")
    for card in _cards(name):
        inside = [
            suite for suite, tasks in read_intermediate_suites().items() if card.name in tasks
        ]
        table.add_row(
            card.name,
            card.kind,
            card.objective,
            str(len(card.languages)),
            ", ".join(card.contaminates),
            ", ".join(inside),
        )
    return table


def cards(name: str) -> list[IntermediateCard]:
    """The cards of a suite, or the one card of that name."""
    return _cards(name) if name in suites() else [read_intermediate(name)]


def overlap_table(measured: Measured, declared: Collection[str]) -> RenderableType:
    """A row for each language with examples that occur in training, and one for what has none.

    ``declared``: the targets that the cards say are contaminated.
    """
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold", show_edge=False)
    for heading in ("target", "split", "language", "examples", "exact", "run", "either", "share",
                    "declared", "counts as contaminated"):  # fmt: skip
        number = heading in ("examples", "exact", "run", "either", "share")
        table.add_column(heading, justify="right" if number else "left")
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


def _cards(suite: str | None) -> list[IntermediateCard]:
    names = intermediate_names() if suite is None else read_intermediate_suites()[suite]
    return [read_intermediate(name) for name in names]


def _card_data(card: IntermediateCard) -> dict[str, Any]:
    return card.model_dump(mode="json") | {"hash": card.hash}


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
