"""A Ray cluster: its workers, the queue of shards, and what happens when one of them is lost."""

from __future__ import annotations

import heapq
import os
import socket
import sys
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import pyarrow as pa

from harness.errors import IncompleteError, UsageError
from harness.evaluation.ray.shards import Lane, Outcome, Setting, Shard
from harness.evaluation.ray.workers import Worker, software
from harness.evaluation.run import Advance

ATTEMPTS = 3  # at a shard whose workers are lost
BEAT = 2.0  # seconds between looks at what the cluster has
ALONE_SECONDS = 120.0  # a cluster without a machine for us is waited for
REACH_SECONDS = 10.0  # for the cluster's address to answer


@dataclass(order=True)
class _Piece:
    """A shard in the queue: earlier lanes first, so that tasks end and models change seldom."""

    lane: int
    number: int
    setting: Setting | None = field(compare=False)
    shard: Shard = field(compare=False)
    lost: int = field(default=0, compare=False)


class Pool:
    """Workers on the cluster, and what each of them is doing."""

    def __init__(self, ray: Any, device: str, marks: Sequence[Path], advance: Advance) -> None:
        self._ray = ray
        self._resource = "GPU" if device.startswith("cuda") else "CPU"
        options = {"num_cpus": 1}
        if self._resource == "GPU":
            options = {"num_gpus": 1, "num_cpus": _processors_of_a_gpu(ray.nodes())}
        self._worker = ray.remote(Worker).options(**options, max_restarts=0)
        self._threads = max(1, options["num_cpus"])
        self._marks = marks
        self._advanced = advance
        self._starting: dict[Any, Any] = {}
        self._idle: list[Any] = []
        self._busy: dict[Any, tuple[Any, _Piece]] = {}
        self._queue: list[_Piece] = []
        self._stages: dict[int, list[Outcome | None]] = {}
        self._held: dict[int, dict[str, Any]] = {}  # lane → settings in the object store
        self._failed_starts = 0
        self._last_beat = 0.0
        self._alone_since: float | None = None
        self._room = self.slots()
        if not self._room and self._resource == "GPU":
            raise UsageError("the Ray cluster has no GPU: use --device cpu")

    def slots(self) -> int:
        """How many workers the cluster has room for."""
        return int(self._ray.cluster_resources().get(self._resource, 0))

    def run(self, given: Sequence[Lane]) -> Iterator[tuple[int, list[pa.Table]]]:
        """Run the lanes; yields the number and the tables of each as it is finished."""
        waiting = deque(range(len(given)))
        try:
            while waiting or self._stages:
                # A lane is begun when there is room, so that few tasks lie in the object store.
                while waiting and len(self._queue) < 2 * max(1, self._room):
                    number = waiting.popleft()
                    yield from self._advance(number, given[number], None)
                for number in self._step():
                    outcomes = self._stages.pop(number)
                    yield from self._advance(number, given[number], outcomes)
        finally:
            for worker in (*self._starting.values(), *self._idle):
                self._ray.kill(worker)
            for worker, _ in self._busy.values():
                self._ray.kill(worker)

    def _advance(
        self, number: int, lane: Lane, outcomes: Any
    ) -> Iterator[tuple[int, list[pa.Table]]]:
        try:
            stage = lane.send(outcomes)
        except StopIteration as end:
            self._held.pop(number, None)
            yield number, end.value
            return
        self._stages[number] = [None] * len(stage)
        for position, (setting, shard) in enumerate(stage):
            heapq.heappush(self._queue, _Piece(number, position, setting, shard))

    def _step(self) -> list[int]:
        """Hand out what can be handed out and wait for something; the stages that ended."""
        self._grow()
        while self._queue and self._idle:
            self._hand(self._idle.pop(), heapq.heappop(self._queue))
        pending = [*self._busy, *self._starting]
        if not pending:
            time.sleep(BEAT)
            return []
        ready, _ = self._ray.wait(pending, timeout=BEAT)
        ended = []
        for reference in ready:
            if reference in self._starting:
                self._started(reference)
            elif (lane := self._ended(reference)) is not None and None not in self._stages[lane]:
                ended.append(lane)
        return ended

    def _grow(self) -> None:
        if time.monotonic() - self._last_beat < BEAT:
            return
        self._last_beat = time.monotonic()
        self._room = slots = self.slots()
        there = len(self._starting) + len(self._idle) + len(self._busy)
        for _ in range(min(slots, len(self._queue) + len(self._busy)) - there):
            worker = self._worker.remote(self._threads, self._marks)
            self._starting[worker.hello.remote()] = worker
        if slots or there:
            self._alone_since = None
            return
        self._alone_since = self._alone_since or time.monotonic()
        if time.monotonic() - self._alone_since > ALONE_SECONDS:
            raise IncompleteError(
                "no machine is left in the Ray cluster: what is finished is kept, run the same "
                "command again when there is one"
            )

    def _started(self, reference: Any) -> None:
        worker = self._starting.pop(reference)
        try:
            node, theirs = self._ray.get(reference)
        except self._ray.exceptions.RayTaskError as error:
            raise IncompleteError(f"a worker could not start: {_short(error)}") from error
        except self._ray.exceptions.RayError as error:  # its node went before it came
            self._failed_starts += 1
            self._last_beat = 0.0
            if self._failed_starts > ATTEMPTS * max(1, self.slots()):
                raise IncompleteError(
                    f"workers do not start ({_short(error)}): install xharness[ray] in the same "
                    "Python environment on every node"
                ) from error
            return
        ours = software()
        if other := [name for name in ours if theirs.get(name) != ours[name]]:
            name = other[0]
            raise IncompleteError(
                f"the node {node} has {name} {theirs.get(name)}, this machine {ours[name]}: rows "
                "would be mixed; install the same versions on every node"
            )
        self._failed_starts = 0
        self._idle.append(worker)

    def _ask_idle(self) -> None:
        """After a loss: idle workers may be gone too, and no shard is to find that out."""
        self._starting.update({worker.hello.remote(): worker for worker in self._idle})
        self._idle.clear()
        self._last_beat = 0.0

    def _hand(self, worker: Any, piece: _Piece) -> None:
        held, key = [], ""
        if piece.setting is not None:
            key = piece.setting.key
            kept = self._held.setdefault(piece.lane, {})
            if key not in kept:
                kept[key] = self._ray.put(piece.setting)
            held = [kept[key]]
        reference = worker.run.remote(key, held, piece.shard, piece.lost > 0)
        self._busy[reference] = worker, piece

    def _ended(self, reference: Any) -> int | None:
        """Take the outcome of a shard; its lane, or None where it must be done again."""
        worker, piece = self._busy.pop(reference)
        try:
            outcome: Outcome = self._ray.get(reference)
        except self._ray.exceptions.RayError as error:
            # Lost, or, where it raised (RayTaskError), good for nothing more: see Worker.do.
            self._ray.kill(worker)
            self._ask_idle()
            piece.lost += 1
            if piece.lost < ATTEMPTS:
                heapq.heappush(self._queue, piece)
                return None
            outcome = Outcome(failed=f"its worker was lost {ATTEMPTS} times: {_short(error)}")
        else:
            self._idle.append(worker)
        if outcome.blind:
            raise IncompleteError(
                f"{outcome.blind}: results, cache, checkpoints and data must lie in folders that "
                "all nodes share, under the same paths (--out, --cache-dir, HF_HOME, --data)"
            )
        self._advanced(outcome.texts, outcome.characters)
        self._stages[piece.lane][piece.number] = outcome
        return piece.lane


@contextmanager
def connected() -> Iterator[Any]:
    """Ray, connected to the cluster that is there, or to one of this machine's for the while.

    Raises:
        UsageError: RAY_ADDRESS names a cluster that does not answer.
    """
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"  # Ray tells its makers nothing
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
    address = _running_cluster()
    if address is None and "ray" not in sys.modules:
        # Its ports are open to the network: a token of its own, read at import, keeps others out.
        os.environ.setdefault("RAY_AUTH_MODE", "token")
        os.environ.setdefault("RAY_AUTH_TOKEN", uuid4().hex + uuid4().hex)
    import ray

    if ray.is_initialized():
        yield ray
        return
    if address is None:
        ray.init(address="local", include_dashboard=False, **quiet)
    else:
        try:
            ray.init(address=address, **quiet)
        except (ConnectionError, ray.exceptions.RayError) as error:
            raise UsageError(
                f"the Ray cluster at {address} does not let us in ({_short(error)}): one with "
                "tokens needs RAY_AUTH_MODE=token and its token here too"
            ) from error
    try:
        yield ray
    finally:
        ray.shutdown()


def _processors_of_a_gpu(nodes: Sequence[Mapping[str, Any]]) -> int:
    """A GPU's share of its node's processors, where that is least; the search runs on these.

    Ray allows a worker as many threads as processors it reserves, and one where it reserves none.
    None are where a node has fewer processors than GPUs: no GPU is to go without a worker.
    """
    shares = [
        int(has.get("CPU", 0) // has["GPU"])
        for node in nodes
        if node["Alive"] and (has := node["Resources"]).get("GPU", 0) >= 1
    ]
    return min(shares, default=0)


def _running_cluster() -> str | None:
    """RAY_ADDRESS, or what `ray start` left word of on this machine; None where there is none."""
    address = os.environ.get("RAY_ADDRESS", "auto")
    if address == "local":
        return None
    if address == "auto":
        root = os.environ.get("RAY_TMPDIR") or os.environ.get("TMPDIR") or "/tmp"
        try:
            address = (Path(root) / "ray" / "ray_current_cluster").read_text().strip()
        except OSError:
            return None
        return address if address and not _unreachable(address) else None
    if reason := _unreachable(address):
        raise UsageError(
            f"no Ray cluster at RAY_ADDRESS={address} ({reason}): start it, or unset RAY_ADDRESS"
        )
    return address


def _unreachable(address: str) -> str:
    """Why nobody answers at ``host:port``, or nothing; Ray itself would try for minutes."""
    host, _, port = address.rpartition("//")[2].rpartition(":")
    try:
        socket.create_connection((host, int(port)), REACH_SECONDS).close()
    except (OSError, ValueError) as error:
        return str(getattr(error, "strerror", None) or error)
    return ""


@contextmanager
def marks(*folders: Path) -> Iterator[list[Path]]:
    """A file in each folder, by which a machine knows that it sees the same folder."""
    name, made = f".shared-{uuid4().hex}", []
    try:
        for folder in folders:
            folder.mkdir(parents=True, exist_ok=True)
            (folder / name).touch()
            made.append(folder / name)
        yield made
    finally:
        for mark in made:
            mark.unlink(missing_ok=True)


def _short(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[-1] if lines else type(error).__name__)[:200]
