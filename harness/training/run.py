"""Train: base and cards → examples → features → steps → a checkpoint. Resumes where it was."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

from harness.checkpoint.loading import load_encoder
from harness.checkpoint.resolve import Checkpoint
from harness.checkpoint.tokenizer import Tokenizer
from harness.data.load import DataLocation
from harness.errors import DataError, UsageError
from harness.inference.batching import pad_id
from harness.io.environment import harness_version, libraries
from harness.training.batches import Steps, TaskData
from harness.training.config import TrainingConfig, process, resolved_settings
from harness.training.contamination import measure
from harness.training.curve import LossLog, NullLossLog
from harness.training.data.examples import TrainingSet
from harness.training.data.features import Codec, encode
from harness.training.data.reading import read
from harness.training.heads import HeadSpec, make_model
from harness.training.lora import adapted, merge
from harness.training.output import TrainingRecord, write
from harness.training.progress import Silent
from harness.training.schedule import Share, make_schedule
from harness.training.selection import Selection
from harness.training.trainer import Settings, TrainingReporter, run_steps
from harness.training.workspace import WORK, alone, begin, check_target, finished


def train(
    config: TrainingConfig, location: DataLocation, reporter: TrainingReporter | None = None
) -> Path:
    """Train and return the folder of the finished checkpoint, at once where it is there already.

    Raises:
        UsageError: the target holds another training, or something else; what training needs is
            not installed; fewer steps than tasks.
        RefusedError: the base's weights are not whole, or it cannot have the head.
        DataError: data that does not fit, or nothing left of it.
        IncompleteError: no data, no space, no memory, a loss that is not finite.
    """
    check_target(config.out)
    if config.dev is not None and process()[1] > 1:
        raise UsageError("a step is chosen by one process: start one")
    _check_installed(adapters=config.lora is not None)
    sets = {card.name: read(card, location, config.max_examples) for card in config.cards}
    settings = resolved_settings(config, sets)
    first = process()[0] == 0
    if not config.fresh and finished(config.out, settings):
        return config.out
    with alone(config.out) if first else nullcontext():
        return _train(config, sets, settings, location, reporter or Silent())


def _train(
    config: TrainingConfig,
    sets: Mapping[str, TrainingSet],
    settings: Mapping[str, Any],
    location: DataLocation,
    reporter: TrainingReporter,
) -> Path:
    work, first = config.out / WORK, process()[0] == 0
    if first:
        begin(config.out, settings, fresh=config.fresh)
    _meet(config)
    with _own_randomness():
        encoder, tokenizer = load_encoder(config.base, dtype="float32", device="cpu")
        tasks = _features(config, sets, encoder, tokenizer)
        notes: dict[str, list[str]] = {}
        model = make_model(
            encoder,
            _heads(config, sets),
            _own_tensors(config.base),
            pad=pad_id(tokenizer),
            seed=config.seed,
            notes=notes,
        )
        for task, said in notes.items():
            reporter.say(f"{task}: {'; '.join(said)}")
        wrapped = None if config.lora is None else adapted(encoder, config.lora, seed=config.seed)
        steps = _steps(config, tasks)
        recipe = config.recipes[config.cards[0].name]
        selection = None
        if config.dev is not None:
            selection = Selection(
                config.dev, config.cards[0].name, tokenizer, folder=work, device=config.device
            )
        curve = LossLog(work / "loss.tsv") if first else NullLossLog(work / "loss.tsv")
        run_steps(
            model,
            steps,
            Settings(recipe, config.seed, config.dtype == "bfloat16", config.device, selection),
            work,
            curve,
            reporter,
        )
        if first:
            model.to("cpu").eval()
            if wrapped is not None:
                merge(wrapped)
            described = _described(config, sets, tasks, notes)
            record = TrainingRecord(
                base=config.base,
                cards=config.cards,
                sets=described,
                settings=settings,
                overlap=measure(sets.values(), location, reporter.say),
                steps=len(steps),
                command=config.command,
                selection=selection.record() if selection else None,
                versions={"xharness": harness_version(), "libraries": _libraries()},
            )
            write(record, model, curve, work, config.out)
    return config.out


def _check_installed(*, adapters: bool) -> None:
    from importlib.util import find_spec

    needed = {"accelerate": "training", **({"peft": "training adapters"} if adapters else {})}
    for name, what in needed.items():
        if find_spec(name) is None:
            raise UsageError(f"{what} needs {name}: pip install 'xharness[train]'")


def _meet(config: TrainingConfig) -> None:
    """Several processes wait for each other here: the first one has tidied up."""
    if process()[1] > 1:
        from accelerate import PartialState

        PartialState(cpu=config.device == "cpu").wait_for_everyone()


def _features(
    config: TrainingConfig, sets: Mapping[str, TrainingSet], encoder: Any, tokenizer: Tokenizer
) -> dict[str, TaskData]:
    tasks = {}
    for card in config.cards:
        recipe = config.recipes[card.name]
        codec = Codec(tokenizer, encoder, recipe)
        features = encode(card.kind, sets[card.name].examples, codec)
        if card.kind == "dual_encoder" and len(features) < 2:
            raise DataError(
                f"{card.name}: a single pair has no other text to be told from: add one"
            )
        tasks[card.name] = TaskData(card.kind, features, codec, recipe.mask)
    return tasks


def _heads(config: TrainingConfig, sets: Mapping[str, TrainingSet]) -> list[HeadSpec]:
    return [
        HeadSpec(card.name, card.kind, sets[card.name].labels, card.symmetric, config.keep_head)
        for card in config.cards
    ]


def _steps(config: TrainingConfig, tasks: Mapping[str, TaskData]) -> Steps:
    rank, world = process()
    shares = []
    for card in config.cards:
        recipe, features = config.recipes[card.name], tasks[card.name].features
        if recipe.batch_size % world:
            raise UsageError(
                f"--batch-size {recipe.batch_size} does not divide among {world} processes"
            )
        capped = min(len(features), card.cap) if len(config.cards) > 1 else len(features)
        shares.append(Share(card.name, features.lengths, recipe.batch_size, recipe.epochs, capped))
    schedule = make_schedule(shares, seed=config.seed, max_steps=config.max_steps)
    return Steps(schedule, tasks, seed=config.seed, rank=rank, world=world)


def _described(
    config: TrainingConfig,
    sets: Mapping[str, TrainingSet],
    tasks: Mapping[str, TaskData],
    notes: Mapping[str, list[str]],
) -> dict[str, dict[str, Any]]:
    """What each task's data was, for the record. ``notes``: of its head."""
    return {
        card.name: {
            "title": card.title,
            "objective": card.objective,
            "examples": len(sets[card.name].examples),
            "rows": len(tasks[card.name].features),
            "cut": tasks[card.name].features.cut,
            "languages": sets[card.name].languages,
            "labels": list(sets[card.name].labels),
            "card": card.hash,
            "route": sets[card.name].route,
            "hub": sets[card.name].revision,
            "files": dict(sets[card.name].files),
            "contaminates": card.contaminates,
            "notes": [*sets[card.name].notes, *notes.get(card.name, ())],
        }
        for card in config.cards
    }


def _own_tensors(base: Checkpoint) -> dict[str, Any]:
    """The base's tensors by name, mapped into memory: heads and poolers are looked up in them."""
    from safetensors.torch import load_file

    from harness.checkpoint.vet import vet

    tensors: dict[str, Any] = {}
    for path in vet(base.weights_folder).files:
        tensors.update(load_file(path))
    return tensors


def _libraries() -> dict[str, str]:
    from importlib.metadata import version

    return {**libraries(), "accelerate": version("accelerate")}


@contextmanager
def _own_randomness() -> Iterator[None]:
    """Training seeds torch, numpy and Python; the caller's random states come back after it."""
    import numpy as np
    import torch

    python, arrays = random.getstate(), np.random.get_state()
    try:
        with torch.random.fork_rng(devices=[]):
            yield
    finally:
        random.setstate(python)
        np.random.set_state(arrays)
