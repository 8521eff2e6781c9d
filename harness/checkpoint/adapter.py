"""Merges a LoRA adapter into the model that it was trained on, from its safetensors alone."""

from __future__ import annotations

import inspect
import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.checkpoint.files import ADAPTER_WEIGHTS
from harness.checkpoint.vet import vet_adapter
from harness.errors import IncompleteError, RefusedError

if TYPE_CHECKING:
    import torch

ROOT = "base_model.model."  # the prefix that peft puts before the names of the model
PATTERNS = ("rank_pattern", "alpha_pattern")  # of modules: their own ranks and scales


def merged(model: Any, folder: Path) -> Any:
    """Add the LoRA adapter in ``folder`` to the weights of ``model``, and return the model.

    Raises:
        RefusedError: weights that the adapter's configuration names are missing.
        IncompleteError: peft is not installed.
    """
    adapted = wrapped(model, folder)
    from peft.utils import get_peft_model_state_dict, set_peft_model_state_dict

    # Without this option peft would ask the Hub whether the vocabulary of the base was changed.
    described = get_peft_model_state_dict(adapted, save_embedding_layers=False)
    expected = {name: tuple(tensor.shape) for name, tensor in described.items()}
    modules = {name for name, _ in model.named_modules()}
    tensors = _tensors(folder / ADAPTER_WEIGHTS, model.base_model_prefix, expected, modules)
    missing = sorted(expected.keys() - tensors.keys())
    if missing or not expected:
        raise RefusedError(
            f"{len(missing)} of {len(expected)} adapter weights are not in {ADAPTER_WEIGHTS}, "
            f"first: {', '.join(missing[:3]) or 'none applies to this model'}"
        )
    wrong = [name for name, tensor in tensors.items() if tuple(tensor.shape) != expected[name]]
    if wrong:
        raise RefusedError(f"the adapter's {wrong[0]} has another shape than the model's")
    tensors = {name: tensor.to(described[name].dtype) for name, tensor in tensors.items()}
    set_peft_model_state_dict(adapted, tensors, low_cpu_mem_usage=True)
    return adapted.merge_and_unload()


def wrapped(model: Any, folder: Path) -> Any:
    """Return ``model`` with places for the adapter's weights, which take no memory yet.

    So an adapter takes no more memory than its file has, whatever rank its configuration says.

    Raises:
        RefusedError: the adapter is not a plain LoRA.
        IncompleteError: peft is not installed.
    """
    try:
        from peft import LoraConfig, get_peft_model
    except ImportError as error:
        raise IncompleteError(
            "it is a PEFT adapter and peft is not installed: pip install 'xharness[peft]'"
        ) from error
    adapter = vet_adapter(folder)
    options = _options(adapter.config, set(inspect.signature(LoraConfig).parameters), model)
    for key in PATTERNS:
        options[key] = _by_module(adapter.config.get(key) or {}, adapter.tensors, model)
    return get_peft_model(model, LoraConfig(**options), low_cpu_mem_usage=True)


def has_patterns(folder: Path) -> bool:
    """Return whether the adapter in ``folder`` gives single modules another rank or scale."""
    config = vet_adapter(folder).config
    return any(config.get(key) for key in PATTERNS)


def _options(config: Mapping[str, Any], known: set[str], model: Any) -> dict[str, Any]:
    """Return the options that shape the adapter, without those of a task, module or download."""
    unused = {
        "auto_mapping",
        "base_model_name_or_path",
        "init_lora_weights",
        "inference_mode",
        "peft_type",
        "revision",
        "task_type",
    }
    options = {name: value for name, value in config.items() if name in known - unused}
    present = {name.rpartition(".")[2] for name, _ in model.named_modules()}
    saved: Collection[str] = config.get("modules_to_save") or ()
    # The head of the training task is not a part of the encoder.
    options["modules_to_save"] = [name for name in saved if name in present] or None
    return {**options, "inference_mode": True, "lora_dropout": 0.0}


def _by_module(patterns: Mapping[str, Any], tensors: Collection[str], model: Any) -> dict[str, Any]:
    """Return the values of patterns by the name that each adapted module has in this model.

    A pattern is for the names of the training, which the adapter's tensors have. Of the encoder
    alone they are shorter, and a pattern that then matches nothing would pass without an error:
    the module would be scaled as one that no pattern names.
    """
    from peft.utils.other import get_pattern_key

    found = {}
    for name in tensors:
        module = name.partition(".lora_")[0]
        key = get_pattern_key(list(patterns), module.removeprefix(ROOT))
        if key in patterns:
            for own in (module, _bare(module, model.base_model_prefix)):
                found[f"^{re.escape(own.removeprefix(ROOT))}"] = patterns[key]
    return found


def _bare(name: str, model_prefix: str) -> str:
    """Return a name of the training as the encoder alone has it."""
    return name.replace(f"{ROOT}{model_prefix}.", ROOT, 1)


def _tensors(
    path: Path, model_prefix: str, expected: Collection[str], modules: Collection[str]
) -> dict[str, torch.Tensor]:
    """Return the adapter's tensors that belong to this model, by the model's names.

    An adapter that was trained on a model with a head has the name of the encoder in its names
    (``base_model.model.roberta.encoder…``), which are shorter for the encoder alone. Tensors of
    modules that this model does not have, such as a head or a decoder, are left out.

    Raises:
        RefusedError: a tensor is for a module that the adapter's configuration does not name.
    """
    from safetensors.torch import load_file

    tensors = {}
    for name, tensor in load_file(path).items():
        bare = _bare(name, model_prefix)
        known = next((candidate for candidate in (name, bare) if candidate in expected), None)
        if known is not None:
            tensors[known] = tensor
            continue
        target = bare.removeprefix(ROOT).partition(".lora_")[0].removesuffix(".weight")
        if target in modules:
            raise RefusedError(
                f"the adapter changes {target} in a way its configuration does not name: merge it "
                "into its base first"
            )
    return tensors
