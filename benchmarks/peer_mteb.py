"""MTEB's side: its own tasks, evaluators and sentence-transformers, over local official files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from harness.cards.task import read_card
from harness.data.examples import Retrieval
from harness.inference.batching import distinct

BATCH = 32  # mteb's default and sentence-transformers'


def tatoeba(model: Path, data: Path, languages: Sequence[str]) -> dict[str, dict[str, float]]:
    """language → MTEB's scores of it, language → English."""
    from datasets import Dataset
    from mteb.tasks.bitext_mining.multilingual.tatoeba_bitext_mining import TatoebaBitextMining

    codes = {_code(lang): lang for lang in languages}

    class Local(TatoebaBitextMining):
        def load_data(self, **_: Any) -> None:
            self.dataset = {
                f"{code}-eng": {
                    "test": Dataset.from_dict(
                        {
                            "sentence1": lines(data, code, code),
                            "sentence2": lines(data, code, "eng"),
                        }
                    )
                }
                for code in codes
            }
            self.data_loaded = True

    task = Local().filter_languages(None, hf_subsets=[f"{code}-eng" for code in codes])
    return {
        codes[score["hf_subset"].split("-")[0]]: score for score in _evaluate(model, task)["test"]
    }


def lareqa(model: Path, part: Retrieval) -> dict[str, float]:
    """MTEB's scores over all questions, the candidates encoded once for all languages."""
    from datasets import Dataset
    from mteb.abstasks.retrieval import AbsTaskRetrieval
    from mteb.abstasks.task_metadata import TaskMetadata

    asked = {f"{lang}:{query.id}": query for lang, found in part.queries.items() for query in found}

    class Local(AbsTaskRetrieval):
        metadata = TaskMetadata(
            name="LAReQA",
            description="XQuAD-R: the sentence that answers a question, in any language.",
            dataset={"path": "local", "revision": "local"},
            type="Retrieval",
            eval_langs=["eng-Latn"],
            main_score="recall_at_10",
        )

        def load_data(self, **_: Any) -> None:
            self.dataset = {
                "default": {
                    "test": {
                        "corpus": Dataset.from_dict(
                            {"id": list(part.candidate_ids), "text": list(part.candidates)}
                        ),
                        "queries": Dataset.from_dict(
                            {"id": list(asked), "text": [query.text for query in asked.values()]}
                        ),
                        "relevant_docs": {
                            name: {part.candidate_ids[row]: 1 for row in query.relevant}
                            for name, query in asked.items()
                        },
                        "top_ranked": None,
                    }
                }
            }
            self.data_loaded = True

    (scores,) = _evaluate(model, Local(), question=96)["test"]
    return scores


def _evaluate(model: Path, task: Any, question: int | None = None) -> Any:
    import mteb
    from sentence_transformers import SentenceTransformer

    class Cut(SentenceTransformer):
        """Questions have a length of their own."""

        def encode_query(self, *args: Any, **kwargs: Any) -> Any:
            whole, self.max_seq_length = self.max_seq_length, question
            try:
                return super().encode_query(*args, **kwargs)
            finally:
                self.max_seq_length = whole

    loaded = (Cut if question else SentenceTransformer)(str(model), device="cpu")
    result = mteb.evaluate(
        loaded,
        task,
        cache=None,
        co2_tracker=False,
        encode_kwargs={"batch_size": BATCH, "show_progress_bar": False},
        show_progress_bar=False,
    )
    return result.task_results[0].scores


def lines(data: Path, code: str, side: str) -> list[str]:
    """One side of a language's pairs."""
    path = data / f"tatoeba/tatoeba.{code}-eng.{side}"
    return path.read_text(encoding="utf-8").splitlines()


def sentences(data: Path, languages: Sequence[str]) -> list[str]:
    """The distinct sentences of some languages and of their English sides."""
    return distinct(
        [
            text
            for lang in languages
            for side in (_code(lang), "eng")
            for text in lines(data, _code(lang), side)
        ]
    )[0]


def padded(lengths: npt.NDArray[np.int64], texts: Sequence[str]) -> npt.NDArray[np.int64]:
    """The length to which each text is padded, batch by batch."""
    found = np.empty_like(lengths)
    for batch in _batches(texts):
        found[batch] = lengths[batch].max()
    return found


def every_batch(texts: Sequence[str], step: int) -> list[str]:
    """The texts of every ``step``-th batch that sentence-transformers forms of ``texts``."""
    return [texts[row] for batch in _batches(texts)[::step] for row in batch]


def _batches(texts: Sequence[str]) -> list[npt.NDArray[np.int64]]:
    """32 texts each, in order of characters, the longest first."""
    order = np.argsort([-len(text) for text in texts])
    return [order[start : start + BATCH] for start in range(0, len(order), BATCH)]


def _code(lang: str) -> str:
    return read_card("tatoeba").source.codes.get(lang, lang)
