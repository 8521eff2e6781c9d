"""Heads of our own, and that every encoder which is searched can be tuned for every kind."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import transformers

from harness.checkpoint.files import TOKENIZER_FILES
from harness.checkpoint.heads import LINEAR, Head, linear_note
from harness.checkpoint.linear_head import LinearHead
from harness.checkpoint.loading import load_encoder, load_head, load_reader
from harness.checkpoint.resolve import Checkpoint, resolve
from harness.errors import RefusedError
from harness.inference.labeller import Labeller
from harness.training.heads import HeadSpec, make_model
from harness.training.output import save_model
from tests import checkpoints, real_names

LABELS = {"classification": ("no", "maybe", "yes"), "tagging": ("NOUN", "VERB")}
KINDS = ("span", "classification", "multiple_choice", "tagging")
# Encoder → the kinds that transformers has no head of, or none on the encoder alone.
OURS = {
    "xlm-roberta": (),
    "qwen3": ("multiple_choice",),
    "mt5": ("span", "classification", "multiple_choice"),
    "mbart": KINDS,
    "EuroBERT": ("span", "multiple_choice"),
    "gte-multilingual (native port)": ("span", "multiple_choice"),
    "nomic (native configuration)": ("span", "multiple_choice"),
    "jina-embeddings-v3 (native configuration)": ("multiple_choice",),
    # Whose heads stand on more than a pooler, or have names of their own.
    "ALBERT": (),
    "BigBird": (),
    "XLNet": (),
}


@pytest.fixture(scope="module")
def bases(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Checkpoint]:
    """Each base once."""
    folder = tmp_path_factory.mktemp("bases")

    @cache
    def made(name: str) -> Checkpoint:
        if name in checkpoints.KINDS:
            return resolve(str(checkpoints.build(name, folder / name)), offline=True)
        architecture = real_names.ARCHITECTURES[name]
        return resolve(str(real_names.build(architecture, folder / name)), offline=True)

    return made


def batch(kind: str, checkpoint: Checkpoint) -> dict[str, torch.Tensor]:
    """Two texts, the second one shorter, with labels. Longformer counts three separators."""
    config = json.loads((checkpoint.weights_folder / "config.json").read_text())
    sep = config.get("sep_token_id") or 3
    ids = torch.tensor([[40, 41, sep, sep, 42, sep], [50, sep, sep, sep, 0, 0]])
    mask = torch.tensor([[1, 1, 1, 1, 1, 1], [1, 1, 1, 1, 0, 0]])
    inputs = {"input_ids": ids, "attention_mask": mask}
    if kind == "multiple_choice":
        inputs = {key: torch.stack([value, value.flip(0)], 1) for key, value in inputs.items()}
    if kind == "span":
        return {**inputs, "start_positions": torch.tensor([1, 0]),
                "end_positions": torch.tensor([4, 0])}  # fmt: skip
    tags = torch.tensor([[1, 0, -100, -100, -100, -100], [1, *[-100] * 5]])
    return {**inputs, "labels": tags if kind == "tagging" else torch.tensor([1, 0])}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", OURS)
def test_every_encoder_that_is_searched_can_be_tuned_saved_and_read(
    name: str, kind: str, bases: Callable[[str], Checkpoint], tmp_path: Path
) -> None:
    checkpoint = bases(name)
    encoder, _ = load_encoder(checkpoint, dtype="float32", device="cpu")
    spec = HeadSpec("task", kind, LABELS.get(kind, ()))
    model = make_model(encoder, [spec], {}, pad=0, seed=0)
    inputs = batch(kind, checkpoint)
    loss = model("task", inputs)
    loss.backward()
    trained = model.tasks["task"].eval()  # type: ignore[index]
    with torch.no_grad():
        for value in trained.parameters():
            value.add_(0.01 * torch.randn(value.shape, generator=torch.Generator().manual_seed(1)))
    out = tmp_path / "out"
    out.mkdir()
    save_model(trained, out)
    for file in TOKENIZER_FILES:
        if (checkpoint.tokenizer_folder / file).is_file():
            shutil.copyfile(checkpoint.tokenizer_folder / file, out / file)
    tuned = resolve(str(out), offline=True)
    options: Any = {"dtype": "float32", "device": "cpu"}
    if kind == "span":
        loaded, _ = load_reader(tuned, **options)
    else:
        loaded, _ = load_head(tuned, kind, **options)
        assert tuned.head is not None
        assert tuned.head.labels == LABELS.get(kind, tuned.head.labels)
    assert tuned.linear_head == (kind in OURS[name])
    assert ("one linear layer" in "".join(tuned.remarks)) == tuned.linear_head
    given = {key: value for key, value in inputs.items() if key in ("input_ids", "attention_mask")}
    real = inputs["attention_mask"].bool()
    with torch.inference_mode():
        mine, theirs = trained(**given), loaded(**given)
    for key in ("start_logits", "end_logits") if kind == "span" else ("logits",):
        one, other = getattr(mine, key), getattr(theirs, key)
        if kind in ("span", "tagging"):
            one, other = one[real], other[real]
        assert one.isfinite().all()
        torch.testing.assert_close(one, other)
    # Searched as well, or tuned again: it is an encoder like any other.
    again, _ = load_encoder(tuned, **options)
    for key, value in again.named_parameters():
        assert torch.equal(value, encoder.get_parameter(key))


@pytest.mark.parametrize(
    ("kind", "auto"),
    [
        ("span", "AutoModelForQuestionAnswering"),
        ("classification", "AutoModelForSequenceClassification"),
        ("multiple_choice", "AutoModelForMultipleChoice"),
        ("tagging", "AutoModelForTokenClassification"),
    ],
)
@pytest.mark.parametrize("name", ["bert", "xlm-roberta", "distilbert", "modernbert", "deberta-v2"])
def test_transformers_own_head_stays_where_it_has_one(
    name: str, kind: str, auto: str, bases: Callable[[str], Checkpoint]
) -> None:
    encoder, _ = load_encoder(bases(name), dtype="float32", device="cpu")
    labels = LABELS.get(kind, ())
    model: Any = make_model(encoder, [HeadSpec("task", kind, labels)], {}, pad=0, seed=7)
    torch.manual_seed(7)
    config = transformers.AutoConfig.from_pretrained(bases(name).folder)
    if labels:
        config.id2label = dict(enumerate(labels))
    config.num_labels = len(labels) or 2
    theirs = getattr(transformers, auto).from_config(config)
    assert type(model.tasks["task"]) is type(theirs)
    of_encoder = {f"{theirs.base_model_prefix}.{key}" for key in encoder.state_dict()}
    mine = model.tasks["task"].state_dict()
    assert mine.keys() == theirs.state_dict().keys()
    fresh = [key for key in mine if key not in of_encoder or ".pooler." in key]
    assert fresh
    for key in fresh:
        assert torch.equal(mine[key], theirs.state_dict()[key])


class Given(torch.nn.Module):
    """An encoder of width 2 whose hidden states are these, whatever it is given."""

    def __init__(self, hidden: list[list[list[float]]]) -> None:
        super().__init__()
        self.hidden = torch.tensor(hidden)
        self.config: Any = SimpleNamespace(hidden_size=2)
        self.config.get_text_config = lambda *, decoder: self.config

    def forward(self, *, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> Any:
        return SimpleNamespace(last_hidden_state=self.hidden)


def head(hidden: list[list[list[float]]], kind: str, outputs: list[list[float]]) -> Any:
    """A head whose layer gives x @ outputs.T."""
    made = LinearHead(Given(hidden), kind, [str(at) for at in range(len(outputs))]).eval()
    with torch.no_grad():
        made.get_submodule(LINEAR).weight.copy_(torch.tensor(outputs))
    return made


def test_decisions_by_hand() -> None:
    # Two tokens and padding that is not to be read: the mean is (2, 1).
    hidden = [[[1.0, 0.0], [3.0, 2.0], [9.0, 9.0]]]
    ids, mask = torch.zeros(1, 3, dtype=torch.int64), torch.tensor([[1, 1, 0]])
    labelled = head(hidden, "classification", [[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    output = labelled(ids, mask, labels=torch.tensor([2]))
    assert output.logits.tolist() == [[2.0, 1.0, 3.0]]
    assert output.loss.item() == pytest.approx(math.log(sum(map(math.exp, (2, 1, 3)))) - 3)
    tags = head(hidden, "tagging", [[1.0, 0.0], [0.0, 1.0]])
    output = tags(ids, mask, labels=torch.tensor([[0, -100, -100]]))
    assert output.logits[0, :2].tolist() == [[1.0, 0.0], [3.0, 2.0]]
    assert output.loss.item() == pytest.approx(math.log(math.e + 1) - 1)
    spans = head(hidden, "span", [[1.0, 0.0], [0.0, 1.0]])
    output = spans(ids, mask, start_positions=torch.tensor([1]), end_positions=torch.tensor([0]))
    # Of starts 1 and 3, of ends 0 and 2: the padding's 9 counts for neither.
    first, second = math.log(math.e + math.exp(3)) - 3, math.log(1 + math.exp(2))
    assert output.loss.item() == pytest.approx((first + second) / 2)
    choices = head([*hidden, [[5.0, 0.0]] * 3], "multiple_choice", [[1.0, 0.0]])
    ids, mask = ids.expand(1, 2, 3), torch.tensor([[[1, 1, 0], [1, 1, 1]]])
    output = choices(ids, mask, labels=torch.tensor([0]))
    assert output.logits.tolist() == [[2.0, 5.0]]
    assert output.loss.item() == pytest.approx(math.log(math.exp(2) + math.exp(5)) - 2)


@pytest.mark.parametrize(
    "entry",
    [
        "classification",
        {"kind": "decoder", "labels": []},
        {"kind": "classification", "labels": ["no"]},
        {"kind": "classification", "labels": [0, 1]},
        {"kind": "classification"},
        {"kind": "multiple_choice", "labels": []},
        {"kind": ["span"], "labels": []},
    ],
)
def test_an_entry_that_the_weights_do_not_hold_is_refused(
    entry: object, bases: Callable[[str], Checkpoint], tmp_path: Path
) -> None:
    base = bases("qwen3")
    encoder, _ = load_encoder(base, dtype="float32", device="cpu")
    save_model(LinearHead(encoder, "classification", ["no", "yes"]), tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    shutil.copyfile(base.folder / "tokenizer.json", tmp_path / "tokenizer.json")
    assert resolve(str(tmp_path), offline=True).head is not None
    (tmp_path / "config.json").write_text(json.dumps({**config, LINEAR: entry}))
    with pytest.raises(RefusedError, match=LINEAR):
        resolve(str(tmp_path), offline=True)


def test_what_is_said_of_it() -> None:
    assert linear_note(None) == linear_note(Head("tagging", ("A",))) == ""
    assert "no multiple choice head" in linear_note(Head("multiple_choice", (), linear=True))


def test_the_labels_are_those_of_the_head_and_not_of_one_before(
    bases: Callable[[str], Checkpoint],
) -> None:
    """The base had a head for the same task once, whose names are still in its configuration."""
    labels = ("entailment", "neutral", "contradiction")
    encoder, tokenizer = load_encoder(bases("mbart"), dtype="float32", device="cpu")
    encoder.config.id2label = dict(enumerate(reversed(labels)))
    spec = HeadSpec("x", "classification", labels)
    trained = make_model(encoder, [spec], {}, pad=1, seed=0).eval()
    head = trained.tasks["x"]
    layer = head.get_submodule(LINEAR)
    torch.nn.init.zeros_(layer.weight)
    layer.bias.data = torch.tensor([3.0, 2.0, 1.0])
    found = Labeller(head, tokenizer, "classification").classify([("a", "b")], labels, lang="de")
    assert found.tolist() == [[3.0, 2.0, 1.0]]
    found = Labeller(head, tokenizer, "classification").classify(
        [("a", "b")], ("neutral", "contradiction", "entailment"), lang="de"
    )
    assert found.tolist() == [[2.0, 1.0, 3.0]]


def test_the_last_token_is_the_last_before_padding(bases: Callable[[str], Checkpoint]) -> None:
    """Such a classifier looks for it by the id in the configuration, which may be no padding."""
    encoder, _ = load_encoder(bases("qwen3"), dtype="float32", device="cpu")
    encoder.config.pad_token_id = 50
    spec = HeadSpec("x", "classification", ("no", "yes"))
    head = make_model(encoder, [spec], {}, pad=3, seed=0).eval().tasks["x"]
    alone = torch.tensor([[40, 41, 42]])
    padded = torch.tensor([[40, 41, 42, 3, 3]])
    with torch.no_grad():
        one = head(input_ids=alone, attention_mask=torch.ones_like(alone)).logits
        mask = torch.tensor([[1, 1, 1, 0, 0]])
        other = head(input_ids=padded, attention_mask=mask).logits
    torch.testing.assert_close(one, other)
