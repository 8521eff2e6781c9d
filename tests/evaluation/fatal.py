"""A shard that kills the worker which takes it up, at that very moment: no test has to be quick."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.evaluation.shards import Lane, Measure


@dataclass(frozen=True)
class FatalMeasure(Measure):
    """As it is unpickled it kills its process, ``times`` times; then it is the shard alone.

    ``folder`` then has ``before``, a copy of the results at the first time, and a file for each
    process that was killed, named by its number.
    """

    out: Path
    folder: Path
    times: int

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return take_up, (self.job, self.unit, self.out, self.folder, self.times)


def take_up(job: int, unit: str, out: Path, folder: Path, times: int) -> Measure:
    """What a worker does with the shard: it dies, or gets a shard as any other."""
    killed = folder / "killed"
    killed.mkdir(parents=True, exist_ok=True)
    if len(list(killed.iterdir())) == times:
        return Measure(job, unit)
    if not (folder / "before").exists():
        for path in sorted(out.rglob("*.parquet")):
            copy = folder / "before" / "out" / path.relative_to(out)
            copy.parent.mkdir(parents=True, exist_ok=True)
            try:
                shutil.copy2(path, copy)
            except FileNotFoundError:  # merged meanwhile
                continue
    (killed / str(os.getpid())).touch()
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("alive")


def with_fatal(lane: Lane, fatal: Callable[[Measure], Measure | None]) -> Lane:
    """The lane with the shards that ``fatal`` gives in place of others."""
    results: Any = None
    while True:
        try:
            stage = lane.send(results)
        except StopIteration as end:
            tables: list[Any] = end.value
            return tables
        results = yield [
            (context, (isinstance(shard, Measure) and fatal(shard)) or shard)
            for context, shard in stage
        ]
