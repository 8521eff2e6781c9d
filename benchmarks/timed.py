"""Run a script of transformers, or a module, and write down what its Trainer and its model did.

    python benchmarks/timed.py OUT.json SCRIPT [ARGUMENT...]
    python benchmarks/timed.py OUT.json -m MODULE [ARGUMENT...]

Both sides of a comparison run under it, so both are timed by the same lines. OUT.json gets

* ``steps``: for every optimiser step its ``seconds`` (from on_step_begin to on_step_end: forward,
  backward, optimiser; not fetching, logging, saving) and ``processor`` seconds, ``loss``, ``rows``
  and ``width`` of its batch, and ``tokens`` (those that are no padding);
* ``forward``: the same two within the question answering model's forward, and its calls and
  tokens, without those of training.

Beside it lies ``OUT.npz`` with the features that a script gives to the Trainer. For a script,
``evaluate.load`` gives xharness' own SQuAD metric: the library's needs the Hub.
"""

from __future__ import annotations

import json
import runpy
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

SPANS = ("start_positions", "end_positions")


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


def watch(out: Path) -> dict[str, Any]:
    """Instrument transformers; returns what is filled while the script runs."""
    from transformers import PreTrainedModel, Trainer, TrainerCallback

    seen: dict[str, Any] = {
        "steps": [],
        "forward": dict.fromkeys(("seconds", "processor", "calls", "tokens"), 0),
    }

    class Timing(TrainerCallback):
        """Seconds of every step."""

        begun = clocks()

        def on_step_begin(self, *args: Any, **kwargs: Any) -> None:
            self.begun = clocks()

        def on_step_end(self, *args: Any, **kwargs: Any) -> None:
            add(seen["steps"][-1], self.begun)

    make, step = Trainer.__init__, Trainer.training_step
    load = PreTrainedModel.from_pretrained.__func__

    def made(self: Any, *args: Any, **kwargs: Any) -> None:
        make(self, *args, **kwargs)
        self.add_callback(Timing())
        columns = getattr(self.train_dataset, "column_names", None)
        if columns and set(SPANS) <= set(columns):
            keep(self.train_dataset, out.with_suffix(".npz"))

    def stepped(self: Any, model: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        mask = inputs.get("inputs", inputs)["attention_mask"]
        loss = step(self, model, inputs, *args, **kwargs)
        rows, width = mask.shape
        seen["steps"].append(
            {"loss": float(loss), "rows": rows, "width": width, "tokens": int(mask.sum())}
        )
        return loss

    def loaded(kind: Any, *args: Any, **kwargs: Any) -> Any:
        found = load(kind, *args, **kwargs)
        model = found[0] if isinstance(found, tuple) else found
        if type(model).__name__.endswith("ForQuestionAnswering"):
            model.forward = timed(model, model.forward)
        return found

    def timed(model: Any, forward: Callable[..., Any]) -> Callable[..., Any]:
        from functools import wraps

        @wraps(forward)
        def timed_forward(*args: Any, **kwargs: Any) -> Any:
            if model.training:
                return forward(*args, **kwargs)
            begun = clocks()
            output = forward(*args, **kwargs)
            add(seen["forward"], begun)
            seen["forward"]["calls"] += 1
            seen["forward"]["tokens"] += int(kwargs["attention_mask"].sum())
            return output

        return timed_forward

    Trainer.__init__, Trainer.training_step = made, stepped  # type: ignore[method-assign]
    PreTrainedModel.from_pretrained = classmethod(loaded)  # type: ignore[assignment]
    return seen


def clocks() -> dict[str, float]:
    """Wall and processor seconds, each from a start of its own."""
    return {"seconds": time.perf_counter(), "processor": time.process_time()}


def add(to: dict[str, Any], begun: dict[str, float]) -> None:
    """What has passed since ``begun``."""
    for name, now in clocks().items():
        to[name] = to.get(name, 0) + now - begun[name]


def keep(features: Any, path: Path) -> None:
    """Features without their padding: int32 ``tokens``, ``types``, ``begin`` and the two labels."""
    import numpy as np

    masks = [np.asarray(mask, dtype=bool) for mask in features["attention_mask"]]

    def real(name: str, kind: str) -> Any:
        rows = zip(features[name], masks, strict=True)
        return np.concatenate([np.asarray(row, dtype=kind)[mask] for row, mask in rows])

    arrays = {"tokens": real("input_ids", "int32")}
    if "token_type_ids" in features.column_names:
        arrays["types"] = real("token_type_ids", "int8")
    arrays["begin"] = np.concatenate([[0], np.cumsum([mask.sum() for mask in masks])])
    np.savez(path, **arrays, **{name: np.asarray(features[name]) for name in SPANS})


def main() -> None:
    """Watch, run, write."""
    out, *argv = sys.argv[1:]
    seen = watch(Path(out))
    try:
        if argv[0] == "-m":
            sys.argv = argv[1:]
            runpy.run_module(argv[1], run_name="__main__", alter_sys=True)
        else:
            import evaluate

            evaluate.load = lambda *args, **kwargs: Metric()
            sys.path.insert(0, str(Path(argv[0]).resolve().parent))
            sys.argv = argv
            runpy.run_path(argv[0], run_name="__main__")
    except SystemExit as stop:
        if stop.code:
            raise
    Path(out).write_text(json.dumps(seen))


if __name__ == "__main__":
    main()
