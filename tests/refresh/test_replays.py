"""Rows that others sent: a sample is measured again before they count."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from random import Random
from typing import Any

import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner, Result

from harness.cli import app
from harness.errors import DataError, IncompleteError
from harness.evaluation.models import find_checkpoint
from harness.evaluation.options import Options, make_request
from harness.refresh.fitting import Limits
from harness.refresh.rebuild import check_failures, rebuild
from harness.refresh.refresh import Refresh
from harness.refresh.replays import begin
from harness.refresh.worker import Ended, read_notes
from harness.results.outcomes import OutcomeFile, find
from harness.results.provenance import Origin, measuring, note, origin_of, read_origins

TASKS = ("demo_bitext", "demo_passages")
Edit = Callable[[dict[str, Any]], dict[str, Any]]


def command(*words: object) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words])


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> Path:
    root = tmp_path_factory.mktemp("measured")
    (root / "submissions").mkdir()
    revision = find_checkpoint("xharness/demo", cache, offline=True).revision
    text = f"model: xharness/demo\nrevision: {revision}\nobjective: none\n"
    (root / "submissions" / "demo.yaml").write_text(text)
    words = [word for task in TASKS for word in ("--task", task)]
    out = root / "leaderboard" / "results"
    done = command("eval", "xharness/demo", *words, "--out", out, "--cache-dir", cache, "-q")
    assert done.exit_code == 0, done.output
    return root


@pytest.fixture
def results(measured: Path, tmp_path: Path) -> Path:
    """A board on which the demo's rows of two tasks lie, and nothing says who measured them."""
    return shutil.copytree(measured, tmp_path / "root") / "leaderboard" / "results"


class Worker:
    """The evaluation, in this process."""

    def __init__(self) -> None:
        self.calls: list[list[str]] = []

    def __call__(self, arguments: Sequence[str], *, cache: Path, **_: Any) -> Ended:
        words = list(arguments)
        self.calls.append(words)
        done = command("eval", *words, "--offline", "--format", "json", "--cache-dir", cache)
        return Ended(done.exit_code, done.stderr[-200:], read_notes(done.stdout.encode()))


def refreshed(results: Path, cache: Path, worker: Any = None, **options: Any) -> Refresh:
    root = results.parents[1]
    made = Refresh(
        root=root,
        request=make_request(Options(suite="demo", cache_dir=cache, device="cpu", offline=True)),
        limits=Limits(memory=None),
        cache_dir=cache,
        evaluate=worker or Worker(),
        say=lambda line: None,
        draw=Random(0),
        **options,
    )
    for _ in made.run():
        pass
    rebuild(root, cache=cache / "board")
    return made


def board(results: Path) -> dict[str, tuple[str, str]]:
    """Task → provenance and note on the board."""
    rows = pq.read_table(results.parent / "scores.parquet").to_pylist()
    return {row["task"]: (row["provenance"], row["note"]) for row in rows}


def rows_of(results: Path, task: str) -> OutcomeFile:
    return next(file for file in find(results) if file.path.name.startswith(f"{task}."))


def forge(file: OutcomeFile, edit: Edit) -> None:
    """Change every row of a file, consistently with all that can be checked."""
    schema = pq.read_schema(file.path)
    units = [file.read(unit) for unit in file.meta()["languages"]]
    with pq.ParquetWriter(file.path, schema) as writer:
        for table in units:
            writer.write_table(
                type(table).from_pylist([edit(r) for r in table.to_pylist()], schema)
            )


def best(row: dict[str, Any]) -> dict[str, Any]:
    tops = [row["example_id"], *(name for name in row["top_ids"] if name != row["example_id"])]
    return row | {"ranks": [1], "top_ids": tops[:10]}


def test_a_board_without_a_list_is_its_owners(results: Path, cache: Path) -> None:
    root = results.parents[1]
    assert command("leaderboard", "--root", root, "--cache-dir", cache).exit_code == 0
    assert board(results) == dict.fromkeys(TASKS, ("measured", ""))
    assert read_origins(results) is None


def test_what_holds_is_replicated_and_ranked(results: Path, cache: Path) -> None:
    worker = Worker()
    made = refreshed(results, cache, worker)
    check_failures(made)
    found = board(results)
    assert [found[task] for task in TASKS] == [("replicated", "")] * 2
    assert found["demo_mining"] == ("measured", "")  # by this refresh
    again = [call for call in worker.calls if str(results) not in call]
    assert [call.count("--lang") for call in again] == [3, 3]
    origins = read_origins(results) or {}
    assert sorted(len(one.languages) for one in origins.values()) == [0, 3, 3]
    coverage = (results.parent / "coverage.md").read_text()
    assert "1 of 3 measured, 2 of 3 replicated" in coverage or "2 of 3 replicated" in coverage
    readme = (results.parent / "README.md").read_text()
    assert "1 measured here, 2 sent by others and replicated" in readme
    assert "measured again" in (results.parent / "index.html").read_text()
    worker.calls.clear()
    before = (results.parent / "provenance.json").read_bytes()
    refreshed(results, cache, worker)
    assert worker.calls == []
    assert (results.parent / "provenance.json").read_bytes() == before


def test_what_is_forged_stays_unranked_and_is_named(results: Path, cache: Path) -> None:
    forge(rows_of(results, "demo_bitext"), best)
    worker = Worker()
    made = refreshed(results, cache, worker)
    with pytest.raises(IncompleteError, match=r"demo_bitext: measured again, .* differs"):
        check_failures(made)
    found = board(results)
    provenance, why = found["demo_bitext"]
    assert provenance == "unreplicated"
    assert why.startswith("unreplicated: measured again, ")
    assert found["demo_passages"] == ("replicated", "")
    rows = pq.read_table(results.parent / "scores.parquet").to_pylist()
    assert {row["provenance"] for row in rows if row["note"]} == {"unreplicated"}
    assert "not replicated and so not ranked" in (results.parent / "README.md").read_text()
    calls = len(worker.calls)
    check_failures(refreshed(results, cache, worker))  # known, and not tried again
    assert len(worker.calls) == calls
    assert made.items()[0].state == "failed"
    refreshed(results, cache, worker, chosen=("demo",))  # unless it is named
    assert len(worker.calls) == calls + 1


def test_rows_that_change_later_are_nobodys(results: Path, cache: Path) -> None:
    refreshed(results, cache)
    forge(rows_of(results, "demo_mining"), lambda row: row)
    root = results.parents[1]
    assert command("leaderboard", "--root", root, "--cache-dir", cache).exit_code == 0
    assert board(results)["demo_mining"][0] == "unreplicated"
    words = ("verify", "--root", root, "--replay", 99, "--model", "xharness/demo", "--cache-dir")
    assert command(*words, cache, "--seed", 1).exit_code == 0
    assert command("leaderboard", "--root", root, "--cache-dir", cache).exit_code == 0
    assert board(results)["demo_mining"][0] == "replicated"
    rows_of(results, "demo_mining").remove()
    words = ("eval", "xharness/demo", "--task", "demo_mining", "--out", results, "-q")
    assert command(*words, "--cache-dir", cache).exit_code == 0
    assert command("leaderboard", "--root", root, "--cache-dir", cache).exit_code == 0
    assert board(results)["demo_mining"] == ("measured", "")


@pytest.mark.parametrize(
    "ended",
    [Ended(137, "the evaluation was ended by SIGKILL", {}), Ended(5, "the disk is full", {})],
)
def test_what_cannot_be_measured_again_is_tried_the_next_time(
    results: Path, cache: Path, ended: Ended
) -> None:
    root = results.parents[1]
    made = refreshed(results, cache, lambda *_, **__: ended)
    assert list(made.items()[0].replays.values()) == list(TASKS), made.items()
    assert {board(results)[task][0] for task in TASKS} == {"unreplicated"}
    refreshed(results, cache)
    assert {board(results)[task][0] for task in TASKS} == {"replicated"}
    assert command("verify", "--root", root).exit_code == 0


def test_rows_of_folders_that_were_there_before_the_list_are_the_owners(
    results: Path, cache: Path
) -> None:
    for text in ("first", "second"):
        folder = rows_of(results, "demo_bitext").path.parent
        file = OutcomeFile(
            folder.parent.with_name(f"local__{text}") / "0123456789ab" / "x.y.parquet"
        )
        file.path.parent.mkdir(parents=True)
        meta = rows_of(results, "demo_bitext").meta() | {
            "model": text,
            "revision": "local:0123456789ab",
        }
        table = rows_of(results, "demo_bitext").read("de")
        schema = table.schema.with_metadata({b"xharness": json.dumps(meta | {"languages": ["de"]})})
        pq.write_table(table.cast(schema), file.path)
        assert len(begin(results)) == (text == "first")
        note(results, {})
        expected = "measured" if text == "first" else "unreplicated"
        assert origin_of(file, results, read_origins(results)).provenance == expected
        file.path.unlink()


def test_a_file_that_languages_are_added_to_stays_what_it_was(tmp_path: Path) -> None:
    results = tmp_path / "leaderboard" / "results"
    sent, own = (results / "org__m" / "0123" / f"{name}.0.parquet" for name in ("sent", "own"))
    sent.parent.mkdir(parents=True)
    with measuring(results):  # no list, so nothing is noted
        sent.write_bytes(b"1")
    assert read_origins(results) is None
    pulled = results / "org__other" / "0123" / "pulled.0.parquet"
    pulled.parent.mkdir(parents=True)
    with measuring(results, begin=True) as written:
        own.write_bytes(b"1")
        sent.write_bytes(b"2")
        pulled.write_bytes(b"1")  # by another process
        written |= {own, sent}
    with measuring(results) as written:
        own.write_bytes(b"2")
        written.add(own)
    origins = read_origins(results)
    assert origin_of(OutcomeFile(own), results, origins).provenance == "measured"
    assert origin_of(OutcomeFile(sent), results, origins).provenance == "unreplicated"
    assert origin_of(OutcomeFile(pulled), results, origins).provenance == "unreplicated"
    own.unlink()
    note(results, {"org__m/0123/gone.0.parquet": Origin()})
    assert list(read_origins(results) or {}) == ["org__m/0123/sent.0.parquet"]


@pytest.mark.parametrize("text", ["[]", '{"a": 1}', '{"a": {"provenance": "honest"}}', "{"])
def test_a_list_that_does_not_fit_is_one_line(tmp_path: Path, text: str) -> None:
    (tmp_path / "provenance.json").write_text(text)
    with pytest.raises(DataError, match=r"provenance\.json: .*restore it from the history"):
        read_origins(tmp_path / "results")


WORDS: Mapping[str, Origin] = {
    "measured": Origin(),
    "replicated (de, sw measured again)": Origin(provenance="replicated", languages=["de", "sw"]),
    "unreplicated: no sample of these rows was measured again": Origin(provenance="unreplicated"),
    "unreplicated: de differs": Origin(provenance="unreplicated", reason="de differs"),
}


@pytest.mark.parametrize("words", WORDS)
def test_an_origin_in_words(words: str) -> None:
    assert str(WORDS[words]) == words
