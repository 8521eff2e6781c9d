"""What a test sees of an encoder's forward passes."""

from __future__ import annotations

from harness.inference.encoder import Encoder


def forward_rows(encoder: Encoder) -> list[int]:
    """The number of rows in every forward pass from now on; the model is probed before."""
    rows: list[int] = []
    model, _ = encoder._backbone.load()
    assert not encoder.one_length
    model.register_forward_pre_hook(
        lambda _module, _args, kwargs: rows.append(len(kwargs["input_ids"])), with_kwargs=True
    )
    return rows
