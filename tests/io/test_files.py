"""Files appear whole or not at all."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from harness.errors import DataError
from harness.io.files import building, digest, replacing, verified, write_whole


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
    swept = [".a[1].txt.0123abcd.tmp", ".b.txt.0123abcd.tmp", ".folder.0123abcd.tmp"]
    kept = [".a[1].txt.0123abcd", "a.0123abcd.tmp", ".b.txt.backup01.tmp", ".b.txt.tmp"]
    (tmp_path / swept[-1]).mkdir()
    (tmp_path / swept[-1] / "weights").write_text("left")
    for path in (tmp_path / name for name in (*swept, *kept)):
        if not path.is_dir():
            path.write_text("left")
        os.utime(path, (0, 0))
    young = tmp_path / ".a[1].txt.89abcdef.tmp"
    young.write_text("another run writes it")
    write_whole(target, "new")
    assert target.read_text() == "new"
    assert {path.name for path in tmp_path.iterdir()} == {target.name, young.name, *kept}


def test_a_folder_is_built_beside_its_target(tmp_path: Path) -> None:
    target = tmp_path / "new" / "folder"
    with building(target) as partial:
        (partial / "a").write_text("a")
        assert partial.parent == target.parent
        partial.rename(target)
    with pytest.raises(ValueError, match="half"), building(target) as partial:
        raise ValueError("half")
    assert list(target.parent.iterdir()) == [target]
    assert (target / "a").read_text() == "a"
