"""Reaches a Ray cluster, and runs workers on it."""

from __future__ import annotations

import os
import platform
import signal
import socket
import sys
import time
from collections.abc import Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

from harness.errors import IncompleteError, UsageError
from harness.evaluation.pool import Event
from harness.evaluation.run import TaskContext
from harness.evaluation.shards import Shard, ShardResult, Tune
from harness.evaluation.worker import Worker
from harness.io.environment import harness_version, libraries

BEAT = 2.0  # seconds between looks at what the cluster has
ALONE_SECONDS = 120.0  # a cluster without a machine for us is waited for
REACH_SECONDS = 10.0  # for the cluster's address to answer


class Actor:
    """A worker on a node of the cluster.

    ``marks``: files of the command's own machine that lie in the folders that all machines share; a
    machine that does not see them must not write there.
    """

    def __init__(self, threads: int, marks: Sequence[Path]) -> None:
        self._worker = Worker(threads)
        self._marks = marks
        self._context: TaskContext | None = None

    def hello(self) -> tuple[str, dict[str, Any]]:
        """Return the machine's name, and the software that its numbers would be measured with."""
        return platform.node(), software()

    def run(self, key: str, held: Sequence[Any], shard: Shard, again: bool) -> ShardResult:
        """Do a shard. ``held``: the reference to its context, fetched when ``key`` is another."""
        if held and (self._context is None or self._context.key != key):
            import ray

            self._context = None
            self._context = ray.get(held[0])
        context = self._context if held else None
        wanted = (*self._marks, *_wanted(context, shard))
        if unseen := [path for path in wanted if not path.exists()]:
            folder = unseen[0].parent if unseen[0] in self._marks else unseen[0]
            return ShardResult(missing_path=f"the node {platform.node()} does not see {folder}")
        return self._worker.do(context, shard, again=again)


class RayWorkers:
    """Actors on the cluster, one for each GPU or processor of its nodes."""

    def __init__(self, ray: Any, device: str, marks: Sequence[Path]) -> None:
        self._ray = ray
        self._resource = "GPU" if device.startswith("cuda") else "CPU"
        options = {"num_cpus": 1}
        if self._resource == "GPU":
            options = {"num_gpus": 1, "num_cpus": _processors_of_a_gpu(ray.nodes())}
        # Ray never restarts it: see pool.py.
        self._actor = ray.remote(Actor).options(**options, max_restarts=0)
        self._threads = max(1, options["num_cpus"])
        self._marks = marks
        self._asked: dict[Any, Any] = {}  # reference to an answer → actor
        self._greeted: set[Any] = set()  # of these, those that answer a greeting
        self._contexts: dict[str, Any] = {}  # key → context in the object store
        self._looked = 0.0
        self._alone_since: float | None = None
        self._slots = self._look()
        if not self._slots and self._resource == "GPU":
            raise UsageError("the Ray cluster has no GPU: use --device cpu")

    def room(self) -> int:
        """Return how many GPUs or processors the cluster has, of late.

        Raises:
            IncompleteError: no machine has been in the cluster for minutes.
        """
        if time.monotonic() - self._looked >= BEAT:
            self._slots = self._look()
        if self._slots or self._asked:
            self._alone_since = None
            return self._slots
        self._alone_since = self._alone_since or time.monotonic()
        if time.monotonic() - self._alone_since > ALONE_SECONDS:
            raise IncompleteError(
                "no machine is left in the Ray cluster: what is finished is kept, run the same "
                "command again when there is one"
            )
        return 0

    def start(self) -> Hashable:
        """Start an actor, wherever Ray puts it."""
        actor: Hashable = self._actor.remote(self._threads, self._marks)
        return actor

    def greet(self, worker: Any) -> None:
        """Ask as ``Workers.greet`` says."""
        reference = worker.hello.remote()
        self._asked[reference] = worker
        self._greeted.add(reference)

    def hand(self, worker: Any, context: TaskContext | None, shard: Shard, *, again: bool) -> None:
        """Hand as ``Workers.hand`` says; a context lies once in the object store."""
        held, key = [], ""
        if context is not None:
            key = context.key
            if key not in self._contexts:
                # Only the contexts of the lanes that run now, and few more, are held.
                while len(self._contexts) > 2 * max(1, self._slots):
                    self._contexts.pop(next(iter(self._contexts)))
                self._contexts[key] = self._ray.put(context)
            held = [self._contexts[key]]
        self._asked[worker.run.remote(key, held, shard, again)] = worker

    def wait(self) -> Iterator[Event]:
        """Wait as ``Workers.wait`` says; nothing comes after a while, since machines may have.

        Raises:
            IncompleteError: a node has other software, or does not see the folders.
        """
        if not self._asked:
            time.sleep(BEAT)
            return
        ready, _ = self._ray.wait(list(self._asked), timeout=BEAT)
        for reference in ready:
            worker = self._asked.pop(reference)
            greeted = reference in self._greeted
            self._greeted.discard(reference)
            try:
                answer = self._ray.get(reference)
            except self._ray.exceptions.RayError as error:
                # The worker is lost; where it raised (RayTaskError), it is of no more use: see
                # Worker.do.
                if greeted and isinstance(error, self._ray.exceptions.RayTaskError):
                    raise IncompleteError(f"a worker could not start: {_short(error)}") from error
                remedy = "; install xharness[ray] in the same Python environment on every node"
                yield Event(worker, lost=f"{_short(error)}{remedy if greeted else ''}")
                continue
            if greeted:
                _check_software(*answer)
                yield Event(worker)
                continue
            if answer.missing_path:
                raise IncompleteError(
                    f"{answer.missing_path}: results, cache, checkpoints and data must lie in "
                    "folders that all nodes share, under the same paths (--out, --cache-dir, "
                    "HF_HOME, --data)"
                )
            yield Event(worker, answer)

    def stop(self, worker: Any) -> None:
        """Kill the actor."""
        for reference in [asked for asked, actor in self._asked.items() if actor is worker]:
            del self._asked[reference]
        self._looked = 0.0
        self._ray.kill(worker)

    def _look(self) -> int:
        self._looked = time.monotonic()
        return int(self._ray.cluster_resources().get(self._resource, 0))


def software() -> dict[str, Any]:
    """Return what all machines of a run must have alike."""
    return {"xharness": harness_version()["version"], **libraries()}


def _check_software(node: str, theirs: Mapping[str, Any]) -> None:
    ours = software()
    if other := [name for name in ours if theirs.get(name) != ours[name]]:
        name = other[0]
        raise IncompleteError(
            f"the node {node} has {name} {theirs.get(name)}, this machine {ours[name]}: rows "
            "would be mixed; install the same versions on every node"
        )


def _wanted(context: TaskContext | None, shard: Shard) -> list[Path]:
    """Return the folders of checkpoints and data that a shard needs."""
    if isinstance(shard, Tune):
        wanted = [shard.tuning.checkpoint.folder, shard.tuning.checkpoint.base_folder]
        return [path for path in (*wanted, shard.location.data) if path is not None]
    checkpoint = context.measured if context is not None else None
    wanted = [checkpoint.folder, checkpoint.base_folder] if checkpoint is not None else []
    return [path for path in wanted if path is not None]


@contextmanager
def connected() -> Iterator[Any]:
    """Yield Ray, connected to the cluster that is there, or to one of this machine's for the while.

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
    at_end = signal.getsignal(signal.SIGTERM)
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
    if at_end is signal.default_int_handler:  # Ray would end the command with 15, without a word.
        signal.signal(signal.SIGTERM, at_end)
    try:
        yield ray
    finally:
        ray.shutdown()


def _processors_of_a_gpu(nodes: Sequence[Mapping[str, Any]]) -> int:
    """Return a GPU's share of its node's processors, where that is least; the search runs on these.

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
    """Return RAY_ADDRESS, or the address that `ray start` has left on this machine, or None."""
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
    """Return why nobody answers at ``host:port``, or nothing; Ray itself would try for minutes."""
    host, _, port = address.rpartition("//")[2].rpartition(":")
    try:
        socket.create_connection((host, int(port)), REACH_SECONDS).close()
    except (OSError, ValueError) as error:
        return str(getattr(error, "strerror", None) or error)
    return ""


@contextmanager
def marks(*folders: Path) -> Iterator[list[Path]]:
    """Yield a file in each folder, by which a machine knows that it sees the same folder."""
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
