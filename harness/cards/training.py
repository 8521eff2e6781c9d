"""Cards of intermediate tasks: strict YAML under `tasks/intermediate/` → frozen models."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import Field, RootModel, model_validator

from harness.cards.catalogue import card_names, read_card
from harness.cards.labels import repeated
from harness.cards.languages import read_languages, task_root
from harness.cards.objectives import Objective
from harness.cards.source_files import FileCode, HubData, SourceFile, read_checksums
from harness.errors import DataError, NotFoundError, unknown_name
from harness.io.strict_yaml import Name, Strict, read_document, read_model, validated

Head = Literal["span", "classification", "multiple_choice", "tagging", "dual_encoder", "mlm"]
Format = Literal[
    "squad",
    "tydiqa",
    "demo_qa",
    "records",
    "parallel_records",
    "parallel_lines",
    "mention_pairs",
    "conll",
    "copa",
    "lines",
]
FORMATS: Mapping[Head, frozenset[str]] = {
    "span": frozenset(["squad", "tydiqa", "demo_qa"]),
    "classification": frozenset(["records"]),
    "multiple_choice": frozenset(["records", "copa"]),
    "tagging": frozenset(["conll"]),
    "dual_encoder": frozenset(
        ["squad", "tydiqa", "parallel_records", "parallel_lines", "mention_pairs"]
    ),
    "mlm": frozenset(["squad", "tydiqa", "demo_qa", "records", "lines"]),
}
ONE_ROLE = ("parallel_records", "parallel_lines", "mention_pairs", "demo_qa")
# What a reader of records must be told a column for.
COLUMNS: Mapping[Head, frozenset[str]] = {
    "classification": frozenset(["first", "label"]),
    "multiple_choice": frozenset(["prompt", "choices", "label"]),
    "dual_encoder": frozenset(["texts"]),
    "mlm": frozenset(["text"]),
}
Columns = Mapping[Name, str | list[str]]


class TrainingFile(SourceFile):
    """A file of examples. ``columns``: what we read → the file's column, or several of them.

    A column is a path into the record: ``a.b`` an entry within, ``a.*.b`` that entry of every
    item of a list. Without a ``header`` the columns of tables are numbers, from 0; where fields
    are not ``quoted`` a quotation mark is text.
    """

    columns: Columns = Field(default_factory=dict)
    header: bool = True
    quoted: bool = True

    @property
    def unlike_columns(self) -> bool:
        """Whether ``header`` is not what the columns show: numbers are those of a table without."""
        paths = [
            path
            for value in self.columns.values()
            for path in ([value] if isinstance(value, str) else value)
        ]
        return self.header == (bool(paths) and all(path.isdecimal() for path in paths))


class TrainingHub(HubData):
    """A data set on the Hub. ``columns``: role → columns, where they are not those of the files."""

    columns: Mapping[Name, Columns] = Field(default_factory=dict)


class TrainingSplit(Strict):
    """The files of one split by role."""

    files: Mapping[Name, TrainingFile] = Field(min_length=1)
    hub: TrainingHub | None = None

    @property
    def needs(self) -> list[str]:
        """No other split is ever read along."""
        return []


class TrainingSource(Strict):
    """Where a task's data is, as in the card of a target task."""

    format: Format
    package: bool = False
    codes: Mapping[str, FileCode] = Field(default_factory=dict)
    splits: Mapping[str, TrainingSplit] = Field(min_length=1, max_length=1)
    remedy: str | None = None


class Recipe(Strict):
    """How a task is trained. The defaults are jiant's for intermediate training.

    Linear decay after ``warmup`` (a share of all steps; from 1 on so many steps) of AdamW;
    ``weight_decay`` on matrices only; gradients clipped to the norm ``clip``. ``batch_size`` counts
    the examples of one optimiser step (windows, for span QA), over all processes. Lengths are in
    tokens, special ones included; ``question_length`` cuts a question (span QA without special
    tokens, as in evaluation) and ``stride`` is the overlap of its windows.
    """

    epochs: float = Field(default=3.0, gt=0, le=1_000)
    lr: float = Field(default=1e-5, gt=0)
    batch_size: int = Field(default=16, ge=1)
    max_length: int = Field(default=256, ge=8)
    question_length: int = Field(default=64, ge=1)
    stride: int = Field(default=128, ge=0)
    warmup: float = Field(default=0.1, ge=0)
    weight_decay: float = Field(default=0.01, ge=0)
    eps: float = Field(default=1e-8, gt=0)
    clip: float = Field(default=1.0, gt=0)
    mask: float = Field(default=0.15, gt=0, lt=1)

    @model_validator(mode="after")
    def _whole_steps(self) -> Recipe:
        if self.warmup > 1 and not self.warmup.is_integer():
            raise ValueError(f"warmup {self.warmup}: give a share below 1, or whole steps")
        return self

    def warmup_steps(self, total: int) -> int:
        """Return how many of ``total`` steps warm up."""
        return int(self.warmup) if self.warmup >= 1 else round(self.warmup * total)


class LoraRecipe(Strict):
    """Low-rank adapters on every linear layer of some encoder layers; all else is frozen.

    ``layers``: the first and the last, from 0; all of them for None.
    """

    layers: Annotated[list[int], Field(min_length=2, max_length=2)] | None = None
    rank: int = Field(default=16, ge=1, le=1024)
    alpha: int = Field(default=32, gt=0)


class LanguageAssignment(Strict):
    """Parallel items spread over the languages: every item of ``items`` in one of them.

    ``items``: the language whose file says which items there are. ``partners``: the dealt
    language is what the item is paired with in ``items``, never that language itself.
    """

    items: str
    seed: int = 0
    partners: bool = False


class IntermediateCard(Strict):
    """One intermediate task.

    ``cap``: the most examples that count for its share of a multi-task run. ``labels``: the
    classes in the order of their ids; ``label_names``: what a file calls them; ``skip_labels``:
    values of examples that are left out. ``half``: only the first half is trained on, whose second
    half a target task is measured on (`harness.data.halves`). ``unanswerable``: questions without
    an answer are examples too. ``symmetric``: the loss of a dual encoder is over both directions.
    ``design``: cards of one design differ in the languages of their data alone.
    ``contaminates``: target tasks whose data this is, or splits of them (``task/split``).
    ``stand_in``: too small to be evidence about any objective; a submission of what is trained on
    it says so.
    """

    name: Name
    title: str
    kind: Head
    objective: Objective
    version: int = Field(default=1, ge=1)
    languages: list[str] = Field(min_length=1)
    source: TrainingSource
    recipe: Recipe = Field(default_factory=Recipe)
    lora: LoraRecipe | None = None
    deal: LanguageAssignment | None = None
    cap: int = Field(default=131_072, gt=0)
    labels: list[str] = Field(default_factory=list)
    label_names: Mapping[str, str] = Field(default_factory=dict)
    skip_labels: list[str] = Field(default_factory=list)
    half: bool = False
    unanswerable: bool = False
    symmetric: bool = False
    design: Name | None = None
    contaminates: list[str] = Field(default_factory=list)
    stand_in: bool = False
    licence: str
    citation: str
    notes: list[str] = Field(default_factory=list)

    @model_validator(mode="after")
    def _holds_together(self) -> IntermediateCard:
        for problem in _problems(self):
            raise ValueError(problem)
        return self

    @property
    def split(self) -> str:
        """The one split it is trained on."""
        return next(iter(self.source.splits))

    @property
    def hash(self) -> str:
        """sha256 hex over everything in the card that can change a weight, and no prose.

        Columns of a Hub data set count where that is read: in the settings of the training.
        """
        part = self.source.splits[self.split]
        checksums = read_checksums()
        paths = {self.fill(f.path, lang) for f in part.files.values() for lang in self.languages}
        header = {role: file.header for role, file in part.files.items() if file.unlike_columns}
        quoted = {role: file.quoted for role, file in part.files.items() if not file.quoted}
        deciding: dict[str, Any] = {
            **self.model_dump(
                mode="json",
                include={
                    "kind", "version", "languages", "recipe", "lora", "deal", "cap", "labels",
                    "label_names", "skip_labels", "unanswerable", "symmetric",
                },
            ),
            "format": self.source.format,
            "codes": dict(self.source.codes),
            "files": {role: file.path for role, file in part.files.items()},
            "columns": {role: dict(file.columns) for role, file in part.files.items()},
            "checksums": {path: checksums[path] for path in paths & checksums.keys()},
            # Absent where there is nothing to say: cards from before them keep their hashes.
            **({"header": header} if header else {}),
            **({"quoted": quoted} if quoted else {}),
            **({"half": True} if self.half else {}),
        }  # fmt: skip
        text = json.dumps(deciding, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
        return sha256(text.encode()).hexdigest()

    def fill(self, template: str, unit: str) -> str:
        """A template of the source for one language."""
        code = self.source.codes.get(unit, unit)
        return template.format(lang=unit, code=code, context=code, question=code)


class CustomIntermediateCard(IntermediateCard):
    """A card of one's own, from outside the package."""


class IntermediateSuites(RootModel[Mapping[str, Annotated[list[str], Field(min_length=2)]]]):
    """What intermediate_suites.yaml holds."""


def read_intermediate(name: str) -> IntermediateCard:
    """One card by the task's name, or by the path of a card of one's own (``….yaml``).

    Raises:
        UsageError: an unknown task. NotFoundError: no such file. DataError: a broken card.
    """
    if name.endswith((".yaml", ".yml")):
        if not Path(name).is_file():
            raise NotFoundError(f"no card {name}: give a task of `xharness tasks`, or a file")
        return read_model(Path(name), CustomIntermediateCard, name)
    known = intermediate_names()
    if name not in known:
        raise unknown_name("intermediate task", name, known)
    return _read(name)


@cache
def _read(name: str) -> IntermediateCard:
    path = f"tasks/intermediate/{name}.yaml"
    card = read_model(task_root() / "intermediate" / f"{name}.yaml", IntermediateCard, path)
    if card.name != name:
        raise DataError(f"{path}: name is {card.name}: the file is named for it")
    return card


@cache
def read_intermediate_suites() -> dict[str, tuple[str, ...]]:
    """Name → intermediate tasks that are trained together. DataError for an unknown task."""
    document = read_document(
        task_root() / "intermediate_suites.yaml", "tasks/intermediate_suites.yaml"
    )
    suites = validated(document, IntermediateSuites).root
    for suite, names in suites.items():
        for name in names:
            if name not in intermediate_names():
                raise DataError(f"{document.place((suite,))}: no intermediate task {name}")
    return {suite: tuple(names) for suite, names in suites.items()}


def intermediate_names() -> list[str]:
    """The names of all intermediate tasks; no card is parsed."""
    return sorted(path.stem for path in (task_root() / "intermediate").glob("*.yaml"))


def _problems(card: IntermediateCard) -> Iterable[str]:
    """What does not fit within a card."""
    known = read_languages()
    if len(set(card.languages)) != len(card.languages):
        yield "languages repeat"
    for lang in (*card.languages, *card.source.codes):
        if lang not in known:
            yield f"{lang} is not a code of languages.tsv"
    if card.objective == "none":
        yield "objective none is a checkpoint without intermediate training"
    if card.source.format not in FORMATS[card.kind]:
        names = ", ".join(sorted(FORMATS[card.kind]))
        yield f"format {card.source.format} gives no examples of kind {card.kind}: give {names}"
    if card.deal is not None and card.deal.items not in card.languages:
        yield f"deal.items {card.deal.items} is not among languages"
    if card.lora is not None and card.lora.layers is not None:
        first, last = card.lora.layers
        if not 0 <= first <= last:
            yield f"lora.layers {first}, {last}: the first, then the last, from 0"
    if card.kind == "classification" and len(card.labels) < 2:
        yield "classification needs at least two labels"
    if again := repeated(card.labels):
        yield f"labels: {again[1]}"
    for value, label in card.label_names.items():
        if card.kind == "classification" and label not in card.labels:
            yield f"label_names: {value} stands for {label}, which is not among labels"
    yield from _column_problems(card)
    targets = card_names()
    for entry in card.contaminates:
        task, slash, split = entry.partition("/")
        if task not in targets:
            yield f"contaminates: {task} is not a target task"
        elif slash and split not in read_card(task).source.splits:
            yield f"contaminates: {split} is not a split of {task}"


def _column_problems(card: IntermediateCard) -> Iterable[str]:
    part = card.source.splits[card.split]
    for files in (part.files, part.hub.files if part.hub else {}):
        if card.source.format in ONE_ROLE and len(files) > 1:
            yield f"format {card.source.format} reads one role, not {', '.join(files)}"
    if card.source.format not in ("records", "parallel_records"):
        return
    needed = COLUMNS[card.kind]
    for role, file in part.files.items():
        if needed - file.columns.keys():
            yield f"{role} needs columns for {', '.join(sorted(needed))}"
    for role, columns in (part.hub.columns if part.hub else {}).items():
        if needed - columns.keys():
            yield f"hub {role} needs columns for {', '.join(sorted(needed))}"


assert set(FORMATS) == set(get_args(Head))
