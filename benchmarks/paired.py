"""Paired timings: A B A B …, the ratio pair by pair, and the files they are kept in.

A machine's speed drifts; within a pair it hardly does. So every figure that is quoted is a ratio
of two things measured in turn, as median and spread over at least five pairs, and the absolute
times beside it are there for the order of magnitude alone.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from subprocess import PIPE, run
from typing import Any

RESULTS = Path(__file__).resolve().parent / "results"
RUNS = 5


@dataclass(frozen=True)
class Usage:
    """What one run of a command took; ``peak`` is the largest resident set, in bytes."""

    wall: float
    processor: float
    peak: int


@dataclass(frozen=True)
class Pairs:
    """Two things measured in turn: seconds of each run, in the order they were made."""

    ours: tuple[float, ...]
    theirs: tuple[float, ...]

    @property
    def ratios(self) -> list[float]:
        """How many times as long theirs takes, pair by pair."""
        return [theirs / ours for ours, theirs in zip(self.ours, self.theirs, strict=True)]

    def row(
        self, name: str, ours: str, theirs: str, meaning: str = "times as fast", **more: Any
    ) -> Row:
        """The pairs as a row; ``more``: target, equal, limit, note."""
        return Row(name, ours, theirs, meaning, tuple(self.ratios), self.ours, self.theirs, **more)


@dataclass(frozen=True)
class Row:
    """One comparison as it is kept and shown.

    ``ratio`` is theirs ÷ ours in time (above 1: ours is faster), or a share of a limit, as
    ``meaning`` says; an empty one could not be measured, and ``note`` says why.
    ``target``: what the ratio should reach, None where there is none.
    ``measured``: the day, set by ``save``; ``under``: the machine and the versions, set where they
    are not those that its file names.
    ``equal``: what both sides give, as evidence that they do the same; ``limit``: how far from the
    machine's limit ours is; ``note``: whatever else must be known to read the figure.
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
    limit: str = ""
    note: str = ""
    measured: str = ""
    under: str = ""

    @property
    def median(self) -> float:
        """The figure that is quoted."""
        return statistics.median(self.ratio)


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
    return Pairs(*(tuple(side) for side in zip(*pairs, strict=True)))


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
    told = run(starter, stdout=PIPE, env={**os.environ, **(env or {})}, check=True).stdout
    code, wall, processor, peak = json.loads(told)
    if code:
        raise RuntimeError(f"exit {code}: {' '.join(argv)}")
    return Usage(wall, processor, peak * (1 if sys.platform == "darwin" else 1024))


def gemm_rate(dtype: str = "float32", size: int = 2048, seconds_at_least: float = 1.0) -> float:
    """FLOP/s of torch's product of two square matrices: the machine's limit for a forward pass."""
    import torch

    left, right = (torch.randn(size, size).to(getattr(torch, dtype)) for _ in range(2))
    out = left @ right
    products, started = 0, time.perf_counter()
    while (spent := time.perf_counter() - started) < seconds_at_least:
        torch.matmul(left, right, out=out)
        products += 1
    return products * 2 * size**3 / spent


def machine() -> dict[str, object]:
    """Processor, cores, memory and system: what a figure must be read with."""
    model = platform.processor() or platform.machine()
    flags: set[str] = set()
    if (info := Path("/proc/cpuinfo")).exists():
        lines = [line.partition(":") for line in info.read_text().splitlines()]
        found = {key.strip(): value.strip() for key, _, value in lines}
        model, flags = found.get("model name", model), set(found.get("flags", "").split())
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "processor": model,
        "units": sorted(flags & {"avx2", "avx512f", "avx512_bf16", "amx_bf16"}),
        "cores": len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count(),
        "memory_gib": round(memory / 2**30),
        "system": f"{platform.system()}, Python {platform.python_version()}",
    }


def described(machine: Mapping[str, Any], versions: Mapping[str, str]) -> str:
    """Machine and versions in a line."""
    units = ", ".join(machine["units"])
    return (
        f"{machine['processor']} ({machine['cores']} cores, {units}), {machine['memory_gib']} GiB, "
        f"{machine['system']}; {', '.join(f'{name} {number}' for name, number in versions.items())}"
    )


def save(
    name: str,
    title: str,
    how: str,
    rows: Sequence[Row],
    packages: Sequence[str],
    *,
    keep: bool = False,
) -> Path:
    """Keep the rows of a benchmark as ``results/<name>.json``, with machine, versions and date.

    ``how``: the command that measured them; ``packages``: whose versions matter; ``keep``: rows of
    the file that are not among ``rows`` stay, in their place and with their day, machine and
    versions.
    """
    today = time.strftime("%Y-%m-%d", time.gmtime())
    rows = [replace(row, measured=today) for row in rows]
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    here, versions = machine(), {package: _version(package) for package in packages}
    if keep and path.exists():
        before = json.loads(path.read_text())
        same = (before["machine"], before["versions"]) == (here, versions)
        under = "" if same else described(before["machine"], before["versions"])
        kept = [replace(row, under=row.under or under) for row in saved(name)]
        rows = list({row.name: row for row in (*kept, *rows)}.values())
    document = {
        "title": title,
        "command": how,
        "date": today,
        "machine": here,
        "versions": versions,
        "rows": [asdict(row) for row in rows],
    }
    path.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n")
    return path


def saved(name: str) -> list[Row]:
    """The rows that ``save`` kept."""
    document = json.loads((RESULTS / f"{name}.json").read_text())
    rows = [{"measured": document["date"]} | row for row in document["rows"]]
    return [
        Row(**{key: tuple(v) if isinstance(v, list) else v for key, v in row.items()})
        for row in rows
    ]


def show(row: Row) -> str:
    """A row as a line of text."""
    if not row.ratio:
        return f"{row.name}: not measured\n    {row.note}"
    spread = f"[{min(row.ratio):.2f}, {max(row.ratio):.2f}]"
    goal = "" if row.target is None else f"  target {row.target:.3g}"
    more = "".join(f"\n    {text}" for text in (row.equal, row.limit, row.note) if text)
    return f"{row.name}: {row.median:.2f} {spread} {row.meaning}{goal}{more}"


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
