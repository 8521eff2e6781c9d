"""Writes the result of a training: an ordinary checkpoint, with a record of how it was made."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from harness.cards.training import IntermediateCard
from harness.checkpoint.files import TOKENIZER_FILES
from harness.checkpoint.guard import quiet
from harness.checkpoint.loading import load_encoder
from harness.checkpoint.resolve import Checkpoint, resolve
from harness.checkpoint.skeleton import is_part
from harness.checkpoint.weights import WEIGHTS
from harness.errors import HarnessError, IncompleteError, RefusedError, one_line
from harness.submissions.submission import Submission, overlap_words, own_contamination
from harness.submissions.submission_yaml import as_yaml
from harness.training.contamination import Measured, as_record, shares
from harness.training.curve import LossLog, svg

RECORD = "training.json"  # This file is written last: a folder that has it is finished.
FINAL = "final"  # The files of the checkpoint are written into this folder before they are moved.


@dataclass(frozen=True)
class TrainingRecord:
    """The record of a finished training.

    ``sets``: task → languages, files, number of rows and more. ``settings``: everything that
    decided the weights. ``overlap``: how many examples of the targets occur in the training data
    of all tasks together. ``selection``: the step that was kept, and the data that it was chosen
    on; None where the last step was kept.
    """

    base: Checkpoint
    cards: Sequence[IntermediateCard]
    sets: Mapping[str, Mapping[str, Any]]
    settings: Mapping[str, Any]
    overlap: Measured
    steps: int
    command: str
    versions: Mapping[str, Any]
    selection: Mapping[str, Any] | None = None


def write(record: TrainingRecord, model: Any, loss_log: LossLog, work: Path, out: Path) -> None:
    """Save the checkpoint and its record in the folder ``work``, then move the files to ``out``.

    Raises:
        IncompleteError: there is no space; the last step is kept, and the same command resumes
            after it.
        RefusedError: the saved weights do not load as they were trained.
    """
    final = work / FINAL
    shutil.rmtree(final, ignore_errors=True)
    try:
        _write_files(record, model, loss_log, final, out.resolve().name)
    except (HarnessError, KeyboardInterrupt):
        raise
    except Exception as error:  # safetensors has an error of its own for a full disk.
        raise IncompleteError(
            f"the checkpoint cannot be written to {final} ({one_line(error, 160)}): free space and "
            "run the same command again"
        ) from error
    _check_saved(final, model.encoder)
    _move(final, out)
    shutil.rmtree(work)


def _write_files(
    record: TrainingRecord, model: Any, loss_log: LossLog, final: Path, name: str
) -> None:
    final.mkdir(parents=True)
    save_model(_model_to_save(record.cards, model), final)
    # The tokenizer's files are copied: saved anew, they would give other token ids.
    for file in TOKENIZER_FILES:
        if (record.base.tokenizer_folder / file).is_file():
            shutil.copyfile(record.base.tokenizer_folder / file, final / file)
    retrieval = all(card.kind == "dual_encoder" for card in record.cards)
    if retrieval:
        longest = max(task["recipe"]["max_length"] for task in record.settings["tasks"].values())
        _sentence_transformer(final, model.encoder.config.hidden_size, longest)
    (final / "loss.tsv").write_bytes(loss_log.path.read_bytes())
    (final / "loss.svg").write_text(svg(loss_log.rows()), encoding="utf-8")
    revision = resolve(str(final), offline=True).revision
    submission = as_yaml(_submission(record, name, revision))
    (final / "submission.yaml").write_text(submission, encoding="utf-8")
    (final / "README.md").write_text(_model_card(record, name, retrieval), encoding="utf-8")
    names = sorted(path.name for path in final.iterdir())
    _write_json(final / RECORD, {**_record(record, revision), "made": names})


def read_record(path: Path) -> dict[str, Any]:
    """A record or settings file of a training; empty where it is not there, or damaged."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def remove(out: Path, work: Path, *, keep: str) -> None:
    """Remove the files that an earlier training left in ``out`` and ``work``, and no other files.

    ``keep``: the name of a file in ``work`` that stays.
    """
    names: set[str] = set()
    for record in (out / RECORD, work / FINAL / RECORD):
        names |= set(map(str, read_record(record).get("made", ())))
    found = [out / Path(name).name for name in (RECORD, *sorted(names))]
    for path in [*found, *(path for path in work.glob("*") if path.name != keep)]:
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def _check_saved(folder: Path, encoder: Any) -> None:
    """Raise RefusedError unless every value in the folder loads as it was trained."""
    import torch

    loaded, _ = load_encoder(resolve(str(folder), offline=True), dtype="float32", device="cpu")
    trained = dict(encoder.named_parameters())
    for name, parameter in loaded.named_parameters():
        if not torch.equal(parameter, trained[name]):
            raise RefusedError(f"{name} does not load from {folder} as it was trained")


def _model_to_save(cards: Sequence[IntermediateCard], model: Any) -> Any:
    """Return the encoder with the head that is saved with it, or the encoder alone.

    The head of a single task is saved. Of several tasks the first span head is, since a checkpoint
    has one head and readers need theirs.
    """
    spans = [card for card in cards if card.kind == "span"]
    chosen = cards[0] if len(cards) == 1 else spans[0] if spans else None
    if chosen is None or chosen.kind == "dual_encoder":
        return model.encoder
    return model.tasks[chosen.name]


def save_model(model: Any, folder: Path) -> None:
    """Save an encoder, with or without a head, as transformers or `linear_head` do."""
    from harness.checkpoint.linear_head import LinearHead, save

    with quiet():
        if isinstance(model, LinearHead):
            save(model.encoder, folder, model)
        elif is_part(model):
            save(model, folder)
        else:
            model.save_pretrained(folder, max_shard_size="1TB")


def _sentence_transformer(folder: Path, width: int, max_length: int) -> None:
    """Write the files by which sentence-transformers pools by the mean and normalises."""
    kind = "sentence_transformers.models."
    modules = [("", "Transformer"), ("1_Pooling", "Pooling"), ("2_Normalize", "Normalize")]
    _write_json(
        folder / "modules.json",
        [
            {"idx": number, "name": str(number), "path": path, "type": kind + name}
            for number, (path, name) in enumerate(modules)
        ],
    )
    (folder / "1_Pooling").mkdir()
    (folder / "2_Normalize").mkdir()
    _write_json(
        folder / "1_Pooling" / "config.json",
        {"word_embedding_dimension": width, "pooling_mode_mean_tokens": True},
    )
    _write_json(folder / "2_Normalize" / "config.json", {})
    _write_json(
        folder / "sentence_bert_config.json",
        {"max_seq_length": max_length, "do_lower_case": False},
    )
    _write_json(
        folder / "config_sentence_transformers.json",
        {"prompts": {}, "default_prompt_name": None, "similarity_fn_name": "cosine"},
    )


def _record(record: TrainingRecord, revision: str) -> dict[str, Any]:
    return {
        "revision": revision,
        "base": {"id": record.base.id, "revision": record.base.revision},
        "tasks": record.sets,
        "overlap": as_record(record.overlap),
        "settings": record.settings,
        "steps": record.steps,
        **({"selection": record.selection} if record.selection else {}),
        "command": record.command,
        "loss": "loss.tsv",
        "versions": record.versions,
    }


def recipe_name(record: TrainingRecord) -> str:
    """Return a name of the training recipe, which trainings that differ in the seed share."""
    names = "+".join(card.name for card in record.cards)
    return f"{names[:60]}-{_shared(record, ('seed',))}"


def design_name(record: TrainingRecord) -> str | None:
    """Return a name that trainings share which differ only in the languages of their data.

    It is None for several tasks, and where the card names no design.
    """
    card = record.cards[0]
    if len(record.cards) > 1 or card.design is None:
        return None
    return f"{card.design}-{_shared(record, ('seed', 'intermediate', 'tasks'))}"


def _shared(record: TrainingRecord, without: Sequence[str]) -> str:
    """Return a short hash over the settings ``without`` some of them."""
    shared = {key: value for key, value in record.settings.items() if key not in without}
    return sha256(json.dumps(shared, sort_keys=True).encode()).hexdigest()[:8]


def _submission(record: TrainingRecord, name: str, revision: str) -> Submission:
    """Make the submission of the finished checkpoint, which is named after its folder."""
    cards = record.cards
    model, base = (re.sub(r"[^\w./-]", "-", one) for one in (name, record.base.id))
    return Submission(
        model=model,
        revision=revision,
        base=base,
        base_revision=record.base.revision,
        objective=cards[0].objective if len(cards) == 1 else "multitask",
        languages=sorted({lang for part in record.sets.values() for lang in part["languages"]}),
        datasets=[card.title for card in cards],
        contaminated=_contaminated(record),
        overlap=shares(record.overlap),
        stand_in=any(card.stand_in for card in cards),
        recipe=recipe_name(record),
        seed=record.settings["seed"],
        matched=design_name(record),
    )


def _contaminated(record: TrainingRecord) -> list[str]:
    """Return the target data that the checkpoint has seen: in this training, or before it, as the
    folder of its base says.
    """
    before = own_contamination(record.base.folder) if record.base.local else frozenset[str]()
    return sorted(before.union(*(card.contaminates for card in record.cards)))


def _model_card(record: TrainingRecord, name: str, retrieval: bool) -> str:
    trained = "\n".join(_task_line(card, record.sets[card.name]) for card in record.cards)
    languages = sorted({lang for part in record.sets.values() for lang in part["languages"]})
    recipe = "\n".join(f"| {key} | {value} |" for key, value in _shown(record.settings))
    use = (
        "Mean of the last hidden state over attended tokens, L2-normalised, cosine: as the "
        "sentence-transformers files beside the weights declare.\n"
        if retrieval
        else ""
    )
    seen = ", ".join(_contaminated(record)) or "none"
    overlap = overlap_words(shares(record.overlap))
    base = record.base.id if not record.base.local else ""
    front = "\n".join(
        [
            "---",
            *([f"base_model: {base}"] if base else []),
            f"language: [{', '.join(repr(lang) for lang in languages)}]",
            "library_name: transformers",
            "---",
        ]
    )
    return f"""{front}
# {name}

Intermediate-task training of {record.base.label}.

{trained}

Target tasks whose data it was trained on, as its cards declare: {seen}.

Examples of target tasks that occur in its data, as measured: {overlap}.
{use}
## Recipe

| setting | value |
|---|---|
{recipe}
| steps | {record.steps} |

```sh
{record.command}
```

xharness {record.versions["xharness"]["version"]}. `{RECORD}` has the checksums of the data, the
versions of the libraries, the kind of processor (on another the weights differ a little) and
everything else that decided these weights; `loss.tsv` the loss of every step.

![Training loss](loss.svg)
"""


def _shown(settings: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield name and value of the settings that have one; an entry for each task that differs."""
    recipes = {name: task["recipe"] for name, task in settings["tasks"].items()}
    for key, value in settings.items():
        own = {name: str(recipe[key]) for name, recipe in recipes.items() if key in recipe}
        if key == "lora" and value is not None:
            layers = value["layers"]
            where = "all layers" if layers is None else f"layers {layers[0]} to {layers[1]}"
            yield key, f"{where}, rank {value['rank']}, alpha {value['alpha']}"
        elif len(set(own.values())) > 1:
            yield from ((f"{key} ({name})", one) for name, one in own.items())
        elif key != "tasks" and value is not None:
            yield key, ", ".join(value) if key == "intermediate" else str(value)


def _task_line(card: IntermediateCard, part: Mapping[str, Any]) -> str:
    languages = ", ".join(f"{lang} {count:,}" for lang, count in part["languages"].items())
    return (
        f"- **{card.title}** (`{card.name}`, {card.objective}): {part['examples']:,} examples"
        f" ({languages}). {card.licence}. {card.citation}"
    )


def _move(final: Path, out: Path) -> None:
    """Move the files to ``out``, the weights and the record last.

    A folder without its record is not finished, and one without its weights is no checkpoint.
    """
    last = (WEIGHTS, RECORD)
    names = sorted(path.name for path in final.iterdir() if path.name not in last)
    for name in (*names, *(name for name in last if (final / name).exists())):
        target = out / name
        if target.is_dir():
            shutil.rmtree(target)
        (final / name).replace(target)


def _write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
