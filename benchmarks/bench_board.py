"""How long the board and its contrasts take, and how much memory: synthetic outcomes.

    python benchmarks/bench_board.py

A board of 500 checkpoints with 100,000 rows each, in their real shape: Tatoeba in XTREME-R's 41
languages (both directions), LAReQA, and Mewsli-X, frozen. The outcomes take 1 GB of disk. Then one
contrast with 10,000 resamples, nothing kept: 41 languages of 1,000 examples over 28,000 clusters
(as Tatoeba), and 12 languages over 240 clusters (as XQuAD). Between them, what `xharness show`
takes of memory on one file of 0.4 and of 4.5 million rows.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import tempfile
from argparse import Namespace
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import paired
import pyarrow as pa
import pyarrow.parquet as pq
from paired import Row, in_turn, seconds

sys.path.append(str(paired.ROOT))  # of the tests' own metadata
MOST_SECONDS, MOST_GIB = 60.0, 4.0  # targets of a rebuild
CHECKPOINTS, BASES = 500, 5  # every other checkpoint goes back to one of the bases
TASKS = ("tatoeba", "lareqa", "mewsli_x")
SHAPES = {(240, 12, 240): 0.3, (28_000, 41, 1_000): 4.0}  # of contrasts: seconds at most
MOST_MIB = 500.0  # by the larger one
LARGER, SHOWN_MIB = (6, 62), 1_024.0  # times Tatoeba's examples, and what showing them may take
BLOCK = 250  # resamples that the plain bootstrap holds at a time
Unit = tuple[str, pa.Table, int]


def board(given: Namespace) -> Iterator[Row]:
    """Everything anew once, nothing new, and one checkpoint more."""
    from harness.board.build import leaderboard

    count = 10 if given.small else CHECKPOINTS
    with tempfile.TemporaryDirectory(prefix="bench_board") as work:
        root, cache = Path(work) / "root", Path(work) / "cache"
        rebuild = partial(leaderboard, root, cache=cache)
        rows = write_outcomes(root, count)
        whole = seconds(rebuild)
        own, child = (
            resource.getrusage(who).ru_maxrss
            for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
        )
        reading = seconds(partial(read_all, root))
        nothing = seconds(rebuild)
        write_outcomes(root, 1, first=count)
        one = seconds(rebuild)
    name = f"board of {count} checkpoints × {rows:,} rows"
    yield Row(
        f"{name}, seconds", "leaderboard, nothing kept",
        f"pyarrow reads every row: {reading:.1f} s", "s, at most the target", (whole,),
        target=MOST_SECONDS, note="One run.",
    )  # fmt: skip
    yield Row(
        f"{name}, memory", "this process and twice its largest child", "",
        "GiB, at most the target", ((own + 2 * child) / 2**20,), target=MOST_GIB, note="One run.",
    )  # fmt: skip
    yield Row(
        f"one more than {count} checkpoints, its own part",
        f"rebuild with it {one:.1f} s, with nothing new {nothing:.1f} s",
        f"its share of the whole rebuild: {whole / count:.2f} s",
        "s more than with nothing new", (one - nothing,), note="One run.",
    )  # fmt: skip


def write_outcomes(root: Path, checkpoints: int, first: int = 0) -> int:
    """Write outcomes and submissions from number ``first`` on; the rows of one checkpoint."""
    shared = {task: list(units(task)) for task in TASKS}
    (root / "submissions").mkdir(parents=True, exist_ok=True)
    for number in range(first, first + checkpoints):
        model, revision = f"org/model-{number:03d}", sha256(str(number).encode()).hexdigest()[:40]
        lines = [f"model: {model}", f"revision: {revision}"]
        if number < BASES:
            lines.append("objective: none")
        else:
            objective = ("contrastive", "mlm", "paraphrase")[number % 3]
            lines += [f"base: org/model-{number % BASES:03d}", f"objective: {objective}"]
            lines.append("languages: [multilingual]")
        (root / f"submissions/model-{number:03d}.yaml").write_text("\n".join(lines) + "\n")
        rng = np.random.default_rng(number)
        for task, of_task in shared.items():
            write(root, task, of_task, model, revision, rng)
    return sum(len(table) for of_task in shared.values() for _, table, _ in of_task)


def units(task: str, times: int = 1) -> Iterator[Unit]:
    """(unit, rows without ranks, relevant) of a task: what all checkpoints have in common.

    ``times``: as many examples as the task has.
    """
    from harness.analysis.results import board_units
    from harness.cards.catalogue import read_card

    card, rng = read_card(task), np.random.default_rng(0)
    for unit in board_units(task, tuple(card.languages)):
        size = card.counts["test"][unit] * times
        directions = [f"en-{unit}", f"{unit}-en"] if card.kind == "bitext" else [f"{unit}-all"]
        clusters = {  # about a third of Tatoeba's English sentences are in several languages
            "tatoeba": rng.choice(45_000 * times, size, replace=False),
            "lareqa": np.arange(size) // 5,
            "mewsli_x": rng.integers(0, 9_000, size),
        }[task]
        table = {
            "example_id": [f"{unit}:{n}" for n in range(size)] * len(directions),
            "lang": [unit] * (size * len(directions)),
            "cluster": [f"{task}:{n}" for n in clusters] * len(directions),
            "direction": [direction for direction in directions for _ in range(size)],
        }
        yield unit, pa.table(table), 11 if task == "lareqa" else 1


def write(root: Path, task: str, of_task: list[Unit], model: str, revision: str, rng: Any) -> None:
    """One outcome file: ranks at random, the better the more skill."""
    from harness.cards.catalogue import read_card
    from harness.kinds.retrieval import SCHEMA
    from harness.results.encoding import KEY
    from harness.results.outcomes import outcome_file
    from tests.metadata import metadata

    card, skill = read_card(task), 0.2 + 0.6 * rng.random()
    names = [unit for unit, _, _ in of_task]
    notes = ["synthetic"]  # otherwise the rows would have to be those of the official examples
    meta = metadata(card, names, model=model, revision=revision, notes=notes)
    folder, slug = root / "leaderboard/results", model.replace("/", "__")
    path = outcome_file(folder, slug, revision[:12], task, meta["signature"]).path
    path.parent.mkdir(parents=True, exist_ok=True)
    schema = SCHEMA.with_metadata({KEY: json.dumps(meta).encode()})
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        for _, table, relevant in of_task:
            size = len(table)
            first = rng.geometric(skill, size).astype(np.int64)
            gaps = rng.integers(1, 40, (size, relevant))
            gaps[:, 0] = first
            ranks = gaps.cumsum(axis=1).astype(np.int32).reshape(-1)
            offsets = pa.array(np.arange(0, size * relevant + 1, relevant), pa.int32())
            columns = {name: table.column(name) for name in table.column_names}
            columns["ranks"] = pa.ListArray.from_arrays(offsets, pa.array(ranks))
            # Ten others, of which those at its ranks are relevant.
            rows, number = np.nonzero(ranks.reshape(size, relevant) <= 10)
            places = ranks.reshape(size, relevant)[rows, number] - 1
            top = np.tile(np.arange(10), (size, 1))
            top[rows, places] = 10 + rows * relevant + number
            known = [f"other:x:{place}" for place in range(10)]
            of_row = "example_id" if card.kind == "bitext" else "cluster"
            for name in table.column(of_row).to_pylist():
                key = name.partition(":")[2]
                known += [
                    name if card.kind == "bitext" else f"gold:{key}:{one}"
                    for one in range(relevant)
                ]
            columns["top_ids"] = pa.ListArray.from_arrays(
                pa.array(np.arange(0, 10 * size + 1, 10), pa.int32()),
                pa.array(known).take(pa.array(top.reshape(-1))),
            )
            columns["relevant"] = pa.array(np.full(size, relevant, np.int32))
            made = pa.table({name: columns[name] for name in SCHEMA.names}).cast(schema)
            writer.write_table(made, row_group_size=max(size, 1))


def read_all(root: Path) -> None:
    """Read every row of every file, one process a core: nobody can fold with less."""
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(_read, sorted(root.rglob("*.parquet")), chunksize=4))


def _read(path: Path) -> int:
    return int(pq.read_table(path, use_threads=False).num_rows)


def shown(given: Namespace) -> Iterator[Row]:
    """The memory of `xharness show` on one file, where nothing is kept from before."""
    for times in (1,) if given.small else LARGER:
        with tempfile.TemporaryDirectory(prefix="bench_show") as work:
            made = list(units("tatoeba", times))
            write(Path(work), "tatoeba", made, "org/model", "0" * 40, np.random.default_rng(0))
            sizes = [len(table) for _, table, _ in made]
            words = ("-m", "harness", "show", work, "--cache-dir", f"{work}/cache")
            peak = paired.command([sys.executable, *words]).peak / (1 << 20)
        yield Row(
            f"show of one file of {sum(sizes):,} rows, memory", "a whole process", "",
            "MiB, at most the target", (peak,), target=SHOWN_MIB,
            note=f"{max(sizes):,} rows of the largest language. One run.",
        )  # fmt: skip


def contrasts(given: Namespace) -> Iterator[Row]:
    """Seconds against their targets, beside a plain bootstrap, and memory."""
    for (clusters, langs, size), most in SHAPES.items():
        data = synthetic(clusters, langs, size)
        pairs = in_turn(partial(contrast, data), partial(plain, data), runs=given.runs)
        whole, interval = contrast(data), plain(data)[:, -1]
        name = f"contrast, {clusters:,} clusters × {langs} languages"
        yield pairs.row(
            name, "10,000 resamples and permutations, every language",
            "plain numpy, 10,000 resamples, no permutations",
            equal=f"Interval of the mean [{100 * whole.low:.2f}, {100 * whole.high:.2f}] points, "
            f"plain [{100 * interval[0]:.2f}, {100 * interval[1]:.2f}].",
        )  # fmt: skip
        yield Row(
            f"{name}, seconds", "the same", "", "s, at most the target", pairs.ours, target=most
        )
    peak = paired.command([sys.executable, __file__, "--large"]).peak / (1 << 20)
    yield Row(
        "contrast, the larger one, memory", "a whole process", "", "MiB, at most the target",
        (peak,), target=MOST_MIB, note="One run.",
    )  # fmt: skip


def synthetic(clusters: int, langs: int, per_language: int) -> Any:
    """Differences of −1, 0 or 1 in ``per_language`` clusters of each language."""
    from harness.statistics.paired import Paired

    rng, counts = np.random.default_rng(0), np.zeros((clusters, langs))
    for lang in range(langs):
        counts[rng.choice(clusters, per_language, replace=False), lang] = 1
    return Paired(
        task="synthetic", metric="recall@10", langs=tuple(f"l{lang}" for lang in range(langs)),
        left_out=(), clusters=np.array([f"x:{cluster:06d}" for cluster in range(clusters)]),
        sums=counts * rng.integers(-1, 2, size=counts.shape), counts=counts,
    )  # fmt: skip


def contrast(data: Any) -> Any:
    """Everything that one contrast shows: macro and languages, bootstrap and permutation."""
    from harness.statistics.contrast import by_language, macro
    from harness.statistics.resampling import resample

    draws = resample([data], np.random.default_rng(0))
    by_language(draws)
    return macro(draws)


def plain(data: Any) -> npt.NDArray[np.float64]:
    """The interval of each language and of their mean by the textbook: draw clusters, weight, sum.

    float64[2, languages + 1]. It makes no permutation test, which ``contrast`` does as well.
    """
    from harness.statistics.resampling import RESAMPLES

    rng, clusters = np.random.default_rng(0), len(data.clusters)
    both = np.concatenate([data.sums, data.counts], axis=1)
    drawn = []
    for start in range(0, RESAMPLES, BLOCK):
        rows = range(min(BLOCK, RESAMPLES - start))
        picked = [rng.integers(0, clusters, clusters) for _ in rows]
        counts = np.stack([np.bincount(one, minlength=clusters) for one in picked])
        sums, sizes = np.split(counts.astype(np.float64) @ both, 2, axis=1)
        means = sums / sizes
        drawn.append(np.concatenate([means, means.mean(axis=1, keepdims=True)], axis=1))
    interval: npt.NDArray[np.float64] = np.quantile(np.concatenate(drawn), [0.025, 0.975], axis=0)
    return interval


BENCHMARK = paired.Benchmark(
    "board",
    "The board and its contrasts",
    "python benchmarks/bench_board.py",
    ("numpy", "pyarrow", "scipy"),
    ("harness/analysis", "harness/board", "harness/statistics", "harness/results"),
    {"board": board, "shown": shown, "contrasts": contrasts},
)

if __name__ == "__main__":
    if "--large" in sys.argv[1:]:
        contrast(synthetic(*list(SHAPES)[-1]))
    else:
        sys.exit(paired.run(BENCHMARK))
