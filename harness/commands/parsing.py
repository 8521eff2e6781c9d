"""A command that explains an option which it does not have, where it is known what is meant."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from typer.core import TyperCommand

# What other programs call an option → what it is here.
INSTEAD: Mapping[str, str] = {
    **dict.fromkeys(("--language", "--languages", "--langs"), "--lang"),
    **dict.fromkeys(("--tasks", "--benchmark", "--dataset"), "--task"),
    **dict.fromkeys(("--output", "--output-dir", "--output_dir", "--results"), "--out"),
    **dict.fromkeys(("--data-dir", "--data_dir", "--data-folder"), "--data"),
    **dict.fromkeys(("--cache", "--cache_dir"), "--cache-dir"),
    **dict.fromkeys(("--batch-size", "--batch_size"), "--batch-tokens (it counts tokens)"),
    **dict.fromkeys(("--gpu", "--gpus", "--cuda"), "--device cuda"),
    **dict.fromkeys(("--fp16", "--half"), "--dtype float16"),
    "--bf16": "--dtype bfloat16",
    "--json": "--format json",
    "--csv": "--format csv",
    "--num-workers": "--workers",
    "--overwrite": "--fresh",
    "--force": "--fresh",
    "--train": "--finetune",
}
MODEL = frozenset({"--model", "--models", "--model-name", "--model_name", "--model-id", "--base"})


class Command(TyperCommand):
    """A command whose error about an unknown option names the one that is meant."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """As click has it."""
        try:
            return super().parse_args(ctx, args)
        except Exception as error:  # click's own errors have a name in typer that is not public
            name = getattr(error, "option_name", None)
            hint = self._hint(str(name), ctx.command_path) if name else None
            if hint and type(error).__name__ == "NoSuchOption":
                error.message = f"No such option: {name}: {hint}"  # type: ignore[attr-defined]
                error.possibilities = None  # type: ignore[attr-defined]
            raise

    def _hint(self, name: str, path: str) -> str | None:
        if name in MODEL | {"--revision"}:
            argument = next((p for p in self.params if p.param_type_name == "argument"), None)
            shown = str(getattr(argument, "metavar", ""))
            if "MODEL" not in shown and "BASE" not in shown:
                return None
            what = "it goes with the model" if name == "--revision" else "it is an argument"
            word = "MODEL@REV" if name == "--revision" else "MODEL"
            return f"{what}, as in `{path} {word}`"
        instead = INSTEAD.get(name)
        own = {flag for param in self.params for flag in param.opts}
        return f"use {instead}" if instead and instead.split()[0] in own else None
