"""A model onto its device, and what the device is set to before it computes there."""

from __future__ import annotations

from typing import Any

from harness.checkpoint.memory import keep_freed
from harness.errors import IncompleteError, one_line


def placed(model: Any, label: str, device: str) -> Any:
    """The model on the device, in eval mode; no parameter of it wants a gradient.

    ``label``: the checkpoint's, for messages.

    Raises:
        IncompleteError: the device does not take it.
    """
    if device == "cpu":
        keep_freed()
    elif device.startswith("cuda"):
        _multiply_in_float32()
    model.requires_grad_(False)
    try:
        return model.to(device).eval()
    except Exception as error:  # torch and its backends have no one class for it
        raise IncompleteError(
            f"{label} cannot be put on the device {device}: {one_line(error, 200)}"
        ) from error


def _multiply_in_float32() -> None:
    """Products of float32 matrices on a GPU keep float32's digits.

    Torch does so by itself, but for convolutions; images such as NVIDIA's set
    TORCH_ALLOW_TF32_CUBLAS_OVERRIDE=1, and a product then has 10 bits of fraction: vectors would
    differ by 1e-3 from those of another machine, where 1e-5 is promised.
    """
    import torch

    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
