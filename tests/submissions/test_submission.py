"""Submissions: strict YAML, and contamination through the base."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.errors import DataError
from harness.io.strict_yaml import parse, validated
from harness.submissions.folder import read_submissions
from harness.submissions.submission import (
    Submission,
    base_of,
    contamination,
    find_slug,
    is_contaminated,
    kin_contamination,
    kind_of,
    overlap_words,
    own_contamination,
    target_data,
)  # fmt: skip
from harness.submissions.submission_yaml import as_yaml

COMMIT = "a" * 40


def write(folder: Path, slug: str, text: str) -> None:
    (folder / f"{slug}.yaml").write_text(text, encoding="utf-8")


def test_all_fields(tmp_path: Path) -> None:
    write(
        tmp_path,
        "variant",
        f"model: org/variant\nrevision: {COMMIT}\nbase: org/base\nbase_revision: {'b' * 40}\n"
        "objective: extractive-qa\nlanguages: [en, deu]\ndatasets: [SQuAD v1.1]\n"
        "contaminated: [xquad]\nlicence: MIT\nprotocol: native\nstand_in: true\nnotes: [a note]\n",
    )
    (slug, found), = read_submissions(tmp_path).items()  # fmt: skip
    assert slug == "variant"
    assert found.languages == ["en", "de"]  # codes as rows carry them
    assert (found.protocol, found.stand_in, found.pending) == ("native", True, False)


def test_pending_without_revision(tmp_path: Path) -> None:
    write(tmp_path, "base", "model: org/base\nobjective: none\n")
    assert read_submissions(tmp_path)["base"].pending
    assert read_submissions(tmp_path / "none") == {}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("model: org/x\nobjective: magic\n", "objective"),
        ("model: org/x\nobjective: none\nrevision: main\n", "neither a commit"),
        ("model: org/x\nobjective: none\nrevison: x\n", "did you mean revision"),
        ("model: a b\nobjective: none\n", "model"),
        ("model: org/x\nobjective: nli\n", "needs the languages"),
        ("model: org/x\nobjective: none\nlanguages: [en]\n", "without intermediate"),
        ("model: org/x\nobjective: nli\nlanguages: [xx1]\n", "unknown language"),
        (
            "model: org/x\nobjective: none\ncontaminated: [tydqa]\n",
            "unknown target task .* did you mean tydiqa",
        ),
        (f"model: org/x\nobjective: none\nbase_revision: {COMMIT}\n", "without base"),
        ("model: org/x\nobjective: none\nstand_in: 1\n", "stand_in"),
    ],
)
def test_refused_with_file_and_line(tmp_path: Path, text: str, words: str) -> None:
    write(tmp_path, "x", text)
    with pytest.raises(DataError, match=words) as caught:
        read_submissions(tmp_path)
    assert str(caught.value).startswith("submissions/x.yaml")
    assert "\n" not in str(caught.value)


def test_one_submission_a_checkpoint(tmp_path: Path) -> None:
    for slug in ("one", "two"):
        write(tmp_path, slug, "model: org/x\nobjective: none\n")
    with pytest.raises(DataError, match=r"two\.yaml.*one\.yaml"):
        read_submissions(tmp_path)


def test_the_same_weights_are_one_checkpoint_under_any_name(tmp_path: Path) -> None:
    for seed, slug in enumerate(("one", "two"), 1):
        write(tmp_path, slug, f"model: {slug}\nrevision: local:{'2' * 64}\nbase: org/base\n"
              f"objective: nli\nlanguages: [en]\nrecipe: r1\nseed: {seed}\n")  # fmt: skip
    with pytest.raises(DataError, match=r"two\.yaml.*submitted by one\.yaml already"):
        read_submissions(tmp_path)


def test_a_base_at_another_revision_has_seen_what_the_submitted_one_has(tmp_path: Path) -> None:
    trained = "objective: nli\nlanguages: [en]\n"
    write(tmp_path, "base", f"model: org/base\nrevision: {'a' * 40}\n{trained}"
          "contaminated: [tatoeba]\n")  # fmt: skip
    write(tmp_path, "x", f"model: org/x\nbase: org/base\nbase_revision: {'b' * 40}\n{trained}")
    found = read_submissions(tmp_path)
    assert base_of("x", found) is None
    assert contamination("x", found) == {"tatoeba"}


def test_a_base_that_is_submitted_twice_has_to_be_named_with_its_revision(tmp_path: Path) -> None:
    trained = "objective: nli\nlanguages: [en]\n"
    for slug, digit, seen in (("new", "b", ""), ("old", "a", "contaminated: [tatoeba]\n")):
        write(tmp_path, slug, f"model: org/base\nrevision: {digit * 40}\n{trained}{seen}")
    write(tmp_path, "x", f"model: org/x\nbase: org/base\n{trained}")
    with pytest.raises(DataError, match=r"x\.yaml: base: .* by new\.yaml, old\.yaml: give base_r"):
        read_submissions(tmp_path)
    write(tmp_path, "x", f"model: org/x\nbase: org/base\nbase_revision: {'a' * 40}\n{trained}")
    assert contamination("x", read_submissions(tmp_path)) == {"tatoeba"}


def test_contamination_is_inherited(tmp_path: Path) -> None:
    write(tmp_path, "a", "model: org/a\nobjective: none\n")
    write(tmp_path, "b", "model: org/b\nbase: org/a\nobjective: extractive-qa\nlanguages: [ar]\n"
          "contaminated: [tydiqa]\n")  # fmt: skip
    write(tmp_path, "c", "model: org/c\nbase: org/b\nobjective: extractive-qa\nlanguages: [ar]\n"
          "contaminated: [xquad]\n")  # fmt: skip
    found = read_submissions(tmp_path)
    assert contamination("a", found) == set()
    assert contamination("b", found) == {"tydiqa"}
    assert contamination("c", found) == {"tydiqa", "xquad", "lareqa"}  # the same questions
    assert base_of("c", found) == "b"


def test_a_base_at_another_revision_has_seen_what_its_own_bases_have(tmp_path: Path) -> None:
    write(tmp_path, "a", "model: org/a\nobjective: none\ncontaminated: [mlqa]\n")
    write(tmp_path, "b", f"model: org/b\nrevision: {'b' * 40}\nbase: org/a\n"
          "objective: extractive-qa\nlanguages: [ar]\ncontaminated: [tydiqa]\n")  # fmt: skip
    for slug, model, base in (("c", "c", "b"), ("d", "b", "b")):  # d was trained on, from itself
        write(tmp_path, slug, f"model: org/{model}\nrevision: {'d' * 40}\nbase: org/{base}\n"
              f"base_revision: {'c' * 40}\nobjective: nli\nlanguages: [en]\n")  # fmt: skip
    found = read_submissions(tmp_path)
    for slug in ("c", "d"):
        assert contamination(slug, found) == {"tydiqa", "mlqa", "mlqa_cross"}
    assert kin_contamination("org/b", found) == {"tydiqa", "mlqa", "mlqa_cross"}


def test_contamination_knows_the_split(tmp_path: Path) -> None:
    write(tmp_path, "a", "model: org/a\nobjective: paraphrase\nlanguages: [en]\n"
          "contaminated: [pawsx/dev, mlqa/dev]\noverlap: {pawsx: {half: {en: 0.5}}}\n")  # fmt: skip
    write(tmp_path, "b", "model: org/b\nbase: org/a\nobjective: paraphrase\nlanguages: [en]\n"
          "contaminated: [pawsx]\n")  # fmt: skip
    found = read_submissions(tmp_path)
    seen = contamination("a", found)
    assert seen == {"pawsx/dev", "pawsx/half", "mlqa/dev", "mlqa_cross/dev"}
    splits = {split: is_contaminated(seen, "pawsx", split) for split in ("test", "dev", "half")}
    assert splits == {"test": False, "dev": True, "half": True}
    # The whole task says it of all of its splits.
    assert contamination("b", found) == {"pawsx", "mlqa/dev", "mlqa_cross/dev"}
    assert is_contaminated(contamination("b", found), "pawsx", "test")


@pytest.mark.parametrize(
    ("declared", "half"),
    [
        ("contaminated: [pawsx/dev]", True),  # half has no row that dev has not
        ("contaminated: [pawsx/half]", True),
        ("contaminated: [pawsx/test]", False),
        ("contaminated: [pawsx/dev]\noverlap: {pawsx: {half: {en: 0.5}}}", True),
        # It was trained on the other half, as its own counts say.
        ("contaminated: [pawsx/dev]\noverlap: {pawsx: {half: {en: 0.001}}}", False),
        ("overlap: {pawsx: {dev: {en: 0.5}}}", True),
    ],
)
def test_a_split_counts_with_the_half_of_it(declared: str, half: bool, tmp_path: Path) -> None:
    write(tmp_path, "a", f"model: org/a\nobjective: paraphrase\nlanguages: [en]\n{declared}\n")
    seen = contamination("a", read_submissions(tmp_path))
    assert is_contaminated(seen, "pawsx", "half") is half
    in_dev = "test" not in declared  # of which the half is a part
    assert is_contaminated(seen, "pawsx", "dev") is in_dev
    (tmp_path / "a.yaml").rename(tmp_path / "submission.yaml")
    assert own_contamination(tmp_path) == seen


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("contaminated: [pawsx/train]", "split of pawsx 'train'"),
        ("contaminated: [pawsy/dev]", "pawsx"),
        # Papers use these names: taken as they are, they would mark no task as contaminated.
        ("contaminated: [wikiann/dev]", "did you mean panx"),
        ("contaminated: [WikiANN]", "did you mean panx"),
        ("contaminated: [paws-x]", "did you mean pawsx"),
        ("overlap: {xquadd: {}}", ""),
        ("overlap: {xquad: {test: {en: 1.5}}}", ""),
        ("overlap: {xquad: 1}", ""),
    ],
)
def test_an_unknown_task_or_split_or_share_is_refused(
    line: str, message: str, tmp_path: Path
) -> None:
    write(tmp_path, "x", f"model: org/x\nobjective: none\n{line}\n")
    field = line.partition(":")[0]
    with pytest.raises(DataError, match=rf"submissions/x\.yaml:3: {field}.*{message}"):
        read_submissions(tmp_path)


@pytest.mark.parametrize(
    ("data", "tasks"),
    [
        ("unimelb-nlp/wikiann", {"panx"}),
        ("google-research-datasets/paws-x", {"pawsx"}),
        ("XQuAD-R", {"xquad", "lareqa"}),
        ("blog posts", set()),  # "pos" is a name of udpos
    ],
)
def test_data_is_known_by_the_names_that_papers_use(data: str, tasks: set[str]) -> None:
    assert {task for _, task in target_data(["SQuAD v1.1", data])} == tasks


@pytest.mark.parametrize(
    ("one", "other"),
    [("udpos", "udpos_hub"), ("xcopa", "xcopa_corrected"), ("mlqa", "mlqa_cross")],
)
def test_two_cards_of_the_same_data_are_contaminated_together(
    one: str, other: str, tmp_path: Path
) -> None:
    for task in (one, other):
        write(tmp_path, "a", f"model: org/a\nobjective: none\ncontaminated: [{task}]\n")
        assert contamination("a", read_submissions(tmp_path)) == {one, other}


def test_what_was_measured_counts_above_one_percent(tmp_path: Path) -> None:
    write(tmp_path, "a", "model: org/a\nobjective: mlm\nlanguages: [en]\noverlap:\n"
          "  tatoeba: {test: {de: 0.01}}\n"
          "  bucc2018: {dev: {zh: 0.000001}, test: {}}\n"
          "  xquad: {test: {en: 0.010001, de: 0.002}}\n")  # fmt: skip
    write(tmp_path, "b", "model: org/b\nbase: org/a\nobjective: nli\nlanguages: [en]\n")
    found = read_submissions(tmp_path)
    assert found["a"].contaminated == []
    assert found["a"].measured == {"xquad/test"}
    assert contamination("a", found) == contamination("b", found) == {"xquad/test", "lareqa/test"}
    assert validated(parse(as_yaml(found["a"]).encode(), "a"), Submission) == found["a"]
    assert "overlap" not in as_yaml(found["b"])
    assert overlap_words(found["a"].overlap) == (
        "tatoeba (test) de 1.0 %; bucc2018 (dev) zh < 0.1 %; xquad (test) en 1.0 %, de 0.2 %;"
        " none in bucc2018 (test)"
    )
    assert overlap_words(found["b"].overlap) == "not measured"
    most = {"tatoeba": {"test": {"de": 0.5, "en": 1.0, "fr": 0.25, "ja": 0.125, "zh": 0.25}}}
    assert overlap_words(most) == (
        "tatoeba (test) en 100.0 %, de 50.0 %, fr 25.0 %, and 2 others, none with more"
    )


def test_bases_in_a_circle(tmp_path: Path) -> None:
    for slug, base in (("a", "b"), ("b", "a")):
        write(tmp_path, slug, f"model: org/{slug}\nbase: org/{base}\nobjective: nli\n"
              "languages: [en]\n")  # fmt: skip
    with pytest.raises(DataError, match="circle"):
        read_submissions(tmp_path)


def test_submission_of_a_revision() -> None:
    pinned = Submission(model="org/x", revision=COMMIT, objective="none")
    pending = Submission(model="org/x", objective="none")
    assert find_slug("org/x", COMMIT, {"p": pending, "q": pinned}) == "q"
    assert find_slug("org/x", "b" * 40, {"p": pending, "q": pinned}) == "p"
    assert find_slug("org/x", "b" * 40, {"q": pinned}) is None
    assert find_slug("org/x", None, {"q": pinned}) == "q"


@pytest.mark.parametrize(
    ("objective", "languages", "words"),
    [
        ("none", [], "none"),
        ("extractive-qa", ["en"], "English QA"),
        ("extractive-qa", ["en", "ar"], "multilingual QA"),
        ("nli", ["multilingual"], "multilingual NLI"),
        ("extractive-qa", ["ru"], "ru QA"),
        ("contrastive", ["en"], "English contrastive"),
    ],
)
def test_kind_in_words(objective: str, languages: list[str], words: str) -> None:
    assert kind_of(Submission(model="x", objective=objective, languages=languages)) == words  # type: ignore[arg-type]


SEEDED = "model: org/x\nbase: org/b\nobjective: nli\nlanguages: [en]\n"


@pytest.mark.parametrize(
    ("fields", "words"),
    [("recipe: r\n", "go together"), ("seed: 1\n", "go together"), ("seed: -1\n", "seed")],
)
def test_recipe_and_seed_go_together(tmp_path: Path, fields: str, words: str) -> None:
    write(tmp_path, "x", SEEDED + fields)
    with pytest.raises(DataError, match=words):
        read_submissions(tmp_path)


def test_a_seed_of_a_recipe_is_submitted_once(tmp_path: Path) -> None:
    write(tmp_path, "a", SEEDED + "recipe: r\nseed: 1\n")
    write(tmp_path, "b", SEEDED.replace("org/x", "org/y") + "recipe: r\nseed: 2\n")
    assert len(read_submissions(tmp_path)) == 2
    write(tmp_path, "c", SEEDED.replace("org/x", "org/z") + "recipe: r\nseed: 2\n")
    with pytest.raises(DataError, match=r"seed 2 of r is b\.yaml already"):
        read_submissions(tmp_path)


@pytest.mark.parametrize("change", [("nli", "extractive-qa"), ("[en]", "[en, de]")])
def test_seeds_of_a_recipe_were_trained_for_the_same(
    change: tuple[str, str], tmp_path: Path
) -> None:
    """They are one variant, and one side of a contrast."""
    one = "model: org/x\nbase: org/b\nobjective: nli\nlanguages: [en]\nrecipe: r\nseed: 1\n"
    write(tmp_path, "a", one)
    other = one.replace("org/x", "org/y").replace("seed: 1", "seed: 2").replace(*change)
    write(tmp_path, "b", other)
    with pytest.raises(
        DataError, match=r"b\.yaml: recipe r is that of a\.yaml, English NLI \(en\)"
    ):
        read_submissions(tmp_path)
    write(tmp_path, "b", other.replace("base: org/b", "base: org/b2"))  # another recipe
    assert len(read_submissions(tmp_path)) == 2


def test_a_submission_that_cannot_be_read_clears_nothing(tmp_path: Path) -> None:
    assert own_contamination(tmp_path) == frozenset()
    (tmp_path / "submission.yaml").write_text("contaminatd: [tatoeba]\n")
    with pytest.raises(DataError, match=r"submission\.yaml"):
        own_contamination(tmp_path)
