"""Task cards and suites: strict files, frozen models, exact selections."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import ValidationError

from harness.cards import catalogue, task
from harness.cards import source_files as official_files
from harness.cards.catalogue import card_names, read_card, read_cards, read_suites
from harness.cards.languages import task_root
from harness.cards.target_recipes import read_target_recipes
from harness.cards.task import TaskCard
from harness.errors import DataError, UsageError
from harness.io.strict_yaml import MAX_BYTES, parse, read_model, validated

CARD = """\
name: little
title: Little
kind: span_qa
version: 1
languages: [en, de]
metrics: [f1, exact_match]
primary: f1
official: f1
scorer: squad
licence: CC0
citation: none
source:
  format: xquad
  splits:
    test:
      files:
        questions: {path: "little/{code}.json"}
"""


def card_from(text: str) -> TaskCard:
    return validated(parse(text.encode(), "little.yaml"), TaskCard)


# A card that somebody adds, and its place in a suite, are as they make them.
OFFICIAL = {"tatoeba", "bucc2018", "lareqa", "mewsli_x", "xquad", "mlqa", "mlqa_cross", "tydiqa"}
DEMO = {"demo_bitext", "demo_mining", "demo_passages", "demo_qa"}


def test_the_cards_of_the_contract_are_there() -> None:
    assert set(card_names()) >= OFFICIAL | DEMO
    assert set(read_cards()) == set(card_names())


@pytest.mark.parametrize(
    ("task", "split", "units", "total"),
    [
        ("tatoeba", "test", 112, 88_877),
        ("lareqa", "test", 11, 13_090),
        ("mewsli_x", "dev", 11, 2_991),
        ("mewsli_x", "test", 11, 14_624),
        ("xquad", "test", 12, 14_280),
        ("mlqa", "dev", 7, 4_199),
        ("mlqa", "test", 7, 42_245),
        ("tydiqa", "test", 9, 5_077),
    ],
)
def test_published_counts_add_up(task: str, split: str, units: int, total: int) -> None:
    counts = read_card(task).counts[split]
    assert len(counts) == units
    assert sum(counts.values()) == total


def test_mlqa_pairs_are_symmetric_and_bounded_by_both_languages() -> None:
    counts = read_card("mlqa_cross").counts["test"]
    assert len(counts) == 49
    for unit, count in counts.items():
        context, question = unit.split("-")
        assert count == counts[f"{question}-{context}"]
        assert count <= min(counts[f"{context}-{context}"], counts[f"{question}-{question}"])


def test_every_card_has_a_count_for_every_unit_of_its_own_split() -> None:
    for name, card in read_cards().items():
        if name in OFFICIAL or card.split in card.counts:
            assert set(card.counts[card.split]) == set(card.languages), name


def test_reading_one_card_does_not_parse_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []

    def spy(path: Path, model: type[TaskCard], name: str | None = None) -> TaskCard:
        read.append(path.name)
        return read_model(path, model, name)

    monkeypatch.setattr(catalogue, "read_model", spy)
    catalogue._read_card.cache_clear()
    read_card("xquad")
    assert read == ["xquad.yaml"]


def test_a_card_is_read_without_what_takes_long_to_import() -> None:
    heavy = ("pyarrow", "torch", "transformers", "scipy", "pandas")
    code = (
        "import sys; from harness.cards.catalogue import read_cards; read_cards(); "
        f"print([name for name in {heavy} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_an_unknown_task_names_the_nearest() -> None:
    with pytest.raises(UsageError, match=r"unknown task 'xqad': did you mean xquad"):
        read_card("xqad")


def test_a_card_is_frozen() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        read_card("xquad").version = 2


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("title: Little", "titel: Little", r"little.yaml:2: unknown key titel: did you mean title"),
        ("version: 1", "version: '1'", r"little.yaml:4: version: Input should be a valid integer"),
        ("version: 1", "version: 1\nversion: 2", r"little.yaml:5: key 'version' given twice"),
        ("title: Little", "title: &x Little", r"little.yaml:2: anchor &x"),
        ("title: Little", "title: *x", r"little.yaml:2: alias \*x"),
        ("title: Little", "title: !!python/name:os.system x", r"little.yaml:2: tag "),
        ("title: Little", "title: !!str Little", r"little.yaml:2: tag "),
        ("title: Little", "<<: {title: Little}", r"little.yaml:2: merge key"),
        ("title: Little", "title: [Little", r"little.yaml:\d+: "),
        ("title: Little", "title: Little\n---\nx: 1\n---", r"second document"),
        (
            "languages: [en, de]",
            "languages: [en, xx]",
            r"little.yaml:5: .*xx is not a code",
        ),
        ("languages: [en, de]", "languages: [en, en]", r"languages repeat"),
        ("languages: [en, de]", "languages: [en, de-en]", r"mix single languages and pairs"),
        (
            "metrics: [f1, exact_match]",
            "metrics:\n- f1\n- bleu",
            r"little.yaml:8: metrics.1: bleu is not a metric of span_qa tasks: use one of exact_m",
        ),
        (
            "metrics: [f1, exact_match]",
            "metrics: [f1, exact-match]",
            r"little.yaml:6: metrics.1: .*: did you mean exact_match$",
        ),
        ("metrics: [f1, exact_match]", "metrics: [f1, f1]", r"little.yaml:6: .*metrics repeat"),
        ("primary: f1", "primary: recall@10", r"little.yaml:7: .*recall@10 is not a metric of sp"),
        ("official: f1", "official: f1_mteb", r"little.yaml:8: .*f1_mteb is not a metric of span"),
        ("metrics: [f1, exact_match]", "metrics: [exact_match]", r"little.yaml:7: .*not among me"),
        ("scorer: squad\n", "", r"scorer \(squad or mlqa\) is for span_qa tasks"),
        ("scorer: squad", "scorer: rouge", r"little.yaml:9: scorer: "),
        ("kind: span_qa", "kind: bitext", r"is not a metric of bitext tasks"),
        ('"little/{code}.json"', '"../{code}.json"', r"little.yaml:17: .*does not stay in"),
        ('"little/{code}.json"', "/etc/passwd", r"does not stay in its folder"),
        ('"little/{code}.json"}', 'a, url: "http://x"}', r"is not https"),
        (
            "citation: none",
            "citation: none\nsplit: dev",
            r"yaml:12: .*split dev has no files",
        ),
        (
            "citation: none",
            "citation: none\ncounts: {test: {fr: 3}}",
            r"little.yaml:12: .*fr is not among languages",
        ),
    ],
)
def test_a_broken_card_is_refused_in_one_line(old: str, new: str, message: str) -> None:
    assert old in CARD
    with pytest.raises(DataError, match=message) as caught:
        card_from(CARD.replace(old, new))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ("A, A", "A repeats A: "),
        ("A, B, a", "a repeats A: labels differ in more than case"),
        ('A, "A "', "A repeats A: "),
    ],
)
def test_labels_that_a_head_could_not_tell_apart_are_refused(labels: str, message: str) -> None:
    text = (task_root() / "target" / "demo_pairs.yaml").read_text(encoding="utf-8")
    card = text.replace("labels: [entailment, neutral, contradiction]", f"labels: [{labels}]")
    assert card != text
    place = labels.count(",")
    with pytest.raises(DataError, match=rf"^little.yaml:10: labels.{place}: .*{message}"):
        card_from(card)


def test_yaml_is_bounded() -> None:
    with pytest.raises(DataError, match="larger than 256 KiB"):
        parse(b"a: " + b"x" * MAX_BYTES, "big.yaml")
    with pytest.raises(DataError, match="nested deeper than 12"):
        parse(b"[" * 200 + b"]" * 200, "deep.yaml")
    with pytest.raises(DataError, match="not UTF-8 at byte 3"):
        parse(b"a: \xff", "latin.yaml")
    with pytest.raises(DataError, match="empty"):
        parse(b"# nothing\n", "empty.yaml")


def test_words_that_yaml_1_1_turns_into_something_else_stay_text() -> None:
    found = parse(b"[no, on, 2020-01-01, 1_000, 0x1f, 012, 'true', true, ~, 1, 1.5]", "a.yaml")
    assert found.value == [
        *("no", "on", "2020-01-01", "1_000", "0x1f", "012", "true"),
        *(True, None, 1, 1.5),
    ]


def test_the_hash_follows_what_can_change_a_number_and_no_prose() -> None:
    base = card_from(CARD)
    assert re.fullmatch(r"[0-9a-f]{64}", base.hash)
    for prose in ("title: Other", "title: Little\nnotes: [more]"):
        assert card_from(CARD.replace("title: Little", prose)).hash == base.hash
    assert card_from(CARD.replace("citation: none", "citation: some")).hash == base.hash
    for old, new in (
        ("version: 1", "version: 2"),
        ("scorer: squad", "scorer: mlqa"),
        ("languages: [en, de]", "languages: [de, en]"),
        ("little/{code}.json", "other/{code}.json"),
        ("format: xquad", "format: tydiqa"),
    ):
        assert card_from(CARD.replace(old, new)).hash != base.hash


def test_the_hash_holds_the_known_checksums(monkeypatch: pytest.MonkeyPatch) -> None:
    before = card_from(CARD).hash
    monkeypatch.setattr(task, "read_checksums", lambda: {"little/de.json": "0" * 64})
    assert card_from(CARD).hash != before


def test_select_understands_the_codes_of_files_and_keeps_card_order() -> None:
    card = read_card("xquad")
    assert card.select() == tuple(card.languages)
    assert card.select(["cmn", "deu"]) == ("de", "zh")
    with pytest.raises(UsageError, match=r"unknown language of xquad 'sw': "):
        card.select(["sw"])
    with pytest.raises(UsageError, match="unknown language 'swahil'"):
        card.select(["swahil"])


def test_select_of_pairs_goes_by_the_context_language() -> None:
    card = read_card("mlqa_cross")
    assert len(card.select()) == 49
    assert card.select(["de"]) == tuple(u for u in card.languages if u.startswith("de-"))
    assert card.select(["deu-ara", "zh-zh"]) == ("de-ar", "zh-zh")
    with pytest.raises(UsageError, match="unknown language of mlqa_cross 'de-fr'"):
        card.select(["de-fr"])


def test_a_split_is_never_substituted() -> None:
    card = read_card("mlqa")
    assert card.check_split(None) == "test"
    assert card.check_split("dev") == "dev"
    with pytest.raises(UsageError, match="mlqa has no split 'train': its splits are dev, test"):
        card.check_split("train")


@pytest.mark.parametrize("name", ["pawsx", "udpos", "panx"])
def test_a_half_has_what_its_recipe_leaves_over(name: str) -> None:
    card = read_card(name)
    recipe = read_target_recipes()[f"{name}_small"]
    halved = card.source.splits["half"].half
    assert card.counts["half"] == {
        lang: count - (recipe.examples if lang in halved else 0)
        for lang, count in card.counts["dev"].items()
    }


def test_the_suites_are_those_of_the_contract() -> None:
    suites = read_suites()
    assert {"xtreme-r", "xtreme", "retrieval", "qa", "full", "demo", "squad-tenth"} <= set(suites)
    sizes = {
        suite: {
            entry.task: len(read_card(entry.task).select(entry.languages))
            for entry in entries
            if entry.task in OFFICIAL | DEMO
        }
        for suite, entries in suites.items()
    }
    qa = {"xquad": 12, "mlqa": 7, "tydiqa": 9}
    assert sizes["xtreme-r"] == {"tatoeba": 41, "lareqa": 11, "mewsli_x": 11, **qa}
    assert sizes["xtreme"] == {"tatoeba": 36, "bucc2018": 4, **qa, "xquad": 11}
    assert sizes["qa"] == qa
    assert sizes["retrieval"] == {"tatoeba": 41, "bucc2018": 4, "lareqa": 11, "mewsli_x": 11}
    assert sizes["full"] == {
        **{"tatoeba": 112, "bucc2018": 4, "lareqa": 11, "mewsli_x": 11},
        **qa,
        "mlqa_cross": 49,
    }
    assert sizes["demo"].keys() == DEMO


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("qa:\n  - task: xqad\n", "suites.yaml:2: unknown task 'xqad': did you mean xquad"),
        ("qa: xquad\n", "suites.yaml:1: qa: Input should be a valid list"),
        ("qa: []\n", "suites.yaml:1: qa: List should have at least 1 item"),
        ("qa:\n  - {task: xquad, lang: de}\n", "suites.yaml:2: unknown key qa.0.lang"),
    ],
)
def test_a_broken_suite_is_refused(
    text: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "suites.yaml").write_text(text)
    (tmp_path / "target").mkdir()
    (tmp_path / "target" / "xquad.yaml").write_text("")
    monkeypatch.setattr(catalogue, "task_root", lambda: tmp_path)
    read_suites.cache_clear()
    try:
        with pytest.raises(DataError, match=message):
            read_suites()
    finally:
        read_suites.cache_clear()


def test_checksums_are_of_files_that_cards_use(data_dir: Path) -> None:
    from harness.cards.training import intermediate_names, read_intermediate
    from harness.data.layout import data_files

    intermediate = [read_intermediate(name) for name in intermediate_names()]
    used = {
        path
        for card in (*read_cards().values(), *intermediate)
        for split in card.source.splits
        for file in data_files(card, split, card.languages)
        for path in (file.path, file.alternative)
        if path
    }
    official = dict(
        reversed(line.split("  ")) for line in (data_dir / "SHA256SUMS").read_text().splitlines()
    )
    known = official_files.read_checksums()
    assert known.keys() <= used
    # A few are of official files that are not in the folder.
    assert {path: digest for path, digest in known.items() if path in official} == {
        path: digest for path, digest in official.items() if path in used
    }
    assert not any("noanswers" in path for path in official_files.read_checksums())


def test_metrics_of_languages_need_candidates_with_one(tmp_path: Path) -> None:
    text = (task_root() / "target/mewsli_x.yaml").read_text(encoding="utf-8")
    path = tmp_path / "own.yaml"
    path.write_text(text.replace("metrics: [", "metrics: [same_language@10, ", 1))
    with pytest.raises(DataError, match="needs candidates with a language, which mewsli_x has not"):
        read_card(str(path))
