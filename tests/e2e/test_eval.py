"""`xharness eval` on the demo suite: files, scores, resume, and what a person sees."""

from __future__ import annotations

import json
import os
import shutil
import signal
from pathlib import Path
from tempfile import TemporaryFile

import numpy as np
import pyarrow.parquet as pq
import pytest

import harness
from harness.results.outcomes import find, read_meta
from tests import forked
from tests.checkpoints import build, build_sentence_transformer
from tests.e2e.conftest import Run, interrupted
from tests.forked import Fork

DEMO = ("eval", "xharness/demo", "--suite", "demo")


@pytest.fixture(scope="module")
def results(run: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An undisturbed run of the demo suite."""
    out = tmp_path_factory.mktemp("results")
    ran = run(*DEMO, "--out", out)
    assert ran.code == 0, ran.stderr
    return out


def rows(folder: Path) -> dict[str, list[dict[str, object]]]:
    """Task → its rows, of every finished file."""
    return {
        file.path.name.split(".")[0]: pq.read_table(file.path).to_pylist() for file in find(folder)
    }


def test_a_run_leaves_one_file_a_task_with_one_row_an_example(results: Path) -> None:
    found = rows(results)
    assert sorted(found) == ["demo_bitext", "demo_mining", "demo_passages"]
    assert len(found["demo_bitext"]) == 7 * 2 * 60  # languages × directions × sentences
    assert len(found["demo_passages"]) == 8 * 36  # languages × questions
    assert all(row["relevant"] == 8 for row in found["demo_passages"])
    assert not list(results.rglob("*.parts"))


def test_the_score_is_the_fold_over_the_rows(results: Path) -> None:
    table = harness.scores(results).to_pylist()
    found = rows(results)["demo_passages"]
    german = [row for row in found if row["lang"] == "de"]
    expected = np.mean([sum(rank <= 10 for rank in row["ranks"]) / 8 for row in german])
    scored = {
        (row["task"], row["lang"], row["metric"]): row["value"]
        for row in table
        if row["direction"] not in ("xx-en", "de-en")
    }
    assert scored["demo_passages", "de", "recall@10"] == pytest.approx(expected, abs=1e-12)
    languages = ("ar", "de", "en", "es", "hi", "ru", "sw", "zh")
    assert scored["demo_passages", "macro", "recall@10"] == pytest.approx(
        np.mean([scored["demo_passages", lang, "recall@10"] for lang in languages]), abs=1e-12
    )


def test_the_demo_checkpoint_finds_translations_far_above_chance(results: Path) -> None:
    macro = [
        row["value"]
        for row in harness.scores(results).to_pylist()
        if row["task"] == "demo_bitext" and row["lang"] == "macro" and row["metric"] == "recall@10"
    ]
    assert len(macro) == 2  # both directions
    assert min(macro) > 0.3  # chance is 10 of 60


def test_metadata_says_all_that_was_decided(results: Path) -> None:
    meta = read_meta(next(results.rglob("demo_passages.*.parquet")))
    assert meta["revision"].startswith("local:")
    assert meta["resolved"]["layer"] == 4  # of 4: min(4, 4 // 2 + 2)
    assert meta["resolved"]["lengths"] == {"document": 256, "query": 96}
    assert (meta["track"], meta["dtype"], meta["limit"]) == ("frozen", "float32", None)
    assert meta["libraries"]["torch"]
    assert set(meta["timing"]) == set(meta["languages"])


def test_a_second_run_does_nothing_and_says_the_same(run: Run, results: Path) -> None:
    files = {file.path: file.path.stat().st_mtime_ns for file in find(results)}
    again = run(*DEMO, "--out", results)
    assert again.code == 0
    assert "done already" in again.stderr
    assert {file.path: file.path.stat().st_mtime_ns for file in find(results)} == files


def test_the_same_command_elsewhere_gives_the_same_rows(
    run: Run, results: Path, tmp_path: Path
) -> None:
    # --fresh also leaves the stored vectors aside: everything is computed again.
    assert run(*DEMO, "--out", tmp_path, "--fresh").code == 0
    assert rows(tmp_path) == rows(results)


def test_python_gives_the_same_scores(results: Path, cache: Path, tmp_path: Path) -> None:
    table = harness.evaluate(
        "xharness/demo", tasks="demo_passages", out=tmp_path, cache_dir=cache, offline=True
    )
    shown = [row for row in harness.scores(results).to_pylist() if row["task"] == "demo_passages"]
    assert table.to_arrow().to_pylist() == shown


def test_json_on_stdout_and_nothing_else(run: Run, results: Path) -> None:
    ran = run(*DEMO, "--out", results, "--format", "json")
    values = json.loads(ran.stdout)
    assert {row["task"] for row in values} == {
        "demo_bitext",
        "demo_mining",
        "demo_passages",
        "demo_qa",
        "demo_pairs",
        "demo_choices",
        "demo_tags",
    }
    quiet = run(*DEMO, "--out", results, "--format", "json", "--quiet")
    assert quiet.stderr == ""
    assert json.loads(quiet.stdout) == values


def test_a_checkpoint_without_a_head_says_so_and_is_no_failure(run: Run, results: Path) -> None:
    ran = run(*DEMO, "--task", "demo_qa", "--out", results)
    assert ran.code == 0
    assert "no QA head" in ran.stdout
    assert "--finetune" in ran.stdout


def test_a_checkpoint_with_a_head_answers(run: Run, tmp_path: Path) -> None:
    model = build("xlm-roberta", tmp_path / "reader", qa_head=True)
    ran = run("eval", model, "--task", "demo_qa", "--lang", "de", "--out", tmp_path / "out")
    assert ran.code == 0, ran.stderr
    (file,) = find(tmp_path / "out")
    answers = pq.read_table(file.path).to_pylist()
    assert len(answers) == 36
    assert all(answer["answered"] for answer in answers)
    assert file.meta()["track"] == "own-head"
    demo = json.loads((Path(harness.__file__).parent / "../tasks/demo/passages.json").read_text())
    passages = [" ".join(passage["texts"]["de"]) for passage in demo["passages"]]
    assert all(any(a["prediction"] in passage for passage in passages) for a in answers)


def test_languages_are_added_to_a_finished_file(run: Run, tmp_path: Path) -> None:
    one = ("eval", "xharness/demo", "--suite", "demo", "--task", "demo_bitext", "--out", tmp_path)
    assert run(*one, "--lang", "ru").code == 0
    (file,) = find(tmp_path)
    assert file.meta()["languages"] == ["ru"]
    assert run(*one, "--lang", "deu").code == 0  # the files' own code is understood
    assert find(tmp_path)[0].meta()["languages"] == ["de", "ru"]
    # What a run prints is what was asked for, whatever else the file holds.
    printed = json.loads(run(*one, "--lang", "ru", "--format", "json").stdout)
    assert {row["lang"] for row in printed} == {"ru", "macro"}


def test_limit_cuts_queries_and_not_the_pool(run: Run, results: Path, tmp_path: Path) -> None:
    limited = ("eval", "xharness/demo", "--task", "demo_passages", "--limit", "3")
    assert run(*limited, "--out", tmp_path).code == 0
    whole = {(row["example_id"], row["lang"]): row for row in rows(results)["demo_passages"]}
    found = rows(tmp_path)["demo_passages"]
    assert len(found) == 8 * 3
    assert all(row == whole[row["example_id"], row["lang"]] for row in found)
    notes = {row["note"] for row in harness.scores(tmp_path).to_pylist()}
    assert notes == {"first 3 queries a language"}
    assert not any(harness.scores(tmp_path).column("complete").to_pylist())


def test_every_layer_from_one_pass(run: Run, results: Path, tmp_path: Path) -> None:
    ran = run(*DEMO, "--task", "demo_bitext", "--layer", "all", "--out", tmp_path)
    assert ran.code == 0, ran.stderr
    layers = {file.meta()["resolved"]["layer"]: file for file in find(tmp_path)}
    assert sorted(layers) == [0, 1, 2, 3, 4]
    (own,) = [file for file in find(results) if "demo_bitext" in file.path.name]
    assert layers[4].path.name == own.path.name  # the protocol's own layer has its own signature
    assert pq.read_table(layers[4].path).equals(pq.read_table(own.path))


def test_custom_settings_are_another_signature_and_marked(run: Run, tmp_path: Path) -> None:
    ran = run(*DEMO, "--task", "demo_bitext", "--pooling", "max", "--out", tmp_path)
    assert ran.code == 0
    note = harness.scores(tmp_path).column("note")[0].as_py()
    assert note == "pooling max (protocol: mean)"
    assert "not ranked" in ran.stderr


def test_vectors_that_are_all_one_are_flagged(run: Run, tmp_path: Path) -> None:
    # Without attention the first token never sees the text.
    ran = run(*DEMO, "--task", "demo_passages", "--pooling", "cls", "--out", tmp_path)
    assert ran.code == 0
    note = harness.scores(tmp_path).column("note")[0].as_py()
    assert "degenerate: all vectors (nearly) equal in ar, de, en" in note


def test_native_follows_the_declaration(run: Run, tmp_path: Path) -> None:
    model = build_sentence_transformer(tmp_path / "st", dense=(16,), max_length=24)
    ran = run(
        *("eval", model, "--task", "demo_bitext", "--lang", "de"),
        *("--protocol", "native", "--out", tmp_path / "out"),
    )
    assert ran.code == 0, ran.stderr
    meta = find(tmp_path / "out")[0].meta()
    assert (meta["track"], meta["resolved"]["lengths"]["query"]) == ("native", 24)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_killed_run_is_finished_by_the_next(
    run: Run, results: Path, tmp_path: Path, number: int
) -> None:
    out = tmp_path / "out"
    command = (
        *("eval", "xharness/demo", "--task", "demo_bitext", "--task", "demo_passages"),
        *("--out", out, "--cache-dir", tmp_path / "cache"),
    )
    code, errors = interrupted(
        "harness.results.outcomes:OutcomeFile.write_part", 3, number, *command
    )
    if number == signal.SIGTERM:
        assert code == 130, errors
        last = errors.strip().splitlines()[-1]
        assert last == "interrupted: run the same command again to go on"
    else:
        assert code == -number, errors
    assert len(list(out.rglob("*.parts/*.parquet"))) == 3

    finished = run(*command)
    assert finished.code == 0, finished.stderr
    undisturbed = rows(results)
    assert rows(out) == {name: undisturbed[name] for name in ("demo_bitext", "demo_passages")}
    for file in find(out):
        meta, other = file.meta(), read_meta(results / file.path.relative_to(out))
        del meta["timing"], other["timing"]
        assert meta == other


def test_two_runs_at_once_on_one_folder(cache: Path, results: Path, tmp_path: Path) -> None:
    words = [*DEMO, "--out", str(tmp_path)]
    environment = os.environ | {"XHARNESS_CACHE": str(cache), "XHARNESS_DATA": ""}
    with TemporaryFile() as said:
        both = [Fork(forked.command, words, environment, stderr=said) for _ in "12"]
        codes = [one.wait() for one in both]
        said.seek(0)
        assert codes == [0, 0], said.read().decode()
    assert rows(tmp_path) == rows(results)


def test_offline_after_the_install_makes_no_connection(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_args: object) -> None:
        raise AssertionError("a connection was tried")

    monkeypatch.setattr("socket.socket.connect", refuse)
    ran = run(*DEMO, "--out", tmp_path, "--offline")
    assert ran.code == 0, ran.stderr


def test_dry_run_runs_nothing(run: Run, tmp_path: Path) -> None:
    ran = run(*DEMO, "--out", tmp_path, "--dry-run")
    assert ran.code == 0
    assert "demo_passages" in ran.stdout
    assert "texts to do" in ran.stdout
    assert not list(tmp_path.iterdir())


def test_show_reads_what_is_there(run: Run, results: Path) -> None:
    ran = run("show", results)
    assert ran.code == 0
    assert "demo_passages" in ran.stdout
    file = next(results.rglob("demo_mining.*.parquet"))
    values = json.loads(run("show", file, "--format", "json").stdout)
    assert {row["task"] for row in values} == {"demo_mining"}


def test_a_damaged_result_is_named(run: Run, results: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(results, copy)
    file = next(copy.rglob("demo_mining.*.parquet"))
    file.write_bytes(file.read_bytes()[:100])
    ran = run("show", copy)
    assert ran.code == 6
    assert file.name in ran.stderr
