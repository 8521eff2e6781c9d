"""Guards the work of libraries on a checkpoint: errors become refusals, and nothing is printed."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from harness.errors import HarnessError, IncompleteError, RefusedError, is_out_of_memory, one_line
from harness.io.variables import variables

if TYPE_CHECKING:
    from harness.checkpoint.resolve import Checkpoint

PANIC = "PanicException"


@contextmanager
def naming(what: str) -> Iterator[None]:
    """Put a name before the message of an error of ours."""
    try:
        yield
    except HarnessError as error:
        raise type(error)(f"{what}: {error}") from error


@contextmanager
def refusing(checkpoint: Checkpoint, failing: str = "cannot be loaded") -> Iterator[None]:
    """Turn every error of a library into an error of ours, in one line.

    It is RefusedError where the checkpoint is the reason, and IncompleteError where this machine
    is. ``failing``: what the message says of the checkpoint.
    """
    try:
        yield
    except HarnessError as error:
        if str(error).startswith(checkpoint.label):
            raise
        raise type(error)(f"{checkpoint.label}: {error}") from error
    except BaseException as error:
        # A panic of a library in Rust is not an Exception. Others that are not, such as
        # KeyboardInterrupt, end the command.
        if not isinstance(error, Exception) and type(error).__name__ != PANIC:
            raise
        reason = one_line(error, 200) or type(error).__name__
        if is_out_of_memory(error):
            raise IncompleteError(f"no memory: {checkpoint.label} {failing}: {reason}") from error
        if _of_the_machine(error):
            raise IncompleteError(
                f"{checkpoint.label} {failing} on this machine: {reason}"
            ) from error
        raise RefusedError(f"{checkpoint.label} {failing}: {reason}") from error


def _of_the_machine(error: BaseException) -> bool:
    # transformers raises a bare OSError over a file whose content is wrong. Errors of the system
    # have a number; a file that is not there is the only one that a checkpoint is the reason for.
    if isinstance(error, OSError):
        return error.errno is not None and not isinstance(error, FileNotFoundError)
    return isinstance(error, ImportError)


@contextmanager
def quiet() -> Iterator[None]:
    """Suppress progress bars, load reports and requests to convert; keep the random state."""
    with variables(DISABLE_SAFETENSORS_CONVERSION="1"):
        import torch
        from transformers.utils import logging as reports

        verbosity, bars = reports.get_verbosity(), reports.is_progress_bar_enabled()
        reports.set_verbosity(logging.CRITICAL)
        reports.disable_progress_bar()  # type: ignore[no-untyped-call]
        try:
            with torch.random.fork_rng(devices=[]):
                yield
        finally:
            reports.set_verbosity(verbosity)
            if bars:
                reports.enable_progress_bar()  # type: ignore[no-untyped-call]
