"""Heads that a checkpoint brings: what they are for, and the names of their classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.errors import RefusedError

if TYPE_CHECKING:
    from harness.checkpoint.vet import Vetted

# Kind of head → how transformers' classes of it end, and the class that loads it.
ENDINGS = {
    "classification": "ForSequenceClassification",
    "multiple_choice": "ForMultipleChoice",
    "tagging": "ForTokenClassification",
}
CLASSES = {
    "classification": "AutoModelForSequenceClassification",
    "multiple_choice": "AutoModelForMultipleChoice",
    "tagging": "AutoModelForTokenClassification",
}
# A head of `linear_head`: its entry in config.json, and its layer among the weights.
LINEAR = "xharness_head"
# What the last layer of such a head is called, by architecture.
OUTPUTS = (
    "classifier.weight",
    "classifier.out_proj.weight",
    "classification_head.out_proj.weight",
    "score.weight",
    "logits_proj.weight",
)


@dataclass(frozen=True)
class Head:
    """A trained head. ``labels``: the names of its outputs in their order.

    ``linear``: it is one of `linear_head`, none of transformers'.
    """

    kind: str
    labels: tuple[str, ...]
    linear: bool = False


def read_head(vetted: Vetted) -> Head | None:
    """The head that the configuration declares and the weights hold, or None.

    Of heads for spans, only a linear one of ours.

    Raises:
        RefusedError: an entry for a linear head that the weights do not hold.
    """
    if LINEAR in vetted.config:
        return _read_linear(vetted)
    architecture = str(next(iter(vetted.config.get("architectures") or ()), ""))
    kind = next((kind for kind, end in ENDINGS.items() if architecture.endswith(end)), None)
    shapes = [vetted.tensors[name].shape for name in OUTPUTS if name in vetted.tensors]
    if kind is None or not shapes:
        return None
    named = vetted.config.get("id2label")
    names = (
        {str(key): str(value) for key, value in named.items()} if isinstance(named, dict) else {}
    )
    return Head(kind, tuple(names.get(str(at), f"LABEL_{at}") for at in range(shapes[0][0])))


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
    """What is to be said beside results of a linear head of ours, or nothing."""
    if head is None or not head.linear:
        return ""
    on = "every token" if head.kind in ("span", "tagging") else "the mean of the tokens"
    return (
        f"transformers has no {head.kind.replace('_', ' ')} head for the architecture: dropout and "
        f"one linear layer on {on} take its place"
    )


def lacking(head: Head | None, kind: str) -> str:
    """Why a task of a kind has no head in the checkpoint, or nothing."""
    words = kind.replace("_", " ")
    if head is None:
        return f"no {words} head"
    return "" if head.kind == kind else f"a {head.kind.replace('_', ' ')} head, no {words} head"


def label_order(names: Sequence[str], labels: Sequence[str]) -> list[int]:
    """For each of a task's labels the output of the head that has its name, whatever its case.

    Raises:
        RefusedError: the head has other labels, more or fewer of them, or names that say nothing.
    """
    known = [name.strip().casefold() for name in names]
    wanted = [label.casefold() for label in labels]
    if sorted(known) != sorted(wanted):
        shown = ", ".join(names[:8]) + (", …" if len(names) > 8 else "")
        raise RefusedError(
            f"its head has the {len(names)} labels {shown}, the task has {', '.join(labels)}: "
            "labels are matched by name (id2label in config.json)"
        )
    return [known.index(label) for label in wanted]
