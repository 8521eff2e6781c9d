"""Hands one shard after another to workers, whatever these run on.

Local processes and Ray actors differ in how a worker is started, asked and ended, which is what
``Workers`` names; the order of shards and what the loss of a worker costs are the same. Ray's own
pool and retries are not used: they bind a shard to the actor that holds it, and an actor whose
node is lost waits for room that the others keep until the end.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol as Interface

import pyarrow as pa

from harness.errors import IncompleteError
from harness.evaluation.reporting import Advance
from harness.evaluation.run import TaskContext
from harness.evaluation.shards import Lane, Shard, ShardResult

ATTEMPTS = 3  # at a shard whose workers are lost


@dataclass(frozen=True)
class Event:
    """Something that a worker did: it is ready, it has done its shard, or it is lost.

    ``result``: of its shard. ``lost``: why it can do no more. With neither, it is ready.
    """

    worker: Hashable
    result: ShardResult | None = None
    lost: str = ""


class Workers(Interface):
    """How workers of one sort are started, asked and ended."""

    def room(self) -> int:
        """Return how many workers there can be at a time; an IncompleteError where none will be."""

    def start(self) -> Hashable:
        """Begin a worker; it is not ready yet."""

    def greet(self, worker: Hashable) -> None:
        """Ask a worker whether it is there: an event follows, ready or lost."""

    def hand(
        self, worker: Hashable, context: TaskContext | None, shard: Shard, *, again: bool
    ) -> None:
        """Give a ready worker a shard: an event follows. ``again``: a worker was lost with it."""

    def wait(self) -> Iterable[Event]:
        """Wait for the next events; none when it is time to ask for room again."""

    def stop(self, worker: Hashable) -> None:
        """End a worker at once, whatever it does."""


@dataclass(order=True)
class _QueuedShard:
    """A shard in the queue: earlier lanes first, so that tasks finish and models change rarely."""

    lane: int
    number: int
    context: TaskContext | None = field(compare=False)
    shard: Shard = field(compare=False)
    lost: int = field(default=0, compare=False)


class Pool:
    """Workers, and what each of them is doing."""

    def __init__(self, workers: Workers, advance: Advance) -> None:
        self._workers = workers
        self._advanced = advance
        self._starting: set[Hashable] = set()
        self._idle: list[Hashable] = []
        self._busy: dict[Hashable, _QueuedShard] = {}
        self._queue: list[_QueuedShard] = []
        self._stages: dict[int, list[ShardResult | None]] = {}
        self._failed_starts = 0

    def run(self, given: Sequence[Lane]) -> Iterator[tuple[int, list[pa.Table]]]:
        """Run the lanes; yield the number and the tables of each as it is finished.

        Raises:
            IncompleteError: workers do not start, or there is no room for one any more.
        """
        waiting = deque(range(len(given)))
        try:
            while waiting or self._stages:
                # A lane is begun when there is room, so that few tasks are held at a time.
                while waiting and len(self._queue) < 2 * max(1, self._workers.room()):
                    number = waiting.popleft()
                    yield from self._advance(number, given[number], None)
                if not self._stages:
                    continue
                for number in self._step():
                    results = self._stages.pop(number)
                    yield from self._advance(number, given[number], results)
        finally:
            for worker in (*self._starting, *self._idle, *self._busy):
                self._workers.stop(worker)

    def _advance(
        self, number: int, lane: Lane, results: list[ShardResult | None] | None
    ) -> Iterator[tuple[int, list[pa.Table]]]:
        try:
            stage = lane.send(results)  # type: ignore[arg-type]
        except StopIteration as end:
            yield number, end.value
            return
        self._stages[number] = [None] * len(stage)
        for position, (context, shard) in enumerate(stage):
            heapq.heappush(self._queue, _QueuedShard(number, position, context, shard))

    def _step(self) -> list[int]:
        """Hand out what can be handed out and wait for events; return the stages that ended."""
        there = len(self._starting) + len(self._idle) + len(self._busy)
        wanted = min(self._workers.room(), len(self._queue) + len(self._busy))
        for _ in range(wanted - there):
            worker = self._workers.start()
            self._starting.add(worker)
            self._workers.greet(worker)
        while self._queue and self._idle:
            worker, queued = self._idle.pop(), heapq.heappop(self._queue)
            self._busy[worker] = queued
            self._workers.hand(worker, queued.context, queued.shard, again=queued.lost > 0)
        ended = []
        for event in self._workers.wait():
            lane = self._lost(event) if event.lost else self._done(event)
            if lane is not None and None not in self._stages[lane]:
                ended.append(lane)
        return ended

    def _done(self, event: Event) -> int | None:
        """Note that a worker is ready, or has done its shard, whose lane is returned."""
        self._starting.discard(event.worker)
        self._idle.append(event.worker)
        self._failed_starts = 0
        if event.result is None:
            return None
        queued = self._busy.pop(event.worker)
        return self._keep(queued, event.result)

    def _lost(self, event: Event) -> int | None:
        """Note that a worker is lost; return the lane of its shard if that is not tried again."""
        self._workers.stop(event.worker)
        if event.worker in self._starting:
            self._starting.discard(event.worker)
            self._failed_starts += 1
            if self._failed_starts > ATTEMPTS * max(1, self._workers.room()):
                raise IncompleteError(f"workers do not start: {event.lost}")
            return None
        queued = self._busy.pop(event.worker, None)
        if event.worker in self._idle:
            self._idle.remove(event.worker)
        # Idle workers may have gone with it, and no shard is to find that out.
        for worker in self._idle:
            self._starting.add(worker)
            self._workers.greet(worker)
        self._idle.clear()
        if queued is None:
            return None
        queued.lost += 1
        if queued.lost < ATTEMPTS:
            heapq.heappush(self._queue, queued)
            return None
        why = f"its worker was lost {ATTEMPTS} times: {event.lost}"
        return self._keep(queued, ShardResult(failed=why))

    def _keep(self, queued: _QueuedShard, result: ShardResult) -> int:
        self._advanced(result.texts, result.characters)
        self._stages[queued.lane][queued.number] = result
        return queued.lane
