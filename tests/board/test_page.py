"""The page in a real browser: sorted, filtered and compared with the keyboard and without."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.analysis.gather import read_board
from harness.board.build import leaderboard
from harness.board.page import page_data
from harness.submissions.attempts import Attempt, write_attempts
from tests.board.boards import BASE, MANY, answers, hand_worked, hits, measure, submit
from tests.board.chromium import Browser, program

UNITS = ("en", "de", "es", "ru", "ar", "hi", "zh", "sw")


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    started = Browser(tmp_path_factory.mktemp("profile"), program())
    yield started
    started.close()


@pytest.fixture
def url(root: Path) -> str:
    hand_worked(root)
    # A fourth checkpoint whose paired difference to the base is known: one sentence of four.
    submit(root, "hand/nli", base=BASE, objective="nli", languages=["en"], stand_in=True)
    measure(root, "hand/nli", {"de": hits("de", [1, 0, 0, 0]), "sw": hits("sw", [1, 0, 0, 0])})
    measure(root, "hand/partly", {"de": hits("de", [1, 1, 1, 1])})
    measure(root, MANY, {u: answers(u, [1.0, 0.5]) for u in UNITS}, task="demo_qa", layer=None)
    leaderboard(root)
    return (root / "leaderboard/index.html").as_uri()


def cells(browser: Browser, table: str, column: int) -> list[str]:
    script = (
        f"[...document.querySelectorAll('#{table} tbody tr')]"
        f".map(row => row.children[{column}].firstChild?.textContent ?? '')"
    )
    return list(browser.run(script))


def choose(browser: Browser, name: str, value: str) -> None:
    browser.run(
        f"{{ const s = document.getElementById('{name}'); s.value = '{value}';"
        " s.dispatchEvent(new Event(s.type === 'search' ? 'input' : 'change')); }"
    )


def test_opens_without_a_request_or_a_problem(browser: Browser, url: str) -> None:
    browser.open(url)
    assert [request.split("#")[0] for request in browser.requests] == [url]
    assert browser.problems == []
    assert browser.run("document.title") == "xharness leaderboard"


def test_scores_are_those_of_the_board(browser: Browser, url: str) -> None:
    browser.open(url)
    assert cells(browser, "scores", 1) == [
        "hand/multilingual-qa", "hand/english-qa", "hand/nli", "hand/base", "hand/partly",
    ]  # fmt: skip
    values = cells(browser, "scores", 4)
    assert values[0].startswith("75.0 ± ")
    assert values[1] == "50.0 ± 0.0"
    assert values[3:] == ["0.0 ± 0.0", "—"]
    assert cells(browser, "scores", 7)[4] == "missing sw; languages missing: demo_bitext"
    assert browser.run("document.querySelectorAll('#scores .mark').length") == 1  # the stand-in


def test_sorts_by_click_and_says_so(browser: Browser, url: str) -> None:
    browser.open(url)
    browser.run("document.querySelector('#scores [data-column=name]').click()")
    names = cells(browser, "scores", 1)
    assert names == sorted(names)
    assert browser.run("document.querySelector('#scores [aria-sort]').ariaSort") == "ascending"
    browser.run("document.querySelector('#scores [data-column=name]').click()")
    assert cells(browser, "scores", 1) == sorted(names, reverse=True)


def test_sorts_by_keyboard_and_keeps_the_focus(browser: Browser, url: str) -> None:
    browser.open(url)
    browser.run("document.getElementById('name').focus()")
    focused = ""
    for _ in range(6):  # past the region that scrolls and the columns before
        browser.press("Tab", 9)
        focused = browser.run("document.activeElement.dataset.column || ''")
        if focused == "name":
            break
    assert focused == "name"
    browser.press("Enter", 13)
    names = cells(browser, "scores", 1)
    assert names == sorted(names)
    assert browser.run("document.activeElement.dataset.column") == "name"


def test_filters(browser: Browser, url: str) -> None:
    browser.open(url)
    choose(browser, "language", "sw")
    values = dict(zip(cells(browser, "scores", 0), cells(browser, "scores", 3), strict=True))
    assert values["hand/multilingual-qa"].startswith("50.0 ± ")
    assert values["hand/english-qa"] == "0.0 ± 0.0"
    choose(browser, "language", "all")
    choose(browser, "family", "Indo-European")
    assert cells(browser, "scores", 3)[:2] == ["100.0 ± 0.0"] * 2
    choose(browser, "family", "all")
    choose(browser, "kind", "English QA")
    assert cells(browser, "scores", 1) == ["hand/english-qa"]
    choose(browser, "kind", "all")
    choose(browser, "name", "NLI")
    assert cells(browser, "scores", 1) == ["hand/nli"]
    choose(browser, "name", "")
    choose(browser, "script", "Latn")
    assert len(cells(browser, "scores", 1)) == 5
    choose(browser, "script", "all")
    choose(browser, "track", "own-head")
    assert cells(browser, "scores", 1) == ["hand/multilingual-qa"]
    assert cells(browser, "scores", 4)[0].startswith("75.0")


def test_difference_of_two_checkpoints(browser: Browser, url: str) -> None:
    browser.open(url)
    choose(browser, "a", "english-qa")
    choose(browser, "b", "base")
    assert browser.run("document.getElementById('verdict').textContent") == (
        "hand/english-qa − hand/base: not known (at chance): +50.00 points, 95 % interval"
        " [+50.00, +50.00], simultaneous [+50.00, +50.00], p = 0.136, Holm p = 1.000,"
        " at chance in 2 of 2. Mean of demo_bitext in 2 languages."
    )
    # The mean stands first, with the simultaneous interval of its family beside the plain one.
    assert cells(browser, "differences", 0) == ["mean", "German", "Swahili"]
    assert cells(browser, "differences", 5) == ["+50.00", "+100.00", "0.00"]
    intervals = ["[+50.00, +50.00]", "[+100.00, +100.00]", "[0.00, 0.00]"]
    assert cells(browser, "differences", 6) == intervals
    mean = browser.run("document.querySelector('#differences tr.whole').cells[6].textContent")
    assert mean == "[+50.00, +50.00]simultaneous [+50.00, +50.00]"
    choose(browser, "a", "nli")
    assert cells(browser, "differences", 5) == ["+25.00", "+25.00", "+25.00"]
    assert "not known (at chance): +25.00" in browser.run(
        "document.getElementById('verdict').textContent"
    )
    choose(browser, "a", "base")
    choose(browser, "b", "nli")
    assert "hand/base − hand/nli: not known (at chance): −25.00" in browser.run(
        "document.getElementById('verdict').textContent"
    )
    choose(browser, "a", "english-qa")
    assert "not tested. Mean" in browser.run("document.getElementById('verdict').textContent")
    choose(browser, "a", "nli")
    choose(browser, "b", "nli")
    assert "two different" in browser.run("document.getElementById('verdict').textContent")


def test_what_was_chosen_is_in_the_address(browser: Browser, url: str) -> None:
    browser.open(f"{url}#track=frozen&language=sw&a=multilingual-qa&b=english-qa")
    assert browser.run("document.getElementById('language').value") == "sw"
    assert cells(browser, "differences", 5) == ["+50.00", "+50.00"]
    choose(browser, "b", "base")
    assert "b=base" in browser.run("location.hash")


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_phone_width_and_both_themes(
    browser: Browser, url: str, tmp_path: Path, dark: bool
) -> None:
    browser.open(url, width=390, height=800, dark=dark)
    assert browser.run("document.documentElement.scrollWidth") <= 390
    # The columns of verdicts are hidden: their words stand below the names.
    below = "[...document.querySelectorAll('{} .narrow')].map(n => n.innerText).join('; ')"
    assert "not known (at chance)" in browser.run(below.format("#differences"))
    assert "against its base +" in browser.run(below.format("#scores"))
    style = "getComputedStyle(document.body)"
    ground, text = (browser.run(f"{style}.{name}") for name in ("backgroundColor", "color"))
    assert ground == ("rgb(13, 17, 23)" if dark else "rgb(255, 255, 255)")
    assert text == ("rgb(240, 246, 252)" if dark else "rgb(31, 35, 40)")
    picture = Path(os.environ.get("XHARNESS_SCREENSHOTS", tmp_path)) / f"page-{dark}.png"
    browser.screenshot(picture)
    assert picture.stat().st_size > 10_000


def test_controls_have_names(browser: Browser, url: str) -> None:
    browser.open(url)
    unnamed = "[...document.querySelectorAll('select,input')].filter(c => !c.labels.length).length"
    assert browser.run(unnamed) == 0
    assert browser.run("document.querySelectorAll('table caption').length") == 3
    assert browser.run("document.querySelectorAll('table').length") == 3


def test_hostile_name_does_nothing(browser: Browser, root: Path) -> None:
    hand_worked(root)
    evil = "</script><img src=x onerror=document.title='evil'>"
    measure(root, evil, {u: hits(u, [1, 1, 1, 0]) for u in ("de", "sw")})
    leaderboard(root)
    browser.open((root / "leaderboard/index.html").as_uri())
    assert browser.run("document.title") == "xharness leaderboard"
    assert browser.run("document.querySelectorAll('img').length") == 0
    assert evil in cells(browser, "scores", 1)


def test_what_waits_is_listed_with_the_reason_and_since_when(
    browser: Browser, root: Path, tmp_path: Path
) -> None:
    hand_worked(root)
    submit(root, "hand/gated", base=BASE, objective="nli", languages=["en"], revision=None)
    submit(root, "hand/new", revision=None)
    failed = Attempt(
        model="hand/gated", status="failed", reason="gated: ask for access", exit_code=3,
        since="2026-01-02T03:04:05+00:00",
    )  # fmt: skip
    write_attempts(root, {"gated": failed})
    leaderboard(root)
    browser.open((root / "leaderboard/index.html").as_uri())
    assert browser.run("document.querySelector('#waiting-list summary').textContent") == (
        "2 submissions without scores, 1 of them failed"
    )
    rows = browser.run(
        "[...document.querySelectorAll('#waiting tbody tr')]"
        ".map(r => [...r.cells].slice(3).map(c => c.textContent))"
    )
    assert sorted(rows) == [
        ["failed", "gated: ask for access", "2026-01-02"],
        ["pending", "not tried yet", "—"],
    ]
    text = (root / "leaderboard/pending.md").read_text(encoding="utf-8")
    assert "| gated: ask for access | 2026-01-02 |" in text


def test_csv_is_the_visible_table(browser: Browser, url: str) -> None:
    browser.open(url)
    lines = list(csv.reader(io.StringIO(browser.run("csv($('scores'))"))))
    assert lines[0][:2] == ["rank", "checkpoint"]
    assert len({len(line) for line in lines}) == 1
    assert len(lines) == 1 + browser.run("document.querySelectorAll('#scores tbody tr').length")
    assert "hand/english-qa" in [line[1] for line in lines]
    browser.open(url, width=390)  # what a phone hides is not in it
    narrow = list(csv.reader(io.StringIO(browser.run("csv($('scores'))"))))
    assert len(narrow[0]) < len(lines[0])


@pytest.mark.parametrize(("text", "cell"), [("=1+1", "'=1+1"), ("@x", "'@x"), ("-3.1", "-3.1")])
def test_csv_holds_no_formulas(browser: Browser, url: str, text: str, cell: str) -> None:
    browser.open(url)
    made = (
        "(() => { const t = document.createElement('table'); t.insertRow().insertCell().textContent"
        f" = {text!r}; document.body.append(t); return csv(t); }})()"
    )
    assert next(csv.reader(io.StringIO(browser.run(made)))) == [cell]


def test_a_single_parallel_item_has_a_score_and_no_interval(browser: Browser, root: Path) -> None:
    hand_worked(root)
    for model, line in ((MANY, [1.0, 0.5]), (BASE, [0.5, 0.5])):
        rows = {unit: answers(unit, line) for unit in UNITS}
        measure(root, model, rows, task="demo_qa", layer=None)
    leaderboard(root)
    browser.open((root / "leaderboard/index.html").as_uri())
    choose(browser, "track", "own-head")
    assert sorted(cells(browser, "scores", 4)) == ["50.0", "75.0"]
    choose(browser, "a", "multilingual-qa")
    choose(browser, "b", "base")
    assert cells(browser, "differences", 5) == ["+25.00"] * 9
    assert cells(browser, "differences", 6) == ["—"] * 9
    assert browser.problems == []


def test_a_result_in_none_of_the_boards_languages_is_not_of_the_page(root: Path) -> None:
    for model, units in ((BASE, ("de", "sw")), (MANY, ("la",))):
        submit(root, model)
        measure(root, model, {unit: hits(unit, [1, 0]) for unit in units}, task="tatoeba")
    page = page_data(read_board(root))
    (task,) = page["tasks"]
    assert set(task["languages"]) == {"de", "sw"}
    assert {one["model"]: len(one["results"]) for one in page["checkpoints"]} == {BASE: 1, MANY: 0}
