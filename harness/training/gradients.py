"""Large embeddings on a CPU: a step's gradient, its norm and its update touch the rows in use.

A step uses some thousand rows of a vocabulary of 250,000. torch makes a gradient of all rows in
every backward pass, whose pages the system must clear and map each time, scales all of it and
updates every row. Here the gradient stays in one buffer, and rows whose gradient and moments are 0
get what AdamW gives them, which is the weight decay alone. The results are the same to the last
bit. A save has the moments of the rows in use alone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

LARGE = 1 << 22  # An embedding with so many values is large: making its gradient takes long.
# Rows of a multiple of so many values have no part that torch's kernel of AdamW leaves to scalar
# code, which rounds otherwise: a row then gets the same update wherever it lies.
ALIGNED = 16
BLOCK = 4_096  # rows that are updated at once: memory of one size is used again
MOMENTS = ("exp_avg", "exp_avg_sq")  # AdamW's, of the gradient and of its square


class RowGradient:
    """Makes the sparse gradient of a parameter dense, in the same memory every time.

    ``rows``: int64[rows of the last step]; the gradient is 0 in all others.
    """

    def __init__(self) -> None:
        self.rows: Any = None
        self.dense: Any = None

    def __call__(self, parameter: Any) -> None:
        import torch

        found = parameter.grad
        if self.dense is None:
            self.dense = torch.zeros_like(parameter)
        else:
            self.dense.index_fill_(0, self.rows, 0)
        indices = found._indices()[0]
        self.rows = indices.unique()
        self.dense.index_add_(0, indices, found._values())
        parameter.grad = self.dense


RowGradients = Mapping[Any, RowGradient]  # a large embedding's parameter → its gradient


@contextmanager
def kept_gradients(model: Any) -> Iterator[RowGradients]:
    """Reuse the memory of the gradients of large embeddings; the gradients stay dense.

    The backward pass makes a sparse gradient, whose rows are added into a buffer. The sums are the
    same to the last bit where a forward pass looks the embedding up once; where it does so twice,
    they are added in another order. An embedding that is also an output layer uses all rows, and
    is left as it is.
    """
    import torch

    modules = list(model.modules())
    uses = Counter(id(one) for module in modules for one in module.parameters(recurse=False))
    chosen = [
        module
        for module in modules
        if isinstance(module, torch.nn.Embedding)
        and module.weight.numel() >= LARGE
        and module.weight.shape[1] % ALIGNED == 0
        and module.weight.requires_grad
        and not module.sparse
        and uses[id(module.weight)] == 1
    ]
    kept, hooks = {}, []
    for module in chosen:
        module.sparse = True
        weight: Any = module.weight
        kept[weight] = RowGradient()
        hooks.append(weight.register_post_accumulate_grad_hook(kept[weight]))
    try:
        yield kept
    finally:
        for module, hook in zip(chosen, hooks, strict=True):
            module.sparse = False
            hook.remove()


def clip_norm(parameters: Iterable[Any], most: float, kept: RowGradients) -> Any:
    """Do ``torch.nn.utils.clip_grad_norm_``, and neither read nor scale rows that are 0.

    torch adds the squares of one tensor in the order of its values, so that rows of 0 between them
    leave the norm the same to the last bit.
    """
    import torch
    from torch.nn.utils import clip_grads_with_norm_, get_total_norm

    chosen = [one for one in parameters if one.grad is not None]
    used = {one: one.grad[kept[one].rows] for one in chosen if one in kept}
    norm = get_total_norm([used.get(one, one.grad) for one in chosen])
    clip_grads_with_norm_([one for one in chosen if one not in used], most, norm)
    factor = torch.clamp(most / (norm + 1e-6), max=1.0)  # as clip_grads_with_norm_ has it
    for one, values in used.items():
        one.grad.index_copy_(0, kept[one].rows, values.mul_(factor))
    return norm


def update_rows(optimiser: Any, kept: RowGradients) -> None:
    """Have AdamW update the rows of large embeddings that have had a gradient, before its step.

    The step itself leaves these embeddings out, unless more than half of their rows had one. In
    the optimiser's ``state_dict()`` their moments are sparse; it loads sparse and dense ones.
    ``optimiser``: a ``torch.optim.AdamW`` without amsgrad and maximize.
    """
    import torch

    active: dict[Any, torch.Tensor] = {}  # int64[rows] that have a moment, by parameter

    def update(parameter: Any, group: Mapping[str, Any]) -> None:
        state = optimiser.state[parameter]
        if not state:
            state["step"] = torch.zeros((), dtype=torch.float32)
            state |= {name: torch.zeros_like(parameter) for name in MOMENTS}
            active[parameter] = kept[parameter].rows
        moments = [state[name] for name in MOMENTS]
        if parameter not in active:  # A run that was resumed has moments already.
            there = [moment.any(1) for moment in moments]
            active[parameter] = (there[0] | there[1]).nonzero()[:, 0]
        both: Any = torch.cat([active[parameter], kept[parameter].rows])
        rows = active[parameter] = both.unique()
        if 2 * len(rows) > len(parameter):
            return
        if group["weight_decay"]:
            with torch.no_grad():
                parameter.mul_(1 - group["lr"] * group["weight_decay"])
        options = {name: group[name] for name in ("lr", "betas", "eps", "fused")}
        for some in rows.split(BLOCK):
            own = torch.nn.Parameter(parameter.detach()[some])
            own.grad = parameter.grad[some]
            inner = torch.optim.AdamW([own], weight_decay=0, **options)
            first, second = (moment[some] for moment in moments)
            inner.state[own] = {
                "step": state["step"].clone(), "exp_avg": first, "exp_avg_sq": second,
            }  # fmt: skip
            inner.step()
            for whole, part in zip(
                (parameter.detach(), *moments), (own, first, second), strict=True
            ):
                whole.index_copy_(0, some, part.detach())
        state["step"] += 1
        parameter.grad = None

    def before_step(*_: Any) -> None:
        for group in optimiser.param_groups:
            for parameter in group["params"]:
                if parameter in kept and parameter.grad is not None:
                    update(parameter, group)

    def sparse_moments(_: Any, found: dict[str, Any]) -> None:
        order = (one for group in optimiser.param_groups for one in group["params"])
        for index, parameter in enumerate(order):
            rows = active.get(parameter)
            if rows is not None and 2 * len(rows) <= len(parameter):
                state = found["state"][index]
                found["state"][index] = state | {
                    name: torch.sparse_coo_tensor(
                        rows[None], state[name][rows], parameter.shape, check_invariants=True
                    )
                    for name in MOMENTS
                }

    def dense_moments(_: Any, given: dict[str, Any]) -> dict[str, Any]:
        active.clear()
        whole = {
            index: {
                name: value.to_dense() if torch.is_tensor(value) and value.is_sparse else value
                for name, value in state.items()
            }
            for index, state in given["state"].items()
        }
        return given | {"state": whole}

    optimiser.register_step_pre_hook(before_step)
    optimiser.register_state_dict_post_hook(sparse_moments)
    optimiser.register_load_state_dict_pre_hook(dense_moments)
