"""Predictions scored against gold, and outcomes exported as predictions."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from harness.analysis.fold import fold
from harness.analysis.results import read_result
from harness.cards.catalogue import read_card
from harness.data import layout
from harness.data.load import DataLocation
from harness.errors import DataError, HarnessError, IncompleteError, NotFoundError, UsageError
from harness.results.export import export
from harness.results.gold import check_gold
from harness.results.outcomes import find
from harness.results.predictions import FolderScores, check_scored, score_file, score_folder
from harness.results.scores import score_file as score_outcomes
from harness.results.xtreme_layout import sorted_order
from tests.mini_xtreme import ENGLISH, lay_data, questions, run_task, unfinished

pytestmark = pytest.mark.usefixtures("rows_by_hand")


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("mini")
    lay_data(folder, mlqa_pairs=["de-ar"])
    return folder


@pytest.fixture
def invented(monkeypatch: pytest.MonkeyPatch) -> None:
    """The data is made up, so the official checksums do not hold."""
    monkeypatch.setattr(layout, "read_checksums", dict)


def put(path: Path, content: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    text = content if isinstance(content, str) else json.dumps(content)
    path.write_text(text, encoding="utf-8", newline="")
    return path


def score(folder: Path, data: Path | None, split: str | None = None) -> FolderScores:
    return score_folder(
        folder, split=split, location=DataLocation(data, folder / "cache", offline=True)
    )


def one_line(raised: pytest.ExceptionInfo[HarnessError]) -> str:
    message = str(raised.value)
    assert "\n" not in message
    return message


# One file against one gold file


def gold(*answered: tuple[str, list[str]], **more: Any) -> dict[str, Any]:
    qas = [
        {"id": name, "question": "?", "answers": [{"text": text} for text in texts], **more}
        for name, texts in answered
    ]
    return {"data": [{"paragraphs": [{"context": "", "qas": qas}]}]}


def test_a_worked_example(tmp_path: Path) -> None:
    answers = gold(("a", ["the red house"]), ("b", ["1871", "in 1871"]), ("c", ["x"]), ("d", ["y"]))
    predictions = {"a": "A red, red house!", "b": "In 1871.", "d": "z", "other": "y"}
    scores = score_file(
        put(tmp_path / "p.json", predictions),
        put(tmp_path / "g.json", answers),
        scorer="squad",
        lang=None,
    )
    # a: {red red house} against {red house}: precision 2/3, recall 1, F1 0.8. b: exact. c: none.
    assert scores.values == pytest.approx({"exact_match": 25.0, "f1": 45.0})
    assert scores.notes == (
        f"{tmp_path / 'p.json'}: 1 of 4 questions have no prediction: they score 0",
        f"{tmp_path / 'p.json'}: 1 predictions have ids that are not among the questions: ignored",
    )


def test_mlqa_goes_by_the_language_of_the_contexts(tmp_path: Path) -> None:
    files = (
        put(tmp_path / "p.json", {"a": "der Wagen"}),
        put(tmp_path / "g.json", gold(("a", ["ein Wagen"]))),
    )
    values = {
        lang: score_file(*files, scorer="mlqa", lang=lang).values["exact_match"]
        for lang in ("de", "deu", "en")
    }
    assert values == {"de": 100.0, "deu": 100.0, "en": 0.0}


def test_unanswerable_questions_are_left_out_and_told(tmp_path: Path) -> None:
    answers = gold(("a", ["x"]), is_impossible=False)
    answers["data"] += gold(("b", []), ("c", []), is_impossible=True)["data"]
    scores = score_file(
        put(tmp_path / "p.json", {"a": "x", "b": ""}),
        put(tmp_path / "g.json", answers),
        scorer="squad",
        lang=None,
    )
    assert scores.values == {"exact_match": 100.0, "f1": 100.0}
    assert scores.notes[-1].endswith("2 unanswerable questions left out")


def test_gold_may_be_the_list_under_data_and_repeat_an_id(tmp_path: Path) -> None:
    articles = gold(("a", ["x"]), ("a", ["y"]))["data"]
    scores = score_file(
        put(tmp_path / "p.json", {"a": "x"}),
        put(tmp_path / "g.json", articles),
        scorer="squad",
        lang=None,
    )
    assert scores.values == {"exact_match": 50.0, "f1": 50.0}
    assert scores.notes == ()


@pytest.mark.parametrize(
    ("scorer", "lang", "said"),
    [
        ("mlqa", None, "--lang"),
        ("mlqa", "fr", "no answer rules for language 'fr'"),
        ("mlqa", "qqq", "unknown language 'qqq'"),
        ("squadd", None, "did you mean squad?"),
    ],
)
def test_scorers_that_there_are_not(
    tmp_path: Path, scorer: str, lang: str | None, said: str
) -> None:
    files = put(tmp_path / "p.json", {"a": "x"}), put(tmp_path / "g.json", gold(("a", ["x"])))
    with pytest.raises(UsageError) as raised:
        score_file(*files, scorer=scorer, lang=lang)
    assert said in one_line(raised)


@pytest.mark.parametrize(
    ("wrong", "content", "said"),
    [
        (0, '{"a": "x"', "not JSON"),
        (0, "", "not JSON"),
        (0, "[" * 100_000, "not JSON"),
        (0, ["x"], "a JSON list"),
        (0, {"a": None}, "prediction of a is NoneType"),
        (0, {"a": ["x"]}, "prediction of a is list"),
        (0, {"a": 12}, "prediction of a is int"),
        (1, gold(("a", [""]), ("b", [""])), "has no answers"),
        (1, gold(("a", []), is_impossible=True), "has no answers"),
        (1, {"data": []}, "has no answers"),
        (1, gold(("a", ["x"]), ("b", [])), "question b has no answer"),
        (1, {"version": "1.1"}, "no 'data'"),
        (1, {"data": [{"paragraphs": [{"qas": [{"id": 1}]}]}]}, "data[0].paragraphs[0].qas[0]"),
        (1, "not json", "not JSON"),
    ],
)
def test_predictions_and_gold_in_another_format(
    tmp_path: Path, wrong: int, content: Any, said: str
) -> None:
    files = put(tmp_path / "p.json", {"a": "x"}), put(tmp_path / "g.json", gold(("a", ["x"])))
    put(files[wrong], content)
    with pytest.raises(DataError) as raised:
        score_file(*files, scorer="squad", lang=None)
    assert said in one_line(raised)
    assert str(files[wrong]) in str(raised.value)


def test_files_that_are_not_there_or_not_text(tmp_path: Path) -> None:
    file = put(tmp_path / "g.json", gold(("a", ["x"])))
    for absent in (tmp_path / "absent.json", tmp_path):
        with pytest.raises(NotFoundError, match=str(absent)):
            score_file(absent, file, scorer="squad", lang=None)
    (tmp_path / "latin.json").write_bytes(b'{"a": "\xe9"}')
    with pytest.raises(DataError, match="not UTF-8 at byte 7"):
        score_file(tmp_path / "latin.json", file, scorer="squad", lang=None)


def test_the_official_scores_of_every_oracle(data_dir: Path, oracles_dir: Path) -> None:
    expected = json.loads((oracles_dir / "qa/expected.json").read_text())
    assert {"xquad.zh", "mlqa.zh", "mlqa-de.ar", "squad.en"} <= set(expected)
    for name, entry in expected.items():
        task, _, lang = name.partition(".")
        scores = score_file(
            oracles_dir / f"qa/{name}.pred.json",
            data_dir / entry["gold"],
            scorer="mlqa" if task.startswith("mlqa") else "squad",
            lang=task.removeprefix("mlqa-") if "-" in task else lang,
        )
        wanted = {metric: entry[metric] for metric in ("exact_match", "f1")}
        assert scores.values == pytest.approx(wanted, abs=1e-6), name


# A folder


@pytest.mark.usefixtures("invented")
def test_tatoeba_lines_are_in_the_sorted_order(tmp_path: Path, data: Path) -> None:
    # By code points, so 10 and 11 come before 2; equal sentences keep the order of the file.
    order = [4, 7, 2, 9, 1, 3, 6, 10, 5, 0, 8, 11]
    assert sorted_order([f"Sentence {number}" for number in ENGLISH]) == order
    texts = {
        "de": "".join(f"{line}\n" for line in order),
        "fr": "\r\n".join(f"[{line}]" for line in order),
        "spa": "".join(f"{line}\n" for line in sorted(order)),
        "zh": "".join(f"{line}\n" for line in [4, 7, 2, 9, 3, 1, 6]) + "\n-1\n99\n8\n11\n",
    }
    for lang, text in texts.items():
        put(tmp_path / f"p/tatoeba/test-{lang}.tsv", text)
    scores = score(tmp_path / "p", data)
    assert scores.values == {
        "tatoeba": {
            "de": {"accuracy": 100.0},
            "fr": {"accuracy": 100.0},
            "es": {"accuracy": pytest.approx(100 * 3 / 12)},  # lines 2, 6 and 11
            "zh": {"accuracy": pytest.approx(100 * 7 / 12)},
        }
    }
    named = [note for note in scores.notes if "name no sentence" in note]
    assert len(named) == 1
    assert "test-zh.tsv: 3 of 12 lines" in named[0]


@pytest.mark.usefixtures("invented")
@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("0\n" * 11, "11 lines, expected 12"),
        ("0\n" * 12 + "\n", "13 lines, expected 12"),
        ("", "0 lines, expected 12"),
        ("0\n" * 11 + "0\t1\n", "test-de.tsv:12: '0\\t1' is not a line number"),
        ("0.5\n" * 12, "test-de.tsv:1: '0.5' is not a line number"),
        ("9" * 5_000 + "\n" + "0\n" * 11, "test-de.tsv:1: '9999"),
    ],
)
def test_tatoeba_files_that_are_none(tmp_path: Path, data: Path, text: str, said: str) -> None:
    put(tmp_path / "tatoeba/test-de.tsv", text)
    with pytest.raises(DataError) as raised:
        check_scored(score(tmp_path, data))
    assert said in one_line(raised)


@pytest.mark.usefixtures("invented")
def test_bucc_pairs(tmp_path: Path, data: Path) -> None:
    right = "".join(f"de-{i:09d}\ten-{i:09d}\n" for i in range(206, 213))  # 7 of the 14
    wrong = "de-000000206\ten-000000207\nde-000000001\ten-000000206\n"
    put(tmp_path / "bucc2018/test-de.tsv", right + "\n" + wrong + right)
    put(tmp_path / "bucc2018/test-fr.tsv", "")
    scores = score(tmp_path, data)
    precision, recall = 7 / 9, 7 / 14
    assert scores.values["bucc2018"]["de"] == pytest.approx(
        {
            "precision": 100 * precision,
            "recall": 100 * recall,
            "f1": 200 * precision * recall / (precision + recall),
        }
    )
    assert scores.values["bucc2018"]["fr"] == {"precision": 0.0, "recall": 0.0, "f1": 0.0}
    assert any("1 of 9 pairs have unknown ids" in note for note in scores.notes)
    assert any(note.endswith("test-fr.tsv: no pairs: everything scores 0") for note in scores.notes)
    put(tmp_path / "bucc2018/test-de.tsv", "1.2\tde-000000206\ten-000000206\n")
    with pytest.raises(DataError, match=r"test-de\.tsv:1: not xx-id<TAB>en-id"):
        check_scored(score(tmp_path, data))


@pytest.mark.usefixtures("invented")
@pytest.mark.parametrize("name", ["mewslix", "mewsli_x"])
def test_mewsli_x_looks_at_twenty_ranks(tmp_path: Path, data: Path, name: str) -> None:
    # The 20 mentions are of Q0, Q2 … Q38.
    other = [f"Q{i}" for i in range(1, 40, 2)]
    ranked = {
        "de-0": ["Q0", *other],
        "de-1": [*other[:3], "Q2"],
        "de-2": [*other[:19], "Q4"],
        "de-3": [*other[:20], "Q6"],
        "de-4": [],
        "xx-9": ["Q0"],
    }
    put(tmp_path / name / "test-de.json", ranked)
    scores = score(tmp_path, data)
    assert scores.values == {
        "mewsli_x": {
            "de": pytest.approx(
                {"map@20": 100 * (1 + 1 / 4 + 1 / 20) / 20, "recall@10": 100 * 2 / 20}
            )
        }
    }
    assert any("15 of 20 queries have no prediction" in note for note in scores.notes)
    assert any("1 predictions have ids" in note for note in scores.notes)
    put(tmp_path / name / "test-de.json", {"de-0": [0]})
    with pytest.raises(DataError, match="prediction of de-0 is not a list of ids"):
        check_scored(score(tmp_path, data))


@pytest.mark.usefixtures("invented")
def test_qa_in_percent_by_the_scorer_of_the_task(tmp_path: Path, data: Path) -> None:
    def right(task: str, lang: str, asked: str) -> dict[str, str]:
        (article,) = questions(task, lang, asked)["data"]
        asked_here = [q for p in article["paragraphs"] for q in p["qas"]]
        return {question["id"]: question["answers"][0]["text"] for question in asked_here}

    put(tmp_path / "xquad/test-el.json", right("xquad", "el", "el") | {"xquad-0-0": "wrong"})
    put(tmp_path / "mlqa_cross/test-de-ar.json", right("mlqa", "de", "ar"))
    put(tmp_path / "mlqa/test-de-ar.json", right("mlqa", "de", "ar"))
    scores = score(tmp_path, data)
    assert scores.values == {
        "mlqa_cross": {"de-ar": {"exact_match": 100.0, "f1": 100.0}},
        "xquad": {"el": pytest.approx({"exact_match": 500 / 6, "f1": 500 / 6})},
    }
    assert "mlqa/test-de-ar.json ignored: its name is not <split>-<language of mlqa>.json" in (
        scores.notes
    )


@pytest.mark.usefixtures("invented")
@pytest.mark.parametrize(
    ("bad", "said"),
    [
        (b'{"a": "x", "a": "y"}', "the key 'a' occurs twice"),
        (b'{"a": NaN}', "NaN is not a JSON number"),
        (b'{"a": "\\udc00"}', "a holds half of a surrogate pair"),
        (b"\xff", "not UTF-8 at byte 0"),
        (b"[]", "give an object of"),
    ],
)
def test_a_broken_file_costs_no_other(tmp_path: Path, data: Path, bad: bytes, said: str) -> None:
    put(tmp_path / "xquad/test-el.json", "\ufeff" + json.dumps({"xquad-0-0": "x"}))
    (tmp_path / "xquad/test-de.json").write_bytes(bad)
    scores = score(tmp_path, data)
    assert list(scores.values["xquad"]) == ["el"]
    with pytest.raises(DataError, match=r"not scored: xquad/de \(.*test-de.json") as raised:
        check_scored(scores)
    assert said in one_line(raised)


@pytest.mark.usefixtures("invented")
def test_what_cannot_be_read_costs_no_other(tmp_path: Path, data: Path) -> None:
    put(tmp_path / "xquad/test-el.json", {"xquad-0-0": "x"})
    (tmp_path / "xquad/test-de.json").mkdir()
    (tmp_path / "xquad/test-en.json").symlink_to("nowhere")
    scores = score(tmp_path, data)
    assert list(scores.values["xquad"]) == ["el"]
    assert "test-de.json cannot be read: Is a directory" in scores.broken["xquad/de"]
    assert "no file" in scores.broken["xquad/en"]
    with pytest.raises(DataError, match=r"^not scored: xquad/en, xquad/de "):
        check_scored(scores)


@pytest.mark.usefixtures("invented")
def test_what_cannot_be_scored_is_told(tmp_path: Path, data: Path) -> None:
    put(tmp_path / "tatoeba/test-de.tsv", "0\n" * 12)
    put(tmp_path / "tatoeba/test-en.tsv", "0\n")
    put(tmp_path / "tatoeba/test-fr.json", {})
    put(tmp_path / "tatoeba/dev-fr.tsv", "0\n")
    put(tmp_path / "tatoeba/.DS_Store", "")
    put(tmp_path / "tatoeba/readme.md", "")
    put(tmp_path / "cola/test-de.tsv", "")
    put(tmp_path / "lareqa/test-de.json", {})
    scores = score(tmp_path, data)
    assert list(scores.values["tatoeba"]) == ["de"]
    ignored = sorted(note for note in scores.notes if "ignored" in note)
    assert [note.split(" ignored: ")[0] for note in ignored] == [
        "cola/",
        "lareqa/",
        "tatoeba/dev-fr.tsv",
        "tatoeba/readme.md",
        "tatoeba/test-en.tsv",
        "tatoeba/test-fr.json",
    ]
    check_scored(scores)


@pytest.mark.usefixtures("invented")
def test_the_files_of_a_split(tmp_path: Path, data: Path) -> None:
    pairs = {part: f"zh-{n:09d}\ten-{n:09d}\n" for part, n in (("dev", 106), ("test", 206))}
    put(tmp_path / "bucc2018/test-zh.tsv", pairs["dev"])
    assert score(tmp_path, data, "dev").values["bucc2018"]["zh"]["precision"] == 100.0
    put(tmp_path / "bucc2018/test-zh.tsv", pairs["test"])
    put(tmp_path / "bucc2018/dev-zh.tsv", pairs["dev"])
    for split in ("dev", None):
        scores = score(tmp_path, data, split)
        assert scores.values["bucc2018"]["zh"]["precision"] == 100.0
        assert len([note for note in scores.notes if "ignored" in note]) == 1
    put(tmp_path / "xquad/test-de.json", {})  # A task without the split costs no other.
    scores = score(tmp_path, data, "dev")
    assert scores.values.keys() == {"bucc2018"}
    assert any(note.startswith("xquad/ ignored: xquad has no split 'dev'") for note in scores.notes)
    with pytest.raises(UsageError, match="bucc2018 has no split 'val'"):
        score(tmp_path, data, "val")
    put(tmp_path / "xquad/dev-de.json", {})
    with pytest.raises(UsageError, match="xquad has no split 'dev'"):
        score(tmp_path, data, "dev")


@pytest.mark.usefixtures("invented")
def test_two_files_of_one_language(tmp_path: Path, data: Path) -> None:
    put(tmp_path / "tatoeba/test-de.tsv", "0\n" * 12)
    put(tmp_path / "tatoeba/test-deu.tsv", "0\n" * 12)
    with pytest.raises(UsageError, match=r"test-de\.tsv and test-deu\.tsv are both de"):
        score(tmp_path, data)


@pytest.mark.usefixtures("invented")
def test_one_task_under_two_names(tmp_path: Path, data: Path) -> None:
    put(tmp_path / "mewslix/test-de.json", {"de-0": []})
    put(tmp_path / "mewsli_x/test-de.json", {"de-0": []})
    with pytest.raises(UsageError, match="mewsli_x under two names"):
        score(tmp_path, data)


@pytest.mark.usefixtures("invented")
def test_missing_gold_is_incomplete_and_what_there_is_is_scored(tmp_path: Path, data: Path) -> None:
    put(tmp_path / "tatoeba/test-de.tsv", "0\n" * 12)
    put(tmp_path / "tatoeba/test-pl.tsv", "0\n" * 12)  # not among the files laid here
    scores = score(tmp_path, data)
    assert list(scores.values["tatoeba"]) == ["de"]
    assert list(scores.missing) == ["tatoeba/pl"]
    with pytest.raises(IncompleteError) as raised:
        check_scored(scores)
    assert "no gold for tatoeba/pl" in one_line(raised)


def test_folders_with_nothing_to_score(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="no folder"):
        score(tmp_path / "absent", None)
    put(tmp_path / "cola/test-de.tsv", "")
    with pytest.raises(NotFoundError) as raised:
        score(tmp_path, None)
    assert "cola/ ignored" in one_line(raised)


# The official files with made-up predictions


def test_real_xquad_and_tatoeba_and_bucc(data_dir: Path, tmp_path: Path) -> None:
    (articles,) = [json.loads((data_dir / "xquad/xquad.th.json").read_text())["data"]]
    asked = [q for a in articles for p in a["paragraphs"] for q in p["qas"]]
    half = {q["id"]: f" {q['answers'][0]['text'].upper()}. " for q in asked[::2]}
    put(tmp_path / "xquad/test-th.json", half)
    pairs = list(enumerate((data_dir / "tatoeba/tatoeba.deu-eng.eng").read_text().splitlines()))
    in_order = [line for line, _ in sorted(pairs, key=lambda pair: pair[1].strip())]
    put(tmp_path / "tatoeba/test-de.tsv", "".join(f"{line}\n" for line in in_order))
    put(tmp_path / "tatoeba/test-zh.tsv", "".join(f"{line}\n" for line in range(1000)))
    scores = score(tmp_path, data_dir)
    assert scores.values["xquad"]["th"]["exact_match"] == 50.0
    assert scores.values["tatoeba"]["de"]["accuracy"] == 100.0
    assert scores.values["tatoeba"]["zh"]["accuracy"] < 5.0
    assert [note for note in scores.notes if "595 of 1190 questions" in note]

    gold_pairs = (data_dir / "bucc2018/zh-en.dev.gold").read_text()
    put(tmp_path / "mining/bucc2018/dev-zh.tsv", gold_pairs)
    mined = score(tmp_path / "mining", data_dir, "dev")
    assert mined.values == {"bucc2018": {"zh": {"precision": 100.0, "recall": 100.0, "f1": 100.0}}}


# Export; what its files score is in parity/test_xtreme_evaluate.py


def exported(run: Path, folder: Path, data: Path | None = None) -> set[str]:
    location = DataLocation(data, folder.parent / "cache", offline=True)
    return {str(path.relative_to(folder)) for path in export(run, folder, location=location).files}


def test_the_demo_comes_back_with_its_scores(tmp_path: Path) -> None:
    tasks = [
        *("demo_bitext", "demo_mining", "demo_qa"),
        *("demo_pairs", "demo_choices", "demo_tags"),
    ]
    run = {task: run_task(read_card(task), None, None, tmp_path / "run") for task in tasks}
    run_task(read_card("demo_passages"), None, None, tmp_path / "run")
    location = DataLocation(None, tmp_path / "cache", offline=True)
    written = export(tmp_path / "run", tmp_path / "out", location=location)
    assert written.notes == (
        "demo_passages.00000000.parquet left out: Demo passages has no official prediction file",
    )
    assert all(path.is_file() for path in written.files)
    for task, languages in score(tmp_path / "out", None).values.items():
        for lang, values in languages.items():
            expected = {metric: 100 * run[task][lang][metric] for metric in values}
            assert values == pytest.approx(expected, abs=1e-5)
        assert set(languages) == set(run.pop(task))
    assert not run


@pytest.mark.usefixtures("invented")
def test_one_file_and_one_language(tmp_path: Path, data: Path) -> None:
    run_task(read_card("tatoeba"), ["de"], data, tmp_path / "run")
    (file,) = find(tmp_path / "run")
    assert exported(file.path, tmp_path / "out", data) == {"tatoeba/test-de.tsv"}


@pytest.mark.usefixtures("invented")
def test_a_dev_run_is_named_dev(tmp_path: Path, data: Path) -> None:
    card = read_card("bucc2018")
    values = run_task(card, ["zh"], data, tmp_path / "run", "dev")
    assert exported(tmp_path / "run", tmp_path / "out") == {"bucc2018/dev-zh.tsv"}
    scores = score(tmp_path / "out", data, "dev").values["bucc2018"]["zh"]
    assert scores["f1"] == pytest.approx(100 * values["zh"]["f1_oracle"])
    assert scores["f1"] > 0


@pytest.mark.usefixtures("invented")
def test_pairs_in_one_language_lie_under_mlqa(tmp_path: Path, data: Path) -> None:
    run_task(read_card("mlqa_cross"), None, data, tmp_path / "run")
    assert exported(tmp_path / "run", tmp_path / "out") == {
        *(f"mlqa/test-{lang}.json" for lang in ("en", "es", "de", "ar", "hi", "vi", "zh")),
        "mlqa_cross/test-de-ar.json",
    }
    # Their rows name the language once; the unit is the pair all the same.
    (file,) = find(tmp_path / "run")
    units = file.meta()["languages"]
    assert {"de-de", "de-ar"} < set(units)
    assert score_outcomes(file).num_rows > 0
    assert set(read_result(fold(file), "", frozenset()).values) == set(units)


@pytest.mark.usefixtures("invented")
def test_broken_data_is_named(tmp_path: Path, data: Path) -> None:
    run_task(read_card("tatoeba"), ["de", "fr"], data, tmp_path / "run")
    (file,) = find(tmp_path / "run")
    copy = shutil.copytree(data, tmp_path / "data")
    (copy / "tatoeba/tatoeba.fra-eng.fra").write_text("\n")
    with pytest.raises(DataError, match=r"tatoeba fr: .*tatoeba\.fra-eng\.fra"):
        exported(file.path, tmp_path / "out", copy)


@pytest.mark.usefixtures("invented")
def test_gold_that_is_broken_is_not_passed_over(tmp_path: Path, data: Path) -> None:
    run_task(read_card("xquad"), ["de", "es"], data, tmp_path / "results")
    copy = shutil.copytree(data, tmp_path / "data")
    (copy / "xquad/xquad.de.json").write_text("{}")
    with pytest.raises(DataError, match="xquad de: "):
        check_gold(tmp_path / "results", DataLocation(copy, tmp_path / "cache"))


def test_files_are_replaced_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run_task(read_card("demo_qa"), ["de"], None, tmp_path / "run")
    stale = put(tmp_path / "out/demo_qa/test-de.json", "{}")
    exported(tmp_path / "run", tmp_path / "out")
    fresh = stale.read_text()
    assert len(json.loads(fresh)) > 5
    assert [path.name for path in stale.parent.iterdir()] == ["test-de.json"]

    def full(source: object, target: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("harness.io.files.os.replace", full)
    with pytest.raises(IncompleteError, match="No space left"):
        exported(tmp_path / "run", tmp_path / "out")
    assert stale.read_text() == fresh
    assert [path.name for path in stale.parent.iterdir()] == ["test-de.json"]


def test_runs_that_the_official_script_would_misread(tmp_path: Path) -> None:
    card = read_card("demo_qa")
    run_task(card, ["de"], None, tmp_path / "limited", limit=3)
    with pytest.raises(UsageError) as raised:
        exported(tmp_path / "limited", tmp_path / "out")
    assert "first 3 queries" in one_line(raised)
    run_task(card, ["de"], None, tmp_path / "cut")
    unfinished(find(tmp_path / "cut")[0])
    with pytest.raises(UsageError) as raised:
        exported(tmp_path / "cut", tmp_path / "out")
    assert "is not finished" in one_line(raised)
    assert not (tmp_path / "out").exists()


def test_two_runs_in_one_folder(tmp_path: Path) -> None:
    card = read_card("demo_qa")
    run_task(card, ["de"], None, tmp_path / "run")
    run_task(card, ["de"], None, tmp_path / "run", signature="1" * 8)
    with pytest.raises(UsageError) as raised:
        exported(tmp_path / "run", tmp_path / "out")
    message = one_line(raised)
    assert "two runs of demo_qa" in message
    assert "demo_qa.00000000.parquet" in message
    assert "demo_qa.11111111.parquet" in message
    assert "give one file" in message
    run_task(card, ["de"], None, tmp_path / "models/a")
    run_task(read_card("demo_mining"), ["de"], None, tmp_path / "models/b", model="org/other")
    with pytest.raises(UsageError, match="runs of two checkpoints"):
        exported(tmp_path / "models", tmp_path / "out")


def test_predictions_of_another_export_are_said_to_be_there(tmp_path: Path) -> None:
    card = read_card("demo_qa")
    run_task(card, ["de", "es"], None, tmp_path / "a")
    run_task(card, ["de"], None, tmp_path / "b", model="org/other")
    out = tmp_path / "out"
    location = DataLocation(None, tmp_path / "cache", offline=True)
    for _ in range(2):  # What it writes anew is its own.
        assert export(tmp_path / "a", out, location=location).notes == ()
    put(out / "demo_qa/README.md", "")
    put(out / "cola/test-de.tsv", "")
    (note,) = export(tmp_path / "b", out, location=location).notes
    assert note.startswith(f"{out} had demo_qa/test-es.json before: ")
    assert "take those of another run away" in note


def test_nothing_to_export(tmp_path: Path) -> None:
    for empty in (tmp_path / "absent", tmp_path):
        with pytest.raises(NotFoundError, match="no outcomes"):
            exported(empty, tmp_path / "out")
    run_task(read_card("demo_passages"), ["de"], None, tmp_path / "run")
    with pytest.raises(UsageError, match="nothing to export"):
        exported(tmp_path / "run", tmp_path / "out")
    put(tmp_path / "broken.00000000.parquet", "PAR1")
    with pytest.raises(DataError, match="not a readable outcome file"):
        exported(tmp_path / "broken.00000000.parquet", tmp_path / "out")
    run_task(read_card("demo_qa"), ["de"], None, tmp_path / "qa")
    with pytest.raises(UsageError, match="is a file"):
        exported(tmp_path / "qa", put(tmp_path / "file", ""))


@pytest.mark.usefixtures("invented")
def test_tatoeba_needs_the_english_side_that_was_measured(tmp_path: Path, data: Path) -> None:
    run_task(read_card("tatoeba"), ["de"], data, tmp_path / "run")
    with pytest.raises(IncompleteError) as raised:
        exported(tmp_path / "run", tmp_path / "out", tmp_path)
    assert "its English side is needed" in one_line(raised)
    for side in ("eng", "deu"):
        lines = (data / f"tatoeba/tatoeba.deu-eng.{side}").read_text().splitlines()
        put(tmp_path / f"other/tatoeba/tatoeba.deu-eng.{side}", "\n".join(lines[::-1]))
    with pytest.raises(DataError) as raised:
        exported(tmp_path / "run", tmp_path / "out", tmp_path / "other")
    assert "not those that were measured" in one_line(raised)
    assert not (tmp_path / "out").exists()
