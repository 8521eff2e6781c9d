"""Language codes: one canonical form for every code that files use."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.cards import languages
from harness.cards.languages import canonical, read_languages
from harness.errors import DataError, UsageError


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("de", "de"),
        ("deu", "de"),
        ("DEU", "de"),
        ("ara", "ar"),
        ("arb", "ar"),
        ("cmn", "zh"),
        ("pes", "fa"),
        ("swh", "sw"),
        ("tgl", "tl"),
        ("est", "et"),
        ("telugu", "te"),
        ("arz", "arz"),
        ("yue", "yue"),
    ],
)
def test_every_code_in_use_has_one_canonical_form(code: str, expected: str) -> None:
    assert canonical(code) == expected


def test_a_misspelt_code_names_the_nearest_ones() -> None:
    with pytest.raises(UsageError, match=r"unknown language 'swahil': did you mean sw \(Swahili\)"):
        canonical("swahil")


def test_a_strange_code_says_what_is_wanted() -> None:
    with pytest.raises(UsageError, match="ISO 639"):
        canonical("0000")


def test_languages_are_frozen_rows_of_the_table() -> None:
    german = read_languages()["de"]
    assert (german.code, german.iso639_3, german.name) == ("de", "deu", "German")
    with pytest.raises(AttributeError):
        german.code = "fr"  # type: ignore[misc]


HEADER = "\t".join(languages.HEADER)
GERMAN = "de\tdeu\tGerman\tLatn\tIndo-European\tGermanic\t5\tdeu"


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["code\tname"], "languages.tsv:1: the header"),
        ([HEADER, GERMAN, GERMAN], "languages.tsv:3: language de given twice"),
        ([HEADER, "de\tdeu\tGerman"], "languages.tsv:2: 3 fields"),
        (
            [HEADER, GERMAN, "gsw\tgsw\tSwiss German\tLatn\tIndo-European\tGermanic\t1\tdeu"],
            "code deu stands for both de and gsw",
        ),
    ],
)
def test_a_broken_table_is_named_with_its_line(
    lines: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "languages.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    monkeypatch.setattr(languages, "task_root", lambda: tmp_path)
    for cached in (languages.read_languages, languages._aliases, languages._table):
        cached.cache_clear()
    try:
        with pytest.raises(DataError, match=message):
            canonical("de")
    finally:
        monkeypatch.undo()
        for cached in (languages.read_languages, languages._aliases, languages._table):
            cached.cache_clear()
