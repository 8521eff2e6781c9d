"""What the largest pools and checkpoints take: time beside the matrix product, and memory.

    PYTHONPATH=. python benchmarks/bench_scale.py

Mewsli-X in size: 1,003,893 candidates × 768, five languages of 1,329 queries each, as random unit
vectors that a run finds in its store: from the plan's point of view they are encoded. They go
through the kind, the encoder, the store and the search that an evaluation goes through. Then an
XLM-R-shaped checkpoint of 10 GiB in float32, loaded as float32 and as bfloat16, each in a process
of its own. Takes some 14 GB of disk, 12 GiB of memory and a quarter of an hour.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from bench_search import product, unit_vectors
from paired import Row, save, seconds, show

from harness.data.examples import Query, Retrieval
from harness.inference.batching import token_batches
from harness.inference.encoder import Encoder
from harness.inference.protocol import Protocol, resolve_encodings
from harness.inference.vector_store import KEY_BYTES, text_key
from harness.kinds import KINDS

GIB = 1 << 30
DIM = 768
CANDIDATES, QUERIES, UNITS = 1_003_893, 1_329, 5
TEXTS = 16_384  # written to the store at a time
SHARE, ABOVE = 0.7, 2.0  # targets: of the product's rate; GiB above the vectors
CHECKPOINT, TWICE = 10 * GIB, 1.2  # and: its size at most
SHARD = 2 * GIB


def examples(candidates: int, queries: int, units: int) -> Retrieval:
    """A pool of short texts, all distinct, and each unit's queries."""
    texts = tuple(f"candidate {number}" for number in range(candidates))
    asked = {
        f"l{unit}": tuple(
            Query(f"{unit}:{n}", f"query {unit} {n}", f"c{n}", (unit * queries + n,))
            for n in range(queries)
        )
        for unit in range(units)
    }
    return Retrieval(texts, texts, ("en",) * candidates, asked)


def encoder(cache: Path) -> Encoder:
    """An encoder that finds all its vectors in the store; its checkpoint cannot be loaded."""
    checkpoint: Any = SimpleNamespace(local=False, id="org/model", revision="0" * 40, base=None)
    backbone: Any = SimpleNamespace(checkpoint=checkpoint, device="cpu")
    encodings = resolve_encodings(
        Protocol(),
        task_lengths={"query": 64, "document": 64},
        depth=12,
        max_positions=512,
        native=None,
        bitext=False,
    )
    return Encoder(backbone, encodings, cache=cache)


def fill(cache: Path, data: Retrieval) -> None:
    """Write every vector, in an order like that of batches by length."""
    filled = encoder(cache)
    layer = next(iter(filled.encodings))
    groups = [("query", [q.text for of in data.queries.values() for q in of])]
    groups.append(("document", list(data.candidates)))
    rng = np.random.default_rng(0)
    for role, texts in groups:
        store = filled._store(layer, role)  # type: ignore[arg-type]
        tokens = filled._token_store(role)  # type: ignore[arg-type]
        for start in range(0, len(texts), TEXTS):
            part = texts[start : start + TEXTS]
            vectors = unit_vectors(len(part), DIM, start + len(role))
            keys = [text_key(text) for text in part]  # stand for the keys of its ids too
            tokens.append(keys, np.frombuffer(b"".join(keys), np.uint8).reshape(-1, KEY_BYTES))
            for rows in token_batches(rng.integers(5, 64, len(part)), 1_024 * 16):
                store.append([keys[row] for row in rows], vectors[rows])
        store.flush()
        tokens.flush()


def status(field: str) -> int:
    """Bytes, as the kernel accounts for this process."""
    fields = dict(line.split(":") for line in Path("/proc/self/status").read_text().splitlines())
    return int(fields[field].split()[0]) << 10


@contextmanager
def watched(peak: list[int]) -> Iterator[None]:
    """Raise ``peak[0]`` to the most anonymous memory meanwhile; file pages can be dropped."""
    done = threading.Event()

    def watch() -> None:
        while not done.wait(0.02):
            peak[0] = max(peak[0], status("RssAnon"))

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield
    finally:
        done.set()
        watcher.join()


def search(cache: Path, candidates: int, queries: int, units: int) -> dict[str, Any]:
    """Evaluate each unit and time the product of its shape; for a process of its own."""
    kind = KINDS["passages"]
    peak = [0]
    with watched(peak):
        data = examples(candidates, queries, units)
        job: Any = SimpleNamespace(layer=next(iter(encoder(cache).encodings)), limit=None)
        texts = status("RssAnon")
        started = time.perf_counter()
        model = encoder(cache)
        prepared = kind.prepare(job, data, model)
        preparing = time.perf_counter() - started
    right = len(prepared.vectors)
    ours, theirs = [], []
    for unit in data.queries:
        with watched(peak):
            ours.append(seconds(lambda unit=unit: kind.run(job, data, unit, model, prepared)))
        theirs.append(_product(queries, right))
    return {"ours": ours, "theirs": theirs, "peak": peak[0], "texts": texts, "prepare": preparing}


def _product(queries: int, candidates: int, block: int = 65_536) -> float:
    """Seconds of the product of this shape, over one block again and again."""
    left, right = unit_vectors(queries, DIM, 1), unit_vectors(block, DIM, 2)

    def whole() -> None:
        for start in range(0, candidates, block):
            product(left, right[: candidates - start])

    return seconds(whole)


def write_checkpoint(folder: Path, size: int) -> Path:
    """An XLM-R-shaped checkpoint of ``size`` bytes in float32, random, in shards of 2 GiB."""
    import torch
    from safetensors.torch import save_file
    from transformers import XLMRobertaConfig, XLMRobertaModel

    from tests.checkpoints import build

    build("xlm-roberta", folder)
    (folder / "model.safetensors").unlink()
    config = json.loads((folder / "config.json").read_text())
    width = 2_560
    per_layer = 12 * width * width * 4
    config |= {
        "hidden_size": width,
        "intermediate_size": 4 * width,
        "num_attention_heads": 40,
        "num_hidden_layers": max(size // per_layer, 1),
    }
    (folder / "config.json").write_text(json.dumps(config))
    with torch.device("meta"):
        skeleton = XLMRobertaModel(
            XLMRobertaConfig.from_pretrained(folder), add_pooling_layer=False
        ).state_dict()
    shards: list[dict[str, Any]] = [{}]
    for name, tensor in skeleton.items():
        if sum(t.numel() * 4 for t in shards[-1].values()) > SHARD:
            shards.append({})
        shards[-1][name] = tensor
    where = {}
    for number, shard in enumerate(shards, 1):
        name = f"model-{number:05d}-of-{len(shards):05d}.safetensors"
        save_file(
            {key: torch.empty(t.shape).uniform_(-0.05, 0.05) for key, t in shard.items()},
            folder / name,
            metadata={"format": "pt"},
        )
        where |= dict.fromkeys(shard, name)
    index = {"metadata": {}, "weight_map": where}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    return folder


def load(folder: Path, dtype: str, plain: bool) -> dict[str, Any]:
    """Load a checkpoint, ours or as transformers does, and say what it took; in its own process."""
    import torch

    from harness.checkpoint.loading import load_encoder
    from harness.checkpoint.resolve import resolve

    checkpoint = resolve(str(folder))
    from transformers import AutoModel, AutoTokenizer

    AutoTokenizer.from_pretrained(str(folder))
    before = status("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew

    def work() -> Any:
        if plain:
            return AutoModel.from_pretrained(
                str(folder), dtype=getattr(torch, dtype), add_pooling_layer=False
            )
        return load_encoder(checkpoint, dtype=dtype, device="cpu")[0]

    started = time.perf_counter()
    model = work()
    for parameter in model.parameters():
        parameter.sum()  # as a forward pass would: every page is read
    return {
        "seconds": time.perf_counter() - started,
        "peak": status("VmHWM") - before,
        "anonymous": status("RssAnon"),
        "size": sum(p.numel() * p.element_size() for p in model.parameters()),
    }


def apart(*arguments: str) -> dict[str, Any]:
    """This script with ``arguments`` in a process of its own, and what it printed."""
    command = [sys.executable, __file__, *arguments]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def pool_rows(cache: Path, shape: tuple[int, int, int]) -> list[Row]:
    """The search in a pool of Mewsli-X's size."""
    candidates, queries, units = shape
    found = apart("--search", str(cache), *(f"--shape={n}" for n in shape))
    peak = found["peak"] / GIB
    vectors = candidates * DIM * 4 / GIB
    name = f"{candidates:,} candidates × {DIM}"
    rates = [theirs / ours for ours, theirs in zip(found["ours"], found["theirs"], strict=True)]
    return [
        Row(
            name=f"a language of {queries:,} queries, {name}",
            ours="kind, encoder, store, search",
            theirs="the product alone (numpy)",
            meaning="of its rate",
            ratio=tuple(rates),
            ours_seconds=tuple(found["ours"]),
            theirs_seconds=tuple(found["theirs"]),
            target=SHARE,
            note=f"{units} of Mewsli-X's 11 languages, without a warm-up; before them once "
            f"{found['prepare']:.0f} s to check and index the store. Ours also reads the vectors "
            "from their files, once a language.",
        ),
        Row(
            name=f"memory, {name}",
            ours=f"{peak:.2f} GiB anonymous, the whole process",
            theirs=f"the vectors: {vectors:.2f} GiB, mapped",
            meaning="GiB at most, everything but mapped pages",
            ratio=(peak,),
            target=ABOVE,
            note=f"Most RssAnon seen in samples of 20 ms; interpreter, libraries and texts of "
            f"a few words take {found['texts'] / GIB:.2f} GiB of it.",
        ),
    ]


def loading_rows(folder: Path) -> list[Row]:
    """The memory that loading a large checkpoint takes."""
    size = sum(file.stat().st_size for file in folder.glob("*.safetensors")) / GIB
    rows = []
    for dtype in ("float32", "bfloat16"):
        ours, theirs = (
            apart("--load", str(folder), "--dtype", dtype, *more) for more in ((), ("--plain",))
        )
        rows.append(
            Row(
                name=f"loading {size:.1f} GiB of float32 as {dtype}",
                ours=f"load_encoder: {ours['peak'] / GIB:.2f} GiB",
                theirs=f"transformers' from_pretrained: {theirs['peak'] / GIB:.2f} GiB",
                meaning="× the size of the weights as loaded, at most",
                ratio=(ours["peak"] / ours["size"],),
                ours_seconds=(ours["seconds"],),
                theirs_seconds=(theirs["seconds"],),
                target=TWICE,
                equal=f"The weights take {ours['size'] / GIB:.2f} GiB on both sides.",
                note="Largest resident set while loading (VmHWM) above what was there before, "
                f"mapped pages included; anonymous {ours['anonymous'] / GIB:.2f} and "
                f"{theirs['anonymous'] / GIB:.2f} GiB. One run each; seconds depend on what the "
                "system had cached, and ours checks every value.",
            )
        )
    return rows


def main() -> None:
    """Measure and keep."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--small", action="store_true", help="try it; nothing is kept")
    parser.add_argument("--folder", type=Path, help="where the files lie; made once and left there")
    parser.add_argument("--fill", action="store_true", help="make the files and stop")
    for hidden in ("--search", "--load", "--dtype"):
        parser.add_argument(hidden, help=argparse.SUPPRESS)
    parser.add_argument("--shape", type=int, action="append", help=argparse.SUPPRESS)
    parser.add_argument("--plain", action="store_true", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.search:
        print(json.dumps(search(Path(chosen.search), *chosen.shape)))
        return
    if chosen.load:
        print(json.dumps(load(Path(chosen.load), chosen.dtype, chosen.plain)))
        return
    folder = chosen.folder or Path(tempfile.mkdtemp(prefix="bench_scale"))
    shape = (150_000, 200, 2) if chosen.small else (CANDIDATES, QUERIES, UNITS)
    size = 600 << 20 if chosen.small else CHECKPOINT
    try:
        made = folder / "made"
        if not made.exists():
            shutil.rmtree(folder, ignore_errors=True)
            write_checkpoint(folder / "checkpoint", size)
            fill(folder, examples(*shape))
            made.touch()
        if chosen.fill:
            return
        rows = [*pool_rows(folder, shape), *loading_rows(folder / "checkpoint")]
    finally:
        if chosen.folder is None:
            shutil.rmtree(folder, ignore_errors=True)
    for row in rows:
        print(show(row))
    if not chosen.small:
        how = "PYTHONPATH=. python benchmarks/bench_scale.py"
        packages = ("faiss-cpu", "numpy", "safetensors", "torch", "transformers")
        save("scale", "A million candidates, ten gibibytes of weights", how, rows, packages)


if __name__ == "__main__":
    main()
