"""Runs the shards of a plan: in this process, in local processes, or on Ray.

With several workers, each does shards that it is handed one by one. Rows, vectors and tuned
checkpoints go to folders that all of them share, each file by an atomic rename; so a worker, a node
or the command itself may be lost at any moment, and what is repeated is what was unfinished.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from importlib.util import find_spec
from itertools import chain
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from harness.errors import (
    HarnessError,
    IncompleteError,
    UsageError,
    together,
    unknown_name,
)
from harness.evaluation.gaps import by_task
from harness.evaluation.planned import Plan
from harness.evaluation.pool import Pool, Workers
from harness.evaluation.processes import local_workers
from harness.evaluation.ray.cluster import RayWorkers, connected, marks
from harness.evaluation.reporting import Reporter
from harness.evaluation.run import not_measured, run
from harness.evaluation.shards import Failures, Lane, lanes

if TYPE_CHECKING:
    from harness.data.examples import Loaded
    from harness.evaluation.request import Request

# An engine takes plans and gives each with its scores, in their order. The error of a plan costs no
# other: it is raised after the scores of all others.
Engine = Callable[[Iterable[Plan], Reporter], Iterator[tuple[Plan, pa.Table]]]


def local(plans: Iterable[Plan], reporter: Reporter) -> Iterator[tuple[Plan, pa.Table]]:
    """Run the plans on this machine: one after another in this process, or all in several.

    Raises:
        HarnessError: why a plan could not be run, once the others are; with several processes, as
            ``pooled``.
    """
    remaining = iter(plans)
    failures: list[HarnessError] = []
    kept: dict[Any, Loaded] = {}
    for plan in remaining:
        if plan.request.runtime.worker_devices:  # those of all plans
            yield from pooled(chain([plan], remaining), reporter, _local_workers)
            return
        # The caller may hold all plans to the end, and they then hold the same examples.
        plan = _with_kept(plan, kept)
        try:
            table = run(plan, reporter)
        except HarnessError as error:
            failures.append(error)
        else:
            yield plan, table
    if failures:
        raise together(failures)


def on_ray(plans: Iterable[Plan], reporter: Reporter) -> Iterator[tuple[Plan, pa.Table]]:
    """Run the plans on a Ray cluster, the shards of all plans in one pool.

    Raises:
        IncompleteError: as ``pooled``; or a node does not see the folders or has other software, or
            no machine is left.
        UsageError: no GPU in the cluster, or no cluster at RAY_ADDRESS.
    """
    return pooled(plans, reporter, _ray_workers)


def pooled(
    plans: Iterable[Plan],
    reporter: Reporter,
    opened: Callable[[Request], AbstractContextManager[Workers]],
) -> Iterator[tuple[Plan, pa.Table]]:
    """Run the shards of all plans, handed out to the workers that ``opened`` gives.

    Raises:
        IncompleteError: shards failed (they are named; the others are finished), or workers do
            not start.
        HarnessError: another error of a shard, as it would be in this process.
    """
    planned: list[Plan] = []
    kept: dict[Any, Loaded] = {}
    for plan in plans:
        reporter.planned(plan)
        planned.append(_with_kept(plan, kept))
    failures: list[Failures] = [[] for _ in planned]
    for plan, tables in _run(planned, reporter, failures, opened):
        yield plan, pa.concat_tables([*tables, *not_measured(plan)])
    missing = ", ".join(
        dict.fromkeys(task for plan in planned for task in by_task(plan.gaps.missing))
    )
    if found := [error for own in failures for error in own]:
        raise together(_joined(found, missing))


def _joined(failures: Failures, missing: str) -> Failures:
    """Return each failure once, and what is incomplete together. The order is that of the plans."""
    joined = {str(error): error for error in failures if not isinstance(error, IncompleteError)}
    lost = [str(error) for error in failures if isinstance(error, IncompleteError)]
    said = []
    if lost:
        said.append(
            f"{len(lost)} failed: {', '.join(lost[:5])}{', …' if len(lost) > 5 else ''}; "
            "the others are finished and kept"
        )
    if missing:
        said.append(f"no data for {missing}")
    several = [IncompleteError(f"incomplete, {'; '.join(said)}")] if said else []
    if isinstance(failures[0], IncompleteError):
        return [*several, *joined.values()]
    return [*joined.values(), *several]


ENGINES: Mapping[str, Engine] = {"local": local, "ray": on_ray}


def choose(name: str) -> Engine:
    """Return the engine of that name.

    Raises:
        UsageError: there is none, or what it needs is not installed.
    """
    if name not in ENGINES:
        raise unknown_name("engine", name, ENGINES)
    if name == "ray" and find_spec("ray") is None:
        raise UsageError("--engine ray needs ray: pip install 'xharness[ray]'")
    return ENGINES[name]


def _local_workers(request: Request) -> AbstractContextManager[Workers]:
    return local_workers(request.runtime.worker_devices)


@contextmanager
def _ray_workers(request: Request) -> Iterator[Workers]:
    with connected() as ray, marks(request.runtime.out, request.runtime.cache) as seen:
        yield RayWorkers(ray, request.runtime.device, seen)


def _run(
    plans: Sequence[Plan],
    reporter: Reporter,
    failures: Sequence[Failures],
    opened: Callable[[Request], AbstractContextManager[Workers]],
) -> Iterator[tuple[Plan, list[pa.Table]]]:
    if all(task.finished for plan in plans for task in plan.tasks):
        # There is nothing to hand out, and the scores of what is there need no worker.
        for plan, lost in zip(plans, failures, strict=True):
            own = [_alone(lane) for lane in lanes(plan, 1, reporter, lost)]
            yield plan, [table for found in own for table in found]
        return
    request = plans[0].request  # device and folders are those of all plans
    with opened(request) as workers:
        pool = Pool(workers, reporter.advance)
        numbered = [
            (number, lane)
            for number, plan in enumerate(plans)
            for lane in lanes(plan, workers.room() or 1, reporter, failures[number])
        ]
        tables: dict[int, list[pa.Table]] = {}
        done = 0
        for lane_number, found in pool.run([lane for _, lane in numbered]):
            tables[lane_number] = found
            while done < len(plans):
                mine = [i for i, (number, _) in enumerate(numbered) if number == done]
                if not all(i in tables for i in mine):
                    break
                yield plans[done], [table for i in mine for table in tables[i]]
                done += 1
        for plan in plans[done:]:  # those without a lane
            yield plan, []


def _with_kept(plan: Plan, kept: dict[Any, Loaded]) -> Plan:
    """Return the plan with the examples that an earlier one has read from the same files, if one
    has.
    """
    tasks = []
    for task in plan.tasks:
        files = tuple(sorted(task.loaded.files.items()))
        key = (task.card.hash, task.jobs[0].job.split, task.units, files)
        tasks.append(replace(task, loaded=kept.setdefault(key, task.loaded)))
    return replace(plan, tasks=tuple(tasks))


def _alone(lane: Lane) -> list[pa.Table]:
    """Return the tables of a lane that has nothing to do."""
    try:
        next(lane)
    except StopIteration as end:
        tables: list[pa.Table] = end.value
        return tables
    raise AssertionError("a finished task has shards")
