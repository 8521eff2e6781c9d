"""Finds the files of a card: in the data folder where one is given, else in the cache or online.

A file is compared with its checksum where the card knows it.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256

from harness.cards.languages import task_root
from harness.cards.training import Columns, CustomIntermediateCard, IntermediateCard
from harness.data import folder, official
from harness.data import hub_route as hub
from harness.data.formats import LocalFile
from harness.data.load import DataLocation, Fetched
from harness.errors import DataError, IncompleteError
from harness.io.download import Unavailable


@dataclass(frozen=True)
class Files:
    """The files of a card by (language, role); the language of a file of all languages is "".

    ``columns``: role → columns. ``digests``: name → sha256. ``revision``: of the data set on the
    Hub.
    """

    route: str
    files: dict[tuple[str, str], LocalFile]
    columns: dict[str, Columns]
    digests: dict[str, str]
    revision: str | None = None

    @property
    def roles(self) -> list[str]:
        """The roles that the files have, sorted."""
        return sorted({role for _, role in self.files})

    def of(self, lang: str, role: str) -> LocalFile:
        """Return the file of a language, or the one that all languages share."""
        return self.files.get((lang, role)) or self.files["", role]


def fetch(card: IntermediateCard, location: DataLocation) -> Files:
    """Find the files of a card, and download them where that is needed and allowed.

    Raises:
        IncompleteError: a file cannot be had in any way.
        DataError: a file is not the official one.
    """
    own, location = _columns(card), _place(card, location)
    if card.source.package:
        found = folder.find(card, card.split, card.languages, task_root(), "package")
        return _whole(card, found, own, "")
    if location.data is not None:
        found = folder.find(card, card.split, card.languages, location.data, "folder")
        return _whole(card, found, own, _first(found))
    found = official.cached(card, card.split, card.languages, location)
    if found.failures and not location.offline:
        found = official.fetch(card, card.split, card.languages, location)
    if not found.failures:
        return _whole(card, found, own, "")
    why = "not in the cache: run it once without --offline" if location.offline else _first(found)
    if card.source.splits[card.split].hub is None:
        return _whole(card, found, own, why)
    try:
        return mirrored(card, location)
    except Unavailable as error:
        return _whole(card, found, own, f"{why}; hub: {error}")


def _place(card: IntermediateCard, location: DataLocation) -> DataLocation:
    if not isinstance(card, CustomIntermediateCard):
        return location
    return location.apart(sha256(card.source.model_dump_json().encode()).hexdigest())


def mirrored(card: IntermediateCard, location: DataLocation) -> Files:
    """Fetch the files of the data set on the Hub that a card names.

    Raises:
        Unavailable: a file cannot be had, or the card names no data set on the Hub.
    """
    part, own = card.source.splits[card.split], _columns(card)
    if part.hub is None:
        raise Unavailable(f"{card.name} names no data set on the Hub")
    revision = hub.commit(part.hub, location)
    pinned = part.hub.model_copy(update={"revision": revision})
    found = hub.fetch(card, pinned, card.split, card.languages, location)
    if found.failures:
        raise Unavailable(_first(found))
    columns = {role: part.hub.columns.get(role, own.get(role, {})) for role in part.hub.files}
    return _whole(card, found, columns, "", f"{part.hub.id}@{revision}")


def _columns(card: IntermediateCard) -> dict[str, Columns]:
    return {role: file.columns for role, file in card.source.splits[card.split].files.items()}


def _first(found: Fetched) -> str:
    return next(iter(found.failures.values()), "")


def _whole(
    card: IntermediateCard,
    found: Fetched,
    columns: dict[str, Columns],
    why: str,
    revision: str | None = None,
) -> Files:
    """Return the files.

    Raises:
        IncompleteError: a file is missing; ``why`` says for which reason.
        DataError: a file is not the official one.
    """
    for text in found.broken.values():
        raise DataError(text)
    if found.failures:
        # What is missing in a folder says so itself.
        usual = "" if found.route == "folder" else "put the files in a folder and give --data"
        remedy = card.source.remedy or usual
        said = ": ".join(part for part in (found.route, why, remedy) if part)
        raise IncompleteError(f"no data for {card.name}: {said}")
    files = {(key.unit, key.role): file for key, file in found.files.items()}
    return Files(found.route, files, columns, dict(sorted(found.digests.items())), revision)
