"""Files appear whole or not at all."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from harness.errors import DataError
from harness.io.files import digest, replacing, verified, write_whole


def test_a_file_takes_the_place_of_the_old_one_at_the_end(tmp_path: Path) -> None:
    target = tmp_path / "new" / "folder" / "file.txt"
    write_whole(target, "old\r\nä")
    with replacing(target) as partial:
        partial.write_text("new")
        assert target.read_bytes() == "old\r\nä".encode()
    assert target.read_text() == "new"
    assert list(target.parent.iterdir()) == [target]


def test_an_error_leaves_the_old_file_alone(tmp_path: Path) -> None:
    target = tmp_path / "file"
    target.write_text("old")

    def half() -> None:
        with replacing(target) as partial:
            partial.write_text("half")
            raise KeyError

    with pytest.raises(KeyError):
        half()
    with replacing(target):
        pass  # nothing was written
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_a_digest_is_sha256(tmp_path: Path) -> None:
    target = tmp_path / "file"
    write_whole(target, b"abc" * 1_000_000)
    expected = hashlib.sha256(b"abc" * 1_000_000).hexdigest()
    assert digest(target) == expected
    assert verified(target, "a file", expected, "get it again") == expected
    assert verified(target, "a file", None, "get it again") == expected
    with pytest.raises(DataError, match=r"a file: sha256 is .*: get it again"):
        verified(target, "a file", "0" * 64, "get it again")


def test_what_killed_runs_left_is_swept_when_it_is_old(tmp_path: Path) -> None:
    target = tmp_path / "a[1].txt"
    old, new, other = (
        tmp_path / name for name in (".a[1].txt.0123abcd", ".a[1].txt.89abcdef", ".b.txt.0123abcd")
    )
    for path in (old, new, other):
        path.write_text("left")
    for path in (old, other):
        os.utime(path, (0, 0))
    write_whole(target, "new")
    assert target.read_text() == "new"
    assert not old.exists()
    assert new.exists()
    assert other.exists()
