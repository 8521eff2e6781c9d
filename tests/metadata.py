"""The metadata of an outcome file, whole: what tests that write rows by hand begin with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from harness.cards.task import TaskCard
from harness.inference.protocol import PROTOCOL_VERSION, signature

FREE = ("card", "split", "limit", "track", "seed", "dtype")  # signed, and changed at the top


def metadata(card: TaskCard, units: Sequence[str], /, **changes: Any) -> dict[str, Any]:
    """As a run would write it for rows of these units; ``changes`` are signed where they would be.

    ``layer``: of the encoding, None for a reader.
    """
    reads = card.kind == "span_qa"
    layer = changes.pop("layer", None if reads else 8)
    meta: dict[str, Any] = {
        "format": 1, "model": "org/name", "revision": "0" * 40, "base": None,
        "model_type": "bert", "parameters": 1_000, "task": card.name,
        "task_version": card.version, "card_hash": card.hash, "kind": card.kind,
        "track": "own-head" if reads else "frozen", "protocol": "standard",
        "protocol_version": PROTOCOL_VERSION, "languages": list(units), "split": card.split,
        "limit": None, "seed": 0, "dtype": "float32", "device": "cpu", "custom": [],
        "degenerate": [], "data_complete": True, "notes": [], "mixed": [], "route": "folder",
        "data": {}, "harness": {"version": "1", "commit": ""}, "libraries": {},
        "timing": {unit: {"seconds": 1.0} for unit in units},
    } | changes  # fmt: skip
    if "resolved" not in changes:
        meta["resolved"] = {
            "pooling": None if reads else "mean", "layer": layer, "lengths": {}, "prompts": {},
            "card": meta["card_hash"], "recipe": None,
        } | {key: meta[key] for key in FREE if key != "card"}  # fmt: skip
    return {"signature": signature(meta["resolved"])} | meta
