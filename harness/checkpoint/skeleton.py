"""Models without storage: what a configuration describes, before a weight is read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from harness.checkpoint.coverage import check_unambiguous
from harness.checkpoint.vet import Vetted
from harness.errors import RefusedError

# Encoder-decoder models with an encoder class of their own: the decoder is never built.
ENCODERS: Mapping[str, str] = {
    "t5": "T5EncoderModel",
    "mt5": "MT5EncoderModel",
    "umt5": "UMT5EncoderModel",
}
# A checkpoint may hold more than the encoder (heads, a decoder); a configuration that describes
# many times more than the file holds is refused before memory is taken for it.
LARGEST_RATIO = 4
# Under what an encoder may lie besides its own name: readers' and wrappers' attributes.
ROOTS = ("transformer", "model", "encoder", "module", "_orig_mod")
SMALLEST_SUSPECT = 50_000_000  # parameters
MOST_PARTS = 200_000  # modules and parameters of a model: the largest have some tens of thousands


def encoder_class(config: Any) -> Any:
    """The class of transformers that holds an encoder of this configuration."""
    import transformers

    return getattr(transformers, ENCODERS.get(config.model_type, "AutoModel"))


def own_encoder(model: Any) -> Any:
    """The encoder of an encoder-decoder model; any other model is its own."""
    own = type(model).__name__ in ENCODERS.values() or not model.config.is_encoder_decoder
    return model if own else model.get_encoder()


def make_skeleton(auto: Any, config: Any, vetted: Vetted) -> Any:
    """The model without storage: its class, and whether the configuration fits the weights.

    Raises:
        RefusedError: it describes far more than the weights hold, or these are there twice.
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
    """Stop building a model of more parts than memory should be taken for, whatever key says so.

    Raises:
        RefusedError: there are more.
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
    """New names for tensors that lie under a prefix which transformers does not look under.

    A model with a head keeps its encoder under a name of its own (``transformer.`` in decoder-only
    readers), and wrappers put theirs in front. Where the word embeddings show exactly one such
    prefix it is taken off; whether all weights are then there is for the coverage check to say.
    Under any other name the weights are somebody else's, and nothing matches.
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
    """Whether an encoder is only a part of the model that transformers loads, as in mBART."""
    own = type(encoder).__name__ in ENCODERS.values()
    return bool(encoder.config.is_encoder_decoder) and not own


def stored_names(encoder: Any) -> tuple[str, dict[str, str]]:
    """The class of transformers that holds an encoder, and what its parameters are called there."""
    import torch

    with torch.device("meta"):
        whole = encoder_class(encoder.config).from_config(encoder.config)
    names: dict[int, str] = {}
    for name, parameter in whole.named_parameters():
        names.setdefault(id(parameter), name)
    own = own_encoder(whole).named_parameters(remove_duplicate=False)
    return type(whole).__name__, {name: names[id(parameter)] for name, parameter in own}
