"""Jobs: a checkpoint, a task and how it is measured, with the signature of all that decides."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.cards.target_recipes import TargetRecipe
from harness.cards.task import CustomCard, TaskCard
from harness.inference.objects import GivenModel, GivenVectors
from harness.inference.protocol import (
    Dtype,
    Encoding,
    Protocol,
    Role,
    Track,
    resolve_encodings,
    signature,
)
from harness.inference.reader import Reading
from harness.results.outcomes import OutcomeFile, outcome_file

if TYPE_CHECKING:
    from harness.checkpoint.resolve import Checkpoint
    from harness.evaluation.request import Request
    from harness.training.target import Tuning


How = Encoding | Reading | GivenVectors


@dataclass(frozen=True)
class Job:
    """The unit that runs, resumes, and could be sent to another machine.

    ``recipe``: what the checkpoint is tuned by first, with the job's seed.
    """

    checkpoint: Checkpoint
    card: TaskCard
    units: tuple[str, ...]
    split: str
    limit: int | None
    seed: int
    track: Track
    protocol: str
    dtype: Dtype
    how: How
    custom: tuple[str, ...] = ()
    recipe: TargetRecipe | None = None

    @property
    def resolved(self) -> dict[str, Any]:
        """The parts that the signature is over."""
        return {
            **signed_parts(self.how, self.dtype),
            "card": self.card.hash,
            "split": self.split,
            "limit": self.limit,
            "track": self.track,
            "recipe": self.recipe.resolved if self.recipe else None,
            "seed": self.seed,
        }

    @property
    def layer(self) -> int:
        """The layer that is pooled; an object's vectors are of none, which counts as 0."""
        assert not isinstance(self.how, Reading)
        return self.how.layer if isinstance(self.how, Encoding) else 0

    @property
    def signature(self) -> str:
        """First 8 hex digits over ``resolved``."""
        return signature(self.resolved)

    def file(self, out: Path) -> OutcomeFile:
        """Where the job's outcomes lie."""
        checkpoint = self.checkpoint
        return outcome_file(
            out, checkpoint.slug, checkpoint.revision12, self.card.name, self.signature
        )


def encoding_jobs(
    checkpoint: Checkpoint,
    card: TaskCard,
    units: tuple[str, ...],
    split: str,
    request: Request,
    shape: tuple[int, int | None],
    recipe: TargetRecipe | None,
) -> list[Job]:
    assert card.lengths is not None  # every retrieval card has them: cards are checked when read
    depth, max_positions = shape
    lengths: dict[Role, int] = {"query": card.lengths.query, "document": card.lengths.document}

    def resolve(protocol: Protocol) -> tuple[Encoding, ...]:
        return resolve_encodings(
            protocol,
            task_lengths=lengths,
            depth=depth,
            max_positions=max_positions,
            native=checkpoint.native,
            bitext=card.kind in ("bitext", "mining"),
        )

    if recipe is not None:
        # As it is trained: the mean of the last layer, whatever the other tasks are asked to do.
        last = Protocol(layer=depth)
        how, own = resolve(replace(last, dtype=request.protocol.dtype))[0], resolve(last)[0]
        return [_job(checkpoint, card, units, split, request, "tuned", how, own)]
    own = resolve(Protocol(request.protocol.name))[0]
    return [
        _job(checkpoint, card, units, split, request, request.protocol.track, encoding, own)
        for encoding in resolve(request.protocol)
    ]


def reading_job(
    checkpoint: Checkpoint,
    card: TaskCard,
    units: tuple[str, ...],
    split: str,
    request: Request,
) -> Job:
    # The head is read under one protocol, whatever the retrieval tasks are asked to do.
    return _job(checkpoint, card, units, split, request, "own-head", Reading(), Reading())


def object_job(
    given: GivenModel, card: TaskCard, units: tuple[str, ...], split: str, request: Request
) -> Job:
    """The job of an object with ``encode``: it has no settings but its own."""
    how = GivenVectors(given.name, given.revision.removeprefix("object:"), given.similarity)
    job = _job(given, card, units, split, request, "custom", how, how)
    why = [f"custom model: an object with encode ({given.name})"]
    if not given.steady:
        why.append("encode returns other vectors for the same texts: numbers are not repeatable")
    return replace(job, protocol="custom", custom=(*job.custom, *why))


def _job(
    checkpoint: Checkpoint,
    card: TaskCard,
    units: tuple[str, ...],
    split: str,
    request: Request,
    track: Track,
    how: How,
    own: How,
) -> Job:
    return Job(
        checkpoint=checkpoint,
        card=card,
        units=units,
        split=split,
        limit=request.limit,
        seed=request.seed,
        track=track,
        protocol=request.protocol.name if track in ("frozen", "native") else "standard",
        dtype=request.protocol.dtype,
        how=how,
        custom=(*_custom_card(card), *_differences(how, own, request.protocol.dtype)),
    )


def tuned_job(job: Job, recipe: TargetRecipe, tuning: Tuning | None) -> Job:
    """The job on the tuned checkpoint; ``tuning`` is None where its data is still to be had."""
    apart = (*recipe.apart(job.card.name), *(tuning.apart if tuning else ()))
    return replace(job, track="tuned", recipe=recipe, custom=(*job.custom, *apart))


def signed_parts(how: How, dtype: str) -> dict[str, Any]:
    """What encoding or reading contributes to a signature; a reader pools nothing."""
    if not isinstance(how, Reading):
        return how.signed()
    lengths = {
        "max_length": how.max_length,
        "stride": how.stride,
        "question": how.question_length,
        "n_best": how.n_best,
        "answer": how.max_answer_tokens,
    }
    return {"pooling": None, "layer": None, "lengths": lengths, "dtype": dtype, "prompts": {}}


def _custom_card(card: TaskCard) -> list[str]:
    return [f"custom card {card.checksum[:12]}"] if isinstance(card, CustomCard) else []


def _differences(how: How, own: How, dtype: str) -> list[str]:
    """How the request departs from the protocol's own settings, in words."""
    asked, default = signed_parts(how, dtype), signed_parts(own, Protocol().dtype)
    return [
        f"{key} {asked[key]} (protocol: {default[key]})"
        for key in asked
        if asked[key] != default.get(key)
    ]
