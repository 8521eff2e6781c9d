"""Reads texts with a head that decides between classes, choices or tags."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from harness.checkpoint.heads import label_order
from harness.checkpoint.layers import max_positions
from harness.checkpoint.tokenizer import Tokenizer
from harness.inference.batching import halving, token_batches
from harness.inference.head import HeadModel, Integers, check_finite
from harness.inference.pieces import make_pieces
from harness.inference.probe import logits_need_one_length, probe_pairs
from harness.inference.sequences import Sequences, encoded

Floats = npt.NDArray[np.float32]
Progress = Callable[[int], None]


@dataclass(frozen=True)
class LabelProtocol:
    """How texts are cut before a head decides. ``max_length``: tokens, special ones included."""

    max_length: int = 128


class Labeller(HeadModel):
    """A model with a head, and how it decides. ``kind``: one of the kinds in `checkpoint.heads`."""

    def __init__(
        self,
        model: Any,
        tokenizer: Tokenizer,
        kind: str,
        *,
        protocol: LabelProtocol = LabelProtocol(),
        device: str = "cpu",
        batch_tokens: int | None = None,
    ) -> None:
        super().__init__(model, tokenizer, device, batch_tokens)
        self.kind = kind
        positions = max_positions(model, tokenizer) or protocol.max_length
        self.max_length = min(protocol.max_length, positions)
        # Some heads find the last token of a text by it, and a configuration can name another.
        model.config.get_text_config().pad_token_id = self._pad

    def probe(self) -> None:
        """Test once whether padding changes a text's outputs; if so, batches hold one length.

        Raises:
            RefusedError: a text has other outputs even among texts of as many tokens.
        """
        firsts, seconds = zip(*probe_pairs(), strict=True)
        sequences = encoded(self.tokenizer, firsts, seconds, self.max_length)

        def compute(rows: Integers) -> Floats:
            found = self._outputs(sequences, rows, "")
            if self.kind != "tagging":
                found = found[:, None, :]
            return np.moveaxis(found, 2, 0)

        self.one_length = logits_need_one_length(compute, sequences.lengths, self.dtype)

    def classify(
        self,
        pairs: Sequence[tuple[str, str]],
        labels: Sequence[str],
        *,
        lang: str,
        progress: Progress | None = None,
    ) -> Floats:
        """Return float32[n, labels]: the head's output for each label, in the order of ``labels``.

        Raises:
            RefusedError: the head has other labels; outputs that are not finite.
            IncompleteError: a single pair does not fit into memory.
        """
        order = self._order(labels)
        firsts, seconds = [first for first, _ in pairs], [second for _, second in pairs]
        sequences = encoded(self.tokenizer, firsts, seconds, self.max_length)
        return self._all(sequences, lang, progress)[:, order]

    def choose(
        self,
        questions: Sequence[tuple[str, Sequence[str]]],
        *,
        lang: str,
        progress: Progress | None = None,
    ) -> Floats:
        """Return float32[n, choices]: the head's output for each choice behind its prompt.

        The choices are scored one by one, as the head does it. All questions have equally many.
        Raises as `classify` does.
        """
        firsts = [prompt for prompt, choices in questions for _ in choices]
        seconds = [choice for _, choices in questions for choice in choices]
        sequences = encoded(self.tokenizer, firsts, seconds, self.max_length)
        return self._all(sequences, lang, progress).reshape(len(questions), -1)

    def tag(
        self,
        sentences: Sequence[Sequence[str]],
        labels: Sequence[str],
        *,
        lang: str,
        progress: Progress | None = None,
    ) -> list[list[str]]:
        """Return a label for every word: that of its first token. Long sentences are read in
        pieces.

        Raises as `classify` does.
        """
        order = self._order(labels)
        pieces = make_pieces(self.tokenizer, sentences, self.max_length)
        sequences = pieces.sequences
        best = np.zeros(len(sequences.tokens), dtype=np.int64)  # for every token, the label
        last = pieces.piece[pieces.begin[1:] - 1]  # a sentence is read when its last piece is
        ends = np.bincount(last, minlength=len(sequences.lengths))
        for rows, outputs in self._batches(sequences, lang):
            for row, own in zip(rows, outputs, strict=True):
                begin, stop = sequences.begin[row], sequences.begin[row + 1]
                best[begin:stop] = np.argmax(own[: stop - begin][:, order], axis=1)
            if progress is not None:
                progress(int(ends[rows].sum()))
        numbers = best[sequences.begin[pieces.piece] + pieces.place]
        bounds = pieces.begin
        return [
            [labels[number] for number in numbers[bounds[at] : bounds[at + 1]]]
            for at in range(len(sentences))
        ]

    def _order(self, labels: Sequence[str]) -> list[int]:
        named: Mapping[int, str] = self.model.config.id2label
        return label_order([named[at] for at in range(len(named))], labels)

    def _all(self, sequences: Sequences, lang: str, progress: Progress | None) -> Floats:
        """Return float32[sequences, outputs]."""
        found: Floats | None = None
        for rows, outputs in self._batches(sequences, lang):
            if found is None:
                found = np.zeros((len(sequences.lengths), outputs.shape[1]), dtype=np.float32)
            found[rows] = outputs
            if progress is not None:
                progress(len(rows))
        return np.zeros((0, 0), dtype=np.float32) if found is None else found

    def _batches(self, sequences: Sequences, lang: str) -> Any:
        """Yield (rows, outputs) of all sequences, longest first."""
        for batch in token_batches(
            sequences.lengths, self.batch_tokens, one_length=self.one_length
        ):
            yield from halving(batch, lambda rows: self._outputs(sequences, rows, lang))

    def _outputs(self, sequences: Sequences, rows: Integers, lang: str) -> Floats:
        """Return float32[rows, outputs], or [rows, tokens, outputs] of a tagging head."""
        import torch

        tensors, real = self.inputs(sequences, rows)
        if self.kind == "multiple_choice":  # one choice at a time: its head scores each alone
            tensors = {name: tensor.unsqueeze(1) for name, tensor in tensors.items()}
        with torch.inference_mode():
            outputs: Floats = self.model(**tensors).logits.float().cpu().numpy()
        counted = outputs[real] if self.kind == "tagging" else outputs
        check_finite(counted, "the head gives outputs", lang)
        return outputs
