"""A refresh: it evaluates submissions that are not measured yet, and keeps failures as rows."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random, SystemRandom
from typing import Any

from harness.analysis.gather import RESULTS
from harness.checkpoint.resolve import Checkpoint
from harness.data.folders import hub_cache
from harness.errors import DataError, HarnessError, IncompleteError, NotFoundError, one_line
from harness.evaluation.models import DEMO_MODEL, find_checkpoint
from harness.evaluation.request import Request, choose_cards
from harness.refresh import worker
from harness.refresh.fitting import Limits
from harness.refresh.items import Item, Terms, decide
from harness.refresh.measured import claimed_model, pending_units
from harness.refresh.pinning import pin
from harness.refresh.replacing import replace_rows, waiting_room
from harness.refresh.replays import begin, replicate
from harness.results.outcomes import find
from harness.results.provenance import measuring
from harness.submissions.attempts import Attempt, dated, read_attempts, write_attempts
from harness.submissions.folder import read_each

Evaluate = Callable[..., worker.Ended]
Say = Callable[[str], None]


@dataclass
class Refresh:
    """One refresh of the board in the folder ``root``.

    ``chosen``: the slugs that were named, or none for all. ``say``: prints a message.
    ``evaluate``: runs a worker. ``now``: a clock in seconds. ``draw``: draws the languages that are
    measured again. ``attempts``: slug → the last attempt. ``failed``: slugs that failed in this
    refresh. ``unsent``: slug → why no job could be started.
    """

    root: Path
    request: Request
    limits: Limits = field(default_factory=Limits)
    cache_dir: Path | None = None
    chosen: Sequence[str] = ()
    say: Say = print
    evaluate: Evaluate = worker.evaluate
    now: Callable[[], float] = time.monotonic
    draw: Random = field(default_factory=SystemRandom)
    attempts: dict[str, Attempt] = field(default_factory=dict)
    failed: list[str] = field(default_factory=list)
    unsent: dict[str, str] = field(default_factory=dict)
    _missing: dict[str, dict[str, str]] = field(default_factory=dict)

    def items(self) -> list[Item]:
        """Return what is to be done about every submission, in order; nothing is done yet.

        Raises:
            NotFoundError: a slug that was named is not submitted.
            DataError: the attempts, or a submission that was named, cannot be read.
        """
        self.attempts = read_attempts(self.root)
        submissions, broken = read_each(self.root / "submissions")
        listed = {*submissions, *broken}
        for slug in self.chosen:
            if slug not in listed:
                raise NotFoundError(f"no submissions/{slug}.yaml: name a file there, without .yaml")
            if slug in broken:
                raise DataError(broken[slug])
        self.attempts = {slug: one for slug, one in self.attempts.items() if slug in listed}
        for slug, why in broken.items():
            model = claimed_model(self.root / "submissions" / f"{slug}.yaml") or ""
            self._keep(slug, Attempt(model=model, status="failed", reason=why, exit_code=6))
        self.failed = list(broken)
        wanted = choose_cards(self.request.selection).cards
        terms = Terms(wanted, self.root / RESULTS, self.limits, anyway=bool(self.chosen))
        found = [
            decide(slug, one, self.attempts.get(slug), terms)
            for slug, one in submissions.items()
            if not self.chosen or slug in self.chosen
        ]
        # Submissions that were never tried come first, and those that ran out of time last.
        return sorted(found, key=lambda item: 1 + item.before.stopped if item.before else 0)

    def run(self) -> Iterator[tuple[Item, Attempt]]:
        """Evaluate the submissions that are due, and yield every submission with its attempt.

        The attempts are written after each, so that an interrupted refresh goes on where it was.
        """
        start = self.now()
        items = self.items()
        if own := begin(self.root / RESULTS):
            self.say(f"taken as measured here: {len(own)} files that no refresh can measure again")
        for item in items:
            left = None
            if self.limits.minutes is not None:
                left = self.limits.minutes * 60 - (self.now() - start)
            attempt = self._attempt(item, left) if item.due else self._not_due(item)
            before = self.attempts.get(item.slug)
            self._keep(item.slug, attempt)
            known = attempt.final and self.attempts[item.slug] is before
            tried = item.due and attempt is not item.before
            if tried and attempt.status == "failed" and not known:
                self.failed.append(item.slug)
            write_attempts(self.root, self.attempts)
            yield item, self.attempts[item.slug]
        write_attempts(self.root, self.attempts)

    def _not_due(self, item: Item) -> Attempt:
        """Return the attempt of a submission that is not evaluated now."""
        if item.state == "measured":
            return self._row(item, "measured")
        before = item.before
        if before is not None and before.reason == item.reason:
            return before
        return self._row(
            item, item.state, reason=item.reason,
            missing=before.missing if before else {}, job=before.job if before else None,
            exit_code=IncompleteError.exit_code if item.state == "failed" else None,
        )  # fmt: skip

    def _attempt(self, item: Item, seconds: float | None) -> Attempt:
        """Evaluate one submission; an error becomes its row. ``seconds``: the time that is left."""
        if seconds is not None and seconds <= 0:
            if item.before is not None:
                return item.before
            return self._row(
                item, "pending",
                reason=f"not reached within --max-minutes {self.limits.minutes:g}: the next"
                " refresh goes on",
            )  # fmt: skip
        try:
            return self._evaluated(item, None if seconds is None else self.now() + seconds)
        except HarnessError as error:
            return self._row(item, "failed", reason=str(error), exit_code=error.exit_code)
        except OSError as error:
            reason = f"{error.strerror or error}: {error.filename or item.slug}"
        except Exception as error:  # The checkpoint of a stranger may cause any error.
            reason = one_line(f"{type(error).__name__}: {error}")
        return self._row(item, "failed", reason=reason, exit_code=IncompleteError.exit_code)

    def _replicated(self, item: Item, found: Checkpoint, end: float | None) -> str:
        """Measure a sample of rows again that others sent; return how they differ, in words."""

        def measure(task: str, units: Sequence[str], out: Path) -> worker.Ended:
            self.say(f"{item.slug}: {task}, {', '.join(units)} again: others sent these rows")
            words = self._arguments(item, found, [task], out)
            return self._worker([*words, *(word for u in units for word in ("--lang", u))], end)

        missing = self._fetched(item.replays.values())
        return replicate(item.replays, self.root / RESULTS, missing, measure, self.draw, self.say)

    def _evaluated(self, item: Item, end: float | None) -> Attempt:
        """Evaluate one submission. ``end``: when the time is over, by the clock ``now``."""
        missing = self._fetched(item.pending.units)
        todo = {
            task: units - set(missing.get(task, ()))
            for task, units in item.pending.units.items()
            if units - set(missing.get(task, ()))
        }
        lacking = {task: next(iter(why.values())) for task, why in missing.items()}
        if not todo and not item.replays:
            if len(lacking) < len(choose_cards(self.request.selection).cards):
                return self._row(item, "measured", missing=lacking)
            task, why = next(iter(lacking.items()))
            reason = f"no data for {', '.join(lacking)} ({task}: {why})"
            return self._row(item, "pending", reason=reason, missing=lacking)
        if todo:
            self.say(f"{item.slug}: {item.submission.model}, {', '.join(todo)}")
        found = self._checkpoint(item)
        if isinstance(found, Attempt):
            if found is item.before:
                return found
            none = {task: why for task, why in lacking.items() if task not in todo}
            return found.model_copy(update={"missing": none})
        path = self.root / "submissions" / f"{item.slug}.yaml"
        if item.submission.revision is None:
            pin(path, found.revision)
        pinned = item.submission.model_copy(update={"revision": found.revision})
        item = replace(item, submission=pinned)
        differing = self._replicated(item, found, end)
        attempt = self._row(item, "measured", missing=lacking)
        if todo:
            attempt = self._measured(item, found, todo, lacking, end)
        if not differing or attempt.status != "measured":
            return attempt
        lost = {"status": "failed", "reason": differing, "exit_code": IncompleteError.exit_code}
        return attempt.model_copy(update=lost)

    def _measured(
        self, item: Item, found: Checkpoint, todo: Mapping[str, Set[str]],
        lacking: dict[str, str], end: float | None,
    ) -> Attempt:  # fmt: skip
        """Evaluate the units ``todo``; ``lacking``: task → why its data could not be had."""
        ended = self._ended(item, found, todo, end)
        without = dict(item.before.without if item.before else {})
        for task, note in ended.notes.items():
            if note.startswith(("missing: ", "broken data: ")):
                lacking.setdefault(task, note.removeprefix("missing: "))
            elif task in todo:
                without[task] = note
        after = pending_units(
            item.submission, choose_cards(self.request.selection).cards, self.root / RESULTS
        )
        explained = {*without, *ended.notes}
        still = [
            task
            for task, units in todo.items()
            if task not in explained and after.units.get(task, frozenset()) & units
        ]
        known = {"without": without, "missing": lacking, "parameters": found.parameters}
        if not still:
            return self._row(item, "measured", **known)
        if ended.stopped:
            return self._row(
                item, "pending", stopped=True,
                reason=f"ran out of time (--max-minutes {self.limits.minutes:g}) before"
                f" {', '.join(still)}: the next refresh goes on",
                **known,
            )  # fmt: skip
        reason = ended.reason or f"no rows were written for {', '.join(still)}"
        return self._row(item, "failed", reason=reason, exit_code=ended.exit_code, **known)

    def _ended(
        self, item: Item, found: Checkpoint, tasks: Collection[str], end: float | None
    ) -> worker.Ended:
        """Run the evaluation: of tasks whose old rows are in the way, in a folder of their own."""
        results = self.root / RESULTS
        replaced = item.pending.replaced
        old = {task: replaced[task] for task in tasks if task in replaced}
        ended = worker.Ended(0, "", {})
        if new := [task for task in tasks if task not in old]:
            with measuring(results, begin=True) as written:
                try:
                    ended = self._worker(self._arguments(item, found, new, results), end)
                finally:
                    own = results / found.slug / found.revision12
                    written.update(file.path for file in find(own))
        if not old or ended.stopped:
            return ended
        waiting = waiting_room(results, self.request.runtime.cache)
        ended = ended.then(self._worker(self._arguments(item, found, old, waiting), end))
        wanted = choose_cards(self.request.selection).cards
        now = pending_units(item.submission, wanted, waiting)
        whole = {task: files for task, files in now.done.items() if task not in now.units}
        replace_rows(old, whole, waiting, results)
        return ended

    def _checkpoint(self, item: Item) -> Checkpoint | Attempt:
        """Download and vet the checkpoint, or return the row that says why it is not evaluated."""
        submission, revision = item.submission, item.submission.revision
        name = submission.model
        if name != DEMO_MODEL:
            if not self.request.location.offline:
                listed = self._listed(item)
                if isinstance(listed, Attempt):
                    return listed
                revision = listed
            name = f"{name}@{revision}" if revision else name
        try:
            found = find_checkpoint(
                name, self.request.runtime.cache, offline=self.request.location.offline
            )
        except HarnessError as error:
            return self._row(
                item, "failed", reason=str(error), exit_code=error.exit_code, revision=revision
            )
        if revision is not None and found.revision != revision:
            raise NotFoundError(f"{submission.model} is at {found.revision} now, not {revision}")
        if why := self.limits.misfit(found.parameters):
            return self._row(
                item, "pending", reason=why, revision=found.revision, parameters=found.parameters
            )
        return found

    def _listed(self, item: Item) -> str | Attempt:
        """Ask the Hub for the commit; return a row where the checkpoint is not to be downloaded."""
        from harness.checkpoint.snapshot import pending

        listed = pending(
            item.submission.model,
            item.submission.revision,
            cache=hub_cache(self.request.runtime.cache),
        )
        before = item.before
        same = before is not None and before.revision == listed.commit
        if before is not None and before.final and same and not self.chosen:
            return before
        weights = sum(
            file.size or 0 for file in listed.missing if file.rfilename.endswith(".safetensors")
        )
        if why := self.limits.misfit(weights // 4, about=True):
            return self._row(
                item, "pending", reason=why, revision=listed.commit, parameters=weights // 4
            )
        return listed.commit

    def _worker(self, arguments: Sequence[str], end: float | None) -> worker.Ended:
        from huggingface_hub import constants

        cache = self.request.runtime.cache
        return self.evaluate(
            arguments,
            cache=cache,
            hub_cache=hub_cache(cache) or Path(constants.HF_HUB_CACHE),
            seconds=None if end is None else end - self.now(),
            echo=lambda line: self.say(f"  | {line}"),
        )

    def _fetched(self, tasks: Iterable[str]) -> dict[str, dict[str, str]]:
        """Fetch the data of the tasks; return task → unit → why its data cannot be had."""
        from harness.data.layout import missing_units
        from harness.data.load import fetch

        wanted = frozenset(tasks)
        for card, units in choose_cards(self.request.selection).cards:
            if card.name in wanted and card.name not in self._missing:
                try:
                    failures = fetch(card, None, units, self.request.location).failures
                    self._missing[card.name] = missing_units(card, units, failures)
                except HarnessError as error:
                    self._missing[card.name] = dict.fromkeys(units, str(error))
        return {task: why for task in wanted if (why := self._missing[task])}

    def _arguments(
        self, item: Item, found: Checkpoint, tasks: Iterable[str], out: Path
    ) -> list[str]:
        request, model = self.request, item.submission.model
        words = [model if model == DEMO_MODEL else f"{model}@{found.revision}"]
        if request.selection.suite is not None:
            words += ["--suite", request.selection.suite]
        words += [word for task in tasks for word in ("--task", task)]
        words += ["--protocol", item.submission.protocol, "--out", str(out)]
        if request.location.data is not None:
            words += ["--data", str(request.location.data)]
        if self.cache_dir is not None:
            words += ["--cache-dir", str(self.cache_dir)]
        return words

    def _row(self, item: Item, status: str, **fields: Any) -> Attempt:
        before = item.before
        given = {
            "revision": item.submission.revision or (before.revision if before else None),
            "tried": item.tried,
            "without": before.without if before else {},
            "parameters": before.parameters if before else None,
            **fields,
        }
        return Attempt.model_validate({"model": item.submission.model, "status": status, **given})

    def _keep(self, slug: str, attempt: Attempt) -> None:
        self.attempts[slug] = dated(attempt, self.attempts.get(slug))
