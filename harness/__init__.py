"""xharness: did intermediate-task training help a multilingual encoder?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from harness.version import __version__

if TYPE_CHECKING:
    from harness.api import align as align
    from harness.api import compare as compare
    from harness.api import contrast as contrast
    from harness.api import evaluate as evaluate
    from harness.api import leaderboard as leaderboard
    from harness.api import plan as plan
    from harness.api import train as train
    from harness.api import verify as verify
    from harness.results.scores import scores as scores

__all__ = [
    "__version__",
    "align",
    "compare",
    "contrast",
    "evaluate",
    "leaderboard",
    "plan",
    "scores",
    "train",
    "verify",
]


def __getattr__(name: str) -> Any:
    # torch and pyarrow take seconds to import: only what is used is loaded.
    if name == "scores":
        from harness.results.scores import scores

        return scores
    if name in __all__:
        from harness import api

        return getattr(api, name)
    raise AttributeError(f"module 'harness' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
