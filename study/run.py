"""The study's runs: an arm and a seed is one unit of work, trained, measured and put on the board.

    python study/run.py BASE --data DIR --work DIR [--arm ARM] [--seed N] [--task TASK]
        [--align]

The units run in the order of STUDY.md's plan. What is finished is not run again, and a unit that
was stopped goes on where it was. A unit's weights (470 MB) go when its rows are there. The arm
`base` is the base itself, of which the other targets alone are measured here.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO

import yaml

ROOT = Path(__file__).resolve().parent.parent
RESULTS, SUBMISSIONS = ROOT / "leaderboard" / "results", ROOT / "submissions"
ALIGNMENT = ROOT / "study" / "alignment"  # for study/analyses.py
STEPS, RATE = 100, "1e-4"
NOTES = f"""notes:
- {STEPS} steps at a learning rate of {RATE}; leaderboard/STUDY.md says how it was made
"""
# What is measured, and on which part of it.
TASKS: dict[str, tuple[str, ...]] = {
    "tatoeba": (),
    "lareqa": (),
    "bucc2018": ("--lang", "zh", "--split", "dev"),
}
# The other targets, which are tuned by the suite's own small recipes; of these arms and seeds.
SMALL = ("udpos", "pawsx", "xcopa", "xcopa_corrected", "panx", "xnli")
TUNING = ("--suite", "xtreme-small", "--finetune", "--dtype", "bfloat16")
SMALL_ARMS, SMALL_SEEDS = ("base", "mlqa_en", "mlqa_multilingual"), 3
ALIGNED = "af,bn,et,fr,id,ka,ml,pt,ta,tr,zh"  # every fourth of Tatoeba's 41 languages, from A on
# Arms that are compared, and how many seeds each has; in the order of importance.
PLAN = (
    (("mlqa_en", "mlqa_multilingual"), 5),
    (("xnli_dev_en", "xnli_dev_multilingual"), 3),
    (("squad_v1_tenth", "tydiqa_ko_sw", "tydiqa_en", "xquad"), 3),
    (("mlqa_pairs_en", "mlqa_pairs_multilingual"), 3),
    (("squad_v1_tenth_pairs", "translation_pairs"), 3),
    (("mlm_mlqa_en", "mlm_mlqa_multilingual"), 3),
    (("base",), SMALL_SEEDS),
)


def units() -> Iterator[tuple[str, int]]:
    """Every arm and seed, in the order in which they run: the arms of a group take turns."""
    for arms, seeds in PLAN:
        yield from ((arm, seed) for seed in range(1, seeds + 1) for arm in arms)


def tasks_of(arm: str, seed: int) -> tuple[str, ...]:
    """Return the tasks that a unit is measured on."""
    small = SMALL if arm in SMALL_ARMS and seed <= SMALL_SEEDS else ()
    return small if arm == "base" else (*TASKS, *small)


def main() -> None:
    """Run the units that were asked for, one after another."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("base", type=Path, help="the folder of the base")
    parser.add_argument("--data", type=Path, required=True, help="the official files")
    parser.add_argument("--work", type=Path, required=True, help="holds weights for a while")
    parser.add_argument("--arm", action="append", choices=[arm for arms, _ in PLAN for arm in arms])
    parser.add_argument("--seed", action="append", type=int)
    parser.add_argument(
        "--task", action="append", choices=(*TASKS, *SMALL), help="default: all that a unit has"
    )
    parser.add_argument("--align", action="store_true", help="keep the layers' alignment as well")
    given = parser.parse_args()
    given.work.mkdir(parents=True, exist_ok=True)
    if given.align:
        align(given.base, given.base.resolve().name, given)
    for arm, seed in units():
        if arm in (given.arm or [arm]) and seed in (given.seed or [seed]):
            chosen = [task for task in tasks_of(arm, seed) if task in (given.task or [task])]
            if arm == "base":
                measure(given.base, chosen, seed, given)
            elif chosen:
                run(arm, seed, chosen, given)


def run(arm: str, seed: int, tasks: Sequence[str], given: argparse.Namespace) -> None:
    """Train, measure, submit; nothing where the rows of every task are there."""
    name = f"e5-{arm}-s{seed}"
    rows = RESULTS / f"local__{name}"
    measured = list(rows.glob("*"))  # more than one where a unit was stopped on other weights
    if len(measured) == 1 and all(any(rows.glob(f"*/{task}.*.parquet")) for task in tasks):
        print(f"{name}: finished", flush=True)
        return
    folder = given.work / name
    xharness("train", given.base, "--intermediate", arm, "--seed", seed, "--max-steps", STEPS,
             "--lr", RATE, "--out", folder, "--data", given.data, "--offline")  # fmt: skip
    if given.align:  # before the rows, which say that a unit is finished
        align(folder, name, given)
    submission = (folder / "submission.yaml").read_text(encoding="utf-8")
    revision = yaml.safe_load(submission)["revision"].removeprefix("local:")[:12]
    others = [old for old in measured if old.name != revision]
    if others:
        print(f"{name}: the weights are not those of the rows that are there, as on another kind of"
              " processor; all is measured anew", flush=True)  # fmt: skip
        tasks = tasks_of(arm, seed)
    measure(folder, tasks, seed, given)
    for old in others:
        shutil.rmtree(old)
    (SUBMISSIONS / f"{name}.yaml").write_text(submission + NOTES, encoding="utf-8")
    shutil.rmtree(folder)


def measure(folder: Path, tasks: Sequence[str], seed: int, given: argparse.Namespace) -> None:
    """Evaluate a checkpoint; what is finished is not measured again."""
    for task, after in zip(tasks, [*tasks[1:], ""], strict=True):
        options = (*TUNING, "--seed", seed) if task in SMALL else TASKS[task]
        xharness("eval", folder, "--task", task, *options, "--data", given.data,
                 "--out", RESULTS, "--cache-dir", given.work / "cache", "--device", "cpu",
                 "--offline")  # fmt: skip
        if (task, after) != ("xcopa", "xcopa_corrected"):  # which are measured on one tuning
            shutil.rmtree(given.work / "cache", ignore_errors=True)  # nobody asks for it again


def align(folder: Path, name: str, given: argparse.Namespace) -> None:
    """Keep the alignment of sentences at the standard layer; nothing where it is kept."""
    kept = ALIGNMENT / f"{name}.json"
    if kept.exists():
        return
    kept.parent.mkdir(exist_ok=True)
    partial = given.work / f"{name}.alignment.json"
    with partial.open("w", encoding="utf-8") as out:
        xharness("align", folder, "--lang", ALIGNED, "--data", given.data, "--cache-dir",
                 given.work / "cache", "--device", "cpu", "--offline", "--format", "json",
                 out=out)  # fmt: skip
    found = json.loads(partial.read_text(encoding="utf-8"))
    wanted = ("sentences", found["standard_layer"])
    found["rows"] = [row for row in found["rows"] if (row["unit"], row["layer"]) == wanted]
    kept.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    partial.unlink()


def xharness(*words: object, out: IO[str] | None = None) -> None:
    """Run the command with one thread, so that the sums do not depend on the machine's cores."""
    command = [sys.executable, "-m", "harness", *map(str, words)]
    print("xharness", *map(str, words), flush=True)
    subprocess.run(command, check=True, env={**os.environ, "OMP_NUM_THREADS": "1"}, stdout=out)


if __name__ == "__main__":
    main()
