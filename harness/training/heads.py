"""The model that is trained: one encoder with a head for each task, of transformers' classes."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from harness.checkpoint.heads import LINEAR, Head, linear_note
from harness.checkpoint.skeleton import ROOTS
from harness.errors import RefusedError

if TYPE_CHECKING:
    import torch

CLASSES: Mapping[str, str] = {
    "span": "AutoModelForQuestionAnswering",
    "classification": "AutoModelForSequenceClassification",
    "multiple_choice": "AutoModelForMultipleChoice",
    "tagging": "AutoModelForTokenClassification",
    "mlm": "AutoModelForMaskedLM",
}
# Old files call the weights of a LayerNorm by these names, which transformers also understands.
OLD_NAMES: Mapping[str, str] = {
    "LayerNorm.gamma": "LayerNorm.weight",
    "LayerNorm.beta": "LayerNorm.bias",
}


@dataclass(frozen=True)
class HeadSpec:
    """The head of a task.

    ``labels``: its classes. ``symmetric``: whether the loss of a dual encoder is symmetric.
    ``kept``: whether the checkpoint's own head is trained further.
    """

    task: str
    kind: str
    labels: tuple[str, ...] = ()
    symmetric: bool = False
    kept: bool = False


def make_model(
    encoder: Any,
    heads: Sequence[HeadSpec],
    own: Mapping[str, torch.Tensor],
    *,
    pad: int,
    seed: int,
    notes: dict[str, list[str]] | None = None,
) -> torch.nn.Module:
    """Put heads on the encoder, which all of them share, ready to train in float32.

    ``encoder``: the model that ``loading.load_encoder`` returns. ``own``: the tensors of the
    checkpoint, by name. Its pooler and its masked language model head start from these where they
    are complete there; every other head is drawn from ``seed``. ``pad``: the id of padding, for a
    configuration that names none. ``notes``: notes on weights that are there only in part, and are
    therefore not used, are added to it by task.

    Raises:
        RefusedError: transformers has no masked language model head for the architecture, or the
            checkpoint does not have the head that is to be kept.
    """
    import torch

    from harness.training.modules import DualEncoder, Trained

    encoder.requires_grad_(True)
    vars(encoder.config).pop(LINEAR, None)  # This entry describes the checkpoint's own head.
    if encoder.config.pad_token_id is None:
        # A decoder-only classifier finds the last token of a text by it.
        encoder.config.pad_token_id = pad
    tasks: dict[str, torch.nn.Module] = {}
    own = _plain_names(own, encoder.base_model_prefix)
    for spec in heads:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            if spec.kind == "dual_encoder":
                tasks[spec.task] = DualEncoder(encoder, symmetric=spec.symmetric)
            else:
                tasks[spec.task], left = _with_head(encoder, spec, own, pad)
                if left and notes is not None:
                    notes.setdefault(spec.task, []).extend(left)
    return Trained(encoder, tasks)


def _with_head(
    encoder: Any, spec: HeadSpec, own: Mapping[str, torch.Tensor], pad: int
) -> tuple[Any, list[str]]:
    """Make a model for a task around the encoder, with notes on tensors of ``own`` not used.

    The model is of a class of transformers where there is one for the kind.
    """
    from transformers.modeling_layers import GenericForSequenceClassification

    config = copy.deepcopy(encoder.config)
    if spec.kind in ("classification", "tagging"):
        config.id2label = dict(enumerate(spec.labels))
        config.label2id = {label: number for number, label in enumerate(spec.labels)}
    if spec.kind == "classification":
        config.problem_type = "single_label_classification"
    if spec.kind == "span":
        config.num_labels = 2
    model = _transformers_model(encoder, config, spec.kind)
    left = []
    if model is None:
        model = _linear_head(encoder, spec)
        left.append(linear_note(Head(spec.kind, spec.labels, linear=True)))
    else:
        place = model.base_model_prefix
        fresh = getattr(model, place)
        for name, module in fresh.named_children():
            # The encoder was loaded without its pooler, and without an activation behind that.
            if getattr(encoder, name, None) is None:
                setattr(encoder, name, module)
                left.append(_take(_own_parameters(module, f"{name}."), own, name))
        setattr(model, place, encoder)
        if isinstance(model, GenericForSequenceClassification):
            # It finds the last token of a text by this id, which need not be the tokenizer's. Of
            # other models it stays as it is: some count positions from it when they are loaded.
            config.get_text_config().pad_token_id = pad
    if spec.kind == "mlm":
        model.tie_weights()  # So the output weights are the encoder's, and no part of the head.
        head = _own_parameters(model, "", without=encoder)
        left.append(_take(head, own, "masked language model head"))
    if spec.kept:
        head = _own_parameters(model, "", without=encoder)
        if absent := [names[0] for _, names in head if not any(name in own for name in names)]:
            raise RefusedError(
                f"its head is to be trained further, but {absent[0]} is not in its weights"
            )
        left.append(_take(head, own, f"{spec.kind.replace('_', ' ')} head"))
    return model, [note for note in left if note]


def _transformers_model(encoder: Any, config: Any, kind: str) -> Any:
    """Make transformers' model of a kind; None where it has none that holds this encoder."""
    import torch
    import transformers

    auto = getattr(transformers, CLASSES[kind])
    try:
        model = auto.from_config(
            config, dtype=torch.float32, attn_implementation=encoder.config._attn_implementation
        )
    except ValueError:
        return None
    holds = type(getattr(model, model.base_model_prefix, None)) is type(encoder)
    return model if holds and not encoder.config.is_encoder_decoder else None


def _linear_head(encoder: Any, spec: HeadSpec) -> Any:
    """Make a linear head of ours instead. RefusedError for masked language modelling."""
    if spec.kind == "mlm":
        raise RefusedError(
            f"transformers has no masked language model head for {encoder.config.model_type}: "
            "choose another intermediate task, or another base"
        )
    from harness.checkpoint.linear_head import LinearHead

    return LinearHead(encoder, spec.kind, spec.labels)


def _plain_names(own: Mapping[str, torch.Tensor], encoder_name: str) -> dict[str, torch.Tensor]:
    """Return the tensors of a checkpoint by today's names, without the prefixes of wrappers."""
    roots = (*ROOTS, encoder_name)
    plain: dict[str, torch.Tensor] = {}
    # Of several tensors of one name, the one with the fewest prefixes is taken.
    for name in sorted(own, key=lambda name: name.count(".")):
        today = name
        for old, new in OLD_NAMES.items():
            today = today.replace(old, new)
        parts = today.split(".")
        while len(parts) > 1 and parts[0] in roots:
            parts.pop(0)
        plain.setdefault(".".join(parts), own[name])
    return plain


def _own_parameters(
    module: torch.nn.Module, prefix: str, *, without: torch.nn.Module | None = None
) -> list[tuple[torch.nn.Parameter, list[str]]]:
    """Return each parameter with all of its names: tied weights are one parameter of several."""
    others = set() if without is None else {id(one) for one in without.parameters()}
    found: dict[int, tuple[torch.nn.Parameter, list[str]]] = {}
    for name, parameter in module.named_parameters(remove_duplicate=False):
        if id(parameter) not in others:
            found.setdefault(id(parameter), (parameter, []))[1].append(f"{prefix}{name}")
    return list(found.values())


def _take(
    parameters: Sequence[tuple[torch.nn.Parameter, list[str]]],
    own: Mapping[str, torch.Tensor],
    what: str,
) -> str:
    """Copy the checkpoint's values into the parameters, if it has all of them.

    Where it has only some, none is copied: they may be of another model, and mixed with fresh
    values they would be neither the old head nor a new one. A note that says so is returned.
    """
    import torch

    found: list[tuple[torch.nn.Parameter, torch.Tensor]] = []
    absent: list[str] = []
    for parameter, names in parameters:
        name = next((name for name in names if name in own), names[0])
        if name in own and own[name].shape == parameter.shape:
            found.append((parameter, own[name]))
        else:
            absent.append(name)
    if not absent:
        with torch.no_grad():
            for parameter, tensor in found:
                parameter.copy_(tensor)
    if not absent or not any(name in own for _, names in parameters for name in names):
        return ""
    return (
        f"the base has {len(found)} of {len(parameters)} weights of the {what}, not "
        f"{', '.join(absent[:3])}: it starts afresh"
    )
