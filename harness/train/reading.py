"""Files → examples of an intermediate task: one reader for each format of a card."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from harness.errors import DataError
from harness.formats import LocalFile
from harness.formats.files import read_lines, read_text
from harness.formats.questions import Asked, read_questions
from harness.sources import Where
from harness.train.cards import IntermediateCard
from harness.train.deal import choose, deal
from harness.train.examples import (
    Choice,
    Classified,
    Example,
    Matched,
    Span,
    Tagged,
    Text,
    TrainingSet,
)
from harness.train.records import column, read_records, texts
from harness.train.sources import Files, fetch, file_of
from harness.train.splitting import sentence_at

# Answers that are not at their offset: a few are a fact of old files, many are another format.
MOST_MISPLACED = 0.01
LETTERS = {letter: str(number) for number, letter in enumerate("ABCDE")}

Found = dict[str, list[Example]]  # language → its examples, in the order of the files


def read(card: IntermediateCard, where: Where, most: int | None = None) -> TrainingSet:
    """A task's examples, read, dealt out over its languages, and cut to ``most``.

    Raises:
        IncompleteError: no files. DataError: not the official schema, or no examples at all.
    """
    files = fetch(card, where)
    notes: list[str] = []
    labels = list(card.labels)
    found = READERS[card.source.format](card, files, labels, notes)
    examples = _dealt(card, found) if card.deal else [e for group in found.values() for e in group]
    examples = [examples[at] for at in choose([e.item for e in examples], most)]
    if not examples:
        names = ", ".join(list(files.digests)[:3])
        why = f" ({'; '.join(notes)})" if notes else ""
        raise DataError(f"{card.name}: no examples in {names}{why}: nothing to train on")
    return TrainingSet(
        examples, tuple(labels), files.route, files.digests, files.revision, tuple(notes)
    )


def _dealt(card: IntermediateCard, found: Found) -> list[Example]:
    """Every item of one language's file once, in the language that it is dealt to."""
    assert card.deal is not None
    by_item = {lang: {one.item: one for one in examples} for lang, examples in found.items()}
    partners = card.deal.partners
    available = {
        one.item: [
            lang
            for lang in card.languages
            if one.item in by_item[lang] and not (partners and lang == card.deal.items)
        ]
        for one in found[card.deal.items]
    }
    for item, langs in available.items():
        if not langs:
            raise DataError(f"{card.name}: {item} is in no other language: not parallel files")
    return [by_item[lang][item] for item, lang in deal(available, card.deal.seed).items()]


def _squad(card: IntermediateCard, files: Files, labels: list[str], notes: list[str]) -> Found:
    """Questions on contexts; of a dual encoder with their answer's sentence, of MLM contexts."""
    del labels
    found: Found = {}
    for lang in card.languages:
        asked = [
            (_item(card, lang, number, one), one)
            for number, one in enumerate(_questions(card, files, lang))
        ]
        if card.kind == "mlm":
            contexts = {one.context: item for item, one in reversed(asked)}
            kept = [Text(item, lang, text) for text, item in contexts.items()]
            found[lang] = list(reversed(kept))
            continue
        spans = _spans(card, lang, asked, notes)
        if card.kind == "dual_encoder":
            found[lang] = [_with_sentence(one) for one in spans if one.start is not None]
        else:
            found[lang] = list(spans)
    return found


def _questions(card: IntermediateCard, files: Files, lang: str) -> list[Asked]:
    """A language's questions; of a file of all languages those whose ids begin with its name."""
    roles = sorted({role for _, role in files.files})
    asked = [one for role in roles for one in read_questions(file_of(files, lang, role))]
    if card.source.format != "tydiqa" or not any("-" in one.id for one in asked):
        return asked
    code = card.source.codes.get(lang, lang)
    return [one for one in asked if one.id.startswith(f"{code}-")]


def _item(card: IntermediateCard, lang: str, number: int, one: Asked) -> str:
    # XTREME's copy of TyDiQA keeps the last number of an id only, so that ids repeat.
    return f"{lang}:{number}" if card.source.format == "tydiqa" else one.id


def _spans(
    card: IntermediateCard, lang: str, asked: Sequence[tuple[str, Asked]], notes: list[str]
) -> list[Span]:
    spans: list[Span] = []
    misplaced = 0
    for item, one in asked:
        if not one.answers:
            if not card.unanswerable:
                raise DataError(f"{one.place}: question {one.id} has no answer: not this task's")
            spans.append(Span(item, lang, one.question, one.context, "", None))
            continue
        answer, start = one.answers[0], one.starts[0]
        if not answer or start < 0 or not one.context.startswith(answer, start):
            misplaced += 1
            continue
        spans.append(Span(item, lang, one.question, one.context, answer, start))
    if misplaced > MOST_MISPLACED * len(asked):
        raise DataError(
            f"{card.name} {lang}: {misplaced} of {len(asked)} answers are empty or not at their "
            "offset: not the official files, or stripped of their answers"
        )
    if misplaced:
        notes.append(f"{misplaced} of {len(asked)} in {lang} left out: answer not at its offset")
    return spans


def _with_sentence(one: Span) -> Matched:
    """The candidate as LAReQA has it: the answer's sentence, then its context, nothing between."""
    assert one.start is not None
    sentence = sentence_at(one.context, one.start, one.start + len(one.answer))
    text = f"{sentence}{one.context}".replace("\n", "")
    return Matched(one.item, one.lang, one.question.strip(), text)


def _records(card: IntermediateCard, files: Files, labels: list[str], notes: list[str]) -> Found:
    found: Found = {}
    skipped = 0
    for lang in card.languages:
        examples: list[Example] = []
        for role in _roles(card, files):
            file, columns = file_of(files, lang, role), files.columns[role]
            for number, (place, record) in enumerate(
                read_records(file, header=_header(card, role))
            ):
                item = f"{role}:{number}"
                value = str(column(record, str(columns["label"]), place)).strip()
                if value in card.skip_labels:
                    skipped += 1
                    continue
                if card.kind == "classification":
                    first = " ".join(texts(record, columns["first"], place))
                    second = columns.get("second")
                    examples.append(
                        Classified(
                            item,
                            lang,
                            first,
                            " ".join(texts(record, second, place)) if second else None,
                            _label(card, value, labels, place),
                        )
                    )
                else:
                    prompt = " ".join(texts(record, columns["prompt"], place))
                    choices = tuple(texts(record, columns["choices"], place))
                    right = _position(card, value, len(choices), place)
                    examples.append(Choice(item, lang, prompt, choices, right))
        found[lang] = examples
    if skipped:
        notes.append(f"{skipped} without a label left out")
    return found


def _roles(card: IntermediateCard, files: Files) -> list[str]:
    there = {role for _, role in files.files}
    return [role for role in files.columns if role in there]


def _header(card: IntermediateCard, role: str) -> bool:
    file = card.source.splits[card.split].files.get(role)
    return file is None or file.header


def _label(card: IntermediateCard, value: str, labels: Sequence[str], place: str) -> int:
    name = card.label_names.get(value, value)
    if name not in labels:
        known = ", ".join((*card.label_names, *labels))
        raise DataError(f"{place}: label {value[:40]!r} is not one of {known}")
    return labels.index(name)


def _position(card: IntermediateCard, value: str, choices: int, place: str) -> int:
    text = card.label_names.get(value, LETTERS.get(value, value))
    if not text.isdecimal() or not 0 <= int(text) < choices:
        raise DataError(f"{place}: label {value[:40]!r} is none of its {choices} choices")
    return int(text)


def _parallel_records(
    card: IntermediateCard, files: Files, labels: list[str], notes: list[str]
) -> Found:
    """The same row of every language's file is the same item; each text of a row once.

    The query is the text in the dealt item's language, the other one its translation.
    """
    del labels, notes
    assert card.deal is not None
    (role,) = {role for _, role in files.files}
    rows: dict[str, list[list[str]]] = {}
    for lang in card.languages:
        file, paths = file_of(files, lang, role), files.columns[role]["texts"]
        records = read_records(file, header=_header(card, role))
        rows[lang] = [texts(record, paths, place) for place, record in records]
    return _pairs(card, rows)


def _parallel_lines(
    card: IntermediateCard, files: Files, labels: list[str], notes: list[str]
) -> Found:
    """One sentence a line; the same line of every language's file is the same item."""
    del labels, notes
    (role,) = {role for _, role in files.files}
    return _pairs(
        card,
        {
            lang: [[line] for line in read_lines(file_of(files, lang, role))]
            for lang in card.languages
        },
    )


def _pairs(card: IntermediateCard, rows: Mapping[str, list[list[str]]]) -> Found:
    if card.deal is None:
        raise DataError(f"{card.name}: parallel files need `deal` in the card")
    anchor = card.deal.items
    for lang, own in rows.items():
        if len(own) != len(rows[anchor]):
            raise DataError(
                f"{card.name}: {len(own)} rows in {lang}, {len(rows[anchor])} in {anchor}: the "
                "files are not parallel"
            )
    wanted: dict[str, tuple[int, int]] = {}
    for row, fields in enumerate(rows[anchor]):
        for place, text in enumerate(fields):
            wanted.setdefault(text, (row, place))
    return {
        lang: [
            Matched(f"{row}.{place}", lang, text, rows[lang][row][place])
            for text, (row, place) in wanted.items()
        ]
        for lang in rows
    }


def _conll(card: IntermediateCard, files: Files, labels: list[str], notes: list[str]) -> Found:
    """``token<TAB>tag`` a line, a blank line between sentences; all tags, without a card's own."""
    del notes
    roles = sorted({role for _, role in files.files})
    sentences = {
        lang: [s for role in roles for s in _sentences(file_of(files, lang, role))]
        for lang in card.languages
    }
    if not labels:
        labels += sorted({tag for own in sentences.values() for _, _, tags in own for tag in tags})
    ids = {label: number for number, label in enumerate(labels)}
    found: Found = {}
    for lang, own in sentences.items():
        examples: list[Example] = []
        for number, (place, words, tags) in enumerate(own):
            unknown = next((tag for tag in tags if tag not in ids), None)
            if unknown is not None:
                raise DataError(f"{place}: tag {unknown[:40]!r} is not one of the card's")
            examples.append(Tagged(str(number), lang, words, tuple(ids[tag] for tag in tags)))
        found[lang] = examples
    return found


def _sentences(file: LocalFile) -> Iterator[tuple[str, tuple[str, ...], tuple[str, ...]]]:
    words: list[str] = []
    tags: list[str] = []
    for number, line in enumerate([*read_text(file).split("\n"), ""], start=1):
        fields = line.strip().split("\t")
        if fields == [""]:
            if words:
                yield f"{file.name}:{number}", tuple(words), tuple(tags)
            words, tags = [], []
            continue
        if len(fields) < 2 or not fields[0] or not fields[-1]:
            raise DataError(f"{file.name}:{number}: not `token<TAB>tag`: not the official schema")
        words.append(fields[0])
        tags.append(fields[-1])


def _lines(card: IntermediateCard, files: Files, labels: list[str], notes: list[str]) -> Found:
    del labels, notes
    roles = sorted({role for _, role in files.files})
    found: Found = {}
    for lang in card.languages:
        lines = [
            line.strip()
            for role in roles
            for line in read_text(file_of(files, lang, role)).split("\n")
        ]
        found[lang] = [Text(str(at), lang, line) for at, line in enumerate(lines) if line]
    return found


Reader = Callable[[IntermediateCard, Files, list[str], list[str]], Found]
READERS: Mapping[str, Reader] = {
    "squad": _squad,
    "tydiqa": _squad,
    "records": _records,
    "parallel_records": _parallel_records,
    "parallel_lines": _parallel_lines,
    "conll": _conll,
    "lines": _lines,
}
