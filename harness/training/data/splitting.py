"""Splits a text of any script into sentences by rules, to find the one that holds an answer."""

from __future__ import annotations

import re

# A sentence ends after . ! ? and the like in Arabic and Hindi, if white space or the end of the
# text follows; closing quotes and brackets may stand between. It also ends after the marks of
# Chinese and Japanese, which no space follows, and at a line break.
_END = re.compile(r"[.!?…؟۔।॥]+[\"'”’»)\]]*(?=\s)|[。！？｡]+[”’」』）]*|\n+")
# A dot does not end a sentence after one of these words, after a single capital letter or one or
# two digits (as in the German 3. Mai), or before a small letter.
_SHORT = {
    *("mr", "mrs", "ms", "dr", "prof", "st", "sr", "jr", "vs", "etc", "vol", "fig", "inc", "ltd"),
    *("co", "e.g", "i.e", "u.s", "bzw", "ca", "z.b", "d.h", "nr", "sra"),
}


def sentence_spans(text: str) -> list[tuple[int, int]]:
    """Return ``[begin, end)`` of every sentence in code points, without white space at its ends."""
    spans: list[tuple[int, int]] = []
    begin = 0
    for match in _END.finditer(text):
        if match[0].startswith(".") and _abbreviated(text, match.start(), match.end()):
            continue
        _add(spans, text, begin, match.end())
        begin = match.end()
    _add(spans, text, begin, len(text))
    return spans


def sentence_at(text: str, start: int, stop: int) -> str:
    """Return the sentence that holds ``text[start:stop]``.

    Several sentences are returned together where the span crosses their ends, and the whole text
    where the span is in no sentence.
    """
    touched = [(b, e) for b, e in sentence_spans(text) if b < max(stop, start + 1) and start < e]
    if not touched:
        return text
    return text[touched[0][0] : touched[-1][1]]


def _abbreviated(text: str, dot: int, end: int) -> bool:
    if text[end : end + 8].lstrip()[:1].islower():
        return True
    word = re.search(r"[^\s(\[\"'“‘«]*$", text[max(0, dot - 12) : dot])
    before = word[0] if word else ""
    return (
        before.lower() in _SHORT
        or (len(before) == 1 and before.isalpha() and before.isupper())
        or re.fullmatch(r"[0-9]{1,2}", before) is not None
    )


def _add(spans: list[tuple[int, int]], text: str, begin: int, end: int) -> None:
    piece = text[begin:end]
    stripped = piece.strip()
    if stripped:
        first = begin + piece.index(stripped)
        spans.append((first, first + len(stripped)))
