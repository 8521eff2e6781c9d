"""Bitext mining by hand: the threshold of dev, what is kept, missed and dropped."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from harness.data.examples import Mining
from harness.kinds.kind import UnitFacts, UnitSettings
from harness.kinds.mining import KIND
from tests.kinds.knowing import Knowing


def axes(texts: Mapping[str, Mapping[int, float]], ids: Mapping[str, str] | None = None) -> Knowing:
    """Each text is a unit vector along its own axis, plus what it shares with others."""
    return Knowing(
        {text: [own.get(axis, 0.0) for axis in range(12)] for text, own in texts.items()}, ids
    )


def pair(axis: int, cosine: float, name: str) -> dict[str, dict[int, float]]:
    """A source and an English text at this cosine, orthogonal to everything else."""
    across = (1 - cosine**2) ** 0.5
    return {f"de {name}": {axis: 2.0}, f"en {name}": {axis: cosine, axis + 1: across}}


def corpora(split: str, names: Sequence[str], gold: Sequence[tuple[str, str]]) -> Mining:
    return Mining(
        lang="de",
        split=split,
        source={f"de-{name}": f"de {name}" for name in names},
        english={f"en-{name}": f"en {name}" for name in names},
        gold=frozenset((f"de-{left}", f"en-{right}") for left, right in gold),
    )


def outcome(
    parts: Sequence[Mining], encoder: Knowing, limit: int | None = None
) -> tuple[list[dict[str, Any]], Any, bool]:
    settings = UnitSettings(layer=2, limit=limit, split=parts[-1].split)
    examples = {"de": {part.split: part for part in parts}}
    table, flat = KIND.run(settings, examples, "de", encoder, None)[:2]
    assert table.schema.equals(KIND.schema)
    return table.to_pylist(), table, flat


def values(table: Any, split: str) -> dict[str, float]:
    metrics = ["f1", "precision", "recall", "f1_oracle"]
    return {score.metric: score.value for score in KIND.fold(table, metrics, split)}


# With two sentences a side each has two neighbours: its pair at cosine c and another at 0, so both
# means are c / 2 and the margin is c / (c / 2) = 2 for every pair, however alike.
def test_the_ratio_is_relative_to_the_neighbourhood() -> None:
    encoder = axes(pair(0, 0.9, "a") | pair(2, 0.3, "b"))
    rows, _, flat = outcome([corpora("dev", "ab", [("a", "a")])], encoder)
    assert [row["margin"] for row in rows] == pytest.approx([2, 2])
    assert not flat


# Sources share axis 0 with English sentences to different degrees, worked out below; how long the
# vectors are says nothing.
SHARED = {
    "de a": {0: 1.0},
    "de b": {1: 3.0},
    "en a": {0: 0.4, 1: 0.3},
    "en b": {1: 1.0},
}


def test_margins_and_greedy_pairs_by_hand() -> None:
    # cosines: a-a 0.8, a-b 0, b-a 0.6, b-b 1. Means: de a 0.4, de b 0.8, en a 0.7, en b 0.5.
    # margins: a-a 0.8/0.55, b-b 1/0.65, b-a 0.6/0.75, a-b 0.
    rows, _, _ = outcome([corpora("dev", "ab", [("a", "a"), ("b", "b")])], axes(SHARED))
    assert [(row["source_id"], row["target_id"]) for row in rows] == [
        ("de-b", "en-b"),
        ("de-a", "en-a"),
    ]
    assert [row["margin"] for row in rows] == pytest.approx([1 / 0.65, 0.8 / 0.55])
    assert {row["lang"] for row in rows} == {"de"}


def test_threshold_flows_from_dev_to_test() -> None:
    # dev: b-b (margin 1.538) is gold, a-a (1.455) is not: the threshold lies half way between.
    # test: the same margins, both gold, and a third pair of which only the source is found.
    encoder = axes(SHARED)
    dev = corpora("dev", "ab", [("b", "b")])
    test = corpora("test", "ab", [("a", "a"), ("b", "b"), ("a", "b")])
    rows, table, _ = outcome([dev, test], encoder)
    assert [(r["split"], r["source_id"], r["target_id"], r["gold"], r["kept"]) for r in rows] == [
        ("dev", "de-b", "en-b", True, True),
        ("dev", "de-a", "en-a", False, False),
        ("test", "de-b", "en-b", True, True),
        ("test", "de-a", "en-a", True, False),
        ("test", "de-a", "en-b", True, False),
    ]
    assert [row["margin"] is None for row in rows] == [False] * 4 + [True]
    # At the threshold of dev: 1 kept, right, of 3 gold. The test split's own would keep both.
    assert values(table, "test") == pytest.approx(
        {"precision": 1, "recall": 1 / 3, "f1": 2 * 1 / (1 + 3), "f1_oracle": 2 * 2 / (2 + 3)}
    )
    assert {score.n for score in KIND.fold(table, ["f1"], "test")} == {3}
    facts = UnitFacts("de", "test", None, None)
    assert KIND.contradiction(table, facts) == ""
    for change in ({"kept": True}, {"gold": False}):
        missed = pa.Table.from_pylist([*rows[:4], rows[4] | change], KIND.schema)
        assert KIND.contradiction(missed, facts).startswith("de-a en-b was not mined")


def test_a_limit_cuts_the_sources_that_are_scored_and_neither_pool_nor_dev() -> None:
    encoder = axes(SHARED)
    dev = corpora("dev", "ab", [("b", "b")])
    test = corpora("test", "ab", [("a", "a"), ("b", "b")])
    whole, _, _ = outcome([dev, test], encoder)
    limited, table, _ = outcome([dev, test], encoder, limit=1)
    assert limited == [r for r in whole if r["split"] == "dev" or r["source_id"] == "de-a"]
    assert {score.n for score in KIND.fold(table, ["f1"], "test")} == {1}


def test_a_limit_without_a_gold_pair_has_no_score() -> None:
    examples = {"de": {"dev": corpora("dev", "ab", [("b", "b")])}}
    assert KIND.unscored(examples, "dev", 1) == {
        "de": "--limit 1 leaves no gold pair of dev: give more"
    }
    assert KIND.unscored(examples, "dev", 2) == KIND.unscored(examples, "dev", None) == {}


def test_dev_alone_gives_the_oracle_f1_only() -> None:
    rows, table, _ = outcome([corpora("dev", "ab", [("b", "b")])], axes(SHARED))
    assert [row["kept"] for row in rows] == [True, False]
    assert values(table, "dev") == {"f1_oracle": 1}
    (score,) = KIND.fold(table, ["f1", "f1_oracle"], "dev")
    assert (score.lang, score.direction, score.group, score.n) == ("de", "", "", 1)


def test_sentences_that_repeat_are_mined_once_and_dropped() -> None:
    encoder = axes(SHARED)
    twice = Mining(
        lang="de",
        split="dev",
        source={"de-a": "de a", "de-b": "de b", "de-b2": "de b"},
        english={"en-a": "en a", "en-b": "en b"},
        gold=frozenset({("de-b", "en-b"), ("de-a", "en-a")}),
    )
    rows, table, _ = outcome([twice], encoder)
    assert encoder.asked == [("query", ["de a", "de b", "en a", "en b"])]
    # The pair of the repeated sentence has no id: its gold pair counts as missed.
    assert [(r["source_id"], r["target_id"], r["margin"] is None, r["gold"]) for r in rows] == [
        ("de-a", "en-a", False, True),
        ("de-b", "en-b", True, True),
    ]
    assert values(table, "dev") == pytest.approx({"f1_oracle": 2 * 1 / (1 + 2)})


def with_twins(source: Sequence[str], english: Sequence[str]) -> Mining:
    """Lines in the order given; `b'` is another text than `b`, of the same token ids."""
    return Mining(
        lang="de",
        split="dev",
        source={f"de-{n}-{name}": f"de {name}" for n, name in enumerate(source)},
        english={f"en-{n}-{name}": f"en {name}" for n, name in enumerate(english)},
        gold=frozenset({("de-0-a", "en-0-a")}),
    )


TWINS = SHARED | {f"{side} b'": SHARED[f"{side} b"] for side in ("de", "en")}
SAME = {f"{side} b'": f"{side} b" for side in ("de", "en")}


@pytest.mark.parametrize(
    ("source", "english", "mined"),
    [
        (["a", "b", "b'"], ["a", "b"], ("de-1-b", "en-1-b")),
        (["a", "b'", "b"], ["a", "b"], ("de-1-b'", "en-1-b")),
        (["a", "b"], ["a", "b", "b'"], ("de-1-b", "en-1-b")),
        (["a", "b", "b'"], ["a", "b'", "b"], ("de-1-b", "en-1-b'")),
        # The first of them occurs twice, so that it has no id: the pair is dropped.
        (["a", "b", "b'", "b"], ["a", "b"], None),
        # Another one does: the first is still the one.
        (["a", "b'", "b", "b"], ["a", "b"], ("de-1-b'", "en-1-b")),
    ],
)
def test_lines_of_one_vector_are_one_neighbour_and_the_first_takes_the_pair(
    source: Sequence[str], english: Sequence[str], mined: tuple[str, str] | None
) -> None:
    # The margins are those of a and b alone, worked out above: 1 / 0.65 and 0.8 / 0.55.
    rows, _, _ = outcome([with_twins(source, english)], axes(TWINS, SAME))
    expected = {("de-0-a", "en-0-a"): 0.8 / 0.55} | ({mined: 1 / 0.65} if mined else {})
    margins = {(row["source_id"], row["target_id"]): row["margin"] for row in rows}
    assert margins == pytest.approx(expected)


def test_the_language_s_lines_of_equal_ids_are_counted() -> None:
    part = with_twins(["a", "b", "b'", "b"], ["a", "b", "b'"])
    settings = UnitSettings(layer=2, limit=1, split="dev")
    measured = KIND.run(settings, {"de": {"dev": part}}, "de", axes(TWINS, SAME), None)
    assert (measured.candidates, measured.indistinct) == (4, 3)


def test_pairs_without_a_positive_margin_are_not_mined() -> None:
    # Nothing is alike: every cosine is 0, and so is every mean.
    texts = {"de a": {0: 1.0}, "de b": {1: 1.0}, "en a": {2: 1.0}, "en b": {3: 1.0}}
    rows, table, _ = outcome([corpora("dev", "ab", [("a", "a")])], axes(texts))
    assert [(row["source_id"], row["margin"], row["kept"]) for row in rows] == [
        ("de-a", None, False)
    ]
    assert values(table, "dev") == {"f1_oracle": 0}


def test_kept_on_disk_is_what_the_scores_count() -> None:
    random = np.random.default_rng(3)
    names = [str(number) for number in range(40)]
    texts: dict[str, dict[int, float]] = {}
    for name in names:
        vector = random.normal(size=12)
        noisy = vector + random.normal(size=12)
        texts[f"de {name}"], texts[f"en {name}"] = dict(enumerate(vector)), dict(enumerate(noisy))
    gold = [(name, name) for name in names[::2]]
    parts = [corpora("dev", names[:20], gold[:10]), corpora("test", names[20:], gold[10:])]
    rows, table, _ = outcome(parts, axes(texts))
    of_test = [row for row in rows if row["split"] == "test"]
    right = sum(row["kept"] and row["gold"] for row in of_test)
    kept, total = (sum(row[key] for row in of_test) for key in ("kept", "gold"))
    assert total == 10
    assert 0 < right < kept
    assert values(table, "test")["f1"] == pytest.approx(2 * right / (kept + total))


def test_equal_vectors_are_flagged() -> None:
    texts = {text: {0: 1.0} for text in SHARED}
    _, _, flat = outcome([corpora("dev", "ab", [("a", "a")])], axes(texts))
    assert flat


def test_all_texts_of_every_split_are_announced_dev_first() -> None:
    parts = {split: corpora(split, "ab", [("a", "a")]) for split in ("dev", "test")}
    whole = ["de a", "de b", "en a", "en b"]
    announced = KIND.texts({"de": parts}, "de", 1)
    assert [(role, list(texts)) for role, texts in announced] == [("query", whole)] * 2
