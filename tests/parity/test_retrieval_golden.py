"""Retrieval of a real checkpoint beside golden values of another implementation.

They are of all-MiniLM-L6-v2 (its folder in XHARNESS_MINILM), mean pooling at its last layer, and
lie in the folder of golden values beside the official data. LAReQA takes some twenty minutes of a
processor.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from harness import evaluate

pytestmark = pytest.mark.slow
LAST = 6
TOLERANCE = 1e-3
# Where texts tie, one example more or less is as right.
EXAMPLE = 1.001
CODES = {"deu": "de", "spa": "es", "hin": "hi", "swh": "sw"}
Values = dict[tuple[str, str, str], float]  # language, direction, metric


@pytest.fixture(scope="module")
def golden(oracles_dir: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(
        (oracles_dir / "retrieval_minilm_last_layer.json").read_text("utf-8")
    )
    return found


def expected(golden: dict[str, Any], task: str) -> Values:
    """The golden values by the names that our rows have."""
    if task == "tatoeba":
        rows = {CODES[code]: row for code, row in golden["tatoeba"].items()}
        return {
            key: value
            for lang, row in rows.items()
            for key, value in (
                ((lang, f"{lang}-en", "accuracy"), row["xx_en"]),
                ((lang, f"en-{lang}", "accuracy"), row["en_xx"]),
                ((lang, f"en-{lang}", "recall@10"), row["recall10_en_xx"]),
            )
        }
    if task == "bucc2018":
        # Dev has the threshold that is best on it: what we call the oracle.
        return {("zh", "", "f1_oracle"): golden["bucc2018_zh_dev"]["F1"] / 100}
    row = golden["lareqa_xquad_r"]
    whole = {"map@20": "map20", "map": "map_full", "hit@10": "hit10", "recall@10": "recall10"}
    values = {("macro", "xx-all", ours): row[theirs] for ours, theirs in whole.items()}
    for ours in ("map@20", "recall@10"):
        for lang, value in row[f"{whole[ours]}_by_question_lang"].items():
            values[lang, f"{lang}-all", ours] = value
    return values


@pytest.mark.parametrize(
    ("task", "split", "languages"),
    [
        ("tatoeba", "test", list(CODES.values())),
        ("bucc2018", "dev", ["zh"]),
        ("lareqa", "test", None),
    ],
)
def test_agrees_with_another_implementation(
    golden: dict[str, Any],
    data_dir: Path,
    tmp_path: Path,
    task: str,
    split: str,
    languages: list[str] | None,
) -> None:
    folder = os.environ.get("XHARNESS_MINILM")
    if not folder:
        pytest.skip("XHARNESS_MINILM names no folder with all-MiniLM-L6-v2")
    found = evaluate(
        folder, tasks=[task], split=split, languages=languages, layer=LAST, device="cpu",
        data=data_dir, offline=True, out=tmp_path / "out", cache_dir=tmp_path / "cache",
    )  # fmt: skip
    rows = {
        (row["lang"], row["direction"], row["metric"]): row
        for row in found.to_arrow().to_pylist()
        if row["value"] is not None
    }
    wanted = expected(golden, task)
    assert set(wanted) <= set(rows)
    ours = {key: rows[key]["value"] for key in wanted}
    print(json.dumps({" ".join(key): (ours[key], value) for key, value in wanted.items()}))
    wrong = {
        key: (ours[key], value)
        for key, value in wanted.items()
        if abs(ours[key] - value) > max(TOLERANCE, EXAMPLE / rows[key]["n"])
    }
    assert wrong == {}
