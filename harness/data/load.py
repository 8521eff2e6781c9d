"""Loads a card's source → files → checked examples, by the one route that leads there.

Routes: `package` (the demo tasks), `folder` (only this one where a data folder is given), else
`official` and then `hub`. Every route that carries a task gives identical examples.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from harness.cards.languages import task_root
from harness.cards.task import CustomCard, TaskCard
from harness.data import folder, official
from harness.data import hub_route as hub
from harness.data.examples import Examples, Loaded, Retrieval
from harness.data.formats import READERS, Parsed
from harness.data.layout import DataLocation, Fetched, missing_units
from harness.data.texts import unreadable
from harness.errors import DataError, together

__all__ = ["DataLocation", "Download", "Fetched", "fetch", "load", "planned_downloads"]

COUNTED = {
    "bitext": "pairs",
    "mining": "gold pairs",
    "passages": "queries",
    "span_qa": "questions",
    "classification": "pairs",
    "multiple_choice": "questions",
    "tagging": "sentences",
}


@dataclass(frozen=True)
class Download:
    """Something that would be downloaded. ``size``: about how many bytes, where that is known."""

    what: str
    size: int | None


def load(card: TaskCard, split: str | None, units: Sequence[str], location: DataLocation) -> Loaded:
    """Return the examples of the units, checked; what could not be had is in ``missing``, with why.

    A unit whose data does not match its checksum or schema is in ``broken``, and costs no other.

    split: None for the card's own. Raises UsageError for a split that the card has not; DataError
    for data that does not match its checksum or schema where no unit is left or all of them share
    it, or (but in a data folder) its published count.
    """
    split = card.check_split(split)
    return read_files(card, split, units, fetch(card, split, units, location))


def read_files(card: TaskCard, split: str, units: Sequence[str], fetched: Fetched) -> Loaded:
    """Return the examples of the units from files that were fetched, checked; as for `load`."""
    missing = missing_units(card, units, fetched.failures)
    broken = missing_units(card, units, fetched.broken)
    present = tuple(unit for unit in units if unit not in missing and unit not in broken)
    _some_left(present, broken)
    if not present:
        return Loaded(_nothing(card), fetched.route, {}, missing=missing)
    parsed, unread = _read(card, split, present, fetched)
    differing = _differing_counts(card, parsed)
    if differing and fetched.route != "folder":
        why = f"the {fetched.route} files are not the published ones"
        raise together(DataError(f"{text}: {why}") for text in differing)
    broken |= unread
    return Loaded(
        examples=parsed.examples,
        route=fetched.route,
        files=_digests(card, fetched, broken),
        complete=not differing,
        missing={**missing, **parsed.missing},
        broken=broken,
        notes=(*(f"custom data: {text}" for text in differing), *parsed.notes),
        remarks=_uncounted(card, split, parsed, fetched.route),
    )


def _read(
    card: TaskCard, split: str, units: tuple[str, ...], fetched: Fetched
) -> tuple[Parsed, dict[str, str]]:
    """Return what a reader makes of the files, and unit → what is wrong with its part of them.

    Raises:
        DataError: no unit is left, or what all units share is wrong.
    """
    reader = READERS[card.source.format]
    broken: dict[str, str] = {}
    try:
        parsed = reader(card, split, units, fetched.files)
    except DataError:
        if card.kind == "passages" or len(units) == 1:
            raise
        # They are read one by one, so that the file of one language takes no other along.
        for unit in units:
            try:
                reader(card, split, (unit,), fetched.files)
            except DataError as error:
                broken[unit] = str(error)
        units = tuple(unit for unit in units if unit not in broken)
        _some_left(units, broken)
        parsed = reader(card, split, units, fetched.files)
    for unit, why in unreadable(parsed.examples).items():
        names = ", ".join(_names(fetched, unit)[:3])
        if not unit:
            raise DataError(f"{names}: {why}: download it again")
        if unit in units:
            broken[unit] = f"{names}: {why}: download it again"
    _some_left([unit for unit in units if unit not in broken], broken)
    return parsed, broken


def _some_left(units: Sequence[str], broken: Mapping[str, str]) -> None:
    if broken and not units:
        raise DataError(next(iter(broken.values())))


def _names(fetched: Fetched, unit: str) -> list[str]:
    """Return the files that a unit is read from; every file for what all units share."""
    of_unit = [file.name for key, file in fetched.files.items() if not unit or key.unit == unit]
    return list(dict.fromkeys(of_unit or [file.name for file in fetched.files.values()]))


def _digests(card: TaskCard, fetched: Fetched, broken: Mapping[str, str]) -> dict[str, str]:
    """Return the name → sha256 of the files that were used: a broken one may be put right later."""
    unused = {
        file.name
        for key, file in fetched.files.items()
        if key.unit in broken and card.kind != "passages"
    } - {file.name for key, file in fetched.files.items() if key.unit not in broken}
    return {name: own for name, own in sorted(fetched.digests.items()) if name not in unused}


def fetch(
    card: TaskCard, split: str | None, units: Sequence[str], location: DataLocation
) -> Fetched:
    """Return the files of the units on disk, downloaded where they are not there; nothing is
    parsed.

    What the cache has whole is taken from there, so that a prefetched task makes no connection.
    """
    split = card.check_split(split)
    location = _place(card, location)
    if card.source.package:
        return folder.find(card, split, units, task_root(), "package")
    if location.data is not None:
        return folder.find(card, split, units, location.data, "folder")
    found = _cached(card, split, units, location)
    if location.offline or not found.failures:
        return found
    downloaded = official.fetch(card, split, units, location)
    mirror = card.source.splits[split].hub
    if not downloaded.failures:
        return downloaded
    if mirror is None:
        return _explained(card, downloaded, "")
    snapshot = hub.fetch(card, mirror, split, units, location)
    if not snapshot.failures:
        return snapshot
    return _explained(card, downloaded, next(iter(snapshot.failures.values())))


def planned_downloads(
    card: TaskCard, split: str | None, units: Sequence[str], location: DataLocation
) -> list[Download]:
    """Return what `fetch` would download first; no connection is tried."""
    split = card.check_split(split)
    location = _place(card, location)
    if card.source.package or location.data is not None:
        return []
    if not _cached(card, split, units, location).failures:
        return []
    planned: dict[str, Download] = {}
    for piece in official.absent(card, split, units, location):
        url = piece.url or ""
        if url and not (piece.member and official.archive_place(location, url).is_file()):
            planned[url] = Download(url, piece.size)
    return list(planned.values())


def _place(card: TaskCard, location: DataLocation) -> DataLocation:
    return location.apart(card.checksum) if isinstance(card, CustomCard) else location


def _cached(card: TaskCard, split: str, units: Sequence[str], location: DataLocation) -> Fetched:
    """Return what the cache has of the route that is there whole, or else of the official one."""
    found = official.cached(card, split, units, location)
    mirror = card.source.splits[split].hub
    if found.failures and mirror is not None:
        snapshot = hub.fetch(card, mirror, split, units, replace(location, offline=True))
        if not snapshot.failures:
            return snapshot
    return found


def _explained(card: TaskCard, fetched: Fetched, hub_failure: str) -> Fetched:
    """Return the failures with what the Hub said, and what a user can do."""
    more = f"; hub: {hub_failure}" if hub_failure else ""
    remedy = card.source.remedy or "try later, or put the files in a folder and give --data"
    failures = {key: f"official: {why}{more}: {remedy}" for key, why in fetched.failures.items()}
    return replace(fetched, failures=failures)


def _differing_counts(card: TaskCard, parsed: Parsed) -> list[str]:
    """Return where the data differs from the published counts, in words."""
    what = COUNTED[card.kind]
    differing = []
    for split, counts in parsed.counts.items():
        published = card.counts.get(split, {})
        differing += [
            f"{card.name} {unit} has {count} of {published[unit]} {what}"
            + ("" if split == card.split else f" in {split}")
            for unit, count in counts.items()
            if published.get(unit, count) != count
        ]
    if card.candidates is not None and parsed.candidates not in (None, card.candidates):
        differing.append(f"{card.name} has {parsed.candidates} of {card.candidates} candidates")
    return differing


def _uncounted(card: TaskCard, split: str, parsed: Parsed, route: str) -> tuple[str, ...]:
    """Return that nothing says how many examples there have to be, where that is so."""
    if isinstance(card, CustomCard) or route == "package":
        return ()
    unknown = sorted(set(parsed.counts.get(split, {})) - set(card.counts.get(split, {})))
    if not unknown:
        return ()
    which = ", ".join(unknown[:5]) + (", …" if len(unknown) > 5 else "")
    return (
        f"no published number of {COUNTED[card.kind]} is known of {split} ({which}): nothing says "
        "that the data is whole",
    )


def _nothing(card: TaskCard) -> Examples:
    return Retrieval((), (), (), {}) if card.kind == "passages" else {}
