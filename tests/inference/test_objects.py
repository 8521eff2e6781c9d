"""Objects with `encode`: what they may return, what they are known by, and what is refused."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import harness
from harness.errors import HarnessError, RefusedError, UsageError
from harness.inference.objects import PROBE, ObjectEncoder, given_model
from tests.checkpoints import build_sentence_transformer


class Words:
    """Counts of hashed words; ``calls`` are the texts that it was given."""

    def __init__(self, kind: str = "array", name: str = "words") -> None:
        self.kind, self.name = kind, name
        self.calls: list[list[str]] = []

    def encode(self, texts: list[str]) -> Any:
        self.calls.append(texts)
        rows = np.full((len(texts), 32), 1e-3, dtype=np.float32)
        for row, text in zip(rows, texts, strict=True):
            for word in text.lower().split():
                row[int(hashlib.md5(word.encode()).hexdigest(), 16) % 32] += 1
        returned: dict[str, Callable[[], Any]] = {
            "array": lambda: rows,
            "float64": lambda: rows.astype(np.float64),
            "lists": lambda: rows.tolist(),
            "arrays": lambda: list(rows),
            "tensor": lambda: torch.tensor(rows, requires_grad=True),
            "tensors": lambda: [torch.tensor(row) for row in rows],
        }
        return returned[self.kind]()


class Returns:
    """Gives what a function of the texts gives."""

    def __init__(self, encode: Callable[[list[str]], Any], **more: Any) -> None:
        self.encode = encode
        vars(self).update(more)


def quiet(texts: int, characters: int) -> None: ...


@pytest.mark.parametrize("kind", ["float64", "lists", "arrays", "tensor", "tensors"])
def test_all_ways_to_return_vectors_are_one(kind: str) -> None:
    array, other = given_model(Words()), given_model(Words(kind))
    assert other.revision == array.revision
    texts = ["one two", "three", "one two"]
    expected = ObjectEncoder(array, quiet).encode(texts, role="query")
    assert np.array_equal(ObjectEncoder(other, quiet).encode(texts, role="query"), expected)
    assert np.allclose(np.linalg.norm(expected, axis=1), 1)


def test_equal_texts_are_encoded_once_and_get_one_vector() -> None:
    rng = np.random.default_rng(0)
    model = Returns(lambda texts: rng.normal(size=(len(texts), 4)))
    given = given_model(model)
    assert not given.steady
    vectors = ObjectEncoder(given, quiet).encode(["a", "b", "a", "a"], role="query")
    assert np.array_equal(vectors[0], vectors[2])
    assert not np.array_equal(vectors[0], vectors[1])


@pytest.mark.parametrize("kind", ["array", "tensor"])
def test_an_object_may_return_the_same_memory_again(kind: str, monkeypatch: Any) -> None:
    room = np.zeros((10, 32), dtype=np.float32)
    words = Words()

    def encode(texts: list[str]) -> Any:
        room[: len(texts)] = words.encode(texts)
        return room[: len(texts)] if kind == "array" else torch.from_numpy(room)[: len(texts)]

    reusing = given_model(Returns(encode, similarity_fn_name="dot"))
    plain = given_model(Returns(words.encode, similarity_fn_name="dot"))
    assert reusing.revision == plain.revision
    monkeypatch.setattr("harness.inference.objects.TEXTS", 2)  # several calls for five texts
    texts = ["one", "two two", "three", "four", "five"]
    found = [ObjectEncoder(given, quiet) for given in (reusing, plain)]
    before, expected = (one.encode(texts, role="document") for one in found)
    found[0].encode(["six", "seven"], role="query")
    assert np.array_equal(before, expected)


def test_whether_numbers_repeat_is_told_of_one_memory_too() -> None:
    rng, room = np.random.default_rng(0), np.zeros((8, 4), dtype=np.float32)

    def encode(texts: list[str]) -> Any:
        room[:] = rng.normal(size=(8, 4))
        return room

    assert not given_model(Returns(encode)).steady


def test_roles_and_similarity_are_the_objects_own() -> None:
    model = Returns(
        lambda texts: np.full((len(texts), 2), 9.0),
        encode_query=lambda texts: np.full((len(texts), 2), 3.0),
        similarity_fn_name="dot",
    )
    encoder = ObjectEncoder(given_model(model), quiet)
    assert encoder.encode(["a"], role="query").tolist() == [[3, 3]]
    assert encoder.encode(["a"], role="document").tolist() == [[9, 9]]
    with pytest.raises(UsageError, match="'euclidean' is not supported"):
        given_model(Returns(model.encode, similarity_fn_name="euclidean"))


@pytest.mark.parametrize("scale", [1e-25, 1e-15, 1e25])
def test_cosine_does_not_depend_on_the_length_of_vectors(scale: float) -> None:
    scaled = given_model(Returns(lambda texts: Words().encode(texts) * np.float32(scale)))
    found, expected = (
        ObjectEncoder(given, quiet).encode(["one two", "three"], role="query")
        for given in (scaled, given_model(Words()))
    )
    np.testing.assert_allclose(found, expected, rtol=1e-5)


@pytest.mark.parametrize(
    ("scale", "said"), [(1e-25, "too short for inner products"), (1e25, "8 of 8 vectors are too")]
)
def test_vectors_whose_inner_products_float32_cannot_hold(scale: float, said: str) -> None:
    with pytest.raises(RefusedError, match=said):
        given_model(
            Returns(
                lambda texts: Words().encode(texts) * np.float32(scale), similarity_fn_name="dot"
            )
        )


def test_a_long_vector_among_others_is_refused_where_products_compare() -> None:
    def encode(texts: list[str]) -> Any:
        vectors = Words().encode(texts)
        vectors[[text == "long" for text in texts]] *= 1e20
        return vectors

    encoder = ObjectEncoder(given_model(Returns(encode, similarity_fn_name="dot")), quiet)
    with pytest.raises(RefusedError, match="1 of 2 vectors are too long for their inner products"):
        encoder.encode(["short", "long"], role="query")


def test_another_vector_of_the_probe_is_another_revision() -> None:
    def almost(texts: list[str]) -> Any:
        vectors = Words().encode(texts)
        vectors[-1, 0] += 1e-6 if texts[-1] == PROBE[-1] else 0
        return vectors

    assert given_model(Returns(almost)).revision != given_model(Words()).revision


@pytest.mark.parametrize(
    ("encode", "said"),
    [
        (lambda texts: np.zeros(len(texts)), r"shape \(8,\) for 8 texts"),
        (lambda texts: np.zeros((1, 4)), r"shape \(1, 4\)"),
        (lambda texts: np.zeros((len(texts), 0)), "one vector per text"),
        (lambda texts: np.full((len(texts), 3), np.nan), "8 of 8 vectors are not finite"),
        (lambda texts: np.full((len(texts), 3), 1e300), "not finite"),
        (lambda texts: np.ones((len(texts), 3)) * 1j, "return numbers"),
        (lambda texts: texts, "return numbers"),
        (lambda texts: None, "return numbers"),
        (lambda texts: [[1.0] * (1 + i) for i in range(len(texts))], "returned no array"),
        (lambda texts: 1 / 0, "ZeroDivisionError"),
    ],
)
def test_what_is_no_vector_per_text(encode: Callable[[list[str]], Any], said: str) -> None:
    with pytest.raises(RefusedError, match=said) as raised:
        given_model(Returns(encode))
    assert str(raised.value).isprintable()


@pytest.mark.parametrize("call", range(1, 6))
def test_all_calls_give_vectors_of_one_width(call: int, tmp_path: Path) -> None:
    calls = 0

    def encode(texts: list[str]) -> np.ndarray:  # type: ignore[type-arg]
        nonlocal calls
        calls += 1
        return Words().encode(texts)[:, : 3 if calls == call else 4]

    with pytest.raises(RefusedError, match="dimensions"):
        harness.evaluate(Returns(encode), "demo_bitext", languages="de", out=tmp_path)


@pytest.mark.parametrize("model", [None, 3, object(), [], b"x", {"a": 1}, np.zeros(3), Words])
def test_what_cannot_be_evaluated(model: Any, tmp_path: Path) -> None:
    with pytest.raises(HarnessError, match=r"give a Hub id .* or an object with") as raised:
        harness.evaluate(model, "demo_bitext", out=tmp_path)
    assert "\n" not in str(raised.value)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "options",
    [
        {"layer": 3},
        {"pooling": "cls"},
        {"prompt_query": "query: "},
        {"protocol": "native"},
        {"dtype": "bfloat16"},
        {"finetune": True},
        {"engine": "ray"},
    ],
)
def test_options_about_what_the_object_decides(options: Any, tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        harness.evaluate(Words(), "demo_bitext", out=tmp_path, **options)


def test_an_evaluation_is_custom_and_resumes(tmp_path: Path) -> None:
    places: Any = {"out": tmp_path / "out", "cache_dir": tmp_path / "cache", "offline": True}
    first = harness.evaluate(Words(name="org/words"), suite="demo", languages="de", **places)
    rows = first.to_arrow().to_pylist()
    assert {row["task"] for row in rows if row["value"] is not None} == {
        "demo_bitext", "demo_mining", "demo_passages"
    }  # fmt: skip
    assert {row["track"] for row in rows if row["value"] is not None} == {"custom"}
    assert all("custom model: an object with encode" in row["note"] for row in rows if row["n"])
    (reads,) = [row for row in rows if row["task"] == "demo_qa"]
    assert "reads no answers" in reads["note"]
    (folder,) = (tmp_path / "out").iterdir()
    assert folder.name == "object@org_words"

    again = Words("tensor", "org/words")
    assert (
        harness.evaluate([again], suite="demo", languages="de", **places)
        .to_arrow()
        .equals(first.to_arrow())
    )
    assert {tuple(call) for call in again.calls} == {PROBE}  # nothing was left to encode
    other = harness.evaluate(Words(name="other"), "demo_bitext", languages="de", **places)
    assert len(list((tmp_path / "out").iterdir())) == 2
    (differences,) = other.compare(first)
    assert differences.difference.estimate.difference == 0


def test_a_loaded_sentence_transformers_model_gives_what_native_gives(tmp_path: Path) -> None:
    from sentence_transformers import SentenceTransformer

    folder = build_sentence_transformer(tmp_path / "model")
    model = SentenceTransformer(str(folder), device="cpu")
    places: Any = {"out": tmp_path / "out", "cache_dir": tmp_path / "cache", "offline": True}
    options: Any = {"suite": "demo", "languages": ["de", "zh"], **places}
    ours = harness.evaluate(folder, protocol="native", **options).by_language()
    theirs = harness.evaluate(model, **options).by_language()
    key = ["task", "lang", "direction", "metric"]
    assert theirs.select(key).equals(ours.select(key))
    # A near tie may be decided by the last bits of other batches.
    assert np.allclose(theirs.column("value"), ours.column("value"), atol=0.01)
    assert theirs.num_rows > 20
