"""Both metrics of question answering over whole files, beside what the official scripts gave."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from harness.metrics import mlqa, squad

XQUAD = ["ar", "de", "el", "en", "es", "hi", "ro", "ru", "th", "tr", "vi", "zh"]
# Name of the values → the language of the contexts for MLQA's script; None for SQuAD's.
LANGUAGES = {
    **{f"mlqa.{lang}": lang for lang in ("ar", "de", "en", "es", "hi", "vi", "zh")},
    **{"mlqa-de.ar": "de", "mlqa-zh.en": "zh", "mlqa-ar.vi": "ar"},
    **{
        f"xquad.{lang}": None
        for lang in ["ar", "de", "el", "en", "es", "hi", "ro", "ru", "th", "tr", "vi", "zh"]
    },
    "squad.en": None,
}


@pytest.mark.parametrize("name", LANGUAGES)
def test_agrees_with_the_official_script(data_dir: Path, oracles_dir: Path, name: str) -> None:
    expected = json.loads((oracles_dir / "qa" / "expected.json").read_text("utf-8"))[name]
    predictions = json.loads((oracles_dir / "qa" / f"{name}.pred.json").read_text("utf-8"))
    gold = json.loads((data_dir / expected["gold"]).read_text("utf-8"))["data"]
    questions = [q for article in gold for p in article["paragraphs"] for q in p["qas"]]
    assert len(questions) == expected["n"]
    assert len(predictions) == expected["predictions"] < len(questions)

    pairs = [(predictions.get(q["id"]), [a["text"] for a in q["answers"]]) for q in questions]
    for metric in ("exact_match", "f1"):
        score: Any = getattr(squad, metric)
        if LANGUAGES[name] is not None:
            score = partial(getattr(mlqa, metric), language=LANGUAGES[name])
        total = sum(score(prediction, answers) for prediction, answers in pairs)
        assert 100 * total / len(pairs) == pytest.approx(expected[metric], abs=1e-6)


def test_every_golden_value_is_tested(oracles_dir: Path) -> None:
    expected = json.loads((oracles_dir / "qa" / "expected.json").read_text("utf-8"))
    assert expected.keys() == LANGUAGES.keys()
