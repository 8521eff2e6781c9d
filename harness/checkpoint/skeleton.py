"""Builds models without storage from their configurations, before a weight is read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from harness.checkpoint.coverage import check_unambiguous
from harness.checkpoint.vet import Vetted
from harness.errors import RefusedError

# Type of an encoder-decoder model → transformers' class of its encoder; no decoder is built.
ENCODERS: Mapping[str, str] = {
    "t5": "T5EncoderModel",
    "mt5": "MT5EncoderModel",
    "umt5": "UMT5EncoderModel",
}
# A configuration may describe this many times the parameters that the files hold. One that
# describes more is refused before memory is taken for it, unless the model is small.
LARGEST_RATIO = 4
SMALLEST_SUSPECT = 50_000_000  # parameters
# Readers and wrappers put an encoder under one of these names.
ROOTS = ("transformer", "model", "encoder", "module", "_orig_mod")
MOST_PARTS = 200_000  # modules and parameters; the largest models have some tens of thousands


def encoder_class(config: Any) -> Any:
    """Return the class of transformers for an encoder of this configuration."""
    import transformers

    return getattr(transformers, ENCODERS.get(config.model_type, "AutoModel"))


def own_encoder(model: Any) -> Any:
    """Return the encoder of an encoder-decoder model; any other model is an encoder itself."""
    own = type(model).__name__ in ENCODERS.values() or not model.config.is_encoder_decoder
    return model if own else model.get_encoder()


def make_skeleton(auto: Any, config: Any, vetted: Vetted) -> Any:
    """Build the model without storage, and check that the weights fit its configuration.

    Raises:
        RefusedError: the configuration describes far more than the weights hold, or a weight is
            there twice.
    """
    import torch

    with torch.device("meta"), _bounded():
        build = getattr(auto, "from_config", None) or auto._from_config
        model = build(config, attn_implementation="eager")
    described = sum(parameter.numel() for parameter in model.parameters())
    if described > max(LARGEST_RATIO * vetted.parameters, SMALLEST_SUSPECT):
        raise RefusedError(
            f"config.json describes {described:,} parameters, the weights hold "
            f"{vetted.parameters:,}"
        )
    own = f"{model.base_model_prefix}."
    names = {name.removeprefix(own) for name, _ in model.named_parameters()}
    roots = tuple(f"{root}." for root in ROOTS)
    prefixes = ("", own, *roots, *(f"{root}{own}" for root in roots))
    check_unambiguous(vetted.tensors, names, tuple(dict.fromkeys(prefixes)))
    return model


@contextmanager
def _bounded() -> Iterator[None]:
    """Stop the building of a model that has more than MOST_PARTS parts.

    Raises:
        RefusedError: it has more.
    """
    from torch.nn.modules import module

    left = MOST_PARTS

    def count(*_: Any) -> None:
        nonlocal left
        left -= 1
        if left < 0:
            raise RefusedError(f"config.json describes a model of more than {MOST_PARTS:,} parts")

    hooks = (
        module.register_module_module_registration_hook(count),
        module.register_module_parameter_registration_hook(count),
    )
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def rerooted(skeleton: Any, vetted: Vetted) -> dict[str, str]:
    """Return new names for tensors under a prefix that transformers does not know.

    A model with a head has its encoder under a name of its own (``transformer.`` in decoder-only
    readers), and wrappers put a name before that. Where the word embeddings show exactly one such
    prefix, it is removed; the coverage check finds out whether all weights are then there. Under
    any other prefix nothing is renamed, because the weights are of another model.
    """
    embeddings = skeleton.get_input_embeddings()
    anchor = next(name for name, module in skeleton.named_modules() if module is embeddings)
    anchor = f"{anchor}.weight"
    if {anchor, f"{skeleton.base_model_prefix}.{anchor}"} & vetted.tensors.keys():
        return {}
    ends = [name for name in vetted.tensors if name.endswith(f".{anchor}")]
    if len(ends) != 1:
        return {}
    prefix = ends[0].removesuffix(anchor)
    if not set(prefix.strip(".").split(".")) <= {*ROOTS, skeleton.base_model_prefix}:
        return {}
    return {name: name.removeprefix(prefix) for name in vetted.tensors if name.startswith(prefix)}


def is_part(encoder: Any) -> bool:
    """Return whether transformers loads an encoder only as a part of a model, as for mBART."""
    own = type(encoder).__name__ in ENCODERS.values()
    return bool(encoder.config.is_encoder_decoder) and not own


def stored_names(encoder: Any) -> tuple[str, dict[str, str]]:
    """Return transformers' class that contains an encoder, and its names of the weights."""
    import torch

    with torch.device("meta"):
        whole = encoder_class(encoder.config).from_config(encoder.config)
    names: dict[int, str] = {}
    for name, parameter in whole.named_parameters():
        names.setdefault(id(parameter), name)
    own = own_encoder(whole).named_parameters(remove_duplicate=False)
    return type(whole).__name__, {name: names[id(parameter)] for name, parameter in own}
