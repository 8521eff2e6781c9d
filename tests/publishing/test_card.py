"""The block in a model card: put in, replaced, and nothing else touched."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import UsageError
from harness.publishing.card import END, START, with_block

NEW = f"{START}\nnew\n{END}"


def test_by_hand() -> None:
    assert with_block(None, NEW) == f"{NEW}\n".encode()
    assert with_block(b"text", NEW) == f"text\n\n{NEW}\n".encode()
    assert with_block(b"text\n", NEW) == f"text\n\n{NEW}\n".encode()
    old = f"a\n{START} old {END} b\r"
    assert with_block(old.encode(), NEW) == f"a\n{NEW} b\r".encode()


@given(st.binary(max_size=80), st.sampled_from([b"\n", b"\r\n"]))
def test_putting_it_in_twice_is_putting_it_in_once(text: bytes, line: bytes) -> None:
    once = with_block(text + line, NEW)
    assert once.startswith(text + line)
    assert with_block(once, NEW) == once
    other = with_block(once, NEW.replace("new", "other"))
    assert other.startswith(text + line)
    assert with_block(other, NEW) == once


@pytest.mark.parametrize("text", [START, END, f"{END}{START}", f"{START}{END}{START}"])
def test_damaged_marks_are_refused(text: str) -> None:
    with pytest.raises(UsageError, match="one of each"):
        with_block(text.encode(), NEW)
