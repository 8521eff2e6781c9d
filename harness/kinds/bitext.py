"""Translation retrieval (Tatoeba): each sentence's translation among all of the other side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from harness.data.examples import Bitext
from harness.inference.batching import distinct
from harness.inference.protocol import Role
from harness.inference.search import rank_all
from harness.kinds import retrieval
from harness.kinds.kind import Kind, degenerate, no_pool, nothing, table
from harness.metrics.by_kind import METRICS

if TYPE_CHECKING:
    from harness.evaluation.jobs import Job
    from harness.inference.encoder import Encoder

Examples = Mapping[str, Bitext]


def texts(examples: Examples, unit: str, limit: int | None) -> Sequence[tuple[Role, Sequence[str]]]:
    """Both sides in whole, as queries: either side is searched from the other."""
    return [("query", examples[unit].source + examples[unit].english)]


def run(
    job: Job, examples: Examples, unit: str, encoder: Encoder, prepared: None
) -> tuple[pa.Table, bool]:
    """Rows of both directions: English → language (the official one), then language → English."""
    bitext = examples[unit]
    size = len(bitext.english)
    vectors = encoder.encode(
        bitext.source + bitext.english, role="query", lang=unit, layer=job.layer
    )
    source, english = vectors[:size], vectors[size:]
    rows = []
    for direction, queries, candidates, texts_searched in (
        (f"en-{unit}", english, source, bitext.source),
        (f"{unit}-en", source, english, bitext.english),
    ):
        _, pool = distinct(texts_searched)
        first = np.unique(pool, return_index=True)[1]
        count = size if job.limit is None else min(job.limit, size)
        ranked = rank_all(queries[:count], candidates[first], pool, [[i] for i in range(count)])
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
    return table(retrieval.SCHEMA, rows), degenerate(vectors)


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
