"""`xharness view`: the pages that a browser gets, over a real connection on a free port."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import harness
from harness.analysis.measured import measured, outcome_files
from harness.cli import app
from harness.terminal.scores import score_grid
from tests.board.boards import hits, measure
from tests.board.chromium import Browser, program
from tests.checkpoints import build


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two checkpoints on the demo suite in two languages."""
    root = tmp_path_factory.mktemp("viewed")
    reader = build("bert", root / "model" / "reader", qa_head=True)
    options: dict[str, Any] = {"suite": "demo", "languages": "de,es", "out": root / "out"}
    for model in ("xharness/demo", reader):
        harness.evaluate(model, cache_dir=root / "cache", **options)
    return root / "out"


@pytest.fixture(scope="module")
def server(results: Path) -> Iterator[tuple[str, int]]:
    """The command itself; it ends as Ctrl-C ends it."""
    words = [sys.executable, "-m", "harness", "view", str(results)]
    environment = {**os.environ, "XHARNESS_CACHE": str(results.parent / "cache")}
    process = subprocess.Popen(
        words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    )
    assert process.stdout is not None
    found = re.fullmatch(r"http://(127\.0\.0\.1):(\d+)/\n", process.stdout.readline())
    assert found is not None
    try:
        yield found[1], int(found[2])
    finally:
        process.send_signal(signal.SIGINT)
        out, err = process.communicate()
    assert (process.returncode, out) == (130, "")
    assert "Traceback" not in err


def get(server: tuple[str, int], path: str, method: str = "GET", **headers: str) -> tuple[int, str]:
    connection = http.client.HTTPConnection(*server, timeout=120)
    try:
        connection.request(method, path, headers=headers)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


def test_the_first_page_has_the_table_of_show(server: tuple[str, int], results: Path) -> None:
    status, page = get(server, "/")
    assert status == 200
    grid = score_grid(measured(outcome_files([results])), by_language=False)
    for row in grid.rows:
        for cell in row:
            assert f">{cell}</td>" in unescape(page)
    assert "reader" in page
    assert "xharness-demo-v2" in page


def test_tasks_and_languages_are_chosen(server: tuple[str, int]) -> None:
    status, page = get(server, "/?task=demo_bitext&language=de")
    assert status == 200
    body = page[page.index("<tbody>") : page.index("</tbody>")]
    assert body.count("<tr>") == 1
    assert ">de</td>" in body
    assert "demo_bitext" in body
    link = unescape(re.findall(r'href="(/scores.json[^"]*)"', page)[0])
    assert {row["lang"] for row in json.loads(get(server, link)[1])} == {"de"}
    rows = json.loads(get(server, "/scores.json?task=demo_bitext&language=es")[1])
    assert {(row["task"], row["lang"]) for row in rows} == {("demo_bitext", "es")}
    assert get(server, "/scores.csv")[1].startswith("model,revision,")


def test_the_worst_examples_have_their_texts(server: tuple[str, int]) -> None:
    links = re.findall(r'href="(/examples[^"]*)"', get(server, "/")[1])
    assert len(links) == 7  # the demo checkpoint has no head
    link = next(unescape(one) for one in links if "demo_qa" in one)
    status, page = get(server, link)
    assert status == 200
    assert "<dt>question</dt>" in page
    assert "<dt>prediction</dt>" in page
    status, page = get(server, f"{link}&where=f1%3E%3D0&language=de&number=50")
    assert status == 200
    assert "(es)" not in page


@pytest.mark.parametrize(
    ("path", "status", "said"),
    [
        ("/etc/passwd", 404, "no such page"),
        ("/../../etc/passwd", 404, "no such page"),
        ("/%2e%2e/%2e%2e/etc/passwd", 404, "no such page"),
        ("//etc/passwd", 404, "no such page"),
        ("/examples?run=../../etc/passwd", 404, "no such run"),
        ("/examples?run=/etc/passwd", 404, "no such run"),
        ("/examples", 404, "no such run"),
        ("//[", 404, "no such page"),
        ("/?language=hi", 400, "no scores of hi: there are de, es"),
        ("/?language=<b>", 400, "unknown language"),
        ("/?task=%3Cscript%3E", 400, "unknown measured task"),
    ],
)
def test_nothing_of_an_address_is_a_path(
    server: tuple[str, int], path: str, status: int, said: str
) -> None:
    found = get(server, path)
    assert found[0] == status
    assert said in unescape(found[1])
    assert "root:" not in found[1]
    assert "<script>" not in found[1]
    assert "<b>" not in found[1]


def test_a_wrong_condition_is_one_line(server: tuple[str, int]) -> None:
    link = unescape(re.findall(r'href="(/examples[^"]*)"', get(server, "/")[1])[0])
    status, page = get(server, f"{link}&where=colour%3Dred")
    assert status == 400
    assert "unknown column 'colour'" in unescape(page)


def test_another_site_and_another_method_are_refused(server: tuple[str, int]) -> None:
    assert get(server, "/", Host="evil.example")[0] == 403
    assert get(server, "/", Host=f"localhost:{server[1]}")[0] == 200
    assert get(server, "/", "POST")[0] == 501
    assert get(server, "/", "HEAD") == (200, "")


def test_a_damaged_file_is_named_and_the_others_are_shown(results: Path, tmp_path: Path) -> None:
    from harness.data.folders import data_location
    from harness.viewer.pages import Source, answer

    good = next(results.rglob("demo_bitext.*.parquet"))
    for name in ("org__a", "org__b"):
        folder = tmp_path / "out" / name / good.parent.name
        folder.mkdir(parents=True)
        content = good.read_bytes() if name == "org__a" else b"PAR1 no"
        (folder / good.name).write_bytes(content)
    location = data_location(None, tmp_path / "cache", offline=True)
    page = answer(Source((tmp_path / "out",), location, tmp_path / "kept"), "/")
    assert page.status == 200
    text = page.body.decode()
    assert 'role="alert"' in text
    assert "org__b" in text
    assert "demo_bitext" in text
    for address in ("/scores.json", "/scores.csv"):  # Nobody would see that rows are missing.
        whole = answer(Source((tmp_path / "out",), location, tmp_path / "kept"), address)
        assert whole.status == 404
        assert 'role="alert"' in whole.body.decode()


def test_the_same_run_in_two_folders(tmp_path: Path) -> None:
    from harness.data.folders import data_location
    from harness.viewer.pages import Source, answer

    folders = (tmp_path / "one", tmp_path / "two")
    for folder, right in zip(folders, (1, 0), strict=True):
        measure(folder, "org/m", {"de": hits("de", [right] * 30)})
    location = data_location(None, tmp_path / "cache", offline=True)
    source = Source(folders, location, tmp_path / "kept")
    text = answer(source, "/").body.decode()
    links = [unescape(link) for link in re.findall(r'href="(/examples[^"]*)"', text)]
    assert len(set(links)) == 2
    assert str(folders[0]) in text
    shown = [answer(source, link).body.decode() for link in links]
    assert shown[0] != shown[1]


def test_languages_at_chance_are_named(tmp_path: Path) -> None:
    from harness.data.folders import data_location
    from harness.viewer.pages import Source, answer

    measure(tmp_path, "org/m", {"de": hits("de", [1] * 30), "es": hits("es", [0] * 30)})
    location = data_location(None, tmp_path / "cache", offline=True)
    text = answer(Source((tmp_path,), location, tmp_path / "kept"), "/").body.decode()
    assert "note: org/m, demo_bitext: at chance in es<" in text


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [(("nowhere",), 3, "no outcomes under nowhere"), ((".", "--port", "70000"), 2, "--port")],
)
def test_what_cannot_be_served_is_an_error_at_once(
    words: tuple[str, ...], code: int, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    ran = CliRunner().invoke(app, ["view", *words])
    assert ran.exit_code == code
    assert said in " ".join(ran.stderr.replace("│", " ").split())


def test_a_port_that_is_taken_is_named(server: tuple[str, int], results: Path) -> None:
    ran = CliRunner().invoke(app, ["view", str(results), "--port", str(server[1])])
    assert ran.exit_code == 2
    assert f"--port {server[1]} cannot be used" in ran.stderr


def test_the_pages_ask_nothing_else(server: tuple[str, int], tmp_path: Path) -> None:
    browser = Browser(tmp_path / "profile", program())
    root = f"http://127.0.0.1:{server[1]}"
    try:
        for path in ("/", "/compare"):
            browser.open(root + path)
            assert browser.problems == []
            assert browser.requests == [root + path]
        assert browser.run("document.querySelectorAll('#scores tbody tr').length") == 2
    finally:
        browser.close()
