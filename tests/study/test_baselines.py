"""The rows without a trained model: tf-idf by hand, and random weights that are the same again."""

from __future__ import annotations

from math import log
from pathlib import Path

import numpy as np
import pytest

import harness
from harness.checkpoint.resolve import resolve
from harness.submissions.submission import Submission
from study.baselines import CharacterNgrams, random_weights, submission, texts_of
from tests.checkpoints import build


def test_tf_idf_by_hand() -> None:
    """Of two texts "aa" and "b", with a space at either end.

    " " is in both, so its weight is log(3 / 3) + 1 = 1, and it occurs twice: 1 + log 2. "a" is in
    one: log(3 / 2) + 1, and twice in its text.
    """
    model = CharacterNgrams(["aa", "b"])
    first, second = model.encode(["aa", "b"])
    shared = np.flatnonzero((first > 0) & (second > 0))
    assert len(shared) == 1
    assert first[shared[0]] == pytest.approx(1 + log(2))
    weights = sorted(first[first > 0])
    # " " and "a" twice; " a", "aa", "a ", " aa", "aa " once each.
    rare = log(3 / 2) + 1
    assert weights == pytest.approx(sorted([1 + log(2), (1 + log(2)) * rare, *[rare] * 5]))


def test_case_and_width_of_characters_do_not_count() -> None:
    model = CharacterNgrams(["x"])
    one, other = model.encode(["Ferry", "ｆＥＲＲＹ"])
    assert np.array_equal(one, other)


def test_shared_names_are_found(tmp_path: Path) -> None:
    texts = list(texts_of("demo_bitext", tmp_path, tmp_path))
    assert len(texts) > 20
    result = harness.evaluate(CharacterNgrams(texts), tasks="demo_bitext", languages=["de"],
                              out=tmp_path / "out", cache_dir=tmp_path / "cache",
                              progress=False)  # fmt: skip
    rows = result.to_arrow().to_pylist()
    assert {row["track"] for row in rows} == {"custom"}
    assert all("character n-grams" in row["note"] for row in rows)


def test_random_weights_are_the_same_again(tmp_path: Path) -> None:
    base = build("bert", tmp_path / "base")
    folders = [tmp_path / name for name in ("a", "b", "c")]
    for folder, seed in zip(folders, (1, 1, 2), strict=True):
        random_weights(base, folder, seed)
    same, again, other = ((one / "model.safetensors").read_bytes() for one in folders)
    assert same == again != other
    found = resolve(str(folders[0]))
    assert found.architecture == resolve(str(base)).architecture
    told = submission("base", folders[0])
    import yaml

    read = Submission.model_validate(yaml.safe_load(told))
    assert (read.model, read.revision, read.objective) == ("a", found.revision, "none")
