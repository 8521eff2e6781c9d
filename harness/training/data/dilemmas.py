"""Reads COPA's questions as examples; they are worded as in evaluation."""

from __future__ import annotations

from harness.cards.training import IntermediateCard
from harness.data.formats.choices import read_dilemmas
from harness.training.data.examples import Choice, Found
from harness.training.data.sources import Files


def read_copa(card: IntermediateCard, files: Files, labels: list[str], notes: list[str]) -> Found:
    """Read JSON lines or Hub rows of COPA; the item is the question's idx."""
    del labels, notes
    (role,) = files.roles
    return {
        lang: [
            Choice(str(one.idx), lang, one.prompt, one.choices, one.label)
            for one in read_dilemmas(files.of(lang, role))
        ]
        for lang in card.languages
    }
