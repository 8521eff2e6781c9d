"""Searches exactly: ranks over a whole pool, nearest neighbours, and margin mining.

Scores are inner products, and equal scores go to the lowest pool index. The same vector in two
columns, or two rows, of a matrix product can get scores that differ in the last bit, which would
decide ties by accident: vectors that are equal to the bit are one column and one row of the
product (see ``distinct_vectors``), so that their scores are one number.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b

import numpy as np
import numpy.typing as npt

from harness.inference.nearest import Int64, top_k
from harness.inference.vector_store import Float32, Vectors, blocks, chosen

Int32 = npt.NDArray[np.int32]

QUERY_BLOCK = 256  # queries scored at a time: 256 × 13,014 scores are 13 MB
HASHED = 8_192  # vectors compared at a time: a pool of a million is not copied in whole


@dataclass(frozen=True)
class Distinct:
    """n vectors as the distinct ones among them.

    ``vectors``: float32[u, d], in order of first appearance; ``rows``: int64[n], the row of it that
    each of the n is; ``first``: int64[u], where each stands first among the n, ascending.
    """

    vectors: Vectors
    rows: Int64
    first: Int64

    def __len__(self) -> int:
        return len(self.rows)


def uncomparable(vectors: Float32) -> npt.NDArray[np.bool_]:
    """Return bool[n]: which vectors, float32[n, d], have inner products that float32 cannot hold.

    Those are not finite, or so long that products overflow: infinite scores tie with each other,
    and those that are no number have no place in an order.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        squares: Float32 = np.einsum("ij,ij->i", vectors, vectors)
    return ~np.isfinite(squares)


def distinct_vectors(vectors: Vectors) -> Distinct:
    """Return the vectors that are equal to the bit as one; zeros are equal whatever their sign.

    float32[n, d]. Those in a store are read in blocks and stay there; an array whose vectors are
    all distinct is not copied.
    """
    position: dict[bytes, int] = {}
    rows = np.empty(len(vectors), dtype=np.int64)
    first: list[int] = []
    row = 0
    for block in blocks(vectors, HASHED):
        for vector in block + np.float32(0.0):  # of a negative zero a positive one
            key = blake2b(vector.data, digest_size=16).digest()
            rows[row] = position.setdefault(key, len(position))
            if rows[row] == len(first):
                first.append(row)
            row += 1
    kept = np.array(first, dtype=np.int64)
    return Distinct(vectors if len(kept) == len(rows) else chosen(vectors, kept), rows, kept)


@dataclass(frozen=True)
class Ranked:
    """What a search found for each of n queries.

    ``ranks[i]``: int32, the 1-based ranks of the relevant candidates of query i, ascending; those
    beyond the depth of a cut search are left out. ``top[i]``: int64, pool indices, best first.
    """

    ranks: tuple[Int32, ...]
    top: tuple[Int64, ...]


def rank_all(
    queries: Float32,
    pool: Distinct,
    relevant: Sequence[Sequence[int]],
    *,
    top: int = 10,
) -> Ranked:
    """Return the ranks of every relevant candidate over the whole pool, uncut.

    ``queries``: float32[n, d]; ``pool``: the candidates; ``relevant[i]``: pool indices for query i.
    """
    asked = distinct_vectors(queries)
    candidates, rows = pool.vectors[:], asked.vectors[:]
    repeated = len(candidates) < len(pool)
    by_row = np.argsort(asked.rows, kind="stable")  # queries grouped by their vector
    starts = np.searchsorted(asked.rows[by_row], np.arange(len(rows) + 1))
    ranks: list[Int32] = [np.empty(0, dtype=np.int32)] * len(queries)
    best: list[Int64] = [np.empty(0, dtype=np.int64)] * len(queries)
    for start in range(0, len(rows), QUERY_BLOCK):
        scores = rows[start : start + QUERY_BLOCK] @ candidates.T
        if repeated:
            scores = scores[:, pool.rows]
        ordered = np.sort(scores, axis=1)
        for row, line in enumerate(scores):
            found = _best(line, ordered[row], top)
            for query in by_row[starts[start + row] : starts[start + row + 1]]:
                ranks[query] = _ranks(line, ordered[row], relevant[query])
                best[query] = found
    return Ranked(tuple(ranks), tuple(best))


def _ranks(scores: Float32, ascending: Float32, relevant: Sequence[int]) -> Int32:
    indices = np.asarray(relevant, dtype=np.int64)
    own = scores[indices]
    size = len(scores)
    above = size - np.searchsorted(ascending, own, side="right")
    tied = size - np.searchsorted(ascending, own, side="left") - above > 1
    ranks = above + 1
    for position in np.flatnonzero(tied):
        index = indices[position]
        ranks[position] += np.count_nonzero(scores[:index] == own[position])
    return np.sort(ranks).astype(np.int32)


def _best(scores: Float32, ascending: Float32, count: int) -> Int64:
    count = min(count, len(scores))
    found = np.flatnonzero(scores >= ascending[len(scores) - count])
    return found[np.argsort(-scores[found], kind="stable")][:count].astype(np.int64)


def rank_top(
    queries: Float32,
    pool: Distinct,
    relevant: Sequence[Sequence[int]],
    *,
    depth: int,
    top: int = 10,
) -> Ranked:
    """Rank as ``rank_all`` does, cut at ``depth``: for pools too large to score in whole."""
    asked = distinct_vectors(queries)
    entries = np.argsort(pool.rows, kind="stable")  # pool indices grouped by row, ascending
    starts = np.searchsorted(pool.rows[entries], np.arange(len(pool.vectors) + 1))
    scores, rows = top_k(asked.vectors[:], pool.vectors, depth)
    ranks: list[Int32] = []
    best: list[Int64] = []
    for own, wanted in zip(asked.rows, relevant, strict=True):
        found = np.concatenate([entries[starts[r] : starts[r + 1]] for r in rows[own]])
        sizes = starts[rows[own] + 1] - starts[rows[own]]
        order = np.lexsort((found, -np.repeat(scores[own], sizes)))
        listed = found[order][:depth]
        ranks.append((np.flatnonzero(np.isin(listed, wanted)) + 1).astype(np.int32))
        best.append(listed[:top])
    return Ranked(tuple(ranks), tuple(best))


def mine(source: Float32, target: Float32, *, neighbours: int = 4) -> tuple[Int64, Int64, Float32]:
    """Return candidate translation pairs with their ratio margin, before one-to-one matching.

    ``source`` float32[n, d] and ``target`` float32[m, d] are L2-normalised distinct vectors.
    The margin of a pair is ``cos / ((mean_forward + mean_backward) / 2)``, the means over the
    ``neighbours`` nearest of either side (Artetxe and Schwenk 2019, "ratio"). Candidates are the
    best forward and the best backward neighbour, by margin, of every sentence.

    Returns source rows int64[n + m], target rows int64[n + m] and margins float32[n + m].
    """
    forward, forward_rows = top_k(source, target, neighbours)
    backward, backward_rows = top_k(target, source, neighbours)
    source_mean, target_mean = forward.mean(axis=1), backward.mean(axis=1)
    forward_margin = _ratio(forward, source_mean[:, None] + target_mean[forward_rows])
    backward_margin = _ratio(backward, target_mean[:, None] + source_mean[backward_rows])
    best_forward, best_backward = forward_margin.argmax(axis=1), backward_margin.argmax(axis=1)
    every_source, every_target = np.arange(len(source)), np.arange(len(target))
    return (
        np.concatenate([every_source, backward_rows[every_target, best_backward]]),
        np.concatenate([forward_rows[every_source, best_forward], every_target]),
        np.concatenate(
            [
                forward_margin[every_source, best_forward],
                backward_margin[every_target, best_backward],
            ]
        ).astype(np.float32),
    )


def _ratio(cosine: Float32, means: Float32) -> Float32:
    """Return ``cosine`` over half of ``means``; 0 where both means are 0 (vectors without a
    neighbour).
    """
    ratio: Float32 = np.divide(cosine, means / 2, out=np.zeros_like(cosine), where=means != 0)
    return ratio
