"""Takes an object with ``encode`` in place of a checkpoint, be it a loaded model or anything else.

What such an object is cannot be pinned by a commit. Its rows carry the name that it declares and
the digest of its vectors of a few fixed texts; they are marked custom and never ranked.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from harness.checkpoint.resolve import Checkpoint
from harness.errors import RefusedError, UsageError, one_line
from harness.inference.batching import distinct
from harness.inference.protocol import OBJECTS, Role
from harness.inference.search import uncomparable
from harness.inference.vector_store import Float32, text_key
from harness.io.strict_json import has_half_pair

TAKES = (
    "give a Hub id (org/name), a folder, a loaded sentence-transformers model, or an object with "
    "encode(texts) that returns one vector per text"
)
TEXTS = 4_096  # distinct texts in one call of `encode`, which batches them as it likes
NOT_EQUAL = 1e-5  # largest absolute difference of normalised vectors between two calls
# They are in several scripts and lengths; changing one changes the revision of every object.
PROBE = (
    "The ferry leaves at noon.",
    "Der Zug kommt heute später an.",
    "Где находится ближайшая библиотека?",
    "متى تفتح المتاحف أبوابها؟",
    "नदी गाँव के पास बहती है।",
    "天气预报说明天会下雪。",
    "Mto",
    "In the north of the island a narrow path leads past three abandoned farms, a lake that dries "
    "up in summer and the ruins of a mill, and ends at a bay where seals rest on the rocks.",
)


@dataclass(frozen=True, kw_only=True)
class GivenModel(Checkpoint):
    """An object with ``encode``, in the place of a checkpoint.

    ``revision`` is ``object:`` and a sha256 over its vectors of PROBE in both roles.
    ``similarity``: how it says that its vectors are compared. ``width``: their dimensions.
    ``steady``: whether two calls gave the same vectors for the same texts.
    """

    model: Any = field(compare=False, repr=False)
    name: str
    similarity: str
    width: int
    steady: bool

    @property
    def slug(self) -> str:
        """The results folder."""
        return f"{OBJECTS}{re.sub(r'[^A-Za-z0-9._-]+', '_', self.name)[:80]}"

    @property
    def revision12(self) -> str:
        """The first 12 hex digits of the digest."""
        return self.revision.removeprefix("object:")[:12]


@dataclass(frozen=True)
class GivenVectors:
    """How an object's texts become vectors: in its own way, known by name and probe."""

    name: str
    probe: str
    similarity: str

    def signed(self) -> dict[str, Any]:
        """Return the parts of a signature; pooling, layer, lengths and prompts are the object's
        own.
        """
        return {
            "pooling": None,
            "layer": None,
            "lengths": {},
            "dtype": "float32",
            "prompts": {},
            "object": {"name": self.name, "probe": self.probe, "similarity": self.similarity},
        }


def can_encode(model: object) -> bool:
    """Return whether this is an object with ``encode``; text and classes are none."""
    return not isinstance(model, (str, bytes, type)) and callable(getattr(model, "encode", None))


def given_model(model: Any) -> GivenModel:
    """Encode the probe and describe the object.

    Raises:
        UsageError: it compares its vectors in a way that is not supported.
        RefusedError: what ``encode`` returns is not one finite vector per text.
    """
    name, similarity = _name(model), _similarity(model)
    roles: tuple[Role, ...] = ("query", "document")
    first, second = ([_encoded(model, PROBE, role, name) for role in roles] for _ in range(2))
    if first[0].shape != first[1].shape:
        raise RefusedError(
            f"{name}: queries have {first[0].shape[1]} dimensions, documents {first[1].shape[1]}: "
            "they cannot be compared"
        )
    for one, other in zip(first, second, strict=True):
        _require_width(other, one.shape[1], name)
        if similarity == "dot":
            _require_products(one, name)
            _require_length(one, name)
    steady = all(
        bool(np.abs(_unit(one) - _unit(other)).max() <= NOT_EQUAL)
        for one, other in zip(first, second, strict=True)
    )
    digest = sha256(b"".join(vectors.tobytes() for vectors in first)).hexdigest()
    return GivenModel(
        id=f"{OBJECTS}{name}",
        revision=f"object:{digest}",
        folder=Path(),
        local=True,
        model_type="object",
        architecture=type(model).__name__,
        parameters=_parameters(model),
        head_note="an object with encode gives vectors and reads no answers",
        model=model,
        name=name,
        similarity=similarity,
        width=first[0].shape[1],
        steady=steady,
    )


class ObjectEncoder:
    """Texts → vectors by an object's own ``encode``; none are kept in a store."""

    def __init__(self, given: GivenModel, progress: Callable[[int, int], None]) -> None:
        self._given = given
        self._progress = progress

    @property
    def remarks(self) -> tuple[str, ...]:
        """No remarks: the job holds all that belongs beside the scores."""
        return ()

    def encode(
        self, texts: Sequence[str], *, role: Role, lang: str = "", layer: int | None = None
    ) -> Float32:
        """Return float32[n, d], one vector per text; equal texts get the same vector.

        Raises:
            RefusedError: what the object returns is not one finite vector per text.
        """
        given = self._given
        unique, inverse = distinct(texts)
        parts: list[Float32] = []
        for start in range(0, len(unique), TEXTS):
            part = unique[start : start + TEXTS]
            parts.append(_encoded(given.model, part, role, given.name))
            _require_width(parts[-1], given.width, given.name)
            if given.similarity == "dot":
                _require_products(parts[-1], given.name)
            self._progress(len(part), sum(len(text) for text in part))
        vectors = np.concatenate(parts) if len(parts) != 1 else parts[0]
        vectors = _unit(vectors) if given.similarity == "cosine" else vectors
        return vectors if len(unique) == len(texts) else vectors[inverse]

    stored = encode  # in slices or whole, it is all in memory here

    def ids_keys(self, texts: Sequence[str], *, role: Role) -> list[bytes]:
        """Return a key of each text: an object's token ids are not known, so that only texts
        tie.
        """
        return [text_key(text) for text in texts]


def _encoded(model: Any, texts: Sequence[str], role: Role, name: str) -> Float32:
    """Return float32[n, d] of what ``encode_query``, ``encode_document`` or ``encode`` returns."""
    special = getattr(model, f"encode_{role}", None)
    encode = special if callable(special) else model.encode
    try:
        returned = encode(list(texts))
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # some tokenizers' errors are no Exception
        why = one_line(f"{type(error).__name__}: {error}", 200)
        raise RefusedError(f"{name}: encode failed on {len(texts)} texts: {why}") from error
    vectors = _array(returned, name)
    if vectors.ndim != 2 or len(vectors) != len(texts) or not vectors.shape[1]:
        raise RefusedError(
            f"{name}: encode returned an array of shape {vectors.shape} for {len(texts)} texts: "
            "return one vector per text"
        )
    bad = int((~np.isfinite(vectors).all(axis=1)).sum())
    if bad:
        raise RefusedError(f"{name}: {bad} of {len(texts)} vectors are not finite")
    return vectors


def _require_width(vectors: Float32, width: int, name: str) -> None:
    if vectors.shape[1] != width:
        raise RefusedError(
            f"{name}: encode returned vectors of {width} and of {vectors.shape[1]} dimensions"
        )


def _require_products(vectors: Float32, name: str) -> None:
    """Refuse vectors that are compared by inner products and too long for these."""
    if bad := int(uncomparable(vectors).sum()):
        raise RefusedError(
            f"{name}: {bad} of {len(vectors)} vectors are too long for their inner products: scale "
            "them, or compare by cosine"
        )


def _require_length(vectors: Float32, name: str) -> None:
    """Refuse vectors that are all so short that their inner products are nothing in float32."""
    longest = float(np.linalg.norm(vectors.astype(np.float64), axis=1).max())
    if 0 < longest**2 < np.finfo(np.float32).tiny:
        raise RefusedError(
            f"{name}: the longest of {len(vectors)} vectors is {longest:.1g}, too short for inner "
            "products: scale them, or compare by cosine"
        )


def _array(returned: Any, name: str) -> Float32:
    """Return a numpy array, a tensor, or a list of vectors, as float32, in memory of our own.

    What an object returns may be the memory that its next call writes to.
    """
    if isinstance(returned, (list, tuple)):
        returned = [_on_host(one) for one in returned]
    try:
        array = np.asarray(_on_host(returned))
    except Exception as error:  # vectors of several lengths, or whatever else a list holds
        why = one_line(error, 120)
        raise RefusedError(f"{name}: encode returned no array: {why}") from None
    if array.dtype.kind not in "fiu":
        raise RefusedError(
            f"{name}: encode returned {type(returned).__name__} of {array.dtype}: return numbers"
        )
    with np.errstate(over="ignore"):  # too large a number is found as not finite
        return np.array(array, dtype=np.float32, order="C")


def _on_host(value: Any) -> Any:
    """Return a tensor as numpy, wherever it lies and of whichever float type; anything else as it
    is.
    """
    if callable(getattr(value, "detach", None)):
        return value.detach().cpu().float().numpy()
    return value


def _unit(vectors: Float32) -> Float32:
    norms = np.linalg.norm(vectors.astype(np.float64), axis=1, keepdims=True)
    unit: Float32 = (vectors / np.where(norms > 0, norms, 1)).astype(np.float32)
    return unit


def _name(model: Any) -> str:
    declared = getattr(model, "name", None)
    if not isinstance(declared, str) or not declared.strip() or has_half_pair(declared):
        declared = type(model).__name__
    return one_line(declared, 120)


def _similarity(model: Any) -> str:
    declared = getattr(model, "similarity_fn_name", None)
    value = str(getattr(declared, "value", declared) or "cosine")
    if value not in ("cosine", "dot"):
        raise UsageError(f"similarity {one_line(value, 40)!r} is not supported: give cosine or dot")
    return value


def _parameters(model: Any) -> int:
    """Return how many values the model has, where it tells them as torch's modules do; else 0."""
    try:
        return sum(int(one.numel()) for one in model.parameters())
    except Exception:  # any object: what it has under that name is its own
        return 0
