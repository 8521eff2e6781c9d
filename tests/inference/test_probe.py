"""What is tried of a model when it is loaded, on models made by hand and on small real ones."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers

import harness.inference.backbone
import tests.checkpoints as tiny
from harness.alignment.align import align
from harness.checkpoint.loading import load_reader
from harness.checkpoint.resolve import resolve
from harness.commands.doctor import examine
from harness.errors import IncompleteError, RefusedError
from harness.evaluation.models import plan_model
from harness.evaluation.options import Options, make_request
from harness.evaluation.reporting import Silent
from harness.evaluation.run import run
from harness.inference.backbone import Backbone
from harness.inference.encoder import Encoder
from harness.inference.probe import (
    LENGTHS,
    ONE_LENGTH,
    check_layers,
    logits_need_one_length,
    needs_one_length,
    probe_ids,
    read_finding,
    write_finding,
)
from harness.inference.protocol import Encoding
from harness.inference.reader import Reader
from harness.results.outcomes import find, read_meta
from harness.results.scores import scores
from tests.checkpoints import _tokenizer
from tests.real_names import ARCHITECTURES, build


def words(text: str, length: int) -> Any:
    return np.array([len(word) for word in text.split()][:length], dtype=np.int32)


PAIRS = probe_ids(words, None)


def vector(ids: np.ndarray[Any, Any]) -> list[float]:
    """By hand: of one text, by its own tokens alone."""
    return [1.0, float(ids.mean()), float(ids[0])]


# Vectors


def test_texts_of_each_length_are_tried_twice_in_different_words() -> None:
    assert [len(first) for first, _ in PAIRS] == list(LENGTHS)
    assert all(len(first) == len(second) for first, second in PAIRS)
    assert all(first.tolist() != second.tolist() for first, second in PAIRS)
    assert max(len(first) for first, _ in probe_ids(words, 20)) == 17
    assert [len(first) for first, _ in probe_ids(words, 2)] == [2]


@pytest.mark.parametrize(
    ("dtype", "padded", "beside", "expected"),
    [
        ("float32", 0.0, 0.0, False),
        ("float32", 0.9e-5, 0.9e-5, False),
        ("float32", 1.5e-5, 0.9e-5, True),
        ("float32", 1e-2, 0.0, True),
        ("float32", np.nan, 0.0, True),
        ("float32", 0.0, 1.5e-5, None),
        ("float32", 1e-2, 1e-2, None),
        ("float32", 0.0, np.nan, None),
        # 8 × 2^-7 = 0.0625 and 8 × 2^-10 = 0.0078 of a vector's norm
        ("bfloat16", 0.05, 0.05, False),
        ("bfloat16", 0.07, 0.05, True),
        ("bfloat16", 0.0, 0.07, None),
        ("float16", 0.007, 0.0, False),
        ("float16", 0.01, 0.0, True),
    ],
)
def test_what_company_changes_decides(
    dtype: str, padded: float, beside: float, expected: bool | None
) -> None:
    def compute(batch: Sequence[Any], masked: bool) -> dict[int, Any]:
        """Unit vectors; company turns them by so much of a right angle's sine."""
        assert masked == (len(batch) == 1)
        company = 0.0
        if len(batch) > 1:
            company = beside if len({len(ids) for ids in batch}) == 1 else padded
        scale = np.array([[float(ids.sum())] for ids in batch])
        turned = np.array([[np.sqrt(1 - company**2), company]] * len(batch))
        return {2: np.array([[1.0, 0.0]] * len(batch)), 4: scale * turned}

    if expected is None:
        with pytest.raises(RefusedError, match="as many tokens"):
            needs_one_length(compute, PAIRS, dtype)
    else:
        assert needs_one_length(compute, PAIRS, dtype) is expected


@pytest.mark.parametrize("length", LENGTHS[:-1])
def test_one_length_that_reads_padding_is_enough(length: int) -> None:
    def compute(batch: Sequence[Any], masked: bool) -> dict[int, Any]:
        longest = max(len(ids) for ids in batch)
        rows = [vector(ids) for ids in batch]
        for row, ids in zip(rows, batch, strict=True):
            row[0] += 0.1 * (len(ids) == length and longest > length)
        return {1: np.array(rows)}

    assert needs_one_length(compute, PAIRS, "float32")


def test_vectors_that_are_not_finite_are_left_to_the_first_text_that_is_encoded() -> None:
    nothing = {1: np.full((1, 2), np.nan)}
    assert not needs_one_length(
        lambda batch, _: {1: np.repeat(nothing[1], len(batch), 0)}, PAIRS, "float16"
    )


# Layers


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda states: states, ""),
        (lambda states: None, "gives no hidden states for 2 layers"),
        (lambda states: states[:2], "gives 2 hidden states for 2 layers"),
        (lambda states: (states[0], states[1] + 1e-3, states[2]), "hidden_states[1] of Model"),
        (lambda states: (states[0], states[1][:, :2], states[2]), "is [2, 2, 4]"),
        (lambda states: (states[0], states[2], states[1]), "hidden_states[1] of Model"),
        (lambda states: (states[0] + 1, states[1], states[2]), ""),  # not used
    ],
)
def test_layers_are_compared_with_what_transformers_gives(change: Any, said: str) -> None:
    states = tuple(torch.randn(2, 3, 4, generator=torch.Generator().manual_seed(1)) for _ in "123")
    states = tuple(state * (layer + 1) for layer, state in enumerate(states))
    mask = torch.tensor([[1, 1, 1], [1, 0, 0]])
    found = {1: states[1].clone(), 2: states[2]}
    found[1][1, 2] = 100  # padding is nobody's
    if not said:
        check_layers(found, change(states), mask, 2, "Model")
        return
    with pytest.raises(RefusedError) as raised:
        check_layers(found, change(states), mask, 2, "Model")
    assert said in str(raised.value)


# Logits


@pytest.mark.parametrize(
    ("padded", "beside", "expected"),
    [(0.0, 0.0, False), (1e-4, 1e-4, False), (1e-2, 0.0, True), (0.0, 1e-2, None)],
)
def test_logits_count_relative_to_the_largest(
    padded: float, beside: float, expected: bool | None
) -> None:
    lengths = np.array([5, 9, 9, 17, 17])

    def compute(rows: Any) -> Any:
        sizes = lengths[rows]
        company = 0.0
        if len(rows) > 1:
            company = beside if len(set(sizes)) == 1 else padded
        logits = np.full((2, len(rows), 20), -np.inf, dtype=np.float32)
        for i, size in enumerate(sizes):
            logits[:, i, :size] = np.linspace(-50, 50, size) + company
        return logits

    if expected is None:
        with pytest.raises(RefusedError, match="windows of as many tokens"):
            logits_need_one_length(compute, lengths, "float32")
    else:
        assert logits_need_one_length(compute, lengths, "float32") is expected


@pytest.mark.parametrize("outputs", [1, 2])
@pytest.mark.parametrize(("error", "fits"), [(3e-5, True), (3e-2, False)])
def test_rounding_is_of_the_largest_logit(outputs: int, error: float, fits: bool) -> None:
    """A head of one output has no range, and two outputs may be nearly equal by chance."""
    lengths = np.array([5, 5, 9])
    alone = np.array([[2.0, 12.0, -7.0], [2.000001, -12.0, 3.0]], dtype=np.float32)[:outputs]

    def compute(rows: Any) -> Any:
        return alone[:, rows, None] + np.float32(error if len(rows) > 1 else 0)

    if fits:
        assert logits_need_one_length(compute, lengths, "float32") is False
    else:
        with pytest.raises(RefusedError, match="windows of as many tokens"):
            logits_need_one_length(compute, lengths, "float32")


def reader_folder(folder: Path, kind: str, **config: Any) -> Path:
    tokenizer = _tokenizer(("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"), True)
    settings = getattr(transformers, f"{kind}Config")(
        vocab_size=len(tokenizer), hidden_size=32, num_hidden_layers=2, num_attention_heads=4,
        intermediate_size=64, max_position_embeddings=130, initializer_range=0.5, **config,
    )  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = getattr(transformers, f"{kind}ForQuestionAnswering")(settings)
        for parameter in model.parameters():
            parameter.data.add_(0.05 * torch.randn_like(parameter))
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.mark.parametrize(
    ("kind", "config", "one_length"),
    [
        ("Bert", {}, False),
        ("ConvBert", {"embedding_size": 16, "conv_kernel_size": 3}, True),
        ("FNet", {}, True),
    ],
)
def test_answers_depend_on_question_and_context_alone(
    kind: str, config: dict[str, Any], one_length: bool, tmp_path: Path
) -> None:
    checkpoint = resolve(str(reader_folder(tmp_path, kind, **config)))
    model, tokenizer = load_reader(checkpoint, dtype="float32", device="cpu")
    draw = np.random.default_rng(0)
    pairs = [
        ("How many bridges?", " ".join(map(str, draw.integers(0, 9, int(draw.integers(1, 200))))))
        for _ in range(12)
    ]
    readings = []
    for tokens in (64, 2_048, 65_536):
        reader = Reader(model, tokenizer, batch_tokens=tokens)
        reader.probe()
        assert reader.one_length is one_length
        readings.append(reader.read(pairs, lang="en"))
    alone = [reader.read([pair], lang="en")[0] for pair in pairs]
    for reading in readings:
        for got, expected in zip(reading, alone, strict=True):
            assert (got.start, got.end) == (expected.start, expected.end)
            assert abs(got.score - expected.score) < 1e-4


# What is kept, and what a row says


def encoder(folder: Path, cache: Path, **options: Any) -> Encoder:
    checkpoint = resolve(str(folder))
    backbone = Backbone(checkpoint, dtype="float32", device="cpu", top=2)
    lengths: Any = {"query": 32, "document": 32}
    prompts: Any = {"query": "", "document": ""}
    encoding = Encoding("mean", 2, 3, lengths, prompts, "float32")
    return Encoder(backbone, [encoding], cache=cache, **options)


def test_a_run_that_finds_all_vectors_says_the_same_without_the_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = build(ARCHITECTURES["FNet"], tmp_path / "model")
    texts = ["a", "b c d e", "f g"]
    first = encoder(folder, tmp_path).encode(texts, role="query")

    def never(*_: Any, **__: Any) -> None:
        raise AssertionError("the model is loaded")

    monkeypatch.setattr(harness.inference.backbone, "load_encoder", never)
    again = encoder(folder, tmp_path)
    assert (again.encode(texts, role="query") == first).all()
    assert again.remarks == (ONE_LENGTH,)
    # A run from scratch believes nothing that is older.
    with pytest.raises(AssertionError, match="the model is loaded"):
        _ = encoder(folder, tmp_path, since=time.time_ns()).remarks


def test_a_finding_is_kept_for_what_decides_it_and_no_damaged_one_is_believed(
    tmp_path: Path,
) -> None:
    folder, parts = tmp_path / "probes", {"checkpoint": "a"}
    assert read_finding(folder, parts) is None
    write_finding(folder, parts, True)
    assert read_finding(folder, parts) is True
    assert read_finding(folder, {"checkpoint": "b"}) is None
    later = time.time_ns() + 10**12
    assert read_finding(folder, parts, since=later) is None
    write_finding(folder, parts, False, since=later)
    assert read_finding(folder, parts, since=later) is False
    (path,) = folder.iterdir()
    for damage in ("", "[]", "{}", '{"one length": 1}'):
        path.write_text(damage)
        assert read_finding(folder, parts) is None


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes everywhere")
def test_a_cache_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(IncompleteError, match="cannot write to the cache"):
        write_finding(tmp_path / "probes", {}, True)


@pytest.mark.parametrize(("name", "note"), [("FNet", ONE_LENGTH), ("EuroBERT", "auto_map")])
def test_a_row_says_it_and_is_not_set_apart(name: str, note: str, tmp_path: Path) -> None:
    folder = build(ARCHITECTURES[name], tmp_path / "model")
    values = []
    for tokens in (32, 65_536):
        out = tmp_path / str(tokens)
        request = make_request(Options(
            tasks=("demo_bitext",), languages=("de",), limit=40, batch_tokens=tokens, out=out,
            device="cpu", cache_dir=tmp_path / f"cache{tokens}", offline=True,
        ))  # fmt: skip
        run(plan_model(str(folder), request), Silent())
        (file,) = find(out)
        meta = read_meta(file.path)
        assert meta["notes"] == meta["remarks"] != []
        assert note in meta["notes"][0]
        rows = scores(out).to_pylist()
        assert {row["note"] for row in rows} == {f"first 40 queries a language; {meta['notes'][0]}"}
        values.append([row["value"] for row in rows])
    assert values[0] == values[1]


def test_doctor_and_align_say_it_too(tmp_path: Path) -> None:
    folder = build(ARCHITECTURES["FNet"], tmp_path / "reads")
    cache = tmp_path / "cache"
    assert examine(str(folder), cache_dir=cache, offline=True)[str(folder)]["padding"] == ONE_LENGTH
    options = Options(languages=("de",), limit=20, device="cpu", cache_dir=cache, offline=True)
    assert ONE_LENGTH in align(str(folder), "demo_bitext", options).notes
    other = tiny.build("bert", tmp_path / "does not")
    found = examine(str(other), cache_dir=cache, offline=True)[str(other)]
    assert found["padding"] == "a vector depends on its text alone"
    assert ONE_LENGTH not in align(str(other), "demo_bitext", options).notes
