"""Training beside a plain reading of ``run_qa``: padded windows, labels by search, plain steps.

The reference has what ``run_qa`` does, with one exception that is named: labels are searched for
token by token, and a step is forward, backward, clipping, AdamW (no decay on biases and layer
norms), linear schedule.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers

from harness.cards.training import Recipe
from harness.checkpoint.loading import load_encoder
from harness.checkpoint.resolve import resolve
from harness.training.batches import Steps, TaskData
from harness.training.curve import LossLog
from harness.training.data.examples import Span
from harness.training.data.features import Codec, encode
from harness.training.heads import HeadSpec, make_model
from harness.training.progress import Silent
from harness.training.schedule import Share, make_schedule
from harness.training.trainer import Settings, run_steps
from tests.checkpoints import SENTENCES, build

RECIPE = Recipe(
    epochs=2, lr=1e-3, batch_size=4, max_length=64, question_length=24, stride=16, warmup=0.2,
    weight_decay=0.1,
)  # fmt: skip
QUESTIONS = ("  When does the ferry leave?", "Что посадила сестра?", "几点出发？", "Combien ?")


@pytest.fixture(scope="module", params=["bert", "xlm-roberta"])
def loaded(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    off = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    folder = build(request.param, tmp_path_factory.mktemp("base") / "model", **off)
    found = load_encoder(resolve(str(folder)), dtype="float32", device="cpu")
    return (*found, transformers.AutoTokenizer.from_pretrained(folder))


@pytest.fixture(scope="module")
def examples() -> list[Span]:
    draw, made = np.random.default_rng(7), []
    for number in range(24):
        chosen = [SENTENCES[at] for at in draw.permutation(len(SENTENCES))[: 1 + number % 5]]
        context = " ".join(chosen)
        sentence = chosen[int(draw.integers(len(chosen)))]
        words = sentence.split()
        first = int(draw.integers(len(words)))
        answer = " ".join(words[first : first + int(draw.integers(1, 4))])
        start = context.index(sentence) + sentence.index(answer)
        question = QUESTIONS[number % len(QUESTIONS)]
        made.append(Span(str(number), "en", question, context, answer, start))
    return made


def plain(examples: list[Span], tokenizer: Any, recipe: Recipe) -> list[dict[str, Any]]:
    """Windows padded to the full length, with the positions that ``run_qa`` labels them with."""
    encoded = tokenizer(
        [one.question.lstrip() for one in examples],
        [one.context for one in examples],
        truncation="only_second",
        max_length=recipe.max_length,
        stride=recipe.stride,
        return_overflowing_tokens=True,
        return_offsets_mapping=True,
        padding="max_length",
    )
    windows = []
    for row in range(len(encoded["input_ids"])):
        example = examples[encoded["overflow_to_sample_mapping"][row]]
        assert example.start is not None
        stop = example.start + len(example.answer)
        context = [at for at, side in enumerate(encoded.sequence_ids(row)) if side == 1]
        offsets = encoded["offset_mapping"][row]
        first = last = 0  # the special token that stands first in these tokenizers
        if offsets[context[0]][0] <= example.start and offsets[context[-1]][1] >= stop:
            first = max(at for at in context if offsets[at][0] <= example.start)
            last = min(at for at in context if offsets[at][1] >= stop)
            # One letter in two pieces, which both have its offsets: there backwards, here in order.
            first, last = min(first, last), max(first, last)
        inputs = {name: encoded[name][row] for name in tokenizer.model_input_names}
        windows.append(inputs | {"start_positions": first, "end_positions": last})
    return windows


def test_windows_and_labels_are_those_of_run_qa(loaded: Any, examples: list[Span]) -> None:
    encoder, tokenizer, library = loaded
    features = encode("span", examples, Codec(tokenizer, encoder, RECIPE))
    expected = plain(examples, library, RECIPE)
    assert len(features) == len(expected) > len(examples)
    (windows,) = features.sides
    unlabelled = 0
    for row, window in enumerate(expected):
        ids = np.array(window["input_ids"])[np.array(window["attention_mask"]) == 1]
        assert windows.tokens[windows.begin[row] : windows.begin[row + 1]].tolist() == ids.tolist()
        labels = {name: int(values[row]) for name, values in features.labels.items()}
        assert labels == {name: window[name] for name in labels}
        unlabelled += labels["start_positions"] == 0
    assert 0 < unlabelled < len(expected)  # windows without their answer, and with it


def test_steps_are_those_of_a_plain_loop(loaded: Any, examples: list[Span], tmp_path: Path) -> None:
    encoder, tokenizer, library = loaded
    codec = Codec(tokenizer, encoder, RECIPE)
    features = encode("span", examples, codec)
    share = Share("qa", features.lengths, RECIPE.batch_size, RECIPE.epochs, len(features))
    schedule = make_schedule([share], seed=3, max_steps=None)
    padded = plain(examples, library, RECIPE)

    def fresh() -> Any:
        import copy

        own = copy.deepcopy(encoder)
        return make_model(own, [HeadSpec("qa", "span")], {}, pad=codec.pad, seed=3)

    curve = LossLog(tmp_path / "loss.tsv")
    steps = Steps(schedule, {"qa": TaskData("span", features, codec, 0.0)}, seed=3)
    ours = fresh()
    run_steps(ours, steps, Settings(RECIPE, 3, False, "cpu"), tmp_path, curve, Silent())

    theirs = fresh().tasks["qa"].train()
    decayed = {n for n, p in theirs.named_parameters() if "bias" not in n and "LayerNorm" not in n}
    groups = [
        {
            "params": [p for n, p in theirs.named_parameters() if (n in decayed) is decay],
            "weight_decay": RECIPE.weight_decay if decay else 0.0,
        }
        for decay in (True, False)
    ]
    optimiser = torch.optim.AdamW(groups, lr=RECIPE.lr, eps=RECIPE.eps)
    total, warm = len(schedule), RECIPE.warmup_steps(len(schedule))
    losses = []
    for number, step in enumerate(schedule):
        for group in optimiser.param_groups:
            rising, falling = number / max(1, warm), (total - number) / (total - warm)
            group["lr"] = RECIPE.lr * min(rising, falling)
        rows = [padded[row] for row in step.rows]
        batch = {name: torch.tensor([row[name] for row in rows]) for name in rows[0]}
        # As with --pad_to_max_length false: positions of padding take part in the loss.
        width = int(batch["attention_mask"].sum(1).max())
        loss = theirs(**{n: t[:, :width] if t.dim() == 2 else t for n, t in batch.items()}).loss
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(theirs.parameters(), RECIPE.clip)
        optimiser.step()
        losses.append(loss.item())

    assert len(losses) > 20
    assert np.mean(losses[-8:]) < np.mean(losses[:8]) - 0.1  # it learns: this is no standstill
    assert [loss for _, _, loss, _ in curve.rows()] == pytest.approx(losses, rel=2e-3)
