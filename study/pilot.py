"""The study's pilot: which learning rate leaves the lowest loss on questions that were held out.

    python study/pilot.py BASE --data DIR

A fifth of MLQA's dev questions, chosen by the hash of their names, are held out of both arms. Each
arm is trained on the rest at each rate, and the loss of its span head is taken over the windows of
the held-out questions, without dropout. No retrieval is looked at.
"""

from __future__ import annotations

import argparse
import tempfile
from hashlib import sha256
from pathlib import Path
from typing import Any

ARMS = ("mlqa_en", "mlqa_multilingual")
RATES = (2e-5, 5e-5, 1e-4)
HELD_OUT = 5  # one question in so many


def main() -> None:
    """Print one line per arm and rate: the mean loss of a held-out window, in nats."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("base")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--arm", choices=ARMS, action="append")
    given = parser.parse_args()
    for arm in given.arm or ARMS:
        for rate in RATES:
            loss = held_out_loss(given.base, arm, rate, given)
            print(f"{arm}\t{rate:g}\t{given.steps}\t{loss:.4f}", flush=True)


def held_out_loss(base: str, arm: str, rate: float, given: argparse.Namespace) -> float:
    """Train on the kept questions, and return the loss on the others."""
    from harness.cards.training import read_intermediate
    from harness.checkpoint.loading import load_encoder
    from harness.checkpoint.resolve import resolve
    from harness.data.layout import DataLocation
    from harness.inference.batching import pad_id
    from harness.training.batches import Steps, TaskData
    from harness.training.curve import LossLog
    from harness.training.data.features import Codec, encode
    from harness.training.data.reading import read
    from harness.training.heads import HeadSpec, make_model
    from harness.training.progress import Silent
    from harness.training.schedule import Share, make_schedule
    from harness.training.trainer import Settings, run_steps

    card = read_intermediate(arm)
    recipe = card.recipe.model_copy(update={"lr": rate})
    with tempfile.TemporaryDirectory() as work:
        location = DataLocation(given.data, Path(work), offline=True)
        examples: Any = read(card, location).examples
        held = [_held_out(example.item) for example in examples]
        encoder, tokenizer = load_encoder(resolve(base), dtype="float32", device="cpu")
        codec = Codec(tokenizer, encoder, recipe)
        parts = {
            part: TaskData(
                card.kind,
                encode(card.kind, [e for e, out in zip(examples, held, strict=True) if out is part],
                       codec),
                codec,
                recipe.mask,
            )
            for part in (False, True)
        }  # fmt: skip
        heads = [HeadSpec(arm, card.kind)]
        model: Any = make_model(encoder, heads, {}, pad=pad_id(tokenizer), seed=given.seed)
        made = parts[False].features
        share = Share(arm, made.lengths, recipe.batch_size, recipe.epochs, len(made))
        schedule = make_schedule([share], seed=given.seed, max_steps=given.steps)
        run_steps(
            model,
            Steps(schedule, {arm: parts[False]}, seed=given.seed),
            Settings(recipe, given.seed, False, "cpu"),
            Path(work),
            LossLog(Path(work) / "loss.tsv"),
            Silent(),
        )
        return _loss(model, arm, parts[True])


def _held_out(item: str) -> bool:
    return int(sha256(item.encode()).hexdigest(), 16) % HELD_OUT == 0


def _loss(model: Any, arm: str, data: Any) -> float:
    """The mean loss of a window, in nats."""
    import numpy as np
    import torch

    from harness.training.batches import Steps
    from harness.training.schedule import Step

    order = np.argsort(data.features.lengths)
    chunks = [order[at : at + 16] for at in range(0, len(order), 16)]
    steps = Steps([Step(arm, rows) for rows in chunks], {arm: data}, seed=0)
    model.eval()
    total = 0.0
    with torch.inference_mode():
        for number, rows in enumerate(chunks):
            total += float(model(**steps.collate([number]))) * len(rows)
    return total / len(order)


if __name__ == "__main__":
    main()
