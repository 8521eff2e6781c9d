"""Ranking metrics: one value per query, from the ranks of its relevant candidates.

The denominators come from the number of gold-relevant candidates, never from the number of
ranks that were found: a search that was cut at a depth finds fewer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Tops:
    """The first candidates of n queries, best first, all queries one after another.

    candidate: int64[t], a number per candidate of a pool; offsets: int64[n + 1], as in `Ranks`;
    pool: int64[n], the pool that each query searched: candidates of two pools are never the same;
    read_own_language: bool[t], whether each candidate is in the language of its query.
    """

    candidate: npt.NDArray[np.int64]
    offsets: npt.NDArray[np.int64]
    pool: npt.NDArray[np.int64]
    read_own_language: Callable[[], npt.NDArray[np.bool_]]

    @cached_property
    def own_language(self) -> npt.NDArray[np.bool_]:
        """bool[t]: whether each candidate is in the language of its query."""
        return self.read_own_language()

    @property
    def first(self) -> npt.NDArray[np.int64]:
        """int64[n]: each query's first candidate, a number of its own in each pool."""
        candidates = self.candidate[self.offsets[:-1]]
        first: npt.NDArray[np.int64] = self.pool * (candidates.max(initial=0) + 1) + candidates
        return first


@dataclass(frozen=True, eq=False)
class Ranks:
    """Where the relevant candidates of n queries were found.

    values: int32[n_total], 1-based ranks of the relevant candidates, all queries one after
        another, strictly ascending within a query.
    offsets: int64[n + 1]; the ranks of query i are values[offsets[i]:offsets[i + 1]], which
        may be none at all.
    relevant: int32[n], gold-relevant candidates of each query, at least 1 and at least as
        many as there are ranks.
    read_tops: the first candidates, for metrics that ask which they are.

    Raises ValueError where one of these does not hold.
    """

    values: npt.NDArray[np.int32]
    offsets: npt.NDArray[np.int64]
    relevant: npt.NDArray[np.int32]
    read_tops: Callable[[], Tops] | None = None

    def __post_init__(self) -> None:
        for name, array, dtype in (
            ("values", self.values, np.int32),
            ("offsets", self.offsets, np.int64),
            ("relevant", self.relevant, np.int32),
        ):
            if array.ndim != 1 or array.dtype != dtype:
                found = f"{array.dtype}{list(array.shape)}"
                raise ValueError(f"{name} is {found}: give {np.dtype(dtype)} in one dimension")
        if len(self.offsets) != len(self.relevant) + 1:
            raise ValueError(
                f"{len(self.offsets)} offsets for {len(self.relevant)} queries:"
                " give one more offset than queries"
            )
        lengths = self.lengths
        if self.offsets[0] != 0 or self.offsets[-1] != len(self.values) or (lengths < 0).any():
            raise ValueError(
                f"offsets do not cut {len(self.values)} ranks into queries:"
                " start at 0, never descend, end at the number of ranks"
            )
        _refuse(self.relevant < 1, self.relevant, "relevant", "every query needs a gold candidate")
        _refuse(
            lengths > self.relevant, lengths, "number of ranks", "at most `relevant` may be found"
        )
        query = self.query
        _refuse(self.values < 1, self.values, "rank", "ranks count from 1", query)
        same = query[1:] == query[:-1]
        _refuse(
            same & (self.values[1:] <= self.values[:-1]),
            self.values[1:],
            "rank",
            "ranks must strictly ascend within a query",
            query[1:],
        )

    @classmethod
    def of(cls, lists: Iterable[Sequence[int]], relevant: npt.ArrayLike) -> Ranks:
        """The ranks of n queries given as n lists, with their n gold counts.

        Arrays that are ragged already, such as Arrow lists, go into `Ranks` directly.
        Raises ValueError for a rank below 1, ranks that do not strictly ascend, more ranks
        than relevant candidates, a query without a relevant candidate, a number that is not
        whole or does not fit in int32, or lists and counts of different number.
        """
        rows = list(lists)
        offsets = np.zeros(len(rows) + 1, dtype=np.int64)
        np.cumsum(np.fromiter(map(len, rows), dtype=np.int64, count=len(rows)), out=offsets[1:])
        flat = np.array(list(chain.from_iterable(rows)))
        return cls(_int32(flat, "rank"), offsets, _int32(np.asarray(relevant), "relevant"))

    def __len__(self) -> int:
        """The number of queries."""
        return len(self.relevant)

    @cached_property
    def query(self) -> npt.NDArray[np.int64]:
        """int64[n_total]: the query that each rank belongs to."""
        return np.repeat(np.arange(len(self), dtype=np.int64), self.lengths)

    @cached_property
    def lengths(self) -> npt.NDArray[np.int64]:
        """int64[n]: how many ranks each query has."""
        return np.diff(self.offsets)

    @cached_property
    def first(self) -> npt.NDArray[np.int32]:
        """int32[n]: the rank of each query's first relevant candidate, 0 where none was found."""
        first = np.zeros(len(self), dtype=np.int32)
        filled = self.lengths > 0
        first[filled] = self.values[self.offsets[:-1][filled]]
        return first

    @cached_property
    def tops(self) -> Tops:
        """The first candidates. ValueError where they are not known."""
        if self.read_tops is None:
            raise ValueError("which candidates came first is not known: give top_ids")
        return self.read_tops()


def hit_at(ranks: Ranks, k: int) -> Floats:
    """float64[n]: 1 where a relevant candidate is among the first k, else 0.

    With one relevant candidate and k = 1 this is accuracy. Raises ValueError for k < 1.
    """
    _check_cut(k)
    return ((ranks.first > 0) & (ranks.first <= k)).astype(np.float64)


def recall_at(ranks: Ranks, k: int) -> Floats:
    """float64[n]: relevant candidates among the first k / relevant candidates.

    At most k / relevant where there are more relevant candidates than k. Raises ValueError
    for k < 1.
    """
    shares: Floats = _found(ranks, k) / ranks.relevant
    return shares


def reciprocal_rank(ranks: Ranks) -> Floats:
    """float64[n]: 1 / rank of the first relevant candidate, 0 where none was found."""
    values = np.zeros(len(ranks), dtype=np.float64)
    np.divide(1.0, ranks.first, out=values, where=ranks.first > 0)
    return values


def average_precision(ranks: Ranks, k: int | None = None) -> Floats:
    """float64[n]: mean over the relevant candidates of the precision at their rank.

    The i-th rank r_i of a query contributes i / r_i, a candidate that was not found 0; the
    sum is divided by `relevant`. With k, ranks beyond k contribute 0 and the sum is divided
    by min(relevant, k), so that k relevant candidates on top give 1 (AP@k as XTREME-R
    scores LAReQA and Mewsli-X; trec_eval's map_cut divides by `relevant` instead).
    Raises ValueError for k < 1.
    """
    query = ranks.query
    position = np.arange(1, len(ranks.values) + 1, dtype=np.int64) - ranks.offsets[query]
    precision = position / ranks.values
    if k is None:
        return _sums(ranks, precision, query) / ranks.relevant
    _check_cut(k)
    precision[ranks.values > k] = 0.0
    return _sums(ranks, precision, query) / np.minimum(ranks.relevant, k)


def ndcg_at(ranks: Ranks, k: int) -> Floats:
    """float64[n]: discounted gain of the first k over that of the ideal order.

    Gains are 0 or 1, the discount is log2(1 + rank) (Järvelin and Kekäläinen 2002, as in
    trec_eval's ndcg_cut); the ideal order has its min(relevant, k) first ranks relevant.
    Raises ValueError for k < 1.
    """
    _check_cut(k)
    gains = np.where(ranks.values <= k, 1.0 / np.log2(1.0 + ranks.values), 0.0)
    depth = np.minimum(ranks.relevant, k)
    # Added up rank by rank, as bincount does: a perfect order then gives exactly 1.
    ideal = np.cumsum(1.0 / np.log2(1.0 + np.arange(1, depth.max(initial=1) + 1)))
    values: Floats = _sums(ranks, gains, ranks.query) / ideal[depth - 1]
    return values


def same_language(ranks: Ranks) -> Floats:
    """float64[n]: the share of each query's first candidates that is in its own language."""
    tops = ranks.tops
    lengths = np.diff(tops.offsets)
    query = np.repeat(np.arange(len(ranks)), lengths)
    shares: Floats = np.bincount(query[tops.own_language], minlength=len(ranks)) / lengths
    return shares


def other_language_recall(ranks: Ranks, k: int) -> Floats:
    """float64[n]: of the relevant candidates in other languages, the share among the first k.

    For tasks where every question has one relevant candidate in each language, its own among them:
    recall@k alone can be made of that one. ``k``: at most the number of first candidates known.
    """
    _check_cut(k)
    within = ranks.values <= k
    query = ranks.query[within]
    found = ranks.tops.offsets[query] + ranks.values[within] - 1
    other = ~ranks.tops.own_language[found]
    shares: Floats = np.bincount(query[other], minlength=len(ranks)) / np.maximum(
        ranks.relevant - 1, 1
    )
    return shares


def _found(ranks: Ranks, k: int) -> npt.NDArray[np.int64]:
    """int64[n]: how many relevant candidates are among the first k."""
    _check_cut(k)
    return np.bincount(ranks.query[ranks.values <= k], minlength=len(ranks))


def _sums(ranks: Ranks, terms: Floats, query: npt.NDArray[np.int64]) -> Floats:
    """float64[n]: the sum of each query's terms.

    Not np.add.reduceat, which gives a query without ranks the first term of the next one.
    """
    sums: Floats = np.bincount(query, weights=terms, minlength=len(ranks)).astype(np.float64)
    return sums


def _check_cut(k: int) -> None:
    if k < 1:
        raise ValueError(f"cut at k = {k}: k counts candidates from 1")


def _int32(numbers: npt.NDArray[np.generic], what: str) -> npt.NDArray[np.int32]:
    """The same whole numbers as int32, or ValueError where that would change one."""
    if numbers.size == 0:
        return np.zeros(0, dtype=np.int32)
    if not np.issubdtype(numbers.dtype, np.integer):
        raise ValueError(f"{what} has dtype {numbers.dtype}: give whole numbers")
    if numbers.max() > np.iinfo(np.int32).max:
        raise ValueError(f"{what} {numbers.max()} does not fit in int32: is it a rank or an id?")
    # Below the range of int32 is below 1 too: clipped, it is refused for that.
    return np.maximum(numbers.astype(np.int64), -1).astype(np.int32)


def _refuse(
    bad: npt.NDArray[np.bool_],
    values: npt.NDArray[np.integer],
    what: str,
    remedy: str,
    query: npt.NDArray[np.int64] | None = None,
) -> None:
    """Raise ValueError for the first bad value, naming its query (0-based)."""
    if bad.any():
        at = int(bad.argmax())
        row = at if query is None else int(query[at])
        raise ValueError(f"{what} {values[at]} of query {row}: {remedy}")
