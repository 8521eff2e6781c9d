"""Bounds what the rules in a ``tokenizer.json`` can do to a text, before the library reads them.

A normaliser may multiply a text, a template may add to it without end, and a regular expression may
take exponential time to match, or memory to compile. The vocabulary is not examined, because its
cost is bounded by the size of the file.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from json.decoder import WHITESPACE  # type: ignore[attr-defined]
from pathlib import Path
from typing import Any

from harness.errors import RefusedError, one_line
from harness.io import strict_json

MOST_PARTS = 64  # the most rules of a normaliser, a pre-tokenizer or a template
MOST_GROWTH = 64  # A text may become this many times as long.
MOST_ADDED = 1_000  # the most characters before a text, and the most ids of one special token
MOST_PATTERN = 5_000  # the most characters of a regular expression
MOST_REPEATS = 1_000  # the most repetitions in an expression, as in x{1000}
USUAL_TOKENS = 20_000  # the most added tokens; the library adds them one by one
USUAL_RUNS = 2  # the most unbounded repetitions in one alternative of a usual expression

# Only these entries matter here. Of equal keys the library takes the last, wherever it stands.
DECIDING = ("normalizer", "pre_tokenizer", "post_processor", "decoder", "added_tokens")
ESCAPED = re.compile(rb"\\u00[2-7]")  # an escaped plain letter, which no program writes
FAR = re.compile(r"\(\?<?[=!][^)]*[*+{$]|\\[zZAG]|\$")  # an expression that looks far ahead or back
STARTS = (1 << 16, 4 << 20)  # The entries before the model end within so many bytes.
REPEAT = re.compile(r"[*+?]|\{(\d*)(,?)(\d*)\}")


def read_rules(path: Path) -> dict[str, Any]:
    """Read a ``tokenizer.json`` without its model; it is read again only where it has changed.

    In a file that the library wrote the model comes last, and is then not parsed. A file of zeros
    has no rules: it is in an outline of a repository, in place of a file that was not downloaded,
    and no tokenizer can be made from it.

    Raises:
        RefusedError: the file is not a JSON object.
    """
    status = path.stat()
    return _read(path, status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=2)
def _read(path: Path, size: int, changed: int) -> dict[str, Any]:
    del size, changed  # They are a part of the key, so that a file which has changed is read again.
    try:
        data = path.read_bytes()
        if data[:1] == b"\0":
            return {}
        found = _before_model(data)
        if found is None:
            found = strict_json.parse(data.decode("utf-8"))
    except ValueError as error:
        raise RefusedError(f"{path.name} cannot be read: {one_line(error, 120)}") from error
    if not isinstance(found, dict):
        raise RefusedError(f"{path.name} is not a JSON object")
    return found


def _before_model(data: bytes) -> dict[str, Any] | None:
    """Return the entries before ``"model"``, or None where a deciding entry may come after it."""
    if ESCAPED.search(data):
        return None
    starts = (_parsed_start(data[:size].decode("utf-8", errors="ignore")) for size in STARTS)
    found = next((start for start in starts if start is not None), None)
    if found is None or any(data.count(b'"%s"' % k.encode()) != (k in found) for k in DECIDING):
        return None
    return found


def _parsed_start(text: str) -> dict[str, Any] | None:
    decoder, found = json.JSONDecoder(), dict[str, Any]()
    at = WHITESPACE.match(text, 0).end()
    if text[at : at + 1] != "{":
        return None
    try:
        while True:
            key, at = decoder.raw_decode(text, WHITESPACE.match(text, at + 1).end())
            at = WHITESPACE.match(text, at).end()
            if text[at : at + 1] != ":" or not isinstance(key, str) or key in found:
                return None
            at = WHITESPACE.match(text, at + 1).end()
            if key == "model":
                return found
            found[key], at = decoder.raw_decode(text, at)
            at = WHITESPACE.match(text, at).end()
            if text[at : at + 1] != ",":
                return None
    except (ValueError, RecursionError):
        return None


def vet_rules(rules: Mapping[str, Any]) -> None:
    """Refuse rules that are not safe to apply to a text.

    Raises:
        RefusedError: the message says which rule, and why.
    """
    growth = 1.0
    for part in _parts(rules.get("normalizer"), "normalizer"):
        if part.get("type") == "Prepend" and len(str(part.get("prepend"))) > MOST_ADDED:
            raise RefusedError(
                f"tokenizer.json puts {len(str(part['prepend'])):,} characters before every text, "
                f"more than {MOST_ADDED:,}"
            )
        if part.get("type") == "Replace":
            growth *= _growth(part)
    if growth > MOST_GROWTH:
        raise RefusedError(
            f"tokenizer.json can make a text {growth:.3g} times as long (normalizer): more than "
            f"{MOST_GROWTH} times is not read"
        )
    for key in DECIDING[:4]:
        for pattern in _patterns(rules, key):
            _vet_pattern(pattern, key)
    for part in _parts(rules.get("post_processor"), "post_processor"):
        special = part.get("special_tokens")
        tokens = list(special.values()) if isinstance(special, Mapping) else []
        ids = [token.get("ids") for token in tokens if isinstance(token, Mapping)]
        templates = [part.get("single"), part.get("pair")]
        sizes = [len(template) for template in templates if isinstance(template, (list, str))]
        longest = max([len(one) for one in ids if isinstance(one, list)], default=0)
        if max(sizes, default=0) > MOST_PARTS or longest > MOST_ADDED:
            raise RefusedError(
                f"tokenizer.json has a template of {max(sizes, default=0):,} parts with up to "
                f"{longest:,} ids: more than {MOST_PARTS} of {MOST_ADDED:,} are not read"
            )


def unusual(rules: Mapping[str, Any]) -> str:
    """Return why a tokenizer must be tried out first, or nothing where its rules are usual."""
    added = rules.get("added_tokens")
    if isinstance(added, list) and len(added) > USUAL_TOKENS:
        return f"its tokenizer has {len(added):,} added tokens"
    slow = (text for text in _patterns(rules, *DECIDING[:4]) if _most_runs(text) > USUAL_RUNS)
    return next((f"its tokenizer uses the expression {text[:60]!r}" for text in slow), "")


def is_local(rules: Mapping[str, Any]) -> bool:
    """Return whether tokens depend only on text nearby, because no expression looks further."""
    added = rules.get("added_tokens")
    for token in added if isinstance(added, list) else ():
        if isinstance(token, Mapping) and len(str(token.get("content"))) > MOST_ADDED:
            return False
    return not any(FAR.search(text) for text in _patterns(rules, *DECIDING[:2]))


def _patterns(rules: Mapping[str, Any], *keys: str) -> Iterator[str]:
    """Yield the regular expressions of the components that ``keys`` name."""
    for key in keys:
        for part in _parts(rules.get(key), key):
            pattern = part.get("pattern")
            if isinstance(pattern, Mapping) and isinstance(pattern.get("Regex"), str):
                yield pattern["Regex"]


def _parts(component: Any, what: str) -> list[Mapping[str, Any]]:
    """Return the single rules of a component, which may be a sequence of sequences.

    Raises:
        RefusedError: there are too many.
    """
    found = []
    for part in _flat(component):
        found.append(part)
        if len(found) > MOST_PARTS:
            raise RefusedError(f"tokenizer.json has more than {MOST_PARTS} rules in its {what}")
    return found


def _flat(component: Any) -> Iterator[Mapping[str, Any]]:
    if not isinstance(component, Mapping):
        return
    if component.get("type") != "Sequence":
        yield component
        return
    for key in ("normalizers", "pretokenizers", "processors", "decoders"):
        members = component.get(key)
        for member in members if isinstance(members, list) else ():
            yield from _flat(member)


def _growth(replace: Mapping[str, Any]) -> float:
    """Return how many times as long a text can become by one replacement, at most."""
    content, pattern = str(replace.get("content", "")), replace.get("pattern")
    if isinstance(pattern, Mapping) and isinstance(pattern.get("String"), str):
        return max(1.0, len(content) / max(1, len(pattern["String"])))
    text = str(pattern.get("Regex", "")) if isinstance(pattern, Mapping) else ""
    # An expression that matches the empty text puts the content between any two characters.
    return len(content) + 1.0 if set(text) & set("*?|^$(\\") else max(1.0, float(len(content)))


def _vet_pattern(pattern: str, what: str) -> None:
    if len(pattern) > MOST_PATTERN:
        raise RefusedError(
            f"tokenizer.json has an expression of {len(pattern):,} characters in its {what}, more "
            f"than {MOST_PATTERN:,}"
        )
    shown = f"the expression {pattern[:60]!r} of tokenizer.json ({what})"
    if re.search(r"\\[1-9]|\\[kg][<']", pattern):
        raise RefusedError(f"{shown} refers back to itself, which can take endless time")
    # For each open group: whether it has a repetition without a fixed length, and how often its
    # content may be written out.
    groups: list[tuple[bool, int]] = []
    varies, copies = False, 1
    at = 0
    while at < len(pattern):
        if pattern[at] == "(":
            groups.append((varies, copies))
            varies, copies = False, 1
            at += 3 if pattern[at + 1 : at + 3] in ("?:", "?=", "?!", "?>") else 1
            continue
        inner, inner_copies = False, 1
        if pattern[at] == ")":
            inner, inner_copies = varies, copies
            varies, copies = groups.pop() if groups else (False, 1)
            varies, copies = varies or inner, max(copies, inner_copies)
            at += 1
        else:
            at = _after_atom(pattern, at)
        while repeat := REPEAT.match(pattern, at):
            at = repeat.end()
            least, most = _bounds(repeat)
            finite = most if math.isfinite(most) else least
            if inner and most > 1:
                raise RefusedError(f"{shown} repeats a repetition, which can take endless time")
            if finite * inner_copies > MOST_REPEATS:
                raise RefusedError(f"{shown} repeats more than {MOST_REPEATS:,} times")
            copies = max(copies, int(finite) * inner_copies)
            varies = varies or (most > 1 and most != least)
            if pattern[at : at + 1] in ("?", "+") and repeat[0] not in "?":
                at += 1  # This sign makes the repetition lazy or possessive.
            inner, inner_copies = most > 1, max(1, int(finite)) * inner_copies


def _after_atom(pattern: str, at: int) -> int:
    """Return the position after one character, escape or character class."""
    if pattern[at] == "\\":
        named = re.compile(r"\\[pPxuo]\{[^}]*\}").match(pattern, at)
        return named.end() if named else at + 2
    if pattern[at] != "[":
        return at + 1
    depth = 0
    while at < len(pattern):
        if pattern[at] == "\\":
            at += 1
        elif pattern[at] == "[":
            depth += 1
            at += pattern[at + 1 : at + 2] == "^"
            at += pattern[at + 1 : at + 2] == "]"
        elif pattern[at] == "]":
            depth -= 1
            if depth == 0:
                return at + 1
        at += 1
    return at


def _bounds(repeat: re.Match[str]) -> tuple[int, float]:
    if repeat[0] in "*+?":
        return {"*": (0, math.inf), "+": (1, math.inf), "?": (0, 1.0)}[repeat[0]]
    least = int(repeat[1] or 0)
    if not repeat[2]:
        return least, float(least)
    return least, float(repeat[3]) if repeat[3] else math.inf


def _most_runs(pattern: str) -> int:
    """Return the most unbounded repetitions in one alternative of an expression."""
    most, runs, at = 0, 0, 0
    while at < len(pattern):
        if pattern[at] == "|":
            runs, at = 0, at + 1
            continue
        at = at + 1 if pattern[at] in "()" else _after_atom(pattern, at)
        if repeat := REPEAT.match(pattern, at):
            runs += math.isinf(_bounds(repeat)[1])
            most, at = max(most, runs), repeat.end()
            at += pattern[at : at + 1] in ("?", "+")
    return most
