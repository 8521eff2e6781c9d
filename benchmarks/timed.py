"""Run a script of transformers, or a module, and write down what its Trainer and its model did.

    python benchmarks/timed.py OUT.json SCRIPT [ARGUMENT...]
    python benchmarks/timed.py OUT.json -m MODULE [ARGUMENT...]

Both sides of a comparison run under it, so both are timed by the same lines. OUT.json gets

* ``steps``: for every optimiser step its ``seconds`` (from on_step_begin to on_step_end: forward,
  backward, optimiser; not fetching, logging, saving), ``loss``, ``rows`` and ``width`` of its
  batch, and ``tokens`` (those that are no padding);
* ``forward``: seconds within the question answering model's forward, its ``rows`` (windows) and
  ``tokens``, without those of training.

A script finds a module ``evaluate`` that gives xharness' own SQuAD metric: the library's needs the
Hub.
"""

from __future__ import annotations

import json
import runpy
import sys
import time
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from types import SimpleNamespace
from typing import Any


class Metric:
    """What ``evaluate.load("squad")`` gives, by harness/metrics/squad.py; in percent."""

    def compute(self, predictions: list[Any], references: list[Any]) -> dict[str, float]:
        """Means of exact match and F1 over the references."""
        from harness.metrics import squad

        found = {one["id"]: one["prediction_text"] for one in predictions}
        scores = {}
        for name, score in (("exact_match", squad.exact_match), ("f1", squad.f1)):
            every = [score(found.get(one["id"]), one["answers"]["text"]) for one in references]
            scores[name] = 100 * sum(every) / len(every)
        return scores


def add(to: dict[str, Any], begun: float) -> None:
    """The seconds since ``begun``."""
    to["seconds"] = to.get("seconds", 0) + time.perf_counter() - begun


def watch_steps(
    begin: Callable[[], object], end: Callable[[float], object], more: Callable[..., Any]
) -> None:
    """Have every Trainer call ``begin`` before a step, and ``end`` with its start after it.

    ``more``: is given a batch and its loss, which it may keep.
    """
    from transformers import Trainer, TrainerCallback

    class Timing(TrainerCallback):
        begun = time.perf_counter()

        def on_step_begin(self, *args: Any, **kwargs: Any) -> None:
            begin()
            self.begun = time.perf_counter()

        def on_step_end(self, *args: Any, **kwargs: Any) -> None:
            end(self.begun)

    make, step = Trainer.__init__, Trainer.training_step

    def made(self: Any, *args: Any, **kwargs: Any) -> None:
        make(self, *args, **kwargs)
        self.add_callback(Timing())

    def stepped(self: Any, model: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        mask = inputs.get("inputs", inputs)["attention_mask"]
        loss = step(self, model, inputs, *args, **kwargs)
        more(mask, loss)
        return loss

    Trainer.__init__, Trainer.training_step = made, stepped  # type: ignore[method-assign]


def watch() -> dict[str, Any]:
    """Instrument transformers; returns what is filled while the script runs."""
    from transformers import PreTrainedModel

    steps: list[dict[str, Any]] = []
    forward: dict[str, Any] = {"seconds": 0.0, "rows": 0, "tokens": 0}

    def kept(mask: Any, loss: Any) -> None:
        rows, width = mask.shape
        facts = {"loss": float(loss), "rows": rows, "width": width, "tokens": int(mask.sum())}
        steps.append(facts)

    watch_steps(lambda: None, lambda begun: add(steps[-1], begun), kept)
    whole: Any = PreTrainedModel.from_pretrained
    load = whole.__func__

    def loaded(kind: Any, *args: Any, **kwargs: Any) -> Any:
        found = load(kind, *args, **kwargs)
        model = found[0] if isinstance(found, tuple) else found
        if type(model).__name__.endswith("ForQuestionAnswering"):
            model.forward = timed(model, model.forward)
        return found

    def timed(model: Any, plain: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(plain)
        def timed_forward(*args: Any, **kwargs: Any) -> Any:
            if model.training:
                return plain(*args, **kwargs)
            begun = time.perf_counter()
            output = plain(*args, **kwargs)
            add(forward, begun)
            ids, mask = kwargs["input_ids"], kwargs.get("attention_mask")
            forward["rows"] += len(ids)
            forward["tokens"] += ids.numel() if mask is None else int(mask.sum())
            return output

        return timed_forward

    PreTrainedModel.from_pretrained = classmethod(loaded)  # type: ignore[assignment]
    return {"steps": steps, "forward": forward}


def main() -> None:
    """Watch, run, write."""
    out, *argv = sys.argv[1:]
    seen = watch()
    try:
        if argv[0] == "-m":
            sys.argv = argv[1:]
            runpy.run_module(argv[1], run_name="__main__", alter_sys=True)
        else:
            evaluate: Any = SimpleNamespace(load=lambda *args, **kwargs: Metric())
            sys.modules["evaluate"] = evaluate
            sys.path.insert(0, str(Path(argv[0]).resolve().parent))
            sys.argv = argv
            runpy.run_path(argv[0], run_name="__main__")
    except SystemExit as stop:
        if stop.code:
            raise
    Path(out).write_text(json.dumps(seen))


if __name__ == "__main__":
    main()
