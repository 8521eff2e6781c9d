"""The rows of one unit → its scores with their draws, kind by kind.

The numbers are those of ``harness.results.scores``, computed over whole columns.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from harness.analysis.draws import cluster_keys, cluster_sums, weighted_means, weights
from harness.cards.task import TaskCard
from harness.kinds import KINDS, retrieval
from harness.kinds.kind import Score
from harness.metrics.bitext import f1_mteb_terms
from harness.metrics.ranking import Ranks

Floats = npt.NDArray[np.float64]
Keys = npt.NDArray[np.uint64]
Codes = npt.NDArray[np.int64]
Parts = tuple[Keys, Floats]  # clusters, and what each adds to the headline
# The cells of a unit: scores with their draws, and by direction the parts of the headline.
Cells = tuple[list[tuple[Score, Floats]], dict[str, Parts]]


def official(card: TaskCard, group: str) -> bool:
    """Whether a group of directions is the one that the headline is about (English → xx)."""
    return card.kind != "bitext" or group.startswith("en-")


def _retrieval_cells(unit: pa.Table, card: TaskCard, split: str) -> Cells:
    lang = unit.column("lang")[0].as_py()
    ranks = retrieval.ranks_of(unit)
    keys = _keys(unit.column("cluster"))
    direction_of, directions = _coded(unit.column("direction"))
    first = {d: int(np.argmax(direction_of == d)) for d in np.unique(direction_of)}
    values = np.stack(
        [
            retrieval.METRICS[metric](ranks)
            if metric in retrieval.METRICS
            else OF_TOP[metric](unit, ranks, direction_of)
            for metric in card.metrics
        ]
    )
    order = sorted(first, key=lambda d: first[d])
    rows_of = {d: np.flatnonzero(direction_of == d) for d in order}
    of_metric = {d: values[:, rows_of[d]] for d in order}
    drawn = _drawn(of_metric, {d: keys[rows_of[d]] for d in order})
    cells = []
    parts = {}
    for d in order:
        sums, distinct = cluster_sums(
            of_metric[d][[card.metrics.index(card.primary)]], keys[rows_of[d]]
        )
        parts[directions[d]] = (distinct, sums[0] / len(rows_of[d]))
        source, target = directions[d].split("-")
        group = f"{'xx' if source == lang else source}-{'xx' if target == lang else target}"
        for metric, numbers, line in zip(card.metrics, of_metric[d], drawn[d], strict=True):
            score = Score(lang, directions[d], group, metric, float(numbers.mean()), len(numbers))
            cells.append((score, line))
    return cells, parts


def _drawn(values: dict[int, Floats], keys: dict[int, npt.NDArray[np.uint64]]) -> dict[int, Floats]:
    """Weighted means by direction; both directions over the same items are one matrix product."""
    first, *others = keys
    if any(not np.array_equal(keys[first], keys[other]) for other in others):
        return {d: weighted_means(values[d], keys[d]) for d in keys}
    together = weighted_means(np.concatenate(list(values.values())), keys[first])
    return dict(zip(keys, np.split(together, len(keys)), strict=True))


def _f1_mteb(unit: pa.Table, ranks: Ranks, directions: Codes) -> Floats:
    """A candidate's F1 is about all queries of its pool: direction by direction."""
    flat, starts, _, _ = _tops(unit)
    terms = np.empty(len(unit))
    for direction in np.unique(directions):
        chosen = directions == direction
        terms[chosen] = f1_mteb_terms(flat[starts[chosen]], ranks.first[chosen] == 1)
    return terms


def _same_language(unit: pa.Table, ranks: Ranks, directions: Codes) -> Floats:
    flat, starts, ends, names = _tops(unit)
    own = pc.starts_with(names, f"{unit.column('lang')[0].as_py()}:")
    same = np.concatenate([[0], np.cumsum(own.to_numpy(zero_copy_only=False)[flat])])
    shares: Floats = (same[ends] - same[starts]) / (ends - starts)
    return shares


def _other_language(unit: pa.Table, ranks: Ranks, directions: Codes) -> Floats:
    return retrieval.other_language_recall(unit, ranks)


# Those that look at which candidates came first, not at ranks.
OF_TOP = {
    "f1_mteb": _f1_mteb,
    "same_language@10": _same_language,
    retrieval.OTHER: _other_language,
}


def _tops(unit: pa.Table) -> tuple[Codes, Codes, Codes, pa.Array]:
    """Codes of all first candidates, where each query's begin and end, and the codes' names."""
    lists = unit.column("top_ids").combine_chunks()
    top = _dictionary(lists.flatten())
    lengths = lists.value_lengths().to_numpy().astype(np.int64)
    ends = np.cumsum(lengths)
    return _codes(top), ends - lengths, ends, top.dictionary


def _answer_cells(unit: pa.Table, card: TaskCard, split: str) -> Cells:
    scores = KINDS["span_qa"].fold(unit, card.metrics, split)
    values = np.stack([unit.column(m).to_numpy().astype(np.float64) for m in card.metrics])
    keys = _keys(unit.column("cluster"))
    drawn = weighted_means(values, keys)
    sums, distinct = cluster_sums(values[[card.metrics.index(card.primary)]], keys)
    parts = {scores[0].direction: (distinct, sums[0] / len(keys))}
    return list(zip(scores, drawn, strict=True)), parts


def _mining_cells(unit: pa.Table, card: TaskCard, split: str) -> Cells:
    """F1 = 2 Σ w·tp / (Σ w·predicted + Σ w·gold) per source sentence, at a fixed threshold."""
    scores = KINDS["mining"].fold(unit, card.metrics, split)
    rows = unit.filter(pc.field("split") == split)
    gold = rows.column("gold").to_numpy(zero_copy_only=False).astype(bool)
    margin = rows.column("margin").to_numpy(zero_copy_only=False).astype(np.float64)
    lang = scores[0].lang
    names = [f"{card.name}:{lang}:{name}" for name in rows.column("source_id").to_pylist()]
    kept = rows.column("kept").to_numpy(zero_copy_only=False).astype(bool)
    cells = []
    parts: dict[str, Parts] = {}
    for score in scores:
        chosen = margin >= _oracle(margin, gold) if score.metric == "f1_oracle" else kept
        counts = np.stack([chosen & gold, chosen, gold]).astype(np.float64)
        sums, keys = cluster_sums(counts, cluster_keys(names))
        right, predicted, wanted = sums @ weights(keys)
        over = {"precision": predicted, "recall": wanted}.get(score.metric, predicted + wanted)
        times = 1.0 if score.metric in ("precision", "recall") else 2.0
        cells.append((score, times * right / np.where(over > 0, over, 1.0)))
        if score.metric in ("f1", "f1_oracle"):
            # F1 linearised in the sources' counts: the parts add up to it.
            hits, size = sums[0], sums[1] + sums[2]
            added = (2 * hits - score.value * size) / size.sum()
            parts.setdefault("", (keys, added + score.value * sums[2] / sums[2].sum()))
    return cells, parts


def _oracle(margin: Floats, gold: npt.NDArray[np.bool_]) -> float:
    from harness.metrics.mining import best_threshold

    mined = ~np.isnan(margin)
    return best_threshold(margin[mined].astype(np.float32), gold[mined], int(gold.sum())).value


def _keys(column: pa.ChunkedArray) -> npt.NDArray[np.uint64]:
    column = _dictionary(column)
    batch = pa.record_batch([column.dictionary], ["cluster"])
    return _named_keys(batch.serialize().to_pybytes())[_codes(column)]


@lru_cache(maxsize=512)
def _named_keys(raw: bytes) -> Keys:
    # By content: checkpoints that were measured on the same examples share it.
    schema = pa.schema([("cluster", pa.string())])
    return cluster_keys(pa.ipc.read_record_batch(raw, schema).column(0).to_pylist())


def _coded(column: pa.ChunkedArray | pa.Array) -> tuple[Codes, list[str]]:
    """Codes int64[n] and the names that they stand for."""
    column = _dictionary(column)
    return _codes(column), column.dictionary.to_pylist()


def _dictionary(column: pa.ChunkedArray | pa.Array) -> pa.DictionaryArray:
    if isinstance(column, pa.ChunkedArray):
        column = column.unify_dictionaries().combine_chunks()
    return column if pa.types.is_dictionary(column.type) else column.dictionary_encode()


def _codes(column: pa.DictionaryArray) -> Codes:
    codes: Codes = column.indices.to_numpy(zero_copy_only=False).astype(np.int64)
    return codes


CELLS = {
    "bitext": _retrieval_cells,
    "passages": _retrieval_cells,
    "span_qa": _answer_cells,
    "mining": _mining_cells,
}
