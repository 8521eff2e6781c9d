"""Tiny random checkpoints of every architecture, with tokenizers trained in place.

``build(kind, folder)`` writes what ``save_pretrained`` writes: config, safetensors, tokenizer.
Equal arguments give equal files. Three layers, width 32, a vocabulary of a few hundred pieces.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

SENTENCES = (
    "The ferry to the northern island leaves at seven in the morning.",
    "My sister planted three apple trees behind the old school.",
    "How many bridges cross the river in the middle of the town?",
    "Die Fähre zur nördlichen Insel fährt um sieben Uhr morgens ab.",
    "Meine Schwester hat hinter der alten Schule drei Apfelbäume gepflanzt.",
    "Le bac pour l'île du nord part à sept heures du matin.",
    "Combien de ponts traversent la rivière au milieu de la ville ?",
    "Паром на северный остров отправляется в семь утра.",
    "تغادر العبّارة إلى الجزيرة الشمالية في السابعة صباحًا.",
    "उत्तरी द्वीप के लिए नाव सुबह सात बजे चलती है।",
    "เรือข้ามฟากไปเกาะทางเหนือออกเวลาเจ็ดโมงเช้า",
    "开往北岛的渡轮早上七点出发。",
    "北の島へ向かうフェリーは朝七時に出ます。",
    "0 1 2 3 4 5 6 7 8 9 ( ) { } : ; ! - \" '",
)
WIDTH = 32
HEADS = 4
LAYERS = 3

# Special tokens by family, in the order of their ids.
BERT = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
ROBERTA = ("<s>", "<pad>", "</s>", "<unk>", "<mask>")
DEBERTA = ("[PAD]", "[CLS]", "[SEP]", "[UNK]", "[MASK]")
T5 = ("<pad>", "</s>", "<unk>")
DECODER = ("<unk>", "<s>", "</s>")
QWEN = ("<unk>", "<s>", "</s>", "<|endoftext|>")


def build(
    kind: str,
    folder: Path,
    *,
    qa_head: bool = False,
    seed: int = 0,
    layers: int = LAYERS,
    dtype: str = "float32",
    shards: bool = False,
    **config: Any,
) -> Path:
    """Write a checkpoint of ``kind`` (a key of ``KINDS``) into ``folder`` and return it.

    ``config`` overrides entries of the configuration; ``shards`` splits the weights into several
    files with an index.
    """
    import torch
    import transformers

    config_class, model_class, head_class, special, depth_key, extra = KINDS[kind]
    tokenizer = _tokenizer(special, kind in LEADING_SPECIAL)
    values = {
        "vocab_size": len(tokenizer),
        "hidden_size": WIDTH,
        depth_key: layers,
        "num_attention_heads": HEADS,
        "intermediate_size": 2 * WIDTH,
        **({} if special == T5 else {"max_position_embeddings": 128}),
        "initializer_range": 0.5,
        "pad_token_id": tokenizer.pad_token_id,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        **extra,
        **config,
    }
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        settings = getattr(transformers, config_class)(**values)
        model = getattr(transformers, head_class if qa_head else model_class)(settings)
    model = model.to(getattr(torch, dtype))
    folder.mkdir(parents=True, exist_ok=True)
    with _no_bars():
        model.save_pretrained(folder, max_shard_size="40KB" if shards else "1GB")
    tokenizer.save_pretrained(folder)
    return folder


HEAD_CLASSES = {
    "classification": "AutoModelForSequenceClassification",
    "multiple_choice": "AutoModelForMultipleChoice",
    "tagging": "AutoModelForTokenClassification",
}


def build_head(folder: Path, kind: str, names: Sequence[str], *, base: str = "bert") -> Path:
    """A checkpoint with a head (a key of ``HEAD_CLASSES``) whose outputs have these names."""
    import torch
    import transformers

    plain = build(base, folder / "plain")
    labels = {} if kind == "multiple_choice" else {"id2label": dict(enumerate(names))}
    with torch.random.fork_rng(devices=[]), _no_bars():
        torch.manual_seed(1)
        model = getattr(transformers, HEAD_CLASSES[kind]).from_pretrained(plain, **labels)
        last = getattr(model.classifier, "out_proj", model.classifier)
        torch.nn.init.normal_(last.weight)
        model.save_pretrained(folder / kind)
    transformers.AutoTokenizer.from_pretrained(plain).save_pretrained(folder / kind)
    return folder / kind


def build_sentence_transformer(
    folder: Path,
    *,
    kind: str = "bert",
    pooling: Mapping[str, Any] | None = None,
    dense: tuple[int, ...] = (),
    activation: str = "torch.nn.modules.activation.Tanh",
    normalize: bool = True,
    max_length: int | None = 48,
    lower_case: bool = False,
    prompts: Mapping[str, str] | None = None,
    default_prompt: str | None = None,
    similarity: str | None = "cosine",
    transformer: str = "",
    seed: int = 0,
    **options: Any,
) -> Path:
    """A sentence-transformers folder: the model, ``1_Pooling`` and what follows it.

    ``pooling`` is the content of its config.json (the mean by default); ``dense`` the widths of
    dense layers in order; ``transformer`` the sub-folder of the model ("" or "0_Transformer").
    """
    build(kind, folder / transformer, seed=seed, **options)
    name = "sentence_transformers.models."
    modules = [(transformer, "Transformer"), ("1_Pooling", "Pooling")]
    _write(
        folder / "1_Pooling" / "config.json",
        pooling or {"word_embedding_dimension": WIDTH, "pooling_mode_mean_tokens": True},
    )
    width = WIDTH
    for number, wider in enumerate(dense, start=2):
        modules.append((f"{number}_Dense", "Dense"))
        _dense(folder / f"{number}_Dense", width, wider, activation, seed + number)
        width = wider
    if normalize:
        modules.append((f"{len(modules)}_Normalize", "Normalize"))
    _write(
        folder / "modules.json",
        [
            {"idx": idx, "name": str(idx), "path": path, "type": name + module}
            for idx, (path, module) in enumerate(modules)
        ],
    )
    sentence: dict[str, Any] = {"do_lower_case": lower_case}
    if max_length is not None:
        sentence["max_seq_length"] = max_length
    _write(folder / transformer / "sentence_bert_config.json", sentence)
    _write(
        folder / "config_sentence_transformers.json",
        {
            "prompts": dict(prompts or {}),
            "default_prompt_name": default_prompt,
            "similarity_fn_name": similarity,
        },
    )
    return folder


def build_adapter(
    folder: Path,
    base: str,
    base_folder: Path,
    *,
    seed: int = 0,
    qa_head: bool = False,
    **config: Any,
) -> Path:
    """A LoRA adapter on the attention of ``base_folder``, which it names as ``base``.

    With ``qa_head`` it is trained inside a model with a head, so its tensor names have the base
    model's prefix. ``config`` overrides entries of adapter_config.json. Needs peft.
    """
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModel, AutoModelForQuestionAnswering

    auto = AutoModelForQuestionAnswering if qa_head else AutoModel
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        with _no_bars():
            model = auto.from_pretrained(base_folder)
        targets = sorted(
            {
                name.rpartition(".")[2]
                for name, module in model.named_modules()
                if isinstance(module, torch.nn.Linear)
                and name.rpartition(".")[2] in ("query", "value", "q_proj", "v_proj", "q", "v")
            }
        )
        options = LoraConfig(r=4, lora_alpha=8, target_modules=targets, init_lora_weights=False)
        adapted = get_peft_model(model, options)
    adapted.save_pretrained(str(folder), save_embedding_layers=False)
    (folder / "README.md").unlink(missing_ok=True)
    written = json.loads((folder / "adapter_config.json").read_text())
    # As training with the defaults writes it; the weights above are random without training.
    written.update({"base_model_name_or_path": base, "init_lora_weights": True, **config})
    _write(folder / "adapter_config.json", written)
    return folder


@contextmanager
def _no_bars() -> Iterator[None]:
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()  # type: ignore[no-untyped-call]


def _write(path: Path, value: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, indent=2))


def _dense(folder: Path, inner: int, outer: int, activation: str, seed: int) -> None:
    import torch
    from safetensors.torch import save_file

    generator = torch.Generator().manual_seed(seed)
    _write(
        folder / "config.json",
        {
            "in_features": inner,
            "out_features": outer,
            "bias": True,
            "activation_function": activation,
        },
    )
    save_file(
        {
            "linear.weight": torch.randn(outer, inner, generator=generator),
            "linear.bias": torch.randn(outer, generator=generator),
        },
        folder / "model.safetensors",
    )


def _tokenizer(special: tuple[str, ...], leading: bool) -> Any:
    """A fast tokenizer; a fresh object each time, since loading code may change it."""
    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerFast

    trained = Tokenizer.from_str(_trained(special, leading))
    names = {}
    for token in special:
        role = ROLES.get(token.strip("<>[]"))
        if role is not None:
            names[role] = token
    inputs = ["input_ids", "attention_mask"] + ["token_type_ids"] * (special in (BERT, DEBERTA))
    return PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=trained, model_max_length=512, model_input_names=inputs, **names
    )


ROLES = {
    "PAD": "pad_token",
    "pad": "pad_token",
    "UNK": "unk_token",
    "unk": "unk_token",
    "CLS": "cls_token",
    "SEP": "sep_token",
    "s": "bos_token",
    "/s": "eos_token",
    "MASK": "mask_token",
    "mask": "mask_token",
}


@cache
def _trained(special: tuple[str, ...], leading: bool) -> str:
    """The tokenizer file: byte-level BPE, which covers every script, with the family's template."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train_from_iterator(
        SENTENCES,
        trainers.BpeTrainer(
            vocab_size=420,
            special_tokens=list(special),
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        ),
    )
    ends = ("[CLS]", "[SEP]") if "[CLS]" in special else ("<s>", "</s>")
    if not leading:
        single, pair = f"$A {ends[1]}", f"$A {ends[1]} $B {ends[1]}"
    elif special in (DECODER, QWEN):
        single, pair = f"{ends[0]} $A", f"{ends[0]} $A $B"
    elif special == ROBERTA:
        single, pair = f"<s> $A {ends[1]}", f"<s> $A {ends[1]} {ends[1]} $B {ends[1]}"
    else:
        single = f"{ends[0]} $A {ends[1]}"
        pair = f"{ends[0]} $A {ends[1]} $B:1 {ends[1]}:1"
    tokenizer.post_processor = processors.TemplateProcessing(
        single=single,
        pair=pair,
        special_tokens=[
            (token, tokenizer.token_to_id(token)) for token in ends if token in special
        ],
    )
    return str(tokenizer.to_str())


_ROTARY: dict[str, Any] = {"num_key_value_heads": 2, "head_dim": WIDTH // HEADS}
_T5: dict[str, Any] = {
    "d_model": WIDTH,
    "d_kv": WIDTH // HEADS,
    "d_ff": 2 * WIDTH,
    "num_heads": HEADS,
    "num_decoder_layers": 2,
    "decoder_start_token_id": 0,
    "initializer_factor": 0.5,
}
# kind → config, base model, model with a QA head, special tokens, name of the depth, other entries
Kind = tuple[str, str, str, tuple[str, ...], str, Mapping[str, Any]]
KINDS: Mapping[str, Kind] = {
    "bert": ("BertConfig", "BertModel", "BertForQuestionAnswering", BERT, "num_hidden_layers", {}),
    "xlm-roberta": (
        "XLMRobertaConfig",
        "XLMRobertaModel",
        "XLMRobertaForQuestionAnswering",
        ROBERTA,
        "num_hidden_layers",
        {"type_vocab_size": 1, "max_position_embeddings": 130},
    ),
    "distilbert": (
        "DistilBertConfig",
        "DistilBertModel",
        "DistilBertForQuestionAnswering",
        BERT,
        "n_layers",
        {"dim": WIDTH, "n_heads": HEADS, "hidden_dim": 2 * WIDTH},
    ),
    "deberta-v2": (
        "DebertaV2Config",
        "DebertaV2Model",
        "DebertaV2ForQuestionAnswering",
        DEBERTA,
        "num_hidden_layers",
        {
            "relative_attention": True,
            "position_buckets": 16,
            "norm_rel_ebd": "layer_norm",
            "share_att_key": True,
            "pos_att_type": ["p2c", "c2p"],
            "position_biased_input": False,
            "type_vocab_size": 0,
        },
    ),
    "electra": (
        "ElectraConfig",
        "ElectraModel",
        "ElectraForQuestionAnswering",
        BERT,
        "num_hidden_layers",
        {"embedding_size": 16},
    ),
    "modernbert": (
        "ModernBertConfig",
        "ModernBertModel",
        "ModernBertForQuestionAnswering",
        BERT,
        "num_hidden_layers",
        {"cls_token_id": 2, "sep_token_id": 3, "bos_token_id": 2, "eos_token_id": 3},
    ),
    "mpnet": (
        "MPNetConfig",
        "MPNetModel",
        "MPNetForQuestionAnswering",
        ROBERTA,
        "num_hidden_layers",
        {"max_position_embeddings": 130},
    ),
    "t5": (
        "T5Config",
        "T5ForConditionalGeneration",
        "T5ForQuestionAnswering",
        T5,
        "num_layers",
        _T5,
    ),
    "mt5": (
        "MT5Config",
        "MT5ForConditionalGeneration",
        "MT5ForQuestionAnswering",
        T5,
        "num_layers",
        {**_T5, "feed_forward_proj": "gated-gelu", "tie_word_embeddings": False},
    ),
    "qwen2": (
        "Qwen2Config",
        "Qwen2ForCausalLM",
        "Qwen2ForQuestionAnswering",
        QWEN,
        "num_hidden_layers",
        {**_ROTARY, "tie_word_embeddings": True},
    ),
    "qwen3": (
        "Qwen3Config",
        "Qwen3Model",
        "Qwen3ForQuestionAnswering",
        QWEN,
        "num_hidden_layers",
        _ROTARY,
    ),
    "llama": (
        "LlamaConfig",
        "LlamaForCausalLM",
        "LlamaForQuestionAnswering",
        DECODER,
        "num_hidden_layers",
        _ROTARY,
    ),
    "mbart": (
        "MBartConfig",
        "MBartModel",
        "MBartForQuestionAnswering",
        ROBERTA,
        "encoder_layers",
        {
            "d_model": WIDTH,
            "decoder_layers": 2,
            "encoder_attention_heads": HEADS,
            "decoder_attention_heads": HEADS,
            "encoder_ffn_dim": 2 * WIDTH,
            "decoder_ffn_dim": 2 * WIDTH,
        },
    ),
}
# T5-like tokenizers put nothing before the text.
LEADING_SPECIAL = frozenset(KINDS) - {"t5", "mt5"}
