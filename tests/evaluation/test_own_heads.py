"""Checkpoints that bring a trained head: rows in the track own-head, by the labels' names."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

import harness
from harness.cards.languages import task_root
from harness.errors import RefusedError
from harness.results.outcomes import find, read_meta
from tests.checkpoints import build_head

XNLI = ("contradiction", "entailment", "neutral")
UPOS = ("VERB", "PUNCT", "PROPN", "PRON", "NOUN", "DET", "ADP", "ADJ")


def own_card(task: str, folder: Path) -> Path:
    """A card from outside the package: that of a task under another name."""
    text = (task_root() / "target" / f"{task}.yaml").read_text(encoding="utf-8")
    path = folder / "card.yaml"
    path.write_text(text.replace(f"name: {task}\n", "name: own\n"), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("kind", "names", "task"),
    [
        ("classification", XNLI, "demo_pairs"),
        ("multiple_choice", (), "demo_choices"),
        ("tagging", UPOS, "demo_tags"),
    ],
)
def test_a_trained_head_is_measured_as_it_is(
    kind: str, names: tuple[str, ...], task: str, tmp_path: Path
) -> None:
    model = build_head(tmp_path / "model", kind, names)
    found = harness.evaluate(
        str(model), tasks=[task], languages=["de"], out=tmp_path / "out", cache_dir=tmp_path / "c"
    )
    (file,) = find(tmp_path / "out")
    assert read_meta(file.path)["track"] == "own-head"
    rows = pq.read_table(file.path).to_pylist()
    scored = {row["metric"]: row["value"] for row in found.to_arrow().to_pylist()}
    if kind == "tagging":
        right = [
            a == b for row in rows for a, b in zip(row["gold"], row["prediction"], strict=True)
        ]
    else:
        right = [row["correct"] for row in rows]
    assert scored["accuracy"] == pytest.approx(np.mean(right))


@pytest.mark.parametrize(
    ("kind", "names", "task"),
    [
        ("classification", XNLI, "demo_pairs"),
        ("multiple_choice", (), "demo_choices"),
        ("tagging", UPOS, "demo_tags"),
    ],
)
def test_its_own_head_is_not_measured_in_place_of_a_tuned_one(
    kind: str, names: tuple[str, ...], task: str, tmp_path: Path
) -> None:
    model = str(build_head(tmp_path / "model", kind, names))
    card = str(own_card(task, tmp_path))
    found = harness.evaluate(
        model, tasks=[card], languages=["de"], finetune=True, out=tmp_path / "out",
        cache_dir=tmp_path / "c",
    )  # fmt: skip
    (row,) = found.to_arrow().to_pylist()
    assert (row["task"], row["metric"]) == ("own", None)
    assert row["note"].startswith("own has no target recipe: leave --finetune out")
    assert not list(find(tmp_path / "out"))


@pytest.mark.parametrize(
    "names", [("LABEL_0", "LABEL_1", "LABEL_2"), ("entailment", "not_entailment")]
)
def test_other_labels_are_refused_or_a_row(names: tuple[str, ...], tmp_path: Path) -> None:
    model = str(build_head(tmp_path / "model", "classification", names))
    options = {"out": tmp_path / "out", "cache_dir": tmp_path / "c"}
    with pytest.raises(RefusedError, match=f"its head has the {len(names)} labels") as raised:
        harness.evaluate(model, tasks=["demo_pairs"], **options)
    assert "\n" not in str(raised.value)
    # Of a suite, it is a row that says so.
    found = harness.evaluate(model, suite="demo", languages=["de"], **options)
    notes = {row["task"]: row["note"] for row in found.to_arrow().to_pylist() if not row["metric"]}
    assert "labels are matched by name" in notes["demo_pairs"]
    assert notes["demo_choices"].startswith("a classification head, no multiple choice head: ")
    assert notes["demo_tags"].startswith("a classification head, no tagging head: --finetune")


@pytest.mark.parametrize("named", ["card.yaml", "./card.yaml", "folder/../card.yaml"])
def test_a_card_is_named_however_its_path_is_spelled(
    named: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    own_card("demo_pairs", tmp_path)
    model = str(build_head(tmp_path / "model", "classification", ("yes", "no")))
    with pytest.raises(RefusedError, match="its head has the 2 labels yes, no"):
        harness.evaluate(model, tasks=[named], out=tmp_path / "out", cache_dir=tmp_path / "c")
