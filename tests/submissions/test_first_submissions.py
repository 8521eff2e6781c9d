"""The submissions that this repository comes with: valid, pending, and readable on the board."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from harness.board.build import leaderboard
from harness.submissions.folder import read_submissions
from harness.submissions.problems import problems
from harness.submissions.submission import Submission, contamination

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def submitted() -> dict[str, Submission]:
    return read_submissions(ROOT / "submissions")


def test_no_file_has_a_problem() -> None:
    files = sorted((ROOT / "submissions").iterdir())
    assert len(files) >= 30
    assert problems(files) == []


def test_the_pending_are_named_after_their_model_with_evidence(
    submitted: dict[str, Submission],
) -> None:
    pending = {slug: one for slug, one in submitted.items() if one.pending}
    assert pending
    for slug, one in pending.items():
        assert slug == one.model.replace("/", "__")
        assert one.notes, f"{slug} says nothing of its evidence"


def test_chains_of_bases_carry_contamination(submitted: dict[str, Submission]) -> None:
    expected = {
        "PrimeQA__squad-v1-xlm-roberta-large": set(),
        "PrimeQA__nq_tydi-reader-xlmr_large-20221210": {"tydiqa"},
        "mrm8488__bert-multi-cased-finedtuned-xquad-tydiqa-goldp": {"xquad", "lareqa", "tydiqa"},
        "castorini__mdpr-tied-pft-msmarco-ft-all": set(),
        "joeddav__xlm-roberta-large-xnli": {"xnli"},
    }
    for slug, tasks in expected.items():
        assert contamination(slug, submitted) == tasks


def test_every_base_is_submitted_too(submitted: dict[str, Submission]) -> None:
    """A contrast needs the base on the board as well."""
    models = {one.model for one in submitted.values()}
    assert {one.base for one in submitted.values() if one.base and one.pending} <= models


def test_the_board_renders_with_them(submitted: dict[str, Submission], tmp_path: Path) -> None:
    shutil.copytree(ROOT / "submissions", tmp_path / "submissions")
    leaderboard(tmp_path)
    text = (tmp_path / "leaderboard" / "pending.md").read_text(encoding="utf-8")
    waiting = text.partition("# Submitted, not measured yet")[2]
    rows = [line for line in waiting.splitlines() if line.startswith("| ")][2:]
    assert len(rows) == len(submitted)
    bases = [row.split(" | ")[0].removeprefix("| ") for row in rows]
    assert bases == sorted(bases, key=str.lower)
    first = rows[bases.index("FacebookAI/xlm-roberta-large")]
    assert "| none | [FacebookAI/xlm-roberta-large]" in first  # the base itself comes first
    pages = list((tmp_path / "leaderboard" / "checkpoints").glob("*.md"))
    assert {page.stem for page in pages} == set(submitted)
    assert leaderboard(tmp_path, check=True) == []
