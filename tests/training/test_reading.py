"""Files → examples, in the official layouts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from harness.cards.languages import task_root
from harness.cards.training import IntermediateCard, intermediate_names, read_intermediate
from harness.data import layout
from harness.data.load import DataLocation
from harness.errors import DataError, IncompleteError
from harness.training.data import sources
from harness.training.data.examples import Choice, Classified, Matched, Span, Tagged, Text
from harness.training.data.reading import read
from tests.training.cards import card, source
from tests.training.laying import ANSWERS, SENTENCES, lay, sentences, squad

# Those whose data is not inside the package.
OFFICIAL = [name for name in intermediate_names() if not read_intermediate(name).source.package]


@pytest.fixture(autouse=True)
def no_checksums(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tiny files stand where official ones of known bytes would."""
    monkeypatch.setattr(layout, "read_checksums", dict)


def found(one: IntermediateCard, folder: Path, most: int | None = None) -> list[Any]:
    return list(read(one, DataLocation(folder, folder / "cache", offline=True), most).examples)


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8", newline="")
    return path


@pytest.mark.parametrize("name", OFFICIAL)
def test_every_card_reads_files_in_its_layout(name: str, tmp_path: Path) -> None:
    one = read_intermediate(name)
    lay(one, tmp_path)
    made = read(one, DataLocation(tmp_path, tmp_path / "cache", offline=True))
    dealt = one.deal is not None
    files = 1 if dealt else len(one.languages) * len(one.source.splits[one.split].files)
    if one.half:
        assert 0 < len(made.examples) < 6 * files
    else:
        assert len(made.examples) == 6 * files
    assert set(made.languages) <= set(one.languages)
    assert made.route == "folder"
    assert len(made.files) == len(one.languages) * len(one.source.splits[one.split].files)


def test_questions_have_their_answers_and_offsets(tmp_path: Path) -> None:
    one = read_intermediate("squad_v2")
    lay(one, tmp_path)
    spans = found(one, tmp_path)
    assert spans[0] == Span("q0", "en", "en 0?", " ".join(SENTENCES["en"][:2]), "seven", 34)
    assert spans[5].start is None  # unanswerable, and kept
    with pytest.raises(DataError, match="q5 has no answer"):
        found(one.model_copy(update={"unanswerable": False}), tmp_path)


def test_answers_off_their_offset_are_left_out_and_said(tmp_path: Path) -> None:
    gold = squad("en")
    # One of two hundred: a fact of old files.
    paragraphs = gold["data"][0]["paragraphs"]
    many = [json.loads(json.dumps(paragraphs)) for _ in range(34)]
    many[0][0]["qas"][0]["answers"][0]["answer_start"] += 1
    gold["data"] = [{"title": "t", "paragraphs": part} for part in many]
    one = card(kind="span", objective="extractive-qa", labels=[], source=source("squad", "s.json"))
    write(tmp_path / "s.json", json.dumps(gold))
    made = read(one, DataLocation(tmp_path, tmp_path, offline=True))
    assert len(made.examples) == 203
    assert made.notes == ("1 of 204 in en left out: answer not at its offset",)
    # All of them: stripped answers.
    for question in (q for a in gold["data"] for p in a["paragraphs"] for q in p["qas"]):
        question["answers"] = [{"text": "", "answer_start": 0}]
    write(tmp_path / "s.json", json.dumps(gold))
    with pytest.raises(DataError, match="204 of 204 answers are empty or not at their offset"):
        found(one, tmp_path)


def test_each_question_once_in_one_of_its_languages(tmp_path: Path) -> None:
    one = card(
        kind="span", objective="extractive-qa", labels=[], languages=["en", "de", "zh"],
        deal={"items": "en"}, source=source("squad", "{code}.json"),
    )  # fmt: skip
    for lang in one.languages:
        gold = squad(lang)
        if lang == "zh":  # which has one question only
            gold["data"][0]["paragraphs"] = gold["data"][0]["paragraphs"][:1]
            gold["data"][0]["paragraphs"][0]["qas"].pop()
        write(tmp_path / f"{lang}.json", json.dumps(gold))
    spans = found(one, tmp_path)
    assert [span.item for span in spans] == [f"q{number}" for number in range(6)]
    by_lang = {lang: sum(span.lang == lang for span in spans) for lang in one.languages}
    assert sorted(by_lang.values()) == [1, 2, 3]
    assert by_lang["zh"] == 1
    for span in spans:
        number = int(span.item[1:])
        assert span.answer == ANSWERS[span.lang][number]
        assert span.question.startswith(span.lang)
        assert span.context.startswith(sentences(span.lang)[number // 2 * 2])
    # The seed of the card decides, and only that.
    other = one.model_copy(update={"deal": one.deal.model_copy(update={"seed": 1})})  # type: ignore[union-attr]
    assert found(one, tmp_path) == spans
    assert [s.lang for s in found(other, tmp_path)] != [s.lang for s in spans]


def test_a_candidate_is_the_answers_sentence_and_its_context(tmp_path: Path) -> None:
    one = read_intermediate("squad_v1_pairs")
    lay(one, tmp_path)
    pair = found(one, tmp_path)[1]
    context = " ".join(SENTENCES["en"][:2])
    assert pair == Matched("q1", "en", "en 1?", SENTENCES["en"][1] + context, "en")


def test_mentions_and_entities_as_in_evaluation(tmp_path: Path) -> None:
    card = read_intermediate("mewsli_x_pairs")
    lay(card, tmp_path)
    first, *_ = found(card, tmp_path)
    assert isinstance(first, Matched)
    assert first.query == "The: { The } ferry to the island leaves at seven."
    assert first.text == "The is a word."


def test_tydiqa_ids_repeat_and_one_file_may_hold_all_languages(tmp_path: Path) -> None:
    one = read_intermediate("tydiqa_ko_sw")
    gold = squad("ko")
    for question in (q for p in gold["data"][0]["paragraphs"] for q in p["qas"]):
        question["id"] = "7"
    for lang in ("ko", "sw"):
        write(tmp_path / f"tydiqa_goldp/train/tydiqa.goldp.{lang}.train.json", json.dumps(gold))
    spans = found(one, tmp_path)
    assert [span.item for span in spans[:2]] == ["ko:0", "ko:1"]
    assert len({span.item for span in spans}) == 12
    for path in tmp_path.glob("tydiqa_goldp/train/*"):
        path.unlink()
    data = [
        part
        for name in ("korean-", "swahili-", "finnish-")
        for part in squad("ko", prefix=name)["data"]
    ]
    write(tmp_path / "tydiqa_goldp/train/tydiqa-goldp-v1.1-train.json", json.dumps({"data": data}))
    spans = found(one, tmp_path)
    assert [span.lang for span in spans] == ["ko"] * 6 + ["sw"] * 6


def test_pairs_of_texts_with_quotes_and_line_ends(tmp_path: Path) -> None:
    rows = source(
        "records", "x.tsv", header=False, columns={"first": "0", "second": "1", "label": "2"}
    )
    one = card(labels=["no", "yes"], label_names={"1": "yes"}, skip_labels=["-"], source=rows)
    write(tmp_path / "x.tsv", '"He said ""go"".\nAnd went"\tB\tno\r\nC\tD\t-\r\nE\tF\t1\r\n')
    made = read(one, DataLocation(tmp_path, tmp_path, offline=True))
    assert list(made.examples) == [
        Classified("rows:0", "en", 'He said "go".\nAnd went', "B", 0),
        Classified("rows:2", "en", "E", "F", 1),
    ]
    assert made.notes == ("1 without a label left out",)
    unquoted = source(
        "records", "x.tsv", header=False, quoted=False, columns={"first": "0", "label": "1"}
    )
    write(tmp_path / "x.tsv", '"open\tno\n')
    assert found(card(source=unquoted), tmp_path) == [Classified("rows:0", "en", '"open', None, 0)]


def qqp(folder: Path, rows: list[str]) -> Any:
    one = read_intermediate("qqp")
    names = "id\tqid1\tqid2\tquestion1\tquestion2\tis_duplicate"
    write(folder / "qqp/train.tsv", "\n".join([names, *rows]) + "\n")
    return read(one, DataLocation(folder, folder, offline=True))


def test_a_few_torn_rows_of_an_unquoted_table_are_left_out_and_said(tmp_path: Path) -> None:
    rows = [f'{at}\t1\t2\t"What is {at}?\tWhat {at}?\t{at % 2}' for at in range(398)]
    torn = ["7\t1\t2\tWhat is", "it?\tWhat?\t1"]
    made = qqp(tmp_path, [*rows[:5], *torn, *rows[5:]])
    assert len(made.examples) == 398
    assert made.notes == ("2 of 400 rows in en left out: torn",)
    assert made.examples[5] == Classified("rows:7", "en", '"What is 5?', "What 5?", 1)
    assert qqp(tmp_path, rows).notes == ()
    # More than 1 %: another format.
    with pytest.raises(DataError, match=r"5 of 403 rows have another number of columns .*tsv:400"):
        qqp(tmp_path, [*rows, *torn, *torn, torn[0]])


@pytest.mark.parametrize("change", [{"quoted": True}, {"deal": {"items": "en"}}])
def test_quoted_and_dealt_tables_have_no_torn_rows(change: dict[str, Any], tmp_path: Path) -> None:
    columns = {"first": "0", "label": "1"}
    quoted = change.pop("quoted", False)
    rows = source("records", "x.tsv", header=False, quoted=quoted, columns=columns)
    write(tmp_path / "x.tsv", "a\tno\n" * 300 + "b\n")
    with pytest.raises(DataError, match=r"x\.tsv:301: 1 columns, not 2: not the official file"):
        found(card(source=rows, **change), tmp_path)


def test_choices_from_nested_json(tmp_path: Path) -> None:
    one = read_intermediate("commonsense_qa")
    record = {
        "answerKey": "B",
        "question": {
            "stem": "Where?",
            "choices": [{"label": "A", "text": "here"}, {"label": "B", "text": "there"}],
        },
    }
    write(tmp_path / "commonsense_qa/train_rand_split.jsonl", json.dumps(record) + "\n")
    assert found(one, tmp_path) == [Choice("rows:0", "en", "Where?", ("here", "there"), 1)]
    for label in ("E", "2", "-1", "9" * 5_000):
        record["answerKey"] = label
        write(tmp_path / "commonsense_qa/train_rand_split.jsonl", json.dumps(record) + "\n")
        with pytest.raises(DataError, match=f"label '{label[:40]}' is none of its 2 choices"):
            found(one, tmp_path)


def test_parallel_rows_become_pairs_each_text_once(tmp_path: Path) -> None:
    one = read_intermediate("translation_pairs")
    for lang in one.languages:
        rows = [(f"{lang} a", f"{lang} b"), (f"{lang} a", f"{lang} c")]
        write(tmp_path / f"xnli/dev-{lang}.tsv", "".join(f"{p}\t{h}\tneutral\r\n" for p, h in rows))
    made = read(one, DataLocation(tmp_path, tmp_path, offline=True))
    pairs = [pair for pair in made.examples if isinstance(pair, Matched)]
    assert made.languages["en"] == 3
    assert sum(made.languages.values()) == 6
    assert [pair.query for pair in pairs] == ["en a", "en b", "en c"]
    for pair in pairs:
        assert pair.lang != "en"
        assert pair.text == f"{pair.lang} {pair.query[-1]}"
    write(tmp_path / "xnli/dev-sw.tsv", "one\trow\tneutral\n")
    with pytest.raises(DataError, match="1 rows in sw, 2 in en: the files are not parallel"):
        found(one, tmp_path)


def test_dealt_tables_have_to_be_parallel(tmp_path: Path) -> None:
    one = read_intermediate("xnli_dev_multilingual")
    lay(one, tmp_path)
    write(tmp_path / "xnli/dev-th.tsv", "a\tb\tneutral\n")
    with pytest.raises(DataError, match="1 rows in th, 6 in en: the files are not parallel"):
        found(one, tmp_path)


def test_tagged_words(tmp_path: Path) -> None:
    one = read_intermediate("ccg")
    write(tmp_path / "ccg/train.tsv", "The\tNP/N\nowl\tN\n\n\nsleeps\tS\\NP\n")
    made = read(one, DataLocation(tmp_path, tmp_path, offline=True))
    assert made.labels == ("N", "NP/N", "S\\NP")
    assert list(made.examples) == [
        Tagged("0", "en", ("The", "owl"), (1, 0)),
        Tagged("1", "en", ("sleeps",), (2,)),
    ]
    write(tmp_path / "ccg/train.tsv", "The NP/N\n")
    with pytest.raises(DataError, match=r"ccg/train\.tsv:1: not a word, a tab and a tag"):
        found(one, tmp_path)


def test_passages_of_masked_language_modelling(tmp_path: Path) -> None:
    source_ = source("squad", "s.json")
    one = card(kind="mlm", objective="mlm", labels=[], source=source_)
    write(tmp_path / "s.json", json.dumps(squad("en")))
    texts = found(one, tmp_path)
    assert texts[0] == Text("q0", "en", " ".join(SENTENCES["en"][:2]))
    assert len(texts) == 3  # each once
    dealt = card(kind="mlm", objective="mlm", labels=[], source=source_, deal={"items": "en"})
    assert len(found(dealt, tmp_path)) == 6  # one for every question


def test_at_most_so_many_are_the_same_items_in_matched_cards(tmp_path: Path) -> None:
    english, many = read_intermediate("mlqa_en"), read_intermediate("mlqa_multilingual")
    lay(many, tmp_path)
    items = [span.item for span in found(english, tmp_path, 3)]
    assert len(items) == 3
    assert [span.item for span in found(many, tmp_path, 3)] == items


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a\tb\nx\ty\n", "no column 'label': the file has a, b"),
        ("a\tb\tlabel\nx\ty\n", "2 columns, not 3"),
        ("a\tb\tlabel\nx\ty\tmaybe\n", "label 'maybe' is not one of no, yes"),
        ("a\tb\tlabel\n", r"no examples in own/en\.tsv: nothing to train on"),
        ("", "empty"),
    ],
)
def test_tables_that_do_not_fit(text: str, message: str, tmp_path: Path) -> None:
    write(tmp_path / "own/en.tsv", text)
    with pytest.raises(DataError, match=message):
        found(card(), tmp_path)


@pytest.mark.parametrize("field", ["question", "context", "id"])
def test_a_text_that_utf8_cannot_hold(field: str, tmp_path: Path) -> None:
    one = read_intermediate("squad_v2")
    lay(one, tmp_path)
    (path,) = (path for path in tmp_path.rglob("*.json") if "train" in path.name)
    content = json.loads(path.read_text(encoding="utf-8"))
    paragraph = content["data"][0]["paragraphs"][0]
    record = paragraph if field == "context" else paragraph["qas"][0]
    record[field] += "\ud800"
    path.write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(DataError, match="half of a surrogate pair") as raised:
        found(one, tmp_path)
    assert path.name in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(IncompleteError, match=r"no own/en\.tsv under .*: put it there"):
        found(card(), tmp_path)


def test_another_file_than_the_official_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(layout, "read_checksums", lambda: {"own/en.tsv": "0" * 64})
    write(tmp_path / "own/en.tsv", "a\tb\tlabel\nx\ty\tno\n")
    with pytest.raises(DataError, match="the official file's is 000000000000"):
        found(card(), tmp_path)


def test_a_card_of_ones_own_has_downloads_of_its_own(tmp_path: Path) -> None:
    """Two cards may call files by one path that they take from two addresses."""
    shared = DataLocation(None, tmp_path / "cache", offline=True)
    text = (task_root() / "intermediate/mnli.yaml").read_text(encoding="utf-8")
    places = set()
    for number in range(2):
        path = write(tmp_path / f"{number}.yaml", text.replace("https://", f"https://{number}."))
        places.add(sources._place(read_intermediate(str(path)), shared).cache)
    assert len(places) == 2
    assert all(place.is_relative_to(shared.cache / "custom") for place in places)
    assert sources._place(read_intermediate("mnli"), shared) == shared
