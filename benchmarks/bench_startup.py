"""Start-up: help pages, questions about the committed board, loading, the first forward pass.

    python benchmarks/bench_startup.py MODEL... --data DIR [--peers DIR]

Whole processes from start to exit, by the system's accounting. MODEL are folders of real
checkpoints and DIR the official files, for loading and the first forward pass; ``--peers`` is the
folder of mteb's and lm-eval's programs. A part is left out where what it needs is not given.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path

import paired
from paired import ROOT, Row, commands_in_turn

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
# Ours, and the page of the bare program that is of the same kind: of all commands, or of one.
PAGES = {("--help",): ("--help",), ("eval", "--help"): ("one", "--help")}
HELP = 1 / 1.5  # target, bare ÷ ours: within 1.5 × of the bare page
PEERS = {"mteb": "mteb", "lm-eval": "lm_eval"}
# Runs a command and writes the modules that it imported; what imports them again.
NAMES = """
import json, runpy, sys
out, sys.argv = sys.argv[1], ["xharness", *sys.argv[2:]]
try:
    runpy.run_module("harness", run_name="__main__", alter_sys=True)
finally:
    names = [name for name in sys.modules if not name.startswith("__")]
    open(out, "w").write(json.dumps(names))
"""
IMPORTS = """
import importlib, json, sys
for name in json.loads(open(sys.argv[1]).read()):
    try:
        importlib.import_module(name)
    except Exception:
        pass
"""
BEYOND = 2.0  # target: processor seconds beyond imports
PLAIN = """
import sys, torch
from transformers import AutoModel, AutoTokenizer
model = AutoModel.from_pretrained(sys.argv[1]).eval()
batch = AutoTokenizer.from_pretrained(sys.argv[1])(["A text."], return_tensors="pt")
with torch.inference_mode():
    model(**batch)
"""
LOAD = """
import json, sys, tempfile, torch
from pathlib import Path
from transformers import AutoModel, AutoTokenizer
from benchmarks.shapes import random_bert
from harness.checkpoint.loading import load_encoder
from harness.checkpoint.resolve import resolve
from harness.checkpoint.tokenizer import load_tokenizer
side, folder, dtype, out = sys.argv[1:]
def status(field):
    found = dict(line.split(":") for line in Path("/proc/self/status").read_text().splitlines())
    return int(found[field].split()[0]) << 10
read_tokenizer, load = {
    "ours": (lambda at: load_tokenizer(resolve(at)),
             lambda at: load_encoder(resolve(at), dtype=dtype, device="cpu")[0]),
    "theirs": (AutoTokenizer.from_pretrained,
               lambda at: AutoModel.from_pretrained(at, dtype=getattr(torch, dtype))),
}[side]
with tempfile.TemporaryDirectory() as small:  # what is imported on the way does not count
    read_tokenizer(random_bert(small, 12, 1, 1))
    load(small)
bare = status("VmRSS")
tokenizer = read_tokenizer(folder)
before = status("VmRSS")
Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
model = load(folder)
for parameter in model.parameters():
    parameter.sum()  # as a forward pass would: every page is read
size = sum(p.numel() * p.element_size() for p in model.parameters())
Path(out).write_text(json.dumps([status("VmHWM") - before, size, before - bare]))
"""
LOADED = 1.2  # target: × the size of the weights


def own(*arguments: str) -> list[str]:
    """Our command."""
    return [sys.executable, "-m", "harness", *arguments]


def python(text: str, *arguments: str) -> list[str]:
    """A program as a command."""
    return [sys.executable, "-c", text, *arguments]


def help_pages(given: Namespace) -> Iterator[Row]:
    """Our pages beside the bare one, and beside those of the peers that are there."""
    for page, of_bare in PAGES.items():
        name, what = f"`xharness {' '.join(page)}`", "a bare typer page"
        pairs, _ = commands_in_turn(own(*page), python(BARE, *of_bare), runs=given.runs)
        yield pairs.row(f"{name}, beside {what}", "xharness", what, target=HELP)
    for peer in (one for one in PEERS if given.peers and (given.peers / one).exists()):
        program, theirs = given.peers / peer, f"`{peer} --help`"
        pairs, _ = commands_in_turn(own("--help"), [str(program), "--help"], runs=given.runs)
        asked = f"from importlib.metadata import version; print(version({PEERS[peer]!r}))"
        told = subprocess.check_output([str(program.with_name("python")), "-c", asked])
        note = f"{peer} {told.decode().strip()}."
        yield pairs.row(f"`xharness --help`, beside {theirs}", "xharness", theirs, note=note)


def questions(given: Namespace) -> Iterator[Row]:
    """`tasks`, `show` and `compare` on the committed board, beyond what their imports take."""
    results = ROOT / "leaderboard" / "results"
    models = board_models()
    with tempfile.TemporaryDirectory() as work:
        asked = {"tasks": ["tasks"], "show": ["show", str(results)]}
        if len(models) > 1:
            asked["compare"] = [
                "compare", *models[:2], "--root", str(ROOT), "--out", str(results),
            ]  # fmt: skip
        for name, arguments in asked.items():
            file = str(Path(work) / "names.json")
            paired.command(python(NAMES, file, *arguments))
            _, used = commands_in_turn(own(*arguments), python(IMPORTS, file), runs=given.runs)
            beyond = tuple(ours.processor - theirs.processor for ours, theirs in used)
            whole = statistics.median(ours.processor for ours, _ in used)
            yield Row(
                f"`xharness {name}` on the committed board", f"{whole:.2f} s in all",
                "its imports alone", "processor seconds more, at most the target", beyond,
                target=BEYOND,
            )  # fmt: skip
    if len(models) < 2:
        note = "The committed board has no two checkpoints."
        yield Row("`xharness compare` on the committed board", "", "", "", (), note=note)


def board_models() -> list[str]:
    """The checkpoints of the committed board, as `show` and `compare` take them."""
    import pyarrow.parquet as pq

    file = ROOT / "leaderboard" / "scores.parquet"
    if not file.exists():
        return []
    return sorted(set(pq.read_table(file, columns=["model"])["model"].to_pylist()))


def first_pass(given: Namespace) -> Iterator[Row]:
    """A whole evaluation of one pair, beside the first forward pass of plain transformers."""
    for model in given.models if given.data else ():
        with tempfile.TemporaryDirectory() as work:
            ours = own(
                "eval", str(model), "--task", "tatoeba", "--lang", "sw", "--limit", "1",
                "--data", str(given.data), "--device", "cpu", "--offline", "--fresh", "-q",
                "--out", f"{work}/out", "--cache-dir", f"{work}/cache",
            )  # fmt: skip
            pairs, used = commands_in_turn(ours, python(PLAIN, str(model)), runs=given.runs)
        processor = [statistics.median(one[side].processor for one in used) for side in (0, 1)]
        yield pairs.row(
            f"the shortest evaluation, {called(model)}", "one query of Tatoeba, all candidates",
            "imports, loading and one text with transformers", "theirs ÷ ours, in seconds",
            note=f"Processor seconds: {processor[0]:.1f} and {processor[1]:.1f}.",
        )  # fmt: skip


def loading(given: Namespace) -> Iterator[Row]:
    """The memory that loading a checkpoint takes, each in a process of its own."""
    for model in given.models:
        for dtype in ("float32", "bfloat16"):
            peaks: dict[str, list[float]] = {"ours": [], "theirs": []}
            size = tokenizer = 1.0
            with tempfile.TemporaryDirectory() as work:
                out = Path(work) / "found.json"
                for _ in range(given.runs):
                    for side, found in peaks.items():
                        paired.command(python(LOAD, side, str(model), dtype, str(out)))
                        peak, size, tokenizer = json.loads(out.read_text())
                        found.append(peak / size)
            yield Row(
                f"memory of loading {called(model)} as {dtype}", "`load_encoder`",
                f"transformers' `from_pretrained`: {statistics.median(peaks['theirs']):.2f}",
                f"× its {size / 2**30:.2f} GiB of weights, at most", tuple(peaks["ours"]),
                target=LOADED,
                note="Largest resident set while loading, mapped pages of the file included, above "
                f"what was there before. So was the tokenizer, which takes {tokenizer / 2**20:.0f} "
                "MiB.",
            )  # fmt: skip


def called(model: Path) -> str:
    """A checkpoint's name, as its files or its folder say."""
    config = json.loads((model / "config.json").read_text())
    return str(config.get("_name_or_path") or model.name)


BENCHMARK = paired.Benchmark(
    "startup",
    "Start-up and loading",
    "python benchmarks/bench_startup.py MODEL... --data DIR --peers DIR",
    ("typer", "rich", "torch", "transformers"),
    ("harness/cli.py", "harness/commands", "harness/terminal", "harness/checkpoint",
     "harness/evaluation", "harness/analysis"),
    {"help": help_pages, "questions": questions, "first": first_pass, "loading": loading},
    {
        "models": {"type": Path, "nargs": "*", "metavar": "MODEL"},
        "--data": paired.FOLDER,
        "--peers": paired.FOLDER,
    },
)  # fmt: skip

if __name__ == "__main__":
    sys.exit(paired.run(BENCHMARK))
