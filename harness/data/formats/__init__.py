"""Reads files → examples: each format has a reader, for official files and rows of the Hub."""

from __future__ import annotations

from collections.abc import Callable

from harness.cards.task import TaskCard
from harness.data.formats import (
    choices,
    demo,
    entities,
    pairs,
    passages,
    questions,
    sentences,
    tags,
)
from harness.data.formats.files import Files, Key, LocalFile, Parsed

__all__ = ["READERS", "Files", "Key", "LocalFile", "Parsed", "Reader"]

Reader = Callable[[TaskCard, str, tuple[str, ...], Files], Parsed]

READERS: dict[str, Reader] = {
    "tatoeba": sentences.read_tatoeba,
    "bucc": sentences.read_bucc,
    "lareqa": passages.read_lareqa,
    "mewsli_x": entities.read_mewsli_x,
    "xquad": questions.read_xquad,
    "mlqa": questions.read_mlqa,
    "tydiqa": questions.read_tydiqa,
    "xnli": pairs.read_xnli,
    "pawsx": pairs.read_pawsx,
    "xcopa": choices.read_xcopa,
    "xcopa_corrected": choices.read_xcopa_corrected,
    "udpos": tags.read_udpos,
    "panx": tags.read_panx,
    "demo_bitext": demo.read_demo_bitext,
    "demo_mining": demo.read_demo_mining,
    "demo_passages": demo.read_demo_passages,
    "demo_qa": demo.read_demo_qa,
}
