"""Pickles: converted to the same tensors, or refused, in a process that can reach nothing."""

from __future__ import annotations

import json
import os
import pickle
import re
import shutil
import subprocess
import sys
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from harness.checkpoint.resolve import resolve
from harness.checkpoint.weights import read_header, read_metadata
from harness.errors import NotFoundError, RefusedError, UsageError
from harness.submissions import convert as converting
from harness.submissions.convert import convert
from harness.submissions.remote import inspect_checkpoint
from harness.submissions.submitting import SubmitterClaims, propose
from harness.submissions.unpickle import attempt
from tests.checkpoints import build, build_adapter, build_sentence_transformer
from tests.hub.inprocess import point
from tests.hub.server import Hub

WEIGHTS = "model.safetensors"
PICKLE = "pytorch_model.bin"


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint as it was published before safetensors: a pickle and no more."""
    folder = build("bert", tmp_path_factory.mktemp("tiny") / "tiny", qa_head=True)
    state = load_file(folder / WEIGHTS)
    (folder / WEIGHTS).unlink()
    shared = {"tied.weight": state["bert.embeddings.word_embeddings.weight"]}
    torch.save(OrderedDict(state | shared), folder / PICKLE)
    return folder


def holding(tiny: Path, folder: Path, content: Any) -> Path:
    """The checkpoint with another pickle in it."""
    shutil.copytree(tiny, folder)
    (folder / PICKLE).unlink()
    if isinstance(content, bytes):
        (folder / PICKLE).write_bytes(content)
    else:
        torch.save(content, folder / PICKLE)
    return folder


def opened(folder: Path, target: Path) -> str:
    """What the process does with the pickle, done in this one; why it is refused, or nothing."""
    target.mkdir()
    files = [{"pickle": str(folder / PICKLE), "name": WEIGHTS, "metadata": {"format": "pt"}}]
    most = 3 * (folder / PICKLE).stat().st_size + (1 << 20)
    return attempt({"target": str(target), "files": files, "most": most})


class Runs:
    """Runs a command when it is unpickled."""

    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.system, (self.command,)


def test_the_same_tensors_and_where_they_came_from(tiny: Path, tmp_path: Path) -> None:
    made = convert(str(tiny), tmp_path / "out")
    new = load_file(tmp_path / "out" / WEIGHTS)
    old = torch.load(tiny / PICKLE, weights_only=True)
    assert new.keys() == old.keys()
    assert all(torch.equal(new[name], old[name]) for name in old)
    said = read_metadata(tmp_path / "out" / WEIGHTS)
    assert (said["converted_by"], said["converted_from"]) == ("xharness convert", PICKLE)
    sha256 = subprocess.check_output(["sha256sum", tiny / PICKLE], text=True).split()[0]
    assert said["pickle_sha256"] == sha256
    found = resolve(str(tmp_path / "out"))
    assert made.checkpoint == found
    assert found.has_qa_head
    assert not list((tmp_path / "out").glob("*.bin"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out"]


def test_the_same_bytes_every_time(tiny: Path, tmp_path: Path) -> None:
    assert [opened(tiny, tmp_path / name) for name in ("a", "b")] == ["", ""]
    assert (tmp_path / "a" / WEIGHTS).read_bytes() == (tmp_path / "b" / WEIGHTS).read_bytes()


def test_types_views_and_empty_tensors(tiny: Path, tmp_path: Path) -> None:
    whole = torch.arange(24, dtype=torch.float32).reshape(4, 6)
    state = {
        "transposed": whole.T, "row": whole[2], "half": whole.half(), "brain": whole.bfloat16(),
        "ids": torch.arange(3), "flags": torch.tensor([True, False]), "one": torch.tensor(2.5),
        "none": torch.zeros(0, 4), "byte": torch.tensor([7], dtype=torch.uint8),
        "double": torch.tensor([0.1], dtype=torch.float64),
        "parameter": torch.nn.Parameter(whole + 1),
    }  # fmt: skip
    assert opened(holding(tiny, tmp_path / "odd", state), tmp_path / "out") == ""
    read_header(tmp_path / "out" / WEIGHTS)  # as strictly as any other file
    new = load_file(tmp_path / "out" / WEIGHTS)
    for name, tensor in state.items():
        assert new[name].dtype == tensor.dtype
        assert torch.equal(new[name], tensor), name


def test_files_of_before_2020(tiny: Path, tmp_path: Path) -> None:
    old = torch.load(tiny / PICKLE, weights_only=True)
    folder = holding(tiny, tmp_path / "legacy", b"")
    torch.save(old, folder / PICKLE, _use_new_zipfile_serialization=False)
    assert opened(folder, tmp_path / "out") == ""
    new = load_file(tmp_path / "out" / WEIGHTS)
    assert all(torch.equal(new[name], old[name]) for name in old)


def test_shards(tiny: Path, tmp_path: Path) -> None:
    old = torch.load(tiny / PICKLE, weights_only=True)
    names = sorted(old)
    folder = holding(tiny, tmp_path / "sharded", b"")
    (folder / PICKLE).unlink()
    for number, part in enumerate((names[:9], names[9:]), start=1):
        torch.save({n: old[n] for n in part}, folder / f"pytorch_model-0000{number}-of-00002.bin")
    (folder / "pytorch_model.bin.index.json").write_text('{"weight_map": {"x": "../../y"}}')
    made = convert(str(folder), tmp_path / "out")
    assert made.checkpoint.parameters == sum(
        t.numel() for t in old.values() if t.is_floating_point()
    )
    index = json.loads((tmp_path / "out" / "model.safetensors.index.json").read_text())
    assert sorted(index["weight_map"]) == names


def test_modules_of_sentence_transformers(tmp_path: Path) -> None:
    folder = build_sentence_transformer(tmp_path / "st", dense=(16,), transformer="0_Transformer")
    for path in list(folder.rglob("*.safetensors")):
        torch.save(load_file(path), path.parent / PICKLE)
        path.unlink()
    made = convert(str(folder), tmp_path / "out").checkpoint
    assert made.native is not None
    assert made.native.refusal == ""


@pytest.mark.parametrize("old", [False, True])
def test_a_pickle_that_runs_a_command_is_refused(tiny: Path, tmp_path: Path, old: bool) -> None:
    mark = tmp_path / "it-ran"
    state = {"weight": Runs(f"touch {mark}")}
    folder = holding(tiny, tmp_path / "evil", pickle.dumps(state, protocol=2) if old else state)
    with pytest.raises(
        RefusedError, match=r"^pytorch_model.bin is refused: .*posix.system"
    ) as caught:
        convert(str(folder), tmp_path / "out")
    assert "\n" not in str(caught.value)
    assert not mark.exists()
    if old:
        pickle.loads((folder / PICKLE).read_bytes())
    else:
        torch.load(folder / PICKLE, weights_only=False)  # it would have
    assert mark.exists()
    assert not (tmp_path / "out").exists()
    assert not list(tmp_path.glob(".*.tmp"))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "EOFError|UnpicklingError"),
        (b"not a pickle", "UnpicklingError"),
        (b"PK\x03\x04 not a zip", "Error"),
        ([torch.zeros(1)], "it holds a list, not a mapping"),
        ({}, "it holds a dict, not a mapping"),
        ({"epoch": 3, "w": torch.zeros(1)}, "'epoch' is a int, not a tensor"),
        ({"state_dict": {"w": torch.zeros(1)}}, "'state_dict' is a dict, not a tensor"),
        ({3: torch.zeros(1)}, "'3' is no name of a tensor"),
        ({"__metadata__": torch.zeros(1)}, "is no name of a tensor"),
        ({"w": torch.zeros(2, dtype=torch.complex64)}, "'w' has type torch.complex64"),
        ({"w": torch.zeros(2, 2).to_sparse()}, "layout torch.sparse_coo|Error"),
        ({"w": torch.zeros(1).expand(1 << 40)}, "'w' spans 4,398,046,511,104 bytes"),
    ],
)
def test_what_is_no_state_dict_is_refused(
    tiny: Path, tmp_path: Path, content: Any, words: str
) -> None:
    why = opened(holding(tiny, tmp_path / "odd", content), tmp_path / "out")
    assert re.search(words, why), why
    assert "\n" not in why


def test_many_names_for_one_tensor_are_bounded(tiny: Path, tmp_path: Path) -> None:
    one = torch.zeros(1 << 18)
    state = {f"w{i}": one for i in range(1000)}  # a MiB on disk, a GiB written out
    why = opened(holding(tiny, tmp_path / "odd", state), tmp_path / "out")
    assert why == "its tensors come to 1,048,576,000 bytes, far more than the file has"


BOMB = """
import sys
from pathlib import Path
from harness.io.limits import bound
from harness.submissions import sandbox
said = [sandbox.leave_network(), sandbox.refuse_calls()]
import socket, subprocess, os
said.append(sandbox.refuse_events(Path(sys.argv[1])))
said.append(bound(256 << 20, 60, 1 << 20))
for name, action in {
    "memory": lambda: bytearray(1 << 30),
    "socket": lambda: socket.create_connection(("127.0.0.1", int(sys.argv[2])), timeout=5),
    "program": lambda: subprocess.run(["true"]),
    "shell": lambda: os.system("true"),
    "elsewhere": lambda: open(sys.argv[1] + "/../x", "w"),
    "inside": lambda: open(sys.argv[1] + "/y", "w").write("y"),
    "large": lambda: open(sys.argv[1] + "/z", "wb").write(bytes(2 << 20)),
}.items():
    try:
        print(name, repr(action()))
    except BaseException as error:
        print(name, type(error).__name__)
print(said)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="what other systems lack is said, not had")
def test_what_the_process_cannot_do(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    with Hub() as hub:
        port = hub.url.rpartition(":")[2]
        ran = subprocess.run(
            [sys.executable, "-c", BOMB, str(tmp_path / "in"), port],
            capture_output=True, text=True,
        )  # fmt: skip
    lines = dict(line.split(" ", 1) for line in ran.stdout.splitlines()[:-1])
    assert lines["memory"] == "MemoryError"
    assert lines["elsewhere"] == "PermissionError"
    assert not (tmp_path / "x").exists()
    assert lines["socket"] in ("PermissionError", "OSError")
    assert lines["program"] == lines["shell"] == "PermissionError"
    assert (lines["inside"], lines["large"]) == ("1", "OSError")


@pytest.mark.skipif(sys.platform != "linux", reason="seccomp and namespaces are Linux's")
@pytest.mark.parametrize("means", ["leave_network", "refuse_calls"])
def test_the_kernel_alone_keeps_the_network_away(means: str) -> None:
    code = (
        "import sys, os, socket\nfrom harness.submissions import sandbox\n"
        f"print(sandbox.{means}())\n"
        "try:\n    socket.create_connection(('127.0.0.1', int(sys.argv[1])), timeout=5)\n"
        "    print('connected')\n"
        "except OSError as error:\n    print('refused')\n"
        "print(os.system('true'))\n"
    )
    with Hub() as hub:
        ran = subprocess.run(
            [sys.executable, "-c", code, hub.url.rpartition(":")[2]],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
    said, reached, shell = ran.stdout.splitlines()
    if not said:
        pytest.skip(f"this machine does not allow {means}")
    assert reached == "refused"
    assert (shell != "0") == (means == "refuse_calls")


def test_a_pickle_that_takes_too_long(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(converting, "SECONDS", 0)
    monkeypatch.setattr(converting, "BYTES_PER_SECOND", 1 << 60)
    with pytest.raises(RefusedError, match=r"still being read after|ended with -"):
        convert(str(tiny), tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_never_in_continuous_integration(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CI", "true")
    with pytest.raises(UsageError, match="CI is set"):
        convert(str(tiny), tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_what_needs_no_conversion(tiny: Path, tmp_path: Path) -> None:
    done = build("bert", tmp_path / "done")
    with pytest.raises(UsageError, match="has safetensors already"):
        convert(str(done), tmp_path / "out")
    with pytest.raises(UsageError, match="exists: give a folder that does not"):
        convert(str(tiny), done)
    with pytest.raises(NotFoundError, match="does not exist"):
        convert("./nowhere", tmp_path / "out")
    with pytest.raises(UsageError, match="is a file: give the folder"):
        convert(str(done / "config.json"), tmp_path / "out")
    (done / WEIGHTS).unlink()
    with pytest.raises(RefusedError, match=r"has no pytorch_model\.bin"):
        convert(str(done), tmp_path / "out")


def test_what_would_be_refused_anyway_is_not_opened(tiny: Path, tmp_path: Path) -> None:
    folder = holding(tiny, tmp_path / "code", b"never read")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"auto_map": {"AutoModel": "m.M"}}))
    with pytest.raises(RefusedError, match="code of its own"):
        convert(str(folder), tmp_path / "out")
    (folder / "config.json").unlink()
    with pytest.raises(RefusedError, match=r"code has no config\.json"):
        convert(str(folder), tmp_path / "out")


def test_a_converted_adapter_is_submitted_as_what_it_was(tmp_path: Path) -> None:
    pytest.importorskip("peft")
    base = build("bert", tmp_path / "base")
    folder = build_adapter(tmp_path / "lora", str(base), base)
    weights = folder / "adapter_model.safetensors"
    torch.save(load_file(weights), folder / "adapter_model.bin")
    weights.unlink()
    convert(str(folder), tmp_path / "out")
    seen = inspect_checkpoint(str(tmp_path / "out"))
    assert seen.conversion == "xharness convert"
    assert "was converted from the pickle of" in seen.remarks[0]


def test_from_the_hub_and_submitted(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: dict[str, Any] = {}
    run = subprocess.run

    def spy(*args: Any, **options: Any) -> Any:
        seen.update(options["env"])
        return run(*args, **options)

    with Hub() as hub:
        point(monkeypatch, hub, tmp_path / "home")
        commit = hub.add("org/old", tiny)
        for name in ("HF_TOKEN", "GITHUB_TOKEN", "HTTPS_PROXY", "HF_HOME"):
            monkeypatch.setenv(name, "hf_secret")
        monkeypatch.setattr(converting.subprocess, "run", spy)
        made = convert("org/old", tmp_path / "out")
        hub.add("org/new", build("bert", tmp_path / "new"))
        with pytest.raises(UsageError, match="org/new has safetensors already"):
            convert("org/new", tmp_path / "other")
    assert "hf_secret" not in seen.values()
    assert seen["HOME"] != os.environ.get("HOME")
    assert any("refused by the interpreter" in text for text in made.isolation)
    assert read_metadata(tmp_path / "out" / WEIGHTS)["source"] == f"org/old@{commit}"
    assert inspect_checkpoint(str(tmp_path / "out")).model == "org/old"
    stated = SubmitterClaims("nli", None, ("en",))
    found = propose(str(tmp_path / "out"), stated, tmp_path).submission
    assert (found.model, found.revision) == ("org/old", made.checkpoint.revision)
    assert found.conversion == "xharness convert"
    assert f"pickle of org/old@{commit}" in found.notes[0]
