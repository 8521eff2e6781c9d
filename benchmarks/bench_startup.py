"""How long a help page takes, beside the peers' and beside a bare typer page.

    python benchmarks/bench_startup.py --peers /path/to/peers/bin

Whole processes from start to exit, by the system's accounting. Without ``--peers`` only the bare
page is measured beside ours.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import paired

# What a help page costs at the least: typer, which draws it with rich.
BARE = """
from typing import Annotated
import rich, typer
app = typer.Typer(rich_markup_mode="rich", add_completion=False)
@app.command()
def one(name: str, count: Annotated[int, typer.Option(help="How many.")] = 1) -> None:
    '''Say a name.'''
@app.command()
def two(name: str) -> None:
    '''Say a name once.'''
app()
"""
HELP_TARGET = 1 / 1.5  # bare ÷ ours: within 1.5 × of the bare page
# Ours, and the page of the bare program that is of the same kind: of all commands, or of one.
PAGES = {
    "--help": (("--help",), ("--help",)),
    "eval --help": (("eval", "--help"), ("one", "--help")),
}


def own(page: Sequence[str]) -> list[str]:
    """Our page as a command: the script where it is installed beside this Python."""
    script = Path(sys.executable).with_name("xharness")
    if not script.exists():
        raise SystemExit(f"no {script}: pip install -e . first")
    return [str(script), *page]


def bare(page: Sequence[str]) -> list[str]:
    """The bare page as a command."""
    return [sys.executable, "-c", BARE, *page]


def compare(
    name: str, ours: Sequence[str], theirs: Sequence[str], what: str, runs: int
) -> paired.Row:
    """Two commands in turn: wall seconds, and the processor's in the note."""
    used: dict[str, list[float]] = {"ours": [], "theirs": []}

    def wall(side: str, argv: Sequence[str]) -> float:
        usage = paired.command(argv)
        used[side].append(usage.processor)
        return usage.wall

    pairs = paired.in_turn_seconds(
        lambda: wall("ours", ours), lambda: wall("theirs", theirs), runs=runs
    )
    processor = {side: sorted(found[1:])[runs // 2] for side, found in used.items()}
    return pairs.row(
        name=f"`xharness {name}`, beside {what}",
        ours="xharness",
        theirs=what,
        meaning="theirs ÷ ours, in seconds",
        target=HELP_TARGET if what.startswith("a bare") else None,
        note=f"processor seconds: {processor['ours']:.2f} and {processor['theirs']:.2f}",
    )


def version_of(peer: str, program: str) -> str:
    """The version of a peer in its own environment."""
    asked = f"from importlib.metadata import version; print(version({peer!r}))"
    argv = [str(Path(program).with_name("python")), "-c", asked]
    return subprocess.run(argv, capture_output=True, text=True, check=True).stdout.strip()


def measure(peers: Path | None, runs: int) -> list[paired.Row]:
    """Our pages beside the bare one, and beside those of the peers that are there."""
    rows = [
        compare(name, own(ours), bare(theirs), "a bare typer page", runs)
        for name, (ours, theirs) in PAGES.items()
    ]
    for peer in ("mteb", "lm-eval") if peers else ():
        program = shutil.which(peer, path=str(peers))
        if program is None:
            raise SystemExit(f"no {peer} in {peers}: see benchmarks/requirements.txt")
        row = compare("--help", own(("--help",)), [program, "--help"], f"`{peer} --help`", runs)
        rows.append(replace(row, note=f"{peer} {version_of(peer, program)}; {row.note}"))
    return rows


def main() -> None:
    """Measure, print and keep."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--peers", type=Path, help="the folder of the peers' programs")
    parser.add_argument("--runs", type=int, default=11)
    given = parser.parse_args()
    rows = measure(given.peers, given.runs)
    for row in rows:
        print(paired.show(row))
    paired.save("startup", "Start-up", "make bench-peers PEERS=…", rows, ["typer", "rich"])


if __name__ == "__main__":
    main()
