"""How much memory loading a checkpoint takes: measured in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.checkpoints import build

MIB = 1 << 20
# What the libraries take is seen before, after a load of a tiny checkpoint in the same process.
MEASURED = """
import gc, json, sys
from pathlib import Path
from harness.checkpoint.resolve import resolve
from harness.checkpoint.loading import load_encoder

def status(field):
    fields = dict(line.split(":") for line in Path("/proc/self/status").read_text().splitlines())
    return int(fields[field].split()[0]) << 10

taken = {}
for dtype in ("bfloat16", "float32"):
    for folder in sys.argv[1:]:
        gc.collect()
        Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
        before = status("VmRSS")
        model, _ = load_encoder(resolve(folder), dtype=dtype, device="cpu")
        assert {str(p.dtype) for p in model.parameters()} == {f"torch.{dtype}"}
        taken[dtype] = status("VmHWM") - before
        del model
print(json.dumps(taken))
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_checkpoint_never_lies_in_memory_twice(tmp_path: Path) -> None:
    tiny = build("xlm-roberta", tmp_path / "tiny")
    large = build(
        "xlm-roberta",
        tmp_path / "large",
        layers=8,
        hidden_size=768,
        intermediate_size=3_072,
        num_attention_heads=12,
    )
    stored = (large / "model.safetensors").stat().st_size
    assert stored > 200 * MIB
    command = [sys.executable, "-c", MEASURED, str(tiny), str(large)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    taken = json.loads(done.stdout)
    few = 48 * MIB  # the tensors being converted, a few at a time
    assert stored * 0.9 < taken["float32"] < stored * 1.1 + few
    assert stored / 2 * 0.9 < taken["bfloat16"] < stored / 2 * 1.1 + few
