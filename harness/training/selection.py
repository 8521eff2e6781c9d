"""Which step of a training is kept: the best one on a dev set, scored every so many steps.

The scores lie in `selection.tsv`, and the weights of the best step beside it until a later one is
better and saved, so that a run that goes on from a saved step chooses what an undisturbed one does.
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Mapping
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
from harness.errors import IncompleteError, one_line
from harness.inference.labeller import Labeller
from harness.kinds import KINDS
from harness.kinds.kind import UnitSettings

SCORES = "selection.tsv"
BEST = "best-"  # and the step: a folder with its weights


@dataclass(frozen=True)
class DevSet:
    """What steps are scored on. ``files``: name → sha256."""

    select: Select
    card: TaskCard
    examples: ItemSet
    files: Mapping[str, str]

    @property
    def settings(self) -> dict[str, Any]:
        """What decides the chosen step."""
        return {**self.select.model_dump(), "files": dict(self.files)}


def dev_files(select: Select, location: DataLocation) -> dict[str, str]:
    """Name → sha256 of the dev set's files. IncompleteError where they cannot be had."""
    fetched = fetch(read_card(select.task), select.split, (select.language,), location)
    if fetched.failures or not fetched.files:
        why = next(iter(fetched.failures.values()), "no files")
        raise IncompleteError(f"{select.task} {select.split} ({select.language}): {why}")
    return dict(fetched.digests)


def dev_downloads(select: Select, location: DataLocation) -> list[Download]:
    """What of them would have to be downloaded; no connection is tried."""
    if location.offline:
        return []
    return planned_downloads(read_card(select.task), select.split, (select.language,), location)


def read_dev(select: Select, location: DataLocation) -> DevSet:
    """The dev set. Raises IncompleteError, or DataError, as `load` does."""
    card, lang = read_card(select.task), select.language
    files = dev_files(select, location)
    examples: Any = load(card, select.split, (lang,), location).examples
    return DevSet(select, card, examples[lang], files)


def store(model: Any, folder: Path) -> None:
    """The weights of a model that is trained, into a folder."""
    from safetensors.torch import save_model

    save_model(model, str(folder / WEIGHTS))


def restore(model: Any, folder: Path) -> None:
    """Take them from there."""
    from safetensors.torch import load_model

    load_model(model, str(folder / WEIGHTS))


class Selection:
    """The scores of a run so far, in ``folder``. ``task``: whose head is scored."""

    def __init__(
        self, dev: DevSet, task: str, tokenizer: Tokenizer, *, folder: Path, device: str
    ) -> None:
        self.dev, self.task, self.tokenizer = dev, task, tokenizer
        self.folder, self.device = folder, device

    def go_on_from(self, step: int) -> None:
        """Forget what came after a step."""
        kept = [row for row in self.scores() if row[0] <= step]
        lines = [f"{number}\t{score!r}\n" for number, score in kept]
        (self.folder / SCORES).write_text("step\tscore\n" + "".join(lines), encoding="utf-8")
        self._sweep()

    def look(self, model: Any, step: int, total: int) -> None:
        """Score a step that is to be, and keep its weights where it is better than all before.

        Raises:
            IncompleteError: there is no room for them.
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
            except Exception as error:  # safetensors has an error of its own for a full disk
                raise IncompleteError(
                    f"the best step cannot be kept in {self.folder} ({one_line(error, 160)}): free "
                    "space and run the same command again"
                ) from error
        with (self.folder / SCORES).open("a", encoding="utf-8") as file:
            file.write(f"{step}\t{score!r}\n")

    def saved(self) -> None:
        """A step is saved, so that no run goes on from an earlier one."""
        self._sweep()

    def take(self, model: Any) -> None:
        """Give the model the weights of the best step."""
        restore(model, self.folder / f"{BEST}{self.best[0]}")

    @property
    def best(self) -> tuple[int, float]:
        """The best step and its score; the first of equal ones."""
        return max(self.scores(), key=lambda row: (row[1], -row[0]))

    def scores(self) -> list[tuple[int, float]]:
        """(step, score) so far."""
        path = self.folder / SCORES
        lines = path.read_text(encoding="utf-8").splitlines()[1:] if path.is_file() else []
        return [(int(step), float(score)) for step, _, score in (x.partition("\t") for x in lines)]

    def record(self) -> dict[str, Any]:
        """What the record of the training says."""
        step, score = self.best
        scores = [list(row) for row in self.scores()]
        return {**self.dev.settings, "step": step, "score": score, "scores": scores}

    def _sweep(self) -> None:
        best = self.best[0] if self.scores() else None
        for path in self.folder.glob(f"{BEST}*"):
            if path.name != f"{BEST}{best}":
                shutil.rmtree(path)

    def _score(self, model: Any) -> float:
        """Of the dev set in [0, 1], as it would be measured; no random number is drawn."""
        select, card = self.dev.select, self.dev.card
        kind, module = KINDS[card.kind], model.tasks[self.task]
        module.eval()
        labeller = Labeller(module, self.tokenizer, kind.needs, device=self.device)
        labeller.probe()
        settings = UnitSettings(split=select.split, labels=tuple(card.labels))
        examples = {select.language: self.dev.examples}
        rows = kind.run(settings, examples, select.language, labeller, None).rows
        module.train()
        (score,) = kind.fold(rows, [select.metric], select.split)
        return score.value if math.isfinite(score.value) else 0.0
