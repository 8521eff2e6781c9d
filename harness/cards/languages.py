"""The languages that tasks are in, and the codes that their files use for them."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from pathlib import Path

from harness.errors import DataError, UsageError, one_line, unknown_name

# What languages are also called, beside their name in the table.
OTHER_NAMES = {
    "mandarin": "zh", "farsi": "fa", "norwegian": "nb", "filipino": "tl", "castilian": "es",
    "flemish": "nl", "bangla": "bn", "panjabi": "pa", "kiswahili": "sw",
}  # fmt: skip
HEADER = ["code", "iso639_3", "name", "script", "family", "genus", "resource", "files"]


@dataclass(frozen=True)
class Language:
    """``code``: ISO 639-1 where there is one, else 639-3: the form that every row carries."""

    code: str
    iso639_3: str
    name: str
    script: str
    family: str
    genus: str
    resource: str


def task_root() -> Path:
    """The folder of cards and suites: inside the installed package, or beside it in a checkout."""
    package = Path(__file__).parents[1]
    inside = package / "tasks"
    return inside if inside.is_dir() else package.parent / "tasks"


@cache
def read_languages() -> dict[str, Language]:
    """Every language by its code, in file order. DataError where the table is broken."""
    return {language.code: language for language, _ in _table()}


def canonical(code: str) -> str:
    """The code that rows carry, for any code that a file uses (`arb` → `ar`, `cmn` → `zh`).

    UsageError with the nearest known codes where it is not known.
    """
    wanted = code.strip().lower()
    known = _aliases()
    if wanted in known:
        return known[wanted]
    if meant := named_language(code):
        raise UsageError(f"unknown language {code!r}: did you mean {meant.code} ({meant.name})?")
    if get_close_matches(wanted, known, n=1, cutoff=0.5):
        raise unknown_name("language", code, known)
    raise UsageError(
        f"unknown language {one_line(code, 60)!r}: give an ISO 639 code such as de or deu"
    )


def named_language(text: str) -> Language | None:
    """The language that a name or a locale stands for: ``German``, ``germn``, ``zh-CN``, ``de_DE``.

    None where there is none. Names are suggestions: rows and options have codes.
    """
    wanted, known = " ".join(text.lower().split()), read_languages()
    named = {language.name.lower(): language for language in known.values()}
    named |= {name: known[code] for name, code in OTHER_NAMES.items() if code in known}
    first, _, region = text.replace("_", "-").partition("-")
    # In `de-fr` the second part is a language: a pair, not a locale.
    if first.lower() in _aliases() and region and (region.isupper() or region not in _aliases()):
        return known[_aliases()[first.lower()]]
    if wanted in named:
        return named[wanted]
    near = get_close_matches(wanted, named, n=1, cutoff=0.8) if len(wanted) > 3 else []
    return named[near[0]] if near else None


@cache
def _aliases() -> dict[str, str]:
    """Every code in use → the code that rows carry."""
    table = _table()
    known = {language.code: language.code for language, _ in table}
    for language, files in table:
        for alias in (language.iso639_3, *files):
            if known.setdefault(alias.lower(), language.code) != language.code:
                raise DataError(
                    f"languages.tsv: code {alias} stands for both {known[alias.lower()]} and"
                    f" {language.code}: keep one"
                )
    return known


@cache
def _table() -> list[tuple[Language, tuple[str, ...]]]:
    """Rows of languages.tsv with the codes that files use."""
    with (task_root() / "languages.tsv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    if not rows or rows[0] != HEADER:
        raise DataError(f"languages.tsv:1: the header is not {' '.join(HEADER)}")
    table = []
    codes: set[str] = set()
    for number, row in enumerate(rows[1:], start=2):
        if len(row) != len(HEADER) or not all(row[:-1]):
            raise DataError(f"languages.tsv:{number}: {len(row)} fields, or an empty one")
        if row[0] in codes:
            raise DataError(f"languages.tsv:{number}: language {row[0]} given twice")
        codes.add(row[0])
        table.append((Language(*row[:-1]), tuple(row[-1].split())))
    return table
