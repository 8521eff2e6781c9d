"""Retrieval from one pool of all languages (LAReQA, Mewsli-X)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from harness.data.examples import Query, Retrieval
from harness.inference.protocol import Role
from harness.inference.search import Distinct, distinct_vectors, rank_all, rank_top
from harness.inference.vector_store import Vectors
from harness.kinds import retrieval
from harness.kinds.columns import dictionary
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

UNCUT_POOL = 100_000  # larger pools are ranked to DEPTH only (Mewsli-X: 1,003,893)
DEPTH = 100
_FIRST_PART = "^[^:]*:?"  # of what colons separate; all where there is none
_LAST_PART = "(^|:)[^:]*$"


@dataclass(frozen=True)
class Pool:
    """The candidates' vectors, and by language how many candidates there are and indistinct ones.

    Vectors of a pool that is not ranked in whole stay in the store.
    """

    vectors: Distinct
    degenerate: bool
    candidates: Mapping[str, int]
    indistinct: Mapping[str, int]


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


def prepare(settings: UnitSettings, examples: Retrieval, encoder: Encoder) -> Pool:
    """Encode the candidates."""
    texts, langs = examples.candidates, examples.candidate_langs
    vectors: Vectors = encoder.stored(texts, role="document", layer=settings.layer)
    if len(texts) <= UNCUT_POOL:
        vectors = vectors[:]
    tied = shared(encoder.ids_keys(texts, role="document"))
    return Pool(
        distinct_vectors(vectors),
        degenerate(vectors),
        Counter(langs),
        Counter(lang for lang, one in zip(langs, tied, strict=True) if one),
    )


def run(
    settings: UnitSettings, examples: Retrieval, unit: str, encoder: Encoder, prepared: Pool
) -> UnitResult:
    """One row per query of the unit, against the whole pool.

    Indistinct are the candidates in the unit's language that share their token ids with any
    candidate of the pool, whatever its language.
    """
    asked = queries(examples, unit, settings.limit)
    vectors = encoder.encode([q.text for q in asked], role="query", lang=unit, layer=settings.layer)
    relevant = [query.relevant for query in asked]
    if len(prepared.vectors) > UNCUT_POOL:
        ranked = rank_top(vectors, prepared.vectors, relevant, depth=DEPTH)
    else:
        ranked = rank_all(vectors, prepared.vectors, relevant)
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
    return UnitResult(
        table(retrieval.SCHEMA, rows),
        prepared.degenerate or degenerate(vectors),
        prepared.candidates[unit],
        prepared.indistinct[unit],
    )


def contradiction(rows: pa.Table, facts: UnitFacts) -> str:
    """What the rows of a language contradict, or nothing."""
    deepest = DEPTH if facts.pool is not None and facts.pool > UNCUT_POOL else 0
    return retrieval.contradiction(rows, facts, [f"{facts.unit}-all"], _of_cluster, deepest)


def _of_cluster(rows: pa.Table, first: FirstCandidates) -> tuple[Flags, Flags]:
    """A relevant candidate is a sentence of the question's paragraph
    (``language:paragraph:number``), or the entity itself; both are in the name of the cluster.

    Which of the sentences of its paragraph are relevant cannot be told from one row.
    """
    keys = _without(_FIRST_PART, rows.column("cluster")).take(pa.array(first.row))
    paragraphs = _without(_LAST_PART, _without(_FIRST_PART, first.ids))
    entity, sentence = (
        pc.equal(found, keys).to_numpy(zero_copy_only=False) for found in (first.ids, paragraphs)
    )
    return entity, entity | sentence


def _without(pattern: str, column: pa.Array | pa.ChunkedArray) -> pa.Array:
    """Strings without what a regular expression finds in them."""
    coded = dictionary(column)
    return pc.replace_substring_regex(coded.dictionary, pattern, "").take(coded.indices)


KIND = Kind(
    needs="encoder",
    schema=retrieval.SCHEMA,
    pool=pool,
    texts=texts,
    prepare=prepare,
    run=run,
    metrics=METRICS["passages"],
    read=retrieval.read,
    groups=retrieval.groups,
    contradiction=contradiction,
)
