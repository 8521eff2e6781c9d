"""Makes jobs: a task and how it is measured, with the signature of all that decides."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

from harness.cards.target_recipes import TargetRecipe
from harness.cards.task import CustomCard, TaskCard
from harness.evaluation.request import split_of
from harness.inference.labeller import LabelProtocol
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
from harness.inference.reader import SpanProtocol
from harness.kinds import KINDS
from harness.kinds.kind import UnitSettings

if TYPE_CHECKING:
    from harness.checkpoint.native import Native
    from harness.evaluation.request import Request
    from harness.training.target import Tuning


# Fields of `SpanProtocol` that signatures call otherwise.
SIGNED = {"question_length": "question", "max_answer_tokens": "answer"}
Settings = Encoding | SpanProtocol | LabelProtocol | GivenVectors


@dataclass(frozen=True)
class Job:
    """A task and how it is measured: what the signature is over, and nothing else.

    ``recipe``: what the checkpoint is tuned by first, with the job's seed.
    """

    card: TaskCard
    split: str
    limit: int | None
    seed: int
    track: Track
    dtype: Dtype
    settings: Settings
    recipe: TargetRecipe | None = None

    @property
    def resolved(self) -> dict[str, Any]:
        """The parts that the signature is over."""
        return {
            **signed_parts(self.settings, self.dtype),
            "card": self.card.hash,
            "split": self.split,
            "limit": self.limit,
            "track": self.track,
            "recipe": self.recipe.resolved if self.recipe else None,
            "seed": self.seed,
        }

    @property
    def signature(self) -> str:
        """First 8 hex digits over ``resolved``."""
        return signature(self.resolved)

    @property
    def protocol(self) -> str:
        """The protocol's name: heads and tuned checkpoints have the standard one only."""
        return self.track if self.track in ("native", "custom") else "standard"

    @property
    def layer(self) -> int:
        """The layer that is pooled; where none is (a reader, an object with ``encode``), 0."""
        return self.settings.layer if isinstance(self.settings, Encoding) else 0

    @property
    def unit_settings(self) -> UnitSettings:
        """What the task's kind is told of it."""
        card = self.card
        return UnitSettings(
            self.split, self.limit, self.layer, card.scorer or "squad", tuple(card.labels)
        )


Shape = tuple[int, int | None]  # a checkpoint's depth, and how many positions it has at most


class MarkedJob(NamedTuple):
    """A job, and why its rows are not ranked."""

    job: Job
    unranked_reasons: tuple[str, ...]


def encoding_jobs(
    card: TaskCard,
    request: Request,
    native: Native | None,
    shape: Shape,
    recipe: TargetRecipe | None,
) -> list[MarkedJob]:
    """Return the jobs of a retrieval task, one per layer that was asked for."""
    assert card.lengths is not None  # every retrieval card has them: cards are checked when read
    depth, max_positions = shape
    lengths: dict[Role, int] = {"query": card.lengths.query, "document": card.lengths.document}

    def resolve(protocol: Protocol) -> tuple[Encoding, ...]:
        return resolve_encodings(
            protocol,
            task_lengths=lengths,
            depth=depth,
            max_positions=max_positions,
            native=native,
            bitext=card.kind in ("bitext", "mining"),
        )

    asked = request.protocol
    if recipe is not None:
        # It is pooled as it is trained, by the mean of the last layer, whatever the request says.
        last = Protocol(layer=depth)
        job = _job(card, request, "tuned", resolve(replace(last, dtype=asked.dtype))[0])
        return [_marked(job, resolve(last)[0])]
    protocol_default = resolve(Protocol(asked.name))[0]
    return [
        _marked(_job(card, request, asked.track, encoding), protocol_default)
        for encoding in resolve(asked)
    ]


def head_job(card: TaskCard, request: Request) -> MarkedJob:
    """Return the job of a task with a head: one protocol, whatever the retrieval tasks are asked to
    do.
    """
    protocol = SpanProtocol() if KINDS[card.kind].needs == "span" else LabelProtocol()
    return _marked(_job(card, request, "own-head", protocol), protocol)


def object_job(given: GivenModel, card: TaskCard, request: Request) -> MarkedJob:
    """Return the job of an object with ``encode``: it has no settings but its own."""
    vectors = GivenVectors(given.name, given.revision.removeprefix("object:"), given.similarity)
    job, reasons = _marked(_job(card, request, "custom", vectors), vectors)
    why = [f"custom model: an object with encode ({given.name})"]
    if not given.steady:
        why.append("encode returns other vectors for the same texts: numbers are not repeatable")
    return MarkedJob(job, (*reasons, *why))


def tuned_job(marked: MarkedJob, recipe: TargetRecipe, tuning: Tuning | None) -> MarkedJob:
    """Return the job on the tuned checkpoint; ``tuning`` is None where its data is still to be
    had.
    """
    job, reasons = marked
    more = (
        *recipe.unranked_reasons(job.card.name, job.split),
        *(tuning.unranked_reasons if tuning else ()),
    )
    return MarkedJob(replace(job, track="tuned", recipe=recipe), (*reasons, *more))


def _job(card: TaskCard, request: Request, track: Track, settings: Settings) -> Job:
    return Job(
        card=card,
        split=split_of(request.selection, card),
        limit=request.selection.limit,
        seed=request.seed,
        track=track,
        dtype=request.protocol.dtype,
        settings=settings,
    )


def _marked(job: Job, protocol_default: Settings) -> MarkedJob:
    custom = [job.card.note] if isinstance(job.card, CustomCard) else []
    return MarkedJob(job, (*custom, *_differences(job, protocol_default)))


def signed_parts(settings: Settings, dtype: str) -> dict[str, Any]:
    """Return what encoding or reading contributes to a signature; a reader pools nothing."""
    if not isinstance(settings, (SpanProtocol, LabelProtocol)):
        return settings.signed()
    lengths = {SIGNED.get(name, name): value for name, value in asdict(settings).items()}
    return {"pooling": None, "layer": None, "lengths": lengths, "dtype": dtype, "prompts": {}}


def _differences(job: Job, protocol_default: Settings) -> list[str]:
    """Return how the job departs from the protocol's own settings, in words."""
    asked = signed_parts(job.settings, job.dtype)
    default = signed_parts(protocol_default, Protocol().dtype)
    return [
        f"{key} {asked[key]} (protocol: {default[key]})"
        for key in asked
        if asked[key] != default.get(key)
    ]
