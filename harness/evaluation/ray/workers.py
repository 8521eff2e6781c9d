"""Workers: what one machine, or one GPU of it, does of a plan's shards."""

from __future__ import annotations

import platform
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np

from harness.errors import HarnessError, one_line
from harness.evaluation.ray.shards import Encode, Measure, Outcome, Setting, Shard, Tune
from harness.evaluation.run import LazyReader, make_backbone, make_encoder, reads, run_unit
from harness.inference.batching import is_out_of_memory
from harness.inference.encoder import Encoder
from harness.io.environment import harness_version, libraries
from harness.kinds import KINDS
from harness.training.progress import Silent
from harness.training.target import tuned


def software() -> dict[str, Any]:
    """What all machines of a run must have alike."""
    return {"xharness": harness_version()["version"], **libraries()}


class BrokenDevice(Exception):
    """A device that gives this process nothing but errors from now on."""


class Worker:
    """Does shards one after another; keeps the model and the task that it used last.

    ``threads``: of a forward pass. ``marks``: files of the command's own machine that lie in the
    folders that all machines share; a machine that does not see them must not write there.
    """

    def __init__(self, threads: int, marks: Sequence[Path]) -> None:
        import torch

        torch.set_num_threads(threads)
        self._marks = marks
        self._setting: Setting | None = None
        self._model: tuple[Any, Any] = (None, None)
        self._encoder: tuple[Any, Any] = (None, None)
        self._prepared: tuple[Any, Any] = (None, None)
        self._counted = np.zeros(2, dtype=np.int64)

    def hello(self) -> tuple[str, dict[str, Any]]:
        """The machine's name, and the software that its numbers would be measured with."""
        return platform.node(), software()

    def run(self, key: str, held: Sequence[Any], shard: Shard, again: bool) -> Outcome:
        """Do a shard. ``held``: the reference to its setting, fetched when ``key`` is another."""
        if held and (self._setting is None or self._setting.key != key):
            import ray

            self._setting = None
            self._setting = ray.get(held[0])
        setting = self._setting if held else None
        if unseen := [
            path for path in (*self._marks, *_wanted(setting, shard)) if not path.exists()
        ]:
            folder = unseen[0].parent if unseen[0] in self._marks else unseen[0]
            return Outcome(blind=f"the node {platform.node()} does not see {folder}")
        return self.do(setting, shard, again=again)

    def do(self, setting: Setting | None, shard: Shard, *, again: bool = False) -> Outcome:
        """Do a shard; what a user is meant to read of a failure is in the outcome.

        ``again``: another machine began it: what that one kept is looked for.

        Raises:
            BrokenDevice: this process can do no more; the shard is another's.
        """
        self._counted[:] = 0
        checkpoint = None
        try:
            if isinstance(shard, Tune):
                # A training needs the device's room more than a model that may be used again.
                self._model = self._encoder = self._prepared = (None, None)
                checkpoint = tuned(shard.tuning, shard.where, Silent())
            else:
                assert setting is not None
                if isinstance(shard, Encode):
                    encoder = self._task_encoder(setting, ("encode", again and uuid4().hex))
                    encoder.keep(shard.texts, role=shard.role, lang=shard.lang, share=shard.share)
                else:
                    self._measure(setting, shard)
        except Exception as error:  # whatever it is, it is this shard's: the others go on
            if _breaks_the_device(error):
                raise BrokenDevice(_why(error)) from error
            return Outcome(failed=_why(error))
        texts, characters = (int(number) for number in self._counted)
        return Outcome(texts, characters, checkpoint)

    def _measure(self, setting: Setting, shard: Measure) -> None:
        request, task = setting.request, setting.task
        job = task.jobs[shard.job]
        if shard.unit in job.file(request.out).done():  # by a machine that was lost after it
            return
        if reads(task):
            run_unit(request, task, job, shard.unit, self._reader(setting), None, setting.made)
            return
        encoder = self._task_encoder(setting, ("measure",))
        key = (setting.key, shard.job)
        if self._prepared[0] != key:
            self._prepared = (None, None)  # the old pool goes before the new one comes
            prepare = KINDS[task.card.kind].prepare
            self._prepared = (key, prepare(job, task.loaded.examples, encoder))
        self._counted[:] = 0
        run_unit(request, task, job, shard.unit, encoder, self._prepared[1], setting.made)
        self._counted[:] = 0  # the texts were counted when they were encoded

    def _task_encoder(self, setting: Setting, purpose: tuple[object, ...]) -> Encoder:
        # To measure, a store is opened that has what all machines have written meanwhile.
        key = (setting.key, *purpose)
        if self._encoder[0] != key:
            self._encoder = (None, None)
            backbone = self._loaded(
                setting, lambda: make_backbone(setting.request, setting.checkpoint, [setting.task])
            )
            self._encoder = (
                key,
                make_encoder(setting.request, setting.task, backbone, setting.since, self._advance),
            )
        encoder: Encoder = self._encoder[1]
        return encoder

    def _reader(self, setting: Setting) -> LazyReader:
        reader: LazyReader = self._loaded(
            setting, lambda: LazyReader(setting.request, setting.checkpoint, self._advance)
        )
        return reader

    def _loaded(self, setting: Setting, make: Callable[[], Any]) -> Any:
        jobs = () if reads(setting.task) else setting.task.jobs
        key = (
            str(setting.checkpoint.folder),
            setting.checkpoint.revision,
            tuple(sorted({job.layer for job in jobs})),
        )
        if self._model[0] != key:
            self._model = self._prepared = self._encoder = (None, None)
            self._model = (key, make())
        return self._model[1]

    def _advance(self, texts: int, characters: int) -> None:
        self._counted += (texts, characters)


def _why(error: Exception) -> str:
    """Why a shard failed, in one line."""
    if isinstance(error, HarnessError):
        return str(error)
    if isinstance(error, OSError):
        return f"{error.filename or ''}: {error.strerror or error}"
    return one_line(f"{type(error).__name__}: {error}", 200).rstrip(": ")


def _breaks_the_device(error: Exception) -> bool:
    # CUDA's errors stay with the process: after an illegal access every later call gives it again.
    # Want of memory does not, nor does it always have a class of its own.
    cuda = type(error).__name__ == "AcceleratorError" or "CUDA error" in str(error)
    return cuda and not is_out_of_memory(error)


def _wanted(setting: Setting | None, shard: Shard) -> list[Path]:
    """The folders of checkpoints and data that a shard needs."""
    if isinstance(shard, Tune):
        wanted = [shard.tuning.checkpoint.folder, shard.tuning.checkpoint.base_folder]
        return [path for path in (*wanted, shard.where.data) if path is not None]
    checkpoint = setting.checkpoint if setting is not None else None
    wanted = [checkpoint.folder, checkpoint.base_folder] if checkpoint is not None else []
    return [path for path in wanted if path is not None]
