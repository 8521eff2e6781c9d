"""Training and question answering beside transformers' own example, `run_qa.py`.

    python benchmarks/bench_run_qa.py BASE --run-qa DIR --data DIR --reader MODEL

DIR of --run-qa is examples/pytorch/question-answering of huggingface/transformers, at the tag of
the installed version. BASE is a small encoder; --reader a checkpoint with a question answering
head, such as `xharness train BASE -i squad_v1_tenth` makes. --data holds squad/ and xquad/.
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
from argparse import Namespace
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import paired
from paired import Pairs, Row, flags, in_turn_seconds

HERE = Path(__file__).resolve().parent
CARD = "squad_v1_tenth"
MAX_LENGTH = 384  # to which run_qa pads every window
BATCH = 8
RUN_QA = {
    "output_dir": "OUT", "max_seq_length": MAX_LENGTH, "doc_stride": 128, "use_cpu": True,
    "report_to": "none", "disable_tqdm": "true", "log_level": "error", "save_strategy": "no",
}  # fmt: skip
OURS = {"out": "OUT", "device": "cpu", "offline": True, "quiet": True}
Json = dict[str, Any]


@dataclass(frozen=True)
class Sides:
    """How either side is run, and where; every run has a folder of its own under ``work``."""

    given: Namespace
    work: Path

    def run(self, name: str, *argv: str) -> Json:
        """A process under timed.py: what it wrote, and its whole time as ``wall``."""
        folder = self.work / name
        folder.mkdir(parents=True)
        env = {
            "HF_HUB_OFFLINE": "1",
            "HF_DATASETS_CACHE": str(self.work / "cache"),
            "HF_DATASETS_DISABLE_PROGRESS_BARS": "1",
        }
        timed = [sys.executable, str(HERE / "timed.py"), str(folder / "timed.json")]
        given = [str(folder / "out") if one == "OUT" else one for one in argv]
        used = paired.command([*timed, *given], env=env)
        return {**json.loads((folder / "timed.json").read_text()), "wall": used.wall}

    def theirs(self, name: str, options: Mapping[str, object]) -> Json:
        """run_qa.py, with its output in the run's folder."""
        script = str(self.given.run_qa.resolve() / "run_qa.py")
        return self.run(name, script, *flags({**RUN_QA, **options}))

    def ours(self, name: str, what: str, model: Path, options: Mapping[str, object]) -> Json:
        """A command of ours, with its output in the run's folder."""
        return self.run(name, "-m", "harness", what, str(model), *flags({**OURS, **options}))


def their_recipe(by: Any, seed: int, total: int) -> dict[str, object]:
    """Options of run_qa.py for the same recipe, over so many steps."""
    return {
        "do_train": True, "seed": seed, "learning_rate": by.lr, "weight_decay": by.weight_decay,
        "per_device_train_batch_size": by.batch_size, "adam_epsilon": by.eps,
        "max_grad_norm": by.clip, "lr_scheduler_type": "linear", "max_steps": total,
        "warmup_steps": by.warmup_steps(total), "logging_steps": 1,
    }  # fmt: skip


def recipe(**overrides: float) -> Any:
    """The card's recipe with overrides."""
    from harness.cards.training import Recipe, read_intermediate

    return Recipe.model_validate({**read_intermediate(CARD).recipe.model_dump(), **overrides})


def examples(data: Path, most: int | None = None) -> list[Any]:
    """The card's examples, in the order of its file."""
    from harness.cards.training import read_intermediate
    from harness.data.layout import DataLocation
    from harness.training.data.reading import read

    return list(read(read_intermediate(CARD), DataLocation(data, data), most).examples)


def flat(rows: Sequence[Json], path: Path) -> Path:
    """A file as run_qa.py reads it: one question a row under ``data``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"data": list(rows)}, ensure_ascii=False), encoding="utf-8")
    return path


def asked_of(one: Any) -> Json:
    """A training example as run_qa.py reads it."""
    answers = {"text": [one.answer], "answer_start": [one.start]}
    return {"id": one.item, "context": one.context, "question": one.question, "answers": answers}


def training(given: Namespace) -> Iterator[Row]:
    """Seconds of the same number of steps over windows drawn from all examples."""
    by, steps = recipe(batch_size=BATCH), 2 if given.small else 12
    took: dict[str, list[Any]] = {"ours": [], "theirs": []}
    with tempfile.TemporaryDirectory() as folder:
        sides = Sides(given, Path(folder))
        most = 500 if given.small else None
        file = flat([asked_of(one) for one in examples(given.data, most)], sides.work / "all.json")

        def timed(side: str) -> float:
            seed = len(took[side])
            if side == "theirs":
                more: dict[str, object] = {"model_name_or_path": given.base, "train_file": file}
                run = sides.theirs(f"{side}-{seed}", {**their_recipe(by, seed, steps), **more})
            else:
                more = {"max-steps": steps, "intermediate": CARD, "data": given.data}
                more |= {"seed": seed, "lr": by.lr, "batch-size": by.batch_size}
                run = sides.ours(f"{side}-{seed}", "train", given.base, more)
            took[side].append(run["steps"])
            return float(sum(step["seconds"] for step in run["steps"]))

        pairs = in_turn_seconds(
            lambda: timed("ours"), lambda: timed("theirs"), runs=given.runs, warm=0
        )
    every = [step for run in took["ours"] for step in run]
    tokens = sum(step["tokens"] for step in every)
    mean = tokens / sum(step["rows"] for step in every)
    cells = sum(step["rows"] * step["width"] for step in every)
    yield pairs.row(
        "training, float32", "xharness train", "run_qa --do_train",
        target=0.95 * MAX_LENGTH / mean,
        equal=f"{steps} steps of {BATCH} windows a run, drawn from the same examples.",
        note=f"Windows have {mean:.0f} tokens on average and run_qa pads to {MAX_LENGTH}; of "
        f"what we compute {1 - tokens / cells:.1%} is padding. Seconds within the steps as both "
        "Trainers tell them.",
    )  # fmt: skip


def reading(given: Namespace) -> Iterator[Row]:
    """Own-head question answering, language by language."""
    import pyarrow.parquet as pq

    most = 8 if given.small else 100
    for lang in ("en", "de") if given.reader else ():
        with tempfile.TemporaryDirectory() as folder:
            sides = Sides(given, Path(folder))
            file = flat(xquad(given.data, lang)[:most], sides.work / "asked.json")
            runs: dict[str, list[Json]] = {"ours": [], "theirs": []}

            def timed(side: str, lang: str = lang, file: Path = file, runs: Any = runs,
                      sides: Sides = sides) -> float:  # fmt: skip
                name = f"{side}-{len(runs[side])}"
                if side == "ours":
                    run = sides.ours(name, "eval", given.reader, {
                        "task": "xquad", "lang": lang, "limit": most, "data": given.data,
                        "fresh": True,
                    })  # fmt: skip
                else:
                    run = sides.theirs(name, {
                        "do_eval": True, "model_name_or_path": given.reader,
                        "validation_file": file, "overwrite_cache": "true",
                    })  # fmt: skip
                runs[side].append(run)
                return float(run["wall"])

            whole = in_turn_seconds(
                lambda timed=timed: timed("ours"),  # type: ignore[misc]
                lambda timed=timed: timed("theirs"),  # type: ignore[misc]
                runs=given.runs,
                warm=0,
            )
            table = pq.read_table(next((sides.work / "ours-0").rglob("*.parquet"))).to_pylist()
            answers = json.loads((sides.work / "theirs-0/out/eval_predictions.json").read_text())
            scores = json.loads((sides.work / "theirs-0/out/eval_results.json").read_text())
        mine = {row["example_id"]: row["prediction"] for row in table}
        same = sum(mine.get(key) == answer for key, answer in answers.items())
        forward = Pairs(*(tuple(run["forward"]["seconds"] for run in some)
                          for some in runs.values()))  # fmt: skip
        asked = runs["theirs"][0]["forward"]
        mean = asked["tokens"] / asked["rows"]
        yield forward.row(
            f"XQuAD {lang}, forward", "xharness eval", "run_qa --do_eval",
            target=0.95 * MAX_LENGTH / mean,
            equal=f"{same} of {len(answers)} answers are the same text; F1 "
            f"{100 * statistics.mean(row['f1'] for row in table):.2f} beside "
            f"{scores['eval_f1']:.2f}.",
            note=f"Seconds within the model's forward; {asked['rows']} windows of {mean:.0f} "
            f"tokens on average, which run_qa pads to {MAX_LENGTH}.",
        )  # fmt: skip
        yield whole.row(f"XQuAD {lang}, whole process", "xharness eval", "run_qa --do_eval")


def xquad(data: Path, lang: str) -> list[Json]:
    """XQuAD's questions in the order of the file, as run_qa.py reads them."""
    document = json.loads((data / f"xquad/xquad.{lang}.json").read_text(encoding="utf-8"))
    rows = []
    for article in document["data"]:
        for paragraph in article["paragraphs"]:
            for asked in paragraph["qas"]:
                answers = {
                    name: [answer[name] for answer in asked["answers"]]
                    for name in ("text", "answer_start")
                }
                row = {name: asked[name] for name in ("id", "question")}
                rows.append({**row, "context": paragraph["context"], "answers": answers})
    return rows


BENCHMARK = paired.Benchmark(
    "run_qa",
    "Training and question answering beside transformers' run_qa",
    "python benchmarks/bench_run_qa.py BASE --run-qa DIR --data DIR --reader MODEL",
    ("transformers", "torch", "datasets"),
    ("harness/training", "harness/inference/reader.py", "harness/inference/windows.py",
     "harness/inference/spans.py", "harness/checkpoint", "harness/kinds/span_qa.py"),
    {"training": training, "reading": reading},
    {
        "base": paired.MODEL,
        "--run-qa": {"required": True, **paired.FOLDER},
        "--data": {"required": True, **paired.FOLDER},
        "--reader": paired.MODEL,
    },
)  # fmt: skip

if __name__ == "__main__":
    sys.exit(paired.run(BENCHMARK))
