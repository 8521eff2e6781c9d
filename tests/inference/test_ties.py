"""Texts that reach the model as equal token ids: one vector, one place in a search, one tie rule.

The oracle is transformers on one text at a time and numpy's stable sort over the distinct ids.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from tokenizers import Tokenizer

from harness.checkpoint.resolve import Checkpoint, resolve
from harness.data.examples import Bitext
from harness.inference.backbone import Backbone
from harness.inference.encoder import Encoder
from harness.inference.protocol import Encoding
from harness.inference.search import distinct_vectors, rank_all
from harness.inference.token_ids import CHUNK
from harness.kinds.bitext import KIND
from harness.kinds.kind import UnitSettings
from tests.checkpoints import LAYERS, SENTENCES, build
from tests.inference.forwards import forward_rows

LENGTH = 24
PLAIN = Encoding(
    pooling="mean",
    layer=2,
    depth=LAYERS,
    lengths={"query": LENGTH, "document": LENGTH},
    prompts={"query": "", "document": ""},
    dtype="float32",
)
# To the tokenizers here all Glagolitic letters are one, and of long texts the tail is cut.
ONE_LETTER = {"type": "Replace", "pattern": {"Regex": "[ⰰ-ⱟ]"}, "content": "x"}
UNKNOWN = ["ⰰⰱ ⰲⰳ", "ⰴⰵ ⰶⰷ", "ⰸⰹ ⰺⰻ", "ⰼⰽ ⰾⰿ", "ⰰ", "ⰱ", "ⰲ", "ⰳ"]
LONG = [SENTENCES[1] * 9 + tail for tail in ("", " and an island", SENTENCES[0])]
MIXED = [
    *SENTENCES[:6], *UNKNOWN[:4], *LONG[:2], *SENTENCES[6:], *UNKNOWN[4:], LONG[2], "", " ",
]  # fmt: skip
OTHER = [f"{n} {text}" for n, text in enumerate(SENTENCES * 3)]
KINDS = ["bert", "xlm-roberta"]


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Checkpoint]:
    found = {}
    for kind in KINDS:
        folder = build(kind, tmp_path_factory.mktemp("ties") / kind)
        path = folder / "tokenizer.json"
        whole = json.loads(path.read_text(encoding="utf-8"))
        own = [whole["normalizer"]] if whole["normalizer"] else []
        whole["normalizer"] = {"type": "Sequence", "normalizers": [ONE_LETTER, *own]}
        path.write_text(json.dumps(whole), encoding="utf-8")
        found[kind] = resolve(str(folder))
    return found


@pytest.fixture
def threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def encoder(checkpoint: Checkpoint, cache: Path, *, batch_tokens: int | None = None) -> Encoder:
    backbone = Backbone(checkpoint, dtype="float32", device="cpu", top=2)
    return Encoder(backbone, [PLAIN], cache=cache, batch_tokens=batch_tokens)


def token_ids(checkpoint: Checkpoint, texts: Sequence[str]) -> list[tuple[int, ...]]:
    tokenizer = Tokenizer.from_file(str(checkpoint.folder / "tokenizer.json"))
    tokenizer.enable_truncation(LENGTH)
    return [tuple(tokenizer.encode(text).ids) for text in texts]


def plain_vectors(checkpoint: Checkpoint, ids: Sequence[tuple[int, ...]]) -> Any:
    """float64[n, d]: the mean of hidden_states[2] of each row of ids by itself, normalised."""
    model = transformers.AutoModel.from_pretrained(checkpoint.folder, dtype=torch.float32).eval()
    vectors = {}
    for row in dict.fromkeys(ids):
        with torch.inference_mode():
            output = model(input_ids=torch.tensor([row]), output_hidden_states=True)
        pooled = output.hidden_states[2][0].double().mean(0).numpy()
        vectors[row] = pooled / np.linalg.norm(pooled)
    return np.stack([vectors[row] for row in ids])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("batch_tokens", [1, 40, 10_000])
def test_equal_ids_are_computed_once_and_have_one_vector(
    checkpoints: dict[str, Checkpoint], tmp_path: Path, kind: str, batch_tokens: int
) -> None:
    checkpoint = checkpoints[kind]
    ids = token_ids(checkpoint, MIXED)
    assert len(set(ids)) < len(set(MIXED)) - 4
    one = encoder(checkpoint, tmp_path, batch_tokens=batch_tokens)
    rows = forward_rows(one)
    vectors = one.encode(MIXED, role="query")
    assert sum(rows) == len(set(ids))
    np.testing.assert_allclose(vectors, plain_vectors(checkpoint, ids), atol=1e-5)
    first = [ids.index(row) for row in ids]
    assert np.array_equal(vectors, vectors[first])
    keys = one.ids_keys(MIXED, role="query")
    assert [keys.index(key) for key in keys] == first


def test_another_text_of_known_ids_takes_the_vector_that_is_there(
    checkpoints: dict[str, Checkpoint], tmp_path: Path
) -> None:
    checkpoint = checkpoints["bert"]
    known = encoder(checkpoint, tmp_path).encode([UNKNOWN[0], *SENTENCES], role="query")
    later = encoder(checkpoint, tmp_path)
    rows = forward_rows(later)
    twin = later.encode([*OTHER[:3], UNKNOWN[1]], role="query")
    assert np.array_equal(twin[3], known[0])
    assert sum(rows) == 3


def test_what_is_done_is_reported_for_every_distinct_text(
    checkpoints: dict[str, Checkpoint], tmp_path: Path
) -> None:
    for _ in ("cold", "warm"):
        told: list[tuple[int, int]] = []
        backbone = Backbone(checkpoints["bert"], dtype="float32", device="cpu", top=2)
        one = Encoder(backbone, [PLAIN], cache=tmp_path, progress=lambda *n: told.append(n))  # noqa: B023
        one.encode(MIXED, role="query")
        one.encode([*MIXED, "x"], role="query")
        texts = {*MIXED, "x"}
        assert sum(n for n, _ in told) == len(texts)
        assert sum(n for _, n in told) == sum(map(len, texts))


@pytest.mark.parametrize("survived", [0, 1, 4])
@pytest.mark.parametrize("cut", [CHUNK, 7], ids=["one part", "parts of seven"])
def test_a_resumed_run_is_the_undisturbed_one_to_the_bit(
    checkpoints: dict[str, Checkpoint],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    survived: int,
    cut: int,
) -> None:
    monkeypatch.setattr("harness.inference.encoder.CHUNK", cut)
    monkeypatch.setattr("harness.inference.vector_store.SEGMENT_BYTES", 1)
    checkpoint = checkpoints["bert"]
    units = [[*SENTENCES[:5], UNKNOWN[0], LONG[0]], [*MIXED, *OTHER]]
    whole = encoder(checkpoint, tmp_path / "whole", batch_tokens=80)
    expected = [whole.encode(unit, role="query").tobytes() for unit in units]

    class Killed(BaseException):
        pass

    killed = encoder(checkpoint, tmp_path / "half", batch_tokens=80)
    killed.encode(units[0], role="query")
    forward, passes = killed._forward, []

    def dying(*args: Any, **options: Any) -> Any:
        passes.append(1)
        if len(passes) > survived:
            raise Killed
        return forward(*args, **options)

    monkeypatch.setattr(killed, "_forward", dying)
    with pytest.raises(Killed):
        killed.encode(units[1], role="query")
    resumed = encoder(checkpoint, tmp_path / "half", batch_tokens=80)
    resumed.announce(units[0], role="query")
    resumed.encode(units[1], role="query")
    assert [resumed.encode(unit, role="query").tobytes() for unit in units] == expected
    # The keys of the ids are lost too: they are made again.
    for segment in (tmp_path / "half" / "tokens").rglob("*.arrow"):
        segment.unlink()
    again = encoder(checkpoint, tmp_path / "half", batch_tokens=80)
    again.announce(units[0], role="query")
    rows = forward_rows(again)
    assert [again.encode(unit, role="query").tobytes() for unit in units] == expected
    assert rows == []


def ranked(one: Encoder, english: Sequence[str], source: Sequence[str]) -> list[list[int]]:
    """The whole order of the pool for every query, English → language."""
    vectors = one.encode([*source, *english], role="query")
    pool = distinct_vectors(vectors[: len(source)])
    relevant = [[0]] * len(english)
    size = len(source)
    return [o.tolist() for o in rank_all(vectors[size:], pool, relevant, top=size).top]


@pytest.mark.parametrize("kind", KINDS)
def test_ties_depend_on_nothing_and_ranks_on_rounding_alone(
    checkpoints: dict[str, Checkpoint], tmp_path: Path, threads: None, kind: str
) -> None:
    checkpoint = checkpoints[kind]
    source, english = [*MIXED, *UNKNOWN, *OTHER[:9]], [*SENTENCES, *UNKNOWN[:3], *OTHER[5:20]]
    ids = token_ids(checkpoint, source)
    candidates = plain_vectors(checkpoint, ids)
    asked = token_ids(checkpoint, english)
    scores = plain_vectors(checkpoint, asked) @ candidates.T
    # Columns of equal ids have one score in the oracle too.
    scores = scores[:, [ids.index(row) for row in ids]]
    expected = np.argsort(-scores, axis=1, kind="stable")
    settings = [(1, 1, False), (1, 64, False), (2, 64, True), (2, 10_000, False), (1, 500, True)]
    for number, (count, batch_tokens, shuffled) in enumerate(settings):
        torch.set_num_threads(count)
        one = encoder(checkpoint, tmp_path / str(number), batch_tokens=batch_tokens)
        if shuffled:  # other texts came first, and some of these among them in another order
            company = [*OTHER[::-1], *MIXED[::3]]
            one.encode(company, role="query")
        orders = ranked(one, english, source)
        for query, order in enumerate(orders):
            for row in set(ids):
                members = [place for place, candidate in enumerate(order) if ids[candidate] == row]
                assert members == list(range(members[0], members[0] + len(members)))
                own = [order[place] for place in members]
                assert own == sorted(own)
            differ = scores[query, order] - scores[query, expected[query]]
            assert np.abs(differ).max() < 1e-6
        by_ids: dict[tuple[int, ...], list[int]] = {}
        for row, order in zip(asked, orders, strict=True):
            assert by_ids.setdefault(row, order) == order


def test_the_bitext_task_by_the_oracle(
    checkpoints: dict[str, Checkpoint], tmp_path: Path, threads: None
) -> None:
    checkpoint = checkpoints["bert"]
    source, english = (*UNKNOWN, *SENTENCES, *LONG), (*SENTENCES, *UNKNOWN, *SENTENCES[:3])
    bitext = Bitext("de", source, english)
    ids = [token_ids(checkpoint, side) for side in (source, english)]
    left, right = (plain_vectors(checkpoint, side) for side in ids)
    expected = []
    for asked, sought, of in ((right, left, ids[0]), (left, right, ids[1])):
        scores = (asked @ sought.T)[:, [of.index(row) for row in of]]
        order = np.argsort(-scores, axis=1, kind="stable").tolist()
        expected += [[line.index(n) + 1] for n, line in enumerate(order)]
    for count in (1, 2):
        torch.set_num_threads(count)
        one = encoder(checkpoint, tmp_path / str(count))
        settings = UnitSettings(layer=2)
        found = KIND.run(settings, {"de": bitext}, "de", one, None)
        assert found.rows.column("ranks").to_pylist() == expected
        shared = sum(ids[0].count(row) > 1 for row in ids[0])
        assert (found.candidates, found.indistinct) == (len(source), shared)
        assert shared == len(UNKNOWN) + len(LONG) + 1  # what is repeated in LONG is cut itself
