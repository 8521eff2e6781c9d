"""Turns examples into token ids and labels, which are not padded yet."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from harness.cards.training import Recipe
from harness.checkpoint.layers import max_positions
from harness.checkpoint.tokenizer import Tokenizer
from harness.errors import DataError, RefusedError
from harness.inference.batching import pad_id
from harness.inference.pieces import make_pieces
from harness.inference.sequences import TEXTS_PER_CALL, Sequences, encoded, flat
from harness.inference.token_types import takes_token_types
from harness.inference.windows import Windows, cut_questions, make_windows, window_shape
from harness.training.data.examples import Choice, Classified, Example, Matched, Span, Tagged, Text

IGNORED = -100  # torch leaves this label out of the loss.


@dataclass(frozen=True)
class Features:
    """The inputs and labels of one task. Batches are counted in rows.

    ``sides``: the sequences of both texts, or of the only one; a row has ``per_row`` sequences of
    each side, which are the choices of a multiple-choice question, and 1 otherwise. ``labels``:
    name → int64[rows], or int32[total tokens] for tags. ``sources``: int64[rows], the example that
    a row was made of.
    """

    sides: tuple[Sequences, ...]
    labels: Mapping[str, npt.NDArray[Any]]
    sources: npt.NDArray[np.int64]
    per_row: int = 1

    def __len__(self) -> int:
        return len(self.sources)

    @property
    def cut(self) -> int:
        """The number of sequences that were too long and lost tokens."""
        return sum(side.cut for side in self.sides)

    @property
    def lengths(self) -> npt.NDArray[np.int64]:
        """The length of the longest sequence of each row, int64[rows]."""
        by_side = [side.lengths.reshape(len(self), self.per_row).max(axis=1) for side in self.sides]
        lengths: npt.NDArray[np.int64] = np.max(by_side, axis=0)
        return lengths


@dataclass(frozen=True)
class Codec:
    """A tokenizer with the model and the recipe that decide how it encodes texts."""

    tokenizer: Tokenizer
    model: Any
    recipe: Recipe

    @property
    def pad(self) -> int:
        """The token id of padding."""
        return pad_id(self.tokenizer)

    @property
    def typed(self) -> bool:
        """Whether the model takes token types, which say from which of two texts a token is."""
        return takes_token_types(self.model, self.tokenizer)

    def length(self, most: int) -> int:
        """Return ``most``, or the number of positions that the model has if that is less."""
        return min(most, max_positions(self.model, self.tokenizer) or most)


Encode = Callable[[Sequence[Any], Codec], Features]


def encode(kind: str, examples: Sequence[Example], codec: Codec) -> Features:
    """Make the features of examples, all of one kind."""
    return ENCODERS[kind](examples, codec)


def span_features(examples: Sequence[Span], codec: Codec) -> Features:
    """Make windows as evaluation does; the labels are the first and last token of the answer.

    As in transformers' ``run_qa``, a window that does not hold the whole answer is labelled with
    its first special token (``cls``).
    """
    recipe = codec.recipe
    shape = window_shape(
        codec.model,
        codec.tokenizer,
        max_length=recipe.max_length,
        question_length=recipe.question_length,
        stride=recipe.stride,
    )
    questions = cut_questions(codec.tokenizer, [one.question for one in examples], shape)
    pairs = [(question, one.context) for question, one in zip(questions, examples, strict=True)]
    windows = make_windows(codec.tokenizer, pairs, shape)
    starts, ends = answer_tokens(windows, examples, codec.tokenizer)
    return Features(
        (windows,),
        {"start_positions": starts, "end_positions": ends},
        windows.pair,
    )


def answer_tokens(
    windows: Windows, examples: Sequence[Span], tokenizer: Tokenizer
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return the first and the last token of the answer in each window, int64[windows] each."""
    count = len(windows.pair)
    starts, ends = np.zeros(count, dtype=np.int64), np.zeros(count, dtype=np.int64)
    for window in range(count):
        begin = windows.begin[window]
        ids = windows.tokens[begin : windows.begin[window + 1]]
        none = _none_position(ids, tokenizer)
        starts[window] = ends[window] = none
        example = examples[windows.pair[window]]
        first, stop = windows.context_first[window], windows.context_stop[window]
        if example.start is None or first == stop:
            continue
        offsets = windows.offsets[begin + first : begin + stop]
        from_, to = example.start, example.start + len(example.answer)
        if offsets[0, 0] <= from_ and offsets[-1, 1] >= to:
            start = first + np.searchsorted(offsets[:, 0], from_, side="right") - 1
            end = first + np.searchsorted(offsets[:, 1], to, side="left")
            # One character may be several tokens (bytes), which all have the same offsets.
            starts[window], ends[window] = min(start, end), max(start, end)
    return starts, ends


def _none_position(ids: npt.NDArray[np.int32], tokenizer: Tokenizer) -> int:
    """Return the position of the token that labels a window without an answer."""
    for role in ("cls_token", "bos_token"):
        special = tokenizer.special.get(role)
        if special is not None and (found := np.flatnonzero(ids == special)).size:
            return int(found[0])
    return 0


def classification_features(examples: Sequence[Classified], codec: Codec) -> Features:
    """Encode one text or a pair; where a pair is too long its longer text is cut, as in XTREME."""
    firsts = [one.first for one in examples]
    seconds = [one.second for one in examples]
    paired = seconds[0] is not None
    sequences = _sequences(codec, firsts, [text or "" for text in seconds] if paired else None)
    labels = np.array([one.label for one in examples], dtype=np.int64)
    return Features((sequences,), {"labels": labels}, np.arange(len(examples)))


def choice_features(examples: Sequence[Choice], codec: Codec) -> Features:
    """Encode every choice after its prompt. DataError unless all have equally many choices."""
    widths = {len(one.choices) for one in examples}
    if len(widths) != 1:
        raise DataError(f"questions with {sorted(widths)} choices: they have to have equally many")
    prompts = [one.prompt for one in examples for _ in one.choices]
    choices = [choice for one in examples for choice in one.choices]
    labels = np.array([one.label for one in examples], dtype=np.int64)
    return Features(
        (_sequences(codec, prompts, choices),),
        {"labels": labels},
        np.arange(len(examples)),
        per_row=widths.pop(),
    )


def tagging_features(examples: Sequence[Tagged], codec: Codec) -> Features:
    """Cut sentences into pieces as evaluation does: each word is in one piece of its sentence.

    The first token of a word carries its tag; its other tokens have no label.
    """
    limit = codec.length(codec.recipe.max_length)
    pieces = make_pieces(codec.tokenizer, [one.words for one in examples], limit)
    sequences = pieces.sequences
    tags = np.full(len(sequences.tokens), IGNORED, dtype=np.int32)
    tags[sequences.begin[pieces.piece] + pieces.place] = [
        tag for one in examples for tag in one.tags
    ]
    sentence = np.repeat(np.arange(len(examples)), [len(one.words) for one in examples])
    sources = np.zeros(len(sequences.lengths), dtype=np.int64)
    sources[pieces.piece] = sentence
    return Features((sequences,), {"labels": tags}, sources)


def matched_features(examples: Sequence[Matched], codec: Codec) -> Features:
    """Encode queries and texts separately; the labels number equal queries, and equal texts."""
    recipe = codec.recipe
    queries = _sequences(codec, [one.query for one in examples], None, recipe.question_length)
    texts = _sequences(codec, [one.text for one in examples], None, recipe.max_length)
    labels = {
        "query_ids": _numbers([one.query for one in examples]),
        "text_ids": _numbers([one.text for one in examples]),
    }
    return Features((queries, texts), labels, np.arange(len(examples)))


def text_features(examples: Sequence[Text], codec: Codec) -> Features:
    """Cut texts into pieces that fit; every step draws anew which tokens are masked.

    RefusedError where the tokenizer has no mask token.
    """
    if "mask_token" not in codec.tokenizer.special:
        raise RefusedError("its tokenizer has no mask token: no masked language modelling")
    limit = codec.length(codec.recipe.max_length)
    tokens: list[npt.NDArray[np.int32]] = []
    sources: list[int] = []
    for begin in range(0, len(examples), TEXTS_PER_CALL):
        found = codec.tokenizer.encode(
            [one.text for one in examples[begin : begin + TEXTS_PER_CALL]],
            max_length=limit,
            whole=True,
        )
        for number, whole in enumerate(found, start=begin):
            for piece in (whole, *whole.overflowing):
                tokens.append(np.asarray(piece.ids, dtype=np.int32))
                sources.append(number)
    return Features((flat(tokens, None),), {}, np.asarray(sources, dtype=np.int64))


def _sequences(
    codec: Codec, firsts: Sequence[str], seconds: Sequence[str] | None, most: int | None = None
) -> Sequences:
    return encoded(codec.tokenizer, firsts, seconds, codec.length(most or codec.recipe.max_length))


def _numbers(texts: Sequence[str]) -> npt.NDArray[np.int64]:
    known: dict[str, int] = {}
    return np.array([known.setdefault(text, len(known)) for text in texts], dtype=np.int64)


ENCODERS: Mapping[str, Encode] = {
    "span": span_features,
    "classification": classification_features,
    "multiple_choice": choice_features,
    "tagging": tagging_features,
    "dual_encoder": matched_features,
    "mlm": text_features,
}
