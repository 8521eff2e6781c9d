"""Defines examples: what a task is made of once its files are read, whatever their route."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Bitext:
    """Translation pairs: ``source[i]`` (in ``lang``) translates ``english[i]``."""

    lang: str
    source: tuple[str, ...]
    english: tuple[str, ...]


@dataclass(frozen=True)
class Mining:
    """Two comparable corpora of one split and the translation pairs hidden in them.

    Ids are unique within a side; sentences may repeat. ``gold`` holds (source id, target id).
    """

    lang: str
    split: str
    source: Mapping[str, str]
    english: Mapping[str, str]
    gold: frozenset[tuple[str, str]]


@dataclass(frozen=True)
class Query:
    """A query with the pool indices of every relevant candidate, ascending and not empty."""

    id: str
    text: str
    cluster: str
    relevant: tuple[int, ...]


@dataclass(frozen=True)
class Retrieval:
    """One candidate pool for all languages, and the queries by language."""

    candidate_ids: tuple[str, ...]
    candidates: tuple[str, ...]
    candidate_langs: tuple[str, ...]
    queries: Mapping[str, tuple[Query, ...]]


@dataclass(frozen=True)
class Question:
    """One extractive question. ``answers`` are the accepted strings, at least one."""

    id: str
    question: str
    context: str
    answers: tuple[str, ...]
    cluster: str


@dataclass(frozen=True)
class QuestionSet:
    """The questions of one context language, or of one pair of languages."""

    lang: str
    question_lang: str
    questions: tuple[Question, ...]


@dataclass(frozen=True)
class Pair:
    """A pair of texts and the name of their class."""

    id: str
    first: str
    second: str
    label: str
    cluster: str


@dataclass(frozen=True)
class Alternatives:
    """A prompt, its continuations, and the place of the right one among them, from 0."""

    id: str
    prompt: str
    choices: tuple[str, ...]
    label: int
    cluster: str


@dataclass(frozen=True)
class Sentence:
    """The words of a sentence and the tag of each one."""

    id: str
    words: tuple[str, ...]
    tags: tuple[str, ...]
    cluster: str


@dataclass(frozen=True)
class ItemSet:
    """The labelled examples of one language: of one of the three types above."""

    lang: str
    items: tuple[Pair | Alternatives | Sentence, ...]


Examples = (
    Mapping[str, Bitext]
    | Mapping[str, Mapping[str, Mining]]  # language → split
    | Retrieval
    | Mapping[str, QuestionSet]
    | Mapping[str, ItemSet]
)


@dataclass(frozen=True)
class Loaded:
    """The examples of one task and split, and where they came from.

    ``files``: layout path → sha256 of what was read. ``missing``: language → why it could not be
    had. ``broken``: language → what is wrong with its data, which is there. ``notes``: what a
    reader of the scores must know (a count that differs from the published one makes the data
    custom: ``complete`` is then false and the rows are never ranked); ``remarks``: what keeps no
    row from being ranked.
    """

    examples: Examples
    route: str
    files: Mapping[str, str]
    complete: bool = True
    missing: Mapping[str, str] = field(default_factory=dict)
    broken: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()
