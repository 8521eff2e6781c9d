"""The standard streams of the command: closed, full, without a reader, or without some signs.

stdout is data: what cannot be written there is an error, unless its reader has had enough. stderr
is progress: a run does not end because nobody can read it.
"""

from __future__ import annotations

import codecs
import io
import json
import os
import sys
from contextlib import suppress
from typing import Any, TextIO

ESCAPED = "xharness"  # how streams write what their encoding lacks


class _Stream:
    """A stream of text, as it is where nothing else is said."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


class _Data(_Stream):
    """stdout: when its reader leaves, the rest is discarded, and the command ends as it would."""

    def write(self, text: str) -> int:
        """Write text; an error says which file it is of."""
        try:
            return self._stream.write(text)
        except OSError as error:
            self._fail(error)
            return len(text)

    def flush(self) -> None:
        """Write what is waiting; an error says which file it is of."""
        try:
            self._stream.flush()
        except OSError as error:
            self._fail(error)

    def _fail(self, error: OSError) -> None:
        # Python flushes once more at the end, and would end with an exit code of its own.
        discard(self._stream.fileno())
        if not isinstance(error, BrokenPipeError):
            raise OSError(error.errno, error.strerror, "standard output") from error


class _Progress(_Stream):
    """stderr: what cannot be written is lost, and nothing else is."""

    def write(self, text: str) -> int:
        """Write text where that is possible."""
        with suppress(OSError):
            return self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        """Write what is waiting, where that is possible."""
        with suppress(OSError):
            self._stream.flush()


def prepare() -> None:
    """Make the standard streams ones that every command can print on."""
    _open_closed()
    codecs.register_error(ESCAPED, _escaped)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=ESCAPED)
    sys.stdout, sys.stderr = _Data(sys.stdout), _Progress(sys.stderr)


def discard(descriptor: int) -> None:
    """Let all that is written to a descriptor from now on go nowhere."""
    nowhere = os.open(os.devnull, os.O_RDWR)
    if nowhere != descriptor:
        os.dup2(nowhere, descriptor)
        os.close(nowhere)
    else:
        os.set_inheritable(descriptor, True)


def _open_closed() -> None:
    """Put the null device where the caller closed a stream.

    The next file that is opened would have its number otherwise, and what a library says on stderr
    would stand in that file.
    """
    for descriptor, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            discard(descriptor)
            mode = "w" if descriptor else "r"
            opened = open(descriptor, mode, encoding="utf-8", closefd=False)  # noqa: SIM115
            setattr(sys, name, opened)


def _escaped(error: UnicodeError) -> tuple[str, int]:
    """Signs that a stream of ASCII does not have, as JSON escapes them: JSON stays what it is."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return json.dumps(error.object[error.start : error.end])[1:-1], error.end
