"""Chooses the step of a training that is kept: the one with the best score on a dev set.

The model is scored at equal distances in steps. The scores are kept in `selection.tsv`, and the
weights of the best step beside it. They stay until a later step is better and has been saved; so a
run that resumes from a saved step chooses the same step as one that was never stopped.
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.cards.catalogue import read_card
from harness.cards.target_recipes import Select
from harness.cards.task import TaskCard
from harness.checkpoint.tokenizer import Tokenizer
from harness.checkpoint.weights import WEIGHTS
from harness.data.examples import ItemSet
from harness.data.load import DataLocation, Download, fetch, load, planned_downloads
from harness.errors import DataError, IncompleteError, one_line
from harness.inference.labeller import Labeller
from harness.kinds import KINDS
from harness.kinds.kind import UnitSettings
from harness.training.saves import logged

SCORES = "selection.tsv"
BEST = "best-"  # The folder with the best weights is called this, followed by the step's number.


@dataclass(frozen=True)
class DevSet:
    """The data that steps are scored on. ``files``: name → sha256."""

    select: Select
    card: TaskCard
    examples: ItemSet
    files: Mapping[str, str]

    @property
    def settings(self) -> dict[str, Any]:
        """Everything that decides which step is chosen."""
        return {**self.select.model_dump(), "files": dict(self.files)}


def dev_files(select: Select, location: DataLocation) -> dict[str, str]:
    """Fetch the files of the dev set: name → sha256.

    Raises:
        IncompleteError: one cannot be had.
        DataError: one is not the official file.
    """
    fetched = fetch(read_card(select.task), select.split, (select.language,), location)
    for text in fetched.broken.values():
        raise DataError(text)
    if fetched.failures or not fetched.files:
        why = next(iter(fetched.failures.values()), "no files")
        raise IncompleteError(f"{select.task} {select.split} ({select.language}): {why}")
    return dict(fetched.digests)


def dev_downloads(select: Select, location: DataLocation) -> list[Download]:
    """Return which of these files would be downloaded; nothing is asked of the network."""
    if location.offline:
        return []
    return planned_downloads(read_card(select.task), select.split, (select.language,), location)


def read_dev(select: Select, location: DataLocation) -> DevSet:
    """Read the dev set. It raises IncompleteError or DataError as `load` does."""
    card, lang = read_card(select.task), select.language
    files = dev_files(select, location)
    examples: Any = load(card, select.split, (lang,), location).examples
    return DevSet(select, card, examples[lang], files)


def store(model: Any, folder: Path) -> None:
    """Write the weights of a model that is trained into a folder."""
    from safetensors.torch import save_model

    save_model(model, str(folder / WEIGHTS))


def restore(model: Any, folder: Path) -> None:
    """Read the weights that `store` wrote into the model."""
    from safetensors.torch import load_model

    load_model(model, str(folder / WEIGHTS))


def _row(fields: Sequence[str]) -> tuple[int, float]:
    step, score = fields
    if not 0 <= float(score) <= 1:
        raise ValueError("no score")
    return int(step), float(score)


class Selection:
    """The scores of a run so far, kept in ``folder``; the head of ``task`` is scored."""

    def __init__(
        self, dev: DevSet, task: str, tokenizer: Tokenizer, *, folder: Path, device: str
    ) -> None:
        self.dev, self.task, self.tokenizer = dev, task, tokenizer
        self.folder, self.device = folder, device

    def resume_after(self, step: int) -> None:
        """Forget the scores of later steps. DataError where a line is damaged."""
        lines = [f"{number}\t{score!r}\n" for number, score in self.scores() if number <= step]
        (self.folder / SCORES).write_text("step\tscore\n" + "".join(lines), encoding="utf-8")
        self.sweep()

    def catch_up(self, model: Any, step: int, total: int) -> None:
        """Score the step that the run goes on after, where its line was torn or lost."""
        if step and step not in dict(self.scores()):
            self.consider(model.to(self.device), step, total)

    def consider(self, model: Any, step: int, total: int) -> None:
        """Score the model where a score is due, and keep its weights if it is the best so far.

        Raises:
            IncompleteError: there is no space for the weights.
        """
        if step % self.dev.select.every and step != total:
            return
        score, before = self._score(model), self.scores()
        if all(score > earlier for _, earlier in before):
            place = self.folder / f"{BEST}{step}"
            new = place.with_suffix(".new")
            try:
                new.mkdir()
                store(model, new)
                new.replace(place)
            except Exception as error:  # safetensors has an error of its own for a full disk.
                raise IncompleteError(
                    f"the best step cannot be kept in {self.folder} ({one_line(error, 160)}): free "
                    "space and run the same command again"
                ) from error
        with (self.folder / SCORES).open("a", encoding="utf-8") as file:
            file.write(f"{step}\t{score!r}\n")

    def sweep(self) -> None:
        """Remove all weights but the best, once no run can resume from an earlier step."""
        best = f"{BEST}{self.best[0]}" if self.scores() else ""
        for path in self.folder.glob(f"{BEST}*"):
            if path.name != best:
                shutil.rmtree(path)

    def restore_best(self, model: Any) -> None:
        """Give the model the weights of the best step."""
        restore(model, self.folder / f"{BEST}{self.best[0]}")

    @property
    def best(self) -> tuple[int, float]:
        """The best step and its score; the first of equal ones."""
        return max(self.scores(), key=lambda row: (row[1], -row[0]))

    def scores(self) -> list[tuple[int, float]]:
        """Return every (step, score) so far. DataError where a line is damaged."""
        return logged(self.folder / SCORES, _row)

    def record(self) -> dict[str, Any]:
        """Return the entry in the record of the training."""
        step, score = self.best
        scores = [list(row) for row in self.scores()]
        return {**self.dev.settings, "step": step, "score": score, "scores": scores}

    def _score(self, model: Any) -> float:
        """Score the dev set as an evaluation does, in [0, 1]; no random number is drawn."""
        select, card = self.dev.select, self.dev.card
        kind, module = KINDS[card.kind], model.tasks[self.task]
        text_config = module.config.get_text_config()
        configured = text_config.pad_token_id
        module.eval()
        labeller = Labeller(module, self.tokenizer, kind.needs, device=self.device)
        labeller.probe()
        settings = UnitSettings(split=select.split, labels=tuple(card.labels))
        examples = {select.language: self.dev.examples}
        rows = kind.run(settings, examples, select.language, labeller, None).rows
        module.train()
        # The labeller has set its tokenizer's. The configuration is saved with the weights, and
        # RoBERTa counts positions from this id.
        text_config.pad_token_id = configured
        (score,) = kind.fold(rows, [select.metric], select.split)
        return score.value if math.isfinite(score.value) else 0.0
