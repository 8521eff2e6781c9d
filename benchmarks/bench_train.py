"""Training's share of the matrix product's rate, and its peak memory, on real checkpoints.

    python benchmarks/bench_train.py --data DIR MODEL...

Between two steps of the trainer's own loop the rate of a bare matrix product is measured, so that a
share compares what ran within the same seconds. DIR holds squad/. On a machine with other work to
do, read the share by processor time: it leaves out only what waiting for each other costs threads.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from paired import Row, command, gemm_rate, save, show
from run_qa_runs import CARD, examples, flop_per_token, recipe
from timed import add, clocks


def measure(folder: Path, data: Path, steps: int) -> dict[str, Any]:
    """Seconds, tokens and rates of every step but the first, which is of the longest windows."""
    from transformers import Trainer, TrainerCallback

    from harness.checkpoint.loading import load_encoder
    from harness.checkpoint.resolve import resolve
    from harness.inference.batching import pad_id
    from harness.training.batches import Steps, TaskData
    from harness.training.curve import Curve
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
    found: list[dict[str, float]] = []

    class Timing(TrainerCallback):
        def on_step_begin(self, *args: Any, **kwargs: Any) -> None:
            before = clocks()
            rate = gemm_rate(seconds_at_least=0.5)
            spent = {name: now - before[name] for name, now in clocks().items()}
            busy = spent["processor"] / spent["seconds"]
            found.append({"gemm": rate, "gemm_processor": rate / busy})
            self.begun = clocks()

        def on_step_end(self, *args: Any, **kwargs: Any) -> None:
            add(found[-1], self.begun)

    make = Trainer.__init__

    def watched(self: Any, *args: Any, **kwargs: Any) -> None:
        make(self, *args, **kwargs)
        self.add_callback(Timing())

    Trainer.__init__ = watched  # type: ignore[method-assign]
    with tempfile.TemporaryDirectory() as work:
        tasks = {CARD: TaskData("span", made, codec, by.mask)}
        settings = Settings(by, 0, False, "cpu")
        loss = Curve(Path(work) / "loss.tsv")
        run_steps(model, Steps(chosen, tasks, seed=0), settings, Path(work), loss, Silent())
    for step, one in zip(chosen, found, strict=True):
        one["tokens"] = int(made.lengths[step.rows].sum())
        one["squares"] = int((made.lengths[step.rows] ** 2).sum())
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {"steps": found[1:], "peak": peak, "first": found[0]}


def rows(folder: Path, found: dict[str, Any]) -> list[Row]:
    """The share of the matrix product, in wall and in processor time, and the memory."""
    config = json.loads((folder / "config.json").read_text())
    linear = flop_per_token(folder, training=True)
    # Scores and sums of values, forward, and twice that backward.
    attention = 12.0 * config["hidden_size"] * config["num_hidden_layers"]
    steps, shares = found["steps"], {}
    for clock, rate in (("seconds", "gemm"), ("processor", "gemm_processor")):
        for name, factor in (("", 0.0), (", attention's products counted", attention)):
            work = [one["tokens"] * linear + one["squares"] * factor for one in steps]
            shares[clock + name] = tuple(
                flop / one[clock] / one[rate] for flop, one in zip(work, steps, strict=True)
            )
    tokens = statistics.mean(one["tokens"] for one in steps)
    name = config.get("_name_or_path") or folder.name
    made = [
        Row(
            name=f"training step, {name}, by {clock}",
            ours="a step of 16 windows",
            theirs="`torch.matmul` of two matrices 2,048 square",
            meaning="of its FLOP/s in real tokens",
            ratio=shares[clock],
            target=0.7 if clock == "seconds" else None,
            ours_seconds=tuple(one[clock.partition(",")[0]] for one in steps),
            note=f"{tokens:.0f} tokens a step on average.",
        )
        for clock in shares
    ]
    memory = Row(
        name=f"memory of training, {name}",
        ours="the whole process",
        theirs="",
        meaning="GiB at most",
        ratio=(found["peak"] / 2**30,),
        note=f"Its largest batch has {found['first']['tokens']:,} tokens.",
    )
    return [*made, memory]


def main(argv: Sequence[str] | None = None) -> None:
    """A process for each model, so that each has a peak of its own."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", type=Path, nargs="+")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--write", action="store_true", help="keep the figures")
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args(argv)
    if given.measure:
        found = measure(given.models[0], given.data, given.steps)
        given.measure.write_text(json.dumps(found))
        return
    every = []
    for folder in given.models:
        with tempfile.TemporaryDirectory() as work:
            out, options = Path(work) / "found.json", ["--steps", str(given.steps)]
            started = time.perf_counter()
            command([
                sys.executable, __file__, str(folder), "--data", str(given.data), *options,
                "--measure", str(out),
            ])  # fmt: skip
            every += rows(folder, json.loads(out.read_text()))
        print(f"{folder}: {time.perf_counter() - started:.0f} s", file=sys.stderr)
    for row in every:
        print(show(row))
    if given.write:
        title = "Training beside the matrix product"
        again = "python benchmarks/bench_train.py --data DIR MODEL..."
        save("train", title, again, every, ("torch", "transformers", "numpy"))


if __name__ == "__main__":
    main()
