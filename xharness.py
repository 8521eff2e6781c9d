"""The package under the name that it is installed by: ``import xharness`` is ``import harness``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import harness
from harness import __all__ as __all__

if TYPE_CHECKING:
    from harness import *  # noqa: F403

    __version__ = harness.__version__


def __getattr__(name: str) -> Any:
    return getattr(harness, name)


def __dir__() -> list[str]:
    return __all__
