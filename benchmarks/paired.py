"""The one runner: what a benchmark declares, paired timings, and the files that keep its rows.

A machine's speed drifts; within a pair it hardly does. So a figure that is quoted is a ratio of two
things measured in turn (A B A B …), as median and spread over at least five pairs; the seconds
beside it only tell the order of magnitude.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results"
RUNS = 5  # pairs at the least of a row that is kept
CHANGED = "+"  # after a commit: files had changes that it does not hold


@dataclass(frozen=True)
class Row:
    """One comparison as it is kept and shown.

    ``ratio`` is theirs ÷ ours in time (above 1: ours is faster), or a share or a size, as
    ``meaning`` says; an empty one could not be measured, and ``note`` says why.
    ``target``: what the ratio should reach, None where there is none.
    ``equal``: what both sides give, as evidence that they do the same; ``note``: whatever else must
    be known to read the figure. ``about``: the paths whose code it measures. ``measured``: the day;
    ``commit``: of the code, empty where it is not known; ``under``: machine and versions.
    """

    name: str
    ours: str
    theirs: str
    meaning: str
    ratio: tuple[float, ...]
    ours_seconds: tuple[float, ...] = ()
    theirs_seconds: tuple[float, ...] = ()
    target: float | None = None
    equal: str = ""
    note: str = ""
    about: tuple[str, ...] = ()
    measured: str = ""
    commit: str = ""
    under: str = ""

    @property
    def median(self) -> float:
        """The figure that is quoted."""
        return statistics.median(self.ratio)


@dataclass(frozen=True)
class Pairs:
    """Two things measured in turn: seconds of each run, in the order they were made."""

    ours: tuple[float, ...]
    theirs: tuple[float, ...]

    def row(
        self, name: str, ours: str, theirs: str, meaning: str = "times as fast", **more: Any
    ) -> Row:
        """The pairs as a row; ``more``: target, equal, note."""
        ratios = tuple(b / a for a, b in zip(self.ours, self.theirs, strict=True))
        return Row(name, ours, theirs, meaning, ratios, self.ours, self.theirs, **more)


@dataclass(frozen=True)
class Usage:
    """What one run of a command took; ``peak`` is the largest resident set, in bytes."""

    wall: float
    processor: float
    peak: int


Part = Callable[[argparse.Namespace], Iterable[Row]]


@dataclass(frozen=True)
class Benchmark:
    """What a script declares.

    ``name``: of its file under ``results/``; ``command``: how it is run; ``packages``: whose
    versions matter; ``about``: the paths whose code it measures; ``parts``: functions from the
    options to rows; ``options``: of the command line, beside the runner's own.
    """

    name: str
    title: str
    command: str
    packages: tuple[str, ...]
    about: tuple[str, ...]
    parts: Mapping[str, Part]
    options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


FOLDER = {"type": Path, "metavar": "DIR"}
MODEL = {"type": Path, "metavar": "MODEL"}


def run(benchmark: Benchmark, argv: Sequence[str] | None = None) -> int:
    """Measure the parts that the command line asks for, print their rows and keep them.

    Nothing is kept with ``--small``, or with fewer pairs than five.
    """
    parser = argparse.ArgumentParser(description=benchmark.title)
    parser.add_argument("--part", action="append", choices=benchmark.parts)
    parser.add_argument("--runs", type=int, default=RUNS, help="pairs")
    parser.add_argument("--small", action="store_true", help="the smallest sizes; nothing is kept")
    for name, about in benchmark.options.items():
        parser.add_argument(name, **about)
    given = parser.parse_args(argv)
    every: list[Row] = []
    for name in given.part or benchmark.parts:
        started = time.perf_counter()
        rows = list(benchmark.parts[name](given))
        for row in rows:
            print(show(row), flush=True)
        print(f"({name}: {time.perf_counter() - started:.0f} s)", file=sys.stderr, flush=True)
        every += rows
        if not given.small and given.runs >= RUNS:
            save(benchmark, rows)
    if not (given.small or given.part or given.runs < RUNS):
        save(benchmark, every, keep=False)
    return 0


def in_turn(
    ours: Callable[[], object], theirs: Callable[[], object], *, runs: int = RUNS, warm: int = 1
) -> Pairs:
    """Wall seconds of two callables in turn, ``runs`` times after ``warm`` unmeasured ones."""
    return in_turn_seconds(lambda: seconds(ours), lambda: seconds(theirs), runs=runs, warm=warm)


def in_turn_seconds(
    ours: Callable[[], float], theirs: Callable[[], float], *, runs: int = RUNS, warm: int = 1
) -> Pairs:
    """The same for two callables that say themselves how long what counts of them took."""
    pairs = [(ours(), theirs()) for _ in range(warm + runs)][warm:]
    return Pairs(tuple(a for a, _ in pairs), tuple(b for _, b in pairs))


def commands_in_turn(
    ours: Sequence[str], theirs: Sequence[str], *, runs: int = RUNS, warm: int = 1
) -> tuple[Pairs, list[tuple[Usage, Usage]]]:
    """Two commands in turn as whole processes: wall seconds, and all that each run took."""
    used = [(command(ours), command(theirs)) for _ in range(warm + runs)][warm:]
    return Pairs(tuple(a.wall for a, _ in used), tuple(b.wall for _, b in used)), used


def seconds(work: Callable[[], object]) -> float:
    """Wall seconds of one call."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


# Runs what follows it and says what that took. Linux counts, as the largest resident set of a new
# process, also that of the one it was started from: so it is started from this small one.
STARTER = """
import json, os, resource, sys, time
started = time.perf_counter()
pid = os.fork()
if not pid:
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    os.execvp(sys.argv[1], sys.argv[1:])
code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
wall = time.perf_counter() - started
usage = resource.getrusage(resource.RUSAGE_CHILDREN)
print(json.dumps([code, wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss]))
"""


def command(argv: Sequence[str], *, env: Mapping[str, str] | None = None) -> Usage:
    """Run a whole process, from start to exit, and say what it took by the system's accounting.

    Raises:
        RuntimeError: it failed; a failed run has no time.
    """
    starter = [sys.executable, "-I", "-S", "-c", STARTER, *argv]
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    told = subprocess.run(
        starter, stdout=subprocess.PIPE, check=True,
        env={**os.environ, "PYTHONPATH": path, **(env or {})},
    ).stdout  # fmt: skip
    code, wall, processor, peak = json.loads(told)
    if code:
        raise RuntimeError(f"exit {code}: {' '.join(argv)}")
    return Usage(wall, processor, peak * (1 if sys.platform == "darwin" else 1024))


def flags(options: Mapping[str, object]) -> list[str]:
    """Options as words of a command line; True is an option without a value."""
    words = []
    for name, value in options.items():
        words += [f"--{name}"] if value is True else [f"--{name}", str(value)]
    return words


def gemm_rate(
    dtype: str = "float32", size: int = 2048, least: float = 1.0, device: str = "cpu"
) -> float:
    """FLOP/s of torch's product of two square matrices: the machine's limit for a forward pass."""
    import torch

    kind = getattr(torch, dtype)
    left, right = (torch.randn(size, size, device=device).to(kind) for _ in range(2))
    wait: Any = torch.cuda.synchronize if device != "cpu" else lambda: None
    out = left @ right
    wait()
    products, started = 0, time.perf_counter()
    while (spent := time.perf_counter() - started) < least:
        for _ in range(1 if device == "cpu" else 20):
            torch.matmul(left, right, out=out)
            products += 1
        wait()
    return products * 2 * size**3 / spent


def machine(packages: Iterable[str]) -> str:
    """Processor, cores, memory, system and the packages' versions, in a line."""
    model, flags = platform.processor() or platform.machine(), set[str]()
    if (info := Path("/proc/cpuinfo")).exists():
        lines = [line.partition(":") for line in info.read_text().splitlines()]
        found = {key.strip(): value.strip() for key, _, value in lines}
        model, flags = found.get("model name", model), set(found.get("flags", "").split())
    units = ", ".join(sorted(flags & {"avx2", "avx512f", "avx512_bf16", "amx_bf16"}))
    cores = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count()
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    versions = ", ".join(f"{package} {_version(package)}" for package in packages)
    return (
        f"{model} ({cores} cores, {units}), {memory:.0f} GiB, {platform.system()}, "
        f"Python {platform.python_version()}; {versions}"
    )


def git(*arguments: str) -> str | None:
    """What git answers about this repository; None where there is no git, or it fails."""
    try:
        told = subprocess.run(
            ["git", "-C", str(ROOT), *arguments], capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return told.stdout.strip()


def commit(paths: Iterable[str]) -> str:
    """The commit that is checked out, with a sign where files under ``paths`` differ from it."""
    head = git("rev-parse", "--short=12", "HEAD")
    changed = git("status", "--porcelain", "--", *paths)
    return f"{head}{CHANGED if changed else ''}" if head else ""


def save(benchmark: Benchmark, rows: Iterable[Row], *, keep: bool = True) -> Path:
    """Keep rows as ``results/<name>.json``, with day, commit, machine and versions.

    ``keep``: rows of the file that are not among ``rows`` stay, in their place.
    """
    today, under = time.strftime("%Y-%m-%d", time.gmtime()), machine(benchmark.packages)
    stamped = []
    for row in rows:
        about = row.about or benchmark.about
        stamped.append(replace(row, about=about, measured=today, commit=commit(about), under=under))
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{benchmark.name}.json"
    before = saved(benchmark.name) if keep and path.exists() else []
    document = {
        "title": benchmark.title,
        "command": benchmark.command,
        "rows": [asdict(row) for row in {row.name: row for row in (*before, *stamped)}.values()],
    }
    path.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n")
    return path


def saved(name: str) -> list[Row]:
    """The rows that ``save`` kept."""
    document = json.loads((RESULTS / f"{name}.json").read_text())
    rows: Any = document["rows"]
    lists = {"ratio", "ours_seconds", "theirs_seconds", "about"}
    return [Row(**(row | {name: tuple(row[name]) for name in lists})) for row in rows]


def show(row: Row) -> str:
    """A row as a few lines of text."""
    if not row.ratio:
        return f"{row.name}: not measured\n    {row.note}"
    spread = f"[{min(row.ratio):.2f}, {max(row.ratio):.2f}]"
    goal = "" if row.target is None else f"  target {row.target:.3g}"
    more = "".join(f"\n    {text}" for text in (row.equal, row.note) if text)
    return f"{row.name}: {row.median:.2f} {spread} {row.meaning}{goal}{more}"


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
