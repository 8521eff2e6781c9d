"""What `export` writes of labels and tags, scored by a plain re-implementation of XTREME's script.

Written here after what the official script does (google-research/xtreme, evaluate.py: lines of one
label, and seqeval 0.0.12 over sentences that blank lines part), not after our metrics.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from itertools import groupby
from pathlib import Path

import pytest

from harness.cards.catalogue import read_card
from harness.data import layout
from harness.data.load import DataLocation
from harness.results.export import export
from tests.mini_xtreme import run_task

NLI = ("entailment", "neutral", "contradiction")
POS = ("NOUN", "VERB", "SCONJ", "CCONJ", "SYM", "INTJ", "PUNCT", "X")
NAMES = ("O", "O", "B-PER", "I-PER", "B-LOC", "I-LOC", "B-ORG", "I-ORG")
Sentences = list[list[str]]
Span = tuple[int, int, int, str]
Spans = Callable[[list[str], int], Iterator[Span]]


# The official script, in plain words


def lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines()


def share(found: list[str], gold: list[str]) -> float:
    assert len(found) == len(gold)
    return sum(map(str.__eq__, found, gold)) / len(gold)


def sentences(path: Path) -> Sentences:
    """The last field of every line, by sentence."""
    parted = groupby(lines(path), key=lambda line: bool(line.strip()))
    return [[line.split("\t")[-1] for line in part] for there, part in parted if there]


def pos_spans(tags: list[str], sentence: int) -> Iterator[Span]:
    """A run of one tag is a span; seqeval takes an S in front for a span of one word."""
    at = 0
    for tag, run in groupby(tags):
        size = len(list(run))
        if tag.startswith("S"):
            yield from ((sentence, at + step, at + step, tag) for step in range(size))
        else:
            yield (sentence, at, at + size - 1, tag)
        at += size


def name_spans(tags: list[str], sentence: int) -> Iterator[Span]:
    """A span begins at a B-, and at an I- that goes on from no word of its type."""
    begin, kind = 0, ""
    for at, tag in enumerate([*tags, "O"]):
        prefix, _, own = tag.partition("-")
        if kind and (prefix != "I" or own != kind):
            yield (sentence, begin, at - 1, kind)
            kind = ""
        if prefix in ("B", "I") and not kind:
            begin, kind = at, own


def f1(
    spans: Callable[[list[str], int], Iterator[Span]], found: Sentences, gold: Sentences
) -> float:
    one, other = (
        {span for number, tags in enumerate(side) for span in spans(tags, number)}
        for side in (found, gold)
    )
    return 2 * len(one & other) / (len(one) + len(other))


# Invented data in the official layout, and the comparison


def lay(folder: Path) -> None:
    draw = random.Random(8)
    texts = {
        "xnli/test-de.tsv": [f"P{n // 3}.\tH{n}.\t{draw.choice(NLI)}" for n in range(60)],
        "pawsx/test_2k.de.tsv": [f"A{n}.\tB{n}.\t{draw.choice('01')}" for n in range(60)],
        "xcopa/et/test.et.jsonl": [
            json.dumps(
                {"premise": f"P{n}", "choice1": f"A{n}", "choice2": f"B{n}", "question": "cause",
                 "label": draw.randrange(2), "idx": n}
            )
            for n in range(60)
        ],
    }  # fmt: skip
    for name, tags in (("udpos", POS), ("panx", NAMES)):
        texts[f"{name}/test-de.tsv"] = [
            line
            for sentence in range(40)
            for line in (
                *(f"w{sentence}.{at}\t{draw.choice(tags)}" for at in range(draw.randint(1, 9))),
                "",
            )
        ]
    for path, content in texts.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text("\n".join(content) + "\n", encoding="utf-8")


def official(task: str, exported: Path, data: Path) -> dict[str, float]:
    """The scores that the exported files have, as shares."""
    if task in ("xnli", "pawsx"):
        gold = data / ("xnli/test-de.tsv" if task == "xnli" else "pawsx/test_2k.de.tsv")
        wanted = [line.split("\t")[-1] for line in lines(gold)]
        return {"accuracy": share(lines(exported / f"{task}/test-de.tsv"), wanted)}
    if task == "xcopa":
        found, wanted = (
            [str(json.loads(line)["label"]) for line in lines(path)]
            for path in (exported / "xcopa/test-et.jsonl", data / "xcopa/et/test.et.jsonl")
        )
        return {"accuracy": share(found, wanted)}
    tagged = [sentences(side / f"{task}/test-de.tsv") for side in (exported, data)]
    words = [[tag for sentence in side for tag in sentence] for side in tagged]
    name, spans = ("f1_pos", pos_spans) if task == "udpos" else ("f1_span", name_spans)
    return {"accuracy": share(*words), name: f1(spans, *tagged)}


@pytest.mark.parametrize("task", ["xnli", "pawsx", "xcopa", "udpos", "panx"])
def test_an_export_has_the_score_of_its_run(
    task: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(layout, "read_checksums", dict)  # the files are invented
    lay(tmp_path / "data")
    lang = "et" if task == "xcopa" else "de"
    ours = run_task(read_card(task), [lang], tmp_path / "data", tmp_path / "run")[lang]
    location = DataLocation(tmp_path / "data", tmp_path / "cache", offline=True)
    export(tmp_path / "run", tmp_path / "exported", location=location)
    theirs = official(task, tmp_path / "exported", tmp_path / "data")
    assert all(0 < value < 1 for value in theirs.values())
    assert ours == pytest.approx(theirs, abs=1e-6)
