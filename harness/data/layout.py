"""Lists which files a request needs, by their paths in the official layout."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from harness.cards.source_files import SourceFile, read_checksums
from harness.cards.task import TaskCard
from harness.cards.training import IntermediateCard
from harness.data.formats import Files, Key

Sourced = TaskCard | IntermediateCard  # a card with files


@dataclass(frozen=True)
class DataLocation:
    """Where data may come from. ``data``: a folder in the official layout, then the only source.

    ``cache``: what was downloaded. ``offline``: no connection is tried.
    """

    data: Path | None
    cache: Path
    offline: bool = False

    def apart(self, digest: str) -> DataLocation:
        """Return where a card from outside the package has its downloads, in a folder of its own.

        Two cards may call files by one path that they take from two addresses.
        """
        return replace(self, cache=self.cache / "custom" / digest[:12])


@dataclass(frozen=True)
class DataFile:
    """One file of the layout, for one unit or (unit empty) for all."""

    key: Key
    path: str
    alternative: str | None
    url: str | None
    member: str | None
    size: int | None
    optional: bool

    @property
    def sha256(self) -> str | None:
        """The official file's checksum, where it is known."""
        return read_checksums().get(self.path)


@dataclass(frozen=True)
class Fetched:
    """Files on disk. ``digests``: name → sha256. ``failures``: why a file could not be had.

    ``broken``: why a file that is there cannot be used: it is not the official one.
    """

    route: str
    files: Files
    digests: Mapping[str, str]
    failures: Mapping[Key, str] = field(default_factory=dict)
    broken: Mapping[Key, str] = field(default_factory=dict)


def data_files(card: Sourced, split: str, units: Sequence[str]) -> list[DataFile]:
    """Return every file that the units need, with those of the splits that the split needs.

    A pool of passages needs the files of all languages, whichever are asked for.
    """
    wanted = card.languages if card.kind == "passages" else units
    found: dict[Key, DataFile] = {}
    for part in (*card.source.splits[split].needs, split):
        for role, file in card.source.splits[part].files.items():
            for unit in wanted if "{" in file.path else [""]:
                key = Key(unit, part, role)
                found[key] = _data_file(card, file, key)
    return list(found.values())


def _data_file(card: Sourced, file: SourceFile, key: Key) -> DataFile:
    def filled(template: str | None) -> str | None:
        return None if template is None else card.fill(template, key.unit)

    return DataFile(
        key=key,
        path=card.fill(file.path, key.unit),
        alternative=filled(file.alternative),
        url=filled(file.url),
        member=filled(file.member),
        size=file.size,
        optional=file.optional,
    )


def missing_units(
    card: Sourced, units: Sequence[str], failures: Mapping[Key, str]
) -> dict[str, str]:
    """Return unit → why it cannot be had.

    A pool, or a file that all units share, takes all along.
    """
    shared = [why for key, why in failures.items() if not key.unit or card.kind == "passages"]
    if shared:
        return dict.fromkeys(units, shared[0])
    missing: dict[str, str] = {}
    for key, why in failures.items():
        missing.setdefault(key.unit, why)
    return {unit: missing[unit] for unit in units if unit in missing}
