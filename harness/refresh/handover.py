"""Hands checkpoints that do not fit this machine to Hugging Face Jobs.

A job has no token: it reads public checkpoints and data and writes its outcomes into a bucket of
ours that is mounted into it. `hf buckets sync hf://buckets/NAME leaderboard/results` downloads
them, and the next refresh finds them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from harness.errors import UsageError
from harness.io.hub import hub_errors
from harness.refresh.fitting import memory_needed
from harness.submissions.attempts import Attempt
from harness.version import __version__

BUCKET = "xharness-results"
IMAGE = "python:3.12"
HOURS = 12  # the longest that a job may take
# Machine of the Hub → the bytes of its GPU's memory (https://huggingface.co/docs/hub/spaces-gpus).
# The cheapest machine that holds the checkpoint is taken.
FLAVORS: Mapping[str, int] = {
    "t4-small": 16 << 30,
    "l4x1": 24 << 30,
    "l40sx1": 48 << 30,
    "a100-large": 80 << 30,
    "h200": 141 << 30,
}
# Arguments follow the script and are never put into it, because others choose a model's name.
SCRIPT = 'pip install --quiet "xharness==$0" && exec xharness eval "$@"'


def request(
    slug: str,
    attempt: Attempt,
    *,
    suite: str,
    protocol: str,
    tasks: Sequence[str],
    namespace: str,
) -> dict[str, Any]:
    """Return the arguments of ``huggingface_hub.run_job`` as plain data.

    Raises:
        UsageError: no machine is large enough.
    """
    arguments = [f"{attempt.model}@{attempt.revision}", "--suite", suite, "--protocol", protocol]
    arguments += [word for task in tasks for word in ("--task", task)]
    arguments += ["--device", "cuda", "--out", "/results"]
    return {
        "image": IMAGE,
        "command": ["bash", "-c", SCRIPT, __version__, *arguments],
        "env": {"HF_HUB_DISABLE_TELEMETRY": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1"},
        "flavor": _flavor(attempt.parameters, attempt.model),
        "timeout": f"{HOURS}h",
        "name": f"xharness-{slug}"[:60],
        "volumes": [{"type": "bucket", "source": f"{namespace}/{BUCKET}", "mountPath": "/results"}],
        "namespace": namespace,
    }


def hand_over(wanted: Mapping[str, Any]) -> str:
    """Make the bucket where there is none, start the job, and return its address.

    Raises:
        NotFoundError: nobody is logged in, or the Hub refuses the job or cannot be reached.
    """
    from huggingface_hub import HfApi, Volume

    volumes = [Volume(**volume) for volume in wanted["volumes"]]
    with hub_errors("the job"):
        for volume in volumes:
            HfApi().create_bucket(volume.source, exist_ok=True)
        job = HfApi().run_job(**{**wanted, "volumes": volumes})
    return job.url


def _flavor(parameters: int | None, model: str) -> str:
    needed = memory_needed(parameters or 0)
    for flavor, size in FLAVORS.items():
        if needed <= size:
            return flavor
    raise UsageError(f"{model} needs {needed / 1e9:.0f} GB: no single GPU of the Hub's Jobs has it")
