"""Measures a sample of rows again, which finds rows that are forged and consistent."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import pyarrow as pa

from harness.cards.catalogue import card_of
from harness.errors import CheckFailed, DataError, NotFoundError, UsageError
from harness.evaluation.models import find_checkpoint, plan_model
from harness.evaluation.options import Options, make_request
from harness.kinds import KINDS
from harness.kinds.kind import Kind
from harness.results.checks import check
from harness.results.outcomes import OutcomeFile, find
from harness.results.provenance import Origin, digest_of, name_of, note, origin_of, read_origins

EQUAL = 0.99  # share of rows with the same ranks, answer or pair: rounding may swap neighbours
WITHIN = 0.001  # a tenth of a point, of every metric


class Replayed(NamedTuple):
    """A language measured again. ``equal``: share of rows alike; ``off``: of the worst metric."""

    path: Path
    unit: str
    equal: float
    off: float

    @property
    def holds(self) -> bool:
        """Whether the rows are what was measured."""
        return self.equal >= EQUAL and self.off <= WITHIN

    def __str__(self) -> str:
        return f"{self.path} {self.unit}: {'holds' if self.holds else 'differs'}, {self.found}"

    @property
    def found(self) -> str:
        """How much is alike, in words."""
        alike = f"{100 * self.equal:.1f} % of the rows are alike"
        return f"{alike}, metrics within {100 * self.off:.2f} points"


def replay(
    results: Path, number: int, *, models: Sequence[str] = (), options: Options
) -> Iterator[Replayed]:
    """Measure languages again, drawn from all rows by ``options.seed``; one after another.

    ``models``: only rows of these, which is the way to name the folder of a local checkpoint;
    without any, those of checkpoints on the Hub. Rows of tuned checkpoints, of objects and of cards
    outside the package are left out: what they were measured on is not at hand. The options say
    where data, cache and device are, and no more.

    Raises:
        UsageError: ``number`` is not positive. NotFoundError: there is nothing to measure again.
        CheckFailed: rows would be measured under another signature now. HarnessError: as of eval.
    """
    if number < 1:
        raise UsageError(f"--replay {number}: give a whole number from 1")
    request = make_request(options)
    names = {}
    for model in models:
        found = find_checkpoint(model, request.runtime.cache, offline=options.offline)
        names[found.revision] = model
    files = {file: meta for file, meta in _whole(results) if _source(meta, names, models)}
    pairs = [(file, unit) for file, meta in files.items() for unit in meta["languages"]]
    if not pairs:
        what = " or ".join(models) or "a checkpoint on the Hub: give --model for a folder"
        raise NotFoundError(f"{results} has no rows to measure again of {what}")
    drawn: dict[OutcomeFile, list[str]] = {}
    for file, unit in Random(options.seed).sample(pairs, min(number, len(pairs))):
        drawn.setdefault(file, []).append(unit)
    for file, units in drawn.items():
        meta = files[file]
        yield from _again(file, meta, units, _source(meta, names, models), options)


def _whole(results: Path) -> Iterator[tuple[OutcomeFile, dict[str, Any]]]:
    """Yield the files whose rows can be measured again; of damaged ones `verify` speaks."""
    for file in find(results) if results.is_dir() else []:
        try:
            meta = check(file)
        except DataError:
            continue
        if meta["track"] not in ("tuned", "custom") and not meta.get("card"):
            yield file, meta


def _source(meta: Mapping[str, Any], names: Mapping[str, str], models: Sequence[str]) -> str:
    """Return what names the checkpoint to `eval`; empty where nothing does."""
    if models or meta["revision"].startswith("local:"):
        return names.get(meta["revision"], "")
    return f"{meta['model']}@{meta['revision']}"


def _again(
    file: OutcomeFile, meta: Mapping[str, Any], units: Sequence[str], model: str, options: Options
) -> Iterator[Replayed]:
    from harness.evaluation.engines import local
    from harness.evaluation.reporting import Silent

    resolved = meta["resolved"]
    prompts = resolved.get("prompts") or {}
    with TemporaryDirectory() as out:
        asked = replace(
            options, tasks=[meta["task"]], suite=None, languages=units, split=meta["split"],
            protocol="native" if meta["track"] == "native" else "standard",
            pooling=resolved.get("pooling"), dtype=meta["dtype"], limit=meta["limit"],
            layer="auto" if resolved.get("layer") is None else resolved["layer"],
            prompt_query=prompts.get("query"), prompt_document=prompts.get("document"),
            seed=meta["seed"], out=out, fresh=True, finetune=False,
        )  # fmt: skip
        for _ in local([plan_model(model, make_request(asked))], Silent()):
            pass  # its rows are on disk
        measured = [found for found in find(Path(out)) if found.path.name == file.path.name]
        if not measured:
            raise CheckFailed(
                f"{file.path} would be measured under another signature now: run `xharness eval`"
                f" on {model} again"
            )
        for unit in units:
            yield compared(file, measured[0], unit)


def compared(file: OutcomeFile, again: OutcomeFile, unit: str) -> Replayed:
    """Return the rows of a language, and those that were measured again.

    Raises:
        NotFoundError: it was not measured again. DataError: a file is damaged.
    """
    meta = file.meta()
    card, split = card_of(meta), str(meta["split"])
    kind = KINDS[card.kind]
    before, now = file.read(unit), again.read(unit)
    kept, found = _results(kind, before), _results(kind, now)
    alike = sum(found.get(key) == value for key, value in kept.items())
    scores = [kind.fold(rows, card.metrics, split) for rows in (before, now)]
    off = max(abs(one.value - other.value) for one, other in zip(*scores, strict=True))
    return Replayed(file.path, unit, alike / max(len(kept), len(found)), off)


def _results(kind: Kind, rows: pa.Table) -> dict[tuple[str, ...], Any]:
    """Return, for each row, what was measured of it: its ranks, its answer, or whether the pair is
    kept.
    """
    names = set(rows.column_names)
    by = [kind.example(rows).to_pylist()]
    by += [rows.column(name).to_pylist() for name in ("direction", "split") if name in names]
    what = next(name for name in ("ranks", "prediction", "kept") if name in names)
    return dict(zip(zip(*by, strict=True), rows.column(what).to_pylist(), strict=True))


def keep(results: Path, replayed: Iterable[Replayed]) -> None:
    """Note rows as replicated that others sent, where a list of who measured what is kept."""
    origins = read_origins(results)
    found: dict[OutcomeFile, list[Replayed]] = {}
    for one in replayed if origins is not None else ():
        found.setdefault(OutcomeFile(one.path), []).append(one)
    replicated = {
        name_of(file, results): Origin(
            digest=digest_of(file), provenance="replicated", languages=[one.unit for one in again]
        )
        for file, again in found.items()
        if origin_of(file, results, origins).doubtful and all(one.holds for one in again)
    }
    if replicated:
        note(results, replicated)


def failed(replayed: Iterable[Replayed]) -> None:
    """Raise CheckFailed where rows are not what was measured again, and name them."""
    differing = [one for one in replayed if not one.holds]
    if differing:
        names = "; ".join(f"{one.path} {one.unit}" for one in differing[:5])
        more = f" (and {len(differing) - 5} more)" if len(differing) > 5 else ""
        raise CheckFailed(
            f"measured again, these rows differ: {names}{more}; remove the files, or run"
            " `xharness eval` on their checkpoints again"
        )
