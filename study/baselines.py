"""Two rows without a trained model: what shared script, names and a tokenizer find by themselves.

    python study/baselines.py BASE --data DIR --work DIR [--task TASK] [--only ngrams|random]

`ngrams` compares tf-idf vectors of character n-grams; `random` is the base's architecture and
tokenizer with random weights. The first is an object with `encode`: its rows are kept beside the
others, are never ranked and are no part of the board. The second is a checkpoint of its own, and
the board has it as one. Its weights (470 MB) stay in the folder of --work.
"""

from __future__ import annotations

import argparse
import shutil
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
import numpy.typing as npt

ROOT = Path(__file__).resolve().parent.parent
RESULTS, SUBMISSIONS = ROOT / "leaderboard" / "results", ROOT / "submissions"
LENGTHS = (1, 2, 3)  # of n-grams, in characters
DIMENSIONS = 1 << 13  # n-grams are hashed into so many
SEED = 1  # of the random weights

Floats = npt.NDArray[np.float32]


class CharacterNgrams:
    """Tf-idf vectors of character n-grams, to be compared by cosine.

    Term frequency is 1 + log count and inverse document frequency log((1 + N) / (1 + n)) + 1 over
    ``texts`` (Salton and Buckley 1988; smoothed as in scikit-learn). Texts are in Unicode's NFKC,
    without case, and begin and end with a space.
    """

    name = "character n-grams"

    def __init__(self, texts: Iterable[str]) -> None:
        each = list(texts)
        found = np.zeros(DIMENSIONS)
        for text in each:
            found[list(_counts(text))] += 1
        self._idf = (np.log((1 + len(each)) / (1 + found)) + 1).astype(np.float32)

    def encode(self, texts: Sequence[str]) -> Floats:
        """float32[n, DIMENSIONS], not normalised."""
        vectors = np.zeros((len(texts), DIMENSIONS), dtype=np.float32)
        for vector, text in zip(vectors, texts, strict=True):
            counts = _counts(text)
            vector[list(counts)] = 1 + np.log(np.array(list(counts.values())))
        return vectors * self._idf


def _counts(text: str) -> Counter[int]:
    """How often a text has the n-grams of each dimension."""
    plain = f" {unicodedata.normalize('NFKC', text).casefold()} "
    return Counter(
        crc32(plain[at : at + length].encode()) % DIMENSIONS
        for length in LENGTHS
        for at in range(len(plain) - length + 1)
    )


def texts_of(task: str, data: Path, work: Path) -> Iterator[str]:
    """The sentences, or the queries and candidates, of a task in the board's languages."""
    from harness.analysis.results import board_units
    from harness.cards.catalogue import read_card
    from harness.data.examples import Bitext, Mining, Retrieval
    from harness.data.layout import DataLocation
    from harness.data.load import load

    card = read_card(task)
    units = board_units(task, tuple(card.languages))
    examples = load(card, None, units, DataLocation(data, work, offline=True)).examples
    if isinstance(examples, Retrieval):
        yield from examples.candidates
        yield from (query.text for own in examples.queries.values() for query in own)
        return
    for one in examples.values():
        if isinstance(one, Bitext):
            yield from (*one.source, *one.english)
        if isinstance(one, Mining):
            yield from (*one.source.values(), *one.english.values())


def random_weights(base: Path, folder: Path, seed: int = SEED) -> None:
    """Write the base's architecture with random weights, and its tokenizer, to a folder."""
    import torch
    from transformers import AutoConfig, AutoModel

    torch.manual_seed(seed)
    model: Any = AutoModel
    model.from_config(AutoConfig.from_pretrained(base)).save_pretrained(folder)
    for path in [*base.glob("tokenizer*"), *base.glob("special_tokens_map.json")]:
        shutil.copy(path, folder)


def submission(base: str, folder: Path) -> str:
    """What the board is told of the random weights."""
    from harness.checkpoint.resolve import resolve

    return f"""model: {folder.name}
revision: {resolve(str(folder)).revision}
objective: none
notes:
  - >-
    The architecture and tokenizer of {base} with random weights (seed {SEED}); nothing was trained.
    It shows what a tokenizer and a random projection find by themselves: shared script and names.
    study/baselines.py makes it.
"""


def main() -> None:
    """Measure both on the tasks; what is finished is not run again."""
    import harness

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("base", type=Path, help="the folder of the base")
    parser.add_argument("--data", type=Path, required=True, help="the official files")
    parser.add_argument("--work", type=Path, required=True, help="holds the random weights")
    parser.add_argument("--task", action="append", help="default: tatoeba")
    parser.add_argument("--only", choices=("ngrams", "random"))
    given = parser.parse_args()
    tasks = given.task or ["tatoeba"]
    places = {"data": given.data, "out": RESULTS, "cache_dir": given.work / "cache"}
    for task in tasks if given.only != "random" else ():
        model = CharacterNgrams(texts_of(task, given.data, given.work))
        harness.evaluate(model, tasks=task, offline=True, **places)
    if given.only != "ngrams":
        folder = given.work / f"{given.base.name.removesuffix('-4bit')}-random"
        if not (folder / "model.safetensors").is_file():
            random_weights(given.base, folder)
        harness.evaluate(str(folder), tasks=tasks, offline=True, device="cpu", **places)
        path = SUBMISSIONS / f"{folder.name}.yaml"
        path.write_text(submission(given.base.name, folder), encoding="utf-8")


if __name__ == "__main__":
    main()
