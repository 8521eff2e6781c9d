"""Classification, multiple choice and tagging beside transformers' Trainer as its examples use it.

    python benchmarks/bench_labels.py BASE --data DIR

`run_classification`, `run_swag` and `run_ner` differ in the files that they read. Their common part
is written out here: an auto class, examples that are padded to 128 tokens when they are encoded,
and the Trainer over them. Both sides have the same examples in the same order, the same first
weights and the same settings, without dropout, so that losses and predictions can be compared.
BASE is a small encoder; DIR holds xnli/, siqa/ and udpos/.
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from argparse import Namespace
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import paired
from paired import Row, in_turn, in_turn_seconds
from timed import add, watch_steps

WIDTH, ROWS, STEPS, ASKED = 128, 32, 8, 256  # tokens; rows of a batch; steps; examples to predict
TARGET, CLOSE = 1.5, 1e-5  # how far losses may be apart, as a share
CARDS = {
    "classification": "xnli_dev_en",
    "multiple_choice": "social_iqa_dev",
    "tagging": "udpos_dev_half_en",
}
THEIRS = f"transformers' Trainer, padded to {WIDTH}"


@dataclass(frozen=True)
class Common:
    """What both sides have: a folder with the first weights, without dropout, and the examples."""

    folder: Path
    card: Any
    data: Any

    def ours(self) -> tuple[Any, Any]:
        """The base with a head drawn from a seed, and its tokenizer."""
        from harness.checkpoint.loading import load_encoder
        from harness.checkpoint.resolve import resolve
        from harness.inference.batching import pad_id
        from harness.training.heads import HeadSpec, make_model

        encoder, tokenizer = load_encoder(resolve(str(self.folder)), dtype="float32", device="cpu")
        spec = HeadSpec(self.card.name, self.card.kind, self.data.labels)
        return make_model(encoder, [spec], {}, pad=pad_id(tokenizer), seed=0), tokenizer

    def trainer(self, rows: Any = None, **more: Any) -> Any:
        """Their side, with the weights as transformers loads them."""
        import transformers
        from transformers import Trainer, TrainingArguments, default_data_collator

        from harness.training.heads import CLASSES

        model = getattr(transformers, CLASSES[self.card.kind]).from_pretrained(self.folder)
        arguments = TrainingArguments(
            output_dir=str(self.folder.parent), per_device_train_batch_size=ROWS,
            per_device_eval_batch_size=ROWS, train_sampling_strategy="sequential", use_cpu=True,
            report_to="none", disable_tqdm=True, save_strategy="no", logging_strategy="no", **more,
        )  # fmt: skip
        return Trainer(model, arguments, train_dataset=rows, data_collator=default_data_collator)

    def rows(self, examples: Sequence[Any]) -> list[dict[str, Any]]:
        """Examples as the example scripts encode them."""
        from transformers import AutoTokenizer

        tokenizer = AutoTokenizer.from_pretrained(self.folder)
        tagging, each = self.card.kind == "tagging", 1
        if tagging:
            texts = [[list(one.words) for one in examples]]
        elif self.card.kind == "classification":
            texts = [[one.first for one in examples], [one.second for one in examples]]
        else:
            each = len(examples[0].choices)
            texts = [[one.prompt for one in examples for _ in one.choices]]
            texts.append([choice for one in examples for choice in one.choices])
        encoded = tokenizer(
            *texts, padding="max_length", truncation=True, max_length=WIDTH,
            is_split_into_words=tagging,
        )  # fmt: skip
        rows: list[dict[str, Any]] = []
        for at, one in enumerate(examples):
            own = {name: values[at * each : (at + 1) * each] for name, values in encoded.items()}
            row = own if each > 1 else {name: values[0] for name, values in own.items()}
            if tagging:  # The first token of a word has its tag, as in run_ner.
                words = encoded.word_ids(at)
                row["labels"] = [-100 if word is None or word in words[:token] else one.tags[word]
                                 for token, word in enumerate(words)]  # fmt: skip
            else:
                row["labels"] = one.label
            rows.append(row)
        return rows


def kind_rows(kind: str, given: Namespace) -> Iterator[Row]:
    """Training, then predicting."""
    from harness.cards.training import read_intermediate
    from harness.data.layout import DataLocation
    from harness.training.data.reading import read

    with tempfile.TemporaryDirectory() as work:
        folder, card = Path(work) / "model", read_intermediate(CARDS[kind])
        shutil.copytree(given.base, folder)
        config = json.loads((folder / "config.json").read_text())
        config |= {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
        (folder / "config.json").write_text(json.dumps(config))
        common = Common(folder, card, read(card, DataLocation(given.data, Path(work))))
        common.ours()[0].tasks[card.name].save_pretrained(folder)
        yield training(common, given)
        yield predicting(common, given)


def training(common: Common, given: Namespace) -> Row:
    """Seconds within the same steps, by the hooks of either Trainer."""
    from harness.training.batches import Steps, TaskData
    from harness.training.curve import LossLog
    from harness.training.data.features import Codec, encode
    from harness.training.progress import Silent
    from harness.training.schedule import Share, make_schedule
    from harness.training.trainer import Settings, run_steps

    card, count = common.card, 2 if given.small else STEPS
    by = card.recipe.model_copy(update={"batch_size": ROWS, "max_length": WIDTH})
    model, tokenizer = common.ours()
    made = encode(card.kind, common.data.examples, Codec(tokenizer, model.encoder, by))
    # A sentence of several pieces would be cut on their side.
    whole = np.flatnonzero(np.bincount(made.sources) == 1)
    share = Share(card.name, made.lengths, ROWS, 1.0, len(made))
    every = make_schedule([share], seed=0, max_steps=None)
    fit = [one for one in every if np.isin(made.sources[one.rows], whole).sum() == ROWS]
    fit.sort(key=lambda step: int(made.lengths[step.rows].sum()))
    steps = [fit[int((n + 0.5) * len(fit) / count)] for n in range(count)]
    order = [common.data.examples[made.sources[row]] for step in steps for row in step.rows]
    rows, seen = common.rows(order), list[dict[str, Any]]()
    watch_steps(
        lambda: None, lambda begun: add(seen[-1], begun),
        lambda mask, loss: seen.append({"loss": float(loss), "tokens": int(mask.sum())}),
    )  # fmt: skip
    last: dict[str, list[dict[str, Any]]] = {}

    def taken(side: str) -> float:
        last[side], seen[:] = list(seen), []
        return float(sum(step["seconds"] for step in last[side]))

    def ours() -> float:
        model, tokenizer = common.ours()
        task = TaskData(card.kind, made, Codec(tokenizer, model.encoder, by), by.mask)
        with tempfile.TemporaryDirectory() as work:
            settings, log = Settings(by, 0, False, "cpu"), LossLog(Path(work) / "loss.tsv")
            schedule = Steps(steps, {card.name: task}, seed=0)
            run_steps(model, schedule, settings, Path(work), log, Silent())
        return taken("ours")

    def theirs() -> float:
        common.trainer(
            rows, learning_rate=by.lr, weight_decay=by.weight_decay, adam_epsilon=by.eps,
            max_grad_norm=by.clip, warmup_steps=by.warmup_steps(count), max_steps=count,
        ).train()  # fmt: skip
        return taken("theirs")

    pairs = in_turn_seconds(ours, theirs, runs=given.runs, warm=0)
    both = list(zip(last["ours"], last["theirs"], strict=True))
    apart = max(abs(a["loss"] / b["loss"] - 1) for a, b in both)
    if apart > CLOSE or any(a["tokens"] != b["tokens"] for a, b in both):
        raise SystemExit(f"the two sides did not do the same: {both}")
    return pairs.row(
        f"training, {card.title}", "`xharness train`", THEIRS, target=TARGET,
        equal=f"{count} steps of {ROWS} examples; losses from {both[0][0]['loss']:.4f} to "
        f"{both[-1][0]['loss']:.4f}, apart by at most {apart:.0e} of the loss.",
    )  # fmt: skip


def predicting(common: Common, given: Namespace) -> Row:
    """Seconds of encoding and predicting some examples."""
    from harness.checkpoint.loading import load_head
    from harness.checkpoint.resolve import resolve
    from harness.inference.labeller import Labeller

    some = common.data.examples[: 2 * ROWS if given.small else ASKED]
    kind, labels, found = common.card.kind, common.data.labels, dict[str, list[Any]]()
    loaded = load_head(resolve(str(common.folder)), kind, dtype="float32", device="cpu")
    reader, trainer = Labeller(*loaded, kind), common.trainer()

    def ours() -> None:
        if kind == "tagging":
            tags = reader.tag([one.words for one in some], labels, lang="en")
            found["ours"] = [labels.index(tag) for own in tags for tag in own]
        elif kind == "classification":
            scores = reader.classify([(one.first, one.second) for one in some], labels, lang="en")
            found["ours"] = scores.argmax(1).tolist()
        else:
            asked = [(one.prompt, one.choices) for one in some]
            found["ours"] = reader.choose(asked, lang="en").argmax(1).tolist()

    def theirs() -> None:
        told = trainer.predict(common.rows(some))
        best = told.predictions.argmax(-1)
        found["theirs"] = (best[told.label_ids != -100] if kind == "tagging" else best).tolist()

    pairs = in_turn(ours, theirs, runs=given.runs)
    same = sum(a == b for a, b in zip(found["ours"], found["theirs"], strict=True))
    return pairs.row(
        f"predicting, {common.card.title}", "`Labeller`", THEIRS, target=TARGET,
        equal=f"{same:,} of {len(found['ours']):,} predictions on {len(some)} examples are equal.",
    )  # fmt: skip


BENCHMARK = paired.Benchmark(
    "labels",
    "Classification, multiple choice and tagging beside transformers' Trainer",
    "python benchmarks/bench_labels.py BASE --data DIR",
    ("torch", "transformers", "accelerate"),
    ("harness/training", "harness/inference/labeller.py", "harness/inference/batching.py"),
    {kind: partial(kind_rows, kind) for kind in CARDS},
    {"base": {**paired.MODEL, "metavar": "BASE"}, "--data": {"required": True, **paired.FOLDER}},
)

if __name__ == "__main__":
    sys.exit(paired.run(BENCHMARK))
