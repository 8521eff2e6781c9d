"""The pages of the site that are made from what the repository has: board, cards, commands."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping
from html import escape
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

# Files of the checkout that are pages, and where a link to a file that is none of them leads.
COPIED = {
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
}
WIDE = "---\nhide: [toc]\n---\n"  # tables and charts need the room
BROWSE = "browse.html"  # the interactive page: board/index.html is the README there


def on_files(files: Any, config: Any) -> Any:
    """Add the generated pages to those of `docs/`."""
    from mkdocs.structure.files import File

    for name, content in generated(ROOT).items():
        files.append(File.generated(config, name, content=content))
    return files


def generated(root: Path) -> dict[str, str | bytes]:
    """Path in the site's sources → content."""
    from harness.cards.catalogue import card_names

    pages: dict[str, str | bytes] = dict(board_files(root / "leaderboard"))
    for name, page in COPIED.items():
        text = (root / name).read_text(encoding="utf-8")
        pages[page] = rendered(without_links(text, COPIED))
    for name in card_names():
        pages[f"tasks/{name}.md"] = task_page(name)
    pages["tasks/index.md"] = task_list()
    pages["tasks/intermediate.md"] = intermediate_list()
    pages["commands.md"] = command_page()
    return pages


def board_files(board: Path) -> Iterator[tuple[str, str | bytes]]:
    """`leaderboard/` under `board/`, its Markdown made fit for the site."""
    for path in sorted(board.rglob("*")):
        name = path.relative_to(board).as_posix()
        if path.is_dir() or name == "attempts.json" or path.name.startswith("."):
            continue
        if name == "index.html":
            yield f"board/{BROWSE}", browse_page(path.read_text(encoding="utf-8"))
        elif path.suffix == ".md":
            text = path.read_text(encoding="utf-8").replace("](index.html)", f"]({BROWSE})")
            text = re.sub(r"\]\(\.\./(?!results/|README\.md)([^)]*)\)", _outside, text)
            yield f"board/{name}", WIDE + rendered(text)
        else:
            yield f"board/{name}", path.read_bytes()


def browse_page(text: str) -> str:
    """The interactive page with links to the site's pages in place of Markdown."""
    for before, after in (
        ('href="README.md"', 'href="index.html"'),
        (".slug)}.md`", ".slug)}.html`"),
    ):
        if before not in text:
            raise ValueError(f"the interactive page has no {before}: docs/hooks.py follows it")
        text = text.replace(before, after)
    return text


def rendered(text: str) -> str:
    """GitHub's Markdown for Python-Markdown: what is inside of `details` is Markdown there."""
    text = re.sub(r"<details>(?=\s*<summary>)", '<details markdown="1">', text)
    return text.replace("<!-- Generated", "\n<!-- Generated")


def without_links(text: str, pages: Mapping[str, str]) -> str:
    """Links to files of the checkout that are no pages become their text."""

    def shown(match: re.Match[str]) -> str:
        label, target = match[1], match[2]
        if target.startswith(("http://", "https://", "#")):
            return match[0]
        name, _, anchor = target.partition("#")
        if name in pages:
            return f"[{label}]({pages[name]}{'#' * bool(anchor)}{anchor})"
        return label

    return re.sub(r"(?<!!)\[([^\]]+)\]\(([^)\s]+)\)", shown, text)


def _outside(match: re.Match[str]) -> str:
    name, _, anchor = match[1].partition("#")
    page = COPIED.get(name)
    return f"](../{page or 'index.md'}{'#' * bool(anchor and page)}{anchor if page else ''})"


def task_page(name: str) -> str:
    """A target task's card as a page."""
    from harness.cards.catalogue import read_card
    from harness.cards.languages import read_languages

    card, names = read_card(name), read_languages()
    spoken = {unit: ", question ".join(names[code].name for code in unit.split("-"))
              for unit in card.languages}  # fmt: skip
    counts = card.counts.get(card.split, {})
    lines = [f"# {card.title}", "", f"`{card.argument}`, kind `{card.kind}`", ""]
    lines += ["| what | value |", "| :-- | :-- |"]
    facts = {
        "headline": f"{card.primary}, official: {card.official}",
        "metrics": ", ".join(card.metrics),
        "split": card.split,
        "version of the card": card.version,
        "languages": len(card.languages),
        "one pool of candidates": f"{card.candidates:,}" if card.candidates else "",
        "licence": card.licence,
        "citation": card.citation,
    }
    lines += [f"| {key} | {text(value)} |" for key, value in facts.items() if value]
    if card.notes:
        lines += ["", "## Notes", "", *(f"- {text(note)}" for note in card.notes)]
    lines += ["", "## Languages", "", "| code | language | examples |", "| :-- | :-- | --: |"]
    lines += [f"| {unit} | {text(word)} | {counts.get(unit, '')} |"
              for unit, word in spoken.items()]  # fmt: skip
    return "\n".join([*lines, "", "[All tasks](index.md)", ""])


def task_list() -> str:
    """All target tasks, and the suites."""
    from harness.cards.catalogue import card_names, read_card, read_suites

    lines = [
        "# Tasks",
        "",
        "A task is a card: data and no code. `xharness tasks NAME` prints one.",
        "",
    ]
    lines += [
        "| task | kind | languages | headline | official |",
        "| :-- | :-- | --: | :-- | :-- |",
    ]
    for name in card_names():
        card = read_card(name)
        lines.append(f"| [{text(card.title)}]({name}.md) | {card.kind} | {len(card.languages)} |"
                     f" {card.primary} | {card.official} |")  # fmt: skip
    lines += ["", "## Suites", "", "| suite | tasks |", "| :-- | :-- |"]
    for suite, entries in read_suites().items():
        lines.append(f"| `{suite}` | {', '.join(text(entry.task) for entry in entries)} |")
    return "\n".join(
        [*lines, "", "How to add one: [contributing](../contributing.md#add-a-task).", ""]
    )


def intermediate_list() -> str:
    """All intermediate tasks."""
    from harness.cards.training import intermediate_names, read_intermediate

    lines = ["# Intermediate tasks", "",
             "What `xharness train BASE --intermediate NAME` trains on.", "",
             "| name | data | head | languages | contaminates |",
             "| :-- | :-- | :-- | --: | :-- |"]  # fmt: skip
    for name in intermediate_names():
        card = read_intermediate(name)
        lines.append(f"| `{name}` | {text(card.title)} | {card.kind} | {len(card.languages)} |"
                     f" {', '.join(card.contaminates) or '—'} |")  # fmt: skip
    return "\n".join([*lines, ""])


def command_page() -> str:
    """Every command with its arguments and options, from the command line itself."""
    import typer

    from harness.cli import app

    group: Any = typer.main.get_command(app)
    lines = ["# Commands", "", "`xharness COMMAND --help` says the same.", ""]
    for name, command in commands(group):
        lines += [f"## {name}", "", text(command.help or ""), ""]
        lines += ["| option | value | what it does |", "| :-- | :-- | :-- |"]
        for one in command.params:
            if getattr(one, "hidden", False) or one.name == "help":
                continue
            option = one.param_type_name == "option"
            value = "" if getattr(one, "is_flag", False) else (one.metavar or one.name.upper())
            names = ", ".join(one.opts) if option else value
            lines.append(f"| `{names}` | {text(value) if option else ''} |"
                         f" {text(getattr(one, 'help', '') or '')} |")  # fmt: skip
        lines.append("")
    return "\n".join(lines)


def commands(group: Any, before: str = "") -> Iterator[tuple[str, Any]]:
    """Name → command, those of groups included."""
    for name, command in sorted(group.commands.items()):
        if hasattr(command, "commands"):
            yield from commands(command, f"{before}{name} ")
        elif not command.hidden:
            yield f"{before}{name}", command


def text(value: object) -> str:
    """One line without a meaning in Markdown."""
    line = escape(" ".join(str(value).split()), quote=False)
    line = re.sub(r"(?<![\w(<])https?://[^\s|<>)]+[^\s|<>).,]", lambda m: f"<{m[0]}>", line)
    return re.sub(r"([\\`*_\[\]|~$])(?![^<]*>)", lambda m: f"&#{ord(m[1])};", line)
