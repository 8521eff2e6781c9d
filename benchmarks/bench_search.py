"""Exact search and mining beside the matrix product alone, a plain product with top-k, and FAISS.

    python benchmarks/bench_search.py

Random unit vectors: 2,000 queries over 100,000 candidates, and two corpora of 12,000 sentences.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial

import numpy as np
import numpy.typing as npt
from paired import Row, in_turn, save, show

from harness.inference.search import mine, top_k

Vectors = npt.NDArray[np.float32]
K = 100  # as passages are ranked
ROWS, COLUMNS = 1_024, 65_536  # of a block of the product alone: the fastest of those tried
TARGET = 0.7  # of the product's rate


def unit_vectors(n: int, dim: int, seed: int) -> Vectors:
    """float32[n, dim], of length 1, in random directions."""
    vectors = np.random.default_rng(seed).standard_normal((n, dim), dtype=np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors


def product(left: Vectors, right: Vectors) -> None:
    """The scores, block by block, of which nothing is kept: what any exact search must do."""
    out = np.empty((min(ROWS, len(left)), min(COLUMNS, len(right))), dtype=np.float32)
    for start in range(0, len(right), COLUMNS):
        block = right[start : start + COLUMNS].T
        for row in range(0, len(left), ROWS):
            asked = left[row : row + ROWS]
            np.matmul(asked, block, out=out[: len(asked), : block.shape[1]])


def plain(queries: Vectors, candidates: Vectors, k: int) -> npt.NDArray[np.int64]:
    """A matrix product and torch's top-k, 256 queries at a time."""
    import torch

    right = torch.from_numpy(candidates).T
    return np.concatenate(
        [
            torch.topk(torch.from_numpy(queries[start : start + 256]) @ right, k)[1].numpy()
            for start in range(0, len(queries), 256)
        ]
    )


def indexed(queries: Vectors, candidates: Vectors, k: int) -> npt.NDArray[np.int64]:
    """FAISS's flat index, made and searched."""
    import faiss

    index = faiss.IndexFlatIP(candidates.shape[1])
    index.add(candidates)
    found: npt.NDArray[np.int64] = index.search(queries, k)[1]
    return found


def same(ours: npt.NDArray[np.int64], theirs: npt.NDArray[np.int64]) -> str:
    """How many neighbours both found: rounding may exchange two at the last place."""
    both = sum(len(np.intersect1d(a, b)) for a, b in zip(ours, theirs, strict=True))
    return f"{both:,} of {ours.size:,} neighbours are the same."


def plain_mining(source: Vectors, target: Vectors, k: int = 4) -> set[tuple[int, int]]:
    """Ratio margins from the whole matrix of scores, as its definition says."""
    import torch

    scores = torch.from_numpy(source) @ torch.from_numpy(target).T
    (ahead, to), (back, fro) = torch.topk(scores, k, dim=1), torch.topk(scores, k, dim=0)
    means = ahead.mean(1, keepdim=True), back.mean(0, keepdim=True)
    forward = 2 * ahead / (means[0] + means[1][0][to])
    backward = 2 * back / (means[1] + means[0][:, 0][fro])
    best, best_back = forward.argmax(1), backward.argmax(0)
    rows, columns = range(len(source)), range(len(target))
    return {(i, int(to[i, best[i]])) for i in rows} | {
        (int(fro[best_back[j], j]), j) for j in columns
    }


def search_rows(n: int, pool: int, dim: int, runs: int) -> list[Row]:
    """The search of one shape beside three others."""
    queries, candidates = unit_vectors(n, dim, 1), unit_vectors(pool, dim, 2)
    found = top_k(queries, candidates, K)[1]
    ours = partial(top_k, queries, candidates, K)
    shape = f"{n:,} × {pool:,} × {dim}"
    others: list[tuple[str, str, float | None, Callable[[], object], str]] = [
        (
            "share of the matrix product",
            "the product alone (numpy)",
            TARGET,
            partial(product, queries, candidates),
            "",
        ),
        (
            "beside a plain product and top-k",
            "torch product, topk",
            None,
            partial(plain, queries, candidates, K),
            same(found, plain(queries, candidates, K)),
        ),
        (
            "beside FAISS's flat index",
            "IndexFlatIP, made and searched",
            None,
            partial(indexed, queries, candidates, K),
            same(found, indexed(queries, candidates, K)) + " Both go through FAISS's kernel; ours "
            "streams the pool and orders ties.",
        ),
    ]
    rows = []
    for what, name, target, other, equal in others:
        pairs = in_turn(ours, other, runs=runs)
        rate = 2 * n * pool * dim / float(np.median(pairs.theirs)) / 1e9
        rows.append(
            pairs.row(
                name=f"search {shape}, {what}",
                ours=f"top_k, k = {K}",
                theirs=name,
                meaning="of its rate" if target else "times as fast",
                target=target,
                equal=equal,
                limit=f"The product alone runs at {rate:.0f} GFLOP/s." if target else "",
            )
        )
    return rows


def mining_rows(n: int, dim: int, runs: int) -> list[Row]:
    """Margin mining in both directions beside the two products, and from the whole matrix."""
    source, target = unit_vectors(n, dim, 3), unit_vectors(n, dim, 4)
    source_rows, target_rows, _ = mine(source, target)
    ours = set(zip(source_rows.tolist(), target_rows.tolist(), strict=True))
    theirs = plain_mining(source, target)

    def products() -> None:
        product(source, target)
        product(target, source)

    shares = in_turn(lambda: mine(source, target), products, runs=runs)
    whole = in_turn(lambda: mine(source, target), lambda: plain_mining(source, target), runs=runs)
    shape = f"{n:,} × {n:,} × {dim}"
    return [
        shares.row(
            name=f"mining {shape}, share of the matrix product",
            ours="mine, 4 neighbours, both directions",
            theirs="the two products alone (numpy)",
            meaning="of its rate",
            target=TARGET,
        ),
        whole.row(
            name=f"mining {shape}, beside the whole matrix of scores",
            ours="mine",
            theirs="torch: one product, top-k of rows and columns",
            equal=f"{len(ours & theirs):,} of {len(theirs):,} pairs are the same.",
            note="The whole matrix takes one product instead of two, but does not fit into memory "
            "at BUCC's sizes (400,000 × 400,000 scores are 596 GiB).",
        ),
    ]


def main() -> None:
    """Measure and keep."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--small", action="store_true", help="try it in seconds; nothing is kept")
    small = parser.parse_args().small
    n, pool, sentences, runs = (200, 5_000, 1_000, 1) if small else (2_000, 100_000, 12_000, 5)
    rows: list[Row] = []
    for dim in (384, 768):
        rows += search_rows(n, pool, dim, runs)
        rows += mining_rows(sentences, dim, runs)
    for row in rows:
        print(show(row))
    if not small:
        how = "python benchmarks/bench_search.py"
        save("search", "Exact search and mining", how, rows, ("faiss-cpu", "numpy", "torch"))


if __name__ == "__main__":
    main()
