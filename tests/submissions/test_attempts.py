"""The last attempt at a submission, which the board shows."""

from __future__ import annotations

import pytest

from harness.submissions.attempts import Attempt

SAME = (
    "https://huggingface.co/org/name/tree/main fails",
    "org/name: mteb/tatoeba-bitext-mining: cannot be reached",
    "the token </s> and 1/2 and/or tasks",
)


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        (
            "no a/b/ar.json under /srv/me/empty: put it there",
            "no a/b/ar.json under empty: put it there",
        ),
        ("cannot write to /home/me/.cache/xharness: full", "cannot write to xharness: full"),
        ("'/root/data/tatoeba' has it", "'tatoeba' has it"),
        ("give --data=/srv/corpora/data", "give --data=data"),
        ("~/models/mine has no weights", "mine has no weights"),
        *((same, same) for same in SAME),
    ],
)
def test_no_folder_of_the_machine_is_told(said: str, shown: str) -> None:
    attempt = Attempt(
        model="org/m", status="failed", reason=said, missing={"lareqa": said}, without={"a": said}
    )
    assert attempt.reason == attempt.missing["lareqa"] == attempt.without["a"] == shown
