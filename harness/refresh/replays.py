"""Rows that no refresh of ours measured: a sample of their languages is measured again.

The sample is drawn anew each time, so that who forges rows cannot know which languages it spares.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

from harness.errors import DataError, NotFoundError
from harness.evaluation.models import DEMO_MODEL
from harness.evaluation.replay import compared
from harness.refresh.worker import Ended
from harness.results.checks import check
from harness.results.outcomes import OutcomeFile, find, read_meta
from harness.results.provenance import Origin, digest_of, name_of, note, origin_of, read_origins

SAMPLE = 3  # languages of a file; all of them where there are no more


def begin(results: Path) -> list[str]:
    """Begin the list of who measured what, where there are rows and no list; returns new entries.

    Rows of folders on a disk and of checkpoints that were tuned cannot be measured again by a
    refresh. Those that are there before there is a list are taken as measured by the board's owner.
    """
    if read_origins(results) is not None or not results.is_dir() or not find(results):
        return []
    own = {}
    for file in find(results):
        try:
            meta = read_meta(file.path) if file.path.exists() else file.meta()
        except DataError:
            continue  # the board names it
        if meta["track"] == "tuned" or not can_replay(meta["model"], meta["revision"]):
            own[name_of(file, results)] = Origin(digest=digest_of(file))
    note(results, own)
    return list(own)


def can_replay(model: str, revision: str) -> bool:
    """Whether a refresh can load the checkpoint: it is on the Hub, or in the package."""
    demo = model.startswith((DEMO_MODEL, DEMO_MODEL.replace("/", "-")))  # rows name its folder
    return demo or not revision.startswith("local:")


def doubtful(
    done: Mapping[str, Sequence[OutcomeFile]], results: Path
) -> dict[OutcomeFile, tuple[str, Origin]]:
    """The files whose rows nobody of ours measured, with their task and what is known of them."""
    origins = read_origins(results)
    found = {}
    for task, files in done.items():
        for file in files:
            origin = origin_of(file, results, origins)
            # Before there is a list, what lies there is of somebody who is not known.
            if origins is None or origin.doubtful:
                found[file] = (task, origin)
    return found


def replicate(
    files: Mapping[OutcomeFile, str],
    results: Path,
    missing: Mapping[str, Mapping[str, str]],
    measure: Callable[[str, Sequence[str], Path], Ended],
    draw: Random,
    say: Callable[[str], None],
) -> str:
    """Measure a sample of each file again and note what was found; how they differ, in words.

    ``files``: with their task. ``missing``: task → languages without data. ``measure``: is given a
    task, languages and a folder, and writes their rows there. What could not be measured is said,
    stays as it is, and is tried again by the next refresh.
    """
    wrong = []
    for file, task in files.items():
        with TemporaryDirectory(prefix="xharness-replay-") as again:
            try:
                units = _sample(file, missing.get(task, {}), draw)
                ended = measure(task, units, Path(again))
                why = _judge(file, units, Path(again), ended, results)
            except (DataError, NotFoundError) as error:
                say(f"{task}: rows that others sent could not be measured again: {error}")
                continue
        wrong += [f"{task}: {why}"] if why else []
    return "; ".join(wrong)


def _sample(file: OutcomeFile, missing: Mapping[str, str], draw: Random) -> list[str]:
    """Languages of a file to measure again, in its order; ``missing``: those without data.

    Raises:
        DataError: the file is damaged, or its rows cannot be of one run.
        NotFoundError: there is no data of any of its languages.
    """
    languages = [unit for unit in check(file)["languages"] if unit not in missing]
    if not languages:
        raise NotFoundError(f"no data to measure {file.path} again")
    drawn = draw.sample(languages, min(SAMPLE, len(languages)))
    return [unit for unit in languages if unit in drawn]


def _judge(
    file: OutcomeFile, languages: Sequence[str], again: Path, ended: Ended, results: Path
) -> str:
    """Note whether rows are what was measured again under ``again``; why not, empty where they are.

    Raises:
        NotFoundError: a language did not come out, which says nothing of the rows.
    """
    found = {one.path.name: one for one in find(again)}
    measured = found.get(file.path.name)
    if measured is None and not found:
        raise NotFoundError(ended.reason or "no rows came out")
    if measured is None:
        differing = ["its signature is not that of the protocol"]
    else:
        replays = [compared(file, measured, unit) for unit in languages]
        differing = [f"{one.unit} differs, {one.found}" for one in replays if not one.holds]
    reason = f"measured again, {'; '.join(differing)}" if differing else ""
    state = Origin(
        digest=digest_of(file),
        provenance="unreplicated" if differing else "replicated",
        languages=list(languages),
        reason=reason,
    )
    note(results, {name_of(file, results): state})
    return reason
