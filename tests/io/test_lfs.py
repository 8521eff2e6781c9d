"""Pointers that Git LFS leaves in place of files: named as what they are, wherever they lie."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from harness.checkpoint.resolve import resolve
from harness.data.formats.files import LocalFile, read_text
from harness.errors import DataError, HarnessError, RefusedError
from harness.io.files import is_lfs_pointer, verified
from harness.results.predictions import score_file
from harness.results.scores import scores
from harness.submissions.convert import convert
from tests.checkpoints import build

# As in https://github.com/git-lfs/git-lfs/blob/main/docs/spec.md
POINTER = (
    "version https://git-lfs.github.com/spec/v1\n"
    "oid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393\n"
    "size 12345\n"
)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build("bert", tmp_path_factory.mktemp("whole") / "bert")


def test_a_pointer_is_told_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    for text, pointer in ((POINTER, True), ("", False), (f"about it: {POINTER}", False),
                          (POINTER + "x" * 2_000, False)):  # fmt: skip
        path.write_text(text)
        assert is_lfs_pointer(path) is pointer


@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json", "config.json"])
def test_a_checkpoint_with_a_pointer_is_refused(whole: Path, tmp_path: Path, name: str) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(whole, folder)
    (folder / name).write_text(POINTER)
    with pytest.raises(
        RefusedError, match=f"^{name} is a Git LFS pointer.*`git lfs pull`"
    ) as found:
        resolve(str(folder))
    assert found.value.exit_code == 4


def test_a_pickle_that_is_a_pointer_is_not_opened(whole: Path, tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(whole, folder)
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_text(POINTER)
    with pytest.raises(RefusedError, match=r"pytorch_model\.bin is a Git LFS pointer"):
        convert(str(folder), tmp_path / "new")


def read_outcomes(folder: Path) -> None:
    path = folder / "tatoeba.01234567.parquet"
    path.write_text(POINTER)
    scores(folder)


def read_answers(folder: Path) -> None:
    (folder / "answers.json").write_text(POINTER)
    score_file(folder / "answers.json", folder / "answers.json", scorer="squad", lang="en")


def read_data(folder: Path) -> None:
    (folder / "data.json").write_text(POINTER)
    read_text(LocalFile(folder / "data.json", "data.json"))


def check_data(folder: Path) -> None:
    (folder / "data.json").write_text(POINTER)
    verified(folder / "data.json", "data.json", "0" * 64, "")


@pytest.mark.parametrize("read", [read_outcomes, read_answers, read_data, check_data])
def test_data_that_is_a_pointer_is_an_error_of_the_data(tmp_path: Path, read: object) -> None:
    assert callable(read)
    with pytest.raises(HarnessError, match=r"is a Git LFS pointer.*git lfs pull") as found:
        read(tmp_path)
    assert type(found.value) is DataError
    assert found.value.exit_code == 6
