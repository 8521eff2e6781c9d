"""Retrieval from one pool of all languages (LAReQA, Mewsli-X)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from harness.data.examples import Query, Retrieval
from harness.inference.batching import distinct
from harness.inference.protocol import Role
from harness.inference.search import rank_all, rank_top
from harness.inference.vector_store import Vectors
from harness.kinds import retrieval
from harness.kinds.kind import Kind, degenerate, table
from harness.metrics.by_kind import METRICS

if TYPE_CHECKING:
    from harness.evaluation.jobs import Job
    from harness.inference.encoder import Encoder

UNCUT_POOL = 100_000  # larger pools are ranked to DEPTH only (Mewsli-X: 1,003,893)
DEPTH = 100


@dataclass(frozen=True)
class Pool:
    """The candidates as vectors: float32[u, d] distinct, and each pool entry's row int64[m].

    Those of a pool that is not ranked in whole stay in the store.
    """

    vectors: Vectors
    rows: npt.NDArray[np.int64]
    degenerate: bool


def pool(examples: Retrieval) -> Sequence[str]:
    """The candidate texts, always all of them."""
    return examples.candidates


def queries(examples: Retrieval, unit: str, limit: int | None) -> Sequence[Query]:
    """The unit's first ``limit`` queries in file order."""
    return examples.queries[unit][:limit]


def texts(
    examples: Retrieval, unit: str, limit: int | None
) -> Sequence[tuple[Role, Sequence[str]]]:
    """The unit's queries."""
    return [("query", [query.text for query in queries(examples, unit, limit)])]


def prepare(job: Job, examples: Retrieval, encoder: Encoder) -> Pool:
    """Encode the candidates."""
    unique, rows = distinct(examples.candidates)
    vectors: Vectors = encoder.stored(unique, role="document", layer=job.layer)
    if len(rows) <= UNCUT_POOL:
        vectors = vectors[:]
    return Pool(vectors, rows, degenerate(vectors))


def run(
    job: Job, examples: Retrieval, unit: str, encoder: Encoder, prepared: Pool
) -> tuple[pa.Table, bool]:
    """One row per query of the unit, against the whole pool."""
    asked = queries(examples, unit, job.limit)
    vectors = encoder.encode([q.text for q in asked], role="query", lang=unit, layer=job.layer)
    relevant = [query.relevant for query in asked]
    if len(prepared.rows) > UNCUT_POOL:
        ranked = rank_top(vectors, prepared.vectors, prepared.rows, relevant, depth=DEPTH)
    else:
        ranked = rank_all(vectors, prepared.vectors[:], prepared.rows, relevant)
    rows = [
        {
            "example_id": query.id,
            "lang": unit,
            "cluster": query.cluster,
            "direction": f"{unit}-all",
            "ranks": ranked.ranks[i],
            "relevant": len(query.relevant),
            "top_ids": [examples.candidate_ids[j] for j in ranked.top[i]],
        }
        for i, query in enumerate(asked)
    ]
    return table(retrieval.SCHEMA, rows), prepared.degenerate or degenerate(vectors)


KIND = Kind(
    needs="encoder",
    schema=retrieval.SCHEMA,
    pool=pool,
    texts=texts,
    prepare=prepare,
    run=run,
    metrics=METRICS["passages"],
    read=retrieval.read,
    columns=retrieval.columns,
    groups=retrieval.groups,
)
