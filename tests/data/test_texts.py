"""A text that UTF-8 cannot hold costs its language, is named, and costs no other."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from harness.cards.catalogue import read_card
from harness.data import layout
from harness.data.examples import Bitext, Mining, Query, Question, QuestionSet, Retrieval
from harness.data.load import DataLocation, load
from harness.data.texts import unreadable
from harness.errors import DataError
from tests.mini_xtreme import lay_data

HALF = "\ud800"
BYTES = b"\xed\xa0\x80"  # the same, as some programs write it


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Invented data; so that the official checksums do not hold."""
    monkeypatch.setattr(layout, "read_checksums", dict)
    lay_data(tmp_path / "data")
    return tmp_path / "data"


def file_of(data: Path, task: str, unit: str, role: str) -> Path:
    card = read_card(task)
    return data / card.fill(card.source.splits[card.split].files[role].path, unit)


def spoil(path: Path, field: str) -> None:
    """Half a pair at the end of the first value under a key, at any depth."""

    def first(value: Any) -> bool:
        if isinstance(value, dict):
            if isinstance(value.get(field), str):
                value[field] += HALF
                return True
            return any(first(item) for item in value.values())
        return isinstance(value, list) and any(first(item) for item in value)

    content = json.loads(path.read_text(encoding="utf-8"))
    assert first(content)
    path.write_text(json.dumps(content), encoding="utf-8")


@pytest.mark.parametrize(
    ("task", "bad", "good", "field", "identifier"),
    [
        ("xquad", "de", "el", "question", "xquad-0-0"),
        ("xquad", "de", "el", "context", "xquad-0-0"),
        ("xquad", "de", "el", "id", "xquad-0-0"),
        ("xquad", "de", "el", "text", "xquad-0-0"),
        ("tydiqa", "ru", "fi", "context", "tydiqa-0-0"),
        ("mlqa", "de-de", "ar-ar", "question", "mlqa-0-0"),
    ],
)
def test_a_field_of_questions(
    data: Path, task: str, bad: str, good: str, field: str, identifier: str
) -> None:
    card = read_card(task)
    bad, good = (unit if unit in card.languages else unit.split("-")[0] for unit in (bad, good))
    path = file_of(data, task, bad, "questions")
    spoil(path, field)
    loaded = load(card, None, (bad, good), DataLocation(data, data, offline=True))
    assert list(loaded.broken) == [bad]
    assert path.name in loaded.broken[bad]
    assert identifier in loaded.broken[bad]
    assert loaded.examples[good].questions  # type: ignore[index]
    names = [Path(name).name for name in loaded.files]
    assert path.name not in names  # it may be put right, and nothing else is then other data
    with pytest.raises(DataError, match=identifier):
        load(card, None, (bad,), DataLocation(data, data, offline=True))


@pytest.mark.parametrize(("task", "role"), [("tatoeba", "source"), ("bucc2018", "source")])
def test_bytes_in_lines(data: Path, task: str, role: str) -> None:
    path = file_of(data, task, "de", role)
    lines = path.read_bytes().splitlines()
    lines[2] += BYTES
    path.write_bytes(b"\n".join(lines) + b"\n")
    loaded = load(read_card(task), None, ("de", "fr"), DataLocation(data, data, offline=True))
    assert list(loaded.broken) == ["de"]
    assert f"{path.name}:3: not UTF-8" in loaded.broken["de"]
    assert "fr" in loaded.examples  # type: ignore[operator]


def test_a_wrong_checksum_costs_its_language_alone(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = file_of(data, "xquad", "de", "questions").relative_to(data).as_posix()
    monkeypatch.setattr(layout, "read_checksums", lambda: {path: "0" * 64})
    loaded = load(read_card("xquad"), None, ("de", "el"), DataLocation(data, data, offline=True))
    assert list(loaded.broken) == ["de"]
    assert "the official file's is 000000000000" in loaded.broken["de"]
    assert list(loaded.examples) == ["el"]


def test_where_a_text_is_looked_for() -> None:
    pair = Bitext("de", ("ja", "nein"), ("yes", f"no{HALF}"))
    assert list(unreadable({"de": pair, "fr": Bitext("fr", ("oui",), ("yes",))})) == ["de"]
    assert "sentence 2 in English" in unreadable({"de": pair})["de"]
    mined = Mining("de", "test", {"s1": f"{HALF}a"}, {"e1": "b"}, frozenset({("s1", "e1")}))
    assert "the sentence s1" in unreadable({"de": {"test": mined}})["de"]
    one = Question("q1", "why", "because", ("be", f"{HALF}cause"), "c")
    assert "the question q1" in unreadable({"de": QuestionSet("de", "de", (one,))})["de"]
    asked = {
        "de": (Query("q1", f"wo{HALF}", "c", (0,)),),
        "fr": (Query("q2", "où", "c", (0,)),),
    }
    pool = Retrieval(("c0",), ("here",), ("en",), asked)
    assert list(unreadable(pool)) == ["de"]
    assert "the query q1" in unreadable(pool)["de"]
    assert "" in unreadable(Retrieval(("c0",), (f"here{HALF}",), ("en",), asked))
    assert unreadable({}) == {}
