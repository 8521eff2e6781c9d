"""xharness from Python: the same functions that the command line calls."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence, Set
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from harness.data.folders import cache_folder, hub_cache, where
from harness.errors import DataError, IncompleteError, UsageError, one_line, unknown_name
from harness.training import progress

if TYPE_CHECKING:
    import pyarrow as pa

    from harness.alignment.align import Alignment
    from harness.analysis.compare import Compared
    from harness.analysis.contrasts import Contrast
    from harness.checkpoint.resolve import Checkpoint
    from harness.evaluation.plan import Plan
    from harness.evaluation.request import Request
    from harness.evaluation.run import Reporter
    from harness.results.evaluation import Evaluation
    from harness.training.trainer import Told

DEMO_MODEL = "xharness/demo"


class Encodes(Protocol):
    """An object that makes one vector per text."""

    def encode(self, texts: list[str], /) -> Any:
        """An array, a tensor or a list of vectors: float[n, d] for n texts."""


PathName = str | Path
Model = str | os.PathLike[str] | Encodes
Names = str | Iterable[str] | None


class Silent(progress.Silent):
    """A reporter that says nothing, of training neither."""

    def planned(self, plan: Any) -> None: ...

    def advance(self, texts: int, characters: int) -> None: ...

    def finished(self, job: Any, table: Any) -> None: ...

    def tuning(self, tuning: Any) -> AbstractContextManager[Silent]:
        return nullcontext(self)


def evaluate(
    model: Model | Iterable[Model],
    tasks: Names = None,
    *,
    suite: str | None = None,
    languages: Names = None,
    split: str | None = None,
    protocol: str = "standard",
    pooling: str | None = None,
    layer: int | str = "auto",
    prompt_query: str | None = None,
    prompt_document: str | None = None,
    dtype: str = "float32",
    device: str | None = None,
    workers: int | None = None,
    batch_tokens: int | None = None,
    limit: int | None = None,
    seed: int = 0,
    data: PathName | None = None,
    out: PathName = "leaderboard/results",
    cache_dir: PathName | None = None,
    offline: bool = False,
    finetune: bool = False,
    fresh: bool = False,
    engine: str = "local",
    reporter: Reporter | None = None,
) -> Evaluation:
    """Evaluate checkpoints, or objects that encode, and return their scores.

    ``model``: a Hub id, ``id@revision``, a folder, a loaded sentence-transformers model, or any
    object with ``encode(texts: list[str])`` that returns one vector per text (an array or tensor
    float[n, d], or a list of vectors; ``encode_query`` and ``encode_document`` are used where they
    exist). Several are run one after another or, with ``engine="ray"``, together on a cluster.
    Objects are compared by cosine (or what ``similarity_fn_name`` says), in one direction and pool
    as checkpoints are; their rows are marked custom and never ranked, and have no options for what
    the object decides: protocol, pooling, layer, prompts, dtype.
    The options are those of ``xharness eval``. What is finished already is not run again.

    Raises:
        HarnessError: one of its subclasses, as the command's exit codes. IncompleteError and
            DataError carry the Arrow table of what could be measured as ``error.scores``.
    """
    import pyarrow as pa

    from harness.evaluation.engines import choose
    from harness.evaluation.options import make_request
    from harness.evaluation.run import check_complete
    from harness.results.evaluation import Evaluation

    models = _models(model)
    request = make_request(
        tasks=_listed(tasks), languages=_listed(languages), suite=suite, split=split,
        protocol=protocol, pooling=pooling, layer=layer, prompt_query=prompt_query,
        prompt_document=prompt_document, dtype=dtype, device=device, workers=workers,
        batch_tokens=batch_tokens,
        limit=limit, seed=seed, data=data, out=out, cache_dir=cache_dir, offline=offline,
        finetune=finetune, fresh=fresh, engine=engine,
    )  # fmt: skip
    if engine != "local" and not all(isinstance(one, str) for one in models):
        raise UsageError(f"--engine {engine} takes Hub ids and folders: an object stays here")
    if request.worker_devices and not all(isinstance(one, str) for one in models):
        raise UsageError(
            "several devices or workers take Hub ids and folders: an object stays in this process"
        )
    plans: list[Plan] = []
    tables: list[pa.Table] = []

    def found() -> Evaluation:
        folders = dict.fromkeys(
            request.out / done.checkpoint.slug / done.checkpoint.revision12 for done in plans
        )
        between = partial(compare, out=request.out, cache_dir=cache_dir)
        return Evaluation(pa.concat_tables(tables), tuple(folders), between)

    try:
        made = (plan_request(one, request) for one in models)
        for done, table in choose(engine)(made, reporter or Silent()):
            plans.append(done)
            tables.append(table)
        for done in plans:
            check_complete(done, None)
    except (IncompleteError, DataError) as error:
        error.scores = found().to_arrow() if tables else None
        raise
    return found()


def plan(
    model: Model,
    tasks: Names = None,
    *,
    suite: str | None = None,
    languages: Names = None,
    split: str | None = None,
    protocol: str = "standard",
    pooling: str | None = None,
    layer: int | str = "auto",
    prompt_query: str | None = None,
    prompt_document: str | None = None,
    dtype: str = "float32",
    device: str | None = None,
    batch_tokens: int | None = None,
    limit: int | None = None,
    seed: int = 0,
    data: PathName | None = None,
    out: PathName = "leaderboard/results",
    cache_dir: PathName | None = None,
    offline: bool = False,
    finetune: bool = False,
    fresh: bool = False,
) -> Plan:
    """What ``evaluate`` with these options would do: its tasks, and what is finished of them.

    The checkpoint is resolved and vetted and the data is read; no weight is loaded.

    Raises:
        HarnessError: one of its subclasses, as for ``evaluate``.
    """
    from harness.evaluation.options import make_request

    request = make_request(
        tasks=_listed(tasks), languages=_listed(languages), suite=suite, split=split,
        protocol=protocol, pooling=pooling, layer=layer, prompt_query=prompt_query,
        prompt_document=prompt_document, dtype=dtype, device=device, batch_tokens=batch_tokens,
        limit=limit, seed=seed, data=data, out=out, cache_dir=cache_dir, offline=offline,
        finetune=finetune, fresh=fresh,
    )  # fmt: skip
    (one,) = _models(model)
    return plan_request(one, request)


def plan_request(model: Model, request: Request, *, download: bool = True) -> Plan:
    """Resolve and vet a checkpoint and plan its run; no weight is loaded.

    ``download``: whether data that is not on disk is fetched; the checkpoint always is.
    """
    from harness.evaluation.plan import make_plan

    if isinstance(model, (str, os.PathLike)):
        name = os.fspath(model)
        checkpoint = find_checkpoint(name, request.cache, offline=request.offline)
    else:
        from harness.inference.objects import given_model

        _check_object_options(request)
        checkpoint = given_model(model)
    return make_plan(checkpoint, request, download=download)


def _check_object_options(request: Request) -> None:
    """UsageError for an option about what an object decides for itself."""
    from harness.inference.protocol import Protocol

    asked = request.protocol
    if asked != Protocol(prompts=asked.prompts) or any(asked.prompts.values()):
        raise UsageError(
            "an object with encode has its own pooling, layer, prompts and dtype: leave out "
            "protocol, pooling, layer, prompt_query, prompt_document and dtype"
        )
    if request.finetune:
        raise UsageError("finetune trains checkpoints: give a Hub id or a folder, not an object")


def _models(model: object) -> list[Any]:
    """Names as text, objects as they are; each name once.

    Raises:
        UsageError: there is none, or one that cannot be evaluated.
    """
    from harness.inference.objects import TAKES, can_encode

    several = isinstance(model, (Sequence, Set, Iterator)) and not isinstance(model, (str, bytes))
    given = list(model) if several and not can_encode(model) else [model]  # type: ignore[call-overload]
    if not given:
        raise UsageError(f"no model: {TAKES}")
    for one in given:
        if not isinstance(one, (str, os.PathLike)) and not can_encode(one):
            shown = one_line(repr(one), 60)
            raise UsageError(f"cannot evaluate {shown} ({type(one).__name__}): {TAKES}")
    names = [os.fspath(one) if isinstance(one, os.PathLike) else one for one in given]
    # An object is its own only equal: it need not be one that can be compared or hashed.
    return list({one if isinstance(one, str) else id(one): one for one in names}.values())


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

    ``a``, ``b``: an id, ``id@revision``, the name of a submission or recipe under ``root``, or a
    results folder. ``tasks``: only these; ``metric``: in place of their headlines.

    Raises:
        HarnessError: one of its subclasses, as the command's exit codes.
    """
    from harness.analysis.compare import compare as compared
    from harness.submissions.submission import read_submissions

    folder = Path(root)
    return compared(
        os.fspath(a),
        os.fspath(b),
        results=folder / out,
        only=_listed(tasks),
        metric=metric,
        submissions=read_submissions(folder / "submissions"),
        cache=cache_folder(cache_dir) / "board",
    )


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
    from harness.refresh.measured import readable

    folder = Path(root)
    # As a refresh leaves it: what it could not read has its row, and is no reason to fail.
    known = readable(folder)
    cache = cache_folder(cache_dir) / "board"
    return rebuilt(folder, check=check, cache=cache, submissions=known)


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
    pooling: str | None = None,
    dtype: str = "float32",
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

    return aligned(
        model, task, languages=_listed(languages), reporter=reporter, pooling=pooling, dtype=dtype,
        device=device, limit=limit, data=data, cache_dir=cache_dir, offline=offline,
    )  # fmt: skip


def preview(model: str, request: Request) -> list[str]:
    """What ``evaluate`` would do, line by line; neither weights nor data are downloaded."""
    from harness.checkpoint.resolve import parse_model
    from harness.checkpoint.snapshot import pending
    from harness.data.load import Where, planned_downloads
    from harness.evaluation.request import choose_cards, measured_after
    from harness.terminal.console import megabytes
    from harness.terminal.display import describe_plan
    from harness.training.target import planned_downloads as training_downloads

    name, revision = parse_model(model)
    if model == DEMO_MODEL or request.offline or Path(name).expanduser().exists():
        return describe_plan(plan_request(model, request, download=False))
    found = pending(name, revision, cache=hub_cache(request.cache))
    if not found.missing:
        return describe_plan(plan_request(f"{found.id}@{found.commit}", request, download=False))
    lines = [
        f"{found.id} at {found.commit}: to download, {len(found.missing)} files, "
        f"{megabytes(found.size)}; its layer and signatures are known when it is there"
    ]
    where = Where(data=request.data, cache=request.cache)
    choice = choose_cards(request)
    lines += [f"  left out: {why}" for why in choice.left_out.values()]
    for card, units in choice.cards:
        downloads = planned_downloads(card, request.split, units, where)
        size = megabytes(sum(download.size or 0 for download in downloads))
        state = f"to download, {len(downloads)} files, {size}" if downloads else "data there"
        lines.append(f"  {card.name}: {len(units)} languages, {state}")
        for recipe in filter(None, measured_after(request, card.name)):
            waiting = training_downloads(recipe, where)
            size = megabytes(sum(download.size or 0 for download in waiting))
            state = f"to download, {len(waiting)} files, {size}" if waiting else "data there"
            lines.append(f"    tuned by {recipe.name} on {recipe.train}: {state}")
    return lines


def find_checkpoint(model: str, cache: Path, *, offline: bool) -> Checkpoint:
    """The checkpoint that a model name stands for; ``xharness/demo`` is built on the spot."""
    from harness.checkpoint.resolve import resolve
    from harness.evaluation.options import check_text

    check_text("model", model)
    if model == DEMO_MODEL:
        from harness.checkpoint.demo import build

        model = str(build(cache / "demo"))
    return resolve(model, cache=hub_cache(cache), offline=offline)


def prefetch(models: Iterable[str], request: Request, *, with_data: bool = True) -> Iterator[str]:
    """Download checkpoints and task data; yields a line as each is there.

    Raises:
        IncompleteError: data of a task could not be had; the rest is there.
        NotFoundError, RefusedError: as for a checkpoint that is evaluated.
    """
    from harness.data.load import Where, fetch
    from harness.evaluation.request import choose_cards, measured_after
    from harness.training.data.sources import fetch as fetch_training

    chosen = choose_cards(request)  # before anything is downloaded: it may not make sense
    for model in models:
        checkpoint = find_checkpoint(model, request.cache, offline=False)
        yield f"{checkpoint.id}@{checkpoint.revision}"
    failed: dict[str, str] = {}
    where = Where(data=None, cache=request.cache)
    for card, units in chosen.cards if with_data else ():
        fetched = fetch(card, request.split, units, where)
        if fetched.failures:
            failed[card.name] = next(iter(fetched.failures.values()))
        else:
            yield f"{card.name}: {len(fetched.digests)} files ({fetched.route})"
    recipes = {
        recipe.train: recipe
        for card, _ in (chosen.cards if with_data else ())
        for recipe in filter(None, measured_after(request, card.name))
    }
    for name, recipe in recipes.items():
        try:
            files = fetch_training(recipe.card, where)
        except IncompleteError as error:
            failed[name] = str(error)
        else:
            yield f"{name}: {len(files.digests)} files ({files.route})"
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
    reporter: Told | None = None,
) -> Path:
    """Train a base on intermediate tasks and return the folder of the checkpoint.

    ``base``: a Hub id, ``id@revision``, or a folder. ``intermediate``: names of cards or suites, or
    paths of cards of one's own. What is None comes from their recipes. A killed training goes on
    where it was.

    Raises:
        HarnessError: one of its subclasses, as the command's exit codes.
    """
    from harness.cards.training import LoraRecipe, read_intermediate, read_intermediate_suites
    from harness.evaluation.options import choose_device
    from harness.training.lora import parse_layers
    from harness.training.order import DTYPES, Order, recipes
    from harness.training.run import train as trained
    from harness.training.workspace import check_target

    suites = read_intermediate_suites()
    asked = _listed(intermediate)
    names = list(dict.fromkeys(name for one in asked for name in suites.get(one, (one,))))
    if not names:
        raise UsageError("no intermediate task: give --intermediate")
    if dtype not in DTYPES:
        raise unknown_name("dtype", dtype, DTYPES)
    if not 0 <= seed < 2**32:
        raise UsageError(f"--seed {seed}: give a whole number from 0, below 2^32")
    cards = [read_intermediate(name) for name in names]
    adapters = next((card.lora for card in cards if card.lora is not None), None)
    if lora_layers is not None or (lora and adapters is None):
        layers = None if lora_layers is None else parse_layers(lora_layers)
        adapters = (adapters or LoraRecipe()).model_copy(update={"layers": layers})
    made = recipes(cards, epochs=epochs, lr=lr, batch_size=batch_size, max_length=max_length)
    folder, cache = Path(out), cache_folder(cache_dir)
    chosen = choose_device(device)
    if ":" in chosen:
        raise UsageError(f"device {chosen!r}: choose the GPU with CUDA_VISIBLE_DEVICES")
    check_target(folder)
    order = Order(
        base=find_checkpoint(os.fspath(base), cache, offline=offline),
        cards=cards,
        recipes=made,
        out=folder,
        seed=seed,
        dtype=dtype,
        device=chosen,
        lora=adapters,
        max_examples=max_examples,
        max_steps=max_steps,
        fresh=fresh,
        command=command,
    )
    return trained(order, where(data, cache_dir, offline=offline), reporter)


def _listed(names: str | Iterable[str] | None) -> tuple[str, ...]:
    if names is None:
        return ()
    return (names,) if isinstance(names, str) else tuple(names)
