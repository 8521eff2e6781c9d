"""Does the shards of a plan that one machine, or one GPU of it, is handed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import uuid4

import numpy as np

from harness.errors import HarnessError, is_out_of_memory, one_line
from harness.evaluation.lazy import LazyModel
from harness.evaluation.run import (
    Prepared,
    TaskContext,
    make_backbone,
    make_encoder,
    prepare,
    run_unit,
)
from harness.evaluation.shards import Encode, Measure, Shard, ShardResult, Tune
from harness.inference.encoder import Encoder
from harness.training.progress import Silent
from harness.training.target import tuned


class BrokenDevice(Exception):
    """A device that gives this process nothing but errors from now on."""


class Worker:
    """Does shards one after another; keeps the model and the task that it used last.

    ``threads``: of a forward pass.
    """

    def __init__(self, threads: int) -> None:
        import torch

        torch.set_num_threads(threads)
        self._model: tuple[Any, Any] = (None, None)
        self._encoder: tuple[Any, Any] = (None, None)
        self._prepared: tuple[Any, Any] = (None, None)
        self._counted = np.zeros(2, dtype=np.int64)

    def do(self, context: TaskContext | None, shard: Shard, *, again: bool = False) -> ShardResult:
        """Do a shard; what a user is meant to read of a failure is in the result.

        ``again``: another machine began it: what that one kept is looked for.

        Raises:
            BrokenDevice: this process can do no more; the shard is another's.
        """
        self._counted[:] = 0
        checkpoint = None
        try:
            if isinstance(shard, Tune):
                # A training needs the memory of the device more than a model that may be used
                # again.
                self._model = self._encoder = self._prepared = (None, None)
                checkpoint = tuned(shard.tuning, shard.location, Silent())
            else:
                assert context is not None
                if isinstance(shard, Encode):
                    encoder = self._task_encoder(context, ("encode", again and uuid4().hex))
                    encoder.keep(shard.texts, role=shard.role, lang=shard.lang, share=shard.share)
                else:
                    self._measure(context, shard)
        except Exception as error:  # whatever it is, it is this shard's: the others go on
            if _breaks_the_device(error):
                raise BrokenDevice(_why(error)) from error
            code = error.exit_code if isinstance(error, HarnessError) else ShardResult.code
            return ShardResult(failed=_why(error), code=code)
        texts, characters = (int(number) for number in self._counted)
        return ShardResult(texts, characters, checkpoint)

    def _measure(self, context: TaskContext, shard: Measure) -> None:
        planned = context.task.jobs[shard.job]
        if shard.unit in planned.file.done():  # by a machine that was lost after it
            return
        if context.task.reads:
            run_unit(context, planned, shard.unit, Prepared(self._reader(context), None))
            return
        encoder = self._task_encoder(context, ("measure",))
        key = (context.key, shard.job)
        if self._prepared[0] != key:
            self._prepared = (None, None)  # the old pool goes before the new one comes
            self._prepared = (key, prepare(context, planned, encoder))
        self._counted[:] = 0
        run_unit(context, planned, shard.unit, self._prepared[1])
        self._counted[:] = 0  # the texts were counted when they were encoded

    def _task_encoder(self, context: TaskContext, purpose: tuple[object, ...]) -> Encoder:
        # To measure, a store is opened that has what all machines have written meanwhile.
        key = (context.key, *purpose)
        if self._encoder[0] != key:
            self._encoder = (None, None)
            backbone = self._loaded(context, lambda: make_backbone([context]))
            self._encoder = (key, make_encoder(context, backbone, self._advance))
        encoder: Encoder = self._encoder[1]
        return encoder

    def _reader(self, context: TaskContext) -> LazyModel:
        reader: LazyModel = self._loaded(context, lambda: LazyModel(context, self._advance))
        return reader

    def _loaded(self, context: TaskContext, make: Callable[[], Any]) -> Any:
        jobs = () if context.task.reads else context.task.jobs
        key = (
            str(context.measured.folder),
            context.measured.revision,
            context.task.head,
            tuple(sorted({planned.job.layer for planned in jobs})),
        )
        if self._model[0] != key:
            self._model = self._prepared = self._encoder = (None, None)
            self._model = (key, make())
        return self._model[1]

    def _advance(self, texts: int, characters: int) -> None:
        self._counted += (texts, characters)


def _why(error: Exception) -> str:
    """Return why a shard failed, in one line."""
    if isinstance(error, HarnessError):
        return str(error)
    if isinstance(error, OSError):
        return f"{error.filename or ''}: {error.strerror or error}"
    return one_line(f"{type(error).__name__}: {error}", 200).rstrip(": ")


def _breaks_the_device(error: Exception) -> bool:
    # CUDA's errors stay with the process: after an illegal access every later call raises it again.
    # Running out of memory does not stay, and it has no class of its own everywhere.
    cuda = type(error).__name__ == "AcceleratorError" or "CUDA error" in str(error)
    return cuda and not is_out_of_memory(error)
