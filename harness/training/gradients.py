"""Gradients of large embeddings on a CPU: they share one buffer, where torch makes one per step."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

LARGE = 1 << 22  # An embedding with so many values is large: making its gradient takes long.


@contextmanager
def kept_gradients(model: Any) -> Iterator[None]:
    """Reuse the memory of the gradients of large embeddings; the gradients stay dense.

    A step uses some thousand rows of a vocabulary of 250,000. torch makes a gradient of all rows
    in every backward pass, and the system must clear and map its pages each time. Here the
    backward pass makes a sparse gradient instead, whose rows are added into a buffer. The sums are
    the same to the last bit where a forward pass looks the embedding up once; where it does so
    twice, they are added in another order. An embedding that is also an output layer uses all
    rows, and is left as it is.
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
    """Makes the sparse gradient of a parameter dense, in the same memory every time."""

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
