"""Makes the tensors of one step from rows of features, padded to the longest sequence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from harness.checkpoint.tokenizer import Tokenizer
from harness.inference.sequences import padded, places
from harness.training.data.features import IGNORED, Codec, Features
from harness.training.schedule import Step

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class TaskData:
    """The features of a task, and how batches are made of them.

    ``mask``: the share of tokens that masked language modelling predicts.
    """

    kind: str
    features: Features
    codec: Codec
    mask: float


class Steps:
    """The steps of a run as a data set of torch: item ``i`` is ``i``; ``collate`` makes the batch.

    The process ``rank`` of ``world`` processes takes its part of every batch. Each takes the whole
    batch where it has fewer rows than there are processes.
    """

    def __init__(
        self,
        schedule: Sequence[Step],
        tasks: Mapping[str, TaskData],
        *,
        seed: int,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        self.schedule = schedule
        self.tasks = tasks
        self.seed = seed
        self.rank, self.world = rank, world

    def __len__(self) -> int:
        return len(self.schedule)

    def __getitem__(self, number: int) -> int:
        return number

    def collate(self, numbers: Sequence[int]) -> dict[str, Any]:
        """Return the batch of one step: the name of its task, and its tensors on the CPU."""
        (number,) = numbers
        step = self.schedule[number]
        # Every process gets the same number of rows, because the losses of processes are averaged.
        # Where all have the same rows, the average is the loss of one process alone.
        rank, world = (self.rank, self.world) if len(step.rows) >= self.world else (0, 1)
        mine = step.rows[: len(step.rows) // world * world][rank::world]
        data = self.tasks[step.task]
        generator = np.random.default_rng([self.seed, 3, number, rank])
        inputs: dict[str, Any] = dict(_tensors(data, mine, generator))
        if data.kind == "dual_encoder":
            inputs["whole"] = world == 1
        return {"task": step.task, "inputs": inputs}


def _tensors(
    data: TaskData, rows: npt.NDArray[np.int64], generator: np.random.Generator
) -> dict[str, torch.Tensor]:
    import torch

    features, codec = data.features, data.codec
    arrays: dict[str, npt.NDArray[np.int64]] = {}
    sides = ("query_", "text_") if data.kind == "dual_encoder" else ("",)
    for side, sequences in zip(sides, features.sides, strict=True):
        which = (rows[:, None] * features.per_row + np.arange(features.per_row)).reshape(-1)
        ids, types, mask = padded(sequences, which, codec.pad)
        if data.kind == "mlm":
            ids, arrays["labels"] = masked(ids, mask, codec.tokenizer, data.mask, generator)
        arrays[f"{side}input_ids"], arrays[f"{side}attention_mask"] = ids, mask
        if codec.typed:
            arrays[f"{side}token_type_ids"] = types
    if data.kind == "multiple_choice":
        arrays = {
            name: array.reshape(len(rows), features.per_row, -1) for name, array in arrays.items()
        }
    for name, labels in features.labels.items():
        if data.kind == "tagging":
            source, attended = places(features.sides[0], rows)
            labels = np.where(attended, labels[source], IGNORED)
        else:
            labels = labels[rows]
        arrays[name] = labels.astype(np.int64)
    return {name: torch.from_numpy(np.ascontiguousarray(array)) for name, array in arrays.items()}


def masked(
    ids: npt.NDArray[np.int64],
    mask: npt.NDArray[np.int64],
    tokenizer: Tokenizer,
    share: float,
    generator: np.random.Generator,
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return input ids and labels of masked language modelling (Devlin et al. 2019).

    ``ids``, ``mask``: int64[rows, tokens]; so are both results. A ``share`` of the tokens that are
    not special is predicted. Of these 80 % are replaced by the mask token and 10 % by a random
    one; 10 % stay. At least one token of a batch is predicted.
    """
    special = np.isin(ids, sorted(tokenizer.special_ids)) | (mask == 0)
    chosen = (generator.random(ids.shape) < share) & ~special
    if not chosen.any() and not special.all():
        chosen.flat[generator.choice(np.flatnonzero(~special))] = True
    labels = np.where(chosen, ids, IGNORED)
    draw = generator.random(ids.shape)
    words = generator.integers(0, len(tokenizer), ids.shape)
    mask_id = tokenizer.special["mask_token"]
    changed = np.where(draw < 0.8, mask_id, np.where(draw < 0.9, words, ids))
    return np.where(chosen, changed, ids), labels
