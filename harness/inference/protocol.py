"""Defines how a checkpoint is measured: all that changes a number besides task and checkpoint."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, get_args

from harness.checkpoint.native import Dense, Step, Truncate
from harness.errors import RefusedError, UsageError, unknown_name

if TYPE_CHECKING:
    from harness.checkpoint.native import Native

Role = Literal["query", "document"]
Pooling = Literal["mean", "cls", "max", "last"]
Dtype = Literal["float32", "bfloat16", "float16"]
ProtocolName = Literal["standard", "native"]
Track = Literal["frozen", "native", "own-head", "tuned", "custom"]  # custom: of an object

# Raised when a protocol comes to mean something else (a layer rule, windows, normalisation) though
# the parts of its signature stay the same: rows of another version are stale.
# 2: texts of equal token ids are one candidate (before: texts that are equal).
PROTOCOL_VERSION = 2

# The results folder of an object with `encode` begins so: `@` is in no Hub id, and a local folder's
# begins with `local__`.
OBJECTS = "object@"

ROLES: tuple[Role, ...] = get_args(Role)


def standard_layer(depth: int) -> int:
    """Return the layer that the standard protocol pools: ``min(L, L // 2 + 2)``.

    It meets both published choices, hs[8] of mBERT (12 layers) and hs[14] of XLM-R large (24).
    """
    return min(depth, depth // 2 + 2)


@dataclass(frozen=True)
class Protocol:
    """What was asked for. ``None`` leaves a setting to the protocol named."""

    name: ProtocolName = "standard"
    pooling: Pooling | None = None
    layer: int | Literal["auto", "all"] = "auto"
    prompts: Mapping[Role, str | None] = field(default_factory=dict)
    dtype: Dtype = "float32"

    def __post_init__(self) -> None:
        for what, value, known in (
            ("protocol", self.name, get_args(ProtocolName)),
            ("dtype", self.dtype, get_args(Dtype)),
            ("pooling", self.pooling, get_args(Pooling)),
        ):
            if value is not None and value not in known:
                raise unknown_name(what, str(value), known)

    @property
    def track(self) -> Track:
        """The track of retrieval results under this protocol."""
        return "frozen" if self.name == "standard" else "native"


@dataclass(frozen=True)
class Encoding:
    """The protocol resolved for one checkpoint and task: all that decides a vector.

    ``lengths``: tokens a text may have, special tokens included. ``layer`` k means
    ``hidden_states[k]``: 0 are the embeddings, ``depth`` the last layer. ``declared_side``: too
    long a text is cut on the side that the tokenizer declares, not at its end.
    """

    pooling: Pooling
    layer: int
    depth: int
    lengths: Mapping[Role, int]
    prompts: Mapping[Role, str]
    dtype: Dtype
    lower_case: bool = False
    special_tokens: bool = True
    declared_side: bool = False
    steps: tuple[Step, ...] = ("normalize",)

    def signed(self) -> dict[str, Any]:
        """Return the parts of a signature that the encoding contributes.

        What a checkpoint declares beyond them is pinned by its revision. Two that were once left
        unread are named where they are there, so that no row from before passes for one of now.
        """
        return {
            "pooling": self.pooling,
            "layer": self.layer,
            "lengths": dict(self.lengths),
            "dtype": self.dtype,
            "prompts": dict(self.prompts),
            **self._rare(),
            **self._truncated(),
        }

    def vector_parts(self, role: Role) -> dict[str, Any]:
        """Return all that decides a vector of this role besides checkpoint and text."""
        return {
            "pooling": self.pooling,
            "layer": self.layer,
            "length": self.lengths[role],
            "prompt": self.prompts[role],
            "dtype": self.dtype,
            "lower_case": self.lower_case,
            "declared_side": self.declared_side,
            "steps": [step if isinstance(step, str) else _step_parts(step) for step in self.steps],
            **self._rare(),
        }

    def _rare(self) -> dict[str, Any]:
        # It is named only where it is unusual, so that the parts of usual checkpoints stay the
        # same.
        return {} if self.special_tokens else {"special_tokens": False}

    def _truncated(self) -> dict[str, Any]:
        cuts = [step.dimensions for step in self.steps if isinstance(step, Truncate)]
        return {"truncate": cuts} if cuts else {}


def resolve_encodings(
    protocol: Protocol,
    *,
    task_lengths: Mapping[Role, int],
    depth: int,
    max_positions: int | None,
    native: Native | None,
    bitext: bool,
) -> tuple[Encoding, ...]:
    """Return the encodings that ``protocol`` asks for: one, or one per layer with ``--layer all``.

    ``max_positions``: tokens the model can take, None where it has no bound. ``bitext``: both
    sides play the same part, so that both take the query prompt and the query's length.

    Raises:
        UsageError: the layer does not exist.
        RefusedError: the native protocol without a declaration that can be followed.
    """
    layers = _layers(protocol, depth)
    own = _Own("mean", {}, dict.fromkeys(ROLES, ""))
    if protocol.name == "native":
        declared = _declaration(native)
        own = _declared(declared, bitext)
        layers = (_declared_layer(declared, depth),) if protocol.layer == "auto" else layers
    prompts = dict(own.prompts)
    prompts |= {role: text for role, text in protocol.prompts.items() if text is not None}
    if bitext:
        prompts["document"] = prompts["query"]
    if not own.prompt_pooled and any(prompts.values()):
        raise RefusedError(
            "the native protocol cannot be followed with a prompt: its pooling leaves the prompt's "
            "tokens out (include_prompt false)"
        )
    lengths: dict[Role, int] = {}
    for role, length in task_lengths.items():
        bounds = (length, max_positions, own.lengths.get(role))
        lengths[role] = min(bound for bound in bounds if bound is not None)
    return tuple(
        Encoding(
            pooling=protocol.pooling or own.pooling,
            layer=layer,
            depth=depth,
            lengths=lengths,
            prompts=prompts,
            dtype=protocol.dtype,
            **own.others,
        )
        for layer in layers
    )


class _Own(NamedTuple):
    """What a protocol says where nothing else is asked for.

    ``lengths``: role → the most tokens of a text, if it bounds them. ``others``: the further fields
    of `Encoding`.
    """

    pooling: Pooling
    lengths: Mapping[Role, int | None]
    prompts: Mapping[Role, str]
    prompt_pooled: bool = True
    others: Mapping[str, Any] = {}  # never changed


def _declared(native: Native, bitext: bool) -> _Own:
    # Every search is by inner product; a declared cosine is that of normalised vectors.
    cosine = native.similarity == "cosine" and native.steps[-1:] != ("normalize",)
    return _Own(
        native.pooling,  # type: ignore[arg-type]  # any other pooling has a refusal
        {role: native.length("query" if bitext else role) for role in ROLES},
        {role: native.prompt(role) for role in ROLES},
        native.prompt_pooled,
        {
            "lower_case": native.lower_case,
            "special_tokens": native.special_tokens,
            "declared_side": True,
            "steps": native.steps + (("normalize",) if cosine else ()),
        },
    )


def signature(parts: Mapping[str, Any]) -> str:
    """Return the first 8 hex digits of the sha256 over the canonical JSON of ``parts``.

    The parts are pooling, layer, lengths, dtype, prompts, card hash, split, limit, track, recipe
    and seed; not the languages, so that languages can be added to a result.
    """
    canonical = json.dumps(parts, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return sha256(canonical.encode()).hexdigest()[:8]


def _layers(protocol: Protocol, depth: int) -> tuple[int, ...]:
    if protocol.layer == "auto":
        return (standard_layer(depth),)
    if protocol.layer == "all":
        return tuple(range(depth + 1))
    if not 0 <= protocol.layer <= depth:
        raise UsageError(
            f"layer {protocol.layer} does not exist: the model has layers 0 (embeddings) to {depth}"
        )
    return (protocol.layer,)


def _declaration(native: Native | None) -> Native:
    if native is None:
        raise RefusedError(
            "the native protocol needs a sentence-transformers declaration (modules.json), which "
            "this checkpoint lacks: use --protocol standard"
        )
    if native.refusal:
        raise RefusedError(f"the native protocol cannot be followed: {native.refusal}")
    return native


def _declared_layer(declared: Native, depth: int) -> int:
    """Return the layer k of ``hidden_states[k]`` that is declared; those are ``depth`` + 1
    tensors.
    """
    if declared.layer is None:
        return depth
    layer = declared.layer if declared.layer >= 0 else depth + 1 + declared.layer
    if not 0 <= layer <= depth:
        raise RefusedError(
            f"the native protocol cannot be followed: its method_output_name asks for "
            f"hidden_states[{declared.layer}] of a model of {depth} layers"
        )
    return layer


def _step_parts(step: Dense | Truncate) -> dict[str, Any]:
    if isinstance(step, Truncate):
        return {"truncate": step.dimensions}
    # The folder differs between machines; the checkpoint's revision already pins what is in it.
    parts = asdict(step)
    return {key: value for key, value in parts.items() if isinstance(value, (int, bool, str))} | {
        "folder": parts["folder"].name
    }
