"""Loads a model with a head when the first text of a task is read."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from harness.checkpoint.guard import refusing
from harness.checkpoint.loading import load_head, load_reader
from harness.checkpoint.tokenizer import load_tokenizer
from harness.evaluation.reporting import Advance
from harness.inference.labeller import Labeller
from harness.inference.probe import READS_PADDING, UNTRIED
from harness.inference.reader import Reader
from harness.kinds import KINDS

if TYPE_CHECKING:
    from harness.evaluation.run import TaskContext

DECIDING = "cannot decide"


class LazyModel:
    """A checkpoint's reader or labeller, whichever its task needs."""

    def __init__(self, context: TaskContext, advance: Advance) -> None:
        self._request = context.request
        self._checkpoint = context.measured
        self._head = KINDS[context.task.card.kind].needs
        self._progress = advance
        self.one_length = False  # as long as it is not loaded

    @property
    def remarks(self) -> tuple[str, ...]:
        """Remarks that belong beside the scores of these answers."""
        notes = load_tokenizer(self._checkpoint).notes
        return (*notes, READS_PADDING) if self.one_length else notes

    def read(self, pairs: Sequence[tuple[str, str]], *, lang: str) -> Any:
        """Read as ``Reader.read`` does; whatever the model raises is a refusal, as below.

        Raises:
            RefusedError: it cannot be loaded or read with.
        """
        progress = self._counting(len(a) + len(b) for a, b in pairs)
        with refusing(self._checkpoint, "cannot answer questions"):
            return self._loaded.read(pairs, lang=lang, progress=progress)

    def classify(
        self, pairs: Sequence[tuple[str, str]], labels: Sequence[str], *, lang: str
    ) -> Any:
        """Decide as ``Labeller.classify`` does."""
        progress = self._counting(len(a) + len(b) for a, b in pairs)
        with refusing(self._checkpoint, DECIDING):
            return self._loaded.classify(pairs, labels, lang=lang, progress=progress)

    def choose(self, questions: Sequence[tuple[str, Sequence[str]]], *, lang: str) -> Any:
        """Decide as ``Labeller.choose`` does."""
        progress = self._counting(len(a) + len(b) for a, own in questions for b in own)
        with refusing(self._checkpoint, DECIDING):
            return self._loaded.choose(questions, lang=lang, progress=progress)

    def tag(self, sentences: Sequence[Sequence[str]], labels: Sequence[str], *, lang: str) -> Any:
        """Decide as ``Labeller.tag`` does."""
        progress = self._counting(sum(map(len, words)) for words in sentences)
        with refusing(self._checkpoint, DECIDING):
            return self._loaded.tag(sentences, labels, lang=lang, progress=progress)

    def _counting(self, sizes: Iterable[int]) -> Callable[[int], None]:
        """Return what counts texts, each as long as they are on average."""
        characters = list(sizes)
        mean = sum(characters) // max(1, len(characters))
        return lambda read: self._progress(read, read * mean)

    @cached_property
    def _loaded(self) -> Any:
        """The `Reader` or `Labeller`, after a probe."""
        runtime, dtype = self._request.runtime, self._request.protocol.dtype
        batches: dict[str, Any] = {"device": runtime.device, "batch_tokens": runtime.batch_tokens}
        made: Reader | Labeller
        if self._head == "span":
            loaded = load_reader(self._checkpoint, dtype=dtype, device=runtime.device)
            made = Reader(*loaded, **batches)
        else:
            loaded = load_head(self._checkpoint, self._head, dtype=dtype, device=runtime.device)
            made = Labeller(*loaded, self._head, **batches)
        with refusing(self._checkpoint, UNTRIED):
            made.probe()
        self.one_length = made.one_length
        return made
