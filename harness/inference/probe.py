"""Tests every loaded model: its layers, and whether the rest of a batch changes a vector.

An architecture may read padding though it is masked, or mix the texts of a batch; a hook may see
other tensors than the hidden states. Then a vector would depend on how batches were formed, or be
of another layer than the one it is said to be of, and no error would show.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from harness.errors import IncompleteError, RefusedError
from harness.inference.vector_store import fingerprint
from harness.io.files import write_whole

if TYPE_CHECKING:
    import torch

Ids = npt.NDArray[np.int32]
Floats = npt.NDArray[np.float32]

# The texts that are tried have so many tokens: a little padding and much of it.
LENGTHS = (3, 4, 9, 17, 33, 64)
TEXT = (
    "The ferry to the northern island leaves at seven in the morning and my sister planted three "
    "apple trees behind the old school Паром на северный остров отправляется в семь утра "
    "تغادر العبّارة إلى الجزيرة الشمالية في السابعة صباحًا उत्तरी द्वीप के लिए नाव सुबह सात बजे चलती है "
    "开往北岛的渡轮早上七点出发 北の島へ向かうフェリーは朝七時に出ます เรือข้ามฟากไปเกาะทางเหนือ "
    "how many bridges cross the river in the middle of the town 1 2 3 4 5 6 7 8 9"
)
WORDS = TEXT.split()
TOLERANCE = 1e-5  # in float32, of an element of a vector of norm 1
LOGIT_TOLERANCE = 1e-4  # in float32, of the largest logit
# Halves round each operation to 2^-9 (bfloat16) or 2^-11 (float16), and the errors of some dozen
# layers add up like independent ones to ten times as much: to 8 epsilons of the norm of a vector,
# where epsilon is twice that. What reads padding is off by tenths.
HALF_EPSILONS = 8
EPSILON: Mapping[str, float] = {"bfloat16": 2.0**-7, "float16": 2.0**-10}
ONE_LENGTH = (
    "the model reads padding: batches hold texts of one length only, so that a vector depends on "
    "its text alone"
)
READS_PADDING = (
    "the model reads padding: batches hold windows of one length only, so that a prediction "
    "depends on its text alone"
)


UNTRIED = "fails on a few short texts"


def probe_ids(cut: Callable[[str, int], Ids], limit: int | None) -> list[tuple[Ids, Ids]]:
    """Return two texts of each of ``LENGTHS`` tokens up to ``limit``, in ids of the tokenizer's
    own.

    ``cut``: a text and a number of tokens → its ids, cut to so many, special tokens included. Each
    text starts with another word, special tokens are where the tokenizer puts them.
    """
    lengths = [length for length in LENGTHS if limit is None or length <= limit]
    pairs = []
    for number, length in enumerate(lengths or [max(limit or 1, 1)]):
        rows = [_text(cut, 5 * number + offset, length) for offset in (0, 2)]
        size = min(len(row) for row in rows)
        if size:
            pairs.append((rows[0][:size], rows[1][:size]))
    return pairs


def probe_pairs() -> list[tuple[str, str]]:
    """Return (question, context) of several lengths, with the words of each context in two orders.

    The first word keeps its place, since it may be cut into other tokens than within a text.
    """
    pairs = []
    for number, length in enumerate((3, 6, 10, 18)):
        first, *others = WORDS[7 * number + 3 : 7 * number + 3 + length]
        question = " ".join(WORDS[7 * number : 7 * number + 3])
        pairs += [(question, " ".join((first, *rest))) for rest in (others, others[::-1])]
    return pairs


def _text(cut: Callable[[str, int], Ids], start: int, length: int) -> Ids:
    return cut(" ".join(2 * (WORDS[start:] + WORDS[:start])), length)


def check_layers(
    found: Mapping[int, torch.Tensor],
    states: Sequence[torch.Tensor] | None,
    mask: torch.Tensor,
    depth: int,
    name: str,
) -> None:
    """Refuse a model whose layers are not the ones that transformers names.

    ``found``: layer → what the hooks saw, [texts, tokens, width]. ``states``: all hidden states
    of the same batch as transformers gives them (``output_hidden_states``). ``mask``
    [texts, tokens]: what is compared. ``name``: of the architecture.

    Raises:
        RefusedError: they differ, or there are not ``depth`` + 1 of them.
    """
    if states is None or len(states) != depth + 1:
        count = "no" if states is None else len(states)
        raise RefusedError(
            f"{name} gives {count} hidden states for {depth} layers: no layer can be named"
        )
    attended = mask.bool()
    for layer, hidden in found.items():
        expected, own = states[layer].float(), hidden.float()
        if expected.shape != own.shape:
            raise RefusedError(
                f"hidden_states[{layer}] of {name} is {list(expected.shape)}, what its layers are "
                f"given {list(own.shape)}"
            )
        error = float((own - expected)[attended].abs().max())
        scale = float(expected[attended].abs().max())
        if np.isfinite(scale) and not error <= TOLERANCE * scale:
            raise RefusedError(
                f"hidden_states[{layer}] of {name} is not what its layers are given: they differ "
                f"by {error / scale:.1g} of the largest value"
            )


def needs_one_length(
    compute: Callable[[Sequence[Ids], bool], Mapping[int, Floats]],
    pairs: Sequence[tuple[Ids, Ids]],
    dtype: str,
) -> bool:
    """Return whether a text gets the vector it has alone only in batches of its own length.

    ``compute``: a batch of token ids → layer → vectors, float32[n, d]; True asks for a mask even
    where nothing is padded, as plain transformers has it. ``dtype``: what it computes in.

    Raises:
        RefusedError: a text has another vector even in a batch of texts of as many tokens.
    """
    alone = [compute([first], True) for first, _ in pairs]
    layers = list(alone[0])
    together = compute([first for first, _ in pairs], False)
    beside = [compute([second, first], False) for first, second in pairs]
    reads_padding = False
    for layer in layers:
        own = np.concatenate([one[layer] for one in alone])
        if not np.isfinite(own).all():  # refused with the first text that is encoded
            continue
        if (off := _difference(own, np.stack([two[layer][1] for two in beside]), dtype)) > 1:
            raise RefusedError(
                "a text has another vector in a batch of texts of as many tokens: it differs by "
                f"{off:.2g} times what rounding explains, so that no score would mean anything"
            )
        reads_padding |= not _difference(own, together[layer], dtype) <= 1
    return reads_padding


def _difference(own: Floats, other: Floats, dtype: str) -> float:
    """Return the largest difference of L2-normalised vectors, in units of the tolerance."""
    apart = np.nan_to_num(_normalised(own) - _normalised(other), nan=np.inf)
    if dtype in EPSILON:
        return float(np.linalg.norm(apart, axis=1).max() / (HALF_EPSILONS * EPSILON[dtype]))
    return float(np.abs(apart).max() / TOLERANCE)


def _normalised(vectors: Floats) -> npt.NDArray[np.float64]:
    wide = vectors.astype(np.float64)
    norms = np.linalg.norm(wide, axis=1, keepdims=True)
    return np.asarray(wide / np.where(norms > 0, norms, 1))


def logits_need_one_length(
    compute: Callable[[npt.NDArray[np.int64]], npt.NDArray[np.float32]],
    lengths: npt.NDArray[np.int64],
    dtype: str,
) -> bool:
    """Return whether a window gets the logits it has alone only in batches of its own length.

    ``compute``: windows, by row → start and end logits float32[2, n, tokens], or the outputs of
    another head [outputs, n, tokens or 1], in which what is beyond a window's end is not looked at.
    ``lengths``: tokens of each window. Differences count relative to the largest logit of all
    windows: one window may have two outputs that are equal by chance, or one output only.

    Raises:
        RefusedError: a window has other logits even among windows of as many tokens.
    """
    rows = np.arange(len(lengths))
    alone = [compute(rows[row : row + 1])[:, 0, : lengths[row]] for row in rows]
    if not all(np.isfinite(own).all() for own in alone):
        return False  # refused with the first window that is read
    relative = HALF_EPSILONS * EPSILON[dtype] if dtype in EPSILON else LOGIT_TOLERANCE
    tolerated = relative * (max(float(np.abs(own).max()) for own in alone) or 1.0)

    def differs(own: npt.NDArray[np.float32], other: npt.NDArray[np.float32]) -> bool:
        return not float(np.abs(own - other).max()) <= tolerated

    for length in np.unique(lengths):
        same = rows[lengths == length]
        if len(same) > 1:
            found = compute(same)
            if any(differs(alone[row], found[:, i, : lengths[row]]) for i, row in enumerate(same)):
                raise RefusedError(
                    "a window has other logits in a batch of windows of as many tokens: no answer "
                    "would mean anything"
                )
    together = compute(rows)
    return any(differs(alone[row], together[:, row, : lengths[row]]) for row in rows)


def read_finding(folder: Path, parts: dict[str, Any], *, since: int = 0) -> bool | None:
    """Return the kept finding about a model under ``parts``, all that decides it; None without one.

    ``since``: a moment (``time.time_ns()``) before which nothing is believed.
    """
    path = folder / f"{fingerprint(parts)}.json"
    try:
        if path.stat().st_mtime_ns < since:
            return None
        found = json.loads(path.read_text())["one length"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return found if isinstance(found, bool) else None


def write_finding(folder: Path, parts: dict[str, Any], found: bool, *, since: int = 0) -> None:
    """Keep a finding for ``read_finding``, dated ``since`` or later.

    Raises:
        IncompleteError: the disk is full or the cache cannot be written.
    """
    path = folder / f"{fingerprint(parts)}.json"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_whole(path, json.dumps({"one length": found, **parts}, indent=1).encode())
        if path.stat().st_mtime_ns < since:
            os.utime(path, ns=(since, since))
    except OSError as error:
        raise IncompleteError(
            f"cannot write to the cache {folder}: {error.strerror or error}; free space or name "
            "another folder with --cache-dir"
        ) from error
