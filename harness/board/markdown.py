"""Markdown that renders right on GitHub and is safe: what is no `Raw` is escaped."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import cache
from html import escape
from typing import TYPE_CHECKING
from urllib.parse import quote

if TYPE_CHECKING:
    import jinja2

PLAIN = re.compile(r"[A-Za-z0-9 .,:%+()/−—-]*")  # most cells, and nothing to escape in them


class Raw(str):
    """Markdown that is meant as such; any other text is escaped where it goes into a page."""


@cache
def environment() -> jinja2.Environment:
    """Templates of the board; a value that is no ``Raw`` is escaped when it is put in."""
    import jinja2

    return jinja2.Environment(
        loader=jinja2.PackageLoader("harness.board"),
        undefined=jinja2.StrictUndefined,
        finalize=lambda value: value if isinstance(value, Raw) else cell(value),
        keep_trailing_newline=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def cell(value: object) -> str:
    """Text for a table cell or a paragraph: one line, without a meaning in Markdown or HTML."""
    text = " ".join(str(value).split())
    if PLAIN.fullmatch(text):
        return text
    text = "".join(c for c in text if c.isprintable())
    text = escape(text, quote=False)
    return re.sub(r"([\\`*_\[\]|~$])", lambda m: f"&#{ord(m[1])};", text)


def code(text: str) -> Raw:
    """A command in a table cell."""
    return Raw(f"<code>{cell(text)}</code>")


def link(text: str, target: str) -> Raw:
    """A link to a file of the board."""
    return Raw(f"[{cell(text)}]({quote(target)})")


def picture(text: str, target: str) -> Raw:
    """A figure with what it shows in words."""
    return Raw(f"!{link(text, target)}")


def floating(text: str, target: str, side: str) -> Raw:
    """A figure at the left or the right, beside what there is room for, with words for it."""
    said = escape(cell(text), quote=True).replace("&amp;", "&")
    return Raw(f'<img align="{side}" alt="{said}" src="{quote(target)}">')


def unbroken(text: str) -> Raw:
    """An interval: brackets around numbers are no link, and no line is broken in it."""
    return Raw(text.replace(" ", "&nbsp;"))


def table(
    headers: Sequence[str], rows: Iterable[Sequence[object]], left: int = 1, tail: int = 0
) -> Raw:
    """A table; the first ``left`` and last ``tail`` columns are set left, the others right."""
    lines = [f"| {' | '.join(cell(header) for header in headers)} |"]
    size = len(headers)
    marks = [":--" if at < left or at >= size - tail else "--:" for at in range(size)]
    lines.append(f"| {' | '.join(marks)} |")
    for row in rows:
        cells = [str(c) if isinstance(c, Raw) else cell(c) for c in row]
        lines.append(f"| {' | '.join(cells)} |")
    return Raw("\n".join(lines))
