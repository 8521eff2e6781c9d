"""What is refused before a weight is read: listings, configurations, tensor headers, adapters.

Everything here reads bounded JSON and file headers only; nothing of a checkpoint runs, and neither
torch nor transformers is imported. A refusal is a ``RefusedError`` with the reason in one line.
"""

from __future__ import annotations

import json
import math
import os
import re
import stat
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.checkpoint.ported import is_ported
from harness.checkpoint.rules import read_rules, vet_rules
from harness.checkpoint.weights import (
    INDEX,
    MAX_JSON,
    SHARD,
    WEIGHTS,
    Tensor,
    read_header,
    read_json,
    read_weights,
)
from harness.errors import IncompleteError, RefusedError
from harness.io.files import is_lfs_pointer, pointer_words

ADAPTER_CONFIG = "adapter_config.json"
ADAPTER_WEIGHTS = "adapter_model.safetensors"
SENTENCE_CONFIGS = tuple(
    f"sentence_{kind}_config.json"
    for kind in ("bert", "roberta", "distilbert", "camembert", "albert", "xlm-roberta", "xlnet")
)
# Enough for a fast tokenizer: its own file, a sentencepiece model, or a vocabulary.
TOKENIZERS = (
    "tokenizer.json",
    "sentencepiece.bpe.model",
    "spiece.model",
    "spm.model",
    "tokenizer.model",
    "vocab.txt",
    "vocab.json",
)
# All that decides what a tokenizer does; transformers reads no other file here.
TOKENIZER_FILES = (
    *TOKENIZERS,
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "merges.txt",
    "bpe.codes",
)
COUNTED = frozenset(
    {
        "config.json",
        "modules.json",
        "config_sentence_transformers.json",
        *SENTENCE_CONFIGS,
        ADAPTER_CONFIG,
        ADAPTER_WEIGHTS,
        WEIGHTS,
        INDEX,
        *TOKENIZER_FILES,
    }
)
MODULE_FOLDER = re.compile(r"\d+_[A-Za-z]+")
PICKLE, ADAPTER_PICKLE = "pytorch_model.bin", "adapter_model.bin"
SHARDED = re.compile(r"pytorch_model-\d{5}-of-\d{5}\.bin")
PICKLES = (".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt")
# Weights that nothing here reads, by what people call them; the first that is there is named.
FOREIGN: Mapping[str, str] = {
    ".gguf": "GGUF, of llama.cpp",
    ".onnx": "ONNX",
    ".tflite": "TensorFlow Lite",
    ".mlmodel": "Core ML",
    ".xml": "OpenVINO",
    ".h5": "TensorFlow",
    ".msgpack": "Flax",
    ".ot": "Rust",
}

MAX_CONFIG = 1 << 20  # bytes of a configuration
MAX_TOKENIZER = 512 << 20
MAX_HOLES = 1 << 30  # bytes of a file that its disk does not hold
# Bytes of a file that counts, by its name; weights are as large as their header says.
LIMITS: Mapping[str, int] = {
    **dict.fromkeys(COUNTED - {WEIGHTS, ADAPTER_WEIGHTS}, MAX_CONFIG),
    **dict.fromkeys(("tokenizer_config.json", "added_tokens.json", INDEX), MAX_JSON),
    **dict.fromkeys((*TOKENIZERS, "merges.txt", "bpe.codes"), MAX_TOKENIZER),
}

# Largest sensible value, inclusive, by what the key counts; the smallest is 1.
SIZES: Mapping[str, int] = {
    **dict.fromkeys(
        ("num_hidden_layers", "num_layers", "n_layers", "n_layer", "encoder_layers"), 1024
    ),
    **dict.fromkeys(("num_decoder_layers", "decoder_layers", "num_hidden_groups"), 1024),
    **dict.fromkeys(("hidden_size", "d_model", "dim", "n_embd", "embedding_size"), 65_536),
    **dict.fromkeys(("d_kv", "head_dim"), 65_536),
    **dict.fromkeys(("intermediate_size", "d_ff", "hidden_dim", "n_inner"), 1 << 20),
    **dict.fromkeys(("encoder_ffn_dim", "decoder_ffn_dim"), 1 << 20),
    **dict.fromkeys(("num_attention_heads", "num_heads", "n_heads", "n_head"), 4096),
    **dict.fromkeys(("encoder_attention_heads", "decoder_attention_heads"), 4096),
    "num_key_value_heads": 4096,
    **dict.fromkeys(("num_experts", "num_local_experts"), 4096),
    "inner_group_num": 1024,
    "vocab_size": 5_000_000,
    **dict.fromkeys(("max_position_embeddings", "n_positions"), 1 << 24),
}
# Options of an adapter that name modules, by a list or by a regular expression.
NAMING = ("target_modules", "exclude_modules", "modules_to_save", "layers_pattern")
PLAIN_NAME = re.compile(r"[\w.-]*")
MAX_NAMES, MAX_NAME = 10_000, 1000
# Options of peft's LoRA that repeat layers, add other parameters, or compute in another way than
# a product that is added to a weight; what they would change, a merge would not.
FOREIGN_OPTIONS = (
    "layer_replication",
    "alora_invocation_tokens",
    "arrow_config",
    "kasa_config",
    "loftq_config",
    "megatron_config",
    "monteclora_config",
    "use_bdlora",
    "use_qalora",
    "velora_config",
)
# Keys that would bring in code, other weights or other arithmetic than the vetted files hold.
FOREIGN_KEYS: Mapping[str, str] = {
    "auto_map": "code of its own, which never runs here",
    "quantization_config": "quantized weights: use the unquantized checkpoint",
    "transformers_weights": "a weight file by name",
    "configuration_files": "another configuration file, which does not count",
    "backbone": "the weights of another model",
    "fusion_config": "patched layers",
}


# Programs of attention that torch and transformers bring; any other name is fetched from the Hub.
ATTENTION_KEYS = ("attn_implementation", "_attn_implementation", "_attn_implementation_internal")
ATTENTION = ("eager", "sdpa", "flash_attention_2", "flash_attention_3", "flex_attention")
MAX_LABELS = 100_000  # transformers makes a name for each


@dataclass(frozen=True)
class Vetted:
    """A folder of weights that passed: its configuration, its safetensors files, their tensors."""

    config: Mapping[str, Any]
    files: tuple[Path, ...]
    tensors: Mapping[str, Tensor]

    @property
    def parameters(self) -> int:
        """Number of floating-point values in the weights, from the headers alone."""
        return sum(
            math.prod(tensor.shape)
            for tensor in self.tensors.values()
            if tensor.dtype in ("F64", "F32", "F16", "BF16")
        )


def counted(names: Iterable[str]) -> list[str]:
    """The files that make up a checkpoint, out of all file names (``/`` between folders), sorted.

    Configurations, tokenizer and safetensors at the top and in module folders (``1_Pooling``);
    never pickles, code, chat templates, other formats, or ``fp16``-like variants of the weights.
    """
    names = set(names)
    chosen = []
    for name in names:
        folder, _, base = name.rpartition("/")
        if folder and not MODULE_FOLDER.fullmatch(folder):
            continue
        prefix = f"{folder}/" if folder else ""
        if SHARD.fullmatch(base):
            # transformers reads the single file where both are there; so shards count without it.
            if f"{prefix}{INDEX}" in names and f"{prefix}{WEIGHTS}" not in names:
                chosen.append(name)
        elif base in COUNTED and not (base == INDEX and f"{prefix}{WEIGHTS}" in names):
            chosen.append(name)
    return sorted(chosen)


def only_pickles(names: Collection[str]) -> bool:
    """Whether a repository has weights that `xharness convert` reads, and none as safetensors."""
    ready = any(name.endswith(".safetensors") for name in counted(names))
    return bool(pickles_in(names)) and not ready


def pickles_in(names: Iterable[str]) -> list[str]:
    """The pickles that `xharness convert` reads, sorted: a model's, its modules', an adapter's.

    One file where it is there beside shards of the same weights.
    """
    names = set(names)
    found = []
    for name in names:
        folder, slash, base = name.rpartition("/")
        if folder and not MODULE_FOLDER.fullmatch(folder):
            continue
        whole = f"{folder}{slash}{PICKLE}"
        if base in (PICKLE, ADAPTER_PICKLE) or (SHARDED.fullmatch(base) and whole not in names):
            found.append(name)
    return sorted(found)


def vet_listing(label: str, names: Collection[str], *, local: bool = False) -> None:
    """Refuse a repository (or local folder) by its file names alone, before anything is downloaded.

    Raises:
        RefusedError: no safetensors (with the ways out where there are pickles), no weights at
            all, or no configuration.
    """
    chosen = [name for name in counted(names) if "/" not in name or name.startswith("0_")]
    if not any(name.endswith(".safetensors") for name in chosen):
        pickles = sorted(
            name for name in names if name.endswith(PICKLES) and not _is_ir(name, names)
        )
        elsewhere = sorted(name for name in names if name.endswith(".safetensors"))
        foreign = [name for suffix in FOREIGN for name in sorted(names) if name.endswith(suffix)]
        if pickles:
            name = label if local else label.split("@")[0]
            request = f"pin its safetensors conversion pull request ({name}@refs/pr/N), or run "
            raise RefusedError(
                f"{label} has no weights but pickles ({pickles[0]}), which can run code: "
                f"{'run ' if local else request}`xharness convert {name} FOLDER`"
            )
        deeper = next((n.rpartition("/")[0] for n in elsewhere if n.endswith(f"/{WEIGHTS}")), None)
        if local and deeper is not None:
            raise RefusedError(
                f"{label} has no weights, but its folder {deeper} has: give {label.rstrip('/')}"
                f"/{deeper}"
            )
        if foreign:
            form = FOREIGN["." + foreign[0].rpartition(".")[2]]
            raise RefusedError(
                f"{label} has no weights that are read here, only {foreign[0]} ({form}): a "
                f"checkpoint needs {WEIGHTS}, take the one that this was exported from"
            )
        if elsewhere:
            raise RefusedError(
                f"{label} has no weights that are read here, only {elsewhere[0]}: a checkpoint "
                f"needs {WEIGHTS}"
            )
        holds = ", ".join(sorted(names)[:3]) or "nothing"
        raise RefusedError(f"{label} has no weights: it holds {holds}; it needs {WEIGHTS}")
    bases = {name.rpartition("/")[2] for name in chosen}
    if ADAPTER_CONFIG not in bases and "config.json" not in bases:
        raise RefusedError(f"{label} has no config.json: it names no architecture")


def _is_ir(name: str, names: Collection[str]) -> bool:
    """Whether a .bin belongs to an OpenVINO model, whose .xml lies beside it: it is no pickle."""
    return name.endswith(".bin") and f"{name.removesuffix('.bin')}.xml" in names


def vet_pointers(folder: Path, names: Iterable[str]) -> None:
    """Refuse a folder in which Git LFS has left pointers in place of files.

    Raises:
        RefusedError: a file of ``names`` is one.
    """
    for name in names:
        if is_lfs_pointer(folder / name):
            raise RefusedError(pointer_words(name, folder))


def vet_sizes(sizes: Mapping[str, int]) -> None:
    """Refuse files (name → bytes) by their size, before one of them is read or downloaded.

    Raises:
        RefusedError: names the file and what is accepted.
    """
    for name in counted(sizes):
        most = LIMITS.get(name.rpartition("/")[2])
        if most is not None and sizes[name] > most:
            raise RefusedError(f"{name} is {sizes[name]:,} bytes, more than the {most:,} accepted")


def vet_files(folder: Path, names: Iterable[str]) -> None:
    """Refuse files of a folder that would never end or never fit, before one of them is read.

    Raises:
        RefusedError: a file that counts is a device, a pipe or a link to nothing, is too large, or
            is mostly holes.
        IncompleteError: this machine does not give it.
    """
    sizes = {}
    for name in counted(names):
        try:
            status = (folder / name).stat()
        except FileNotFoundError:
            raise RefusedError(f"{name} is a link to nothing") from None
        except OSError as error:
            raise IncompleteError(f"{name} cannot be read: {error.strerror}") from error
        if not stat.S_ISREG(status.st_mode):
            raise RefusedError(f"{name} is a device or a pipe, not a file")
        sizes[name] = status.st_size
        # A block is 512 bytes whatever the disk; some systems count none at all.
        held = getattr(status, "st_blocks", 0) * 512
        if status.st_size - held > MAX_HOLES and _has_holes(folder / name, status.st_size):
            raise RefusedError(
                f"{name} is {status.st_size:,} bytes, of which the disk holds {held:,}: the rest "
                "are holes, which no weights have"
            )
    vet_sizes(sizes)


def _has_holes(path: Path, size: int) -> bool:
    if not hasattr(os, "SEEK_HOLE"):
        return False
    with path.open("rb") as file:
        return os.lseek(file.fileno(), 0, os.SEEK_HOLE) < size


def read_config(path: Path) -> dict[str, Any]:
    """A ``config.json`` whose every number is sane and that asks for nothing but itself.

    Raises:
        RefusedError: malformed, absurd sizes, custom code, quantization, no ``model_type``.
    """
    config = read_json(path, limit=MAX_CONFIG)
    if not isinstance(config, dict):
        raise RefusedError(f"{path.name} is not a JSON object")
    # Code of its own is not asked for where transformers has taken it over: see ``ported``.
    ported = is_ported(config)
    _vet_mapping({k: v for k, v in config.items() if not (ported and k == "auto_map")}, path.name)
    own_code = config.get("auto_map", {})
    if not isinstance(own_code, dict):  # transformers looks into it, whatever it is
        raise RefusedError(
            f"{path.name} says auto_map = {json.dumps(own_code)[:40]}, not an object of classes: "
            "take the key out"
        )
    model_type = config.get("model_type")
    if not isinstance(model_type, str) or not model_type:
        raise RefusedError(f"{path.name} names no model_type: the architecture is unknown")
    architectures = config.get("architectures")
    if architectures is not None and not (
        isinstance(architectures, list) and all(isinstance(name, str) for name in architectures)
    ):
        raise RefusedError(f"{path.name}: architectures is not a list of names")
    return config


def _vet_mapping(config: Mapping[str, Any], name: str) -> None:
    for key, value in config.items():
        if key in FOREIGN_KEYS and value:
            raise RefusedError(f"{name} asks for {FOREIGN_KEYS[key]} ({key})")
        most = SIZES.get(key)
        sane = most is None or value is None or (type(value) is int and 1 <= value <= most)
        if not sane:
            shown = repr(value)[:40]
            raise RefusedError(f"{name} says {key} = {shown}, not a whole number 1 to {most:,}")
        if key == "num_labels" and not (
            value is None or (type(value) is int and 0 <= value <= MAX_LABELS)
        ):
            raise RefusedError(
                f"{name} says {key} = {value!r:.40}, not a whole number 0 to {MAX_LABELS:,}"
            )
        if key in ATTENTION_KEYS and not (value is None or value in ATTENTION):
            raise RefusedError(
                f"{name} asks for attention from elsewhere ({key} = {value!r:.80}): remove the key"
            )
        if isinstance(value, dict):
            _vet_mapping(value, name)


def vet_tokenizer(folder: Path) -> None:
    """Refuse a folder that no fast tokenizer can be made from without a network.

    Raises:
        RefusedError: no vocabulary, an oversized one, or a tokenizer that is made by code of its
            own alone: without a tokenizer.json, which says all that a fast one does.
    """
    present = [folder / name for name in TOKENIZERS if (folder / name).is_file()]
    if not present:
        raise RefusedError(
            f"{folder.name} has no tokenizer: none of {', '.join(TOKENIZERS)}; save it beside "
            "the weights"
        )
    vet_sizes({path.name: path.stat().st_size for path in present})
    rules = folder / "tokenizer.json"
    if rules.is_file():
        vet_rules(read_rules(rules))
    if (folder / "tokenizer_config.json").is_file():
        config = read_json(folder / "tokenizer_config.json")
        if not isinstance(config, dict):
            raise RefusedError("tokenizer_config.json is not a JSON object")
        if config.get("auto_map") and not (folder / "tokenizer.json").is_file():
            raise RefusedError(
                f"tokenizer_config.json asks for {FOREIGN_KEYS['auto_map']}: save a tokenizer.json "
                "beside it"
            )
        _vet_file_keys(folder, config)


def is_file_key(key: str) -> bool:
    """Whether a key of ``tokenizer_config.json`` names a file of the tokenizer."""
    return key.endswith(("_file", "_files")) or key in ("sp_model", "source_spm", "target_spm")


def _vet_file_keys(folder: Path, config: Mapping[str, Any]) -> None:
    """Refuse a configuration that takes the tokenizer from files other than those that count.

    A path that leads nowhere is what the machine left on which the checkpoint was saved; nothing
    here follows it.
    """
    for key, value in config.items():
        if not is_file_key(key) or key.startswith("chat_template"):
            continue
        for name in _texts(value):
            plain = "/" not in name and "\\" not in name
            other = folder / name
            if name in TOKENIZER_FILES or (not plain and not other.is_file()):
                continue
            if other.name in TOKENIZER_FILES and other.parent.resolve() == folder.resolve():
                continue
            raise RefusedError(
                f"tokenizer_config.json takes its tokenizer from another file ({key}: "
                f"{name[:80]!r}): save it as tokenizer.json and remove the key"
            )


def _texts(value: Any) -> Iterable[str]:
    """All texts in a JSON value."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, (list, dict)):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _texts(item)


def has_tokenizer(folder: Path) -> bool:
    """Whether the folder brings a tokenizer of its own (an adapter may, or use its base's)."""
    return any((folder / name).is_file() for name in TOKENIZERS)


def vet(folder: Path) -> Vetted:
    """Everything about a folder with a model's weights that can be refused before reading them.

    Raises:
        RefusedError: the reason in one line.
    """
    config = read_config(folder / "config.json")
    files, tensors = read_weights(folder)
    return Vetted(config, files, tensors)


def vet_adapter(folder: Path) -> Vetted:
    """The same for a LoRA adapter: its ``adapter_config.json`` and its one safetensors file.

    Raises:
        RefusedError: another kind of adapter, one without safetensors, or one whose loading would
            import a module it names or change the base's weights first.
    """
    config = read_json(folder / ADAPTER_CONFIG, limit=MAX_CONFIG)
    if not isinstance(config, dict):
        raise RefusedError(f"{ADAPTER_CONFIG} is not a JSON object")
    kind = config.get("peft_type")
    if kind != "LORA":
        raise RefusedError(f"the adapter is {str(kind)[:40]!r}; only LoRA can be merged here")
    base = config.get("base_model_name_or_path")
    if not isinstance(base, str) or not base:
        raise RefusedError(f"{ADAPTER_CONFIG} names no base_model_name_or_path")
    rank = config.get("r")
    if type(rank) is not int or not 1 <= rank <= 4096:
        raise RefusedError(f"{ADAPTER_CONFIG} says r = {rank!r}, not a whole number 1 to 4,096")
    _vet_adapter_options(config)
    start = config.get("init_lora_weights", True)
    if not isinstance(start, bool) and start != "gaussian":
        raise RefusedError(
            f"the adapter starts from changed base weights (init_lora_weights={start!r}): convert "
            "it to plain LoRA first"
        )
    path = folder / ADAPTER_WEIGHTS
    return Vetted(config, (path,), read_header(path))


def _vet_adapter_options(config: Mapping[str, Any]) -> None:
    """Refuse what makes more of an adapter than small products added to named weights."""
    for key in FOREIGN_OPTIONS:
        if config.get(key):
            raise RefusedError(
                f"{ADAPTER_CONFIG} asks for more than LoRA ({key}): merge it into its base first"
            )
    for key in ("rank_pattern", "alpha_pattern"):
        values = config.get(key) or {}
        if not isinstance(values, dict) or len(values) > MAX_NAMES:
            raise RefusedError(f"{ADAPTER_CONFIG}: {key} is no mapping of at most {MAX_NAMES:,}")
    for rank in (config.get("rank_pattern") or {}).values():
        if type(rank) is not int or not 1 <= rank <= 4096:
            raise RefusedError(
                f"{ADAPTER_CONFIG} says rank {rank!r:.40}, not a whole number 1 to 4,096"
            )
    for key in NAMING:
        value = config.get(key)
        names = [value] if isinstance(value, str) else value or []
        if not isinstance(names, list) or len(names) > MAX_NAMES:
            raise RefusedError(f"{ADAPTER_CONFIG}: {key} is no list of at most {MAX_NAMES:,} names")
        if any(len(str(name)) > MAX_NAME for name in names):
            raise RefusedError(
                f"{ADAPTER_CONFIG}: {key} holds a name of more than {MAX_NAME} characters"
            )


def adapter_patterns(config: Mapping[str, Any]) -> list[str]:
    """What peft reads as regular expressions in an adapter's options and is no plain name."""
    texts = [value for key in NAMING if isinstance(value := config.get(key), str)]
    layers = config.get("layers_pattern")
    texts += [text for text in layers or () if isinstance(text, str)]
    for key in ("rank_pattern", "alpha_pattern"):
        texts += [str(name) for name in config.get(key) or ()]
    return [text for text in texts if not PLAIN_NAME.fullmatch(text)]
