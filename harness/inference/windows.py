"""Makes windows: a question beside a context, cut into overlapping pieces that fit the model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from harness.checkpoint.layers import position_limit
from harness.checkpoint.tokenizer import Tokenizer
from harness.errors import RefusedError
from harness.inference.sequences import Sequences, flat

# One call of the tokenizer takes so many pairs: enough for its threads, and few enough that the
# lists it returns (some hundred bytes a token) stay small beside the arrays that are kept.
PAIRS_PER_CALL = 256


@dataclass(frozen=True)
class WindowShape:
    """How pairs are cut for one model and tokenizer, in tokens.

    Attributes:
        max_length: a whole window: question, context and special tokens.
        question_length: the question is cut to this before windows are made.
        stride: overlap of two neighbouring windows of a context.
    """

    max_length: int
    question_length: int
    stride: int


@dataclass(frozen=True, kw_only=True)
class Windows(Sequences):
    """Windows without padding, end to end.

    Attributes:
        offsets: int32[total, 2], code points in the text that a token comes from.
        context_first: int64[windows], position in the window of the first token of the context.
        context_stop: int64[windows], position after its last one; equal where it has none.
        pair: int64[windows], which pair the window belongs to, ascending.
    """

    offsets: npt.NDArray[np.int32]
    context_first: npt.NDArray[np.int64]
    context_stop: npt.NDArray[np.int64]
    pair: npt.NDArray[np.int64]


def window_shape(
    model: Any, tokenizer: Tokenizer, *, max_length: int, question_length: int, stride: int
) -> WindowShape:
    """Return the protocol's lengths where the model has room for them, shorter ones where it has
    not.

    The window is the shortest of ``max_length``, the tokenizer's ``model_max_length`` and the
    model's positions. ``run_qa`` fails when the stride leaves the context no room to move; here
    question and stride then take at most half of what is left, the same for every pair.

    Raises:
        RefusedError: the model has positions for fewer tokens than one of question and context.
    """
    limit = position_limit(model)
    length = min(max_length, tokenizer.model_max_length or max_length, limit or max_length)
    content = length - tokenizer.special_count(pair=True)
    if content < 2:
        raise RefusedError(
            f"the model reads at most {length} tokens: too few for a question and a context; "
            "use a checkpoint with more positions"
        )
    question = min(question_length, max(content - stride - 1, content // 2))
    room = content - question
    return WindowShape(
        max_length=length,
        question_length=question,
        stride=stride if stride < room else room // 2,
    )


def cut_questions(tokenizer: Tokenizer, questions: Sequence[str], shape: WindowShape) -> list[str]:
    """Return questions without leading white space, cut after token number ``question_length``.

    The cut is made in the text, by that token's end offset. The shorter text may be tokenised into
    more pieces than it was cut to; that matters only where they would leave no room for the
    context, and then more is cut.
    """
    special = tokenizer.special_count(pair=True)
    most = shape.max_length - special - shape.stride - 1
    cut = []
    for question in questions:
        kept, exact = tokenizer.shortened(question.lstrip(), max(shape.question_length, most) + 1)
        cut.append(kept if exact else question)  # what cannot be cut exactly is refused below
    keep, bound = shape.question_length, shape.question_length
    rows = list(range(len(cut)))
    while rows:
        encoded = tokenizer.encode([cut[row] for row in rows], special_tokens=False)
        long = [
            (row, encoding.offsets)
            for row, encoding in zip(rows, encoded, strict=True)
            if len(encoding.ids) > bound
        ]
        for row, spans in long:
            cut[row] = cut[row][: spans[keep - 1][1]] if keep > 0 else ""
        rows = [row for row, _ in long]
        keep, bound = keep - 1, most
    return cut


def make_windows(
    tokenizer: Tokenizer, pairs: Sequence[tuple[str, str]], shape: WindowShape
) -> Windows:
    """Return the windows of each (question, context), as transformers' ``run_qa`` makes them,
    unpadded.

    Questions come already cut (``cut_questions``). A tokenizer that pads on the left gets the
    context first, like there; only the context is ever cut. A context without tokens has one
    window, with ``context_first == context_stop``.
    """
    tokens: list[npt.NDArray[np.int32]] = []
    types: list[npt.NDArray[np.int8]] = []
    offsets: list[npt.NDArray[np.int32]] = []
    context: list[tuple[int, int]] = []
    pair: list[int] = []
    question_first = tokenizer.padding_side == "right"
    for begin in range(0, len(pairs), PAIRS_PER_CALL):
        part = pairs[begin : begin + PAIRS_PER_CALL]
        encoded = tokenizer.encode(
            part if question_first else [(text, question) for question, text in part],
            max_length=shape.max_length,
            truncation="only_second" if question_first else "only_first",
            stride=shape.stride,
            whole=True,
        )
        for number, whole in enumerate(encoded, start=begin):
            for window in (whole, *whole.overflowing):
                pair.append(number)
                tokens.append(np.asarray(window.ids, dtype=np.int32))
                types.append(np.asarray(window.type_ids, dtype=np.int8))
                offsets.append(np.asarray(window.offsets, dtype=np.int32))
                context.append(_extent(window.sequence_ids, int(question_first)))
    extents = np.asarray(context, dtype=np.int64).reshape(-1, 2)
    joined = flat(tokens, types)
    return Windows(
        tokens=joined.tokens,
        types=joined.types,
        begin=joined.begin,
        offsets=np.concatenate([np.empty((0, 2), dtype=np.int32), *offsets]),
        context_first=extents[:, 0],
        context_stop=extents[:, 1],
        pair=np.asarray(pair, dtype=np.int64),
    )


def _extent(sequences: list[int | None], wanted: int) -> tuple[int, int]:
    # The tokens of a sequence are neighbours: its first position and their count say which.
    count = sequences.count(wanted)
    first = sequences.index(wanted) if count else 0
    return first, first + count
