"""A head of our own, for architectures that have no head of a kind in transformers.

It is dropout and one linear layer. For a decision about a whole text it is applied to the mean of
the last hidden states, and for tags and spans to the state of every token. Its weights lie in the
file of the encoder's weights, under a name of their own, and an entry of `config.json` says what
the head is for. This module imports torch and transformers, so it is imported where a model is at
hand.
"""

from __future__ import annotations

import copy
import inspect
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch.nn.functional import cross_entropy
from transformers.modeling_outputs import QuestionAnsweringModelOutput, SequenceClassifierOutput

from harness.checkpoint.heads import LINEAR
from harness.checkpoint.skeleton import is_part, stored_names
from harness.checkpoint.weights import WEIGHTS

DROPOUT = 0.1


class LinearHead(torch.nn.Module):
    """A fresh head on an encoder, in float32.

    ``kind``: "span" or a key of `heads.CLASSES`. ``labels``: the names of the outputs of a
    classification or tagging head. Inputs and outputs are those of transformers' models of the
    kind: int64[texts, tokens] (of multiple choice [texts, choices, tokens]) in; ``loss`` and
    ``logits`` (float32[texts, labels], [texts, choices] or [texts, tokens, labels]), or
    ``start_logits`` and ``end_logits``, out. Padding takes no part in any of them.
    """

    def __init__(self, encoder: Any, kind: str, labels: Sequence[str]) -> None:
        super().__init__()
        self.encoder, self.kind, self.labels = encoder, kind, tuple(labels)
        self.config = copy.copy(encoder.config)
        # The encoder's own names may be those of another head, which it had before.
        self.config.id2label = dict(enumerate(labels))
        self.typed = "token_type_ids" in inspect.signature(encoder.forward).parameters
        self.dropout = torch.nn.Dropout(DROPOUT)
        width = encoder.config.get_text_config(decoder=False).hidden_size
        outputs = {"span": 2, "multiple_choice": 1}.get(kind, len(labels))
        layer = torch.nn.Linear(width, outputs)
        torch.nn.init.normal_(layer.weight, std=0.02)  # as in BERT
        torch.nn.init.zeros_(layer.bias)
        self.add_module(LINEAR, layer)

    def forward(
        self,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor,
        token_type_ids: torch.Tensor | None = None,
        labels: torch.Tensor | None = None,
        start_positions: torch.Tensor | None = None,
        end_positions: torch.Tensor | None = None,
    ) -> Any:
        shape = input_ids.shape[:-1]
        inputs = {"input_ids": input_ids, "attention_mask": attention_mask}
        if self.typed and token_type_ids is not None:
            inputs["token_type_ids"] = token_type_ids
        flat = {name: tensor.flatten(0, -2) for name, tensor in inputs.items()}
        hidden = self.encoder(**flat).last_hidden_state
        attended = flat["attention_mask"].unsqueeze(-1)
        if self.kind in ("classification", "multiple_choice"):
            weights = attended.to(hidden.dtype)
            hidden = (hidden * weights).sum(1) / weights.sum(1).clamp(min=1)
        logits = self.get_submodule(LINEAR)(self.dropout(hidden)).float()
        if self.kind == "span":
            lowest = torch.finfo(logits.dtype).min
            start, end = logits.masked_fill(attended == 0, lowest).unbind(-1)
            loss = None
            if start_positions is not None and end_positions is not None:
                loss = (cross_entropy(start, start_positions)
                        + cross_entropy(end, end_positions)) / 2  # fmt: skip
            return QuestionAnsweringModelOutput(loss=loss, start_logits=start, end_logits=end)
        if self.kind == "multiple_choice":
            logits = logits.view(shape)
        loss = None
        if labels is not None:  # cross_entropy leaves the label -100 out.
            loss = cross_entropy(logits.flatten(0, -2), labels.flatten())
        return SequenceClassifierOutput(loss=loss, logits=logits)


def save(encoder: Any, folder: Path, head: Any = None) -> None:
    """Save an encoder, with or without a head of this module, as a checkpoint for `loading`."""
    encoder.save_pretrained(folder, max_shard_size="1TB")
    path, config_path = folder / WEIGHTS, folder / "config.json"
    tensors = load_file(path)
    config = json.loads(config_path.read_text(encoding="utf-8"))
    if is_part(encoder):
        whole, names = stored_names(encoder)
        tensors = {names[name]: tensor for name, tensor in tensors.items()}
        config["architectures"] = [whole]
    if head is not None:
        for name, tensor in head.get_submodule(LINEAR).state_dict().items():
            tensors[f"{LINEAR}.{name}"] = tensor
        config[LINEAR] = {"kind": head.kind, "labels": list(head.labels)}
    written = path.with_suffix(".new")  # The tensors are mapped from the old file.
    save_file(tensors, written, metadata={"format": "pt"})
    written.replace(path)
    config_path.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")
