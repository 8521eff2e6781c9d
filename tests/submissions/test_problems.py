"""Every problem of every submission file, each with its line."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import yaml

from harness.errors import DataError, NotFoundError
from harness.io import strict_yaml
from harness.io.strict_yaml import read_model
from harness.submissions.problems import problems
from harness.submissions.submission import Submission

COMMIT = "a" * 40


def write(folder: Path, slug: str, text: str) -> Path:
    path = folder / f"{slug}.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def found(*paths: Path) -> list[str]:
    """The problems, with file names alone."""
    return [line.replace(f"{paths[0].parent}/", "") for line in problems(paths)]


def test_nothing_wrong(tmp_path: Path) -> None:
    base = write(tmp_path, "base", "model: org/base\nobjective: none\n")
    one = write(tmp_path, "one", f"model: org/one\nrevision: {COMMIT}\nbase: org/base\n"
                "objective: nli\nlanguages: [en]\ndatasets: [MNLI]\n")  # fmt: skip
    assert problems([base, one]) == []


@pytest.mark.parametrize(
    "text",
    [
        r'"\e[2J\n::error::hacked": 1',
        "!<tag:x%0A::error::hacked%1B%5B2J> {x: 1}",
        "model: !<%0A%E2%80%A8::error::hacked> x",
        r'model: {"\n::error::hacked": 1, "\n::error::hacked": 2}',
        '"\\n::error::hacked": 1\n"\\n::error::hacked": 2',
    ],
)
def test_text_of_others_cannot_command_a_log(tmp_path: Path, text: str) -> None:
    path = write(tmp_path, "x", text + "\n")
    lines = problems([path])
    assert any("hacked" in line for line in lines)
    assert all(line.startswith(str(path)) and line.isprintable() for line in lines)
    with pytest.raises(DataError) as raised:
        read_model(path, Submission)
    assert str(raised.value).isprintable()


def test_the_name_of_a_file_is_text_of_others_too(tmp_path: Path) -> None:
    (line,) = problems([write(tmp_path, "x\n::error::", "model: org/x\nobjective: none\n")])
    assert line.isprintable()
    assert "name it <slug>.yaml" in line


def test_every_problem_of_a_file_with_its_line(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        "x",
        "model: a b\n"  # 1
        "revison: main\n"  # 2
        "objective: extractiv-qa\n"  # 3
        "languages:\n"  # 4
        "- en\n"
        "- germann\n"  # 6
        "- 7\n"  # 7
        "datasets: [SQuAD, XQuAD]\n"  # 8
        "contaminated: [tydqa]\n"  # 9
        "base_revision: main\n"  # 10
        "stand_in: maybe\n"  # 11
        "notes: none\n"  # 12
        "conversion: refs/pr/0\n",  # 13
    )
    lines = found(path)
    for expected in (
        "x.yaml:1: model: ",
        "x.yaml:2: unknown key revison: did you mean revision?",
        "x.yaml:3: objective: unknown value 'extractiv-qa': did you mean extractive-qa",
        "x.yaml:6: languages.1: unknown language 'germann'",
        "x.yaml:7: languages.2: Input should be a valid string",
        "x.yaml:8: datasets.1: 'XQuAD' is data of the target task xquad: add it to contaminated",
        "x.yaml:9: contaminated.0: unknown target task 'tydqa': did you mean tydiqa",
        "x.yaml:10: base_revision: 'main' is neither a commit",
        "x.yaml:11: stand_in: Input should be a valid boolean",
        "x.yaml:12: notes: Input should be a valid list",
        "x.yaml:13: conversion: String should match",
    ):
        assert [line for line in lines if line.startswith(expected)], (expected, lines)
    assert len(lines) == 11
    assert not [line for line in lines if "\n" in line]


def test_what_does_not_go_together_is_told_beside_wrong_values(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        "x",
        f"model: org/x\nobjective: nli\nprotocol: nativ\nbase_revision: {COMMIT}\nrecipe: r1\n"
        "conversion: refs/pr/3\n",
    )
    assert found(path) == [
        "x.yaml:3: protocol: unknown value 'nativ': did you mean native?",
        "x.yaml:2: objective nli needs the languages of its data",
        "x.yaml:4: base_revision without base",
        "x.yaml:5: recipe and seed go together: the training, and the seed of it; seed is missing",
        "x.yaml:5: recipe without base: seeds are of one recipe on one base",
        "x.yaml:6: conversion of a checkpoint that is not pinned to a revision",
    ]


def test_what_is_no_strict_yaml(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        "x",
        "model: &m org/x\nmodel: org/y\nbase: *m\nobjective: !!str none\n<<: {notes: [a]}\n",
    )
    assert found(path)[:5] == [
        "x.yaml:1: anchor &m: remove it",
        "x.yaml:2: key 'model' given twice",
        "x.yaml:3: alias *m: write the value out",
        "x.yaml:4: tag tag:yaml.org,2002:str: remove it, cards are plain data",
        "x.yaml:5: merge key <<: write the values out",
    ]
    broken = write(tmp_path, "broken", "model: org/x\nnotes: [a\n")
    assert len(found(broken)) == 1
    assert found(broken)[0].startswith("broken.yaml:3: ")
    assert found(write(tmp_path, "list", "- a\n")) == [
        "list.yaml:1: not a mapping of fields: see CONTRIBUTING.md"
    ]
    assert found(write(tmp_path, "empty", "")) == ["empty.yaml: empty"]


def test_text_that_utf8_cannot_hold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for loader in (strict_yaml._LOADER, yaml.SafeLoader):  # the C parser, and that without it
        monkeypatch.setattr(strict_yaml, "_LOADER", loader)
        for text in ('model: "org/\\ud800"\n', 'model: org/x\n"\\ud800": 1\n'):
            (problem, *_) = found(write(tmp_path, "x", text))
            assert problem.startswith(f"x.yaml:{text.count(chr(10))}: ")
            assert problem.isprintable()
        (tmp_path / "bytes.yaml").write_bytes(b"model: org/\xed\xa0\x80\n")
        assert found(tmp_path / "bytes.yaml") == [
            "bytes.yaml: not UTF-8 at byte 11: save it as UTF-8"
        ]


def test_among_the_files_beside_it(tmp_path: Path) -> None:
    qa = "objective: extractive-qa\nlanguages: [en]\n"
    one = write(tmp_path, "one", f"model: org/one\nbase: org/three\n{qa}")
    two = write(tmp_path, "two", f"model: org/one\n{qa}")
    write(tmp_path, "three", f"model: org/three\nbase: org/one\n{qa}")
    write(tmp_path, "wrong", "model: org/wrong\n")
    assert found(two) == ["two.yaml:1: model: org/one is submitted by one.yaml already: keep one"]
    assert found(one) == [
        "one.yaml:1: model: org/one is submitted by two.yaml already: keep one",
        "one.yaml:2: base: bases go round in a circle: one → three → one",
    ]


def test_a_base_that_nothing_would_be_inherited_from(tmp_path: Path) -> None:
    qa = "objective: extractive-qa\nlanguages: [en]\n"
    write(tmp_path, "base", f"model: org/base\nrevision: {COMMIT}\n{qa}contaminated: [tydiqa]\n")
    other = write(tmp_path, "a", f"model: org/a\nbase: org/base\nbase_revision: {'b' * 40}\n{qa}")
    alias = write(tmp_path, "b", f"model: org/b\nbase: base\n{qa}")
    unknown = write(tmp_path, "c", f"model: org/c\nbase: org/elsewhere\n{qa}")
    assert found(other, alias, unknown) == [
        "a.yaml:3: base_revision: org/base is submitted at aaaaaaaaaaaa, so nothing is inherited"
        " from this one: submit it too, or name that",
        "b.yaml:2: base: base is not submitted: did you mean org/base?",
    ]


def test_a_base_at_several_revisions_and_the_same_weights_twice(tmp_path: Path) -> None:
    qa = "objective: extractive-qa\nlanguages: [en]\n"
    for slug, digit in (("new", "b"), ("old", "a")):
        write(tmp_path, slug, f"model: org/base\nrevision: {digit * 40}\n{qa}")
    child = write(tmp_path, "child", f"model: org/child\nbase: org/base\n{qa}")
    local = f"revision: local:{'2' * 64}\n{qa}"
    one = write(tmp_path, "one", f"model: one\n{local}")
    write(tmp_path, "two", f"model: two\n{local}")
    new = tmp_path / "new.yaml"
    assert found(child, one, new) == [
        "child.yaml:2: base: org/base is submitted at several revisions, by new.yaml, old.yaml:"
        " give base_revision",
        "one.yaml:1: model: the checkpoint of one is submitted by two.yaml already: keep one",
        "new.yaml:2: revision: child.yaml has org/base as its base, without saying which of its"
        " revisions: give base_revision there",
    ]


def test_one_seed_of_a_recipe_twice(tmp_path: Path) -> None:
    same = "base: org/base\nobjective: nli\nlanguages: [en]\nrecipe: r1\nseed: 1\n"
    one = write(tmp_path, "one", f"model: org/one\n{same}")
    write(tmp_path, "two", f"model: org/two\n{same}")
    assert found(one) == [
        "one.yaml:6: seed: 1 of r1 is two.yaml already: give another seed or recipe"
    ]


def test_seeds_of_a_recipe_that_were_trained_for_different_things(tmp_path: Path) -> None:
    how = "base: org/base\nobjective: {}\nlanguages: {}\nrecipe: r1\nseed: {}\n"
    one = write(tmp_path, "one", "model: org/one\n" + how.format("nli", "[en, de]", 1))
    two = write(tmp_path, "two", "model: org/two\n" + how.format("nli", "[de, en]", 2))
    assert found(one, two) == []
    write(tmp_path, "two", "model: org/two\n" + how.format("nli", "[en]", 2))
    assert found(one) == [
        "one.yaml:5: recipe: r1 is English NLI (en) in two.yaml: seeds of a recipe differ in"
        " nothing else; give another recipe"
    ]
    write(tmp_path, "three", "model: org/three\n" + how.format("nli", "[en]", 3))
    (line,) = found(one)
    assert "(en) in three.yaml and 1 more: seeds" in line


def test_names_of_files(tmp_path: Path) -> None:
    text = "model: org/x\nobjective: none\n"
    (tmp_path / "x.yml").write_text(text)
    (tmp_path / "a b.yaml").write_text(text)
    for name in ("x.yml", "a b.yaml"):
        assert any("name it <slug>.yaml" in line for line in problems([tmp_path / name]))
    with pytest.raises(NotFoundError, match=r"no such file: .*one\.yaml, .*two\.yaml"):
        problems([tmp_path / "one.yaml", tmp_path / "a b.yaml", tmp_path / "two.yaml"])


@pytest.mark.parametrize(
    "name",
    ["../x", "-rf", "org/-rf", "org/n\u00e4me", "org\ufb01/name", "org/a--b", "a/b.git", "o/.x"],
)
def test_an_id_that_cannot_exist(tmp_path: Path, name: str) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(f'model: "{name}"\nobjective: none\n', encoding="utf-8")
    (line,) = problems([path])
    assert "cannot be an id" in line


def test_a_pipe_beside_the_file_and_a_flood_of_keys(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(
        "model: org/name\nobjective: none\n" + "".join(f"k{n}: 1\n" for n in range(2_000))
    )
    os.mkfifo(tmp_path / "b.yaml")
    found = problems([path])
    assert len(found) == 51
    assert found[-1].endswith("and 1950 more problems")
