"""Tells what a checkpoint was trained on since its base, in one training or in several."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from harness.submissions.submission import Submission, base_of, kind_of


@dataclass(frozen=True)
class Lineage:
    """A checkpoint's trainings for its objective.

    ``base``: slug of the checkpoint that they began with, None where the board has none;
    ``stages``: slugs of the checkpoints that they ended with, its own first; ``whole``: its
    submission with the languages and data sets of all of them.
    """

    base: str | None
    stages: tuple[str, ...]
    whole: Submission

    @property
    def kind(self) -> str:
        """Objective and languages of all of them in words, as `kind_of`."""
        return kind_of(self.whole)


def lineage(slug: str, submissions: Mapping[str, Submission]) -> Lineage:
    """Return the trainings of a checkpoint for its objective.

    A checkpoint that was trained further for the same objective goes back to the base of the first
    training: its difference to that base is due to both. One that was trained for another objective
    goes back no further than to the checkpoint that this training began with, since the difference
    to an earlier one would be due to two objectives.
    """
    own = submissions[slug]
    stages = [slug]
    base = base_of(slug, submissions)
    while base is not None and submissions[base].objective == own.objective:
        if (before := base_of(base, submissions)) is None:
            break
        stages.append(base)
        base = before
    each = [submissions[stage] for stage in stages]
    whole = own.model_copy(
        update={
            "languages": list(dict.fromkeys(code for one in each for code in one.languages)),
            "datasets": list(dict.fromkeys(name for one in each for name in one.datasets)),
        }
    )
    return Lineage(base, tuple(stages), whole)
