"""Reads what a checkpoint declares about its own use, in the files of sentence-transformers.

That library is not imported. The forms that it has written since version 0.2 are read:
``modules.json``, ``sentence_*_config.json``, ``1_Pooling/config.json``, ``2_Dense/``, and
``config_sentence_transformers.json``. Every key of them is followed, is known to be harmless, or is
a reason to refuse (``settings.py``), so that exactly what is declared is measured.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from harness.checkpoint import settings
from harness.checkpoint.files import MODULE_FOLDER
from harness.checkpoint.settings import positive, read_object, unfollowed
from harness.checkpoint.transformer_module import read_transformer
from harness.checkpoint.weights import WEIGHTS, read_header, read_json
from harness.errors import RefusedError

POOLINGS: Mapping[str, str] = {
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_lasttoken": "last",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
}
TORCH = "torch.nn"
# Modules without weights, after the pooling.
PLAIN = {"Normalize": settings.NORMALIZE, "Dropout": settings.DROPOUT}
ACTIVATIONS = ("tanh", "identity", "relu", "gelu", "sigmoid")
MAX_PROMPT = 10_000  # characters, because a prompt is tokenised with every text
# Role → the names under which its prompt may be declared; the first one that is there is taken.
ROLES: Mapping[str, tuple[str, ...]] = {
    "query": ("query",),
    "document": ("document", "passage", "corpus"),
}


@dataclass(frozen=True)
class Dense:
    """A linear layer after pooling: ``activation(x @ weight.T + bias)``.

    ``folder`` holds ``model.safetensors`` with ``linear.weight`` [out_features, in_features] and,
    where ``bias``, ``linear.bias`` [out_features].
    """

    folder: Path
    in_features: int
    out_features: int
    bias: bool
    activation: str


@dataclass(frozen=True)
class Truncate:
    """Keeps the first ``dimensions`` of a vector, which is not normalised again after that."""

    dimensions: int


Step = Dense | Truncate | Literal["normalize"]


@dataclass(frozen=True)
class Native:
    """The native protocol of a checkpoint; ``refusal`` says why it cannot be run, or is empty.

    ``transformer``: the folder of the weights. ``max_length``: the most tokens of a text, special
    ones included, or None. ``role_lengths``: role → a length in place of ``max_length``.
    ``layer``: the index into ``hidden_states`` that is pooled, where negative ones count from the
    end; None for the last hidden state. ``prompt_pooled``: whether the tokens of a prompt are
    pooled with those of the text.
    """

    transformer: str
    max_length: int | None
    lower_case: bool
    pooling: str
    steps: tuple[Step, ...]
    prompts: Mapping[str, str]
    default_prompt: str | None
    similarity: str
    refusal: str
    role_lengths: Mapping[str, int] = field(default_factory=dict)
    special_tokens: bool = True
    layer: int | None = None
    prompt_pooled: bool = True

    def length(self, role: Literal["query", "document"]) -> int | None:
        """Return the most tokens of a text in a role, special ones included; None: no bound."""
        return self.role_lengths.get(role, self.max_length)

    def prompt(self, role: Literal["query", "document"]) -> str:
        """Return the text before every text in a role: its prompt, the default one, or nothing."""
        for name in ROLES[role]:
            if name in self.prompts:
                return self.prompts[name]
        return self.prompts.get(self.default_prompt or "", "")


def read_native(folder: Path) -> Native | None:
    """Read the declaration in ``folder``; it is None where there is no ``modules.json``.

    A declaration that cannot be followed is returned with its ``refusal``, because other protocols
    do not need it.

    Raises:
        RefusedError: ``modules.json`` says that the weights are outside of the folder.
    """
    if not (folder / "modules.json").is_file():
        return None
    reasons: list[str] = []
    modules = _modules(folder, reasons)
    transformer = next((path for kind, path in modules if kind == "Transformer"), "")
    if transformer and not MODULE_FOLDER.fullmatch(transformer):
        raise RefusedError(f"modules.json puts the transformer in {transformer[:80]!r}")
    general = read_object(folder / "config_sentence_transformers.json", reasons)
    reasons += unfollowed("config_sentence_transformers.json", general, settings.GENERAL)
    if general.get("requirements"):
        reasons += settings.unmet(general["requirements"])
    prompts = _prompts(general, reasons)
    default = general.get("default_prompt_name")
    if default is not None and not (isinstance(default, str) and default in prompts):
        reasons.append(f"its default prompt {str(default)[:40]!r} is not among its prompts")
    pooling, steps, prompt_pooled = _after(folder, modules, prompts, reasons)
    kept = positive(general.get("truncate_dim"), "truncate_dim", reasons)
    ran = read_transformer(folder / transformer, reasons)
    return Native(
        transformer=transformer,
        pooling=pooling,
        # The library truncates after the last module, and does not normalise again.
        steps=steps if kept is None else (*steps, Truncate(kept)),
        prompts=prompts,
        default_prompt=default if isinstance(default, str) else None,
        similarity=_similarity(general, reasons),
        prompt_pooled=prompt_pooled,
        refusal="; ".join(reasons),
        **ran,
    )


def _modules(folder: Path, reasons: list[str]) -> list[tuple[str, str]]:
    """Return (name of the class, sub-folder) of each module, in order."""
    try:
        entries = read_json(folder / "modules.json", limit=1 << 20)
    except RefusedError as error:
        reasons.append(str(error))
        return []
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        reasons.append("modules.json is not a list of modules")
        return []
    modules = []
    names = [entry["name"] for entry in entries if "name" in entry]
    if any(names.count(name) > 1 for name in names):
        reasons.append("modules.json gives two modules one name")
    for entry in entries:
        reasons += unfollowed("modules.json", entry, settings.MODULE)
        kind, path = str(entry.get("type", "")), str(entry.get("path", ""))
        name = kind.rpartition(".")[2]
        if not kind.startswith("sentence_transformers."):
            reasons.append(f"its module {kind[:60]!r} is code of its own")
        modules.append((name, path))
    return modules


def _prompts(general: Mapping[str, Any], reasons: list[str]) -> dict[str, str]:
    model = general.get("model_type", "SentenceTransformer")
    if model != "SentenceTransformer":
        reasons.append(f"it is a {str(model)[:40]}, which gives no single vector per text")
    prompts = general.get("prompts") or {}
    if not isinstance(prompts, dict):
        reasons.append("its prompts are not a mapping")
        return {}
    if not all(value is None or isinstance(value, str) for value in prompts.values()):
        reasons.append("its prompts are not texts")
    longest = max((len(value) for value in prompts.values() if isinstance(value, str)), default=0)
    if longest > MAX_PROMPT:
        reasons.append(f"it puts {longest:,} characters before a text, more than {MAX_PROMPT:,}")
    return {name: value or "" for name, value in prompts.items() if isinstance(value, str | None)}


def _similarity(general: Mapping[str, Any], reasons: list[str]) -> str:
    name = general.get("similarity_fn_name") or "cosine"
    if name in ("dot", "dot_product", "dot_score"):
        return "dot"
    if name not in ("cosine", "cos_sim"):
        reasons.append(f"its similarity {str(name)[:40]!r} is neither cosine nor dot")
    return "cosine"


def _after(
    folder: Path,
    modules: Sequence[tuple[str, str]],
    prompts: Mapping[str, str],
    reasons: list[str],
) -> tuple[str, tuple[Step, ...], bool]:
    """Return the pooling, the steps after it, and whether the tokens of a prompt are pooled.

    Every module that is not in its usual place adds a reason.
    """
    pooling, prompt_pooled = "", True
    steps: list[Step] = []
    for position, (kind, path) in enumerate(modules):
        if path and not MODULE_FOLDER.fullmatch(path):
            reasons.append(f"its module {kind[:40]} lies in {path[:80]!r}")
        elif (kind == "Transformer") != (position == 0) or (kind == "Pooling") != (position == 1):
            reasons.append(f"its module {position} is {kind[:40]!r}, not in the usual order")
        elif kind == "Pooling":
            if not (folder / path / "config.json").is_file():
                reasons.append(f"{path}/config.json is not there")
            config = read_object(folder / path / "config.json", reasons)
            reasons += unfollowed(f"{path}/config.json", config, settings.POOLING)
            pooling = _pooling(config, prompts, reasons)
            prompt_pooled = config.get("include_prompt") is not False
        elif kind in PLAIN:
            config = read_object(folder / path / "config.json", reasons) if path else {}
            reasons += unfollowed(f"{path}/config.json", config, PLAIN[kind])
            steps += ["normalize"] if kind == "Normalize" else []
        elif kind == "Dense":
            dense = _dense(folder / path, reasons)
            if dense is not None:
                before = [step for step in steps if isinstance(step, Dense)]
                if before and before[-1].out_features != dense.in_features:
                    reasons.append(f"{path} takes {dense.in_features} features, not what it gets")
                steps.append(dense)
        elif kind != "Transformer":
            reasons.append(f"its module {kind[:40]!r} is not Pooling, Dense or Normalize")
    if not pooling:
        reasons.append("it declares no pooling")
    return pooling, tuple(steps), prompt_pooled


def _pooling(config: Mapping[str, Any], prompts: Mapping[str, str], reasons: list[str]) -> str:
    declared = config.get("pooling_mode")
    if declared is None:
        modes = [name for key, name in POOLINGS.items() if config.get(key)]
        # The library takes the mean where no flag is set, as in files that are older than they.
        modes = modes or ["mean"]
    else:
        modes = (list(declared) or ["none"]) if isinstance(declared, list) else [declared]
    modes = ["last" if mode == "lasttoken" else str(mode) for mode in modes]
    if len(modes) != 1 or modes[0] not in ("mean", "cls", "max", "last"):
        reasons.append(f"its pooling {'+'.join(modes)[:60]!r} is not one of mean, cls, max, last")
    if config.get("include_prompt") is False and any(prompts.values()):
        reasons.append("its pooling leaves the prompt's tokens out (include_prompt false)")
    return modes[0]


def _dense(folder: Path, reasons: list[str]) -> Dense | None:
    config = read_object(folder / "config.json", reasons)
    reasons += unfollowed(f"{folder.name}/config.json", config, settings.DENSE)
    package, _, name = str(config.get("activation_function", f"{TORCH}.Tanh")).rpartition(".")
    activation = name.lower()
    sizes = (config.get("in_features"), config.get("out_features"))
    bias = config.get("bias", True)
    if activation not in ACTIVATIONS or not f"{package}.".startswith(f"{TORCH}."):
        shown = f"{package}.{activation}"[-40:]
        reasons.append(f"the activation of {folder.name} (activation_function) is {shown!r}")
    for key in ("use_residual", "module_input_name", "module_output_name"):
        if config.get(key) not in (None, False, "sentence_embedding"):
            reasons.append(
                f"{folder.name} is more than a linear layer on the pooled vector ({key})"
            )
    if not (folder / WEIGHTS).is_file():
        reasons.append(f"{folder.name} has no {WEIGHTS}")
        return None
    try:
        shapes = {name: tensor.shape for name, tensor in read_header(folder / WEIGHTS).items()}
    except RefusedError as error:
        reasons.append(str(error))
        return None
    inner, outer = sizes
    expected: dict[str, tuple[Any, ...]] = {"linear.weight": (outer, inner)}
    if bias:
        expected["linear.bias"] = (outer,)
    if not isinstance(inner, int) or not isinstance(outer, int) or shapes != expected:
        reasons.append(f"the weights of {folder.name} do not have the sizes its config.json says")
        return None
    return Dense(folder, inner, outer, bool(bias), activation)
