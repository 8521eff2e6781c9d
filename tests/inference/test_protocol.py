"""The protocol resolved for a checkpoint, and its signature."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.checkpoint.native import Dense, Native, Truncate
from harness.errors import RefusedError, UsageError
from harness.inference.protocol import (
    Encoding,
    Protocol,
    Role,
    resolve_encodings,
    signature,
    standard_layer,
)

DENSE = Dense(Path("any/2_Dense"), 4, 3, True, "tanh")
NATIVE = Native(
    transformer="",
    max_length=48,
    lower_case=True,
    pooling="cls",
    steps=(DENSE,),
    prompts={"query": "ask: ", "passage": "read: "},
    default_prompt=None,
    similarity="dot",
    refusal="",
)


def resolved(protocol: Protocol, **changes: Any) -> tuple[Encoding, ...]:
    task_lengths: Mapping[Role, int] = {"query": 96, "document": 256}
    settings: dict[str, Any] = {
        "task_lengths": task_lengths,
        "depth": 12,
        "max_positions": 512,
        "native": None,
        "bitext": False,
    }
    return resolve_encodings(protocol, **(settings | changes))


@pytest.mark.parametrize(
    ("depth", "layer"), [(1, 1), (2, 2), (3, 3), (4, 4), (6, 5), (12, 8), (24, 14), (48, 26)]
)
def test_standard_layer(depth: int, layer: int) -> None:
    assert standard_layer(depth) == layer


def test_standard_is_the_normalised_mean_without_prompts() -> None:
    (encoding,) = resolved(Protocol(), native=NATIVE)
    assert encoding == Encoding(
        pooling="mean",
        layer=8,
        depth=12,
        lengths={"query": 96, "document": 256},
        prompts={"query": "", "document": ""},
        dtype="float32",
        lower_case=False,
        steps=("normalize",),
    )
    assert Protocol().track == "frozen"


def test_native_is_what_the_checkpoint_declares() -> None:
    (encoding,) = resolved(Protocol("native"), native=NATIVE)
    assert encoding == Encoding(
        pooling="cls",
        layer=12,
        depth=12,
        lengths={"query": 48, "document": 48},
        prompts={"query": "ask: ", "document": "read: "},
        dtype="float32",
        lower_case=True,
        declared_side=True,
        steps=(DENSE,),
    )
    assert Protocol("native").track == "native"


def test_a_declared_cosine_normalises_once() -> None:
    cosine = replace(NATIVE, similarity="cosine")
    assert resolved(Protocol("native"), native=cosine)[0].steps == (DENSE, "normalize")
    normal = replace(cosine, steps=(DENSE, "normalize"))
    assert resolved(Protocol("native"), native=normal)[0].steps == (DENSE, "normalize")


def test_bitext_takes_the_query_prompt_on_both_sides() -> None:
    (encoding,) = resolved(Protocol("native"), native=NATIVE, bitext=True)
    assert encoding.prompts == {"query": "ask: ", "document": "ask: "}


def test_prompts_asked_for_win_also_the_empty_one() -> None:
    asked = Protocol("native", prompts={"query": "", "document": None})
    (encoding,) = resolved(asked, native=NATIVE)
    assert encoding.prompts == {"query": "", "document": "read: "}


def test_lengths_are_bounded_by_the_model() -> None:
    assert resolved(Protocol(), max_positions=64)[0].lengths == {"query": 64, "document": 64}
    unbounded = resolved(Protocol(), max_positions=None)[0].lengths
    assert unbounded == {"query": 96, "document": 256}
    longer = replace(NATIVE, max_length=8_192)
    assert resolved(Protocol("native"), native=longer, max_positions=128)[0].lengths == {
        "query": 96,
        "document": 128,
    }


def test_a_length_of_one_role() -> None:
    both = {"role_lengths": {"query": 64, "document": 9}}
    declared = replace(NATIVE, **both)
    (encoding,) = resolved(Protocol("native"), native=declared)
    assert encoding.lengths == {"query": 64, "document": 9}
    (encoding,) = resolved(Protocol("native"), native=declared, bitext=True)
    assert encoding.lengths == {"query": 64, "document": 64}
    (encoding,) = resolved(Protocol("native"), native=declared, max_positions=32)
    assert encoding.lengths == {"query": 32, "document": 9}


@pytest.mark.parametrize(("index", "layer"), [(-1, 12), (-2, 11), (-13, 0), (0, 0), (12, 12)])
def test_a_declared_layer(index: int, layer: int) -> None:
    (encoding,) = resolved(Protocol("native"), native=replace(NATIVE, layer=index))
    assert encoding.layer == layer
    (asked,) = resolved(Protocol("native", layer=3), native=replace(NATIVE, layer=index))
    assert asked.layer == 3


@pytest.mark.parametrize("index", [-14, 13])
def test_a_declared_layer_that_does_not_exist(index: int) -> None:
    with pytest.raises(RefusedError, match="method_output_name"):
        resolved(Protocol("native"), native=replace(NATIVE, layer=index))


def test_a_prompt_that_is_not_pooled() -> None:
    declared = replace(NATIVE, prompts={}, prompt_pooled=False)
    assert resolved(Protocol("native"), native=declared)
    with pytest.raises(RefusedError, match="include_prompt"):
        resolved(Protocol("native", prompts={"query": "ask: "}), native=declared)
    assert resolved(Protocol(prompts={"query": "ask: "}), native=declared)


def test_what_was_once_left_unread_is_signed_only_where_it_is_there() -> None:
    (plain,) = resolved(Protocol("native"), native=NATIVE)
    keys = {"pooling", "layer", "lengths", "dtype", "prompts"}
    assert set(plain.signed()) == keys
    bare = replace(plain, special_tokens=False, steps=(Truncate(4), "normalize"))
    assert set(bare.signed()) == keys | {"special_tokens", "truncate"}
    assert bare.signed()["truncate"] == [4]


def test_layers_asked_for() -> None:
    assert [e.layer for e in resolved(Protocol(layer=0))] == [0]
    assert [e.layer for e in resolved(Protocol(layer="all"), depth=3)] == [0, 1, 2, 3]
    assert [e.layer for e in resolved(Protocol("native", layer=2), native=NATIVE)] == [2]


@pytest.mark.parametrize("layer", [-1, 13])
def test_a_layer_that_does_not_exist(layer: int) -> None:
    with pytest.raises(UsageError, match=rf"layer {layer} does not exist.* 0 .* 12"):
        resolved(Protocol(layer=layer))


def test_native_that_cannot_be_followed() -> None:
    with pytest.raises(RefusedError, match=r"modules\.json"):
        resolved(Protocol("native"))
    with pytest.raises(RefusedError, match="a module of its own"):
        resolved(Protocol("native"), native=replace(NATIVE, refusal="a module of its own"))


@pytest.mark.parametrize(
    "options", [{"name": "nativ"}, {"dtype": "float23"}, {"pooling": "meen"}], ids=str
)
def test_unknown_names(options: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="did you mean"):
        Protocol(**options)


def test_signature_is_of_the_content_alone() -> None:
    parts = {"pooling": "mean", "layer": 8, "lengths": {"query": 96, "document": 256}}
    turned = {"lengths": {"document": 256, "query": 96}, "layer": 8, "pooling": "mean"}
    assert signature(parts) == signature(turned)
    # The first 8 hex digits of sha256("{}"): a change here orphans every result on disk.
    assert signature({}) == "44136fa3"
    assert signature(parts) != signature(parts | {"layer": 7})


@pytest.mark.parametrize(
    ("role", "change"),
    [
        ("query", {"pooling": "max"}),
        ("query", {"layer": 7}),
        ("query", {"lengths": {"query": 95, "document": 256}}),
        ("query", {"prompts": {"query": "x", "document": ""}}),
        ("document", {"prompts": {"query": "", "document": "x"}}),
        ("query", {"dtype": "bfloat16"}),
        ("query", {"lower_case": True}),
        ("query", {"special_tokens": False}),
        ("query", {"steps": (Truncate(4), "normalize")}),
        ("query", {"steps": ()}),
        ("query", {"steps": (DENSE, "normalize")}),
    ],
)
def test_everything_that_decides_a_vector_is_in_its_parts(
    role: Role, change: dict[str, Any]
) -> None:
    (encoding,) = resolved(Protocol())
    assert replace(encoding, **change).vector_parts(role) != encoding.vector_parts(role)


def test_the_other_role_does_not_change_the_parts() -> None:
    (encoding,) = resolved(Protocol())
    other = replace(
        encoding, lengths={"query": 96, "document": 1}, prompts={"query": "", "document": "x"}
    )
    assert other.vector_parts("query") == encoding.vector_parts("query")


def test_parts_of_a_dense_layer_do_not_name_its_folder() -> None:
    (encoding,) = resolved(Protocol())
    here, there = (
        replace(encoding, steps=(replace(DENSE, folder=Path(root) / "2_Dense"),)).vector_parts(
            "query"
        )
        for root in ("one", "other")
    )
    assert here == there
    assert replace(DENSE, folder=Path("one/3_Dense")) != DENSE
