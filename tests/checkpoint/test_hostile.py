"""A zoo of hostile and broken checkpoints, built on the spot, each put through ``evaluate``."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from harness import evaluate
from harness.checkpoint import skeleton, trial
from harness.checkpoint.resolve import resolve
from harness.checkpoint.snapshot import Snapshot
from harness.errors import HarnessError, RefusedError
from harness.inference.batching import halving
from harness.inference.reader import Reader
from tests.checkpoints import build, build_adapter, build_sentence_transformer

Edit = Callable[[Path], Any]


def config(**values: Any) -> Edit:
    """``config.json`` with other values."""
    return merged("config.json", values)


def merged(name: str, values: Mapping[str, Any]) -> Edit:
    def edit(folder: Path) -> None:
        path = folder / name
        found = json.loads(path.read_text()) if path.exists() else {}
        path.write_text(json.dumps(found | values))

    return edit


def rule(component: str, value: Any) -> Edit:
    """``tokenizer.json`` with another component."""
    return merged("tokenizer.json", {component: value})


def written(name: str, data: bytes) -> Edit:
    def edit(folder: Path) -> None:
        (folder / name).unlink(missing_ok=True)
        (folder / name).write_bytes(data)

    return edit


def linked(name: str, target: str) -> Edit:
    def edit(folder: Path) -> None:
        (folder / name).unlink(missing_ok=True)
        (folder / name).symlink_to(target)

    return edit


def pipe(folder: Path) -> None:
    (folder / "special_tokens_map.json").unlink(missing_ok=True)
    os.mkfifo(folder / "special_tokens_map.json")


def sparse(folder: Path) -> None:
    """Weights of 2 TiB, of which the disk holds a header."""
    size = 1 << 41
    entry = {"dtype": "F32", "shape": [size // 4], "data_offsets": [0, size]}
    header = json.dumps({"x": entry}).encode()
    with (folder / "model.safetensors").open("wb") as file:
        file.write(len(header).to_bytes(8, "little") + header)
        file.truncate(8 + len(header) + size)


def tensors(change: Callable[[dict[str, Any]], Any]) -> Edit:
    """Other weights."""

    def edit(folder: Path) -> None:
        from safetensors.torch import load_file, save_file

        found = load_file(folder / "model.safetensors")
        change(found)
        save_file({k: v.contiguous() for k, v in found.items()}, folder / "model.safetensors")

    return edit


def typed(dtype: str) -> Edit:
    import torch

    name = "encoder.layer.0.attention.self.query.weight"

    def change(found: dict[str, Any]) -> None:
        found[name] = found[name].to(getattr(torch, dtype))

    return tensors(change)


def twice(prefix: str) -> Edit:
    name = "encoder.layer.1.output.dense.weight"
    return tensors(lambda found: found.update({f"{prefix}{name}": found[name] * 2}))


def gamma(found: dict[str, Any]) -> None:
    name = "embeddings.LayerNorm.weight"
    found[name.replace("weight", "gamma")] = found[name] * 2


def crowded(folder: Path) -> None:
    """A header of more bytes than are read."""
    header = b"{}" + b" " * (11 << 20)
    (folder / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header)


def sequence(*parts: Mapping[str, Any]) -> dict[str, Any]:
    return {"type": "Sequence", "normalizers": list(parts)}


def replacing(pattern: Mapping[str, str], content: str) -> dict[str, Any]:
    return {"type": "Replace", "pattern": pattern, "content": content}


def splitting(pattern: str) -> dict[str, Any]:
    return {
        "type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False,
    }  # fmt: skip


def template(parts: int, ids: int) -> dict[str, Any]:
    special = {"id": "[SEP]", "ids": [3] * ids, "tokens": ["[SEP]"] * ids}
    return {
        "type": "TemplateProcessing",
        "single": [{"Sequence": {"id": "A", "type_id": 0}}]
        + [{"SpecialToken": {"id": "[SEP]", "type_id": 0}}] * parts,
        "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
        "special_tokens": {"[SEP]": special},
    }


def late_rules(folder: Path) -> None:
    """A normaliser after the model, where the library takes the last of two."""
    path = folder / "tokenizer.json"
    doubling = json.dumps(sequence(*[replacing({"String": "a"}, "aa")] * 40))
    path.write_text(f'{path.read_text().rstrip()[:-1]}, "\\u006eormalizer": {doubling}}}')


DOUBLING = sequence(*[replacing({"String": "a"}, "aa")] * 40)
# What is done to a BERT folder, the exit code, and words of the message.
ZOO: tuple[tuple[str, Edit, int, str], ...] = (
    ("device", linked("config.json", "/dev/zero"), 4, "config.json is a device"),
    ("device beside", linked("added_tokens.json", "/dev/zero"), 4, "added_tokens.json is a device"),
    ("pipe", pipe, 4, "special_tokens_map.json is a device or a pipe"),
    ("link to nothing", linked("tokenizer.json", "nowhere"), 4, "tokenizer.json is a link to"),
    ("sparse", sparse, 4, "of which the disk holds"),
    ("map", written("special_tokens_map.json", b" " * (2 << 20)), 4, "more than the 1,048,576"),
    ("config", written("config.json", b"{}" + b" " * (2 << 20)), 4, "more than the 1,048,576"),
    ("header", crowded, 4, "the header of model.safetensors is"),
    ("versioned", config(configuration_files=["config.4.0.0.json"]), 4, "configuration_files"),
    ("backbone", config(backbone="org/other"), 4, "weights of another model"),
    ("kernel", config(attn_implementation="org/kernel"), 4, "attention from elsewhere"),
    ("nested kernel", config(x={"_attn_implementation": "org/k:f"}), 4, "from elsewhere"),
    ("kernel mapping", config(_attn_implementation={"": "org/kernel"}), 4, "from elsewhere"),
    ("labels", config(num_labels=10**9), 4, "num_labels = 1000000000"),
    ("labels in a text", config(num_labels="10"), 4, "num_labels = '10'"),
    ("depth", config(num_hidden_layers=10**6), 4, "num_hidden_layers = 1000000"),
    ("infinite", written("config.json", b'{"model_type": "bert", "x": 1e999}'), 4, "too large"),
    ("half pair", config(model_type="\ud800"), 4, "half of a surrogate pair"),
    ("int8", typed("int8"), 4, "query.weight is of type I8"),
    ("int64", typed("int64"), 4, "query.weight is of type I64"),
    ("bool", typed("bool"), 4, "query.weight is of type BOOL"),
    ("two names", twice("bert."), 4, "hold both encoder.layer.1.output.dense.weight and bert."),
    ("two roots", twice("module."), 4, "hold both encoder.layer.1.output.dense.weight and mod"),
    ("gamma", tensors(gamma), 4, "hold both embeddings.LayerNorm.gamma and"),
    ("doubling", rule("normalizer", DOUBLING), 4, "1.1e+12 times as long"),
    ("long replacement", rule("normalizer", replacing({"String": "e"}, "x" * 999)), 4, "times as"),
    ("between", rule("normalizer", replacing({"Regex": "x*"}, "y" * 99)), 4, "times as long"),
    ("late rules", late_rules, 4, "the key 'normalizer' occurs twice"),
    ("prepended", rule("normalizer", {"type": "Prepend", "prepend": "x" * 9_999}), 4, "9,999"),
    ("rules", rule("normalizer", sequence(*[{"type": "NFC"}] * 99)), 4, "more than 64 rules"),
    ("nested", rule("pre_tokenizer", splitting("(a+)+$")), 4, "repeats a repetition"),
    ("wide", rule("pre_tokenizer", splitting("((a{99}){99}){99}")), 4, "more than 1,000 times"),
    ("backward", rule("pre_tokenizer", splitting(r"(a*)b\1")), 4, "refers back"),
    ("template", rule("post_processor", template(99, 1)), 4, "a template of 100 parts"),
    ("template ids", rule("post_processor", template(1, 9_999)), 4, "9,999 ids"),
    ("no object", written("tokenizer.json", b"[]"), 4, "tokenizer.json is not a JSON object"),
    ("ids", config(vocab_size=300), 4, "gives ids up to 419, the model embeds 300"),
    ("no attention", config(num_attention_heads=5), 4, "cannot be loaded"),
)


def outcome(folder: Path, out: Path, **options: Any) -> HarnessError | None:
    """What the command would end with."""
    try:
        evaluate(
            str(folder), suite="demo", out=out / "results", cache_dir=out / "cache",
            device="cpu", offline=True, **options,
        )  # fmt: skip
    except HarnessError as error:
        return error
    return None


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sound checkpoints, to be copied."""
    folder = tmp_path_factory.mktemp("sound")
    build("bert", folder / "bert")
    build("bert", folder / "reader", qa_head=True)
    build_sentence_transformer(folder / "native", dense=(8,))
    return folder


def copied(sound: Path, kind: str, folder: Path) -> Path:
    shutil.copytree(sound / kind, folder)
    return folder


def check(error: HarnessError | None, code: int, words: str) -> None:
    assert error is not None
    assert error.exit_code == code, error
    assert words in str(error)
    assert "\n" not in str(error)
    assert len(str(error)) < 500


@pytest.mark.parametrize(
    ("edit", "code", "words"), [one[1:] for one in ZOO], ids=[z[0] for z in ZOO]
)
def test_the_zoo(sound: Path, tmp_path: Path, edit: Edit, code: int, words: str) -> None:
    folder = copied(sound, "bert", tmp_path / "m")
    edit(folder)
    check(outcome(folder, tmp_path), code, words)


DENSE, GENERAL = "2_Dense/config.json", "config_sentence_transformers.json"
NATIVE: tuple[tuple[str, Edit, int, str], ...] = (
    ("another width", merged(DENSE, {"in_features": 16}), 4, "do not have the sizes"),
    ("no outputs", merged(DENSE, {"out_features": 0}), 4, "do not have the sizes"),
    ("half a prompt", merged(GENERAL, {"prompts": {"query": "\ud800"}}), 4, "half of a surrogate"),
    ("long prompt", merged(GENERAL, {"prompts": {"query": "x" * 99_999}}), 4, "99,999 characters"),
    ("pipe", lambda folder: os.mkfifo(folder / "2_Dense/merges.txt"), 4, "2_Dense/merges.txt is a"),
)


@pytest.mark.parametrize(
    ("edit", "code", "words"), [one[1:] for one in NATIVE], ids=[z[0] for z in NATIVE]
)
def test_the_declared_zoo(sound: Path, tmp_path: Path, edit: Edit, code: int, words: str) -> None:
    folder = copied(sound, "native", tmp_path / "m")
    edit(folder)
    check(outcome(folder, tmp_path, protocol="native"), code, words)


# What breaks only when the model runs: what it then raises, and what is said.
class PanicException(BaseException):
    """As a library in Rust raises one, under this name."""


RUNNING: tuple[tuple[str, BaseException, int, str], ...] = (
    ("index", IndexError("index out of range in self"), 4, "cannot encode: index out of range"),
    ("lines", RuntimeError("two\nlines"), 4, "cannot encode: two lines"),
    (
        "panic",
        PanicException("range end index 7 out of range"),
        4,
        "cannot encode: range end index 7",
    ),
    ("silent", KeyError(), 4, "cannot encode: KeyError"),
    ("memory", MemoryError(), 5, "no memory"),
    ("disk", OSError(28, "No space left on device"), 5, "on this machine"),
)


@pytest.mark.parametrize(
    ("raised", "code", "words"), [one[1:] for one in RUNNING], ids=[z[0] for z in RUNNING]
)
def test_what_breaks_when_it_runs_costs_one_model(
    sound: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    raised: BaseException, code: int, words: str,
) -> None:  # fmt: skip
    broken = copied(sound, "bert", tmp_path / "broken")
    whole = copied(sound, "native", tmp_path / "whole")

    def breaking(batch: Any, forward: Any) -> Any:
        tried = "masked" in forward.keywords  # the few texts on which a model is tried first
        if forward.func.__self__.checkpoint.id == "broken" and not tried:
            raise raised
        return halving(batch, forward)

    monkeypatch.setattr("harness.inference.encoder.halving", breaking)
    with pytest.raises(HarnessError) as caught:
        evaluate(
            [str(broken), str(whole)], tasks="demo_bitext", languages="es", out=tmp_path / "out",
            cache_dir=tmp_path / "cache", device="cpu", offline=True,
        )  # fmt: skip
    check(caught.value, code, words)
    assert set(caught.value.scores.column("model").to_pylist()) == {"whole"}


def test_a_model_that_is_refused_costs_no_other(sound: Path, tmp_path: Path) -> None:
    broken = copied(sound, "bert", tmp_path / "broken")
    config(num_labels=10**9)(broken)
    with pytest.raises(HarnessError) as caught:
        evaluate(
            [str(broken), str(sound / "bert"), str(tmp_path / "absent")], tasks="demo_bitext",
            languages="es", out=tmp_path / "out", cache_dir=tmp_path / "cache", device="cpu",
            offline=True,
        )  # fmt: skip
    check(caught.value, 4, "num_labels = 1000000000")
    assert [str(one) for one in caught.value.also] == [
        f"{tmp_path / 'absent'} does not exist: give a folder, or a Hub id (org/name)"
    ]
    assert set(caught.value.scores.column("model").to_pylist()) == {"bert"}


def test_a_reader_that_breaks(sound: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def logits(*_: Any) -> Any:
        raise PanicException("called `Option::unwrap()` on a `None` value")

    monkeypatch.setattr(Reader, "_logits", logits)
    folder = copied(sound, "reader", tmp_path / "m")
    check(outcome(folder, tmp_path), 4, "called `Option::unwrap()`")


@pytest.mark.parametrize("protocol", ["standard", "native"])
def test_a_configuration_that_asks_for_tuples(sound: Path, tmp_path: Path, protocol: str) -> None:
    folder = copied(sound, "native", tmp_path / "m")
    config(return_dict=False)(folder)
    error = outcome(folder, tmp_path, protocol=protocol)
    assert error is None or error.exit_code == 4


# --- adapters -----------------------------------------------------------------------------------

OPTIONS: tuple[tuple[str, dict[str, Any], str], ...] = (
    ("layers", {"layer_replication": [[0, 10**9]]}, "more than LoRA (layer_replication)"),
    ("quantized", {"loftq_config": {"loftq_bits": 4}}, "more than LoRA (loftq_config)"),
    ("rank", {"r": 10**6}, "r = 1000000"),
    ("high rank", {"r": 4096}, "another shape than the model's"),
    ("ranks", {"rank_pattern": {"query": 10**6}}, "rank 1000000"),
    ("names", {"target_modules": ["query"] * 10_001}, "no list of at most 10,000"),
    ("long name", {"target_modules": "x" * 1_001}, "more than 1000 characters"),
)


@pytest.mark.parametrize(
    ("options", "words"), [o[1:] for o in OPTIONS], ids=[o[0] for o in OPTIONS]
)
def test_adapters(sound: Path, tmp_path: Path, options: dict[str, Any], words: str) -> None:
    pytest.importorskip("peft")
    base = sound / "bert"
    folder = build_adapter(tmp_path / "a", str(base), base, **options)
    check(outcome(folder, tmp_path), 4, words)


def test_adapters_on_each_other(sound: Path, tmp_path: Path) -> None:
    pytest.importorskip("peft")
    one, other = tmp_path / "one", tmp_path / "other"
    build_adapter(one, str(other), sound / "bert")
    build_adapter(other, str(one), sound / "bert")
    build_adapter(tmp_path / "self", str(tmp_path / "self"), sound / "bert")
    check(outcome(one, tmp_path), 4, "is an adapter itself")
    check(outcome(tmp_path / "self", tmp_path), 4, "is an adapter itself")


@pytest.mark.parametrize("name", ["x" * 5000, "./" + "x" * 5000, "org/" + "x" * 5000])
def test_an_adapter_of_a_base_that_no_file_can_be(sound: Path, tmp_path: Path, name: str) -> None:
    build_adapter(tmp_path / "a", name, sound / "bert")
    check(outcome(tmp_path / "a", tmp_path), 4, "is no Hub id")


def test_an_adapter_on_the_hub_asks_no_further(tmp_path: Path, sound: Path) -> None:
    pytest.importorskip("peft")
    folders = {"org/self": tmp_path / "self", "org/a": tmp_path / "a", "org/b": tmp_path / "b"}
    bases = {"org/self": "org/self", "org/a": "org/b", "org/b": "org/a"}
    for name, folder in folders.items():
        build_adapter(folder, bases[name], sound / "bert")
    asked: list[str] = []

    def fetch(name: str, revision: str | None) -> Snapshot:
        asked.append(name)
        return Snapshot(name, "0" * 40, folders[name])

    with pytest.raises(RefusedError, match="org/self is the adapter itself"):
        resolve("org/self", fetch=fetch)
    assert asked == ["org/self"]
    with pytest.raises(RefusedError, match="org/b: it is an adapter itself"):
        resolve("org/a", fetch=fetch)
    assert asked == ["org/self", "org/a", "org/b"]


# --- what is tried out first --------------------------------------------------------------------


def many_tokens(folder: Path) -> None:
    path = folder / "tokenizer.json"
    found = json.loads(path.read_text())
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
    found["added_tokens"] += [
        {"id": 420 + number, "content": f"<{number}>", "special": number % 2 == 0, **flags}
        for number in range(20_001)
    ]
    path.write_text(json.dumps(found))


UNBOUNDED: tuple[tuple[str, str, Edit, str], ...] = (
    ("number", "bert", config(unheard_of=10**9), "unheard_of = 1,000,000,000"),
    ("list", "bert", config(unheard_of=[1] * 5_000), "unheard_of = "),
    ("sines", "bert", config(sinusoidal_pos_embds=True, n_positions=60_000), "positions of sines"),
    ("experts", "bert", config(num_experts=4096), "modules"),
    ("tokens", "bert", many_tokens, "added tokens"),
    ("expression", "bert", rule("pre_tokenizer", splitting("a+b*a*b+a*c")), "the expression"),
)


@pytest.mark.parametrize(
    ("kind", "edit", "words"), [one[1:] for one in UNBOUNDED], ids=[o[0] for o in UNBOUNDED]
)
def test_what_is_tried_out(sound: Path, tmp_path: Path, kind: str, edit: Edit, words: str) -> None:
    folder = copied(sound, kind, tmp_path / "m")
    assert trial.unbounded(resolve(str(folder))) == []
    edit(folder)
    tried: list[list[str]] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("harness.checkpoint.resolve.try_out", lambda _, why: tried.append(why))
        resolve(str(folder))
    assert len(tried) == 1
    assert words in tried[0][0]


def test_an_adapter_that_chooses_by_an_expression(
    sound: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("peft")
    base = sound / "bert"
    sane = build_adapter(tmp_path / "a", str(base), base, target_modules=r".*\.(query|value)")
    assert resolve(str(sane)).model_type == "bert"
    monkeypatch.setattr(trial, "SECONDS", 2)
    # It takes twice as long for every letter of a name.
    slow = build_adapter(tmp_path / "b", str(base), base, target_modules="([a-z.0-9_]+)+!")
    with pytest.raises(RefusedError, match=r"a process of 2 s and 4 GiB, it ended it \(signal 9\)"):
        resolve(str(slow))


def test_a_model_of_endless_parts(
    sound: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(skeleton, "MOST_PARTS", 20)
    folder = copied(sound, "bert", tmp_path / "m")
    check(outcome(folder, tmp_path), 4, "a model of more than 20 parts")
