"""Processes that start in a moment: forks of a process that has imported transformers already.

What is tested of a process here is that it is another one, which can be killed. How the real one
starts is tested where this is not used. None asks a Hub, whose client has read the environment of
the process that is forked.
"""

from __future__ import annotations

import atexit
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from multiprocessing import get_context
from multiprocessing.connection import Connection
from types import SimpleNamespace
from typing import Any, BinaryIO

# Most of what a command imports.
IMPORTED = [
    "transformers.models.bert.modeling_bert",
    "transformers.models.xlm_roberta.modeling_xlm_roberta",
    "pandas",
    "pyarrow.parquet",
]
CONTEXT = get_context("forkserver")
CONTEXT.set_forkserver_preload(IMPORTED)


class Fork:
    """As much of ``subprocess.Popen`` as the harness and its tests ask of a process."""

    def __init__(
        self,
        act: Callable[..., object],
        words: Sequence[str],
        environment: Mapping[str, str],
        *,
        stdout: BinaryIO | None = None,
        stderr: BinaryIO,
        pass_fds: Sequence[int] = (),
    ) -> None:
        streams = [stdout.fileno() if stdout else os.open(os.devnull, os.O_WRONLY), stderr.fileno()]
        handles = [Connection(os.dup(fd)) for fd in (*streams, *pass_fds)]
        arguments = (act, list(words), dict(environment), handles)
        self._process = CONTEXT.Process(target=_begin, args=arguments)
        self._process.start()
        for handle in handles:
            handle.close()

    @property
    def returncode(self) -> int | None:
        """The exit code, minus the signal that ended it, or None as long as it runs."""
        return self._process.exitcode

    def wait(self) -> int:
        """The exit code, at its end."""
        self._process.join()
        assert self.returncode is not None
        return self.returncode

    def kill(self) -> None:
        """End it by SIGKILL."""
        self._process.kill()


def _worker(words: Sequence[str], *, env: Mapping[str, str], stderr: BinaryIO,
            pass_fds: Sequence[int], **_others: Any) -> Fork:  # fmt: skip
    return Fork(_serve, words[-1:], env, stderr=stderr, pass_fds=pass_fds)


# In place of ``subprocess`` in ``harness.evaluation.processes``.
WORKERS = SimpleNamespace(Popen=_worker, DEVNULL=subprocess.DEVNULL)


def _begin(
    act: Callable[..., object],
    words: list[str],
    environment: dict[str, str],
    handles: list[Connection],
) -> None:
    os.environ.clear()
    os.environ.update(environment)
    for number, handle in enumerate(handles[:2], 1):
        os.dup2(handle.fileno(), number)
    try:
        act(words, *(os.dup(handle.fileno()) for handle in handles[2:]))
    finally:
        atexit._run_exitfuncs()  # which a fork of this kind leaves out


def _serve(words: list[str], handle: int) -> None:
    from harness.evaluation.processes import serve

    os.setsid()
    serve(handle, int(words[0]))


def command(words: list[str]) -> None:
    """`xharness` with these words; its workers are forks too."""
    from harness.cli import main
    from harness.evaluation import processes

    vars(processes)["subprocess"] = WORKERS
    sys.argv = ["xharness", *words]
    sys.exit(main())


def interrupted(words: list[str]) -> None:
    """`xharness`, which gets a signal when it has called a function so many times.

    ``words``: the function (`module:name`), how often, the number of the signal, and the command.
    So no test has to be quick enough to send it.
    """
    where, times, number, *words = words
    module, _, name = where.partition(":")
    *path, last = name.split(".")
    owner: Any = import_module(module)
    for part in path:
        owner = getattr(owner, part)
    left, function = int(times), getattr(owner, last)

    def counted(*args: Any, **kwargs: Any) -> Any:
        nonlocal left
        result = function(*args, **kwargs)
        left -= 1
        if left == 0:
            os.kill(os.getpid(), int(number))
        return result

    setattr(owner, last, counted)
    command(words)
