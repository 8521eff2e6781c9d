"""Scores: folds over outcome rows, with what stands beside each number."""

from __future__ import annotations

from io import StringIO
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from rich.console import Console

from harness.cards.catalogue import read_card, read_suites
from harness.cards.task import TaskCard
from harness.errors import DataError, NotFoundError
from harness.kinds.kind import Score
from harness.kinds.retrieval import SCHEMA as RETRIEVAL
from harness.kinds.span_qa import SCHEMA as SPAN_QA
from harness.results.outcomes import OutcomeFile, outcome_file
from harness.results.scores import (
    MACRO,
    SCHEMA,
    by_file,
    indistinct_shares,
    indistinct_words,
    is_complete,
    macro,
    note_row,
    score_file,
    scores,
    unranked_reasons,
)
from harness.terminal.tables import score_table, summary
from tests.metadata import metadata

pytestmark = pytest.mark.usefixtures("rows_by_hand")


COLUMNS = [
    "model", "revision", "base", "objective", "train_languages", "contaminated", "track",
    "protocol", "layer", "task", "split", "lang", "direction", "metric", "value", "n", "low",
    "high", "seed", "signature", "provenance", "complete",
]  # fmt: skip


def meta(card: TaskCard, unit: str, **changes: Any) -> dict[str, Any]:
    return metadata(card, [unit], **{"seed": 3, "libraries": {"torch": "2"}} | changes)


def answers(unit: str, f1: list[float]) -> pa.Table:
    return pa.Table.from_pylist(
        [
            {"example_id": f"q{n}", "lang": unit, "question_lang": unit, "cluster": "demo:p",
             "prediction": "x", "exact_match": float(value == 1), "f1": value, "answered": True}
            for n, value in enumerate(f1)
        ],
        SPAN_QA,
    )  # fmt: skip


def hits(unit: str, ranks: dict[str, list[int]]) -> pa.Table:
    """Rows by direction, each with one relevant candidate at that rank."""
    return pa.Table.from_pylist(
        [
            {"example_id": f"{unit}:{n}", "lang": unit, "cluster": f"c{n}", "direction": direction,
             "ranks": [rank], "relevant": 1, "top_ids": [f"{unit}:{n + rank - 1}"]}
            for direction, line in ranks.items()
            for n, rank in enumerate(line)
        ],
        RETRIEVAL,
    )  # fmt: skip


def file_of(root: Path, task: str) -> OutcomeFile:
    return outcome_file(root, "org__name", "0" * 12, task, "89abcdef")


def found(table: pa.Table, **wanted: str) -> dict[str, Any]:
    (row,) = (r for r in table.to_pylist() if all(r[key] == wanted[key] for key in wanted))
    return dict(row)


def test_schema() -> None:
    assert SCHEMA.names == [*COLUMNS, "note", "indistinct"]
    kinds = {name: str(SCHEMA.field(name).type) for name in SCHEMA.names}
    assert (kinds["value"], kinds["n"], kinds["complete"]) == ("double", "int64", "bool")
    assert SCHEMA.field("train_languages").type == pa.list_(pa.string())


def test_mean_over_languages_is_unweighted_and_n_is_the_sum(tmp_path: Path) -> None:
    card = read_card("demo_qa")
    file = file_of(tmp_path, "demo_qa")
    file.write_part("en", answers("en", [1, 1, 1, 0]), meta(card, "en"))
    file.write_part("de", answers("de", [0.5, 0]), meta(card, "de"))
    file.merge(card.languages)
    table = score_file(file)
    assert table.schema.equals(SCHEMA)
    assert [(r["lang"], r["metric"]) for r in table.to_pylist()] == [
        (lang, metric) for lang in ("en", "de", MACRO) for metric in ("f1", "exact_match")
    ]
    assert found(table, lang="en", metric="f1")["value"] == 0.75
    whole = found(table, lang=MACRO, metric="f1")
    assert (whole["value"], whole["n"]) == ((0.75 + 0.25) / 2, 6)
    assert found(table, lang=MACRO, metric="exact_match")["value"] == (0.75 + 0) / 2


def test_each_file_of_a_run_is_summarised_by_itself(tmp_path: Path) -> None:
    card = read_card("demo_qa")
    for place, unit, f1 in (("a", "en", [1.0]), ("b", "de", [0.0]), ("c", "de", [0.5])):
        file = file_of(tmp_path / place, "demo_qa")
        file.write_part(unit, answers(unit, f1), meta(card, unit))
        file.merge(card.languages)
    rows = scores(tmp_path).to_pylist()
    assert [{row["lang"] for row in own} for own in by_file(rows)] == [
        {"en", MACRO}, {"de", MACRO}, {"de", MACRO}
    ]  # fmt: skip
    assert [(one["mean"], one["best"], one["languages"]) for one in summary(rows)] == [
        (1.0, ("en", 1.0), 1), (0.0, ("de", 0.0), 1), (0.5, ("de", 0.5), 1)
    ]  # fmt: skip


def test_what_stands_beside_a_number(tmp_path: Path) -> None:
    card = read_card("demo_qa")
    file = file_of(tmp_path, "demo_qa")
    file.write_part("en", answers("en", [1]), meta(card, "en", base="org/base@" + "1" * 40))
    file.merge(card.languages)
    row = found(scores(tmp_path), lang="en", metric="f1")
    assert row == {
        **dict.fromkeys(SCHEMA.names),
        "model": "org/name",
        "revision": "0" * 40,
        "base": "org/base@" + "1" * 40,
        "track": "own-head",
        "protocol": "standard",
        "layer": None,
        "task": "demo_qa",
        "split": "test",
        "lang": "en",
        "direction": "",
        "metric": "f1",
        "value": 1.0,
        "n": 1,
        "seed": 3,
        "signature": meta(card, "en")["signature"],
        "provenance": "measured",
        "complete": False,
        "note": "",
    }


def test_directions_have_means_of_their_own(tmp_path: Path) -> None:
    card = read_card("tatoeba")
    file = file_of(tmp_path, "tatoeba")
    for unit, there, back in (("de", [1, 1], [1, 3]), ("fr", [1, 2], [2, 2])):
        table = hits(unit, {f"en-{unit}": there, f"{unit}-en": back})
        file.write_part(unit, table, meta(card, unit))
    file.merge(card.languages)
    table = score_file(file)
    means = {
        r["direction"]: (r["value"], r["n"])
        for r in table.to_pylist()
        if r["lang"] == MACRO and r["metric"] == "accuracy"
    }
    assert means == {"en-xx": ((1 + 0.5) / 2, 4), "xx-en": ((0.5 + 0) / 2, 4)}
    assert found(table, direction="fr-en", metric="accuracy")["lang"] == "fr"


def test_macro_by_hand() -> None:
    one = Score("de", "de-en", "xx-en", "mrr", 0.2, 10)
    rows = [
        one,
        one._replace(lang="fr", direction="fr-en", value=0.4, n=1),
        one._replace(metric="accuracy", value=1.0),
        one._replace(direction="en-de", group="en-xx", value=0.9),
    ]
    assert [(m.lang, m.direction, m.metric, m.n) for m in macro(rows)] == [
        (MACRO, "xx-en", "mrr", 11),
        (MACRO, "xx-en", "accuracy", 10),
        (MACRO, "en-xx", "mrr", 10),
    ]
    assert [m.value for m in macro(rows)] == pytest.approx([0.3, 1.0, 0.9])
    assert macro([]) == []


# Completeness


@pytest.mark.parametrize("suite", ["xtreme-r", "xtreme"])
def test_complete_is_all_languages_of_some_suite(suite: str) -> None:
    card = read_card("tatoeba")
    (entry,) = (entry for entry in read_suites()[suite] if entry.task == "tatoeba")
    assert entry.languages is not None
    whole = meta(card, "") | {"languages": entry.languages}
    assert is_complete(card, whole)
    assert is_complete(card, whole | {"languages": [*entry.languages, "sv"]})
    # Without German it is neither of the suites.
    without = [language for language in entry.languages if language != "de"]
    assert not is_complete(card, whole | {"languages": without})
    assert not is_complete(card, whole | {"limit": 100})


def test_a_file_in_parts_is_scored_and_not_complete(tmp_path: Path) -> None:
    card = read_card("demo_qa")
    file = file_of(tmp_path, "demo_qa")
    for unit in card.languages:
        file.write_part(unit, answers(unit, [1]), meta(card, unit))
    assert {row["complete"] for row in score_file(file).to_pylist()} == {False}
    file.merge(card.languages)
    table = score_file(file)
    assert {row["complete"] for row in table.to_pylist()} == {True}
    assert found(table, lang=MACRO, metric="f1")["n"] == len(card.languages)


def test_parts_beside_a_merged_file_are_scored_too(tmp_path: Path) -> None:
    card = read_card("demo_qa")
    file = file_of(tmp_path, "demo_qa")
    file.write_part("en", answers("en", [1]), meta(card, "en"))
    file.merge(card.languages)
    file.write_part("de", answers("de", [0]), meta(card, "de"))
    assert found(score_file(file), lang=MACRO, metric="f1")["value"] == 0.5


# What is listed unranked_reasons


def test_nothing_is_said_of_rows_that_may_be_ranked() -> None:
    card = read_card("tatoeba")
    assert unranked_reasons(meta(card, "de"), card) == []


def test_rows_of_before_protocols_had_versions_are_of_the_first() -> None:
    card = read_card("tatoeba")
    old = {key: value for key, value in meta(card, "de").items() if key != "protocol_version"}
    (reason,) = unranked_reasons(old, card)
    assert reason.startswith("stale: measured under version 1 of the protocols, now ")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"limit": 10}, "first 10 queries a language"),
        ({"custom": ["layer 3 (protocol: 8)"]}, "layer 3 (protocol: 8)"),
        ({"degenerate": ["en"]}, "degenerate: all vectors (nearly) equal in en"),
        ({"notes": ["custom data: 3 of 5 pairs"]}, "custom data: 3 of 5 pairs"),
        ({"card_hash": "0" * 64, "task_version": 7}, "stale: "),
        ({"protocol_version": 0}, "stale: measured under version 0 of the protocols"),
        ({"split": "dev"}, "split dev"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_why_a_row_is_listed_apart(tmp_path: Path, change: dict[str, Any], words: str) -> None:
    card = read_card("demo_qa")
    file = file_of(tmp_path, "demo_qa")
    file.write_part("en", answers("en", [1]), meta(card, "en", **change))
    file.merge(card.languages)
    notes = {row["note"] for row in score_file(file).to_pylist()}
    assert len(notes) == 1
    assert words in next(iter(notes))


def test_the_share_of_indistinct_candidates_stands_on_the_rows_of_its_language(
    tmp_path: Path,
) -> None:
    card = read_card("demo_bitext")
    file = file_of(tmp_path, "demo_bitext")
    of = {"de": (20, 1), "es": (20, 2), "sw": (20, 19)}
    for unit, (candidates, tied) in of.items():
        own = {"candidates": {unit: candidates}, "indistinct": {unit: tied}}
        file.write_part(unit, hits(unit, {f"en-{unit}": [1]}), meta(card, unit, **own))
    file.merge(card.languages)
    assert file.meta()["indistinct"] == {"de": 1, "es": 2, "sw": 19}
    shares = {row["lang"]: row["indistinct"] for row in score_file(file).to_pylist()}
    assert shares == {"de": 0.05, "es": 0.1, "sw": 0.95, "macro": None}
    # No reason not to rank them, but said: more than 5 %, the largest first.
    assert {row["note"] for row in score_file(file).to_pylist()} == {""}
    assert indistinct_words(shares) == "indistinct candidates: sw 95 %, es 10 %"
    entry, *_ = summary(score_file(file).to_pylist())
    assert indistinct_words(entry["indistinct"]) == "indistinct candidates: sw 95 %, es 10 %"
    shown = StringIO()
    Console(width=200, file=shown).print(score_table(score_file(file).to_pylist()))
    assert "indistinct candidates: sw 95 %, es 10 %" in shown.getvalue()


@pytest.mark.parametrize(
    "changes", [{}, {"indistinct": {}, "candidates": {}}, {"indistinct": {"de": 0}}]
)
def test_rows_of_before_and_questions_say_nothing_of_ties(changes: dict[str, Any]) -> None:
    card = read_card("demo_qa")
    assert indistinct_shares(meta(card, "de", **changes)) == {}
    assert indistinct_words({"de": None, "es": 0.0}) == ""


def test_several_reasons_are_all_given() -> None:
    card = read_card("demo_qa")
    reasons = unranked_reasons(
        meta(card, "en", limit=1, split="dev", custom=["dtype bfloat16"]), card
    )
    assert reasons == ["dtype bfloat16", "first 1 queries a language", "split dev"]


def test_a_row_that_says_why_there_is_no_score() -> None:
    common = {"model": "org/name", "revision": "0" * 40, "task": "tatoeba"}
    row = found(note_row(common, "no QA head"))
    assert (row["lang"], row["value"], row["n"], row["complete"]) == (MACRO, None, 0, False)
    assert (row["metric"], row["note"]) == (None, "no QA head")
    assert note_row(common, "").schema.equals(SCHEMA)


def test_a_language_that_is_missing_is_named() -> None:
    common = {"model": "org/name", "revision": "0" * 40, "task": "tatoeba", "lang": "de"}
    assert found(note_row(common, "missing: no file"))["lang"] == "de"


# Files


def test_all_files_under_a_folder(tmp_path: Path) -> None:
    for task in ("demo_qa", "xquad"):
        card = read_card(task)
        file = file_of(tmp_path, task)
        file.write_part("en", answers("en", [1]), meta(card, "en"))
        file.merge(card.languages)
    table = scores(tmp_path)
    assert sorted(set(table.column("task").to_pylist())) == ["demo_qa", "xquad"]
    alone = scores(file_of(tmp_path, "xquad").path)
    assert set(alone.column("task").to_pylist()) == {"xquad"}
    assert scores(str(tmp_path)).equals(table)


def test_nothing_to_score(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "absent"):
        with pytest.raises(NotFoundError, match="xharness eval"):
            scores(path)


def test_a_damaged_file(tmp_path: Path) -> None:
    file = file_of(tmp_path, "demo_qa")
    file.path.parent.mkdir(parents=True)
    file.path.write_bytes(b"PAR1")
    with pytest.raises(DataError, match="delete it"):
        scores(tmp_path)
