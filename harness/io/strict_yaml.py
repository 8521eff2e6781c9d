"""YAML that is data only: bounded, and without anything that can surprise or run.

Read from parser events, so that nothing of PyYAML's construction takes part: no tags, no anchors
or aliases, no merge keys, no duplicate keys; only mappings with text keys, lists, text, whole
numbers, decimals, true, false and null. ``no``, ``on`` and dates stay text (``no`` is a language).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from harness.errors import DataError, one_line, unknown_name
from harness.io.strict_json import has_half_pair

MAX_BYTES = 256 * 1024
MAX_DEPTH = 12
MAX_SHOWN = 80  # characters of a key, an anchor or a tag in a message
MAX_SAID = 170  # characters of what is wrong with a value
KeyPath = tuple[str | int, ...]
Model = TypeVar("Model", bound=BaseModel)
Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_INTEGER = re.compile(r"[-+]?(?:0|[1-9][0-9]{0,17})")
_DECIMAL = re.compile(r"[-+]?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][-+]?[0-9]{1,3})?")
_WORDS = {"true": True, "false": False, "null": None, "~": None, "": None}


class Strict(BaseModel):
    """Frozen; unknown keys are errors, numbers are finite, and no value becomes another type."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class Misfit(ValueError):
    """A value that does not fit with the rest of a model, raised by the model's validators.

    ``path``: the key path below the model, so that the error names the line of that value.
    """

    def __init__(self, path: KeyPath, problem: str) -> None:
        super().__init__(problem)
        self.path = path


@dataclass(frozen=True)
class Document:
    """A parsed file: its value, and the line (from 1) of every key path in it.

    ``problems``: what is there that may not be, as ``file:line: problem``; without it the value is
    what the file says.
    """

    name: str
    value: Any
    lines: dict[KeyPath, int]
    problems: tuple[str, ...] = ()

    def place(self, path: KeyPath) -> str:
        """``file:line`` of the key path, or of the nearest part of it that is in the file."""
        for end in range(len(path), -1, -1):
            if path[:end] in self.lines:
                return f"{self.name}:{self.lines[path[:end]]}"
        return self.name


def read_model(path: Path, model: type[Model], name: str | None = None) -> Model:
    """The file as a pydantic model. DataError with file, line and key where it does not fit."""
    return validated(read_document(path, name), model)


def validated(document: Document, model: type[Model]) -> Model:
    """The document as a pydantic model. DataError with file, line and key where it does not fit."""
    try:
        return model.model_validate(document.value)
    except ValidationError as error:
        found = [problem for _, problem in _problems(document, error, model)]
    more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
    raise DataError(f"{found[0]}{more}")


def misfits(document: Document, model: type[Model]) -> list[tuple[KeyPath, str]]:
    """Key path and ``file:line: problem`` of everything in the document that does not fit."""
    try:
        model.model_validate(document.value)
    except ValidationError as error:
        return _problems(document, error, model)
    return []


def read_document(path: Path, name: str | None = None) -> Document:
    """Parse a file. DataError where it is not strict YAML, UTF-8, or small enough."""
    return _strict(scan_file(path, name))


def parse(data: bytes, name: str) -> Document:
    """Parse bytes. DataError where they are not strict YAML, UTF-8, or few enough."""
    return _strict(scan(data, name))


def scan_file(path: Path, name: str | None = None) -> Document:
    """Parse a file, collecting problems. DataError where reading cannot go on to its end."""
    name = name or path.name
    if path.exists() and not path.is_file():  # opening a pipe would wait for ever
        raise DataError(f"{name}: not a file: remove it")
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise DataError(f"{name}: cannot be read: {error.strerror}") from None
    return scan(data, name)


def scan(data: bytes, name: str) -> Document:
    """Parse bytes, collecting problems. DataError where reading cannot go on to their end."""
    if len(data) > MAX_BYTES:
        raise DataError(f"{name}: larger than {MAX_BYTES // 1024} KiB: shorten it")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise DataError(f"{name}: not UTF-8 at byte {error.start}: save it as UTF-8") from None
    reader = _Reader(name, text)
    try:
        value = reader.document()
    except (yaml.YAMLError, OverflowError, ValueError) as error:  # the last two: odd escapes
        mark: Any = getattr(error, "problem_mark", None)
        line = "" if mark is None else f":{mark.line + 1}"
        problem = getattr(error, "problem", None) or "not YAML"
        raise DataError(f"{name}{line}: {one_line(problem)}") from None
    return Document(name, value, reader.lines, tuple(reader.problems))


def _strict(document: Document) -> Document:
    if document.problems:
        raise DataError(document.problems[0])
    return document


class _Reader:
    """One pass over the events of one file."""

    def __init__(self, name: str, text: str) -> None:
        self.name = name
        self.lines: dict[KeyPath, int] = {}
        self.problems: list[str] = []
        self.events: Iterator[Any] = iter(yaml.parse(text, Loader=_LOADER))

    def document(self) -> Any:
        next(self.events)  # the stream starts
        if isinstance(next(self.events), yaml.StreamEndEvent):
            raise DataError(f"{self.name}: empty")
        value = self.node(next(self.events), ())
        next(self.events)  # the document ends
        extra = next(self.events)
        if not isinstance(extra, yaml.StreamEndEvent):
            raise self.refused(extra, "a second document: keep one")
        return value

    def node(self, event: Any, path: KeyPath) -> Any:
        if len(path) > MAX_DEPTH:
            raise self.refused(event, f"nested deeper than {MAX_DEPTH}")
        if isinstance(event, yaml.AliasEvent):
            self.note(event, f"alias *{one_line(event.anchor, MAX_SHOWN)}: write the value out")
            return None
        if event.anchor is not None:
            self.note(event, f"anchor &{one_line(event.anchor, MAX_SHOWN)}: remove it")
        if event.tag is not None:
            tag = one_line(event.tag, MAX_SHOWN)
            self.note(event, f"tag {tag}: remove it, cards are plain data")
        self.lines.setdefault(path, _line(event))
        if isinstance(event, yaml.ScalarEvent) and has_half_pair(event.value):
            self.note(event, "text that holds half of a surrogate pair: write it in UTF-8")
            return None
        if isinstance(event, yaml.MappingStartEvent):
            return self.mapping(path)
        if isinstance(event, yaml.SequenceStartEvent):
            return self.sequence(path)
        return _scalar(event)

    def mapping(self, path: KeyPath) -> dict[str, Any]:
        found: dict[str, Any] = {}
        while not isinstance(event := next(self.events), yaml.MappingEndEvent):
            if not isinstance(event, yaml.ScalarEvent):
                raise self.refused(event, "a key that is not text")
            if event.anchor is not None or event.tag is not None:
                self.note(event, "a key with an anchor or a tag: write plain text")
            key: str = event.value
            if has_half_pair(key):
                raise self.refused(event, "a key that holds half of a surrogate pair")
            if key == "<<":
                self.note(event, "merge key <<: write the values out")
            if key in found:
                self.note(event, f"key '{one_line(key, MAX_SHOWN)}' given twice")
            self.lines[(*path, key)] = _line(event)
            found[key] = self.node(next(self.events), (*path, key))
        return found

    def sequence(self, path: KeyPath) -> list[Any]:
        found: list[Any] = []
        while not isinstance(event := next(self.events), yaml.SequenceEndEvent):
            found.append(self.node(event, (*path, len(found))))
        return found

    def note(self, event: Any, why: str) -> None:
        self.problems.append(f"{self.name}:{_line(event)}: {why}")

    def refused(self, event: Any, why: str) -> DataError:
        return DataError(f"{self.name}:{_line(event)}: {why}")


def _line(event: Any) -> int:
    """The line that an event starts on, from 1."""
    return int(event.start_mark.line) + 1


def _scalar(event: Any) -> Any:
    """The value of a scalar: quoted and block scalars are always text."""
    text: str = event.value
    if event.style not in (None, ""):  # the C parser says "" for a plain one
        return text
    if text in _WORDS:
        return _WORDS[text]
    if _INTEGER.fullmatch(text):
        return int(text)
    if _DECIMAL.fullmatch(text):
        return float(text)
    return text


def _problems(
    document: Document, error: ValidationError, model: type[BaseModel]
) -> list[tuple[KeyPath, str]]:
    """Everything that does not fit, each in one line."""
    errors = error.errors(include_url=False)
    # Unknown keys first: a misspelt one makes the right one look absent too.
    errors.sort(key=lambda one: one["type"] != "extra_forbidden")
    found = []
    for one in errors:
        cause = one.get("ctx", {}).get("error")
        path: KeyPath = (*one["loc"], *(cause.path if isinstance(cause, Misfit) else ()))
        names = (one_line(part, MAX_SHOWN) for part in path)
        key = _short(".".join(names), MAX_SHOWN) or "the whole file"
        if one["type"] == "extra_forbidden":
            near = get_close_matches(str(path[-1]), list(model.model_fields), n=1)
            hint = f"did you mean {near[0]}?" if near else "remove it"
            found.append((path, f"{document.place(path)}: unknown key {key}: {hint}"))
            continue
        what = str(one["msg"]).removeprefix("Value error, ")
        if one["type"] == "literal_error" and isinstance(one["input"], str):
            known = re.findall(r"'([^']+)'", one["ctx"]["expected"])
            what = str(unknown_name("value", one["input"][:80], known))
        found.append((path, f"{document.place(path)}: {key}: {_short(one_line(what), MAX_SAID)}"))
    return found


def _short(text: str, most: int) -> str:
    """Text with its middle left out where it is longer: a value may fill it, a remedy ends it."""
    half = most // 2
    return text if len(text) <= most else f"{text[:half]} … {text[-half:]}"
