"""How long the board takes to rebuild, and how much memory: synthetic outcomes in their real shape.

    python benchmarks/bench_board.py --checkpoints 500

Each checkpoint has 100,000 rows: Tatoeba in XTREME-R's 41 languages (both directions), LAReQA, and
Mewsli-X, frozen. The outcomes are written first (some 3 MB a checkpoint) and removed at the end.
"""

from __future__ import annotations

import argparse
import json
import resource
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from harness.board.build import leaderboard
from harness.board.entries import board_units
from harness.cards import read_card
from harness.kinds.retrieval import SCHEMA
from harness.outcomes import FORMAT, KEY, outcome_file

TARGET_SECONDS, TARGET_GIB = 60.0, 4.0
BASES = 5  # every other checkpoint goes back to one of these


def units(task: str) -> Iterator[tuple[str, pa.Table, int]]:
    """(unit, rows without ranks, relevant) of a task: what all checkpoints have in common."""
    card = read_card(task)
    rng = np.random.default_rng(0)
    for unit in board_units(task, tuple(card.languages)):
        size = card.counts["test"][unit]
        directions = [f"en-{unit}", f"{unit}-en"] if card.kind == "bitext" else [f"{unit}-all"]
        if task == "tatoeba":  # about a third of the English sentences are in several languages
            clusters = [f"tatoeba:{n}" for n in rng.choice(45_000, size, replace=False)]
        elif task == "lareqa":
            clusters = [f"xquad:{n // 5}" for n in range(size)]
        else:
            clusters = [f"mewsli_x:{n}" for n in rng.integers(0, 9_000, size)]
        count = size * len(directions)
        names = [f"{unit}:{n}" for n in range(size)]
        table = pa.table(
            {
                "example_id": names * len(directions),
                "lang": [unit] * count,
                "cluster": clusters * len(directions),
                "direction": [d for d in directions for _ in range(size)],
            }
        )
        yield unit, table, 11 if task == "lareqa" else 1


def write_outcomes(root: Path, checkpoints: int) -> int:
    """Write the outcomes and submissions; returns the rows of one checkpoint."""
    shared = {task: list(units(task)) for task in ("tatoeba", "lareqa", "mewsli_x")}
    (root / "submissions").mkdir(parents=True)
    for number in range(checkpoints):
        model, revision = f"org/model-{number:03d}", sha256(str(number).encode()).hexdigest()[:40]
        base = number % BASES
        lines = [f"model: {model}", f"revision: {revision}"]
        lines += (
            ["objective: none"]
            if number < BASES
            else [
                f"base: org/model-{base:03d}",
                f"objective: {('contrastive', 'mlm', 'paraphrase')[number % 3]}",
                "languages: [multilingual]",
            ]
        )
        (root / f"submissions/model-{number:03d}.yaml").write_text("\n".join(lines) + "\n")
        rng = np.random.default_rng(number)
        for task, of_task in shared.items():
            write(root, task, of_task, model, revision, rng, 0.2 + 0.6 * rng.random())
    return sum(len(table) for of_task in shared.values() for _, table, _ in of_task)


def write(
    root: Path,
    task: str,
    of_task: list[tuple[str, pa.Table, int]],
    model: str,
    revision: str,
    rng: np.random.Generator,
    skill: float,
) -> None:
    """One outcome file: ranks at random, the better the more skill."""
    card = read_card(task)
    names = [unit for unit, _, _ in of_task]
    meta = {
        "format": FORMAT, "model": model, "revision": revision, "base": None, "parameters": 1,
        "model_type": "bert", "task": task, "task_version": card.version, "card_hash": card.hash,
        "track": "frozen", "protocol": "standard", "signature": "00000000",
        "resolved": {"layer": 8}, "languages": names, "split": "test", "limit": None, "seed": 0,
        "dtype": "float32", "device": "cpu", "custom": [], "degenerate": [], "notes": [],
        "mixed": [], "data_complete": True, "route": "folder", "data": {}, "harness": {},
        "libraries": {}, "timing": {name: {} for name in names},
    }  # fmt: skip
    path = outcome_file(
        root / "leaderboard/results", model.replace("/", "__"), revision[:12], task, "00000000"
    ).path
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
            # Ten others, and the example itself first where its rank is 1.
            examples = pa.array(table.column("example_id").to_pylist()).dictionary_encode()
            own = examples.indices.to_numpy()
            top = rng.integers(0, len(examples.dictionary), (size, 10))
            top[:, 0] = np.where(first == 1, own, (own + 1) % len(examples.dictionary))
            columns["top_ids"] = pa.ListArray.from_arrays(
                pa.array(np.arange(0, 10 * size + 1, 10), pa.int32()),
                examples.dictionary.take(pa.array(top.reshape(-1))),
            )
            columns["relevant"] = pa.array(np.full(size, relevant, np.int32))
            rows = pa.table({name: columns[name] for name in SCHEMA.names}).cast(schema)
            writer.write_table(rows, row_group_size=max(size, 1))


def peak() -> float:
    """GiB at most: this process and the largest of its children, twice that for two of them."""
    own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    child = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    return (own + 2 * child) / 2**20


def main() -> None:
    """Write, rebuild, and rebuild again with one more checkpoint."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--checkpoints", type=int, default=500)
    parser.add_argument("--folder", type=Path, help="where to write; removed at the end")
    chosen = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="bench_board", dir=chosen.folder))
    try:
        rows = write_outcomes(folder, chosen.checkpoints)
        print(f"{chosen.checkpoints} checkpoints of {rows:,} rows")
        started = time.perf_counter()
        leaderboard(folder, cache=folder / "cache")
        seconds, gib = time.perf_counter() - started, peak()
        print(f"rebuild: {seconds:.1f} s, at most {gib:.2f} GiB")
        started = time.perf_counter()
        leaderboard(folder, cache=folder / "cache", check=True)
        print(f"nothing new: {time.perf_counter() - started:.1f} s")
        results = folder / "leaderboard/results"
        kept, page = folder / "cache", folder / "leaderboard/index.html"
        print(f"outcomes {size_of(results):,.0f} MB, kept folds {size_of(kept):,.0f} MB")
        print(f"page {page.stat().st_size / 1e6:.1f} MB")
        if chosen.checkpoints == 500:
            met = seconds <= TARGET_SECONDS and gib <= TARGET_GIB
            state = "met" if met else "missed"
            print(f"target {TARGET_SECONDS:.0f} s and {TARGET_GIB:.0f} GiB: {state}")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def size_of(folder: Path) -> float:
    """Megabytes under a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6


if __name__ == "__main__":
    main()
