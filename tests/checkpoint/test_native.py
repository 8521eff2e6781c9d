"""The sentence-transformers declaration, in the forms that library has written over the years."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.checkpoint.native import Dense, Native, Truncate, read_native
from harness.errors import RefusedError
from tests.checkpoints import WIDTH, build_sentence_transformer


def declared(folder: Path) -> Native:
    native = read_native(folder)
    assert native is not None
    return native


def write(path: Path, value: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value))


def light(
    folder: Path,
    *,
    pooling: Any = None,
    modules: list[tuple[str, str]] | None = None,
    general: Any = None,
    sentence: Any = None,
) -> Native:
    """The declaration alone, without a model beside it."""
    chosen = modules or [
        ("sentence_transformers.models.Transformer", ""),
        ("sentence_transformers.models.Pooling", "1_Pooling"),
    ]
    write(folder / "modules.json", [{"type": kind, "path": path} for kind, path in chosen])
    write(folder / "1_Pooling" / "config.json", pooling or {"pooling_mode_mean_tokens": True})
    if general is not None:
        write(folder / "config_sentence_transformers.json", general)
    if sentence is not None:
        write(folder / "sentence_bert_config.json", sentence)
    return declared(folder)


def test_no_declaration(tmp_path: Path) -> None:
    assert read_native(tmp_path) is None


def test_plain_folder(tmp_path: Path) -> None:
    folder = build_sentence_transformer(tmp_path, max_length=48, lower_case=True)
    assert declared(folder) == Native(
        transformer="",
        max_length=48,
        lower_case=True,
        pooling="mean",
        steps=("normalize",),
        prompts={},
        default_prompt=None,
        similarity="cosine",
        refusal="",
    )


def test_dense_layers_in_order_and_a_transformer_in_its_own_folder(tmp_path: Path) -> None:
    folder = build_sentence_transformer(tmp_path, dense=(16, 8), transformer="0_Transformer")
    native = declared(folder)
    assert native.refusal == ""
    assert native.transformer == "0_Transformer"
    assert native.max_length == 48
    assert native.steps == (
        Dense(folder / "2_Dense", WIDTH, 16, True, "tanh"),
        Dense(folder / "3_Dense", 16, 8, True, "tanh"),
        "normalize",
    )


@pytest.mark.parametrize(
    ("config", "pooling"),
    [
        ({"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}, "cls"),
        ({"pooling_mode_mean_tokens": True}, "mean"),
        ({"pooling_mode_max_tokens": True}, "max"),
        ({"pooling_mode_lasttoken": True}, "last"),
        ({"embedding_dimension": 32, "pooling_mode": "lasttoken"}, "last"),
        ({"embedding_dimension": 32, "pooling_mode": "cls"}, "cls"),
        ({"pooling_mode": ["max"]}, "max"),
        ({"word_embedding_dimension": 32}, "mean"),
        ({"pooling_mode_mean_tokens": True, "include_prompt": False}, "mean"),
    ],
)
def test_pooling(tmp_path: Path, config: dict[str, Any], pooling: str) -> None:
    native = light(tmp_path, pooling=config)
    assert (native.pooling, native.refusal) == (pooling, "")


@pytest.mark.parametrize(
    "config",
    [
        {"pooling_mode_mean_tokens": True, "pooling_mode_max_tokens": True},
        {"pooling_mode_weightedmean_tokens": True},
        {"pooling_mode_mean_sqrt_len_tokens": True},
        {"pooling_mode": ["cls", "mean"]},
        {"pooling_mode": []},
        {"pooling_mode": 7},
    ],
)
def test_pooling_that_cannot_be_honoured(tmp_path: Path, config: dict[str, Any]) -> None:
    assert "pooling" in light(tmp_path, pooling=config).refusal


def test_prompt_left_out_of_pooling(tmp_path: Path) -> None:
    native = light(
        tmp_path,
        pooling={"pooling_mode_mean_tokens": True, "include_prompt": False},
        general={"prompts": {"query": "ask: "}},
    )
    assert "include_prompt" in native.refusal


@pytest.mark.parametrize(
    ("prompts", "default", "query", "document"),
    [
        ({}, None, "", ""),
        ({"query": "q: ", "document": "d: "}, None, "q: ", "d: "),
        ({"query": "q: ", "passage": "p: "}, None, "q: ", "p: "),
        ({"corpus": "c: ", "passage": "p: "}, None, "", "p: "),
        ({"corpus": "c: "}, None, "", "c: "),
        ({"all": "x: "}, "all", "x: ", "x: "),
        ({"all": "x: ", "query": ""}, "all", "", "x: "),
        ({"query": "q: ", "document": None}, "query", "q: ", ""),
    ],
)
def test_prompts(
    tmp_path: Path, prompts: Any, default: str | None, query: str, document: str
) -> None:
    native = light(tmp_path, general={"prompts": prompts, "default_prompt_name": default})
    assert native.refusal == ""
    assert (native.prompt("query"), native.prompt("document")) == (query, document)


@pytest.mark.parametrize(
    ("name", "similarity"),
    [(None, "cosine"), ("cosine", "cosine"), ("dot", "dot"), ("dot_product", "dot")],
)
def test_similarity(tmp_path: Path, name: str | None, similarity: str) -> None:
    native = light(tmp_path, general={"similarity_fn_name": name})
    assert (native.similarity, native.refusal) == (similarity, "")


@pytest.mark.parametrize(
    ("general", "word"),
    [
        ({"similarity_fn_name": "euclidean"}, "euclidean"),
        ({"model_type": "SparseEncoder"}, "SparseEncoder"),
        ({"default_prompt_name": "absent"}, "absent"),
        ({"default_prompt_name": ["query"]}, "['query']"),
        ({"default_prompt_name": {"query": 1}}, "its default prompt"),
        ({"prompts": ["q"]}, "not a mapping"),
        ({"prompts": {"query": 1}}, "not texts"),
        ({"query_length": 32}, "query_length"),
        ({"document_length": 32}, "document_length"),
        ({"fn_name": "PyLate"}, "fn_name"),
        ({"matryoshka": True}, "matryoshka"),
        ({"truncate_dim": 0}, "truncate_dim 0"),
        ({"truncate_dim": -4}, "truncate_dim -4"),
        ({"truncate_dim": True}, "truncate_dim True"),
        ({"truncate_dim": "64"}, "truncate_dim '64'"),
        ({"requirements": {"transformers": ">=999"}}, "transformers >=999"),
        ({"requirements": {"python": "<3"}}, "python <3"),
        ({"requirements": {"torch": {"specifier": "<1"}}}, "torch <1"),
        ({"requirements": {"no-such-package": ">=1"}}, "no-such-package"),
        ({"requirements": {"torch": "newest"}}, "torch newest"),
        ({"requirements": ["torch"]}, "requirements"),
    ],
)
def test_a_general_setting_that_is_refused_is_named(
    tmp_path: Path, general: Any, word: str
) -> None:
    assert word in light(tmp_path, general=general).refusal


TEXT = {"method": "forward", "method_output_name": "last_hidden_state"}


@pytest.mark.parametrize(
    ("sentence", "word"),
    [
        ({"max_seq_length": 0}, "max_seq_length 0"),
        ({"max_seq_length": "long"}, "max_seq_length"),
        ({"transformer_task": "text-generation"}, "text-generation"),
        ({"modality_config": {"text": {"method": "get_text_features"}}}, "transformer module"),
        ({"query_expansion": {"strategy": "fixed", "length": 32}}, "query_expansion"),
        ({"query_length": 0}, "query_length 0"),
        ({"document_length": "long"}, "document_length 'long'"),
        ({"do_lower_case": "yes"}, "do_lower_case"),
        ({"tokenizer_name_or_path": "other/tokenizer"}, "tokenizer_name_or_path"),
        ({"tokenizer_kwargs": {"model_max_length": 12}}, "tokenizer_kwargs"),
        ({"backend": "onnx"}, "backend"),
        ({"unpad_inputs": 1}, "unpad_inputs"),
        ({"pooling": "cls"}, "pooling"),
        ({"model_args": {"torch_dtype": "float16"}}, "torch_dtype"),
        ({"model_kwargs": {"dtype": "bfloat16"}}, "dtype"),
        ({"model_args": {"attn_implementation": "own"}}, "attn_implementation"),
        ({"model_args": {"rope_theta": 1}}, "model_args says rope_theta"),
        ({"model_args": {"subfolder": "onnx"}}, "subfolder"),
        ({"model_args": ["eager"]}, "model_args"),
        ({"config_args": {"num_hidden_layers": 2}}, "num_hidden_layers"),
        ({"config_kwargs": {"is_decoder": True}}, "is_decoder"),
        ({"tokenizer_args": {"use_fast": False}}, "use_fast"),
        ({"tokenizer_args": {"do_lower_case": True}}, "do_lower_case"),
        ({"tokenizer_args": {"padding_side": "left"}}, "padding_side"),
        ({"tokenizer_args": {"model_max_length": 0}}, "model_max_length 0"),
        ({"processor_kwargs": {"add_prefix_space": True}}, "add_prefix_space"),
        (
            {"tokenizer_args": {"use_fast": True}, "processor_kwargs": {"use_fast": True}},
            "both tokenizer_args and processor_kwargs",
        ),
        ({"processing_kwargs": {"max_length": 9}}, "processing_kwargs says max_length"),
        ({"processing_kwargs": {"text": {"truncation": False}}}, "truncation"),
        ({"processing_kwargs": {"text": {"padding": "max_length"}}}, "padding"),
        ({"processing_kwargs": {"text": {"max_length": 0}}}, "max_length 0"),
        ({"processing_kwargs": {"text": {"add_special_tokens": None}}}, "add_special_tokens"),
        ({"processing_kwargs": {"common": {"padding_side": "left"}}}, "padding_side"),
        ({"processing_kwargs": {"text": {"stride": 4}}}, "stride"),
        ({"module_output_name": "sentence_embedding"}, "module_output_name"),
        ({"modality_config": {"text": TEXT | {"method_output_name": "pooler_output"}}}, "pooler"),
        ({"modality_config": {"text": TEXT | {"method_output_name": None}}}, "method_output_name"),
        (
            {"modality_config": {"text": TEXT | {"method_output_name": ["hidden_states", "x"]}}},
            "method_output_name",
        ),
        (
            {"modality_config": {"text": TEXT | {"method_output_name": ["hidden_states", 1, 0]}}},
            "method_output_name",
        ),
        ({"modality_config": {"text": TEXT, "message": TEXT}}, "'message'"),
        ({"modality_config": {"image": TEXT}}, "'image'"),
        ({"modality_config": {"text": TEXT | {"adapter": "x"}}}, "adapter"),
    ],
    ids=str,
)
def test_a_setting_of_the_transformer_that_is_refused_is_named(
    tmp_path: Path, sentence: Any, word: str
) -> None:
    assert word in light(tmp_path, sentence=sentence).refusal


@pytest.mark.parametrize(
    "sentence",
    [
        {},
        {"max_seq_length": None, "do_lower_case": None, "query_length": None},
        {"max_seq_length": 512, "do_lower_case": False, "query_expansion": None},
        {"unpad_inputs": True, "backend": "torch", "cache_dir": None},
        {"model_args": {}, "tokenizer_args": {}, "config_args": {}, "tokenizer_kwargs": {}},
        {"model_args": None, "processing_kwargs": None, "modality_config": None},
        {"model_args": {"attn_implementation": "sdpa", "torch_dtype": "auto"}},
        {"model_args": {"trust_remote_code": True, "low_cpu_mem_usage": True}},
        {"model_kwargs": {"add_pooling_layer": False, "device_map": None}},
        {"tokenizer_args": {"use_fast": True, "padding_side": "right"}},
        {"processor_kwargs": {"clean_up_tokenization_spaces": False, "cache_dir": None}},
        {"config_args": {"trust_remote_code": False, "use_cache": False}},
        {"processing_kwargs": {"chat_template": {"add_generation_prompt": True}, "image": {}}},
        {"processing_kwargs": {"text": {"padding": True, "truncation": True}}},
        {"modality_config": {"text": TEXT}, "module_output_name": "token_embeddings"},
        {"modality_config": {"text": TEXT | {"method_output_name": ["last_hidden_state"]}}},
    ],
    ids=str,
)
def test_what_ordinary_folders_say_is_harmless(tmp_path: Path, sentence: Any) -> None:
    general = {
        "__version__": {"sentence_transformers": "2.0.0", "transformers": "4.6.1"},
        "model_type": "SentenceTransformer",
        "requirements": {"transformers": ">=5", "pytorch": ">=2", "sentence-transformers": ">=99"},
        "prompts": {},
        "default_prompt_name": None,
        "similarity_fn_name": None,
        "truncate_dim": None,
    }
    plain = light(tmp_path / "plain")
    assert light(tmp_path / "said", sentence=sentence, general=general) == replace(
        plain, max_length=sentence.get("max_seq_length")
    )


@pytest.mark.parametrize(
    ("sentence", "tokenizer", "query", "document"),
    [
        ({}, {}, None, None),
        ({}, {"model_max_length": 64}, 64, 64),
        ({}, {"max_len": 64}, 64, 64),
        ({}, {"model_max_length": 10**30}, None, None),
        ({}, {"model_max_length": 1e30}, None, None),
        ({}, {"model_max_length": None}, None, None),
        ({"max_seq_length": 128}, {"model_max_length": 64}, 128, 128),
        ({"query_length": 9}, {"model_max_length": 64}, 9, 64),
        ({"query_length": 200, "document_length": 5, "max_seq_length": 40}, {}, 200, 5),
        (
            {"tokenizer_args": {"model_max_length": 30}, "max_seq_length": 40},
            {"model_max_length": 64},
            30,
            30,
        ),
        ({"processing_kwargs": {"text": {"max_length": 7}}, "query_length": 9}, {}, 7, 7),
        (
            {
                "processing_kwargs": {"text": {"max_length": 7}, "common": {"max_length": 8}},
                "max_seq_length": 40,
            },
            {},
            8,
            8,
        ),
        (
            {
                "processing_kwargs": {"text": {"max_length": None}},
                "query_length": 9,
                "max_seq_length": 40,
            },
            {},
            40,
            40,
        ),
    ],
    ids=str,
)
def test_lengths(
    tmp_path: Path, sentence: Any, tokenizer: Any, query: int | None, document: int | None
) -> None:
    write(tmp_path / "tokenizer_config.json", tokenizer)
    native = light(tmp_path, sentence=sentence)
    assert (native.refusal, native.length("query"), native.length("document")) == (
        "",
        query,
        document,
    )


@pytest.mark.parametrize(("index", "layer"), [(-2, -2), (0, 0), (3, 3)])
def test_layer(tmp_path: Path, index: int, layer: int) -> None:
    text = TEXT | {"method_output_name": ["hidden_states", index]}
    native = light(tmp_path, sentence={"modality_config": {"text": text}})
    assert (native.refusal, native.layer) == ("", layer)


@pytest.mark.parametrize(
    ("model_type", "refusal"),
    [
        (
            "mbart",
            "its vectors are pooled from the decoder of 'mbart', and only encoders are run here",
        ),
        ("m2m_100", ""),
    ],
)
def test_a_decoder_that_the_library_pools_is_refused(
    tmp_path: Path, model_type: str, refusal: str
) -> None:
    write(tmp_path / "config.json", {"model_type": model_type, "is_encoder_decoder": True})
    assert light(tmp_path).refusal == refusal


def test_an_empty_file_is_as_none(tmp_path: Path) -> None:
    write(tmp_path / "sentence_roberta_config.json", {"max_seq_length": 77})
    assert light(tmp_path, sentence={}).max_length == 77


def test_truncation_comes_after_the_last_module(tmp_path: Path) -> None:
    folder = build_sentence_transformer(tmp_path, dense=(16,))
    write(folder / "config_sentence_transformers.json", {"truncate_dim": 5})
    assert declared(folder).steps[1:] == ("normalize", Truncate(5))


@pytest.mark.parametrize(
    ("file", "entries", "word"),
    [
        ("1_Pooling", {"pooling_mode_attention": True}, "pooling_mode_attention"),
        ("2_Dense", {"dropout": 0.1}, "2_Dense/config.json says dropout"),
        ("2_Dense", {"activation_function": "own.ReLU"}, "own.relu"),
        ("2_Dense", {"activation_function": "torchvision.ReLU"}, "torchvision.relu"),
        ("3_Normalize", {"eps": 1e-3}, "eps"),
        ("3_Normalize", {"module_input_name": "token_embeddings"}, "module_input_name"),
        ("2_Dense", {"activation_function": "own.Swish"}, "swish"),
        ("2_Dense", {"activation_function": None}, "activation"),
        ("2_Dense", {"use_residual": True}, "more than a linear layer"),
        ("2_Dense", {"module_input_name": "token_embeddings"}, "more than a linear layer"),
        ("2_Dense", {"in_features": 7}, "do not have the sizes"),
        ("2_Dense", {"bias": False}, "do not have the sizes"),
        ("2_Dense", {"out_features": "8"}, "do not have the sizes"),
    ],
)
def test_a_setting_of_a_module_that_is_refused_is_named(
    tmp_path: Path, file: str, entries: Any, word: str
) -> None:
    folder = build_sentence_transformer(tmp_path, dense=(8,))
    path = folder / file / "config.json"
    write(path, (json.loads(path.read_text()) if path.exists() else {}) | entries)
    assert word in declared(folder).refusal


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"kwargs": ["task"]}, "kwargs"),
        ({"revision": "main"}, "revision"),
        ({"name": "0"}, "one name"),
    ],
)
def test_a_key_of_modules_json_that_is_not_followed_is_named(
    tmp_path: Path, change: Any, word: str
) -> None:
    folder = build_sentence_transformer(tmp_path)
    modules = json.loads((folder / "modules.json").read_text())
    modules[1] |= change
    write(folder / "modules.json", modules)
    assert word in declared(folder).refusal


ST = "sentence_transformers.models."
START = [(f"{ST}Transformer", ""), (f"{ST}Pooling", "1_Pooling")]


@pytest.mark.parametrize(
    ("modules", "word"),
    [
        ([("custom_st.Transformer", ""), START[1]], "code of its own"),
        ([*START, (f"{ST}LSTM", "2_LSTM")], "LSTM"),
        ([*START, (f"{ST}LayerNorm", "2_LayerNorm")], "LayerNorm"),
        ([START[0]], "no pooling"),
        ([START[0], (f"{ST}Normalize", "1_Normalize"), START[1]], "not in the usual order"),
        ([(f"{ST}StaticEmbedding", "")], "no pooling"),
        ([*START, (f"{ST}Pooling", "1_Pooling")], "not in the usual order"),
        ([*START, (f"{ST}Dense", "../2_Dense")], "lies in '../2_Dense'"),
        ([*START, (f"{ST}Dense", "2_Dense")], "2_Dense has no model.safetensors"),
    ],
)
def test_modules_refused(tmp_path: Path, modules: list[tuple[str, str]], word: str) -> None:
    assert word in light(tmp_path, modules=modules).refusal


def test_module_names_of_newer_versions_and_dropout(tmp_path: Path) -> None:
    native = light(
        tmp_path,
        modules=[
            ("sentence_transformers.base.modules.transformer.Transformer", ""),
            ("sentence_transformers.sentence_transformer.modules.pooling.Pooling", "1_Pooling"),
            ("sentence_transformers.sentence_transformer.modules.dropout.Dropout", "2_Dropout"),
            ("sentence_transformers.base.modules.normalize.Normalize", "3_Normalize"),
        ],
        sentence={
            "transformer_task": "feature-extraction",
            "modality_config": {
                "text": {"method": "forward", "method_output_name": "last_hidden_state"}
            },
            "module_output_name": "token_embeddings",
        },
    )
    assert (native.refusal, native.steps, native.max_length) == ("", ("normalize",), None)


def test_weights_outside_the_folder_are_refused_outright(tmp_path: Path) -> None:
    write(tmp_path / "modules.json", [{"type": f"{ST}Transformer", "path": "../elsewhere"}])
    with pytest.raises(RefusedError, match=r"\.\./elsewhere"):
        read_native(tmp_path)


@pytest.mark.parametrize("text", ["{", "{}", "[1]", '[{"type": 1}, {"path": []}]'])
def test_broken_modules_do_not_stop_the_other_protocols(tmp_path: Path, text: str) -> None:
    (tmp_path / "modules.json").write_text(text)
    assert declared(tmp_path).refusal


def test_dense_layers_that_do_not_fit_each_other(tmp_path: Path) -> None:
    folder = build_sentence_transformer(tmp_path / "a", dense=(16, 8))
    other = build_sentence_transformer(tmp_path / "b", dense=(12, 8))
    (other / "3_Dense").rename(folder / "4_Dense")
    modules = json.loads((folder / "modules.json").read_text())
    modules[3]["path"] = "4_Dense"
    write(folder / "modules.json", modules)
    assert "4_Dense takes 12 features" in declared(folder).refusal


@pytest.mark.parametrize("name", ["Identity", "ReLU", "GELU", "Sigmoid", "Tanh"])
def test_activations(tmp_path: Path, name: str) -> None:
    folder = build_sentence_transformer(tmp_path, dense=(4,), activation=f"torch.nn.modules.{name}")
    step = declared(folder).steps[0]
    assert isinstance(step, Dense)
    assert step.activation == name.lower()
