"""Classification of pairs of texts (XNLI, PAWS-X)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from harness.data.examples import ItemSet, Pair
from harness.inference.protocol import Role
from harness.kinds.decisions import SCHEMA, decided, groups, read
from harness.kinds.kind import Kind, UnitResult, UnitSettings
from harness.metrics.by_kind import METRICS

if TYPE_CHECKING:
    from harness.inference.labeller import Labeller

Examples = Mapping[str, ItemSet]


def texts(examples: Examples, unit: str, limit: int | None) -> Sequence[tuple[Role, Sequence[str]]]:
    """The unit's pairs, as what is counted before a run; no vector is made of them."""
    return [("query", [f"{one.first}\n{one.second}" for one in _pairs(examples, unit, limit)])]


def run(
    settings: UnitSettings, examples: Examples, unit: str, labeller: Labeller, prepared: None
) -> UnitResult:
    """One row per pair; ``scores`` are the head's outputs in the order of the card's labels."""
    pairs = _pairs(examples, unit, settings.limit)
    scores = labeller.classify(
        [(one.first, one.second) for one in pairs], settings.labels, lang=unit
    )
    items = [(one.id, one.cluster, one.label) for one in pairs]
    return decided(unit, items, scores, settings.labels)


def _pairs(examples: Examples, unit: str, limit: int | None) -> list[Pair]:
    return [one for one in examples[unit].items[:limit] if isinstance(one, Pair)]


KIND = Kind(
    needs="classification",
    schema=SCHEMA,
    texts=texts,
    run=run,
    metrics=METRICS["classification"],
    read=read,
    groups=groups,
)
