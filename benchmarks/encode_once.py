"""Seconds to encode texts once, in a process of its own.

    python benchmarks/encode_once.py MODEL TEXTS.json

For what holds for a whole process, such as how freed memory is kept.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

from limits import Model
from paired import seconds


def main() -> None:
    """Print the seconds."""
    model, texts = Model(Path(sys.argv[1])), json.loads(Path(sys.argv[2]).read_text())
    with tempfile.TemporaryDirectory() as folder:
        encoder = model.encoder(Path(folder))
        print(seconds(lambda: encoder.encode(texts, role="document")))


if __name__ == "__main__":
    main()
