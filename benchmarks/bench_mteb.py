"""Retrieval beside MTEB with sentence-transformers, and how near the encoder is to the machine.

    python benchmarks/bench_mteb.py MODEL --data DIR

MODEL is a sentence-transformers folder, DIR the data in the official layout. Run it in an
environment that has ``requirements.txt`` beside xharness. Both sides take the same files, model,
lengths and dtype, and pool as the model declares (protocol ``native``); evaluations are whole
processes, imports and loading included.
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
from argparse import Namespace
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import paired
from paired import Row, commands_in_turn
from shapes import Model, flop

SIX = ("de", "es", "ar", "hi", "zh", "sw")
PARAGRAPHS = 2  # of LAReQA with --small
TARGETS = {"encode": 1.3, "forward": 0.9, "tatoeba": 1.6, "lareqa": 1.4, "bfloat16": 4.0}
CLOSE = {"float32": 5e-4, "bfloat16": 1e-3}  # scores, as shares
BATCH = 32  # sentence-transformers'
# Our metric and MTEB's name of the same.
METRICS = {
    "tatoeba": {"accuracy": "accuracy", "f1_mteb": "f1"},
    "lareqa": {"recall@10": "recall_at_10", "map@20": "map_at_20"},
}


def encode(given: Namespace) -> Iterator[Row]:
    """Encoding alone, in one process, beside sentence-transformers and the own forward pass."""
    from sentence_transformers import SentenceTransformer

    from harness.inference.batching import distinct

    ours, theirs = Model(given.model), SentenceTransformer(str(given.model), device="cpu")
    pool = distinct(lareqa_examples(given.data).candidates)[0]
    samples = {
        "Tatoeba's jv, ml and ar": sentences(given.data, ("jv", "ml", "ar")),
        # Of the batches that sentence-transformers forms of the whole pool, so that it pads no more
        # than it would there.
        "LAReQA's candidates": [pool[row] for batch in batches(pool)[::40] for row in batch],
    }
    for name, whole in samples.items():
        texts = whole[:64] if given.small else whole
        lengths, vectors = ours.lengths(texts), dict[str, Any]()
        bests: list[dict[str, float]] = []

        def our_side(texts: list[str] = texts, vectors: Any = vectors, bests: Any = bests) -> float:
            bests.append(ours.best_forward(0.01 if given.small else 0.15))
            with tempfile.TemporaryDirectory() as cache:
                encoder = ours.encoder(Path(cache))
                return paired.seconds(
                    lambda: vectors.update(ours=encoder.encode(texts, role="document"))
                )

        def their_side(texts: list[str] = texts, vectors: Any = vectors) -> float:
            return paired.seconds(
                lambda: vectors.update(theirs=theirs.encode(texts, show_progress_bar=False))
            )

        pairs = paired.in_turn_seconds(our_side, their_side, runs=given.runs)
        apart = float(np.abs(vectors["ours"] - vectors["theirs"]).max())
        assert apart < 1e-5, f"{name}: vectors differ by {apart}"
        best = [max(by_shape.values()) for by_shape in bests[1:]]
        work, padded = flop(given.model, lengths), padded_lengths(lengths, texts)
        yield pairs.row(
            f"Encode {name}",
            "`Encoder.encode`",
            "`SentenceTransformer.encode`",
            target=TARGETS["encode"],
            equal=f"{len(texts):,} distinct texts, {lengths.sum():,} tokens; vectors differ by at "
            f"most {apart:.0e}.",
            note=f"sentence-transformers computes {padded.sum() / lengths.sum():.2f} tokens for "
            "each real one.",
        )
        yield Row(
            f"Encode {name}: share of the model's own best forward pass",
            "real tokens of `Encoder.encode`",
            "full batches of one length, the best shape",
            "of its FLOP/s",
            tuple(work / took / top for took, top in zip(pairs.ours, best, strict=True)),
            target=TARGETS["forward"],
        )


def tatoeba(
    given: Namespace, languages: Sequence[str], name: str, dtype: str = "float32"
) -> Iterator[Row]:
    """A whole evaluation of Tatoeba: ours in both directions, MTEB's from the language."""
    if given.small:
        languages = languages[-1:]
    facts = {
        "data": str(given.data), "languages": list(languages), "dtype": dtype,
        "codes": {lang: code(lang) for lang in languages}, "protocol": "native",
    }  # fmt: skip
    yield beside(
        given, "tatoeba", facts, name,
        f"{len(sentences(given.data, languages)):,} distinct sentences",
        "`harness.evaluate`, both directions", "`mteb.evaluate`, language → English",
        TARGETS["tatoeba" if dtype == "float32" else dtype],
    )  # fmt: skip


def thirty_six(given: Namespace) -> Iterable[Row]:
    """XTREME's languages."""
    from harness.cards.catalogue import read_suites

    languages = read_suites()["xtreme"][0].languages or ()
    return tatoeba(given, languages, "Evaluate Tatoeba in XTREME's 36")


def lareqa(given: Namespace) -> Iterator[Row]:
    """A whole evaluation of LAReQA, in all its languages."""
    with tempfile.TemporaryDirectory() as work:
        data = first_paragraphs(given.data, Path(work)) if given.small else given.data
        part = lareqa_examples(data)
        asked = {f"{lang}:{one.id}": one for lang, some in part.queries.items() for one in some}
        ids = part.candidate_ids
        texts = {
            "corpus": {"id": list(ids), "text": list(part.candidates)},
            "queries": {"id": list(asked), "text": [one.text for one in asked.values()]},
            "relevant_docs": {
                name: {ids[row]: 1 for row in one.relevant} for name, one in asked.items()
            },
        }
        file = Path(work) / "texts.json"
        file.write_text(json.dumps(texts, ensure_ascii=False), encoding="utf-8")
        facts = {
            "data": str(data), "languages": list(part.queries), "dtype": "float32",
            "texts": str(file), "protocol": "native",
        }  # fmt: skip
        yield beside(
            given, "lareqa", facts, "Evaluate LAReQA",
            f"{len(asked):,} questions, {len(ids):,} candidates",
            "`harness.evaluate`", "`mteb.evaluate`, a retrieval task of the same files",
            TARGETS["lareqa"],
        )  # fmt: skip


def beside(
    given: Namespace,
    task: str,
    facts: dict[str, Any],
    name: str,
    what: str,
    ours: str,
    theirs: str,
    target: float,
) -> Row:
    """Both sides as whole processes, with the scores of the last run of each."""
    with tempfile.TemporaryDirectory() as work:
        file = Path(work) / "given.json"
        file.write_text(json.dumps(facts), encoding="utf-8")
        script = str(Path(__file__).with_name("retrieval_sides.py"))
        outs = {side: Path(work) / f"{side}.json" for side in ("ours", "theirs")}
        sides = [
            [sys.executable, script, side, task, str(given.model), str(file), str(out)]
            for side, out in outs.items()
        ]
        pairs, used = commands_in_turn(*sides, runs=given.runs, warm=0)
        own, other = (json.loads(out.read_text()) for out in outs.values())
    equal, close = [], CLOSE[facts["dtype"]]
    for metric, their_name in METRICS[task].items():
        mine = [own[lang][metric] for lang in facts["languages"]]
        if task == "tatoeba":
            each = [other[lang][their_name] for lang in facts["languages"]]
            apart = max(abs(a - b) for a, b in zip(mine, each, strict=True))
        else:
            each = [other[their_name]]
            apart = abs(statistics.mean(mine) - each[0])
        assert apart < close, f"{metric}: {apart} apart"
        means = statistics.mean(mine), statistics.mean(each)
        equal.append(f"mean {metric} {means[0]:.4f} and {means[1]:.4f} (≤ {apart:.0e} apart)")
    peaks = [statistics.median(one[side].peak for one in used) / 2**30 for side in (0, 1)]
    return pairs.row(
        name,
        ours,
        theirs,
        target=target,
        equal=f"{what}; {', '.join(equal)}.",
        note=f"Largest resident set {peaks[0]:.2f} and {peaks[1]:.2f} GiB.",
    )


def bfloat16(given: Namespace) -> Iterable[Row]:
    """The six languages in bfloat16, where the processor has units for it."""
    name = "Evaluate Tatoeba in bfloat16"
    if "bf16" in paired.machine(()):
        return tatoeba(given, SIX, name, "bfloat16")
    note = "This processor has no units for it."
    return [Row(name, "xharness", "MTEB", "", (), target=TARGETS["bfloat16"], note=note)]


def lareqa_examples(data: Path) -> Any:
    """The pool and the questions, of whole files or of parts."""
    from unittest.mock import patch

    from harness.cards.catalogue import read_card
    from harness.data.layout import DataLocation
    from harness.data.load import load

    card = read_card("lareqa")
    with patch("harness.data.folder.verified", lambda path, *_: path.name):
        location = DataLocation(data=data, cache=data)
        return load(card, "test", tuple(card.languages), location).examples


def first_paragraphs(data: Path, out: Path) -> Path:
    """Each language's first paragraphs as one article, in the official layout."""
    from harness.cards.catalogue import read_card
    from harness.data.layout import data_files

    card = read_card("lareqa")
    for piece in data_files(card, "test", tuple(card.languages)):
        whole = json.loads((data / piece.path).read_text(encoding="utf-8"))
        every = [paragraph for article in whole["data"] for paragraph in article["paragraphs"]]
        whole["data"] = [{"paragraphs": every[:PARAGRAPHS]}]
        (out / piece.path).parent.mkdir(parents=True, exist_ok=True)
        (out / piece.path).write_text(json.dumps(whole, ensure_ascii=False), encoding="utf-8")
    return out


def sentences(data: Path, languages: Sequence[str]) -> list[str]:
    """The distinct sentences of some languages and of their English sides."""
    found: dict[str, None] = {}
    for lang in map(code, languages):
        for side in (lang, "eng"):
            path = data / f"tatoeba/tatoeba.{lang}-eng.{side}"
            found |= dict.fromkeys(path.read_text(encoding="utf-8").splitlines())
    return list(found)


def code(lang: str) -> str:
    """A language in the names of Tatoeba's files."""
    from harness.cards.catalogue import read_card

    return read_card("tatoeba").source.codes.get(lang, lang)


def padded_lengths(lengths: npt.NDArray[np.int64], texts: Sequence[str]) -> Any:
    """The length to which sentence-transformers pads each text, int64[texts]."""
    found = np.empty_like(lengths)
    for batch in batches(texts):
        found[batch] = lengths[batch].max()
    return found


def batches(texts: Sequence[str]) -> list[npt.NDArray[np.int64]]:
    """Its batches: 32 texts each in order of characters, the longest first."""
    order = np.argsort([-len(text) for text in texts], kind="stable")
    return [order[start : start + BATCH] for start in range(0, len(order), BATCH)]


PARTS: dict[str, Callable[[Namespace], Iterable[Row]]] = {
    "encode": encode,
    "tatoeba": lambda given: tatoeba(given, SIX, f"Evaluate Tatoeba in {', '.join(SIX)}"),
    "tatoeba-36": thirty_six,
    "lareqa": lareqa,
    "bfloat16": bfloat16,
}
BENCHMARK = paired.Benchmark(
    "mteb",
    "Retrieval beside MTEB",
    "python benchmarks/bench_mteb.py MODEL --data DIR",
    ("torch", "transformers", "sentence-transformers", "mteb"),
    ("harness/checkpoint", "harness/data", "harness/evaluation", "harness/inference",
     "harness/kinds"),
    PARTS,
    {"model": paired.MODEL, "--data": {"required": True, **paired.FOLDER}},
)  # fmt: skip

if __name__ == "__main__":
    sys.exit(paired.run(BENCHMARK))
