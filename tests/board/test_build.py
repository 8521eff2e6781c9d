"""The board: what is ranked, what is refused, and the same bytes every time."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from html import unescape
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import harness
from harness.analysis import gather
from harness.analysis.contrasts import LeftOut
from harness.analysis.fold import fold, fold_key
from harness.analysis.gather import fold_all, read_board, read_scores
from harness.board import rankings
from harness.board.build import leaderboard, render, verify
from harness.board.contrasts import _above_chance
from harness.cards.catalogue import read_card
from harness.cards.target_recipes import read_target_recipes
from harness.errors import CheckFailed, DataError, NotFoundError
from harness.results.outcomes import OutcomeFile
from harness.results.scores import SCHEMA
from harness.statistics.contrast import Estimate
from harness.statistics.verdict import Verdict
from harness.submissions.attempts import Attempt, write_attempts
from harness.submissions.folder import read_each
from tests.board.boards import (
    BASE,
    ENGLISH,
    MANY,
    answers,
    bitext,
    hand_worked,
    hits,
    measure,
    revision,
    submit,
)  # fmt: skip


def ranked(root: Path, track: str = "frozen") -> dict[str, int | None]:
    board = read_board(root)
    return {
        row.entry.slug: row.rank
        for standing in board.standings
        if standing.track == track
        for row in standing.rows
    }


# The same bytes


def test_same_inputs_same_bytes(root: Path) -> None:
    one = render(read_board(hand_worked(root / "one")))
    two = render(read_board(hand_worked(root / "two", (MANY, BASE, ENGLISH))))
    assert one == two
    names = ("README.md", "index.html", "scores.parquet", "checkpoints/base.md")
    assert {f"leaderboard/{name}" for name in names} <= set(one)


def test_cache_changes_nothing_but_time(root: Path, tmp_path: Path) -> None:
    hand_worked(root)
    cold = render(read_board(root))
    assert render(read_board(root, tmp_path / "kept")) == cold
    assert render(read_board(root, tmp_path / "kept")) == cold


def test_one_more_checkpoint_folds_only_that_one(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hand_worked(root)
    fold_all(root / "leaderboard/results", tmp_path / "kept")
    measure(root, "hand/more", bitext(MANY))
    folded: list[Path] = []
    whole = fold.__globals__["_fold"]

    def counting(file: OutcomeFile) -> Any:
        folded.append(file.path)
        return whole(file)

    monkeypatch.setitem(fold.__globals__, "_fold", counting)
    assert len(fold_all(root / "leaderboard/results", tmp_path / "kept").folded) == 4
    assert [path.parent.parent.name for path in folded] == ["hand__more"]


def test_kept_fold_goes_with_bytes_and_card(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = measure(root, BASE, bitext(BASE))
    before = fold_key(path)
    assert fold_key(path) == before
    pq.write_table(pq.read_table(path), path, compression="none")
    assert fold_key(path) != before


@pytest.mark.parametrize("damage", [b"PAR1", b"", b'{"label": '])
def test_what_is_kept_and_damaged_is_made_again(root: Path, tmp_path: Path, damage: bytes) -> None:
    hand_worked(root)
    wanted = render(read_board(root, tmp_path / "kept"))
    kept = list((tmp_path / "kept").iterdir())
    assert {path.suffix for path in kept} == {".arrow", ".json"}
    for path in kept:
        path.write_bytes(damage)
    assert render(read_board(root, tmp_path / "kept")) == wanted
    assert all(path.read_bytes() != damage for path in kept)


def test_a_board_needs_no_folder_to_keep_anything_in(root: Path, tmp_path: Path) -> None:
    hand_worked(root)
    (tmp_path / "file").touch()  # no folder can be made there, whoever runs this
    assert render(read_board(root, tmp_path / "file/kept")) == render(read_board(root))


# Check and verify


@pytest.mark.parametrize(
    "name",
    ["README.md", "index.html", "checkpoints/base.md", "figures/contrasts.svg", "scores.parquet"],
)
def test_check_finds_one_changed_byte(root: Path, name: str) -> None:
    leaderboard(hand_worked(root))
    assert leaderboard(root, check=True) == []
    path = root / "leaderboard" / name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))
    with pytest.raises(CheckFailed, match=f"leaderboard/{name}"):
        leaderboard(root, check=True)
    assert path.read_bytes() == bytes(content)  # a check writes nothing
    assert leaderboard(root) == [path]
    leaderboard(root, check=True)


def test_check_finds_a_page_too_many_and_one_too_few(root: Path) -> None:
    leaderboard(hand_worked(root))
    stray = root / "leaderboard/checkpoints/gone.md"
    stray.write_text("x")
    (root / "leaderboard/checkpoints/base.md").unlink()
    with pytest.raises(CheckFailed, match=r"base\.md.*gone\.md"):
        leaderboard(root, check=True)
    leaderboard(root)
    assert not stray.exists()


def test_verify_recomputes(root: Path) -> None:
    leaderboard(hand_worked(root))
    verify(root)
    path = root / "leaderboard/scores.parquet"
    rows = pq.read_table(path).to_pylist()
    place = next(i for i, row in enumerate(rows) if row["value"] == 1.0 and row["lang"] == "de")
    rows[place]["value"] = 0.99
    pq.write_table(pa.Table.from_pylist(rows, schema=SCHEMA), path)
    with pytest.raises(CheckFailed, match=r"de .*value is 0\.99, recomputed 1\.0"):
        verify(root)


def test_verify_finds_a_changed_outcome(root: Path) -> None:
    leaderboard(hand_worked(root))
    for path in (root / "leaderboard/results").rglob("*.parquet"):
        if "english" in str(path):
            path.unlink()
    with pytest.raises(CheckFailed, match="has no outcomes"):
        verify(root)


def test_nothing_to_build_from(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="xharness eval"):
        leaderboard(tmp_path)
    with pytest.raises(NotFoundError, match="xharness leaderboard"):
        verify(tmp_path)


def test_damaged_outcomes_are_named(root: Path) -> None:
    path = measure(root, BASE, bitext(BASE))
    path.write_bytes(b"PAR1")
    with pytest.raises(DataError, match=path.name):
        leaderboard(root)


# scores.parquet


def test_a_run_that_is_there_twice_counts_once_and_is_named(root: Path) -> None:
    hand_worked(root)
    before, _ = read_scores(root)
    again = root / "leaderboard/results/a-copy"
    measure(root, ENGLISH, {"de": hits("de", [0, 0, 0, 0])}, results=again)
    scores, damaged = read_scores(root)
    assert scores == before
    (error,) = damaged
    assert re.fullmatch(
        r"\S+/a-copy/\S+parquet: \S+/results/hand\S+ is the same run: take one of them away",
        str(error),
    )


def test_columns_of_scores(root: Path) -> None:
    table, _ = read_scores(hand_worked(root))
    assert table.schema.equals(SCHEMA)
    rows = [r for r in table.to_pylist() if r["model"] == ENGLISH and r["metric"] == "recall@10"]
    german = next(r for r in rows if r["direction"] == "en-de")
    assert german == german | {
        "base": BASE, "objective": "extractive-qa", "train_languages": ["en"],
        "contaminated": False, "track": "frozen", "task": "demo_bitext", "value": 1.0, "low": 1.0,
        "high": 1.0, "n": 4, "provenance": "measured", "complete": True, "note": "",
    }  # fmt: skip
    assert all(row["low"] <= row["value"] <= row["high"] for row in rows)


# What is never ranked


@pytest.mark.parametrize(
    "change",
    [
        {"limit": 4},
        {"custom": ["layer 3 (protocol: 8)"]},
        {"degenerate": ["de"]},
        {"split": "dev"},
        {"card_hash": "0" * 64},
    ],
    ids=lambda change: next(iter(change)),
)
def test_listed_apart_and_never_ranked(root: Path, change: dict[str, Any]) -> None:
    hand_worked(root)
    measure(root, "hand/other", bitext(MANY), **change)
    assert set(ranked(root)) == {"base", "english-qa", "multilingual-qa"}
    leaderboard(root)
    text = (root / "leaderboard/coverage.md").read_text(encoding="utf-8")
    apart = text[text.index("## Listed apart") :]
    assert "hand/other" in apart


def test_languages_with_candidates_of_equal_ids_are_named(root: Path) -> None:
    hand_worked(root)
    tied = {"candidates": {"de": 1_000, "sw": 200}, "indistinct": {"de": 50, "sw": 193}}
    measure(root, "hand/tied", bitext(MANY), **tied)
    submit(root, "hand/tied", base=BASE, objective="extractive-qa", languages=["en"])
    assert "tied" in ranked(root)  # said, and no reason not to rank it
    leaderboard(root)
    text = (root / "leaderboard/coverage.md").read_text(encoding="utf-8")
    named = text[text.index("## Indistinct candidates") :]
    assert "hand/tied" in named
    assert "sw 96 %" in named
    assert "de " not in named.rpartition("|--")[2]  # 5 % is not more than 5 %
    assert named.count("hand/") == 1
    text = (root / "leaderboard/contrasts.md").read_text(encoding="utf-8")
    marked = [
        line for line in text.splitlines() if line.endswith("| not known (at chance), indistinct |")
    ]
    assert len(marked) == 2  # Swahili in both contrasts of the objective
    page = (root / "leaderboard/checkpoints/tied.md").read_text(encoding="utf-8")
    assert "(indistinct candidates: sw 96 %)" in page
    other = (root / "leaderboard/checkpoints/base.md").read_text(encoding="utf-8")
    assert "indistinct" not in other
    (entry,) = [one for one in read_board(root).entries if one.slug == "tied"]
    assert entry.results[0].indistinct == {"sw": 0.965}
    rows = pq.read_table(root / "leaderboard/scores.parquet").to_pylist()
    shares = {row["lang"]: row["indistinct"] for row in rows if row["model"] == "hand/tied"}
    assert shares == {"de": 0.05, "sw": 0.965, "macro": None}


def test_above_chance_is_not_said_without_the_word() -> None:
    columns = (("tatoeba", "te"), ("tatoeba", "fr"))
    languages = [SimpleNamespace(task=task, name=lang) for task, lang in columns]
    estimate = Estimate(0.01, 0.0, 0.02, 0.5, 0)
    part: Any = SimpleNamespace(estimate=estimate, name="2 of 3", columns=columns)
    tied = {("tatoeba", "te"), ("tatoeba", "ml"), ("lareqa", "fr")}
    for chance, above, said in ((columns[:1], part, "2 of 3"), ((), None, "all")):
        difference: Any = SimpleNamespace(
            above_chance=above, chance=chance, languages=languages,
            line_verdict=lambda part, adjusted: Verdict("no clear difference", "", 0.01, 0.0, 0.02),
        )  # fmt: skip
        assert _above_chance(difference, set()).endswith(said)
        assert _above_chance(difference, tied).endswith(f"{said}; 1 with indistinct candidates")
    none: Any = SimpleNamespace(above_chance=None, chance=columns, languages=languages)
    assert _above_chance(none, tied) == "none"


def test_a_mean_over_missing_languages_is_refused(root: Path) -> None:
    hand_worked(root)
    measure(root, "hand/partly", {"de": hits("de", [1, 1, 1, 1])})
    board = read_board(root)
    (entry,) = [e for e in board.entries if e.model == "hand/partly"]
    (result,) = entry.results
    assert (result.macro, result.missing) == (None, ("sw",))
    assert entry.slug not in ranked(root)
    leaderboard(root)
    text = (root / "leaderboard/coverage.md").read_text(encoding="utf-8")
    assert "no mean, missing: sw" in text


def test_a_mean_over_missing_tasks_is_refused(root: Path) -> None:
    hand_worked(root)
    passages = {
        unit: [
            {"example_id": f"{unit}{i}", "lang": unit, "cluster": f"p:{i}",
             "direction": f"{unit}-all", "ranks": [1], "relevant": 1, "top_ids": [f"{unit}:a"]}
            for i in range(3)
        ]
        for unit in ("en", "de", "es", "ru", "ar", "hi", "zh", "sw")
    }  # fmt: skip
    measure(root, BASE, passages, task="demo_passages")
    found = read_board(root).standings[0]
    assert found.tasks == ("demo_bitext", "demo_passages")
    assert {row.entry.slug: (row.rank, row.why) for row in found.rows} == {
        "base": (1, ""),
        "english-qa": (None, "missing: demo_passages"),
        "multilingual-qa": (None, "missing: demo_passages"),
    }
    (row,) = [row for row in found.rows if row.entry.slug == "base"]
    assert row.mean is not None
    assert row.mean.value == pytest.approx((0 + 1) / 2)


def test_tracks_are_never_mixed(root: Path) -> None:
    hand_worked(root)
    measure(root, "hand/own", bitext(MANY), track="native", protocol="native")
    units = ("en", "de", "es", "ru", "ar", "hi", "zh", "sw")
    measure(root, BASE, {u: answers(u, [1.0, 0.5]) for u in units}, task="demo_qa", layer=None)
    assert set(ranked(root, "native")) == {f"hand__own-{revision('hand/own')[:12]}"}
    assert set(ranked(root, "own-head")) == {"base"}
    assert set(ranked(root)) == {"base", "english-qa", "multilingual-qa"}


def test_the_tuned_track_is_ranked_by_qa_with_retrieval_beside(root: Path) -> None:
    units = ("en", "de", "es", "ru", "ar", "hi", "zh", "sw")
    measure(root, BASE, bitext(BASE), track="tuned")
    measure(root, ENGLISH, {u: answers(u, [1.0, 0.5]) for u in units}, task="demo_qa", layer=None,
            track="tuned")  # fmt: skip
    (found,) = [one for one in read_board(root).standings if one.track == "tuned"]
    assert (found.metric, found.tasks, found.beside) == ("f1", ("demo_qa",), ("demo_bitext",))
    assert [row.why for row in found.rows] == ["", "missing: demo_qa"]


def test_contaminated_through_the_base_is_shown_and_not_ranked(root: Path) -> None:
    hand_worked(root)
    submit(root, "hand/seen", base=ENGLISH, objective="extractive-qa", languages=["en", "de"])
    submit(root, ENGLISH, base=BASE, objective="extractive-qa", languages=["en"],
           contaminated=["demo_bitext"])  # fmt: skip
    measure(root, "hand/seen", bitext(MANY))
    board = read_board(root)
    rows = {row.entry.slug: row for row in board.standings[0].rows}
    for slug in ("english-qa", "seen"):
        assert (rows[slug].rank, rows[slug].why) == (None, "contaminated: demo_bitext")
    assert rows["multilingual-qa"].rank == 1
    named = {one.name: one for one in board.contrasts if one.track == "frozen"}
    assert named["multilingual QA − base"].a == ("multilingual-qa",)
    assert named["English QA − base"].difference is None
    assert "trained on its data" in named["English QA − base"].left_out[0].why
    assert {row["contaminated"] for row in board.scores.to_pylist()
            if row["model"] in (ENGLISH, "hand/seen")} == {True}  # fmt: skip


def test_another_revision_of_a_contaminated_checkpoint_is_contaminated(root: Path) -> None:
    hand_worked(root)
    submit(root, ENGLISH, base=BASE, objective="extractive-qa", languages=["en"],
           contaminated=["demo_bitext"])  # fmt: skip
    measure(root, ENGLISH, bitext(MANY), revision="e" * 40)
    (old,) = [row for row in read_board(root).standings[0].rows if row.entry.submission is None]
    assert (old.entry.model, old.rank, old.why) == (ENGLISH, None, "contaminated: demo_bitext")


@pytest.mark.parametrize("model", [BASE, ""])
def test_what_descends_from_a_submission_that_cannot_be_read_is_not_ranked(
    model: str, root: Path
) -> None:
    """A slip of the pen in the base's file must not make its variants clean.

    Where not even the model in it can be read, it may be about any base that is not submitted.
    """
    hand_worked(root)
    measure(root, "hand/other", bitext(MANY))
    submit(root, "hand/other")
    (root / "submissions" / "base.yaml").unlink()
    why = "submissions/base.yaml: unknown key licnce"
    write_attempts(root, {"base": Attempt(model=model, status="failed", reason=why, exit_code=6)})
    board = read_board(root)
    assert [row.entry.slug for row in board.standings[0].rows] == ["other"]
    doubt = f"submissions/base.yaml cannot be read, and may say what {BASE} was trained on"
    results = {entry.slug: entry.results for entry in board.entries if entry.results}
    assert {slug: one.notes for slug, (one,) in results.items()} == {
        "english-qa": [doubt], "multilingual-qa": [doubt], "other": [],
        f"hand__base-{revision(BASE)[:12]}": [doubt],
    }  # fmt: skip


def test_all_go_by_the_submissions_that_the_board_shows(root: Path) -> None:
    """The base's cannot be read; once it has a row that says so, that ends no command."""
    hand_worked(root)
    leaderboard(root)
    (root / "submissions" / "base.yaml").write_text("licnce: x\n")
    for read in (leaderboard, harness.contrast, harness.verify):
        with pytest.raises(DataError, match=r"base\.yaml"):
            read(root)
    why = read_each(root / "submissions")[1]["base"]
    write_attempts(root, {"base": Attempt(model=BASE, status="failed", reason=why, exit_code=6)})
    leaderboard(root)
    assert harness.leaderboard(root, check=True) == []
    assert harness.verify(root) > 0
    harness.contrast(root)
    assert harness.compare(ENGLISH, BASE, root=root)
    notes = pq.read_table(root / "leaderboard/scores.parquet").column("note").to_pylist()
    assert any("base.yaml cannot be read" in note for note in notes)


def test_a_seed_that_is_not_ranked_is_named(root: Path) -> None:
    """The rankings say what is missing, and the contrast, which is over the others, that it is."""
    measure(root, BASE, bitext(BASE))
    submit(root, BASE)
    for seed in (1, 2, 3):
        model = f"hand/seed-{seed}"
        note = {"notes": ["custom data"]} if seed == 3 else {}
        measure(root, model, bitext(ENGLISH), **note)
        submit(root, model, base=BASE, objective="extractive-qa", languages=["en"],
               recipe="qa-1a2b", seed=seed)  # fmt: skip
    board = read_board(root)
    rows = {row.entry.slug: row.why for row in board.standings[0].rows}
    assert rows == {"base": "", "qa-1a2b": "missing: demo_bitext of seed 3"}
    (named,) = [one for one in board.contrasts
                if (one.name, one.track) == ("English QA − base", "frozen")]  # fmt: skip
    assert named.a == ("seed-1", "seed-2")
    assert named.left_out == (LeftOut("seed-3", "on demo_bitext, not ranked: custom data"),)


@pytest.mark.parametrize(("split", "seen"), [("dev", True), ("test", False)])
def test_rows_of_a_split_that_their_recipe_trains_on_are_contaminated(
    root: Path, split: str, seen: bool
) -> None:
    card = read_card("xnli")
    line = {
        "example_id": "de:1", "lang": "de", "cluster": "xnli:1", "gold": "neutral",
        "prediction": "neutral", "correct": True, "scores": [0.0, 1.0, 0.0],
    }  # fmt: skip
    recipe = read_target_recipes()["xnli_small"]
    resolved = {
        "pooling": None, "layer": None, "lengths": {}, "prompts": {}, "dtype": "float32",
        "card": card.hash, "split": split, "limit": None, "track": "tuned",
        "recipe": recipe.resolved, "seed": 0,
    }  # fmt: skip
    submit(root, BASE)
    measure(root, BASE, {"de": [line]}, task="xnli", split=split, track="tuned", resolved=resolved,
            custom=recipe.unranked_reasons("xnli", split))  # fmt: skip
    rows = read_board(root).scores.to_pylist()
    assert {row["contaminated"] for row in rows} == {seen}
    assert all(("tuned or chosen on xnli/dev" in row["note"]) is seen for row in rows)


def test_measured_overlap_is_beside_what_is_declared(root: Path) -> None:
    hand_worked(root)
    submit(
        root, ENGLISH, base=BASE, objective="extractive-qa", languages=["en"],
        overlap="{demo_bitext: {test: {de: 0.25}}, xquad: {test: {}}}",
    )  # fmt: skip
    board = read_board(root)
    page = unescape(render(board)["leaderboard/checkpoints/english-qa.md"].decode())
    assert "| contaminated | demo_bitext/test |" in page
    assert "| contaminated, as declared | none |" in page
    assert "demo_bitext (test) de 25.0 %; none in xquad (test)" in page
    assert "trained on this task's data: not ranked, not contrasted" in page
    named = {one.name: one for one in board.contrasts if one.track == "frozen"}
    assert "trained on its data" in named["English QA − base"].left_out[0].why


def test_languages_at_chance_are_left_out_beside_the_mean(root: Path) -> None:
    """100 candidates: ten hits are chance. German 50 → 80, Swahili 5 → 12, both of them chance."""
    found = {BASE: {"de": 50, "sw": 5}, ENGLISH: {"de": 80, "sw": 12}}
    for model, counts in found.items():
        rows = {u: hits(u, [1] * n + [0] * (100 - n)) for u, n in counts.items()}
        measure(root, model, rows)
    submit(root, BASE)
    submit(root, ENGLISH, base=BASE, objective="extractive-qa", languages=["en"])
    board = read_board(root)
    (one,) = [one for one in board.contrasts if one.difference is not None]
    assert one.difference is not None
    assert one.difference.estimate.difference == pytest.approx((0.30 + 0.07) / 2)
    assert len(one.difference.chance) == 1
    assert one.difference.above_chance is not None
    assert one.difference.above_chance.estimate.difference == pytest.approx(0.30)
    files = render(board)
    text = files["leaderboard/contrasts.md"].decode()
    assert "| +30.0" in text
    assert "1 of 2 | n/a |" in text
    assert "where not at chance, 1 of 2, against" in files["leaderboard/README.md"].decode()


def test_a_loss_is_called_one_and_bases_that_wait_are_one_line(root: Path) -> None:
    """Three seeds of one recipe: a claim. The base finds 90 of 100, they find 39 to 41."""
    recipe = {"recipe": "en", "base": BASE, "objective": "extractive-qa", "languages": ["en"]}
    models = [BASE, *(f"hand/en-{seed}" for seed in (1, 2, 3))]
    for seed, (model, count) in enumerate(zip(models, (90, 39, 40, 41), strict=True)):
        line = [1] * count + [0] * (100 - count)
        measure(root, model, {u: hits(u, line) for u in ("de", "sw")})
        submit(root, model, **({"seed": seed} | recipe if seed else {}))
    for name in ("one", "two"):
        submit(root, f"hand/{name}", revision=None)
        submit(root, f"hand/{name}-qa", base=f"hand/{name}", objective="extractive-qa",
               languages=["en"], revision=None)  # fmt: skip
    files = render(read_board(root))
    text = files["leaderboard/README.md"].decode()
    assert (
        "On hand/base, one recipe of intermediate training on English QA (3 seeds) **hurts**"
        " cross-lingual retrieval: −50.0" in text
    )
    waiting = files["leaderboard/contrasts.md"].decode()
    assert "- all of hand/one, hand/two: the base is not measured" in waiting


@pytest.mark.parametrize(
    ("data", "claim", "checkpoints", "said"),
    [
        (["SQuAD v1.1", "MLQA dev", "TyDiQA-GoldP train"], "objective", 3,
         "objective: 3 checkpoints against 1 checkpoint; demo"),
        # Two amounts of training on one corpus are no two checkpoints.
        (["SQuAD v1.1", "squad_v2", "MLQA dev"], "descriptive", 2,
         "descriptive: 3 checkpoints (2 independent) against 1 checkpoint; demo"),
        (["SQuAD", None, None], "objective", 3,
         "as far as is known: no data named of hand/1 · hand/2"),
    ],
)  # fmt: skip
def test_checkpoints_count_by_their_data(
    data: list[str | None], claim: str, checkpoints: int, said: str, root: Path
) -> None:
    names = [BASE, *(f"hand/{place}" for place in range(3))]
    for model, count, trained_on in zip(names, (90, 39, 40, 41), [None, *data], strict=True):
        line = [1] * count + [0] * (100 - count)
        measure(root, model, {unit: hits(unit, line) for unit in ("de", "sw")})
        how = {"base": BASE, "objective": "extractive-qa", "languages": ["en"]}
        submit(root, model, **(how if model != BASE else {}),
               **({"datasets": [trained_on]} if trained_on else {}))  # fmt: skip
    board = read_board(root)
    one = next(c for c in board.contrasts if c.difference is not None)
    assert one.claim == claim
    assert one.difference is not None
    assert one.difference.evidence.checkpoints == (checkpoints, 1)
    assert said in unescape(render(board)["leaderboard/contrasts.md"].decode())


def test_what_was_trained_in_two_steps_is_contrasted_with_where_its_objective_began(
    root: Path,
) -> None:
    """Of 100 sentences the base finds 20; English QA on it 40; NLI on that 50; more QA on it 70."""
    steps = {
        BASE: (20, {}),
        "hand/qa": (40, {"base": BASE, "objective": "extractive-qa", "languages": ["en"],
                         "datasets": ["SQuAD"]}),
        "hand/nli": (50, {"base": "hand/qa", "objective": "nli", "languages": ["en"]}),
        "hand/more": (70, {"base": "hand/qa", "objective": "extractive-qa", "languages": ["de"],
                           "datasets": ["MLQA"]}),
    }  # fmt: skip
    for model, (count, how) in steps.items():
        line = [1] * count + [0] * (100 - count)
        measure(root, model, {unit: hits(unit, line) for unit in ("de", "sw")})
        submit(root, model, **how)
    board = read_board(root)
    found = {
        (one.base, one.name): (one.a, one.b, round(one.verdict.estimate or 0, 6))
        for one in board.contrasts
        if one.difference is not None
    }
    assert found == {
        ("base", "English QA − base"): (("qa",), ("base",), 0.2),
        # Both trainings are QA, in English and in German.
        ("base", "multilingual QA − base"): (("more",), ("base",), 0.5),
        ("base", "multilingual QA − English QA"): (("more",), ("qa",), 0.3),
        # The difference to the first base would be due to QA as well.
        ("qa", "English NLI − base"): (("nli",), ("qa",), 0.1),
    }
    gains = {gain.entry.slug: gain.verdict.estimate for gain in board.gains}
    assert gains == pytest.approx({"qa": 0.2, "nli": 0.1, "more": 0.3})
    (both,) = [one.difference for one in board.contrasts
               if one.name == "multilingual QA − base" and one.difference is not None]  # fmt: skip
    assert (both.seen, both.unseen) == (("de",), ("sw",))


@pytest.mark.parametrize("at", [None, "measured", "another"])
def test_a_pending_base_is_the_base_at_the_revision_that_was_measured(
    at: str | None, root: Path
) -> None:
    """A variant of another revision is compared with none, and has its contamination anyway."""
    hand_worked(root)
    submit(root, BASE, revision=None, contaminated=["demo_pairs"])
    named = {None: None, "measured": revision(BASE), "another": "b" * 40}[at]
    submit(root, ENGLISH, base=BASE, objective="extractive-qa", languages=["en"],
           base_revision=named)  # fmt: skip
    board = read_board(root)
    compared = {gain.entry.slug for gain in board.gains}
    assert ("english-qa" in compared) == (at != "another")
    (one,) = [one for one in board.contrasts if (one.name, one.track) == (
        "English QA − base", "frozen")]  # fmt: skip
    assert (one.difference is None) == (at == "another")
    assert board.entry("english-qa").contaminated == {"demo_pairs"}


@pytest.mark.parametrize(
    ("made", "lacks"),
    [
        ({}, "no intermediate training"),
        ({"objective": "contrastive", "languages": ["de"]}, "no further training"),
    ],
)
def test_the_answer_says_what_a_base_lacks(made: dict[str, Any], lacks: str, root: Path) -> None:
    hand_worked(root)
    submit(root, BASE, **made)
    text = render(read_board(root))["leaderboard/README.md"].decode()
    assert f"against {lacks}. (recall@10" in text
    assert f"multilingual QA against {lacks}:" in text


def test_a_checkpoint_is_not_independent_of_one_that_it_was_trained_from(root: Path) -> None:
    """Not even where nothing is said of the data."""
    measure(root, BASE, bitext(BASE))
    submit(root, BASE)
    for slug, base in (("a", BASE), ("b", BASE), ("c", "hand/b")):
        measure(root, f"hand/{slug}", bitext(ENGLISH))
        submit(root, f"hand/{slug}", base=base, objective="extractive-qa", languages=["en"])
    one = next(c for c in read_board(root).contrasts if c.difference is not None)
    assert one.a == ("a", "b", "c")
    assert one.difference is not None
    assert (one.claim, one.difference.evidence.checkpoints) == ("descriptive", (2, 1))


def test_what_each_answer_is_about(root: Path) -> None:
    """Three checkpoints of English QA are evidence of another kind than three seeds of NLI."""
    found = {BASE: 90, "hand/a": 39, "hand/b": 40, "hand/c": 41, "hand/n1": 60, "hand/n2": 61,
             "hand/n3": 62}  # fmt: skip
    for model, count in found.items():
        line = [1] * count + [0] * (100 - count)
        measure(root, model, {unit: hits(unit, line) for unit in ("de", "sw")})
        how: dict[str, object] = {"base": BASE, "languages": ["en"], "objective": "extractive-qa"}
        if model[-2] == "n":
            how |= {"objective": "nli", "recipe": "nli", "seed": int(model[-1])}
        submit(root, model, **(how if model != BASE else {}))
    text = render(read_board(root))["leaderboard/README.md"].decode()
    assert (
        "What each answer is about, in these languages. English QA − base: the kind of training on"
        " this base, from three independent checkpoints a side or more; English NLI − base: the"
        " recipes alone, of which a side has one." in text
    )


def test_a_recipe_on_another_base_is_no_further_seed(root: Path) -> None:
    """The third was trained from a checkpoint that was trained for QA already."""
    measure(root, BASE, bitext(BASE))
    submit(root, BASE)
    how = {"objective": "extractive-qa", "languages": ["en"]}
    submit(root, "hand/first", base=BASE, **how)
    for seed, base in ((1, BASE), (2, BASE), (3, "hand/first")):
        measure(root, f"hand/r-{seed}", bitext(ENGLISH))
        submit(root, f"hand/r-{seed}", base=base, recipe="r", seed=seed, **how)
    board = read_board(root)
    one = next(one for one in board.contrasts if one.difference is not None)
    assert one.a == ("r-1", "r-2", "r-3")
    assert one.claim == "descriptive"
    assert "2 checkpoints in 3 seeds against 1 checkpoint" in (
        render(board)["leaderboard/contrasts.md"].decode()
    )


def test_three_checkpoints_against_one_recipe_are_not_called_a_recipe(root: Path) -> None:
    """The base is not measured, so the first answer is multilingual QA against English QA."""
    submit(root, BASE)
    how = {"base": BASE, "objective": "extractive-qa"}
    for place, data in enumerate(("SQuAD", "MLQA", "FQuAD"), start=1):
        for model, more in (
            (f"hand/many-{place}", {"languages": ["de", "es"], "datasets": [data]}),
            (f"hand/en-{place}", {"languages": ["en"], "recipe": "en", "seed": place}),
        ):
            line = [1] * (50 + place) + [0] * (50 - place)
            measure(root, model, {unit: hits(unit, line) for unit in ("de", "sw")})
            submit(root, model, **how, **more)
    board = read_board(root)
    (one,) = [one for one in board.contrasts if one.difference is not None]
    assert one.claim == "recipe"
    text = unescape(render(board)["leaderboard/README.md"].decode())
    assert "intermediate training on multilingual QA" in text
    assert "one recipe of" not in text


def test_a_checkpoint_that_scores_as_its_base_is_named(root: Path) -> None:
    """Adapters that were never merged, say: the difference is exactly zero everywhere."""
    how = {"base": BASE, "objective": "extractive-qa", "languages": ["en"]}
    for model, count in ((BASE, 90), ("hand/unmerged", 90), ("hand/other", 89)):
        line = [1] * count + [0] * (100 - count)
        measure(root, model, {unit: hits(unit, line) for unit in ("de", "sw")})
        submit(root, model, **(how if model != BASE else {}))
    board = read_board(root)
    assert [(one.task, [e.slug for e in one.entries]) for one in board.alike] == [
        ("demo_bitext", ["base", "unmerged"])
    ]
    text = render(board)["leaderboard/README.md"].decode()
    assert "**Alike:** [hand/base](checkpoints/base.md) and [hand/unmerged](" in text
    assert ". The same score in every language" in text


def test_published_rows_are_never_ranked_or_scored(root: Path) -> None:
    board = read_board(hand_worked(root))
    published = {one.model for one in board.published}
    assert published
    assert not published & {row.entry.model for s in board.standings for row in s.rows}
    assert not published & set(board.scores.column("model").to_pylist())
    files = {name: content.decode() for name, content in render(board).items()
             if name.endswith(".md")}  # fmt: skip
    after = files["leaderboard/published.md"]
    assert all(model in after for model in published)
    assert not any(model in files["leaderboard/rankings.md"] for model in published)
    # A figure of another metric, split or protocol says so.
    assert "mAP without a cut" in after
    assert "## mGTE, Table 1 (XTREME-R)" in after
    assert (
        "| lareqa | map@20 | 11 | 75.26 | 63.43 | 72.13 | 71.54 | paragraphs are retrieved, not"
        in after
    )
    assert "| mewsli&#95;x (ar) | map@20 | 1 | 18.46 | 34.46 | — |" in after
    assert "| XLM-R large | mewsli&#95;x | map@20 | 51.72 | 11 |" in after


def test_stand_ins_are_said_to_be_no_evidence(root: Path) -> None:
    hand_worked(root)
    submit(root, ENGLISH, base=BASE, objective="extractive-qa", languages=["en"], stand_in=True)
    text = render(read_board(root))["leaderboard/README.md"].decode()
    assert "stand-ins made to try the board with" in text
    assert "hand/english-qa](checkpoints/english-qa.md) *(stand-in)*" in text


def test_a_stand_in_is_left_out_beside_a_checkpoint(root: Path) -> None:
    """It finds nothing; the difference is that of the checkpoint alone."""
    hand_worked(root)
    measure(root, "hand/tiny", {unit: hits(unit, [0, 0, 0, 0]) for unit in ("de", "sw")})
    submit(root, "hand/tiny", base=BASE, objective="extractive-qa", languages=["en"],
           stand_in=True)  # fmt: skip
    named = {one.name: one for one in read_board(root).contrasts if one.track == "frozen"}
    one = named["English QA − base"]
    assert (one.a, one.stand_ins) == (("english-qa",), False)
    assert one.left_out == (LeftOut("tiny", "a stand-in"),)
    assert one.verdict.estimate == pytest.approx(0.5)


def test_without_variants_the_answer_says_what_is_missing(root: Path) -> None:
    measure(root, BASE, bitext(BASE))
    submit(root, BASE)
    text = render(read_board(root))["leaderboard/README.md"].decode()
    assert "cannot be answered yet: no variant with its base is on the board" in text
    submit(root, ENGLISH, base=BASE, objective="extractive-qa", languages=["en"])
    files = render(read_board(root))
    text = files["leaderboard/README.md"].decode()
    assert "cannot be answered yet: English QA: not measured whole (frozen)" in text
    assert "[1 submission is not measured yet](pending.md)" in text
    assert "hand/english-qa" in files["leaderboard/pending.md"].decode()


def test_seeds_are_averaged(root: Path) -> None:
    for seed, line in ((0, [1, 1, 1, 1]), (1, [0, 0, 0, 0])):
        measure(root, BASE, {u: hits(u, line) for u in ("de", "sw")}, track="tuned", seed=seed)
    (row,) = read_board(root).standings[0].rows
    assert row.mean is not None
    assert row.mean.value == 0.5
    assert len(row.tasks["demo_bitext"].seeds) == 2


def test_broken_subset_is_flagged(root: Path) -> None:
    def rows(good: int, broken: str = "") -> Callable[[str], list[dict[str, Any]]]:
        return lambda unit: answers(unit, [0.0] * 20 if unit == broken else
                                    [1.0] * good + [0.0] * (20 - good))  # fmt: skip

    units = ("en", "de", "es", "ru", "ar", "hi", "zh", "sw")
    for name, line in (("a", rows(12)), ("b", rows(14)), ("c", rows(13, "hi")), ("d", rows(11))):
        measure(root, f"hand/{name}", {u: line(u) for u in units}, task="demo_qa", layer=None)
    text = render(read_board(root))["leaderboard/coverage.md"].decode()
    (line,) = [
        line
        for line in text[text.index("## To look into") :].splitlines()
        if line.startswith("| own-head")
    ]
    assert "hand&#95;&#95;c-" in line
    assert "| hi | 0.0 |" in line


def test_several_processes_fold_as_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(4):
        rows = {"en": answers("en", [1.0, 0.5, number / 4])}
        measure(tmp_path, f"hand/{number}", rows, task="demo_qa", layer=None)
    results = tmp_path / "leaderboard/results"
    alone = fold_all(results).folded
    monkeypatch.setattr(gather, "FEW", 1)
    monkeypatch.setattr(gather.os, "cpu_count", lambda: 2)
    several = fold_all(results).folded
    assert [name for _, name in several] == [name for _, name in alone]
    assert all(a.table.equals(b.table) for (a, _), (b, _) in zip(alone, several, strict=True))


SCRIPT = """
import sys
from pathlib import Path
from harness.analysis import gather

print("begins")
gather.FEW, gather.os.cpu_count = 1, lambda: 2
print(len(gather.fold_all(Path(sys.argv[1])).folded))
"""


def test_a_script_without_a_guard_is_not_run_again_by_the_processes(tmp_path: Path) -> None:
    """They are spawned, and a spawned process imports the main module of the one it is from."""
    for number in range(4):
        rows = {"en": answers("en", [1.0, number / 4])}
        measure(tmp_path, f"hand/{number}", rows, task="demo_qa", layer=None)
    (tmp_path / "script.py").write_text(SCRIPT)
    command = [sys.executable, tmp_path / "script.py", tmp_path / "leaderboard/results"]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    ran = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert (ran.returncode, ran.stdout) == (0, "begins\n4\n"), ran.stderr


@pytest.mark.parametrize(("tasks", "shown"), [(("a",), 1), (("a", "b"), 1), (("a", "c"), 0)])
def test_a_native_row_is_a_reference_for_the_tasks_that_it_has(
    tasks: tuple[str, ...], shown: int
) -> None:
    def measured(value: float) -> Any:
        return SimpleNamespace(macro=SimpleNamespace(value=value), missing=())

    best = SimpleNamespace(
        mean=SimpleNamespace(value=0.9), entry=SimpleNamespace(title="Best"),
        tasks={task: measured(0.9) for task in tasks},
    )  # fmt: skip
    frozen: Any = SimpleNamespace(track="frozen", metric="recall@10", tasks=("a", "b"), rows=())
    native: Any = SimpleNamespace(track="native", metric="recall@10", tasks=tasks, rows=(best,))
    found = rankings._references(frozen, [native])
    wanted = ("reference: Best under its own (native) protocol", dict.fromkeys(tasks, 0.9))
    assert found == [wanted] * shown
