"""Writes the commit that was evaluated into a submission that named none."""

from __future__ import annotations

from pathlib import Path

from harness.errors import DataError
from harness.io.strict_yaml import parse, validated
from harness.submissions.submission import Submission


def pin(path: Path, revision: str) -> None:
    """Set ``revision`` in the file of a submission; comments, order and line ends are kept.

    Raises:
        DataError: the file has a form in which a line cannot be added, or it names a revision.
    """
    text = path.read_bytes()
    name = f"submissions/{path.name}"
    document = parse(text, name)
    before = validated(document, Submission)
    newline = b"\r\n" if b"\r\n" in text else b"\n"
    lines = text.splitlines(keepends=True)
    line = f"revision: {revision}".encode() + newline
    if ("revision",) in document.lines:  # The file has the key, with an empty value.
        lines[document.lines["revision",] - 1] = line
    else:
        lines.insert(document.lines["model",] - 1, line)
        _after_model(lines, document.lines["model",])
    pinned = b"".join(lines)
    try:
        after = validated(parse(pinned, name), Submission)
    except DataError:
        after = None
    if after != before.model_copy(update={"revision": revision}) or before.revision is not None:
        raise DataError(f"{name}: cannot be pinned: write the line `revision: {revision}` by hand")
    path.write_bytes(pinned)


def _after_model(lines: list[bytes], place: int) -> None:
    """Move the new line behind that of the model, if the model takes one line as usual."""
    model = lines[place].split(b"#")[0].strip()
    if model.startswith(b"model:") and model.rstrip().split(b":", 1)[1].strip(b" \t'\"|>+-"):
        new, old = lines[place - 1], lines[place]
        if not old.endswith((b"\n", b"\r")):
            old += new[-2:] if new.endswith(b"\r\n") else b"\n"
        lines[place - 1 : place + 1] = [old, new]
