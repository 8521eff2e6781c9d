"""Translation retrieval with vectors that can be worked out by hand."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from harness.data.examples import Bitext
from harness.kinds.bitext import KIND, cluster
from harness.kinds.kind import Score, UnitFacts, UnitSettings, degenerate
from tests.kinds.knowing import Knowing, at_angles

# Angles in degrees: the nearer, the more alike.
ANGLES = {
    "eins": 0, "zwei": 30, "drei": 60, "one": 5, "two": 24, "three": 40,
}  # fmt: skip


def settings(limit: int | None = None) -> Any:
    return UnitSettings(layer=2, limit=limit)


def outcome(bitext: Bitext, angles: Mapping[str, float] = ANGLES, limit: int | None = None) -> Any:
    return KIND.run(settings(limit), {"de": bitext}, "de", Knowing(at_angles(angles)), None)[:2]


PAIRS = Bitext("de", ("eins", "zwei", "drei"), ("one", "two", "three"))


def test_both_directions_by_hand() -> None:
    # one 5° → eins 0, zwei 30, drei 60; two 24° → zwei, eins, drei; three 40° → zwei, drei, eins.
    # eins 0° → one 5, two 24, three 40; zwei 30° → two 24, three 40, one; drei 60° → three.
    table, flat = outcome(PAIRS)
    assert table.schema.equals(KIND.schema)
    assert not flat
    rows = table.to_pylist()
    assert [row["example_id"] for row in rows] == ["de:0", "de:1", "de:2"] * 2
    assert {row["lang"] for row in rows} == {"de"}
    assert [row["direction"] for row in rows] == ["en-de"] * 3 + ["de-en"] * 3
    assert [row["ranks"] for row in rows] == [[1], [1], [2], [1], [1], [1]]
    assert [row["relevant"] for row in rows] == [1] * 6
    assert rows[2]["top_ids"] == ["de:1", "de:2", "de:0"]
    assert rows[3]["top_ids"] == ["de:0", "de:1", "de:2"]


def test_the_cluster_is_the_english_sentence_in_both_directions() -> None:
    rows = outcome(PAIRS)[0].to_pylist()
    names = [cluster(english) for english in PAIRS.english]
    assert [row["cluster"] for row in rows] == names * 2
    assert len(set(names)) == 3
    assert names[0].startswith("tatoeba:")


def test_scores_by_hand() -> None:
    scores = KIND.fold(outcome(PAIRS)[0], ["accuracy", "f1_mteb", "mrr", "recall@10"], "test")
    got = {(score.direction, score.metric): score.value for score in scores}
    # en → de: one and two are right, three goes to zwei too: c = 2 there.
    assert got["en-de", "accuracy"] == pytest.approx(2 / 3)
    assert got["en-de", "f1_mteb"] == pytest.approx((2 / (1 + 1) + 2 / (1 + 2)) / 3)
    assert got["en-de", "mrr"] == pytest.approx((1 + 1 + 1 / 2) / 3)
    assert got["en-de", "recall@10"] == 1
    assert {got["de-en", metric] for metric in ("accuracy", "f1_mteb", "mrr")} == {1}
    assert {(s.lang, s.direction, s.group, s.n) for s in scores} == {
        ("de", "en-de", "en-xx", 3),
        ("de", "de-en", "xx-en", 3),
    }
    assert isinstance(scores[0], Score)


def test_a_second_translation_beyond_the_first_candidates_is_a_contradiction() -> None:
    angles = {f"{lang} {n}": 9 * n for lang in ("de", "en") for n in range(12)}
    lines = Bitext("de", *(tuple(f"{lang} {n}" for n in range(12)) for lang in ("de", "en")))
    table = outcome(lines, angles)[0]
    facts = UnitFacts("de", "test", None, 12)
    assert KIND.contradiction(table, facts) == ""
    first, *others = table.to_pylist()
    first |= {"ranks": [1, 11], "relevant": 2}
    table = pa.Table.from_pylist([first, *others], KIND.schema)
    assert KIND.contradiction(table, facts) == "a sentence has one translation, not several"


def test_limit_cuts_queries_and_never_the_pool() -> None:
    everything = outcome(PAIRS)[0].to_pylist()
    rows = outcome(PAIRS, limit=2)[0].to_pylist()
    assert rows == [row for row in everything if row["example_id"] != "de:2"]
    assert all(len(row["top_ids"]) == 3 for row in rows)
    assert outcome(PAIRS, limit=99)[0].to_pylist() == everything


def test_repeated_sentences_tie_and_the_first_wins() -> None:
    bitext = Bitext("de", ("zwei", "eins", "zwei"), ("two", "one", "two"))
    rows = outcome(bitext)[0].to_pylist()
    assert [row["ranks"] for row in rows] == [[1], [1], [2]] * 2
    assert [row["top_ids"][0] for row in rows] == ["de:0", "de:1", "de:0"] * 2
    # Two queries were mapped to row 0 and one to row 1; rows 0 and 1 are right.
    (score,) = (s for s in KIND.fold(outcome(bitext)[0], ["f1_mteb"], "test") if s.group == "en-xx")
    assert score.value == pytest.approx((2 / 3 + 1 + 0) / 3)


def test_sentences_of_equal_ids_are_counted_in_the_language_alone() -> None:
    vectors = at_angles(ANGLES)
    vectors["drei"] = vectors["zwei"]
    known = Knowing(vectors, {"drei": "zwei", "one": "two"})
    measured = KIND.run(settings(1), {"de": PAIRS}, "de", known, None)
    assert (measured.candidates, measured.indistinct) == (3, 2)  # whatever the limit
    repeated = Bitext("de", ("eins", "eins", "zwei"), ("one", "one", "two"))
    measured = KIND.run(settings(), {"de": repeated}, "de", Knowing(at_angles(ANGLES)), None)
    assert (measured.candidates, measured.indistinct) == (3, 2)


@pytest.mark.parametrize("size", [33, 257, 600])
def test_a_tie_is_a_tie_at_every_place_of_a_matrix_product(size: int) -> None:
    # Each sentence stands twice in the pool, with other sentences between: the first one wins.
    random = np.random.default_rng(size)
    made = random.normal(size=(size, 96)).astype(np.float32)
    made /= np.linalg.norm(made, axis=1, keepdims=True)
    texts = tuple(f"s{n}" for n in range(2 * size))
    order = np.concatenate([np.arange(size), random.permutation(size)])
    known = Knowing({f"s{n}": made[order[n]] for n in range(2 * size)})
    bitext = Bitext("de", texts, texts)
    rows = KIND.run(settings(), {"de": bitext}, "de", known, None).rows.to_pylist()
    assert [row["ranks"] for row in rows] == ([[1]] * size + [[2]] * size) * 2


def test_one_pair() -> None:
    table, flat = outcome(Bitext("de", ("eins",), ("one",)))
    assert [row["ranks"] for row in table.to_pylist()] == [[1], [1]]
    assert not flat
    assert {score.value for score in KIND.fold(table, ["accuracy", "f1_mteb"], "test")} == {1}


def test_what_is_announced_is_what_is_encoded() -> None:
    ((role, texts),) = KIND.texts({"de": PAIRS}, "de", 1)
    assert role == "query"
    assert list(texts) == ["eins", "zwei", "drei", "one", "two", "three"]
    encoder = Knowing(at_angles(ANGLES))
    KIND.run(settings(1), {"de": PAIRS}, "de", encoder, None)
    assert encoder.asked == [(role, list(texts))]
    assert list(KIND.pool({"de": PAIRS})) == []


def test_equal_vectors_are_flagged() -> None:
    table, flat = outcome(PAIRS, dict.fromkeys(ANGLES, 45))
    assert flat
    assert table.column("top_ids").to_pylist()[0] == ["de:0", "de:1", "de:2"]


def test_equal_vectors_of_one_side_are_flagged() -> None:
    _, flat = outcome(PAIRS, ANGLES | dict.fromkeys(("eins", "zwei", "drei"), 45))
    assert flat


def test_degenerate() -> None:
    random = np.random.default_rng(0)
    spread = random.normal(size=(20_000, 4)).astype(np.float32)
    point = np.array([1, 2, 3, 4], dtype=np.float32)
    noise = 1 + 1e-6 * random.normal(size=(20_000, 1)).astype(np.float32)
    assert degenerate(point * noise)  # lengths differ, directions do not
    assert degenerate(np.repeat(point[None], 2, axis=0))
    assert degenerate(np.zeros((3, 4), dtype=np.float32))
    assert not degenerate(spread)
    assert not degenerate(np.concatenate([np.zeros((1, 4)), spread]).astype(np.float32))
    assert not degenerate(np.stack([point, -point]))
    # Nearly one direction is not one direction: cosines of 0.99998 still rank.
    assert not degenerate(point + np.float32(0.02) * spread)
    assert not degenerate(point[None])
