"""The model that is trained: one encoder, and a head for each task on transformers' own classes."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from harness.checkpoint.heads import LINEAR, Head, linear_note
from harness.checkpoint.linear_head import make_linear_head
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
# What old files call the values of a LayerNorm; transformers reads encoders under these names too.
OLD_NAMES: Mapping[str, str] = {
    "LayerNorm.gamma": "LayerNorm.weight",
    "LayerNorm.beta": "LayerNorm.bias",
}
SCALE = 100.0  # where XTREME-R's dual encoder starts the factor on its cosines


@dataclass(frozen=True)
class HeadSpec:
    """A task's head. ``labels``: its classes. ``symmetric``: of a dual encoder's loss.

    ``kept``: it goes on from the checkpoint's weights of it.
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
    """The encoder with fresh heads, ready to train in float32; all heads share the encoder.

    ``encoder``: what ``loading.load_encoder`` gives. ``own``: other tensors of the checkpoint, by
    name; its pooler and its masked language model head go on from there where they are there in
    whole, every other head starts from ``seed``. ``pad``: the id of padding, for a configuration
    that names none. ``notes``: task → what is there in part only, and is left; added to.

    Raises:
        RefusedError: transformers has no masked language model head for the architecture; a head
            that is to be kept is not there.
    """
    import torch

    encoder.requires_grad_(True)
    vars(encoder.config).pop(LINEAR, None)  # what the checkpoint's own head says of itself
    if encoder.config.pad_token_id is None:
        encoder.config.pad_token_id = (
            pad  # where a decoder-only classifier looks for the last token
        )
    tasks: dict[str, torch.nn.Module] = {}
    own = _plain_names(own, encoder.base_model_prefix)
    for spec in heads:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            if spec.kind == "dual_encoder":
                tasks[spec.task] = _dual_encoder()(encoder, symmetric=spec.symmetric)
            else:
                tasks[spec.task], left = _with_head(encoder, spec, own)
                if left and notes is not None:
                    notes.setdefault(spec.task, []).extend(left)
    model: torch.nn.Module = _trained()(encoder, tasks)
    return model


def _with_head(
    encoder: Any, spec: HeadSpec, own: Mapping[str, torch.Tensor]
) -> tuple[Any, list[str]]:
    """A model for a task around the encoder, and what of ``own`` was left.

    The model is transformers' own where there is one.
    """
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
            # A pooler, and an activation behind it: the encoder was loaded without them.
            if getattr(encoder, name, None) is None:
                setattr(encoder, name, module)
                left.append(_take(_own_parameters(module, f"{name}."), own, name))
        setattr(model, place, encoder)
    if spec.kind == "mlm":
        model.tie_weights()  # what is the encoder's is no part of the head
        head = _own_parameters(model, "", without=encoder)
        left.append(_take(head, own, "masked language model head"))
    if spec.kept:
        head = _own_parameters(model, "", without=encoder)
        if absent := [names[0] for _, names in head if not any(name in own for name in names)]:
            raise RefusedError(f"its head is to go on, but {absent[0]} is not in its weights")
        left.append(_take(head, own, f"{spec.kind.replace('_', ' ')} head"))
    return model, [note for note in left if note]


def _transformers_model(encoder: Any, config: Any, kind: str) -> Any:
    """transformers' model of a kind; None where it has none that holds just this encoder."""
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
    """Ours in its place. RefusedError for a kind that one linear layer is no head of."""
    if spec.kind == "mlm":
        raise RefusedError(
            f"transformers has no masked language model head for {encoder.config.model_type}: "
            "choose another intermediate task, or another base"
        )
    return make_linear_head(encoder, spec.kind, spec.labels)


def _plain_names(own: Mapping[str, torch.Tensor], encoder_name: str) -> dict[str, torch.Tensor]:
    """The tensors of a checkpoint by the names of today, without what wrappers put in front."""
    roots = (*ROOTS, encoder_name)
    plain: dict[str, torch.Tensor] = {}
    for name in sorted(own, key=lambda name: name.count(".")):  # the least wrapped one is meant
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
    """Each parameter with all names it goes by: tied ones are one parameter with several."""
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
    """Values of the checkpoint for a part that it has whole, else none of them.

    Returns what to say where it has some. These may be another model's, and among fresh values
    they would be neither the head that it was nor a new one.
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


def _trained() -> Any:
    """The class, made where torch is there: this module is imported without it."""
    import torch

    class Trained(torch.nn.Module):
        """``tasks[name]`` gives the loss of a batch of that task."""

        def __init__(self, encoder: Any, tasks: Mapping[str, torch.nn.Module]) -> None:
            super().__init__()
            self.encoder = encoder
            self.tasks = torch.nn.ModuleDict(tasks)

        def forward(self, task: str, inputs: Mapping[str, torch.Tensor]) -> torch.Tensor:
            loss: torch.Tensor = self.tasks[task](**inputs)["loss"]
            return loss

    return Trained


def _dual_encoder() -> Any:
    import torch

    class DualEncoder(torch.nn.Module):
        """One encoder for queries and texts; mean of the last hidden state, L2-normalised."""

        def __init__(self, encoder: Any, *, symmetric: bool) -> None:
            super().__init__()
            self.encoder = encoder
            self.symmetric = symmetric
            self.scale = torch.nn.Parameter(torch.tensor(SCALE))

        def embed(self, inputs: Mapping[str, torch.Tensor]) -> torch.Tensor:
            hidden = self.encoder(**inputs).last_hidden_state.float()
            weights = inputs["attention_mask"].unsqueeze(-1).to(hidden.dtype)
            mean = (hidden * weights).sum(1) / weights.sum(1).clamp(min=1)
            return torch.nn.functional.normalize(mean, dim=-1)

        def forward(self, *, whole: bool = True, **inputs: torch.Tensor) -> dict[str, torch.Tensor]:
            """``whole``: the batch is all here; else each process has a part of it."""
            query, text = (
                self.embed(
                    {
                        name.removeprefix(side): tensor
                        for name, tensor in inputs.items()
                        if name.startswith(side) and name != f"{side}ids"
                    }
                )
                for side in ("query_", "text_")
            )
            world, scale = 1, 1.0 * self.scale
            query_ids, text_ids = inputs["query_ids"], inputs["text_ids"]
            if not whole:
                world = torch.distributed.get_world_size()
                query, text = gathered(query), gathered(text)
                query_ids, text_ids = gathered(query_ids), gathered(text_ids)
                # Of the scale every process has the whole gradient.
                scale = scale.detach() + (scale - scale.detach()) / world
            loss = in_batch_loss(query, text, query_ids, text_ids, scale, symmetric=self.symmetric)
            # Every process has the whole loss but only its own part of the gradient, and the
            # parts are averaged: their sum is wanted, and the value as it is.
            return {"loss": loss + (world - 1) * (loss - loss.detach())}

    return DualEncoder


def gathered(tensor: torch.Tensor) -> torch.Tensor:
    """The rows of all processes, with gradients through one's own."""
    import torch

    parts = [torch.empty_like(tensor) for _ in range(torch.distributed.get_world_size())]
    torch.distributed.all_gather(parts, tensor.detach().contiguous())
    parts[torch.distributed.get_rank()] = tensor
    return torch.cat(parts)


def in_batch_loss(
    query: torch.Tensor,
    text: torch.Tensor,
    query_ids: torch.Tensor,
    text_ids: torch.Tensor,
    scale: torch.Tensor,
    *,
    symmetric: bool,
) -> torch.Tensor:
    """Cross-entropy of each query's own text among all texts of the batch.

    ``query``, ``text``: float32[n, d], normalised. Another row's text is no negative where it is
    the same text, or belongs to the same query (equal ids). ``symmetric``: the mean of this and of
    each text's own query among all queries. Float32 under autocast too.
    """
    import torch

    same = (query_ids[:, None] == query_ids) | (text_ids[:, None] == text_ids)
    right = torch.arange(len(query), device=query.device)
    same[right, right] = False
    # In bfloat16 cosines near 1 are steps of 0.004 apart, which the scale makes 0.4.
    with torch.autocast(query.device.type, enabled=False):
        scores = (scale * (query @ text.T)).masked_fill(same, float("-inf"))
        loss = torch.nn.functional.cross_entropy(scores, right)
        if symmetric:
            loss = (loss + torch.nn.functional.cross_entropy(scores.T, right)) / 2
    return loss
