"""A task's card: what strict YAML under `tasks/` may say of a task, and what must fit together."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal, get_args

from pydantic import Field, model_validator

from harness.cards.labels import repeated
from harness.cards.languages import canonical, read_languages
from harness.cards.layouts import LAYOUTS, Format, Kind
from harness.cards.source_files import FileCode, Hub, SourceFile, read_checksums
from harness.errors import UsageError, one_line, unknown_name
from harness.io.strict_yaml import (
    KeyPath,
    Misfit,
    Name,
    Strict,
)

Scorer = Literal["squad", "mlqa"]
RETRIEVAL = ("bitext", "mining", "passages")  # kinds that are searched in vectors
LABELLED = ("classification", "tagging")  # kinds whose classes have names


class SplitSource(Strict):
    """The files of one split by role. ``needs``: splits that must be read with it.

    ``half``: languages of which only the second half is read (`harness.data.halves`), since a
    recipe trains on the first.
    """

    files: Mapping[Name, SourceFile] = Field(min_length=1)
    hub: Hub | None = None
    needs: list[str] = Field(default_factory=list)
    half: list[str] = Field(default_factory=list)


class Source(Strict):
    """Where a task's data is. ``codes``: language → the files' own code, where they differ.

    ``remedy``: what a user can do where no route leads to the data.
    """

    format: Format
    package: bool = False
    codes: Mapping[str, FileCode] = Field(default_factory=dict)
    splits: Mapping[str, SplitSource] = Field(min_length=1)
    remedy: str | None = None


class Lengths(Strict):
    """Tokens that a query and a document may have, special tokens included."""

    query: int = Field(gt=2)
    document: int = Field(gt=2)


class TaskCard(Strict):
    """One task. A *unit* is a language, or ``context-question`` for pairs of languages.

    ``labels``: the classes, in the order of the scores in outcome rows; ``label_names``: what a
    file calls them, where that is not their name. ``chance``: the accuracy of always giving the
    larger class, or one of equal ones, where rows do not tell. ``counts``: split → unit → pairs,
    questions, mentions, sentences or gold pairs, as published; of half a file, those of the half.
    ``candidates``: size of the one pool, as published.
    """

    name: Name
    title: str
    kind: Kind
    version: int = Field(ge=1)
    languages: list[str] = Field(min_length=1)
    split: str = "test"
    metrics: list[str] = Field(min_length=1)
    primary: str
    official: str
    lengths: Lengths | None = None
    scorer: Scorer | None = None
    labels: list[str] = Field(default_factory=list)
    label_names: Mapping[str, str] = Field(default_factory=dict)
    chance: float | None = Field(default=None, gt=0, lt=1)
    counts: Mapping[str, Mapping[str, int]] = Field(default_factory=dict)
    candidates: int | None = None
    licence: str
    citation: str
    notes: list[str] = Field(default_factory=list)
    source: Source

    @model_validator(mode="after")
    def _holds_together(self) -> TaskCard:
        for misfit in _misfits(self):
            raise misfit
        return self

    @property
    def argument(self) -> str:
        """What names the task on a command line."""
        return self.name

    @property
    def shown(self) -> list[str]:
        """The metrics in the order in which they are shown."""
        return self.metrics

    @property
    def pairs(self) -> bool:
        """Whether the units are pairs of languages, `context-question`."""
        return "-" in self.languages[0]

    @property
    def hash(self) -> str:
        """sha256 hex over everything in the card that can change a number, and no prose."""
        splits = {
            split: {
                "needs": part.needs,
                "files": {
                    role: [file.path, file.url, file.member] for role, file in part.files.items()
                },
                **({"half": part.half} if part.half else {}),
            }
            for split, part in self.source.splits.items()
        }
        checksums = read_checksums()
        paths = {
            self.fill(file.path, unit)
            for part in self.source.splits.values()
            for file in part.files.values()
            for unit in self.languages
        }
        deciding: dict[str, Any] = {
            "kind": self.kind,
            "version": self.version,
            "languages": self.languages,
            "split": self.split,
            "lengths": self.lengths.model_dump() if self.lengths else None,
            "scorer": self.scorer,
            "format": self.source.format,
            "codes": dict(self.source.codes),
            "splits": splits,
            "checksums": {path: checksums[path] for path in paths & checksums.keys()},
            # Absent where there is nothing to say: cards from before them keep their hashes.
            **({"labels": self.labels} if self.labels else {}),
            **({"label_names": dict(self.label_names)} if self.label_names else {}),
        }
        text = json.dumps(deciding, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
        return sha256(text.encode()).hexdigest()

    def select(self, langs: Iterable[str] | None = None) -> tuple[str, ...]:
        """The units for the languages asked for, in card order; all of them for None.

        Any code that files use is understood. For pairs a language stands for every pair with
        that context language, and `de-ar` for one pair. UsageError with the nearest names for a
        language that is unknown or not in the task.
        """
        if langs is None:
            return tuple(self.languages)
        wanted: set[str] = set()
        for lang in langs:
            found = self._units(lang)
            if not found:
                known = sorted({unit.split("-")[0] for unit in self.languages})
                raise unknown_name(f"language of {self.name}", lang, known)
            wanted |= found
        return tuple(unit for unit in self.languages if unit in wanted)

    def check_split(self, split: str | None) -> str:
        """The split to read: the card's own for None. UsageError for one that it has not."""
        if split is None:
            return self.split
        if split not in self.source.splits:
            known = ", ".join(self.source.splits)
            raise UsageError(f"{self.name} has no split {split!r}: its splits are {known}")
        return split

    def code(self, lang: str) -> str:
        """The code that the task's files use for a language."""
        return self.source.codes.get(lang, lang)

    def fill(self, template: str, unit: str) -> str:
        """A template of the card's source for one unit: with the codes that files use."""
        context, _, question = unit.partition("-")
        return template.format(
            lang=context,
            code=self.code(context),
            context=self.code(context),
            question=self.code(question or context),
        )

    def _units(self, lang: str) -> set[str]:
        parts = [canonical(part) for part in lang.split("-")] if self.pairs else [canonical(lang)]
        if self.pairs and len(parts) == 1:
            return {unit for unit in self.languages if unit.split("-")[0] == parts[0]}
        return {"-".join(parts)} & set(self.languages)


CUSTOM = "custom card "  # how a note begins that names one


class CustomCard(TaskCard):
    """A card from outside the package: its rows are marked custom and never ranked.

    ``path``: as it was named. ``checksum``: sha256 hex of the file, which is in the signature: of
    such a card, prose too may be all that tells two versions apart.
    """

    path: str
    checksum: str

    @property
    def note(self) -> str:
        """What the rows say of the card: two versions of it may have one name."""
        return f"{CUSTOM}{self.checksum[:12]}"

    @property
    def argument(self) -> str:
        """What names the task on a command line."""
        return self.path

    @property
    def hash(self) -> str:
        """sha256 hex over what decides a number, and over the file."""
        return sha256(f"{super().hash} {self.checksum}".encode()).hexdigest()

    @property
    def shown(self) -> list[str]:
        """The metrics, the primary one first: the rows alone say which one leads."""
        return list(dict.fromkeys([self.primary, *self.metrics]))

    def portable(self) -> dict[str, Any]:
        """The card as plain data, without the folder that it lay in."""
        return {**self.model_dump(mode="json"), "path": Path(self.path).name}


def _misfits(card: TaskCard) -> Iterable[Misfit]:
    """What does not fit within a card."""
    yield from _unit_misfits(card)
    if card.split not in card.source.splits:
        yield Misfit(("split",), f"split {card.split} has no files under source.splits")
    for split, part in card.source.splits.items():
        for lang in part.half:
            if lang not in card.languages:
                problem = f"split {split} halves {lang}, which is not among languages"
                yield Misfit(("source", "splits", split, "half"), problem)
        for needed in part.needs:
            if needed not in card.source.splits:
                problem = f"split {split} needs {needed}, which has no files"
                yield Misfit(("source", "splits", split, "needs"), problem)
        if card.kind == "mining" and "dev" not in (split, *part.needs):
            problem = f"split {split} needs dev, on which mining chooses its threshold"
            yield Misfit(("source", "splits", split), problem)
    yield from _metric_misfits(card)
    yield from _file_misfits(card)
    if (card.kind == "span_qa") != (card.scorer is not None):
        known = " or ".join(get_args(Scorer))
        yield Misfit(("scorer",), f"scorer ({known}) is for span_qa tasks, and needed there")
    if (card.kind in RETRIEVAL) != (card.lengths is not None):
        yield Misfit(("lengths",), "lengths are for retrieval tasks, and needed there")
    if (card.kind in LABELLED) != (len(card.labels) > 1):
        known = " and ".join(LABELLED)
        yield Misfit(("labels",), f"two labels or more are for {known} tasks, and needed there")
    if again := repeated(card.labels):
        place, problem = again
        yield Misfit(("labels", place), problem)
    for value, label in card.label_names.items():
        if label not in card.labels:
            problem = f"label_names: {value} stands for {label}, which is not among labels"
            yield Misfit(("label_names", value), problem)


def _file_misfits(card: TaskCard) -> Iterable[Misfit]:
    layout, alone = LAYOUTS[card.source.format], len(card.languages) == 1
    if card.kind != layout.kind:
        problem = f"{card.source.format} is a format of {layout.kind} tasks, not of {card.kind}"
        yield Misfit(("source", "format"), problem)
    for split, part in card.source.splits.items():
        path: KeyPath = ("source", "splits", split)
        for problem in layout.problems({k: v.path for k, v in part.files.items()}, alone=alone):
            yield Misfit((*path, "files"), problem)
        if part.hub is not None:
            for problem in layout.hub_problems(part.hub.files, alone=alone):
                yield Misfit((*path, "hub"), problem)


def _metric_misfits(card: TaskCard) -> Iterable[Misfit]:
    from harness.metrics.by_kind import METRICS, OF_LANGUAGES  # numpy: only where a card is read

    known = METRICS[card.kind]
    named: list[tuple[KeyPath, str]] = [
        (("metrics", place), name) for place, name in enumerate(card.metrics)
    ]
    for path, name in (*named, (("primary",), card.primary), (("official",), card.official)):
        if name not in known:
            near = get_close_matches(name, known, n=1, cutoff=0.5)
            remedy = f"did you mean {near[0]}" if near else f"use one of {', '.join(known)}"
            yield Misfit(path, f"{name} is not a metric of {card.kind} tasks: {remedy}")
        elif name in OF_LANGUAGES and not LAYOUTS[card.source.format].spoken:
            problem = f"{name} needs candidates with a language, which {card.source.format} has not"
            yield Misfit(path, f"{problem}: leave it out")
    if len(set(card.metrics)) != len(card.metrics):
        yield Misfit(("metrics",), "metrics repeat")
    for key, name in (("primary", card.primary), ("official", card.official)):
        if name not in card.metrics:
            yield Misfit((key,), f"{name} is not among metrics")


def _unit_misfits(card: TaskCard) -> Iterable[Misfit]:
    known = read_languages()
    if len(set(card.languages)) != len(card.languages):
        yield Misfit(("languages",), "languages repeat")
    for place, unit in enumerate(card.languages):
        parts = unit.split("-")
        if len(parts) != (2 if card.pairs else 1):
            problem = f"languages mix single languages and pairs: {one_line(unit, 60)}"
            yield Misfit(("languages", place), problem)
        for part in parts:
            if part not in known:
                yield Misfit(
                    ("languages", place), f"{one_line(part, 60)} is not a code of languages.tsv"
                )
    for lang in card.source.codes:
        if lang not in known:
            problem = f"source.codes: {lang} is not a code of languages.tsv"
            yield Misfit(("source", "codes", lang), problem)
    for split, counts in card.counts.items():
        if split not in card.source.splits:
            yield Misfit(("counts", split), f"counts: no split {split}")
        for unit in counts:
            if unit not in card.languages:
                problem = f"counts: {unit} is not among languages"
                yield Misfit(("counts", split, unit), problem)
