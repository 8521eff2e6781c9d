"""Tries out an unusual checkpoint in a separate process with limits of time and memory.

``python -m harness.checkpoint.trial`` reads a checkpoint from stdin, builds its model without
weights, puts its adapter on, loads its tokenizer and gives it texts. It prints which limit was
exceeded, or an empty line. No such process is started for an ordinary checkpoint.
"""

from __future__ import annotations

import math
import os
import pickle
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from harness.checkpoint.claims import PROBE
from harness.checkpoint.files import ADAPTER_CONFIG, MAX_CONFIG
from harness.checkpoint.rules import USUAL_TOKENS, read_rules, unusual
from harness.checkpoint.vet import SIZES, adapter_patterns
from harness.checkpoint.weights import read_json
from harness.errors import HarnessError, RefusedError, is_out_of_memory, one_line

if TYPE_CHECKING:
    from harness.checkpoint.resolve import Checkpoint

SECONDS = 60  # of a processor, once the libraries are imported
WALL_SECONDS = 600  # more than SECONDS, because the machine may be busy
MEMORY = 4 << 30  # bytes beyond those of the libraries

USUAL_NUMBER = 1 << 17  # the largest usual number in a configuration
USUAL_MODULES = 4096  # layers times experts
USUAL_LIST = 4096
USUAL_TABLE = 16_384  # positions for which sines are computed one by one
ADDED = "added_tokens_decoder"
POSITIONS = ("max_position_embeddings", "n_positions")
# The numbers under keys with these parts are ids, frequencies or names, and no sizes.
NUMBERS = ("token_id", "theta", "rope", "vocab", "id2label", "label2id")
# Long runs of one kind, which make a regular expression slow, are tried beside the probe's texts.
RUNS = tuple(one * 400 for one in ("a", "A", "1", " ", "\n", ".", "ก", "国", "é", "a1", "a.", "a "))


def unbounded(checkpoint: Checkpoint) -> list[str]:
    """Return why a checkpoint must be tried out first; there is no reason for an ordinary one."""
    config = read_json(checkpoint.weights_folder / "config.json", limit=MAX_CONFIG)
    found = list(_unusual_sizes(config))
    folder = checkpoint.tokenizer_folder
    if (folder / "tokenizer.json").is_file():
        found += filter(None, [unusual(read_rules(folder / "tokenizer.json"))])
    else:
        for name, key in (("added_tokens.json", None), ("tokenizer_config.json", ADDED)):
            if (folder / name).is_file():
                said = read_json(folder / name)
                tokens = said if key is None else (said or {}).get(key)
                if isinstance(tokens, (dict, list)) and len(tokens) > USUAL_TOKENS:
                    found.append(f"{name} adds {len(tokens):,} tokens")
    if checkpoint.base is not None:
        options = read_json(checkpoint.own_folder / ADAPTER_CONFIG, limit=MAX_CONFIG)
        found += [f"its adapter chooses by {text[:60]!r}" for text in adapter_patterns(options)[:1]]
    return found


def _unusual_sizes(config: Mapping[str, Any]) -> Iterator[str]:
    numbers = dict(_numbers(config))
    for key, number in numbers.items():
        if abs(number) > USUAL_NUMBER:
            yield f"config.json says {key} = {number:,.0f}"
    layers = max((numbers.get(key, 1) for key, most in SIZES.items() if most == 1024), default=1)
    experts = max(numbers.get(key, 1) for key in ("num_experts", "num_local_experts"))
    if layers * experts > USUAL_MODULES:
        yield f"config.json describes {layers * experts:,.0f} modules"
    positions = max(numbers.get(key, 0) for key in POSITIONS)
    if config.get("sinusoidal_pos_embds") and positions > USUAL_TABLE:
        yield f"config.json says {positions:,.0f} positions of sines"


def _numbers(config: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """Yield the sizes in a configuration: each key with the largest number or length under it."""
    for key, value in config.items():
        if any(part in key for part in NUMBERS):
            continue
        if isinstance(value, dict):
            yield from _numbers(value)
        elif isinstance(value, list):
            inner = [item for item in value if isinstance(item, int)]
            yield key, max([*inner, len(value) * (USUAL_NUMBER // USUAL_LIST)])
            for item in value:
                if isinstance(item, dict):
                    yield from _numbers(item)
        elif isinstance(value, int | float) and math.isfinite(value):
            yield key, value


def try_out(checkpoint: Checkpoint, reasons: list[str]) -> None:
    """Rehearse loading and tokenizing in a process with limits.

    A refusal in that process is not reported, because the same refusal follows here.

    Raises:
        RefusedError: the process exceeded a limit, or died.
    """
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    environment |= {"OMP_NUM_THREADS": "1", "RAYON_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    environment |= {"TOKENIZERS_PARALLELISM": "false", "HF_HUB_OFFLINE": "1"}
    try:
        done = subprocess.run(
            [sys.executable, "-P", "-m", "harness.checkpoint.trial"],
            input=pickle.dumps((checkpoint, SECONDS, MEMORY)),
            env=environment,
            capture_output=True,
            timeout=WALL_SECONDS,
            check=False,
        )
        answer = done.stdout.decode(errors="replace").splitlines()
        why = answer[-1] if done.returncode == 0 and answer else ""
        if done.returncode != 0 or not answer:
            last = one_line(done.stderr[-300:].decode(errors="replace"), 120)
            how = f"signal {-done.returncode}" if done.returncode < 0 else last
            why = f"ended it ({how})"
    except subprocess.TimeoutExpired:
        why = f"was not done after {WALL_SECONDS} s"
    if why:
        raise RefusedError(
            f"{reasons[0]}; tried out in a process of {SECONDS} s and {MEMORY / 2**30:g} GiB, it "
            f"{why}: a checkpoint that needs more is not read"
        )


def main() -> None:
    """Rehearse the checkpoint on stdin under its limits."""
    checkpoint, seconds, memory = pickle.load(sys.stdin.buffer)
    import torch
    import transformers

    from harness.checkpoint.loading import rehearse
    from harness.io.limits import bound

    torch.set_num_threads(1)
    transformers.logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    bound(memory, int(time.process_time()) + seconds, 1 << 30)
    why = ""
    try:
        rehearse(checkpoint, (*PROBE, *RUNS))
    except HarnessError as error:
        if is_out_of_memory(error.__cause__ or error):
            why = "took more memory"
    print(why)


if __name__ == "__main__":
    main()
