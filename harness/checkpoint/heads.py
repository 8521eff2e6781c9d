"""Heads that a checkpoint brings: what they are for, and the names of their classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from harness.checkpoint.vet import Vetted
from harness.errors import RefusedError

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
# What the last layer of such a head is called, by architecture.
OUTPUTS = (
    "classifier.weight",
    "classifier.out_proj.weight",
    "classification_head.out_proj.weight",
    "score.weight",
)


@dataclass(frozen=True)
class Head:
    """A trained head. ``labels``: the names of its outputs in their order."""

    kind: str
    labels: tuple[str, ...]


def read_head(vetted: Vetted) -> Head | None:
    """The head that the configuration declares and the weights hold, or None."""
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
