"""Puts the seeds of one recipe together as one variant, because seeds are not checkpoints."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from harness.analysis.entries import TRACKS, Entry
from harness.analysis.results import seed_mean

# Names of a checkpoint that was trained by a recipe; the first that is no other's is taken.
FORMS = (
    "{kind} ({short}){seed}",
    "{kind} ({short}){on}{seed}",
    "{kind} ({whole}){on}{seed}",
    "{kind} ({whole}; {recipe}){on}{seed}",
    "{kind} ({whole}; {slug}){on}{seed}",
)
FEW = 4  # data sets that a name still lists


def variants(entries: Sequence[Entry]) -> tuple[Entry, ...]:
    """Return the entries, with the measured checkpoints of one recipe and base put together.

    A variant's results are means over its seeds, of the tasks that every seed has whole; it is
    called by its recipe. A recipe that was measured with one seed stays the checkpoint it is.
    """
    groups: dict[tuple[str, str], list[Entry]] = {}
    for entry in entries:
        if (made := recipe_of(entry)) is not None and entry.results:
            groups.setdefault(made, []).append(entry)
    groups = {made: members for made, members in groups.items() if len(members) > 1}
    merged = {member.slug for members in groups.values() for member in members}
    found = [entry for entry in entries if entry.slug not in merged]
    taken = {entry.slug for entry in entries}
    for (base, recipe), members in groups.items():
        name, _, revision = base.partition("@")
        on = re.sub(r"[^\w.-]+", "-", name.split("/")[-1])
        forms = (recipe, f"{recipe}-on-{on}", f"{recipe}-on-{on}-{revision[-12:]}")
        slug = next((form for form in forms if form not in taken), forms[-1])
        taken.add(slug)
        found.append(_variant(slug, sorted(members, key=_seed)))
    return tuple(sorted(found, key=lambda entry: entry.slug))


def titled(entries: Sequence[Entry]) -> tuple[Entry, ...]:
    """Return the entries with the names that people read, no two of them equal.

    A checkpoint of a recipe is named by its kind, its data and its seed: `English QA (MLQA dev),
    seed 1`. Of the forms of a name the shortest that no other entry has is taken; a checkpoint
    without a recipe has its model's name.
    """
    names = {entry.slug: _forms(entry) for entry in entries}
    for form in range(len(FORMS)):
        used = Counter(forms[0] for forms in names.values())
        for slug, forms in names.items():
            if used[forms[0]] > 1 and form + 1 < len(FORMS) and len(forms) > 1:
                names[slug] = forms[1:]
    return tuple(replace(entry, title=names[entry.slug][0]) for entry in entries)


def _forms(entry: Entry) -> list[str]:
    """Return the names of a checkpoint, the shortest first."""
    submission = entry.submission
    if submission is None or submission.recipe is None:
        return [entry.model] if "/" in entry.model else [entry.model, entry.name]
    kind = entry.kind[:1].upper() + entry.kind[1:]
    whole = submission.datasets or [submission.recipe]
    short = [data.split(",")[0] for data in whole]
    if entry.members:
        seed = f", {len(entry.members)} seeds"
    else:
        seed = "" if submission.seed is None else f", seed {submission.seed}"
    on = on_base(entry)
    return [
        form.format(kind=kind, short=_listed(short), whole=_listed(whole), seed=seed, on=on,
                    recipe=submission.recipe, slug=entry.slug)
        for form in FORMS
    ]  # fmt: skip


def on_base(entry: Entry) -> str:
    """Return the part of a name that says the base."""
    base = entry.submission.base if entry.submission is not None else None
    return f" on {base.split('/')[-1]}" if base else ""


def _listed(datasets: Sequence[str]) -> str:
    return ", ".join(datasets) if len(datasets) < FEW else f"{len(datasets)} data sets"


def recipe_of(entry: Entry) -> tuple[str, str] | None:
    """Return the (base, recipe) that a submission names: they are equal for seeds of one recipe."""
    submission = entry.submission
    if submission is None or submission.recipe is None or submission.base is None:
        return None
    return f"{submission.base}@{submission.base_revision or ''}", submission.recipe


def training_seed(entry: Entry) -> int | None:
    """Return the seed that a checkpoint was trained with, where its submission says so."""
    return entry.submission.seed if entry.submission is not None else None


def _seed(entry: Entry) -> int:
    return training_seed(entry) or 0


def _variant(slug: str, members: Sequence[Entry]) -> Entry:
    first = members[0]
    results = []
    for track in TRACKS:
        whole = [member.tasks(track) for member in members]
        results += [
            seed_mean([tasks[task] for tasks in whole])
            for task in whole[0]
            if all(task in tasks for tasks in whole)
        ]
    return replace(
        first,
        slug=slug,
        model=slug,
        revision=None,
        contaminated=frozenset[str]().union(*(member.contaminated for member in members)),
        results=tuple(results),
        members=tuple(members),
    )
