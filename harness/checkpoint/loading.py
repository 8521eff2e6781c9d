"""Weights → torch modules: nothing missing, nothing random, nothing but the vetted files.

Tensors are read with safetensors from the files that were vetted and handed to transformers as a
state dict, so that no file is looked up, converted or downloaded by name on the way. They are read
when they are taken: a checkpoint never lies in memory twice.
"""

from __future__ import annotations

import inspect
import math
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from harness.checkpoint.coverage import check_coverage, check_finite
from harness.checkpoint.guard import quiet, refusing
from harness.checkpoint.heads import CLASSES, LINEAR, QA_HEAD, QA_HEADS, head_prefix, lacking
from harness.checkpoint.layers import depth, layers_name, max_positions
from harness.checkpoint.placing import placed
from harness.checkpoint.ported import check_keys, check_unused, is_ported
from harness.checkpoint.resolve import Checkpoint
from harness.checkpoint.skeleton import encoder_class, make_skeleton, own_encoder, rerooted
from harness.checkpoint.tokenizer import Tokenizer, load_tokenizer
from harness.checkpoint.vet import Vetted, read_config, vet
from harness.errors import HarnessError, RefusedError

# What safetensors calls the types that weights are loaded in.
STORED: Mapping[str, str] = {"float32": "F32", "bfloat16": "BF16", "float16": "F16"}


def load_encoder(checkpoint: Checkpoint, *, dtype: str, device: str) -> tuple[Any, Tokenizer]:
    """The base model (no head, eval mode) and its tokenizer.

    ``dtype``: "float32", "bfloat16" or "float16"; the weights are converted to it. Attention is
    torch's scaled dot product where the architecture has it, else eager
    (``model.config._attn_implementation`` says which). Every weight of the encoder comes from the
    checkpoint; a pooler is not built, or is not to be used.

    Raises:
        RefusedError: an encoder weight missing, of another shape or not finite; no usable
            tokenizer; an architecture that transformers does not know.
        IncompleteError: this machine is what fails: no memory, a device that is not usable, a
            file that cannot be read, a library that is not installed.
    """
    vetted = _vetted(checkpoint)
    with refusing(checkpoint), quiet():
        config = _config(checkpoint.weights_folder)
        skeleton = make_skeleton(encoder_class(config), config, vetted)
        renamed = rerooted(skeleton, vetted)
        encoder = own_encoder(skeleton)
        scope = next(name for name, module in skeleton.named_modules() if module is encoder)
        model = _loaded(skeleton, vetted, dtype, ("pooler.",), renamed, scope)
        model = _with_adapter(own_encoder(model), checkpoint)
        tokenizer = _tokenizer(checkpoint, model)
        # Remembered, so that the list is still found when layers above the pooled one are dropped.
        model.encoder_layers_name = layers_name(model)
    return placed(model, checkpoint.label, device), tokenizer


def describe(checkpoint: Checkpoint) -> tuple[int, int | None]:
    """(depth, max_positions) of the encoder, for planning: no weight is read.

    Raises:
        RefusedError: as for ``load_encoder``, as far as it shows without the weights.
    """
    model = skeleton(checkpoint)
    with refusing(checkpoint), quiet():
        layers_name(model)
        return depth(model), max_positions(model, _tokenizer(checkpoint, model))


def skeleton(checkpoint: Checkpoint) -> Any:
    """The encoder without its weights, on torch's meta device.

    Raises:
        RefusedError: as for ``describe``.
    """
    vetted = _vetted(checkpoint)
    with refusing(checkpoint), quiet():
        config = _config(checkpoint.weights_folder)
        return own_encoder(make_skeleton(encoder_class(config), config, vetted))


def rehearse(checkpoint: Checkpoint, texts: Sequence[str]) -> None:
    """What loading and encoding do, without weights, to find out what it takes.

    Raises:
        RefusedError: as for ``describe``.
        IncompleteError: no memory.
    """
    vetted = _vetted(checkpoint)
    with refusing(checkpoint), quiet():
        config = _config(checkpoint.weights_folder)
        model = own_encoder(make_skeleton(encoder_class(config), config, vetted))
        if checkpoint.base is not None:
            from harness.checkpoint.adapter import wrapped

            wrapped(model, checkpoint.own_folder)
        load_tokenizer(checkpoint).ids(texts)


def load_reader(checkpoint: Checkpoint, *, dtype: str, device: str) -> tuple[Any, Tokenizer]:
    """The model with the question-answering head it brings (eval mode), and its tokenizer.

    Raises:
        RefusedError: no such head, or as for ``load_encoder``; here no weight at all may miss.
        IncompleteError: as for ``load_encoder``.
    """
    if not checkpoint.has_qa_head:
        raise RefusedError(f"{checkpoint.label} cannot answer questions: {checkpoint.head_note}")
    if checkpoint.linear_head:
        return _load_linear(checkpoint, dtype, device)
    vetted = _vetted(checkpoint)
    with refusing(checkpoint), quiet():
        from transformers import AutoModelForQuestionAnswering

        config = _config(checkpoint.weights_folder)
        skeleton = make_skeleton(AutoModelForQuestionAnswering, config, vetted)
        prefix = "" if checkpoint.model_type in QA_HEADS else head_prefix(vetted)
        renamed = {f"{prefix}{name}": name for name in QA_HEAD} if prefix else {}
        model = _loaded(skeleton, vetted, dtype, (), renamed)
        model = _with_adapter(model, checkpoint)
        tokenizer = _tokenizer(checkpoint, model)
    return placed(model, checkpoint.label, device), tokenizer


def load_head(
    checkpoint: Checkpoint, kind: str, *, dtype: str, device: str
) -> tuple[Any, Tokenizer]:
    """The model with the head of a kind that it brings (eval mode), and its tokenizer.

    ``kind``: one of `checkpoint.heads`.

    Raises:
        RefusedError: no such head, or as for ``load_encoder``; here no weight at all may miss.
        IncompleteError: as for ``load_encoder``.
    """
    if why := lacking(checkpoint.head, kind):
        raise RefusedError(f"{checkpoint.label}: {why}")
    if checkpoint.linear_head:
        return _load_linear(checkpoint, dtype, device)
    vetted = _vetted(checkpoint)
    with refusing(checkpoint), quiet():
        import transformers

        config = _config(checkpoint.weights_folder)
        auto = getattr(transformers, CLASSES[kind])
        model = _loaded(make_skeleton(auto, config, vetted), vetted, dtype, (), {})
        model = _with_adapter(model, checkpoint)
        tokenizer = _tokenizer(checkpoint, model)
    return placed(model, checkpoint.label, device), tokenizer


def _load_linear(checkpoint: Checkpoint, dtype: str, device: str) -> tuple[Any, Tokenizer]:
    """The encoder with its linear head of ours; names of classes as transformers has them."""
    import torch
    from safetensors import safe_open

    from harness.checkpoint.linear_head import make_linear_head

    head = checkpoint.head
    assert head is not None
    encoder, tokenizer = load_encoder(checkpoint, dtype=dtype, device="cpu")
    with refusing(checkpoint):
        encoder.config.id2label = dict(enumerate(head.labels))
        model = make_linear_head(encoder, head.kind, head.labels)
        layer = model.get_submodule(LINEAR)
        tensors = {}
        for path in _vetted(checkpoint).files:
            with safe_open(path, framework="pt") as file:
                for name in file.keys():  # noqa: SIM118
                    if name.startswith(f"{LINEAR}."):
                        tensors[name.removeprefix(f"{LINEAR}.")] = file.get_tensor(name)
        layer.load_state_dict(tensors)
        layer.to(getattr(torch, dtype))
        check_finite(layer, ())
    return placed(model, checkpoint.label, device), tokenizer


def _vetted(checkpoint: Checkpoint) -> Vetted:
    """Vetted anew: the files may have changed, or this may be another machine."""
    try:
        return vet(checkpoint.weights_folder)
    except HarnessError as error:
        raise type(error)(f"{checkpoint.label}: {error}") from error


def _config(folder: Path) -> Any:
    """What transformers makes of ``config.json``: a copy of it alone, so that no key leads on."""
    from transformers import AutoConfig

    stated = read_config(folder / "config.json")
    with tempfile.TemporaryDirectory() as alone:
        shutil.copyfile(folder / "config.json", Path(alone, "config.json"))
        config = AutoConfig.from_pretrained(alone, trust_remote_code=False, local_files_only=True)
    config._name_or_path = ""
    if is_ported(stated):
        check_keys(stated, {field.name for field in fields(config)} | set(config.attribute_map))
    return config


def _loaded(
    skeleton: Any,
    vetted: Vetted,
    dtype: str,
    allowed: tuple[str, ...],
    renamed: Mapping[str, str],
    scope: str = "",
) -> Any:
    """The skeleton's model with weights, all of those in the sub-module ``scope`` from the files.

    ``allowed`` prefixes may be missing; ``renamed`` tensors go by another name in the model.
    """
    import torch

    kind, config = type(skeleton), skeleton.config
    extra: dict[str, Any] = {}
    if "add_pooling_layer" in inspect.signature(kind.__init__).parameters:
        extra["add_pooling_layer"] = False
    if hasattr(config, "use_cache"):
        config.use_cache = False
    model, info = kind.from_pretrained(
        None,
        config=config,
        state_dict=_tensors(vetted, dtype, renamed),
        dtype=getattr(torch, dtype),
        attn_implementation="sdpa" if kind._supports_sdpa else "eager",
        output_loading_info=True,
        ignore_mismatched_sizes=True,  # reported below, with what is missing
        local_files_only=True,
        **extra,
    )
    check_coverage(model, info, allowed, f"{scope}." if scope else "")
    if is_ported(vetted.config):
        check_unused(info["unexpected_keys"])
    check_finite(model, allowed)
    return model


def _tensors(vetted: Vetted, dtype: str, renamed: Mapping[str, str]) -> dict[str, Any]:
    """Every tensor as safetensors' slice of it, read when transformers takes it.

    A file in ``dtype`` is mapped, and the model's weights are its pages: nothing is copied. Any
    other is read tensor by tensor, so that only the converted ones stay: the pages of a map would
    be resident beside them. A file of several types is taken by most of its values.
    """
    from safetensors import safe_open

    tensors: dict[str, Any] = {}
    for path in vetted.files:
        same = 0
        with safe_open(path, framework="pt") as file:
            for name in (names := list(file.keys())):
                size = math.prod(vetted.tensors[name].shape)
                same += size if vetted.tensors[name].dtype == STORED[dtype] else -size
        reader = safe_open(path, framework="pt", backend="mmap" if same >= 0 else "pread")
        for name in names:
            tensors[renamed.get(name, name)] = reader.get_slice(name)  # type: ignore[no-untyped-call]
    return tensors


def _with_adapter(model: Any, checkpoint: Checkpoint) -> Any:
    if checkpoint.base is None:
        return model
    from harness.checkpoint.adapter import merged

    model = merged(model, checkpoint.own_folder)
    check_finite(model, ("pooler.",))
    return model


def _tokenizer(checkpoint: Checkpoint, model: Any) -> Tokenizer:
    """The tokenizer, whose every id the model embeds."""
    tokenizer = load_tokenizer(checkpoint)
    rows = model.get_input_embeddings().num_embeddings
    if tokenizer.largest_id >= rows:
        raise RefusedError(
            f"its tokenizer gives ids up to {tokenizer.largest_id:,}, the model embeds {rows:,} "
            f"(0 to {rows - 1:,}): one of them is from another checkpoint"
        )
    return tokenizer
