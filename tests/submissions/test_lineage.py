"""What a checkpoint was trained on since its base, in several trainings."""

from __future__ import annotations

from typing import Any

import pytest

from harness.submissions.lineage import lineage
from harness.submissions.submission import Submission


def made(base: str | None, objective: str = "none", *languages: str, **fields: Any) -> Submission:
    base = None if base is None else f"hand/{base}"
    return Submission.model_validate(
        {"model": "hand/x", "base": base, "objective": objective, "languages": list(languages)}
        | fields
    )


KNOWN = {
    "root": made(None),
    "qa": made("root", "extractive-qa", "en", datasets=["SQuAD"]),
    "more": made("qa", "extractive-qa", "de", "en", datasets=["TyDiQA"]),
    "most": made("more", "extractive-qa", "fi", datasets=["SQuAD"]),
    "nli": made("qa", "nli", "en", datasets=["MNLI"]),
    "after": made("nli", "extractive-qa", "sw", datasets=["MLQA"]),
    "alone": made("elsewhere", "extractive-qa", "en"),
    "child": made("alone", "extractive-qa", "de"),
    "copy": made("root"),
    "of-copy": made("copy", "nli", "en"),
}
SUBMISSIONS = {
    slug: one.model_copy(update={"model": f"hand/{slug}"}) for slug, one in KNOWN.items()
}


@pytest.mark.parametrize(
    ("slug", "base", "stages", "kind"),
    [
        ("root", None, ("root",), "none"),
        ("qa", "root", ("qa",), "English QA"),
        # More of the same: one difference to the root, of all the languages.
        ("more", "root", ("more", "qa"), "multilingual QA"),
        ("most", "root", ("most", "more", "qa"), "multilingual QA"),
        # Another objective: what it did is the difference to what it began with.
        ("nli", "qa", ("nli",), "English NLI"),
        ("after", "nli", ("after",), "sw QA"),
        ("alone", None, ("alone",), "English QA"),
        ("child", "alone", ("child",), "de QA"),  # before that the board knows nothing
        ("of-copy", "copy", ("of-copy",), "English NLI"),
    ],
)
def test_the_base_and_all_since(
    slug: str, base: str | None, stages: tuple[str, ...], kind: str
) -> None:
    found = lineage(slug, SUBMISSIONS)
    assert (found.base, found.stages, found.kind) == (base, stages, kind)


def test_the_data_of_all_trainings() -> None:
    whole = lineage("most", SUBMISSIONS).whole
    assert (whole.languages, whole.datasets) == (["fi", "de", "en"], ["SQuAD", "TyDiQA"])
