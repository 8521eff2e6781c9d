"""What bench_run_qa.py runs: both sides by one recipe, each run once, and the files they read."""

from __future__ import annotations

import json
import shutil
import statistics
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from paired import command, gemm_rate

from harness.cards.training import Recipe, read_intermediate
from harness.checkpoint.loading import load_encoder
from harness.checkpoint.resolve import resolve
from harness.data.load import DataLocation
from harness.training.data.examples import Span
from harness.training.data.features import Codec, Features, encode
from harness.training.data.reading import read
from harness.training.trainer import warmup_steps

HERE = Path(__file__).resolve().parent
CARD = "squad_v1_tenth"
MAX_LENGTH = 384
TRIES = 3
# A card of our own, for questions in an order of our own.
ORDERED = """name: ordered
title: Questions that are one window each
kind: span
objective: extractive-qa
languages: [en]
recipe: {max_length: 384}
licence: as the questions
citation: a part of another card's questions
source:
  format: squad
  remedy: the benchmark writes it
  splits: {part: {files: {questions: {path: ordered.json}}}}
"""
Json = dict[str, Any]


def undisturbed(run: Json, threads: int) -> bool:
    """Whether what is timed of a run had its processors to itself.

    Alone, a step or a forward pass has 88 to 99 % of its threads' time.
    """
    parts = run["steps"] or [run["forward"]]
    wall, processor = (sum(part[name] for part in parts) for name in ("seconds", "processor"))
    return bool(processor >= 0.8 * threads * wall)


@dataclass(frozen=True)
class Bench:
    """Where everything is."""

    base: Path
    reader: Path | None
    run_qa: Path
    data: Path
    work: Path

    def run(self, name: str, argv: Callable[[Path], Sequence[str]], threads: int) -> Json:
        """A process under timed.py, with what it says and its whole time; once for each name."""
        folder = self.work / name
        kept = folder / "usage.json"
        if not kept.is_file():
            shutil.rmtree(folder, ignore_errors=True)  # of a run that was stopped
            folder.mkdir(parents=True)
            env = {
                "OMP_NUM_THREADS": str(threads),
                "HF_HUB_OFFLINE": "1",
                "HF_DATASETS_CACHE": str(self.work / "cache"),
                "HF_DATASETS_DISABLE_PROGRESS_BARS": "1",
                "PYTHONPATH": str(HERE.parent),
            }
            timed = [sys.executable, str(HERE / "timed.py"), str(folder / "timed.json")]
            used = command([*timed, *argv(folder)], env=env)
            kept.write_text(json.dumps({"wall": used.wall, "processor": used.processor}))
        return {
            **json.loads((folder / "timed.json").read_text()),
            **json.loads(kept.read_text()),
            "folder": str(folder),
        }

    def at_rest(self, name: str, argv: Callable[[Path], Sequence[str]], threads: int) -> Json:
        """A run whose seconds count: one that had to share its processors is made again."""
        for _ in range(TRIES):
            run = self.run(name, argv, threads)
            if undisturbed(run, threads):
                return run
            shutil.rmtree(self.work / name)
        raise SystemExit(f"{name}: disturbed {TRIES} times: measure on a machine at rest")

    def gemm(self) -> float:
        """The machine's rate of a bare matrix product, FLOP/s, measured once."""
        kept = self.work / "gemm.json"
        if not kept.is_file():
            kept.write_text(json.dumps(statistics.median(gemm_rate() for _ in range(5))))
        return float(json.loads(kept.read_text()))

    def script(self, *options: str) -> Callable[[Path], list[str]]:
        """Arguments of run_qa.py; its output goes into the folder of the run."""
        common = ["--max_seq_length", str(MAX_LENGTH), "--doc_stride", "128", "--use_cpu"]
        still = ["--report_to", "none", "--disable_tqdm", "true", "--log_level", "error"]
        return lambda folder: [
            str(self.run_qa / "run_qa.py"), "--output_dir", str(folder / "out"), *common, *still,
            "--save_strategy", "no", *options,
        ]  # fmt: skip

    def theirs(
        self, model: Path, file: Path, seed: int, recipe: Recipe, total: int, *more: str
    ) -> Any:
        """Arguments of run_qa.py for a training by a recipe of so many steps."""
        return self.script(
            "--do_train", "--model_name_or_path", str(model), "--train_file", str(file),
            "--seed", str(seed), "--learning_rate", str(recipe.lr),
            "--per_device_train_batch_size", str(recipe.batch_size),
            "--weight_decay", str(recipe.weight_decay), "--adam_epsilon", str(recipe.eps),
            "--max_grad_norm", str(recipe.clip), "--lr_scheduler_type", "linear",
            "--warmup_steps", str(warmup_steps(recipe, total)), "--max_steps", str(total),
            "--logging_steps", "1", *more,
        )  # fmt: skip

    def answering(self, model: Path, lang: str, most: int) -> Callable[[Path], list[str]]:
        """Arguments of `xharness eval` on XQuAD's first questions in a language."""
        return lambda folder: [
            "-m", "harness", "eval", str(model), "--task", "xquad", "--lang", lang,
            "--limit", str(most), "--data", str(self.data), "--out", str(folder / "out"),
            "--device", "cpu", "--offline", "--fresh", "-q",
        ]  # fmt: skip

    def ours(self, model: Path, seed: int, recipe: Recipe, *more: str) -> Any:
        """Arguments of `xharness train` by the same recipe, on the card's data unless told."""
        given = more if "-i" in more else ("-i", CARD, "--data", str(self.data), *more)
        return lambda folder: [
            "-m", "harness", "train", str(model), "--out", str(folder / "out"),
            "--seed", str(seed), "--lr", str(recipe.lr), "--batch-size", str(recipe.batch_size),
            "--device", "cpu", "--offline", "-q", *given,
        ]  # fmt: skip


def recipe(**overrides: float) -> Recipe:
    """The card's recipe with overrides."""
    card = read_intermediate(CARD)
    return Recipe.model_validate({**card.recipe.model_dump(), **overrides})


def examples(data: Path, most: int | None = None, card: str = CARD) -> list[Span]:
    """The card's examples, in the order of its file."""
    found = read(read_intermediate(card), DataLocation(data, data), most).examples
    return [one for one in found if isinstance(one, Span)]


def features(bench: Bench, chosen: Sequence[Span], by: Recipe) -> Features:
    """Our windows and labels."""
    encoder, tokenizer = load_encoder(resolve(str(bench.base)), dtype="float32", device="cpu")
    return encode("span", list(chosen), Codec(tokenizer, encoder, by))


def flat(rows: Sequence[Json], path: Path) -> Path:
    """A file as run_qa.py reads it: one question a row under ``data``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"data": list(rows)}, ensure_ascii=False))
    return path


def flat_spans(chosen: Sequence[Span], path: Path) -> Path:
    """Training examples for run_qa.py."""
    rows = [
        {
            "id": one.item,
            "context": one.context,
            "question": one.question,
            "answers": {"text": [one.answer], "answer_start": [one.start]},
        }
        for one in chosen
    ]
    return flat(rows, path)


def own_card(chosen: Sequence[Span], folder: Path) -> str:
    """The same examples as a card of ours with its file beside it."""
    paragraphs = [
        {
            "context": one.context,
            "qas": [
                {
                    "id": one.item,
                    "question": one.question,
                    "answers": [{"text": one.answer, "answer_start": one.start}],
                }
            ],
        }
        for one in chosen
    ]
    document = {"version": "1.1", "data": [{"title": "", "paragraphs": paragraphs}]}
    (folder / "ordered.json").write_text(json.dumps(document, ensure_ascii=False))
    (folder / "ordered.yaml").write_text(ORDERED)
    return str(folder / "ordered.yaml")


def xquad(data: Path, lang: str) -> list[Json]:
    """XQuAD's questions in the order of the file, as run_qa.py reads them."""
    document = json.loads((data / f"xquad/xquad.{lang}.json").read_text())
    return [
        {
            "id": asked["id"],
            "context": paragraph["context"],
            "question": asked["question"],
            "answers": {
                "text": [answer["text"] for answer in asked["answers"]],
                "answer_start": [answer["answer_start"] for answer in asked["answers"]],
            },
        }
        for article in document["data"]
        for paragraph in article["paragraphs"]
        for asked in paragraph["qas"]
    ]


def flop_per_token(folder: Path, *, training: bool) -> float:
    """Of the matrix products of a BERT encoder's layers, attention scores left out."""
    config = json.loads((folder / "config.json").read_text())
    hidden, inner = config["hidden_size"], config["intermediate_size"]
    forward = 2 * config["num_hidden_layers"] * (4 * hidden**2 + 2 * hidden * inner)
    return float(forward * (3 if training else 1))


def answers(run: Json) -> list[Json]:
    """The rows that `xharness eval` left: example_id, prediction, f1 and the others."""
    import pyarrow.parquet as pq

    rows: list[Json] = pq.read_table(next(Path(run["folder"]).rglob("*.parquet"))).to_pylist()
    return rows
