"""A folder of tasks in which the demo task of sentence pairs has two languages."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.analysis import published, results
from harness.cards import catalogue, languages, source_files
from harness.cards.languages import task_root

CACHED = (
    catalogue._read_card, catalogue.read_suites, source_files.read_checksums, results.board_units
)  # fmt: skip


@pytest.fixture
def two_languages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """`demo_bitext` in German and Swahili alone."""
    folder = tmp_path / "tasks"
    shutil.copytree(task_root(), folder)
    card = folder / "target" / "demo_bitext.yaml"
    text = card.read_text(encoding="utf-8")
    whole = "languages: [de, es, ru, ar, hi, zh, sw]"
    assert whole in text
    card.write_text(text.replace(whole, "languages: [de, sw]"), encoding="utf-8")
    for module in (catalogue, languages, published):
        monkeypatch.setattr(module, "task_root", lambda: folder)
    for function in CACHED:
        function.cache_clear()
    yield
    monkeypatch.undo()
    for function in CACHED:
        function.cache_clear()


@pytest.fixture
def root(tmp_path: Path, two_languages: None) -> Path:
    """An empty root of a board."""
    folder = tmp_path / "root"
    folder.mkdir()
    return folder


@pytest.fixture(scope="module", autouse=True)
def _by_hand(rows_by_hand: None) -> None:
    """The boards of these tests are of rows by hand."""
