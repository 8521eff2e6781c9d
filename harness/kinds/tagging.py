"""Tagging: a tag for every word of a sentence (UDPOS, PAN-X)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa

from harness.data.examples import ItemSet, Sentence
from harness.inference.protocol import Role
from harness.kinds.columns import values
from harness.kinds.decisions import groups
from harness.kinds.kind import Kind, UnitResult, UnitSettings, table
from harness.metrics.by_kind import METRICS
from harness.metrics.labels import TaggedSentences

if TYPE_CHECKING:
    from harness.inference.labeller import Labeller

SCHEMA = pa.schema(
    [
        ("example_id", pa.string()),
        ("lang", pa.string()),
        ("cluster", pa.string()),
        ("gold", pa.list_(pa.string())),
        ("prediction", pa.list_(pa.string())),
    ]
)

Examples = Mapping[str, ItemSet]


def texts(examples: Examples, unit: str, limit: int | None) -> Sequence[tuple[Role, Sequence[str]]]:
    """The unit's sentences, as what is counted before a run."""
    return [("query", [" ".join(one.words) for one in _sentences(examples, unit, limit)])]


def run(
    settings: UnitSettings, examples: Examples, unit: str, labeller: Labeller, prepared: None
) -> UnitResult:
    """One row per sentence, with the tag of every word."""
    sentences = _sentences(examples, unit, settings.limit)
    tags = labeller.tag([one.words for one in sentences], settings.labels, lang=unit)
    rows = [
        {
            "example_id": one.id,
            "lang": unit,
            "cluster": one.cluster,
            "gold": list(one.tags),
            "prediction": list(predicted),
        }
        for one, predicted in zip(sentences, tags, strict=True)
    ]
    return UnitResult(table(SCHEMA, rows))


def read(rows: pa.Table) -> TaggedSentences:
    """The tags that rows were written with."""
    if missing := sum(rows.column(name).null_count for name in ("gold", "prediction")):
        raise ValueError(f"{missing} sentences have no tags")
    return TaggedSentences(Tags(rows, "gold"), Tags(rows, "prediction"))


@dataclass(frozen=True, eq=False)
class Tags:
    """The tags of each row's sentence, as often as they are gone through: lists of strings."""

    rows: pa.Table
    name: str

    def __iter__(self) -> Iterator[list[str]]:
        return (tags for (tags,) in values(self.rows, self.name))


def _sentences(examples: Examples, unit: str, limit: int | None) -> list[Sentence]:
    return [one for one in examples[unit].items[:limit] if isinstance(one, Sentence)]


KIND = Kind(
    needs="tagging",
    schema=SCHEMA,
    texts=texts,
    run=run,
    metrics=METRICS["tagging"],
    read=read,
    groups=groups,
)
