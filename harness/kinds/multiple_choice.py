"""Multiple choice: which of two continuations fits (XCOPA)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from harness.data.examples import Alternatives, ItemSet
from harness.inference.protocol import Role
from harness.kinds.decisions import SCHEMA, decided, groups, read
from harness.kinds.kind import Kind, UnitResult, UnitSettings
from harness.metrics.by_kind import METRICS

if TYPE_CHECKING:
    from harness.inference.labeller import Labeller

Examples = Mapping[str, ItemSet]


def texts(examples: Examples, unit: str, limit: int | None) -> Sequence[tuple[Role, Sequence[str]]]:
    """The unit's prompts with each choice, as what is counted before a run."""
    asked = _questions(examples, unit, limit)
    return [("query", [f"{one.prompt}\n{choice}" for one in asked for choice in one.choices])]


def run(
    settings: UnitSettings, examples: Examples, unit: str, labeller: Labeller, prepared: None
) -> UnitResult:
    """One row per question; gold and prediction are the places of choices, from 0."""
    asked = _questions(examples, unit, settings.limit)
    scores = labeller.choose([(one.prompt, one.choices) for one in asked], lang=unit)
    items = [(one.id, one.cluster, str(one.label)) for one in asked]
    return decided(unit, items, scores, [str(place) for place in range(scores.shape[1])])


def _questions(examples: Examples, unit: str, limit: int | None) -> list[Alternatives]:
    return [one for one in examples[unit].items[:limit] if isinstance(one, Alternatives)]


KIND = Kind(
    needs="multiple_choice",
    schema=SCHEMA,
    texts=texts,
    run=run,
    metrics=METRICS["multiple_choice"],
    read=read,
    groups=groups,
)
