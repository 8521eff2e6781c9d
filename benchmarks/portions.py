"""Parts of the official files, in the official layout, where the whole would take too long."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import patch

from harness.cards.task import read_card
from harness.data.examples import Retrieval
from harness.data.layout import pieces
from harness.data.load import DataLocation, load


@contextmanager
def parts_of_files() -> Iterator[None]:
    """Lets a part of an official file pass, whose checksum is the whole's."""
    with patch("harness.data.folder.verified", lambda path, *_: path.name):
        yield


def tatoeba_part(data: Path, out: Path, languages: Sequence[str], lines: int) -> None:
    """The first ``lines`` pairs of each language."""
    for name in _names("tatoeba", languages):
        kept = (data / name).read_text(encoding="utf-8").splitlines(keepends=True)[:lines]
        _write(out / name, "".join(kept))


def lareqa_part(data: Path, out: Path, paragraphs: int) -> Retrieval:
    """Each language's first paragraphs as one article: the pool and the queries they give."""
    card = read_card("lareqa")
    for name in _names("lareqa", card.languages):
        whole = json.loads((data / name).read_text(encoding="utf-8"))
        every = [paragraph for article in whole["data"] for paragraph in article["paragraphs"]]
        whole["data"] = [{"paragraphs": every[:paragraphs]}]
        _write(out / name, json.dumps(whole, ensure_ascii=False))
    with parts_of_files():
        loaded = load(card, "test", tuple(card.languages), DataLocation(data=out, cache=out))
    assert isinstance(loaded.examples, Retrieval)
    return loaded.examples


def _names(task: str, units: Sequence[str]) -> list[str]:
    return [piece.path for piece in pieces(read_card(task), "test", tuple(units)) if piece.path]


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
