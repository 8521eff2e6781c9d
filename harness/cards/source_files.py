"""Official files, their checksums, and data sets on the Hub, as cards of every kind name them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from string import Formatter
from typing import Annotated

from pydantic import AfterValidator, Field

from harness.cards.languages import task_root
from harness.errors import DataError
from harness.io.strict_yaml import Name, Strict


def _plain_path(path: str) -> str:
    if path.startswith("/") or "\\" in path or ".." in path.split("/"):
        raise ValueError(f"{path!r} does not stay in its folder")
    return path


def _template(text: str) -> str:
    try:
        parts = list(Formatter().parse(text))
    except ValueError:  # a brace alone
        parts = [("", "", None, None)]
    for _, name, spec, conversion in parts:
        if name is not None and (name not in PLACES or spec or conversion):
            known = ", ".join(f"{{{place}}}" for place in PLACES)
            raise ValueError(f"{text!r} may have {known}, and no other braces")
    return text


def _plain_url(url: str) -> str:
    if not url.startswith("https://"):
        raise ValueError(f"{url!r} is not https")
    return url


def _commit(revision: str) -> str:
    if not re.fullmatch(r"[0-9a-f]{40}", revision):
        raise ValueError(f"{revision!r} is not a commit of 40 hex digits")
    return revision


PLACES = ("lang", "code", "context", "question")  # of a template, which cards fill
FileCode = Annotated[str, Field(pattern=r"^\w[\w-]*$")]  # of a language, in a template
PathTemplate = Annotated[
    str, Field(min_length=1), AfterValidator(_plain_path), AfterValidator(_template)
]
UrlTemplate = Annotated[str, AfterValidator(_plain_url), AfterValidator(_template)]
Commit = Annotated[str, AfterValidator(_commit)]


class SourceFile(Strict):
    """One kind of file that a split is made of.

    ``path``, ``url`` and ``member`` are templates over ``{code}`` (the files' own code of a
    language), or ``{context}`` and ``{question}`` for pairs; a path without one is shared by all
    units. ``alternative`` is another name under which a data folder may have it. With ``member``
    the url is that of an archive. ``size``: about how many bytes one download is.
    """

    path: PathTemplate
    alternative: PathTemplate | None = None
    url: UrlTemplate | None = None
    member: PathTemplate | None = None
    size: int | None = Field(default=None, gt=0)
    optional: bool = False


class HubData(Strict):
    """A data set on the Hub. Without a ``revision`` the newest is used, and recorded.

    ``files``: role → glob template of one file, by unit or shared by all of them (a template
    without a code).
    """

    id: Annotated[str, Field(pattern=r"^[\w.-]+/[\w.-]+$")]
    revision: Commit | None = None
    files: Mapping[Name, PathTemplate] = Field(min_length=1)


class Hub(HubData):
    """A data set on the Hub that carries the whole split of a target task.

    ``size``: about how many bytes one file is. ``labels``: what whole numbers stand for, where a
    file does not say it itself.
    """

    size: int | None = Field(default=None, gt=0)
    labels: list[str] = Field(default_factory=list)


@cache
def read_checksums() -> dict[str, str]:
    """Layout path → sha256 hex of the official file, for the files whose bytes are known."""
    checksums: dict[str, str] = {}
    for folder in ("target", "intermediate"):
        text = (task_root() / folder / "SHA256SUMS").read_text(encoding="utf-8")
        for number, line in enumerate(text.splitlines(), start=1):
            digest, _, path = line.partition("  ")
            if not re.fullmatch(r"[0-9a-f]{64}", digest) or not path or path in checksums:
                place = f"tasks/{folder}/SHA256SUMS:{number}"
                raise DataError(f"{place}: not `sha256  path`, or a repeat")
            checksums[path] = digest
    return checksums
