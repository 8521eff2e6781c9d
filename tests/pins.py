"""The pins of every task whose data is at hand: `python -m tests.pins DATA`.

Worked out from the data alone, by no code that writes or reads outcomes: what each run must have is
written down here a second time.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

from harness.cards.catalogue import read_cards
from harness.cards.examples import HEADER, digest
from harness.cards.task import TaskCard
from harness.data.examples import Loaded, Retrieval
from harness.data.formats.files import LocalFile
from harness.data.formats.questions import passage_clusters, read_questions
from harness.data.load import DataLocation, load
from harness.errors import HarnessError

Line = tuple[str, str, str, int, int | None, str]
Example = tuple[str, str, str]  # id, number of relevant candidates, cluster


def lines(data: Path, cache: Path) -> Iterator[Line]:
    """A line per task, split and unit that ``data`` has whole; the demo tasks among them."""
    for card in read_cards().values():
        for split in card.source.splits:
            yield from _split_lines(card, split, data, cache)
        if card.name == "tydiqa":
            yield from _tydiqa_lines(card, data)


def _split_lines(card: TaskCard, split: str, data: Path, cache: Path) -> Iterator[Line]:
    try:
        loaded = load(card, split, card.languages, DataLocation(data, cache, offline=True))
    except HarnessError:
        return
    if not loaded.complete or loaded.notes:
        return
    for unit in card.languages:
        if unit in loaded.missing or unit in loaded.broken:
            continue
        found = list(_examples(card, split, loaded, unit))
        yield card.name, split, unit, len(found), _pool(loaded, unit), digest(map("\t".join, found))


def _examples(card: TaskCard, split: str, loaded: Loaded, unit: str) -> Iterator[Example]:
    examples = loaded.examples
    if isinstance(examples, Retrieval):
        for query in examples.queries[unit]:
            yield query.id, str(len(query.relevant)), query.cluster
        return
    own = examples[unit]
    if card.kind == "bitext":
        for number, english in enumerate(own.english):
            cluster = f"tatoeba:{sha256(english.encode()).hexdigest()[:12]}"
            yield f"{unit}:{number}", "1", cluster
    elif card.kind == "mining":
        for source, target in own[split].gold:
            yield f"{source} {target}", "", f"{card.name}:{unit}:{source}"
    elif card.kind == "span_qa":
        for question in own.questions:
            yield question.id, "", question.cluster


def _pool(loaded: Loaded, unit: str) -> int | None:
    if not isinstance(loaded.examples, Retrieval):
        return None
    return loaded.examples.candidate_langs.count(unit)


def _tydiqa_lines(card: TaskCard, data: Path) -> Iterator[Line]:
    """From the files without answers: their ids and passages are the official ones."""
    for unit in card.languages:
        path = data / f"tydiqa_goldp/dev-noanswers/tydiqa.goldp.{unit}.dev.json"
        if path.is_file():
            asked = read_questions(LocalFile(path, path.name))
            clusters = passage_clusters(asked)
            found = [(one.id, "", own) for one, own in zip(asked, clusters, strict=True)]
            yield card.name, card.split, unit, len(found), None, digest(map("\t".join, found))


if __name__ == "__main__":
    print("\t".join(HEADER))
    for line in lines(Path(sys.argv[1]), Path("/nonexistent")):
        print("\t".join("" if part is None else str(part) for part in line))
