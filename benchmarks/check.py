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
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import paired

ROOT = Path(__file__).resolve().parent.parent
LEAST, MOST = 0.20, 0.40  # of the committed median
NAME = "check"
WIDTH, LAYERS, PIECES = 384, 6, 2_000  # all-MiniLM-L6-v2's shape, with a small vocabulary


def encode(runs: int, texts: int = 1_200) -> paired.Row:
    """The encoder's share of the matrix product, over texts of 5 to 45 tokens."""
    from limits import Model

    with tempfile.TemporaryDirectory() as temporary:
        model = Model(random_bert(Path(temporary) / "model"))
        rng = np.random.default_rng(0)
        sentences = [words(rng, int(n)) for n in rng.geometric(1 / 14, texts).clip(3, 43)]
        work = model.work(model.lengths(sentences))
        shares, taken = [], []
        for run in range(runs + 1):
            limit = paired.gemm_rate()
            encoder = model.encoder(Path(temporary) / str(run))
            taken.append(paired.seconds(lambda: encoder.encode(sentences, role="query")))  # noqa: B023
            shares.append(work / taken[-1] / limit)
    return share("Encode", "`Encoder.encode`, real tokens", shares[1:], taken[1:])


def search(runs: int, candidates: int = 200_000) -> paired.Row:
    """Exact search's share of the matrix product."""
    from harness.inference.search import top_k

    rng = np.random.default_rng(0)
    queries, pool = (
        rng.standard_normal((rows, WIDTH), dtype=np.float32) for rows in (1_024, candidates)
    )
    shares, taken = [], []
    for _ in range(runs + 1):
        limit = paired.gemm_rate()
        taken.append(paired.seconds(lambda: top_k(queries, pool, 10)))
        shares.append(2 * len(queries) * len(pool) * WIDTH / taken[-1] / limit)
    return share("Search", f"`top_k` of {candidates:,} candidates", shares[1:], taken[1:])


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
        model = BertForQuestionAnswering(AutoConfig.from_pretrained(folder)).eval()
    rng = np.random.default_rng(0)
    pairs = [(words(rng, 12), words(rng, int(n))) for n in rng.integers(60, 320, questions)]
    reader = Reader(model, ours)

    def padded() -> None:
        with torch.inference_mode():
            for start in range(0, len(pairs), 8):
                asked, contexts = zip(*pairs[start : start + 8], strict=True)
                batch = tokenizer(
                    list(asked),
                    list(contexts),
                    padding="max_length",
                    truncation="only_second",
                    max_length=384,
                    return_tensors="pt",
                )
                model(**batch)

    found = paired.in_turn(lambda: reader.read(pairs, lang="en"), padded, runs=runs)
    return beside("Read", "`Reader.read`", "the same windows padded to 384", found)


def help_page(runs: int) -> paired.Row:
    """`xharness --help` as a whole process, beside a bare typer page."""
    from bench_startup import BARE

    def wall(*argv: str) -> float:
        usage = paired.command([sys.executable, *argv], env={"PYTHONPATH": str(ROOT)})
        return usage.wall

    found = paired.in_turn_seconds(
        lambda: wall("-m", "harness", "--help"), lambda: wall("-c", BARE, "--help"), runs=runs
    )
    return beside("Help", "`xharness --help`", "a bare typer page", found)


def contrast(runs: int, clusters: int = 2_000, langs: int = 12) -> paired.Row:
    """One contrast (bootstrap and permutation) beside a plain bootstrap of the same size."""
    from bench_contrast import contrast as ours
    from bench_contrast import synthetic

    from harness.statistics.resampling import RESAMPLES

    data = synthetic(clusters, langs, clusters // 2, np.random.default_rng(0))

    def plain() -> npt.NDArray[Any]:
        rng = np.random.default_rng(0)
        means = np.empty(RESAMPLES)
        for draw in range(RESAMPLES):
            chosen = rng.integers(0, clusters, clusters)
            means[draw] = (data.sums[chosen].sum(axis=0) / data.counts[chosen].sum(axis=0)).mean()
        return means

    found = paired.in_turn(lambda: ours(data), plain, runs=runs)
    what = f"{RESAMPLES:,} resamples, {clusters:,} clusters × {langs} languages"
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
            continue
        allowed = before.median * (1 - noise(row, before))
        if row.median < allowed:
            lines.append(
                f"{row.name}: {row.median:.2f} {row.meaning}, committed {before.median:.2f}, "
                f"allowed from {allowed:.2f}"
            )
    return lines


def noise(*rows: paired.Row) -> float:
    """How far below the committed median may lie what is no slower, as a share of it."""
    spread = sum((max(row.ratio) - min(row.ratio)) / 2 / row.median for row in rows)
    return min(max(spread, LEAST), MOST)


def share(name: str, what: str, shares: Sequence[float], taken: Sequence[float]) -> paired.Row:
    """A share of the matrix product as a row."""
    return paired.Row(
        name=name,
        ours=what,
        theirs="`torch.matmul` of two matrices 2,048 square",
        meaning="of its FLOP/s",
        ratio=tuple(shares),
        ours_seconds=tuple(taken),
    )


def beside(name: str, ours: str, theirs: str, found: paired.Pairs) -> paired.Row:
    """Two things in turn as a row."""
    return found.row(name, ours, theirs, "theirs ÷ ours, in seconds")


def random_bert(folder: Path) -> Path:
    """A BERT of all-MiniLM-L6-v2's shape with random weights, and a tokenizer of whole words."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    names = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *(f"w{n}" for n in range(PIECES))]
    tokenizer = Tokenizer(
        models.WordLevel({name: place for place, name in enumerate(names)}, unk_token="[UNK]")
    )
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    special = {name.strip("[]").lower(): name for name in names[:5]}
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        model_max_length=512,
        **{f"{name}_token": token for name, token in special.items()},
    ).save_pretrained(folder)
    BertModel(
        BertConfig(
            vocab_size=len(names),
            hidden_size=WIDTH,
            num_hidden_layers=LAYERS,
            num_attention_heads=12,
            intermediate_size=4 * WIDTH,
        )
    ).save_pretrained(folder)
    return folder


def words(rng: np.random.Generator, count: int) -> str:
    """That many words of the tokenizer's."""
    return " ".join(f"w{n}" for n in rng.integers(0, PIECES, count))


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
        paired.save(
            NAME,
            "What `make bench-check` compares with",
            "make bench-check",
            rows,
            ("torch", "transformers", "numpy", "faiss-cpu", "typer"),
        )
        return 0
    found = differences(rows, paired.saved(NAME))
    for line in found:
        print(line)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
