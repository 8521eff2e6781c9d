"""Models with a head, loaded when the first text of a task is read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from harness.checkpoint.guard import refusing
from harness.checkpoint.loading import load_head, load_reader
from harness.checkpoint.tokenizer import load_tokenizer
from harness.evaluation.reporting import Advance
from harness.inference.labeller import Labeller
from harness.inference.probe import READS_PADDING, UNTRIED
from harness.inference.reader import Reader, SpanProtocol
from harness.kinds import KINDS

if TYPE_CHECKING:
    from harness.evaluation.run import TaskContext

Model = TypeVar("Model", Reader, Labeller)


class LazyModel:
    """A checkpoint's reader or labeller, whichever its task needs."""

    def __init__(self, context: TaskContext, advance: Advance) -> None:
        self._request = context.request
        self._checkpoint = context.measured
        self._head = KINDS[context.task.card.kind].needs
        self._progress = advance
        self._model: Reader | Labeller | None = None

    @property
    def remarks(self) -> tuple[str, ...]:
        """What is to be said beside the scores of these answers."""
        notes = load_tokenizer(self._checkpoint).notes
        one_length = self._model is not None and self._model.one_length
        return (*notes, READS_PADDING) if one_length else notes

    def read(self, pairs: Sequence[tuple[str, str]], *, lang: str) -> Any:
        """As ``Reader.read``; whatever the model raises over it is a refusal, as below.

        Raises:
            RefusedError: it cannot be loaded or read with.
        """
        progress = self._counting(len(a) + len(b) for a, b in pairs)
        with refusing(self._checkpoint, "cannot answer questions"):
            return self._loaded(Reader).read(pairs, lang=lang, progress=progress)

    def classify(
        self, pairs: Sequence[tuple[str, str]], labels: Sequence[str], *, lang: str
    ) -> Any:
        """As ``Labeller.classify``."""
        progress = self._counting(len(a) + len(b) for a, b in pairs)
        with refusing(self._checkpoint, "cannot decide"):
            return self._loaded(Labeller).classify(pairs, labels, lang=lang, progress=progress)

    def choose(self, questions: Sequence[tuple[str, Sequence[str]]], *, lang: str) -> Any:
        """As ``Labeller.choose``."""
        progress = self._counting(len(a) + len(b) for a, own in questions for b in own)
        with refusing(self._checkpoint, "cannot decide"):
            return self._loaded(Labeller).choose(questions, lang=lang, progress=progress)

    def tag(self, sentences: Sequence[Sequence[str]], labels: Sequence[str], *, lang: str) -> Any:
        """As ``Labeller.tag``."""
        progress = self._counting(sum(map(len, words)) for words in sentences)
        with refusing(self._checkpoint, "cannot decide"):
            return self._loaded(Labeller).tag(sentences, labels, lang=lang, progress=progress)

    def _counting(self, sizes: Any) -> Callable[[int], None]:
        """Counts texts, each as long as they are on average."""
        characters = list(sizes)
        mean = sum(characters) // max(1, len(characters))
        return lambda read: self._progress(read, read * mean)

    def _loaded(self, kind: type[Model]) -> Model:
        if self._model is None:
            request = self._request
            options = {"dtype": request.protocol.dtype, "device": request.runtime.device}
            made: Reader | Labeller
            if self._head == "span":
                model, tokenizer = load_reader(self._checkpoint, **options)
                made = Reader(
                    model,
                    tokenizer,
                    protocol=SpanProtocol(),
                    device=request.runtime.device,
                    batch_tokens=request.runtime.batch_tokens,
                )
            else:
                model, tokenizer = load_head(self._checkpoint, self._head, **options)
                made = Labeller(
                    model,
                    tokenizer,
                    self._head,
                    device=request.runtime.device,
                    batch_tokens=request.runtime.batch_tokens,
                )
            with refusing(self._checkpoint, UNTRIED):
                made.probe()
            self._model = made
        assert isinstance(self._model, kind)
        return self._model
