"""Runs local workers: a process for each, which is asked through a pipe.

A worker is an interpreter of its own, not a fork, and does not run the caller's main module again,
so a script needs no guard. It is in a session of its own: Ctrl-C reaches the command alone, which
ends its workers. When the command is gone its end of the pipe is closed, and a worker ends itself.
"""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import tempfile
from collections.abc import Hashable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import Pipe
from multiprocessing.connection import Connection, wait
from queue import SimpleQueue
from threading import Thread
from typing import Any

from harness.errors import one_line
from harness.evaluation.pool import Event
from harness.evaluation.run import TaskContext
from harness.evaluation.shards import Shard
from harness.evaluation.worker import Worker


@dataclass(frozen=True, eq=False)
class _Process:
    """A worker, as the command sees it. ``stderr``: what it says, for when it is lost."""

    device: str
    connection: Connection
    process: subprocess.Popen[bytes]
    stderr: Any


class LocalWorkers:
    """One worker process for each of ``devices``: ``cpu``, or GPUs as ``cuda:0``."""

    def __init__(self, devices: Sequence[str]) -> None:
        self._free = list(reversed(devices))
        self._threads = threads(len(devices))
        self._room = len(devices)
        self._all: dict[Connection, _Process] = {}
        self._contexts: dict[_Process, str] = {}

    def room(self) -> int:
        """Return how many devices there are."""
        return self._room

    def start(self) -> Hashable:
        """Start a process for a device that has none."""
        device = self._free.pop()
        ours, theirs = Pipe()
        stderr = tempfile.TemporaryFile()  # noqa: SIM115  # closed with the process
        with theirs:
            process = subprocess.Popen(
                [sys.executable, "-P", "-m", __name__, str(theirs.fileno()), str(self._threads)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=stderr,
                pass_fds=(theirs.fileno(),),
                start_new_session=True,
                env=_environment(device, self._threads),
            )
        worker = _Process(device, ours, process, stderr)
        self._all[ours] = worker
        return worker

    def greet(self, worker: Hashable) -> None:
        """Ask as ``Workers.greet`` says."""
        self._send(worker, None)

    def hand(
        self, worker: Hashable, context: TaskContext | None, shard: Shard, *, again: bool
    ) -> None:
        """Hand as ``Workers.hand`` says; a context is sent where the worker's last was another."""
        assert isinstance(worker, _Process)
        key = context.key if context is not None else ""
        known = self._contexts.get(worker) == key
        if context is not None and not known:
            self._contexts[worker] = key
        self._send(worker, (key, None if known else context, shard, again))

    def wait(self) -> Iterator[Event]:
        """Wait as ``Workers.wait`` says."""
        for connection in wait(list(self._all)):
            assert isinstance(connection, Connection)
            worker = self._all[connection]
            try:
                result = connection.recv()
            except (EOFError, OSError):
                yield Event(worker, lost=_last_words(worker))
            else:
                yield Event(worker, result)

    def stop(self, worker: Hashable) -> None:
        """Kill it and wait for its end; its device is free."""
        assert isinstance(worker, _Process)
        if self._all.pop(worker.connection, None) is None:
            return
        self._contexts.pop(worker, None)
        worker.process.kill()
        worker.process.wait()
        worker.connection.close()
        worker.stderr.close()
        self._free.append(worker.device)

    def close(self) -> None:
        """End all of them."""
        for worker in list(self._all.values()):
            self.stop(worker)

    def _send(self, worker: Hashable, message: object) -> None:
        assert isinstance(worker, _Process)
        with suppress(OSError):  # it is gone: ``wait`` finds its pipe closed
            worker.connection.send(message)


@contextmanager
def local_workers(devices: Sequence[str]) -> Iterator[LocalWorkers]:
    """Yield workers that have all ended when the context does."""
    workers = LocalWorkers(devices)
    try:
        yield workers
    finally:
        workers.close()


def processors() -> int:
    """Return how many processor cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def threads(workers: int) -> int:
    """Return the threads of each worker: OMP_NUM_THREADS where that is set, else even shares."""
    asked = os.environ.get("OMP_NUM_THREADS", "")
    return int(asked) if asked.isdecimal() and int(asked) else max(1, processors() // workers)


def _environment(device: str, threads: int) -> dict[str, str]:
    """Return the environment of a worker.

    It finds what this process would import, and of the GPUs its own alone, as ``cuda``.
    """
    path = os.pathsep.join(os.path.abspath(entry) for entry in sys.path)
    changed = {"PYTHONPATH": path, "OMP_NUM_THREADS": str(threads)}
    if device.startswith("cuda:"):
        number = int(device.partition(":")[2])
        seen = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")
        changed["CUDA_VISIBLE_DEVICES"] = seen[number] if seen != [""] else str(number)
        changed["CUDA_DEVICE_ORDER"] = os.environ.get("CUDA_DEVICE_ORDER", "FASTEST_FIRST")
    return os.environ | changed


def _last_words(worker: _Process) -> str:
    """Return why a process that has closed its pipe ended."""
    code = worker.process.wait()
    if code == -signal.SIGKILL:
        return "killed (SIGKILL): if memory ran out, give fewer --workers"
    if code < 0:
        return f"ended by {signal.Signals(-code).name}"
    worker.stderr.seek(0)
    lines = worker.stderr.read().decode(errors="replace").split("\n")
    said = [line for line in lines if line.strip()]
    return one_line(said[-1], 200) if said else f"ended with code {code}"


def serve(handle: int, threads: int) -> None:
    """Do what a worker process is asked until the command closes the pipe."""
    connection = Connection(handle)
    inbox: SimpleQueue[bytes] = SimpleQueue()

    def receive() -> None:
        try:
            while True:
                inbox.put(connection.recv_bytes())
        except (EOFError, OSError):  # the command is gone, or has no use for this worker
            os._exit(1)

    Thread(target=receive, daemon=True).start()
    worker = Worker(threads)
    held: tuple[str, TaskContext | None] = ("", None)
    while True:
        message = pickle.loads(inbox.get())
        if message is None:
            connection.send(None)
            continue
        key, context, shard, again = message
        if context is not None:
            held = key, context
        connection.send(worker.do(held[1] if key else None, shard, again=again))


if __name__ == "__main__":
    serve(int(sys.argv[1]), int(sys.argv[2]))
