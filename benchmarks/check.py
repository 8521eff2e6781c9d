"""Has anything become slower? A few ratios that need no peer, against the committed ones.

    python benchmarks/check.py            # exit 1 where a ratio is worse beyond the noise
    python benchmarks/check.py --write    # renews results/check.json

About two minutes on two cores. A ratio is worse where its median lies below the committed median by
more than the noise: half the relative spread of the pairs then and now, added, and at least 20 %
(two runs of one ratio on a machine with other work to do differ by that much), at most 40 %.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import paired
from bench_board import contrast as one_contrast
from bench_board import plain, synthetic
from bench_search import unit_vectors
from bench_startup import BARE, own, python
from shapes import Model, flop, random_bert, words

LEAST, MOST = 0.20, 0.40  # of the committed median
WIDTH = 384  # all-MiniLM-L6-v2's


def encode(runs: int, texts: int = 1_200) -> paired.Row:
    """The encoder's share of the matrix product, over texts of 5 to 45 tokens."""
    with tempfile.TemporaryDirectory() as temporary:
        model = Model(random_bert(Path(temporary) / "model"))
        rng = np.random.default_rng(0)
        sentences = [words(rng, int(n)) for n in rng.geometric(1 / 14, texts).clip(3, 43)]
        work = flop(model.folder, model.lengths(sentences))
        encoders = [model.encoder(Path(temporary) / str(run)) for run in range(runs + 1)]
        sides = [partial(encoder.encode, sentences, role="query") for encoder in encoders]
        return share("Encode", "`Encoder.encode`, real tokens", work, sides)


def search(runs: int, candidates: int = 200_000) -> paired.Row:
    """Exact search's share of the matrix product."""
    from harness.inference.nearest import top_k

    queries, pool = unit_vectors(1_024, WIDTH, 0), unit_vectors(candidates, WIDTH, 1)
    work = 2 * len(queries) * len(pool) * WIDTH
    sides = [partial(top_k, queries, pool, 10)] * (runs + 1)
    return share("Search", f"`top_k` of {candidates:,} candidates", work, sides)


def read(runs: int, questions: int = 80) -> paired.Row:
    """Reading windows sorted by length, beside the same windows padded to 384 tokens."""
    import torch
    from transformers import AutoConfig, AutoTokenizer, BertForQuestionAnswering

    from harness.checkpoint.resolve import resolve
    from harness.checkpoint.tokenizer import load_tokenizer
    from harness.inference.reader import Reader

    with tempfile.TemporaryDirectory() as temporary:
        folder = random_bert(Path(temporary) / "model")
        tokenizer = AutoTokenizer.from_pretrained(folder)
        ours = load_tokenizer(resolve(str(folder)))
        model: Any = BertForQuestionAnswering(AutoConfig.from_pretrained(folder))
    rng = np.random.default_rng(0)
    pairs = [(words(rng, 12), words(rng, int(n))) for n in rng.integers(60, 320, questions)]
    reader = Reader(model.eval(), ours)
    cut: dict[str, Any] = {"truncation": "only_second", "max_length": 384, "return_tensors": "pt"}
    cut["padding"] = "max_length"

    def padded() -> None:
        with torch.inference_mode():
            for start in range(0, len(pairs), 8):
                asked, contexts = zip(*pairs[start : start + 8], strict=True)
                batch = tokenizer(list(asked), list(contexts), **cut)
                model(**batch)

    found = paired.in_turn(lambda: reader.read(pairs, lang="en"), padded, runs=runs)
    return beside("Read", "`Reader.read`", "the same windows padded to 384", found)


def help_page(runs: int) -> paired.Row:
    """`xharness --help` as a whole process, beside a bare typer page."""
    found, _ = paired.commands_in_turn(own("--help"), python(BARE, "--help"), runs=runs)
    return beside("Help", "`xharness --help`", "a bare typer page", found)


def contrast(runs: int, clusters: int = 2_000, langs: int = 12) -> paired.Row:
    """One contrast (bootstrap and permutation) beside a plain bootstrap of the same size."""
    data = synthetic(clusters, langs, clusters // 2)
    found = paired.in_turn(lambda: one_contrast(data), lambda: plain(data), runs=runs)
    what = f"10,000 resamples, {clusters:,} clusters × {langs} languages"
    return beside("Contrast", f"one contrast: {what}", "a plain numpy bootstrap", found)


MEASURES: dict[str, Callable[[int], paired.Row]] = {
    "encode": encode,
    "search": search,
    "read": read,
    "help": help_page,
    "contrast": contrast,
}


def differences(measured: Sequence[paired.Row], committed: Sequence[paired.Row]) -> list[str]:
    """A line for every ratio that is worse than the committed one beyond the noise, or has none."""
    known = {row.name: row for row in committed}
    lines = []
    for row in measured:
        before = known.get(row.name)
        if before is None:
            lines.append(f"{row.name}: {row.median:.2f}, none committed: check.py --write")
        elif row.median < (allowed := before.median * (1 - noise(row, before))):
            lines.append(
                f"{row.name}: {row.median:.2f} {row.meaning}, committed {before.median:.2f}, "
                f"allowed from {allowed:.2f}"
            )
    return lines


def noise(*rows: paired.Row) -> float:
    """How far below the committed median may lie what is no slower, as a share of it."""
    spread = sum((max(row.ratio) - min(row.ratio)) / 2 / row.median for row in rows)
    return min(max(spread, LEAST), MOST)


def share(name: str, what: str, work: float, sides: Sequence[Callable[[], object]]) -> paired.Row:
    """The share of the matrix product at which each side does its FLOP; the first one warms up."""
    measured = [(paired.gemm_rate(), paired.seconds(side)) for side in sides][1:]
    shares = tuple(work / seconds / limit for limit, seconds in measured)
    taken = tuple(seconds for _, seconds in measured)
    theirs = "`torch.matmul` of two matrices 2,048 square"
    return paired.Row(name, what, theirs, "of its FLOP/s", shares, taken)


def beside(name: str, ours: str, theirs: str, found: paired.Pairs) -> paired.Row:
    """Two things in turn as a row."""
    return found.row(name, ours, theirs, "theirs ÷ ours, in seconds")


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, and compare or keep."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help="renew the committed figures")
    parser.add_argument("--runs", type=int, default=paired.RUNS)
    given = parser.parse_args(argv)
    rows = []
    for name, measure in MEASURES.items():
        started = time.perf_counter()
        rows.append(measure(given.runs))
        spent = time.perf_counter() - started
        print(f"{paired.show(rows[-1])} ({name}: {spent:.0f} s)", file=sys.stderr, flush=True)
    if given.write:
        paired.save(BENCHMARK, rows, keep=False)
        return 0
    found = differences(rows, paired.saved(BENCHMARK.name))
    print(*found, sep="\n", end="\n" * bool(found))
    return 1 if found else 0


BENCHMARK = paired.Benchmark(
    "check",
    "What `make bench-check` compares with",
    "make bench-check",
    ("torch", "transformers", "numpy", "typer"),
    ("harness",),
    {},
)

if __name__ == "__main__":
    sys.exit(main())
