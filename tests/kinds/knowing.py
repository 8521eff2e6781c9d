"""An encoder for tests that is told each text's vector, and which texts have equal token ids."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from harness.inference.vector_store import text_key


class Knowing:
    """``vectors``: text → its vector. ``ids``: text → what stands for its token ids (itself)."""

    def __init__(
        self, vectors: Mapping[str, Sequence[float]], ids: Mapping[str, str] | None = None
    ) -> None:
        self.vectors = vectors
        self.ids = ids or {}
        self.asked: list[tuple[str, list[str]]] = []

    def encode(self, texts: Sequence[str], *, role: str, lang: str = "", layer: int = 0) -> Any:
        self.asked.append((role, list(texts)))
        return np.array([self.vectors[text] for text in texts], dtype=np.float32)

    stored = encode

    def ids_keys(self, texts: Sequence[str], *, role: str) -> list[bytes]:
        return [text_key(self.ids.get(text, text)) for text in texts]


def at_angles(degrees: Mapping[str, float]) -> dict[str, tuple[float, float]]:
    """Unit vectors in the plane."""
    radians = {text: np.deg2rad(angle) for text, angle in degrees.items()}
    return {text: (float(np.cos(r)), float(np.sin(r))) for text, r in radians.items()}
