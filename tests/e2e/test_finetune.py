"""`xharness eval --finetune`: the tuned track, from training to the board."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

import harness
from harness.results.outcomes import OutcomeFile, find
from harness.training.progress import Progress
from tests.checkpoints import build
from tests.e2e.conftest import Ran, Run
from tests.tiny_target import RECIPES, lay_training_data, tiny_recipes

QA = ("--task", "demo_qa", "--lang", "de")
BOTH = ("--task", "demo_qa", "--task", "demo_passages")


@pytest.fixture(scope="module", autouse=True)
def data(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("target")
    with tiny_recipes(folder):
        yield lay_training_data(folder / "data")


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint that brings a head."""
    return build("xlm-roberta", tmp_path_factory.mktemp("model") / "reader", qa_head=True)


@pytest.fixture(scope="module")
def tune(run: Run, data: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """`xharness eval … --finetune` on the tiny data, with a cache of this module's."""
    cache = tmp_path_factory.mktemp("tuned-cache")

    def ran(*args: object) -> Ran:
        return run("eval", *args, "--finetune", "--data", data, "--cache-dir", cache)

    return ran


@pytest.fixture(scope="module")
def results(tune: Run, reader: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Both tasks in German."""
    out = tmp_path_factory.mktemp("results")
    ran = tune(reader, *BOTH, "--lang", "de", "--out", out)
    assert ran.code == 0, ran.stderr
    return out


def files(folder: Path) -> dict[str, OutcomeFile]:
    """Task and track → its file."""
    return {f"{f.meta()['task']} {f.meta()['track']}": f for f in find(folder)}


def rows(file: OutcomeFile) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = pq.read_table(file.path).to_pylist()
    return found


def test_rows_are_the_original_checkpoints_in_the_tuned_track(results: Path) -> None:
    found = files(results)
    assert sorted(found) == ["demo_passages tuned", "demo_qa tuned"]
    assert {file.path.parts[-3] for file in found.values()} == {"local__reader"}
    meta = found["demo_qa tuned"].meta()
    recipe = meta["resolved"]["recipe"]
    assert (recipe["name"], recipe["train"], recipe["lr"]) == ("demo_span", "tiny_qa", 1e-3)
    assert len(recipe["hash"]) == 12
    assert (meta["seed"], meta["resolved"]["seed"], meta["custom"]) == (0, 0, [])
    tuning = meta["tuning"]
    assert tuning["revision"].startswith("local:")
    assert tuning["revision"] != meta["revision"]
    assert (tuning["examples"], tuning["steps"]) == (6, 6)
    assert list(tuning["data"]) == ["tiny/train.json"]
    assert not any(harness.scores(results).column("note").to_pylist())


def test_a_dual_encoder_is_pooled_as_it_was_trained(results: Path) -> None:
    file = files(results)["demo_passages tuned"]
    resolved = file.meta()["resolved"]
    assert (resolved["pooling"], resolved["layer"]) == ("mean", 3)  # of 3
    assert resolved["recipe"]["name"] == "demo_pairs"
    found = rows(file)
    assert len(found) == 36
    assert all(len(row["ranks"]) == 8 for row in found)


def test_another_language_trains_nothing(
    tune: Run, reader: Path, results: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_args: object) -> None:
        raise AssertionError("it was trained again")

    monkeypatch.setattr("harness.training.target.train", refuse)
    dry = tune(reader, *BOTH, "--lang", "en", "--out", results, "--dry-run")
    assert dry.stdout.count("trained already") == 2
    ran = tune(reader, *BOTH, "--lang", "en", "--out", results)
    assert ran.code == 0, ran.stderr
    meta = files(results)["demo_qa tuned"].meta()
    assert meta["languages"] == ["en", "de"]
    assert meta["mixed"] == []


def test_a_head_that_is_there_is_left_aside(
    run: Run, tune: Run, reader: Path, results: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    assert run("eval", reader, *BOTH, "--lang", "de", "--out", out).code == 0
    own = files(out)
    assert sorted(own) == ["demo_passages frozen", "demo_qa own-head"]
    tuned = files(results)
    signatures = {file.meta()["signature"] for file in (*own.values(), *tuned.values())}
    assert len(signatures) == 4
    said = [
        [row["prediction"] for row in rows(file) if row["lang"] == "de"]
        for file in (own["demo_qa own-head"], tuned["demo_qa tuned"])
    ]
    assert len(said[0]) == len(said[1]) == 36
    assert said[0] != said[1]

    headless = _without_head(reader, tmp_path / "reader")
    assert tune(headless, *QA, "--out", tmp_path / "headless").code == 0
    (bare,) = find(tmp_path / "headless")
    meta = tuned["demo_qa tuned"].meta()
    assert bare.meta()["revision"] != meta["revision"]
    # The same encoder gives the same tuned weights: the head that it came with plays no part.
    assert bare.meta()["tuning"]["revision"] == meta["tuning"]["revision"]


def _without_head(folder: Path, to: Path) -> Path:
    from shutil import copytree

    from safetensors.torch import load_file, save_file

    copytree(folder, to)
    weights = load_file(to / "model.safetensors")
    kept = {name: tensor for name, tensor in weights.items() if "qa_outputs" not in name}
    save_file(kept, to / "model.safetensors", metadata={"format": "pt"})
    config = json.loads((to / "config.json").read_text())
    (to / "config.json").write_text(json.dumps({**config, "architectures": ["XLMRobertaModel"]}))
    return to


def test_killed_while_tuning_the_same_command_goes_on(
    run: Run, data: Path, reader: Path, results: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    command = (
        "eval", reader, *QA, "--finetune", "--data", data, "--cache-dir", tmp_path / "cache",
        "--out", tmp_path / "out",
    )  # fmt: skip
    stepped = Progress.stepped

    def killed(self: Progress, step: int, *rest: Any) -> None:
        stepped(self, step, *rest)
        if step == 4:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Progress, "stepped", killed)
        # However long a save takes here: on a busy machine fewer steps would be saved.
        patch.setattr("harness.training.scheduled.save_now", lambda planned, since, cost: planned)
        ran = run(*command)
    assert ran.code == 130
    assert not find(tmp_path / "out")
    assert "goes on after step 3" in run(*command, "--dry-run").stdout
    again = run(*command)
    assert again.code == 0, again.stderr
    assert "going on after step 3 of 6" in again.stderr
    (file,) = find(tmp_path / "out")
    undisturbed = files(results)["demo_qa tuned"]
    assert file.meta()["tuning"] == undisturbed.meta()["tuning"]
    assert rows(file) == [row for row in rows(undisturbed) if row["lang"] == "de"]


def test_without_training_data_the_tasks_are_missing(
    run: Run, reader: Path, tmp_path: Path
) -> None:
    empty = tmp_path / "data"
    empty.mkdir()
    ran = run("eval", reader, *BOTH, "--lang", "de", "--finetune", "--data", empty, "--out",
              tmp_path / "out")  # fmt: skip
    assert ran.code == 5
    assert "no data for demo_passages, demo_qa" in ran.stderr
    assert "no tiny/train.json" in ran.stderr
    assert not find(tmp_path / "out")  # least of all with the head that it brings


def test_seeds_are_different_files(tune: Run, reader: Path, tmp_path: Path) -> None:
    for seed in (0, 1):
        assert tune(reader, *QA, "--seed", seed, "--out", tmp_path).code == 0
    metas = [file.meta() for file in find(tmp_path)]
    assert sorted(meta["seed"] for meta in metas) == [0, 1]
    assert len({meta["tuning"]["revision"] for meta in metas}) == 2
    assert len({meta["resolved"]["recipe"]["hash"] for meta in metas}) == 1


def test_a_changed_recipe_makes_rows_stale(results: Path, tmp_path: Path) -> None:
    with tiny_recipes(tmp_path, RECIPES.replace("warmup: 2", "warmup: 1")):
        lay_training_data(tmp_path)
        notes = {row["task"]: row["note"] for row in harness.scores(results).to_pylist()}
    assert notes["demo_qa"] == "stale: tuned by another version of the recipe (demo_span)"
    assert notes["demo_passages"] == ""


def test_another_recipe_is_named_by_a_suite_and_never_ranked(
    run: Run, tune: Run, data: Path, reader: Path, tmp_path: Path
) -> None:
    lay_training_data(data, "other")
    try:
        for model in (reader, build("xlm-roberta", tmp_path / "other", seed=1)):
            ran = tune(model, "--suite", "demo-other", "--lang", "de", "--out", tmp_path / "out")
            assert ran.code == 0, ran.stderr
        assert "not ranked target data other_qa (protocol: tiny_qa)" in ran.stderr
    finally:
        (data / "tiny" / "other.json").unlink()
    notes = set(harness.scores(tmp_path / "out").column("note").to_pylist())
    assert notes == {"target data other_qa (protocol: tiny_qa)"}
    compared = run("compare", "reader", "other", "--out", tmp_path / "out")
    assert compared.code == 0, compared.stderr
    assert "target data other_qa (protocol: tiny_qa)" in compared.stdout


def test_prefetch_wants_the_training_data_too(run: Run, data: Path, tmp_path: Path) -> None:
    command = ("prefetch", "--task", "demo_qa", "--cache-dir", tmp_path)
    assert run(*command).code == 0
    ran = run(*command, "--finetune")
    assert ran.code == 5
    assert "not fetched: tiny_qa" in ran.stderr


def test_options_that_a_dual_encoder_cannot_take(tune: Run, reader: Path, tmp_path: Path) -> None:
    ran = tune(reader, *BOTH, "--pooling", "cls", "--out", tmp_path)
    assert ran.code == 2
    assert "--pooling" in ran.stderr
    assert tune(reader, *BOTH, "--seed", "-1", "--out", tmp_path).code == 2


def test_a_head_that_transformers_lacks_is_ours_and_the_row_says_so(
    tune: Run, tmp_path: Path
) -> None:
    ran = tune(build("mt5", tmp_path / "mt5"), *QA, "--out", tmp_path / "out")
    assert ran.code == 0, ran.stderr
    assert "transformers has no span head" in ran.stdout
    (file,) = files(tmp_path / "out").values()
    meta = file.meta()
    assert rows(file)
    assert meta["tuning"]["head_class"] == "xharness_head"
    assert any("one linear layer" in remark for remark in meta["remarks"])


def test_tasks_without_a_recipe_are_measured_as_they_are(
    tune: Run, reader: Path, tmp_path: Path
) -> None:
    ran = tune(reader, "--task", "demo_bitext", "--lang", "de", "--out", tmp_path)
    assert ran.code == 0
    assert list(files(tmp_path)) == ["demo_bitext frozen"]


BESIDE = """
- name: demo_bitext_pairs
  title: The dual encoder of the tiny pairs, for bitext
  beside: [demo_bitext]
  train: tiny_pairs
  examples: 6
  recipe: {lr: 1.0e-3, epochs: 2, batch_size: 4, max_length: 64, question_length: 24, warmup: 0}
"""


def test_a_task_may_be_measured_frozen_and_tuned(
    run: Run, reader: Path, results: Path, tmp_path: Path
) -> None:
    before = files(results)["demo_passages tuned"].meta()
    out = tmp_path / "out"
    bitext = ("--task", "demo_bitext", "--lang", "de", "--out", out)
    with tiny_recipes(tmp_path, RECIPES + BESIDE):
        tuned = ("--finetune", "--data", lay_training_data(tmp_path / "data"))
        both = ("--task", "demo_passages", *bitext, *tuned, "--cache-dir", tmp_path / "cache")
        dry = run("eval", reader, *both, "--dry-run")
        assert dry.stdout.count("1 language, layer 3, tuned on tiny_pairs") == 2
        ran = run("eval", reader, *both)
        assert ran.code == 0, ran.stderr
        found = files(out)
        assert sorted(found) == ["demo_bitext frozen", "demo_bitext tuned", "demo_passages tuned"]
        frozen, tuned_bitext = (found[f"demo_bitext {t}"].meta() for t in ("frozen", "tuned"))
        assert frozen["resolved"]["recipe"] is None
        assert frozen["resolved"]["layer"] == 3
        assert tuned_bitext["resolved"]["recipe"]["name"] == "demo_bitext_pairs"
        assert tuned_bitext["custom"] == []
        # One training serves both recipes: they differ in nothing but their names.
        revisions = {found[name].meta()["tuning"]["revision"] for name in sorted(found)[1:]}
        assert (
            len(revisions) == 1 == len(list((tmp_path / "cache" / "tuned").glob("*/config.json")))
        )
        assert revisions == {before["tuning"]["revision"]}
        assert rows(found["demo_bitext frozen"]) != rows(found["demo_bitext tuned"])
        plain = run("eval", reader, *bitext, "--cache-dir", tmp_path / "cache", "--dry-run")
        assert "done already" in plain.stdout
        assert "tuned" not in plain.stdout
    # Where the training data is not to be had, the frozen rows are there all the same.
    with tiny_recipes(tmp_path / "again", RECIPES + BESIDE):
        (empty := tmp_path / "none").mkdir()
        ran = run("eval", reader, *bitext[:-1], tmp_path / "bare", "--finetune", "--data", empty)
    assert ran.code == 5
    assert "demo_bitext" in ran.stderr
    assert list(files(tmp_path / "bare")) == ["demo_bitext frozen"]


def test_the_board_answers_its_tuned_half(run: Run, tune: Run, tmp_path: Path) -> None:
    out = tmp_path / "leaderboard" / "results"
    (tmp_path / "submissions").mkdir()
    for number, (name, more) in enumerate(
        [("base", ""), ("english", "base: base\nlanguages: [en]\n")]
    ):
        model = build("bert", tmp_path / name, seed=number)
        for seed in (0, 1):
            ran = tune(model, "--task", "demo_qa", "--seed", seed, "--out", out)
            assert ran.code == 0, ran.stderr
        revision = next(out.glob(f"local__{name}/*/*.parquet"))
        meta = OutcomeFile(revision).meta()
        objective = "extractive-qa" if more else "none"
        (tmp_path / "submissions" / f"{name}.yaml").write_text(
            f"model: {name}\nrevision: {meta['revision']}\nobjective: {objective}\n{more}"
        )
    assert run("leaderboard", "--root", tmp_path).code == 0
    pages = tmp_path / "leaderboard"
    text = "".join(path.read_text(encoding="utf-8") for path in sorted(pages.glob("*.md")))
    (line,) = [line for line in text.splitlines() if "English QA − base | f1, tuned" in line]
    assert "not known (descriptive only)" in line
    (line,) = [line for line in text.splitlines() if "English QA − base | tuned | all" in line]
    assert "descriptive: 1 checkpoint against 1 checkpoint" in line
    assert "demo&#95;qa" in line
    assert "## tuned: f1" in text
    page = (tmp_path / "leaderboard" / "checkpoints" / "english.md").read_text(encoding="utf-8")
    assert "--task demo&#95;qa --finetune --seed 1" in page.replace("</code>", "")
    assert run("leaderboard", "--root", tmp_path, "--check").code == 0
