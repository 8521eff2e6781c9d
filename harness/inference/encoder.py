"""Encoder: texts → vectors, by a checkpoint under one protocol."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from harness.checkpoint.layers import texts_first
from harness.checkpoint.loading import depth, encoder_layers, load_encoder, max_positions, refusing
from harness.checkpoint.tokenizer import LONG, LONGEST, Side, Tokenizer, load_tokenizer
from harness.errors import RefusedError
from harness.inference.batching import budget, distinct, halving, on_device, pad_id, token_batches
from harness.inference.pooling import build_steps, pool
from harness.inference.probe import (
    ONE_LENGTH,
    UNTRIED,
    Ids,
    check_layers,
    needs_one_length,
    probe_ids,
    read_finding,
    write_finding,
)
from harness.inference.protocol import Encoding
from harness.inference.token_types import edge_types, single_types
from harness.inference.vector_store import (
    KEY_BYTES,
    Float32,
    Stored,
    VectorStore,
    ids_key,
    text_key,
)
from harness.io.environment import libraries

if TYPE_CHECKING:
    import torch

    from harness.checkpoint.resolve import Checkpoint
    from harness.checkpoint.tokenizer import Tokenizer
    from harness.inference.protocol import Dtype, Role

VERSION = 3  # raised when a change here changes a vector: what is stored is then not used
DECIDING = ("torch", "transformers", "tokenizers")
TOKENISED = 1_024  # texts in one call of the tokenizer, which keeps far more than ids of them
UNENCODED = "cannot encode"
CUT_EARLY = (
    f"some texts of more than {LONGEST:,} characters were cut to so many before they were "
    "tokenised, and not at the boundary of a word: their last tokens may differ"
)
CHUNK = 65_536  # texts tokenised at a time: bounds the memory of the token lists
# Of what decides a vector, what says nothing of a text's token ids.
AFTER_TOKENS = ("device", "pooling", "layer", "dtype", "steps")


class _LayerReached(Exception):
    """Leaves the forward pass: the layers above are not computed."""


class Backbone:
    """A checkpoint's encoder, loaded at first use and shared by the encoders of several tasks.

    A run that finds all its vectors in the store never loads it. Layers above ``top`` are dropped
    once their weights have been checked, and ``layers`` (``top`` by default) to be the ones that
    transformers names.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        *,
        dtype: Dtype,
        device: str,
        top: int,
        layers: Sequence[int] = (),
    ) -> None:
        self.checkpoint = checkpoint
        self.dtype = dtype
        self.device = device
        self.top = top
        self.layers = sorted(set(layers)) or [top]
        self._loaded: tuple[Any, Tokenizer] | None = None

    def load(self) -> tuple[Any, Tokenizer]:
        """The model in eval mode and its tokenizer.

        Raises:
            RefusedError: as ``load_encoder``, or its layers are not what they are said to be.
        """
        if self._loaded is None:
            model, tokenizer = load_encoder(self.checkpoint, dtype=self.dtype, device=self.device)
            with refusing(self.checkpoint, UNTRIED):
                self._check_layers(model, tokenizer)
            # The layer above is kept, for its input: what it would be given is hidden_states[top].
            del encoder_layers(model)[self.top + 1 :]
            self._loaded = model, tokenizer
        return self._loaded

    def _check_layers(self, model: Any, tokenizer: Any) -> None:
        import torch

        deepest = depth(model)
        layers = sorted({min(layer, deepest) for layer in self.layers})
        few = [
            first
            for first, _ in probe_ids(_cutting(tokenizer), max_positions(model, tokenizer))[:3]
        ]
        inputs, mask = pad(few, pad_id(tokenizer), self.device)
        types = _types(model, tokenizer, few, self.device)
        with torch.inference_mode():
            found = dict(hidden_states(model, inputs, mask, layers, **types))
            whole = model(input_ids=inputs, attention_mask=mask, output_hidden_states=True, **types)
            check_layers(found, whole.hidden_states, mask, deepest, type(model).__name__)


class Encoder:
    """Texts → vectors under the encodings of one task: one, or one per layer."""

    def __init__(
        self,
        backbone: Backbone,
        encodings: Sequence[Encoding],
        *,
        cache: Path,
        batch_tokens: int | None = None,
        since: int = 0,
        progress: Callable[[int, int], None] = lambda texts, characters: None,
    ) -> None:
        self.checkpoint = backbone.checkpoint
        self.encodings = {encoding.layer: encoding for encoding in encodings}
        self.device = backbone.device
        self.batch_tokens = batch_tokens or budget(self.device)
        self._backbone = backbone
        self._cache = cache
        self._since = since
        self._progress = progress
        self._stores: dict[tuple[int, Role], VectorStore] = {}
        self._tokens: dict[Role, VectorStore] = {}
        self._ids: dict[bytes, npt.NDArray[np.int32]] = {}  # of the texts tokenised last, by key
        # Keys of texts and of token ids alike: a digest of one is never one of the other.
        self._planned: dict[Role, set[bytes]] = {"query": set(), "document": set()}
        self._steps: list[Callable[[torch.Tensor], torch.Tensor]] | None = None
        self._one_length: bool | None = None
        self._cut_early: dict[tuple[bytes, Role], bool] = {}  # of very long texts

    @property
    def remarks(self) -> tuple[str, ...]:
        """What is to be said beside the scores of these vectors."""
        notes = load_tokenizer(self.checkpoint).notes
        notes = (*notes, CUT_EARLY) if any(self._cut_early.values()) else notes
        return (*notes, ONE_LENGTH) if self.one_length else notes

    @property
    def one_length(self) -> bool:
        """Whether batches hold texts of one length only, because the model reads padding.

        It is tried once of a model, and kept beside the vectors: a run that finds all of them
        says so too, and all machines form the same batches.

        Raises:
            RefusedError: a text has another vector in any company.
        """
        if self._one_length is None:
            parts = self._deciding() | {
                str(layer): {
                    name: part
                    for name, part in encoding.vector_parts("query").items()
                    if name not in ("length", "prompt")
                }
                for layer, encoding in self.encodings.items()
            }
            folder = self._cache / "probes"
            found = read_finding(folder, parts, since=self._since)
            if found is None:
                found = self._probe()
                write_finding(folder, parts, found, since=self._since)
            self._one_length = found
        return self._one_length

    def _probe(self) -> bool:
        model, tokenizer = self._backbone.load()
        limit = max_positions(model, tokenizer)

        def compute(batch: Sequence[Ids], masked: bool) -> dict[int, Float32]:
            forward = partial(self._forward, model, tokenizer, batch, masked=masked)
            parts = [found for _, found in halving(np.arange(len(batch)), forward)]
            return {layer: np.concatenate([found[layer] for found in parts]) for layer in parts[0]}

        with refusing(self.checkpoint, UNTRIED):
            return needs_one_length(
                compute,
                probe_ids(_cutting(tokenizer), limit),
                next(iter(self.encodings.values())).dtype,
            )

    def encode(
        self, texts: Sequence[str], *, role: Role, lang: str = "", layer: int | None = None
    ) -> Float32:
        """float32[n, d], one vector per text; texts of equal cut token ids get the same vector.

        ``layer`` picks one of the encodings; a text is run through the model once for all of them.

        Raises:
            RefusedError: the checkpoint gives vectors that are not finite.
            IncompleteError: out of memory on a single text, or the vector cache cannot be used.
        """
        return self.stored(texts, role=role, lang=lang, layer=layer)[:]

    def stored(
        self, texts: Sequence[str], *, role: Role, lang: str = "", layer: int | None = None
    ) -> Stored:
        """As ``encode``, but left in the store: for pools of a million."""
        unique, inverse = distinct(texts)
        keys = self._fill(unique, role, lang)
        chosen = next(iter(self.encodings)) if layer is None else layer
        return self._store(chosen, role).stored([keys[row] for row in inverse])

    def ids_keys(self, texts: Sequence[str], *, role: Role) -> list[bytes]:
        """A key of each text's cut token ids, 16 bytes: texts of equal keys have one vector.

        What the store does not know is tokenised, CHUNK texts at a time, and kept there.
        """
        keys = [text_key(text) for text in texts]
        self._note_long(texts, keys, role)
        store = self._token_store(role)
        unknown = np.flatnonzero(store.missing(keys))
        if len(unknown):
            tokenizer = load_tokenizer(self.checkpoint)
            encoding = next(iter(self.encodings.values()))
            for start in range(0, len(unknown), CHUNK):
                rows = unknown[start : start + CHUNK]
                with refusing(self.checkpoint, UNENCODED):
                    ids = tokenize(tokenizer, [texts[row] for row in rows], encoding, role)
                found = [ids_key(row) for row in ids]
                self._ids = dict(zip(found, ids, strict=True))
                values = np.frombuffer(b"".join(found), dtype=np.uint8).reshape(-1, KEY_BYTES)
                store.append([keys[row] for row in rows], values)
            store.flush()
        return [row.tobytes() for row in store.get(keys)]

    def _note_long(self, texts: Sequence[str], keys: Sequence[bytes], role: Role) -> None:
        """Remember which very long texts lose more than their tokens' number says."""
        encoding = next(iter(self.encodings.values()))
        for text, key in zip(texts, keys, strict=True):
            if len(text) > LONG and (key, role) not in self._cut_early:
                with refusing(self.checkpoint, UNENCODED):
                    tokenizer, side = _settings(load_tokenizer(self.checkpoint), encoding)
                    whole = encoding.prompts[role] + text
                    _, exact = tokenizer.shortened(whole, encoding.lengths[role], side)
                self._cut_early[key, role] = not exact

    def announce(self, texts: Sequence[str], *, role: Role) -> None:
        """Take ``texts`` as encoded earlier in this plan.

        Batches are formed of the token ids that no earlier part of the plan holds. A resumed run
        announces what is done already, forms the same batches as an undisturbed run, and so gets
        the same vectors to the last bit.
        """
        unique, _ = distinct(texts)
        self._planned[role].update(text_key(text) for text in unique)
        self._planned[role].update(self.ids_keys(unique, role=role))

    def parts(self, texts: Sequence[str], *, role: Role) -> Iterator[list[str]]:
        """One text for each token ids that no earlier part of the plan holds, in parts.

        A part is what is new among CHUNK of the distinct texts, in order of first appearance. It
        is part of the plan from now on. Batches are formed within a part, by its ids alone. Texts
        whose ids are there already are reported as done.
        """
        planned = self._planned[role]
        unique, _ = distinct(texts)
        for start in range(0, len(unique), CHUNK):
            window = unique[start : start + CHUNK]
            unseen = [text for text in window if text_key(text) not in planned]
            planned.update(text_key(text) for text in unseen)
            new: list[str] = []
            for text, key in zip(unseen, self.ids_keys(unseen, role=role), strict=True):
                if key in planned:
                    self._progress(1, len(text))
                else:
                    planned.add(key)
                    new.append(text)
            if new:
                yield new

    def missing(self, texts: Sequence[str], *, role: Role) -> npt.NDArray[np.bool_]:
        """bool[n]: which texts lack a vector, of one layer or another, in the store."""
        return self._missing(self.ids_keys(texts, role=role), role)

    def keep(
        self, part: Sequence[str], *, role: Role, lang: str = "", share: tuple[int, int] = (0, 1)
    ) -> None:
        """Compute what the store lacks of a part, texts of distinct token ids, and write it there.

        ``share`` (i, n): of the part's batches only the i-th of every n, for one of n machines.

        Raises: as ``encode``.
        """
        keys = self.ids_keys(part, role=role)
        missing = self._missing(keys, role)
        if missing.any():
            self._encode_part(part, keys, missing, role, lang, share)
        else:
            self._progress(len(part), sum(len(text) for text in part))
        for layer in self.encodings:
            self._store(layer, role).flush()

    def _fill(self, unique: Sequence[str], role: Role, lang: str) -> list[bytes]:
        """The keys of distinct texts, all of which have a vector afterwards."""
        for part in self.parts(unique, role=role):
            self.keep(part, role=role, lang=lang)
        keys = self.ids_keys(unique, role=role)
        # Texts of an earlier part that are not in the store: it was pruned or damaged meanwhile.
        lost = {
            keys[row]: unique[row] for row in reversed(np.flatnonzero(self._missing(keys, role)))
        }
        if lost:
            self.keep(list(lost.values())[::-1], role=role, lang=lang)
        return keys

    def _missing(self, keys: Sequence[bytes], role: Role) -> npt.NDArray[np.bool_]:
        gone = np.zeros(len(keys), dtype=bool)
        for layer in self.encodings:
            gone |= self._store(layer, role).missing(keys)
        return gone

    def _encode_part(
        self,
        texts: Sequence[str],
        keys: Sequence[bytes],
        missing: npt.NDArray[np.bool_],
        role: Role,
        lang: str,
        share: tuple[int, int],
    ) -> None:
        stores = {layer: self._store(layer, role) for layer in self.encodings}
        model, tokenizer = self._backbone.load()
        encoding = next(iter(self.encodings.values()))
        with refusing(self.checkpoint, UNENCODED):
            if self._steps is None:
                self._steps = build_steps(encoding.steps, self.device)
            if all(key in self._ids for key in keys):
                ids = [self._ids[key] for key in keys]
            else:
                ids = tokenize(tokenizer, texts, encoding, role)
        self._ids = {}
        first, step = share
        lengths = [len(row) for row in ids]
        batches = token_batches(lengths, self.batch_tokens, one_length=self.one_length)
        for batch in batches[first::step]:
            # A batch is computed whole or not at all: its make-up decides the last bits.
            if missing[batch].any():
                forward = partial(self._forward, model, tokenizer, ids)
                with refusing(self.checkpoint, UNENCODED):
                    for rows, vectors in halving(batch, forward):
                        for layer, store in stores.items():
                            _check_finite(vectors[layer], self.checkpoint, lang, encoding.dtype)
                            store.append([keys[row] for row in rows], vectors[layer])
            self._progress(len(batch), sum(len(texts[row]) for row in batch))

    def _forward(
        self,
        model: Any,
        tokenizer: Tokenizer,
        ids: Sequence[npt.NDArray[np.int32]],
        rows: npt.NDArray[np.int64],
        *,
        masked: bool = False,
    ) -> dict[int, Float32]:
        import torch

        if self._steps is None:
            self._steps = build_steps(next(iter(self.encodings.values())).steps, self.device)
        batch = [ids[row] for row in rows]
        inputs, mask = pad(batch, pad_id(tokenizer), self.device)
        # Known from the lengths: to ask the mask, the host would wait for the device.
        attended = mask if masked or len({len(row) for row in batch}) > 1 else None
        special = next(iter(self.encodings.values())).special_tokens
        types = _types(model, tokenizer, batch, self.device) if special else {}
        out: dict[int, Float32] = {}
        layers = sorted(self.encodings)
        with torch.inference_mode():
            for layer, hidden in hidden_states(model, inputs, attended, layers, **types):
                encoding = self.encodings[layer]
                pooled = pool(hidden, mask, encoding.pooling)
                for step in self._steps or ():
                    pooled = step(pooled)
                out[layer] = pooled.cpu().numpy()
        return out

    def _store(self, layer: int, role: Role) -> VectorStore:
        if (layer, role) not in self._stores:
            parts = self._deciding() | self.encodings[layer].vector_parts(role)
            self._stores[layer, role] = self._opened("vectors", parts, self._stores.values())
        return self._stores[layer, role]

    def _token_store(self, role: Role) -> VectorStore:
        if role not in self._tokens:
            parts = self._deciding() | next(iter(self.encodings.values())).vector_parts(role)
            parts = {name: part for name, part in parts.items() if name not in AFTER_TOKENS}
            self._tokens[role] = self._opened("tokens", parts, self._tokens.values())
        return self._tokens[role]

    def _deciding(self) -> dict[str, Any]:
        checkpoint = self.checkpoint
        before, own, after = edge_types(load_tokenizer(checkpoint))
        types = [*before, own, *after]
        return {
            "encoder": VERSION,
            # Only where they are not what nearly every checkpoint has, as in `vector_parts`.
            **({"types": types} if any(types) else {}),
            "libraries": {name: libraries()[name] for name in DECIDING},
            # A folder's digest names it; what the folder is called decides nothing.
            "checkpoint": f"{'' if checkpoint.local else checkpoint.id}@{checkpoint.revision}",
            "base": str(checkpoint.base),
            "device": self.device.split(":")[0],
        }

    def _opened(
        self, kind: str, parts: dict[str, Any], opened: Iterable[VectorStore]
    ) -> VectorStore:
        for store in opened:
            if store.parts == parts:  # both roles share length and prompt
                return store
        return VectorStore(self._cache / kind, parts, since=self._since)


def tokenize(
    tokenizer: Tokenizer, texts: Sequence[str], encoding: Encoding, role: Role
) -> list[npt.NDArray[np.int32]]:
    """Token ids of each text with its prompt, special tokens included, cut to the role's length.

    A text without a single token (an empty one under a tokenizer without special tokens) is given
    one, so that every text has a vector.
    """
    prompt = encoding.prompts[role]
    whole = [prompt + text for text in texts] if prompt else list(texts)
    tokenizer, side = _settings(tokenizer, encoding)
    rows: list[list[int]] = []
    for start in range(0, len(whole), TOKENISED):
        rows += tokenizer.ids(
            whole[start : start + TOKENISED],
            special_tokens=encoding.special_tokens,
            max_length=encoding.lengths[role],
            side=side,
        )
    special = tokenizer.special
    fallback = [special.get("bos_token", special.get("eos_token", 0))]
    return [np.asarray(row or fallback, dtype=np.int32) for row in rows]


def _settings(tokenizer: Tokenizer, encoding: Encoding) -> tuple[Tokenizer, Side]:
    """The tokenizer that an encoding means, and the side on which it cuts."""
    side = tokenizer.truncation_side if encoding.declared_side else "right"
    return (tokenizer.lower_cased if encoding.lower_case else tokenizer), side


def _cutting(tokenizer: Any) -> Callable[[str, int], Ids]:
    """A text and a number of tokens → its ids without a prompt, cut to so many."""

    def cut(text: str, length: int) -> Ids:
        lengths: dict[Role, int] = {"query": length, "document": length}
        prompts: dict[Role, str] = {"query": "", "document": ""}
        plain = Encoding("mean", 0, 0, lengths, prompts, "float32")
        return tokenize(tokenizer, [text], plain, "query")[0]

    return cut


def pad(
    ids: Sequence[Sequence[int] | npt.NDArray[np.int32]], padding: int, device: str
) -> tuple[torch.Tensor, torch.Tensor]:
    """Input ids and attention mask, int64[n, longest], padded on the right."""
    lengths = np.array([len(row) for row in ids])
    inputs = np.full((len(ids), int(lengths.max())), padding, dtype=np.int64)
    for row, tokens in enumerate(ids):
        inputs[row, : len(tokens)] = tokens
    mask = (np.arange(inputs.shape[1])[None, :] < lengths[:, None]).astype(np.int64)
    return on_device(inputs, device), on_device(mask, device)


def _types(
    model: Any, tokenizer: Tokenizer, ids: Sequence[Ids], device: str
) -> dict[str, torch.Tensor]:
    """The types of a batch's tokens as a keyword of the model; empty where it needs none."""
    types = single_types(model, tokenizer, [len(row) for row in ids])
    return {} if types is None else {"token_type_ids": on_device(types, device)}


def hidden_states(
    model: Any,
    inputs: torch.Tensor,
    mask: torch.Tensor | None,
    layers: Sequence[int],
    **types: torch.Tensor,
) -> Iterator[tuple[int, torch.Tensor]]:
    """``(k, hidden_states[k])`` for the ascending ``layers``; nothing above the last is computed.

    ``mask``: None for a batch without padding, for which attention takes the faster kernel.
    ``types``: ``token_type_ids`` of a model that is told them, or nothing.
    ``hidden_states[k]`` is what transformers means by it: for k below the depth what layer k + 1
    is given, before any final norm; at the depth, the model's own last hidden state. Layers are
    counted by their calls, since an architecture may call one several times (ALBERT).

    Raises:
        RefusedError: a layer was never called, or is not given [texts, tokens, width].
    """
    deepest = depth(model)
    taken: dict[int, torch.Tensor] = {}
    wanted, top = set(layers), layers[-1]
    calls = count()

    def take(_module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        layer = next(calls)
        if layer in wanted:
            hidden = args[0] if args else kwargs["hidden_states"]
            taken[layer] = texts_first(model, hidden, inputs.shape[1])
        if layer == top:
            raise _LayerReached

    handles = [
        block.register_forward_pre_hook(take, with_kwargs=True)
        for block in set(encoder_layers(model))
    ]
    try:
        output = model(input_ids=inputs, attention_mask=mask, **types)
        if top == deepest:
            taken[deepest] = output.last_hidden_state
    except _LayerReached:
        pass
    finally:
        for handle in handles:
            handle.remove()
    for layer in layers:
        _check_shape(model, layer, taken.get(layer), inputs)
        yield layer, taken[layer]


def _check_shape(model: Any, layer: int, hidden: Any, inputs: torch.Tensor) -> None:
    name = type(model).__name__
    if hidden is None:
        raise RefusedError(
            f"layer {layer + 1} of {name} is never called as a module: what it is given, which is "
            f"hidden_states[{layer}], cannot be had"
        )
    shape = getattr(hidden, "shape", ())
    if len(shape) != 3 or shape[:2] != inputs.shape:
        raise RefusedError(
            f"hidden_states[{layer}] of {name} is {list(shape)} for {inputs.shape[0]} texts of "
            f"{inputs.shape[1]} tokens, not [texts, tokens, width]"
        )


def _check_finite(vectors: Float32, checkpoint: Checkpoint, lang: str, dtype: str) -> None:
    bad = int((~np.isfinite(vectors).all(axis=1)).sum())
    if bad:
        remedy = "try --dtype float32" if dtype != "float32" else "the weights are broken"
        where = f" ({lang})" if lang else ""
        raise RefusedError(
            f"{checkpoint.label} gives vectors that are not finite, {bad} of a batch of "
            f"{len(vectors)} texts{where}: {remedy}"
        )
