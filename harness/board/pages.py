"""A Markdown page per checkpoint, and one per recipe that has several seeds."""

from __future__ import annotations

import shlex
from dataclasses import replace
from typing import Any

from harness.analysis.cells import official
from harness.analysis.entries import TRACKS, Entry
from harness.analysis.gather import Board
from harness.analysis.results import Result, Value, board_units
from harness.analysis.variants import on_base, training_seed
from harness.board.markdown import Raw, cell, code, environment, link, table
from harness.board.words import bracketed, percent
from harness.cards.target_recipes import suite_of
from harness.results.scores import MACRO, indistinct_words
from harness.submissions.submission import Submission, overlap_words

EVAL = "xharness eval"


def write(board: Board) -> dict[str, str]:
    """Name under `leaderboard/` → text."""
    files = {}
    page = environment().get_template("checkpoint.md.j2")
    for entry in board.entries:
        files[f"checkpoints/{entry.slug}.md"] = page.render(
            entry=entry,
            facts=_facts(board, entry),
            results=[_result_section(result) for result in entry.results],
            absent=_absent_table(entry),
        )
    page = environment().get_template("variant.md.j2")
    for entry in board.shown:
        if entry.members:
            files[f"checkpoints/{entry.slug}.md"] = page.render(
                entry=entry, facts=_variant_facts(board, entry), seeds=_seed_table(entry)
            )
    return files


def name(entry: Entry, folder: str = "checkpoints/") -> Raw:
    text = link(entry.title, f"{folder}{entry.slug}.md")
    return Raw(f"{text} *(stand-in)*") if entry.stand_in else text


def named(entry: Entry) -> Raw:
    """The variant's name, and its training where the name does not say it."""
    if entry.submission is None or entry.kind == "none":
        return name(entry)
    on = on_base(entry)
    if entry.submission.recipe is not None:
        return Raw(f"{name(replace(entry, title=entry.title.replace(on, '', 1)))} {cell(on)}")
    return Raw(f"{name(entry)}, {cell(entry.kind + on)}")


def scored(value: Value | None) -> Raw:
    if value is None:
        return Raw("—")
    return Raw(f"**{percent(value.value)}** {bracketed(value.low, value.high)}".rstrip())


def command(result: Result, *, every_layer: bool = False) -> str:
    """The command that measures a result again, with ``every_layer`` at all layers at once."""
    meta = result.folded.meta
    resolved = meta["resolved"]
    local = str(meta["revision"]).startswith("local:")
    model = f"./{meta['model']}" if local else f"{meta['model']}@{meta['revision']}"
    words = [*EVAL.split(), model, "--task", result.task]
    if meta["track"] in ("frozen", "native"):
        words += ["--protocol", meta["protocol"]]
    if meta["track"] == "tuned":
        words += ["--finetune"]
        every_layer = False
        recipe = resolved.get("recipe")
        if recipe and (named := suite_of(recipe["name"])):
            words += ["--suite", named]
    card = result.card
    # A suite that names the split has the languages of its own; `eval --split` has the board's.
    split = meta["split"] if "--suite" in words else None
    own = set(board_units(result.task, tuple(card.languages), split))
    there = set(meta["languages"])
    if there == set(card.languages) != own:
        words += ["--suite", "full"]
    elif there != own:
        words += [word for unit in meta["languages"] for word in ("--lang", unit)]
    custom = {str(reason).split(" ", 1)[0] for reason in meta["custom"]}
    if every_layer and "layer" not in custom:
        words += ["--layer", "all"]
    for name in ("pooling", "layer", "dtype"):
        if name in custom:
            words += [f"--{name}", str(resolved[name])]
    if "prompts" in custom:
        for role, prompt in resolved["prompts"].items():
            words += [f"--prompt-{role}", str(prompt)]
    if meta["split"] != card.split:
        words += ["--split", meta["split"]]
    if meta["limit"] is not None:
        words += ["--limit", str(meta["limit"])]
    if meta["seed"]:
        words += ["--seed", str(meta["seed"])]
    return shlex.join(words)


def _variant_facts(board: Board, entry: Entry) -> list[tuple[str, object]]:
    """The facts that hold for every seed."""
    own = ("model", "revision", "note")
    return [(key, value) for key, value in _facts(board, entry) if key not in own]


def _seed_table(entry: Entry) -> Raw:
    rows = [
        (link(member.title, f"{member.slug}.md"), training_seed(member), result.task, result.track,
         result.metric, scored(result.macro))
        for track in TRACKS
        for task in entry.tasks(track)
        for member in entry.members
        for result in [member.tasks(track)[task]]
    ]  # fmt: skip
    headers = ("checkpoint", "seed", "task", "track", "metric", "mean over languages")
    return table(headers, rows, left=1)


def _absent_table(entry: Entry) -> Raw | None:
    """Tasks without a result, with the reason."""
    if entry.attempt is None:
        return None
    rows = [*entry.attempt.without.items(), *entry.attempt.missing.items()]
    return table(("task", "why"), sorted(rows), left=2) if rows else None


def _facts(board: Board, entry: Entry) -> list[tuple[str, object]]:
    submission = entry.submission
    facts: list[tuple[str, object]] = [
        ("model", entry.model),
        ("revision", entry.revision or "pending: pinned at its first evaluation"),
    ]
    if entry.results:
        meta = entry.results[0].folded.meta
        facts.append(("parameters", f"{meta['parameters']:,}" if meta.get("parameters") else "—"))
    if entry.why:
        facts.append(("not measured" if not entry.results else "not measured whole", entry.why))
    if submission is None:
        return [*facts, ("submission", "none: nothing is known of its training")]
    base = submission.base or "—"
    facts += [
        ("kind", entry.kind + (", a stand-in: no evidence" if entry.stand_in else "")),
        ("base", link(base, f"{entry.base}.md") if entry.base else base),
        ("trained on", ", ".join(submission.datasets) or "—"),
        ("languages of that data", " ".join(submission.languages) or "—"),
        ("contaminated", ", ".join(sorted(entry.contaminated)) or "none known"),
        *_overlap(submission),
        ("licence", submission.licence or "not given"),
    ]
    if submission.conversion:
        facts.append(("safetensors", f"from {submission.conversion}: published as a pickle"))
    return facts + [("note", note) for note in submission.notes]


def _overlap(submission: Submission) -> list[tuple[str, object]]:
    """Which targets' examples were found in its training data, where that was measured."""
    if not submission.overlap:
        return []
    return [
        ("contaminated, as declared", ", ".join(submission.contaminated) or "none"),
        ("examples of targets in its training data", overlap_words(submission.overlap)),
    ]


def _result_section(result: Result) -> dict[str, Any]:
    meta = result.folded.meta
    rows = result.folded.table.drop_columns(["draws", "keys", "parts"]).to_pylist()
    metrics = list(dict.fromkeys(row["metric"] for row in rows))
    lines: dict[tuple[str, str], dict[str, dict[str, Any]]] = {}
    for row in rows:
        if row["lang"] != MACRO:
            lines.setdefault((row["lang"], row["direction"]), {})[row["metric"]] = row
    shown = []
    for (lang, direction), values in lines.items():
        first = next(iter(values.values()))
        if not official(result.card, first["group"]):
            continue
        cells: list[object] = [lang, direction or "—", first["n"]]
        for metric in metrics:
            value = values[metric]
            interval = bracketed(value["low"], value["high"])
            text = percent(value["value"])
            cells.append(Raw(f"{text} {interval}".rstrip()) if metric == result.metric else text)
        shown.append(cells)
    why = list(result.notes)
    if result.contaminated:
        why.append("trained on this task's data: not ranked, not contrasted")
    layer = f", layer {result.layer}" if result.layer is not None else ""
    return {
        "title": f"{result.card.title}, {result.track}{layer}",
        "metric": result.metric,
        "mean": None if result.macro is None else scored(result.macro),
        "missing": " ".join(result.missing),
        "why": "; ".join(why),
        "indistinct": indistinct_words(result.indistinct),
        "signature": meta["signature"],
        "harness": " ".join(str(v)[:12] for v in (meta.get("harness") or {}).values() if v),
        "device": f"{meta.get('device', '')}, {meta.get('dtype', '')}",
        "origin": str(result.origin),
        "file": link(result.path, f"../results/{result.path}"),
        "command": code(command(result)),
        "table": table(("language", "direction", "n", *metrics), shown, left=2),
    }
