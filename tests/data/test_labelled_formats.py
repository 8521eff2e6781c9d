"""Official files of classification, multiple choice and tagging, and what is refused of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from harness.cards.catalogue import read_card
from harness.data.examples import Alternatives, Pair, Sentence
from harness.data.formats import READERS
from harness.data.formats.files import Files, Key, LocalFile
from harness.data.halves import in_second_half
from harness.errors import DataError


def files(folder: Path, split: str, role: str, **texts: str) -> Files:
    found: dict[Key, LocalFile] = {}
    for unit, text in texts.items():
        path = folder / f"{role}-{unit}"
        path.write_text(text, encoding="utf-8", newline="")
        found[Key(unit, split, role)] = LocalFile(path, f"{unit}.file")
    return found


def read(task: str, split: str, found: Files, unit: str = "de") -> Any:
    card = read_card(task)
    return READERS[card.source.format](card, split, (unit,), found).examples[unit].items


def test_xnli(tmp_path: Path) -> None:
    lines = (
        "A b.\tC.\tneutral",
        "A b.\tD.\tentailment",
        "A b.\tE.\tcontradiction",
        "F.\tG.\tneutral",
    )
    text = "".join(f"{line}\r\n" for line in lines)
    items = read("xnli", "test", files(tmp_path, "test", "rows", de=text))
    assert items[1] == Pair("test:1", "A b.", "D.", "entailment", "xnli:test:0")
    assert [one.cluster for one in items] == [*["xnli:test:0"] * 3, "xnli:test:1"]


PAWS = {
    "as csv wrote it": '"He said ""no""."\tB\t1\nC\tD\t0\n',
    "raw": 'He said "no".\tB\t1\nC\tD\t0\n',
    "raw, with an unbalanced mark": '"no" said he.\tB\t1\nC "\tD\t0\n',
    "with a header": 'id\tsentence1\tsentence2\tlabel\n7\tHe said "no".\tB\t1\n9\tC\tD\t0\n',
}


@pytest.mark.parametrize("name", PAWS)
def test_pawsx(name: str, tmp_path: Path) -> None:
    items = read("pawsx", "test", files(tmp_path, "test", "rows", de=PAWS[name]))
    assert [one.label for one in items] == ["paraphrase", "different"]
    first = '"no" said he.' if "unbalanced" in name else 'He said "no".'
    assert items[0].first == first
    # By the number of the row, whether the file has ids or not: another language's may differ.
    assert [one.id for one in items] == ["test:0", "test:1"]
    assert [one.cluster for one in items] == ["pawsx:test:0", "pawsx:test:1"]


def test_pawsx_files_whose_ids_differ_are_not_parallel(tmp_path: Path) -> None:
    one, other = "7\tA\tB\t1\n9\tC\tD\t0\n", "9\tC\tD\t0\n7\tA\tB\t1\n"
    found = files(tmp_path, "test", "rows", de=one, es=other)
    with pytest.raises(
        DataError, match=r"es\.file: pair 1 has id 9, and 7 in de\.file: rows of one"
    ):
        READERS["pawsx"](read_card("pawsx"), "test", ("de", "es"), found)


def test_half_of_pawsx_is_the_same_rows_in_every_language(tmp_path: Path) -> None:
    text = "".join(f"A{n}\tB\t1\n" for n in range(40))
    found = files(tmp_path, "half", "rows", de=text, en=text)
    both = [[one.id for one in read("pawsx", "half", found, lang)] for lang in ("de", "en")]
    expected = [f"half:{n}" for n in range(40) if in_second_half(str(n))]
    assert both == [expected, expected]
    assert 10 < len(expected) < 30
    counts = READERS["pawsx"](read_card("pawsx"), "half", ("de",), found).counts
    assert counts == {"half": {"de": len(expected)}}  # of what is measured, as rows are counted


@pytest.mark.parametrize("task", ["udpos", "panx"])
def test_half_of_the_sentences_is_of_english_alone(task: str, tmp_path: Path) -> None:
    text = "".join(f"w{n}\t{read_card(task).labels[0]}\n\n" for n in range(40))
    card, found = read_card(task), files(tmp_path, "half", "tokens", tr=text, en=text)
    parsed = READERS[card.source.format](card, "half", ("tr", "en"), found)
    expected = [f"half:{n}" for n in range(40) if in_second_half(f"w{n}")]
    assert [one.id for one in parsed.examples["en"].items] == expected
    assert parsed.counts == {"half": {"tr": 40, "en": len(expected)}}


def dilemma(idx: int, question: str = "cause", **other: Any) -> str:
    row = {"premise": "P.", "choice1": "A.", "choice2": "B.", "question": question, "label": 1}
    return json.dumps({**row, "idx": idx, **other}) + "\r\n"


def test_xcopa_as_published_and_put_right(tmp_path: Path) -> None:
    found = dict(files(tmp_path, "test", "rows", th=dilemma(0, "effect") + dilemma(4, "effect")))
    items = read("xcopa", "test", found, "th")
    prompt = "P. What was the effect?"
    assert items[1] == Alternatives("test:4", prompt, ("A.", "B."), 1, "copa:test:4")
    for lang in ("et", "zh"):
        path = tmp_path / lang
        path.write_text(dilemma(4, "effect") + dilemma(0, "cause"))
        found[Key("", "test", f"reference_{lang}")] = LocalFile(path, lang)
    right = read("xcopa_corrected", "test", found, "th")
    assert [one.prompt for one in right] == ["P. What was the cause?", prompt]
    path.write_text(dilemma(4, "cause") + dilemma(0, "cause"))
    with pytest.raises(DataError, match="idx 4 asks for the"):
        read("xcopa_corrected", "test", found, "th")


def test_tags(tmp_path: Path) -> None:
    text = "\nDas\tDET\r\nHaus\tNOUN\r\n\r\n\r\nDas\tDET\nHaus\tNOUN\n\nJa\tINTJ"
    one, two, three = read("udpos", "dev", files(tmp_path, "dev", "tokens", de=text))
    assert (one.words, one.tags) == (("Das", "Haus"), ("DET", "NOUN"))
    assert one.cluster == two.cluster != three.cluster
    assert one.cluster.startswith("udpos:de:")


def test_the_two_scripts_of_chinese_are_one_cluster(tmp_path: Path) -> None:
    text = "說\tVERB\n話\tNOUN\n\n说\tVERB\n话\tNOUN\n\n去\tVERB\n"
    one, two, three = read("udpos", "dev", files(tmp_path, "dev", "tokens", zh=text), "zh")
    assert one.cluster == two.cluster != three.cluster


def test_wikiann_puts_the_language_before_every_word(tmp_path: Path) -> None:
    text = "de:Ulm\tB-LOC\nde:de:x\tO\n"
    (one,) = read("panx", "test", files(tmp_path, "test", "tokens", de=text))
    assert one.words == ("Ulm", "de:x")


# task, split, role, content, what the message says
BAD = [
    ("xnli", "rows", "A.\tB.\tmaybe\n", "de.file:1: label 'maybe' is not one of entailment"),
    ("xnli", "rows", "A.\tB.\n", "de.file:1: not two texts and a label"),
    ("xnli", "rows", "A.\t\tneutral\n", "de.file:1: not two texts and a label"),
    ("xnli", "rows", "A.\tB.\tneutral\nA.\tB\tC\tneutral\n", "de.file:2: not two texts"),
    ("pawsx", "rows", "A.\tB.\t2\n", "label '2' is not one of 0, 1"),
    ("pawsx", "rows", "5\tA\tB\t1\n5\tC\tD\t0\n", "id 5 given twice"),
    ("xcopa", "rows", dilemma(0) + dilemma(0), "de.file:2: idx 0 given twice"),
    ("xcopa", "rows", dilemma(0, choice2=""), "choice2 is empty"),
    ("xcopa", "rows", '{"premise": "P.", "choice1": "A."}\n', "no 'choice2'"),
    ("xcopa", "rows", dilemma(0, "why"), "question 'why' is not cause or effect"),
    ("xcopa", "rows", dilemma(0, label=2), "label 2 is none of the 2 choices"),
    ("xcopa", "rows", dilemma(0, label=True), "'label' is bool"),
    ("udpos", "tokens", "Das\tDET\tx\n", "de.file:1: not a word, a tab and a tag"),
    ("udpos", "tokens", "Ja\tINTJ\nDas\n", "de.file:2: not a word, a tab and a tag"),
    ("udpos", "tokens", "\tDET\n", "de.file:1: not a word, a tab and a tag"),
    ("udpos", "tokens", "Ja\tINTJ\n\t\nDas\tDET\n", "de.file:2: not a word, a tab and a tag"),
    ("udpos", "tokens", "Ja\tINTJ\n\nDas\tDET\nx\tY\n", "de.file:4: label 'Y' is not one of ADJ"),
    ("udpos", "tokens", "Das\tNOUNS\n", "label 'NOUNS' is not one of ADJ"),
    ("panx", "tokens", "Ulm\tB-GPE\n", "label 'B-GPE' is not one of O"),
    ("panx", "tokens", "nl:Ulm\tB-LOC\n\nnl:!\tO\n", "words begin with nl:, so that it is not of"),
    ("panx", "tokens", "Ulm\tB-LOC\nde:!\tO\nde:?\tO\n", "de.file:1: a word without de:, which"),
    ("panx", "tokens", "de:U\tB-LOC\n\nde:!\tO\n?\tO\n", "de.file:4: a word without de:, which"),
    ("panx", "tokens", "\n\n", "empty"),
    ("pawsx", "rows", f'"{"A" * (1 << 20)}A"\tB\t1\n', "de.file:1: not a table: field larger"),
]


@pytest.mark.parametrize(("task", "role", "text", "message"), BAD)
def test_what_is_not_the_schema_is_refused(
    task: str, role: str, text: str, message: str, tmp_path: Path
) -> None:
    with pytest.raises(DataError) as raised:
        read(task, "test", files(tmp_path, "test", role, de=text))
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)


def rows(folder: Path, columns: dict[str, list[Any]], names: dict[str, list[str]]) -> LocalFile:
    table = pa.table(columns)
    features = {
        column: {"feature": {"names": own}}
        if isinstance(columns[column][0], list)
        else {"names": own}
        for column, own in names.items()
    }
    meta = {b"huggingface": json.dumps({"info": {"features": features}}).encode()}
    pq.write_table(table.replace_schema_metadata(meta if names else None), folder / "r.parquet")
    return LocalFile(folder / "r.parquet", "r.parquet")


def from_hub(task: str, split: str, role: str, file: LocalFile) -> Any:
    card = read_card(task)
    found = READERS[card.source.format](card, split, ("de",), {Key("de", split, role): file})
    return found.examples["de"].items


@pytest.mark.parametrize("names", [{}, {"label": ["neutral", "entailment", "contradiction"]}])
def test_numbers_of_the_hub_are_read_by_the_names_in_the_file(names: Any, tmp_path: Path) -> None:
    columns = {"premise": ["A."], "hypothesis": ["B."], "label": [1]}
    (one,) = from_hub("xnli", "test", "rows", rows(tmp_path, columns, names))
    assert one.label == ("entailment" if names else "neutral")


def test_tags_of_the_hub(tmp_path: Path) -> None:
    columns: dict[str, list[Any]] = {"tokens": [["Ulm", "x"]], "ner_tags": [[1, 0]]}
    names = {"ner_tags": ["O", "B-LOC"]}
    (one,) = from_hub("panx", "test", "tokens", rows(tmp_path, columns, names))
    assert isinstance(one, Sentence)
    assert one.tags == ("B-LOC", "O")
    for bad, message in (
        ({"tokens": [["Ulm"]], "ner_tags": [[1, 0]]}, "1 words and 2 tags"),
        ({"tokens": [["Ulm", ""]], "ner_tags": [[1, 0]]}, "an empty word"),
        ({"tokens": [["U\tlm"]], "ner_tags": [[1]]}, "a tab or a line break inside a word"),
        ({"tokens": [["Ulm"]], "ner_tags": [[9]]}, "label 9 stands for nothing"),
    ):
        with pytest.raises(DataError, match=message):
            from_hub("panx", "test", "tokens", rows(tmp_path, bad, names))
