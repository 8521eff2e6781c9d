"""The demo checkpoint, and a run of the demo suite with it from end to end."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

import harness
import harness.inference.backbone
from harness.checkpoint.demo import (
    HIDDEN,
    LAYERS,
    SPECIAL,
    VOCABULARY,
    build,
    latent_vectors,
    parallel_documents,
    word_pieces,
)
from harness.checkpoint.loading import describe, load_encoder
from harness.checkpoint.resolve import resolve
from harness.errors import IncompleteError
from harness.evaluation.models import DEMO_MODEL
from harness.inference.backbone import pad
from harness.inference.batching import pad_id
from harness.results.outcomes import OutcomeFile, find, read_meta


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cache")
    build(folder / "demo")
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


# The checkpoint


def test_built_once_and_then_left_alone(cache: Path) -> None:
    folder = build(cache / "demo")
    before = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    assert build(cache / "demo") == folder
    assert {path: path.stat().st_mtime_ns for path in folder.iterdir()} == before
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]


def test_a_full_disk_is_one_line_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise Exception("I/O error: No space left on device (os error 28)")  # as theirs

    monkeypatch.setattr("safetensors.torch.save_file", full)
    with pytest.raises(
        IncompleteError, match=r"No space left .*: free space or name .*--cache-dir"
    ):
        build(tmp_path / "demo")
    assert not list((tmp_path / "demo").iterdir())


def test_another_process_builds_the_same_bytes(cache: Path, tmp_path: Path) -> None:
    code = "from pathlib import Path; import sys; from harness.checkpoint import demo; "
    code += "demo.build(Path(sys.argv[1]))"
    environment = os.environ | {"PYTHONHASHSEED": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True, env=environment)
    here, there = build(cache / "demo"), tmp_path / build(cache / "demo").name
    assert contents(here) == contents(there)
    assert resolve(str(here)).revision == resolve(str(there)).revision


def test_another_default_dtype_builds_the_same_bytes(cache: Path, tmp_path: Path) -> None:
    torch.set_default_dtype(torch.float64)
    try:
        there = build(tmp_path)
    finally:
        torch.set_default_dtype(torch.float32)
    assert contents(build(cache / "demo")) == contents(there)


def test_another_run_that_was_faster_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    replace = os.replace

    def beaten(source: Path, target: Path) -> None:
        target.mkdir()
        (target / "config.json").write_text("{}")
        replace(source, target)

    monkeypatch.setattr(os, "replace", beaten)
    folder = build(tmp_path)
    assert contents(folder) == {"config.json": b"{}"}
    assert list(tmp_path.iterdir()) == [folder]


def test_an_ordinary_checkpoint(cache: Path) -> None:
    checkpoint = resolve(str(build(cache / "demo")))
    assert checkpoint.model_type == "bert"
    assert not checkpoint.has_qa_head
    assert describe(checkpoint) == (LAYERS, 512)


def test_the_layers_add_nothing(cache: Path) -> None:
    checkpoint = resolve(str(build(cache / "demo")))
    model, tokenizer = load_encoder(checkpoint, dtype="float32", device="cpu")
    inputs, mask = pad(tokenizer.ids(parallel_documents()[0]), pad_id(tokenizer), "cpu")
    with torch.inference_mode():
        states = model(inputs, mask, output_hidden_states=True).hidden_states
    assert len(states) == LAYERS + 1
    for state in states[1:]:
        torch.testing.assert_close(state, states[0], atol=1e-5, rtol=0)


def test_training_reaches_every_weight(cache: Path) -> None:
    model, tokenizer = load_encoder(
        resolve(str(build(cache / "demo"))), dtype="float32", device="cpu"
    )
    model.requires_grad_(True)
    # A mask has no vector of its own.
    texts = [f"[MASK] {text}" for text in parallel_documents()[0]]
    inputs, mask = pad(tokenizer.ids(texts), pad_id(tokenizer), "cpu")
    optimiser = torch.optim.SGD(model.parameters(), lr=0.01)
    target = torch.linspace(-1, 1, HIDDEN)
    for _ in range(3):  # first what writes moves, then what reads
        optimiser.zero_grad()
        (model(inputs, mask).last_hidden_state - target).square().mean().backward()
        optimiser.step()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.any(), name


def test_tokens_of_the_same_documents_have_the_same_vector() -> None:
    # Token 7 and its translation 8 are in the first document, 9 in the second, 6 in all three.
    vectors = latent_vectors([[[6, 7], [6, 8]], [[6, 9], [6]], [[6], [5, 6]]])
    assert vectors.shape == (VOCABULARY, 3)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(vectors[7], vectors[8], atol=1e-6)
    assert abs(vectors[7] @ vectors[9]) < 1e-6
    assert not vectors[6].any()  # exactly: normalising would blow rounding noise up
    # log(1 + 1) × log(3 / 1), the weight of a piece that occurs once in one of three documents.
    np.testing.assert_allclose(np.linalg.norm(vectors[[7, 8, 9]], axis=1), np.log(2) * np.log(3))


def test_pieces_cover_every_character_and_prefer_the_frequent() -> None:
    pieces = word_pieces(Counter({"boats": 3, "boat": 2, "fin": 1}))
    assert pieces[: len(SPECIAL)] == list(SPECIAL)
    assert {*"boatsfin", *(f"##{character}" for character in "boatsfin")} <= set(pieces)
    words = [piece for piece in pieces[len(SPECIAL) :] if len(piece.removeprefix("##")) > 1]
    # boat: 2 as a word, 3 as the prefix of boats; boa: 2 + 3.
    assert words == ["boa", "boat", "##ts", "boats", "fin"]
    many = word_pieces({f"word{number:05}": 1 for number in range(VOCABULARY)})
    assert len(many) == len(set(many)) == VOCABULARY


# The demo suite


def evaluate(cache: Path, out: Path, **options: Any) -> pa.Table:
    settings: dict[str, Any] = {"suite": "demo", "device": "cpu", "cache_dir": cache, "out": out}
    return harness.evaluate(DEMO_MODEL, **(settings | options)).to_arrow()


@pytest.fixture(scope="module")
def finished(cache: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[pa.Table, Path]:
    out = tmp_path_factory.mktemp("results")
    return evaluate(cache, out), out


def macro(table: pa.Table, task: str) -> dict[str, float]:
    return {
        f"{row['metric']} {row['direction']}".strip(): row["value"]
        for row in table.to_pylist()
        if row["task"] == task and row["lang"] == "macro"
    }


def test_scores_are_far_above_chance(finished: tuple[pa.Table, Path]) -> None:
    table, _ = finished
    bitext, passages = macro(table, "demo_bitext"), macro(table, "demo_passages")
    # It was built from other sentences. Chance is 10 of 60, and one hit among 10 of 384 where 8
    # are relevant: 1 − C(376, 10) / C(384, 10) = 0.19.
    assert bitext["recall@10 en-xx"] > 3 * 10 / 60
    assert passages["recall@10 xx-all"] > 3 * 10 / 384
    assert passages["hit@10 xx-all"] > 2 * 0.19
    assert 0 < macro(table, "demo_mining")["f1"] <= 1
    values = [value for value in table.column("value").to_pylist() if value is not None]
    assert all(0 <= value <= 1 for value in values)


def test_what_does_not_apply_is_a_row_that_says_so(finished: tuple[pa.Table, Path]) -> None:
    (row,) = (row for row in finished[0].to_pylist() if row["task"] == "demo_qa")
    assert row["value"] is None
    assert row["note"].startswith("no QA head")


def test_scores_read_from_disk_are_the_scores_of_the_run(
    finished: tuple[pa.Table, Path],
) -> None:
    table, out = finished
    measured = [row for row in table.to_pylist() if row["value"] is not None]
    key = ("task", "lang", "direction", "metric")

    def order(row: dict[str, Any]) -> tuple[str, ...]:
        return tuple(row[name] for name in key)

    assert sorted(harness.scores(out).to_pylist(), key=order) == sorted(measured, key=order)
    assert {row["complete"] for row in measured} == {True}
    assert {row["note"] for row in measured} == {""}


def outcomes(out: Path) -> dict[str, tuple[pa.Table, dict[str, Any]]]:
    """Rows and metadata of every file, without the timing."""
    found = {}
    for file in find(out):
        meta = read_meta(file.path)
        del meta["timing"]
        found[file.path.name] = pq.read_table(file.path), meta
    return found


def test_a_second_run_has_nothing_to_do(
    cache: Path, finished: tuple[pa.Table, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    table, out = finished
    before = {file.path: file.path.stat().st_mtime_ns for file in find(out)}

    def never(*_: Any, **__: Any) -> Any:
        raise AssertionError("loaded")

    monkeypatch.setattr(harness.inference.backbone, "load_encoder", never)
    assert evaluate(cache, out).equals(table)
    assert {file.path: file.path.stat().st_mtime_ns for file in find(out)} == before


class Killed(BaseException):
    """What no code catches."""


@pytest.mark.parametrize("kept", [0, 8, 12])
def test_killed_and_resumed_is_undisturbed(
    cache: Path,
    finished: tuple[pa.Table, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    kept: int,
) -> None:
    # Two runs in a cache of their own, so that vectors are computed and not found.
    own = tmp_path / "cache"
    (own / "demo").mkdir(parents=True)
    (own / "demo" / build(cache / "demo").name).symlink_to(build(cache / "demo"))
    write, parts = OutcomeFile.write_part, 0

    def killing(file: OutcomeFile, *args: Any) -> None:
        nonlocal parts
        if parts == kept:
            raise Killed
        parts += 1
        write(file, *args)

    with monkeypatch.context() as patched:
        patched.setattr(OutcomeFile, "write_part", killing)
        with pytest.raises(Killed):
            evaluate(own, tmp_path / "out")
    evaluate(own, tmp_path / "out")
    undisturbed, resumed = outcomes(finished[1]), outcomes(tmp_path / "out")
    assert list(resumed) == list(undisturbed)
    for name, (rows, meta) in undisturbed.items():
        assert resumed[name][0].equals(rows), name
        assert resumed[name][1] == meta, name


def test_killed_between_the_last_part_and_merging(
    cache: Path,
    finished: tuple[pa.Table, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def killed(*_: Any) -> None:
        raise Killed

    options: dict[str, Any] = {"suite": None, "tasks": ["demo_bitext"]}
    with monkeypatch.context() as patched:
        patched.setattr(OutcomeFile, "merge", killed)
        with pytest.raises(Killed):
            evaluate(cache, tmp_path, **options)
    partial = harness.scores(tmp_path)
    assert set(partial.column("complete").to_pylist()) == {False}
    evaluate(cache, tmp_path, **options)
    ((name, (rows, meta)),) = outcomes(tmp_path).items()
    assert rows.equals(outcomes(finished[1])[name][0])
    assert meta == outcomes(finished[1])[name][1]


def test_a_language_added_later(
    cache: Path, finished: tuple[pa.Table, Path], tmp_path: Path
) -> None:
    options: dict[str, Any] = {"suite": None, "tasks": ["demo_passages"]}
    first = evaluate(cache, tmp_path, languages=["zh"], **options)
    assert {row["complete"] for row in first.to_pylist()} == {False}
    evaluate(cache, tmp_path, languages=["de", "ar"], **options)
    ((name, (rows, meta)),) = outcomes(tmp_path).items()
    assert meta["languages"] == ["de", "ar", "zh"]
    whole = outcomes(finished[1])[name][0]
    for lang in ("de", "ar", "zh"):
        chosen = [row for row in rows.to_pylist() if row["lang"] == lang]
        assert chosen == [row for row in whole.to_pylist() if row["lang"] == lang]


def test_a_limit_is_another_file_whose_rows_are_the_first_ones(
    cache: Path, finished: tuple[pa.Table, Path], tmp_path: Path
) -> None:
    options: dict[str, Any] = {"suite": None, "tasks": ["demo_passages"], "languages": ["de"]}
    table = evaluate(cache, tmp_path, limit=2, **options)
    assert {row["note"] for row in table.to_pylist()} == {"first 2 queries a language"}
    ((name, (rows, _)),) = outcomes(tmp_path).items()
    everything = outcomes(finished[1])
    assert name not in everything
    (whole,) = (r for n, (r, _) in everything.items() if n.startswith("demo_passages."))
    expected = [row for row in whole.to_pylist() if row["lang"] == "de"][:2]
    assert rows.to_pylist() == expected


def test_every_layer_is_a_file_of_its_own(cache: Path, tmp_path: Path) -> None:
    options: dict[str, Any] = {"suite": None, "tasks": ["demo_bitext"], "languages": ["de"]}
    table = evaluate(cache, tmp_path, layer="all", **options)
    assert set(table.column("layer").to_pylist()) == set(range(LAYERS + 1))
    assert len(find(tmp_path)) == LAYERS + 1
    apart = {row["layer"]: row["note"] for row in table.to_pylist()}
    assert [layer for layer, note in apart.items() if not note] == [LAYERS]
