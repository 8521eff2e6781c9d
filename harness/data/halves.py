"""Cuts a set, one half of which is trained on, into two halves: by hash, the same for ever."""

from __future__ import annotations

from hashlib import sha256


def in_second_half(key: str) -> bool:
    """Return whether an example belongs to the second half, which is measured; the first is trained
    on.

    ``key``: the text of a sentence, or the number of a row, so that equal sentences, and the
    translations of a row, are in one half.
    """
    return sha256(key.encode("utf-8", "surrogatepass")).digest()[0] % 2 == 1
