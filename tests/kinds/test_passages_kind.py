"""Retrieval from one pool of all languages, worked out by hand."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pyarrow as pa
import pytest

import harness.kinds.passages
from harness.data.examples import Query, Retrieval
from harness.kinds.kind import UnitFacts, UnitSettings
from harness.kinds.passages import KIND, Pool
from harness.kinds.retrieval import read
from harness.metrics.ranking import other_language_recall, same_language
from tests.kinds.knowing import Knowing, at_angles

# The direction of each text, in degrees.
ANGLES = {"rain": 0, "Regen": 10, "snow": 50, "Schnee": 60, "wind": 90, "wet?": 4, "nass?": 57}
POOL = ("rain", "snow", "wind", "Regen", "Schnee", "rain")
EXAMPLES = Retrieval(
    candidate_ids=("en:0", "en:1", "en:2", "de:0", "de:1", "de:2"),
    candidates=POOL,
    candidate_langs=("en", "en", "en", "de", "de", "de"),
    queries={
        "en": (Query("q0", "wet?", "demo:p0", (0, 3)), Query("q1", "nass?", "demo:p1", (5,))),
        "de": (Query("q0", "nass?", "demo:p0", (0, 3)),),
    },
)


def known(angles: Mapping[str, float] = ANGLES) -> Knowing:
    return Knowing(at_angles(angles))


def outcome(unit: str, limit: int | None = None, encoder: Knowing | None = None) -> Any:
    settings = UnitSettings(layer=2, limit=limit)
    encoder = encoder or known()
    return KIND.run(settings, EXAMPLES, unit, encoder, KIND.prepare(settings, EXAMPLES, encoder))[
        :2
    ]


def test_the_pool_is_encoded_once_and_equal_vectors_are_one_candidate() -> None:
    encoder = known()
    settings = UnitSettings(layer=2)
    pool = KIND.prepare(settings, EXAMPLES, encoder)
    assert isinstance(pool, Pool)
    assert encoder.asked == [("document", list(POOL))]
    assert pool.vectors.rows.tolist() == [0, 1, 2, 3, 4, 0]
    assert len(pool.vectors.vectors) == 5
    assert KIND.pool(EXAMPLES) == POOL


def test_ranks_by_hand() -> None:
    # wet? 4°: rain (0 and 5, tied) 4° off, Regen 6, snow 46, Schnee 56, wind 86.
    # nass? 57°: Schnee 3° off, snow 7, wind 33, Regen 47, rain 57 (0 and 5, tied).
    table, flat = outcome("en")
    assert table.schema.equals(KIND.schema)
    assert not flat
    first, second = table.to_pylist()
    assert first == {
        "example_id": "q0",
        "lang": "en",
        "cluster": "demo:p0",
        "direction": "en-all",
        "ranks": [1, 3],
        "relevant": 2,
        "top_ids": ["en:0", "de:2", "de:0", "en:1", "de:1", "en:2"],
    }
    assert second["ranks"] == [6]  # the later of two equal sentences
    assert second["top_ids"] == ["de:1", "en:1", "en:2", "de:0", "en:0", "de:2"]


def test_candidates_of_equal_ids_are_counted_by_language_over_the_whole_pool() -> None:
    vectors = at_angles(ANGLES)
    vectors["Schnee"] = vectors["snow"]
    encoder = Knowing(vectors, {"Schnee": "snow"})
    settings = UnitSettings(layer=2)
    pool = KIND.prepare(settings, EXAMPLES, encoder)
    counts = {}
    for unit in ("en", "de"):
        measured = KIND.run(settings, EXAMPLES, unit, encoder, pool)
        counts[unit] = (measured.indistinct, measured.candidates)
    assert counts == {"en": (2, 3), "de": (2, 3)}  # rain and snow; Schnee and the other rain


def test_scores_by_hand() -> None:
    scores = KIND.fold(
        outcome("en")[0], ["hit@1", "recall@1", "map@20", "mrr", "same_language@10"], "test"
    )
    assert {(s.lang, s.direction, s.group, s.n) for s in scores} == {("en", "en-all", "xx-all", 2)}
    assert {s.metric: s.value for s in scores} == pytest.approx(
        {
            "hit@1": 1 / 2,
            "recall@1": (1 / 2 + 0) / 2,
            "map@20": ((1 / 1 + 2 / 3) / 2 + 1 / 6) / 2,
            "mrr": (1 + 1 / 6) / 2,
            "same_language@10": 3 / 6,
        }
    )


def test_recall_in_other_languages_by_hand() -> None:
    ranks = read(outcome("en")[0])
    # First question: its English answer is first, its German one third, the only other one. Second:
    # its German answer is sixth.
    assert other_language_recall(ranks, 10).tolist() == [1, 1]
    assert other_language_recall(ranks, 5).tolist() == [1, 0]
    assert other_language_recall(ranks, 2).tolist() == [0, 0]


@pytest.mark.parametrize("coded", [False, True])
def test_first_candidates_of_several_languages(coded: bool) -> None:
    """As plain text or read as dictionaries, in chunks, with rows left out at either end."""
    tables = [outcome("en")[0], outcome("de")[0], outcome("en")[0].slice(0, 1)]
    whole = pa.concat_tables(tables)
    if coded:
        for name in ("lang", "direction"):
            column = whole.column(name).dictionary_encode()
            whole = whole.set_column(whole.schema.get_field_index(name), name, column)
    # de: Schnee, snow, wind, Regen, rain, rain: three of six are German, as of the others.
    assert same_language(read(whole)).tolist() == [0.5] * 4
    assert other_language_recall(read(whole), 3).tolist() == [1, 0, 0, 1]
    assert other_language_recall(read(whole.slice(1, 2)), 3).tolist() == [0, 0]
    assert same_language(read(whole.slice(0, 0))).tolist() == []
    assert other_language_recall(read(whole.slice(0, 0)), 3).tolist() == []


def test_one_query_and_a_limit_leave_the_pool_whole() -> None:
    for unit, limit in (("de", None), ("en", 1)):
        table, flat = outcome(unit, limit)
        assert table.num_rows == 1
        assert not flat
        assert len(table.column("top_ids")[0]) == 6
    assert outcome("en", 1)[0].to_pylist() == outcome("en")[0].to_pylist()[:1]
    assert KIND.texts(EXAMPLES, "en", 1) == [("query", ["wet?"])]
    assert KIND.texts(EXAMPLES, "en", None) == [("query", ["wet?", "nass?"])]


def test_a_large_pool_is_ranked_to_a_depth(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = outcome("en")[0].to_pylist()
    monkeypatch.setattr(harness.kinds.passages, "UNCUT_POOL", 5)
    assert outcome("en")[0].to_pylist() == whole
    monkeypatch.setattr(harness.kinds.passages, "DEPTH", 2)
    first, second = outcome("en")[0].to_pylist()
    assert (first["ranks"], first["relevant"]) == ([1], 2)
    assert (second["ranks"], second["relevant"]) == ([], 1)
    scores = KIND.fold(outcome("en")[0], ["map@20", "recall@10", "mrr"], "test")
    assert {s.metric: s.value for s in scores} == {
        "map@20": (1 / 2 + 0) / 2,
        "recall@10": (1 / 2 + 0) / 2,
        "mrr": (1 + 0) / 2,
    }


def test_equal_vectors_of_either_side_are_flagged() -> None:
    flat_pool = known(ANGLES | dict.fromkeys(POOL, 7))
    assert outcome("en", encoder=flat_pool)[1]
    flat_queries = known(ANGLES | {"wet?": 7, "nass?": 7})
    assert outcome("en", encoder=flat_queries)[1]
    assert not outcome("de", encoder=flat_queries)[1]


@pytest.mark.parametrize(
    ("cluster", "candidate", "ranks", "words"),
    [
        ("lareqa:7", "de:7:2", [1], ""),  # a sentence of the paragraph
        ("lareqa:7", "de:7:2", [3], ""),  # another one is the answer
        ("lareqa:7", "de:8:2", [3], ""),
        ("lareqa:7", "de:8:2", [1], "q0: de:8:2 at rank 1 is not relevant"),
        ("lareqa:7", "de:17:2", [1], "q0: de:17:2 at rank 1 is not relevant"),
        ("lareqa:a:b", "de:a:b:2", [1], ""),  # a paragraph whose name has a colon
        ("lareqa:a:b", "de:b:2", [1], "q0: de:b:2 at rank 1 is not relevant"),
        ("mewsli_x:Q1", "Q1", [1], ""),
        ("mewsli_x:Q1", "Q11", [1], "q0: Q11 at rank 1 is not relevant"),
        ("mewsli_x:Q1", "Q1", [3], "q0: Q1 is relevant, and rank 1 is missing"),
        ("mewsli_x:Q1", "Q\n1", [1], "q0: Q 1 at rank 1 is not relevant"),
    ],
)
def test_what_may_be_relevant_is_in_the_name_of_the_cluster(
    cluster: str, candidate: str, ranks: list[int], words: str
) -> None:
    row = {"example_id": "q0", "lang": "de", "cluster": cluster, "direction": "de-all"}
    row |= {"ranks": ranks, "relevant": 1, "top_ids": [candidate, "de:0:0"]}
    table = pa.Table.from_pylist([row], KIND.schema)
    assert KIND.contradiction(table, UnitFacts("de", "test", None, None)) == words
