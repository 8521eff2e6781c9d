"""Encodes texts → vectors, by a checkpoint under one protocol."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from harness.checkpoint.guard import refusing
from harness.checkpoint.layers import max_positions
from harness.errors import RefusedError
from harness.inference.backbone import Backbone, hidden_states, pad, typed
from harness.inference.batching import budget, distinct, halving, pad_id, token_batches
from harness.inference.pooling import build_steps, pool
from harness.inference.probe import (
    ONE_LENGTH,
    UNTRIED,
    Ids,
    needs_one_length,
    probe_ids,
    read_finding,
    write_finding,
)
from harness.inference.protocol import Encoding
from harness.inference.search import uncomparable
from harness.inference.stores import Stores
from harness.inference.token_ids import CHUNK, UNENCODED, TokenIds, cutting
from harness.inference.vector_store import Float32, Stored, VectorStore, text_key

if TYPE_CHECKING:
    import torch

    from harness.checkpoint.resolve import Checkpoint
    from harness.checkpoint.tokenizer import Tokenizer
    from harness.inference.protocol import Role


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
        self._first = encodings[0]  # all have its steps, dtype and special tokens
        self.device = backbone.device
        self.batch_tokens = batch_tokens or budget(self.device)
        self._backbone = backbone
        self._stores = Stores(self.checkpoint, self.device, cache, since)
        self._tokens = TokenIds(self.checkpoint, self._first, self._stores)
        self._progress = progress
        # It holds keys of texts and of token ids, since a digest of one is never one of the other.
        self._planned: dict[Role, set[bytes]] = {"query": set(), "document": set()}
        self._steps: list[Callable[[torch.Tensor], torch.Tensor]] | None = None
        self._one_length: bool | None = None

    @property
    def remarks(self) -> tuple[str, ...]:
        """Remarks that belong beside the scores of these vectors."""
        notes = self._tokens.remarks
        return (*notes, ONE_LENGTH) if self.one_length else notes

    @property
    def one_length(self) -> bool:
        """Whether batches hold texts of one length only, because the model reads padding.

        A model is tested once, and the finding is kept beside the vectors: a run that finds all of
        them says so too, and all machines form the same batches.

        Raises:
            RefusedError: a text has another vector in any company.
        """
        if self._one_length is None:
            parts = self._stores.deciding | {
                str(layer): {
                    name: part
                    for name, part in encoding.vector_parts("query").items()
                    if name not in ("length", "prompt")
                }
                for layer, encoding in self.encodings.items()
            }
            folder, since = self._stores.cache / "probes", self._stores.since
            found = read_finding(folder, parts, since=since)
            if found is None:
                found = self._probe()
                write_finding(folder, parts, found, since=since)
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
            texts = probe_ids(cutting(tokenizer), limit)
            return needs_one_length(compute, texts, self._first.dtype)

    def encode(
        self, texts: Sequence[str], *, role: Role, lang: str = "", layer: int | None = None
    ) -> Float32:
        """Return float32[n, d], one vector per text; texts of equal cut token ids get the same
        vector.

        ``layer`` picks one of the encodings; a text is run through the model once for all of them.

        Raises:
            RefusedError: the checkpoint gives vectors that are not finite, or too long to compare.
            IncompleteError: out of memory on a single text, or the vector cache cannot be used.
        """
        return self.stored(texts, role=role, lang=lang, layer=layer)[:]

    def stored(
        self, texts: Sequence[str], *, role: Role, lang: str = "", layer: int | None = None
    ) -> Stored:
        """Encode as ``encode`` does, but leave the vectors in the store: for pools of a million."""
        unique, inverse = distinct(texts)
        keys = self._fill(unique, role, lang)
        chosen = self._first.layer if layer is None else layer
        return self._store(chosen, role).stored([keys[row] for row in inverse])

    def ids_keys(self, texts: Sequence[str], *, role: Role) -> list[bytes]:
        """Return a key of each text's cut token ids, 16 bytes: texts of equal keys have one
        vector.
        """
        return self._tokens.keys(texts, role)

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
        """Yield one text for each token ids that no earlier part of the plan holds, in parts.

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
        """Return bool[n]: which texts lack a vector, of one layer or another, in the store."""
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
        """Return the keys of distinct texts, all of which have a vector afterwards."""
        for part in self.parts(unique, role=role):
            self.keep(part, role=role, lang=lang)
        keys = self.ids_keys(unique, role=role)
        # Texts of an earlier part may lack a vector: the store was pruned or damaged meanwhile.
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
        with refusing(self.checkpoint, UNENCODED):
            if self._steps is None:
                self._steps = build_steps(self._first.steps, self.device)
            ids = self._tokens.ids(texts, keys, role)
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
                            _check_comparable(
                                vectors[layer], self.checkpoint, lang, self._first.dtype
                            )
                            store.append([keys[row] for row in rows], vectors[layer])
            self._progress(len(batch), sum(len(texts[row]) for row in batch))

    def _forward(
        self,
        model: Any,
        tokenizer: Tokenizer,
        ids: Sequence[Ids],
        rows: npt.NDArray[np.int64],
        *,
        masked: bool = False,
    ) -> dict[int, Float32]:
        import torch

        if self._steps is None:
            self._steps = build_steps(self._first.steps, self.device)
        batch = [ids[row] for row in rows]
        inputs, mask = pad(batch, pad_id(tokenizer), self.device)
        # The lengths say it: if the mask were asked, the host would wait for the device.
        attended = mask if masked or len({len(row) for row in batch}) > 1 else None
        special = self._first.special_tokens
        types = typed(model, tokenizer, batch, self.device) if special else {}
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
        return self._stores.vectors(self.encodings[layer], role)


def _check_comparable(vectors: Float32, checkpoint: Checkpoint, lang: str, dtype: str) -> None:
    bad = int(uncomparable(vectors).sum())
    if bad:
        remedy = "try --dtype float32" if dtype != "float32" else "the weights are broken"
        where = f" ({lang})" if lang else ""
        what = "too long to be compared" if np.isfinite(vectors).all() else "not finite"
        raise RefusedError(
            f"{checkpoint.label} gives vectors that are {what}, {bad} of a batch of "
            f"{len(vectors)} texts{where}: {remedy}"
        )
