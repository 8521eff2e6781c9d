"""Tiny random checkpoints under the key names that real repositories use.

Configuration keys and tensor names are those of the repositories as they are known; none was
checked against the real weights. ``ARCHITECTURES`` has one entry an architecture.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import tests.checkpoints as tiny

DEPTH = 3
WIDTH = tiny.WIDTH
Tensors = dict[str, Any]
COMMON = {
    "hidden_size": WIDTH,
    "num_hidden_layers": DEPTH,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "max_position_embeddings": 130,
    "initializer_range": 0.5,
    "pad_token_id": 0,
    "bos_token_id": 2,
    "eos_token_id": 3,
}


@dataclass(frozen=True)
class Architecture:
    """One row of the table.

    Attributes:
        model: the class of transformers that makes the random weights.
        config: what differs from ``COMMON``; None takes a key away.
        stated: what the repository's config.json says besides.
        special: special tokens of its tokenizer.
        rename: tensors of transformers → those of the repository.
        one_length: whether the model reads padding.
        refused: layer → why it cannot be had; "all" for every layer.
    """

    model: str
    config: Mapping[str, Any] = field(default_factory=dict)
    stated: Mapping[str, Any] = field(default_factory=dict)
    special: tuple[str, ...] = tiny.BERT
    rename: Callable[[Tensors], Tensors] = dict
    one_length: bool = False
    refused: Mapping[int | str, str] = field(default_factory=dict)


def build(architecture: Architecture, folder: Path, **overrides: Any) -> Path:
    """Write it into ``folder``: config.json, model.safetensors, tokenizer.json."""
    import torch
    import transformers
    from safetensors.torch import save_file

    tokenizer = tiny._tokenizer(architecture.special, architecture.special != tiny.T5)
    kind = getattr(transformers, architecture.model)
    values = {**COMMON, "vocab_size": len(tokenizer), **architecture.config}
    values |= {"pad_token_id": tokenizer.pad_token_id} if "pad_token_id" in values else {}
    config = kind.config_class(**{k: v for k, v in values.items() if v is not None})
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = kind(config)
        for parameter in model.parameters():  # as after training: norms and padding differ too
            parameter.data.add_(0.05 * torch.randn_like(parameter))
    tensors = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    folder.mkdir(parents=True, exist_ok=True)
    save_file(architecture.rename(tensors), folder / "model.safetensors", {"format": "pt"})
    stated = json.loads(config.to_json_string()) | {"architectures": [architecture.model]}
    stated |= {**architecture.stated, **overrides}
    stated = {key: value for key, value in stated.items() if value != "absent"}
    (folder / "config.json").write_text(json.dumps(stated, indent=2))
    tokenizer.save_pretrained(folder)
    return folder


def renamed(*pairs: tuple[str, str]) -> Callable[[Tensors], Tensors]:
    """Each part of a name replaced, in order."""

    def rename(tensors: Tensors) -> Tensors:
        out = {}
        for name, tensor in tensors.items():
            for old, new in pairs:
                name = name.replace(old, new)
            out[name] = tensor
        return out

    return rename


def joined(fused: str, parts: tuple[str, ...], *pairs: tuple[str, str]) -> Any:
    """As ``renamed``, and the ``parts`` (already renamed) put together as ``fused``."""

    def rename(tensors: Tensors) -> Tensors:
        import torch

        out = renamed(*pairs)(tensors)
        for name in [name for name in out if f".{parts[0]}." in name]:
            names = [name.replace(f".{parts[0]}.", f".{part}.") for part in parts]
            whole = torch.cat([out.pop(one) for one in names])
            out[name.replace(f".{parts[0]}.", f".{fused}.")] = whole
        return out

    return rename


def in_turn(*renames: Callable[[Tensors], Tensors]) -> Callable[[Tensors], Tensors]:
    """One after another."""

    def rename(tensors: Tensors) -> Tensors:
        for one in renames:
            tensors = one(tensors)
        return tensors

    return rename


def under(prefix: str) -> Callable[[Tensors], Tensors]:
    """Every name with ``prefix`` before it."""
    return lambda tensors: {prefix + name: tensor for name, tensor in tensors.items()}


QKV = ("q_proj", "k_proj", "v_proj")
GTE = in_turn(
    joined(
        "qkv_proj",
        QKV,
        ("layers.", "encoder.layer."),
        ("self_attn.", "attention."),
        ("post_attention_layernorm", "attn_ln"),
        ("post_mlp_layernorm", "mlp_ln"),
    ),
    joined("up_gate_proj", ("up_proj", "gate_proj")),
    under("new."),
)
NOMIC = joined(
    "Wqkv",
    QKV,
    ("layers.", "encoder.layers."),
    ("self_attn.", "attn."),
    ("o_proj", "out_proj"),
    ("up_proj", "fc11"),
    ("gate_proj", "fc12"),
    ("down_proj", "fc2"),
    ("post_attention_layernorm", "norm1"),
    ("post_mlp_layernorm", "norm2"),
    ("embeddings.LayerNorm", "emb_ln"),
)
JINA = in_turn(
    joined(
        "Wqkv",
        QKV,
        ("layers.", "encoder.layers."),
        ("self_attn.", "mixer."),
        ("o_proj", "out_proj"),
        ("post_attention_layernorm", "norm1"),
        ("post_mlp_layernorm", "norm2"),
        ("embeddings.LayerNorm", "emb_ln"),
    ),
    under("roberta."),
)
AUTO = {"AutoConfig": "configuration_eurobert.EuroBertConfig", "AutoModel": "m.EuroBertModel"}
XLMR = {"type_vocab_size": 1}
ROTARY = {"num_key_value_heads": 2, "head_dim": 8}
SMALL = {"embedding_size": 16}

ARCHITECTURES: Mapping[str, Architecture] = {
    "mmBERT": Architecture(
        "ModernBertForMaskedLM",
        {"global_attn_every_n_layers": 2, "local_attention": 8, "cls_token_id": 2,
         "sep_token_id": 3},
        {"global_rope_theta": 160000, "local_rope_theta": 160000, "rope_parameters": "absent"},
    ),
    "EuroBERT": Architecture(
        "EuroBertForMaskedLM",
        {"num_key_value_heads": 4, "mask_token_id": 4},
        {
            "auto_map": AUTO, "bos_token": "<|begin_of_text|>", "eos_token": "<|end_of_text|>",
            "mask_token": "<|mask|>", "pad_token": "<|end_of_text|>", "clf_pooling": "late",
            "hidden_dropout": 0.0, "rope_scaling": None, "rope_theta": 250000, "head_dim": 8,
            "rope_parameters": "absent", "pretraining_tp": 1, "torch_dtype": "float32",
            "use_cache": False,
        },
    ),
    "gte-multilingual (native port)": Architecture("GteModel", XLMR, rename=GTE),
    "gte-multilingual (its own repository)": Architecture(
        "GteModel",
        XLMR,
        {
            "model_type": "new", "auto_map": {"AutoModel": "Alibaba-NLP/new-impl--m.NewModel"},
            "pack_qkv": True, "position_embedding_type": "rope", "unpad_inputs": False,
            "rope_scaling": {"factor": 8.0, "type": "ntk"}, "rope_theta": 20000,
        },
        rename=GTE,
        refused={"all": "auto_map"},
    ),
    "nomic (native configuration)": Architecture(
        "NomicBertModel",
        stated={"auto_map": {"AutoModel": "nomic-ai/nomic-bert-2048--m.NomicBertModel"}},
        rename=NOMIC,
    ),
    "nomic-embed-text-v1.5 (its own repository)": Architecture(
        "NomicBertModel",
        stated={
            "auto_map": {"AutoModel": "nomic-ai/nomic-bert-2048--m.NomicBertModel"},
            "n_embd": WIDTH, "n_head": 4, "n_layer": DEPTH, "n_inner": 64,
            "rotary_emb_fraction": 1.0, "rotary_emb_base": 1000, "qkv_proj_bias": False,
        },
        rename=NOMIC,
        refused={"all": "'n_embd'"},
    ),
    "jina-embeddings-v3 (native configuration)": Architecture(
        "JinaEmbeddingsV3Model", rename=JINA, special=tiny.ROBERTA
    ),
    "jina-embeddings-v3 (its own repository)": Architecture(
        "JinaEmbeddingsV3Model",
        stated={
            "model_type": "xlm-roberta", "lora_rank": 4,
            "auto_map": {"AutoModel": "jinaai/xlm-roberta-flash-implementation--m.XLMRobertaLoRA"},
        },
        rename=JINA,
        special=tiny.ROBERTA,
        refused={"all": "auto_map"},
    ),
    "gte-Qwen2": Architecture(
        "Qwen2Model",
        {"num_key_value_heads": 2},
        {"auto_map": {"AutoModel": "modeling_qwen.Qwen2Model"}, "is_causal": False},
        special=tiny.QWEN,
        refused={"all": "auto_map"},
    ),
    "Qwen3-Embedding": Architecture("Qwen3Model", ROTARY, special=tiny.QWEN),
    "EmbeddingGemma": Architecture(
        "Gemma3TextModel",
        {**ROTARY, "use_bidirectional_attention": True, "sliding_window": 8,
         "layer_types": ["sliding_attention", "sliding_attention", "full_attention"]},
        special=tiny.DECODER,
    ),
    "granite-embedding-r2": Architecture(
        "ModernBertModel", {"cls_token_id": 2, "sep_token_id": 3, "hidden_activation": "silu"}
    ),
    "granite-embedding-multilingual": Architecture(
        "XLMRobertaModel", XLMR, special=tiny.ROBERTA
    ),
    "LaBSE": Architecture("BertModel"),
    "bge-m3": Architecture("XLMRobertaModel", XLMR, special=tiny.ROBERTA),
    "XLM-V": Architecture(
        "XLMRobertaForMaskedLM", XLMR, {"model_type": "xlm-roberta"}, special=tiny.ROBERTA
    ),
    "InfoXLM": Architecture("XLMRobertaModel", XLMR, special=tiny.ROBERTA),
    "RemBERT": Architecture(
        "RemBertModel",
        {"input_embedding_size": 16, "output_embedding_size": 24, "bos_token_id": 312},
    ),
    "mT5": Architecture(
        "MT5EncoderModel",
        {"d_model": WIDTH, "d_kv": 8, "d_ff": 64, "num_layers": DEPTH, "num_heads": 4,
         "feed_forward_proj": "gated-gelu", **dict.fromkeys(COMMON, None), "pad_token_id": 0},
        {"model_type": "mt5"},
        special=tiny.T5,
    ),
    "ALBERT": Architecture("AlbertForMaskedLM", SMALL),
    "ALBERT, two groups": Architecture(
        "AlbertModel", {**SMALL, "num_hidden_groups": 2, "num_hidden_layers": 4}
    ),
    "ALBERT, two layers in a group": Architecture(
        "AlbertModel",
        {**SMALL, "inner_group_num": 2},
        refused={"all": "7 hidden states for 3 layers"},
    ),
    "XLM-R-XL": Architecture("XLMRobertaXLModel", XLMR, special=tiny.ROBERTA),
    "FNet": Architecture("FNetModel", one_length=True),
    "ConvBERT": Architecture(
        "ConvBertModel", {**SMALL, "conv_kernel_size": 3, "head_ratio": 2}, one_length=True
    ),
    "Nystromformer": Architecture(
        "NystromformerModel",
        {"segment_means_seq_len": 64, "num_landmarks": 64, "conv_kernel_size": 5},
        one_length=True,
    ),
    "Nystromformer, fewer landmarks": Architecture(
        "NystromformerModel",
        {"segment_means_seq_len": 16, "num_landmarks": 8},
        refused={"all": "fails on a few short texts"},
    ),
    "MobileBERT": Architecture(
        "MobileBertModel",
        {**SMALL, "true_hidden_size": 16, "intra_bottleneck_size": 16},
        one_length=True,
    ),
    "SqueezeBERT": Architecture(
        "SqueezeBertModel",
        {"embedding_size": WIDTH},
        refused=dict.fromkeys(range(DEPTH), "never called as a module"),
    ),
    "XLNet": Architecture(
        "XLNetModel",
        {"d_model": WIDTH, "n_layer": DEPTH, "n_head": 4, "d_inner": 64,
         **dict.fromkeys(COMMON, None)},
    ),
    "mDeBERTa": Architecture(
        "DebertaV2Model",
        {"relative_attention": True, "position_buckets": 16, "norm_rel_ebd": "layer_norm",
         "share_att_key": True, "pos_att_type": ["p2c", "c2p"], "position_biased_input": False,
         "type_vocab_size": 0},
        special=tiny.DEBERTA,
    ),
    "Funnel": Architecture(
        "FunnelModel",
        {"block_sizes": [1, 1, 1], "d_model": WIDTH, "n_head": 4, "d_head": 8, "d_inner": 64,
         **dict.fromkeys(COMMON, None)},
        refused={"all": "never called as a module"},
    ),
    "BigBird": Architecture("BigBirdModel"),
    "Longformer": Architecture(
        "LongformerModel", {**XLMR, "attention_window": 8}, special=tiny.ROBERTA
    ),
    "YOSO": Architecture("YosoModel", one_length=True),
    "CANINE": Architecture("CanineModel", refused={"all": ""}),
}  # fmt: skip
