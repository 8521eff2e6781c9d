"""JSON that says one thing only: what other parsers would read in two ways is an error.

A key occurs once in its object, every number is finite, text is text that UTF-8 can hold, and the
nesting is bounded. Python's own parser keeps the last of two equal keys, reads NaN, and makes half
of a surrogate pair of ``"\\ud800"``, at which everything that writes the text later fails.
"""

from __future__ import annotations

import json
import math
import re
from typing import Any

from harness.errors import one_line

MAX_DEPTH = 100  # of objects and lists: official files have seven levels
# Text that was decoded from UTF-8 has half a surrogate pair only where it is escaped.
_ESCAPED_HALF = re.compile(r"\\u[dD][89a-fA-F]")


def parse(text: str, *, halves: bool = False) -> Any:
    """The value of JSON ``text``.

    ``halves``: whether text may hold half of a surrogate pair; who reads one record among many then
    looks for it, and loses that record alone.

    Raises:
        ValueError: it is not JSON, or not strictly; one line that names the place.
    """
    try:
        value = json.loads(
            text, object_pairs_hook=_unique, parse_constant=_refuse_constant, parse_float=_finite
        )
    except RecursionError:
        raise ValueError(f"nested deeper than {MAX_DEPTH} levels") from None
    look = not halves and _ESCAPED_HALF.search(text) is not None
    if look or text.count("[") + text.count("{") > MAX_DEPTH:
        _check(value, look)
    return value


def has_half_pair(text: str) -> bool:
    """Whether a text holds half of a surrogate pair, which UTF-8 cannot hold."""
    if text.isascii():
        return False
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return True
    return False


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the key {one_line(repr(twice), 80)} occurs twice in one object")
    return found


def _refuse_constant(text: str) -> Any:
    raise ValueError(f"{text} is not a JSON number")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text[:40]} is too large for a number")
    return number


def _check(value: Any, halves: bool) -> None:
    """Bound the depth and, with ``halves``, look for half pairs; without recursion."""
    # A place is (the place that it is in, its key or number): it is put in words on an error only.
    waiting: list[tuple[Any, int, Any]] = [(value, 0, ())]
    while waiting:
        one, depth, place = waiting.pop()
        if isinstance(one, str):
            if halves and has_half_pair(one):
                raise ValueError(f"{_words(value, place)} holds half of a surrogate pair")
            continue
        if not isinstance(one, (dict, list)):
            continue
        if depth == MAX_DEPTH:
            raise ValueError(f"nested deeper than {MAX_DEPTH} levels")
        if isinstance(one, dict):
            for name in one if halves else ():
                if has_half_pair(name):
                    key = one_line(repr(name), 80)
                    raise ValueError(f"the key {key} holds half of a surrogate pair")
            waiting += [(item, depth + 1, (place, name)) for name, item in one.items()]
        else:
            waiting += [(item, depth + 1, (place, number)) for number, item in enumerate(one)]


def _words(value: Any, place: Any) -> str:
    """Such as ``data[0].title``, with the id of the innermost record on the way that has one."""
    keys: list[str | int] = []
    while place:
        place, key = place
        keys.insert(0, key)
    identifier = ""
    for key in keys:
        if isinstance(value, dict):
            names = [name for name in value if name == "id" or name.endswith("_id")]
            found = [value[name] for name in names if isinstance(value[name], str)]
            identifier = next(iter(found), identifier)
        value = value[key]
    parts = [f"[{key}]" if isinstance(key, int) else f".{one_line(key, 40)}" for key in keys]
    words = "".join(parts).removeprefix(".") or "the text"
    return f"{words} (id {one_line(identifier, 80)})" if identifier else words
