"""xharness: did intermediate-task training help a multilingual encoder?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from harness.api import evaluate as evaluate
    from harness.results.scores import scores as scores

__all__ = ["__version__", "evaluate", "scores"]


def __getattr__(name: str) -> Any:
    # torch and pyarrow take seconds to import: only what is used is loaded.
    if name == "evaluate":
        from harness.api import evaluate

        return evaluate
    if name == "scores":
        from harness.results.scores import scores

        return scores
    raise AttributeError(f"module 'harness' has no attribute {name!r}")
