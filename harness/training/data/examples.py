"""The types of training examples, one for each kind of head.

``item`` names the parallel item: it is the same in every language that has the item.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Span:
    """A question on a context. ``start``: code points before the answer; None without answer."""

    item: str
    lang: str
    question: str
    context: str
    answer: str
    start: int | None


@dataclass(frozen=True)
class Classified:
    """One text or two, and the id of their class."""

    item: str
    lang: str
    first: str
    second: str | None
    label: int


@dataclass(frozen=True)
class Choice:
    """A prompt, its continuations, and the position of the right one."""

    item: str
    lang: str
    prompt: str
    choices: tuple[str, ...]
    label: int


@dataclass(frozen=True)
class Tagged:
    """Words and the id of each one's tag."""

    item: str
    lang: str
    words: tuple[str, ...]
    tags: tuple[int, ...]


@dataclass(frozen=True)
class Matched:
    """A query and the text that belongs to it, in ``lang``; the query may be in another."""

    item: str
    lang: str
    query: str
    text: str
    query_lang: str


@dataclass(frozen=True)
class Text:
    """A text of which some tokens are masked."""

    item: str
    lang: str
    text: str


Example = Span | Classified | Choice | Tagged | Matched | Text
Found = dict[str, list[Example]]  # language → its examples, in the order of the files


@dataclass(frozen=True)
class TrainingSet:
    """The examples of a task.

    ``labels``: the classes in the order of their ids. ``route``: how the files were found.
    ``files``: name → sha256. ``revision``: of the data set on the Hub. ``notes``: sentences on
    what was left out.
    """

    examples: Sequence[Example]
    labels: tuple[str, ...]
    route: str
    files: Mapping[str, str]
    revision: str | None = None
    notes: tuple[str, ...] = field(default=())

    @property
    def languages(self) -> dict[str, int]:
        """Language → number of examples; a pair of two languages counts in both."""
        counts = Counter(example.lang for example in self.examples)
        counts.update(
            example.query_lang
            for example in self.examples
            if isinstance(example, Matched) and example.query_lang != example.lang
        )
        return dict(counts)
