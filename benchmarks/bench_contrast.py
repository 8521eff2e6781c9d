"""Time and memory of one contrast with 10,000 resamples, and of ranking 500 checkpoints.

    python benchmarks/bench_contrast.py

Set OMP_NUM_THREADS to measure with fewer threads than cores. Synthetic outcomes: 41 languages of
1,000 examples over 28,000 clusters (as Tatoeba), 12 languages over 240 clusters (as XQuAD).
"""

from __future__ import annotations

import os
import resource
import sys
import time
from collections.abc import Callable

import numpy as np

from harness.statistics.contrast import by_language, macro
from harness.statistics.paired import Paired
from harness.statistics.ranks import tie_groups
from harness.statistics.resampling import RESAMPLES, resample

REPEATS = 3


def synthetic(clusters: int, langs: int, per_language: int, rng: np.random.Generator) -> Paired:
    """Differences of −1, 0 or 1 in ``per_language`` clusters of each language."""
    counts = np.zeros((clusters, langs))
    for lang in range(langs):
        counts[rng.choice(clusters, per_language, replace=False), lang] = 1
    return Paired(
        task="synthetic",
        metric="recall@10",
        langs=tuple(f"l{lang}" for lang in range(langs)),
        left_out=(),
        clusters=np.array([f"x:{cluster:06d}" for cluster in range(clusters)]),
        sums=counts * rng.integers(-1, 2, size=counts.shape),
        counts=counts,
    )


def contrast(paired: Paired) -> None:
    """Everything that one contrast shows: macro and languages, bootstrap and permutation."""
    draws = resample([paired], np.random.default_rng(0))
    macro(draws)
    by_language(draws)


def seconds(work: Callable[[], object]) -> list[tuple[float, float]]:
    """(wall, processor) time of each repeat; the second exceeds the first with several threads."""
    times = []
    for _ in range(REPEATS):
        wall, processor = time.perf_counter(), time.process_time()
        work()
        times.append((time.perf_counter() - wall, time.process_time() - processor))
    return times


def peak_mib() -> float:
    """The largest resident set so far."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1 << 20 if sys.platform == "darwin" else 1 << 10)


def report(what: str, times: list[tuple[float, float]], target: float | None = None) -> None:
    """One line: the best of the repeats, since other work on the machine only adds."""
    wall, processor = (min(column) for column in zip(*times, strict=True))
    goal = "" if target is None else f"  target {target:.1f} s"
    print(
        f"{what:44} {wall:6.2f} s  (processor {processor:.2f} s)  peak {peak_mib():.0f} MiB{goal}"
    )


def main() -> None:
    """Print the table."""
    rng = np.random.default_rng(0)
    threads = os.environ.get("OMP_NUM_THREADS", "all")
    print(f"{RESAMPLES} resamples, threads: {threads}; numpy alone {peak_mib():.0f} MiB")
    small, large = synthetic(240, 12, 240, rng), synthetic(28_000, 41, 1_000, rng)
    report("contrast, 240 clusters x 12 languages", seconds(lambda: contrast(small)), 0.3)
    report("contrast, 28,000 clusters x 41 languages", seconds(lambda: contrast(large)), 4.0)
    names = [f"checkpoint {number:03d}" for number in range(500)]
    profiles = (rng.random((28_000, 500)) < np.linspace(0.3, 0.6, 500)) / 28_000
    report(
        "tie groups, 500 checkpoints, 28,000 clusters",
        seconds(lambda: tie_groups(names, profiles, np.random.default_rng(0))),
    )


if __name__ == "__main__":
    main()
