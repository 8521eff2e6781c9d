"""The encoder on tiny checkpoints of every architecture: what must not change a vector."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import harness.inference.backbone
import harness.inference.encoder
import harness.inference.vector_store
from harness.checkpoint.layers import depth, encoder_layers
from harness.checkpoint.loading import load_encoder
from harness.checkpoint.resolve import Checkpoint, resolve
from harness.errors import IncompleteError, RefusedError
from harness.inference.backbone import Backbone, hidden_states, pad
from harness.inference.batching import pad_id
from harness.inference.encoder import Encoder
from harness.inference.protocol import ROLES, Encoding, Pooling, Protocol, Role, resolve_encodings
from harness.inference.token_ids import tokenize
from harness.inference.vector_store import Float32
from tests.checkpoints import KINDS, LAYERS, SENTENCES, build, build_sentence_transformer
from tests.inference.forwards import forward_rows

TEXTS = [*SENTENCES, "", "a", "x " * 200, SENTENCES[2]]
PLAIN = Encoding(
    pooling="mean",
    layer=2,
    depth=LAYERS,
    lengths={"query": 48, "document": 48},
    prompts={"query": "", "document": ""},
    dtype="float32",
)

Make = Callable[..., Checkpoint]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("built")


@pytest.fixture
def checkpoint(folders: Path) -> Checkpoint:
    return of_kind(folders, "bert")


def of_kind(folders: Path, kind: str) -> Checkpoint:
    folder = folders / kind
    return resolve(str(folder if folder.exists() else build(kind, folder)))


def encoder(
    checkpoint: Checkpoint, cache: Path, *encodings: Encoding, top: int = LAYERS, **options: Any
) -> Encoder:
    encodings = encodings or (PLAIN,)
    backbone = Backbone(checkpoint, dtype=encodings[0].dtype, device="cpu", top=top)
    return Encoder(backbone, encodings, cache=cache, **options)


def encoded(
    checkpoint: Checkpoint, cache: Path, texts: Sequence[str], *encodings: Encoding, **options: Any
) -> Float32:
    return encoder(checkpoint, cache, *encodings, **options).encode(texts, role="query")


def plain_torch(checkpoint: Checkpoint, text: str, *, length: int = 48, layer: int = 2) -> Any:
    """hidden_states[layer] of one text by itself, as transformers gives it: [1, tokens, d]."""
    model, tokenizer = load_encoder(checkpoint, dtype="float32", device="cpu")
    (ids,) = tokenizer.ids([text], max_length=length)
    with torch.inference_mode():
        output = model(input_ids=torch.tensor([ids]), output_hidden_states=True)
    return output.hidden_states[layer]


def with_types(folder: Path, kind: str, before: int, own: int, after: int) -> Path:
    """A checkpoint whose tokenizer gives these types to the parts of a single text."""
    build(kind, folder)
    path = folder / "tokenizer.json"
    content = json.loads(path.read_text())
    for part, type_id in zip(
        content["post_processor"]["single"], (before, own, after), strict=True
    ):
        next(iter(part.values()))["type_id"] = type_id
    path.write_text(json.dumps(content))
    return folder


@pytest.mark.parametrize(
    ("kind", "types"),
    [("bert", (0, 1, 1)), ("bert", (1, 0, 0)), ("electra", (0, 0, 1)), ("xlm-roberta", (0, 0, 0))],
)
def test_a_models_token_types_are_those_of_its_tokenizer(
    tmp_path: Path, kind: str, types: tuple[int, int, int]
) -> None:
    """transformers alone, one text at a time; also of texts that are cut."""
    import transformers

    folder = with_types(tmp_path / "model", kind, *types)
    made = encoder(resolve(str(folder)), tmp_path / "cache", replace(PLAIN, layer=LAYERS))
    model = transformers.AutoModel.from_pretrained(folder).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    found = made.encode(TEXTS, role="query")
    for text, vector in zip(TEXTS, found, strict=True):
        with torch.inference_mode():
            inputs = tokenizer(text, truncation=True, max_length=48, return_tensors="pt")
            mean = model(**inputs).last_hidden_state.mean(1)
        expected = torch.nn.functional.normalize(mean)[0].numpy()
        np.testing.assert_allclose(vector, expected, atol=1e-5, rtol=0)


# Hidden states


@pytest.mark.parametrize("kind", KINDS)
def test_every_layer_is_the_one_transformers_gives(folders: Path, kind: str) -> None:
    checkpoint = of_kind(folders, kind)
    model, tokenizer = load_encoder(checkpoint, dtype="float32", device="cpu")
    ids = tokenize(tokenizer, TEXTS[:5], PLAIN, "query")
    inputs, mask = pad(ids, pad_id(tokenizer), "cpu")
    assert not mask.all()
    attended = mask.bool()
    with torch.inference_mode():
        whole = model(input_ids=inputs, attention_mask=mask, output_hidden_states=True)
        together = dict(hidden_states(model, inputs, mask, range(LAYERS + 1)))
        assert list(together) == list(range(LAYERS + 1)) == list(range(depth(model) + 1))
        for top in range(LAYERS + 1):
            short, _ = Backbone(checkpoint, dtype="float32", device="cpu", top=top).load()
            assert len(encoder_layers(short)) == min(top + 1, LAYERS)
            alone = dict(hidden_states(short, inputs, mask, [top]))
            below = dict(hidden_states(short, inputs, mask, range(top + 1)))
            assert list(alone) == [top]
            for got in (together[top], alone[top], below[top]):
                expected = whole.hidden_states[top][attended]
                torch.testing.assert_close(got[attended], expected, atol=1e-6, rtol=1e-6)


def test_a_batch_without_padding_has_no_mask_and_the_device_is_not_asked(
    checkpoint: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[Any] = []

    def noted(model: Any, inputs: Any, mask: Any, layers: Any) -> Any:
        given.append(mask)
        return hidden_states(model, inputs, mask, layers)

    def asked(*_: Any) -> Any:
        raise AssertionError("the host waits for the device")

    monkeypatch.setattr(harness.inference.encoder, "hidden_states", noted)
    made = encoder(checkpoint, tmp_path / "a")
    assert not made.one_length
    given.clear()
    with monkeypatch.context() as patched:
        patched.setattr(torch.Tensor, "all", asked)
        whole = made.encode(TEXTS[:1], role="query")
    made.encode(["a", "a b c"], role="query")
    assert given[0] is None
    assert given[1].tolist()[1][-1] == 0
    # To the last bit what a full mask gives, which transformers leaves out.
    masked = encoder(checkpoint, tmp_path / "b")
    assert not masked.one_length
    monkeypatch.setattr(
        harness.inference.encoder,
        "hidden_states",
        lambda model, inputs, _, layers: hidden_states(
            model, inputs, torch.ones_like(inputs), layers
        ),
    )
    assert (masked.encode(TEXTS[:1], role="query") == whole).all()


def test_what_a_model_does_between_two_layers_belongs_to_the_lower_one(tmp_path: Path) -> None:
    # Larger DeBERTa models add a convolution to the output of the first layer.
    folder = build("deberta-v2", tmp_path, conv_kernel_size=3, conv_act="gelu")
    model, tokenizer = load_encoder(resolve(str(folder)), dtype="float32", device="cpu")
    inputs, mask = pad(tokenize(tokenizer, TEXTS[:1], PLAIN, "query"), pad_id(tokenizer), "cpu")
    with torch.inference_mode():
        whole = model(input_ids=inputs, output_hidden_states=True).hidden_states
        for layer, hidden in hidden_states(model, inputs, mask, range(LAYERS + 1)):
            torch.testing.assert_close(hidden, whole[layer], atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("kind", ["modernbert", "t5", "llama"])
def test_the_final_norm_belongs_to_the_last_layer_alone(folders: Path, kind: str) -> None:
    model, tokenizer = load_encoder(of_kind(folders, kind), dtype="float32", device="cpu")
    inputs, mask = pad(tokenize(tokenizer, TEXTS[:1], PLAIN, "query"), pad_id(tokenizer), "cpu")
    raw: list[Any] = []
    encoder_layers(model)[-1].register_forward_hook(
        lambda _module, _args, output: raw.append(output[0] if type(output) is tuple else output)
    )
    with torch.inference_mode():
        last = dict(hidden_states(model, inputs, mask, [LAYERS]))[LAYERS]
    assert not torch.allclose(last, raw[0], atol=1e-2)


@pytest.mark.parametrize("kind", ["bert", "modernbert", "t5", "qwen3"])
@pytest.mark.parametrize("layer", range(LAYERS + 1))
def test_layers_above_the_pooled_one_are_not_computed(folders: Path, kind: str, layer: int) -> None:
    model, tokenizer = load_encoder(of_kind(folders, kind), dtype="float32", device="cpu")
    inputs, mask = pad(tokenize(tokenizer, TEXTS[:3], PLAIN, "query"), pad_id(tokenizer), "cpu")
    calls: list[int] = []
    for number, block in enumerate(encoder_layers(model), start=1):
        block.register_forward_hook(lambda *_, number=number: calls.append(number))
    for asked in ([layer], range(layer + 1)):
        calls.clear()
        list(hidden_states(model, inputs, mask, asked))
        assert calls == list(range(1, layer + 1))
    assert not any(block._forward_pre_hooks for block in encoder_layers(model))
    assert {len(block._forward_hooks) for block in encoder_layers(model)} == {1}


# Company


@pytest.mark.parametrize("kind", KINDS)
def test_a_text_has_one_vector_in_any_batch_order_and_company(
    folders: Path, tmp_path: Path, kind: str
) -> None:
    checkpoint = of_kind(folders, kind)
    encodings = [replace(PLAIN, layer=layer) for layer in (2, LAYERS)]
    everything = encoder(checkpoint, tmp_path / "all", *encodings)
    for layer in (2, LAYERS):
        together = everything.encode(TEXTS, role="query", layer=layer)
        assert together.shape == (len(TEXTS), together.shape[1])
        assert together.dtype == np.float32
        np.testing.assert_allclose(np.linalg.norm(together, axis=1), 1, atol=1e-6)
    for number, budget in enumerate([1, 60, 300]):
        other = encoder(checkpoint, tmp_path / str(number), *encodings, batch_tokens=budget)
        turned = TEXTS[::-1] if number else TEXTS
        for layer in (2, LAYERS):
            one = everything.encode(TEXTS, role="query", layer=layer)
            two = other.encode(turned, role="query", layer=layer)
            np.testing.assert_allclose(two[::-1] if number else two, one, atol=1e-5)


@pytest.mark.parametrize("pooling", ["mean", "cls", "max", "last"])
@pytest.mark.parametrize("kind", ["bert", "t5", "qwen2"])
def test_vectors_are_a_plain_computation(
    folders: Path, tmp_path: Path, kind: str, pooling: Pooling
) -> None:
    checkpoint = of_kind(folders, kind)
    encoding = replace(PLAIN, pooling=pooling)
    vectors = encoded(checkpoint, tmp_path, TEXTS[:4], encoding, top=2)
    for text, vector in zip(TEXTS[:4], vectors, strict=True):
        hidden = plain_torch(checkpoint, text)[0].numpy()
        pooled = {
            "mean": hidden.mean(axis=0),
            "cls": hidden[0],
            "max": hidden.max(axis=0),
            "last": hidden[-1],
        }[pooling]
        np.testing.assert_allclose(vector, pooled / np.linalg.norm(pooled), atol=1e-5)


def test_all_layers_in_one_pass_are_the_layers_one_by_one(
    checkpoint: Checkpoint, tmp_path: Path
) -> None:
    layers = range(LAYERS + 1)
    encodings = [replace(PLAIN, layer=layer) for layer in layers]
    curve = encoder(checkpoint, tmp_path / "curve", *encodings, batch_tokens=200)
    sizes = forward_rows(curve)
    together = {layer: curve.encode(TEXTS, role="query", layer=layer) for layer in layers}
    assert sum(sizes) == len(set(TEXTS))
    for layer, encoding in zip(layers, encodings, strict=True):
        options: dict[str, Any] = {"top": layer, "batch_tokens": 200}
        alone = encoded(checkpoint, tmp_path / str(layer), TEXTS, encoding, **options)
        np.testing.assert_allclose(alone, together[layer], atol=1e-6)
        others = [together[other] for other in layers if other != layer]
        assert all(np.abs(alone - other).max() > 1e-2 for other in others)


def test_equal_texts_are_encoded_once(checkpoint: Checkpoint, tmp_path: Path) -> None:
    reported: list[int] = []
    one = encoder(checkpoint, tmp_path, progress=lambda texts, _characters: reported.append(texts))
    sizes = forward_rows(one)
    vectors = one.encode(["b", "a", "b", "b", "a"], role="query")
    assert sum(sizes) == sum(reported) == 2
    assert np.array_equal(vectors, vectors[[0, 1, 0, 0, 1]])
    one.encode(["a", "c", "b"], role="query")
    assert sum(sizes) == sum(reported) == 3
    # The other role has the same length and prompt here: the same vectors.
    assert np.array_equal(one.encode(["b"], role="document"), vectors[:1])
    assert sum(sizes) == 3


def test_no_text_at_all(checkpoint: Checkpoint, tmp_path: Path) -> None:
    assert len(encoded(checkpoint, tmp_path, [])) == 0


# Texts


def test_a_very_long_text_is_cut(checkpoint: Checkpoint, tmp_path: Path) -> None:
    long = "river " * 10_000
    vectors = encoded(checkpoint, tmp_path, [long, long + "island", "river"])
    hidden = plain_torch(checkpoint, long)
    assert hidden.shape[1] == 48
    pooled = hidden[0].numpy().mean(axis=0)
    np.testing.assert_allclose(vectors[0], pooled / np.linalg.norm(pooled), atol=1e-5)
    np.testing.assert_allclose(vectors[1], vectors[0], atol=1e-5)
    assert np.abs(vectors[2] - vectors[0]).max() > 1e-3


def test_each_role_has_its_own_length_and_prompt(checkpoint: Checkpoint, tmp_path: Path) -> None:
    prompts: dict[Role, str] = {"query": "How: ", "document": ""}
    encoding = replace(PLAIN, lengths={"query": 9, "document": 30}, prompts=prompts)
    one = encoder(checkpoint, tmp_path / "a", encoding)
    for role in ROLES:
        given = [prompts[role] + text for text in TEXTS[:3]]
        lengths: dict[Role, int] = {"query": encoding.lengths[role], "document": 5}
        plain = encoded(checkpoint, tmp_path / role, given, replace(PLAIN, lengths=lengths))
        np.testing.assert_allclose(one.encode(TEXTS[:3], role=role), plain, atol=1e-5)


def test_lower_case_includes_the_prompt(checkpoint: Checkpoint, tmp_path: Path) -> None:
    prompts: dict[Role, str] = {"query": "Ask: ", "document": ""}
    lowered = replace(PLAIN, lower_case=True, prompts=prompts)
    got = encoded(checkpoint, tmp_path / "a", TEXTS[:6], lowered)
    given = [f"ask: {text.lower()}" for text in TEXTS[:6]]
    np.testing.assert_allclose(got, encoded(checkpoint, tmp_path / "b", given), atol=1e-5)


def test_without_a_padding_token(folders: Path, tmp_path: Path) -> None:
    checkpoint = of_kind(folders, "llama")
    _, tokenizer = load_encoder(checkpoint, dtype="float32", device="cpu")
    assert "pad_token" not in tokenizer.special
    assert pad_id(tokenizer) == tokenizer.special["eos_token"]
    assert np.isfinite(encoded(checkpoint, tmp_path, TEXTS)).all()


def test_an_empty_text_without_special_tokens_still_has_a_token(folders: Path) -> None:
    _, tokenizer = load_encoder(of_kind(folders, "qwen2"), dtype="float32", device="cpu")
    tokenizer.backend.post_processor = None
    rows = tokenize(tokenizer, ["", "river"], PLAIN, "query")
    assert rows[0].tolist() == [tokenizer.special["bos_token"]]
    assert len(rows[1]) > 0


def test_padding_is_on_the_right() -> None:
    inputs, mask = pad([[5, 6, 7], [8]], 1, "cpu")
    assert inputs.tolist() == [[5, 6, 7], [8, 1, 1]]
    assert mask.tolist() == [[1, 1, 1], [1, 0, 0]]


# What breaks


def test_vectors_that_are_not_finite_are_refused(checkpoint: Checkpoint, tmp_path: Path) -> None:
    broken = encoder(checkpoint, tmp_path)
    model, _ = broken._backbone.load()
    model.get_parameter("encoder.layer.1.output.LayerNorm.bias").fill_(float("nan"))
    with pytest.raises(RefusedError, match=r"not finite, 3 of a batch of 3 texts \(de\)") as raised:
        broken.encode(TEXTS[:3], role="query", lang="de")
    assert "\n" not in str(raised.value)
    # Nothing of it is kept: a sound run afterwards computes all.
    sound = encoder(checkpoint, tmp_path)
    assert np.isfinite(sound.encode(TEXTS[:3], role="query")).all()


def test_vectors_whose_inner_products_overflow_are_refused(
    checkpoint: Checkpoint, tmp_path: Path
) -> None:
    long = encoder(checkpoint, tmp_path, replace(PLAIN, steps=()))
    model, _ = long._backbone.load()
    model.get_parameter("encoder.layer.1.output.LayerNorm.bias").fill_(1e25)
    with pytest.raises(RefusedError, match=r"too long to be compared, 3 of a batch of 3 texts"):
        long.encode(TEXTS[:3], role="query")


def test_batches_are_halved_when_memory_runs_out(
    checkpoint: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = encoded(checkpoint, tmp_path / "a", TEXTS)
    room = 3

    def small(model: Any, inputs: Any, mask: Any, layers: Any) -> Any:
        if len(inputs) > room:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory")
        return hidden_states(model, inputs, mask, layers)

    for module in (harness.inference.backbone, harness.inference.encoder):
        monkeypatch.setattr(module, "hidden_states", small)
    got = encoded(checkpoint, tmp_path / "b", TEXTS)
    np.testing.assert_allclose(got, expected, atol=1e-5)
    cramped = encoder(checkpoint, tmp_path / "c")
    assert not cramped.one_length
    room = 0
    with pytest.raises(IncompleteError, match="one row"):
        cramped.encode(TEXTS, role="query")
    with pytest.raises(IncompleteError, match="no memory"):
        encoded(checkpoint, tmp_path / "d", TEXTS)


def test_half_precision_gives_float32_near_the_whole(
    checkpoint: Checkpoint, tmp_path: Path
) -> None:
    whole = encoded(checkpoint, tmp_path, TEXTS)
    half = encoded(checkpoint, tmp_path, TEXTS, replace(PLAIN, dtype="bfloat16"))
    assert half.dtype == np.float32
    assert 0 < np.abs(half - whole).max() < 0.1


# The store


def test_a_model_is_not_loaded_when_all_vectors_are_there(
    checkpoint: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = encoded(checkpoint, tmp_path, TEXTS)
    reported: list[int] = []

    def never(*_: Any, **__: Any) -> Any:
        raise AssertionError("loaded")

    monkeypatch.setattr(harness.inference.backbone, "load_encoder", never)
    again = encoded(
        checkpoint,
        tmp_path,
        TEXTS[::-1],
        progress=lambda texts, _characters: reported.append(texts),
    )
    assert np.array_equal(again[::-1], first)
    assert sum(reported) == len(set(TEXTS))
    with pytest.raises(AssertionError, match="loaded"):
        encoded(checkpoint, tmp_path, TEXTS, since=time.time_ns())


@pytest.mark.parametrize(
    "change",
    [
        {"layer": 1},
        {"pooling": "cls"},
        {"dtype": "bfloat16"},
        {"lengths": {"query": 8, "document": 48}},
        {"prompts": {"query": "? ", "document": ""}},
        {"lower_case": True},
        {"steps": ()},
    ],
    ids=str,
)
def test_no_setting_takes_the_vectors_of_another(
    checkpoint: Checkpoint, tmp_path: Path, change: dict[str, Any]
) -> None:
    plain = encoded(checkpoint, tmp_path, TEXTS)
    changed = encoded(checkpoint, tmp_path, TEXTS, replace(PLAIN, **change))
    assert np.abs(changed - plain).max() > 1e-4


def test_no_checkpoint_takes_the_vectors_of_another(checkpoint: Checkpoint, tmp_path: Path) -> None:
    plain = encoded(checkpoint, tmp_path / "cache", TEXTS)
    other = resolve(str(build("bert", tmp_path / "bert", seed=1)))
    assert other.id == checkpoint.id
    assert np.abs(encoded(other, tmp_path / "cache", TEXTS) - plain).max() > 1e-2


def test_texts_whose_vectors_were_lost_are_encoded_again(
    checkpoint: Checkpoint, tmp_path: Path
) -> None:
    expected = encoded(checkpoint, tmp_path / "a", TEXTS)
    resumed = encoder(checkpoint, tmp_path / "b")
    resumed.announce(TEXTS, role="query")
    np.testing.assert_allclose(resumed.encode(TEXTS, role="query"), expected, atol=1e-5)


# Resuming

UNIT_A = [text for n in range(6) for text in (SENTENCES[n], SENTENCES[n][: 8 + 5 * n], f"only {n}")]
UNIT_B = [*UNIT_A[::2], *(f"{text} {n}" for n, text in enumerate(SENTENCES)), *UNIT_A[1::3]]


class Killed(BaseException):
    """What no code catches."""


def two_units(checkpoint: Checkpoint, cache: Path, *encodings: Encoding) -> list[bytes]:
    undisturbed = encoder(checkpoint, cache, *encodings, batch_tokens=120)
    for unit in (UNIT_A, UNIT_B):
        undisturbed.encode(unit, role="query")
    return bits(undisturbed)


def bits(one: Encoder) -> list[bytes]:
    """The vectors of both units in every layer, to the last bit."""
    return [
        one.encode(unit, role="query", layer=layer).tobytes()
        for unit in (UNIT_A, UNIT_B)
        for layer in one.encodings
    ]


CURVE = tuple(replace(PLAIN, layer=layer) for layer in range(LAYERS + 1))


@pytest.mark.parametrize("encodings", [(PLAIN,), CURVE], ids=["one layer", "all layers"])
def test_resumed_between_units_gives_the_same_bits(
    checkpoint: Checkpoint, tmp_path: Path, encodings: tuple[Encoding, ...]
) -> None:
    expected = two_units(checkpoint, tmp_path / "undisturbed", *encodings)
    cache = tmp_path / "resumed"
    first = encoder(checkpoint, cache, *encodings, batch_tokens=120)
    first.encode(UNIT_A, role="query")
    resumed = encoder(checkpoint, cache, *encodings, batch_tokens=120)
    resumed.announce(UNIT_A, role="query")
    resumed.encode(UNIT_B, role="query")
    assert bits(resumed) == expected


@pytest.mark.parametrize("encodings", [(PLAIN,), CURVE], ids=["one layer", "all layers"])
@pytest.mark.parametrize("survived", range(4))
def test_resumed_within_a_unit_gives_the_same_bits(
    checkpoint: Checkpoint,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    encodings: tuple[Encoding, ...],
    survived: int,
) -> None:
    expected = two_units(checkpoint, tmp_path / "undisturbed", *encodings)
    cache = tmp_path / "resumed"
    with monkeypatch.context() as patched:
        patched.setattr(
            harness.inference.vector_store, "SEGMENT_BYTES", 1
        )  # every batch is written at once
        killed = encoder(checkpoint, cache, *encodings, batch_tokens=120)
        killed.encode(UNIT_A, role="query")
        passes = 0

        def counted(model: Any, inputs: Any, mask: Any, layers: Any) -> Any:
            nonlocal passes
            if passes == survived:
                raise Killed
            passes += 1
            return hidden_states(model, inputs, mask, layers)

        patched.setattr(harness.inference.encoder, "hidden_states", counted)
        with pytest.raises(Killed):
            killed.encode(UNIT_B, role="query")
    resumed = encoder(checkpoint, cache, *encodings, batch_tokens=120)
    sizes = forward_rows(resumed)
    resumed.announce(UNIT_A, role="query")
    resumed.encode(UNIT_B, role="query")
    new = len(set(UNIT_B) - set(UNIT_A))
    assert sum(sizes) == new if survived == 0 else 0 < sum(sizes) < new
    assert bits(resumed) == expected


def test_a_segment_lost_from_the_middle_of_a_unit_gives_the_same_bits(
    checkpoint: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = two_units(checkpoint, tmp_path / "undisturbed")
    monkeypatch.setattr(harness.inference.vector_store, "SEGMENT_BYTES", 1)
    cache = tmp_path / "resumed"
    two_units(checkpoint, cache)
    segments = sorted(cache.rglob("*.arrow"))
    assert len(segments) > 4
    segments[-2].unlink()
    again = encoder(checkpoint, cache, batch_tokens=120)
    again.announce(UNIT_A, role="query")
    again.encode(UNIT_B, role="query")
    assert bits(again) == expected


# Native


def native(folder: Path, **options: Any) -> tuple[Checkpoint, Encoding]:
    checkpoint = resolve(str(build_sentence_transformer(folder, **options)))
    (encoding,) = resolve_encodings(
        Protocol("native"),
        task_lengths={"query": 96, "document": 256},
        depth=LAYERS,
        max_positions=128,
        native=checkpoint.native,
        bitext=False,
    )
    return checkpoint, encoding


def test_native_is_a_plain_computation(tmp_path: Path) -> None:
    from safetensors.torch import load_file

    folder = tmp_path / "sentence"
    checkpoint, encoding = native(folder, dense=(20,), prompts={"query": "ask: "}, max_length=24)
    texts = [*SENTENCES[:5], "word " * 100]
    one = encoder(checkpoint, tmp_path / "cache", encoding)
    for role in ROLES:
        prompt = "ask: " if role == "query" else ""
        vectors = one.encode(texts, role=role)
        assert vectors.shape == (6, 20)
        weights = load_file(folder / "2_Dense" / "model.safetensors")
        for text, vector in zip(texts, vectors, strict=True):
            hidden = plain_torch(checkpoint, prompt + text, length=24, layer=LAYERS)[0]
            pooled = hidden.mean(0)
            dense = torch.tanh(weights["linear.weight"] @ pooled + weights["linear.bias"])
            np.testing.assert_allclose(vector, (dense / dense.norm()).numpy(), atol=1e-5)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"dense": (20, 8), "normalize": False, "similarity": "dot"},
        {"pooling": {"word_embedding_dimension": 32, "pooling_mode_cls_token": True}},
        {"pooling": {"word_embedding_dimension": 32, "pooling_mode_max_tokens": True}},
        {"kind": "xlm-roberta", "prompts": {"query": "query: ", "document": "passage: "}},
        {"kind": "mpnet", "max_length": 10, "lower_case": True},
    ],
    ids=str,
)
def test_native_is_what_sentence_transformers_gives(
    tmp_path: Path, options: dict[str, Any]
) -> None:
    library = pytest.importorskip("sentence_transformers")
    folder = tmp_path / "sentence"
    checkpoint, encoding = native(folder, **options)
    model = library.SentenceTransformer(str(folder), device="cpu")
    one = encoder(checkpoint, tmp_path / "cache", encoding)
    texts = [*SENTENCES, "word " * 100]
    for role in ROLES:
        prompt = options.get("prompts", {}).get(role)
        # One by one: rows that are padded add up in another order, which the processor decides.
        expected = [model.encode(t, prompt=prompt, show_progress_bar=False) for t in texts]
        np.testing.assert_allclose(one.encode(texts, role=role), expected, atol=1e-5)
