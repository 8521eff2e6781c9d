"""Every declared setting that is followed, beside sentence-transformers on the same folder.

The library encodes one text at a time, so that its vector depends on that text alone. Where the
library is asked for an inner product it is compared as it comes; else its vector is normalised,
which is all that a cosine does with it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.checkpoint.resolve import resolve
from harness.inference.backbone import Backbone
from harness.inference.encoder import Encoder
from harness.inference.protocol import ROLES, Protocol, Role, resolve_encodings
from harness.inference.vector_store import Float32
from tests.checkpoints import LAYERS, SENTENCES, WIDTH, build_sentence_transformer

TEXTS = [*SENTENCES, "a", "Straße ΟΔΟΣ İzmir", "many words " * 60]
FILES = {
    "sentence": "sentence_bert_config.json",
    "general": "config_sentence_transformers.json",
    "tokenizer": "tokenizer_config.json",
    "pooling": "1_Pooling/config.json",
}


def change(folder: Path, changes: dict[str, dict[str, Any]]) -> None:
    """Add entries to the files of a folder; None takes an entry out."""
    for name, entries in changes.items():
        path = folder / FILES[name]
        values = json.loads(path.read_text()) | entries
        kept = {key: value for key, value in values.items() if entries.get(key, 0) is not None}
        path.write_text(json.dumps(kept))


def ours(folder: Path, role: Role, cache: Path) -> Float32:
    checkpoint = resolve(str(folder))
    encodings = resolve_encodings(
        Protocol("native"),
        task_lengths={"query": 96, "document": 96},
        depth=LAYERS,
        max_positions=96,
        native=checkpoint.native,
        bitext=False,
    )
    backbone = Backbone(checkpoint, dtype="float32", device="cpu", top=LAYERS)
    return Encoder(backbone, encodings, cache=cache).encode(TEXTS, role=role)


def loaded(folder: Path) -> Any:
    """The library's model of a folder; a skip where the library is not there."""
    library = pytest.importorskip("sentence_transformers")
    return library.SentenceTransformer(str(folder), device="cpu")


def theirs(folder: Path, role: Role) -> Float32:
    model = loaded(folder)
    encode = model.encode_query if role == "query" else model.encode_document
    found = np.concatenate([encode([text]) for text in TEXTS])
    cosine = model.similarity_fn_name == "cosine"
    return found / np.linalg.norm(found, axis=1, keepdims=True) if cosine else found


LONG: dict[str, Any] = {"max_length": None}
CASES: dict[str, tuple[dict[str, Any], dict[str, dict[str, Any]]]] = {
    "plain": ({}, {}),
    "dot": ({"similarity": "dot", "normalize": False}, {}),
    "cls": ({"pooling": {"word_embedding_dimension": WIDTH, "pooling_mode": "cls"}}, {}),
    "max": ({"pooling": {"embedding_dimension": WIDTH, "pooling_mode": ["max"]}}, {}),
    "last": ({"pooling": {"embedding_dimension": WIDTH, "pooling_mode": "lasttoken"}}, {}),
    "dense": ({"dense": (16, 8)}, {}),
    "gelu": ({"dense": (8,), "activation": "torch.nn.modules.activation.GELU"}, {}),
    "prompts": ({"prompts": {"query": "ask: ", "document": "read: "}}, {}),
    "truncate_dim": ({}, {"general": {"truncate_dim": 7}}),
    "truncate_dim, dot": ({"similarity": "dot"}, {"general": {"truncate_dim": 7}}),
    "truncate_dim after dense": ({"dense": (16,)}, {"general": {"truncate_dim": 5}}),
    "truncate_dim past the width": ({}, {"general": {"truncate_dim": 99}}),
    "query_length": ({}, {"sentence": {"query_length": 9}}),
    "query_length above max_seq_length": (
        {"max_length": 12},
        {"sentence": {"query_length": 40, "document_length": 5}},
    ),
    "the tokenizer's own length": (LONG, {"tokenizer": {"model_max_length": 11}}),
    "max_seq_length above the tokenizer's": (
        {"max_length": 30},
        {"tokenizer": {"model_max_length": 11}},
    ),
    "tokenizer_args": (
        {"max_length": 30},
        {"sentence": {"tokenizer_args": {"model_max_length": 13, "use_fast": True}}},
    ),
    "processor_kwargs": (LONG, {"sentence": {"processor_kwargs": {"model_max_length": 13}}}),
    "max_length at the call": (
        {},
        {"sentence": {"query_length": 9, "processing_kwargs": {"text": {"max_length": 17}}}},
    ),
    "the common one goes last": (
        {},
        {
            "sentence": {
                "processing_kwargs": {"text": {"max_length": 17}, "common": {"max_length": 6}}
            }
        },
    ),
    "no special tokens": (
        {},
        {"sentence": {"processing_kwargs": {"text": {"add_special_tokens": False}}}},
    ),
    "a layer from the end": (
        {},
        {
            "sentence": {
                "module_output_name": "token_embeddings",
                "modality_config": {
                    "text": {"method": "forward", "method_output_name": ["hidden_states", -2]}
                },
            }
        },
    ),
    "a layer from the start": (
        {},
        {
            "sentence": {
                "module_output_name": "token_embeddings",
                "modality_config": {
                    "text": {"method": "forward", "method_output_name": ["hidden_states", 0]}
                },
            }
        },
    ),
    "harmless": (
        {},
        {
            "sentence": {
                "unpad_inputs": False,
                "model_args": {"attn_implementation": "eager", "torch_dtype": "float32"},
                "config_args": {"use_cache": False},
                "processing_kwargs": {"text": {"padding": "longest", "pad_to_multiple_of": 8}},
            },
            "general": {"__version__": {"pytorch": "1"}, "model_type": "SentenceTransformer"},
            "pooling": {"include_prompt": False},
        },
    ),
}


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("case", CASES)
def test_vectors_are_those_of_the_library(tmp_path: Path, case: str, role: Role) -> None:
    options, changes = CASES[case]
    folder = build_sentence_transformer(tmp_path / "model", **options)
    change(folder, changes)
    np.testing.assert_allclose(
        ours(folder, role, tmp_path / "cache"), theirs(folder, role), atol=1e-5, rtol=0
    )


MEANT_TO_CHANGE_NOTHING = ("plain", "harmless", "truncate_dim past the width")


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Float32:
    """The vectors of a folder that declares nothing out of the ordinary, the same in both roles."""
    folder = build_sentence_transformer(tmp_path_factory.mktemp("plain") / "model")
    return ours(folder, "query", folder.parent / "cache")


@pytest.mark.parametrize("case", [case for case in CASES if case not in MEANT_TO_CHANGE_NOTHING])
def test_each_setting_decides_something(tmp_path: Path, case: str, plain: Float32) -> None:
    """A setting that changed no vector here would be tested by nothing above."""
    options, changes = CASES[case]
    folder = build_sentence_transformer(tmp_path / "model", **options)
    change(folder, changes)
    found = ours(folder, "query", tmp_path / "cache")
    assert found.shape != plain.shape or np.abs(found - plain).max() > 1e-3


def test_a_default_prompt_is_that_of_encode(tmp_path: Path) -> None:
    folder = build_sentence_transformer(
        tmp_path / "model", prompts={"all": "x: "}, default_prompt="all"
    )
    model = loaded(folder)
    expected = np.concatenate([model.encode([text]) for text in TEXTS])
    found = ours(folder, "query", tmp_path / "cache")
    np.testing.assert_allclose(found, expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("kind", ["xlm-roberta", "mpnet", "modernbert", "t5"])
def test_architectures(tmp_path: Path, kind: str) -> None:
    folder = build_sentence_transformer(tmp_path / "model", kind=kind)
    change(folder, {"sentence": {"query_length": 20}, "general": {"truncate_dim": 9}})
    found = ours(folder, "query", tmp_path / "cache")
    np.testing.assert_allclose(found, theirs(folder, "query"), atol=1e-5, rtol=0)


def test_a_folder_that_the_library_saved(tmp_path: Path) -> None:
    """What the newest version writes of an ordinary model is followed to the last key."""
    first = build_sentence_transformer(
        tmp_path / "first", dense=(8,), prompts={"query": "q: ", "document": "d: "}, max_length=14
    )
    loaded(first).save_pretrained(str(tmp_path / "saved"))
    for role in ROLES:
        found = ours(tmp_path / "saved", role, tmp_path / "cache")
        np.testing.assert_allclose(found, theirs(first, role), atol=1e-5, rtol=0)
