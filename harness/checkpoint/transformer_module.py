"""Reads how the transformer module cuts, tokenizes and runs, from ``sentence_*_config.json``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness.checkpoint import settings
from harness.checkpoint.files import SENTENCE_CONFIGS
from harness.checkpoint.settings import mapping_in, positive, read_object, unfollowed
from harness.checkpoint.weights import MAX_JSON

UNBOUNDED = 1 << 31  # tokens; tokenizers without a bound write 10 ** 30
ROLES = ("query", "document")
# Of these encoder-decoder models the library runs the encoder alone; of others, such as BART, it
# pools what the decoder makes of the text.
ENCODER_ALONE = frozenset(
    {"t5", "mt5", "umt5", "longt5", "switch_transformers", "t5gemma", "t5gemma2", "prophetnet"}
    | {"m2m_100", "marian", "pegasus", "pegasus_x", "blenderbot", "blenderbot-small"}
)


def read_transformer(folder: Path, reasons: list[str]) -> dict[str, Any]:
    """Return how the transformer module cuts, tokenizes and runs, as fields of ``Native``."""
    # The library reads the next file where one is empty.
    name, config = next(
        (
            (name, found)
            for name in SENTENCE_CONFIGS
            if (folder / name).is_file() and (found := read_object(folder / name, reasons))
        ),
        (SENTENCE_CONFIGS[0], {}),
    )
    reasons += unfollowed(name, config, settings.TRANSFORMER)
    model = read_object(folder / "config.json", [])  # a broken one is refused where it is vetted
    if model.get("is_encoder_decoder") is True and model.get("model_type") not in ENCODER_ALONE:
        reasons.append(
            f"its vectors are pooled from the decoder of {model.get('model_type')!r:.40}, and only "
            "encoders are run here"
        )
    lower_case = config.get("do_lower_case")
    if lower_case not in (None, True, False):
        reasons.append(f"its do_lower_case {lower_case!r:.40} is neither true nor false")
    # Several lengths may be given. That of every call comes first, then that of a role, then that
    # with which the tokenizer is loaded, then max_seq_length, and then the tokenizer's own.
    loading = _loading(name, config, reasons)
    lengths = (
        ("model_max_length", loading.get("model_max_length")),
        ("max_seq_length", config.get("max_seq_length")),
    )
    given = [positive(value, key, reasons) for key, value in lengths]
    whole = next((length for length in given if length is not None), None)
    whole = whole if whole is not None else _own_length(folder)
    roles = {role: config.get(f"{role}_length") for role in ROLES}
    roles = {
        role: positive(length, f"{role}_length", reasons) or whole for role, length in roles.items()
    }
    call = _call(name, config, reasons)
    if "max_length" in call:
        cut = positive(call["max_length"], "max_length", reasons)
        roles = dict.fromkeys(ROLES, whole if cut is None else cut)
    special = call.get("add_special_tokens", True)
    if not isinstance(special, bool):
        reasons.append(f"its add_special_tokens {special!r:.40} is neither true nor false")
    return {
        "max_length": whole,
        "role_lengths": {
            role: length for role, length in roles.items() if length is not None and length != whole
        },
        "lower_case": lower_case is True,
        "special_tokens": special is not False,
        "layer": _layer(name, config, reasons),
    }


def _loading(name: str, config: Mapping[str, Any], reasons: list[str]) -> dict[str, Any]:
    """Return the options with which the tokenizer is loaded; others may add reasons."""
    tokenizing: dict[str, Any] = {}
    for keys, table in (
        (("model_args", "model_kwargs"), settings.LOADED["model_kwargs"]),
        (("config_args", "config_kwargs"), settings.LOADED["config_kwargs"]),
        (settings.TOKENIZING, settings.LOADED["processor_kwargs"]),
    ):
        for key in keys:
            values = mapping_in(config, key, name, reasons)
            reasons += unfollowed(f"{name}: {key}", values, table)
            if key in settings.TOKENIZING:
                tokenizing |= values
    if all(config.get(key) for key in settings.TOKENIZING):
        reasons.append(f"{name} says both {' and '.join(settings.TOKENIZING)}")
    return tokenizing


def _call(name: str, config: Mapping[str, Any], reasons: list[str]) -> dict[str, Any]:
    """Return the options with which the tokenizer is called, as far as they are followed."""
    processing = mapping_in(config, "processing_kwargs", name, reasons)
    reasons += unfollowed(f"{name}: processing_kwargs", processing, settings.PROCESSING)
    called: dict[str, Any] = {}
    for key in ("text", "common"):  # The library applies the common options last.
        where = f"{name}: processing_kwargs.{key}"
        values = mapping_in(processing, key, f"{name}: processing_kwargs", reasons)
        reasons += unfollowed(where, values, settings.CALL)
        called |= values
    return {key: value for key, value in called.items() if key in settings.CALL.followed}


def _layer(name: str, config: Mapping[str, Any], reasons: list[str]) -> int | None:
    """Return the index into ``hidden_states`` of the output; None for the last hidden state."""
    expected = {"transformer_task": "feature-extraction", "module_output_name": "token_embeddings"}
    for key, only in expected.items():
        if config.get(key, only) != only:
            reasons.append(f"its transformer module has {key} {config[key]!r:.40} ({name})")
    modalities = mapping_in(config, "modality_config", name, reasons)
    for modality in modalities:
        if modality != "text":
            # A module that takes messages puts a text into a chat template first.
            reasons.append(f"its transformer module takes {modality!r:.40} (modality_config)")
    if not modalities:
        return None
    text = mapping_in(modalities, "text", f"{name}: modality_config", reasons)
    reasons += unfollowed(f"{name}: modality_config.text", text, settings.MODALITY)
    method, output = text.get("method"), text.get("method_output_name", "last_hidden_state")
    if method != "forward":
        reasons.append(f"its transformer module runs the method {method!r:.40} (modality_config)")
    path = [output] if isinstance(output, str) else output
    if path == ["last_hidden_state"]:
        return None
    if isinstance(path, list) and path[:1] == ["hidden_states"] and len(path) == 2:
        layer = path[1]
        if type(layer) is int:
            return layer
    reasons.append(f"its transformer module gives method_output_name {output!r:.60}")
    return None


def _own_length(folder: Path) -> int | None:
    """Return the tokenizer's own length; a huge number means that it has none.

    A file that cannot be read is refused where the tokenizer is vetted.
    """
    config = read_object(folder / "tokenizer_config.json", [], limit=MAX_JSON)
    length = config.get("model_max_length", config.get("max_len"))
    if not isinstance(length, int | float) or isinstance(length, bool):
        return None
    return int(length) if 1 <= length < UNBOUNDED else None
