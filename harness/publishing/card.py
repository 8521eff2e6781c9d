"""The block in a model card; every byte outside its marks stays as it is."""

from __future__ import annotations

from harness.analysis.entries import Entry
from harness.board.markdown import Raw, code, table
from harness.board.words import percent
from harness.errors import UsageError
from harness.publishing.hub import address
from harness.publishing.measured import headlines

START, END = "<!-- xharness:start -->", "<!-- xharness:end -->"


def block(entry: Entry, data_set: str) -> str:
    """The block with its marks, lines separated by LF, without a line break at the end."""
    rows = []
    for track, result in headlines(entry):
        value = result.macro
        assert value is not None
        rows.append(
            (
                result.card.title, track, result.metric, Raw(f"**{percent(value.value)}**"),
                Raw(f"[{percent(value.low)}, {percent(value.high)}]"), len(result.values),
                "trained on its data" if result.contaminated else "",
            )
        )  # fmt: skip
    headers = ("task", "track", "metric", "%", "95 % interval", "languages", "")
    lines = [
        START,
        "## Cross-lingual retrieval and question answering",
        "",
        f"Revision {code(entry.revision or '')}, measured with xharness; means over languages."
        f" [Every example and score]({address('dataset', data_set)}).",
        "",
        table(headers, rows, left=3, tail=1),
        END,
    ]
    return "\n".join(lines)


def with_block(text: bytes | None, new: str) -> bytes:
    """The card with the block in place of the one it has, or at its end; None: a new card.

    The line breaks are the card's own.

    Raises:
        UsageError: the marks in it are damaged, so that it is not known what to replace.
    """
    if text is None:
        return f"{new}\n".encode()
    start, end = START.encode(), END.encode()
    line = b"\r\n" if b"\r\n" in text else b"\n"
    lines = new.encode().replace(b"\n", line)
    counts = (text.count(start), text.count(end))
    if counts == (0, 0):
        gap = (
            b""
            if not text or text.endswith(line * 2)
            else line
            if text.endswith(line)
            else line * 2
        )
        return text + gap + lines + line
    before, after = text.find(start), text.find(end)
    if counts != (1, 1) or after < before:
        raise UsageError(
            f"the model card has {counts[0]} × {START} and {counts[1]} × {END}: leave one of each,"
            " in this order, or none"
        )
    return text[:before] + lines + text[after + len(end) :]
