"""What goes into Markdown, SVG and HTML has no meaning there."""

from __future__ import annotations

import json
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from xml.etree import ElementTree

import pytest
from markdown_it import MarkdownIt

from harness.analysis.gather import read_board
from harness.board.build import render
from harness.board.markdown import cell, table
from harness.board.page import embedded
from harness.board.pages import command
from harness.cards.catalogue import read_card, read_suites
from tests.board.boards import BASE, MANY, bitext, hand_worked, measure, submit

EVIL = "a|b`c`<script>alert(1)</script>\n# *x* [y](javascript:z) </script> $z$"


def test_cell_is_one_line_without_meaning() -> None:
    text = cell(EVIL)
    assert not set("|`<>\n*[]$~\\") & set(text)
    html = MarkdownIt().enable("table").render(f"| a |\n| - |\n| {text} |\n")
    assert html.count("<td") == 1
    assert not re.search(r"<(script|a|em|code)\b", html)


def test_table_has_as_many_cells_as_headers() -> None:
    html = MarkdownIt().enable("table").render(table(("a", "b|c"), [(EVIL, 1), ("x", EVIL)]))
    assert html.count("<td") == 4
    assert html.count("<th") == 2 + 1  # and one thead


def test_hostile_names_stay_text(root: Path) -> None:
    hand_worked(root)
    measure(root, EVIL, bitext(MANY))
    submit(root, BASE, notes=['"<img src=x onerror=alert(1)> | `b`"'])
    files = render(read_board(root))
    for name, content in files.items():
        if name.endswith(".md"):
            html = MarkdownIt().enable("table").render(content.decode())
            assert not re.search(r"<(script|img src=x|em>x)", html), name
            for whole in re.findall(r"<table>(.*?)</table>", html, re.DOTALL):
                for row in re.findall(r"<tr>(.*?)</tr>", whole, re.DOTALL):
                    assert row.count("<td") in (0, len(re.findall(r"<th\b", whole)))
        if name.endswith(".svg"):
            tree = ElementTree.fromstring(content.decode())
            assert tree.find("{http://www.w3.org/2000/svg}title") is not None
            assert tree.find("{http://www.w3.org/2000/svg}desc") is not None
    page = files["leaderboard/index.html"].decode()
    assert page.count("<script") == 2
    assert page.count("</script>") == 2


def test_embedded_json_cannot_end_its_element() -> None:
    text = embedded({"a": "</script><!--<script>&"})
    assert not set("<>&") & set(text)
    assert json.loads(text) == {"a": "</script><!--<script>&"}


def test_tables_render_with_a_cell_for_every_header(root: Path) -> None:
    files = render(read_board(hand_worked(root)))
    text = "\n\n".join(files[name].decode() for name in files if name.endswith(".md"))
    html = MarkdownIt().enable("table").render(text)
    tables = re.findall(r"<table>(.*?)</table>", html, re.DOTALL)
    assert len(tables) >= 8
    for one in tables:
        headers = one.count("<th>") + one.count("<th ")
        for row in re.findall(r"<tr>(.*?)</tr>", one, re.DOTALL)[1:]:
            assert row.count("<td") == headers


def test_every_link_and_picture_is_there(root: Path) -> None:
    files = render(read_board(hand_worked(root)))
    for name, content in files.items():
        if not name.endswith(".md"):
            continue
        text = content.decode()
        for target in re.findall(r"\]\(([^)#]+)[^)]*\)", text) + re.findall(r'src="([^"]+)"', text):
            path = (Path("/") / name).parent / target
            where = Path("/" + "/".join(_resolved(path.parts[1:]))).relative_to("/").as_posix()
            assert where in files or (root / where).exists(), f"{name}: {target}"


def _resolved(parts: tuple[str, ...]) -> list[str]:
    found: list[str] = []
    for part in parts:
        if part == "..":
            found.pop()
        else:
            found.append(part)
    return found


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, "--task demo_bitext --protocol standard"),
        ({"limit": 5}, "--limit 5"),
        ({"seed": 7}, "--seed 7"),
        ({"custom": ["layer 3 (protocol: 8)"]}, "--layer 8"),
        ({"split": "dev"}, "--split dev"),
    ],
)
def test_command_of_a_row(root: Path, changes: dict[str, object], words: str) -> None:
    measure(root, BASE, bitext(BASE), **changes)
    (result,) = read_board(root).entries[0].results
    assert words in command(result)
    assert command(result).startswith("xharness eval hand/base@")


def test_command_names_the_languages_of_a_part(root: Path) -> None:
    measure(root, BASE, {"de": bitext(BASE)["de"]})
    (result,) = read_board(root).entries[0].results
    assert "--lang de" in command(result)


@pytest.mark.parametrize("recipe", ["panx_small", "xtreme_panx", None])
def test_command_of_a_split_names_the_languages_that_eval_would_not_take(
    recipe: str | None,
) -> None:
    """Nine languages of PAN-X are measured by halves: those of the suite xtreme-small alone."""
    (small,) = (one for one in read_suites()["xtreme-small"] if one.task == "panx")
    meta = {
        "model": "hand/base", "revision": "0" * 40, "split": "half", "limit": None, "seed": 0,
        "languages": small.languages, "custom": [], "track": "tuned" if recipe else "own-head",
        "resolved": {"recipe": {"name": recipe}} if recipe else {},
    }  # fmt: skip
    card, folded = read_card("panx"), SimpleNamespace(meta=meta)
    result: Any = SimpleNamespace(task="panx", card=card, folded=folded)
    words = command(result)
    assert ("--suite xtreme-small" in words) == (recipe == "panx_small")
    assert words.count("--lang ") == (0 if recipe == "panx_small" else 9)


def test_sources_name_no_outside_request(root: Path) -> None:
    files = render(read_board(hand_worked(root)))
    page = files["leaderboard/index.html"].decode()
    assert "default-src 'none'" in page
    assert not re.search(r"""(src|href)=["']?(https?:)?//""", page)
    for name, content in files.items():
        if name.endswith(".svg"):
            assert not re.search(r"https?://(?!www\.w3\.org)", content.decode())


def test_a_row_says_where_converted_weights_come_from(root: Path) -> None:
    hand_worked(root)
    submit(root, BASE, conversion="refs/pr/3")
    files = {name: content.decode() for name, content in render(read_board(root)).items()
             if name.endswith(".md")}  # fmt: skip
    assert files["leaderboard/coverage.md"].count("measured, safetensors from refs/pr/3") == 1
    assert "| safetensors | from refs/pr/3: published as a pickle |" in files[
        "leaderboard/checkpoints/base.md"
    ]  # fmt: skip
