"""Intermediate cards: the ones that ship, and what a card may not say."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from harness.cards.languages import task_root
from harness.cards.training import (
    FORMATS,
    IntermediateCard,
    intermediate_names,
    read_intermediate,
    read_intermediate_suites,
)
from harness.errors import DataError, NotFoundError, UsageError
from harness.training.config import TrainingConfig, resolved_settings
from harness.training.data.examples import TrainingSet
from tests.training.cards import CARD, card, source


@pytest.mark.parametrize("name", intermediate_names())
def test_every_card_parses_and_has_files_to_read(name: str) -> None:
    card = read_intermediate(name)
    assert card.name == name
    part = card.source.splits[card.split]
    for file in part.files.values():
        assert "{" not in card.fill(file.path, card.languages[0])
        if card.source.package:
            assert (task_root() / file.path).is_file()
            continue
        assert file.url or part.hub or card.source.remedy, "nobody could have its data"


def test_all_nine_are_the_nine_english_tasks() -> None:
    suites = read_intermediate_suites()
    nine = [read_intermediate(name) for name in suites["all_nine"]]
    assert len(nine) == 9
    assert all(card.languages == ["en"] for card in nine)
    assert {card.kind for card in nine} == {
        "classification", "span", "multiple_choice", "tagging",
    }  # fmt: skip


def test_every_kind_of_head_has_a_card() -> None:
    assert {read_intermediate(name).kind for name in intermediate_names()} == set(FORMATS)


@pytest.mark.parametrize(
    ("english", "multilingual"),
    [
        ("mlqa_en", "mlqa_multilingual"),
        ("mlqa_pairs_en", "mlqa_pairs_multilingual"),
        ("xnli_dev_en", "xnli_dev_multilingual"),
        ("pawsx_dev_en", "pawsx_dev_multilingual"),
        ("mlm_mlqa_en", "mlm_mlqa_multilingual"),
        ("demo_qa_en", "demo_qa_multilingual"),
    ],
)
def test_matched_cards_differ_in_their_languages_alone(english: str, multilingual: str) -> None:
    one, many = read_intermediate(english), read_intermediate(multilingual)
    assert one.design == many.design is not None
    assert one.recipe == many.recipe
    assert one.source == many.source
    assert many.deal is not None
    assert many.deal.items == "en"
    assert one.contaminates == many.contaminates


def test_dev_sets_say_so_in_their_names() -> None:
    for name in intermediate_names():
        card = read_intermediate(name)
        if card.split == "dev" and card.kind in ("classification", "multiple_choice"):
            assert "_dev" in name, "nobody should take it for the train set"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"languages": ["xx"]}, "xx is not a code"),
        ({"languages": ["en", "en"]}, "languages repeat"),
        ({"kind": "tagging"}, "format records gives no examples of kind tagging: give conll"),
        ({"labels": ["only"]}, "at least two labels"),
        ({"labels": ["yes", "no", "Yes"]}, "labels: Yes repeats yes"),
        ({"label_names": {"1": "maybe"}}, "maybe, which is not among labels"),
        ({"contaminates": ["squad"]}, "squad is not a target task"),
        ({"contaminates": ["squad/dev"]}, "squad is not a target task"),
        ({"contaminates": ["xnli/half"]}, "half is not a split of xnli"),
        ({"contaminates": ["wikiann/dev"]}, "wikiann is not a target task"),
        ({"deal": {"items": "de"}}, "deal.items de is not among languages"),
        ({"recipe": {"warmup": 1.5}}, "give a share below 1, or whole steps"),
        ({"lora": {"layers": [3, 1]}}, "the first, then the last"),
        ({"learning_rate": 1}, "Extra inputs are not permitted"),
    ],
)
def test_what_does_not_fit_is_named(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        IntermediateCard.model_validate(CARD | change)


def test_records_need_their_columns() -> None:
    source = {
        "format": "records",
        "splits": {"train": {"files": {"rows": {"path": "a.tsv", "columns": {"first": "0"}}}}},
    }
    with pytest.raises(ValidationError, match="rows needs columns for first, label"):
        IntermediateCard.model_validate(CARD | {"source": source})


def test_prose_does_not_change_the_hash_and_data_does() -> None:
    card = IntermediateCard.model_validate(CARD)
    assert IntermediateCard.model_validate(CARD | {"notes": ["x"], "title": "y"}).hash == card.hash
    assert IntermediateCard.model_validate(CARD | {"languages": ["de"]}).hash != card.hash
    assert IntermediateCard.model_validate(CARD | {"recipe": {"lr": 1.0}}).hash != card.hash


def test_how_a_table_is_read_changes_the_hash() -> None:
    def hashed(columns: dict[str, Any], **file: Any) -> str:
        return card(source=source("records", "x.tsv", columns=columns, **file)).hash

    named, numbered = {"first": "a", "label": "b"}, {"first": "0", "label": ["1"]}
    assert hashed(named, quoted=True, header=True) == hashed(named)
    assert hashed(named, quoted=False) != hashed(named)
    # Numbers are the columns of a table without a header.
    assert hashed(numbered, header=False) != hashed(numbered)
    assert hashed(named, header=False) != hashed(named)


@pytest.mark.parametrize(
    ("name", "begins"),
    [
        ("mlqa_en", "164065ff0920"),
        ("mlqa_multilingual", "d9034adf0d01"),
        ("mlqa_pairs_en", "960602c468e7"),
        ("mlqa_pairs_multilingual", "d8459fca19b3"),
        ("translation_pairs", "a0c946224264"),
    ],
)
def test_cards_that_checkpoints_were_trained_by_keep_their_hashes(name: str, begins: str) -> None:
    assert read_intermediate(name).hash.startswith(begins)


def test_columns_of_the_hubs_files_are_settings_where_they_were_read(tmp_path: Path) -> None:
    columns = {"first": "premise", "label": "gold"}
    hub = {"id": "org/rows", "files": {"rows": "x.parquet"}, "columns": {"rows": columns}}
    rows = source("records", "x.tsv", columns={"first": "a", "label": "b"})
    rows["splits"]["train"]["hub"] = hub
    one = card(source=rows)
    base: Any = SimpleNamespace(id="base", revision="r")
    config = TrainingConfig(base=base, cards=[one], recipes={"own": one.recipe}, out=tmp_path)

    def settings(route: str) -> dict[str, Any]:
        found: dict[str, Any] = resolved_settings(config, {"own": TrainingSet([], (), route, {})})[
            "tasks"
        ]
        return found["own"]

    assert settings("hub")["columns"] == {"rows": columns}
    assert "columns" not in settings("folder")


def test_a_card_of_ones_own(tmp_path: Path) -> None:
    path = tmp_path / "own.yaml"
    path.write_text(yaml.safe_dump(CARD))
    assert read_intermediate(str(path)).name == "own"
    path.write_text(yaml.safe_dump(CARD | {"learning_rate": 1}))
    with pytest.raises(DataError, match=r"own\.yaml:\d+: unknown key learning_rate"):
        read_intermediate(str(path))
    with pytest.raises(NotFoundError):
        read_intermediate(str(tmp_path / "none.yaml"))


def test_an_unknown_task_names_the_nearest() -> None:
    with pytest.raises(UsageError, match="did you mean squad_v1"):
        read_intermediate("squadv1")
