"""Training and question answering beside transformers' own example, `run_qa.py`.

    python benchmarks/bench_run_qa.py --run-qa DIR --data DIR --reader MODEL BASE

DIR of --run-qa is examples/pytorch/question-answering of huggingface/transformers, at the tag of
the installed version. BASE is a small encoder; --reader a checkpoint with a question answering
head, such as `xharness train BASE -i squad_v1_tenth` makes. --data holds squad/ and xquad/.

Every run keeps its times in --work and is not repeated: a benchmark that was stopped goes on, and
parts (--part) can be measured at different hours. `same` needs half an hour for three seeds.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from curves import binned, inside, least, permuted
from paired import Pairs, Row, in_turn_seconds, save, show
from run_qa_runs import (
    CARD,
    MAX_LENGTH,
    Bench,
    Json,
    answers,
    examples,
    features,
    flat,
    flat_spans,
    flop_per_token,
    own_card,
    recipe,
    xquad,
)

from harness.cards.training import Recipe
from harness.checkpoint.loading import load_encoder, load_reader
from harness.checkpoint.resolve import resolve
from harness.checkpoint.vet import TOKENIZER_FILES
from harness.inference.batching import pad_id
from harness.inference.windows import cut_questions, make_windows, window_shape
from harness.training.data.features import Codec, encode
from harness.training.heads import HeadSpec, make_model
from harness.training.schedule import Share, make_schedule

PARTS = ("features", "steps", "same", "speed", "eval")
LANGUAGES = ("en", "de")


def same_features(bench: Bench, threads: int) -> Row:
    """Are the windows and labels of all examples those that run_qa.py prepares?"""
    by, chosen = recipe(), examples(bench.data)
    file = flat_spans(chosen, bench.work / "all.json")
    run = bench.run("features", bench.theirs(bench.base, file, 0, recipe(batch_size=1), 1), threads)
    theirs = np.load(Path(run["folder"]) / "timed.npz")
    ours = features(bench, chosen, by)
    (windows,) = ours.sides
    count = len(theirs["begin"]) - 1
    if count != len(ours):
        raise SystemExit(f"{len(ours)} windows, run_qa has {count}")
    equal = np.ones(count, dtype=bool)
    for name, label in ours.labels.items():
        equal &= label == theirs[name]
    equal &= windows.lengths == np.diff(theirs["begin"])
    if equal.all():
        for name in ("tokens", "types"):
            same = np.add.reduceat(getattr(windows, name) != theirs[name], windows.begin[:-1]) == 0
            equal &= same
    lengths = windows.lengths
    mean = float(lengths.mean())
    return Row(
        name="training windows and labels",
        ours="windows that are the same",
        theirs="run_qa prepare_train_features",
        meaning="of run_qa's windows are ours, token for token, with the same labels",
        ratio=(float(equal.mean()),),
        target=1.0,
        equal=f"{int(equal.sum()):,} of {count:,} windows of {len(chosen):,} questions.",
        note=f"A window has {mean:.0f} tokens on average: padding to {MAX_LENGTH} is "
        f"{MAX_LENGTH / mean:.2f} times the tokens.",
    )


def same_steps(bench: Bench, threads: int, count: int = 20, batch: int = 8) -> Iterator[Row]:
    """The same batches from the same weights without dropout: the same loss at every step?"""
    by = recipe(batch_size=batch, lr=2e-4, epochs=1)
    pool = examples(bench.data, 3 * count * batch)
    whole = features(bench, pool, by)
    alone = np.flatnonzero(np.bincount(whole.sources, minlength=len(pool)) == 1)
    chosen = [pool[at] for at in alone[: count * batch]]
    base = bench.work / "steady" / bench.base.name
    seed = 0
    if not base.is_dir():
        shutil.copytree(bench.base, base)
        path = base / "config.json"
        off = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
        path.write_text(json.dumps({**json.loads(path.read_text()), **off}))
    card = own_card(chosen, base.parent)
    # The order that our training takes them in, and the head that it begins with.
    encoder, tokenizer = load_encoder(resolve(str(base)), dtype="float32", device="cpu")
    ours = encode("span", chosen, Codec(tokenizer, encoder, by))
    share = Share("ordered", ours.lengths, batch, by.epochs, len(ours))
    schedule = make_schedule([share], seed=seed, max_steps=None)
    order = [int(row) for step in schedule for row in step.rows]
    heads, pad = [HeadSpec("ordered", "span")], pad_id(tokenizer)
    model: Any = make_model(encoder, heads, {}, pad=pad, seed=seed)
    first = base.parent / "first"
    model.tasks["ordered"].save_pretrained(first)
    for name in TOKENIZER_FILES:
        if (base / name).is_file():
            shutil.copyfile(base / name, first / name)
    file = flat_spans([chosen[at] for at in order], base.parent / "ordered/train.json")
    given = ("-i", card, "--data", str(base.parent), "--epochs", "1")
    left = bench.run("steady/ours", bench.ours(base, seed, by, *given), threads)
    losses = [step["loss"] for step in left["steps"]]
    # run_qa's loss is over all positions of a row, padding too: at first it is the logarithm of
    # the width. So the exact comparison is with run_qa that pads as we do.
    for name, padding in (("unpadded", "false"), ("padded", "true")):
        argv = bench.theirs(
            first, file, seed, by, count,
            "--train_sampling_strategy", "sequential", "--pad_to_max_length", padding,
        )  # fmt: skip
        right = bench.run(f"steady/{name}", argv, threads)
        other = [step["loss"] for step in right["steps"]]
        if [s["tokens"] for s in left["steps"]] != [s["tokens"] for s in right["steps"]]:
            raise SystemExit("the two sides did not have the same batches")
        ratios = tuple(a / b for a, b in zip(losses, other, strict=True))
        yield same_steps_row(losses, other, ratios, name == "padded")


def same_steps_row(
    ours: Sequence[float], theirs: Sequence[float], ratios: tuple[float, ...], padded: bool
) -> Row:
    """What two loss curves on the same batches say."""
    apart, half = [abs(ratio - 1) for ratio in ratios], len(ratios) // 2
    alike = f"{len(ours)} steps on the same batches, from the same head, without dropout. "
    if padded:
        return Row(
            name="loss step for step, run_qa's default padding",
            ours="xharness train",
            theirs="run_qa --pad_to_max_length true",
            meaning="ours ÷ theirs, step by step",
            ratio=ratios,
            equal=f"{alike}From {theirs[0]:.4f} to {theirs[-1]:.4f}: apart by "
            f"{statistics.mean(apart[:half]):.1%} of the loss in the first half of the steps, by "
            f"{statistics.mean(apart[half:]):.1%} in the second.",
            note=f"run_qa's loss is over all positions of a row, padding too: it begins at ln "
            f"{MAX_LENGTH} = {np.log(MAX_LENGTH):.2f}, ours at the logarithm of a batch's longest "
            "window. Once it is learnt that padding holds no answer, it matters ever less.",
        )
    return Row(
        name="loss step for step",
        ours="xharness train",
        theirs="run_qa --pad_to_max_length false",
        meaning="ours ÷ theirs, step by step",
        ratio=ratios,
        target=1.0,
        equal=f"{alike}From {ours[0]:.4f} to {ours[-1]:.4f}; apart by at most {max(apart):.1e} of "
        f"the loss, at the first step by {apart[0]:.1e}.",
        note="run_qa gets its file in the order of our schedule.",
    )


def same_curve(
    bench: Bench, threads: int, seeds: Sequence[int], most: int, batch: int = 8
) -> Iterator[Row]:
    """With dropout and each side's own shuffling: is the loss curve the same within the seeds?

    Our batches are of windows of like length. run_qa's are not unless it is told to, so it is asked
    both ways.
    """
    by = recipe(batch_size=batch, lr=2e-4, epochs=1)
    chosen = examples(bench.data, most)
    total = -(-len(features(bench, chosen, by)) // batch)
    file = flat_spans(chosen, bench.work / "curve/train.json")

    def trained(side: str, argv: Callable[[int], Any]) -> tuple[Any, list[float]]:
        """Loss in tens of steps, float64[seeds, tens], and F1 afterwards in percent."""
        curves, f1 = [], []
        for seed in seeds:
            run = bench.run(f"curve/{side}-{seed}", argv(seed), threads)
            curves.append(binned([step["loss"] for step in run["steps"]]))
            left = bench.answering(Path(run["folder"]) / "out", "en", 100)
            asked = bench.run(f"curve/{side}-{seed}-f1", left, threads)
            f1.append(100 * statistics.mean(row["f1"] for row in answers(asked)))
        return np.array(curves), f1

    def lengths_of(side: str) -> str:
        """Tokens of a window by tens of steps, over the seeds."""
        runs = [bench.run(f"curve/{side}-{seed}", list, threads)["steps"] for seed in seeds]
        each = [binned([step["tokens"] / step["rows"] for step in steps]) for steps in runs]
        return ", ".join(f"{tokens:.0f}" for tokens in np.mean(each, axis=0))

    given = ("--epochs", "1", "--max-examples", str(most))
    ours, our_f1 = trained("ours", lambda seed: bench.ours(bench.base, seed, by, *given))
    for side, strategy in (("grouped", "group_by_length"), ("theirs", "random")):
        options = ("--pad_to_max_length", "false", "--train_sampling_strategy", strategy)
        theirs, their_f1 = trained(
            side,
            lambda seed, options=options: bench.theirs(  # type: ignore[misc]
                bench.base, file, seed, by, total, *options
            ),
        )
        means = [curves.mean(axis=1) for curves in (ours, theirs)]
        tens = ", ".join(
            f"{mine:.2f} beside {other:.2f}"
            for mine, other in zip(ours.mean(axis=0), theirs.mean(axis=0), strict=True)
        )
        yield Row(
            name=f"loss curve, run_qa's batches {strategy.replace('_', ' ')}",
            ours="xharness train",
            theirs=f"run_qa {' '.join(options)}",
            meaning="mean loss, ours ÷ theirs, seed by seed",
            ratio=tuple(float(a / b) for a, b in zip(*means, strict=True)),
            equal=f"{total} steps of {batch} windows, {len(seeds)} seeds a side, lr 2e-4, warm-up "
            f"and linear decay, dropout, each side's own order: mean loss {spread(means[0])} "
            f"beside {spread(means[1])} (standard deviation over seeds); by tens of steps {tens}. "
            f"Our mean lies within the range of run_qa's seeds in {inside(ours, theirs)} of "
            f"{ours.shape[1]} tens; exact permutation test of the curves over seeds: p = "
            f"{permuted(ours, theirs):.2f} (no less than {least(len(seeds)):.2f} is possible). "
            f"F1 afterwards, on XQuAD's first 100 English questions: {spread(our_f1)} beside "
            f"{spread(their_f1)}, p = {permuted(column(our_f1), column(their_f1)):.2f}.",
            note=f"One epoch of {most} questions: enough for noise, too few for a reader. The tens "
            "of steps are not of windows of one length on all sides: ours have "
            f"{lengths_of('ours')} tokens on average, run_qa's {lengths_of(side)}.",
        )


def column(values: Sequence[float]) -> Any:
    """float64[seeds, 1]."""
    return np.array(values)[:, None]


def spread(values: Any) -> str:
    """Mean and standard deviation."""
    return f"{np.mean(values):.2f} ± {np.std(values, ddof=1):.2f}"


def speed(bench: Bench, threads: int, pairs: int, steps: int, batch: int) -> Row:
    """Seconds of the same number of steps over windows drawn from all examples."""
    by, chosen = recipe(batch_size=batch), examples(bench.data)
    file = flat_spans(chosen, bench.work / "all.json")
    took: dict[str, list[Json]] = {"ours": [], "theirs": []}

    def seconds(side: str) -> float:
        seed = len(took[side])
        argv = (
            bench.ours(bench.base, seed, by, "--max-steps", str(steps))
            if side == "ours"
            else bench.theirs(bench.base, file, seed, by, steps)
        )
        run = bench.at_rest(f"speed/{side}-{seed}", argv, threads)
        took[side].append(run)
        return float(sum(step["seconds"] for step in run["steps"]))

    found = in_turn_seconds(lambda: seconds("ours"), lambda: seconds("theirs"), runs=pairs, warm=0)
    tokens = [sum(step["tokens"] for step in run["steps"]) for run in took["ours"]]
    every = [step for run in took["ours"] for step in run["steps"]]
    cells = sum(step["rows"] * step["width"] for step in every)
    mean = sum(tokens) / sum(step["rows"] for step in every)
    lengths = features(bench, chosen, by).lengths  # of all windows
    flop = flop_per_token(bench.base, training=True)
    rate = bench.gemm()
    share = [n * flop / s / rate for n, s in zip(tokens, found.ours, strict=True)]
    return found.row(
        name="training, float32",
        ours="xharness train",
        theirs="run_qa --do_train",
        target=1.5,
        equal=f"{steps} steps of {batch} windows a run on {threads} threads, drawn from the same "
        f"examples; another seed each pair.",
        limit=f"Windows have {mean:.0f} tokens on average, so padding to {MAX_LENGTH} is "
        f"{MAX_LENGTH / mean:.2f} times the tokens; of what we compute "
        f"{1 - sum(tokens) / cells:.1%} is padding ({wasted(by, lengths):.1%} in a whole epoch, "
        f"whose batches are sorted in larger pools). The real tokens' {flop / 1e6:.0f} MFLOP each "
        f"(forward and backward, attention scores left out) are {statistics.median(share):.0%} "
        "of the rate of a bare matrix product.",
        note="Seconds within the steps as both Trainers tell them (forward, backward, optimiser); "
        "loading, tokenising, fetching a batch and saving are left out.",
    )


def wasted(by: Recipe, lengths: Any) -> float:
    """The share of padding in the batches of a whole epoch."""
    share = Share(CARD, lengths, by.batch_size, 1.0, len(lengths))
    batches = [lengths[step.rows] for step in make_schedule([share], seed=0, max_steps=None)]
    return float(1 - lengths.sum() / sum(len(batch) * batch.max() for batch in batches))


def reading(
    bench: Bench, threads: int, pairs: int, languages: Sequence[str], most: int
) -> Iterator[Row]:
    """Own-head question answering, language by language."""
    assert bench.reader is not None
    model, tokenizer = load_reader(resolve(str(bench.reader)), dtype="float32", device="cpu")
    for lang in languages:
        asked = xquad(bench.data, lang)[:most]
        file = flat(asked, bench.work / f"eval/{lang}.json")
        shape = window_shape(model, tokenizer, max_length=384, question_length=64, stride=128)
        questions = cut_questions(tokenizer, [one["question"] for one in asked], shape)
        made = make_windows(
            tokenizer, list(zip(questions, (one["context"] for one in asked), strict=True)), shape
        )
        mean = float(made.lengths.mean())
        runs: dict[str, list[Json]] = {"ours": [], "theirs": []}
        theirs = bench.script(
            "--do_eval", "--model_name_or_path", str(bench.reader), "--validation_file", str(file),
            "--overwrite_cache", "true",
        )  # fmt: skip

        ours = bench.answering(bench.reader, lang, most)

        def seconds(side: str, argv: Any, lang: str = lang, runs: Any = runs) -> float:
            run = bench.at_rest(f"eval/{lang}-{side}-{len(runs[side])}", argv, threads)
            runs[side].append(run)
            return float(run["wall"])

        whole = in_turn_seconds(
            lambda seconds=seconds, ours=ours: seconds("ours", ours),
            lambda seconds=seconds, theirs=theirs: seconds("theirs", theirs),
            runs=pairs,
            warm=0,
        )
        forward = Pairs(*(tuple(run["forward"]["seconds"] for run in runs[side]) for side in runs))
        rows = answers(runs["ours"][-1])
        mine = {row["example_id"]: row["prediction"] for row in rows}
        out = Path(runs["theirs"][-1]["folder"]) / "out"
        other = json.loads((out / "eval_predictions.json").read_text())
        scores = json.loads((out / "eval_results.json").read_text())
        differ = [key for key in other if mine.get(key) != other[key]]
        f1 = 100 * statistics.mean(row["f1"] for row in rows)
        target = 0.95 * MAX_LENGTH / mean
        flop, rate = flop_per_token(bench.reader, training=False), bench.gemm()
        tokens = int(made.lengths.sum())
        share = statistics.median(tokens * flop / took / rate for took in forward.ours)
        equal = (
            f"{len(other) - len(differ)} of {len(other)} answers are the same text; F1 {f1:.2f} "
            f"beside {scores['eval_f1']:.2f}."
        )
        for name, pair, goal, told in (
            (
                "forward",
                forward,
                target,
                "Seconds within the model's forward. The target is 0.95 of the tokens that padding"
                " adds.",
            ),
            ("whole process", whole, None, "Imports, loading and tokenising included."),
        ):
            yield pair.row(
                name=f"XQuAD {lang}, {name}",
                ours="xharness eval",
                theirs="run_qa --do_eval",
                target=goal,
                equal=equal if name == "forward" else "",
                limit=f"{len(made.lengths)} windows of {mean:.0f} tokens on average: padding to "
                f"{MAX_LENGTH} is {MAX_LENGTH / mean:.2f} times the tokens. The real tokens' "
                f"{flop / 1e6:.0f} MFLOP each are {share:.0%} of the rate of a bare matrix product."
                if name == "forward"
                else "",
                note=told,
            )
        for key in differ:
            print(f"{lang} {key}: {mine.get(key)!r} beside {other[key]!r}", file=sys.stderr)


def main() -> None:
    """Measure the parts asked for, and keep their rows beside those of other parts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("base", type=Path, metavar="BASE")
    parser.add_argument("--run-qa", type=Path, required=True, metavar="DIR")
    parser.add_argument("--data", type=Path, required=True, metavar="DIR")
    parser.add_argument("--reader", type=Path, metavar="MODEL")
    parser.add_argument("--work", type=Path, default=Path("bench_run_qa"), metavar="DIR")
    parser.add_argument("--part", action="append", choices=PARTS)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--seeds", type=int, default=4)
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--questions", type=int, default=320, help="of the loss curves")
    parser.add_argument("--limit", type=int, default=100, help="questions of a language")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--note", default="", help="what must be known to read the rows")
    chosen = parser.parse_args()
    bench = Bench(
        chosen.base.resolve(),
        chosen.reader.resolve() if chosen.reader else None,
        chosen.run_qa.resolve(),
        chosen.data.resolve(),
        chosen.work.resolve(),
    )
    rows: list[Row] = []
    for part in chosen.part or PARTS:
        if part == "features":
            rows.append(same_features(bench, chosen.threads))
        elif part == "steps":
            rows += same_steps(bench, chosen.threads)
        elif part == "same":
            rows += same_curve(bench, chosen.threads, range(chosen.seeds), chosen.questions)
        elif part == "speed":
            rows.append(speed(bench, chosen.threads, chosen.pairs, chosen.steps, chosen.batch_size))
        elif bench.reader is not None:
            rows += reading(bench, chosen.threads, chosen.pairs, LANGUAGES, chosen.limit)
    if chosen.note:
        rows = [replace(row, note=f"{row.note} {chosen.note}".strip()) for row in rows]
    for row in rows:
        print(show(row))
    how = "python benchmarks/bench_run_qa.py --run-qa DIR --data DIR --reader MODEL BASE"
    title = "Training and question answering beside transformers' run_qa"
    packages = ("transformers", "torch", "datasets")
    print(save("run_qa", title, how, rows, packages, keep=chosen.part is not None))


if __name__ == "__main__":
    main()
