"""The demo checkpoint: a small multilingual encoder that is built when needed, without training.

The vectors of its word pieces come from cross-lingual latent semantic indexing (Littman, Dumais and
Landauer 1998): parallel sentences of all languages are joined into one document. The singular
vectors of the token × document matrix give similar vectors to pieces that occur in the same
documents, whatever their language. They become the embeddings of a BERT whose layers add nothing
yet. So tokenizer, layers and pooling are the usual ones, and the result is the mean of the vectors
of a text's pieces.

It is built from the training passages of the demo data, on which no demo task is scored. Its scores
only show that xharness runs.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from harness.cards.languages import task_root
from harness.errors import IncompleteError, one_line
from harness.io.files import building

HIDDEN = 64
LAYERS = 4
VOCABULARY = 4_000
PREFIX = 3  # characters of the shortest prefix that is a piece
VERSION = 2  # a part of the folder's name, to be raised when the checkpoint changes
# These weights of a layer are random, and its others are zero, so that it adds nothing until it is
# trained. If all were zero, all gradients would be zero too.
READING = ("query.weight", "key.weight", "value.weight", "intermediate.dense.weight")
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


def build(cache: Path) -> Path:
    """Return the folder of the demo checkpoint, which is built at its first use.

    The same texts give the same bytes.

    Raises:
        IncompleteError: it cannot be written.
    """
    folder = cache / f"xharness-demo-v{VERSION}"
    if folder.is_dir():
        return folder
    try:
        with building(folder) as temporary:
            _write_files(temporary)
            try:
                os.replace(temporary, folder)
            except OSError:
                if not folder.is_dir():  # Otherwise another run built it at the same moment.
                    raise
    except Exception as error:  # tokenizers and safetensors have errors of their own for it.
        raise IncompleteError(
            f"the demo checkpoint cannot be written to {folder} ({one_line(error, 160)}): free "
            "space or name another folder with --cache-dir"
        ) from error
    return folder


def _write_files(folder: Path) -> None:
    documents = parallel_documents()
    tokenizer = _write_tokenizer(folder, [text for group in documents for text in group])
    vectors = latent_vectors([[tokenizer(text) for text in group] for group in documents])
    _write_model(folder, vectors)


def parallel_documents() -> list[list[str]]:
    """Return groups of sentences that say the same in all languages of the training passages."""
    path = task_root() / "demo" / "training.json"
    passages = json.loads(path.read_text(encoding="utf-8"))["passages"]
    return [
        list(sentences)
        for passage in passages
        for sentences in zip(*passage["texts"].values(), strict=True)
    ]


def latent_vectors(documents: Sequence[Sequence[Sequence[int]]]) -> npt.NDArray[np.float32]:
    """Return float32[vocabulary, HIDDEN - 1] from the token ids of each sentence of each document.

    The matrix is weighted by log(1 + count) × inverse document frequency. The vector of a piece is
    its left singular vector times the singular values.
    """
    counts = np.zeros((VOCABULARY, len(documents)))
    for column, sentences in enumerate(documents):
        for sentence in sentences:
            np.add.at(counts[:, column], np.asarray(sentence), 1)
    frequency = np.maximum((counts > 0).sum(axis=1), 1)
    weighted = np.log1p(counts) * np.log(len(documents) / frequency)[:, None]
    left, singular, _ = np.linalg.svd(weighted, full_matrices=False)
    left, singular = left[:, : HIDDEN - 1], singular[: HIDDEN - 1]
    # A piece in every document has weight zero. Its vector is made exactly zero, because a norm
    # would enlarge rounding errors.
    left[~weighted.any(axis=1)] = 0
    # The sign of a singular vector is arbitrary. It is fixed, so that all machines build the same.
    signs = np.sign(left[np.abs(left).argmax(axis=0), np.arange(left.shape[1])])
    vectors: npt.NDArray[np.float32] = (left * signs * singular).astype(np.float32)
    return vectors


def word_pieces(words: Mapping[str, int]) -> list[str]:
    """Return at most VOCABULARY pieces, which are the same in every run, unlike trained ones.

    They are the special ones, every character, and then the most frequent prefixes of the words and
    the parts that follow these.
    """
    characters = sorted({character for word in words for character in word})
    counts: Counter[str] = Counter()
    for word, count in words.items():
        counts[word] += count
        for cut in range(PREFIX, len(word)):
            counts[word[:cut]] += count
            counts[f"##{word[cut:]}"] += count
    frequent = sorted(counts, key=lambda piece: (-counts[piece], piece))
    every = [*SPECIAL, *characters, *(f"##{character}" for character in characters), *frequent]
    return list(dict.fromkeys(every))[:VOCABULARY]


def _write_tokenizer(folder: Path, texts: Sequence[str]) -> Callable[[str], list[int]]:
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    normalizer = normalizers.BertNormalizer(lowercase=True, strip_accents=False)
    splitter = pre_tokenizers.BertPreTokenizer()
    words = Counter(
        word
        for text in texts
        for word, _ in splitter.pre_tokenize_str(normalizer.normalize_str(text))
    )
    vocabulary = {piece: number for number, piece in enumerate(word_pieces(words))}
    tokenizer = Tokenizer(models.WordPiece(vocab=vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizer
    tokenizer.pre_tokenizer = splitter
    start, end = vocabulary["[CLS]"], vocabulary["[SEP]"]
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", end), ("[CLS]", start))
    PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=tokenizer,
        model_max_length=512,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
    ).save_pretrained(folder)
    return lambda text: list(tokenizer.encode(text, add_special_tokens=False).ids)


def _write_model(folder: Path, vectors: npt.NDArray[np.float32]) -> None:
    import torch
    from safetensors.torch import save_file
    from transformers import BertConfig, BertModel

    config = BertConfig(
        vocab_size=VOCABULARY,
        hidden_size=HIDDEN,
        num_hidden_layers=LAYERS,
        num_attention_heads=2,
        intermediate_size=2 * HIDDEN,
        max_position_embeddings=512,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )
    # Whatever torch's default is in the program that calls: it is one checkpoint everywhere.
    model = BertModel(config, add_pooling_layer=False).float()  # type: ignore[no-untyped-call]
    generator = np.random.default_rng(VERSION)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("LayerNorm.weight"):
                parameter.fill_(1.0)
            elif name.endswith(READING):
                drawn = generator.normal(0, HIDDEN**-0.5, parameter.shape).astype(np.float32)
                parameter.copy_(torch.from_numpy(drawn))
            else:
                parameter.zero_()
        model.embeddings.word_embeddings.weight[:, :-1].copy_(torch.from_numpy(vectors))
        # The last dimension is 1 for all pieces. Without it, a piece without vector would be all
        # zeros, and the gradient of a norm is not finite there.
        model.embeddings.token_type_embeddings.weight[:, -1] = 1.0
    config.architectures = ["BertModel"]
    config.save_pretrained(folder)
    save_file(model.state_dict(), folder / "model.safetensors", metadata={"format": "pt"})
