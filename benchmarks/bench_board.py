"""How long the board takes to rebuild, and how much memory: synthetic outcomes in their real shape.

    python benchmarks/bench_board.py --checkpoints 500

Each checkpoint has 100,000 rows: Tatoeba in XTREME-R's 41 languages (both directions), LAReQA, and
Mewsli-X, frozen. The outcomes are written first (some 3 MB a checkpoint) and removed at the end,
unless `--folder` says where they stay. Beside a rebuild: pyarrow reading every row once, in as many
processes. The contrasts of `bench_contrast.py` are kept with it.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import tempfile
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from hashlib import sha256
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from bench_contrast import rows as contrast_rows
from paired import Row, in_turn_seconds, save, seconds, show

from harness.analysis.entries import board_units
from harness.board.build import leaderboard
from harness.cards.task import read_card
from harness.inference.protocol import PROTOCOL_VERSION
from harness.kinds.retrieval import SCHEMA
from harness.results.metadata import FORMAT
from harness.results.outcomes import KEY, outcome_file

TARGET_SECONDS, TARGET_GIB = 60.0, 4.0
FEW = 50  # checkpoints of the rebuilds that are measured in pairs
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


def write_outcomes(root: Path, checkpoints: int, first: int = 0) -> int:
    """Write outcomes and submissions from number ``first`` on, where they are not there.

    Returns the rows of one checkpoint.
    """
    shared = {task: list(units(task)) for task in ("tatoeba", "lareqa", "mewsli_x")}
    (root / "submissions").mkdir(parents=True, exist_ok=True)
    for number in range(first, first + checkpoints):
        model, revision = f"org/model-{number:03d}", sha256(str(number).encode()).hexdigest()[:40]
        submission = root / f"submissions/model-{number:03d}.yaml"
        if submission.exists():
            continue
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
        rng = np.random.default_rng(number)
        for task, of_task in shared.items():
            write(root, task, of_task, model, revision, rng, 0.2 + 0.6 * rng.random())
        submission.write_text("\n".join(lines) + "\n")
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
        "track": "frozen", "protocol": "standard", "protocol_version": PROTOCOL_VERSION,
        "signature": "00000000",
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


def read_all(root: Path) -> float:
    """Seconds of reading every row of every file, one process a core: nobody can fold with less."""
    files = sorted((root / "leaderboard/results").rglob("*.parquet"))

    def work() -> None:
        with ProcessPoolExecutor(os.cpu_count()) as pool:
            list(pool.map(_read, files, chunksize=4))

    return seconds(work)


def _read(path: Path) -> int:
    return int(pq.read_table(path, use_threads=False).num_rows)


def rebuild(root: Path, *, kept: bool = False) -> float:
    """Seconds of a rebuild, by default without any kept fold."""
    cache = root / "cache"
    if not kept:
        shutil.rmtree(cache, ignore_errors=True)
    return seconds(lambda: leaderboard(root, cache=cache))


def whole_rows(root: Path, checkpoints: int) -> list[Row]:
    """Everything anew once, nothing new, and one checkpoint more."""
    rows = write_outcomes(root, checkpoints)
    whole, gib = rebuild(root), peak()
    reading = read_all(root)
    nothing = rebuild(root, kept=True)
    write_outcomes(root, 1, first=checkpoints)
    one = rebuild(root, kept=True)
    (root / f"submissions/model-{checkpoints:03d}.yaml").unlink()
    shutil.rmtree(root / f"leaderboard/results/org__model-{checkpoints:03d}")
    name = f"board of {checkpoints} checkpoints × {rows:,} rows"
    results, page = root / "leaderboard/results", root / "leaderboard/index.html"
    return [
        Row(
            name=f"{name}, seconds",
            ours="leaderboard, nothing kept",
            theirs=f"pyarrow reads every row: {reading:.1f} s",
            meaning="s, at most the target",
            ratio=(whole,),
            target=TARGET_SECONDS,
            note=f"One run. Outcomes {size_of(results):,.0f} MB, kept folds "
            f"{size_of(root / 'cache'):,.0f} MB, page {page.stat().st_size / 1e6:.1f} MB.",
        ),
        Row(
            name=f"{name}, memory",
            ours="this process and twice its largest child",
            theirs="",
            meaning="GiB, at most the target",
            ratio=(gib,),
            target=TARGET_GIB,
        ),
        Row(
            name=f"one more than {checkpoints} checkpoints, its own part",
            ours=f"rebuild with it {one:.1f} s, with nothing new {nothing:.1f} s",
            theirs=f"its share of the whole rebuild: {whole / checkpoints:.2f} s",
            meaning="s more than with nothing new",
            ratio=(one - nothing,),
            note="Folds are kept, so only the new files are folded; the kept ones are read, and "
            "ranks and pages are made of all.",
        ),
    ]


def paired_row(root: Path) -> Row:
    """Rebuilds of a smaller board beside reading its rows."""
    rows = write_outcomes(root, FEW)
    pairs = in_turn_seconds(lambda: rebuild(root), lambda: read_all(root))
    return pairs.row(
        name=f"board of {FEW} checkpoints × {rows:,} rows, beside reading them",
        ours="leaderboard, nothing kept",
        theirs="pyarrow reads every row",
        meaning="of the reading's rate",
        note="Reading alone is the limit; a rebuild also resamples every score 500 times, "
        "ranks and contrasts the checkpoints and writes all pages.",
    )


def main() -> None:
    """Measure and keep."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--checkpoints", type=int, default=500)
    parser.add_argument("--folder", type=Path, help="where to write; made once and left there")
    parser.add_argument("--fill", action="store_true", help="write the outcomes and stop")
    parser.add_argument("--only", choices=["whole", "pairs"], help="a part; nothing is kept")
    chosen = parser.parse_args()
    folder = chosen.folder or Path(tempfile.mkdtemp(prefix="bench_board"))
    rows: list[Row] = []
    try:
        if chosen.fill:
            write_outcomes(folder / "whole", chosen.checkpoints)
            write_outcomes(folder / "few", FEW)
            return
        if chosen.only != "pairs":
            rows += whole_rows(folder / "whole", chosen.checkpoints)
        if chosen.only != "whole":
            rows += [paired_row(folder / "few"), *contrast_rows()]
    finally:
        if chosen.folder is None:
            shutil.rmtree(folder, ignore_errors=True)
    for row in rows:
        print(show(row))
    if chosen.only is None and chosen.checkpoints == 500:
        how = "python benchmarks/bench_board.py"
        save("board", "The board and its contrasts", how, rows, ("numpy", "pyarrow", "scipy"))


def size_of(folder: Path) -> float:
    """Megabytes under a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6


if __name__ == "__main__":
    main()
