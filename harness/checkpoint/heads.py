"""Finds the heads that a checkpoint has: their kinds, and the names of their classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from harness.cards.labels import folded
from harness.errors import RefusedError

if TYPE_CHECKING:
    from harness.checkpoint.vet import Vetted

# Kind of head → the ending of transformers' classes with it, and the class that loads it.
ENDINGS = {
    "classification": "ForSequenceClassification",
    "multiple_choice": "ForMultipleChoice",
    "tagging": "ForTokenClassification",
}
CLASSES = {kind: f"AutoModel{ending}" for kind, ending in ENDINGS.items()}
# Model type whose question-answering head is not a linear layer called qa_outputs → its weights.
QA_HEADS: Mapping[str, tuple[str, ...]] = {
    "modernbert": ("classifier.weight", "classifier.bias", "head.dense.weight", "head.norm.weight"),
    "big_bird": ("qa_classifier.qa_outputs.weight", "qa_classifier.qa_outputs.bias"),
}
QA_HEAD = ("qa_outputs.weight", "qa_outputs.bias")
# The entry of config.json for a head of `linear_head`, and the name of its layer in the weights.
LINEAR = "xharness_head"
# The names of the last layer of a head for classes, choices or tags; they depend on architecture.
OUTPUTS = (
    "classifier.weight",
    "classifier.out_proj.weight",
    "classification_head.out_proj.weight",
    "score.weight",
    "score.out_proj.weight",
    "logits_proj.weight",
    "classifier.linear_out.weight",
    "sequence_summary.summary.weight",
)


@dataclass(frozen=True)
class Head:
    """A trained head. ``labels``: the names of its outputs in their order.

    ``linear``: it is a head of `linear_head`, and not of a class of transformers.
    """

    kind: str
    labels: tuple[str, ...]
    linear: bool = False


def read_head(vetted: Vetted) -> Head | None:
    """Return the head that the configuration declares and the weights hold, or None.

    Among heads for spans, only a linear head of ours is returned.

    Raises:
        RefusedError: the configuration has a linear head of ours that the weights do not hold.
    """
    if LINEAR in vetted.config:
        return _read_linear(vetted)
    declared = architecture(vetted)
    kind = next((kind for kind, end in ENDINGS.items() if declared.endswith(end)), None)
    shapes = [vetted.tensors[name].shape for name in OUTPUTS if name in vetted.tensors]
    if kind is None or not shapes:
        return None
    return Head(kind, tuple(_name(vetted.config, at) for at in range(shapes[0][0])))


def _name(config: Mapping[str, Any], number: int) -> str:
    """Return the name of an output.

    Where ``label2id`` has the name with another number, both entries cannot be right. The number is
    then put behind the name, which is no label of a task any more.
    """
    names, numbers = (
        {str(key): str(value) for key, value in entry.items()} if isinstance(entry, dict) else {}
        for entry in (config.get("id2label"), config.get("label2id"))
    )
    name = names.get(str(number), f"LABEL_{number}")
    other = numbers.get(name, str(number))
    return name if other == str(number) else f"{name} (but {other} in label2id)"


def _read_linear(vetted: Vetted) -> Head:
    entry, weight = vetted.config[LINEAR], vetted.tensors.get(f"{LINEAR}.weight")
    kind, labels = (entry.get("kind"), entry.get("labels")) if isinstance(entry, dict) else ("", [])
    sizes = {"span": 2, "multiple_choice": 1}
    if kind not in ["span", *CLASSES] or not isinstance(labels, list) or weight is None:
        raise RefusedError(f"config.json has an entry {LINEAR} that the weights do not hold")
    wanted = [sizes.get(kind, len(labels))]
    if list(weight.shape[:-1]) != wanted or not all(isinstance(one, str) for one in labels):
        raise RefusedError(
            f"{LINEAR}.weight has shape {list(weight.shape)}, not the outputs that config.json says"
        )
    return Head(kind, tuple(labels), linear=True)


def linear_note(head: Head | None) -> str:
    """Return the note for results of a linear head of ours, or nothing."""
    if head is None or not head.linear:
        return ""
    on = "every token" if head.kind in ("span", "tagging") else "the mean of the tokens"
    return (
        f"transformers has no {head.kind.replace('_', ' ')} head for the architecture: dropout and "
        f"one linear layer on {on} take its place"
    )


def lacking(head: Head | None, kind: str) -> str:
    """Return why the checkpoint has no head for a kind of task, or nothing."""
    words = kind.replace("_", " ")
    if head is None:
        return f"no {words} head"
    return "" if head.kind == kind else f"a {head.kind.replace('_', ' ')} head, no {words} head"


def label_order(names: Sequence[str], labels: Sequence[str]) -> list[int]:
    """Return, for each label of a task, the output of the head with that name.

    Case is ignored where the names are not those of the task to the letter.

    Raises:
        RefusedError: the head does not have exactly the labels of the task, or a name could be
            that of two outputs.
    """
    for spelled in (str, folded):
        known = [spelled(name) for name in names]
        wanted = [spelled(label) for label in labels]
        if sorted(known) == sorted(wanted) and len(set(known)) == len(known):
            return [known.index(label) for label in wanted]
    shown = ", ".join(names[:8]) + (", …" if len(names) > 8 else "")
    raise RefusedError(
        f"its head has the {len(names)} labels {shown}, the task has {', '.join(labels)}: "
        "labels are matched by name (id2label in config.json)"
    )


def architecture(vetted: Vetted) -> str:
    """Return the class that the configuration names, or nothing."""
    return str(next(iter(vetted.config.get("architectures") or ()), ""))


def head_prefix(vetted: Vetted) -> str | None:
    """Return the prefix of ``qa_outputs`` in the tensor names, or None where there is no such head.

    Toolkits with several heads name theirs ``task_heads.<name>.qa_outputs``. If exactly one tensor
    has such a name, it is taken.
    """
    weights = [name for name in vetted.tensors if ("." + name).endswith("." + QA_HEAD[0])]
    if QA_HEAD[0] in weights:
        return ""
    return weights[0].removesuffix(QA_HEAD[0]) if len(weights) == 1 else None


def span_head_note(vetted: Vetted) -> str:
    """Return why there is no usable question-answering head, or nothing."""
    name = architecture(vetted)
    declared = name.endswith("ForQuestionAnswering")
    own = QA_HEADS.get(str(vetted.config["model_type"]))
    prefix = "" if own else head_prefix(vetted)
    if not declared and (own or prefix is None):
        return "no QA head"
    names = own or tuple(f"{prefix or ''}{name}" for name in QA_HEAD)
    missing = [one for one in names if one not in vetted.tensors]
    if missing:
        claim = f"declares {name}" if declared else f"holds {prefix}{QA_HEAD[0]}"
        return f"{claim} but {missing[0]} is not in the weights"
    outputs = vetted.tensors[names[0]].shape
    if len(outputs) != 2 or outputs[0] != 2:
        return f"{names[0]} has shape {list(outputs)}, not 2 outputs (start and end)"
    return ""
