"""Outcome files that no run wrote: each is named in one line by every command that reads rows."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from harness.cards.catalogue import read_card
from harness.errors import DataError
from harness.inference.protocol import signature
from harness.results import gold
from tests.e2e.conftest import Ran, Run
from tests.metadata import metadata
from tests.mini_xtreme import run_task

Rows = list[dict[str, Any]]
Meta = dict[str, Any]
RESULTS = "leaderboard/results"
TASKS = ("demo_bitext", "demo_passages", "demo_mining", "demo_qa")


@pytest.fixture(scope="module")
def whole(run: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A board over the demo tasks, as commands made it."""
    root = tmp_path_factory.mktemp("whole")
    done = run("eval", "xharness/demo", "--suite", "demo", "--out", root / RESULTS)
    assert done.code == 0, done.stderr
    card = read_card("demo_qa")
    changes = {"revision": f"0123456789ab{'0' * 28}", "route": "package"}
    own = metadata(card, card.languages, model="org/model", **changes)["signature"]
    run_task(card, None, None, root / RESULTS, signature=own, **changes)
    assert run("leaderboard", "--root", root).code == 0
    return root


@pytest.fixture
def board(whole: Path, tmp_path: Path) -> Iterator[Path]:
    """A copy of it that may be changed."""
    root = tmp_path / "root"
    shutil.copytree(whole, root)
    yield root
    shutil.rmtree(root)


def file_of(root: Path, task: str) -> Path:
    (path,) = (root / RESULTS).glob(f"*/*/{task}.*.parquet")
    return path


def rewrite(path: Path, edit: Callable[[Rows, Meta], None]) -> None:
    """Change rows and metadata of a file; written as a run writes it, a row group a language."""
    with pq.ParquetFile(path) as source:
        schema = source.schema_arrow
        meta = json.loads(schema.metadata[b"xharness"])
        rows = [row for unit in range(source.num_row_groups)
                for row in source.read_row_group(unit).to_pylist()]  # fmt: skip
    edit(rows, meta)
    write(path, schema.remove_metadata(), rows, meta)


def write(path: Path, schema: pa.Schema, rows: Rows, meta: Any) -> None:
    table = pa.Table.from_pylist(rows, schema)
    schema = schema.with_metadata({b"xharness": json.dumps(meta).encode()})
    units = list(dict.fromkeys(table.column("lang").to_pylist())) if "lang" in schema.names else []
    with pq.ParquetWriter(path, schema, write_page_checksum=True) as writer:
        for unit in units:
            own = table.filter(pc.field("lang") == unit)
            writer.write_table(own.cast(schema), row_group_size=max(len(own), 1))


def row(**changes: Any) -> Callable[[Rows, Meta], None]:
    """The first row with other values."""
    return lambda rows, meta: rows[0].update(changes)


def meta(**changes: Any) -> Callable[[Rows, Meta], None]:
    """Other metadata."""
    return lambda rows, meta: meta.update(changes)


def without(key: str) -> Callable[[Rows, Meta], None]:
    """Metadata that lacks a key."""
    return lambda rows, meta: meta.pop(key)


def signed(**changes: Any) -> Callable[[Rows, Meta], None]:
    """Other settings, with the signature that goes with them: the path no longer does."""

    def edit(rows: Rows, meta: Meta) -> None:
        meta["resolved"] |= changes
        meta |= {key: changes[key] for key in changes if key in meta}
        meta["signature"] = signature(meta["resolved"])

    return edit


def swap(name: str) -> Callable[[Rows, Meta], None]:
    """The first two rows with each other's value."""

    def edit(rows: Rows, meta: Meta) -> None:
        rows[0][name], rows[1][name] = rows[1][name], rows[0][name]

    return edit


def of(condition: Callable[[dict[str, Any]], bool], **changes: Any) -> Callable[[Rows, Meta], None]:
    """The first row that meets a condition, with other values."""

    def edit(rows: Rows, meta: Meta) -> None:
        next(one for one in rows if condition(one)).update(changes)

    return edit


def better(rows: Rows, meta: Meta) -> None:
    """Rank 1 where the first candidate is another one."""
    next(one for one in rows if one["ranks"][0] > 1)["ranks"][0] = 1


def worse(rows: Rows, meta: Meta) -> None:
    """A later rank where the first candidate is the right one."""
    one = next(one for one in rows if one["ranks"] == [1])
    one["ranks"] = [15]


def moved(rows: Rows, meta: Meta) -> None:
    """A row in another language."""
    rows[0]["lang"] = next(one["lang"] for one in rows if one["lang"] != rows[0]["lang"])


def one_question_fewer(rows: Rows, meta: Meta) -> None:
    """A question taken out of every language."""
    name = rows[0]["example_id"]
    rows[:] = [one for one in rows if one["example_id"] != name]


def last_language(rows: Rows, meta: Meta) -> None:
    """A language without its rows."""
    rows[:] = [one for one in rows if one["lang"] != rows[-1]["lang"]]


def falling(rows: Rows, meta: Meta) -> None:
    next(one for one in rows if len(one["ranks"]) > 1)["ranks"].reverse()


def equal_ranks(rows: Rows, meta: Meta) -> None:
    one = next(one for one in rows if len(one["ranks"]) > 1)
    one["ranks"][1] = one["ranks"][0]


def gone(rank: int) -> Callable[[Rows, Meta], None]:
    def edit(rows: Rows, meta: Meta) -> None:
        rows[0]["ranks"][-1] = rank

    return edit


BITEXT: Mapping[str, tuple[Callable[[Rows, Meta], None], str]] = {
    "row dropped": (lambda rows, meta: rows.pop(), "ids"),
    "first row dropped": (lambda rows, meta: rows.pop(0), "ids"),
    "line dropped in both directions": (one_question_fewer, "ids"),
    "row doubled": (lambda rows, meta: rows.append(rows[-1]), "twice"),
    "row in place of another": (lambda rows, meta: rows.__setitem__(1, rows[0]), "twice"),
    "language dropped": (last_language, "row groups"),
    "row moved to another language": (moved, ""),
    "id of another language": (row(example_id="xx:0"), "xx:0"),
    "id beyond the file": (row(example_id="de:999"), ""),
    "empty id": (row(example_id=""), ""),
    "id of control characters": (row(example_id="\x1b[31m\n" * 99), ""),
    "id null": (row(example_id=None), "lacks values"),
    "lang null": (row(lang=None), ""),
    "clusters swapped": (swap("cluster"), "clusters"),
    "cluster changed": (row(cluster="tatoeba:0"), "clusters"),
    "direction changed": (row(direction="en-xx"), "direction"),
    "one direction only": (
        lambda rows, meta: rows.__setitem__(
            slice(None), [one for one in rows if one["direction"].startswith("en-")]
        ),
        "direction",
    ),
    "rank 0": (row(ranks=[0]), "rank 0"),
    "rank negative": (row(ranks=[-1]), "rank -1"),
    "rank beyond the pool": (row(ranks=[21]), ""),
    "rank of two milliards": (row(ranks=[2**31 - 1]), "rank"),
    "no rank": (row(ranks=[]), "as many ranks"),
    "two ranks": (row(ranks=[1, 2]), "as many ranks"),
    "rank null": (row(ranks=[None]), "lacks values"),
    "ranks null": (row(ranks=None), "lacks values"),
    "relevant 0": (row(relevant=0), "relevant"),
    "relevant 2": (row(relevant=2, ranks=[1, 2]), ""),
    "better rank": (better, "is not relevant"),
    "worse rank": (worse, "is relevant"),
    "first candidates swapped": (swap("top_ids"), ""),
    "first candidates repeat": (row(top_ids=["de:0"] * 10), "repeat"),
    "first candidates unknown": (row(top_ids=[f"q:{n}" for n in range(10)]), ""),
    "nine first candidates": (
        lambda rows, meta: rows[0].update(top_ids=rows[0]["top_ids"][:9]), "first candidates"
    ),
    "no first candidates": (row(top_ids=[]), "first candidates"),
    "first candidate null": (row(top_ids=[None] * 10), "lacks values"),
    **{f"metadata without {key}": (without(key), key) for key in (
        "model", "revision", "base", "task", "task_version", "card_hash", "kind", "track",
        "protocol", "signature", "resolved", "languages", "split", "limit", "seed", "dtype",
        "custom", "degenerate", "data_complete", "notes", "mixed", "route", "data", "harness",
        "libraries", "timing", "format", "device", "parameters", "model_type",
    )},
    "model a number": (meta(model=1), "model"),
    "model of another name": (meta(model="org/other"), "org/other"),
    "model with a path": (meta(model="../../etc"), "lies in"),
    "revision of another commit": (meta(revision="0" * 40), "lies in"),
    "revision short": (meta(revision="main"), "revision"),
    "task of another kind": (meta(task="demo_qa"), ""),
    "task unknown": (meta(task="nothing"), ""),
    "kind changed": (meta(kind="passages"), "kind"),
    "languages a text": (meta(languages="de"), "languages"),
    "languages empty": (meta(languages=[]), "languages"),
    "language twice": (
        lambda rows, meta: meta["languages"].append(meta["languages"][0]), "given twice"
    ),
    "language more": (lambda rows, meta: meta["languages"].append("fr"), "fr is not a language"),
    "language renamed": (lambda rows, meta: meta["languages"].__setitem__(0, "fr"), ""),
    "limit zero": (meta(limit=0), "limit"),
    "limit not signed": (meta(limit=5), "limit"),
    "seed a text": (meta(seed="0"), "seed"),
    "seed not signed": (meta(seed=7), "seed"),
    "dtype not signed": (meta(dtype="float16"), "dtype"),
    "split not signed": (meta(split="dev"), "split"),
    "track not signed": (meta(track="native"), "track"),
    "signature changed": (meta(signature="0" * 8), "signature"),
    "layer changed": (lambda rows, meta: meta["resolved"].update(layer=1), "signature"),
    "resolved a list": (meta(resolved=[]), "resolved"),
    "prompt hidden": (signed(prompts={"query": "q: ", "document": ""}), ""),
    "card hash changed": (meta(card_hash="0" * 64), "card"),
    "card hash no digest": (meta(card_hash="x"), "card_hash"),
    "format 2": (meta(format=2), "format 2"),
    "format true": (meta(format=True), "format"),
    "candidates beyond the pool": (lambda rows, meta: meta["candidates"].update(de=10**6), ""),
    "candidates negative": (lambda rows, meta: meta["candidates"].update(de=-1), "candidates"),
    "more indistinct than candidates": (
        lambda rows, meta: meta["indistinct"].update(de=10**6), "indistinct"
    ),
    "degenerate elsewhere": (meta(degenerate=["fr"]), "degenerate"),
    "data a list": (meta(data=[]), "data"),
    "notes a text": (meta(notes="none"), "notes"),
    "complete a text": (meta(data_complete="yes"), "data_complete"),
}  # fmt: skip

PASSAGES: Mapping[str, tuple[Callable[[Rows, Meta], None], str]] = {
    "row dropped": (lambda rows, meta: rows.pop(), "examples"),
    "question dropped everywhere": (one_question_fewer, "examples"),
    "id changed": (row(example_id="q0"), ""),
    "ids swapped": (swap("example_id"), ""),
    "ranks fall": (falling, "ascend"),
    "ranks equal": (equal_ranks, "ascend"),
    "rank beyond the pool": (gone(385), "rank 385 of 384"),
    "a rank fewer": (lambda rows, meta: rows[0]["ranks"].pop(), "as many ranks"),
    "a relevant candidate fewer": (
        lambda rows, meta: rows[0].update(relevant=len(rows[0]["ranks"]) - 1,
                                          ranks=rows[0]["ranks"][:-1]), ""
    ),
    "better rank": (better, ""),
    "cluster changed": (row(cluster="demo:other"), ""),
    "direction changed": (row(direction="all-all"), "direction"),
    "candidates of a language": (lambda rows, meta: meta["candidates"].update(de=1), "candidates"),
}  # fmt: skip

MINING: Mapping[str, tuple[Callable[[Rows, Meta], None], str]] = {
    "gold pair dropped": (
        lambda rows, meta: rows.remove(next(one for one in rows if one["gold"])), ""
    ),
    "not gold": (of(lambda one: one["gold"] and one["margin"], gold=False), ""),
    "gold": (of(lambda one: not one["gold"], gold=True), ""),
    "kept": (of(lambda one: not one["kept"] and one["margin"], kept=True), "threshold"),
    "not kept": (of(lambda one: one["kept"], kept=False), "threshold"),
    "missed and kept": (of(lambda one: one["kept"], margin=None), ""),
    "margin negative": (of(lambda one: one["margin"], margin=-1.0), ""),
    "margin infinite": (of(lambda one: one["margin"], margin=float("inf")), ""),
    "margin no number": (of(lambda one: one["margin"], margin=float("nan")), ""),
    "split unknown": (row(split="train"), "train"),
    "split moved": (of(lambda one: one["split"] == "test", split="dev"), ""),
    "target changed": (of(lambda one: one["gold"], target_id="none"), ""),
    "source null": (row(source_id=None), "lacks values"),
    "pair twice": (lambda rows, meta: rows.append(rows[0]), "twice"),
}  # fmt: skip

QA: Mapping[str, tuple[Callable[[Rows, Meta], None], str]] = {
    "row dropped": (lambda rows, meta: rows.pop(), "examples"),
    "row doubled": (lambda rows, meta: rows.append(rows[-1]), "twice"),
    "id changed": (row(example_id="q"), "data"),
    "cluster changed": (row(cluster="demo:none"), "data"),
    "exact match a half": (row(exact_match=0.5), "exact_match"),
    "exact match 2": (row(exact_match=2.0), "exact_match"),
    "an exact match with half the words": (row(exact_match=1.0, f1=0.5), "an exact match"),
    "f1 above 1": (row(f1=1.5), "f1"),
    "f1 negative": (row(f1=-0.5), "f1"),
    "f1 no number": (row(f1=float("nan")), "f1"),
    "f1 null": (row(f1=None), "lacks values"),
    "prediction null": (row(prediction=None), "lacks values"),
    "answered null": (row(answered=None), "lacks values"),
    "an answer that is none": (row(prediction="x", answered=False), "not answered"),
    "question in another language": (row(question_lang="de"), ""),
}  # fmt: skip

EDITS = [
    pytest.param(task, edit, words, id=f"{task}: {name}")
    for task, edits in zip(TASKS, (BITEXT, PASSAGES, MINING, QA), strict=True)
    for name, (edit, words) in edits.items()
]


def one_line_each(ran: Ran, path: Path, words: str = "") -> None:
    """Exit 6 and one line: file, what, remedy."""
    lines = ran.stderr.splitlines()
    named = [line for line in lines if path.name in line]
    assert ran.code == 6, (ran.code, ran.stderr)
    assert len(named) == 1, ran.stderr
    assert named[0].startswith("error: ")
    assert named[0].isprintable()
    assert len(named[0]) < 600 + len(str(path))
    assert "run `xharness eval` again" in named[0]
    assert words in named[0].replace(str(path), ""), named[0]


@pytest.mark.parametrize(("task", "edit", "words"), EDITS)
def test_an_edited_file_is_named(
    run: Run, whole: Path, tmp_path: Path, task: str, edit: Callable[[Rows, Meta], None], words: str
) -> None:
    own = file_of(whole, task)
    path = tmp_path / own.relative_to(whole / RESULTS)
    path.parent.mkdir(parents=True)
    shutil.copy(own, path)
    rewrite(path, edit)
    one_line_each(run("show", path), path, words)


def damaged(content: Callable[[bytes], bytes]) -> Callable[[Path], None]:
    def damage(path: Path) -> None:
        path.write_bytes(content(path.read_bytes()))

    return damage


def flipped(place: int) -> Callable[[bytes], bytes]:
    return lambda data: data[:place] + bytes([data[place] ^ 8]) + data[place + 1 :]


def directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


def pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def device(path: Path) -> None:
    path.unlink()
    path.symlink_to("/dev/zero")


def other_columns(path: Path) -> None:
    meta = pq.read_schema(path).metadata
    table = pq.read_table(path)
    pq.write_table(table.drop_columns(["relevant"]).replace_schema_metadata(meta), path)


def of_doubles(path: Path) -> None:
    schema = pq.read_schema(path)
    wide = schema.set(5, pa.field("relevant", pa.float64()))
    meta = json.loads(schema.metadata[b"xharness"])
    write(path, wide.remove_metadata(), pq.read_table(path).to_pylist(), meta)


def one_group(path: Path) -> None:
    pq.write_table(pq.read_table(path), path)


def bare(path: Path) -> None:
    pq.write_table(pq.read_table(path).replace_schema_metadata(None), path)


def with_metadata(text: bytes) -> Callable[[Path], None]:
    def damage(path: Path) -> None:
        table = pq.read_table(path)
        pq.write_table(table.replace_schema_metadata({b"xharness": text}), path)

    return damage


def no_rows(path: Path) -> None:
    schema = pq.read_schema(path)
    pq.write_table(schema.empty_table(), path)


DAMAGES: Mapping[str, Callable[[Path], None]] = {
    "empty": damaged(lambda data: b""),
    "a text": damaged(lambda data: b"no rows\n"),
    "magic alone": damaged(lambda data: b"PAR1"),
    "magic twice": damaged(lambda data: b"PAR1PAR1"),
    "truncated by a byte": damaged(lambda data: data[:-1]),
    "half": damaged(lambda data: data[: len(data) // 2]),
    "first half missing": damaged(lambda data: data[len(data) // 2 :]),
    "zeros": damaged(lambda data: bytes(len(data))),
    "footer of zeros": damaged(lambda data: data[:-800] + bytes(800)),
    **{f"bit of page {place}": damaged(flipped(place)) for place in (60, 90, 400, 900, 1500)},
    "length of the footer": damaged(lambda data: data[:-8] + b"\xff\xff\xff\x7fPAR1"),
    "a directory": directory,
    "a pipe": pipe,
    "a device": device,
    "a column fewer": other_columns,
    "a column of another type": of_doubles,
    "all languages in one row group": one_group,
    "no metadata": bare,
    "metadata no JSON": with_metadata(b"{"),
    "metadata no UTF-8": with_metadata(b"\xff\xfe"),
    "metadata a list": with_metadata(b"[]"),
    "metadata null": with_metadata(b"null"),
    "metadata deep": with_metadata(b"[" * 100_000),
    "metadata NaN": with_metadata(b'{"format": NaN}'),
    "no rows": no_rows,
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_file_is_named_and_stops_no_other(
    run: Run, board: Path, damage: Callable[[Path], None]
) -> None:
    path = file_of(board, "demo_bitext")
    damage(path)
    shown = run("show", board / RESULTS)
    one_line_each(shown, path)
    assert "demo_passages" in shown.stdout
    verified = run("verify", "--root", board)
    one_line_each(verified, path)
    assert len(verified.stderr.splitlines()) == 1


def test_every_command_goes_on_with_the_rest(run: Run, board: Path) -> None:
    bad = [file_of(board, "demo_bitext"), file_of(board, "demo_mining")]
    for path in bad:
        path.write_bytes(b"PAR1")
    model = "xharness/demo"
    for words in (
        ("show", board / RESULTS),
        ("leaderboard", "--check", "--root", board),
        ("leaderboard", "--root", board),
        ("compare", model, model, "--root", board),
        ("verify", "--root", board),
    ):
        ran = run(*words)
        for path in bad:
            one_line_each(ran, path)
    text = (board / "leaderboard/rankings.md").read_text()
    assert "demo_qa" in text.replace("&#95;", "_") or "Demo questions" in text, text
    for path in bad:
        path.unlink()
    assert run("verify", "--root", board).code == 0  # the board was that of the others


def test_a_whole_file_that_differs_is_a_difference(run: Run, board: Path) -> None:
    path = file_of(board, "demo_qa")

    def edit(rows: Rows, meta: Meta) -> None:
        one = next(one for one in rows if one["f1"] < 1)
        one.update(f1=1.0, exact_match=1.0)

    rewrite(path, edit)
    ran = run("verify", "--root", board)
    assert ran.code == 1
    assert len(ran.stderr.splitlines()) == 1
    assert "demo_qa" in ran.stderr


@pytest.mark.parametrize("value", [1.0, 0.5])
def test_an_answer_has_the_scores_that_the_gold_gives_it(
    run: Run, board: Path, value: float
) -> None:
    path = file_of(board, "demo_qa")
    honest = run("verify", "--root", board)
    assert "answers have the scores that the gold gives them" in honest.stdout

    def edit(rows: Rows, meta: Meta) -> None:
        wrong = [one for one in rows if not one["exact_match"]]  # else it contradicts itself
        next(one for one in wrong if one["f1"] != value).update(f1=value)

    rewrite(path, edit)
    assert run("leaderboard", "--root", board).code == 0
    ran = run("verify", "--root", board)
    assert ran.code == 1
    assert len(ran.stderr.splitlines()) == 1
    assert f"{path}: " in ran.stderr
    assert f"f1 is {value:.4g}, its answer's" in ran.stderr


def test_gold_that_is_damaged_is_named(
    run: Run, board: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def damaged(*_: object) -> None:
        raise DataError("demo_qa.de.json: sha256 is not the official file's")

    monkeypatch.setattr(gold, "load", damaged)
    ran = run("verify", "--root", board)
    assert ran.code == 6
    assert "error: demo_qa.de.json: sha256 is not" in ran.stderr


def test_what_is_forged_and_consistent_is_found_by_measuring_again(run: Run, board: Path) -> None:
    path = file_of(board, "demo_bitext")
    words = ("verify", "--root", board, "--replay", 99, "--model", "xharness/demo")
    honest = run(*words)
    assert honest.code == 0, honest.stderr
    assert honest.stdout.count("holds, 100.0 % of the rows are alike") == 18

    def edit(rows: Rows, meta: Meta) -> None:
        for one in rows:
            if one["lang"] == "sw":
                tops = [name for name in one["top_ids"] if name != one["example_id"]]
                one.update(ranks=[1], top_ids=[one["example_id"], *tops][:10])

    rewrite(path, edit)
    assert run("leaderboard", "--root", board).code == 0
    assert run("verify", "--root", board).code == 0
    ran = run(*words)
    assert ran.code == 1
    assert f"{path.name} sw" in ran.stderr
    assert len(ran.stderr.splitlines()) == 1
    assert ran.stdout.count("differs") == 1


def test_a_sample_is_the_same_for_a_seed(run: Run, board: Path) -> None:
    words = ("verify", "--root", board, "--replay", 2, "--model", "xharness/demo", "--seed", 3)
    one, other = run(*words), run(*words)
    assert one.code == 0, one.stderr
    assert one.stdout.count("holds") == 2
    assert one.stdout == other.stdout
    assert run(*words[:3], "--replay", 0).code == 2


def test_the_order_of_languages_does_not_matter(run: Run, board: Path) -> None:
    path = file_of(board, "demo_bitext")
    rewrite(path, lambda rows, meta: meta["languages"].reverse())
    assert run("verify", "--root", board).code == 0
    assert run("show", path).code == 0


def test_a_file_elsewhere_is_named(run: Run, board: Path) -> None:
    path = file_of(board, "demo_bitext")
    other = path.with_name("demo_bitext.00000000.parquet")
    path.rename(other)
    one_line_each(run("verify", "--root", board), other, "signature")


def test_one_line_for_a_board_that_is_damaged(run: Run, board: Path) -> None:
    scores = board / "leaderboard/scores.parquet"
    scores.write_bytes(scores.read_bytes()[:-20])
    ran = run("verify", "--root", board)
    assert ran.code == 6
    assert len(ran.stderr.splitlines()) == 1
