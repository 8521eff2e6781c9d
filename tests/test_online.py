"""`make online-check` against a loopback Hub: what it says of every kind of difference."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from harness.cards.catalogue import read_card
from harness.cards.task import TaskCard
from harness.cards.training import IntermediateCard, read_intermediate
from harness.errors import UsageError
from harness.submissions.submission import Submission
from tests.checkpoints import build
from tests.hub.server import Hub
from tests.online import Finding, check_submission, check_task, check_training, findings, main

pytestmark = pytest.mark.usefixtures("asks_hub")
DATA = "cambridgeltl/xcopa"
COMMIT = "c" * 40


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build("xlm-roberta", tmp_path_factory.mktemp("tiny") / "tiny")


def parquet(rows: int, *, without: str = "") -> bytes:
    """Questions as the Hub has XCOPA's, and COPA's."""
    columns: dict[str, list[Any]] = {
        "premise": ["The man laughed."] * rows,
        "choice1": ["It was funny."] * rows,
        "choice2": ["It was sad."] * rows,
        "question": ["cause"] * rows,
        "label": [0] * rows,
        "idx": list(range(rows)),
    }
    columns.pop(without, None)
    sink = io.BytesIO()
    pq.write_table(pa.table(columns), sink)
    return sink.getvalue()


def xcopa(revision: str | None = None) -> TaskCard:
    """The card of XCOPA with two languages of two questions each."""
    card = read_card("xcopa")
    split = card.source.splits["test"]
    assert split.hub is not None
    mirror = split.hub.model_copy(update={"revision": revision})
    splits = {"test": split.model_copy(update={"hub": mirror})}
    return card.model_copy(update={
        "languages": ["it", "sw"],
        "counts": {"test": {"it": 2, "sw": 2}},
        "source": card.source.model_copy(update={"splits": splits}),
    })  # fmt: skip


def copa() -> IntermediateCard:
    return read_intermediate("copa_en")


def name(lang: str) -> str:
    return f"{lang}/test-00000-of-00001.parquet"


def whole(hub: Hub, **changed: bytes) -> None:
    files = {lang: parquet(2) for lang in ("it", "sw")} | changed
    hub.add(DATA, {name(lang): data for lang, data in files.items() if data}, kind="datasets",
            commit=COMMIT)  # fmt: skip


def said(found: Iterator[Finding]) -> str:
    return "\n".join(map(str, found))


@pytest.mark.parametrize("revision", [None, COMMIT])
def test_a_data_set_as_its_card_says(hub: Hub, tmp_path: Path, revision: str | None) -> None:
    whole(hub)
    assert said(check_task(xcopa(revision), tmp_path / "cache")) == ""


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        (
            {"it": b""},
            "differs: tasks/target/xcopa.yaml, test, cambridgeltl/xcopa: 0 files match it/",
        ),
        ({"it": parquet(2, without="choice2")}, "choice2"),
        ({"it": parquet(3), "sw": parquet(1)}, "xcopa it has 3 of 2 questions"),
        ({"it": parquet(3), "sw": parquet(1)}, "xcopa sw has 1 of 2 questions"),
    ],
    ids=["file", "column", "count", "the other count"],
)
def test_files_columns_and_counts(
    hub: Hub, tmp_path: Path, changed: dict[str, bytes], expected: str
) -> None:
    whole(hub, **changed)
    text = said(check_task(xcopa(), tmp_path / "cache"))
    assert expected in text
    assert all(line.startswith("differs: ") for line in text.splitlines())


def test_id_and_revision(hub: Hub, tmp_path: Path) -> None:
    text = said(check_task(xcopa(), tmp_path / "cache"))
    assert text.startswith(f"differs: tasks/target/xcopa.yaml, test, {DATA}: {DATA} is not on ")
    whole(hub)
    text = said(check_task(xcopa("d" * 40), tmp_path / "cache"))
    assert f"has no revision '{'d' * 40}'" in text


def test_what_the_hub_does_not_say_is_no_difference(hub: Hub, tmp_path: Path) -> None:
    whole(hub)
    hub.fail("/api/datasets", 403)
    text = said(check_task(xcopa(), tmp_path / "cache"))
    assert text.startswith("not checked: tasks/target/xcopa.yaml")


def test_another_name(hub: Hub, tmp_path: Path) -> None:
    whole(hub)
    hub.repositories["datasets", "org/new"] = hub.repositories.pop(("datasets", DATA))
    hub.renamed[DATA] = "org/new"
    assert f"{DATA}: is called org/new now" in said(check_task(xcopa(), tmp_path / "cache"))


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        (parquet(400), ""),
        (parquet(400, without="premise"), "premise"),
        (parquet(399), "has 399 of 400 examples"),
        (None, "0 files match copa/train-*.parquet"),
    ],
)
def test_training_data(hub: Hub, tmp_path: Path, rows: bytes | None, expected: str) -> None:
    files = {"README.md": b"x"} | ({"copa/train-0.parquet": rows} if rows else {})
    hub.add("aps/super_glue", files, kind="datasets")
    text = said(check_training(copa(), tmp_path / "cache"))
    assert expected in text
    assert bool(text) == bool(expected)


def submission(**fields: Any) -> Submission:
    return Submission.model_validate({"model": "org/tiny", "objective": "none"} | fields)


def test_a_submission(hub: Hub, tiny: Path) -> None:
    commit = hub.add("org/tiny", tiny)
    base = hub.add("org/base", {"README.md": b"base"})
    fine = submission(revision=commit, base="org/base", base_revision=base, objective="nli",
                      languages=["en"], datasets=["x"])  # fmt: skip
    assert said(check_submission("own", fine)) == ""
    lost = fine.model_copy(update={"revision": "a" * 40})
    assert f"differs: submissions/own.yaml: org/tiny has no revision '{'a' * 40}'" in said(
        check_submission("own", lost)
    )
    gone = fine.model_copy(update={"base": "org/gone"})
    assert "differs: submissions/own.yaml: org/gone is not on " in said(
        check_submission("own", gone)
    )
    moved = fine.model_copy(update={"conversion": "refs/pr/7"})
    hub.add("org/tiny", {"model.safetensors": b"x"}, branch="refs/pr/7")
    assert f"at refs/pr/7, not {commit}" in said(check_submission("own", moved))


def test_pickles_alone_are_named(hub: Hub) -> None:
    hub.add("org/tiny", {"config.json": b"{}", "pytorch_model.bin": b"x"})
    text = said(check_submission("own", submission()))
    assert "differs: submissions/own.yaml: org/tiny has only pickles" in text


def test_a_local_checkpoint_is_asked_nothing(hub: Hub) -> None:
    local = submission(model="tiny", revision=f"local:{'0' * 64}")
    assert said(check_submission("own", local)) == ""
    assert hub.requests == []


def test_exit_codes(hub: Hub, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = {"copa/train-0.parquet": parquet(400)}
    hub.add("aps/super_glue", files, kind="datasets")
    assert main(["copa_en"], tmp_path / "a", {}) == 0
    hub.fail("/api/datasets", 403)
    assert main(["copa_en"], tmp_path / "b", {}) == 5
    hub.repositories.clear()
    assert main(["copa_en"], tmp_path / "c", {"own": submission()}) == 6
    printed = capsys.readouterr()
    assert [line.split(":")[0] for line in printed.out.splitlines()] == ["not checked", "differs"]
    assert "1 differences, 0 not checked" in printed.err


def test_an_unknown_name(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="copa_em"):
        list(findings(["copa_em"], tmp_path, {}))
