"""Knows the architectures that transformers took over from repositories with their own code.

Such a repository still names its code (``auto_map``), which never runs here. The class of
transformers takes its place where that class is a port of exactly this code, reads every key of the
configuration, and takes every weight of the encoder. A ``model_type`` that transformers knows is
not enough for that: gte-Qwen2 is ``qwen2`` with an attention of its own.

Neither torch nor transformers is imported here.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from harness.checkpoint.heads import LINEAR
from harness.errors import RefusedError

# These keys are tokens as text, which only a tokenizer reads.
TOKEN_NAMES = frozenset({"bos_token", "eos_token", "mask_token", "pad_token", "unk_token"})
# Model type → keys that its repositories write but the port does not read. They change nothing in
# an encoder: dropout is off in evaluation, and a head is not part of an encoder.
PORTED: Mapping[str, frozenset[str]] = {
    "eurobert": TOKEN_NAMES | {"hidden_dropout"},
    "gte": TOKEN_NAMES,
    "jina_embeddings_v3": TOKEN_NAMES,
    "nomic_bert": TOKEN_NAMES,
}
# Model type → a key that its repositories write → the port's name for it, and the values of it that
# the port knows.
RENAMED: Mapping[str, Mapping[str, tuple[str, tuple[str, ...]]]] = {
    "eurobert": {"clf_pooling": ("classifier_pooling", ("bos", "late", "mean"))},
}
# Every configuration of transformers 4 could have these keys; version 5 does not have all of them.
COMMON_KEYS = (
    "_attn_implementation _attn_implementation_autoset _commit_hash _name_or_path "
    "add_cross_attention architectures attn_implementation auto_map bos_token_id "
    "chunk_size_feed_forward cross_attention_hidden_size decoder_start_token_id dtype eos_token_id "
    "finetuning_task gradient_checkpointing id2label is_decoder is_encoder_decoder label2id "
    "model_type name_or_path num_labels output_attentions output_hidden_states output_past "
    "pad_token_id prefix problem_type pruned_heads return_dict sep_token_id task_specific_params "
    "tf_legacy_loss tie_encoder_decoder tie_word_embeddings tokenizer_class torch_dtype "
    "torchscript transformers_version use_bfloat16 use_cache use_return_dict"
)
COMMON = frozenset(COMMON_KEYS.split()) | {LINEAR}
# transformers moves these into rope_parameters.
ROPE = frozenset({"rope_theta", "rope_scaling"})
# Common key that can change what is computed → the values by which it does not.
NEUTRAL: Mapping[str, tuple[Any, ...]] = {
    "is_decoder": (None, False),
    "add_cross_attention": (None, False),
    "is_encoder_decoder": (None, False),
    "pruned_heads": (None, {}),
}
# Names of modules of a checkpoint that are not parts of the encoder.
HEADS = frozenset(
    {"classifier", "cls", "decoder", "dense", "head", "lm_head", "mlm_head", "out_proj"}
    | {"pooler", "predictions", "pre_classifier", "qa_outputs", "score", LINEAR}
)


def renamed(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the port's name for keys that have another one there → the value, if it is known."""
    names = RENAMED.get(str(config.get("model_type")), {})
    return {own: config[name] for name, (own, values) in names.items()
            if config.get(name) in values}  # fmt: skip


def check_head(config: Mapping[str, Any]) -> None:
    """Refuse a value for a head that the port does not know: an encoder does not read it.

    Raises:
        RefusedError: the message names it.
    """
    for name, (_, values) in RENAMED.get(str(config.get("model_type")), {}).items():
        if name in config and config[name] not in values:
            raise RefusedError(
                f"config.json has {name} = {str(config[name])[:40]!r}: it can be "
                f"{', '.join(values)}"
            )


def is_ported(config: Mapping[str, Any]) -> bool:
    """Return whether transformers has taken over the code of repositories of this type."""
    return config.get("model_type") in PORTED


def own_code_note(config: Mapping[str, Any]) -> str:
    """Return the note on a configuration that names its own code, or nothing."""
    if not config.get("auto_map"):
        return ""
    return (
        "the repository's own code (auto_map) was not run: transformers' "
        f"{config['model_type']} takes its place"
    )


def check_keys(config: Mapping[str, Any], known: Collection[str]) -> None:
    """Refuse a configuration of a ported type with a key that the class of transformers ignores.

    ``known``: the keys that this class reads.

    Raises:
        RefusedError: the message names the key.
    """
    harmless = PORTED[config["model_type"]] | RENAMED.get(config["model_type"], {}).keys()
    for key, value in config.items():
        if key in NEUTRAL and value not in NEUTRAL[key]:
            raise RefusedError(
                f"config.json says {key} = {str(value)[:40]}, which transformers' "
                f"{config['model_type']} does not follow"
            )
        if key not in known and key not in COMMON | ROPE | harmless:
            raise RefusedError(
                f"config.json has the key {key[:60]!r}, which transformers' "
                f"{config['model_type']} does not read: the repository's own code may compute "
                "something else, and it never runs here"
            )


def check_unused(unexpected: Iterable[str]) -> None:
    """Refuse weights of a ported type that no module of the encoder took, except those of heads.

    Raises:
        RefusedError: the message names the first of them.
    """
    unused = sorted(
        name
        for name in unexpected
        if not name.endswith("inv_freq") and not HEADS.intersection(_before_layers(name))
    )
    if unused:
        raise RefusedError(
            f"{len(unused)} weights have no place in transformers' class, first: {unused[0]}"
        )


def _before_layers(name: str) -> list[str]:
    """Return the parts of a name before the number of a layer; heads have no such number."""
    parts = name.split(".")
    return parts[: next((i for i, part in enumerate(parts) if part.isdigit()), len(parts))]
