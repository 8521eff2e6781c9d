"""Reads (question, context) pairs → answer spans."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt

from harness.checkpoint.tokenizer import Tokenizer
from harness.errors import RefusedError, UsageError
from harness.inference.batching import halving, token_batches
from harness.inference.head import HeadModel, check_finite
from harness.inference.probe import logits_need_one_length, probe_pairs
from harness.inference.spans import UNANSWERED, Floats, Integers, Span, best_spans, best_window
from harness.inference.windows import Windows, cut_questions, make_windows, window_shape

# Pairs are read in portions of about this many code points, so that memory does not grow with the
# task; large enough that sorting by length inside a portion loses next to nothing.
PORTION_CHARACTERS = 4_000_000


@dataclass(frozen=True)
class SpanProtocol:
    """The question answering protocol, in tokens.

    Attributes:
        max_length: a window: question, context and special tokens.
        stride: overlap of two neighbouring windows of a context.
        question_length: the question is cut to this first.
        n_best: how many of the highest starts and ends are looked at in a window.
        max_answer_tokens: the longest answer.

    Raises:
        UsageError: a length is not positive, or the stride is not shorter than the window.
    """

    max_length: int = 384
    stride: int = 128
    question_length: int = 64
    n_best: int = 20
    max_answer_tokens: int = 30

    def __post_init__(self) -> None:
        for field in fields(self):
            value, least = getattr(self, field.name), 0 if field.name == "stride" else 1
            if value < least:
                raise UsageError(f"{field.name} is {value}: use {least} or more")
        if self.stride >= self.max_length:
            raise UsageError(
                f"stride {self.stride} leaves a window of {self.max_length} tokens no step: "
                "use a smaller stride"
            )


class Reader(HeadModel):
    """A transformers ``*ForQuestionAnswering``, and how it reads.

    Raises:
        RefusedError: the model has too few positions.
        UsageError: ``batch_tokens`` is not positive.
    """

    def __init__(
        self,
        model: Any,
        tokenizer: Tokenizer,
        *,
        protocol: SpanProtocol = SpanProtocol(),
        device: str = "cpu",
        batch_tokens: int | None = None,
    ) -> None:
        super().__init__(model, tokenizer, device, batch_tokens)
        self.protocol = protocol
        self.shape = window_shape(
            model,
            tokenizer,
            max_length=protocol.max_length,
            question_length=protocol.question_length,
            stride=protocol.stride,
        )

    def probe(self) -> None:
        """Test once whether padding changes a window's logits; if so, batches hold one length.

        ``one_length`` says afterwards whether batches hold windows of one length only.

        Raises:
            RefusedError: a window has other logits even among windows of as many tokens.
        """
        windows = self._windows(probe_pairs())
        self.one_length = logits_need_one_length(
            lambda rows: np.stack(self._logits(windows, rows, "")), windows.lengths, self.dtype
        )

    def _windows(self, pairs: Sequence[tuple[str, str]]) -> Windows:
        questions = cut_questions(self.tokenizer, [question for question, _ in pairs], self.shape)
        contexts = [context for _, context in pairs]
        return make_windows(self.tokenizer, list(zip(questions, contexts, strict=True)), self.shape)

    def read(
        self,
        pairs: Sequence[tuple[str, str]],
        *,
        lang: str,
        progress: Callable[[int], None] | None = None,
    ) -> list[Span]:
        """Return the best answer span of each (question, context), in the order given.

        "No answer" is never predicted, also with a SQuAD 2 head: a span is ``answered=False`` only
        where no valid one exists, as in an empty context. Equal pairs are read once.

        Args:
            pairs: (question, context); the context may be of any length.
            lang: language of the context, for messages.
            progress: called with how many more of ``pairs`` are finished; adds up to their number.

        Raises:
            RefusedError: the model gives logits that are not finite, or none at all.
            IncompleteError: a single window does not fit into memory.
        """
        copies = Counter(pairs)
        spans: dict[tuple[str, str], Span] = {}
        for portion in _portions(list(copies), PORTION_CHARACTERS):

            def finished(rows: Integers, portion: list[tuple[str, str]] = portion) -> None:
                if progress is not None and len(rows):
                    progress(sum(copies[portion[row]] for row in rows))

            spans.update(zip(portion, self._read_portion(portion, lang, finished), strict=True))
        return [spans[pair] for pair in pairs]

    def _read_portion(
        self, pairs: list[tuple[str, str]], lang: str, finished: Callable[[Integers], None]
    ) -> list[Span]:
        windows = self._windows(pairs)
        # Per window only its best span is kept: where it lies in the context, and its score.
        place = np.full((len(windows.pair), 2), -1, dtype=np.int64)
        score = np.full(len(windows.pair), -np.inf, dtype=np.float32)
        valid = np.zeros(len(windows.pair), dtype=np.bool_)
        readable = np.flatnonzero(windows.context_first < windows.context_stop)
        unread = np.bincount(windows.pair[readable], minlength=len(pairs))
        finished(np.flatnonzero(unread == 0))
        lengths = windows.lengths[readable]
        for batch in token_batches(lengths, self.batch_tokens, one_length=self.one_length):
            for rows, (start, end) in halving(
                readable[batch], lambda rows: self._logits(windows, rows, lang)
            ):
                best = best_spans(
                    start,
                    end,
                    windows.context_first[rows],
                    windows.context_stop[rows],
                    n_best=self.protocol.n_best,
                    max_answer_tokens=self.protocol.max_answer_tokens,
                )
                place[rows, 0] = windows.offsets[windows.begin[rows] + best.first, 0]
                place[rows, 1] = windows.offsets[windows.begin[rows] + best.last, 1]
                score[rows], valid[rows] = best.score, best.valid
                touched, read = np.unique(windows.pair[rows], return_counts=True)
                unread[touched] -= read
                finished(touched[unread[touched] == 0])
        bounds = np.searchsorted(windows.pair, np.arange(len(pairs) + 1))
        spans = []
        for (_, context), begin, end in zip(pairs, bounds, bounds[1:], strict=False):
            window = best_window(score[begin:end], valid[begin:end])
            if window is None:
                spans.append(UNANSWERED)
                continue
            first, stop = map(int, place[begin + window])
            spans.append(
                Span(context[first:stop], first, stop, float(score[begin + window]), answered=True)
            )
        return spans

    def _logits(
        self, windows: Windows, rows: npt.NDArray[np.int64], lang: str
    ) -> tuple[Floats, Floats]:
        """Return the start and end logits, each float32[rows, max_length], ``-inf`` at padding."""
        import torch

        tensors, real = self.inputs(windows, rows)
        with torch.inference_mode():
            output = self.model(**tensors)
        if getattr(output, "end_logits", None) is None:
            raise RefusedError(
                f"{type(self.model).__name__} gives no start and end logits for each token: use a "
                "checkpoint with a span head"
            )
        logits = torch.stack((output.start_logits, output.end_logits)).float().cpu().numpy()
        check_finite(logits[:, real], "the model gives logits", lang)
        wide = np.full((2, len(rows), self.shape.max_length), -np.inf, dtype=np.float32)
        wide[:, :, : real.shape[1]] = np.where(real, logits, np.float32(-np.inf))
        return wide[0], wide[1]


def _portions(pairs: list[tuple[str, str]], characters: int) -> Iterator[list[tuple[str, str]]]:
    portion: list[tuple[str, str]] = []
    held = 0
    for pair in pairs:
        portion.append(pair)
        held += len(pair[0]) + len(pair[1])
        if held >= characters:
            yield portion
            portion, held = [], 0
    if portion:
        yield portion
