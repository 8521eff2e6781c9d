"""Opens the stores of one checkpoint: one for everything that decides vectors or token ids."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.checkpoint.adapter import has_patterns
from harness.checkpoint.tokenizer import load_tokenizer
from harness.inference.token_types import edge_types
from harness.inference.vector_store import VectorStore, fingerprint
from harness.io.environment import libraries

if TYPE_CHECKING:
    from harness.checkpoint.resolve import Checkpoint
    from harness.inference.protocol import Encoding, Role

VERSION = 3  # raised when a change of the encoder changes a vector: what is stored is then not used
DECIDING = ("torch", "transformers", "tokenizers")
# These decide a vector, but not the token ids of a text.
AFTER_TOKENS = ("device", "pooling", "layer", "dtype", "steps")


class Stores:
    """The stores of one checkpoint on one device, below the folder ``cache``.

    ``since``: as for ``VectorStore``.
    """

    def __init__(self, checkpoint: Checkpoint, device: str, cache: Path, since: int) -> None:
        self.cache = cache
        self.since = since
        self._checkpoint = checkpoint
        self._device = device
        self._opened: dict[Path, VectorStore] = {}

    @cached_property
    def deciding(self) -> dict[str, Any]:
        """What decides every number in the stores."""
        checkpoint = self._checkpoint
        before, own, after = edge_types(load_tokenizer(checkpoint))
        types = [*before, own, *after]
        return {
            "encoder": VERSION,
            # They are named only where they are unusual, as in `vector_parts`.
            **({"types": types} if any(types) else {}),
            **self._patterns(),
            "libraries": {name: libraries()[name] for name in DECIDING},
            # A folder's digest names it; what the folder is called decides nothing.
            "checkpoint": f"{'' if checkpoint.local else checkpoint.id}@{checkpoint.revision}",
            "base": str(checkpoint.base),
            "device": self._device.split(":")[0],
        }

    def _patterns(self) -> dict[str, Any]:
        # Before, some of them were not followed: those vectors are not used.
        checkpoint = self._checkpoint
        if checkpoint.base is None or not has_patterns(checkpoint.own_folder):
            return {}
        return {"adapter": "patterns for the names of its training"}

    def vectors(self, encoding: Encoding, role: Role) -> VectorStore:
        """Return the store of vectors: key of token ids → float32[d]."""
        return self._open("vectors", self.deciding | encoding.vector_parts(role))

    def tokens(self, encoding: Encoding, role: Role) -> VectorStore:
        """Return the store of ids: key of a text → key of its token ids, uint8[16]."""
        parts = self.deciding | encoding.vector_parts(role)
        kept = {name: part for name, part in parts.items() if name not in AFTER_TOKENS}
        return self._open("tokens", kept)

    def _open(self, kind: str, parts: dict[str, Any]) -> VectorStore:
        folder = self.cache / kind / fingerprint(parts)
        if folder not in self._opened:  # roles of equal length and prompt share one
            self._opened[folder] = VectorStore(folder.parent, parts, since=self.since)
        return self._opened[folder]
