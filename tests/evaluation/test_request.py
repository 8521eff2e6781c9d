"""Which tasks and languages a request chooses: what is named is there, or is an error."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.cards.catalogue import read_card, read_suites
from harness.cards.task import CustomCard
from harness.errors import DataError, NotFoundError, UsageError
from harness.evaluation.request import Selection, choose_cards, split_of

CARD = (Path(__file__).parents[2] / "tasks/target/demo_bitext.yaml").read_text(encoding="utf-8")


def own_card(folder: Path, name: str = "my_pairs") -> str:
    path = folder / f"{name}.yaml"
    path.write_text(CARD.replace("name: demo_bitext", f"name: {name}"), encoding="utf-8")
    return str(path)


@pytest.mark.parametrize(
    ("tasks", "suite", "languages", "said"),
    [
        (("tatoeba", "xquad"), None, ("fr",), "task xquad has no fr: its languages are en, es"),
            (("xquad",), None, ("zz",), "unknown language"),
        (("xquad", "tatoeba"), None, ("fr",), "task xquad has no fr"),
        (("xquad",), None, ("de", "fr"), "has no fr"),
        (("tatoeba", "xquad"), None, ("de", "fr"), "task xquad has no fr"),
        (("tatoeba", "xquad"), "xtreme-r", ("fr",), "task xquad has no fr"),
        (("demo_mining", "demo_qa"), "demo", ("sw",), "task demo_mining has no sw"),
        (("mlqa_cross", "xquad"), None, ("de-ar",), "task xquad has no de-ar"),
        (("xquad",), "retrieval", (), "not in suite retrieval"),
        ((), "demo", ("fr",), "'fr'"),
        ((), "demo", ("zz",), "unknown language"),
    ],
)  # fmt: skip
def test_a_named_task_without_the_language(
    tasks: tuple[str, ...], suite: str | None, languages: tuple[str, ...], said: str
) -> None:
    with pytest.raises(UsageError) as raised:
        choose_cards(Selection(tasks=tasks, suite=suite, languages=languages))
    assert said in str(raised.value)
    assert "\n" not in str(raised.value)


def test_tasks_of_a_suite_that_lack_a_language_are_left_out_and_named() -> None:
    choice = choose_cards(Selection(suite="demo", languages=("sw", "de")))
    assert [(card.name, units) for card, units in choice.cards] == [
        ("demo_bitext", ("de", "sw")), ("demo_mining", ("de",)),
        ("demo_passages", ("de", "sw")), ("demo_qa", ("de", "sw")),
        ("demo_pairs", ("de",)), ("demo_choices", ("de",)), ("demo_tags", ("de",)),
    ]  # fmt: skip
    lacking = ("demo_mining", "demo_pairs", "demo_choices", "demo_tags")
    assert dict(choice.left_out) == {task: f"{task} has no sw" for task in lacking}
    assert "demo_mining" not in [
        card.name for card, _ in choose_cards(Selection(suite="demo", languages=("sw",))).cards
    ]


def test_a_suite_names_the_split_of_a_task_unless_one_is_asked_for() -> None:
    pawsx, xnli = read_card("pawsx"), read_card("xnli")
    assert split_of(Selection(suite="xtreme-small"), pawsx) == "half"
    assert split_of(Selection(suite="xtreme-small"), xnli) == "test"
    assert split_of(Selection(suite="xtreme-small", split="dev"), pawsx) == "dev"
    assert split_of(Selection(tasks=("pawsx",)), pawsx) == "test"
    with pytest.raises(UsageError, match="xnli has no split 'half'"):
        split_of(Selection(split="half"), xnli)


def test_every_split_and_language_of_a_suite_is_its_cards() -> None:
    for suite, entries in read_suites().items():
        for entry in entries:
            card = read_card(entry.task)
            assert set(entry.languages or ()) <= set(card.languages)
            assert split_of(Selection(suite=suite), card) in card.source.splits


def test_any_code_of_a_language_will_do_and_names_may_repeat() -> None:
    choice = choose_cards(Selection(tasks=("xquad", "xquad"), languages=("deu", "de")))
    assert [(card.name, units) for card, units in choice.cards] == [("xquad", ("de",))]
    assert not choice.left_out


def test_a_card_outside_the_package(tmp_path: Path) -> None:
    path = own_card(tmp_path)
    choice = choose_cards(Selection(tasks=(path, "demo_qa"), languages=("de",)))
    card = choice.cards[0][0]
    assert isinstance(card, CustomCard)
    assert (card.name, card.argument) == ("my_pairs", path)
    with pytest.raises(UsageError, match="my_pairs has no fr"):
        choose_cards(Selection(tasks=(path, "tatoeba"), languages=("fr",)))
    with pytest.raises(UsageError, match="not in suite demo"):
        choose_cards(Selection(tasks=(path,), suite="demo"))
    other = tmp_path / "other"
    other.mkdir()
    twin = Path(own_card(other))
    assert len(choose_cards(Selection(tasks=(path, str(twin)))).cards) == 1
    twin.write_text(f"{twin.read_text()}notes: [another]\n", encoding="utf-8")
    with pytest.raises(UsageError, match="two cards are named my_pairs"):
        choose_cards(Selection(tasks=(path, str(twin))))


def test_the_checksum_of_such_a_card_is_in_its_hash(tmp_path: Path) -> None:
    before = read_card(own_card(tmp_path))
    path = tmp_path / "my_pairs.yaml"
    path.write_text(f"{path.read_text()}# a remark\n", encoding="utf-8")
    assert read_card(str(path)).hash != before.hash
    assert before.hash != read_card("demo_bitext").hash


@pytest.mark.parametrize(
    ("text", "error", "said"),
    [
        (CARD, UsageError, "c.yaml:1: demo_bitext is a task of the package"),
        (CARD.replace("name: demo_bitext", "name: a").replace("recall@10", "recal@10"), DataError,
         "recal@10 is not a metric of bitext tasks"),
        (f"{CARD}checksum: abc\n", DataError, "unknown key checksum"),
        (f"{CARD}path: abc\n", DataError, "unknown key path"),
        ('name: "\\ud800"\n', DataError, "c.yaml:1:"),
        ("", DataError, "empty"),
    ],
)  # fmt: skip
def test_a_card_that_is_not_one(
    tmp_path: Path, text: str, error: type[Exception], said: str
) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(error) as raised:
        read_card(str(path))
    assert said in str(raised.value)
    assert "\n" not in str(raised.value)
    with pytest.raises(NotFoundError, match="no card"):
        read_card(str(tmp_path / "none.yaml"))
