"""Gradients of large embeddings on a CPU: one buffer that is kept, where torch makes one a step."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

LARGE = 1 << 22  # values of an embedding, from which on a new gradient costs more than it holds


@contextmanager
def kept_gradients(model: Any) -> Iterator[None]:
    """Within it, the gradient of a large embedding is dense as ever, but its memory is kept.

    A step uses some thousand rows of a vocabulary of 250,000. torch makes a gradient of all rows
    with every backward pass, and the system must clear and map its pages each time. So the backward
    pass makes a sparse one, and its rows are added into a buffer: the same sums to the last bit
    where a forward pass looks up once, and in another order where it does twice. An embedding that
    is also an output layer uses all rows, and stays as it is.
    """
    import torch

    modules = list(model.modules())
    uses = Counter(id(one) for module in modules for one in module.parameters(recurse=False))
    chosen = [
        module
        for module in modules
        if isinstance(module, torch.nn.Embedding)
        and module.weight.numel() >= LARGE
        and module.weight.requires_grad
        and not module.sparse
        and uses[id(module.weight)] == 1
    ]
    hooks = []
    for module in chosen:
        module.sparse = True
        weight: Any = module.weight
        hooks.append(weight.register_post_accumulate_grad_hook(_Buffer()))
    try:
        yield
    finally:
        for module, hook in zip(chosen, hooks, strict=True):
            module.sparse = False
            hook.remove()


class _Buffer:
    """Makes a parameter's sparse gradient dense, in the same memory every time."""

    def __init__(self) -> None:
        self.dense: Any = None

    def __call__(self, parameter: Any) -> None:
        import torch

        found = parameter.grad
        if self.dense is None:
            self.dense = torch.zeros_like(parameter)
        else:
            self.dense.zero_()
        self.dense.index_add_(0, found._indices()[0], found._values())
        parameter.grad = self.dense
