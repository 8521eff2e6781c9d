"""Resolving: from the Hub (a loopback one), from its cache, and from local folders."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from harness.checkpoint.address import parse_model
from harness.checkpoint.resolve import Base, resolve
from harness.checkpoint.snapshot import Snapshot
from harness.errors import (
    DataError,
    HarnessError,
    IncompleteError,
    NotFoundError,
    RefusedError,
    UsageError,
)
from tests.checkpoints import build, build_adapter, build_sentence_transformer
from tests.hub.server import Hub

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build("bert", tmp_path_factory.mktemp("tiny") / "tiny")


def resolving(hub: Hub, home: Path, *calls: dict[str, Any] | str, **env: str) -> list[Any]:
    """The answers of ``tests/hub/resolving.py`` to the calls, from one process."""
    listed = [{"model": call} if isinstance(call, str) else call for call in calls]
    done = subprocess.run(
        [sys.executable, "-m", "tests.hub.resolving"],
        input=json.dumps(listed),
        env=os.environ | hub.environment(home) | env,
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    answers: list[Any] = json.loads(done.stdout)
    return answers


def files_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


# --- names --------------------------------------------------------------------------------------


def test_parse_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert parse_model("org/name") == ("org/name", None)
    assert parse_model("org/name@refs/pr/4") == ("org/name", "refs/pr/4")
    assert parse_model("org/name@" + "a" * 40) == ("org/name", "a" * 40)
    (tmp_path / "run@3").mkdir()
    monkeypatch.chdir(tmp_path)
    assert parse_model("run@3") == ("run@3", None)
    assert parse_model("./run@3") == ("./run@3", None)
    for text in ("org/name@", "@main"):
        with pytest.raises(UsageError, match="is no model"):
            parse_model(text)


@pytest.mark.parametrize("name", ["x" * 5000, "./" + "x" * 5000])
def test_a_name_that_no_file_can_have(name: str) -> None:
    with pytest.raises(UsageError) as told:
        resolve(name)
    assert len(str(told.value)) < 300


@pytest.mark.parametrize("name", ["./absent", "../absent", "/absent/model", "~/absent", "absent/"])
def test_a_path_that_is_not_there(name: str) -> None:
    with pytest.raises(NotFoundError, match="does not exist"):
        resolve(name)


@pytest.mark.parametrize("name", ["~nobody-of-that-name/x", "~nobody-of-that-name@main"])
def test_the_home_of_nobody(name: str) -> None:
    with pytest.raises(NotFoundError, match="there is no home folder ~nobody-of-that-name"):
        resolve(name)


def test_names_that_cannot_be(tmp_path: Path, tiny: Path) -> None:
    with pytest.raises(UsageError, match="neither a Hub id"):
        resolve("a/b/c")
    with pytest.raises(UsageError, match="is no revision"):
        resolve("org/name@../../main")
    with pytest.raises(UsageError, match="two revisions"):
        resolve("org/name@main", revision="dev")
    with pytest.raises(UsageError, match="has no revision"):
        resolve(str(tiny), revision="main")
    (tmp_path / "model.bin").write_bytes(b"")
    with pytest.raises(UsageError, match="is a file"):
        resolve(str(tmp_path / "model.bin"))


# --- local folders ------------------------------------------------------------------------------


def test_local_folder(tiny: Path) -> None:
    found = resolve(str(tiny))
    assert (found.id, found.slug, found.local) == ("tiny", "local__tiny", True)
    assert (found.model_type, found.architecture) == ("bert", "BertModel")
    assert found.revision.startswith("local:")
    assert len(found.revision) == len("local:") + 64
    assert found.revision12 == found.revision[6:18]
    assert found.label == f"tiny@{found.revision12}"
    assert (found.native, found.base, found.has_qa_head) == (None, None, False)
    assert found.head_note == "no QA head"
    assert found.weights_folder == found.tokenizer_folder == tiny.resolve()
    assert pickle.loads(pickle.dumps(found)) == found


def test_parameters_are_those_that_torch_counts(tiny: Path) -> None:
    from transformers import AutoModel

    model = AutoModel.from_pretrained(tiny)
    assert resolve(str(tiny)).parameters == sum(p.numel() for p in model.parameters())


def test_the_digest_of_an_ordinary_folder_is_pinned(tiny: Path, tmp_path: Path) -> None:
    """Written out by hand: a line for each file that counts, by name, then the sha256 of them."""
    folder = tmp_path / "m"
    shutil.copytree(tiny, folder)
    for name in ("vocab.txt", "merges.txt", "added_tokens.json", "special_tokens_map.json"):
        (folder / name).write_text("{}")
    for name in ("README.md", "tokenizer.4.0.0.json", "sentencepiece.model", "pytorch_model.bin"):
        (folder / name).write_text("does not count")
    counted = (
        "added_tokens.json config.json merges.txt model.safetensors special_tokens_map.json "
        "tokenizer.json tokenizer_config.json vocab.txt"
    )
    lines = "".join(
        f"{name}\0{hashlib.sha256((folder / name).read_bytes()).hexdigest()}\n"
        for name in counted.split()
    )
    expected = hashlib.sha256(lines.encode()).hexdigest()
    assert resolve(str(folder)).revision == f"local:{expected}"


def test_digest_follows_the_files_that_count(tiny: Path, tmp_path: Path) -> None:
    digest = resolve(str(tiny)).revision
    copy = shutil.copytree(tiny, tmp_path / "another-name")
    for name in ("README.md", "training_args.bin", "chat_template.jinja"):
        (copy / name).write_text("x")
    (copy / "checkpoint-500").mkdir()
    (copy / "checkpoint-500" / "model.safetensors").write_bytes(b"x")
    assert resolve(str(copy)).revision == digest
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps(config | {"layer_norm_eps": 1e-6}))
    changed = resolve(str(copy)).revision
    assert changed != digest
    (copy / "vocab.txt").write_text("a\n")
    assert resolve(str(copy)).revision not in (changed, digest)


@pytest.mark.parametrize(
    ("remove", "word"),
    [
        ("model.safetensors", r"/broken has no weights: it holds .*; it needs model\.safetensors"),
        ("config.json", "has no config.json"),
        ("tokenizer.json", "has no tokenizer"),
    ],
)
def test_local_folder_refused(tiny: Path, tmp_path: Path, remove: str, word: str) -> None:
    copy = shutil.copytree(tiny, tmp_path / "broken")
    (copy / remove).unlink()
    with pytest.raises(RefusedError, match=word):
        resolve(str(copy))


def test_local_pickles_are_refused(tiny: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(tiny, tmp_path / "pickled")
    (copy / "model.safetensors").rename(copy / "pytorch_model.bin")
    with pytest.raises(RefusedError, match=r"no weights but pickles \(pytorch_model.bin\)"):
        resolve(str(copy))


def test_sentence_transformers_folder(tmp_path: Path) -> None:
    folder = build_sentence_transformer(tmp_path / "st", transformer="0_Transformer", dense=(8,))
    found = resolve(str(folder))
    assert found.native is not None
    assert found.weights_folder == folder / "0_Transformer"
    digest = found.revision
    path = folder / "2_Dense" / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"\x01")
    assert resolve(str(folder)).revision != digest


def test_head_declared_and_there(tmp_path: Path) -> None:
    found = resolve(str(build("xlm-roberta", tmp_path / "qa", qa_head=True)))
    assert (found.has_qa_head, found.head_note) == (True, "")
    assert found.architecture == "XLMRobertaForQuestionAnswering"


def rewritten(folder: Path, rename: dict[str, str | None]) -> Path:
    """The same checkpoint with tensors renamed by prefix, or (None) taken out."""
    from safetensors.torch import load_file, save_file

    tensors = {}
    for name, tensor in load_file(folder / "model.safetensors").items():
        prefix = next((p for p in rename if name.startswith(p)), None)
        new = name if prefix is None else rename[prefix]
        if prefix is not None and new is not None:
            new = new + name.removeprefix(prefix)
        if new is not None:
            tensors[new] = tensor.clone()
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def test_head_declared_but_not_there(tmp_path: Path) -> None:
    folder = rewritten(build("bert", tmp_path / "m", qa_head=True), {"qa_outputs.": None})
    found = resolve(str(folder))
    assert not found.has_qa_head
    assert found.head_note == (
        "declares BertForQuestionAnswering but qa_outputs.weight is not in the weights"
    )


def test_head_there_but_not_declared_or_under_a_task_name(tmp_path: Path) -> None:
    folder = build("bert", tmp_path / "m", qa_head=True)
    config = json.loads((folder / "config.json").read_text())
    config["architectures"] = ["BertModelForDownstreamTasks"]
    (folder / "config.json").write_text(json.dumps(config))
    assert resolve(str(folder)).has_qa_head
    rewritten(folder, {"qa_outputs.": "task_heads.qa_head.qa_outputs."})
    assert resolve(str(folder)).has_qa_head


def test_head_of_another_width(tmp_path: Path) -> None:
    folder = build("bert", tmp_path / "m", qa_head=True, num_labels=3)
    found = resolve(str(folder))
    assert not found.has_qa_head
    assert "shape [3, 32], not 2 outputs" in found.head_note


def test_classifier_is_a_reading_head_only_where_the_architecture_says_so(tmp_path: Path) -> None:
    folder = build("modernbert", tmp_path / "m", qa_head=True)
    assert resolve(str(folder)).has_qa_head
    config = json.loads((folder / "config.json").read_text())
    config["architectures"] = ["ModernBertForSequenceClassification"]
    (folder / "config.json").write_text(json.dumps(config))
    assert resolve(str(folder)).head_note == "no QA head"


def test_local_adapter_on_a_local_base(tmp_path: Path, tiny: Path) -> None:
    pytest.importorskip("peft")
    folder = build_adapter(tmp_path / "lora", str(tiny), tiny)
    found = resolve(str(folder))
    base = resolve(str(tiny))
    assert found.base == Base(base.id, base.revision)
    assert found.base_folder == found.weights_folder == found.tokenizer_folder == base.folder
    assert (found.model_type, found.parameters) == (base.model_type, base.parameters)
    assert found.revision != base.revision


@pytest.mark.parametrize(
    ("base", "options", "kind", "said"),
    [
        ("/home/somebody/model", {}, RefusedError, "no Hub id"),
        ("../tiny", {}, RefusedError, "no Hub id"),
        ("org/base", {"revision": "../main"}, RefusedError, "'../main' is no"),
        (
            "org/absent", {}, NotFoundError,
            "lora: its base cannot be used: org/absent is not in the cache",
        ),
    ],
)  # fmt: skip
def test_adapter_whose_base_cannot_be_found(
    tmp_path: Path, tiny: Path, base: str, options: Any, kind: type[HarnessError], said: str
) -> None:
    pytest.importorskip("peft")
    folder = build_adapter(tmp_path / "lora", base, tiny, **options)
    with pytest.raises(kind, match=re.escape(said)):
        resolve(str(folder), offline=True, cache=tmp_path / "cache")


@pytest.mark.parametrize("kind", [NotFoundError, RefusedError, IncompleteError, DataError])
def test_adapter_whose_base_cannot_be_had_fails_as_the_base_does(
    tmp_path: Path, tiny: Path, kind: type[HarnessError]
) -> None:
    pytest.importorskip("peft")
    folder = build_adapter(tmp_path / "lora", "org/base", tiny)

    def fails(name: str, revision: str | None) -> Snapshot:
        raise kind(f"{name} is out of reach")

    with pytest.raises(kind) as caught:
        resolve(str(folder), fetch=fails)
    assert type(caught.value) is kind
    assert str(caught.value) == "lora: its base cannot be used: org/base is out of reach"


def test_adapter_beside_whole_weights_or_on_an_adapter(tmp_path: Path, tiny: Path) -> None:
    pytest.importorskip("peft")
    folder = build_adapter(tmp_path / "lora", str(tiny), tiny)
    second = build_adapter(tmp_path / "second", str(folder), tiny)
    with pytest.raises(RefusedError, match="is an adapter itself"):
        resolve(str(second))
    shutil.copy(tiny / "model.safetensors", folder)
    with pytest.raises(RefusedError, match="a whole model and an adapter"):
        resolve(str(folder))


# --- the Hub ------------------------------------------------------------------------------------


def test_download_pins_the_commit_and_takes_only_what_counts(
    hub: Hub, tmp_path: Path, tiny: Path
) -> None:
    extra = {
        "pytorch_model.bin": b"\x80\x02.",
        "model.fp16.safetensors": b"x",
        "modeling_own.py": b"raise SystemExit",
        "onnx/model.safetensors": b"x",
        "README.md": b"# tiny",
    }
    commit = hub.add("org/tiny", files_of(tiny) | extra)
    [found] = resolving(hub, tmp_path, "org/tiny")
    assert (found["id"], found["revision"], found["slug"]) == ("org/tiny", commit, "org__tiny")
    assert found["label"] == f"org/tiny@{commit[:12]}"
    assert found["files"] == sorted(files_of(tiny))
    assert found["heavy"] == []
    touched = " ".join(hub.requests)
    assert not any(name in touched for name in extra)
    infos = [request for request in hub.requests if request == "GET /api/models/org/tiny"]
    assert len(infos) == 1


def test_warm_cache_needs_no_request_offline_or_pinned(
    hub: Hub, tmp_path: Path, tiny: Path
) -> None:
    commit = hub.add("org/tiny", tiny)
    hub.add("org/tiny", files_of(tiny) | {"README.md": b"x"}, branch="refs/pr/7")
    [first, _] = resolving(hub, tmp_path, "org/tiny", "org/tiny@refs/pr/7")
    hub.requests.clear()
    answers = resolving(
        hub,
        tmp_path,
        {"model": "org/tiny", "offline": True},
        {"model": "org/tiny@main", "offline": True},
        {"model": f"org/tiny@{commit}", "offline": True},
        f"org/tiny@{commit}",
    )
    assert hub.requests == []
    assert answers == [first] * 4
    assert resolving(hub, tmp_path, "org/tiny", HF_HUB_OFFLINE="1") == [first]
    [request] = resolving(hub, tmp_path, {"model": "org/tiny@refs/pr/7", "offline": True})
    assert request["revision"] != commit
    assert hub.requests == []


def test_cold_or_partial_cache_offline(hub: Hub, tmp_path: Path, tiny: Path) -> None:
    hub.add("org/tiny", tiny)
    hub.add("org/other", tiny)
    [cold] = resolving(hub, tmp_path, {"model": "org/tiny@main", "offline": True})
    assert cold["exit_code"] == 3
    assert "run `xharness prefetch org/tiny@main` online first" in cold["message"]
    assert hub.requests == []
    [found] = resolving(hub, tmp_path, "org/tiny")
    (Path(found["folder"]) / "tokenizer.json").unlink()
    hub.requests.clear()
    [partial, whole] = resolving(
        hub, tmp_path, {"model": "org/tiny", "offline": True}, f"org/tiny@{found['revision']}"
    )
    assert partial["exit_code"] == 3
    assert whole == found


def test_revision_that_moves_between_two_requests(hub: Hub, tmp_path: Path, tiny: Path) -> None:
    first = hub.add("org/tiny", tiny)

    def move() -> None:
        hub.after_info = None
        hub.add("org/tiny", files_of(tiny) | {"config.json": b"{}"})

    hub.after_info = move
    [found] = resolving(hub, tmp_path, "org/tiny")
    assert found["revision"] == first
    assert json.loads((Path(found["folder"]) / "config.json").read_text()) != {}
    fetched = [request for request in hub.requests if "/resolve/" in request]
    assert fetched
    assert all(f"/resolve/{first}/" in request for request in fetched)


@pytest.mark.parametrize(
    ("files", "words"),
    [
        (
            {"config.json": b"{}", "pytorch_model.bin": b"\x80\x02."},
            ["pickles (pytorch_model.bin)", "org/m@refs/pr/N", "`xharness convert org/m FOLDER`"],
        ),
        ({".gitattributes": b"*.bin lfs"}, ["has no weights: it holds .gitattributes"]),
    ],
)
def test_refused_before_anything_is_downloaded(
    hub: Hub, tmp_path: Path, files: dict[str, bytes], words: list[str]
) -> None:
    hub.add("org/m", files)
    [answer] = resolving(hub, tmp_path, "org/m")
    assert answer["exit_code"] == 4
    assert all(word in answer["message"] for word in words), answer["message"]
    assert hub.requests == ["GET /api/models/org/m"]


def test_not_found_gated_private(hub: Hub, tmp_path: Path, tiny: Path) -> None:
    hub.add("org/tiny", tiny)
    hub.add("org/gated", tiny, gated=True)
    hub.add("org/private", tiny, needs_login=True)
    answers = resolving(
        hub,
        tmp_path,
        "org/absent",
        "org/tiny@absent",
        "org/tiny@" + "0" * 40,
        "org/gated",
        "org/private",
    )
    assert [answer["exit_code"] for answer in answers] == [3] * 5
    messages = [answer["message"] for answer in answers]
    assert not any("\n" in message for message in messages)
    assert messages[0] == f"org/absent is not on {hub.url}, or is private: check the id, or " + (
        "`hf auth login`"
    )
    assert "no revision 'absent'" in messages[1]
    assert "no revision '000" in messages[2]
    assert messages[3] == (
        f"org/gated is gated: accept its conditions at {hub.url}/org/gated, then `hf auth login`"
    )
    assert "hf auth login" in messages[4]


def test_busy_hub_is_asked_again(hub: Hub, tmp_path: Path, tiny: Path) -> None:
    commit = hub.add("org/tiny", tiny)
    hub.fail("/api/models/org/tiny", 429, times=2, headers={"Retry-After": "0"})
    hub.fail("/api/models/org/tiny", 503, headers={"Retry-After": "0"})
    [found] = resolving(hub, tmp_path, "org/tiny")
    assert found["revision"] == commit
    hub.add("org/down", tiny)
    hub.fail("/api/models/org/down", 500, times=9, headers={"Retry-After": "0"})
    [down] = resolving(hub, tmp_path, "org/down")
    assert down["exit_code"] == 3
    assert "HTTP 500" in down["message"]


def test_unreachable_hub(tmp_path: Path, tiny: Path) -> None:
    with Hub() as hub:
        hub.add("org/tiny", tiny)
    [answer] = resolving(hub, tmp_path, "org/tiny")
    assert answer["exit_code"] == 3
    assert answer["message"].startswith(f"cannot reach {hub.url} for org/tiny")
    assert "\n" not in answer["message"]


def test_file_damaged_on_the_way(hub: Hub, tmp_path: Path, tiny: Path) -> None:
    hub.add("org/tiny", tiny)
    for name in ("model.safetensors", "config.json"):
        hub.damaged = {name}
        [answer] = resolving(hub, tmp_path / name, "org/tiny")
        assert answer["exit_code"] == 6
        assert f"{name} came with another digest than listed" in answer["message"]
        hub.damaged = set()
        [found] = resolving(hub, tmp_path / name, "org/tiny")
        assert found["files"] == sorted(files_of(tiny))


def test_renamed_repository_goes_by_its_new_name(hub: Hub, tmp_path: Path, tiny: Path) -> None:
    commit = hub.add("new/tiny", tiny)
    hub.renamed["old/tiny"] = "new/tiny"
    [found] = resolving(hub, tmp_path, "old/tiny")
    assert (found["id"], found["revision"]) == ("new/tiny", commit)


def test_broken_checkpoint_is_refused_with_its_name(hub: Hub, tmp_path: Path, tiny: Path) -> None:
    files = files_of(tiny)
    hub.add("org/cut", files | {"model.safetensors": files["model.safetensors"][:-8]})
    hub.add("org/own", files | {"config.json": b'{"model_type": "x", "auto_map": {"a": "b.C"}}'})
    [cut, own] = resolving(hub, tmp_path, "org/cut", "org/own")
    assert (cut["exit_code"], own["exit_code"]) == (4, 4)
    assert cut["message"].startswith("org/cut: model.safetensors is ")
    assert own["message"].startswith("org/own: config.json asks for code of its own")


def test_adapter_records_its_pinned_base(hub: Hub, tmp_path: Path, tiny: Path) -> None:
    pytest.importorskip("peft")
    old = hub.add("org/base", tiny)
    hub.add("org/base", files_of(tiny) | {"added_tokens.json": b"{}"})
    hub.add("org/lora", build_adapter(tmp_path / "a", "org/base", tiny, revision=old))
    hub.add("org/local", build_adapter(tmp_path / "b", str(tiny), tiny))
    hub.add("org/orphan", build_adapter(tmp_path / "c", "org/absent", tiny))
    [pinned, local, orphan] = resolving(
        hub, tmp_path / "home", "org/lora", "org/local", "org/orphan"
    )
    assert pinned["base"] == ["org/base", old]
    assert pinned["model_type"] == "bert"
    # A repository names no folders of this machine, even one that exists.
    assert local["exit_code"] == 4
    assert "is no Hub id" in local["message"]
    assert orphan["exit_code"] == 3
    assert "its base cannot be used: org/absent is not on" in orphan["message"]


def test_not_enough_disk(tmp_path: Path) -> None:
    from huggingface_hub.hf_api import RepoSibling

    from harness.checkpoint import snapshot
    from harness.errors import IncompleteError

    free = shutil.disk_usage(tmp_path).free
    files = [RepoSibling(rfilename="model.safetensors", size=free + 1)]
    with pytest.raises(IncompleteError, match=r"org/huge needs .* GB and .* GB free"):
        snapshot._check_space("org/huge", files, tmp_path / "not" / "there" / "yet")
