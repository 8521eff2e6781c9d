"""Wrong input: one line that says what, which value and what to do, and the exit code for it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from harness.commands.outputs import print_json
from harness.errors import DataError
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
    (("--suite", "demo", "--layer", "9" * 5_000), 2, "a number, auto or all"),
    (("--suite", ""), 2, "suite is empty"),
    (("--suite", "demo", "--dtype", "float8"), 2, "float32"),
    (("--suite", "demo", "--device", "cuda:99"), 2, "--device cpu"),
    (("--suite", "demo", "--device", "cpu:foo"), 2, "--device cpu"),
    (("--suite", "demo", "--limit", "0"), 2, "from 1"),
    (("--suite", "demo", "--engine", "spark"), 2, "unknown engine"),
    (("--suite", "demo", "--data", "/no/such/folder"), 2, "/no/such/folder"),
    (("--suite", "demo", "--format", "xml"), 2, "table or json"),
    (("--suite", "demo", "--prompt-query", "query\udcff: "), 2, "is not UTF-8"),
    (("--suite", "demo", "--prompt-document", "\ud800"), 2, "is not UTF-8"),
    (
        ("--task", "demo_bitext", "--task", "demo_mining", "--lang", "sw"),
        2,
        "demo_mining has no sw",
    ),
    (("--task", "./no-such-card.yaml"), 3, "no card no-such-card.yaml"),
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


def test_a_board_that_is_not_there(run: Run, tmp_path: Path) -> None:
    """Nothing to refresh is no error, and a folder with a slip in its name is none either."""
    ran = run("refresh", "--dry-run", "--root", tmp_path / "bord")
    assert (ran.code, ran.stdout) == (3, "")
    assert "--root" in ran.stderr
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
    assert f"no lareqa/xquad-r/ar.json under {data}: put it there" in ran.stderr


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
    assert ran.stderr.endswith(": replace it and run again\n")
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


def test_a_cache_that_cannot_be_used(run: Run, tmp_path: Path) -> None:
    broken = tmp_path / "cache"
    broken.mkdir()
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


HALF = "\ud800"


def tydiqa_in(folder: Path, lang: str, text: str) -> Path:
    """One question in a language; ``text`` is added to it."""
    question = {
        "id": f"{lang}-1",
        "question": f"When?{text}",
        "answers": [{"text": "noon", "answer_start": 20}],
    }
    path = folder / "tydiqa_goldp" / "dev" / f"tydiqa.goldp.{lang}.dev.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    paragraph = {"context": "The ferry leaves at noon.", "qas": [question]}
    path.write_text(json.dumps({"version": "1", "data": [{"paragraphs": [paragraph]}]}))
    return path


def test_a_language_with_a_broken_text_costs_no_other(
    run: Run, reader: Path, tmp_path: Path
) -> None:
    data, out = tmp_path / "data", tmp_path / "out"
    tydiqa_in(data, "en", "")
    bad = tydiqa_in(data, "fi", HALF)
    command = (
        *("eval", reader, "--task", "tydiqa", "--lang", "en", "--lang", "fi"),
        *("--data", data, "--out", out, "--format", "json"),
    )
    ran = run(*command)
    assert ran.code == 6
    assert bad.name in ran.stderr
    assert "the question fi-1 holds half of a surrogate pair" in ran.stderr
    assert one_line(ran.stderr)
    rows = json.loads(ran.stdout)
    assert {row["lang"] for row in rows if row["value"] is not None} == {"en", "macro"}
    assert [row["lang"] for row in rows if "broken data" in row["note"]] == ["fi"]
    # Put right, the rest is run and what there is stays.
    tydiqa_in(data, "fi", "")
    ran = run(*command)
    assert ran.code == 0, ran.stderr
    assert {row["lang"] for row in json.loads(ran.stdout)} == {"en", "fi", "macro"}


def test_a_task_with_broken_data_costs_no_other(run: Run, reader: Path, tmp_path: Path) -> None:
    path = tydiqa_in(tmp_path / "data", "en", "")
    path.write_text(path.read_text()[:-20])
    ran = run(
        *("eval", reader, "--task", "tydiqa", "--task", "demo_qa", "--lang", "en", "--limit", "2"),
        *("--data", tmp_path / "data", "--out", tmp_path / "out"),
    )
    assert ran.code == 6
    assert "tydiqa.goldp.en.dev.json: not JSON" in ran.stderr
    assert one_line(ran.stderr)
    assert list((tmp_path / "out").rglob("demo_qa.*.parquet"))


def test_tasks_of_a_suite_that_lack_the_language_are_named(run: Run, tmp_path: Path) -> None:
    words = ("xharness/demo", "--suite", "demo", "--lang", "sw", "--out", tmp_path)
    ran = run("eval", *words, "--format", "json")
    assert ran.code == 0, ran.stderr
    (row,) = [row for row in json.loads(ran.stdout) if row["task"] == "demo_mining"]
    assert (row["value"], row["note"]) == (None, "left out: demo_mining has no sw")
    assert "left out: demo_mining has no sw" in ran.stderr
    assert "left out: demo_mining has no sw" in run("eval", *words).stdout
    assert "left out: demo_mining has no sw" in run("eval", *words, "--dry-run").stdout
    assert "left out: demo_mining has no sw" in run("plan", *words).stderr
    ran = run("plan", "xharness/demo", "--task", "demo_mining", "--lang", "sw")
    assert ran.code == 2
    assert one_line(ran.stderr)
    ran = run("prefetch", "--task", "demo_mining", "--lang", "sw")
    assert ran.code == 2
    assert one_line(ran.stderr)


def test_a_card_outside_the_package(run: Run, tmp_path: Path) -> None:
    text = (Path(__file__).parents[2] / "tasks/target/demo_bitext.yaml").read_text()
    card = tmp_path / "card.yaml"
    card.write_text(text.replace("name: demo_bitext", "name: my_pairs"), encoding="utf-8")
    words = ("--task", card, "--lang", "de", "--out", tmp_path / "out")
    ran = run("eval", "xharness/demo", *words, "--format", "json")
    assert ran.code == 0, ran.stderr
    rows = json.loads(ran.stdout)
    assert {row["task"] for row in rows} == {"my_pairs"}
    assert all("custom card" in row["note"] for row in rows)
    lines = run(
        "plan", "xharness/demo", "--task", card, "--out", tmp_path / "o", "--format", "jsonl"
    )
    assert str(card) in json.loads(lines.stdout.splitlines()[0])["command"]
    assert "my_pairs" in run("tasks", card).stdout
    # Its rows are read without it, and another card is another signature.
    content = card.read_text()
    card.unlink()
    assert "custom card" in run("show", tmp_path / "out").stdout
    ran = run("compare", *[next((tmp_path / "out").rglob("my_pairs.*.parquet")).parent] * 2)
    assert ran.code == 0, ran.stderr
    card.write_text(f"{content}notes: [changed]\n", encoding="utf-8")
    assert run("eval", "xharness/demo", *words).code == 0
    assert len(list((tmp_path / "out").rglob("my_pairs.*.parquet"))) == 2
    board = tmp_path / "root" / "leaderboard"
    board.mkdir(parents=True)
    shutil.move(tmp_path / "out", board / "results")
    run(
        "eval", "xharness/demo", "--task", "demo_bitext", "--lang", "de", "--out", board / "results"
    )
    ran = run("leaderboard", "--root", tmp_path / "root")
    assert ran.code == 0, ran.stderr
    assert "my_pairs" not in (board / "README.md").read_text()


@pytest.mark.parametrize(
    ("predictions", "gold", "code", "said"),
    [
        (b'\xef\xbb\xbf{"q": "noon"}', None, 0, ""),
        (b'{"q": "noon"}', b"\xef\xbb\xbf", 0, ""),
        (b'{"q": "noon", "q": "dusk"}', None, 6, "the key 'q' occurs twice"),
        (b'{"q": NaN}', None, 6, "NaN is not a JSON number"),
        (b'{"q": 1e999}', None, 6, "too large"),
        (b'{"q": "\\ud800"}', None, 6, "q holds half of a surrogate pair"),
        (b'{"\\ud800": "x"}', None, 6, "holds half of a surrogate pair"),
        (b'{"q": "\xed\xa0\x80"}', None, 6, "not UTF-8"),
        (b"[" * 50_000, None, 6, "nested deeper"),
    ],
)  # fmt: skip
def test_predictions_that_are_read_in_one_way_only(
    run: Run, tmp_path: Path, predictions: bytes, gold: bytes | None, code: int, said: str
) -> None:
    question = {"id": "q", "question": "When?", "answers": [{"text": "noon", "answer_start": 0}]}
    content = json.dumps({"data": [{"paragraphs": [{"context": "noon", "qas": [question]}]}]})
    (tmp_path / "gold.json").write_bytes((gold or b"") + content.encode())
    (tmp_path / "p.json").write_bytes(predictions)
    ran = run("score", tmp_path / "p.json", "--gold", tmp_path / "gold.json")
    assert ran.code == code, ran.stderr
    assert said in ran.stderr
    if code:
        assert one_line(ran.stderr)
    else:
        assert json.loads(ran.stdout) == {"squad": {"all": {"exact_match": 100.0, "f1": 100.0}}}


def test_a_score_that_is_no_number_is_never_printed(capsys: pytest.CaptureFixture[str]) -> None:
    for value in (float("nan"), float("inf")):
        with pytest.raises(DataError, match="not a number"):
            print_json([{"value": value}])
    assert capsys.readouterr().out == ""
