"""Lists which settings in sentence-transformers' files are followed, and which are harmless.

There is a table for each file. They were made by reading what the library does, at version 6.2,
with every key that it has written. A key is *followed* where it changes a vector here as it does
there. It is *harmless* for the values that are named if none of them changes a vector. Any other
key, and any other value of a harmless key, is a reason to refuse the native protocol, because what
is measured would not be what the checkpoint declares.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.checkpoint import weights
from harness.errors import RefusedError, one_line

ANY: tuple[Any, ...] = ()  # Every value of the key is harmless.


@dataclass(frozen=True)
class Table:
    """The settings of one file or entry. ``harmless``: key → the values that change no vector."""

    followed: frozenset[str]
    harmless: Mapping[str, tuple[Any, ...]]


MODULE = Table(
    frozenset({"path", "type"}),
    {"idx": ANY, "name": ANY, "kwargs": (None, [], {})},
)
GENERAL = Table(
    frozenset(
        {"model_type", "prompts", "default_prompt_name", "similarity_fn_name", "truncate_dim"}
        | {"requirements"}
    ),
    {"__version__": ANY},
)
# The entries that the library passes to transformers to load model, configuration and tokenizer.
LOADING = ("model_args", "model_kwargs", "config_args", "config_kwargs")
TOKENIZING = ("tokenizer_args", "processor_kwargs")
TRANSFORMER = Table(
    frozenset(
        {"max_seq_length", "do_lower_case", "query_length", "document_length"}
        | {"transformer_task", "modality_config", "module_output_name", "processing_kwargs"}
        | {*LOADING, *TOKENIZING}
    ),
    {
        "unpad_inputs": (None, True, False),  # how a batch is laid out in memory
        "query_expansion": (None,),
        "tokenizer_name_or_path": (None,),
        "cache_dir": (None,),
        "backend": (None, "torch"),
        "tokenizer_kwargs": (None, {}),
    },
)
# The library overwrites these with its own arguments, or ignores them.
_ROUTE: Mapping[str, tuple[Any, ...]] = {
    **dict.fromkeys(("token", "cache_dir", "revision", "local_files_only"), (None, False)),
    "subfolder": (None, ""),
    "trust_remote_code": ANY,
}
_ATTENTION = (None, "eager", "sdpa", "flash_attention_2")  # These three compute the same.
LOADED: Mapping[str, Table] = {
    "model_kwargs": Table(
        frozenset(),
        {
            **_ROUTE,
            "attn_implementation": _ATTENTION,
            # Precision is the run's (--dtype) and stands on its rows; these two are the default.
            **dict.fromkeys(("torch_dtype", "dtype"), (None, "auto", "float32", "torch.float32")),
            **dict.fromkeys(("low_cpu_mem_usage", "use_safetensors", "device_map"), ANY),
            **dict.fromkeys(("add_pooling_layer", "use_cache"), ANY),  # neither reaches the layers
        },
    ),
    "config_kwargs": Table(
        frozenset(),
        {
            **_ROUTE,
            "attn_implementation": _ATTENTION,
            **dict.fromkeys(("use_cache", "output_hidden_states", "output_attentions"), ANY),
        },
    ),
    "processor_kwargs": Table(
        frozenset({"model_max_length"}),
        {
            **_ROUTE,
            "use_fast": (None, True),
            "padding_side": ("right",),
            "clean_up_tokenization_spaces": ANY,  # decoding
        },
    ),
}
PROCESSING = Table(
    frozenset({"text", "common"}),
    dict.fromkeys(("audio", "image", "video", "chat_template"), ANY),  # texts alone are encoded
)
CALL = Table(
    frozenset({"max_length", "add_special_tokens"}),
    {
        "padding": (True, "longest"),
        "pad_to_multiple_of": ANY,
        "truncation": (True, "longest_first", "only_first"),
        "return_tensors": ("pt",),
        "return_attention_mask": (None, True),
        "return_token_type_ids": (None, True),
        "verbose": ANY,
    },
)
MODALITY = Table(frozenset({"method", "method_output_name"}), {"format": ANY})
POOLING = Table(
    frozenset(
        {"pooling_mode", "pooling_mode_mean_tokens", "pooling_mode_cls_token"}
        | {"pooling_mode_max_tokens", "pooling_mode_lasttoken", "pooling_mode_weightedmean_tokens"}
        | {"pooling_mode_mean_sqrt_len_tokens", "include_prompt"}
    ),
    dict.fromkeys(("word_embedding_dimension", "embedding_dimension"), ANY),
)
_PLACE = dict.fromkeys(("module_input_name", "module_output_name"), (None, "sentence_embedding"))
DENSE = Table(
    frozenset(
        {"in_features", "out_features", "bias", "activation_function"}
        | {"use_residual", "module_input_name", "module_output_name"}
    ),
    {},
)
NORMALIZE = Table(frozenset(), _PLACE)
DROPOUT = Table(frozenset(), {"dropout": ANY})  # it does nothing in evaluation


def unfollowed(where: str, values: Mapping[str, Any], table: Table) -> list[str]:
    """Return a reason for every key of ``values`` that is neither followed nor harmless."""
    return [
        f"{where} says {one_line(key, 80)} = {value!r:.60}, which is not followed here"
        for key, value in values.items()
        if key not in table.followed and not _harmless(value, table.harmless.get(key))
    ]


def unmet(requirements: Any) -> list[str]:
    """Return a reason for every requirement (package → specifier) that is not met.

    A requirement that cannot be read has a reason too. One on sentence-transformers has none,
    because the library is not used here.
    """
    from packaging.specifiers import InvalidSpecifier, SpecifierSet

    if not isinstance(requirements, dict):
        return [f"its requirements {requirements!r:.60} are not a mapping"]
    reasons = []
    for package, wanted in requirements.items():
        name = "torch" if package == "pytorch" else str(package)
        specifier = wanted.get("specifier", "") if isinstance(wanted, dict) else wanted
        if name.replace("_", "-") == "sentence-transformers":
            continue
        try:
            met = SpecifierSet(specifier, prereleases=True).contains(_version(name))
        except (InvalidSpecifier, ModuleNotFoundError, TypeError, AttributeError, ValueError):
            met = False
        if not met:
            reasons.append(f"its requirements ask for {name[:40]} {specifier!s:.40}")
    return reasons


def read_object(path: Path, reasons: list[str], limit: int = 1 << 20) -> dict[str, Any]:
    """Read a JSON object; it is empty where the file is absent, or broken, which adds a reason."""
    if not path.is_file():
        return {}
    try:
        return weights.read_object(path, limit=limit)
    except RefusedError as error:
        reasons.append(str(error))
        return {}


def positive(value: Any, name: str, reasons: list[str]) -> int | None:
    """Return a positive whole number, or None; any other value adds a reason."""
    if value is None or (type(value) is int and value > 0):
        return value
    reasons.append(f"its {name} {value!r:.40} is not a positive whole number")
    return None


def mapping_in(
    config: Mapping[str, Any], key: str, where: str, reasons: list[str]
) -> Mapping[str, Any]:
    """Return a mapping of a file, empty where it is absent; any other value adds a reason."""
    value = config.get(key) or {}
    if isinstance(value, dict):
        return value
    reasons.append(f"{where} says {key} = {value!r:.40}, not a mapping")
    return {}


def _harmless(value: Any, values: tuple[Any, ...] | None) -> bool:
    # 1 and True are equal in Python, but not in JSON.
    return values is not None and (
        values == ANY or any(value == one and type(value) is type(one) for one in values)
    )


def _version(package: str) -> str:
    import platform

    # The commands would take a tenth longer to import if this stood at the top.
    from importlib.metadata import version

    return platform.python_version() if package == "python" else version(package)
