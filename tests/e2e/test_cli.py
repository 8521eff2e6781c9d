"""The command line itself: help, examples, version, and what it costs to start."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import click
import pytest
import typer

from harness import __version__
from harness.checkpoint.demo import VERSION
from harness.cli import app
from harness.results.outcomes import read_meta
from tests.checkpoints import build
from tests.conftest import ROOT
from tests.e2e.conftest import Run

Process = Callable[..., "subprocess.Popen[str]"]


def commands() -> dict[str, click.Command]:
    """Every command by its full name."""
    found: dict[str, click.Command] = {}

    def visit(name: str, command: click.Command) -> None:
        if hasattr(command, "commands"):
            for child, inner in command.commands.items():
                visit(f"{name} {child}".strip(), inner)
        else:
            found[name] = command

    visit("", typer.main.get_command(app))
    return found


@pytest.mark.parametrize("name", sorted(commands()))
def test_every_command_has_help_with_an_example_that_parses(run: Run, name: str) -> None:
    ran = run(*name.split(), "--help")
    assert ran.code == 0
    epilog = commands()[name].epilog or ""
    match = re.fullmatch(rf"Example: xharness ({name}.*)", epilog)
    assert match, f"{name} has no example"
    assert "Example: xharness" in " ".join(ran.stdout.split())
    words = match[1].split()[len(name.split()) :]
    commands()[name].make_context(name, words, resilient_parsing=False)


@pytest.mark.parametrize("name", sorted(commands()))
def test_every_command_is_in_the_readme(name: str) -> None:
    readme = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    assert f"xharness {name}" in readme


def test_version(run: Run) -> None:
    assert run("--version").stdout == f"xharness {__version__}\n"


def test_help_imports_nothing_heavy() -> None:
    heavy = ("torch", "transformers", "pyarrow", "numpy", "pydantic", "datasets")
    code = (
        "import sys\n"
        "sys.argv = ['xharness', '--help']\n"
        "from harness.cli import main\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        f"print([name for name in {heavy!r} if name in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"
    assert "eval" in done.stdout


def test_nothing_is_printed_in_colour_into_a_pipe(run: Run, tmp_path: Path) -> None:
    ran = run("eval", "xharness/demo", "--suite", "demo", "--out", tmp_path)
    assert "\x1b" not in ran.stdout + ran.stderr


def test_the_next_command_can_be_copied_into_a_shell(run: Run, tmp_path: Path) -> None:
    out = tmp_path / "it's (1) $HOME"
    ran = run("eval", "xharness/demo", "--task", "demo_bitext", "--lang", "de", "--out", out)
    words = shlex.split(ran.stderr.splitlines()[-1])
    assert words[:3] == ["next:", "xharness", "show"]
    assert run("show", *words[3:]).code == 0


def test_tasks_lists_cards_and_shows_one(run: Run) -> None:
    listed = run("tasks").stdout
    assert all(name in listed for name in ("tatoeba", "lareqa", "mewsli_x", "mlqa_cross"))
    card = json.loads(run("tasks", "lareqa", "--format", "json").stdout)
    assert card["candidates"] == 13_014
    assert "recall@10" in run("tasks", "lareqa").stdout
    assert run("tasks", "lareq").code == 2


def test_overlap_of_training_data_with_targets(run: Run, tmp_path: Path) -> None:
    asked = ("tasks", "demo_qa_en", "--overlap", "--cache-dir", tmp_path)
    found = json.loads(run(*asked, "--format", "json").stdout)
    german = found["demo_bitext"]["test"]["de"]
    assert german["examples"] > 0
    assert german["share"] == german["either"] / german["examples"]
    assert "counts as contaminated" in run(*asked).stdout
    assert run("tasks", "--overlap").code == 2
    assert run("tasks", "tatoeba", "--overlap").code == 2  # a target, nothing to train on
    nowhere = run("tasks", "mlqa_en", "--overlap", "--data", tmp_path, "--cache-dir", tmp_path)
    assert nowhere.code == 5
    assert "Traceback" not in nowhere.stderr


def test_cache_is_listed_and_pruned(run: Run, tmp_path: Path) -> None:
    options = ("--suite", "demo", "--task", "demo_bitext", "--lang", "de")
    cache = tmp_path / "cache"
    assert (
        run("eval", "xharness/demo", *options, "--cache-dir", cache, "--out", tmp_path / "o").code
        == 0
    )
    kinds = {
        e["kind"]
        for e in json.loads(run("cache", "ls", "--cache-dir", cache, "--format", "json").stdout)
    }
    assert kinds == {"vectors", "tokens", "probes", "demo"}
    assert "removed 0" in run("cache", "prune", "--cache-dir", cache).stdout
    pruned = run("cache", "prune", "--older-than", "0", "--cache-dir", cache).stdout
    assert "removed 1 vector stores, 1 stores of keys of token ids and 0 tuned" in pruned
    assert not [*(cache / "vectors").iterdir(), *(cache / "tokens").iterdir()]


def test_score_and_export_go_round(run: Run, tmp_path: Path) -> None:
    out, folder = tmp_path / "out", tmp_path / "predictions"
    assert run("eval", "xharness/demo", "--suite", "demo", "--out", out).code == 0
    ran = run("export", out, folder)
    assert ran.code == 0, ran.stderr
    scored = json.loads(run("score", folder).stdout)
    accuracy = {
        row["lang"]: 100 * row["value"]
        for row in json.loads(run("show", out, "--format", "json").stdout)
        if row["metric"] == "accuracy" and row["direction"].startswith("en-") and row["n"] == 60
    }
    assert {k: v["accuracy"] for k, v in scored["demo_bitext"].items()} == pytest.approx(accuracy)


def test_score_of_one_file(run: Run, tmp_path: Path) -> None:
    question = {
        "id": "q",
        "question": "Where?",
        "answers": [{"text": "the park", "answer_start": 0}],
    }
    paragraph = {"context": "the park", "qas": [question]}
    (tmp_path / "gold.json").write_text(
        json.dumps({"version": "1", "data": [{"paragraphs": [paragraph]}]})
    )
    (tmp_path / "answers.json").write_text(json.dumps({"q": "a park!"}))
    ran = run("score", tmp_path / "answers.json", "--gold", tmp_path / "gold.json", "--lang", "en")
    assert json.loads(ran.stdout) == {"squad": {"en": {"exact_match": 100.0, "f1": 100.0}}}
    assert run("score", tmp_path / "none.json", "--gold", tmp_path / "gold.json").code == 3


@pytest.mark.parametrize("words", [(".", "--lang", "de"), (".", "--scorer", "mlqa"), ("a.json",)])
def test_what_belongs_to_one_file_of_answers(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.json").write_text("{}", encoding="utf-8")
    ran = run("score", *words)
    assert (ran.code, ran.stdout) == (2, "")
    assert "give --gold too" in ran.stderr


def test_doctor_examines_a_checkpoint(run: Run) -> None:
    ran = run("doctor", "xharness/demo", "--format", "json")
    assert ran.code == 0, ran.stderr
    facts = json.loads(ran.stdout)
    assert facts["xharness/demo"]["layers"].startswith("4;")
    assert facts["data"]["demo_bitext"] == "there"


def test_doctor_says_what_is_wrong_with_a_data_folder(run: Run, tmp_path: Path) -> None:
    for name in ("ar", "de"):
        path = tmp_path / f"lareqa/xquad-r/{name}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("{}")
    ran = run("doctor", "--data", tmp_path, "--format", "json")
    assert ran.code == 0, ran.stderr
    said = json.loads(ran.stdout)["data"]
    assert said["lareqa"].startswith("broken: lareqa/xquad-r/ar.json")
    assert said["lareqa"].endswith("(and 1 more); 9 files are not there")
    a_file = tmp_path / "cache"
    a_file.touch()
    ran = run("doctor", "--cache-dir", a_file, "--format", "json")
    assert json.loads(ran.stdout)["cache"]["writable"].startswith("no: name another")
    ran = run("doctor", "--data", tmp_path / "none")
    assert (ran.code, ran.stdout) == (2, "")
    assert "no data folder" in ran.stderr


def test_a_class_that_contradicts_the_tokenizer_is_said_by_doctor_and_on_the_row(
    run: Run, tmp_path: Path
) -> None:
    folder = build("bert", tmp_path / "m")
    ordinary = run("doctor", folder, "--format", "json")
    assert json.loads(ordinary.stdout)[str(folder)]["tokenizer"] == "its files agree"
    path = folder / "tokenizer_config.json"
    declared = json.loads(path.read_text())
    path.write_text(json.dumps({**declared, "tokenizer_class": "CamembertTokenizer"}))
    said = json.loads(run("doctor", folder, "--format", "json").stdout)[str(folder)]["tokenizer"]
    assert said.startswith("tokenizer_config.json names CamembertTokenizer;")
    out = tmp_path / "out"
    ran = run("eval", folder, "--task", "demo_bitext", "--lang", "de", "--out", out)
    assert ran.code == 0, ran.stderr
    (rows,) = out.rglob("demo_bitext.*.parquet")
    assert said in read_meta(rows)["notes"]


def test_a_tokenizer_from_another_file_ends_with_4(run: Run, tmp_path: Path) -> None:
    folder = build("bert", tmp_path / "m")
    path = folder / "tokenizer_config.json"
    named = {"fast_tokenizer_files": ["tokenizer.4.0.0.json", "tokenizer.json"]}
    path.write_text(json.dumps({**json.loads(path.read_text()), **named}))
    (folder / "tokenizer.4.0.0.json").write_bytes((folder / "tokenizer.json").read_bytes())
    ran = run("eval", folder, "--task", "demo_bitext", "--out", tmp_path / "out")
    assert (ran.code, ran.stdout) == (4, "")
    assert "fast_tokenizer_files" in ran.stderr.splitlines()[-1]


def test_models_are_told_apart_and_kept_when_a_later_one_fails(run: Run, tmp_path: Path) -> None:
    command = ("--task", "demo_bitext", "--lang", "de", "--out", tmp_path / "out")
    other = build("bert", tmp_path / "other")
    both = run("eval", "xharness/demo", other, "xharness/demo", *command)
    named = re.findall(r"(?m)^(\S+) at local:", both.stdout)
    assert named == [f"xharness-demo-v{VERSION}", "other"]
    assert both.stdout.count("demo_bitext") == 2  # a model named twice is one model
    failed = run("eval", "xharness/demo", "./no-such-folder", *command, "--format", "json")
    assert failed.code == 3
    assert {row["task"] for row in json.loads(failed.stdout)} == {"demo_bitext"}
    assert failed.stderr.rstrip().splitlines()[-1].startswith("error: ./no-such-folder")
    # It is said before the others run, too.
    assert failed.stderr.startswith("cannot be evaluated, the other models are: ./no-such-folder")


def test_a_dry_run_in_json_is_json(run: Run, tmp_path: Path) -> None:
    asked = ("eval", "xharness/demo", "--suite", "demo", "--out", tmp_path, "--dry-run")
    (plan,) = json.loads(run(*asked, "--format", "json").stdout).values()
    assert plan["protocol"] == "standard"
    tasks = {task["task"]: task for task in plan["tasks"]}
    assert set(tasks) == {"demo_bitext", "demo_mining", "demo_passages"}
    assert set(plan["inapplicable"]) == {"demo_qa", "demo_pairs", "demo_choices", "demo_tags"}
    assert tasks["demo_mining"]["languages"] == ["de", "ru", "zh"]
    assert tasks["demo_mining"]["finished"] == []
    assert tasks["demo_bitext"]["texts_to_do"] == tasks["demo_bitext"]["texts"] > 0
    # The terminal has the same numbers in words.
    shown = run(*asked).stdout
    for task in plan["tasks"]:
        (signature,) = task["signatures"]
        assert f"{task['task']} {signature}: {len(task['languages'])} languages" in shown
        assert f"{task['texts']:,} distinct texts" in shown


def test_a_nameless_model_is_a_usage_error(run: Run) -> None:
    ran = run("eval", "", "--suite", "demo")
    assert (ran.code, ran.stderr) == (
        2,
        "error: the model has no name: give a Hub id (org/name) or a folder\n",
    )


@pytest.mark.parametrize(
    "words",
    [
        ("leaderboard", "--root", "FILE"),
        ("train", "xharness/demo", "--intermediate", "mlqa_en", "--offline", "--out", "FILE/x"),
        ("train", "xharness/demo", "--intermediate", "mlqa_en", "--offline", "--out", "LINK"),
    ],
)
def test_a_path_of_another_kind_is_a_usage_error(
    words: tuple[str, ...], run: Run, tmp_path: Path
) -> None:
    file, link = tmp_path / "file", tmp_path / "link"
    file.write_text("no folder", encoding="utf-8")
    link.symlink_to(tmp_path / "nowhere")
    paths = {"FILE": str(file), "LINK": str(link), "FILE/x": str(file / "x")}
    ran = run(*(paths.get(word, word) for word in words))
    assert ran.code == 2
    assert ran.stderr.startswith("error: ")
    assert ran.stderr.count("\n") == 1
    assert file.read_text(encoding="utf-8") == "no folder"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["evl"], "'eval'"),
        (["eval"], "Missing argument"),
        (["eval", "x", "--limit", "many"], "--limit"),
        (["cache", "list"], "No such command"),
    ],
)
def test_a_usage_error_is_one_line(words: list[str], message: str) -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "harness", *words], capture_output=True, text=True, check=False
    )
    assert (ran.returncode, ran.stdout, ran.stderr.count("\n")) == (2, "", 1)
    assert ran.stderr.startswith("error: ")
    assert message in ran.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="needs a shell with >&-")
@pytest.mark.parametrize("end", [">&-", "| true"])
def test_a_closed_stdout_is_no_traceback(end: str) -> None:
    ran = subprocess.run(
        ["sh", "-c", f'"{sys.executable}" -m harness tasks {end}'],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ran.returncode, ran.stderr) == (0, "")


@pytest.mark.parametrize("form", ["table", "json"])
def test_a_reader_that_leaves_does_not_make_an_incomplete_run_a_success(
    process: Process, tmp_path: Path, form: str
) -> None:
    (tmp_path / "data").mkdir()
    command = ("eval", "xharness/demo", "--task", "lareqa", "--data", tmp_path / "data")
    running = process(*command, "--out", tmp_path / "out", "--format", form)
    assert running.stdout is not None
    running.stdout.close()
    assert running.stderr is not None
    errors = running.stderr.read()
    assert running.wait() == 5
    assert "lareqa" in errors
    assert "Traceback" not in errors


def test_evaluate_needs_a_model() -> None:
    from harness import evaluate
    from harness.errors import UsageError

    with pytest.raises(UsageError, match="no model"):
        evaluate([])


def test_a_card_of_ones_own_is_given_by_its_path_everywhere(
    run: Run, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    card = (ROOT / "tasks/target/demo_bitext.yaml").read_text(encoding="utf-8")
    Path("own.yaml").write_text(card.replace("demo_bitext", "own", 1), encoding="utf-8")
    named = ("--task", "./own.yaml")
    commands = (
        ("eval", tiny, "xharness/demo", *named, "--lang", "de"),
        ("show", "leaderboard/results", *named),
        ("compare", "tiny", "xharness-demo-v2", *named, "--metric", "mrr"),
        ("plan", tiny, *named),
    )
    for words in commands:
        ran = run(*words)
        assert ran.code == 0, ran.stderr
        assert "own" in ran.stdout
    assert run("compare", "tiny", "xharness-demo-v2", "--task", "./none.yaml").code == 3
    assert run("show", "leaderboard/results", "--task", "./none.yaml").code == 3


@pytest.mark.parametrize("options", [(), ("--finetune",)])
def test_a_card_of_ones_own_has_no_target_recipe(
    run: Run, tiny: Path, tmp_path: Path, options: tuple[str, ...]
) -> None:
    card = (ROOT / "tasks/target/demo_tags.yaml").read_text(encoding="utf-8")
    (tmp_path / "own.yaml").write_text(card.replace("demo_tags", "own", 1), encoding="utf-8")
    ran = run("eval", tiny, "--task", tmp_path / "own.yaml", "--out", tmp_path / "out", *options)
    assert ran.code == 0, ran.stderr
    assert "no tagging head: own has no target recipe" in ran.stdout
