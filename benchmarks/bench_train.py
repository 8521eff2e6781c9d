"""Training's share of the matrix product's rate, and its peak memory, on real checkpoints.

    python benchmarks/bench_train.py MODEL... --data DIR

Between two steps of the trainer's own loop the rate of a bare matrix product is measured, so that a
share compares what ran within the same seconds. DIR holds squad/.
"""

from __future__ import annotations

import json
import resource
import statistics
import sys
import tempfile
from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import paired
from bench_run_qa import CARD, examples, recipe
from bench_startup import called
from paired import Row
from shapes import flop
from timed import add, watch_steps

TARGET, STEPS = 0.7, 8


def training(given: Namespace) -> Iterator[Row]:
    """A process for each model, so that each has a peak of its own."""
    for folder in given.models:
        with tempfile.TemporaryDirectory() as work:
            out, steps = Path(work) / "found.json", 2 if given.small else STEPS
            argv = [sys.executable, __file__, "--apart", str(folder), str(given.data)]
            paired.command([*argv, str(steps), str(out)])
            found = json.loads(out.read_text())
        yield from rows(folder, found["steps"])
        yield Row(
            f"memory of training, {called(folder)}", "the whole process", "", "GiB at most",
            (found["peak"] / 2**30,),
            note=f"One run; its largest batch has {sum(found['first']['lengths']):,} tokens.",
        )  # fmt: skip


def rows(folder: Path, steps: list[dict[str, Any]]) -> Iterator[Row]:
    """The share of the matrix product's rate, without attention's products and with them."""

    def shares(attention: bool) -> tuple[float, ...]:
        return tuple(
            flop(folder, np.array(one["lengths"]), attention=attention, training=True)
            / one["seconds"] / one["gemm"]
            for one in steps
        )  # fmt: skip

    tokens = statistics.mean(sum(one["lengths"]) for one in steps)
    yield Row(
        f"training step, {called(folder)}", f"a step of {len(steps[0]['lengths'])} windows",
        "`torch.matmul` of two matrices 2,048 square", "of its FLOP/s in real tokens",
        shares(False), tuple(one["seconds"] for one in steps), target=TARGET,
        note=f"{tokens:.0f} tokens a step on average; {statistics.median(shares(True)):.2f} with "
        "attention's products counted.",
    )  # fmt: skip


def apart(folder: Path, data: Path, steps: int) -> dict[str, Any]:
    """Seconds, lengths and rates of every step but the first, which is of the longest windows."""
    from harness.checkpoint.loading import load_encoder
    from harness.checkpoint.resolve import resolve
    from harness.inference.batching import pad_id
    from harness.training.batches import Steps, TaskData
    from harness.training.curve import LossLog
    from harness.training.data.features import Codec, encode
    from harness.training.heads import HeadSpec, make_model
    from harness.training.progress import Silent
    from harness.training.schedule import Share, make_schedule
    from harness.training.trainer import Settings, run_steps

    by = recipe()
    encoder, tokenizer = load_encoder(resolve(str(folder)), dtype="float32", device="cpu")
    codec = Codec(tokenizer, encoder, by)
    made = encode("span", examples(data, 2_000), codec)
    model: Any = make_model(encoder, [HeadSpec(CARD, "span")], {}, pad=pad_id(tokenizer), seed=0)
    share = Share(CARD, made.lengths, by.batch_size, 1.0, len(made))
    pool = make_schedule([share], seed=0, max_steps=None)[:50]
    alike = sorted(pool, key=lambda step: int(made.lengths[step.rows].sum()))
    chosen = [alike[-1], *(alike[int((n + 0.5) * len(alike) / steps)] for n in range(steps))]
    found: list[dict[str, Any]] = []

    def begin() -> None:
        found.append({"gemm": paired.gemm_rate(least=0.5)})

    watch_steps(begin, lambda begun: add(found[-1], begun), lambda mask, loss: None)
    with tempfile.TemporaryDirectory() as work:
        tasks = {CARD: TaskData("span", made, codec, by.mask)}
        settings = Settings(by, 0, False, "cpu")
        loss = LossLog(Path(work) / "loss.tsv")
        run_steps(model, Steps(chosen, tasks, seed=0), settings, Path(work), loss, Silent())
    for step, one in zip(chosen, found, strict=True):
        one["lengths"] = made.lengths[step.rows].tolist()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {"steps": found[1:], "peak": peak, "first": found[0]}


BENCHMARK = paired.Benchmark(
    "train",
    "Training beside the matrix product",
    "python benchmarks/bench_train.py MODEL... --data DIR",
    ("torch", "transformers", "numpy"),
    ("harness/training", "harness/checkpoint/memory.py"),
    {"training": training},
    {
        "models": {"type": Path, "nargs": "+", "metavar": "MODEL"},
        "--data": {"required": True, **paired.FOLDER},
    },
)

if __name__ == "__main__":
    if sys.argv[1:2] == ["--apart"]:
        folder, data, count, file = sys.argv[2:]
        Path(file).write_text(json.dumps(apart(Path(folder), Path(data), int(count))))
    else:
        sys.exit(paired.run(BENCHMARK))
