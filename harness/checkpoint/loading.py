"""Loads weights into torch modules: every weight comes from the vetted files, and none is random.

safetensors reads the tensors from the files that were vetted, and transformers gets them as a state
dict; so it looks up, converts and downloads no file by name. A tensor is read when transformers
takes it, so that a checkpoint is never in memory twice.
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
from harness.checkpoint.guard import naming, quiet, refusing
from harness.checkpoint.heads import CLASSES, LINEAR, QA_HEAD, QA_HEADS, head_prefix, lacking
from harness.checkpoint.layers import depth, layers_name, max_positions
from harness.checkpoint.placing import placed
from harness.checkpoint.ported import (
    PORTED,
    check_head,
    check_keys,
    check_unused,
    is_ported,
    renamed,
)
from harness.checkpoint.resolve import Checkpoint
from harness.checkpoint.skeleton import encoder_class, make_skeleton, own_encoder, rerooted
from harness.checkpoint.tokenizer import Tokenizer, load_tokenizer
from harness.checkpoint.vet import Vetted, read_config, vet
from harness.errors import RefusedError

# The types that weights are loaded in, with safetensors' names.
STORED: Mapping[str, str] = {"float32": "F32", "bfloat16": "BF16", "float16": "F16"}


def load_encoder(checkpoint: Checkpoint, *, dtype: str, device: str) -> tuple[Any, Tokenizer]:
    """Load the base model (in eval mode, without a head) and its tokenizer.

    ``dtype``: "float32", "bfloat16" or "float16"; the weights are converted to it. Attention is
    torch's scaled dot product where the architecture has it, and eager otherwise
    (``model.config._attn_implementation`` says which). Every weight of the encoder comes from the
    checkpoint. There is no pooler, or it must not be used.

    Raises:
        RefusedError: a weight of the encoder is missing, has another shape or is not finite; there
            is no usable tokenizer; or transformers does not know the architecture.
        IncompleteError: this machine is the reason: memory, the device, a file that cannot be
            read, or a library that is not installed.
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
        # By this name the list of layers is found even after its last layers were removed.
        model.encoder_layers_name = layers_name(model)
    return placed(model, checkpoint.label, device), tokenizer


def describe(checkpoint: Checkpoint) -> tuple[int, int | None]:
    """Return (depth, max_positions) of the encoder for a plan; no weight is read.

    Raises:
        RefusedError: as for ``load_encoder``, as far as it can be found without the weights.
    """
    model = skeleton(checkpoint)
    with refusing(checkpoint), quiet():
        layers_name(model)
        return depth(model), max_positions(model, _tokenizer(checkpoint, model))


def skeleton(checkpoint: Checkpoint) -> Any:
    """Build the encoder without its weights, on torch's meta device.

    Raises:
        RefusedError: as for ``describe``.
    """
    vetted = _vetted(checkpoint)
    with refusing(checkpoint), quiet():
        config = _config(checkpoint.weights_folder)
        return own_encoder(make_skeleton(encoder_class(config), config, vetted))


def rehearse(checkpoint: Checkpoint, texts: Sequence[str]) -> None:
    """Do the steps of loading and encoding without weights, to find out what they take.

    Raises:
        RefusedError: as for ``describe``.
        IncompleteError: there is not enough memory.
    """
    model = skeleton(checkpoint)
    with refusing(checkpoint), quiet():
        if checkpoint.base is not None:
            from harness.checkpoint.adapter import wrapped

            wrapped(model, checkpoint.own_folder)
        load_tokenizer(checkpoint).ids(texts)


def load_reader(checkpoint: Checkpoint, *, dtype: str, device: str) -> tuple[Any, Tokenizer]:
    """Load the model with its own question-answering head (in eval mode), and its tokenizer.

    Raises:
        RefusedError: there is no such head, or any weight is missing; else as for ``load_encoder``.
        IncompleteError: as for ``load_encoder``.
    """
    if not checkpoint.has_qa_head:
        raise RefusedError(f"{checkpoint.label} cannot answer questions: {checkpoint.head_note}")
    return _with_head(checkpoint, "AutoModelForQuestionAnswering", dtype, device)


def load_head(
    checkpoint: Checkpoint, kind: str, *, dtype: str, device: str
) -> tuple[Any, Tokenizer]:
    """Load the model with its own head of a kind (in eval mode), and its tokenizer.

    ``kind``: a key of `heads.CLASSES`.

    Raises:
        RefusedError: there is no such head, or any weight is missing; else as for ``load_encoder``.
        IncompleteError: as for ``load_encoder``.
    """
    if why := lacking(checkpoint.head, kind) or other_class(checkpoint):
        raise RefusedError(f"{checkpoint.label}: {why}")
    return _with_head(checkpoint, CLASSES[kind], dtype, device)


def other_class(checkpoint: Checkpoint) -> str:
    """Return why the head cannot be read although its last layer can: it is of a class of somebody
    else, which may do more (a CRF, another pooling), and whose code never runs. Or nothing.

    The classes that transformers has taken over are checked by their keys and weights instead.
    """
    import transformers

    declared = checkpoint.architecture
    known = checkpoint.linear_head or checkpoint.model_type in PORTED
    if known or declared in dir(transformers):
        return ""
    return f"its head is of the class {declared}, which transformers does not have"


def _with_head(checkpoint: Checkpoint, auto: str, dtype: str, device: str) -> tuple[Any, Tokenizer]:
    """Load a model with its head. ``auto``: the name of transformers' class for such models."""
    if checkpoint.linear_head:
        return _load_linear(checkpoint, dtype, device)
    vetted = _vetted(checkpoint)
    with refusing(checkpoint), quiet():
        import transformers

        config = _config(checkpoint.weights_folder)
        check_head(vetted.config)
        skeleton = make_skeleton(getattr(transformers, auto), config, vetted)
        prefix = None
        if auto.endswith("QuestionAnswering") and checkpoint.model_type not in QA_HEADS:
            prefix = head_prefix(vetted)
        renamed = {f"{prefix}{name}": name for name in QA_HEAD} if prefix else {}
        model = _loaded(skeleton, vetted, dtype, (), renamed)
        model = _with_adapter(model, checkpoint)
        tokenizer = _tokenizer(checkpoint, model)
    return placed(model, checkpoint.label, device), tokenizer


def _load_linear(checkpoint: Checkpoint, dtype: str, device: str) -> tuple[Any, Tokenizer]:
    """Load the encoder with a linear head of ours, which names its classes as transformers does."""
    import torch
    from safetensors import safe_open

    from harness.checkpoint.linear_head import LinearHead

    head = checkpoint.head
    assert head is not None
    encoder, tokenizer = load_encoder(checkpoint, dtype=dtype, device="cpu")
    with refusing(checkpoint):
        model = LinearHead(encoder, head.kind, head.labels)
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
    """Vet the files again: they may have changed, or this may be another machine."""
    with naming(checkpoint.label):
        return vet(checkpoint.weights_folder)


def _config(folder: Path) -> Any:
    """Read transformers' configuration from a copy of ``config.json``, beside no other file."""
    from transformers import AutoConfig

    stated = read_config(folder / "config.json")
    with tempfile.TemporaryDirectory() as alone:
        shutil.copyfile(folder / "config.json", Path(alone, "config.json"))
        config = AutoConfig.from_pretrained(alone, trust_remote_code=False, local_files_only=True)
    config._name_or_path = ""
    for name, value in renamed(stated).items():
        setattr(config, name, value)
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
    """Load a model of the skeleton's class; all weights of the module ``scope`` must be there.

    ``allowed``: prefixes of weights that may be missing. ``renamed``: name in the files → name in
    the model.
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
        ignore_mismatched_sizes=True,  # They are refused below, together with missing weights.
        local_files_only=True,
        **extra,
    )
    check_coverage(model, info, allowed, f"{scope}." if scope else "")
    if is_ported(vetted.config):
        check_unused(info["unexpected_keys"])
    check_finite(model, allowed)
    return model


def _tensors(vetted: Vetted, dtype: str, renamed: Mapping[str, str]) -> dict[str, Any]:
    """Return every tensor as a slice of safetensors, which is read when transformers takes it.

    A file whose values are mostly of ``dtype`` is mapped into memory: the weights of the model are
    its pages, and nothing is copied. Any other file is read tensor by tensor. Were it mapped, its
    pages would stay in memory beside the converted weights.
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
    """Load the tokenizer, and refuse one that has an id which the model does not embed."""
    tokenizer = load_tokenizer(checkpoint)
    rows = model.get_input_embeddings().num_embeddings
    if tokenizer.largest_id >= rows:
        raise RefusedError(
            f"its tokenizer gives ids up to {tokenizer.largest_id:,}, the model embeds {rows:,} "
            f"(0 to {rows - 1:,}): one of them is from another checkpoint"
        )
    return tokenizer
