"""Several local workers beside one process, as whole commands.

    python benchmarks/bench_engines.py MODEL --data DIR

MODEL is a folder of a real checkpoint, DIR the official files (Tatoeba). Every run begins with
empty folders.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
from argparse import Namespace
from collections.abc import Iterator
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import paired
from bench_startup import own
from paired import Row, flags, gemm_rate, in_turn_seconds

LANGUAGES = ("de", "hi", "ja", "sw", "tr", "zh")
GOAL = 1.8  # from one worker to two


def scaling(given: Namespace) -> Iterator[Row]:
    """Two workers with a thread each, beside one process with one thread and with all of them."""
    import pyarrow.parquet as pq

    languages, together = LANGUAGES[:2] if given.small else LANGUAGES, two_at_once()
    for threads, target in ((1, GOAL), (os.cpu_count() or 1, None)):
        tables: dict[int, Any] = {}

        def timed(workers: int, threads: int, tables: dict[int, Any] = tables) -> float:
            with tempfile.TemporaryDirectory() as work:
                ours = own("eval", str(given.model), *flags({
                    "task": "tatoeba", "workers": workers, "data": given.data, "device": "cpu",
                    "out": f"{work}/out", "cache-dir": f"{work}/cache", "offline": True,
                }))  # fmt: skip
                ours += [word for lang in languages for word in ("--lang", lang)]
                took = paired.command(ours, env={"OMP_NUM_THREADS": str(threads)})
                tables[workers] = pq.read_table(next(Path(work, "out").rglob("*.parquet")))
            return took.wall

        pairs = in_turn_seconds(
            lambda timed=timed: timed(2, 1),  # type: ignore[misc]
            lambda timed=timed, threads=threads: timed(1, threads),  # type: ignore[misc]
            runs=given.runs,
            warm=0,
        )
        one, two = (tables[workers].to_pylist() for workers in (1, 2))
        same = sum(a == b for a, b in zip(one, two, strict=True))
        # Another number of threads adds in another order: ranks may differ where scores nearly tie.
        assert threads > 1 or same == len(one), f"only {same} of {len(one)} rows are equal"
        yield pairs.row(
            f"two workers beside one process of {threads} thread{'s' * (threads > 1)}",
            "`--workers 2`, a thread each", "`--workers 1`", target=target,
            equal=f"{same:,} of {len(one):,} rows of {len(languages)} languages are equal.",
            note=f"Two matrix products at once, a thread each, were {together:.2f} times as fast "
            "together as one alone.",
        )  # fmt: skip


def two_at_once() -> float:
    """How many times as fast two processes multiply together as one alone, a thread each."""
    work = [("float32", 1024, 1.0)]
    with get_context("spawn").Pool(2, initializer=one_thread) as pool:
        pool.starmap(gemm_rate, work * 2, chunksize=1)
        alone = statistics.median(pool.starmap(gemm_rate, work)[0] for _ in range(3))
        both = statistics.median(
            sum(pool.starmap(gemm_rate, work * 2, chunksize=1)) for _ in range(3)
        )
    return both / alone


def one_thread() -> None:
    """Of torch, in a worker."""
    import torch

    torch.set_num_threads(1)


BENCHMARK = paired.Benchmark(
    "engines",
    "Workers beside one process",
    "python benchmarks/bench_engines.py MODEL --data DIR",
    ("torch", "transformers"),
    ("harness/evaluation",),
    {"scaling": scaling},
    {"model": paired.MODEL, "--data": {"required": True, **paired.FOLDER}},
)

if __name__ == "__main__":
    sys.exit(paired.run(BENCHMARK))
