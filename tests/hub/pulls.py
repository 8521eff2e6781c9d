"""The loopback Hub's pull requests, as its discussions route lists them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

DISCUSSIONS = re.compile(r"/api/(models|datasets)/([^/]+/[^/]+)/discussions")


@dataclass
class Pull:
    """A pull request: `refs/pr/<num>` is its branch."""

    num: int
    title: str
    author: str
    status: str = "open"


def listed(name: str, pulls: Sequence[Pull], query: Mapping[str, str]) -> dict[str, Any]:
    """The answer to GET discussions, with its filters."""
    found = [
        pull
        for pull in reversed(pulls)
        if query.get("author", pull.author) == pull.author
        and query.get("status", "all") in ("all", pull.status)
    ]
    return {
        "count": len(found),
        "start": 0,
        "discussions": [
            {
                "num": pull.num, "title": pull.title, "author": {"name": pull.author},
                "status": pull.status, "isPullRequest": True,
                "createdAt": "2026-01-01T00:00:00.000Z", "repo": {"name": name, "type": "model"},
            }
            for pull in found
        ],
    }  # fmt: skip
