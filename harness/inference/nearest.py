"""Finds the k nearest candidates of each query exactly, in a pool that is read in blocks.

The scores of a block are one matrix product. Few of them can still be among a query's k best, so
the rest is passed over 32 at a time: a group of scores is looked into where its maximum is above
the query's k-th best score so far. What is left costs little beside the product.

FAISS's flat index is not used: of candidates that tie for the last place it keeps any, and the
OpenBLAS in its wheels does not know newer processors (on Sapphire Rapids it falls back to SSE3).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from harness.inference.vector_store import Float32, Vectors, blocks

if TYPE_CHECKING:
    import torch

Int64 = npt.NDArray[np.int64]

QUERY_BLOCK = 1_024  # queries × candidates of one product: 32 MB of scores,
CANDIDATE_BLOCK = 8_192  # which is the fastest of the shapes tried
GROUP = 32  # scores that one maximum stands for
SPARE = 3  # × k candidates are held of a query before those below its k best are dropped


def top_k(queries: Float32, candidates: Vectors, k: int) -> tuple[Float32, Int64]:
    """Return the k best candidates of each query: scores float32[n, k] and rows int64[n, k], best
    first.

    ``queries``: float32[n, d]; ``candidates``: float32[m, d], which may lie in a store or a memory
    map. Of equal scores the lower row comes first. A pool of fewer than k gives all of it.
    """
    import torch

    k = min(k, len(candidates))
    if k == 0:
        return np.empty((len(queries), 0), np.float32), np.empty((len(queries), 0), np.int64)
    wanted = np.require(queries, np.float32, ["C", "W"])  # torch warns of memory it cannot write
    asked = [
        _Nearest(torch.from_numpy(wanted[start : start + QUERY_BLOCK]), k)
        for start in range(0, len(queries), QUERY_BLOCK)
    ]
    # Of this type and in this memory, whatever the program that calls has made torch's default.
    room = torch.from_numpy(
        np.empty(min(QUERY_BLOCK, len(queries)) * (CANDIDATE_BLOCK + GROUP), np.float32)
    )
    seen = 0
    with _float32_products():
        for block in blocks(candidates, CANDIDATE_BLOCK):
            part = torch.from_numpy(np.require(block, requirements="W"))
            for nearest in asked:
                nearest.add(part, seen, room)
            seen += len(block)
    found = [nearest.best() for nearest in asked]
    return (
        np.concatenate([np.empty((0, k), np.float32), *(scores for scores, _ in found)]),
        np.concatenate([np.empty((0, k), np.int64), *(rows for _, rows in found)]),
    )


@contextmanager
def _float32_products() -> Iterator[None]:
    """Make torch multiply with the precision of float32, and leave its setting as it was.

    A program may have asked for less (``set_float32_matmul_precision``): processors with AMX then
    take bfloat16, and 2 of 100 neighbours are others.
    """
    import torch

    settings = torch.backends.mkldnn.matmul  # type: ignore[attr-defined]  # not in its stubs
    before = settings.fp32_precision
    settings.fp32_precision = "ieee"
    try:
        yield
    finally:
        settings.fp32_precision = before


class _Nearest:
    """The candidates that can be among the k best of n queries, as far as the pool was seen."""

    def __init__(self, queries: torch.Tensor, k: int) -> None:
        self._queries, self._k = queries, k
        # What a score must reach to be among a query's k best. It may be too low.
        self._floor = np.full(len(queries), -np.inf, np.float32)
        # Queries, rows and scores. Of one query, a lower row stands before a higher one.
        self._held: list[tuple[Int64, Int64, Float32]] = []
        self._counts = np.zeros(len(queries), np.int64)  # held, per query

    def add(self, block: torch.Tensor, first: int, room: torch.Tensor) -> None:
        """Score the next block of candidates, float32[m, d], whose first row is ``first``.

        ``room``: for the scores, at least float32[n × (m + GROUP)].
        """
        scores = self._scores(block, room)
        groups = scores.shape[1] // GROUP
        maxima = scores.view(-1, groups, GROUP).amax(2).numpy()
        if first == 0 and len(block) >= self._k:
            some = maxima if groups >= self._k else scores.numpy()
            self._floor = _kth_best(some, self._k)
        found = np.flatnonzero(maxima >= self._floor[:, None])
        query = found // groups
        part = np.take(scores.numpy().reshape(-1, GROUP), found, axis=0)
        hits = np.flatnonzero(part >= self._floor[query, None])
        group, offset = np.divmod(hits, GROUP)
        query = query[group]
        rows = first + found[group] % groups * GROUP + offset
        self._held.append((query, rows, part.reshape(-1)[hits]))
        self._counts += np.bincount(query, minlength=len(self._counts))
        if self._counts.max() >= max(SPARE * self._k, GROUP):
            self._cut()

    def _scores(self, block: torch.Tensor, room: torch.Tensor) -> torch.Tensor:
        """Return the scores in ``room``, float32[n, whole groups], filled up with -inf."""
        import torch

        queries, size = len(self._queries), len(block)
        width = -(-size // GROUP) * GROUP
        scores = room[: queries * width].view(queries, width)
        torch.mm(self._queries, block.T, out=scores[:, :size])
        scores[:, size:] = -torch.inf
        return scores

    def _cut(self) -> None:
        """Drop all but each query's k best, and raise the floor above the last of these.

        Of the scores that tie for the last place the lowest rows are kept, and no more than there
        is room for: a query that is as near to everything would hold its whole block. A later
        candidate whose score equals the k-th best has a higher row, and loses to it.
        """
        query, place, rows, scores = self._lines()
        lines = np.full((len(self._counts), self._counts.max()), -np.inf, np.float32)
        lines[query, place] = scores
        kth = _kth_best(lines, self._k)
        kept = scores >= kth[query]
        if np.count_nonzero(kept) > self._k * len(self._counts):
            above, tied = scores > kth[query], scores == kth[query]
            spare = self._k - np.bincount(query[above], minlength=len(self._counts))
            kept = above | (tied & (_place_among(tied, place) < spare[query]))
        self._held = [(query[kept], rows[kept], scores[kept])]
        self._counts = np.bincount(query[kept], minlength=len(self._counts))
        self._floor = np.nextafter(kth, np.float32(np.inf))

    def _lines(self) -> tuple[Int64, Int64, Int64, Float32]:
        """Return what is held, query by query: queries, places in a query's line, rows, scores."""
        query, rows, scores = (np.concatenate(part) for part in zip(*self._held, strict=True))
        order = np.argsort(query, kind="stable")
        query = query[order]
        starts = np.cumsum(self._counts) - self._counts
        return query, np.arange(len(query)) - starts[query], rows[order], scores[order]

    def best(self) -> tuple[Float32, Int64]:
        """Return scores, float32[n, k], and rows, int64[n, k], best first."""
        query, place, rows, scores = self._lines()
        shape = (len(self._counts), self._counts.max())
        all_scores, all_rows = np.full(shape, -np.inf, np.float32), np.zeros(shape, np.int64)
        all_scores[query, place], all_rows[query, place] = scores, rows
        order = np.argsort(-all_scores, axis=1, kind="stable")[:, : self._k]
        return (
            np.take_along_axis(all_scores, order, axis=1),
            np.take_along_axis(all_rows, order, axis=1),
        )


def _kth_best(scores: Float32, k: int) -> Float32:
    """Return the k-th largest of each line of float32[n, m ≥ k], float32[n]."""
    place = scores.shape[1] - k
    kth: Float32 = np.partition(scores, place, axis=1)[:, place]
    return kth


def _place_among(chosen: npt.NDArray[np.bool_], place: Int64) -> Int64:
    """Return how many before each entry of a query's line are chosen too.

    Entries lie query by query; ``place``: where each stands in its query's line.
    """
    before: Int64 = np.cumsum(chosen) - chosen
    among: Int64 = before - before[np.arange(len(place)) - place]
    return among
