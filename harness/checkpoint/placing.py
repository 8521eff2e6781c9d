"""Puts a model on its device, and sets how the device computes."""

from __future__ import annotations

from typing import Any

from harness.checkpoint.memory import keep_freed
from harness.errors import IncompleteError, one_line


def placed(model: Any, label: str, device: str) -> Any:
    """Put the model on the device, in eval mode and without gradients, and return it.

    ``label``: the name of the checkpoint in messages.

    Raises:
        IncompleteError: the model cannot be put on the device.
    """
    if device == "cpu":
        keep_freed()
    multiply_in_float32(device)
    model.requires_grad_(False)
    try:
        return model.to(device).eval()
    except Exception as error:  # torch and its backends have no common class for these errors.
        raise IncompleteError(
            f"{label} cannot be put on the device {device}: {one_line(error, 200)}"
        ) from error


def multiply_in_float32(device: str) -> None:
    """Make a device multiply float32 matrices with the precision of float32.

    This is torch's default, except for convolutions. But images such as NVIDIA's set
    TORCH_ALLOW_TF32_CUBLAS_OVERRIDE=1, by which a GPU's products have 10 bits of fraction, and
    programs call ``set_float32_matmul_precision``, by which those of processors with AMX have 7.
    Vectors would then differ by 1e-3 from those of another machine; 1e-5 is promised.
    """
    import torch

    if device == "cpu":
        torch.backends.mkldnn.matmul.fp32_precision = "ieee"  # type: ignore[attr-defined]
    elif device.startswith("cuda"):
        torch.backends.cuda.matmul.allow_tf32 = False
        torch.backends.cudnn.allow_tf32 = False
