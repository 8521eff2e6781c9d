"""Target recipes of a few steps for the demo tasks, and the data that they train on."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from harness.analysis import results
from harness.cards import catalogue, languages, source_files, target_recipes
from harness.cards import training as training_cards
from harness.cards.languages import task_root

CACHED = (
    catalogue._read_card, catalogue.read_suites, source_files.read_checksums, results.board_units,
    training_cards._read, target_recipes.read_target_recipes,
)  # fmt: skip
PASSAGES = (
    ("The ferry to the island leaves at seven.", ("When does the ferry leave?", "at seven")),
    ("My sister planted three apple trees.", ("What did my sister plant?", "three apple trees")),
    ("The old mill stands behind the church.", ("Where is the mill?", "behind the church")),
    ("The bakery sells rye bread on Fridays.", ("What does the bakery sell?", "rye bread")),
    ("Nine swans winter on the village pond.", ("How many swans are there?", "Nine")),
    ("The baker's son repairs violins.", ("Who repairs violins?", "The baker's son")),
)
CARD = """
name: {name}
title: Tiny questions
kind: {kind}
objective: {objective}
languages: [en]
licence: written for the tests
citation: none
source:
  format: squad
  splits:
    train:
      files:
        questions: {{path: {path}}}
"""
RECIPES = """
- name: demo_span
  title: A few steps on tiny questions
  tasks: [demo_qa]
  train: tiny_qa
  examples: 6
  recipe: {lr: 1.0e-3, epochs: 4, batch_size: 4, max_length: 64, question_length: 24, warmup: 2}
- name: demo_pairs
  title: A few steps on tiny pairs
  tasks: [demo_passages]
  train: tiny_pairs
  examples: 6
  recipe: {lr: 1.0e-3, epochs: 2, batch_size: 4, max_length: 64, question_length: 24, warmup: 0}
- name: demo_other
  title: Another recipe
  train: other_qa
  examples: 6
  recipe: {lr: 1.0e-3, epochs: 1, batch_size: 4, max_length: 64, question_length: 24, warmup: 0}
"""
SUITE = """
demo-other:
  - task: demo_qa
    recipe: demo_other
"""


@contextmanager
def tiny_recipes(folder: Path, recipes: str = RECIPES) -> Iterator[None]:
    """The tasks folder with these target recipes, and `demo_qa` in English and German alone."""
    tasks = folder / "tasks"
    shutil.copytree(task_root(), tasks)
    for name, kind, objective, path in (
        ("tiny_qa", "span", "extractive-qa", "tiny/train.json"),
        ("other_qa", "span", "extractive-qa", "tiny/other.json"),
        ("tiny_pairs", "dual_encoder", "qa-dual-encoder", "tiny/train.json"),
    ):
        text = CARD.format(name=name, kind=kind, objective=objective, path=path)
        (tasks / "intermediate" / f"{name}.yaml").write_text(text, encoding="utf-8")
    (tasks / "target_recipes.yaml").write_text(recipes, encoding="utf-8")
    card = tasks / "target" / "demo_qa.yaml"
    text = card.read_text(encoding="utf-8")
    whole = "languages: [en, de, es, ru, ar, hi, zh, sw]"
    assert whole in text
    card.write_text(text.replace(whole, "languages: [en, de]"), encoding="utf-8")
    suites = (tasks / "suites.yaml").read_text(encoding="utf-8")
    whole, _, _ = suites.partition("# For where the whole of SQuAD")
    (tasks / "suites.yaml").write_text(whole + SUITE, encoding="utf-8")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # tiny matrices: several threads would only wait for each other
    with pytest.MonkeyPatch.context() as patch:
        for module in (catalogue, languages, training_cards, target_recipes):
            patch.setattr(module, "task_root", lambda: tasks)
        for function in CACHED:
            function.cache_clear()
        yield
    torch.set_num_threads(threads)
    for function in CACHED:
        function.cache_clear()


def lay_training_data(folder: Path, name: str = "train", most: int | None = None) -> Path:
    """SQuAD's format, six questions."""
    paragraphs = [
        {
            "context": context,
            "qas": [
                {
                    "id": f"q{number}",
                    "question": question,
                    "answers": [{"text": answer, "answer_start": context.index(answer)}],
                }
            ],
        }
        for number, (context, (question, answer)) in enumerate(PASSAGES[:most])
    ]
    path = folder / "tiny" / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    document = {"version": "1.1", "data": [{"title": "Village", "paragraphs": paragraphs}]}
    path.write_text(json.dumps(document), encoding="utf-8")
    return folder
