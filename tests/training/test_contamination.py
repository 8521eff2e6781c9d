"""What of the targets' data a training has seen: which texts count, and where counts are kept."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any, get_args

import pytest

from harness.cards.catalogue import read_card
from harness.cards.training import read_intermediate
from harness.data import layout
from harness.data.examples import Bitext, Mining, Query, Question, QuestionSet, Retrieval
from harness.data.load import DataLocation
from harness.kinds import KINDS
from harness.training import contamination, output
from harness.training.contamination import TARGET, TRAINED, as_record, measure, shares
from harness.training.data.examples import (
    Choice,
    Classified,
    Example,
    Matched,
    Span,
    Tagged,
    Text,
    TrainingSet,
)
from harness.training.data.reading import read
from harness.training.overlap import Counts


def test_every_kind_has_its_texts() -> None:
    assert set(TARGET) >= set(KINDS)
    assert set(TRAINED) == set(get_args(Example))


@pytest.mark.parametrize(
    ("example", "texts"),
    [
        (Span("i", "en", "who?", "the passage", "passage", 4), ["who?", "the passage"]),
        (Classified("i", "en", "one", "two", 0), ["one", "two"]),
        (Classified("i", "en", "one", None, 0), ["one"]),
        (Choice("i", "en", "so", ("this", "that"), 1), ["so", "this", "that"]),
        (Tagged("i", "en", ("a", "b"), (0, 1)), ["a b"]),
        (Matched("i", "en", "query", "text", "de"), ["query", "text"]),
        (Text("i", "en", "a text"), ["a text"]),
    ],
)
def test_texts_of_training(example: Example, texts: list[str]) -> None:
    assert list(TRAINED[type(example)](example)) == texts


POOL = Retrieval(
    ("en:0", "de:0", "de:1"),
    ("one", "eins", "zwei"),
    ("en", "de", "de"),
    {"de": (Query("q", "welche?", "c", (0, 1)),)},
)
CORPORA = Mining(
    "zh", "dev", {"a": "天", "b": "地"}, {"x": "heaven", "y": "y"}, frozenset({("a", "x")})
)
ASKED = QuestionSet("de", "es", (Question("q", "¿quién?", "Absatz", ("a",), "c"),))


@pytest.mark.parametrize(
    ("kind", "examples", "unit", "texts"),
    [
        ("bitext", {"de": Bitext("de", ("eins", "zwei"), ("one", "two"))}, "de",
         [("eins", "one"), ("zwei", "two")]),
        ("mining", {"zh": {"dev": CORPORA}}, "zh", [("天", "heaven")]),
        ("passages", POOL, "de", [("welche?", "eins")]),
        ("span_qa", {"de-es": ASKED}, "de-es", [("¿quién?", "Absatz")]),
    ],
)  # fmt: skip
def test_texts_of_targets(kind: str, examples: Any, unit: str, texts: list[Any]) -> None:
    assert TARGET[kind](examples, unit, "dev") == texts


GERMAN = ["Ja.", "Es schneit heute.", "Wo ist der Hund?", "Nein!"]
ENGLISH = ["Yes.", "It is snowing today.", "Where is the dog?", "No!"]


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DataLocation:
    """Four sentences of Tatoeba in German, and no other target."""
    monkeypatch.setattr(layout, "read_checksums", dict)
    for code, lines in (("deu", GERMAN), ("eng", ENGLISH)):
        write(tmp_path / f"data/tatoeba/tatoeba.deu-eng.{code}", lines)
    return DataLocation(tmp_path / "data", tmp_path / "cache")


def write(path: Path, lines: list[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def trained(*texts: str, route: str = "folder") -> TrainingSet:
    return TrainingSet([Text(str(i), "en", text) for i, text in enumerate(texts)], (), route, {})


def test_what_is_there_is_measured_and_nothing_else(data: DataLocation) -> None:
    found = measure([trained("it is SNOWING today"), trained("Nein", "Where is?")], data)
    assert found == {"tatoeba": {"test": {"de": Counts(4, exact=2, run=0, either=2)}}}
    assert shares(found) == {"tatoeba": {"test": {"de": 0.5}}}
    assert as_record(found)["tatoeba"]["test"]["de"] == {
        "examples": 4, "exact": 2, "run": 0, "either": 2, "share": 0.5,
    }  # fmt: skip
    assert shares(measure([trained("nothing of it")], data)) == {"tatoeba": {"test": {}}}


def test_counted_once_for_a_pair_of_data_sets(
    data: DataLocation, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = measure([trained("Ja", "Yes")], data)

    def never(*arguments: object) -> object:
        raise AssertionError("counted again")

    with monkeypatch.context() as patched:
        patched.setattr(contamination, "load", never)
        # Neither order nor repetition makes other data of it, nor several sets.
        assert measure([trained("Yes"), trained("Ja", "Yes")], data) == first
        with pytest.raises(AssertionError, match="counted again"):
            measure([trained("yes", "Ja")], data)
    kept = list((data.cache / contamination.FOLDER).iterdir())
    assert len(kept) == 1
    document = json.loads(kept[0].read_text())
    kept[0].write_text(json.dumps(document | {"training": "another"}))
    assert measure([trained("Ja", "Yes")], data) == first
    kept[0].write_text("{")
    assert measure([trained("Ja", "Yes")], data) == first
    assert data.data is not None
    write(data.data / "tatoeba/tatoeba.deu-eng.deu", ["Ja.", "ja", "JA", "Jaja"])
    again = measure([trained("Ja")], data)
    assert again["tatoeba"]["test"]["de"].exact == 3


def test_data_that_cannot_be_read_costs_itself_alone(data: DataLocation) -> None:
    assert data.data is not None
    write(data.data / "xquad/xquad.en.json", ["{"])
    told: list[str] = []
    found = measure([trained("Ja")], data, told.append)
    assert list(found) == ["tatoeba"]
    assert len(told) == 1
    assert told[0].startswith("the overlap with xquad (test) is not measured: ")


def test_nothing_is_downloaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from harness.data import official

    def never(*arguments: object) -> object:
        raise AssertionError("downloaded")

    monkeypatch.setattr(official, "fetch", never)
    assert measure([trained("Ja")], DataLocation(None, tmp_path)) == {}


def test_the_demos_data_is_measured_on_the_demos_targets(tmp_path: Path) -> None:
    found = measure([trained("Ja", route="package")], DataLocation(None, tmp_path))
    assert set(found) == {name for name in found if name.startswith("demo_")}
    assert {read_card(name).kind for name in found} == set(KINDS)


def test_english_xquad_is_in_the_english_of_xquad_and_lareqa(
    data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(contamination, "card_names", lambda: ("lareqa", "xquad"))
    location = DataLocation(data_dir, tmp_path, offline=True)
    read_whole = read(read_intermediate("xquad"), location)
    english = [one for one in read_whole.examples if one.lang == "en"]
    found = measure([TrainingSet(english, (), "folder", {})], location)
    assert found["xquad"]["test"]["en"] == Counts(1190, exact=1190, run=1190, either=1190)
    for target in ("xquad", "lareqa"):
        counts = found[target]["test"]
        assert counts["en"].share == 1.0
        assert all(one.share < 0.05 for lang, one in counts.items() if lang != "en")


def test_what_the_base_has_seen_its_training_has_seen(tmp_path: Path) -> None:
    (tmp_path / "submission.yaml").write_text(
        "model: base\nobjective: nli\nlanguages: [en]\ncontaminated: [xquad]\n"
    )
    record: Any = SimpleNamespace(
        base=SimpleNamespace(local=True, folder=tmp_path),
        cards=[SimpleNamespace(contaminates=["mlqa", "xquad"])],
    )
    assert output._contaminated(record) == ["lareqa", "mlqa", "xquad"]  # of the same texts
    record.cards = []
    assert output._contaminated(record) == ["lareqa", "xquad"]
    record.base.local = False
    assert output._contaminated(record) == []
