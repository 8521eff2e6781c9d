"""Outcomes → scores: every number is a reduction of per-example rows, never stored on its own."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from harness.cards.catalogue import read_suites
from harness.cards.target_recipes import read_target_recipes
from harness.cards.task import TaskCard
from harness.errors import together
from harness.inference.protocol import PROTOCOL_VERSION
from harness.kinds import KINDS
from harness.kinds.kind import Score
from harness.results.checks import checked, consistent, known_card
from harness.results.outcomes import OutcomeFile, found_under, read_each

Row = Mapping[str, Any]  # of the table of scores

INDISTINCT = 0.05  # a larger share of a language's candidates without a vector of their own is said
# The metadata in which rows of one file may differ, in words.
MIXED = {
    "libraries": "versions of the libraries",
    "harness": "versions of xharness",
    "device": "devices",
    "route": "sources of the data",
    "tuning": "tuned checkpoints",
}
MACRO = "macro"  # the `lang` of a row that is the unweighted mean over the languages
RUN = ("model", "revision", "task", "layer", "signature")  # columns that are one in a file

SCHEMA = pa.schema(
    [
        ("model", pa.string()),
        ("revision", pa.string()),
        ("base", pa.string()),
        ("objective", pa.string()),
        ("train_languages", pa.list_(pa.string())),
        ("contaminated", pa.bool_()),
        ("track", pa.string()),
        ("protocol", pa.string()),
        ("layer", pa.int32()),
        ("task", pa.string()),
        ("split", pa.string()),
        ("lang", pa.string()),
        ("direction", pa.string()),
        ("metric", pa.string()),
        ("value", pa.float64()),
        ("n", pa.int64()),
        ("low", pa.float64()),
        ("high", pa.float64()),
        ("seed", pa.int64()),
        ("signature", pa.string()),
        ("provenance", pa.string()),
        ("complete", pa.bool_()),
        ("note", pa.string()),
        ("indistinct", pa.float64()),
    ]
)


def scores(path: str | Path) -> pa.Table:
    """The scores of every outcome file under ``path``, or of that one file, in long form.

    One row per task, language, direction and metric, and one with ``lang`` = "macro": the
    unweighted mean over the languages there are (``complete`` says whether that is all of them).
    Values are in [0, 1]. ``note`` says why a row is not to be ranked, and what else is to be known
    of the checkpoint (its repository's own code was not run, it reads padding); empty otherwise.
    ``indistinct`` is the share of a language's candidates that reach the model as the same token
    ids as another one, null for a mean over languages and where nothing is searched.

    Raises:
        NotFoundError: there is nothing at ``path``.
        DataError: outcome files are damaged; ``error.scores`` has the scores of the others.
    """
    tables, damaged = read_each(found_under(path), score_file)
    table = pa.concat_tables(tables) if tables else None
    if damaged:
        raise together(damaged, table)
    return table


def score_file(file: OutcomeFile, units: Collection[str] | None = None) -> pa.Table:
    """The scores of one outcome file (finished parts of an unfinished one included).

    ``units``: only these of the languages in it.
    """
    meta = file.meta()
    card = known_card(file, meta)
    per_language: list[Score] = []
    for _, rows in checked(file, meta, units):
        with consistent(file):
            per_language += KINDS[card.kind].fold(rows, card.shown, meta["split"])
    if units is not None:
        meta["languages"] = [unit for unit in meta["languages"] if unit in units]
    note = "; ".join([*unranked_reasons(meta, card), *meta.get("remarks", ())])
    tied = indistinct_shares(meta)
    common = run_columns(meta) | {
        "provenance": "measured",
        "complete": file.path.exists() and is_complete(card, meta),
        "note": note,
    }
    lines = []
    for score in [*per_language, *macro(per_language)]:
        fields = score._asdict()
        del fields["group"]
        lines.append(common | fields | {"indistinct": tied.get(score.lang)})
    return pa.Table.from_pylist(lines, schema=SCHEMA)


def run_columns(meta: Mapping[str, Any]) -> dict[str, Any]:
    """The columns that are the same in every row of a file, but for what is judged of them."""
    names = ("model", "revision", "base", "track", "protocol", "task", "split", "seed", "signature")
    return {name: meta[name] for name in names} | {"layer": meta["resolved"].get("layer")}


def macro(per_language: Sequence[Score]) -> list[Score]:
    """The unweighted mean over languages of each metric, by group of directions; n is their sum."""
    groups: dict[tuple[str, str], list[Score]] = {}
    for score in per_language:
        groups.setdefault((score.group, score.metric), []).append(score)
    return [
        Score(
            lang=MACRO,
            direction=group,
            group=group,
            metric=metric,
            value=sum(score.value for score in members) / len(members),
            n=sum(score.n for score in members),
        )
        for (group, metric), members in groups.items()
    ]


def unranked_reasons(meta: dict[str, Any], card: TaskCard) -> list[str]:
    """Why these rows are not ranked; nothing for a row that may be."""
    reasons = list(meta["custom"])
    if meta["limit"] is not None:
        reasons.append(f"first {meta['limit']} queries a language")
    if meta["split"] != card.split:
        reasons.append(f"split {meta['split']}")
    if meta["degenerate"]:
        reasons.append(f"degenerate: all vectors (nearly) equal in {', '.join(meta['degenerate'])}")
    reasons += [note for note in meta["notes"] if note not in meta.get("remarks", ())]
    if meta["mixed"]:
        differing = ", ".join(MIXED.get(name, name) for name in meta["mixed"])
        reasons.append(f"languages measured with different {differing}")
    if meta["card_hash"] != card.hash:
        reasons.append(
            f"stale: measured under another version of the card ({meta['task_version']})"
        )
    recipe = meta["resolved"].get("recipe")
    if recipe is not None:
        known = read_target_recipes().get(recipe["name"])
        if known is None or known.short != recipe["hash"]:
            reasons.append(f"stale: tuned by another version of the recipe ({recipe['name']})")
    if meta.get("protocol_version", 1) != PROTOCOL_VERSION:
        reasons.append(
            f"stale: measured under version {meta.get('protocol_version', 1)} of the protocols, now"
            f" {PROTOCOL_VERSION}"
        )
    return reasons


def indistinct_shares(meta: Mapping[str, Any]) -> dict[str, float]:
    """Language → share of its candidates that have their token ids in common with another one.

    Rows of version 1 of the protocols do not say it: they have no language here.
    """
    sizes = meta.get("candidates", {})
    return {
        lang: count / sizes[lang]
        for lang, count in meta.get("indistinct", {}).items()
        if sizes.get(lang)
    }


def indistinct_words(shares: Mapping[str, float | None]) -> str:
    """The languages with more than 5 % of indistinct candidates, largest share first; or nothing.

    Such as ``indistinct candidates: ml 96 %, te 93 %``.
    """
    named = {lang: share for lang, share in shares.items() if share and share > INDISTINCT}
    listed = sorted(named.items(), key=lambda pair: (-pair[1], pair[0]))
    text = ", ".join(f"{lang} {100 * share:.0f} %" for lang, share in listed)
    return f"indistinct candidates: {text}" if text else ""


def is_complete(card: TaskCard, meta: dict[str, Any]) -> bool:
    """Whether the languages of some suite (all of the card's for a task in none) are there."""
    wanted = [
        set(entry.languages or card.languages)
        for entries in read_suites().values()
        for entry in entries
        if entry.task == card.name and (entry.split or card.split) == meta["split"]
    ] or [set(card.languages)]
    whole = meta["limit"] is None and meta["data_complete"]
    return whole and any(languages <= set(meta["languages"]) for languages in wanted)


def by_file(rows: Iterable[Row]) -> list[list[Row]]:
    """The rows of each outcome file, also of one run that lies in several folders.

    In a file languages stand before their means, and nothing stands twice.
    """
    found: list[list[Row]] = []
    last: dict[tuple[Any, ...], tuple[list[Row], set[Any]]] = {}
    for row in rows:
        run = tuple(row[name] for name in RUN)
        own, seen = last.get(run, ([], set()))
        if row["metric"] is not None:
            place = (row["lang"], row["direction"], row["metric"])
            if place in seen or (MACRO in seen and row["lang"] != MACRO):
                own, seen = [], set()
            seen |= {place, row["lang"]}
        if not own:
            found.append(own)
        own.append(row)
        last[run] = own, seen
    return found


def note_row(common: dict[str, Any], note: str) -> pa.Table:
    """A row that says why a task (or the ``lang`` in ``common``) has no score: no value."""
    row = {"lang": MACRO, "direction": "", "n": 0, "complete": False, "note": note}
    return pa.Table.from_pylist([row | common], schema=SCHEMA)
