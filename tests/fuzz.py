"""Inputs changed at random, from a seed: `python -m tests.fuzz [N]` runs N cases (or 10,000).

Whatever a file holds, reading it gives what it says or a `DataError`: one line of at most 300
characters that can be printed. Documents are changed in their structure (a value of another type, a
key gone, an item doubled) and files in their bytes.
"""

from __future__ import annotations

import copy
import gzip
import json
import random
import sys
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import yaml

from harness.cards.catalogue import read_card
from harness.cards.task import TaskCard, task_root
from harness.data.formats import READERS
from harness.data.formats.files import Key, LocalFile
from harness.data.texts import unreadable
from harness.errors import DataError
from harness.io.strict_yaml import read_model
from harness.results.checks import check
from harness.results.outcomes import OutcomeFile, outcome_file
from harness.results.scores import score_file
from harness.submissions.problems import problems
from harness.submissions.submission import Submission
from tests.metadata import metadata
from tests.mini_xtreme import lay_data, questions, run_task

SEED = 19
ODD: tuple[Any, ...] = (
    None, True, False, 0, -1, 10**30, 1.5, "", "x", "\ud800", "\x1b[31m" * 50, "a" * 3000,
    "\u202e\u0000\ufb01", [], {}, [None], {"id": 1}, [[[]]], "../x", "-rf",
)  # fmt: skip
LENGTH = 300
Change = Callable[[random.Random, Path], None]


def changed(rng: random.Random, value: Any) -> Any:
    """A document with one to three of its nodes changed."""
    document = [copy.deepcopy(value)]
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        paths = list(_paths(document))[1:]
        if not paths:
            break
        *way, last = rng.choice(paths)
        owner: Any = document
        for key in way:
            owner = owner[key]
        act = rng.randrange(5)
        if act == 0 and len(way):
            del owner[last]
        elif act == 1 and isinstance(owner, list):
            owner.append(copy.deepcopy(owner[last]))
        elif act == 2 and type(owner[last]) is int:
            owner[last] += rng.choice((-1, 1, 1000))
        else:
            owner[last] = copy.deepcopy(rng.choice(ODD))
    return document[0]


def damaged(rng: random.Random, data: bytes) -> bytes:
    """Bytes cut, flipped, doubled or overwritten."""
    place = rng.randrange(len(data) + 1)
    act = rng.randrange(4)
    if act == 0:
        return data[:place]
    if act == 1:
        return data[:place] + data[rng.randrange(len(data)) :]
    length = rng.choice((1, 1, 4, 64))
    noise = bytes(rng.randrange(256) for _ in range(length))
    return data[:place] + noise + data[place + (length if act == 2 else 0) :]


def _paths(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield path
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _paths(item, (*path, key))
    elif isinstance(value, list):
        for number, item in enumerate(value):
            yield from _paths(item, (*path, number))


# Readers


@cache
def _official(task: str) -> tuple[TaskCard, dict[Key, tuple[str, bytes]]]:
    """A card with few languages, and its files as a run would be handed them."""
    if task == "lareqa":
        card = read_card(task).model_copy(update={"languages": ["de", "en"]})
        text = json.dumps(_with_breaks(questions(task, "de", "de"))).encode()
        return card, {
            Key(lang, "test", "passages"): (f"{lang}.json", text) for lang in ("de", "en")
        }
    card = read_card(task)
    with TemporaryDirectory() as folder:
        lay_data(Path(folder))
        units = {"tatoeba": ["de"], "bucc2018": ["zh"], "xquad": ["de"], "mlqa": ["de"],
                 "tydiqa": ["te"], "mewsli_x": card.languages}[task]  # fmt: skip
        card = card.model_copy(update={"languages": units})
        found = {}
        for split in (*card.source.splits[card.split].needs, card.split):
            for role, file in card.source.splits[split].files.items():
                path = card.fill(file.path, units[0])
                shared = path == file.path or role == "index"
                place = Path(folder, path)
                if place.is_file():
                    key = Key("" if shared else units[0], split, role)
                    found[key] = (place.name, place.read_bytes())
        return card, found


def _with_breaks(document: dict[str, Any]) -> dict[str, Any]:
    for article in document["data"]:
        for paragraph in article["paragraphs"]:
            size = len(paragraph["context"])
            paragraph["sentence_breaks"] = [[0, size - 2], [size - 2, size]]
            for one in paragraph["qas"]:
                one["answers"] = one["answers"][:1]
    return document


def read_data(rng: random.Random, folder: Path) -> None:
    """A task's files, one of them changed."""
    task = rng.choice(("tatoeba", "bucc2018", "xquad", "mlqa", "tydiqa", "mewsli_x", "lareqa"))
    card, contents = _official(task)
    odd = rng.choice(sorted(contents))
    files = {}
    for key, (name, data) in contents.items():
        if key == odd:
            data = _changed_file(rng, name, data)
            if rng.random() < 0.1:
                name, data = f"{name}.gz", damaged(rng, gzip.compress(data))
        path = folder / f"{key.unit}{key.split}{key.role}{name}"
        path.write_bytes(data)
        files[key] = LocalFile(path, name)
    parsed = READERS[card.source.format](card, card.split, tuple(card.languages), files)
    unreadable(parsed.examples)


def _changed_file(rng: random.Random, name: str, data: bytes) -> bytes:
    if rng.random() < 0.3 or not name.endswith((".json", ".jsonl")):
        return damaged(rng, data)
    if name.endswith(".json"):
        return json.dumps(changed(rng, json.loads(data))).encode()
    lines = data.splitlines()
    place = rng.randrange(len(lines))
    lines[place] = json.dumps(changed(rng, json.loads(lines[place]))).encode()
    return b"\n".join(lines) + b"\n"


# YAML


def read_yaml(rng: random.Random, folder: Path) -> None:
    """A submission or a card, changed."""
    submitted = {
        "model": "org/name", "revision": "0" * 40, "objective": "extractive-qa",
        "base": "org/base", "languages": ["en", "de"], "datasets": ["SQuAD v1.1"],
        "contaminated": ["xquad"],
    }  # fmt: skip
    card = task_root() / "target/demo_qa.yaml"
    if rng.random() < 0.5:
        path = folder / "name.yaml"
        path.write_bytes(_changed_yaml(rng, yaml.safe_dump(submitted).encode()))
        for line in problems([path]):
            _short(line.replace(str(path), ""), 1000)  # it may list what is known
        read_model(path, Submission, path.name)
    else:
        path = folder / "demo_qa.yaml"
        path.write_bytes(_changed_yaml(rng, card.read_bytes()))
        read_model(path, TaskCard, path.name)


def _changed_yaml(rng: random.Random, data: bytes) -> bytes:
    if rng.random() < 0.5:
        return damaged(rng, data)
    return yaml.safe_dump(changed(rng, yaml.safe_load(data))).encode()


# Outcomes


@cache
def _outcomes() -> bytes:
    card = read_card("demo_qa")
    changes = {"revision": f"0123456789ab{'0' * 28}", "route": "package"}
    with TemporaryDirectory() as folder:
        run_task(card, None, None, Path(folder), signature=_signature(), **changes)
        return _file(Path(folder)).path.read_bytes()


def _signature() -> str:
    return str(metadata(read_card("demo_qa"), [])["signature"])


def _file(folder: Path) -> OutcomeFile:
    return outcome_file(folder, "org__model", "0123456789ab", "demo_qa", _signature())


def read_outcomes(rng: random.Random, folder: Path) -> None:
    """A file of rows with other bytes; or, rows as they are, with other metadata."""
    import pyarrow.parquet as pq

    data = _outcomes()
    file = _file(folder)
    file.path.parent.mkdir(parents=True, exist_ok=True)
    if rng.random() < 0.5:
        file.path.write_bytes(damaged(rng, data))
    else:
        file.path.write_bytes(data)
        with pq.ParquetFile(file.path) as source:
            schema = source.schema_arrow
            groups = [source.read_row_group(number) for number in range(source.num_row_groups)]
        meta = changed(rng, json.loads(schema.metadata[b"xharness"]))
        other = schema.with_metadata({b"xharness": json.dumps(meta).encode()})
        with pq.ParquetWriter(file.path, other) as writer:
            for rows in groups:
                writer.write_table(rows.cast(other))
    check(file)
    score_file(file)


def _short(message: str, most: int = LENGTH) -> None:
    assert message.isprintable(), repr(message)
    assert len(message) <= most, message


CASES: tuple[Change, ...] = (read_data, read_yaml, read_outcomes)


def run(first: int, last: int) -> int:
    """Run the cases of these numbers; returns how many were refused. Raises at the first fault."""
    refused = 0
    for number in range(first, last):
        rng = random.Random(f"{SEED} {number}")
        with TemporaryDirectory() as folder:
            try:
                CASES[number % len(CASES)](rng, Path(folder))
            except DataError as error:
                refused += 1
                _short(str(error).replace(folder, ""))
            except Exception as error:
                raise AssertionError(f"case {number}: {error!r}") from error
    return refused


if __name__ == "__main__":
    asked = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    print(f"{run(0, asked):,} of {asked:,} inputs were refused, each in one line")
