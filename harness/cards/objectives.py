"""What an intermediate training can aim at, in the words of cards and submissions."""

from __future__ import annotations

from typing import Literal

Objective = Literal[
    "none",
    "mlm",
    "extractive-qa",
    "nli",
    "paraphrase",
    "commonsense",
    "tagging",
    "contrastive",
    "qa-dual-encoder",
    "multitask",
]
# The language of a training set that holds several.
MULTILINGUAL = "multilingual"
