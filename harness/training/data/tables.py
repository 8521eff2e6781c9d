"""Tables of records, and parallel files: their rows as examples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.cards.training import Columns, IntermediateCard
from harness.data.formats.files import read_lines
from harness.errors import DataError
from harness.training.data.examples import Choice, Classified, Example, Found, Matched, Text
from harness.training.data.records import column, read_records, texts
from harness.training.data.sources import Files, file_of

# Rows torn at a line end or tab that nothing marks as text: a few are a fact of old files, many
# are another format.
MOST_TORN = 0.01


def read_table(card: IntermediateCard, files: Files, labels: list[str], notes: list[str]) -> Found:
    """Rows of tables. The item is the row, which is the same one in every language.

    Where fields are not quoted and rows not dealt, a few torn rows are left out.
    """
    found: Found = {}
    skipped = 0
    sizes: dict[str, int] = {}
    for lang in card.languages:
        examples: list[Example] = []
        for role in _roles(files):
            rows = _rows(card, files, lang, role)
            if card.deal is not None and sizes.setdefault(role, len(rows)) != len(rows):
                raise DataError(
                    f"{card.name}: {len(rows)} rows in {lang}, {sizes[role]} in "
                    f"{card.languages[0]}: the files are not parallel"
                )
            _check_torn(card, lang, rows, notes)
            columns = files.columns[role]
            for number, (place, record) in enumerate(rows):
                if record is None:
                    continue
                value = ""
                if card.kind != "mlm":
                    value = str(column(record, str(columns["label"]), place)).strip()
                if value and value in card.skip_labels:
                    skipped += 1
                    continue
                item = f"{role}:{number}"
                row = _Row(record, columns, place)
                examples.append(_example(card, item, lang, row, value, labels))
        found[lang] = examples
    if skipped:
        notes.append(f"{skipped} without a label left out")
    return found


@dataclass(frozen=True)
class _Row:
    record: Any
    columns: Columns
    place: str  # file and line, for messages

    def texts(self, name: str) -> list[str]:
        return texts(self.record, self.columns[name], self.place)

    def text(self, name: str) -> str:
        return " ".join(self.texts(name))


def _example(
    card: IntermediateCard, item: str, lang: str, row: _Row, value: str, labels: Sequence[str]
) -> Example:
    if card.kind == "mlm":
        return Text(item, lang, row.text("text"))
    if card.kind == "classification":
        second = row.text("second") if "second" in row.columns else None
        label = _label(card, value, labels, row.place)
        return Classified(item, lang, row.text("first"), second, label)
    choices = tuple(row.texts("choices"))
    position = _position(card, value, choices, row.place)
    return Choice(item, lang, row.text("prompt"), choices, position)


def _rows(card: IntermediateCard, files: Files, lang: str, role: str) -> list[tuple[str, Any]]:
    """(place, record) of a file; None for a torn row, where there may be some."""
    file = card.source.splits[card.split].files.get(role)
    header, quoted = (file.header, file.quoted) if file is not None else (True, True)
    strict = quoted or card.deal is not None
    opened = file_of(files, lang, role)
    return list(read_records(opened, header=header, quoted=quoted, strict=strict))


def _check_torn(
    card: IntermediateCard, lang: str, rows: Sequence[tuple[str, Any]], notes: list[str]
) -> None:
    torn = [place for place, record in rows if record is None]
    if len(torn) > MOST_TORN * len(rows):
        raise DataError(
            f"{card.name} {lang}: {len(torn)} of {len(rows)} rows have another number of columns "
            f"than the first, such as {torn[0]}: not the official file"
        )
    if torn:
        notes.append(f"{len(torn)} of {len(rows)} rows in {lang} left out: torn")


def _roles(files: Files) -> list[str]:
    there = {role for _, role in files.files}
    return [role for role in files.columns if role in there]


def _label(card: IntermediateCard, value: str, labels: Sequence[str], place: str) -> int:
    name = card.label_names.get(value, value)
    if name not in labels:
        known = ", ".join((*card.label_names, *labels))
        raise DataError(f"{place}: label {value[:40]!r} is not one of {known}")
    return labels.index(name)


def _position(card: IntermediateCard, value: str, choices: Sequence[str], place: str) -> int:
    text = card.label_names.get(value, value)
    numbers = [str(number) for number in range(len(choices))]
    if text not in numbers:
        raise DataError(f"{place}: label {value[:40]!r} is none of its {len(choices)} choices")
    return numbers.index(text)


def read_parallel_records(
    card: IntermediateCard, files: Files, labels: list[str], notes: list[str]
) -> Found:
    """The same row of every language's file is the same item; each distinct text of it once.

    The query is the text in the language of ``deal.items``, its match the translation.
    """
    del labels, notes
    assert card.deal is not None
    (role,) = {role for _, role in files.files}
    rows: dict[str, list[list[str]]] = {}
    for lang in card.languages:
        paths = files.columns[role]["texts"]
        rows[lang] = [
            texts(record, paths, place) for place, record in _rows(card, files, lang, role)
        ]
    return _pairs(card, rows)


def read_parallel_lines(
    card: IntermediateCard, files: Files, labels: list[str], notes: list[str]
) -> Found:
    """One sentence a line; the same line of every language's file is the same item."""
    del labels, notes
    (role,) = {role for _, role in files.files}
    return _pairs(
        card,
        {
            lang: [[line] for line in read_lines(file_of(files, lang, role))]
            for lang in card.languages
        },
    )


def _pairs(card: IntermediateCard, rows: Mapping[str, list[list[str]]]) -> Found:
    if card.deal is None:
        raise DataError(f"{card.name}: parallel files need `deal` in the card")
    anchor = card.deal.items
    for lang, own in rows.items():
        if len(own) != len(rows[anchor]):
            raise DataError(
                f"{card.name}: {len(own)} rows in {lang}, {len(rows[anchor])} in {anchor}: the "
                "files are not parallel"
            )
    wanted: dict[str, tuple[int, int]] = {}
    for row, fields in enumerate(rows[anchor]):
        for place, text in enumerate(fields):
            wanted.setdefault(text, (row, place))
    return {
        lang: [
            Matched(f"{row}.{place}", lang, text, rows[lang][row][place], anchor)
            for text, (row, place) in wanted.items()
        ]
        for lang in rows
    }
