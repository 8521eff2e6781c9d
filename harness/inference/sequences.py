"""Puts token sequences end to end, and pads batches of them to their longest one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from harness.checkpoint.tokenizer import Tokenizer

TEXTS_PER_CALL = 1024


@dataclass(frozen=True)
class Sequences:
    """Token sequences end to end; ``tokens[begin[i]:begin[i + 1]]`` is sequence ``i``.

    ``tokens``: int32[total]; ``types``: int8[total]; ``begin``: int64[sequences + 1]. ``cut``: how
    many of them have lost tokens for their length.
    """

    tokens: npt.NDArray[np.int32]
    types: npt.NDArray[np.int8]
    begin: npt.NDArray[np.int64]
    cut: int = 0

    @property
    def lengths(self) -> npt.NDArray[np.int64]:
        """Tokens per sequence, int64[sequences]."""
        return np.diff(self.begin)


def encoded(
    tokenizer: Tokenizer, firsts: Sequence[str], seconds: Sequence[str] | None, limit: int
) -> Sequences:
    """Return the texts, or pairs of them, cut to ``limit`` tokens, the longer text of a pair
    first.
    """
    tokens: list[npt.NDArray[np.int32]] = []
    types: list[npt.NDArray[np.int8]] = []
    cut = 0
    for begin in range(0, len(firsts), TEXTS_PER_CALL):
        stop = begin + TEXTS_PER_CALL
        found = tokenizer.encode(
            firsts[begin:stop]
            if seconds is None
            else list(zip(firsts[begin:stop], seconds[begin:stop], strict=True)),
            max_length=limit,
        )
        tokens += [np.asarray(encoding.ids, dtype=np.int32) for encoding in found]
        types += [np.asarray(encoding.type_ids, dtype=np.int8) for encoding in found]
        cut += sum(1 for encoding in found if encoding.overflowing)
    return replace(flat(tokens, types), cut=cut)


def flat(
    tokens: Sequence[npt.NDArray[np.int32]], types: Sequence[npt.NDArray[np.int8]] | None
) -> Sequences:
    """Return the sequences put end to end; all of the first type where no types are given."""
    joined = np.concatenate([np.empty(0, dtype=np.int32), *tokens])
    return Sequences(
        joined,
        np.zeros(len(joined), dtype=np.int8)
        if types is None
        else np.concatenate([np.empty(0, dtype=np.int8), *types]),
        np.concatenate([[0], np.cumsum([len(ids) for ids in tokens], dtype=np.int64)]),
    )


def places(
    sequences: Sequences, rows: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
    """Return where the tokens of a padded batch are, int64[rows, longest], and which are real
    ones.
    """
    lengths = sequences.lengths[rows]
    columns = np.arange(lengths.max(initial=1))
    mask = columns < lengths[:, None]
    return np.where(mask, sequences.begin[rows][:, None] + columns, 0), mask


def padded(
    sequences: Sequences, rows: npt.NDArray[np.int64], pad: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return the token ids, token types and attention mask, each int64[rows, longest].

    Padding is on the right whatever side the tokenizer pads on: a row then has the positions that
    it has alone, so that what a model makes of it does not depend on its company.
    """
    source, mask = places(sequences, rows)
    ids = np.where(mask, sequences.tokens[source], pad).astype(np.int64)
    types = np.where(mask, sequences.types[source], 0).astype(np.int64)
    return ids, types, mask.astype(np.int64)
