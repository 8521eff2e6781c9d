"""What the files of a task must be, format by format: which kind of task, and which files by role.

The readers of `harness.data.formats` ask for these files by their roles.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal, NamedTuple, get_args

Kind = Literal[
    "bitext", "mining", "passages", "span_qa", "classification", "multiple_choice", "tagging"
]
Format = Literal[
    "tatoeba",
    "bucc",
    "lareqa",
    "mewsli_x",
    "xquad",
    "mlqa",
    "tydiqa",
    "xnli",
    "pawsx",
    "xcopa",
    "xcopa_corrected",
    "udpos",
    "panx",
    "demo_bitext",
    "demo_mining",
    "demo_passages",
    "demo_qa",
]


class Layout(NamedTuple):
    """The files of one format, by role.

    ``own``: every unit has one. ``either``: every unit has one, or all share one. ``shared``: all
    units share one; that of ``optional`` may be absent. ``hub``: what stands for ``own`` and
    ``either`` in a data set on the Hub; empty where none is read. ``apart``: whether one file of
    the Hub may hold all units, since its ids tell them apart. ``spoken``: whether the ids of
    candidates begin with their language.
    """

    kind: Kind
    own: tuple[str, ...] = ()
    either: tuple[str, ...] = ()
    shared: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()
    hub: tuple[str, ...] = ()
    apart: bool = False
    spoken: bool = False

    def problems(self, files: Mapping[str, str], *, alone: bool) -> Iterable[str]:
        """What is wrong with the files of a split. ``files``: role → template of the path.

        ``alone``: the card has a single unit, whose path needs no place for its code.
        """
        needed = {*self.own, *self.either, *self.shared}
        reads = f"this format reads {', '.join(sorted(needed))}"
        for role in sorted(needed - files.keys()):
            yield f"no {role}: {reads}"
        for role, path in files.items():
            if role not in needed and role not in self.optional:
                yield f"{role} is unknown: {reads}"
            elif role in self.own and "{" not in path and not alone:
                yield f"{role}: {path} is the same for every language: write {{code}} in it"
            elif role not in (*self.own, *self.either) and "{" in path:
                yield f"{role}: {path} differs by language: give the one file of all languages"

    def hub_problems(self, files: Mapping[str, str], *, alone: bool) -> Iterable[str]:
        """The same for the files of a data set on the Hub."""
        if not self.hub:
            yield "this format is read from official files only"
            return
        on_hub = self._replace(own=self.hub, either=())
        yield from on_hub.problems(files, alone=alone or self.apart)


REFERENCES = tuple(f"reference_{lang}" for lang in ("et", "ht", "qu", "ta", "vi", "zh"))
QUESTIONS = Layout("span_qa", own=("questions",), hub=("rows",))
ROWS = Layout("classification", own=("rows",), hub=("rows",))
TOKENS = Layout("tagging", own=("tokens",), hub=("tokens",))
LAYOUTS: Mapping[Format, Layout] = {
    "tatoeba": Layout("bitext", own=("source",), either=("english",), hub=("rows",)),
    "bucc": Layout("mining", own=("source", "gold"), either=("english",)),
    "lareqa": Layout("passages", own=("passages",), spoken=True),
    "mewsli_x": Layout("passages", shared=("mentions", "candidates")),
    "xquad": QUESTIONS,
    "mlqa": QUESTIONS._replace(optional=("index",)),
    "tydiqa": QUESTIONS._replace(apart=True),
    "xnli": ROWS,
    "pawsx": ROWS,
    "xcopa": ROWS._replace(kind="multiple_choice"),
    "xcopa_corrected": ROWS._replace(kind="multiple_choice", shared=REFERENCES),
    "udpos": TOKENS,
    "panx": TOKENS,
    "demo_bitext": Layout("bitext", shared=("table",)),
    "demo_mining": Layout("mining", shared=("pairs",)),
    "demo_passages": Layout("passages", shared=("passages",), spoken=True),
    "demo_qa": Layout("span_qa", shared=("passages",)),
}

assert set(LAYOUTS) == set(get_args(Format))
