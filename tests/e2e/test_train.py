"""`xharness train` through the real command: what it leaves, resume, and bad input."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import load_file

import harness
from harness.cards.training import intermediate_names, read_intermediate
from harness.io.environment import processor
from harness.submissions.submission import Submission
from harness.training.gradients import LARGE
from tests.checkpoints import build
from tests.e2e.conftest import Run, interrupted
from tests.training.cards import CARD, source
from tests.training.laying import lay, sentences, squad

# Several threads gain a tiny model nothing, and wait for each other on a busy machine.
pytestmark = pytest.mark.usefixtures("one_thread")
FEW = ("--max-steps", "2", "--batch-size", "3", "--offline", "--device", "cpu")
# A card for each kind of head and format, with files whose official checksums are not known.
CARDS = (
    "squad_v2",
    "squad_v1_tenth_pairs",
    "xnli",
    "cosmos_qa",
    "ccg",
    "mlm_wikipedia",
)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build("bert", tmp_path_factory.mktemp("base") / "bert")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    for name in CARDS:
        lay(read_intermediate(name), folder)
    return folder


@pytest.fixture
def own(tmp_path: Path) -> Callable[..., Path]:
    """A card of one's own beside its data."""

    def made(texts: dict[str, str], **change: Any) -> Path:
        for path, text in texts.items():
            (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / path).write_text(text, encoding="utf-8")
        card = tmp_path / "own.yaml"
        card.write_text(yaml.safe_dump(CARD | change))
        return card

    return made


def pairs_card(own: Callable[..., Path], **change: Any) -> Path:
    """A dual encoder over English and German sentences."""
    return own(
        {f"par/{lang}.txt": "\n".join(sentences(lang)) + "\n" for lang in ("en", "de")},
        kind="dual_encoder", objective="contrastive", labels=[], languages=["en", "de"],
        symmetric=True, deal={"items": "en", "partners": True},
        source=source("parallel_lines", "par/{code}.txt"),
        **{"recipe": {"batch_size": 3, "max_length": 32, "question_length": 32}, **change},
    )  # fmt: skip


@pytest.mark.parametrize("name", CARDS)
def test_every_kind_of_head_trains(
    name: str, run: Run, base: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from harness.data import layout

    monkeypatch.setattr(layout, "read_checksums", dict)
    card = read_intermediate(name)
    out = tmp_path / "made"
    ran = run("train", base, "-i", name, "--out", out, "--data", data, *FEW)
    assert (ran.code, ran.stdout.strip()) == (0, str(out)), ran.stderr
    assert "loss" in ran.stderr
    assert f"next: xharness eval {out}" in ran.stderr
    architecture = json.loads((out / "config.json").read_text())["architectures"][0]
    assert (
        architecture
        == {
            "span": "BertForQuestionAnswering",
            "dual_encoder": "BertModel",
            "classification": "BertForSequenceClassification",
            "multiple_choice": "BertForMultipleChoice",
            "tagging": "BertForTokenClassification",
            "mlm": "BertForMaskedLM",
        }[card.kind]
    )
    before = load_file(base / "model.safetensors")
    after = {
        key.removeprefix("bert."): value
        for key, value in load_file(out / "model.safetensors").items()
    }
    changed = [key for key, value in before.items() if key in after and (after[key] != value).any()]
    assert len(changed) > 20
    assert not (out / ".training").exists()
    record = json.loads((out / "training.json").read_text())
    assert record["tasks"][name]["files"]
    assert record["versions"]["processor"] == processor()
    assert (out / "loss.tsv").read_text().count("\n") == 3
    submission = Submission.model_validate(yaml.safe_load((out / "submission.yaml").read_text()))
    assert submission.objective == card.objective
    assert submission.contaminated == sorted(card.contaminates)
    assert submission.base == "bert"
    assert submission.seed == 0
    assert submission.recipe is not None
    assert submission.recipe.startswith(f"{name}-")
    assert (submission.matched is None) == (card.design is None)
    assert submission.revision == record["revision"]


def test_the_result_is_an_ordinary_checkpoint(
    run: Run,
    base: Path,
    own: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import transformers

    monkeypatch.setattr("sys.argv", ["/bin/xharness", "train", "BASE", "--out", "x"])
    card = pairs_card(own)
    out = tmp_path / "made"
    ran = run("train", base, "-i", card, "--out", out, "--data", tmp_path, *FEW)
    assert ran.code == 0, ran.stderr
    _, info = transformers.AutoModel.from_pretrained(out, output_loading_info=True)
    assert not info["unexpected_keys"]
    assert {key.split(".")[0] for key in info["missing_keys"]} <= {"pooler"}
    transformers.AutoTokenizer.from_pretrained(out)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        assert (out / name).read_bytes() == (base / name).read_bytes()
    # Native is what it was trained with.
    results = tmp_path / "results"
    ran = run(
        "eval", out, "--task", "demo_bitext", "--protocol", "native", "--out", results, "--offline",
        "--format", "json",
    )  # fmt: skip
    assert ran.code == 0, ran.stderr
    assert {row["track"] for row in json.loads(ran.stdout)} == {"native"}
    assert json.loads((out / "sentence_bert_config.json").read_text())["max_seq_length"] == 32
    card_text = (out / "README.md").read_text()
    assert "xharness train BASE --out x" in card_text
    assert "| seed | 0 |" in card_text
    assert "language: ['de', 'en']" in card_text
    # The same command says so and does nothing; another one does not mix in.
    stamp = (out / "model.safetensors").stat().st_mtime_ns
    again = run("train", base, "-i", card, "--out", out, "--data", tmp_path, *FEW)
    assert (again.code, again.stdout.strip()) == (0, str(out))
    assert (out / "model.safetensors").stat().st_mtime_ns == stamp
    other = run("train", base, "-i", card, "--out", out, "--data", tmp_path, "--seed", "1", *FEW)
    assert other.code == 2
    assert "holds another training (seed was 0, is 1)" in other.stderr
    (out / "mine.txt").write_text("kept")
    fresh = run(
        "train", base, "-i", card, "--out", out, "--data", tmp_path, "--seed", "1", "--fresh", *FEW
    )
    assert fresh.code == 0
    assert (out / "mine.txt").read_text() == "kept"
    assert json.loads((out / "training.json").read_text())["settings"]["seed"] == 1


@pytest.mark.parametrize(
    ("name", "damage", "message"),
    [
        ("model.safetensors", lambda path: path.unlink(), "is no longer what was trained"),
        ("config.json", lambda path: path.write_text("{}"), "is no longer what was trained"),
        ("training.json", lambda path: path.write_text("[]"), "holds another training"),
        ("training.json", lambda path: path.write_text('{"settings'), "holds another training"),
    ],
    ids=["weights", "configuration", "record", "cut record"],
)
def test_a_finished_folder_that_was_changed_is_not_taken_for_done(
    run: Run, base: Path, own: Callable[..., Path], tmp_path: Path, name: str,
    damage: Callable[[Path], object], message: str,
) -> None:  # fmt: skip
    words = ("train", base, "-i", pairs_card(own), "--out", tmp_path / "m", "--data", tmp_path)
    assert run(*words, *FEW).code == 0
    damage(tmp_path / "m" / name)
    ran = run(*words, *FEW)
    assert ran.code == 2
    assert message in ran.stderr
    assert run(*words, *FEW, "--fresh").code == 0


@pytest.mark.parametrize("content", [None, "", "{", "[]"], ids=["gone", "empty", "cut", "another"])
def test_steps_of_unknown_settings_are_not_gone_on_from(
    run: Run, base: Path, own: Callable[..., Path], tmp_path: Path, content: str | None
) -> None:
    out = tmp_path / "m"
    (out / ".training" / "checkpoint-1").mkdir(parents=True)
    (out / ".training" / "checkpoint-1" / "complete").touch()
    if content is not None:
        (out / ".training" / "settings.json").write_text(content)
    words = ("train", base, "-i", pairs_card(own), "--out", out, "--data", tmp_path)
    ran = run(*words, *FEW)
    assert ran.code == 2
    assert "holds another training" in ran.stderr
    assert run(*words, *FEW, "--fresh").code == 0


def test_equal_trainings_have_equal_digests(
    run: Run, base: Path, own: Callable[..., Path], tmp_path: Path
) -> None:
    from harness.checkpoint.resolve import resolve

    card = pairs_card(own)
    for name in ("a", "b"):
        run("train", base, "-i", card, "--out", tmp_path / name, "--data", tmp_path, *FEW, "-q")
    one, two = (resolve(str(tmp_path / name)).revision for name in ("a", "b"))
    assert one == two
    assert one == json.loads((tmp_path / "a" / "training.json").read_text())["revision"]


def with_large_vocabulary(base: Path, folder: Path) -> Path:
    """The checkpoint with so many more tokens, which nobody uses, that its embedding is large."""
    from transformers import AutoModel

    shutil.copytree(base, folder)
    model = AutoModel.from_pretrained(base)
    model.resize_token_embeddings(LARGE // model.config.hidden_size + 1, mean_resizing=False)
    model.save_pretrained(folder)
    return folder


@pytest.mark.parametrize("large", [False, True])
def test_killed_and_resumed_ends_with_the_same_weights(
    run: Run, cache: Path, base: Path, own: Callable[..., Path], tmp_path: Path, large: bool
) -> None:
    card = pairs_card(own)
    if large:
        base = with_large_vocabulary(base, tmp_path / "large")
    options = ["--data", tmp_path, "--offline", "--device", "cpu", "--epochs", "12"]

    def command(out: str) -> list[object]:
        return ["train", base, "-i", card, "--out", tmp_path / out, *options]

    code, errors = interrupted(
        "harness.training.saves:save_whole", 2, signal.SIGKILL, *command("killed"),
        OMP_NUM_THREADS="1", XHARNESS_CACHE=str(cache),
    )  # fmt: skip
    assert code == -signal.SIGKILL, errors
    assert not (tmp_path / "killed" / "config.json").exists()  # nothing that looks finished
    if large:  # Of the moments of its embedding only the rows in use are kept.
        sizes = [path.stat().st_size for path in (tmp_path / "killed").rglob("optimizer.pt")]
        assert sizes
        assert max(sizes) < LARGE
    ran = run(*command("killed"))
    assert ran.code == 0, ran.stderr
    assert "going on after step" in ran.stderr
    whole = run(*command("whole"))
    assert whole.code == 0, whole.stderr
    for name in ("model.safetensors", "loss.tsv", "loss.svg"):
        assert (tmp_path / "killed" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_several_tasks_one_per_step(run: Run, base: Path, data: Path, tmp_path: Path) -> None:
    out = tmp_path / "made"
    ran = run(
        "train", base, "-i", "squad_v2", "-i", "cosmos_qa", "-i", "ccg", "--out", out,
        "--data", data, "--offline", "--device", "cpu", "--epochs", "2", "--batch-size", "2", "-q",
    )  # fmt: skip
    assert ran.code == 0, ran.stderr
    tasks = [line.split("\t")[1] for line in (out / "loss.tsv").read_text().splitlines()[1:]]
    assert sorted(tasks) == ["ccg"] * 6 + ["cosmos_qa"] * 6 + ["squad_v2"] * 6
    assert tasks != sorted(tasks)
    assert json.loads((out / "config.json").read_text())["architectures"] == [
        "BertForQuestionAnswering"  # a reader is what it can be
    ]
    submission = yaml.safe_load((out / "submission.yaml").read_text())
    assert submission["objective"] == "multitask"


def test_the_model_card_shows_adapters_and_what_tasks_differ_in(
    run: Run, base: Path, own: Callable[..., Path], tmp_path: Path
) -> None:
    second = tmp_path / "second.yaml"
    pairs_card(
        own, name="second", recipe={"batch_size": 2, "max_length": 48, "question_length": 32}
    ).rename(second)
    out = tmp_path / "made"
    ran = run(
        "train", base, "-i", pairs_card(own), "-i", second, "--out", out, "--data", tmp_path,
        "--lora-layers", "0-1", "--max-steps", "2", "--offline", "--device", "cpu", "-q",
    )  # fmt: skip
    assert ran.code == 0, ran.stderr
    table = (out / "README.md").read_text().splitlines()
    assert "| lora | layers 0 to 1, rank 16, alpha 32 |" in table
    for name, batch_size, length in (("own", 3, 32), ("second", 2, 48)):
        assert f"| batch_size ({name}) | {batch_size} |" in table
        assert f"| max_length ({name}) | {length} |" in table
    assert "| question_length | 32 |" in table
    assert not [line for line in table if line.startswith(("| max_length |", "| tasks |"))]
    assert json.loads((out / "sentence_bert_config.json").read_text())["max_seq_length"] == 48


def test_adapters_are_merged_away(
    run: Run, base: Path, own: Callable[..., Path], tmp_path: Path
) -> None:
    card = pairs_card(own)
    out = tmp_path / "made"
    ran = run(
        "train", base, "-i", card, "--out", out, "--data", tmp_path, "--lora-layers", "0-1",
        "--lr", "0.01", *FEW,
    )  # fmt: skip
    assert ran.code == 0, ran.stderr
    before, after = load_file(base / "model.safetensors"), load_file(out / "model.safetensors")
    assert set(after) <= set(before)
    changed = {key for key in after if (after[key] != before[key]).any()}
    assert changed
    assert all("layer.0." in key or "layer.1." in key for key in changed)
    assert not list(out.glob("adapter*"))
    assert json.loads((out / "training.json").read_text())["settings"]["lora"]["layers"] == [0, 1]


def test_adapters_need_peft_before_anything_is_read(
    run: Run, base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "harness.training.run.find_spec", lambda name: None if name == "peft" else find_spec(name)
    )
    out = tmp_path / "made"
    options = ("-i", "squad_v2", "--out", out, "--data", tmp_path)  # there is no data
    ran = run("train", base, *options, "--lora", *FEW)
    assert ran.code == 2
    assert "training adapters needs peft: pip install" in ran.stderr
    assert not out.exists()
    assert run("train", base, *options, *FEW).code == 5


def test_a_loss_that_is_not_finite_stops_and_keeps_the_last_step(
    run: Run, base: Path, own: Callable[..., Path], tmp_path: Path
) -> None:
    card = pairs_card(own)
    out = tmp_path / "made"
    ran = run(
        "train", base, "-i", card, "--out", out, "--data", tmp_path, "--lr", "1e30",
        "--max-steps", "8", "--offline", "--device", "cpu",
    )  # fmt: skip
    assert ran.code == 5
    last = ran.stderr.strip().splitlines()[-1]
    assert "nan at step" in last
    assert "is kept in" in last
    assert "lower --lr" in last
    assert list((out / ".training").glob("checkpoint-*/complete"))
    assert not (out / "model.safetensors").exists()


def test_weights_that_the_last_step_broke_are_no_checkpoint(
    run: Run, base: Path, own: Callable[..., Path], tmp_path: Path
) -> None:
    out = tmp_path / "made"
    ran = run(
        "train", base, "-i", pairs_card(own), "--out", out, "--data", tmp_path, "--lr", "1e300",
        "--max-steps", "1", "--offline", "--device", "cpu",
    )  # fmt: skip
    assert ran.code == 5
    assert "is not finite after the last step" in ran.stderr
    assert not (out / "model.safetensors").exists()


def test_a_single_pair_has_nothing_to_be_told_from(
    run: Run, base: Path, own: Callable[..., Path], tmp_path: Path
) -> None:
    card = pairs_card(own)
    for lang, text in (("en", "One.\n"), ("de", "Eins.\n")):
        (tmp_path / "par" / f"{lang}.txt").write_text(text)
    ran = run("train", base, "-i", card, "--out", tmp_path / "m", "--data", tmp_path, *FEW)
    assert ran.code == 6
    assert "no other text to be told from" in ran.stderr


@pytest.mark.parametrize("what", ["pairs", "adapters", "several tasks"])
def test_a_full_disk_keeps_the_last_step_and_the_command_goes_on(
    what: str,
    run: Run,
    base: Path,
    data: Path,
    own: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from harness.training import scheduled

    if what == "several tasks":
        tasks: list[object] = ["-i", "squad_v2", "-i", "mlm_wikipedia", "--data", data]
    else:
        tasks = ["-i", pairs_card(own), "--data", tmp_path]
        tasks += ["--lora-layers", "1-2", "--lr", "0.01"] if what == "adapters" else []
    stored = scheduled.store
    calls: list[Path] = []

    def full(model: Any, folder: Path) -> None:
        calls.append(folder)
        if len(calls) == 3:
            (folder / "model.safetensors").write_bytes(b"half")
            raise OSError(28, "No space left on device")
        stored(model, folder)

    def command(out: str) -> list[object]:
        return [
            "train", base, *tasks, "--out", tmp_path / out, "--max-steps", "6",
            "--batch-size", "3", "--offline", "--device", "cpu",
        ]  # fmt: skip

    with monkeypatch.context() as patched:
        patched.setattr(scheduled, "store", full)
        ran = run(*command("full"))
    assert ran.code == 5
    assert "step 3 cannot be saved" in ran.stderr
    assert "No space left on device" in ran.stderr
    assert "step 2 is kept" in ran.stderr
    assert run(*command("full")).code == 0
    assert run(*command("whole")).code == 0
    names = [tmp_path / out / "model.safetensors" for out in ("full", "whole")]
    assert names[0].read_bytes() == names[1].read_bytes()


def test_one_process_at_a_time(
    run: Run, base: Path, own: Callable[..., Path], tmp_path: Path
) -> None:
    from filelock import FileLock

    card = pairs_card(own)
    out = tmp_path / "made"
    (out / ".training").mkdir(parents=True)
    options = ("--out", out, "--data", tmp_path, *FEW)
    with FileLock(out / ".training" / "lock"):
        ran = run("train", base, "-i", card, *options)
        assert ran.code == 2
        assert "another process trains into" in ran.stderr
    assert run("train", base, "-i", card, *options).code == 0
    assert not (out / ".training").exists()


@pytest.mark.slow
def test_two_processes_train_as_one(base: Path, own: Callable[..., Path], tmp_path: Path) -> None:
    """In-batch negatives are those of the whole batch, and the gradient is of the whole loss.

    Nine rows, four a step: the last step has one, which is none for one of two processes.
    """
    still = build(
        "bert", tmp_path / "still", hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0
    )
    card = pairs_card(own, recipe={"batch_size": 4, "max_length": 32, "warmup": 0.0, "lr": 1e-3})
    launch = ["-m", "torch.distributed.run", "--nproc_per_node", "2", "--master_port", "29655"]
    losses = {}
    for name, launcher in (("one", []), ("two", launch)):
        command = [
            sys.executable, *launcher, "-m", "harness", "train", str(still), "-i", str(card),
            "--data", str(tmp_path), "--out", str(tmp_path / name), "--offline", "--device", "cpu",
            "--epochs", "1.5",
        ]  # fmt: skip
        subprocess.run(command, check=True, env=os.environ | {"OMP_NUM_THREADS": "1"})
        lines = (tmp_path / name / "loss.tsv").read_text().splitlines()[1:]
        losses[name] = [float(line.split("\t")[2]) for line in lines]
    assert losses["two"] == pytest.approx(losses["one"], rel=1e-4)
    assert len(losses["one"]) == 3
    assert losses["one"][0] != losses["one"][1]


def test_bfloat16_is_another_training(
    run: Run, base: Path, own: Callable[..., Path], tmp_path: Path
) -> None:
    card = pairs_card(own)
    # Without dropout, whose draws differ between the types.
    steady = tmp_path / "steady"
    shutil.copytree(base, steady)
    path = steady / "config.json"
    off = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    path.write_text(json.dumps({**json.loads(path.read_text()), **off}))

    def trained(out: str, dtype: str) -> Any:
        return run(
            "train", steady, "-i", card, "--out", tmp_path / out, "--data", tmp_path,
            "--dtype", dtype, *FEW,
        )  # fmt: skip

    losses = {}
    for dtype in ("float32", "bfloat16"):
        ran = trained(dtype, dtype)
        assert ran.code == 0, ran.stderr
        out = tmp_path / dtype
        assert json.loads((out / "training.json").read_text())["settings"]["dtype"] == dtype
        stored = load_file(out / "model.safetensors").values()
        assert {value.dtype for value in stored} == {torch.float32}
        lines = (out / "loss.tsv").read_text().splitlines()[1:]
        losses[dtype] = [float(line.split("\t")[2]) for line in lines]
    assert losses["bfloat16"] != losses["float32"]
    assert losses["bfloat16"] == pytest.approx(losses["float32"], rel=0.3)
    ran = trained("float32", "bfloat16")
    assert ran.code == 2
    assert "holds another training (dtype was float32, is bfloat16)" in ran.stderr


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (["-i", "squadv2"], 2, "unknown intermediate task 'squadv2': did you mean squad_v2"),
        (["-i", "squad_v2", "--epochs", "0"], 2, "--epochs 0"),
        (["-i", "squad_v2", "--epochs", "inf"], 2, "--epochs inf"),
        (["-i", "squad_v2", "--epochs", "1e9"], 2, "--epochs 1000000000"),
        (["-i", "squad_v2", "--lr", "-1"], 2, "--lr -1"),
        (["-i", "squad_v2", "--lr", "nan"], 2, "--lr nan"),
        (["-i", "squad_v2", "--lr", "inf"], 2, "--lr inf"),
        (["-i", "squad_v2", "--batch-size", "0"], 2, "--batch-size 0"),
        (["-i", "squad_v1_tenth_pairs", "--batch-size", "1"], 2, "give at least 2"),
        (["-i", "squad_v2", "--max-steps", "0"], 2, "--max-steps 0: give a whole number from 1"),
        (["-i", "squad_v2", "--max-examples", "-1"], 2, "--max-examples -1"),
        (["-i", "squad_v2", "--seed", "-1"], 2, "--seed -1"),
        (["-i", "squad_v2", "--dtype", "int8"], 2, "unknown dtype 'int8'"),
        (["-i", "squad_v2", "--lora-layers", "x"], 2, "--lora-layers x"),
        (["-i", "squad_v2", "--lora-layers", "2-9"], 2, "layers 2-9 of 3"),
        (["-i", "squad_v1_tenth_pairs", "-i", "squad_v2"], 2, "give --lr"),
        (["-i", "nothing.yaml"], 3, "no card nothing.yaml"),
        (["-i", "hellaswag"], 5, "no data for hellaswag"),
        ([], 2, "Missing option '--intermediate'"),
    ],
)
def test_bad_options(
    options: list[str], code: int, message: str, run: Run, base: Path, data: Path, tmp_path: Path
) -> None:
    out = tmp_path / "made"
    if not options:
        ran = run("train", base, "--out", out)
        assert ran.code == code
        return
    ran = run("train", base, *options, "--out", out, "--data", data, "--offline")
    assert ran.code == code
    assert message in ran.stderr
    assert ran.stderr.count("\n") == 1
    assert not (out / "config.json").exists()


@pytest.mark.parametrize(
    ("text", "code", "message"),
    [
        ("a\tb\nx\ty\n", 6, "no column 'label'"),
        ("a\tb\tlabel\n", 6, "no examples in own/en.tsv"),
        ("a\tb\tlabel\nx\ty\tmaybe\n", 6, "label 'maybe'"),
    ],
)
def test_bad_data(
    text: str,
    code: int,
    message: str,
    run: Run,
    base: Path,
    own: Callable[..., Path],
    tmp_path: Path,
) -> None:
    card = own({"own/en.tsv": text})
    ran = run("train", base, "-i", card, "--out", tmp_path / "made", "--data", tmp_path, *FEW)
    assert ran.code == code
    assert message in ran.stderr
    assert ran.stderr.count("\n") == 1


def test_bad_bases_and_targets(run: Run, base: Path, data: Path, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    (empty / "config.json").write_text("{}")
    options = ("-i", "squad_v2", "--data", data, "--offline")
    ran = run("train", empty, *options, "--out", tmp_path / "a")
    assert ran.code == 4
    assert "has no weights" in ran.stderr
    ran = run("train", tmp_path / "nothing", *options, "--out", tmp_path / "a")
    assert ran.code == 3
    decoder = build("qwen2", tmp_path / "qwen2")
    ran = run(
        "train",
        decoder,
        "-i",
        "mlm_wikipedia",
        "--data",
        data,
        "--offline",
        "--out",
        tmp_path / "a",
    )
    assert ran.code == 4
    assert "its tokenizer has no mask token" in ran.stderr
    # Nothing was saved there yet: the folder is free for another training.
    ran = run("train", base, "-i", "squad_v2", "--data", data, "--out", tmp_path / "a", *FEW)
    assert ran.code == 0, ran.stderr
    ran = run("train", base, *options, "--out", base)
    assert ran.code == 2
    assert "holds other files" in ran.stderr
    assert (base / "model.safetensors").is_file()


def test_a_base_that_lacks_encoder_weights_is_refused(run: Run, data: Path, tmp_path: Path) -> None:
    from safetensors.torch import save_file

    broken = build("bert", tmp_path / "broken")
    tensors = load_file(broken / "model.safetensors")
    tensors.pop("encoder.layer.1.output.dense.weight")
    save_file(tensors, broken / "model.safetensors", metadata={"format": "pt"})
    ran = run(
        "train", broken, "-i", "squad_v2", "--data", data, "--offline", "--out", tmp_path / "a"
    )
    assert ran.code == 4
    assert "1 of" in ran.stderr
    assert "encoder.layer.1.output.dense.weight" in ran.stderr


def test_a_trained_reader_answers(run: Run, tmp_path: Path) -> None:
    """A few answers can be learnt by heart: the labels are where the answers are."""
    from transformers import AutoModelForQuestionAnswering, AutoTokenizer

    base = build(
        "bert", tmp_path / "base", initializer_range=0.05, hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )  # fmt: skip
    gold = squad("de")
    for paragraph in gold["data"][0]["paragraphs"]:
        paragraph["qas"].pop()
    (tmp_path / "s.json").write_text(json.dumps(gold))
    change = {
        "kind": "span",
        "objective": "extractive-qa",
        "labels": [],
        "source": source("squad", "s.json"),
        "recipe": {"max_length": 96, "batch_size": 3, "epochs": 40.0, "lr": 3e-3},
    }
    card = tmp_path / "own.yaml"
    card.write_text(yaml.safe_dump(CARD | change))
    out = tmp_path / "made"
    ran = run("train", base, "-i", card, "--out", out, "--data", tmp_path, "--offline", "-q")
    assert ran.code == 0, ran.stderr
    losses = [float(line.split("\t")[2]) for line in (out / "loss.tsv").open() if line[0].isdigit()]
    assert losses[0] > 2
    assert losses[-1] < losses[0] / 2
    model = AutoModelForQuestionAnswering.from_pretrained(out).eval()
    tokenizer = AutoTokenizer.from_pretrained(out)
    for paragraph in gold["data"][0]["paragraphs"]:
        question = paragraph["qas"][0]
        inputs = tokenizer(question["question"], paragraph["context"], return_tensors="pt")
        with torch.no_grad():
            scores = model(**inputs)
        first, last = scores.start_logits.argmax(), scores.end_logits.argmax()
        found = tokenizer.decode(inputs["input_ids"][0, first : last + 1]).strip()
        assert found == question["answers"][0]["text"]


def test_a_trained_checkpoint_tells_what_it_has_seen(
    run: Run, base: Path, own: Callable[..., Path], tmp_path: Path
) -> None:
    """Nobody has submitted it: what its own folder says counts, on its rows and in `compare`."""
    card = pairs_card(own, contaminates=["demo_bitext"])
    made, out = tmp_path / "made", tmp_path / "results"
    ran = run("train", base, "-i", card, "--out", made, "--data", tmp_path, *FEW, "-q")
    assert ran.code == 0, ran.stderr
    for model in (base, made):
        ran = run("eval", model, "--suite", "demo", "--task", "demo_bitext,demo_passages",
                  "--lang", "de", "--out", out, "--offline", "--device", "cpu")  # fmt: skip
        assert ran.code == 0, ran.stderr
    said = {row["task"]: row["note"] for row in harness.scores(out / "local__made").to_pylist()}
    assert "trained on data of this task" in said["demo_bitext"]
    assert "trained on data of this task" not in said["demo_passages"]
    ran = run("compare", made, base, "--out", out, "--format", "json")
    assert ran.code == 0, ran.stderr
    assert "demo_bitext left out" in ran.stderr + ran.stdout
    ran = run("compare", made, base, "--out", out, "--task", "demo_bitext")
    assert ran.code == 5
    assert "was trained on it" in ran.stderr


def test_intermediate_tasks_are_listed(run: Run) -> None:
    ran = run("tasks", "--intermediate")
    assert all(name in ran.stdout for name in intermediate_names())
    assert "all_nine" in ran.stdout
    one = run("tasks", "mlqa_multilingual")
    assert "each item of en once, in one language, spread evenly" in one.stdout
    assert json.loads(run("tasks", "squad_v1", "--format", "json").stdout)["kind"] == "span"
    assert set(json.loads(run("tasks", "english_small", "--format", "json").stdout)) == {
        "squad_v1_tenth", "xnli_dev_en", "pawsx_dev_en", "social_iqa_dev",
    }  # fmt: skip
    assert "span_qa" in run("tasks", "mlqa").stdout  # a target task first
    assert run("tasks", "nothing").code == 2
