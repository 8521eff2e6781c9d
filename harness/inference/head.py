"""Holds a model with a head, makes the inputs of its batches, and refuses outputs."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from harness.checkpoint.tokenizer import Tokenizer
from harness.errors import RefusedError, UsageError
from harness.inference.batching import budget, on_device, pad_id
from harness.inference.sequences import Sequences, padded
from harness.inference.token_types import takes_token_types

Integers = npt.NDArray[np.int64]


class HeadModel:
    """A loaded model with a head, in eval mode, and its tokenizer.

    Attributes:
        batch_tokens: most tokens of a batch, padding included; halved when memory runs out. By
            default what suits the device.
        one_length: whether batches hold sequences of one length only, see ``probe``.

    Raises:
        UsageError: ``batch_tokens`` is not positive.
    """

    def __init__(
        self, model: Any, tokenizer: Tokenizer, device: str, batch_tokens: int | None
    ) -> None:
        """Take a model that lies on ``device``."""
        self.model = model
        self.tokenizer = tokenizer
        self.device = device
        self.batch_tokens = budget(device) if batch_tokens is None else batch_tokens
        if self.batch_tokens < 1:
            raise UsageError(f"batch_tokens is {batch_tokens}: use 1 or more")
        self.one_length = False
        self._pad = pad_id(tokenizer)
        self._typed = takes_token_types(model, tokenizer)

    @property
    def dtype(self) -> str:
        """What the model computes in, such as ``float32``."""
        return str(next(self.model.parameters()).dtype).removeprefix("torch.")

    def inputs(self, sequences: Sequences, rows: Integers) -> tuple[dict[str, Any], Any]:
        """Return the model's keywords for a batch, each int64[rows, longest], and bool: real
        tokens.
        """
        ids, types, mask = padded(sequences, rows, self._pad)
        arrays = {"input_ids": ids, "attention_mask": mask}
        if self._typed:
            arrays["token_type_ids"] = types
        tensors = {name: on_device(array, self.device) for name, array in arrays.items()}
        return tensors, mask.astype(np.bool_)


def check_finite(outputs: npt.NDArray[np.float32], what: str, lang: str) -> None:
    """Refuse outputs with NaN or infinity. ``what``: whose they are, for the message.

    Raises:
        RefusedError: there are some.
    """
    if not np.isfinite(outputs).all():
        raise RefusedError(
            f"{what} that are not finite (NaN or infinite){f' on language {lang}' if lang else ''}"
            ": the checkpoint is broken, or its values overflow in float16; use dtype float32"
        )
