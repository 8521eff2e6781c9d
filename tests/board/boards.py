"""Small boards: outcomes written by hand, and a task with two languages to have them in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import pyarrow as pa

from harness.cards.catalogue import read_card
from harness.kinds import KINDS
from harness.results.outcomes import outcome_file
from tests.metadata import metadata

BASE = "hand/base"
ENGLISH = "hand/english-qa"
MANY = "hand/multilingual-qa"
# Hits of the four sentences in each language: 1 where the translation is among the first ten.
HITS: Mapping[str, Mapping[str, Sequence[int]]] = {
    BASE: {"de": [0, 0, 0, 0], "sw": [0, 0, 0, 0]},
    ENGLISH: {"de": [1, 1, 1, 1], "sw": [0, 0, 0, 0]},
    MANY: {"de": [1, 1, 1, 1], "sw": [1, 1, 0, 0]},
}


def revision(model: str) -> str:
    """A commit that goes with a name."""
    return sha256(model.encode()).hexdigest()[:40]


def submit(root: Path, model: str, **fields: Any) -> str:
    """Write a submission; returns its slug."""
    slug = model.split("/")[-1]
    lines = {"model": model, "revision": revision(model), "objective": "none"} | fields
    text = "\n".join(f"{key}: {_yaml(value)}" for key, value in lines.items() if value is not None)
    (root / "submissions").mkdir(parents=True, exist_ok=True)
    (root / "submissions" / f"{slug}.yaml").write_text(text + "\n", encoding="utf-8")
    return slug


def _yaml(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f"[{', '.join(value)}]" if isinstance(value, (list, tuple)) else str(value)


def hits(unit: str, line: Sequence[int]) -> list[dict[str, Any]]:
    """Rows of both directions: rank 1 for a hit, 50 for a miss; items are parallel over units."""
    return [
        {
            "example_id": f"{unit}:{i}", "lang": unit, "cluster": f"tatoeba:{i}",
            "direction": direction, "ranks": [1 if hit else 50], "relevant": 1,
            "top_ids": [f"{unit}:{i}" if hit else f"{unit}:{i + 1}"],
        }
        for direction in (f"en-{unit}", f"{unit}-en")
        for i, hit in enumerate(line)
    ]  # fmt: skip


def answers(unit: str, line: Sequence[float]) -> list[dict[str, Any]]:
    """Rows of question answering with these F1."""
    return [
        {
            "example_id": f"q{i}", "lang": unit, "question_lang": unit, "cluster": f"demo:{i // 2}",
            "prediction": "x", "exact_match": float(f1 == 1), "f1": f1, "answered": True,
        }
        for i, f1 in enumerate(line)
    ]  # fmt: skip


def measure(
    root: Path,
    model: str,
    rows: Mapping[str, Sequence[Mapping[str, Any]]],
    *,
    task: str = "demo_bitext",
    layer: int | None = 8,
    results: Path | None = None,
    **changes: Any,
) -> Path:
    """Write an outcome file as a run does; ``rows``: unit → rows. Returns its path.

    ``results``: where the rows go, if not to the board's.
    """
    card = read_card(task)
    given = {"model": model, "revision": revision(model), "layer": layer} | changes
    meta = metadata(card, [*rows], **given)
    folder = results or root / "leaderboard" / "results"
    slug = model.replace("/", "__")
    slug = "".join(c if c.isalnum() or c in "._-" else "-" for c in slug)
    file = outcome_file(folder, slug, str(meta["revision"])[:12], card.name, str(meta["signature"]))
    for unit, lines in rows.items():
        table = pa.Table.from_pylist([dict(line) for line in lines], KINDS[card.kind].schema)
        file.write_part(unit, table, meta | {"languages": [unit], "timing": {unit: {}}})
    file.merge(card.languages)
    return file.path


def bitext(model: str) -> dict[str, list[dict[str, Any]]]:
    """The hand-worked rows of a checkpoint."""
    return {unit: hits(unit, line) for unit, line in HITS[model].items()}


def hand_worked(root: Path, order: Sequence[str] = (BASE, ENGLISH, MANY)) -> Path:
    """Three checkpoints, two languages, four sentences."""
    for model in order:
        measure(root, model, bitext(model))
    submit(root, BASE)
    submit(root, ENGLISH, base=BASE, objective="extractive-qa", languages=["en"])
    submit(root, MANY, base=BASE, objective="extractive-qa", languages=["de", "sw"])
    return root
