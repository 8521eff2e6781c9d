"""Turns texts into token ids, exactly as the files of the checkpoint say.

Where there is a ``tokenizer.json``, only this file decides: the tokenizer is built from it, without
the file's own truncation and padding. transformers would instead build normaliser, pre-tokenizer
and model by the class that ``tokenizer_config.json`` names, or by a class that it guesses, and the
ids would depend on that. Other vocabulary files are converted (see ``conversion``).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from harness.checkpoint.files import TOKENIZER_FILES
from harness.checkpoint.rules import is_local, read_rules
from harness.checkpoint.vet import vet_tokenizer
from harness.checkpoint.weights import read_object
from harness.errors import DataError, RefusedError, one_line

if TYPE_CHECKING:
    from tokenizers import Encoding

    from harness.checkpoint.resolve import Checkpoint

Side = Literal["left", "right"]
Truncation = Literal["longest_first", "only_first", "only_second"]

# Role of a special token → its usual names. These are used where no file names the token, and only
# for tokens that the tokenizer itself marks as special.
ROLES: Mapping[str, tuple[str, ...]] = {
    "bos_token": ("<s>",),
    "eos_token": ("</s>",),
    "unk_token": ("[UNK]", "<unk>"),
    "sep_token": ("[SEP]", "</s>"),
    "pad_token": ("[PAD]", "<pad>"),
    "cls_token": ("[CLS]", "<s>"),
    "mask_token": ("[MASK]", "<mask>"),
}
LONG = 1 << 17  # A text of more characters is cut before it is tokenised.
LONGEST = 1 << 19  # the most characters of a text that are tokenised
MARGIN = 1 << 10  # Within so many characters of a cut, tokens may depend on what was cut off.
PORTION = 1 << 20  # the most characters in one call of the library
UNBOUNDED = 1_000_000  # transformers writes 10^30 where a tokenizer has no length.
# These classes pad on the left where no file says on which side.
LEFT = frozenset(f"{name}Tokenizer" for name in ("XLNet", "Llama", "CodeLlama", "Gemma", "Cohere"))


@dataclass(frozen=True)
class Tokenizer:
    """The tokenizer of a checkpoint, with what its files say about special tokens and lengths.

    Attributes:
        backend: a ``tokenizers.Tokenizer``.
        special: role (``pad_token`` …) → id, for the roles that the checkpoint has.
        special_ids: the ids of all special tokens.
        model_max_length: tokens that a text may have, special ones included; None: no bound.
        padding_side: the side on which other programs pad a batch; by it readers decide whether a
            question comes before its context.
        truncation_side: the side on which the checkpoint says that a long text is cut.
        gives_types: whether the model gets token types, which say from which of two texts a token
            is.
        notes: sentences on files that contradict each other, and on which of them is followed.
        local: whether a token depends only on its neighbours, not on distant parts of a text.
    """

    backend: Any = field(repr=False)
    special: Mapping[str, int]
    special_ids: frozenset[int]
    model_max_length: int | None
    padding_side: Side
    truncation_side: Side
    gives_types: bool
    notes: tuple[str, ...] = ()
    local: bool = True

    def __len__(self) -> int:
        return int(self.backend.get_vocab_size())

    @cached_property
    def largest_id(self) -> int:
        """The largest id in the vocabulary, of added tokens and of the post-processor."""
        self._cut(None, "longest_first", 0, "right")
        added = self.backend.encode("", "").ids + self.backend.encode("").ids
        vocabulary = self.backend.get_vocab(with_added_tokens=True).values()
        return max([*vocabulary, *added, *self.special.values()], default=-1)

    @cached_property
    def lower_cased(self) -> Tokenizer:
        """The same tokenizer, which first lower-cases every text except its special tokens.

        This is what sentence-transformers does for ``do_lower_case``: the normaliser begins by
        lower-casing every character, unless it lower-cases already.
        """
        state = json.loads(self.backend.to_str())
        own = state["normalizer"]
        parts = own["normalizers"] if own and own["type"] == "Sequence" else [own] if own else []
        if any(part["type"] == "Lowercase" for part in parts):
            return self
        state["normalizer"] = {"type": "Sequence", "normalizers": [{"type": "Lowercase"}, *parts]}
        return replace(self, backend=type(self.backend).from_str(json.dumps(state)))

    def special_count(self, *, pair: bool) -> int:
        """Return how many special tokens the post-processor adds to a text, or to a pair."""
        return int(self.backend.num_special_tokens_to_add(pair))

    def ids(
        self,
        texts: Sequence[str],
        *,
        max_length: int | None = None,
        side: Side = "right",
        special_tokens: bool = True,
    ) -> list[list[int]]:
        """Return the token ids of each text, cut to ``max_length`` on ``side``.

        Special tokens are never cut.

        Raises:
            RefusedError: there are more special tokens than ``max_length``, so that the library
                would not cut at all.
        """
        added = self.special_count(pair=False) if special_tokens else 0
        if max_length is not None and max_length < added:
            raise RefusedError(
                f"a text of at most {max_length} tokens has no room for the {added} special "
                "tokens of its tokenizer: allow more"
            )
        if max_length is not None:
            texts = [self.shortened(text, max_length, side)[0] for text in texts]
        rows: list[list[int]] = []
        for part in portions(texts):
            self._cut(max_length, "longest_first", 0, side)
            encoded = self.backend.encode_batch_fast(part, add_special_tokens=special_tokens)
            rows += [encoding.ids for encoding in encoded]
        return rows

    def shortened(self, text: str, length: int, side: Side = "right") -> tuple[str, bool]:
        """Cut a very long text on ``side``, and return whether its first ids stay the same.

        The ``length`` ids stay the same where all of them lie in pieces that end well before the
        cut, because a piece of the pre-tokenizer does not depend on later text. Otherwise LONGEST
        characters are kept.
        """
        if len(text) <= LONG:
            return text, True
        size = LONG
        while True:
            kept = text[:size] if side == "right" else text[-size:]
            if self._settled(kept, side) >= length:
                return kept, self.local
            if size >= len(text):
                return text, True
            if size >= LONGEST:
                return kept, False
            size = min(4 * size, LONGEST)

    def _settled(self, text: str, side: Side) -> int:
        """Count the tokens of a part of a text that lie in pieces away from the cut."""
        self._cut(None, "longest_first", 0, "right")
        encoding = self.backend.encode(text, add_special_tokens=False)
        words, offsets = encoding.word_ids, encoding.offsets
        if side == "left":
            near = [word for word, (begin, _) in zip(words, offsets, strict=True) if begin < MARGIN]
            last = max((word for word in near if word is not None), default=-1)
            return sum(word is not None and word > last for word in words)
        bound = len(text) - MARGIN
        near = [word for word, (_, end) in zip(words, offsets, strict=True) if end > bound]
        first = min((word for word in near if word is not None), default=len(text))
        return sum(word is not None and word < first for word in words)

    def encode(
        self,
        texts: Sequence[Any],
        *,
        max_length: int | None = None,
        truncation: Truncation = "longest_first",
        stride: int = 0,
        special_tokens: bool = True,
        whole: bool = False,
    ) -> list[Encoding]:
        """Return each text with ids, types, offsets, sequence and word numbers.

        ``texts``: strings, tuples of two strings (pairs of texts), or lists of strings (sentences
        that were split into words). A long text loses its end. With ``whole`` the parts that were
        cut off are in ``overflowing``, with an overlap of ``stride`` tokens.

        Raises:
            DataError: a text is longer than can be tokenised, and cannot be cut before that.
        """
        texts = [self._bearable(text, None if whole else max_length) for text in texts]
        words = bool(texts) and isinstance(texts[0], list)
        encodings: list[Encoding] = []
        for part in portions(texts):
            self._cut(max_length, truncation, stride, "right")
            encodings += self.backend.encode_batch(
                part, is_pretokenized=words, add_special_tokens=special_tokens
            )
        return encodings

    def _bearable(self, text: Any, length: int | None) -> Any:
        """Cut a text, the texts of a pair, or words, if they are too long to be tokenised."""
        if not isinstance(text, str):
            members = [self._bearable(one, length) for one in text]
            if sum(len(one) for one in members) > LONGEST:
                raise _too_long(sum(len(one) for one in members))
            return type(text)(members)
        if len(text) <= LONG:
            return text
        exact = False
        if length is not None:
            text, exact = self.shortened(text, length)
        if not exact and len(text) > LONGEST:
            raise _too_long(len(text))
        return text

    def _cut(self, length: int | None, truncation: Truncation, stride: int, side: Side) -> None:
        if length is None:
            self.backend.no_truncation()
        else:
            self.backend.enable_truncation(
                length, stride=stride, strategy=truncation, direction=side
            )


def portions(texts: Sequence[Any]) -> Iterator[list[Any]]:
    """Yield the texts in parts of about PORTION characters, each of one text at least.

    The library needs some hundred bytes of memory for every token of a call.
    """
    part: list[Any] = []
    held = 0
    for text in texts:
        size = len(text) if isinstance(text, str) else sum(map(len, text))
        if part and held + size > PORTION:
            yield part
            part, held = [], 0
        part.append(text)
        held += size
    if part:
        yield part


def _too_long(characters: int) -> DataError:
    return DataError(
        f"a text of {characters:,} characters is too long to be tokenised, and no boundary of a "
        f"word says where to cut it: {LONGEST:,} are read, split it"
    )


def load_tokenizer(checkpoint: Checkpoint) -> Tokenizer:
    """Load the tokenizer of a checkpoint; it is read again only where its files have changed.

    Raises:
        RefusedError: there is no vocabulary, it is broken, files name other files, ids differ from
            run to run, or the vocabulary cannot be converted to the same tokens.
    """
    folder, model = checkpoint.tokenizer_folder, checkpoint.weights_folder
    paths = [*(folder / name for name in TOKENIZER_FILES), model / "config.json"]
    stats = [(path, path.stat()) for path in paths if path.is_file()]
    state = tuple((path.name, stat.st_size, stat.st_mtime_ns) for path, stat in stats)
    return _loaded(folder, model, state)


@lru_cache(maxsize=1)  # Planning, encoding and reading share it: 17 MB of JSON take seconds.
def _loaded(folder: Path, model: Path, state: tuple[Any, ...]) -> Tokenizer:
    del state  # It is a part of the key, so that files which have changed are read again.
    vet_tokenizer(folder)
    declared = _object(folder / "tokenizer_config.json")
    config = _object(model / "config.json")
    if (folder / "tokenizer.json").is_file():
        from harness.checkpoint.claims import contradictions

        backend = read_backend(folder / "tokenizer.json")
        tokens = {**_object(folder / "special_tokens_map.json"), **declared}
        made = make_tokenizer(backend, tokens, config)
        notes = tuple(contradictions(made, tokens, config))
        return replace(made, notes=notes, local=is_local(read_rules(folder / "tokenizer.json")))
    from harness.checkpoint.conversion import convert

    backend, tokens = convert(folder, declared, config)
    return make_tokenizer(backend, {**declared, **tokens}, config)


def read_backend(path: Path) -> Any:
    """Read the ``tokenizers.Tokenizer`` of a ``tokenizer.json``. RefusedError if it is broken."""
    from tokenizers import Tokenizer as Backend

    try:
        return Backend.from_file(str(path))
    except BaseException as error:  # A panic of the library is not an Exception.
        if isinstance(error, (KeyboardInterrupt, SystemExit, MemoryError)):
            raise
        raise RefusedError(f"{path.name} cannot be read: {one_line(error, 120)}") from error


def make_tokenizer(
    backend: Any, declared: Mapping[str, Any], config: Mapping[str, Any] | None = None
) -> Tokenizer:
    """Make a tokenizer from its backend, which is changed, and from the files beside it.

    ``declared``: the entries of ``tokenizer_config.json`` and ``special_tokens_map.json``.
    ``config``: the entries of the model's ``config.json``.

    Raises:
        RefusedError: ids would differ from run to run.
    """
    dropout = getattr(backend.model, "dropout", None)
    if dropout:
        raise RefusedError(
            f"its tokenizer leaves out merges at random (dropout {dropout:g}), so that ids differ "
            "from run to run: set dropout to null in tokenizer.json"
        )
    sides = {
        "padding_side": (backend.padding or {}).get("direction"),
        "truncation_side": (backend.truncation or {}).get("direction"),
    }
    if sides["padding_side"] is None and class_name(declared, config or {}) in LEFT:
        sides["padding_side"] = "left"
    backend.no_truncation()
    backend.no_padding()
    special = dict(_special(backend, declared, config or {}))
    marked = {id_ for id_, token in backend.get_added_tokens_decoder().items() if token.special}
    length = declared.get("model_max_length")
    bounded = isinstance(length, int | float) and 0 < length < UNBOUNDED
    inputs = declared.get("model_input_names")
    return Tokenizer(
        backend=backend,
        special=special,
        special_ids=frozenset({*special.values(), *marked}),
        model_max_length=int(length) if bounded and length is not None else None,
        padding_side=_side(declared.get("padding_side") or sides["padding_side"]),
        truncation_side=_side(declared.get("truncation_side") or sides["truncation_side"]),
        gives_types=not isinstance(inputs, list) or "token_type_ids" in inputs,
    )


def class_name(declared: Mapping[str, Any], config: Mapping[str, Any]) -> str:
    """Return the class that the files name, without the ``Fast`` of older versions, or nothing."""
    name = declared.get("tokenizer_class") or config.get("tokenizer_class")
    return name.removesuffix("Fast") if isinstance(name, str) else ""


def _side(value: Any) -> Side:
    return "left" if str(value).lower() == "left" else "right"


def _special(
    backend: Any, declared: Mapping[str, Any], config: Mapping[str, Any]
) -> Iterator[tuple[str, int]]:
    added = backend.get_added_tokens_decoder()
    marked = {token.content: id_ for id_, token in added.items() if token.special}
    for role, usual in ROLES.items():
        named = declared.get(role)
        if isinstance(named, Mapping):
            named = named.get("content")
        found = backend.token_to_id(named) if isinstance(named, str) else None
        number = config.get(f"{role}_id")
        if found is None and type(number) is int and number >= 0:
            found = number if backend.id_to_token(number) is not None else None
        if found is None:
            found = next((marked[token] for token in usual if token in marked), None)
        if found is not None:
            yield role, int(found)


def _object(path: Path) -> dict[str, Any]:
    return read_object(path) if path.is_file() else {}
