"""A card to change in tests."""

from __future__ import annotations

from typing import Any

from harness.cards.training import IntermediateCard

CARD: dict[str, Any] = {
    "name": "own",
    "title": "Own",
    "kind": "classification",
    "objective": "nli",
    "languages": ["en"],
    "labels": ["no", "yes"],
    "licence": "none",
    "citation": "none",
    "source": {
        "format": "records",
        "splits": {
            "train": {
                "files": {
                    "rows": {
                        "path": "own/{code}.tsv",
                        "columns": {"first": "a", "second": "b", "label": "label"},
                    }
                }
            }
        },
    },
}


def card(**change: Any) -> IntermediateCard:
    """The card with other entries."""
    return IntermediateCard.model_validate(CARD | change)


def source(format: str, path: str, **file: Any) -> dict[str, Any]:
    """A source of one file a language."""
    return {"format": format, "splits": {"train": {"files": {"rows": {"path": path, **file}}}}}
