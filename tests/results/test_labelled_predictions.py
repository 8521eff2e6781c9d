"""Labels, choices and tags in XTREME's layout, and the averages of its suites."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.cards.catalogue import read_card, read_suites
from harness.data import layout
from harness.data.load import DataLocation
from harness.errors import DataError
from harness.results.averages import averages, in_words, of_rows
from harness.results.export import export
from harness.results.predictions import check_scored, score_folder
from tests.mini_xtreme import run_task

DATA = {
    "xnli/test-de.tsv": "A.\tB.\tneutral\nA.\tC.\tentailment\nA.\tD.\tcontradiction\n"
    "E.\tF.\tneutral\n",
    "pawsx/test_2k.de.tsv": "A.\tB.\t1\nC.\tD.\t0\nE.\tF.\t0\n",
    "xcopa/et/test.et.jsonl": "".join(
        json.dumps(
            dict(premise=f"P{n}", choice1="A", choice2="B", question="cause", label=n % 2, idx=n)
        )
        + "\n"
        for n in range(4)
    ),
    "udpos/test-de.tsv": "Das\tDET\nHaus\tNOUN\nbrennt\tVERB\n\n"
    "Ulm\tPROPN\nund\tCCONJ\nBonn\tPROPN\n",
    "panx/test-de.tsv": "Das\tO\nUlm\tB-LOC\n\nEva\tB-PER\nMay\tI-PER\n",
}
RIGHT = {
    "xnli/test-de.tsv": "neutral\nentailment\nneutral\nneutral\n",
    "pawsx/test-de.tsv": "1\n0\n1\n",
    "xcopa/test-et.jsonl": '{"label": 0}\n{"label": 1}\n{"label": 1}\n{"label": 1}\n',
    "udpos/test-de.tsv": "DET\nNOUN\nNOUN\n\nPROPN\nCCONJ\nPROPN\n\n",
    "panx/test-de.tsv": "B-LOC\nB-LOC\n\nI-PER\nI-PER\n",
}
# By hand. UDPOS: gold spans DET, NOUN, VERB and PROPN, CCONJ, PROPN; predicted DET, NOUN NOUN and
# the same three: 4 of 5 are right. PAN-X: gold LOC and PER; predicted LOC, LOC, PER: 2 of 3.
EXPECTED = {
    "xnli": {"de": {"accuracy": 75.0}},
    "pawsx": {"de": {"accuracy": 200 / 3}},
    "xcopa": {"et": {"accuracy": 75.0}},
    "udpos": {"de": {"accuracy": 500 / 6, "f1_pos": 100 * 2 * 4 / (6 + 5)}},
    "panx": {"de": {"f1_span": 80.0, "accuracy": 50.0}},
}


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(layout, "read_checksums", dict)
    lay(tmp_path / "data", DATA)
    return tmp_path / "data"


def lay(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")


def location(data: Path) -> DataLocation:
    return DataLocation(data, data / "cache", offline=True)


def test_predictions_are_scored(data: Path, tmp_path: Path) -> None:
    lay(tmp_path / "p", RIGHT)
    scores = score_folder(tmp_path / "p", split=None, location=location(data))
    assert scores.values.keys() == EXPECTED.keys()
    for task, languages in EXPECTED.items():
        for lang, values in languages.items():
            assert scores.values[task][lang] == pytest.approx(values)


def test_what_is_exported_is_what_was_measured(data: Path, tmp_path: Path) -> None:
    run = {
        task: run_task(read_card(task), list(languages), data, tmp_path / "run")
        for task, languages in EXPECTED.items()
    }
    written = export(tmp_path / "run", tmp_path / "p", location=location(data))
    assert {str(path.relative_to(tmp_path / "p")) for path in written.files} == RIGHT.keys()
    scores = score_folder(tmp_path / "p", split=None, location=location(data))
    for task, languages in run.items():
        for lang, values in languages.items():
            assert scores.values[task][lang] == pytest.approx(
                {metric: 100 * value for metric, value in values.items()}
            )
    assert set((tmp_path / "p/pawsx/test-de.tsv").read_text()) <= set("01\n")
    # As XTREME's read_tag takes it apart: as many sentences and words as there are.
    parts = (tmp_path / "p/udpos/test-de.tsv").read_text().strip().split("\n\n")
    assert [len(part.split()) for part in parts] == [3, 3]


BAD = [
    ("xnli/test-de.tsv", "neutral\nmaybe\nneutral\nneutral\n", ":2: 'maybe' is not one of"),
    ("xnli/test-de.tsv", "neutral\n", "1 predictions, expected 4"),
    ("pawsx/test-de.tsv", "1\n0\n2\n", ":3: '2' is not one of 0, 1"),
    ("xcopa/test-et.jsonl", '{"label": 2}\n' * 4, ":1: label 2 is none of the 2 choices"),
    ("xcopa/test-et.jsonl", '{"label": 1}\n0\n', ":2: no 'label'"),
    ("xcopa/test-et.jsonl", "{\n", ":1: not JSON"),
    ("udpos/test-de.tsv", "DET\n\n\nDET\n", "3 predictions, expected 2"),
    (
        "udpos/test-de.tsv",
        "DET\nNOUN\n\nPROPN\nCCONJ\nPROPN\n",
        "sentence 1 has 2 tags, expected 3",
    ),
    ("udpos/test-de.tsv", "NOUNS\n", ":1: 'NOUNS' is no tag of udpos"),
]


@pytest.mark.parametrize(("name", "text", "message"), BAD)
def test_what_is_not_the_layout_is_refused(
    name: str, text: str, message: str, data: Path, tmp_path: Path
) -> None:
    lay(tmp_path / "p", {name: text})
    scores = score_folder(tmp_path / "p", split=None, location=location(data))
    with pytest.raises(DataError) as raised:
        check_scored(scores)
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)


def full(suite: str) -> dict[str, dict[str, dict[str, float]]]:
    """60 everywhere, but 40 for exact match."""
    return {
        entry.task: {
            lang: dict.fromkeys(read_card(entry.task).metrics, 60.0)
            | ({"exact_match": 40.0} if read_card(entry.task).kind == "span_qa" else {})
            for lang in entry.languages or read_card(entry.task).languages
        }
        for entry in read_suites()[suite]
    }


@pytest.mark.parametrize(("suite", "tasks"), [("xtreme", 9), ("xtreme-r", 10)])
def test_averages_by_both_rules(suite: str, tasks: int) -> None:
    official, f1 = (one for one in averages(full(suite)) if one.suite == suite)
    assert len(official.tasks) == tasks
    # Three tasks of question answering count (60 + 40) / 2 by the official rule.
    assert official.value == pytest.approx((60 * (tasks - 3) + 50 * 3) / tasks)
    assert f1.value == pytest.approx(60)
    assert in_words(f1).endswith("tables): 60.00")
    # Rows of --limit, of another pooling or of an older card make an average that says so.
    assert in_words(f1, {"xnli", "demo_qa"}).endswith("tables): 60.00; see the notes on xnli")


def test_no_average_of_a_part() -> None:
    values = full("xtreme")
    del values["udpos"]["zh"]
    one, _ = averages(values)
    assert one.value is None
    assert in_words(one).startswith("no average of xtreme (")
    assert in_words(one).endswith("without udpos/zh")
    del values["udpos"]
    assert averages(values) == []


def test_values_of_rows_are_of_one_file_a_task() -> None:
    def row(**other: object) -> dict[str, object]:
        usual = {"model": "m", "revision": "r", "signature": "s", "task": "xnli", "lang": "de"}
        rest = {"layer": None, "direction": "", "metric": "accuracy", "value": 0.5}
        return {**usual, **rest, **other}

    rows = [
        row(),
        row(lang="macro", value=0.1),
        row(task="tatoeba", direction="de-en", value=0.2),
        row(task="tatoeba", direction="en-de", value=0.3),
        row(task="xcopa"),
        row(task="xcopa", signature="t"),
        row(task="pawsx"),
        row(task="pawsx", lang="macro"),
        row(task="pawsx", lang="fr"),  # of the same run in another folder
    ]
    assert of_rows(rows) == {
        "xnli": {"de": {"accuracy": 50.0}},
        "tatoeba": {"de": {"accuracy": 30.0}},
    }
