"""Strict JSON: what parsers read in two ways, or no text can hold, is refused in one line."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.io.strict_json import MAX_DEPTH, has_half_pair, parse

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)  # fmt: skip


@given(values)
def test_what_json_writes_is_read_as_by_the_standard_library(value: Any) -> None:
    for ascii in (True, False):
        text = json.dumps(value, ensure_ascii=ascii)
        assert parse(text) == json.loads(text)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"a": 1, "a": 1}', "the key 'a' occurs twice"),
        ('{"b": {"a": 1, "\\u0061": 2}}', "the key 'a' occurs twice"),
        ("[NaN]", "NaN is not a JSON number"),
        ('{"q": -Infinity}', "-Infinity is not a JSON number"),
        ("[1e999]", "1e999 is too large"),
        ("[" * 20_000 + "]" * 20_000, "nested deeper"),
        ("[" * (MAX_DEPTH + 1) + "]" * (MAX_DEPTH + 1), f"deeper than {MAX_DEPTH} levels"),
        ('{"data": [{"id": "q7", "text": "x\\ud800"}]}', "data[0].text (id q7) holds half"),
        ('{"data": [{"a": ["\\uDFFF"]}]}', "data[0].a[0] holds half"),
        ('"\\udc00\\ud800"', "the text holds half"),
        ('{"\\ud800": 1}', "the key '\\ud800' holds half"),
        ("9" * 5_000, "4300 digits"),
        ('{"a": 1', "delimiter"),
        ("", "Expecting value"),
    ],
)
def test_what_is_refused(text: str, said: str) -> None:
    with pytest.raises(ValueError) as raised:  # noqa: PT011
        parse(text)
    message = str(raised.value)
    assert said in message
    assert message.isprintable()


def test_what_is_near_it_and_read() -> None:
    assert parse('"\\ud83d\\ude00"') == "😀"
    assert parse("[" * MAX_DEPTH + "]" * MAX_DEPTH) is not None
    assert parse('["\\ud800"]', halves=True) == ["\ud800"]
    assert parse('{"a": {"x": 1}, "b": {"x": 2}}') == {"a": {"x": 1}, "b": {"x": 2}}


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_a_text_that_utf8_holds_is_whole(text: str) -> None:
    assert not has_half_pair(text)
    assert has_half_pair(f"{text}\udcff{text}")
