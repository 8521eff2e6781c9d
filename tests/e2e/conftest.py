"""The real command, in this process where that is enough and in one of its own where it is not."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile

import pytest
from typer.testing import CliRunner

from harness.cli import app
from tests import forked
from tests.checkpoints import build
from tests.forked import Fork


@dataclass(frozen=True)
class Ran:
    """What a command left behind."""

    code: int
    stdout: str
    stderr: str


Run = Callable[..., Ran]
Process = Callable[..., "subprocess.Popen[str]"]


def ended(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of a process, once it has ended."""
    stdout, stderr = process.communicate()
    return process.returncode, stdout, stderr


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of random weights; read only, so all tests share it."""
    return build("xlm-roberta", tmp_path_factory.mktemp("tiny") / "tiny")


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One cache for all end-to-end tests: the demo checkpoint is built once."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="session")
def run(cache: Path) -> Run:
    """Run `xharness …` in this process."""

    def ran(*args: object) -> Ran:
        environment = {"XHARNESS_CACHE": str(cache), "XHARNESS_DATA": "", "COLUMNS": "200"}
        result = CliRunner().invoke(app, [str(arg) for arg in args], env=environment)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return Ran(result.exit_code, result.stdout, result.stderr)

    return ran


def interrupted(
    function: str, times: int, number: int, *words: object, **environment: str
) -> tuple[int, str]:
    """Run `xharness` and send it a signal after so many calls of a function (`module:name`).

    Returns its exit code (minus the signal that ended it) and its stderr.
    """
    asked = [function, str(times), str(number), *(str(word) for word in words)]
    with TemporaryFile() as stderr:
        fork = Fork(
            forked.interrupted, asked, os.environ | {"XHARNESS_DATA": ""} | environment,
            stderr=stderr,
        )  # fmt: skip
        code = fork.wait()
        stderr.seek(0)
        return code, stderr.read().decode()


@pytest.fixture(scope="session")
def process(cache: Path) -> Process:
    """Start `python -m harness …` in a process of its own."""

    def started(*args: object, **environment: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "harness", *(str(arg) for arg in args)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | {"XHARNESS_CACHE": str(cache), "XHARNESS_DATA": ""} | environment,
        )

    return started
