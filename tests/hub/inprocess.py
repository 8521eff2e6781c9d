"""This process's huggingface_hub pointed at a loopback Hub: quicker than a process of its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.hub.server import Hub


def point(monkeypatch: pytest.MonkeyPatch, hub: Hub, home: Path, token: str | None = None) -> None:
    """Let huggingface_hub talk to ``hub``, with ``home`` for its cache and ``token`` as its own."""
    from huggingface_hub import constants

    template = f"{hub.url}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
    for name, value in {
        "ENDPOINT": hub.url,
        "HUGGINGFACE_CO_URL_TEMPLATE": template,
        "HF_HOME": str(home),
        "HF_HUB_CACHE": str(home / "hub"),
        "HF_TOKEN_PATH": str(home / "token"),
        "HF_HUB_DISABLE_XET": True,
        "HF_HUB_OFFLINE": False,
    }.items():
        monkeypatch.setattr(constants, name, value)
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HF_OIDC_RESOURCE"):
        monkeypatch.delenv(name, raising=False)
    if token is not None:
        monkeypatch.setenv("HF_TOKEN", token)
