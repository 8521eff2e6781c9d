"""Reads the names of checkpoints: a Hub id with a revision, a page of the Hub, or a folder."""

from __future__ import annotations

import re
from errno import ENAMETOOLONG
from pathlib import Path
from urllib.parse import unquote

from harness.errors import NotFoundError, UsageError

# How addresses begin, the hosts of the Hub, the pages of a model (the first of these name a
# revision), and the pages of other things than models.
ADDRESS = re.compile(
    r"^(?:https?://|hf://|(?=(?:www\.)?(?:huggingface\.co|hf\.co)/))", re.IGNORECASE
)
HUB_HOSTS = ("huggingface.co", "www.huggingface.co", "hf.co")
REVISION_PAGES = ("tree", "blob", "resolve", "raw", "commit", "commits")
MODEL_PAGES = (*REVISION_PAGES, "discussions", "settings", "edit")
NOT_MODELS = ("datasets", "spaces", "collections", "papers", "docs", "blog", "api", "organizations")


def parse_model(text: str) -> tuple[str, str | None]:
    """Split ``org/name@revision`` into (id, revision or None).

    A folder that exists is returned as it is. The address of a model's page on the Hub is
    understood too.

    Raises:
        UsageError: there is nothing before or after the ``@``, it is the address of something
            else, or the name is too long.
        NotFoundError: it is in the home folder of a user who is not known here.
    """
    if not text.strip():
        raise UsageError("the model has no name: give a Hub id (org/name) or a folder")
    try:
        if as_path(text).exists():
            return text, None
    except OSError as error:
        if error.errno != ENAMETOOLONG:
            raise
        raise UsageError(f"{text[:60]}… is too long: give org/name or a folder") from None
    if ADDRESS.match(text.strip()):
        return _parse_address(text.strip())
    name, at, revision = text.rpartition("@")
    if not at:
        return text, None
    if not name or not revision:
        raise UsageError(f"{text!r} is no model: write org/name@revision, org/name or a folder")
    return name, revision


def _parse_address(text: str) -> tuple[str, str | None]:
    """Return id and revision from the address of a page or file of a model on the Hub."""
    host, _, rest = ADDRESS.sub("", text, count=1).partition("/")
    if text.startswith("hf://"):
        host, rest = HUB_HOSTS[0], f"{host}/{rest}"
    if host.lower() not in HUB_HOSTS:
        raise UsageError(f"{text} is an address that is not of the Hub: give org/name or a folder")
    path, pinned = unquote(re.split(r"[?#]", rest)[0]), None
    parts = [part for part in path.split("/") if part]
    if parts[:1] == ["models"]:
        parts = parts[1:]
    if not parts or parts[0] in NOT_MODELS:
        raise UsageError(f"{text} is not the address of a model: give org/name or a folder")
    page = next((place for place in (1, 2) if {*parts[place : place + 1]} & {*MODEL_PAGES}), None)
    name = "/".join(parts[: page or 2])
    if page is not None and parts[page] in REVISION_PAGES and len(parts) > page + 1:
        revision = parts[page + 1 :]
        pinned = "/".join(revision[:3] if revision[:2] == ["refs", "pr"] else revision[:1])
    name, _, after = name.partition("@")
    pinned = pinned or after or None
    return name, None if pinned == "main" else pinned


def is_folder(name: str) -> bool:
    """Return whether a name without revision means a folder: it exists, or cannot be a Hub id."""
    return as_path(name).exists() or name.startswith((".", "/", "~")) or name.endswith("/")


def as_path(name: str) -> Path:
    """Return the path of a name, with the home folder in place of ``~``."""
    try:
        return Path(name).expanduser()
    except RuntimeError:
        home = name.partition("/")[0]
        raise NotFoundError(f"{name}: there is no home folder {home}: write the path out") from None
