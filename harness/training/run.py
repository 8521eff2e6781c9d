"""Training from a base and cards to a checkpoint: examples, features, steps, and what is saved."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from harness.checkpoint.loading import load_encoder
from harness.checkpoint.placing import multiply_in_float32
from harness.checkpoint.resolve import Checkpoint
from harness.checkpoint.tokenizer import Tokenizer
from harness.data.load import DataLocation
from harness.errors import DataError, UsageError
from harness.inference.batching import pad_id
from harness.io.environment import harness_version, libraries, processor
from harness.submissions.submission import own_contamination
from harness.training.batches import Steps, TaskData
from harness.training.config import TrainingConfig, process, resolved_settings
from harness.training.contamination import measure
from harness.training.curve import LossLog
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
    """Train, and return the folder of the finished checkpoint.

    Where the same training has finished there already, nothing is trained. One that was stopped
    resumes after the last step that it saved.

    Raises:
        UsageError: the folder holds another training or other files, a library is not installed,
            or there are fewer steps than tasks.
        RefusedError: weights of the base are missing, or it cannot have the head.
        DataError: the data does not have the form that its card declares, no example is left, or
            the submission in the base's folder cannot be read.
        IncompleteError: data, space or memory is missing, or a loss is not finite.
    """
    check_target(config.out)
    rank, world = process()
    if config.dev is not None and world > 1:
        raise UsageError("a step is chosen by one process: start one")
    _check_installed(adapters=config.lora is not None)
    if config.base.local:
        own_contamination(config.base.folder)  # read when all is trained: it must be readable
    sets = {card.name: read(card, location, config.max_examples) for card in config.cards}
    settings = resolved_settings(config, sets)
    if not config.fresh and finished(config.out, settings):
        return config.out
    with nullcontext() if rank else alone(config.out):
        return _train(config, sets, settings, location, reporter or Silent())


def _train(
    config: TrainingConfig,
    sets: Mapping[str, TrainingSet],
    settings: Mapping[str, Any],
    location: DataLocation,
    reporter: TrainingReporter,
) -> Path:
    work, (rank, world) = config.out / WORK, process()
    if rank == 0:
        begin(config.out, settings, fresh=config.fresh)
    if world > 1:  # The others wait here until the first process has prepared the folder.
        from accelerate import PartialState

        PartialState(cpu=config.device == "cpu").wait_for_everyone()
    multiply_in_float32(config.device)
    with _random_states_restored():
        encoder, tokenizer = load_encoder(config.base, dtype="float32", device="cpu")
        tasks = _features(config, sets, encoder, tokenizer)
        notes: dict[str, list[str]] = {}
        model = make_model(
            encoder,
            [
                HeadSpec(
                    card.name, card.kind, sets[card.name].labels, card.symmetric, config.keep_head
                )
                for card in config.cards
            ],
            _base_tensors(config.base),
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
        loss_log = LossLog(Path(os.devnull) if rank else work / "loss.tsv")
        run_steps(
            model,
            steps,
            Settings(recipe, config.seed, config.dtype == "bfloat16", config.device, selection),
            work,
            loss_log,
            reporter,
        )
        if rank == 0:
            from importlib.metadata import version

            model.to("cpu").eval()
            if wrapped is not None:
                merge(wrapped)
            record = TrainingRecord(
                base=config.base,
                cards=config.cards,
                sets=_data_record(config, sets, tasks, notes),
                settings=settings,
                overlap=measure(sets.values(), location, reporter.say),
                steps=len(steps),
                command=config.command,
                selection=selection.record() if selection else None,
                versions={
                    "xharness": harness_version(),
                    "libraries": {**libraries(), "accelerate": version("accelerate")},
                    "processor": processor(),
                },
            )
            write(record, model, loss_log, work, config.out)
    return config.out


def _check_installed(*, adapters: bool) -> None:
    needed = {"accelerate": "training", **({"peft": "training adapters"} if adapters else {})}
    for name, what in needed.items():
        if find_spec(name) is None:
            raise UsageError(f"{what} needs {name}: pip install 'xharness[train]'")


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


def _data_record(
    config: TrainingConfig,
    sets: Mapping[str, TrainingSet],
    tasks: Mapping[str, TaskData],
    notes: Mapping[str, list[str]],
) -> dict[str, dict[str, Any]]:
    """Return what the record says of the data of each task. ``notes``: task → notes on its head."""
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


def _base_tensors(base: Checkpoint) -> dict[str, Any]:
    """Map the tensors of the base into memory, by name; heads and poolers are looked up in them."""
    from safetensors.torch import load_file

    from harness.checkpoint.vet import vet

    tensors: dict[str, Any] = {}
    for path in vet(base.weights_folder).files:
        tensors.update(load_file(path))
    return tensors


@contextmanager
def _random_states_restored() -> Iterator[None]:
    """Give the caller's random states back: training seeds torch, numpy and Python."""
    import numpy as np
    import torch

    python, arrays = random.getstate(), np.random.get_state()
    try:
        with torch.random.fork_rng(devices=[]):
            yield
    finally:
        random.setstate(python)
        np.random.set_state(arrays)
