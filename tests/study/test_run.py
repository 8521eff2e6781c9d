"""A unit of the study: what it runs, and what becomes of rows of other weights."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

import pytest

from study import run as study

NAME, OLD, NEW = "e5-mlqa_en-s1", "0" * 12, "1" * 12


@pytest.fixture
def commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The commands and tasks that a unit ran; its training gives the weights ``NEW``."""
    ran: list[str] = []

    def xharness(command: str, *words: object) -> None:
        if command == "train":
            ran.append("train")
            folder = Path(str(words[words.index("--out") + 1]))
            folder.mkdir()
            (folder / "submission.yaml").write_text(f"model: {NAME}\nrevision: local:{NEW}ab\n")
        else:
            task = str(words[words.index("--task") + 1])
            ran.append(task)
            keep(tmp_path / "results", NEW, task)

    monkeypatch.setattr(study, "RESULTS", tmp_path / "results")
    monkeypatch.setattr(study, "SUBMISSIONS", tmp_path)
    monkeypatch.setattr(study, "xharness", xharness)
    return ran


def keep(results: Path, revision: str, task: str) -> None:
    folder = results / f"local__{NAME}" / revision
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{task}.01234567.parquet").touch()


def unit(tmp_path: Path, *tasks: str) -> list[str]:
    given = Namespace(base="b", data="d", work=tmp_path, align=False)
    study.run("mlqa_en", 1, tasks, given)
    kept = (tmp_path / "results" / f"local__{NAME}").glob("*/*")
    return sorted(f"{path.parent.name[0]} {path.name.split('.')[0]}" for path in kept)


def test_a_unit_measures_what_is_missing(tmp_path: Path, commands: list[str]) -> None:
    keep(tmp_path / "results", NEW, "tatoeba")
    assert unit(tmp_path, "lareqa") == ["1 lareqa", "1 tatoeba"]
    assert commands == ["train", "lareqa"]
    assert unit(tmp_path, "tatoeba", "lareqa") == ["1 lareqa", "1 tatoeba"]
    assert commands == ["train", "lareqa"]  # nothing is run again


def test_other_weights_than_those_of_the_rows_are_measured_anew(
    tmp_path: Path, commands: list[str]
) -> None:
    keep(tmp_path / "results", OLD, "tatoeba")
    every = study.tasks_of("mlqa_en", 1)
    assert unit(tmp_path, "lareqa") == sorted(f"1 {task}" for task in every)
    assert commands == ["train", *every]
    assert f"local:{NEW}ab" in (tmp_path / f"{NAME}.yaml").read_text()


def test_a_unit_that_was_stopped_on_other_weights_goes_on(
    tmp_path: Path, commands: list[str]
) -> None:
    keep(tmp_path / "results", OLD, "tatoeba")
    keep(tmp_path / "results", NEW, "lareqa")
    every = study.tasks_of("mlqa_en", 1)
    assert unit(tmp_path, "lareqa") == sorted(f"1 {task}" for task in every)
    assert not (tmp_path / "results" / f"local__{NAME}" / OLD).exists()


def test_the_other_targets_are_measured_of_some_units_and_of_the_base() -> None:
    retrieval = ("tatoeba", "lareqa", "bucc2018")
    assert study.tasks_of("mlqa_en", 3) == (*retrieval, *study.SMALL)
    assert study.tasks_of("mlqa_en", 4) == study.tasks_of("xnli_dev_en", 1) == retrieval
    assert study.tasks_of("base", 1) == study.SMALL
    assert [seed for arm, seed in study.units() if arm == "base"] == [1, 2, 3]


def test_a_tuning_has_the_seed_of_its_unit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[str] = []
    monkeypatch.setattr(study, "xharness", lambda *words: ran.append(" ".join(map(str, words))))
    study.measure(Path("b"), ["bucc2018", "udpos"], 2, Namespace(data="d", work=tmp_path))
    assert ["--seed" in one for one in ran] == [False, True]
    assert "--task udpos --suite xtreme-small --finetune --dtype bfloat16 --seed 2" in ran[1]


def test_no_cache_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both versions of XCOPA share a tuning, which the cache holds."""
    there: list[bool] = []

    def xharness(*words: object) -> None:
        there.append((tmp_path / "cache").exists())
        (tmp_path / "cache").mkdir(exist_ok=True)

    monkeypatch.setattr(study, "xharness", xharness)
    given = Namespace(data="d", work=tmp_path)
    study.measure(Path("b"), ["pawsx", "xcopa", "xcopa_corrected"], 1, given)
    assert there == [False, False, True]
    study.measure(Path("b"), ["xcopa"], 1, given)
    assert not (tmp_path / "cache").exists()
