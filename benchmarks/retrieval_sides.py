"""One side of bench_mteb.py as a whole process: an evaluation, and its scores in OUT.json.

    python benchmarks/retrieval_sides.py SIDE TASK MODEL GIVEN.json OUT.json

SIDE is ours or theirs, TASK tatoeba or lareqa. GIVEN.json has `data` (the official files),
`languages`, `dtype`, for Tatoeba `codes` (language → the code in its files' names) and for LAReQA
`texts` (a JSON file with the pool and the questions, for MTEB). A side imports only what it needs.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Any
from unittest.mock import patch

BATCH = 32  # mteb's default and sentence-transformers'
QUESTION = 96  # tokens


def ours(task: str, model: str, given: dict[str, Any]) -> Any:
    """Our scores, nothing kept before: language → metric → value."""
    import harness

    # A part of an official file passes, whose checksum is the whole's.
    part = patch("harness.data.folder.verified", lambda *_: "0" * 64)
    with tempfile.TemporaryDirectory() as work, part:
        found = harness.evaluate(
            model, [task], languages=given["languages"], data=given["data"], dtype=given["dtype"],
            protocol=given["protocol"], offline=True, device="cpu",
            out=Path(work) / "out", cache_dir=Path(work) / "cache",
        ).to_arrow()  # fmt: skip
    scores: dict[str, dict[str, float]] = {}
    for row in found.to_pylist():
        if task != "tatoeba" or row["direction"] == f"{row['lang']}-en":
            scores.setdefault(row["lang"], {})[row["metric"]] = row["value"]
    return scores


def theirs(task: str, model: str, given: dict[str, Any]) -> Any:
    """MTEB's scores: its own task and evaluator with sentence-transformers."""
    import mteb
    import torch
    from sentence_transformers import SentenceTransformer

    class Cut(SentenceTransformer):
        """Questions have a length of their own."""

        def encode_query(self, *args: Any, **kwargs: Any) -> Any:
            whole, self.max_seq_length = self.max_seq_length, QUESTION
            try:
                return super().encode_query(*args, **kwargs)
            finally:
                self.max_seq_length = whole

    made, kind = (tatoeba(given), SentenceTransformer) if task == "tatoeba" else (
        lareqa(given), Cut)  # fmt: skip
    dtype = {"torch_dtype": getattr(torch, given["dtype"])}
    result = mteb.evaluate(
        kind(model, device="cpu", model_kwargs=dtype),
        made,
        cache=None,
        co2_tracker=False,
        encode_kwargs={"batch_size": BATCH, "show_progress_bar": False},
        show_progress_bar=False,
    )
    scores = result.task_results[0].scores["test"]
    if task == "lareqa":
        return scores[0]
    named = {code: lang for lang, code in given["codes"].items()}
    return {named[score["hf_subset"].split("-")[0]]: score for score in scores}


def tatoeba(given: dict[str, Any]) -> Any:
    """MTEB's own task over the official files: language → English."""
    from datasets import Dataset
    from mteb.tasks.bitext_mining.multilingual.tatoeba_bitext_mining import TatoebaBitextMining

    codes = list(given["codes"].values())

    def lines(code: str, side: str) -> list[str]:
        path = Path(given["data"]) / f"tatoeba/tatoeba.{code}-eng.{side}"
        return path.read_text(encoding="utf-8").splitlines()

    class Local(TatoebaBitextMining):  # type: ignore[misc]
        def load_data(self, **_: Any) -> None:
            self.dataset = {
                f"{code}-eng": {
                    "test": Dataset.from_dict(
                        {"sentence1": lines(code, code), "sentence2": lines(code, "eng")}
                    )
                }
                for code in codes
            }
            self.data_loaded = True

    return Local().filter_languages(None, hf_subsets=[f"{code}-eng" for code in codes])


def lareqa(given: dict[str, Any]) -> Any:
    """A retrieval task of all questions, the candidates encoded once for all languages."""
    from datasets import Dataset
    from mteb.abstasks.retrieval import AbsTaskRetrieval
    from mteb.abstasks.task_metadata import TaskMetadata

    texts = json.loads(Path(given["texts"]).read_text(encoding="utf-8"))

    class Local(AbsTaskRetrieval):  # type: ignore[misc]
        metadata = TaskMetadata(
            name="LAReQA",
            description="XQuAD-R: the sentence that answers a question, in any language.",
            dataset={"path": "local", "revision": "local"},
            type="Retrieval",
            eval_langs=["eng-Latn"],
            main_score="recall_at_10",
        )

        def load_data(self, **_: Any) -> None:
            split = {name: Dataset.from_dict(texts[name]) for name in ("corpus", "queries")}
            split |= {"relevant_docs": texts["relevant_docs"], "top_ranked": None}
            self.dataset = {"default": {"test": split}}
            self.data_loaded = True

    return Local()


def main() -> None:
    """Evaluate, and write the scores."""
    side, task, model, given, out = sys.argv[1:]
    evaluate = {"ours": ours, "theirs": theirs}[side]
    scores = evaluate(task, model, json.loads(Path(given).read_text(encoding="utf-8")))
    Path(out).write_text(json.dumps(scores, default=float))


if __name__ == "__main__":
    main()
