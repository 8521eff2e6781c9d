"""Exact search and mining beside the matrix product and FAISS; a million candidates in files.

    python benchmarks/bench_search.py

Random unit vectors: 2,000 queries over 100,000 candidates, and two corpora of 12,000 sentences.
Then Mewsli-X in size: 1,003,893 candidates × 768 and five languages of 1,329 queries, which a run
finds in its store: they go through the kind, the encoder, the store and the search that an
evaluation goes through. That takes 3.4 GB of disk.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import threading
from argparse import Namespace
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt
import paired
from paired import Row, in_turn, seconds

from harness.inference.nearest import top_k
from harness.inference.search import mine

Vectors = npt.NDArray[np.float32]
K = 100  # as passages are ranked
ROWS, COLUMNS = 1_024, 65_536  # of a block of the product alone: the fastest of those tried
SHARE, MEMORY = 0.7, 2.0  # targets: of the product's rate; GiB above the mapped vectors
DIM, CANDIDATES, QUERIES, UNITS = 768, 1_003_893, 1_329, 5
KERNELS = "FAISS is told the type of an AVX-512 processor, which its OpenBLAS may not recognise."
TEXTS = 16_384  # written to the store at a time


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


def search(given: Namespace) -> Iterator[Row]:
    """`top_k` beside the product alone."""
    for shape, queries, candidates in pools(given):
        ours = partial(top_k, queries, candidates, K)
        alone = in_turn(ours, partial(product, queries, candidates), runs=given.runs)
        rate = 2 * len(queries) * candidates.size / float(np.median(alone.theirs)) / 1e9
        yield alone.row(
            f"{shape}, share of the matrix product", f"top_k, k = {K}", "the product alone (numpy)",
            "of its rate", target=SHARE, note=f"The product alone runs at {rate:.0f} GFLOP/s.",
        )  # fmt: skip


def flat_index(given: Namespace) -> Iterator[Row]:
    """`top_k` beside FAISS's flat index, which has to be installed."""
    for shape, queries, candidates in pools(given):
        ours, theirs = partial(top_k, queries, candidates, K), partial(indexed, queries, candidates)
        both = sum(len(np.intersect1d(*pair)) for pair in zip(ours()[1], theirs(), strict=True))
        yield in_turn(ours, theirs, runs=given.runs).row(
            f"{shape}, beside FAISS's flat index", f"top_k, k = {K}",
            "IndexFlatIP, made and searched",
            equal=f"{both:,} of {len(queries) * K:,} neighbours are the same.", note=KERNELS,
        )  # fmt: skip


def pools(given: Namespace) -> Iterator[tuple[str, Vectors, Vectors]]:
    """What is searched, in words, the queries and the candidates."""
    n, m = (200, 5_000) if given.small else (2_000, 100_000)
    for dim in (384, 768):
        yield f"search {n:,} × {m:,} × {dim}", unit_vectors(n, dim, 1), unit_vectors(m, dim, 2)


def indexed(queries: Vectors, candidates: Vectors) -> Any:
    """The neighbours that FAISS's flat index finds with its fastest kernels: int64[queries, K]."""
    import torch

    if torch.backends.cpu.get_cpu_capability() == "AVX512":
        os.environ.setdefault("OPENBLAS_CORETYPE", "SkylakeX")  # read when FAISS is imported
    import faiss

    index = faiss.IndexFlatIP(candidates.shape[1])
    index.add(candidates)
    return index.search(queries, K)[1]


def mining(given: Namespace) -> Iterator[Row]:
    """Margin mining in both directions beside the two products."""
    n = 1_000 if given.small else 12_000
    for dim in (384, 768):
        source, target = unit_vectors(n, dim, 3), unit_vectors(n, dim, 4)

        def products(source: Vectors = source, target: Vectors = target) -> None:
            product(source, target)
            product(target, source)

        yield in_turn(partial(mine, source, target), products, runs=given.runs).row(
            f"mining {n:,} × {n:,} × {dim}, share of the matrix product",
            "mine, 4 neighbours, both directions", "the two products alone (numpy)",
            "of its rate", target=SHARE,
        )  # fmt: skip


def million(given: Namespace) -> Iterator[Row]:
    """The search in a pool of Mewsli-X's size, in a process of its own."""
    candidates, queries, units = (110_000, 100, 2) if given.small else (CANDIDATES, QUERIES, UNITS)
    with tempfile.TemporaryDirectory() as work:
        fill(Path(work), examples(candidates, queries, units))
        out = Path(work) / "found.json"
        paired.command([
            sys.executable, __file__, "--apart", work, str(out),
            str(candidates), str(queries), str(units),
        ])  # fmt: skip
        found = json.loads(out.read_text())
    name, gib = f"{candidates:,} candidates × {DIM}", 1 << 30
    pairs = paired.Pairs(tuple(found["ours"]), tuple(found["theirs"]))
    yield pairs.row(
        f"a language of {queries:,} queries, {name}", "kind, encoder, store, search",
        "the product alone (numpy)", "of its rate", target=SHARE,
        note=f"{units} of Mewsli-X's 11 languages, each with reading the vectors from their files; "
        f"before them once {found['prepare']:.0f} s to check and index the store.",
    )  # fmt: skip
    yield Row(
        f"memory, {name}", "anonymous memory of the whole process",
        f"the vectors: {candidates * DIM * 4 / gib:.2f} GiB, mapped",
        "GiB at most, all but mapped pages", (found["peak"] / gib,), target=MEMORY,
        note="One run, in samples of 20 ms.",
    )  # fmt: skip


def examples(candidates: int, queries: int, units: int) -> Any:
    """A pool of short texts, all distinct, and each unit's queries."""
    from harness.data.examples import Query, Retrieval

    texts = tuple(f"candidate {number}" for number in range(candidates))
    asked = {
        f"l{unit}": tuple(
            Query(f"{unit}:{n}", f"query {unit} {n}", f"c{n}", (unit * queries + n,))
            for n in range(queries)
        )
        for unit in range(units)
    }
    return Retrieval(texts, texts, ("en",) * candidates, asked)


def encoder(cache: Path) -> Any:
    """An encoder of the built-in checkpoint, which finds all its vectors in the store."""
    from harness.evaluation.models import DEMO_MODEL, find_checkpoint
    from harness.inference.encoder import Encoder
    from harness.inference.protocol import Protocol, resolve_encodings

    checkpoint = find_checkpoint(DEMO_MODEL, cache, offline=True)
    backbone: Any = SimpleNamespace(checkpoint=checkpoint, device="cpu")
    encodings = resolve_encodings(
        Protocol(), task_lengths={"query": 64, "document": 64}, depth=12, max_positions=512,
        native=None, bitext=False,
    )  # fmt: skip
    return Encoder(backbone, encodings, cache=cache)


def fill(cache: Path, data: Any) -> None:
    """Write every vector, in an order like that of batches by length."""
    from harness.inference.batching import token_batches
    from harness.inference.vector_store import KEY_BYTES, text_key

    filled, rng = encoder(cache), np.random.default_rng(0)
    (encoding,), stores = filled.encodings.values(), filled._stores
    asked = [query.text for queries in data.queries.values() for query in queries]
    for role, texts in (("query", asked), ("document", list(data.candidates))):
        store, tokens = stores.vectors(encoding, role), stores.tokens(encoding, role)
        for start in range(0, len(texts), TEXTS):
            part = texts[start : start + TEXTS]
            vectors = unit_vectors(len(part), DIM, start + len(role))
            keys = [text_key(text) for text in part]  # stand for the keys of its ids too
            tokens.append(keys, np.frombuffer(b"".join(keys), np.uint8).reshape(-1, KEY_BYTES))
            for rows in token_batches(rng.integers(5, 64, len(part)), 1_024 * 16):
                store.append([keys[row] for row in rows], vectors[rows])
        store.flush()
        tokens.flush()


@contextmanager
def watched() -> Iterator[list[int]]:
    """A list whose one number becomes the most anonymous memory meanwhile, in bytes."""
    done, peak = threading.Event(), [0]

    def watch() -> None:
        while not done.wait(0.02):
            lines = Path("/proc/self/status").read_text().splitlines()
            (told,) = (line for line in lines if line.startswith("RssAnon"))
            peak[0] = max(peak[0], int(told.split()[1]) << 10)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield peak
    finally:
        done.set()
        watcher.join()


def apart(cache: Path, candidates: int, queries: int, units: int) -> dict[str, Any]:
    """Evaluate each unit, and time the product of its shape over one block again and again."""
    from harness.kinds import KINDS

    kind, found = KINDS["passages"], dict[str, Any](ours=[], theirs=[])
    with watched() as peak:
        data, model = examples(candidates, queries, units), encoder(cache)
        job: Any = SimpleNamespace(layer=next(iter(model.encodings)), limit=None)
        found["prepare"] = seconds(lambda: found.update(pool=kind.prepare(job, data, model)))
        pool = found.pop("pool")
        for unit in data.queries:
            run = partial(kind.run, job, data, unit, model, pool)
            found["ours"].append(seconds(run))
            found["peak"] = max(found.get("peak", 0), peak[0])
            left, right = unit_vectors(queries, DIM, 1), unit_vectors(COLUMNS, DIM, 2)
            found["theirs"].append(seconds(partial(blocks, left, right, len(pool.vectors))))
            del left, right
            peak[0] = 0
    return found


def blocks(left: Vectors, right: Vectors, candidates: int) -> None:
    """The product with so many candidates, which one block stands for again and again."""
    for start in range(0, candidates, len(right)):
        product(left, right[: candidates - start])


BENCHMARK = paired.Benchmark(
    "search",
    "Exact search and mining",
    "python benchmarks/bench_search.py",
    ("faiss-cpu", "numpy", "torch"),
    ("harness/inference", "harness/kinds"),
    {"search": search, "mining": mining, "million": million, "faiss": flat_index},
)

if __name__ == "__main__":
    if sys.argv[1:2] == ["--apart"]:
        folder, file, *sizes = sys.argv[2:]
        Path(file).write_text(json.dumps(apart(Path(folder), *map(int, sizes))))
    else:
        sys.exit(paired.run(BENCHMARK))
