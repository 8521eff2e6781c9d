"""Doctor: is this machine ready, what data is there, and can this checkpoint be evaluated?"""

from __future__ import annotations

import os
import platform
import shutil
from pathlib import Path
from typing import Any

from harness.cards.catalogue import read_card, read_cards
from harness.data.folders import cache_folder, data_folder
from harness.errors import HarnessError
from harness.evaluation.models import find_checkpoint
from harness.io.environment import libraries
from harness.terminal.console import counted
from harness.version import __version__

Facts = dict[str, Any]


def examine(
    model: str | None = None,
    *,
    data: Path | None = None,
    cache_dir: Path | None = None,
    offline: bool = False,
) -> dict[str, Facts]:
    """Topic → facts. With a model, whether it is accepted and what applies to it.

    The model is loaded and tried on a few short texts, unless it was tried before.

    Raises:
        HarnessError: the model cannot be had or is refused, as ``xharness eval`` would say.
    """
    cache = cache_folder(cache_dir)
    findings: dict[str, Facts] = {"xharness": {"version": __version__, **libraries()}}
    findings["machine"] = _machine()
    findings["cache"] = _cache(cache)
    findings["data"] = _data(data_folder(data), cache)
    if model is not None:
        findings[model] = _checkpoint(model, cache, offline)
    return findings


def _machine() -> Facts:
    import torch

    facts: Facts = {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "processors": os.cpu_count() or 1,
        "torch threads": torch.get_num_threads(),
        "bfloat16": _bfloat16(),
        "cuda": torch.cuda.get_device_name(0) if torch.cuda.is_available() else "no",
    }
    return facts


def _bfloat16() -> str:
    """Whether the CPU multiplies bfloat16 natively, so that --dtype bfloat16 pays."""
    import torch

    if getattr(torch.cpu, "_is_amx_tile_supported", lambda: False)():
        return "native (AMX)"
    if getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)():
        return "native (AVX-512)"
    return "emulated: slower than float32"


def _cache(cache: Path) -> Facts:
    existing = next(path for path in (cache, *cache.absolute().parents) if path.exists())
    usage = shutil.disk_usage(existing)
    usable = existing.is_dir() and os.access(existing, os.W_OK)
    return {
        "folder": str(cache),
        "writable": "yes" if usable else "no: name another with --cache-dir",
        "free": f"{usage.free / 1e9:,.1f} GB",
    }


def _data(folder: Path | None, cache: Path) -> Facts:
    """Task → what of it is on disk; nothing is downloaded."""
    from harness.data.load import DataLocation, fetch

    facts: Facts = {"folder": str(folder) if folder else "none (--data or XHARNESS_DATA)"}
    location = DataLocation(data=folder, cache=cache, offline=True)
    for name, card in read_cards().items():
        try:
            fetched = fetch(card, None, card.languages, location)
        except HarnessError as error:
            facts[name] = f"broken: {error}"
            continue
        broken, missing = list(fetched.broken.values()), len(fetched.failures)
        more = f" (and {len(broken) - 1} more)" if len(broken) > 1 else ""
        found = [f"broken: {broken[0]}{more}"] if broken else []
        facts[name] = "; ".join([*found, *([missing_words(missing)] if missing else [])]) or "there"
    return facts


def missing_words(files: int) -> str:
    """Such as ``1 file is not there``."""
    return f"{counted(files, 'file')} {'is' if files == 1 else 'are'} not there"


def _checkpoint(model: str, cache: Path, offline: bool) -> Facts:
    from harness.checkpoint.files import counted
    from harness.checkpoint.loading import describe
    from harness.checkpoint.resolve import file_names
    from harness.checkpoint.tokenizer import load_tokenizer
    from harness.inference.protocol import standard_layer

    checkpoint = find_checkpoint(model, cache, offline=offline)
    depth, positions = describe(checkpoint)
    native = checkpoint.native
    declared = "no modules.json" if native is None else native.refusal or "declared"
    return {
        "revision": checkpoint.revision,
        "files that count": ", ".join(counted(file_names(checkpoint.folder))),
        "architecture": f"{checkpoint.model_type} ({checkpoint.architecture or 'no class named'})",
        "parameters": f"{checkpoint.parameters:,}",
        "layers": f"{depth}; the standard protocol pools layer {standard_layer(depth)}",
        "tokens": positions or "no bound",
        "tokenizer": "; ".join(load_tokenizer(checkpoint).notes) or "its files agree",
        "native protocol": declared,
        "QA head": "yes" if checkpoint.has_qa_head else checkpoint.head_note,
        "base": f"{checkpoint.base.id}@{checkpoint.base.revision}" if checkpoint.base else "none",
        "padding": _padding(model, cache, offline),
        **({"notes": "; ".join(checkpoint.remarks)} if checkpoint.remarks else {}),
        "retrieval tasks": "apply",
        "QA tasks": "apply"
        if checkpoint.has_qa_head
        else f"no QA head: {read_card('xquad').title} needs one",
    }


def _padding(model: str, cache: Path, offline: bool) -> str:
    """Whether the model reads padding, as the first run of a retrieval task would find."""
    from harness.evaluation.models import plan_model
    from harness.evaluation.options import Options, make_request
    from harness.evaluation.run import TaskContext, make_backbone, make_encoder
    from harness.inference.probe import ONE_LENGTH

    options = Options(tasks="demo_bitext", cache_dir=cache, offline=offline, fresh=True)
    plan = plan_model(model, make_request(options))
    (context,) = (TaskContext(plan.request, task, plan.checkpoint) for task in plan.tasks)
    encoder = make_encoder(context, make_backbone([context]), lambda texts, characters: None)
    return ONE_LENGTH if encoder.one_length else "a vector depends on its text alone"
