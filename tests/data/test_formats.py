"""Readers: the official layouts as examples, and what is wrong with a file said in one line."""

from __future__ import annotations

import json
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from harness.cards.catalogue import read_card
from harness.cards.task import TaskCard
from harness.data.examples import Bitext, Loaded, Mining, Question, QuestionSet, Retrieval
from harness.data.formats import READERS, Files, Key, LocalFile, Parsed
from harness.data.formats.entities import description, marked_mention, mention_queries
from harness.data.layout import DataLocation
from harness.data.load import load
from harness.errors import DataError


def lay(folder: Path, contents: dict[Key, str | bytes], suffix: str = ".json") -> Files:
    """Files on disk, named for their keys."""
    files = {}
    for key, content in contents.items():
        name = "-".join(part for part in key if part) + suffix
        data = content if isinstance(content, bytes) else content.encode()
        (folder / name).write_bytes(data)
        files[key] = LocalFile(folder / name, name)
    return files


def answer(text: str, start: int) -> dict[str, Any]:
    return {"text": text, "answer_start": start}


def question(name: str, asked: str, *answers: dict[str, Any]) -> dict[str, Any]:
    return {"id": name, "question": asked, "answers": list(answers)}


def squad(*paragraphs: tuple[str, list[dict[str, Any]]], title: str | None = None) -> str:
    article: dict[str, Any] = {"paragraphs": [{"context": c, "qas": qas} for c, qas in paragraphs]}
    if title is not None:
        article["title"] = title
    return json.dumps({"version": "1.1", "data": [article]}, ensure_ascii=False)


# Sentence pairs


def tatoeba(folder: Path, source: str | bytes, english: str | bytes) -> Parsed:
    keys = {Key("de", "test", "source"): source, Key("de", "test", "english"): english}
    return READERS["tatoeba"](read_card("tatoeba"), "test", ("de",), lay(folder, keys, ".txt"))


def test_line_i_translates_line_i(tmp_path: Path) -> None:
    parsed = tatoeba(tmp_path, "Ja.\nEin\u2028Satz.\n", "Yes.\nA\u2028sentence.\n")
    assert parsed.examples == {
        "de": Bitext("de", ("Ja.", "Ein\u2028Satz."), ("Yes.", "A\u2028sentence."))
    }
    assert parsed.counts == {"test": {"de": 2}}


@pytest.mark.parametrize(
    ("source", "english", "message"),
    [
        ("Ja.\nNein.\n", "Yes.\n", "de-test-source.txt: 2 lines, its English side 1"),
        ("", "Yes.\n", "de-test-source.txt: empty"),
        ("Ja.\n\nNein.\n", "Yes.\nNo.\n", "de-test-source.txt:2: empty line"),
        (b"Ja.\n\xff\n", "Yes.\nNo.\n", "de-test-source.txt:2: not UTF-8 at byte 4"),
    ],
)
def test_broken_pairs_are_named(
    source: str | bytes, english: str, message: str, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match=message):
        tatoeba(tmp_path, source, english)


# Mining


def bucc(folder: Path, source: str, english: str, gold: str, split: str = "dev") -> Parsed:
    contents: dict[Key, str | bytes] = {}
    for part in dict.fromkeys(("dev", split)):
        contents |= {
            Key("zh", part, "source"): source,
            Key("zh", part, "english"): english,
            Key("zh", part, "gold"): gold,
        }
    return READERS["bucc"](read_card("bucc2018"), split, ("zh",), lay(folder, contents, ".txt"))


def test_test_brings_dev_along_for_the_threshold(tmp_path: Path) -> None:
    corpora = ("zh-1\t一\nzh-2\t二\n", "en-1\tone\nen-2\ttwo\nen-3\ttwo\n", "zh-2\ten-2\n")
    parsed = bucc(tmp_path, *corpora, split="test")
    assert isinstance(parsed.examples, dict)
    assert list(parsed.examples["zh"]) == ["dev", "test"]
    assert parsed.examples["zh"]["test"] == Mining(
        "zh",
        "test",
        {"zh-1": "一", "zh-2": "二"},
        {"en-1": "one", "en-2": "two", "en-3": "two"},
        frozenset({("zh-2", "en-2")}),
    )
    assert parsed.counts == {"dev": {"zh": 1}, "test": {"zh": 1}}
    assert list(bucc(tmp_path, *corpora).examples["zh"]) == ["dev"]  # type: ignore[index]


@pytest.mark.parametrize(
    ("source", "gold", "message"),
    [
        ("zh-1\t一\nzh-1\t二\n", "zh-1\ten-1\n", "zh-dev-source.txt:2: id zh-1 given twice"),
        ("zh-1\t一\n", "zh-1\ten-1\nzh-7\ten-1\n", "gold.txt:2: gold id zh-7 names no sentence"),
        ("zh-1 一\n", "zh-1\ten-1\n", "zh-dev-source.txt:1: not 2 fields"),
    ],
)
def test_broken_corpora_are_named(source: str, gold: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=message):
        bucc(tmp_path, source, "en-1\tone\n", gold)


# Questions


def read_qa(folder: Path, task: str, unit: str, content: str | bytes, **more: str) -> Parsed:
    contents: dict[Key, str | bytes] = {Key(unit, "test", "questions"): content}
    contents |= {Key("", "test", role): text for role, text in more.items()}
    return READERS[task](read_card(task), "test", (unit,), lay(folder, contents))


def asked_in(parsed: Parsed | Loaded, unit: str) -> tuple[Question, ...]:
    assert isinstance(parsed.examples, dict)
    found = parsed.examples[unit]
    assert isinstance(found, QuestionSet)
    return found.questions


def test_questions_keep_their_answers_and_the_paragraph_is_the_cluster(tmp_path: Path) -> None:
    content = squad(
        (
            "Ada wrote it.",
            [
                question("q1", "Who?", answer("Ada", 0), answer("Ada wrote", 0)),
                question("q2", "What?", answer("it", 10)),
            ],
        ),
        ("Bob read it.", [question("q3", "Who?", answer("Bob", 0))]),
    )
    parsed = read_qa(tmp_path, "xquad", "en", content)
    assert isinstance(parsed.examples, dict)
    found = parsed.examples["en"]
    assert isinstance(found, QuestionSet)
    assert (found.lang, found.question_lang) == ("en", "en")
    assert [one.cluster for one in found.questions] == ["xquad:q1", "xquad:q1", "xquad:q3"]
    assert found.questions[0].answers == ("Ada", "Ada wrote")
    assert parsed.counts == {"test": {"en": 3}}


def test_a_repeated_id_never_overwrites_the_first(tmp_path: Path) -> None:
    asked = [question("0", f"Who {i}?", answer("Ada", 0)) for i in range(3)]
    parsed = read_qa(tmp_path, "tydiqa", "ko", squad(("Ada wrote it.", asked)))
    questions = asked_in(parsed, "ko")
    assert [one.id for one in questions] == ["0", "0#2", "0#3"]
    expected = sha256(b"Ada wrote it.").hexdigest()[:12]
    assert {one.cluster for one in questions} == {f"tydiqa:{expected}"}


def test_one_file_of_all_languages_is_told_apart_by_its_ids(tmp_path: Path) -> None:
    asked = [
        question("korean-1-1", "Who?", answer("Ada", 0)),
        question("english-2-1", "Who?", answer("Ada", 0)),
    ]
    (tmp_path / "all.json").write_text(squad(("Ada wrote it.", asked)))
    file = LocalFile(tmp_path / "all.json", "all.json", mixed=True)
    files = {Key(unit, "test", "questions"): file for unit in ("ko", "en")}
    parsed = READERS["tydiqa"](read_card("tydiqa"), "test", ("ko", "en"), files)
    ids = {unit: [one.id for one in asked_in(parsed, unit)] for unit in ("ko", "en")}
    assert ids == {"ko": ["korean-1-1"], "en": ["english-2-1"]}


def test_mlqa_clusters_by_the_english_title_of_the_article(tmp_path: Path) -> None:
    german = squad(
        ("Ada schrieb es.", [question("q1", "Wer?", answer("Ada", 0))]), title="Ada Lovelace (de)"
    )
    english = squad(("Ada wrote it.", [question("q1", "Who?", answer("Ada", 0))]), title="Ada")
    with_index = read_qa(tmp_path, "mlqa", "de", german, index=english)
    alone = read_qa(tmp_path, "mlqa", "de", german)
    assert asked_in(with_index, "de")[0].cluster == "mlqa:Ada"
    assert with_index.notes == ()
    assert asked_in(alone, "de")[0].cluster == "mlqa:de:Ada Lovelace (de)"
    assert "1 of 1 questions are clustered by their own language's article" in alone.notes[0]
    own = read_qa(tmp_path, "mlqa", "en", english)
    assert asked_in(own, "en")[0].cluster == "mlqa:Ada"
    assert own.notes == ()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            squad(("Ada.", [question("q1", "Who?", answer("", 0))])),
            "en-test-questions.json: has no answers: stripped test annotations",
        ),
        (
            squad(("A.", [question(f"q{n}", "?", answer(a, 0)) for n, a in ((1, "A"), (2, ""))])),
            r"data\[0\].paragraphs\[0\].qas\[1\]: question q2 has no answer",
        ),
        (squad(("Ada.", [question("q1", "Who?")])), "has no answers"),
        (
            squad(("Ada.", [question("q1", "Who?", answer("Ada", 1))])),
            r"qas\[0\]: answer 'Ada' of q1 is not at offset 1",
        ),
        (squad(("Ada.", [{"id": "q1", "question": "Who?"}])), r"qas\[0\]: no 'answers'"),
        (
            squad(("Ada.", [{**question("q1", "?", answer("Ada", 0)), "id": 7}])),
            "'id' is int, not str",
        ),
        (
            squad(("Ada.", [question("q1", " \n", answer("Ada", 0))])),
            r"qas\[0\]: question q1 is empty",
        ),
        ('{"version": "1.1"}', "en-test-questions.json: no 'data'"),
        ('{"data": [{"paragraphs": [', "en-test-questions.json: not JSON, maybe truncated"),
        ("", "en-test-questions.json: empty"),
        ('{"data": []}', "no questions in en"),
        ("[" * 100_000, "not JSON"),
    ],
)
def test_broken_questions_are_named(content: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=message) as caught:
        read_qa(tmp_path, "xquad", "en", content)
    assert "\n" not in str(caught.value)


# One pool of passages


def lareqa_language(prefix: str, ids: tuple[str, str] = ("q1", "q2")) -> dict[str, Any]:
    """One paragraph of three sentences, the last like the first."""
    sentences = [f"{prefix} one.", f"{prefix}\ntwo.", f"{prefix} one."]
    context = " ".join(sentences)
    breaks = []
    start = 0
    for sentence in sentences:
        breaks.append([start, start + len(sentence)])
        start += len(sentence) + 1
    return {
        "data": [
            {
                "paragraphs": [
                    {
                        "context": context,
                        "sentences": sentences,
                        "sentence_breaks": breaks,
                        "qas": [
                            question(ids[0], f"{prefix} first?", answer("one", len(prefix) + 1)),
                            question(ids[1], f"{prefix} second?", answer("two", breaks[1][1] - 4)),
                        ],
                    }
                ]
            }
        ]
    }


def lareqa_card() -> TaskCard:
    return read_card("lareqa").model_copy(update={"languages": ["en", "de"]})


def lareqa(folder: Path, change: Callable[[dict[str, Any]], None] | None = None) -> Parsed:
    languages = {lang: lareqa_language(lang) for lang in ("en", "de")}
    if change:
        change(languages["de"])
    files = lay(
        folder,
        {Key(lang, "test", "passages"): json.dumps(data) for lang, data in languages.items()},
    )
    return READERS["lareqa"](lareqa_card(), "test", ("de",), files)


def test_the_pool_has_every_language_and_the_queries_only_those_asked_for(tmp_path: Path) -> None:
    parsed = lareqa(tmp_path)
    pool = parsed.examples
    assert isinstance(pool, Retrieval)
    assert pool.candidate_langs == ("en",) * 3 + ("de",) * 3
    assert pool.candidate_ids == tuple(f"{lang}:q1:{i}" for lang in ("en", "de") for i in range(3))
    # The sentence, then the context, nothing between them, and line feeds simply gone.
    assert pool.candidates[4] == "detwo." + "de one. detwo. de one."
    assert list(pool.queries) == ["de"]
    first, second = pool.queries["de"]
    assert (first.id, first.text, first.cluster) == ("q1", "de first?", "xquad:q1")
    assert first.relevant == (0, 2, 3, 5)  # the sentence comes twice in each language
    assert second.relevant == (1, 4)
    assert parsed.candidates == 6
    assert parsed.counts == {"test": {"de": 2}}


def test_a_sentence_is_what_its_breaks_say_not_what_the_file_repeats(tmp_path: Path) -> None:
    def change(data: dict[str, Any]) -> None:
        paragraph = data["data"][0]["paragraphs"][0]
        paragraph["sentences"] = ["something else"]
        paragraph["sentence_breaks"][2] = [15, 22]  # without the last full stop

    pool = lareqa(tmp_path, change).examples
    assert isinstance(pool, Retrieval)
    context = "de one. detwo. de one."
    assert [text.removesuffix(context) for text in pool.candidates[3:]] == [
        "de one.",
        "detwo.",
        " de one",
    ]
    assert pool.queries["de"][0].relevant == (0, 2, 3)


def _other_id(data: dict[str, Any]) -> None:
    data["data"][0]["paragraphs"][0]["qas"][1]["id"] = "q9"


def _same_id(data: dict[str, Any]) -> None:
    data["data"][0]["paragraphs"][0]["qas"][1]["id"] = "q1"


def _no_sentence(data: dict[str, Any]) -> None:
    data["data"][0]["paragraphs"][0]["sentence_breaks"][0] = [1, 2]


def _overlap(data: dict[str, Any]) -> None:
    data["data"][0]["paragraphs"][0]["sentence_breaks"][2] = [0, 9]


def _article(data: dict[str, Any]) -> None:
    data["data"][0] = None


def _long_id(data: dict[str, Any]) -> None:
    data["data"][0]["paragraphs"][0]["qas"][0]["id"] = "\x1b[31m" * 500


def _beyond(data: dict[str, Any]) -> None:
    data["data"][0]["paragraphs"][0]["sentence_breaks"][2] = [16, 999]


def _empty(data: dict[str, Any]) -> None:
    data["data"][0]["paragraphs"][0]["sentence_breaks"][1] = [9, 9]


def _no_words(data: dict[str, Any]) -> None:
    data["data"][0]["paragraphs"][0]["qas"][1]["question"] = "\u3000"


def _plain_xquad(data: dict[str, Any]) -> None:
    paragraph = data["data"][0]["paragraphs"][0]
    del paragraph["sentences"], paragraph["sentence_breaks"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_other_id, "de-test-passages.json: questions differ from en-test-passages.json, first q2"),
        (_same_id, "de-test-passages.json: question q1 given twice"),
        (_no_sentence, "0 sentences hold the answer of q1"),
        (_overlap, r"sentence_breaks\[2\]: begins at 0, before the sentence in front"),
        (_article, r"data\[0\]: no 'paragraphs'"),
        (_long_id, r"the same ids$"),
        (_beyond, r"sentence_breaks\[2\]: not a span"),
        (_no_words, r"qas\[1\]: question q2 is empty"),
        (_empty, r"sentence_breaks\[1\]: not a span"),
        (_plain_xquad, r"paragraphs\[0\]: no 'sentence_breaks'"),
    ],
)
def test_a_broken_pool_is_named(
    change: Callable[[dict[str, Any]], None], message: str, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match=message) as refused:
        lareqa(tmp_path, change)
    assert len(str(refused.value)) <= 300
    assert str(refused.value).isprintable()


# Entities

TEXT = "Old news. The verdict came back for Smith, who {really} left. More."
SPANS = [(0, 9), (10, 61), (62, 67)]


def test_a_mention_is_named_first_and_marked_in_its_one_sentence() -> None:
    start = TEXT.index("Smith")
    assert marked_mention(TEXT, SPANS, start, start + 5) == (
        "Smith: The verdict came back for { Smith } , who (really) left."
    )
    assert marked_mention(TEXT, SPANS, 5, 20) is None  # crosses into the next sentence


@pytest.mark.parametrize(
    ("sentence", "mention", "query"),
    [
        ("Helsinki is cold.", "Helsinki", "Helsinki: { Helsinki } is cold."),
        (
            "Berlin, sagt {man}, schläft {nie.",
            "Berlin",
            "Berlin: { Berlin } , sagt (man), schläft {nie.",
        ),
        (
            "国際連合の事務総長は東京で会見した。",
            "東京",
            "東京: 国際連合の事務総長は { 東京 } で会見した。",
        ),
        # Each side by itself: a pair around the mention is two lone braces.
        ("{a {b} Rome c} {d}", "Rome", "Rome: (a {b) { Rome } c} (d)"),
        ("She {met Rome} there}", "Rome", "Rome: She {met { Rome } } there}"),
        ("{a\nb} Rome", "Rome", "Rome: {a b} { Rome }"),
        ("in Rome", "Rome", "Rome: in { Rome }"),
        ("in   Rome\r\n now", "Rome", "Rome: in  { Rome }  now"),
        ("Say {Rome}", "{Rome}", "{Rome}: Say { {Rome} }"),
    ],
)
def test_a_query_is_what_xtreme_makes_of_it(sentence: str, mention: str, query: str) -> None:
    before, text = "Earlier. ", "Earlier. " + sentence
    start = text.index(mention)
    spans = [(0, len(before) - 1), (len(before), len(text))]
    assert marked_mention(text, spans, start, start + len(mention)) == query


def test_a_mention_on_two_lines_becomes_one_line() -> None:
    assert marked_mention("A\nB  C", [(0, 6)], 0, 1) == "A: { A } B C"


def test_a_description_is_its_sentences_joined() -> None:
    record = {
        "description": "One.\n\nTwo  words. Rest",
        "sentence_spans": [{"start": 0, "end": 4}, {"start": 6, "end": 17}],
    }
    assert description(record, "f:1") == "One. Two words."


def article(
    text: str = TEXT, entity: str = "Q2", start: int | None = None, words: str = "Smith"
) -> dict[str, Any]:
    begin = TEXT.index("Smith") if start is None else start
    return {
        "context": {
            "language": "en",
            "text": text,
            "sentence_spans": [{"start": a, "end": b} for a, b in SPANS],
        },
        "mentions": [
            {
                "example_id": "m1",
                "entity_id": entity,
                "mention_span": {"start": begin, "end": begin + len(words), "text": words},
            }
        ],
    }


def test_a_mention_has_one_relevant_candidate() -> None:
    lang, (query,) = mention_queries(article(), {"Q1": 0, "Q2": 1}, "f:1")
    assert lang == "en"
    assert (query.id, query.cluster, query.relevant) == ("m1", "mewsli_x:Q2", (1,))


@pytest.mark.parametrize(
    ("record", "message"),
    [
        (article(text=""), "f:1: text not filled in"),
        (article(entity="Q9"), "Q9, gold of m1, is not among the candidates"),
        (article(start=3), "mention m1 is not at its offset 3"),
        (article(words=""), "mention m1 is not at its offset 36"),
        (article(start=-5, words="More"), "mention m1 is not at its offset -5"),
        (article(text=TEXT[:50]), "sentence 10–61 is not within 50"),
    ],
)
def test_a_broken_article_is_named(record: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        mention_queries(record, {"Q1": 0, "Q2": 1}, "f:1")


def test_mentions_and_candidates_become_one_pool(tmp_path: Path) -> None:
    entities = [
        {
            "entity_id": entity,
            "description": "Someone. More.",
            "description_language": lang,
            "sentence_spans": [{"start": 0, "end": 8}],
        }
        for entity, lang in (("Q1", "de"), ("Q2", "zh"))
    ]
    files = lay(
        tmp_path,
        {
            Key("", "test", "candidates"): "\n".join(map(json.dumps, entities)),
            Key("", "test", "mentions"): json.dumps(article()),
        },
        ".jsonl",
    )
    parsed = READERS["mewsli_x"](read_card("mewsli_x"), "test", ("en", "de"), files)
    pool = parsed.examples
    assert isinstance(pool, Retrieval)
    assert pool.candidate_ids == ("Q1", "Q2")
    assert pool.candidates == ("Someone.", "Someone.")
    assert pool.candidate_langs == ("de", "zh")
    assert {lang: len(queries) for lang, queries in pool.queries.items()} == {"en": 1}
    assert "no mentions in de" in parsed.missing["de"]
    assert (parsed.candidates, parsed.counts) == (2, {"test": {"en": 1}})


def test_an_empty_sentence_of_the_hub_is_refused(tmp_path: Path) -> None:
    lines = [{"sentence1": "Hallo.", "sentence2": "Hello."}, {"sentence1": " ", "sentence2": "A."}]
    key = Key("de", "test", "rows")
    files = lay(tmp_path, {key: "\n".join(map(json.dumps, lines))}, ".jsonl")
    with pytest.raises(DataError, match="sentence1 is empty"):
        READERS["tatoeba"](read_card("tatoeba"), "test", ("de",), files)


# The real files


@pytest.fixture(scope="session")
def real(data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> DataLocation:
    return DataLocation(data_dir, tmp_path_factory.mktemp("cache"), offline=True)


def test_real_xquad(real: DataLocation) -> None:
    card = read_card("xquad")
    loaded = load(card, None, card.select(), real)
    assert isinstance(loaded.examples, dict)
    assert loaded.complete
    assert not loaded.missing
    clusters = [[one.cluster for one in asked_in(loaded, unit)] for unit in loaded.examples]
    assert len(clusters) == 12
    assert {len(found) for found in clusters} == {1190}
    assert all(found == clusters[0] for found in clusters)  # parallel over all 12 languages
    assert len(set(clusters[0])) == 240


def test_real_lareqa(real: DataLocation) -> None:
    card = read_card("lareqa")
    loaded = load(card, None, card.select(["th", "en"]), real)
    pool = loaded.examples
    assert isinstance(pool, Retrieval)
    assert len(pool.candidates) == 13_014
    assert len(set(pool.candidate_ids)) == 13_014
    assert list(pool.queries) == ["en", "th"]
    assert pool.candidate_langs.count("th") == 852
    relevant = {len(query.relevant) for found in pool.queries.values() for query in found}
    assert relevant == {11}
    assert not any("\n" in text for text in pool.candidates)
    for query in pool.queries["th"]:
        assert {pool.candidate_langs[index] for index in query.relevant} == set(card.languages)
    everything = load(card, None, card.select(), real).examples
    assert isinstance(everything, Retrieval)
    assert sum(len(found) for found in everything.queries.values()) == 13_090


def test_real_tatoeba(real: DataLocation) -> None:
    card = read_card("tatoeba")
    loaded = load(card, None, card.select(), real)
    assert isinstance(loaded.examples, dict)
    assert len(loaded.files) == 224
    assert len(loaded.examples) == 112
    assert sum(len(bitext.source) for bitext in loaded.examples.values()) == 88_877  # type: ignore[union-attr]


def test_real_mlqa_dev(real: DataLocation) -> None:
    card = read_card("mlqa_cross")
    loaded = load(card, "dev", card.select(), real)
    assert isinstance(loaded.examples, dict)
    assert len(loaded.examples) == 49
    assert loaded.notes == ()
    assert (loaded.examples["de-ar"].lang, loaded.examples["de-ar"].question_lang) == ("de", "ar")
    # The same question has the same article in every pair.
    clusters: dict[str, str] = {}
    for unit in loaded.examples:
        for one in asked_in(loaded, unit):
            assert clusters.setdefault(one.id, one.cluster) == one.cluster
    same = load(read_card("mlqa"), "dev", ("de",), real)
    assert asked_in(same, "de") == asked_in(loaded, "de-de")


def test_real_bucc_dev(real: DataLocation) -> None:
    card = read_card("bucc2018")
    loaded = load(card, "dev", card.select(), real)
    assert isinstance(loaded.examples, dict)
    found = loaded.examples["zh"]["dev"]  # type: ignore[index]
    assert isinstance(found, Mining)
    assert (len(found.source), len(found.english), len(found.gold)) == (8_624, 13_589, 257)
    assert set(loaded.missing) == {"de", "fr", "ru"}


def test_real_mewsli_x_sample(data_dir: Path) -> None:
    lines = (data_dir / "mewsli_x" / "example_mentions.jsonl").read_text().splitlines()
    found = [
        mention_queries(json.loads(line), {"Q1757": 0, "Q167217": 1, "Q3447452": 2}, "sample")
        for line in lines
    ]
    assert [(lang, len(queries)) for lang, queries in found] == [("en", 1), ("ar", 2)]
    assert found[0][1][0].text.startswith("Helsinki: In { Helsinki } , the Finnish trade union")


@pytest.mark.parametrize(
    ("task", "unit", "stripped"),
    [
        ("tydiqa", "en", "tydiqa_goldp/dev-noanswers/tydiqa.goldp.en.dev.json"),
        ("mlqa_cross", "de-ar", "mlqa/test-noanswers/test-context-de-question-ar.json"),
    ],
)
def test_real_files_without_answers_are_refused(
    task: str, unit: str, stripped: str, data_dir: Path
) -> None:
    files = {Key(unit, "test", "questions"): LocalFile(data_dir / stripped, stripped)}
    card = read_card(task)
    with pytest.raises(DataError, match="has no answers: stripped test annotations"):
        READERS[card.source.format](card, "test", (unit,), files)


def test_demo_tasks_are_complete(tmp_path: Path) -> None:
    location = DataLocation(tmp_path / "nothing", tmp_path, offline=True)
    for task in ("demo_bitext", "demo_mining", "demo_passages", "demo_qa"):
        card = read_card(task)
        loaded = load(card, None, card.select(), location)
        assert (loaded.route, loaded.missing, loaded.complete) == ("package", {}, True)
        if isinstance(loaded.examples, Retrieval):
            assert set(loaded.examples.queries) == set(card.languages)
            assert loaded.examples.candidate_ids[0] == "en:p01:0"
            for queries in loaded.examples.queries.values():
                for query in queries:
                    langs = [loaded.examples.candidate_langs[index] for index in query.relevant]
                    assert sorted(langs) == sorted(card.languages)
        else:
            assert list(loaded.examples) == card.languages
