"""xharness from Python: the same functions that the command line calls."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.data.folders import cache_folder, hub_cache, where
from harness.errors import IncompleteError, UsageError, unknown_name
from harness.training import progress

if TYPE_CHECKING:
    import pyarrow as pa

    from harness.checkpoint.resolve import Checkpoint
    from harness.evaluation.plan import Plan
    from harness.evaluation.request import Request
    from harness.evaluation.run import Reporter
    from harness.training.trainer import Told

DEMO_MODEL = "xharness/demo"


class Silent(progress.Silent):
    """A reporter that says nothing, of training neither."""

    def planned(self, plan: Any) -> None: ...

    def advance(self, texts: int, characters: int) -> None: ...

    def finished(self, job: Any, table: Any) -> None: ...

    def tuning(self, tuning: Any) -> AbstractContextManager[Silent]:
        return nullcontext(self)


def evaluate(
    model: str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
    tasks: str | Iterable[str] | None = None,
    *,
    languages: str | Iterable[str] | None = None,
    engine: str = "local",
    reporter: Reporter | None = None,
    **options: Any,
) -> pa.Table:
    """Evaluate checkpoints and return their scores in long form (see ``harness.scores``).

    ``model``: a Hub id, ``id@revision``, or a folder; several are run one after another, or, with
    ``engine="ray"``, together on a cluster.
    ``options`` are those of ``xharness eval`` with underscores: suite, split, protocol, pooling,
    layer, prompt_query, prompt_document, dtype, device, batch_tokens, limit, seed, data, out,
    cache_dir, offline, finetune, fresh. What is finished already is not run again.

    Raises:
        HarnessError: one of its subclasses, as the command's exit codes. IncompleteError carries
            the scores of what could be measured as ``error.scores``.
    """
    import pyarrow as pa

    from harness.evaluation.engines import choose
    from harness.evaluation.options import make_request
    from harness.evaluation.run import check_complete

    request = make_request(
        tasks=_listed(tasks), languages=_listed(languages), engine=engine, **options
    )
    given = [model] if isinstance(model, (str, os.PathLike)) else model
    names = [os.fspath(name) for name in given]
    if not names:
        raise UsageError("no model: give a Hub id (org/name) or a folder")
    plans, tables = [], []
    try:
        made = (plan(name, request) for name in dict.fromkeys(names))
        for done, table in choose(engine)(made, reporter or Silent()):
            plans.append(done)
            tables.append(table)
    except IncompleteError as error:
        error.scores = pa.concat_tables(tables) if tables else None
        raise
    scores = pa.concat_tables(tables)
    for done in plans:
        check_complete(done, scores)
    return scores


def plan(model: str, request: Request, *, download: bool = True) -> Plan:
    """Resolve and vet a checkpoint and plan its run; no weight is loaded.

    ``download``: whether data that is not on disk is fetched; the checkpoint always is.
    """
    from harness.evaluation.plan import make_plan

    return make_plan(
        find_checkpoint(model, request.cache, offline=request.offline), request, download=download
    )


def preview(model: str, request: Request) -> list[str]:
    """What ``evaluate`` would do, line by line; neither weights nor data are downloaded."""
    from harness.checkpoint.resolve import parse_model
    from harness.checkpoint.snapshot import pending
    from harness.data.load import Where, planned_downloads
    from harness.evaluation.request import choose_cards, target_recipe
    from harness.terminal.console import megabytes
    from harness.terminal.display import describe_plan
    from harness.training.target import planned_downloads as training_downloads

    name, revision = parse_model(model)
    if model == DEMO_MODEL or request.offline or Path(name).expanduser().exists():
        return describe_plan(plan(model, request, download=False))
    found = pending(name, revision, cache=hub_cache(request.cache))
    if not found.missing:
        return describe_plan(plan(f"{found.id}@{found.commit}", request, download=False))
    lines = [
        f"{found.id} at {found.commit}: to download, {len(found.missing)} files, "
        f"{megabytes(found.size)}; its layer and signatures are known when it is there"
    ]
    where = Where(data=request.data, cache=request.cache)
    for card, units in choose_cards(request):
        downloads = planned_downloads(card, request.split, units, where)
        size = megabytes(sum(download.size or 0 for download in downloads))
        state = f"to download, {len(downloads)} files, {size}" if downloads else "data there"
        lines.append(f"  {card.name}: {len(units)} languages, {state}")
        if (recipe := target_recipe(request, card.name)) is not None:
            waiting = training_downloads(recipe, where)
            size = megabytes(sum(download.size or 0 for download in waiting))
            state = f"to download, {len(waiting)} files, {size}" if waiting else "data there"
            lines.append(f"    tuned by {recipe.name} on {recipe.train}: {state}")
    return lines


def find_checkpoint(model: str, cache: Path, *, offline: bool) -> Checkpoint:
    """The checkpoint that a model name stands for; ``xharness/demo`` is built on the spot."""
    from harness.checkpoint.resolve import resolve

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
    from harness.evaluation.request import choose_cards, target_recipe
    from harness.training.data.sources import fetch as fetch_training

    for model in models:
        checkpoint = find_checkpoint(model, request.cache, offline=False)
        yield f"{checkpoint.id}@{checkpoint.revision}"
    failed: dict[str, str] = {}
    where = Where(data=None, cache=request.cache)
    for card, units in choose_cards(request) if with_data else ():
        fetched = fetch(card, request.split, units, where)
        if fetched.failures:
            failed[card.name] = next(iter(fetched.failures.values()))
        else:
            yield f"{card.name}: {len(fetched.digests)} files ({fetched.route})"
    recipes = {
        recipe.train: recipe
        for card, _ in (choose_cards(request) if with_data else ())
        if (recipe := target_recipe(request, card.name)) is not None
    }
    for name, recipe in recipes.items():
        try:
            files = fetch_training(recipe.card, where)
        except IncompleteError as error:
            failed[name] = str(error)
        else:
            yield f"{name}: {len(files.digests)} files ({files.route})"
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
