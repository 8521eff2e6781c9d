"""The built site: no dead link, no request, and pages that say what the repository has."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from types import ModuleType
from urllib.parse import unquote, urlsplit

import pyarrow as pa
import pytest

from harness.cli import app
from harness.kinds import KINDS
from harness.metrics.by_kind import METRICS
from harness.results.scores import SCHEMA
from tests.board.chromium import Browser, program

ROOT = Path(__file__).parents[2]
GENERATOR = all(importlib.util.find_spec(name) for name in ("mkdocs", "material", "mkdocstrings"))
SERVED = "https://owner.example/project/"  # as pages.yml says: a project's site has a path
generator = pytest.mark.skipif(not GENERATOR, reason="needs pip install '.[docs]'")


@pytest.fixture(scope="module")
def hooks() -> ModuleType:
    spec = importlib.util.spec_from_file_location("site_hooks", ROOT / "docs/hooks.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet"]
    built = subprocess.run(
        [*command, "--site-dir", str(folder)],
        cwd=ROOT,
        env=os.environ | {"SITE_URL": SERVED},
        capture_output=True,
        text=True,
    )
    assert built.returncode == 0, built.stdout + built.stderr
    return folder


class Page(HTMLParser):
    """What a page links to, loads, and can be linked to."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.links: list[str] = []
        self.loads: list[str] = []
        self.ids: set[str] = set()
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        self.ids |= {values[name] for name in ("id", "name") if name in values}
        if tag == "a" and "href" in values:
            self.links.append(values["href"])
        elif tag in ("img", "script", "iframe", "source") and "src" in values:
            self.loads.append(values["src"])
        elif tag == "link" and values.get("rel") not in ("canonical", "prev", "next"):
            self.loads.append(values.get("href", ""))


def test_links_are_followed_by_the_checker(tmp_path: Path) -> None:
    (tmp_path / "a.html").write_text('<p id="x"><a href="b.html#y">b</a><a href="a.html#x">a</a>')
    (tmp_path / "b.html").write_text("<img src='c.svg'>")
    assert dead(tmp_path) == ["a.html: b.html#y", "b.html: c.svg"]


def dead(site: Path) -> list[str]:
    """Page and link, of each that leads nowhere in the site."""
    pages = {path: Page(path) for path in sorted(site.rglob("*.html"))}
    found = []
    for path, page in pages.items():
        for link in [*page.links, *page.loads]:
            parts = urlsplit(link)
            if parts.scheme in ("http", "https", "mailto", "data"):
                continue
            where = unquote(parts.path)
            if (
                path.name == "404.html"
            ):  # shown at any address: its links begin at the server's root
                where = where.replace(urlsplit(SERVED).path, "./", 1)
            target = (path.parent / where).resolve() if where else path
            if target.is_dir():
                target /= "index.html"
            anchor = unquote(parts.fragment)
            there = target.is_file()
            if there and anchor and target in pages:
                there = anchor in pages[target].ids
            if not there:
                found.append(f"{path.relative_to(site).as_posix()}: {link}")
    return found


@generator
def test_no_link_is_dead(site: Path) -> None:
    assert dead(site) == []
    assert not list(site.rglob("*.md"))


@generator
def test_no_page_names_anything_of_the_network(site: Path) -> None:
    for path in site.rglob("*.html"):
        loads = [load for load in Page(path).loads if urlsplit(load).scheme in ("http", "https")]
        assert loads == [], path


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Browser]:
    opened = Browser(tmp_path, program())
    yield opened
    opened.close()


UNFITTED = ".md-typeset table:not([class]):not([data-fit])"  # the theme's script is under way


@generator
def test_pages_ask_nothing_of_the_network_and_fit_a_phone(site: Path, browser: Browser) -> None:
    for name in ("index.html", "board/index.html", "board/browse.html", "api.html", "peers.html"):
        browser.open((site / name).as_uri(), width=390)
        while browser.run(f"!!document.querySelector({UNFITTED!r})"):
            continue
        asked = [one for one in browser.requests if not one.startswith(("file:", "data:"))]
        assert asked == [], name
        wide = browser.run("document.documentElement.scrollWidth")
        assert wide <= 390, f"{name} is {wide} px wide on a phone"
        frames = "[...document.querySelectorAll('.md-typeset__scrollwrap')]"
        assert not browser.run(f"{frames}.some(one => one.scrollWidth > one.clientWidth)"), name


@generator
def test_the_theme_follows_the_device_after_the_first_visit(site: Path, browser: Browser) -> None:
    for dark, scheme in ((False, "default"), (True, "slate"), (False, "default")):
        browser.open((site / "faq.html").as_uri(), dark=dark)
        assert browser.run("document.body.dataset.mdColorScheme") == scheme


FAINT_CODE = """[...document.querySelectorAll(".md-typeset code, .md-typeset code *")]
.filter(one => {
  const rgb = css => css.match(/[0-9.]+/g).map(Number);
  const light = ([r, g, b]) => [r, g, b].map(c => c / 255)
    .map(c => c <= .04045 ? c / 12.92 : ((c + .055) / 1.055) ** 2.4)
    .reduce((sum, c, place) => sum + c * [.2126, .7152, .0722][place], 0);
  const ground = rgb(getComputedStyle(one.closest('code')).backgroundColor);
  const both = [light(ground), light(rgb(getComputedStyle(one).color))].sort((a, b) => b - a);
  return one.innerText.trim() && (both[0] + .05) / (both[1] + .05) < 4.5;
}).map(one => one.innerText)"""


@generator
@pytest.mark.parametrize("dark", [False, True])
def test_code_is_read_in_both_themes(site: Path, browser: Browser, dark: bool) -> None:
    for name in ("api.html", "contributing.html", "tutorial.html"):
        browser.open((site / name).as_uri(), dark=dark)
        assert browser.run(FAINT_CODE) == [], name


def test_columns_are_all_explained() -> None:
    text = (ROOT / "docs/columns.md").read_text(encoding="utf-8")
    schemas: list[pa.Schema] = [SCHEMA, *(kind.schema for kind in KINDS.values())]
    names = {name for schema in schemas for name in schema.names}
    assert [name for name in sorted(names) if f"`{name}`" not in text] == []


def test_metrics_are_all_explained() -> None:
    text = (ROOT / "docs/metrics.md").read_text(encoding="utf-8").lower().replace("_", " ")
    names = {name.split("@")[0] for metrics in METRICS.values() for name in metrics}
    assert [name for name in sorted(names) if name.replace("_", " ") not in text] == []


def test_commands_and_options_are_all_there(hooks: ModuleType) -> None:
    import typer

    page = hooks.command_page()
    found = dict(hooks.commands(typer.main.get_command(app)))
    assert {"eval", "train", "cache ls"} <= set(found)
    for name, command in found.items():
        assert f"\n## {name}\n" in page
        for one in command.params:
            if one.param_type_name == "option" and not one.hidden and one.name != "help":
                assert one.opts[0] in page, (name, one.opts)


def test_cards_are_pages(hooks: ModuleType) -> None:
    page = hooks.task_page("lareqa")
    assert "| headline | recall@10, official: map@20 |" in page
    assert "<https://arxiv.org/" in page
    assert "| sw | Swahili | 390 |" in hooks.task_page("tatoeba")


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("[a](LICENSE)", "a"),
        ("[a](SECURITY.md)", "[a](security.md)"),
        ("[a](CONTRIBUTING.md#style)", "[a](contributing.md#style)"),
        ("[a](https://a.org/b)", "[a](https://a.org/b)"),
    ],
)
def test_links_of_copied_pages(hooks: ModuleType, before: str, after: str) -> None:
    pages = {"SECURITY.md": "security.md", "CONTRIBUTING.md": "contributing.md"}
    assert hooks.without_links(before, pages) == after


def test_the_interactive_page_leads_to_pages_of_the_site(hooks: ModuleType) -> None:
    template = (ROOT / "harness/board/templates/index.html.j2").read_text(encoding="utf-8")
    page = hooks.browse_page(template)
    assert ".md" not in page
    with pytest.raises(ValueError, match="the interactive page has no"):
        hooks.browse_page("<p></p>")


def test_text_has_no_meaning_in_markdown(hooks: ModuleType) -> None:
    assert hooks.text("a|b *c*\n<d>") == "a&#124;b &#42;c&#42; &lt;d&gt;"
