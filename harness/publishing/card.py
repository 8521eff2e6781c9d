"""Writes a block into a model card; every byte outside of its marks stays as it is."""

from __future__ import annotations

from harness.analysis.entries import Entry
from harness.board.markdown import Raw, code, table
from harness.board.words import bracketed, percent
from harness.errors import UsageError
from harness.publishing.hub import address
from harness.publishing.measured import headlines

START, END = "<!-- xharness:start -->", "<!-- xharness:end -->"


def block(entry: Entry, data_set: str) -> str:
    """Write the block with its marks; its lines end with LF, but the last has no line end."""
    rows = []
    for track, result in headlines(entry):
        value = result.macro
        assert value is not None
        rows.append(
            (
                result.card.title, track, result.metric, Raw(f"**{percent(value.value)}**"),
                Raw(bracketed(value.low, value.high)), len(result.values),
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
    """Put the block in place of the one that the card has, or at the card's end.

    ``text``: the card; None makes a new one. The line ends are those of the card.

    Raises:
        UsageError: the marks in the card are damaged, so that it is not known what to replace.
    """
    if text is None:
        return f"{new}\n".encode()
    start, end = START.encode(), END.encode()
    line = b"\r\n" if b"\r\n" in text else b"\n"
    lines = new.encode().replace(b"\n", line)
    counts = (text.count(start), text.count(end))
    if counts == (0, 0):
        # The block follows an empty line.
        while text and not text.endswith(line * 2):
            text += line
        return text + lines + line
    before, after = text.find(start), text.find(end)
    if counts != (1, 1) or after < before:
        raise UsageError(
            f"the model card has {counts[0]} × {START} and {counts[1]} × {END}: leave one of each,"
            " in this order, or none"
        )
    return text[:before] + lines + text[after + len(end) :]
