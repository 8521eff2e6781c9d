"""The files that a format needs: a card of one's own that names others is refused by its line."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from harness.cards.catalogue import read_card
from harness.cards.layouts import LAYOUTS
from harness.cards.training import read_intermediate
from harness.data.formats import READERS
from harness.data.layout import DataLocation
from harness.data.load import load
from harness.errors import DataError

CARD = """\
name: mine
title: Sentences of mine
kind: bitext
version: 1
languages: [de, fr]
metrics: [accuracy, recall@10]
primary: recall@10
official: accuracy
lengths: {query: 512, document: 512}
licence: mine
citation: none
source:
  format: tatoeba
  codes: {de: deu}
  splits:
    test:
      files:
        source: {path: "mine/a.{code}"}
        english: {path: "mine/a.eng"}
"""
HUB = """\
      hub:
        id: me/mine
        files: {rows: "{code}/*.parquet"}
"""
TRAINING = """\
name: mine
title: Translations of mine
kind: dual_encoder
objective: contrastive
languages: [en, de]
deal: {items: en}
licence: mine
citation: none
source:
  format: parallel_lines
  splits:
    train:
      files:
        lines: {path: "mine/{code}.txt"}
        more: {path: "mine/{code}.more.txt"}
"""


def test_every_format_has_a_layout_and_a_reader() -> None:
    assert set(LAYOUTS) == set(READERS)


def card_of(folder: Path, text: str) -> str:
    path = folder / "mine.yaml"
    path.write_text(text, encoding="utf-8")
    return str(path)


def test_a_file_that_all_languages_share_is_read_for_each(tmp_path: Path) -> None:
    card = read_card(card_of(tmp_path, CARD))
    (tmp_path / "mine").mkdir()
    for name, lines in (("deu", "eins\nzwei"), ("fr", "un\ndeux"), ("eng", "one\ntwo")):
        (tmp_path / "mine" / f"a.{name}").write_text(f"{lines}\n", encoding="utf-8")
    found = load(card, "test", ("de", "fr"), DataLocation(tmp_path, tmp_path))
    assert {unit: pairs.english for unit, pairs in found.examples.items()} == {
        "de": ("one", "two"),
        "fr": ("one", "two"),
    }


@pytest.mark.parametrize(
    ("old", "new", "line", "words"),
    [
        ("english:", "eng:", 17, "no english: this format reads english, source"),
        ("english:", "englisch:", 17, "no english"),
        ('english: {path: "mine/a.eng"}', "gold: {path: mine/gold}", 17, "no english"),
        ("a.{code}", "a.de", 17, "source: mine/a.de is the same for every language"),
        ("format: tatoeba", "format: lareqa", 13, "lareqa is a format of passages tasks"),
        ("format: tatoeba", "format: demo_bitext", 17, "no table: this format reads table"),
        ("a.{code}", "a.{unit}", 18, "'mine/a.{unit}' may have {lang}, {code}"),
        ("a.{code}", "a.{", 18, "'mine/a.{' may have"),
        ("a.{code}", "a.{}", 18, "may have"),
        ("a.{code}", "a.{0}", 18, "may have"),
        ("a.{code}", "a.{code!r}", 18, "may have"),
        ("a.{code}", "a.{code:>1000000000}", 18, "may have"),
        ("a.{code}", "a.{code.__class__}", 18, "may have"),
        ("deu}", "../../deu}", 14, "pattern"),
        ("{rows:", "{sentences:", 20, "no rows: this format reads rows"),
        ('"{code}/*.parquet"', '"*.parquet"', 20, "rows: *.parquet is the same for every language"),
        ('"{code}/*.parquet"', '"{/*.parquet"', 22, "may have"),
    ],
)
def test_files_that_the_format_does_not_read(
    tmp_path: Path, old: str, new: str, line: int, words: str
) -> None:
    name = card_of(tmp_path, (CARD + HUB).replace(old, new, 1))
    with pytest.raises(DataError, match=re.escape(words)) as refused:
        read_card(name)
    assert re.search(rf"mine\.yaml:{line}:", str(refused.value))


def test_a_format_that_no_data_set_of_the_hub_has() -> None:
    found = list(LAYOUTS["lareqa"].hub_problems({"passages": "{code}.json"}, alone=False))
    assert found == ["this format is read from official files only"]


def test_mining_needs_the_split_that_its_threshold_is_chosen_on(tmp_path: Path) -> None:
    text = (
        CARD.replace("bitext", "mining").replace("tatoeba", "bucc").replace("[accuracy, ", "[f1, ")
    )
    text = (
        text.replace("f1, recall@10", "f1")
        .replace(": recall@10", ": f1")
        .replace(": accuracy", ": f1")
    )
    text += '        gold: {path: "mine/{code}.gold"}\n'
    with pytest.raises(
        DataError, match=r"yaml:16: .* split test needs dev, on which mining chooses"
    ):
        read_card(card_of(tmp_path, text))
    dev = text.replace("licence", "split: dev\nlicence").replace("    test:", "    dev:")
    assert read_card(card_of(tmp_path, dev)).split == "dev"


def test_training_on_parallel_files_reads_one_role(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="parallel_lines reads one role, not lines, more"):
        read_intermediate(card_of(tmp_path, TRAINING))
