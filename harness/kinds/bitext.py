"""Translation retrieval (Tatoeba): each sentence's translation among all of the other side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from hashlib import sha256
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from harness.data.examples import Bitext
from harness.errors import one_line
from harness.inference.protocol import Role
from harness.inference.search import distinct_vectors, rank_all
from harness.kinds import retrieval
from harness.kinds.columns import text
from harness.kinds.kind import (
    Kind,
    UnitFacts,
    UnitResult,
    UnitSettings,
    degenerate,
    shared,
    table,
)
from harness.kinds.retrieval import FirstCandidates, Flags
from harness.metrics.by_kind import METRICS

if TYPE_CHECKING:
    from harness.inference.encoder import Encoder

Examples = Mapping[str, Bitext]


def texts(examples: Examples, unit: str, limit: int | None) -> Sequence[tuple[Role, Sequence[str]]]:
    """Both sides in whole, as queries: either side is searched from the other."""
    return [("query", examples[unit].source + examples[unit].english)]


def run(
    settings: UnitSettings, examples: Examples, unit: str, encoder: Encoder, prepared: None
) -> UnitResult:
    """Rows of both directions: English → language (the official one), then language → English.

    Indistinct are the language's own sentences, the candidates of the official direction. The
    English side is the same for every tokenizer that knows English.
    """
    bitext = examples[unit]
    size = len(bitext.english)
    vectors = encoder.encode(
        bitext.source + bitext.english, role="query", lang=unit, layer=settings.layer
    )
    source, english = vectors[:size], vectors[size:]
    rows = []
    count = size if settings.limit is None else min(settings.limit, size)
    for direction, queries, candidates in (
        (f"en-{unit}", english, source),
        (f"{unit}-en", source, english),
    ):
        pool = distinct_vectors(candidates)
        ranked = rank_all(queries[:count], pool, [[i] for i in range(count)])
        rows += [
            {
                "example_id": f"{unit}:{i}",
                "lang": unit,
                "cluster": cluster(bitext.english[i]),
                "direction": direction,
                "ranks": ranked.ranks[i],
                "relevant": 1,
                "top_ids": [f"{unit}:{j}" for j in ranked.top[i]],
            }
            for i in range(count)
        ]
    tied = shared(encoder.ids_keys(bitext.source, role="query"))
    rows_table = table(retrieval.SCHEMA, rows)
    meaningless = degenerate(source) or degenerate(english)
    return UnitResult(rows_table, meaningless, size, int(tied.sum()))


def contradiction(rows: pa.Table, facts: UnitFacts) -> str:
    """What the rows of a language contradict, or nothing: both directions have the same lines.

    A line's translation is the candidate of the same number.
    """
    unit, pool = facts.unit, facts.pool
    directions = (f"en-{unit}", f"{unit}-en")
    if wrong := retrieval.contradiction(rows, facts, directions, _own_line, 0):
        return wrong
    if pc.max(rows.column("relevant")).as_py() != 1:
        return "a sentence has one translation, not several"
    names, own = text(rows.column("example_id")), rows.column("direction").combine_chunks()
    asked = [names.filter(pc.equal(own, direction)) for direction in directions]
    lines = _line_ids(unit, len(asked[0]))
    if any(not pc.all(pc.is_in(lines, value_set=found)).as_py() for found in asked):
        return f"the ids of {unit} are not those of its lines, the same in both directions"
    if pool is not None:
        known = _line_ids(unit, pool)
        tops = rows.column("top_ids").combine_chunks().flatten()
        other = tops.filter(pc.invert(pc.is_in(tops, value_set=known)))
        if len(other):
            return f"{one_line(other[0].as_py(), 80)} is not one of the {pool} candidates"
    return ""


def _own_line(rows: pa.Table, first: FirstCandidates) -> tuple[Flags, Flags]:
    names = text(rows.column("example_id")).take(pa.array(first.row))
    same: Flags = pc.equal(first.ids, names).to_numpy(zero_copy_only=False)
    return same, same


@lru_cache(maxsize=512)  # checkpoints have the same lines
def _line_ids(unit: str, count: int) -> pa.Array:
    return pa.array((f"{unit}:{i}" for i in range(count)), pa.string())


def cluster(english: str) -> str:
    """The parallel item: the English sentence, since line numbers are not parallel across pairs."""
    return f"tatoeba:{sha256(english.encode()).hexdigest()[:12]}"


KIND = Kind(
    needs="encoder",
    schema=retrieval.SCHEMA,
    texts=texts,
    run=run,
    metrics=METRICS["bitext"],
    read=retrieval.read,
    groups=retrieval.groups,
    contradiction=contradiction,
)
