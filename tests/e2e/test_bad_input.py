"""Wrong input: one line that says what, which value and what to do, and the exit code for it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from harness.inference.protocol import PROTOCOL_VERSION
from tests.checkpoints import build
from tests.e2e.conftest import Run

BAD = [
    (("--task", "tatoba"), 2, "did you mean tatoeba"),
    (("--suite", "xtrem"), 2, "did you mean xtreme"),
    (("--suite", "demo", "--lang", "zz"), 2, "unknown language 'zz'"),
    (("--suite", "demo", "--lang", "fr"), 2, "'fr'"),
    (("--suite", "demo", "--task", "xquad"), 2, "not in suite demo"),
    (("--suite", "demo", "--split", "dev"), 2, "no split 'dev'"),
    (("--suite", "demo", "--protocol", "nativ"), 2, "did you mean native"),
    (("--suite", "demo", "--pooling", "men"), 2, "did you mean mean"),
    (("--suite", "demo", "--layer", "99"), 2, "layers 0 (embeddings) to 4"),
    (("--suite", "demo", "--layer", "top"), 2, "a number, auto or all"),
    (("--suite", "demo", "--dtype", "float8"), 2, "float32"),
    (("--suite", "demo", "--device", "cuda:99"), 2, "--device cpu"),
    (("--suite", "demo", "--device", "cpu:foo"), 2, "--device cpu"),
    (("--suite", "demo", "--limit", "0"), 2, "from 1"),
    (("--suite", "demo", "--engine", "spark"), 2, "unknown engine"),
    (("--suite", "demo", "--data", "/no/such/folder"), 2, "/no/such/folder"),
    (("--suite", "demo", "--format", "xml"), 2, "table or json"),
    (("--suite", "demo", "--protocol", "native"), 4, "--protocol standard"),
]


@pytest.mark.parametrize(("options", "code", "words"), BAD, ids=lambda value: str(value)[:40])
def test_an_option_that_makes_no_sense(
    run: Run, tmp_path: Path, options: tuple[str, ...], code: int, words: str
) -> None:
    ran = run("eval", "xharness/demo", "--out", tmp_path / "out", *options)
    assert ran.code == code, ran.stderr
    assert words in ran.stderr
    assert one_line(ran.stderr)
    assert not (tmp_path / "out").exists()


def one_line(stderr: str) -> bool:
    """Whether the error is one line and there is no traceback."""
    errors = [line for line in stderr.splitlines() if line.startswith("error: ")]
    return len(errors) == 1 and stderr.rstrip().endswith(errors[0]) and "Traceback" not in stderr


def test_a_folder_that_is_not_there(run: Run) -> None:
    ran = run("eval", "./no-such-checkpoint")
    assert ran.code == 3
    assert one_line(ran.stderr)


def test_a_model_that_was_never_fetched_offline(run: Run, tmp_path: Path) -> None:
    ran = run("eval", "org/never-fetched", "--offline", "--cache-dir", tmp_path)
    assert ran.code == 3
    assert "xharness prefetch org/never-fetched" in ran.stderr
    assert one_line(ran.stderr)


def test_a_folder_without_weights(run: Run, tmp_path: Path) -> None:
    folder = build("bert", tmp_path / "bert")
    (folder / "model.safetensors").unlink()
    ran = run("eval", folder, "--suite", "demo", "--out", tmp_path / "out")
    assert ran.code == 4
    assert one_line(ran.stderr)


def test_nan_vectors_are_an_error_and_never_a_score(run: Run, tmp_path: Path) -> None:
    import torch
    from safetensors.torch import load_file, save_file

    folder = build("bert", tmp_path / "bert")
    weights = load_file(folder / "model.safetensors")
    name = next(key for key in weights if key.endswith("word_embeddings.weight"))
    # Finite weights whose activations overflow: what vetting cannot see.
    weights[name] = torch.full_like(weights[name], 3e38)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    ran = run("eval", folder, "--suite", "demo", "--out", tmp_path / "out")
    assert ran.code == 4, ran.stderr
    assert "finite" in ran.stderr or "NaN" in ran.stderr
    assert one_line(ran.stderr)
    assert not list((tmp_path / "out").rglob("*.parquet"))


def test_data_that_is_not_there_is_incomplete_and_named(run: Run, tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    ran = run("eval", "xharness/demo", "--task", "lareqa", "--data", data, "--out", tmp_path / "o")
    assert ran.code == 5
    assert "lareqa/xquad-r/ar.json" in ran.stderr


def test_data_with_another_checksum_is_refused(run: Run, tmp_path: Path) -> None:
    folder = tmp_path / "data" / "tatoeba"
    folder.mkdir(parents=True)
    (folder / "tatoeba.deu-eng.deu").write_text("Guten Tag.\n", encoding="utf-8")
    (folder / "tatoeba.deu-eng.eng").write_text("Good day.\n", encoding="utf-8")
    ran = run(
        *("eval", "xharness/demo", "--task", "tatoeba", "--lang", "de"),
        *("--data", tmp_path / "data", "--out", tmp_path / "out"),
    )
    assert ran.code == 6
    assert "tatoeba.deu-eng" in ran.stderr
    assert one_line(ran.stderr)


def tydiqa(folder: Path, questions: list[dict[str, object]], context: str) -> Path:
    """A data folder with a TyDiQA file of our own: its official checksum is not known."""
    path = folder / "tydiqa_goldp" / "dev" / "tydiqa.goldp.en.dev.json"
    path.parent.mkdir(parents=True)
    paragraph = {"context": context, "qas": questions}
    path.write_text(json.dumps({"version": "1", "data": [{"paragraphs": [paragraph]}]}))
    return folder


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny checkpoint with a QA head."""
    return build("bert", tmp_path_factory.mktemp("reader") / "bert", qa_head=True)


def test_a_long_passage_and_a_single_question_work_and_are_marked(
    run: Run, reader: Path, tmp_path: Path
) -> None:
    context = "The ferry leaves at noon. " * 2_000 + "It returns at dusk."
    question = {
        "id": "english-1-0",
        "question": "When does it return?",
        "answers": [{"text": "at dusk", "answer_start": context.index("at dusk")}],
    }
    data = tydiqa(tmp_path / "data", [question], context)
    ran = run(
        *("eval", reader, "--task", "tydiqa", "--lang", "en"),
        *("--data", data, "--out", tmp_path / "out"),
    )
    assert ran.code == 0, ran.stderr
    assert "custom data: tydiqa en has 1 of 440 questions" in ran.stdout


def test_results_of_other_data_are_not_taken_for_these(
    run: Run, reader: Path, tmp_path: Path
) -> None:
    question = {"id": "q", "question": "When?", "answers": [{"text": "noon", "answer_start": 21}]}
    data = tydiqa(tmp_path / "data", [question], "The ferry leaves at  noon.")
    command = ("eval", reader, "--task", "tydiqa", "--lang", "en", "--data", data)
    assert run(*command, "--out", tmp_path / "out").code == 0
    shutil.rmtree(data)
    tydiqa(data, [question], "The train leaves at  noon.")
    ran = run(*command, "--out", tmp_path / "out")
    assert ran.code == 6
    assert "--fresh" in ran.stderr
    assert one_line(ran.stderr)
    assert run(*command, "--out", tmp_path / "out", "--fresh").code == 0


def test_gold_without_answers_is_refused_and_never_zero(
    run: Run, reader: Path, tmp_path: Path
) -> None:
    question = {"id": "q", "question": "When?", "answers": [{"text": "", "answer_start": 0}]}
    data = tydiqa(tmp_path / "data", [question], "The ferry leaves at noon.")
    ran = run(
        *("eval", reader, "--task", "tydiqa", "--lang", "en"),
        *("--data", data, "--out", tmp_path / "out"),
    )
    assert ran.code == 6
    assert "answer" in ran.stderr
    assert one_line(ran.stderr)


def test_truncated_json_is_refused(run: Run, reader: Path, tmp_path: Path) -> None:
    question = {"id": "q", "question": "When?", "answers": [{"text": "noon", "answer_start": 20}]}
    data = tydiqa(tmp_path / "data", [question], "The ferry leaves at noon.")
    path = data / "tydiqa_goldp" / "dev" / "tydiqa.goldp.en.dev.json"
    path.write_text(path.read_text()[:-20])
    ran = run("eval", reader, "--task", "tydiqa", "--lang", "en", "--data", data)
    assert ran.code == 6
    assert one_line(ran.stderr)


def test_a_cache_that_cannot_be_used(run: Run, tmp_path: Path, cache: Path) -> None:
    broken = tmp_path / "cache"
    shutil.copytree(cache / "demo", broken / "demo")
    (broken / "vectors").write_text("a file where a folder should be")
    ran = run(
        *("eval", "xharness/demo", "--suite", "demo", "--cache-dir", broken), "--out", tmp_path
    )
    assert ran.code == 5
    assert "--cache-dir" in ran.stderr
    assert one_line(ran.stderr)


def test_rows_of_another_protocol_version_are_not_taken_for_these(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = ("eval", "xharness/demo", "--suite", "demo", "--task", "demo_mining")
    assert run(*command, "--out", tmp_path).code == 0
    later = PROTOCOL_VERSION + 1
    monkeypatch.setattr("harness.evaluation.plan.PROTOCOL_VERSION", later)
    ran = run(*command, "--out", tmp_path)
    assert ran.code == 6
    said = f"under version {PROTOCOL_VERSION} of the protocols, now {later}"
    assert said in ran.stderr
    assert run(*command, "--out", tmp_path, "--fresh").code == 0
