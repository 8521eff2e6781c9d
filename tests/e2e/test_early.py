"""What is said in the first seconds: before the first of several models is evaluated."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from harness.cards.catalogue import card_names, read_card
from harness.cards.languages import canonical
from harness.checkpoint.address import parse_model
from harness.cli import app
from harness.errors import (
    HarnessError,
    IncompleteError,
    NotFoundError,
    RefusedError,
    UsageError,
)
from harness.evaluation import space
from harness.evaluation.devices import choose_device
from harness.evaluation.gaps import by_task
from harness.evaluation.models import plan_models
from harness.evaluation.options import Options, listed, make_request
from harness.evaluation.smoke import NOTE
from tests.checkpoints import build
from tests.e2e.conftest import Run
from tests.e2e.test_bad_input import one_line

DEMO = ("eval", "xharness/demo", "--suite", "demo", "--lang", "de")


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint without modules.json: the native protocol does not apply."""
    return build("bert", tmp_path_factory.mktemp("plain") / "plain")


def refused(folder: Path) -> Path:
    (folder / "model.safetensors").write_bytes(b"\0" * 40)
    return folder


def test_every_model_is_looked_at_before_the_first_is_planned(plain: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(plain, other)
    refused(other)
    request = make_request(Options(suite="demo", out=tmp_path / "out", cache_dir=tmp_path / "c"))
    failures: list[HarnessError] = []
    models = [str(plain), str(other), str(tmp_path / "none")]
    plans = plan_models(models, request, request.runtime, failures)
    assert [type(one) for one in failures] == [RefusedError, NotFoundError]
    assert [plan.checkpoint.id for plan in plans] == ["plain"]
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("option", ["--out", "--cache-dir"])
@pytest.mark.parametrize(
    ("place", "said"),
    [
        ("file/folder", "file is a file"),
        ("link", "link is a link that leads nowhere"),
        ("link/folder", "link is a link that leads nowhere"),
    ],
)
def test_a_file_or_a_link_that_leads_nowhere_in_the_place_of_a_folder(
    run: Run, tmp_path: Path, option: str, place: str, said: str
) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "link").symlink_to(tmp_path / "none")
    folders = {"--out": tmp_path / "out"} | {option: tmp_path / place}
    ran = run(*DEMO, *(word for pair in folders.items() for word in pair))
    assert ran.code == 2
    assert f"{tmp_path}/{said}" in ran.stderr
    assert one_line(ran.stderr)


@pytest.mark.parametrize("option", ["--out", "--cache-dir"])
def test_vectors_and_rows_that_do_not_fit_on_the_disk(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, option: str
) -> None:
    (full := tmp_path / "full").mkdir()
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(
        space.shutil,
        "disk_usage",
        lambda folder: usage._replace(free=1_000) if folder == full else usage,
    )
    folders = {"--out": tmp_path / "out", "--cache-dir": tmp_path / "cache"} | {option: full}
    ran = run(*DEMO, *(word for pair in folders.items() for word in pair))
    assert ran.code == IncompleteError.exit_code
    assert f"make room, or name another {option}" in ran.stderr
    assert one_line(ran.stderr)
    assert not list(folders["--out"].rglob("*.part*"))


@pytest.mark.parametrize(("given", "remedy"), [("data/tatoeba", "data"), ("", "data")])
def test_a_data_folder_of_the_wrong_level(
    run: Run, tmp_path: Path, given: str, remedy: str
) -> None:
    right = tmp_path / "data" / "tatoeba"
    right.mkdir(parents=True)
    for side in ("ara", "eng"):
        (right / f"tatoeba.ara-eng.{side}").write_text("x\n")
    ran = run(
        *("eval", "xharness/demo", "--task", "tatoeba", "--suite", "xtreme-r"),
        *("--data", tmp_path / given, "--out", tmp_path / "out"),
    )
    assert ran.code == 5
    assert f"give --data {tmp_path / remedy}" in ran.stderr
    assert "41 of 41 languages of tatoeba, such as ar" in ran.stderr
    assert ran.stderr.count("tatoeba.ara-eng.ara") == 2  # in the plan and in the error
    assert "tatoeba.deu-eng" not in ran.stdout + ran.stderr


def test_reasons_are_one_line_per_task() -> None:
    reasons = {"a/de": "no x", "a/fr": "no y", "b": "no z", "c/de": "no w"}
    assert by_task(reasons, {"a": 3}) == {
        "a": "2 of 3 languages of a, such as de: no x",
        "b": "no z",
        "c/de": "no w",
    }


LANGUAGES = [
    ("German", "de (German)"),
    ("  swahilli ", "sw (Swahili)"),
    ("Mandarin", "zh (Chinese)"),
    ("zh-CN", "zh (Chinese)"),
    ("pt_BR", "pt (Portuguese)"),
]


@pytest.mark.parametrize(("name", "meant"), LANGUAGES)
def test_the_name_of_a_language(name: str, meant: str) -> None:
    with pytest.raises(UsageError) as found:
        canonical(name)
    assert f"did you mean {meant}?" in str(found.value)


def test_several_names_with_commas() -> None:
    assert listed("de,fr") == ("de", "fr")
    assert listed(["de, fr", "sw"]) == ("de", "fr", "sw")
    assert listed(None) == ()
    assert listed("./a,b.yaml") == ("./a,b.yaml",)
    assert listed(",") == (",",)  # named in the error


def test_languages_with_commas_are_those_languages(run: Run, tmp_path: Path) -> None:
    ran = run(*DEMO[:4], "--lang", "de,hi", "--dry-run", "--out", tmp_path / "out")
    assert ran.code == 0
    assert "demo_bitext" in ran.stdout
    assert "2 languages" in ran.stdout
    one = run(*DEMO, "--dry-run", "--out", tmp_path / "out")
    assert "1 language," in one.stdout
    assert "1 languages" not in one.stdout


TASKS = [
    ("XQuAD", "did you mean xquad?"),
    ("BUCC", "did you mean bucc2018?"),
    ("xquad-r", "did you mean lareqa?"),
    ("xtreme-r", "give --suite xtreme-r"),
    ("tatoba", "did you mean tatoeba"),
]


@pytest.mark.parametrize(("name", "words"), TASKS)
def test_the_name_of_a_task(name: str, words: str) -> None:
    with pytest.raises(UsageError) as found:
        read_card(name)
    assert words in str(found.value)


@pytest.mark.parametrize("name", ["XNLI", "PAWS-X", "NER", "POS", "xcopa"])
def test_a_task_of_xtreme_is_named_or_said_to_be_missing(name: str) -> None:
    with pytest.raises(UsageError) if name not in card_names() else _nothing() as found:
        read_card(name)
    if found is not None:
        assert "did you mean" in str(found.value) or "not measured by this" in str(found.value)


class _nothing:
    def __enter__(self) -> None:
        return None

    def __exit__(self, *_: object) -> None:
        return None


@pytest.mark.parametrize(
    ("name", "meant"), [("gpu", "cuda"), ("gpu:1", "cuda:1"), ("Metal", "mps")]
)
def test_the_name_of_a_device(name: str, meant: str) -> None:
    with pytest.raises(UsageError, match=rf"did you mean {meant}\?"):
        choose_device(name)


HUB = "https://huggingface.co"
ADDRESSES = [
    (f"{HUB}/org/name", ("org/name", None)),
    (f"{HUB}/org/name/tree/main", ("org/name", None)),
    (f"{HUB}/org/name/blob/v1.0/config.json?raw=1#L3", ("org/name", "v1.0")),
    (f"{HUB}/org/name/tree/refs%2Fpr%2F7", ("org/name", "refs/pr/7")),
    (f"{HUB}/org/name/discussions/7", ("org/name", None)),
    (f"{HUB}/bert-base-uncased/tree/abc", ("bert-base-uncased", "abc")),
    ("huggingface.co/org/name/", ("org/name", None)),
    ("hf.co/org/name", ("org/name", None)),
    ("hf://org/name@v1", ("org/name", "v1")),
]


@pytest.mark.parametrize(("text", "meant"), ADDRESSES)
def test_an_address_of_the_hub_is_the_model(text: str, meant: tuple[str, str | None]) -> None:
    assert parse_model(text) == meant


@pytest.mark.parametrize("text", [f"{HUB}/datasets/o/n", f"{HUB}/", "https://example.org/o/n"])
def test_another_address_is_explained(text: str) -> None:
    with pytest.raises(UsageError, match="give org/name or a folder"):
        parse_model(text)


OPTIONS = [
    (("eval", "--model", "m"), "as in `{} eval MODEL`"),
    (("eval", "m", "--revision", "x"), "as in `{} eval MODEL@REV`"),
    (("eval", "m", "--language", "de"), "use --lang"),
    (("eval", "m", "--batch-size", "8"), "use --batch-tokens"),
    (("tasks", "--json"), "use --format json"),
]


@pytest.mark.parametrize(("words", "said"), OPTIONS)
def test_an_option_of_other_programs(run: Run, words: tuple[str, ...], said: str) -> None:
    ran = run(*words)
    assert ran.code == 2
    flat = " ".join(ran.stderr.replace("│", " ").split())
    assert said.format("xharness").split("`")[0] in flat
    assert "Traceback" not in ran.stderr


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ("eval x --task tat", ["tatoeba"]),
        ("eval x --dtype b", ["bfloat16"]),
        ("eval x --suite xtreme-", ["xtreme-r", "xtreme-small"]),
        ("eval x --prompt-query a", []),
        ("eval x --format j", ["json"]),
        ("show x --format l", ["latex"]),
        ("plan x --format j", ["jsonl"]),
        ("tasks xq", ["xquad"]),
        ("tasks mnl", ["mnli"]),
        ("train x -i all_n", ["all_nine"]),
        ("contra", ["contrast"]),
    ],
)
def test_a_shell_is_offered(
    words: str,
    offered: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("_XHARNESS_COMPLETE", "complete_bash")  # as bash asks
    monkeypatch.setenv("COMP_WORDS", f"xharness {words}")
    monkeypatch.setenv("COMP_CWORD", str(len(words.split())))
    with pytest.raises(SystemExit):
        app(prog_name="xharness")
    assert capsys.readouterr().out.split() == offered


def test_a_smoke_run_keeps_nothing(run: Run, tmp_path: Path) -> None:
    out, cache = tmp_path / "out", tmp_path / "cache"
    ran = run("eval", "xharness/demo", "--task", "demo_bitext", "--smoke", "--out", out,
              "--cache-dir", cache)  # fmt: skip
    assert ran.code == 0, ran.stderr
    assert NOTE in ran.stdout
    assert "next:" not in ran.stderr
    assert not out.exists()
    assert not list(cache.rglob("*.arrow"))
