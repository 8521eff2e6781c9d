"""Resolves models in a process of its own, where the Hub's address is set before any import.

Reads a JSON list of calls (``{"model": …, "offline": …}``) from stdin, writes a JSON list with the
fields of each checkpoint, or the error's exit code and message. Never imports torch.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from harness.checkpoint.resolve import resolve
from harness.errors import HarnessError


def _resolved(call: dict[str, Any]) -> dict[str, Any]:
    options = {"offline": call.get("offline", False), "revision": call.get("revision")}
    cache = Path(call["cache"]) if "cache" in call else None
    try:
        found = resolve(call["model"], cache=cache, **options)
    except HarnessError as error:
        return {"exit_code": error.exit_code, "message": str(error)}
    return {
        "id": found.id,
        "revision": found.revision,
        "folder": str(found.folder),
        "files": sorted(
            path.relative_to(found.folder).as_posix()
            for path in found.folder.rglob("*")
            if path.is_file()
        ),
        "label": found.label,
        "slug": found.slug,
        "base": [found.base.id, found.base.revision] if found.base else None,
        "model_type": found.model_type,
        "heavy": sorted({"torch", "transformers", "pyarrow"} & sys.modules.keys()),
    }


if __name__ == "__main__":
    print(json.dumps([_resolved(call) for call in json.load(sys.stdin)]))
