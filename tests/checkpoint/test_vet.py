"""What is refused before a weight is read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.checkpoint.files import counted, only_pickles, pickles_in, vet_listing
from harness.checkpoint.vet import read_config, vet, vet_adapter, vet_tokenizer
from harness.checkpoint.weights import Tensor, parse_json, read_header, read_json, read_weights
from harness.errors import RefusedError

CONFIG = {"model_type": "bert", "hidden_size": 32, "num_hidden_layers": 2, "vocab_size": 100}


def safetensors(
    path: Path, header: dict[str, Any] | bytes, data: bytes = b"", length: int | None = None
) -> Path:
    """A file in the format, written by hand so that every part of it can be wrong."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes((len(text) if length is None else length).to_bytes(8, "little") + text + data)
    return path


def entry(begin: int, end: int, shape: list[int], dtype: str = "F32") -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


def model_folder(folder: Path, config: dict[str, Any] | None = None) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config or CONFIG))
    safetensors(folder / "model.safetensors", {"w": entry(0, 24, [2, 3])}, bytes(24))
    (folder / "vocab.txt").write_text("a\n")
    return folder


# --- file names ---------------------------------------------------------------------------------


def test_counted_takes_what_makes_a_checkpoint_and_nothing_else() -> None:
    names = [
        "config.json",
        "model.safetensors",
        "model.fp16.safetensors",
        "pytorch_model.bin",
        "modeling_own.py",
        "tokenizer.json",
        "chat_template.jinja",
        "onnx/model.safetensors",
        "openvino/config.json",
        "1_Pooling/config.json",
        "2_Dense/model.safetensors",
        "2_Dense/pytorch_model.bin",
        "modules.json",
        "training_args.bin",
        "README.md",
        ".gitattributes",
        "model.safetensors.index.json",
        "model-00001-of-00002.safetensors",
        "../config.json",
        "deep/1_Pooling/config.json",
    ]
    assert counted(names) == [
        "1_Pooling/config.json",
        "2_Dense/model.safetensors",
        "config.json",
        "model.safetensors",
        "modules.json",
        "tokenizer.json",
    ]


def test_shards_count_where_there_is_an_index_and_no_single_file() -> None:
    shards = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]
    variant = "model.fp16-00001-of-00002.safetensors"
    assert counted([*shards, variant]) == []
    index = "model.safetensors.index.json"
    assert counted([*shards, variant, index]) == [*shards, index]


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (
            ["config.json", "pytorch_model.bin"],
            ["pickles", "org/m@refs/pr/N", "`xharness convert org/m FOLDER`"],
        ),
        ([".gitattributes"], ["has no weights", ".gitattributes"]),
        ([], ["has no weights", "nothing"]),
        (["config.json", "tf_model.h5"], ["only tf_model.h5"]),
        (["config.json", "model.fp16.safetensors"], ["only model.fp16.safetensors"]),
        (["config.json", "2_Dense/model.safetensors", "pytorch_model.bin"], ["pickles"]),
        (["model.safetensors"], ["no config.json"]),
    ],
)
def test_listing_refused(names: list[str], words: list[str]) -> None:
    with pytest.raises(RefusedError) as caught:
        vet_listing("org/m@0123456789ab", names)
    message = str(caught.value)
    assert all(word in message for word in words), message
    assert "\n" not in message


def test_listing_of_a_local_folder_offers_conversion_alone() -> None:
    with pytest.raises(
        RefusedError,
        match=r"^\./m has no weights but pickles [^;]*: run `xharness convert \./m FOLDER`$",
    ):
        vet_listing("./m", ["config.json", "pytorch_model.bin"], local=True)


@pytest.mark.parametrize(
    "names",
    [
        ["config.json", "model.safetensors"],
        ["adapter_config.json", "adapter_model.safetensors"],
        ["modules.json", "0_Transformer/config.json", "0_Transformer/model.safetensors"],
    ],
)
def test_listing_accepted(names: list[str]) -> None:
    vet_listing("org/m", names)


# --- JSON ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ('{"a": 1, "a": 2}', "twice"),
        ('{"x": {"a": 1, "a": 1}}', "twice"),
        ('{"a": NaN}', "NaN"),
        ('{"a": -Infinity}', "Infinity"),
        ("{", "not valid JSON"),
        ("[" * 200_000, "nested"),
        ("[" * 40 + "]" * 40, "32 levels"),
        ('{"a": ' + "9" * 5000 + "}", "not valid JSON"),
    ],
)
def test_json_refused(text: str, word: str) -> None:
    with pytest.raises(RefusedError, match=word):
        parse_json(text.encode(), "config.json")


def test_json_must_be_utf8_and_bounded(tmp_path: Path) -> None:
    with pytest.raises(RefusedError, match="not valid JSON"):
        parse_json(b'{"a": "\xff"}', "config.json")
    (tmp_path / "config.json").write_text('"' + "a" * (1 << 20) + '"')
    with pytest.raises(RefusedError, match="more than the 1,048,576 accepted"):
        read_config(tmp_path / "config.json")
    with pytest.raises(RefusedError, match="cannot be read"):
        read_json(tmp_path / "absent.json")


# --- configurations -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"num_hidden_layers": 1_000_000}, "num_hidden_layers = 1000000"),
        ({"num_hidden_layers": 0}, "num_hidden_layers = 0"),
        ({"hidden_size": -1}, "hidden_size = -1"),
        ({"hidden_size": 65_537}, "1 to 65,536"),
        ({"hidden_size": 32.5}, "hidden_size"),
        ({"hidden_size": True}, "hidden_size = True"),
        ({"vocab_size": "many"}, "vocab_size"),
        ({"vocab_size": 5_000_001}, "1 to 5,000,000"),
        ({"max_position_embeddings": 10**12}, "max_position_embeddings"),
        ({"text_config": {"num_layers": 10**9}}, "num_layers"),
        ({"auto_map": {"AutoModel": "modeling_own.OwnModel"}}, "auto_map"),
        ({"text_config": {"auto_map": {"AutoModel": "org/other--m.M"}}}, "auto_map"),
        ({"quantization_config": {"quant_method": "gptq"}}, "quantized"),
        ({"transformers_weights": "../../other.bin"}, "transformers_weights"),
        ({"model_type": None}, "model_type"),
        ({"architectures": "BertModel"}, "architectures"),
        ({"architectures": [1]}, "architectures"),
        ({"auto_map": None}, "auto_map = null, not an object of classes: take the key out"),
        ({"model_type": "eurobert", "auto_map": 7}, "auto_map = 7, not an object"),
        ({"model_type": "eurobert", "auto_map": "m.M"}, 'auto_map = "m.M", not an object'),
    ],
)
def test_config_refused(tmp_path: Path, change: dict[str, Any], word: str) -> None:
    folder = model_folder(tmp_path, CONFIG | change)
    with pytest.raises(RefusedError, match=word):
        vet(folder)


def test_config_accepted_with_empty_forms_of_what_is_refused(tmp_path: Path) -> None:
    empty: dict[str, Any] = {
        "auto_map": {},
        "quantization_config": None,
        "type_vocab_size": 0,
        "num_layers": None,
    }
    vetted = vet(model_folder(tmp_path, CONFIG | empty))
    assert vetted.parameters == 6
    assert vetted.tensors == {"w": Tensor("F32", (2, 3))}


def test_config_must_be_an_object(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("[]")
    with pytest.raises(RefusedError, match="not a JSON object"):
        read_config(tmp_path / "config.json")


# --- tensor headers -----------------------------------------------------------------------------


def test_header_of_a_sound_file(tmp_path: Path) -> None:
    header = {
        "__metadata__": {"format": "pt"},
        "b": entry(8, 12, [2], "BF16"),
        "a": entry(0, 8, [2, 1]),
        "empty": entry(8, 8, [0, 5]),
        "scalar": entry(12, 20, [], "I64"),
    }
    path = safetensors(tmp_path / "m.safetensors", header, bytes(20))
    assert read_header(path) == {
        "a": Tensor("F32", (2, 1)),
        "b": Tensor("BF16", (2,)),
        "empty": Tensor("F32", (0, 5)),
        "scalar": Tensor("I64", ()),
    }


@pytest.mark.parametrize(
    ("header", "data", "length", "word"),
    [
        ({"a": entry(0, 8, [2])}, bytes(7), None, "truncated"),
        ({"a": entry(0, 8, [2])}, bytes(9), None, "truncated or damaged"),
        ({"a": entry(4, 12, [2])}, bytes(12), None, "hole"),
        ({"a": entry(0, 8, [2]), "b": entry(4, 12, [2])}, bytes(12), None, "overlap"),
        ({"a": entry(0, 8, [2]), "b": entry(12, 20, [2])}, bytes(20), None, "hole"),
        ({"a": entry(0, 8, [3])}, bytes(8), None, "has 8 bytes"),
        ({"a": entry(8, 0, [2])}, bytes(8), None, "has -8 bytes"),
        ({"a": entry(0, 1, [1], "F8_E4M3")}, bytes(1), None, "F8_E4M3"),
        ({"a": entry(0, 8, [-2])}, bytes(8), None, "malformed"),
        ({"a": entry(0, 8, [2**60, 0])}, bytes(8), None, "malformed"),
        ({"a": entry(0, 4, [1] * 17)}, bytes(4), None, "malformed"),
        ({"a": {"dtype": "F32", "shape": [2]}}, bytes(8), None, "malformed"),
        ({"a": 1}, b"", None, "malformed"),
        ([], b"", None, "not a JSON object"),
        (b'{"a": 1, "a": 1}', b"", None, "twice"),
        (b"{", b"", None, "not valid JSON"),
        ({}, b"", 100_000_001, "not a whole safetensors file"),
        ({}, b"", 3_000, "not a whole safetensors file"),
        ({}, b"", 2**64 - 1, "not a whole safetensors file"),
    ],
)
def test_header_refused(
    tmp_path: Path, header: Any, data: bytes, length: int | None, word: str
) -> None:
    path = safetensors(tmp_path / "m.safetensors", header, data, length)
    with pytest.raises(RefusedError, match=word):
        read_header(path)


def test_header_of_a_pickle_or_an_empty_file(tmp_path: Path) -> None:
    for data in (b"", b"\x80\x02}q\x00.", b"PK\x03\x04" + bytes(40)):
        (tmp_path / "m.safetensors").write_bytes(data)
        with pytest.raises(RefusedError, match="not a whole safetensors file"):
            read_header(tmp_path / "m.safetensors")


@settings(deadline=None, max_examples=50)
@given(
    st.lists(
        st.tuples(st.lists(st.integers(0, 3), max_size=3), st.sampled_from(["F32", "BF16", "I8"])),
        max_size=5,
    ),
    st.data(),
)
def test_header_agrees_with_the_library_and_no_cut_passes(
    tmp_path_factory: pytest.TempPathFactory,
    tensors: list[tuple[list[int], str]],
    data: st.DataObject,
) -> None:
    import torch
    from safetensors.torch import save_file

    types = {"F32": torch.float32, "BF16": torch.bfloat16, "I8": torch.int8}
    path = tmp_path_factory.mktemp("header") / "m.safetensors"
    saved = {f"t{i}": torch.zeros(shape, dtype=types[t]) for i, (shape, t) in enumerate(tensors)}
    save_file(saved, path)
    expected = {f"t{i}": Tensor(t, tuple(shape)) for i, (shape, t) in enumerate(tensors)}
    assert read_header(path) == expected
    whole = path.read_bytes()
    path.write_bytes(whole[: data.draw(st.integers(0, len(whole) - 1))])
    with pytest.raises(RefusedError):
        read_header(path)


# --- shards -------------------------------------------------------------------------------------


def sharded(folder: Path, weight_map: Any) -> Path:
    safetensors(folder / "model-00001-of-00002.safetensors", {"a": entry(0, 4, [1])}, bytes(4))
    safetensors(folder / "model-00002-of-00002.safetensors", {"b": entry(0, 4, [1])}, bytes(4))
    index = {"metadata": {}, "weight_map": weight_map}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    return folder


def test_shards_together(tmp_path: Path) -> None:
    one, two = "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"
    files, tensors = read_weights(sharded(tmp_path, {"b": two, "a": one}))
    assert [path.name for path in files] == [one, two]
    assert set(tensors) == {"a", "b"}


@pytest.mark.parametrize(
    ("weight_map", "word"),
    [
        ({"a": "../../model-00001-of-00002.safetensors"}, "no shard of this folder"),
        ({"a": "/etc/passwd"}, "no shard of this folder"),
        ({"a": "pytorch_model-00001-of-00002.bin"}, "no shard of this folder"),
        ({"a": ["x"]}, "no shard of this folder"),
        ({"a": "model-00003-of-00003.safetensors"}, "not there"),
        ({"c": "model-00001-of-00002.safetensors"}, "'c' is in model-00001"),
        ({"a": "model-00001-of-00002.safetensors", "b": "model-00001-of-00002.safetensors"}, "'b'"),
        ({}, "no weight_map"),
        ([], "no weight_map"),
    ],
)
def test_index_refused(tmp_path: Path, weight_map: Any, word: str) -> None:
    with pytest.raises(RefusedError, match=word):
        read_weights(sharded(tmp_path, weight_map))


def test_shard_with_a_tensor_that_the_index_does_not_know(tmp_path: Path) -> None:
    folder = sharded(tmp_path, {"a": "model-00001-of-00002.safetensors"})
    two = {"a": entry(0, 4, [1]), "x": entry(4, 8, [1])}
    safetensors(folder / "model-00001-of-00002.safetensors", two, bytes(8))
    with pytest.raises(RefusedError, match=r"'x', which .* does not place there"):
        read_weights(folder)


# --- tokenizers and adapters --------------------------------------------------------------------


def test_tokenizer_refused(tmp_path: Path) -> None:
    with pytest.raises(RefusedError, match="has no tokenizer"):
        vet_tokenizer(tmp_path)
    (tmp_path / "spiece.model").write_bytes(b"x")
    vet_tokenizer(tmp_path)
    own = {"auto_map": {"AutoTokenizer": ["own.Tokenizer", None]}}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(own))
    with pytest.raises(RefusedError, match="code of its own"):
        vet_tokenizer(tmp_path)
    # A tokenizer.json says all that a fast tokenizer does: no code is needed.
    (tmp_path / "tokenizer.json").write_text("{}")
    vet_tokenizer(tmp_path)


@pytest.mark.parametrize(
    ("config", "refused"),
    [
        ({"fast_tokenizer_files": ["tokenizer.4.0.0.json", "tokenizer.json"]}, True),
        ({"fast_tokenizer_files": ["other.json"]}, True),
        ({"fast_tokenizer_files": {"5.0": "other.json"}}, True),
        ({"tokenizer_file": "other.json"}, True),
        ({"tokenizer_file": "./other.json"}, True),
        ({"tokenizer_file": "deeper/tokenizer.json"}, True),
        ({"vocab_file": "../outside.txt"}, True),
        ({"vocab_file": "ABSOLUTE"}, True),
        ({"merges_file": "mine.txt"}, True),
        ({"spm_file": "x.model"}, True),
        ({"sp_model": "x.model"}, True),
        ({"some_new_file": "x"}, True),
        ({"added_tokens_file": "more.json"}, True),
        ({"fast_tokenizer_files": []}, False),
        ({"fast_tokenizer_files": ["tokenizer.json"]}, False),
        ({"tokenizer_file": None, "vocab_file": "vocab.txt"}, False),
        ({"tokenizer_file": "./tokenizer.json"}, False),
        # Left by the machine on which it was saved: no such file, and nothing follows it.
        ({"tokenizer_file": "/root/.cache/huggingface/transformers/5344.7f27"}, False),
        ({"special_tokens_map_file": "old/0_Transformer/special_tokens_map.json"}, False),
        ({"chat_template_file": "chat.jinja", "name_or_path": "org/name"}, False),
    ],
)
def test_a_tokenizer_that_names_other_files(
    tmp_path: Path, config: dict[str, Any], refused: bool
) -> None:
    folder = tmp_path / "m"
    (folder / "deeper").mkdir(parents=True)
    outside = tmp_path / "outside.txt"
    for path in (folder / "tokenizer.json", folder / "other.json", outside):
        path.write_text("{}")
    (folder / "deeper" / "tokenizer.json").write_text("{}")
    text = json.dumps(config).replace("ABSOLUTE", str(outside))
    (folder / "tokenizer_config.json").write_text(text)
    if not refused:
        vet_tokenizer(folder)
        return
    with pytest.raises(RefusedError, match=f"from another file .{next(iter(config))}"):
        vet_tokenizer(folder)


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"peft_type": "PREFIX_TUNING"}, "only LoRA"),
        ({"peft_type": None}, "only LoRA"),
        ({"r": 0}, "r = 0"),
        ({"r": 100_000}, "1 to 4,096"),
        ({"base_model_name_or_path": None}, "base_model_name_or_path"),
        ({"megatron_config": {}, "megatron_core": "os"}, ""),
        ({"megatron_config": {"a": 1}, "megatron_core": "os"}, "megatron_config"),
        ({"init_lora_weights": "pissa"}, "changed base weights"),
    ],
)
def test_adapter_refused(tmp_path: Path, change: dict[str, Any], word: str) -> None:
    config = {"peft_type": "LORA", "r": 4, "base_model_name_or_path": "org/base"}
    (tmp_path / "adapter_config.json").write_text(json.dumps(config | change))
    weights = {"base_model.model.x.lora_A.weight": entry(0, 8, [2])}
    safetensors(tmp_path / "adapter_model.safetensors", weights, bytes(8))
    if not word:
        assert vet_adapter(tmp_path).parameters == 2
        return
    with pytest.raises(RefusedError, match=word):
        vet_adapter(tmp_path)


def test_pickles_that_are_converted() -> None:
    shards = ["pytorch_model-00001-of-00002.bin", "pytorch_model-00002-of-00002.bin"]
    assert pickles_in([*shards, "pytorch_model.bin.index.json", "optimizer.pt"]) == shards
    assert pickles_in([*shards, "pytorch_model.bin"]) == ["pytorch_model.bin"]
    assert pickles_in(["2_Dense/pytorch_model.bin", "onnx/pytorch_model.bin", "x.bin"]) == [
        "2_Dense/pytorch_model.bin"
    ]
    assert pickles_in(["adapter_model.bin", "../pytorch_model.bin"]) == ["adapter_model.bin"]
    assert only_pickles(["pytorch_model.bin", "onnx/model.safetensors"])
    assert not only_pickles(["pytorch_model.bin", "model.safetensors"])
    assert not only_pickles(["training_args.bin", ".gitattributes"])
