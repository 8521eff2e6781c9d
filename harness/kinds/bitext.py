"""Translation retrieval (Tatoeba): each sentence's translation among all of the other side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import TYPE_CHECKING

from harness.data.examples import Bitext
from harness.inference.protocol import Role
from harness.inference.search import distinct_vectors, rank_all
from harness.kinds import retrieval
from harness.kinds.kind import (
    Kind,
    UnitResult,
    UnitSettings,
    degenerate,
    no_pool,
    nothing,
    shared,
    table,
)
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
    return UnitResult(rows_table, degenerate(vectors), size, int(tied.sum()))


def cluster(english: str) -> str:
    """The parallel item: the English sentence, since line numbers are not parallel across pairs."""
    return f"tatoeba:{sha256(english.encode()).hexdigest()[:12]}"


KIND = Kind(
    needs="encoder",
    schema=retrieval.SCHEMA,
    pool=no_pool,
    texts=texts,
    prepare=nothing,
    run=run,
    metrics=METRICS["bitext"],
    read=retrieval.read,
    columns=retrieval.columns,
    groups=retrieval.groups,
)
