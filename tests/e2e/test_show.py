"""`xharness show`: models side by side, languages, intervals, formats and single examples."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import harness
from harness.analysis.measured import measured, outcome_files
from harness.analysis.single import Condition, parse_condition
from harness.cards.catalogue import read_card
from harness.data.layout import DataLocation
from harness.data.load import load
from harness.errors import UsageError
from harness.results.outcomes import find
from harness.terminal.grids import Grid, comma_separated, latex, markdown
from harness.terminal.scores import board_grid, mean_notes, model_names, score_grid
from tests.board.boards import hits, measure
from tests.checkpoints import build
from tests.e2e.conftest import Run


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> Path:
    """Two checkpoints on four demo tasks in two languages."""
    root = tmp_path_factory.mktemp("shown")
    reader = build("bert", root / "model" / "reader", qa_head=True)
    options: dict[str, Any] = {"suite": "demo", "languages": "de,es", "out": root / "out"}
    harness.evaluate("xharness/demo", cache_dir=cache, **options)
    harness.evaluate(reader, cache_dir=cache, **options)
    return root / "out"


def test_models_stand_side_by_side(run: Run, results: Path) -> None:
    shown = run("show", results)
    assert shown.code == 0
    head = shown.stdout.splitlines()[0].split()
    assert head == ["task", "metric", "reader", "xharness-demo-v2"]
    line = next(line for line in shown.stdout.splitlines() if line.startswith("demo_bitext"))
    assert line.count("[") == 2
    assert "95 % intervals" in shown.stderr


def test_one_model_has_its_table_with_an_interval(run: Run, results: Path) -> None:
    folder = next(results.glob("local__reader"))
    shown = run("show", folder)
    assert "best" in shown.stdout
    assert "[" in next(line for line in shown.stdout.splitlines() if "demo_bitext" in line)


def test_languages_and_tasks_are_chosen(run: Run, results: Path) -> None:
    shown = run("show", results, "--by-language", "--task", "demo_bitext,demo_qa")
    lines = shown.stdout.splitlines()[1:]
    assert [line.split()[0] for line in lines] == ["demo_bitext"] * 2 + ["demo_qa"] * 2
    one = run("show", results, "--lang", "de", "--format", "json")
    assert {row["lang"] for row in json.loads(one.stdout)} == {"de"}


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("--lang", "hi"), 2, "no scores of hi: there are de, es"),
        (("--lang", "German"), 2, "did you mean de (German)?"),
        (("--task", "demo_bitxt"), 2, "did you mean demo_bitext"),
        (("--format", "xml"), 2, "--format xml"),
        (("--where", "nothing"), 2, "f1<0.5"),
        (("--where", "colour=red"), 2, "unknown column 'colour'"),
        (("--where", "rank>many"), 2, "is not a number"),
        (("--worst", "0"), 2, "--worst"),
    ],
)
def test_what_is_not_there_is_named(
    run: Run, results: Path, words: tuple[str, ...], code: int, said: str
) -> None:
    shown = run("show", results, *words)
    assert shown.code == code
    assert said in " ".join(shown.stderr.replace("│", " ").split())
    assert shown.stdout == ""


def test_a_path_without_results_costs_the_others(run: Run, results: Path, tmp_path: Path) -> None:
    shown = run("show", results, tmp_path)
    assert shown.code == 3
    assert str(tmp_path) in shown.stderr


def test_the_numbers_are_those_of_scores_with_intervals_around_them(results: Path) -> None:
    plain = harness.scores(results).to_pylist()
    shown = measured(outcome_files([results]))
    assert len(shown) == len(plain)
    for row, other in zip(shown, plain, strict=True):
        assert row.keys() == other.keys()
        same = {k for k in row if row[k] != other[k] and k not in ("low", "high", "value")}
        assert not same
        assert row["value"] == pytest.approx(other["value"], abs=1e-12)
        assert row["low"] - 1e-6 <= row["value"] <= row["high"] + 1e-6


def test_json_and_csv_hold_the_same_rows(run: Run, results: Path) -> None:
    rows = json.loads(run("show", results, "--format", "json").stdout)
    table = list(csv.DictReader(io.StringIO(run("show", results, "--format", "csv").stdout)))
    assert len(rows) == len(table) > 10
    assert [row["metric"] for row in rows] == [row["metric"] for row in table]
    assert [row["value"] for row in rows] == [float(row["value"]) for row in table]


def test_the_worst_examples_have_their_texts(run: Run, results: Path) -> None:
    shown = run("show", results, "--worst", 3, "--format", "json")
    found = json.loads(shown.stdout)
    of_task: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for one in found:
        of_task.setdefault((one["model"], one["task"]), []).append(one)
    assert len(of_task) == 7  # the demo checkpoint has no head
    for own in of_task.values():
        assert 0 < len(own) <= 3
        assert [one["score"] for one in own] == sorted(one["score"] for one in own)
        assert all(one.get("text") or one.get("question") for one in own)
    questions = of_task["reader", "demo_qa"]
    assert all(one["gold"] and one["context"] for one in questions)
    assert all(one["score"] == pytest.approx(one["f1"]) for one in questions)
    # A question has one id in all languages, and a text of its own in each.
    pool: Any = load(
        read_card("demo_passages"), None, ("de", "es"), DataLocation(None, results, offline=True)
    ).examples
    texts = {(u, one.id): one.text for u, own in pool.queries.items() for one in own}
    asked = json.loads(
        run("show", results, "--task", "demo_passages", "--lang", "de", "--lang", "es",
            "--worst", 500, "--format", "json").stdout
    )  # fmt: skip
    assert {one["lang"] for one in asked} == {"de", "es"}
    assert all(one["text"] == texts[one["lang"], one["example_id"]] for one in asked)
    lines = run("show", results, "--worst", 1, "--task", "demo_bitext").stdout
    assert "query" in lines
    assert "gold" in lines
    assert "hits" in lines


def test_conditions_choose_examples(run: Run, results: Path) -> None:
    words = ("--task", "demo_bitext", "--where", "rank>1", "--where", "lang=de", "--worst", 500)
    found = json.loads(run("show", results, *words, "--format", "json").stdout)
    assert found
    assert all(one["ranks"][0] > 1 and one["lang"] == "de" for one in found)
    expected = sum(
        row["ranks"][0] > 1
        for file in find(results)
        if "demo_bitext" in file.path.name
        for row in file.read("de").to_pylist()
    )
    assert len(found) == expected


def test_of_many_examples_some_are_shown_and_the_rest_counted(run: Run, results: Path) -> None:
    shown = run("show", results, "--task", "demo_bitext", "--where", "rank>=1")
    assert "--worst N shows more" in shown.stderr


CONDITIONS: list[tuple[str, dict[str, Any], bool]] = [
    ("f1<0.5", {"f1": 0.25}, True),
    ("f1 >= 0.5", {"f1": 0.25}, False),
    ("answered=false", {"answered": False}, True),
    ("lang!=de", {"lang": "es"}, True),
    ("prediction~PARIS", {"prediction": "in Paris"}, True),
    ("prediction='a b'", {"prediction": "a b"}, True),
    ("margin>0", {"margin": None}, False),
]


@pytest.mark.parametrize(("text", "example", "holds"), CONDITIONS)
def test_a_condition(text: str, example: dict[str, Any], holds: bool) -> None:
    assert parse_condition(text).holds(example) is holds


def test_a_value_of_another_type() -> None:
    with pytest.raises(UsageError, match="is not true or false"):
        Condition("answered", "=", "maybe").holds({"answered": True})


def test_markdown_latex_and_csv_escape_what_they_must() -> None:
    grid = Grid(("a|b", "n_1"), (("50 % & more", "—"),), caption="x")
    assert markdown(grid) == "x\n\n| a\\|b | n_1 |\n| :-- | --: |\n| 50 % & more | — |"
    assert latex(grid).splitlines()[1:] == [
        r"\begin{tabular}{lr}",
        r"\toprule",
        r"a|b & n\_1 \\",
        r"\midrule",
        r"50 \% \& more & --- \\",
        r"\bottomrule",
        r"\end{tabular}",
    ]
    text = comma_separated([{"a": 'say "x", y', "b": [1, 2], "c": None}], ["a", "b", "c"])
    assert text == 'a,b,c\n"say ""x"", y",1 2,'


def row(**given: Any) -> dict[str, Any]:
    usual = {
        "model": "m", "revision": "r", "task": "tatoeba", "track": "frozen", "layer": 5,
        "split": "test", "seed": 0, "signature": "s", "lang": "macro", "direction": "en-xx",
        "metric": "recall@10", "value": 0.5, "low": 0.4, "high": 0.6, "n": 10, "note": "",
        "complete": True,
    }  # fmt: skip
    return usual | given


Lines = Callable[[list[dict[str, Any]]], tuple[tuple[str, ...], ...]]


def test_tracks_never_share_a_line_and_layers_of_two_models_do() -> None:
    deep = row(model="d", layer=8, signature="t", value=0.7, low=None, high=None)
    grid = score_grid([row(), deep], by_language=False)
    assert grid.names == ("task", "metric", "m", "d")
    assert grid.rows == (("tatoeba", "recall@10", "50.0 [40.0, 60.0]", "70.0"),)
    native = row(model="d", track="native", signature="t")
    assert len(score_grid([row(), native], by_language=False).rows) == 2
    layers = [row(), row(layer=6, signature="u")]
    assert [line[2] for line in score_grid(layers, by_language=False).rows] == [
        "layer 5",
        "layer 6",
    ]
    same = [row(), row(signature="u")]  # a difference that has no column
    assert len(score_grid(same, by_language=False).rows) == 2


def test_every_language_of_a_run_has_the_runs_label() -> None:
    of_one = [row(lang="de", direction="en-de"), row()]
    of_two = [row(lang=x, direction=f"en-{x}", signature="u", value=0.1) for x in ("de", "fr")]
    grid = score_grid([*of_one, *of_two, row(signature="u")], by_language=True)
    assert [line[2:] for line in grid.rows] == [
        ("", "de", "50.0 [40.0, 60.0]"),
        ("u", "de", "10.0 [40.0, 60.0]"),
        ("u", "fr", "10.0 [40.0, 60.0]"),
    ]
    # Beside another model stands the run by the protocol, whichever comes first.
    custom = row(signature="a", value=0.2, note="pooling cls (protocol: mean)")
    other = row(model="d", value=0.9)
    assert [line[2:] for line in score_grid([custom, row(), other], by_language=False).rows] == [
        ("a", "20.0 [40.0, 60.0]*", "—"),
        ("", "50.0 [40.0, 60.0]", "90.0 [40.0, 60.0]"),
    ]


def test_files_of_one_run_in_several_folders_are_not_one() -> None:
    values = (0.5, 0.6, 0.7)
    lines = score_grid([row(value=value) for value in values], by_language=False).rows
    assert [line[2] for line in lines] == ["", "file 2", "file 3"]
    assert [line[3] for line in lines] == [f"{100 * value:.1f} [40.0, 60.0]" for value in values]
    # One has German, one French: what a mean is over is said of each.
    first = [row(lang="de", direction="en-de", complete=False), row(complete=False)]
    second = [row(lang="fr", direction="en-fr", complete=False), row(complete=False)]
    assert mean_notes([*first, *second]) == [
        "m, tatoeba: incomplete, a mean over 1: de",
        "m, tatoeba: incomplete, a mean over 1: fr",
    ]


def test_what_is_not_ranked_is_marked_and_what_a_mean_is_over_named() -> None:
    of_two = [
        row(model="d", signature="t", complete=False, lang="sw"),
        row(model="d", signature="t", complete=False, lang="es"),
        row(model="d", signature="t", complete=False),
    ]
    rows = [row(note="first 10 queries a language"), *of_two]
    grid = score_grid(rows, by_language=False)
    assert grid.rows == (("tatoeba", "recall@10", "50.0 [40.0, 60.0]*", "50.0 [40.0, 60.0]*"),)
    assert "* is not ranked" in grid.caption
    assert mean_notes(rows) == ["d, tatoeba: incomplete, a mean over 2: es sw"]


def test_means_over_the_languages_of_different_suites_are_said() -> None:
    rows = [
        row(model=model, lang=lang, revision=f"local:{model}")
        for model, langs in (("a", "de es"), ("b", "de es"), ("c", "de es sw"))
        for lang in (*langs.split(), "macro")
    ]
    assert mean_notes(rows) == ["tatoeba: means over different languages: 2 of a b, 3 of c"]
    assert mean_notes(rows[:6]) == []


@pytest.mark.parametrize("format", ["table", "markdown", "latex"])
def test_every_format_for_people_says_what_is_not_ranked(
    run: Run, tmp_path: Path, format: str
) -> None:
    ran = run("eval", "xharness/demo", "--task", "demo_bitext", "--limit", "10", "--lang", "de",
              "--lang", "sw", "--out", tmp_path / "out")  # fmt: skip
    assert ran.code == 0, ran.stderr
    (model,) = (tmp_path / "out").iterdir()
    shown = run("show", model, "--format", format)
    assert shown.code == 0, shown.stderr
    assert "first 10 queries a language" in shown.stderr + shown.stdout
    if format != "table":
        assert "*" in shown.stdout
        assert "incomplete, a mean over 2: de sw" in shown.stderr


def test_two_revisions_of_a_model_are_told_apart() -> None:
    rows = [row(revision="local:" + "a" * 64), row(revision="b" * 40)]
    assert list(model_names(rows).values()) == ["m@" + "a" * 12, "m@" + "b" * 12]


def test_ones_own_rows_beside_a_board_that_stays_as_it_is(
    run: Run, results: Path, tmp_path: Path
) -> None:
    import pyarrow.parquet as pq

    board = tmp_path / "leaderboard"
    board.mkdir()
    published = harness.scores(next(results.glob("*demo*")))
    pq.write_table(published, board / "scores.parquet")
    before = (board / "scores.parquet").read_bytes()
    own = next(results.glob("local__reader"))
    shown = run("leaderboard", "--with", own, "--root", tmp_path)
    assert shown.code == 0, shown.stderr
    first = [line.split()[0] for line in shown.stdout.splitlines() if "demo_bitext" not in line]
    assert set(first) >= {"reader", "xharness-demo-v2"}
    assert sum("(own)" in line for line in shown.stdout.splitlines()) == 2  # in two tracks
    assert (board / "scores.parquet").read_bytes() == before
    assert [path.name for path in board.iterdir()] == ["scores.parquet"]


@pytest.mark.parametrize(("words", "code"), [(("--check",), 2), ((), 3)])
def test_a_board_that_is_not_there_or_is_to_be_checked(
    run: Run, results: Path, tmp_path: Path, words: tuple[str, ...], code: int
) -> None:
    assert run("leaderboard", "--with", results, "--root", tmp_path, *words).code == code


def test_the_best_of_the_board_stands_first_and_who_lacks_a_task_last() -> None:
    board = [row(model="a", value=0.9), row(model="b", task="mlqa", metric="f1", value=1.0)]
    grid = board_grid(board, [row(model="mine", value=0.95)], "frozen")
    assert [line[0] for line in grid.rows] == ["mine (own)", "a", "b"]
    assert board_grid(board, [row(model="mine")], "native").rows == ()


def test_a_model_of_the_board_and_ones_own_run_of_it_are_two_lines() -> None:
    board = [row(), row(task="lareqa", value=0.2)]
    grid = board_grid(board, [row(value=0.6, complete=False, signature="u")], "frozen")
    assert grid.rows == (
        ("m (own)", "60.0 [40.0, 60.0]*", "—"),
        ("m", "50.0 [40.0, 60.0]", "20.0 [40.0, 60.0]"),
    )


def test_the_protocols_layer_stands_beside_the_board_before_others() -> None:
    deep = row(layer=6, signature="u", value=0.9, note="layer 6 (protocol: 5)")
    for rows in ([deep, row()], [row(), deep]):
        assert board_grid(rows, [], "frozen").rows == (("m", "50.0 [40.0, 60.0]"),)


def test_languages_at_chance_are_named(run: Run, tmp_path: Path) -> None:
    measure(tmp_path, "org/m", {"de": hits("de", [1] * 30), "es": hits("es", [0] * 30)})
    folder = tmp_path / "leaderboard" / "results"
    note = "note: org/m, demo_bitext: at chance in es"
    for words, named in (((), True), (("--lang", "es"), True), (("--lang", "de"), False)):
        shown = run("show", folder, *words)
        assert shown.code == 0, shown.stderr
        assert (note in (shown.stdout + shown.stderr).splitlines()) == named


def test_a_checkpoint_is_compared_by_its_folder(run: Run, results: Path, tmp_path: Path) -> None:
    folder = results.parent / "model" / "reader"
    found = run("compare", folder, "xharness-demo-v2", "--out", results, "--format", "json")
    assert found.code == 0, found.stderr
    named = run("compare", "reader", "xharness-demo-v2", "--out", results, "--format", "json")
    of = [[one["difference"] for one in json.loads(ran.stdout)] for ran in (found, named)]
    assert of[0] == of[1]
    other = build("bert", tmp_path / "reader")  # of the same name, and other weights
    assert run("compare", other, "xharness-demo-v2", "--out", results).code == 3
