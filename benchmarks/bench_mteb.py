"""Retrieval beside MTEB with sentence-transformers, and how near the encoder is to the machine.

    python benchmarks/bench_mteb.py MODEL --data DIR

MODEL is a sentence-transformers folder, DIR the data in the official layout. Run it in an
environment that has ``requirements.txt`` beside xharness. Both sides take the same files, model,
lengths and dtype (float32), and pool as the model declares (protocol ``native``). ``--part`` runs
one part alone and keeps the rows of the others. ``tatoeba-36`` and ``lareqa-whole`` are XTREME's 36
languages of Tatoeba, three times, and the whole of LAReQA, once.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import paired
import peer_mteb
from curves import line
from limits import MOST, Model, best_forward
from portions import lareqa_part, parts_of_files, tatoeba_part

import harness
from harness.cards.task import read_card, read_suites
from harness.data.examples import Retrieval
from harness.inference.batching import distinct

TARGET, OF_FORWARD = 1.3, 0.9
LANGUAGES = ("jv", "ml", "ar", "es")  # 2,892 pairs, padded by MTEB as the 36 languages are
CURVE = (1, 4, 16, 36, 112)
LINES, PARAGRAPHS, ALL = 60, 6, 240  # of every language, where the whole would take too long
CLOSE = 5e-4
ONE_PROCESS = " Both sides run in one process, so memory that is freed is kept for either."
# glibc's own setting, named, so that harness/memory.py leaves everything as it is.
UNCHANGED = {"GLIBC_TUNABLES": "glibc.malloc.check=0"}
PARTS = ("encode", "tatoeba", "tatoeba-36", "lareqa", "lareqa-whole", "own", "curve")


def fresh() -> Path:
    """A new empty folder, removed with the others at the end."""
    return Path(tempfile.mkdtemp(dir=TEMPORARY))


TEMPORARY = tempfile.mkdtemp(prefix="bench-mteb-")


def evaluate(model: Path, data: Path, task: str, languages: Sequence[str], **options: Any) -> Any:
    """Our side: a whole evaluation, the checkpoint's loading included, nothing kept before."""
    options = {"cache_dir": fresh(), "out": fresh(), "protocol": "native", **options}
    with parts_of_files():
        return harness.evaluate(model, [task], languages=languages, data=data, **options).to_arrow()


class Timed:
    """Both sides of a comparison in turn, and how near ours comes to the limit each time."""

    def __init__(self, work: float) -> None:
        self.work = work  # FLOP of the distinct texts' real tokens
        self.shares: list[float] = []
        self.rates: list[float] = []

    def ours(self, call: Callable[[], Any]) -> float:
        limit = paired.gemm_rate()
        spent = paired.seconds(call)
        self.rates.append(self.work / spent)
        self.shares.append(self.work / spent / limit)
        return spent

    def limit(self) -> str:
        rate = statistics.median(self.rates) / 1e9
        return (
            f"xharness does {rate:.0f} GFLOP/s of real tokens in all, "
            f"{statistics.median(self.shares):.0%} of the machine's matrix product."
        )


def encode(model: Path, data: Path, runs: int) -> list[paired.Row]:
    """Encoding alone."""
    candidates = distinct(lareqa_part(data, fresh(), ALL).candidates)[0]
    samples = {
        "Tatoeba": peer_mteb.sentences(data, LANGUAGES[:3]),
        # Of the batches that sentence-transformers forms of the whole pool, so that it pads no more
        # than it would there.
        "LAReQA's candidates": peer_mteb.every_batch(candidates, 40),
    }
    return [
        row for name, texts in samples.items() for row in encode_texts(model, name, texts, runs)
    ]


def encode_texts(model: Path, name: str, texts: list[str], runs: int) -> list[paired.Row]:
    """The texts by either side, and beside the model's own forward pass."""
    from sentence_transformers import SentenceTransformer

    ours, theirs = Model(model), SentenceTransformer(str(model), device="cpu")
    lengths = ours.lengths(texts)
    timed = Timed(ours.work(lengths))
    vectors: dict[str, Any] = {}
    bests: list[dict[str, float]] = []

    def our_side() -> float:
        bests.append(best_forward(ours))
        encoder = ours.encoder(fresh())
        return timed.ours(lambda: vectors.update(ours=encoder.encode(texts, role="document")))

    def their_side() -> float:
        return paired.seconds(
            lambda: vectors.update(theirs=theirs.encode(texts, show_progress_bar=False))
        )

    ours.encoder(fresh()).encode(texts[:64], role="document")
    theirs.encode(texts[:64])
    pairs = paired.in_turn_seconds(our_side, their_side, runs=runs, warm=0)
    apart = float(np.abs(vectors["ours"] - vectors["theirs"]).max())
    assert apart < 1e-5, f"{name}: vectors differ by {apart}"
    padded = peer_mteb.padded(lengths, texts).sum() / lengths.sum()
    by_shape = {shape: statistics.median(best[shape] for best in bests) for shape in bests[0]}
    shape = max(by_shape, key=lambda one: by_shape[one])
    return [
        pairs.row(
            name=f"Encode {name}",
            ours="`Encoder.encode`",
            theirs="`SentenceTransformer.encode`",
            target=TARGET,
            equal=f"{len(texts):,} distinct texts, {lengths.sum():,} tokens; the vectors differ by "
            f"at most {apart:.0e}.",
            limit=timed.limit(),
            note="sentence-transformers sorts by characters and takes 32 texts: it computes "
            f"{padded:.2f} tokens for each real one.{ONE_PROCESS}",
        ),
        paired.Row(
            name=f"Encode {name}: share of the model's own best forward pass",
            ours="real tokens of `Encoder.encode`",
            theirs=f"full batches of one length, best {shape}",
            meaning="of its FLOP/s",
            ratio=tuple(r / best[shape] for r, best in zip(timed.rates, bests, strict=True)),
            target=OF_FORWARD,
            limit=f"The best does {by_shape[shape] / 1e9:.0f} GFLOP/s.",
        ),
    ]


def tatoeba(
    model: Path, data: Path, languages: Sequence[str], runs: int, name: str
) -> list[paired.Row]:
    """A whole evaluation of Tatoeba."""
    ours = Model(model)
    texts = peer_mteb.sentences(data, languages)
    timed = Timed(ours.work(ours.lengths(texts)))
    found: dict[str, Any] = {}
    pairs = paired.in_turn_seconds(
        lambda: timed.ours(lambda: found.update(ours=evaluate(model, data, "tatoeba", languages))),
        lambda: paired.seconds(
            lambda: found.update(theirs=peer_mteb.tatoeba(model, data, languages))
        ),
        runs=runs,
        warm=0,
    )
    own = {
        (row["lang"], row["metric"]): row["value"]
        for row in found["ours"].to_pylist()
        if row["direction"] == f"{row['lang']}-en"
    }
    equal = []
    for metric, theirs in (("accuracy", "accuracy"), ("f1_mteb", "f1")):
        sides = [
            [own[lang, metric] for lang in languages],
            [found["theirs"][lang][theirs] for lang in languages],
        ]
        apart = max(abs(a - b) for a, b in zip(*sides, strict=True))
        assert apart < CLOSE, f"{metric}: {apart} apart"
        means = [statistics.mean(side) for side in sides]
        equal.append(f"mean {theirs} {means[0]:.4f} and {means[1]:.4f} (≤ {apart:.0e} apart)")
    return [
        pairs.row(
            name=name,
            ours="`harness.evaluate`, both directions",
            theirs="`mteb.evaluate`, language → English",
            target=TARGET,
            equal=f"{len(texts):,} distinct sentences; " + ", ".join(equal) + ".",
            limit=timed.limit(),
            note=ONE_PROCESS.strip() + (" Measured once." if runs == 1 else ""),
        )
    ]


def lareqa(model: Path, data: Path, runs: int, paragraphs: int) -> list[paired.Row]:
    """A whole evaluation of LAReQA's first paragraphs, in all languages."""
    folder = fresh()
    part = lareqa_part(data, folder, paragraphs)
    ours = Model(model)
    work = ours.work(ours.lengths(distinct(part.candidates)[0]))
    for found_queries in part.queries.values():
        work += ours.work(ours.lengths(distinct([q.text for q in found_queries])[0], 96))
    timed = Timed(work)
    languages = tuple(part.queries)
    padding = padded_share(ours, part)
    found: dict[str, Any] = {}
    pairs = paired.in_turn_seconds(
        lambda: timed.ours(lambda: found.update(ours=evaluate(model, folder, "lareqa", languages))),
        lambda: paired.seconds(lambda: found.update(theirs=peer_mteb.lareqa(model, part))),
        runs=runs,
        warm=0,
    )
    equal = []
    for metric, theirs in (("recall@10", "recall_at_10"), ("map@20", "map_at_20")):
        values = [row["value"] for row in found["ours"].to_pylist() if row["metric"] == metric]
        mine, other = statistics.mean(values), found["theirs"][theirs]
        assert abs(mine - other) < CLOSE, f"{metric}: {mine} and {other}"
        equal.append(f"{metric} {mine:.4f} and {other:.4f}")
    questions = sum(len(some) for some in part.queries.values())
    return [
        pairs.row(
            name="Evaluate LAReQA"
            + (f", {paragraphs} of its {ALL} paragraphs" if paragraphs < ALL else ""),
            ours="`harness.evaluate`",
            theirs="`mteb.evaluate`, a retrieval task of the same files",
            target=TARGET,
            equal=f"{questions:,} questions, {len(part.candidates):,} candidates; "
            + ", ".join(equal)
            + ".",
            limit=timed.limit(),
            note="The fewer texts, the more sentence-transformers pads: it computes "
            f"{padding:.2f} times the FLOP of the real tokens here."
            + ONE_PROCESS
            + (" Measured once." if runs == 1 else ""),
        )
    ]


def padded_share(ours: Model, part: Retrieval) -> float:
    """FLOP that sentence-transformers computes for each of the distinct texts' real tokens."""
    questions = [query.text for found in part.queries.values() for query in found]
    computed = real = 0.0
    for texts, most in ((list(part.candidates), MOST), (questions, 96)):
        computed += ours.work(peer_mteb.padded(ours.lengths(texts, most), texts))
        real += ours.work(ours.lengths(distinct(texts)[0], most))
    return computed / real


def freed(model: Path, data: Path, runs: int) -> paired.Row:
    """What is gained by keeping the memory that a layer frees, in processes of their own."""
    candidates = distinct(lareqa_part(data, fresh(), ALL).candidates)[0]
    texts = fresh() / "texts.json"
    texts.write_text(json.dumps(peer_mteb.every_batch(candidates, 40)))
    script = Path(__file__).with_name("encode_once.py")

    def once(**changed: str) -> float:
        done = subprocess.run(
            [sys.executable, str(script), str(model), str(texts)],
            env=os.environ | changed, stdout=subprocess.PIPE, text=True, check=True,
        )  # fmt: skip
        return float(done.stdout)

    pairs = paired.in_turn_seconds(once, lambda: once(**UNCHANGED), runs=runs, warm=0)
    return pairs.row(
        name="Freed memory kept between layers",
        ours="`Encoder.encode` on LAReQA's candidates",
        theirs="the same, with glibc as it is",
    )


def own_rows(model: Path, data: Path, runs: int) -> list[paired.Row]:
    """What is compared with ourselves: freed memory, the cut at a middle layer, a warm store."""
    languages = LANGUAGES[:3]
    cut = paired.in_turn(
        lambda: evaluate(model, data, "tatoeba", languages, protocol="standard"),
        lambda: evaluate(model, data, "tatoeba", languages),
        runs=runs,
    )
    cold, warm = [], []
    for _ in range(runs):
        cache = fresh()
        for kept in (cold, warm):
            kept.append(
                paired.seconds(
                    lambda cache=cache: evaluate(  # type: ignore[misc]
                        model, data, "tatoeba", languages, cache_dir=cache
                    )
                )
            )
    return [
        freed(model, data, runs),
        cut.row(
            name="The standard protocol's cut at a middle layer",
            ours="protocol `standard`",
            theirs="protocol `native`",
            note="Five of MiniLM's six layers, so at most 1.2; eight of twelve would be 1.5. It is "
            "in no other row here.",
        ),
        paired.Row(
            name="A second run with its vectors in the store",
            ours="warm store, new outcome folder",
            theirs="empty store",
            meaning="times as fast",
            ratio=tuple(c / w for c, w in zip(cold, warm, strict=True)),
            ours_seconds=tuple(warm),
            theirs_seconds=tuple(cold),
        ),
        paired.Row(
            name="bfloat16",
            ours="xharness",
            theirs="MTEB",
            meaning="",
            ratio=(),
            target=4.0,
            note="Not measurable here: the machine's product of matrices 512 square runs at "
            + " and ".join(
                f"{paired.gemm_rate(kind, 512) / 1e9:.0f} GFLOP/s in {kind}"
                for kind in ("bfloat16", "float32")
            )
            + ".",
        ),
    ]


def curve(model: Path, data: Path, runs: int) -> list[paired.Row]:
    """What a language more costs: seconds against distinct tokens."""
    ours = Model(model)
    languages = read_card("tatoeba").languages
    folder = fresh()
    tatoeba_part(data, folder, languages, LINES)
    evaluate(model, folder, "tatoeba", languages[:1])
    taken: dict[int, list[float]] = {count: [] for count in CURVE}
    tokens: dict[int, int] = {}
    about: dict[int, int] = {}
    for count in CURVE:
        texts = peer_mteb.sentences(folder, languages[:count])
        about[count], tokens[count] = len(texts), int(ours.lengths(texts).sum())
    for _ in range(runs):
        for count in CURVE:
            taken[count].append(
                paired.seconds(
                    lambda count=count: evaluate(  # type: ignore[misc]
                        model, folder, "tatoeba", languages[:count]
                    )
                )
            )
    last = CURVE[-1]
    rows = []
    for count in CURVE:
        each = [spent / tokens[count] * 1e6 for spent in taken[count]]
        whole = [spent / tokens[last] * 1e6 for spent in taken[last]]
        rows.append(
            paired.Row(
                name=f"Tatoeba, {count} language{'s' if count > 1 else ''} of {LINES} pairs",
                ours=f"{statistics.median(each):.0f} µs a token",
                theirs=f"{statistics.median(whole):.0f} µs a token with {last} languages",
                meaning="of the cost per distinct token",
                ratio=tuple(one / other for one, other in zip(each, whole, strict=True)),
                ours_seconds=tuple(taken[count]),
                equal=f"{about[count]:,} distinct sentences, {tokens[count]:,} distinct tokens.",
            )
        )
    return [*rows, straight(tokens, {n: statistics.median(spent) for n, spent in taken.items()})]


def straight(tokens: Mapping[int, int], seconds: Mapping[int, float]) -> paired.Row:
    """Seconds beside a fixed part and a part in proportion to the distinct tokens."""
    counts = list(tokens)
    sizes, taken = [tokens[n] for n in counts], [seconds[n] for n in counts]
    fixed, each = line(sizes, taken)
    return paired.Row(
        name=f"Tatoeba, {counts[0]} to {counts[-1]} languages: seconds against distinct tokens",
        ours="measured",
        theirs="fixed part + seconds a token × distinct tokens",
        meaning="of the straight line, one figure a number of languages",
        ratio=tuple(t / (fixed + each * size) for t, size in zip(taken, sizes, strict=True)),
        target=1.0,
        equal=f"The line: {fixed:.2f} s (the model is loaded, files are read) and "
        f"{each * 1e6:.0f} µs a token.",
    )


def main() -> None:
    """Measure, print and keep."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--runs", type=int, default=paired.RUNS)
    parser.add_argument("--part", action="append", choices=PARTS)
    given = parser.parse_args()
    model, data, runs = given.model, given.data, given.runs
    xtreme = read_suites()["xtreme"][0].languages or ()
    named = ", ".join(LANGUAGES)
    parts: dict[str, Callable[[], list[paired.Row]]] = {
        "encode": lambda: encode(model, data, runs),
        "tatoeba": lambda: tatoeba(model, data, LANGUAGES, runs, f"Evaluate Tatoeba in {named}"),
        "lareqa": lambda: lareqa(model, data, runs, PARAGRAPHS),
        "tatoeba-36": lambda: tatoeba(
            model, data, xtreme, min(runs, 3), "Evaluate Tatoeba in XTREME's 36"
        ),
        "lareqa-whole": lambda: lareqa(model, data, 1, ALL),
        "own": lambda: own_rows(model, data, runs),
        "curve": lambda: curve(model, data, 3),
    }
    for name in given.part or PARTS:
        started = time.perf_counter()
        rows = parts[name]()
        for row in rows:
            print(paired.show(row))
        print(f"({name}: {time.perf_counter() - started:.0f} s)", flush=True)
        paired.save(
            "mteb",
            "Retrieval beside MTEB",
            "python benchmarks/bench_mteb.py MODEL --data DIR",
            rows,
            ("torch", "transformers", "sentence-transformers", "mteb"),
            keep=True,
        )


if __name__ == "__main__":
    try:
        main()
    finally:
        import shutil

        shutil.rmtree(TEMPORARY, ignore_errors=True)
        sys.stdout.flush()
