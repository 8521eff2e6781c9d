"""Standard streams that are closed, full, or without a reader, in processes of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.conftest import ROOT

FULL = Path("/dev/full")
needs_full = pytest.mark.skipif(not FULL.exists(), reason="needs /dev/full")
PRINTING = [["--help"], ["--version"], ["tasks"], ["tasks", "--format", "json"]]


def ended(
    *words: str, redirected: str = "", stdout: int = subprocess.PIPE, stderr: int = subprocess.PIPE
) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of `xharness`, whose streams a shell has redirected."""
    line = f'exec "$0" -m harness "$@" {redirected}'
    done = subprocess.run(
        ["sh", "-c", line, sys.executable, *words],
        cwd=ROOT, stdout=stdout, stderr=stderr, text=True, check=False,
    )  # fmt: skip
    return done.returncode, done.stdout or "", done.stderr or ""


def abandoned() -> int:
    """The end of a pipe that nobody reads."""
    reading, writing = os.pipe()
    os.close(reading)
    return writing


@pytest.mark.parametrize("words", PRINTING)
def test_a_reader_that_leaves_is_no_error(words: Sequence[str]) -> None:
    pipe = abandoned()
    assert ended(*words, stdout=pipe) == (0, "", "")
    os.close(pipe)


@pytest.mark.parametrize("words", PRINTING)
def test_a_closed_stdout_is_no_error(words: Sequence[str]) -> None:
    assert ended(*words, redirected=">&-") == (0, "", "")


@needs_full
@pytest.mark.parametrize("words", PRINTING)
def test_data_that_cannot_be_written_is_one_line(words: Sequence[str]) -> None:
    code, _, stderr = ended(*words, redirected=f">{FULL}")
    assert code == 5
    assert stderr.startswith("error: cannot use standard output: ")
    assert stderr.count("\n") == 1


@pytest.mark.parametrize("redirected", ["2>&-", pytest.param(f"2>{FULL}", marks=needs_full)])
def test_the_exit_code_is_that_of_the_error_which_nobody_can_read(redirected: str) -> None:
    assert ended("score", "none", redirected=redirected) == (3, "", "")


def test_the_exit_code_without_a_reader_of_the_error() -> None:
    pipe = abandoned()
    assert ended("score", "none", stderr=pipe) == (3, "", "")
    os.close(pipe)


def test_a_run_goes_on_without_a_reader_of_its_progress(tmp_path: Path) -> None:
    pipe = abandoned()
    folders = ("--out", str(tmp_path / "out"), "--cache-dir", str(tmp_path / "cache"))
    code, stdout, _ = ended(
        "eval", "xharness/demo", "--task", "demo_mining", "--lang", "de", *folders, stderr=pipe
    )
    os.close(pipe)
    assert code == 0
    assert "demo_mining" in stdout
    assert list((tmp_path / "out").rglob("demo_mining.*.parquet"))


def test_no_file_gets_the_number_of_a_closed_stream(tmp_path: Path) -> None:
    code = (
        "import os, sys\n"
        "from harness.terminal import streams\n"
        "streams.prepare()\n"
        "with open('opened', 'w') as file:\n"
        "    print('data')\n"
        "    os.write(2, b'what a library says')\n"
        "    numbers = [os.get_inheritable(number) for number in range(3)]\n"
        "    print(file.fileno() > 2 and all(numbers), end='', file=file)\n"
    )
    subprocess.run(
        ["sh", "-c", 'exec "$0" -c "$1" <&- >&- 2>&-', sys.executable, code],
        cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(ROOT)}, check=True,
    )  # fmt: skip
    assert (tmp_path / "opened").read_text() == "True"
