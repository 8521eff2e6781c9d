"""Engines: from one Ray worker to two, and what the engine itself costs.

python benchmarks/bench_engines.py MODEL --data DIR

MODEL is a folder of a real checkpoint, DIR the official files (Tatoeba). Every run begins with
empty folders; a worker has one core and one thread.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Iterator
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from paired import Row, gemm_rate, in_turn_seconds, save, seconds, show

LANGUAGES = ("de", "hi", "ja", "sw", "tr", "zh")
SHARDS = 400  # empty ones
GOAL = 1.8  # from one worker to two


def main() -> None:
    """Measure, show and keep."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--runs", type=int, default=5)
    chosen = parser.parse_args()
    both = _two_at_once()
    started = seconds(_start)
    import torch

    torch.set_num_threads(1)
    rows = [
        _scaling(chosen.model, chosen.data, chosen.runs, both),
        _empty(chosen.model, chosen.data, started),
    ]
    for row in rows:
        print(show(row))
    how = f"python benchmarks/bench_engines.py MODEL --data DIR --runs {chosen.runs}"
    print(save("engines", "Engines: a Ray cluster beside this machine", how, rows,
               ("xharness", "ray", "torch", "transformers")))  # fmt: skip


def _start() -> None:
    import os

    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    import ray

    ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False,
             logging_level="ERROR")  # fmt: skip


def _scaling(model: Path, data: Path, runs: int, both: float) -> Row:
    pairs = in_turn_seconds(
        lambda: seconds(lambda: _evaluate(model, data, "ray")),
        lambda: _one_worker(model, data),
        runs=runs,
        warm=0,
    )
    return pairs.row(
        name="one worker → two",
        ours="two workers",
        theirs="one worker",
        target=GOAL,
        equal="Rows and vectors are equal to the last bit (tests/test_engines.py).",
        limit=f"Two matrix products at once, a thread each, were {both:.2f} times as fast together "
        "as one alone just before.",
        note=f"Tatoeba, {len(LANGUAGES)} languages, from the plan to the scores on a Ray that runs "
        "already. Planning and the start of the workers (below) are in both and are not shared "
        "out: more languages scale better.",
    )


def _empty(model: Path, data: Path, started: float) -> Row:
    from harness.evaluation.models import plan_model
    from harness.evaluation.options import Options, make_request
    from harness.evaluation.pool import Pool
    from harness.evaluation.ray.cluster import RayWorkers, marks
    from harness.evaluation.shards import Measure, Stage, TaskContext

    with TemporaryDirectory() as folder:
        out, cache = Path(folder, "out"), Path(folder, "cache")
        _evaluate(model, data, "local", languages=LANGUAGES[:1], folder=Path(folder))
        request = make_request(Options(tasks=["tatoeba"], languages=LANGUAGES[:1], device="cpu",
                                   data=data, out=out, cache_dir=cache))  # fmt: skip
        plan = plan_model(str(model), request)
        setting = TaskContext(request, plan.tasks[0], plan.checkpoint, None, 0)
        began: list[float] = []

        def lane() -> Iterator[Stage]:
            # Once to start the workers; what is measured comes after.
            yield [(setting, Measure(0, LANGUAGES[0]))] * 4
            began.append(time.perf_counter())
            yield [(setting, Measure(0, LANGUAGES[0]))] * SHARDS
            began.append(time.perf_counter())

        import ray

        with marks(out, cache) as seen:
            pool = Pool(RayWorkers(ray, "cpu", seen), lambda texts, characters: None)
            workers = time.perf_counter()
            list(pool.run([lane()]))  # type: ignore[list-item]
        took = (began[1] - began[0]) / SHARDS
    return Row(
        name="an empty shard",
        ours="two workers",
        theirs="",
        meaning="ms a shard",
        ratio=(1000 * took,),
        note=f"Handed out, looked up as finished already, taken back; {SHARDS} in a row, "
        f"{1 / took:.0f} a second. Ray "
        f"itself starts in {started:.1f} s, two workers at once in {began[0] - workers:.1f} s.",
    )


def _evaluate(
    model: Path,
    data: Path,
    engine: str,
    languages: tuple[str, ...] = LANGUAGES,
    folder: Path | None = None,
) -> None:
    import harness

    with TemporaryDirectory() as temporary:
        place = folder or Path(temporary)
        harness.evaluate(model, "tatoeba", languages=list(languages), engine=engine, data=data,
                         device="cpu", out=place / "out", cache_dir=place / "cache",
                         offline=True)  # fmt: skip


def _one_worker(model: Path, data: Path) -> float:
    """Seconds on Ray with one core left: something that does nothing has the other."""
    import ray

    class Nothing:
        def there(self) -> None: ...

    holder: Any = ray.remote(Nothing).options(num_cpus=1).remote()
    ray.get(holder.there.remote())
    time.sleep(2.0)  # until the cluster's own count knows it
    took = seconds(lambda: _evaluate(model, data, "ray"))
    ray.kill(holder)
    time.sleep(2.0)
    return took


def _two_at_once() -> float:
    """How many times as fast two processes multiply together as one alone, a thread each."""
    context = get_context("spawn")
    with context.Pool(2, initializer=_one_thread) as pool:
        rate: Callable[..., float] = gemm_rate
        pool.starmap(rate, [("float32", 1024, 1.0)] * 2, chunksize=1)
        alone = statistics.median(pool.apply(rate, ("float32", 1024, 1.0)) for _ in range(3))
        together = statistics.median(
            sum(pool.starmap(rate, [("float32", 1024, 1.0)] * 2, chunksize=1)) for _ in range(3)
        )
    return together / alone


def _one_thread() -> None:
    import torch

    torch.set_num_threads(1)


if __name__ == "__main__":
    main()
