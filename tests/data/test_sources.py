"""Routes: folder, official download and Hub snapshot; what is missing, wrong, slow or cut off."""

from __future__ import annotations

import errno
import hashlib
import io
import json
import os
import re
import socket
import subprocess
import sys
import tarfile
import threading
import time
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from harness.cards import source_files as official_files
from harness.cards import task
from harness.cards.catalogue import read_card
from harness.cards.source_files import SourceFile
from harness.cards.task import SplitSource, TaskCard
from harness.data import hub_route as hub
from harness.data.examples import Loaded, Retrieval
from harness.data.load import DataLocation, fetch, load, planned_downloads
from harness.errors import DataError, UsageError
from harness.io import download
from harness.io.retry import ATTEMPTS

# A server with faults


@dataclass
class Server:
    """Files by path; ``faults`` are answered first, one after the other."""

    url: str
    files: dict[str, bytes] = field(default_factory=dict)
    faults: dict[str, list[str]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)


@pytest.fixture
def server() -> Iterator[Server]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            here.asked.append(self.path)
            fault = here.faults.get(self.path, [])
            self.answer(fault.pop(0) if fault else "")

        do_HEAD = do_GET

        def answer(self, fault: str) -> None:
            body = here.files.get(self.path)
            if fault.startswith("429"):
                self.send_response(429)
                self.send_header("Retry-After", fault.split()[1])
                self.end_headers()
            elif fault == "500" or body is None:
                self.send_error(500 if fault else 404)
            else:
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.send_header("ETag", f'"{hashlib.sha1(body).hexdigest()}"')
                self.send_header("X-Repo-Commit", "".join(re.findall(r"[0-9a-f]{40}", self.path)))
                self.end_headers()
                if self.command == "GET":
                    self.wfile.write(body[: len(body) // 2] if fault == "cut" else body)

        def log_message(self, *args: Any) -> None:
            """Quiet."""

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    here = Server(f"http://127.0.0.1:{http.server_port}")
    threading.Thread(target=http.serve_forever, args=(0.01,), daemon=True).start()
    yield here
    http.shutdown()
    http.server_close()


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    waited: list[float] = []
    monkeypatch.setattr(time, "sleep", waited.append)
    return waited


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: Any, **kwargs: Any) -> None:
        raise AssertionError("a connection was tried")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "create_connection", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


# Invented data, in the official layout and as the Hub has it


@dataclass(frozen=True)
class Invented:
    """(id, question, context, answer, title) by unit."""

    id: str
    question: str
    context: str
    answer: str
    title: str

    def squad(self) -> dict[str, Any]:
        start = self.context.index(self.answer)
        return {
            "id": self.id,
            "question": self.question,
            "answers": [{"text": self.answer, "answer_start": start}],
        }

    def row(self) -> dict[str, Any]:
        start = self.context.index(self.answer)
        return {
            "id": self.id,
            "title": self.title,
            "context": self.context,
            "question": self.question,
            "answers": {"text": [self.answer], "answer_start": [start]},
        }


def invented(lang: str, ids: tuple[str, ...] = ("a", "b", "c")) -> list[Invented]:
    """Two questions on one paragraph, one on another, under titles of the language."""
    first, second = f"{lang}: Ada wrote it in 1843.", f"{lang}: Bob read it."
    return [
        Invented(ids[0], f"{lang} who?", first, "Ada", f"{lang} Ada"),
        Invented(ids[1], f"{lang} when?", first, "1843", f"{lang} Ada"),
        Invented(ids[2], f"{lang} who then?", second, "Bob", f"{lang} Bob"),
    ]


def squad_file(questions: list[Invented], titles: bool = True) -> bytes:
    articles: dict[str, dict[str, list[Invented]]] = {}
    for one in questions:
        articles.setdefault(one.title, {}).setdefault(one.context, []).append(one)
    data = [
        {
            **({"title": title} if titles else {}),
            "paragraphs": [
                {"context": context, "qas": [one.squad() for one in asked]}
                for context, asked in paragraphs.items()
            ],
        }
        for title, paragraphs in articles.items()
    ]
    return json.dumps({"version": "1.0", "data": data}, ensure_ascii=False).encode()


def parquet(path: Path, rows: list[dict[str, Any]]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows), path)


def write(folder: Path, contents: Mapping[str, bytes]) -> None:
    for name, content in contents.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)


def snapshot_of(card: TaskCard, split: str, cache: Path) -> Path:
    """Where the cache would hold the card's Hub data set, made to look downloaded."""
    mirror = card.source.splits[split].hub
    assert mirror is not None
    repository = cache / "hub" / f"datasets--{mirror.id.replace('/', '--')}"
    (repository / "refs").mkdir(parents=True, exist_ok=True)
    (repository / "refs" / "main").write_text(mirror.revision)
    folder = repository / "snapshots" / mirror.revision
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def small(name: str, languages: list[str]) -> TaskCard:
    """A real card, for fewer languages and without published counts."""
    return read_card(name).model_copy(
        update={"languages": languages, "counts": {}, "candidates": None}
    )


@pytest.fixture
def no_checksums(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (task, __import__("harness.data.layout", fromlist=["layout"])):
        monkeypatch.setattr(module, "read_checksums", dict)


# Every route gives identical examples


def tatoeba_both(folder: Path, snapshot: Path) -> None:
    pairs = [("Ja.", "Yes."), ("Wer?", "Who?"), ("Nie\u2028mals", "Never")]
    write(
        folder,
        {
            "tatoeba/tatoeba.deu-eng.deu": "".join(f"{a}\n" for a, _ in pairs).encode(),
            "tatoeba/tatoeba.deu-eng.eng": "".join(f"{b}\n" for _, b in pairs).encode(),
        },
    )
    lines = [json.dumps({"sentence1": a, "sentence2": b, "lang": "deu-eng"}) for a, b in pairs]
    write(snapshot, {"test/deu-eng.jsonl": "\n".join(lines).encode()})


def xquad_both(folder: Path, snapshot: Path) -> None:
    for lang in ("en", "de"):
        write(folder, {f"xquad/xquad.{lang}.json": squad_file(invented(lang))})
        parquet(
            snapshot / f"xquad.{lang}" / "validation-00000-of-00001.parquet",
            [{k: v for k, v in one.row().items() if k != "title"} for one in invented(lang)],
        )


def mlqa_both(folder: Path, snapshot: Path) -> None:
    for lang in ("en", "de"):
        name = f"mlqa/test/test-context-{lang}-question-{lang}.json"
        write(folder, {name: squad_file(invented(lang))})
        parquet(
            snapshot / f"MLQA.{lang}.{lang}" / "test-00000-of-00001.parquet",
            [one.row() for one in invented(lang)],
        )


def tydiqa_both(folder: Path, snapshot: Path) -> None:
    rows = []
    for lang, name in (("en", "english"), ("ko", "korean")):
        asked = invented(lang, (f"{name}-1-1", f"{name}-1-2", f"{name}-2-1"))
        write(folder, {f"tydiqa_goldp/dev/tydiqa.goldp.{lang}.dev.json": squad_file(asked, False)})
        rows += [one.row() for one in asked]
    parquet(snapshot / "secondary_task" / "validation-00000-of-00001.parquet", rows)


@pytest.mark.usefixtures("no_checksums", "no_network")
@pytest.mark.parametrize(
    ("task", "languages", "both"),
    [
        ("tatoeba", ["de"], tatoeba_both),
        ("xquad", ["en", "de"], xquad_both),
        ("mlqa", ["en", "de"], mlqa_both),
        ("mlqa", ["de"], mlqa_both),
        ("tydiqa", ["en", "ko"], tydiqa_both),
    ],
)
def test_folder_and_hub_give_identical_examples(
    task: str, languages: list[str], both: Callable[[Path, Path], None], tmp_path: Path
) -> None:
    card = small(task, languages)
    cache = tmp_path / "cache"
    both(tmp_path / "data", snapshot_of(card, "test", cache))
    from_folder = load(card, None, card.select(), DataLocation(tmp_path / "data", cache))
    from_hub = load(card, None, card.select(), DataLocation(None, cache, offline=True))
    assert (from_folder.route, from_hub.route) == ("folder", "hub")
    assert from_folder.examples == from_hub.examples
    assert from_hub.examples
    assert from_folder.notes == from_hub.notes == ()
    assert len(from_hub.files) >= 1


@pytest.mark.usefixtures("no_checksums")
def test_the_single_official_tydiqa_file_gives_the_same_examples(tmp_path: Path) -> None:
    card = small("tydiqa", ["en", "ko"])
    tydiqa_both(tmp_path / "parts", tmp_path / "snapshot")
    asked = [
        *invented("ko", ("korean-1-1", "korean-1-2", "korean-2-1")),
        *invented("en", ("english-1-1", "english-1-2", "english-2-1")),
    ]
    name = "tydiqa_goldp/dev/tydiqa-goldp-v1.1-dev.json"
    write(tmp_path / "one", {name: squad_file(asked, False)})
    parts, one = (
        load(card, None, card.select(), DataLocation(tmp_path / part, tmp_path))
        for part in ("parts", "one")
    )
    assert parts.examples == one.examples
    assert list(one.files) == [name]


# A data folder


@pytest.mark.usefixtures("no_network")
def test_a_file_with_another_checksum_is_refused(tmp_path: Path) -> None:
    content = squad_file(invented("en"))
    write(tmp_path, {"xquad/xquad.en.json": content})
    found = hashlib.sha256(content).hexdigest()[:12]
    expected = official_files.read_checksums()["xquad/xquad.en.json"][:12]
    card = read_card("xquad")
    with pytest.raises(DataError) as caught:
        load(card, None, ("en",), DataLocation(tmp_path, tmp_path))
    assert f"xquad/xquad.en.json: sha256 is {found}…, the official file's is {expected}…" in str(
        caught.value
    )
    assert caught.value.exit_code == 6


@pytest.mark.usefixtures("no_network", "no_checksums")
def test_other_counts_in_a_folder_make_the_data_custom(tmp_path: Path) -> None:
    asked = invented("en", ("english-1-1", "english-1-2", "english-2-1"))
    write(tmp_path, {"tydiqa_goldp/dev/tydiqa.goldp.en.dev.json": squad_file(asked)})
    loaded = load(read_card("tydiqa"), None, ("en",), DataLocation(tmp_path, tmp_path))
    assert not loaded.complete
    assert loaded.notes == ("custom data: tydiqa en has 3 of 440 questions",)


@pytest.mark.usefixtures("no_network", "no_checksums")
def test_data_whose_number_nobody_has_published_says_so(tmp_path: Path) -> None:
    """UDPOS and PAN-X test: a file that was cut is not told from a whole one, so that is said."""
    for path in ("udpos/test-de.tsv", "xnli/test-de.tsv"):
        (tmp_path / path).parent.mkdir(exist_ok=True)
    (tmp_path / "udpos/test-de.tsv").write_text("Ja\tINTJ\n\nDas\tDET\n")
    (tmp_path / "xnli/test-de.tsv").write_text("A.\tB.\tneutral\n" * 3)
    location = DataLocation(tmp_path, tmp_path / "cache")
    (remark,) = load(read_card("udpos"), None, ["de"], location).remarks
    assert remark.startswith("no published number of sentences is known of test (de): nothing says")
    counted = load(read_card("xnli"), None, ["de"], location)
    assert (counted.complete, counted.remarks) == (False, ())


def test_other_counts_from_the_hub_are_refused(tmp_path: Path) -> None:
    card = read_card("xquad")
    xquad_both(tmp_path / "other", snapshot_of(card, "test", tmp_path))
    with pytest.raises(DataError, match="xquad en has 3 of 1190 questions: the hub files"):
        load(card, None, ("en",), DataLocation(None, tmp_path, offline=True))


@pytest.mark.usefixtures("no_network")
def test_what_a_folder_lacks_is_named_by_unit(tmp_path: Path) -> None:
    asked = invented("ko", ("korean-1-1", "korean-1-2", "korean-2-1"))
    write(tmp_path, {"tydiqa_goldp/dev/tydiqa.goldp.ko.dev.json": squad_file(asked)})
    loaded = load(read_card("tydiqa"), None, ("en", "ko"), DataLocation(tmp_path, tmp_path))
    assert list(loaded.examples) == ["ko"]  # type: ignore[arg-type]
    assert list(loaded.missing) == ["en"]
    assert "no tydiqa_goldp/dev/tydiqa.goldp.en.dev.json" in loaded.missing["en"]
    assert str(tmp_path) in loaded.missing["en"]


@pytest.mark.usefixtures("no_network")
@pytest.mark.parametrize("task", ["lareqa", "mewsli_x"])
def test_a_pool_without_one_language_is_missing_whole(task: str, tmp_path: Path) -> None:
    write(tmp_path, {"mewsli_x/wikinews_mentions-test.jsonl": b"{}"})
    loaded = load(read_card(task), None, ("de", "en"), DataLocation(tmp_path, tmp_path))
    assert loaded.examples == Retrieval((), (), (), {})
    assert set(loaded.missing) == {"de", "en"}


@pytest.mark.usefixtures("no_network")
def test_a_split_that_the_task_has_not_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="xquad has no split 'dev': its splits are test"):
        load(read_card("xquad"), "dev", ("en",), DataLocation(tmp_path, tmp_path))


# Offline


@pytest.mark.usefixtures("no_network")
@pytest.mark.parametrize("task", ["xquad", "tatoeba", "mlqa", "tydiqa", "bucc2018", "lareqa"])
def test_offline_no_connection_is_tried(task: str, tmp_path: Path) -> None:
    card = read_card(task)
    units = card.select()
    loaded = load(card, None, units, DataLocation(None, tmp_path, offline=True))
    assert set(loaded.missing) == set(units)
    assert f"xharness prefetch --task {task}" in loaded.missing[units[0]]


# The official route


def served(card: TaskCard, server: Server) -> TaskCard:
    """The card with every url on the loopback server."""

    def moved(file: SourceFile) -> SourceFile:
        assert file.url is not None
        return file.model_copy(update={"url": f"{server.url}/{file.url.rsplit('/', 1)[-1]}"})

    splits = {
        split: SplitSource.model_construct(
            files={role: moved(file) for role, file in part.files.items()},
            hub=None,
            needs=part.needs,
        )
        for split, part in card.source.splits.items()
    }
    return card.model_copy(update={"source": card.source.model_copy(update={"splits": splits})})


def official(server: Server, cache: Path, lang: str = "en") -> Loaded:
    card = served(small("xquad", [lang]), server)
    return load(card, None, (lang,), DataLocation(None, cache))


@pytest.mark.usefixtures("no_checksums")
def test_official_files_are_downloaded_once(
    server: Server, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    server.files["/xquad.en.json"] = squad_file(invented("en"))
    card = served(small("xquad", ["en"]), server)
    location = DataLocation(None, tmp_path)
    assert [one.what for one in planned_downloads(card, None, ("en",), location)] == [
        f"{server.url}/xquad.en.json"
    ]
    assert server.asked == []
    loaded = official(server, tmp_path)
    assert (loaded.route, len(loaded.examples)) == ("official", 1)  # type: ignore[arg-type]
    digest = hashlib.sha256(server.files["/xquad.en.json"]).hexdigest()
    assert loaded.files == {"xquad/xquad.en.json": digest}
    assert planned_downloads(card, None, ("en",), location) == []
    request.getfixturevalue("no_network")
    assert official(server, tmp_path) == loaded
    assert server.asked == ["/xquad.en.json"]


@pytest.mark.usefixtures("no_checksums")
def test_an_overloaded_server_is_waited_for_as_it_asks(
    server: Server, waits: list[float], tmp_path: Path
) -> None:
    server.files["/xquad.en.json"] = squad_file(invented("en"))
    server.faults["/xquad.en.json"] = ["429 7", "500", "cut"]
    loaded = official(server, tmp_path)
    assert loaded.route == "official"
    assert waits == [7.0, 2.0, 4.0]
    assert len(server.asked) == 4


@pytest.mark.usefixtures("no_checksums")
def test_a_wait_that_is_too_long_is_given_up(
    server: Server, waits: list[float], tmp_path: Path
) -> None:
    server.files["/xquad.en.json"] = squad_file(invented("en"))
    server.faults["/xquad.en.json"] = ["429 9999"] * 9
    loaded = official(server, tmp_path)
    assert "xquad.en.json: HTTP 429" in loaded.missing["en"]
    assert waits == []


@pytest.mark.usefixtures("no_checksums")
@pytest.mark.parametrize(
    ("fault", "message"), [("500", "HTTP 500"), ("cut", "ChunkedEncodingError"), ("", "HTTP 404")]
)
def test_what_cannot_be_had_is_missing_and_leaves_nothing_behind(
    fault: str, message: str, server: Server, waits: list[float], tmp_path: Path
) -> None:
    if fault:
        server.files["/xquad.en.json"] = squad_file(invented("en"))
        server.faults["/xquad.en.json"] = [fault] * 9
    loaded = official(server, tmp_path)
    assert message in loaded.missing["en"]
    assert loaded.missing["en"].startswith(f"official: {server.url}/xquad.en.json")
    assert "\n" not in loaded.missing["en"]
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
    assert len(waits) == (ATTEMPTS - 1 if fault else 0)


def test_a_wrong_file_is_refused_and_not_kept(
    server: Server, waits: list[float], tmp_path: Path
) -> None:
    server.files["/xquad.en.json"] = squad_file(invented("en"))
    expected = official_files.read_checksums()["xquad/xquad.en.json"][:12]
    with pytest.raises(DataError, match=rf"xquad.en.json: sha256 is .*file's is {expected}"):
        official(server, tmp_path)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_a_damaged_cache_is_repaired_online_and_missing_offline(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = squad_file(invented("en"))
    digests = {"xquad/xquad.en.json": hashlib.sha256(content).hexdigest()}
    monkeypatch.setattr("harness.data.layout.read_checksums", lambda: digests)
    write(tmp_path, {"data/xquad/xquad.en.json": content[:-5]})
    server.files["/xquad.en.json"] = content
    card = served(small("xquad", ["en"]), server)
    offline = load(card, None, ("en",), DataLocation(None, tmp_path, offline=True))
    assert "prefetch" in offline.missing["en"]
    assert not official(server, tmp_path).missing
    assert (tmp_path / "data/xquad/xquad.en.json").read_bytes() == content


@pytest.mark.usefixtures("no_checksums")
def test_both_routes_are_named_when_neither_leads_there(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    card = served(small("xquad", ["en"]), server)
    mirror = read_card("xquad").source.splits["test"].hub
    splits = {"test": card.source.splits["test"].model_copy(update={"hub": mirror})}
    card = card.model_copy(update={"source": card.source.model_copy(update={"splits": splits})})

    def gone(*args: Any) -> Path:
        raise download.Unavailable("google/xquad: HTTP 503")

    monkeypatch.setattr(hub, "_snapshot", gone)
    (why,) = load(card, None, ("en",), DataLocation(None, tmp_path)).missing.values()
    assert "official: " in why
    assert "HTTP 404; hub: google/xquad: HTTP 503: " in why
    assert "--data" in why

    folder = snapshot_of(card, "test", tmp_path)
    xquad_both(tmp_path / "other", folder)
    tries: list[bool] = []

    def late(*args: Any) -> Path:
        tries.append(args[-1].offline)
        if args[-1].offline:  # nothing in the cache before the download
            raise download.Unavailable("not in the cache")
        return folder

    monkeypatch.setattr(hub, "_snapshot", late)
    loaded = load(card, None, ("en",), DataLocation(None, tmp_path))
    assert (loaded.route, loaded.missing) == ("hub", {})
    assert tries == [True, False]


# The Hub, in a process of its own: its endpoint is read at import

HUB_SCRIPT = """
import json, sys, time
from pathlib import Path
from harness.cards.catalogue import read_card
from harness.data.load import DataLocation, load
from harness.data import official
from harness.data.layout import Fetched, Key

waits = []
time.sleep = waits.append
official.fetch = lambda card, split, units, where: Fetched(
    "official", {}, {}, {Key(unit, split, "questions"): "HTTP 404" for unit in units}
)
card = read_card("xquad").model_copy(update={"counts": {}})
for units, offline in ((("en",), False), (("en", "de"), False), (("en", "de"), True)):
    loaded = load(card, None, units, DataLocation(None, Path(sys.argv[1]), offline))
    counts = {unit: len(found.questions) for unit, found in loaded.examples.items()}
    print(json.dumps([loaded.route, counts, dict(loaded.missing), waits]))
"""


def test_one_pinned_snapshot_of_only_what_is_needed(server: Server, tmp_path: Path) -> None:
    mirror = read_card("xquad").source.splits["test"].hub
    assert mirror is not None
    xquad_both(tmp_path / "data", tmp_path / "hub")
    base = f"/datasets/{mirror.id}/resolve/{mirror.revision}"
    names = [f"xquad.{lang}/validation-00000-of-00001.parquet" for lang in ("en", "de")]
    for name in names:
        server.files[f"{base}/{name}"] = (tmp_path / "hub" / name).read_bytes()
    tree = f"/api/datasets/{mirror.id}/tree/{mirror.revision}"
    server.files[f"{tree}?recursive=true&expand=false"] = json.dumps(
        [
            {"type": "file", "path": name, "size": 1, "oid": "0" * 40}
            for name in (*names, "README.md")
        ]
    ).encode()
    server.faults[f"{tree}?recursive=true&expand=false"] = ["429 3"] * 2
    done = subprocess.run(
        [sys.executable, "-c", HUB_SCRIPT, str(tmp_path / "cache")],
        env={**os.environ, "HF_ENDPOINT": server.url, "HF_HUB_DISABLE_XET": "1"},
        cwd=Path(task.__file__).parents[2],
        capture_output=True,
        text=True,
        check=True,
    )
    steps = [json.loads(line) for line in done.stdout.splitlines()]
    assert [step[:3] for step in steps] == [
        ["hub", {"en": 3}, {}],
        ["hub", {"en": 3, "de": 3}, {}],
        ["hub", {"en": 3, "de": 3}, {}],
    ]
    assert steps[0][3]
    assert min(steps[0][3]) >= 3
    assert not any("README" in path for path in server.asked)


# Archives


def mlqa_zip(lang: str = "en") -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        name = f"MLQA_V1/test/test-context-{lang}-question-{lang}.json"
        archive.writestr(name, squad_file(invented(lang)))
        archive.writestr("../../outside.json", b"{}")
    return buffer.getvalue()


def tydiqa_tgz() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for lang, name in (("en", "english"), ("ko", "korean")):
            asked = invented(lang, (f"{name}-1-1", f"{name}-1-2", f"{name}-2-1"))
            content = squad_file(asked, titles=False)
            info = tarfile.TarInfo(f"tydiqa-goldp-v1.1-dev/tydiqa-goldp-dev-{name}.json")
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
        link = tarfile.TarInfo("tydiqa-goldp-v1.1-dev/tydiqa-goldp-dev-telugu.json")
        link.type = tarfile.SYMTYPE
        link.linkname = "/etc/passwd"
        archive.addfile(link)
    return buffer.getvalue()


@pytest.mark.usefixtures("no_checksums")
def test_members_of_an_archive_are_taken_one_by_one(server: Server, tmp_path: Path) -> None:
    server.files["/MLQA_V1.zip"] = mlqa_zip()
    card = served(small("mlqa", ["en"]), server)
    cache = tmp_path / "a" / "b" / "cache"
    (plan,) = planned_downloads(card, None, ("en",), DataLocation(None, cache))
    assert (plan.what, plan.size) == (f"{server.url}/MLQA_V1.zip", 75_718_000)
    loaded = load(card, None, ("en",), DataLocation(None, cache))
    assert (loaded.route, loaded.missing) == ("official", {})
    assert server.asked == ["/MLQA_V1.zip"]
    files = sorted(p.relative_to(cache).as_posix() for p in tmp_path.rglob("*") if p.is_file())
    assert files == [
        "data/archives/MLQA_V1.zip",
        "data/mlqa/test/test-context-en-question-en.json",
    ]


@pytest.mark.usefixtures("no_checksums")
def test_a_tar_archive_gives_files_and_never_links(server: Server, tmp_path: Path) -> None:
    server.files["/tydiqa-goldp-v1.1-dev.tgz"] = tydiqa_tgz()
    card = served(small("tydiqa", ["en", "ko", "te"]), server)
    loaded = load(card, None, ("en", "ko"), DataLocation(None, tmp_path))
    assert list(loaded.examples) == ["en", "ko"]  # type: ignore[arg-type]
    with pytest.raises(DataError, match=r"tgz: has no .*dev-telugu.json: not the official archive"):
        load(card, None, ("te",), DataLocation(None, tmp_path))


@pytest.mark.usefixtures("no_checksums")
def test_a_broken_archive_is_removed(server: Server, tmp_path: Path) -> None:
    server.files["/MLQA_V1.zip"] = b"no archive at all"
    card = served(small("mlqa", ["en"]), server)
    with pytest.raises(DataError, match=r"MLQA_V1\.zip: broken archive"):
        load(card, None, ("en",), DataLocation(None, tmp_path))
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


@pytest.mark.parametrize("flipped", range(60, 140, 7))
def test_a_damaged_archive_is_one_line_and_removed(tmp_path: Path, flipped: int) -> None:
    archive = tmp_path / "a.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as made:
        made.writestr("one.json", "".join(f"{number * number} " for number in range(400)))
    data = bytearray(archive.read_bytes())
    data[flipped] ^= 0xFF
    archive.write_bytes(data)
    with pytest.raises(DataError, match=r"a\.zip: broken archive"):
        download.extract(archive, {"one.json": tmp_path / "one.json"})
    assert not archive.exists()


def test_a_full_disk_breaks_no_archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = tmp_path / "a.zip"
    with zipfile.ZipFile(archive, "w") as made:
        made.writestr("one.json", "{}")

    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", "one.json")

    monkeypatch.setattr(download, "_write", full)
    with pytest.raises(OSError, match="No space left"):
        download.extract(archive, {"one.json": tmp_path / "one.json"})
    assert archive.exists()


@pytest.mark.usefixtures("no_checksums")
def test_a_member_that_unpacks_without_end_is_stopped(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download, "MAX_MEMBER", 100)
    server.files["/MLQA_V1.zip"] = mlqa_zip()
    card = served(small("mlqa", ["en"]), server)
    with pytest.raises(DataError, match="not unpacked"):
        load(card, None, ("en",), DataLocation(None, tmp_path))
    assert not (tmp_path / "data" / "mlqa" / "test" / "test-context-en-question-en.json").exists()


@pytest.mark.usefixtures("no_checksums")
def test_two_tasks_share_what_is_fetched(server: Server, tmp_path: Path) -> None:
    server.files["/MLQA_V1.zip"] = mlqa_zip()
    location = DataLocation(None, tmp_path)
    fetch(served(small("mlqa", ["en"]), server), None, ("en",), location)
    fetched = fetch(served(small("mlqa_cross", ["en-en"]), server), None, ("en-en",), location)
    assert not fetched.failures
    assert server.asked == ["/MLQA_V1.zip"]
