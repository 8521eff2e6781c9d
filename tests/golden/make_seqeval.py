"""Writes seqeval.json: what seqeval 0.0.12 says of random and hand-made tags.

Run it where that version is installed (it has no wheel and names Keras, which its metrics do not
need): ``pip install --no-deps seqeval==0.0.12 numpy`` and ``python make_seqeval.py``.
"""

import json
import random
from pathlib import Path

from seqeval.metrics import f1_score
from seqeval.metrics.sequence_labeling import get_entities

BIO = ["O", *(f"{letter}-{kind}" for letter in "BI" for kind in ("PER", "ORG", "LOC"))]
IOBES = [*BIO, *(f"{letter}-{kind}" for letter in "ES" for kind in ("PER", "LOC"))]
UPOS = [
    *("ADJ", "ADP", "ADV", "AUX", "CCONJ", "DET", "INTJ", "NOUN", "NUM", "PART", "PRON", "PROPN"),
    *("PUNCT", "SCONJ", "SYM", "VERB", "X"),
]
ODD = ["O", "B", "I", "E", "S", ".", "I-", "B-a-b", "I-a-b", "-PER"]
HAND = [
    ([["NOUN", "NOUN", "VERB"]], [["NOUN", "NOUN", "NOUN"]]),
    ([["CCONJ", "SCONJ"]], [["SCONJ", "SCONJ"]]),
    ([["SCONJ", "SCONJ", "SYM", "SYM"]], [["SCONJ", "CCONJ", "SYM", "SYM"]]),
    ([["O", "I-PER", "I-PER"]], [["O", "B-PER", "I-PER"]]),
    ([["B-PER", "I-LOC", "I-LOC"]], [["B-PER", "B-LOC", "I-LOC"]]),
    ([["B-PER", "B-PER"]], [["B-PER", "I-PER"]]),
    ([["O", "O"]], [["O", "O"]]),
    ([["O", "O"]], [["B-PER", "O"]]),
    ([["B-PER"], ["I-PER"]], [["B-PER"], ["I-PER"]]),
    ([["X", "X", "INTJ", "ADJ"]], [["X", "X", "INTJ", "INTJ"]]),
]


def main():
    draw = random.Random(0)
    cases = list(HAND)
    for tags in (BIO, IOBES, UPOS, ODD):
        for _ in range(30):
            gold, predicted = [], []
            for _ in range(draw.randint(1, 4)):
                words = draw.randint(1, 12)
                few = draw.sample(tags, draw.randint(2, min(6, len(tags))))
                sentence = [draw.choice(few) for _ in range(words)]
                gold.append(sentence)
                predicted.append([t if draw.random() < 0.7 else draw.choice(few) for t in sentence])
            cases.append((gold, predicted))
    records = [
        {
            "gold": gold,
            "predicted": predicted,
            "spans": [[list(span) for span in get_entities(sentence)] for sentence in gold],
            "f1": f1_score(gold, predicted),
        }
        for gold, predicted in cases
    ]
    lines = ",\n".join(json.dumps(record) for record in records)
    Path(__file__).with_name("seqeval.json").write_text(f"[\n{lines}\n]\n", encoding="utf-8")


main()
