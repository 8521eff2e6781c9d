"""Turns texts into token ids under one encoding, and into keys that texts of equal ids share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.checkpoint.guard import refusing
from harness.checkpoint.tokenizer import LONG, LONGEST, Side, Tokenizer, load_tokenizer
from harness.inference.probe import Ids
from harness.inference.protocol import Encoding
from harness.inference.vector_store import KEY_BYTES, ids_key, text_key

if TYPE_CHECKING:
    from harness.checkpoint.resolve import Checkpoint
    from harness.inference.protocol import Role
    from harness.inference.stores import Stores

TOKENISED = 1_024  # texts in one call of the tokenizer, which keeps far more than ids of them
CHUNK = 65_536  # texts tokenised at a time: bounds the memory of the token lists
UNENCODED = "cannot encode"
CUT_EARLY = (
    f"some texts of more than {LONGEST:,} characters were cut to so many before they were "
    "tokenised, and not at the boundary of a word: their last tokens may differ"
)


class TokenIds:
    """The cut token ids of texts under one encoding, and their keys.

    A store keeps which text has ids of which key, so that a run that finds all of its texts there
    needs no tokenizer. Ids themselves are kept for the texts that were tokenised last.
    """

    def __init__(self, checkpoint: Checkpoint, encoding: Encoding, stores: Stores) -> None:
        self._checkpoint = checkpoint
        self._encoding = encoding
        self._stores = stores
        self._last: dict[bytes, Ids] = {}  # of the texts tokenised last, by key
        self._cut_early: dict[tuple[bytes, Role], bool] = {}  # of very long texts

    @property
    def remarks(self) -> tuple[str, ...]:
        """Notes of the tokenizer, and whether long texts lost more than their number of tokens."""
        notes = load_tokenizer(self._checkpoint).notes
        return (*notes, CUT_EARLY) if any(self._cut_early.values()) else notes

    def keys(self, texts: Sequence[str], role: Role) -> list[bytes]:
        """Return the key of each text's cut token ids, 16 bytes.

        Texts that the store lacks are tokenised, CHUNK at a time, and kept there.

        Raises:
            RefusedError: the tokenizer fails on a text.
        """
        keys = [text_key(text) for text in texts]
        self._note_long(texts, keys, role)
        store = self._stores.tokens(self._encoding, role)
        unknown = np.flatnonzero(store.missing(keys))
        if len(unknown):
            for start in range(0, len(unknown), CHUNK):
                rows = unknown[start : start + CHUNK]
                ids = self._tokenised([texts[row] for row in rows], role)
                found = [ids_key(row) for row in ids]
                self._last = dict(zip(found, ids, strict=True))
                values = np.frombuffer(b"".join(found), dtype=np.uint8).reshape(-1, KEY_BYTES)
                store.append([keys[row] for row in rows], values)
            store.flush()
        return [row.tobytes() for row in store.get(keys)]

    def ids(self, texts: Sequence[str], keys: Sequence[bytes], role: Role) -> list[Ids]:
        """Return the cut token ids of texts with these keys, each int32[tokens]."""
        last, self._last = self._last, {}
        if all(key in last for key in keys):
            return [last[key] for key in keys]
        return self._tokenised(texts, role)

    def _tokenised(self, texts: Sequence[str], role: Role) -> list[Ids]:
        with refusing(self._checkpoint, UNENCODED):
            return tokenize(load_tokenizer(self._checkpoint), texts, self._encoding, role)

    def _note_long(self, texts: Sequence[str], keys: Sequence[bytes], role: Role) -> None:
        """Remember which very long texts lose more than their number of tokens says."""
        encoding = self._encoding
        for text, key in zip(texts, keys, strict=True):
            if len(text) > LONG and (key, role) not in self._cut_early:
                with refusing(self._checkpoint, UNENCODED):
                    tokenizer, side = _settings(load_tokenizer(self._checkpoint), encoding)
                    whole = encoding.prompts[role] + text
                    _, exact = tokenizer.shortened(whole, encoding.lengths[role], side)
                self._cut_early[key, role] = not exact


def tokenize(
    tokenizer: Tokenizer, texts: Sequence[str], encoding: Encoding, role: Role
) -> list[Ids]:
    """Return the token ids of each text with its prompt, special tokens included, cut to the role's
    length.

    A text without a single token (an empty one under a tokenizer without special tokens) is given
    one, so that every text has a vector.
    """
    prompt = encoding.prompts[role]
    whole = [prompt + text for text in texts] if prompt else list(texts)
    tokenizer, side = _settings(tokenizer, encoding)
    rows: list[list[int]] = []
    for start in range(0, len(whole), TOKENISED):
        rows += tokenizer.ids(
            whole[start : start + TOKENISED],
            special_tokens=encoding.special_tokens,
            max_length=encoding.lengths[role],
            side=side,
        )
    special = tokenizer.special
    fallback = [special.get("bos_token", special.get("eos_token", 0))]
    return [np.asarray(row or fallback, dtype=np.int32) for row in rows]


def _settings(tokenizer: Tokenizer, encoding: Encoding) -> tuple[Tokenizer, Side]:
    """Return the tokenizer that an encoding means, and the side on which it cuts."""
    side = tokenizer.truncation_side if encoding.declared_side else "right"
    return (tokenizer.lower_cased if encoding.lower_case else tokenizer), side


def cutting(tokenizer: Any) -> Callable[[str, int], Ids]:
    """Return a function: a text and a number of tokens → its ids without a prompt, cut to so
    many.
    """

    def cut(text: str, length: int) -> Ids:
        lengths: dict[Role, int] = {"query": length, "document": length}
        prompts: dict[Role, str] = {"query": "", "document": ""}
        plain = Encoding("mean", 0, 0, lengths, prompts, "float32")
        return tokenize(tokenizer, [text], plain, "query")[0]

    return cut
