"""xharness from Python: the same functions that the command line calls."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from harness.data.folders import cache_folder, data_location
from harness.errors import HarnessError, IncompleteError, UsageError, together, unknown_name
from harness.evaluated import Evaluation, Signatures
from harness.evaluation.options import (
    Names,
    Options,
    PathName,
    listed,
    make_request,
    takes_options,
)

if TYPE_CHECKING:
    import pyarrow as pa

    from harness.alignment.align import Alignment
    from harness.analysis.compare import Compared
    from harness.analysis.contrasts import Contrast
    from harness.analysis.sides import Source
    from harness.evaluation.models import Model
    from harness.evaluation.planned import Plan
    from harness.evaluation.reporting import Reporter
    from harness.evaluation.request import Request
    from harness.inference.protocol import Dtype, Pooling
    from harness.training.trainer import TrainingReporter


@takes_options(Options)
def evaluate(model: Model | Iterable[Model], options: Options) -> Evaluation:
    """Evaluate checkpoints, or objects that encode, and return their scores.

    ``model``: a Hub id, ``id@revision``, a folder, a loaded sentence-transformers model, or any
    object with ``encode(texts: list[str])`` that returns one vector per text (an array or tensor
    float[n, d], or a list of vectors; ``encode_query`` and ``encode_document`` are used where they
    exist). Several are run one after another or, with ``engine="ray"``, together on a cluster.
    Objects are compared by cosine (or what ``similarity_fn_name`` says), in one direction and pool
    as checkpoints are; their rows are marked custom and never ranked, and have no options for what
    the object decides: protocol, pooling, layer, prompts, dtype.
    The options are those of ``xharness eval``; ``harness.evaluation.options`` declares them for
    both. What is finished already is not run again.

    Raises:
        HarnessError: one of its subclasses, as the command's exit codes. It carries the Arrow table
            of what could be measured as ``error.scores``; None where nothing could.
    """
    import pyarrow as pa

    from harness.evaluation.engines import choose
    from harness.evaluation.models import listed_models, plan_models
    from harness.evaluation.reporting import Silent
    from harness.evaluation.run import check_complete
    from harness.terminal.display import Display

    models = listed_models(model)
    request = make_request(options)
    if not all(isinstance(one, str) for one in models):
        if options.engine != "local":
            raise UsageError(
                f"--engine {options.engine} takes Hub ids and folders: an object stays here"
            )
        if request.runtime.worker_devices:
            raise UsageError(
                "several devices or workers take Hub ids and folders: an object stays in this "
                "process"
            )
    plans: list[Plan] = []
    tables: list[pa.Table] = []
    failures: list[HarnessError] = []
    with ExitStack() as stack:
        runtime = request.runtime
        if options.smoke:  # neither results nor vectors are kept
            folder = Path(stack.enter_context(TemporaryDirectory(prefix="xharness-smoke-")))
            runtime = replace(runtime, out=folder / "results", cache=folder / "cache")
        reporter = options.reporter
        if reporter is None:
            reporter = stack.enter_context(Display()) if options.progress else Silent()
        try:
            planned = plan_models(models, request, runtime, failures)
            for refused in failures if len(failures) < len(models) else ():
                reporter.refused(refused)
            for one, table in choose(options.engine)(planned, reporter):
                plans.append(one)
                tables.append(table)
                reporter.measured(one, table)
            for one in () if failures else plans:
                check_complete(one, None)
        except HarnessError as error:
            failures.append(error)
        if failures:
            raise together(failures, pa.concat_tables(tables) if tables else None)
    folders = [runtime.out / one.checkpoint.slug / one.checkpoint.revision12 for one in plans]
    between = partial(_compare_rows, request.runtime.out, options.cache_dir)
    return Evaluation(pa.concat_tables(tables), tuple(dict.fromkeys(folders)), between)


@takes_options(Options)
def plan(model: Model, options: Options) -> Plan:
    """What ``evaluate`` with these options would do: its tasks, and what is finished of them.

    The checkpoint is resolved and vetted and the data is read; no weight is loaded.

    Raises:
        HarnessError: one of its subclasses, as for ``evaluate``.
    """
    from harness.evaluation.models import listed_models, plan_model

    (one,) = listed_models(model)
    return plan_model(one, make_request(options))


def compare(
    a: PathName,
    b: PathName,
    *,
    tasks: Names = None,
    metric: str | None = None,
    root: PathName = ".",
    out: PathName = "leaderboard/results",
    cache_dir: PathName | None = None,
) -> list[Compared]:
    """The paired differences of two checkpoints, A minus B, over what both were measured on.

    ``a``, ``b``: an id, ``id@revision``, a checkpoint's folder, the name of a submission or recipe
    under ``root``, or a results folder. ``tasks``: only these; ``metric``: in place of their
    headlines.

    Raises:
        HarnessError: one of its subclasses, as the command's exit codes.
    """
    from harness.analysis.compare import compare as compared

    source = _source(Path(root), out, cache_dir)
    return compared(os.fspath(a), os.fspath(b), source, only=listed(tasks), metric=metric)


def _compare_rows(
    out: Path, cache_dir: PathName | None, a: str, b: str, mine: Signatures, theirs: Signatures
) -> list[Compared]:
    from harness.analysis.compare import compare as compared

    return compared(a, b, _source(Path("."), out, cache_dir), signatures=(mine, theirs))


def _source(root: Path, out: PathName, cache_dir: PathName | None) -> Source:
    from harness.analysis.sides import Source
    from harness.submissions.folder import readable

    return Source(root / out, readable(root), cache_folder(cache_dir) / "board")


def contrast(root: PathName = ".", *, cache_dir: PathName | None = None) -> tuple[Contrast, ...]:
    """The named contrasts between kinds of intermediate training, per base.

    Raises:
        NotFoundError: there is nothing under ``root`` to contrast.
    """
    from harness.analysis.gather import read_contrasts

    return read_contrasts(Path(root), cache_folder(cache_dir) / "board")


def leaderboard(
    root: PathName = ".", *, check: bool = False, cache_dir: PathName | None = None
) -> list[Path]:
    """Rebuild ``leaderboard/`` under ``root``; returns the files that changed.

    Raises:
        CheckFailed: with ``check``, which writes nothing, something is stale.
        NotFoundError, DataError: no outcomes, or damaged ones.
    """
    from harness.board.build import leaderboard as rebuilt

    return rebuilt(Path(root), check=check, cache=cache_folder(cache_dir) / "board")


def verify(root: PathName = ".") -> int:
    """Recompute every score of the leaderboard from its outcomes; returns how many there are.

    Raises:
        CheckFailed: a score differs. NotFoundError, DataError: no outcomes, or damaged ones.
    """
    from harness.board.build import verify as verified

    return verified(Path(root))


def align(
    model: str,
    task: str = "tatoeba",
    *,
    languages: Names = None,
    pooling: Pooling | None = None,
    dtype: Dtype = "float32",
    device: str | None = None,
    limit: int | None = None,
    data: PathName | None = None,
    cache_dir: PathName | None = None,
    offline: bool = False,
    reporter: Reporter | None = None,
) -> Alignment:
    """Measure cross-lingual alignment layer by layer, over words and sentences.

    ``task``: one of translation pairs. ``limit``: the first pairs of each language.

    Raises:
        HarnessError: one of its subclasses; IncompleteError carries the Alignment of the languages
            that could be measured as ``error.scores``.
    """
    from harness.alignment.align import align as aligned

    options = Options(
        languages=languages, pooling=pooling, dtype=dtype, device=device, limit=limit, data=data,
        cache_dir=cache_dir, offline=offline, reporter=reporter,
    )  # fmt: skip
    return aligned(model, task, options)


def prefetch(models: Iterable[str], request: Request, *, with_data: bool = True) -> Iterator[str]:
    """Download checkpoints and task data; yields a line as each is there.

    Raises:
        IncompleteError: data of a task could not be had; the rest is there.
        NotFoundError, RefusedError: as for a checkpoint that is evaluated.
    """
    from harness.data.layout import DataLocation
    from harness.data.load import fetch
    from harness.evaluation.models import find_checkpoint
    from harness.evaluation.request import choose_cards, measured_after, split_of
    from harness.terminal.console import counted
    from harness.training.data.sources import fetch as fetch_training

    chosen = choose_cards(request.selection)  # before anything is downloaded: it may not make sense
    for model in models:
        checkpoint = find_checkpoint(model, request.runtime.cache, offline=False)
        yield f"{checkpoint.id}@{checkpoint.revision}"
    failed: dict[str, str] = {}
    location = DataLocation(data=None, cache=request.runtime.cache)
    for card, units in chosen.cards if with_data else ():
        fetched = fetch(card, split_of(request.selection, card), units, location)
        if fetched.failures:
            failed[card.name] = next(iter(fetched.failures.values()))
        else:
            yield f"{card.name}: {counted(len(fetched.digests), 'file')} ({fetched.route})"
    recipes = {
        recipe.train: recipe
        for card, _ in (chosen.cards if with_data else ())
        for recipe in filter(None, measured_after(request, card.name))
    }
    for name, recipe in recipes.items():
        try:
            files = fetch_training(recipe.card, location)
        except IncompleteError as error:
            failed[name] = str(error)
        else:
            yield f"{name}: {counted(len(files.digests), 'file')} ({files.route})"
    if with_data:
        yield from (f"left out: {why}" for why in chosen.left_out.values())
    if failed:
        name, why = next(iter(failed.items()))
        raise IncompleteError(f"not fetched: {', '.join(failed)} ({name}: {why})")


def train(
    base: str | os.PathLike[str],
    intermediate: str | Iterable[str],
    out: str | os.PathLike[str],
    *,
    seed: int = 0,
    max_examples: int | None = None,
    max_steps: int | None = None,
    epochs: float | None = None,
    lr: float | None = None,
    batch_size: int | None = None,
    max_length: int | None = None,
    lora: bool = False,
    lora_layers: str | None = None,
    dtype: str = "float32",
    device: str | None = None,
    data: str | Path | None = None,
    cache_dir: str | Path | None = None,
    offline: bool = False,
    fresh: bool = False,
    command: str = "harness.train",
    reporter: TrainingReporter | None = None,
) -> Path:
    """Train a base on intermediate tasks and return the folder of the checkpoint.

    ``base``: a Hub id, ``id@revision``, or a folder. ``intermediate``: names of cards or suites, or
    paths of cards of one's own. What is None comes from their recipes. A killed training goes on
    where it was.

    Raises:
        HarnessError: one of its subclasses, as the command's exit codes.
    """
    from harness.cards.training import read_intermediate, read_intermediate_suites
    from harness.evaluation.devices import choose_device
    from harness.evaluation.models import find_checkpoint
    from harness.training.config import DTYPES, TrainingConfig, recipes
    from harness.training.lora import adapters
    from harness.training.run import train as trained
    from harness.training.workspace import check_target

    suites = read_intermediate_suites()
    asked = listed(intermediate)
    names = list(dict.fromkeys(name for one in asked for name in suites.get(one, (one,))))
    if not names:
        raise UsageError("no intermediate task: give --intermediate")
    if dtype not in DTYPES:
        raise unknown_name("dtype", dtype, DTYPES)
    if not 0 <= seed < 2**32:
        raise UsageError(f"--seed {seed}: give a whole number from 0, below 2^32")
    for flag, most in (("--max-examples", max_examples), ("--max-steps", max_steps)):
        if most is not None and most < 1:
            raise UsageError(f"{flag} {most}: give a whole number from 1")
    cards = [read_intermediate(name) for name in names]
    made = recipes(cards, epochs=epochs, lr=lr, batch_size=batch_size, max_length=max_length)
    folder, cache = Path(out), cache_folder(cache_dir)
    chosen = choose_device(device)
    if ":" in chosen:
        raise UsageError(f"device {chosen!r}: choose the GPU with CUDA_VISIBLE_DEVICES")
    check_target(folder)
    config = TrainingConfig(
        base=find_checkpoint(os.fspath(base), cache, offline=offline),
        cards=cards,
        recipes=made,
        out=folder,
        seed=seed,
        dtype=dtype,
        device=chosen,
        lora=adapters(cards, asked=lora, layers=lora_layers),
        max_examples=max_examples,
        max_steps=max_steps,
        fresh=fresh,
        command=command,
    )
    return trained(config, data_location(data, cache_dir, offline=offline), reporter)
