"""Reads mentions of entities and the descriptions of these entities as pairs (Mewsli-X)."""

from __future__ import annotations

from harness.cards.training import IntermediateCard
from harness.data.formats.entities import pair_of
from harness.data.formats.files import read_json_lines
from harness.training.data.examples import Example, Found, Matched
from harness.training.data.sources import Files


def read_mention_pairs(
    card: IntermediateCard, files: Files, labels: list[str], notes: list[str]
) -> Found:
    """Read one pair per line; both texts are made as for Mewsli-X in evaluation."""
    del labels
    (role,) = files.roles
    found: Found = {}
    for lang in card.languages:
        pairs: list[Example] = []
        left_out = 0
        for number, (place, record) in enumerate(read_json_lines(files.of(lang, role))):
            pair = pair_of(record, place)
            if pair is None:
                left_out += 1
            else:
                query, text = pair
                pairs.append(Matched(str(number), lang, query, text, lang))
        if left_out:
            notes.append(f"{left_out} in {lang} left out: the mention is in no single sentence")
        found[lang] = pairs
    return found
