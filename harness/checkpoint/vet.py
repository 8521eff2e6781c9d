"""Refuses configurations, tokenizers and adapters before a weight is read.

Only bounded JSON and file headers are read here. Nothing of a checkpoint runs, and neither torch
nor transformers is imported. A refusal is a ``RefusedError`` with the reason in one line.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.checkpoint.files import (
    ADAPTER_CONFIG,
    ADAPTER_WEIGHTS,
    MAX_CONFIG,
    TOKENIZER_FILES,
    TOKENIZERS,
    vet_sizes,
)
from harness.checkpoint.ported import is_ported
from harness.checkpoint.rules import read_rules, vet_rules
from harness.checkpoint.weights import FLOATS, Tensor, read_header, read_object, read_weights
from harness.errors import RefusedError

# Key → the largest value that makes sense; the smallest is 1.
SIZES: Mapping[str, int] = {
    **dict.fromkeys(
        ("num_hidden_layers", "num_layers", "n_layers", "n_layer", "encoder_layers"), 1024
    ),
    **dict.fromkeys(("num_decoder_layers", "decoder_layers", "num_hidden_groups"), 1024),
    **dict.fromkeys(("hidden_size", "d_model", "dim", "n_embd", "embedding_size"), 65_536),
    **dict.fromkeys(("d_kv", "head_dim"), 65_536),
    **dict.fromkeys(("intermediate_size", "d_ff", "hidden_dim", "n_inner"), 1 << 20),
    **dict.fromkeys(("encoder_ffn_dim", "decoder_ffn_dim"), 1 << 20),
    **dict.fromkeys(("num_attention_heads", "num_heads", "n_heads", "n_head"), 4096),
    **dict.fromkeys(("encoder_attention_heads", "decoder_attention_heads"), 4096),
    "num_key_value_heads": 4096,
    **dict.fromkeys(("num_experts", "num_local_experts"), 4096),
    "inner_group_num": 1024,
    "vocab_size": 5_000_000,
    **dict.fromkeys(("max_position_embeddings", "n_positions"), 1 << 24),
}
# These options of an adapter name modules, by a list or by a regular expression.
NAMING = ("target_modules", "exclude_modules", "modules_to_save", "layers_pattern")
PLAIN_NAME = re.compile(r"[\w.-]*")
MAX_NAMES, MAX_NAME = 10_000, 1000
# These options of peft's LoRA repeat layers, add other parameters, or compute something else than
# a product that is added to a weight. A merge cannot do what they do.
FOREIGN_OPTIONS = (
    "layer_replication",
    "alora_invocation_tokens",
    "arrow_config",
    "kasa_config",
    "loftq_config",
    "megatron_config",
    "monteclora_config",
    "use_bdlora",
    "use_qalora",
    "velora_config",
)
# Key → what it asks for: code, weights or arithmetic that the vetted files do not hold.
FOREIGN_KEYS: Mapping[str, str] = {
    "auto_map": "code of its own, which never runs here",
    "quantization_config": "quantized weights: use the unquantized checkpoint",
    "transformers_weights": "a weight file by name",
    "configuration_files": "another configuration file, which does not count",
    "backbone": "the weights of another model",
    "fusion_config": "patched layers",
}
# torch and transformers have these implementations of attention. transformers would download one
# of any other name from the Hub.
ATTENTION_KEYS = ("attn_implementation", "_attn_implementation", "_attn_implementation_internal")
ATTENTION = ("eager", "sdpa", "flash_attention_2", "flash_attention_3", "flex_attention")
MAX_LABELS = 100_000  # transformers makes a name for every label.


@dataclass(frozen=True)
class Vetted:
    """A folder that passed vetting: its configuration, its safetensors files and their tensors."""

    config: Mapping[str, Any]
    files: tuple[Path, ...]
    tensors: Mapping[str, Tensor]

    @property
    def parameters(self) -> int:
        """The number of floating-point values in the weights, from the headers alone."""
        return sum(
            math.prod(tensor.shape) for tensor in self.tensors.values() if tensor.dtype in FLOATS
        )


def read_config(path: Path) -> dict[str, Any]:
    """Read a ``config.json`` whose numbers make sense and which asks for no other files.

    Raises:
        RefusedError: it is malformed, has absurd sizes or no ``model_type``, or asks for code of
            its own or for quantized weights.
    """
    config = read_object(path, limit=MAX_CONFIG)
    # Where transformers has taken over the code of a repository, that is not run: see ``ported``.
    ported = is_ported(config)
    _vet_mapping({k: v for k, v in config.items() if not (ported and k == "auto_map")}, path.name)
    own_code = config.get("auto_map", {})
    if not isinstance(own_code, dict):  # transformers would fail over any other type.
        raise RefusedError(
            f"{path.name} says auto_map = {json.dumps(own_code)[:40]}, not an object of classes: "
            "take the key out"
        )
    model_type = config.get("model_type")
    if not isinstance(model_type, str) or not model_type:
        raise RefusedError(f"{path.name} names no model_type: the architecture is unknown")
    architectures = config.get("architectures")
    if architectures is not None and not (
        isinstance(architectures, list) and all(isinstance(name, str) for name in architectures)
    ):
        raise RefusedError(f"{path.name}: architectures is not a list of names")
    return config


def _vet_mapping(config: Mapping[str, Any], name: str) -> None:
    for key, value in config.items():
        if key in FOREIGN_KEYS and value:
            raise RefusedError(f"{name} asks for {FOREIGN_KEYS[key]} ({key})")
        most = SIZES.get(key)
        sane = most is None or value is None or (type(value) is int and 1 <= value <= most)
        if not sane:
            shown = repr(value)[:40]
            raise RefusedError(f"{name} says {key} = {shown}, not a whole number 1 to {most:,}")
        if key == "num_labels" and not (
            value is None or (type(value) is int and 0 <= value <= MAX_LABELS)
        ):
            raise RefusedError(
                f"{name} says {key} = {value!r:.40}, not a whole number 0 to {MAX_LABELS:,}"
            )
        if key in ATTENTION_KEYS and not (value is None or value in ATTENTION):
            raise RefusedError(
                f"{name} asks for attention from elsewhere ({key} = {value!r:.80}): remove the key"
            )
        if isinstance(value, dict):
            _vet_mapping(value, name)


def vet_tokenizer(folder: Path) -> None:
    """Refuse a folder from which no fast tokenizer can be made offline.

    Raises:
        RefusedError: there is no vocabulary, a file is too large, or the tokenizer needs code of
            its own because there is no tokenizer.json.
    """
    present = [folder / name for name in TOKENIZERS if (folder / name).is_file()]
    if not present:
        raise RefusedError(
            f"{folder.name} has no tokenizer: none of {', '.join(TOKENIZERS)}; save it beside "
            "the weights"
        )
    vet_sizes({path.name: path.stat().st_size for path in present})
    rules = folder / "tokenizer.json"
    if rules.is_file():
        vet_rules(read_rules(rules))
    if (folder / "tokenizer_config.json").is_file():
        config = read_object(folder / "tokenizer_config.json")
        if config.get("auto_map") and not rules.is_file():
            raise RefusedError(
                f"tokenizer_config.json asks for {FOREIGN_KEYS['auto_map']}: save a tokenizer.json "
                "beside it"
            )
        _vet_file_keys(folder, config)


def is_file_key(key: str) -> bool:
    """Return whether a key of ``tokenizer_config.json`` names a file of the tokenizer."""
    return key.endswith(("_file", "_files")) or key in ("sp_model", "source_spm", "target_spm")


def _vet_file_keys(folder: Path, config: Mapping[str, Any]) -> None:
    """Refuse a configuration that takes the tokenizer from files other than those that count.

    A path to a file that is not there is allowed: it is of the machine on which the checkpoint was
    saved, and is not followed here.
    """
    for key, value in config.items():
        if not is_file_key(key) or key.startswith("chat_template"):
            continue
        for name in _texts(value):
            plain = "/" not in name and "\\" not in name
            other = folder / name
            if name in TOKENIZER_FILES or (not plain and not other.is_file()):
                continue
            if other.name in TOKENIZER_FILES and other.parent.resolve() == folder.resolve():
                continue
            raise RefusedError(
                f"tokenizer_config.json takes its tokenizer from another file ({key}: "
                f"{name[:80]!r}): save it as tokenizer.json and remove the key"
            )


def _texts(value: Any) -> Iterable[str]:
    """Yield all texts in a JSON value."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, (list, dict)):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _texts(item)


def has_tokenizer(folder: Path) -> bool:
    """Return whether the folder has a tokenizer; an adapter may use that of its base instead."""
    return any((folder / name).is_file() for name in TOKENIZERS)


def vet(folder: Path) -> Vetted:
    """Vet a folder with the weights of a model, before they are read.

    Raises:
        RefusedError: the reason in one line.
    """
    return Vetted(read_config(folder / "config.json"), *read_weights(folder))


def vet_adapter(folder: Path) -> Vetted:
    """Vet a LoRA adapter: its ``adapter_config.json`` and its only safetensors file.

    Raises:
        RefusedError: it is another kind of adapter, has no safetensors, or would import a module
            or change the weights of the base first.
    """
    config = read_object(folder / ADAPTER_CONFIG, limit=MAX_CONFIG)
    kind = config.get("peft_type")
    if kind != "LORA":
        raise RefusedError(f"the adapter is {str(kind)[:40]!r}; only LoRA can be merged here")
    base = config.get("base_model_name_or_path")
    if not isinstance(base, str) or not base:
        raise RefusedError(f"{ADAPTER_CONFIG} names no base_model_name_or_path")
    rank = config.get("r")
    if type(rank) is not int or not 1 <= rank <= 4096:
        raise RefusedError(f"{ADAPTER_CONFIG} says r = {rank!r}, not a whole number 1 to 4,096")
    _vet_adapter_options(config)
    start = config.get("init_lora_weights", True)
    if not isinstance(start, bool) and start != "gaussian":
        raise RefusedError(
            f"the adapter starts from changed base weights (init_lora_weights={start!r}): convert "
            "it to plain LoRA first"
        )
    path = folder / ADAPTER_WEIGHTS
    return Vetted(config, (path,), read_header(path))


def _vet_adapter_options(config: Mapping[str, Any]) -> None:
    """Refuse options by which an adapter does more than add small products to named weights."""
    for key in FOREIGN_OPTIONS:
        if config.get(key):
            raise RefusedError(
                f"{ADAPTER_CONFIG} asks for more than LoRA ({key}): merge it into its base first"
            )
    for key in ("rank_pattern", "alpha_pattern"):
        values = config.get(key) or {}
        if not isinstance(values, dict) or len(values) > MAX_NAMES:
            raise RefusedError(f"{ADAPTER_CONFIG}: {key} is no mapping of at most {MAX_NAMES:,}")
    for rank in (config.get("rank_pattern") or {}).values():
        if type(rank) is not int or not 1 <= rank <= 4096:
            raise RefusedError(
                f"{ADAPTER_CONFIG} says rank {rank!r:.40}, not a whole number 1 to 4,096"
            )
    for key in NAMING:
        value = config.get(key)
        names = [value] if isinstance(value, str) else value or []
        if not isinstance(names, list) or len(names) > MAX_NAMES:
            raise RefusedError(f"{ADAPTER_CONFIG}: {key} is no list of at most {MAX_NAMES:,} names")
        if any(len(str(name)) > MAX_NAME for name in names):
            raise RefusedError(
                f"{ADAPTER_CONFIG}: {key} holds a name of more than {MAX_NAME} characters"
            )


def adapter_patterns(config: Mapping[str, Any]) -> list[str]:
    """Return the options of an adapter that peft reads as expressions, except plain names."""
    texts = [value for key in NAMING if isinstance(value := config.get(key), str)]
    layers = config.get("layers_pattern")
    texts += [text for text in layers or () if isinstance(text, str)]
    for key in ("rank_pattern", "alpha_pattern"):
        texts += [str(name) for name in config.get(key) or ()]
    return [text for text in texts if not PLAIN_NAME.fullmatch(text)]
