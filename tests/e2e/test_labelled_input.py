"""Wrong data of classification, multiple choice and tagging, through the real command: one line."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from harness.cards.catalogue import read_card
from harness.cards.languages import task_root
from tests.checkpoints import build_head
from tests.e2e.conftest import Run
from tests.e2e.test_bad_input import one_line

TAGS = tuple(read_card("udpos").labels)
PAWSX, XNLI = ("different", "paraphrase"), ("entailment", "neutral", "contradiction")
HEADS = {"classification": XNLI, "multiple_choice": (), "tagging": TAGS}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Checkpoints with a trained head of every kind, and a two-way one."""
    folder = tmp_path_factory.mktemp("heads")
    made = {kind: build_head(folder / kind, kind, names) for kind, names in HEADS.items()}
    return {**made, "two-way": build_head(folder / "two", "classification", PAWSX)}


def dilemma(idx: int, **changes: object) -> str:
    row = {"premise": "It rained.", "choice1": "Wet.", "choice2": "Dry.", "question": "effect",
           "label": 0, "idx": idx}  # fmt: skip
    return json.dumps({key: one for key, one in {**row, **changes}.items() if one is not None})


LONG = "x" * 500  # as many tokens: each letter is one
# task, model, content, exit, what the error says; what is right is measured.
CASES = [
    ("xnli", "classification", "A.\tB.\tneutral", 0, ""),
    ("xnli", "classification", "A.\tB.\tmaybe", 6, "label 'maybe' is not one"),
    ("xnli", "two-way", "A.\tB.\tneutral", 4, "its head has the 2 labels"),
    ("pawsx", "classification", "A\tB\t1", 4, "its head has the 3 labels"),
    ("pawsx", "two-way", "A\tB\t2", 6, "label '2' is not one of 0, 1"),
    ("pawsx", "two-way", "5\tA\tB\t1\n5\tC\tD\t0", 6, "id 5 given twice"),
    ("xcopa", "multiple_choice", dilemma(0), 0, ""),
    ("xcopa", "multiple_choice", dilemma(0, choice2=None), 6, "choice2"),
    ("xcopa", "multiple_choice", f"{dilemma(3)}\n{dilemma(3)}", 6,
     "idx 3 given twice"),
    ("udpos", "tagging", f"Das\tDET\n{LONG}\tX\n\nJa\tINTJ", 0, ""),
    ("udpos", "tagging", "Ja\tINTJ\nDas", 6, ":2: not a word, a tab and"),
    ("udpos", "tagging", "\tDET", 6, ":1: not a word, a tab and a tag"),
    ("udpos", "tagging", "D\tas\tDET", 6, ":1: not a word, a tab and a tag"),
    ("udpos", "tagging", "Das\tARTICLE", 6, "label 'ARTICLE' is not one of"),
]  # fmt: skip


@pytest.mark.parametrize(("task", "model", "text", "code", "said"), CASES)
def test_wrong_data_is_one_line(
    task: str,
    model: str,
    text: str,
    code: int,
    said: str,
    models: dict[str, Path],
    run: Run,
    tmp_path: Path,
) -> None:
    lang = "it" if task == "xcopa" else "de"
    text_file = tmp_path / "data" / f"mine-{lang}.txt"
    text_file.parent.mkdir()
    text_file.write_text(f"{text}\n", encoding="utf-8")
    # A card of one's own: the published files have to have their checksums.
    card = (task_root() / "target" / f"{task}.yaml").read_text(encoding="utf-8")
    role = "tokens" if task == "udpos" else "rows"
    card = card[: card.index("\nsource:")].replace(f"name: {task}", f"name: my_{task}")
    card = re.sub(r"(?m)^counts:\n(?:  .*\n)+", "", card)
    source = f"\nsource:\n  format: {read_card(task).source.format}\n  splits:\n    test:\n"
    mine = tmp_path / "mine.yaml"
    mine.write_text(f"{card}{source}      files:\n        {role}: {{path: 'mine-{{code}}.txt'}}\n")
    ran = run("eval", models[model], "--task", mine, "--lang", lang, "--data", tmp_path / "data",
              "--out", tmp_path / "out")  # fmt: skip
    assert ran.code == code, ran.stderr
    assert said in ran.stderr
    assert one_line(ran.stderr) == bool(code)
    assert len(list((tmp_path / "out").rglob("*.parquet"))) == (code == 0)
