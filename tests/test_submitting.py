"""A checkpoint's submission: vetted over the network, the card's facts, conversion requests."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.submission import Submission, read_submissions
from harness.submitting import Stated, propose, write
from tests.checkpoints import build
from tests.hub.inprocess import point
from tests.hub.server import Hub

QA = Stated(objective="extractive-qa", languages=("en",), datasets=("SQuAD v1.1",))
BOT = "SFconvertbot"
TITLE = "Adding `safetensors` variant of this model"


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build("xlm-roberta", tmp_path_factory.mktemp("tiny") / "tiny", qa_head=True)


@pytest.fixture(scope="module")
def served() -> Iterator[Hub]:
    with Hub() as server:
        yield server


@pytest.fixture
def hub(served: Hub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Hub:
    served.repositories.clear()
    served.requests.clear()
    served.failures.clear()
    served.pulls.clear()
    served.ranges = True
    point(monkeypatch, served, tmp_path / "home")
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    return served


def files_of(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def pickled(folder: Path) -> dict[str, bytes]:
    """The same repository as one that was never converted."""
    files = files_of(folder)
    del files["model.safetensors"]
    return files | {"pytorch_model.bin": b"\x80\x02}."}


def test_written_pinned_and_without_the_weights(hub: Hub, tiny: Path, tmp_path: Path) -> None:
    base = hub.add("org/base", tiny)
    commit = hub.add("org/tiny", tiny)
    stated = Stated(
        objective="extractive-qa", base="org/base", languages=("eng", "de"),
        datasets=("SQuAD v1.1",), licence="mit", notes=("no: a colon",),
    )  # fmt: skip
    proposal = propose("org/tiny", stated, tmp_path)
    assert not proposal.path.exists()
    write(proposal)
    (slug, found), = read_submissions(tmp_path / "submissions").items()  # fmt: skip
    assert slug == "org__tiny"
    assert found == Submission(
        model="org/tiny", revision=commit, base="org/base", base_revision=base,
        objective="extractive-qa", languages=["en", "de"], datasets=["SQuAD v1.1"],
        licence="mit", notes=["no: a colon"],
    )  # fmt: skip
    assert [path.name for path in (tmp_path / "submissions").iterdir()] == ["org__tiny.yaml"]
    assert stat.S_IMODE(proposal.path.stat().st_mode) == 0o644
