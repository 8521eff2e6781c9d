"""The table of languages: people group results by it, so its claims are checked.

``iso639_3`` names the individual language the texts are in where that is clear (`arb`, `cmn`,
`pes`), else the macrolanguage; `ber` is the ISO 639-5 code of the group, because Tatoeba's
"Berber" is no single language; `kzj` was merged into `dtp` by ISO in 2016 but has its own file.
``script`` is the script of the task's texts, not of the country (Tatoeba's Serbian and Uzbek are
mostly in Latin letters, its Mandarin mixes simplified and traditional: `Hani`). ``genus`` follows
WALS, except that Turkic is split in its branches and Creoles go by lexifier. ``resource`` is the
class of Joshi et al. 2020 (https://aclanthology.org/2020.acl-main.560), `-` where not established.
"""

from __future__ import annotations

import csv
import unicodedata
from collections import Counter
from pathlib import Path

import pytest

TABLE = Path(__file__).resolve().parents[2] / "tasks" / "languages.tsv"
HEADER = ["code", "iso639_3", "name", "script", "family", "genus", "resource", "files"]

#: The 112 languages of the Tatoeba test set of LASER, as its file names have them.
TATOEBA_CODES = """
afr amh ang ara arq arz ast awa aze bel ben ber bos bre bul cat cbk ceb ces cha cmn cor csb cym
dan deu dsb dtp ell epo est eus fao fin fra fry gla gle glg gsw heb hin hrv hsb hun hye ido ile
ina ind isl ita jav jpn kab kat kaz khm kor kur kzj lat lfn lit lvs mal mar max mhr mkd mon nds
nld nno nob nov oci orv pam pes pms pol por ron rus slk slv spa sqi srp swe swg swh tam tat tel
tgl tha tuk tur tzl uig ukr urd uzb vie war wuu xho yid yue zsm
"""
TATOEBA = TATOEBA_CODES.split()
#: XTREME-R's languages of Tatoeba, with the codes that XTREME gives to the files.
TATOEBA_XTREME = {
    "afr": "af", "ara": "ar", "aze": "az", "ben": "bn", "bul": "bg", "cmn": "zh", "deu": "de",
    "ell": "el", "est": "et", "eus": "eu", "fin": "fi", "fra": "fr", "heb": "he", "hin": "hi",
    "hun": "hu", "ind": "id", "ita": "it", "jav": "jv", "jpn": "ja", "kat": "ka", "kaz": "kk",
    "kor": "ko", "lit": "lt", "mal": "ml", "mar": "mr", "nld": "nl", "pes": "fa", "pol": "pl",
    "por": "pt", "ron": "ro", "rus": "ru", "spa": "es", "swh": "sw", "tam": "ta", "tel": "te",
    "tgl": "tl", "tha": "th", "tur": "tr", "ukr": "uk", "urd": "ur", "vie": "vi",
}  # fmt: skip
#: Codes by task, as its files have them.
TASKS = {
    "xquad": "ar de el en es hi ro ru th tr vi zh",
    "lareqa": "ar de el en es hi ru th tr vi zh",
    "mlqa": "ar de en es hi vi zh",
    "mlqa in MTEB": "ara deu eng spa hin vie zho",
    "tydiqa": "arabic bengali english finnish indonesian korean russian swahili telugu",
    "bucc2018": "de en fr ru zh",
    "mewsli_x queries": "ar de en es fa ja pl ro ta tr uk",
    "mewsli_x candidates": (
        "af ar az bg bn de el en es et eu fa fi fr gu he hi ht hu id it ja jv ka kk ko lt ml mr ms"
        " my nl pa pl pt qu ro ru sw ta te th tl tr uk ur vi wo yo zh"
    ),
    "xnli": "ar bg de el en es fr hi ru sw th tr ur vi zh",
    "xcopa": "en et ht id it qu sw ta th tr vi zh",
    "paws-x": "de en es fr ja ko zh",
    "demo": "en de es ru ar hi zh sw",
}
#: ISO 15924 code → first words of the Unicode names of its letters.
SCRIPTS = {
    "Arab": {"ARABIC"},
    "Armn": {"ARMENIAN"},
    "Beng": {"BENGALI"},
    "Cyrl": {"CYRILLIC"},
    "Deva": {"DEVANAGARI"},
    "Ethi": {"ETHIOPIC"},
    "Geor": {"GEORGIAN"},
    "Grek": {"GREEK"},
    "Gujr": {"GUJARATI"},
    "Guru": {"GURMUKHI"},
    "Hani": {"CJK"},
    "Hebr": {"HEBREW"},
    "Jpan": {"HIRAGANA", "KATAKANA", "KATAKANA-HIRAGANA", "CJK"},
    "Khmr": {"KHMER"},
    "Kore": {"HANGUL"},
    "Latn": {"LATIN"},
    "Mlym": {"MALAYALAM"},
    "Mymr": {"MYANMAR"},
    "Taml": {"TAMIL"},
    "Telu": {"TELUGU"},
    "Thai": {"THAI"},
}
FAMILIES = {
    "Afro-Asiatic", "Austroasiatic", "Austronesian", "Basque", "Constructed", "Creole",
    "Dravidian", "Indo-European", "Japonic", "Kartvelian", "Koreanic", "Mongolic", "Niger-Congo",
    "Quechuan", "Sino-Tibetan", "Tai-Kadai", "Turkic", "Uralic",
}  # fmt: skip


@pytest.fixture(scope="module")
def rows() -> list[dict[str, str]]:
    with TABLE.open(encoding="utf-8", newline="") as file:
        header, *body = csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
    assert header == HEADER
    assert {len(row) for row in body} == {len(HEADER)}
    return [dict(zip(HEADER, row, strict=True)) for row in body]


@pytest.fixture(scope="module")
def codes_in_use(rows: list[dict[str, str]]) -> dict[str, set[str]]:
    """Every code or alias → the codes of the rows that claim it."""
    claims: dict[str, set[str]] = {}
    for row in rows:
        for name in (row["code"], row["iso639_3"], *row["files"].split()):
            claims.setdefault(name, set()).add(row["code"])
    return claims


def test_no_field_is_empty_or_has_space_at_its_ends(rows: list[dict[str, str]]) -> None:
    for row in rows:
        for column in HEADER:
            assert row[column] == row[column].strip(), row
            assert row[column] or column == "files", row


def test_codes_are_unique_and_sorted(rows: list[dict[str, str]]) -> None:
    codes = [row["code"] for row in rows]
    assert codes == sorted(set(codes))
    names = [row["name"] for row in rows]
    assert len(set(names)) == len(names)


def test_codes_have_the_form_of_iso_639(rows: list[dict[str, str]]) -> None:
    for row in rows:
        assert row["code"].isascii(), row
        assert row["code"].islower(), row
        assert len(row["code"]) in {2, 3}, row
        assert len(row["iso639_3"]) == 3, row
        if len(row["code"]) == 3:
            assert row["iso639_3"] == row["code"], row


def test_no_alias_stands_for_two_languages(codes_in_use: dict[str, set[str]]) -> None:
    assert {name: codes for name, codes in codes_in_use.items() if len(codes) > 1} == {}


def test_no_row_repeats_an_alias_or_its_own_code(rows: list[dict[str, str]]) -> None:
    for row in rows:
        files = row["files"].split()
        assert row["files"] == " ".join(files), row
        assert len(set(files)) == len(files), row
        assert row["code"] not in files, row


def test_the_tatoeba_languages_are_there_once_each(codes_in_use: dict[str, set[str]]) -> None:
    assert len(TATOEBA) == len(set(TATOEBA)) == 112
    assert [code for code in TATOEBA if len(codes_in_use.get(code, ())) != 1] == []
    resolved = [min(codes_in_use[code]) for code in TATOEBA]
    assert len(set(resolved)) == 112


def test_tatoeba_resolves_as_in_xtreme(codes_in_use: dict[str, set[str]]) -> None:
    assert len(TATOEBA_XTREME) == 41
    assert {code: min(codes_in_use[code]) for code in TATOEBA_XTREME} == TATOEBA_XTREME


@pytest.mark.parametrize("task", TASKS)
def test_every_code_of_a_task_resolves(task: str, codes_in_use: dict[str, set[str]]) -> None:
    codes = TASKS[task].split()
    assert [code for code in codes if len(codes_in_use.get(code, ())) != 1] == []
    assert len({min(codes_in_use[code]) for code in codes}) == len(codes)


@pytest.mark.parametrize(
    ("alias", "code"),
    [
        ("ara", "ar"), ("arb", "ar"), ("cmn", "zh"), ("zho", "zh"), ("pes", "fa"), ("swh", "sw"),
        ("tgl", "tl"), ("est", "et"), ("nob", "nb"), ("nno", "nn"), ("zsm", "ms"), ("lvs", "lv"),
        ("kur", "ku"), ("mon", "mn"), ("sqi", "sq"), ("yid", "yi"), ("cor", "kw"), ("ile", "ie"),
        ("kzj", "kzj"), ("dtp", "dtp"), ("arq", "arq"), ("arz", "arz"), ("swahili", "sw"),
    ],
)  # fmt: skip
def test_aliases_that_are_easily_got_wrong(
    alias: str, code: str, codes_in_use: dict[str, set[str]]
) -> None:
    assert codes_in_use[alias] == {code}


def test_classes_come_from_closed_sets(rows: list[dict[str, str]]) -> None:
    assert {row["script"] for row in rows} == set(SCRIPTS)
    assert {row["family"] for row in rows} == FAMILIES
    assert {row["resource"] for row in rows} <= {"0", "1", "2", "3", "4", "5", "-"}


def test_a_genus_lies_in_one_family(rows: list[dict[str, str]]) -> None:
    families: dict[str, set[str]] = {}
    for row in rows:
        families.setdefault(row["genus"], set()).add(row["family"])
    assert {genus: found for genus, found in families.items() if len(found) > 1} == {}


def test_the_seven_richest_languages_are_those_of_the_paper(rows: list[dict[str, str]]) -> None:
    richest = {row["code"] for row in rows if row["resource"] == "5"}
    assert richest == {"ar", "de", "en", "es", "fr", "ja", "zh"}


def test_the_list_of_tatoeba_files_is_complete(data_dir: Path) -> None:
    found = {path.suffix[1:] for path in (data_dir / "tatoeba").glob("tatoeba.*-eng.*")}
    assert found == {*TATOEBA, "eng"}


@pytest.mark.parametrize("code", TATOEBA)
def test_script_is_the_one_that_the_texts_are_in(
    code: str,
    data_dir: Path,
    rows: list[dict[str, str]],
    codes_in_use: dict[str, set[str]],
) -> None:
    text = (data_dir / "tatoeba" / f"tatoeba.{code}-eng.{code}").read_text(encoding="utf-8")
    counts = Counter(unicodedata.name(char, "?").split()[0] for char in text if char.isalpha())
    row = next(row for row in rows if {row["code"]} == codes_in_use[code])
    share = sum(counts[name] for name in SCRIPTS[row["script"]]) / counts.total()
    assert counts.most_common(1)[0][0] in SCRIPTS[row["script"]]
    assert share > 0.65, (code, share)
