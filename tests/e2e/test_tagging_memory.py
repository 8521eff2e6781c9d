"""How much memory a large file of tags takes, above what the same command takes for a small one."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

import pytest

from harness.cards.catalogue import read_card
from harness.results.outcomes import find
from tests.checkpoints import build_head

WORDS = 20  # of a sentence
MEASURED = """
import resource, subprocess, sys
done = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
sys.exit(done.returncode)
"""


def lay(folder: Path, sentences: int) -> None:
    """Write sentences of random words as PAN-X's German test set."""
    rng = random.Random(0)
    words = ["".join(rng.choices("abcdefghijklmnop", k=rng.randint(2, 9))) for _ in range(20_000)]
    (folder / "panx").mkdir(parents=True)
    with (folder / "panx" / "test-de.tsv").open("w", encoding="utf-8") as out:
        for _ in range(sentences):
            tags = rng.choices(["O", "B-PER", "B-LOC"], [4, 1, 1], k=WORDS)
            lines = zip(rng.choices(words, k=WORDS), tags, strict=True)
            out.write("".join(f"{word}\t{tag}\n" for word, tag in lines) + "\n")


def peak(model: Path, folder: Path, sentences: int) -> int:
    """Tag that many sentences by the command in a process of its own; its most KiB of memory."""
    lay(folder / "data", sentences)
    command = [
        sys.executable, "-m", "harness", "eval", model, "--task", "panx", "--lang", "de",
        "--data", folder / "data", "--out", folder / "out", "--cache-dir", folder / "cache",
        "--device", "cpu", "--offline", "--quiet",
    ]  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-c", MEASURED, *map(str, command)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (file,) = find(folder / "out")
    assert sum(len(rows) for _, rows in file.tables(["de"])) == sentences
    return int(done.stdout)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="the unit of ru_maxrss differs")
def test_600_000_words_take_less_than_500_mib_more(tmp_path: Path) -> None:
    model = build_head(tmp_path, "tagging", read_card("panx").labels)
    few = peak(model, tmp_path / "few", 30)
    assert peak(model, tmp_path / "many", 30_000) - few < 500 << 10
