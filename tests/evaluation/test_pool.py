"""The pool on a stand-in for Ray: what workers reserve, and what a shard that raises costs."""

from __future__ import annotations

from collections.abc import Callable, Generator
from types import SimpleNamespace
from typing import Any

import pytest

from harness.errors import IncompleteError
from harness.evaluation.pool import ATTEMPTS, Pool
from harness.evaluation.ray.cluster import Actor as RealActor
from harness.evaluation.ray.cluster import RayWorkers
from harness.evaluation.reporting import Silent
from harness.evaluation.shards import Encode, Lane, ShardResult, Stage
from harness.evaluation.worker import BrokenDevice, Worker

SHARDS = [Encode([text], "query", "", (0, 1)) for text in "abc"]


class RayError(Exception):
    """As ray.exceptions.RayError."""


class RayTaskError(RayError):
    """As ray.exceptions.RayTaskError: the worker lives, what it was asked raised."""


class Remote:
    """A method of an actor: done at once, its end fetched by a number."""

    def __init__(self, ray: Ray, method: Callable[..., Any]) -> None:
        self.ray, self.method = ray, method

    def remote(self, *arguments: Any) -> int:
        end: Any
        try:
            end = self.method(*arguments)
        except Exception as error:
            end = RayTaskError(f"in a worker\n{type(error).__name__}: {error}")
        self.ray.ends.append(end)
        return len(self.ray.ends) - 1


class Actor:
    """A worker; ``run`` takes no setting here."""

    def __init__(self, ray: Ray, worker: RealActor) -> None:
        self.hello = Remote(ray, worker.hello)
        self.run = Remote(ray, worker.run)


class Ray:
    """As much of Ray as the pool asks."""

    exceptions = SimpleNamespace(RayError=RayError, RayTaskError=RayTaskError)

    def __init__(self, *nodes: dict[str, float]) -> None:
        self._nodes = nodes
        self.options: dict[str, Any] = {}
        self.actors: list[Actor] = []
        self.killed: list[Actor] = []
        self.ends: list[Any] = []

    def nodes(self) -> list[dict[str, Any]]:
        gone = {"Alive": False, "Resources": {"GPU": 8.0}}
        return [gone, *({"Alive": True, "Resources": node} for node in self._nodes)]

    def cluster_resources(self) -> dict[str, float]:
        kinds = {kind for node in self._nodes for kind in node}
        return {kind: sum(node.get(kind, 0) for node in self._nodes) for kind in kinds}

    def remote(self, kind: type[RealActor]) -> Any:
        def options(**given: Any) -> Any:
            self.options = given
            return SimpleNamespace(remote=start)

        def start(*arguments: Any) -> Actor:
            self.actors.append(Actor(self, kind(*arguments)))
            return self.actors[-1]

        return SimpleNamespace(options=options)

    def wait(self, pending: list[int], timeout: float) -> tuple[list[int], list[int]]:
        return pending[:1], pending[1:]

    def get(self, reference: int) -> Any:
        end = self.ends[reference]
        if isinstance(end, Exception):
            raise end
        return end

    def kill(self, actor: Actor) -> None:
        self.killed.append(actor)


@pytest.mark.parametrize(
    ("nodes", "processors", "threads"),
    [
        ([{"CPU": 16.0, "GPU": 2.0}], 8, 8),
        ([{"CPU": 128.0, "GPU": 8.0}, {"CPU": 30.0, "GPU": 4.0}, {"CPU": 4.0}], 7, 7),
        ([{"CPU": 2.0, "GPU": 4.0}], 0, 1),
        ([{"GPU": 1.0}], 0, 1),
    ],
)
def test_a_worker_of_a_gpu_has_its_share_of_the_processors(
    monkeypatch: pytest.MonkeyPatch,
    nodes: list[dict[str, float]],
    processors: int,
    threads: int,
) -> None:
    ray = Ray(*nodes)
    workers = RayWorkers(ray, "cuda", [])
    assert ray.options == {"num_gpus": 1, "num_cpus": processors, "max_restarts": 0}
    assert workers._threads == threads


def test_a_worker_of_a_processor_has_one() -> None:
    ray = Ray({"CPU": 16.0, "GPU": 2.0})
    workers = RayWorkers(ray, "cpu", [])
    assert ray.options == {"num_cpus": 1, "max_restarts": 0}
    assert workers._threads == 1


def results(monkeypatch: pytest.MonkeyPatch, ray: Ray, do: Any) -> list[ShardResult]:
    """What a lane of three shards is told, each of them done by ``do``."""
    monkeypatch.setattr("harness.evaluation.ray.cluster.BEAT", 0.0)
    monkeypatch.setattr(Worker, "do", lambda worker, setting, shard, *, again=False: do(shard))
    monkeypatch.setattr("torch.set_num_threads", lambda threads: None)
    told: list[ShardResult] = []

    def lane() -> Generator[Stage, list[ShardResult], list[Any]]:
        told.extend((yield [(None, shard) for shard in SHARDS]))
        return []

    lanes: list[Lane] = [lane()]
    assert list(Pool(RayWorkers(ray, "cpu", []), Silent().advance).run(lanes)) == [(0, [])]
    return told


def test_a_worker_that_raises_is_ended_and_its_shard_done_by_another(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tries: list[str] = []

    def do(shard: Encode) -> ShardResult:
        tries.append(shard.texts[0])
        if tries.count("b") == 1 and shard.texts == ["b"]:
            raise BrokenDevice("CUDA error: an illegal memory access")
        return ShardResult(texts=1)

    ray = Ray({"CPU": 1.0})
    assert results(monkeypatch, ray, do) == [ShardResult(texts=1)] * 3
    assert sorted(tries) == ["a", "b", "b", "c"]
    assert len(ray.actors) == 2
    assert ray.killed[0] is ray.actors[0]


def test_a_shard_whose_workers_all_raise_fails_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    def do(shard: Encode) -> ShardResult:
        if shard.texts == ["b"]:
            raise BrokenDevice("CUDA error: device-side assert triggered")
        return ShardResult(texts=1)

    told = results(monkeypatch, Ray({"CPU": 1.0}), do)
    assert [result.failed for result in told] == [
        "",
        f"its worker was lost {ATTEMPTS} times: "
        "BrokenDevice: CUDA error: device-side assert triggered",
        "",
    ]


class AcceleratorError(RuntimeError):
    """As torch.AcceleratorError."""


def doing(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> ShardResult:
    """A shard in which ``error`` is raised."""

    def fails(*_: Any) -> Any:
        raise error

    monkeypatch.setattr(Worker, "_task_encoder", fails)
    setting: Any = object()
    return Worker(1).do(setting, SHARDS[0])


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize(
    ("error", "why"),
    [
        (MemoryError(), "MemoryError"),
        (KeyError("layer"), "KeyError: 'layer'"),
        (ValueError("two\n lines"), "ValueError: two lines"),
        (OSError(28, "No space left on device", "/out/x"), "/out/x: No space left on device"),
        (RuntimeError("CUDA error: out of memory"), "RuntimeError: CUDA error: out of memory"),
        (
            RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate`"),
            "RuntimeError: CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate`",
        ),
    ],
    ids=lambda value: type(value).__name__,
)
def test_whatever_a_shard_raises_is_how_it_failed(
    monkeypatch: pytest.MonkeyPatch, error: Exception, why: str
) -> None:
    assert doing(monkeypatch, error) == ShardResult(failed=why)


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("CUDA error: an illegal memory access was encountered\nSearch for it"),
        AcceleratorError("device-side assert triggered"),
        IncompleteError("m@1 cannot be put on the device cuda: CUDA error: unknown error"),
    ],
)
def test_an_error_that_the_device_keeps_ends_the_worker(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    with pytest.raises(BrokenDevice) as caught:
        doing(monkeypatch, error)
    assert "\n" not in str(caught.value)
    assert str(error).split("\n")[0] in str(caught.value)


@pytest.mark.usefixtures("one_thread")
def test_an_interrupted_shard_has_not_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(KeyboardInterrupt):
        doing(monkeypatch, KeyboardInterrupt())
