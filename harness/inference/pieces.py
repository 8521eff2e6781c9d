"""Cuts sentences of words into pieces that fit a model: every word is in one, at one place."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from harness.checkpoint.tokenizer import Tokenizer
from harness.errors import RefusedError
from harness.inference.batching import pad_id
from harness.inference.sequences import TEXTS_PER_CALL, Sequences, flat


@dataclass(frozen=True)
class Pieces:
    """The pieces of n sentences, whose words are numbered from first to last.

    ``piece``, ``place``: int64[words], the piece of a word, and where in it its first token is.
    ``begin``: int64[n + 1], the number of each sentence's first word.
    """

    sequences: Sequences
    piece: npt.NDArray[np.int64]
    place: npt.NDArray[np.int64]
    begin: npt.NDArray[np.int64]


def make_pieces(
    tokenizer: Tokenizer, sentences: Sequence[Sequence[str]], max_length: int
) -> Pieces:
    """Cut sentences between words, as XTREME does: what does not fit begins a new piece.

    ``max_length``: tokens of a piece, special ones included; XTREME's script leaves room for one
    more special token with XLM-R's tokenizer than this one adds (125 tokens of 128, here 126). A
    word without a token, and one with more tokens than a piece has room for, is one unknown token.

    Raises:
        RefusedError: the special tokens leave no room.
    """
    front, back = _around(tokenizer)
    room = max_length - len(front) - len(back)
    if room < 1:
        raise RefusedError(
            f"a piece of at most {max_length} tokens has no room beside the "
            f"{len(front) + len(back)} special tokens of its tokenizer: allow more"
        )
    unknown = tokenizer.special.get("unk_token", pad_id(tokenizer))
    pieces: list[list[int]] = []
    piece: list[int] = []
    place: list[int] = []
    for start in range(0, len(sentences), TEXTS_PER_CALL):
        part = sentences[start : start + TEXTS_PER_CALL]
        encoded = tokenizer.encode([list(words) for words in part], special_tokens=False)
        for words, encoding in zip(part, encoded, strict=True):
            of_word: list[list[int]] = [[] for _ in words]
            for token, word in zip(encoding.ids, encoding.word_ids, strict=True):
                if word is not None:
                    of_word[word].append(token)
            current: list[int] | None = None
            for own in of_word:
                tokens = own if 0 < len(own) <= room else [unknown]
                if current is None or len(current) + len(tokens) > room:
                    current = []
                    pieces.append(current)
                piece.append(len(pieces) - 1)
                place.append(len(front) + len(current))
                current += tokens
    return Pieces(
        flat([np.asarray([*front, *ids, *back], dtype=np.int32) for ids in pieces], None),
        np.asarray(piece, dtype=np.int64),
        np.asarray(place, dtype=np.int64),
        np.concatenate([[0], np.cumsum([len(one) for one in sentences], dtype=np.int64)]),
    )


def _around(tokenizer: Tokenizer) -> tuple[list[int], list[int]]:
    """Return the special tokens before and behind a text."""
    (encoding,) = tokenizer.encode([["a"]])
    inside = [at for at, word in enumerate(encoding.word_ids) if word is not None]
    if not inside:
        return list(encoding.ids), []
    return list(encoding.ids[: inside[0]]), list(encoding.ids[inside[-1] + 1 :])
