"""The ids of a checkpoint are those of its tokenizer.json, whatever is written beside it.

The oracle is ``tokenizers.Tokenizer.from_file`` on the file itself.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tokenizers import Tokenizer as Backend
from tokenizers import models, normalizers, pre_tokenizers, processors, trainers

from harness.checkpoint.loading import describe, load_encoder, load_reader
from harness.checkpoint.resolve import resolve
from harness.checkpoint.tokenizer import Tokenizer, load_tokenizer, make_tokenizer
from harness.errors import RefusedError
from harness.inference.backbone import Backbone
from harness.inference.encoder import Encoder
from harness.inference.protocol import Encoding, Protocol, resolve_encodings
from harness.inference.token_ids import tokenize
from harness.inference.windows import WindowShape, make_windows
from tests.checkpoints import ROBERTA, SENTENCES, build, build_sentence_transformer

LINES = (
    *SENTENCES,
    "ﬁne ＦＵＬＬ ｗｉｄｔｈ １２３ ①②, cafe\u0301",
    "a\u00a0b\u200bc  two  blanks\tand tab ",
    "ΟΔΥΣΣΕΥΣ İstanbul ẞ",
    "",
)
CLASSES = (
    None,
    "PreTrainedTokenizerFast",
    "RobertaTokenizer",
    "XLMRobertaTokenizer",
    "CamembertTokenizer",
    "DebertaV2Tokenizer",
    "BertTokenizerFast",
    "LlamaTokenizer",
    "T5Tokenizer",
    "NoSuchTokenizer",
)
PLAIN = Encoding(
    "mean", 2, 3, {"query": 12, "document": 12}, {"query": "", "document": ""}, "float32"
)


def unigram_file(path: Path, **settings: Any) -> Path:
    """A multilingual tokenizer.json with a normaliser that no class rebuilds: NFKC, blanks."""
    backend = Backend(models.Unigram())
    backend.normalizer = normalizers.Sequence(
        [normalizers.Nmt(), normalizers.NFKC(), normalizers.Replace("  ", " ")]
    )
    backend.pre_tokenizer = pre_tokenizers.Metaspace()
    backend.train_from_iterator(
        SENTENCES,
        trainers.UnigramTrainer(
            vocab_size=300, special_tokens=list(ROBERTA), unk_token="<unk>", show_progress=False
        ),
    )
    backend.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>",
        pair="<s> $A </s> </s> $B </s>",
        special_tokens=[("<s>", 0), ("</s>", 2)],
    )
    # What the file was saved with last: no part of what the checkpoint means.
    backend.enable_truncation(5, direction="left")
    backend.enable_padding(length=7, pad_id=1, pad_token="<pad>")
    backend.save(str(path))
    return path


def folder_with(folder: Path, name: str | None, **settings: Any) -> Path:
    """A bert checkpoint with the unigram tokenizer, declared to be of a class."""
    build("bert", folder, qa_head=True)
    for path in folder.glob("*token*"):
        path.unlink()
    unigram_file(folder / "tokenizer.json")
    declared: dict[str, Any] = {"model_max_length": 128, **settings}
    if name:
        declared["tokenizer_class"] = name
    (folder / "tokenizer_config.json").write_text(json.dumps(declared))
    return folder


def oracle(folder: Path) -> Any:
    backend = Backend.from_file(str(folder / "tokenizer.json"))
    backend.no_truncation()
    backend.no_padding()
    return backend


@pytest.mark.parametrize("name", CLASSES)
def test_ids_are_those_of_the_file_whatever_class_is_named(tmp_path: Path, name: str) -> None:
    folder = folder_with(tmp_path / "m", name)
    checkpoint, plain = resolve(str(folder)), oracle(folder)
    _, encoder = load_encoder(checkpoint, dtype="float32", device="cpu")
    _, reader = load_reader(checkpoint, dtype="float32", device="cpu")
    for tokenizer in (encoder, reader):
        assert tokenizer.ids(LINES) == [plain.encode(line).ids for line in LINES]
    shape = WindowShape(max_length=128, question_length=32, stride=16)
    windows = make_windows(reader, [(LINES[2], line) for line in LINES], shape)
    for row, line in enumerate(LINES):
        part = slice(windows.begin[row], windows.begin[row + 1])
        expected = plain.encode(LINES[2], line)
        assert windows.tokens[part].tolist() == expected.ids
        assert [tuple(pair) for pair in windows.offsets[part].tolist()] == expected.offsets


@pytest.mark.parametrize("side", ["left", "right"])
def test_the_standard_protocol_cuts_the_tail_and_native_what_is_declared(
    tmp_path: Path, side: str
) -> None:
    tokenizer = load_tokenizer(resolve(str(folder_with(tmp_path, None, truncation_side=side))))
    whole = np.array(oracle(tmp_path).encode(LINES[0]).ids)
    tail, head = [0, *whole[-11:]], [*whole[:11], 2]
    assert tokenize(tokenizer, LINES[:1], PLAIN, "query")[0].tolist() == head
    native = Encoding(**{**vars(PLAIN), "declared_side": True})
    cut = tokenize(tokenizer, LINES[:1], native, "query")[0].tolist()
    assert cut == (tail if side == "left" else head)


def test_a_length_without_room_for_the_special_tokens_is_refused(tmp_path: Path) -> None:
    tokenizer = load_tokenizer(resolve(str(folder_with(tmp_path, None))))
    assert tokenizer.ids(LINES[:1], max_length=2) == [[0, 2]]
    with pytest.raises(RefusedError, match="no room for the 2 special tokens"):
        tokenizer.ids(LINES[:1], max_length=1)


def test_windows_take_the_tail_as_well_where_the_left_side_is_declared(tmp_path: Path) -> None:
    shape = WindowShape(max_length=24, question_length=4, stride=2)
    pairs = [("The?", " ".join(SENTENCES[:4]))]
    folder = folder_with(tmp_path, None)
    made = []
    for side in ("left", "right"):
        (folder / "tokenizer_config.json").write_text(json.dumps({"truncation_side": side}))
        tokenizer = load_tokenizer(resolve(str(folder)))
        made.append(make_windows(tokenizer, pairs, shape).tokens.tolist())
    assert made[0] == made[1]


def test_lower_casing_is_the_normalisers_and_leaves_special_tokens(tmp_path: Path) -> None:
    backend = Backend(models.WordLevel({"[UNK]": 0, "[SEP]": 1, "οδυσσευσ": 2, "sep": 3}, "[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    backend.add_special_tokens(["[SEP]"])
    tokenizer = make_tokenizer(backend, {})
    # Character by character: Python would end the word with a final sigma.
    assert tokenizer.lower_cased.ids(["ΟΔΥΣΣΕΥΣ [SEP] SEP"]) == [[2, 1, 3]]
    assert tokenizer.ids(["ΟΔΥΣΣΕΥΣ [SEP] SEP"]) == [[0, 1, 0]]
    lowering = make_tokenizer(tokenizer.lower_cased.backend, {})
    assert lowering.lower_cased is lowering


def test_special_tokens_are_looked_up_in_the_file(tmp_path: Path) -> None:
    backend = Backend(models.WordLevel({"[PAD]": 0, "<eos>": 1, "a": 2, "[UNK]": 3}, "[UNK]"))
    backend.add_special_tokens(["[PAD]"])
    declared = {"eos_token": {"content": "<eos>"}, "pad_token": "<not there>", "sep_token": "a"}
    special = make_tokenizer(backend, declared, {"bos_token_id": 2, "cls_token_id": 77}).special
    # The padding that is named is not in the file; the usual name is, and it is marked special.
    assert special == {"eos_token": 1, "sep_token": 2, "bos_token": 2, "pad_token": 0}


@pytest.mark.parametrize(
    ("change", "largest"),
    [
        ({}, 3),
        ({"added": "new"}, 4),
        ({"hole": 90}, 90),
        ({"template": 77}, 77),
        ({"pair": 78}, 78),
    ],
)
def test_the_largest_id_counts_all_that_gives_ids(change: dict[str, Any], largest: int) -> None:
    vocabulary = {"[UNK]": 0, "[CLS]": 1, "a": 2, "b": change.get("hole", 3)}
    backend = Backend(models.WordLevel(vocabulary, "[UNK]"))
    if "added" in change:
        backend.add_tokens([change["added"]])
    single, pair = change.get("template", 1), change.get("pair", 1)
    backend.post_processor = processors.TemplateProcessing(
        single="[CLS] $A",
        pair="[CLS] $A [B] $B",
        special_tokens=[("[CLS]", single), ("[B]", pair)],
    )
    assert make_tokenizer(backend, {}).largest_id == largest


@pytest.mark.parametrize("id_", [419, 420, 5000])
def test_an_id_beyond_the_embeddings_is_refused_before_a_weight_is_read(
    tmp_path: Path, id_: int
) -> None:
    folder = build("bert", tmp_path / "m")
    path = folder / "tokenizer.json"
    state = json.loads(path.read_text())
    state["post_processor"]["special_tokens"]["[SEP]"]["ids"] = [id_]
    path.write_text(json.dumps(state))
    if id_ < 420:
        assert describe(resolve(str(folder)))[0] == 3
        return
    with pytest.raises(RefusedError, match=rf"ids up to {id_:,}, the model embeds 420"):
        describe(resolve(str(folder)))


def test_merges_left_out_at_random_are_refused(tmp_path: Path) -> None:
    folder = build("bert", tmp_path / "m")
    path = folder / "tokenizer.json"
    state = json.loads(path.read_text())
    state["model"]["dropout"] = 0.1
    path.write_text(json.dumps(state))
    with pytest.raises(RefusedError, match="at random"):
        load_tokenizer(resolve(str(folder)))


def test_a_tokenizer_is_read_again_only_when_its_files_change(tmp_path: Path) -> None:
    folder = build("bert", tmp_path / "m")
    checkpoint = resolve(str(folder))
    first = load_tokenizer(checkpoint)
    assert load_tokenizer(checkpoint) is first
    os.utime(folder / "tokenizer.json", ns=(1, 1))
    assert load_tokenizer(checkpoint) is not first


@pytest.mark.parametrize(
    ("declared", "expected"),
    [
        ({}, (None, "right", True)),
        ({"model_max_length": 10**30}, (None, "right", True)),
        ({"model_max_length": 64, "padding_side": "left"}, (64, "left", True)),
        ({"tokenizer_class": "XLNetTokenizerFast"}, (None, "left", True)),
        ({"model_input_names": ["input_ids", "attention_mask"]}, (None, "right", False)),
    ],
)
def test_what_is_declared(declared: dict[str, Any], expected: tuple[Any, ...]) -> None:
    made: Tokenizer = make_tokenizer(Backend(models.WordLevel({"a": 0}, "a")), declared)
    assert (made.model_max_length, made.padding_side, made.gives_types) == expected


@pytest.mark.parametrize("lower_case", [False, True])
@pytest.mark.parametrize("side", ["left", "right"])
def test_native_cuts_and_lower_cases_as_sentence_transformers_does(
    tmp_path: Path, lower_case: bool, side: str
) -> None:
    library = pytest.importorskip("sentence_transformers")
    folder = build_sentence_transformer(tmp_path / "m", lower_case=lower_case, max_length=16)
    path = folder / "tokenizer_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "truncation_side": side}))
    texts = ["ΟΔΥΣΣΕΥΣ [SEP] The FERRY", "İstanbul ẞ", " ".join(SENTENCES), "short"]
    expected = library.SentenceTransformer(str(folder), device="cpu").encode(texts)
    checkpoint = resolve(str(folder))
    (encoding,) = resolve_encodings(
        Protocol("native"),
        task_lengths={"query": 512, "document": 512},
        depth=3,
        max_positions=128,
        native=checkpoint.native,
        bitext=True,
    )
    backbone = Backbone(checkpoint, dtype="float32", device="cpu", top=3)
    ours = Encoder(backbone, [encoding], cache=tmp_path / "cache")
    np.testing.assert_allclose(ours.encode(texts, role="query"), expected, atol=1e-5)
