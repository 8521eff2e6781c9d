"""What a checkpoint declares about its own use, in sentence-transformers' files.

Read without importing that library, in the forms it has written since version 0.2:
``modules.json``, ``sentence_*_config.json``, ``1_Pooling/config.json``, ``2_Dense/``, and
``config_sentence_transformers.json``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from harness.checkpoint.vet import MODULE_FOLDER, SENTENCE_CONFIGS
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
ACTIVATIONS = ("tanh", "identity", "relu", "gelu", "sigmoid")
# The names under which a role's prompt is declared, the first that is there wins.
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


Step = Dense | Literal["normalize"]


@dataclass(frozen=True)
class Native:
    """The native protocol of a checkpoint; ``refusal`` says why it cannot be run, or is empty."""

    transformer: str
    max_length: int | None
    lower_case: bool
    pooling: str
    steps: tuple[Step, ...]
    prompts: Mapping[str, str]
    default_prompt: str | None
    similarity: str
    refusal: str

    def prompt(self, role: Literal["query", "document"]) -> str:
        """The text put before every text in that role: the role's prompt, the default, or none."""
        for name in ROLES[role]:
            if name in self.prompts:
                return self.prompts[name]
        return self.prompts.get(self.default_prompt or "", "")


def read_native(folder: Path) -> Native | None:
    """The declaration in ``folder``, or None where there is no ``modules.json``.

    A declaration that cannot be honoured is returned with its ``refusal``: the other protocols
    do not need it.

    Raises:
        RefusedError: ``modules.json`` puts the weights themselves outside the folder.
    """
    if not (folder / "modules.json").is_file():
        return None
    reasons: list[str] = []
    modules = _modules(folder, reasons)
    transformer = next((path for kind, path in modules if kind == "Transformer"), "")
    if transformer and not MODULE_FOLDER.fullmatch(transformer):
        raise RefusedError(f"modules.json puts the transformer in {transformer[:80]!r}")
    sentence = _first(folder / transformer, SENTENCE_CONFIGS, reasons)
    general = _object(folder / "config_sentence_transformers.json", reasons)
    prompts = _prompts(general, reasons)
    default = general.get("default_prompt_name")
    if default is not None and not (isinstance(default, str) and default in prompts):
        reasons.append(f"its default prompt {str(default)[:40]!r} is not among its prompts")
    pooling, steps = _after(folder, modules, prompts, reasons)
    return Native(
        transformer=transformer,
        max_length=_max_length(sentence, reasons),
        lower_case=sentence.get("do_lower_case") is True,
        pooling=pooling,
        steps=steps,
        prompts=prompts,
        default_prompt=default if isinstance(default, str) else None,
        similarity=_similarity(general, reasons),
        refusal="; ".join(reasons),
    )


def _object(path: Path, reasons: list[str]) -> dict[str, Any]:
    """A JSON object, or an empty one where the file is absent or (with a reason) broken."""
    if not path.is_file():
        return {}
    try:
        value = read_json(path, limit=1 << 20)
    except RefusedError as error:
        reasons.append(str(error))
        return {}
    if not isinstance(value, dict):
        reasons.append(f"{path.name} is not a JSON object")
        return {}
    return value


def _first(folder: Path, names: Sequence[str], reasons: list[str]) -> dict[str, Any]:
    return next(
        (_object(folder / name, reasons) for name in names if (folder / name).is_file()), {}
    )


def _modules(folder: Path, reasons: list[str]) -> list[tuple[str, str]]:
    """(class name, sub-folder) of each module, in order."""
    try:
        entries = read_json(folder / "modules.json", limit=1 << 20)
    except RefusedError as error:
        reasons.append(str(error))
        return []
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        reasons.append("modules.json is not a list of modules")
        return []
    modules = []
    for entry in entries:
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
    return {name: value or "" for name, value in prompts.items() if isinstance(value, str | None)}


def _similarity(general: Mapping[str, Any], reasons: list[str]) -> str:
    name = general.get("similarity_fn_name") or "cosine"
    if name in ("dot", "dot_product", "dot_score"):
        return "dot"
    if name not in ("cosine", "cos_sim"):
        reasons.append(f"its similarity {str(name)[:40]!r} is neither cosine nor dot")
    return "cosine"


def _max_length(sentence: Mapping[str, Any], reasons: list[str]) -> int | None:
    task = sentence.get("transformer_task", "feature-extraction")
    output = sentence.get("module_output_name", "token_embeddings")
    method: Any = sentence.get("modality_config") or {}
    for key in ("text", "method"):
        method = method.get(key) if isinstance(method, dict) else None
    method = method or "forward"
    if task != "feature-extraction" or output != "token_embeddings" or method != "forward":
        reasons.append(f"its transformer module runs {str(task)[:40]!r} with output {output!r}")
    length = sentence.get("max_seq_length")
    if length is None:
        return None
    if type(length) is not int or length < 1:
        reasons.append(f"its max_seq_length {length!r} is not a positive whole number")
        return None
    return length


def _after(
    folder: Path,
    modules: Sequence[tuple[str, str]],
    prompts: Mapping[str, str],
    reasons: list[str],
) -> tuple[str, tuple[Step, ...]]:
    """Pooling and the steps after it, with a reason for every module out of place."""
    pooling = ""
    steps: list[Step] = []
    for position, (kind, path) in enumerate(modules):
        if path and not MODULE_FOLDER.fullmatch(path):
            reasons.append(f"its module {kind[:40]} lies in {path[:80]!r}")
        elif (kind == "Transformer") != (position == 0) or (kind == "Pooling") != (position == 1):
            reasons.append(f"its module {position} is {kind[:40]!r}, not in the usual order")
        elif kind == "Pooling":
            if not (folder / path / "config.json").is_file():
                reasons.append(f"{path}/config.json is not there")
            pooling = _pooling(_object(folder / path / "config.json", reasons), prompts, reasons)
        elif kind == "Normalize":
            if _moved(_object(folder / path / "config.json", reasons)):
                reasons.append("its Normalize works on something other than the pooled vector")
            steps.append("normalize")
        elif kind == "Dense":
            dense = _dense(folder / path, reasons)
            if dense is not None:
                before = [step for step in steps if isinstance(step, Dense)]
                if before and before[-1].out_features != dense.in_features:
                    reasons.append(f"{path} takes {dense.in_features} features, not what it gets")
                steps.append(dense)
        elif kind not in ("Transformer", "Dropout"):  # dropout does nothing in evaluation
            reasons.append(f"its module {kind[:40]!r} is not Pooling, Dense or Normalize")
    if not pooling:
        reasons.append("it declares no pooling")
    return pooling, tuple(steps)


def _pooling(config: Mapping[str, Any], prompts: Mapping[str, str], reasons: list[str]) -> str:
    declared = config.get("pooling_mode")
    if declared is None:
        modes = [name for key, name in POOLINGS.items() if config.get(key)]
        # Written before the flags existed, or with all of them off: the library means the mean.
        modes = modes or ["mean"]
    else:
        modes = (list(declared) or ["none"]) if isinstance(declared, list) else [declared]
    modes = ["last" if mode == "lasttoken" else str(mode) for mode in modes]
    if len(modes) != 1 or modes[0] not in ("mean", "cls", "max", "last"):
        reasons.append(f"its pooling {'+'.join(modes)[:60]!r} is not one of mean, cls, max, last")
    if config.get("include_prompt") is False and any(prompts.values()):
        reasons.append("its pooling leaves the prompt's tokens out (include_prompt false)")
    return modes[0]


def _moved(config: Mapping[str, Any]) -> bool:
    names = (config.get("module_input_name"), config.get("module_output_name"))
    return any(name not in (None, "sentence_embedding") for name in names)


def _dense(folder: Path, reasons: list[str]) -> Dense | None:
    config = _object(folder / "config.json", reasons)
    activation = str(config.get("activation_function", "Tanh")).rpartition(".")[2].lower()
    sizes = (config.get("in_features"), config.get("out_features"))
    bias = config.get("bias", True)
    if activation not in ACTIVATIONS:
        reasons.append(f"the activation of {folder.name} is {activation[:40]!r}")
    if config.get("use_residual") or _moved(config):
        reasons.append(f"{folder.name} is more than a linear layer on the pooled vector")
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
