"""What every ranking task shares: the columns of its outcomes and the fold into metrics."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from harness.kinds.kind import Score
from harness.metrics.bitext import f1_mteb_terms
from harness.metrics.ranking import (
    Ranks,
    average_precision,
    hit_at,
    ndcg_at,
    recall_at,
    reciprocal_rank,
)

SCHEMA = pa.schema(
    [
        ("example_id", pa.string()),
        ("lang", pa.string()),
        ("cluster", pa.string()),
        ("direction", pa.string()),
        ("ranks", pa.list_(pa.int32())),
        ("relevant", pa.int32()),
        ("top_ids", pa.list_(pa.string())),
    ]
)

Values = npt.NDArray[np.float64]

OTHER = "other_language_recall@10"

METRICS: dict[str, Callable[[Ranks], Values]] = {
    **{f"hit@{k}": partial(hit_at, k=k) for k in (1, 5, 10, 20, 100)},
    **{f"recall@{k}": partial(recall_at, k=k) for k in (1, 5, 10, 20, 100)},
    "accuracy": partial(hit_at, k=1),
    "mrr": reciprocal_rank,
    "map@20": partial(average_precision, k=20),
    "map": average_precision,
    "ndcg@10": partial(ndcg_at, k=10),
}


def ranks_of(rows: pa.Table) -> Ranks:
    """The ragged ranks of outcome rows."""
    column = rows.column("ranks").combine_chunks()
    return Ranks(
        values=column.flatten().to_numpy(zero_copy_only=False).astype(np.int32),
        offsets=np.concatenate(
            [[0], np.cumsum(column.value_lengths().to_numpy(zero_copy_only=False))]
        ).astype(np.int64),
        relevant=rows.column("relevant").to_numpy().astype(np.int32),
    )


def fold(rows: pa.Table, metrics: Sequence[str], split: str) -> list[Score]:
    """Means over the queries of one unit, by direction."""
    lang = rows.column("lang")[0].as_py()
    scores: list[Score] = []
    for direction in pc.unique(rows.column("direction")).to_pylist():
        chosen = rows.filter(pc.field("direction") == direction)
        ranks = ranks_of(chosen)
        source, target = direction.split("-")
        group = f"{'xx' if source == lang else source}-{'xx' if target == lang else target}"
        for metric in metrics:
            values = _values(metric, chosen, ranks)
            scores.append(Score(lang, direction, group, metric, float(values.mean()), len(values)))
    return scores


def _values(metric: str, rows: pa.Table, ranks: Ranks) -> Values:
    if metric == "f1_mteb":
        predicted = [top[0] for top in rows.column("top_ids").to_pylist()]
        return f1_mteb_terms(predicted, hit_at(ranks, 1) > 0)
    if metric == "same_language@10":
        return _same_language(rows)
    if metric == OTHER:
        return other_language_recall(rows, ranks)
    return METRICS[metric](ranks)


def other_language_recall(rows: pa.Table, ranks: Ranks, k: int = 10) -> Values:
    """float64[n]: of the relevant candidates in other languages, the share among the first k.

    For tasks where every question has one relevant candidate in each language, its own among them:
    recall@k alone can be made of that one. Candidate ids begin with their language. ``k``: at most
    the number of ``top_ids`` that rows keep.
    """
    tops = rows.column("top_ids").combine_chunks()
    lengths = tops.value_lengths().to_numpy(zero_copy_only=False).astype(np.int64)
    starts = np.cumsum(lengths) - lengths
    within = ranks.values <= k
    query = ranks.query[within]
    found = tops.flatten().take(pa.array(starts[query] + ranks.values[within] - 1))
    found_lang = pc.list_element(pc.split_pattern(found.cast(pa.string()), ":", max_splits=1), 0)
    asked = rows.column("lang").combine_chunks().cast(pa.string()).take(pa.array(query))
    other = pc.not_equal(found_lang, asked).to_numpy(zero_copy_only=False)
    hits = np.bincount(query[other], minlength=len(rows))
    share: Values = hits / np.maximum(ranks.relevant - 1, 1)
    return share


def _same_language(rows: pa.Table) -> Values:
    """Share of each query's top 10 that is in its own language (ids begin with the language)."""
    return np.array(
        [
            np.mean([identifier.split(":", 1)[0] == lang for identifier in top])
            for top, lang in zip(
                rows.column("top_ids").to_pylist(), rows.column("lang").to_pylist(), strict=True
            )
        ]
    )
