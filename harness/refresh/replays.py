"""Measures a sample of rows again that no refresh of ours has measured.

The sample of languages is drawn anew each time, so that somebody who forges rows cannot know which
languages will be measured.
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

SAMPLE = 3  # the number of languages of a file that are measured again


def begin(results: Path) -> list[str]:
    """Begin the list of who measured which rows, if there are rows and no list; return the entries.

    A refresh cannot measure rows of local folders and of tuned checkpoints again. Those that lie
    there when the list begins count as measured by the board's owner.
    """
    if read_origins(results) is not None or not results.is_dir() or not find(results):
        return []
    own = {}
    for file in find(results):
        try:
            meta = read_meta(file.path) if file.path.exists() else file.meta()
        except DataError:
            continue  # The board names the damaged file.
        if meta["track"] == "tuned" or not can_replay(meta["model"], meta["revision"]):
            own[name_of(file, results)] = Origin(digest=digest_of(file))
    note(results, own)
    return list(own)


def can_replay(model: str, revision: str) -> bool:
    """Return whether a refresh can load the checkpoint: from the Hub, or because it is the demo."""
    # Rows of the demo checkpoint name its folder.
    demo = model.startswith((DEMO_MODEL, DEMO_MODEL.replace("/", "-")))
    return demo or not revision.startswith("local:")


def doubtful(
    done: Mapping[str, Sequence[OutcomeFile]], results: Path
) -> dict[OutcomeFile, tuple[str, Origin]]:
    """Return file → (task, origin) of the files whose rows we have not measured ourselves."""
    origins = read_origins(results)
    found = {}
    for task, files in done.items():
        for file in files:
            origin = origin_of(file, results, origins)
            # Before there is a list, it is not known who measured the rows.
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
    """Measure a sample of each file again and note the result; return how they differ, in words.

    ``files``: file → task. ``missing``: task → languages without data. ``measure``: takes a task,
    languages and a folder, and writes their rows there. ``say`` gets a message about rows that
    could not be measured; they stay as they are, and the next refresh tries again.
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
    """Draw languages of a file to measure again, in the file's order.

    ``missing``: the languages without data.

    Raises:
        DataError: the file is damaged, or its rows cannot be of one run.
        NotFoundError: there is no data for any of its languages.
    """
    languages = [unit for unit in check(file)["languages"] if unit not in missing]
    if not languages:
        raise NotFoundError(f"no data to measure {file.path} again")
    drawn = draw.sample(languages, min(SAMPLE, len(languages)))
    return [unit for unit in languages if unit in drawn]


def _judge(
    file: OutcomeFile, languages: Sequence[str], again: Path, ended: Ended, results: Path
) -> str:
    """Compare rows with those measured ``again``, note the result, and return how they differ.

    Raises:
        NotFoundError: nothing was measured again, so that nothing is known about the rows.
    """
    found = {one.path.name: one for one in find(again)}
    measured = found.get(file.path.name)
    if measured is None and not found:
        raise NotFoundError(ended.reason or "no rows were written")
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
