"""`xharness align` on the demo pairs: numbers, table, figure, and bad input."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from harness.data import layout
from tests.checkpoints import build
from tests.e2e.conftest import Run

DEMO = ("align", "xharness/demo", "--task", "demo_bitext")


@pytest.fixture(scope="module")
def demo(run: Run, tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Path]:
    """The demo checkpoint through the command, and the figure that it drew."""
    figure = tmp_path_factory.mktemp("figures") / "new" / "demo.svg"
    ran = run(*DEMO, "--format", "json", "--figure", figure)
    assert ran.code == 0, ran.stderr
    return json.loads(ran.stdout), figure


def rows_of(data: Any, unit: str, lang: str) -> list[Any]:
    return [row for row in data["rows"] if (row["unit"], row["lang"]) == (unit, lang)]


def test_the_demo_through_the_command(demo: tuple[Any, Path]) -> None:
    data, _ = demo
    assert (data["task"], data["depth"], data["standard_layer"]) == ("demo_bitext", 4, 4)
    assert data["without_words"] == {
        "ru": "11 word pairs",
        "ar": "15 word pairs",
        "zh": "no spaces between words",
    }
    sentences = rows_of(data, "sentences", "macro")
    assert [row["layer"] for row in sentences] == [0, 1, 2, 3, 4]
    assert sentences[0]["pairs"] == 7 * 60
    assert rows_of(data, "words", "de")[0]["pairs"] == 22
    for row in (*sentences, *rows_of(data, "words", "macro")):
        assert row["cosine"] - row["random"] == pytest.approx(row["gap"])
        assert row["gap_low"] < row["gap"] < row["gap_high"]
        # The demo checkpoint was built to know what its languages share.
        assert row["gap_low"] > 0
        assert row["recall@10"] > row["chance"]


def test_the_ranks_are_those_of_an_evaluation(
    run: Run,
    demo: tuple[Any, Path],
    tmp_path: Path,
) -> None:
    ran = run(
        *("eval", "xharness/demo", "--task", "demo_bitext", "--layer", "all"),
        *("--out", tmp_path, "--format", "json"),
    )
    evaluated = {
        (row["lang"], row["layer"], row["metric"]): row["value"]
        for row in json.loads(ran.stdout)
        if row["direction"].startswith("en-")
    }
    for lang in ("de", "zh", "macro"):
        for row in rows_of(demo[0], "sentences", lang):
            for metric in ("recall@10", "accuracy", "mrr"):
                assert row[metric] == pytest.approx(evaluated[lang, row["layer"], metric])
    shown = run("show", tmp_path).stdout.splitlines()
    assert [line.split("layer ")[1][0] for line in shown if "layer " in line] == list("01234")


def test_the_figure_is_an_svg_that_tells_what_it_shows(
    demo: tuple[Any, Path],
) -> None:
    _, figure = demo
    root = ElementTree.parse(figure).getroot()
    text = " ".join(root.itertext())
    assert "recall@10 in percent" in text
    assert "words, cosine: highest at layer" in text
    assert [path.name for path in figure.parent.iterdir()] == ["demo.svg"]


def test_the_table_says_what_is_in_it(run: Run) -> None:
    ran = run(*DEMO, "--lang", "de", "--lang", "zh", "--quiet")
    assert ran.code == 0
    assert ran.stderr == ""
    assert "words: 1 language, 22 pairs; by chance recall@10 is 45.5" in ran.stdout
    assert "sentences: 2 languages, 120 pairs (60 each); by chance recall@10 is 16.7" in ran.stdout
    assert "no words (fewer than 20 pairs) of: zh (no spaces between words)" in ran.stdout
    lines = [line for line in ran.stdout.splitlines() if line.lstrip().startswith("4*")]
    assert len(lines) == 2
    assert max(len(line.rstrip()) for line in lines) <= 80


def test_a_tiny_checkpoint_under_another_pooling(run: Run, tmp_path: Path) -> None:
    folder = build("xlm-roberta", tmp_path / "tiny")
    ran = run(
        *("align", folder, "--task", "demo_bitext", "--lang", "es", "--pooling", "cls"),
        *("--limit", "30", "--format", "json", "--figure", tmp_path / "tiny.svg"),
    )
    assert ran.code == 0, ran.stderr
    data = json.loads(ran.stdout)
    assert (data["pooling"], data["limit"], data["depth"]) == ("cls", 30, 3)
    first, *rest = rows_of(data, "sentences", "es")
    assert first["pairs"] == 30
    # At layer 0 every text has the same first token: a cosine of 1, and nothing to rank.
    assert first["random"] == pytest.approx(1, abs=1e-5)
    assert first["gap"] == pytest.approx(0, abs=1e-5)
    assert first["recall@10"] is None
    assert all(row["recall@10"] is not None for row in rest)
    table = run("align", folder, "--task", "demo_bitext", "--lang", "es", "--pooling", "cls")
    assert "—" in table.stdout
    assert ElementTree.parse(tmp_path / "tiny.svg") is not None


def test_one_pair_is_not_too_few(run: Run, tmp_path: Path) -> None:
    ran = run(*DEMO, "--lang", "de", "--limit", "1", "--figure", tmp_path / "one.svg")
    assert ran.code == 0, ran.stderr
    assert "sentences: 1 language, 1 pairs" in ran.stdout
    # A single text has no interval, and the figure leaves out what is no number.
    (line,) = (line for line in ran.stdout.splitlines() if line.lstrip().startswith("4*"))
    assert line.split()[2:] == ["—", "—", "100.0", "100.0", "100.0", "100.0"]
    figure = (tmp_path / "one.svg").read_text(encoding="utf-8")
    assert "nan" not in figure
    assert ">100</text>" in figure


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        (("--task", "demo_qa"), 2, "give demo_bitext or tatoeba"),
        (("--task", "tatoba"), 2, "did you mean tatoeba"),
        (("--lang", "fr"), 2, "no fr"),
        (("--pooling", "men"), 2, "did you mean mean"),
        (("--dtype", "float8"), 2, "float32"),
        (("--limit", "0"), 2, "from 1"),
        (("--format", "xml"), 2, "table or json"),
        (("--figure", "curve.png"), 2, ".svg"),
        (("--device", "cuda:99"), 2, "--device cpu"),
    ],
    ids=str,
)
def test_an_option_that_makes_no_sense(
    run: Run,
    options: tuple[str, ...],
    code: int,
    words: str,
) -> None:
    ran = run(*DEMO, *options)
    assert ran.code == code, ran.stderr
    assert words in ran.stderr
    assert ran.stdout == ""
    assert len([line for line in ran.stderr.splitlines() if line.startswith("error: ")]) == 1


def test_a_model_that_is_not_there(run: Run) -> None:
    assert run("align", "./no-such-checkpoint", "--task", "demo_bitext").code == 3


def test_data_that_is_not_there_is_incomplete(run: Run, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    ran = run("align", "xharness/demo", "--lang", "de", "--data", tmp_path / "data")
    assert ran.code == 5
    assert "tatoeba" in ran.stderr
    assert ran.stdout == ""


def test_the_languages_that_there_are_are_shown(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(layout, "read_checksums", dict)
    folder = tmp_path / "data" / "tatoeba"
    folder.mkdir(parents=True)
    for code, lines in (("deu", "Guten Tag.\nGute Nacht.\n"), ("eng", "Good day.\nGood night.\n")):
        (folder / f"tatoeba.deu-eng.{code}").write_text(lines, encoding="utf-8")
    asked = ("align", "xharness/demo", "--lang", "de", "--lang", "hi")
    ran = run(*asked, "--data", tmp_path / "data")
    assert ran.code == 5
    assert "tatoeba/hi" in ran.stderr
    assert "sentences: 1 language, 2 pairs" in ran.stdout
    assert "custom data: tatoeba de has 2 of 1000 pairs" in ran.stdout
    assert "no words (fewer than 20 pairs) of: de (0 word pairs)" in ran.stdout
