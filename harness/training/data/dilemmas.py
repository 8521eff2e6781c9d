"""COPA's questions as examples, in the wording that they are asked in."""

from __future__ import annotations

from harness.cards.training import IntermediateCard
from harness.data.formats.choices import read_dilemmas
from harness.training.data.examples import Choice, Found
from harness.training.data.sources import Files, file_of


def read_copa(card: IntermediateCard, files: Files, labels: list[str], notes: list[str]) -> Found:
    """JSON lines or Hub rows of COPA; the item is the question's idx."""
    del labels, notes
    (role,) = {role for _, role in files.files}
    return {
        lang: [
            Choice(str(one.idx), lang, one.prompt, one.choices, one.label)
            for one in read_dilemmas(file_of(files, lang, role))
        ]
        for lang in card.languages
    }
