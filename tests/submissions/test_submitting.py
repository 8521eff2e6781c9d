"""A checkpoint's submission: vetted over the network, the card's facts, conversion requests."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import NotFoundError, RefusedError, UsageError
from harness.io.files import write_whole
from harness.submissions.folder import read_submissions
from harness.submissions.submission import Submission
from harness.submissions.submission_yaml import as_yaml
from harness.submissions.submitting import SubmitterClaims, propose
from tests.checkpoints import build, build_adapter, build_sentence_transformer
from tests.hub.pulls import Pull
from tests.hub.server import Hub

QA = SubmitterClaims(objective="extractive-qa", languages=("en",), datasets=("SQuAD v1.1",))
BOT = "SFconvertbot"
TITLE = "Adding `safetensors` variant of this model"


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build("xlm-roberta", tmp_path_factory.mktemp("tiny") / "tiny", qa_head=True)


@pytest.fixture(autouse=True)
def no_waiting(asks_hub: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.sleep", lambda seconds: None)


def files_of(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def pickled(folder: Path) -> dict[str, bytes]:
    """The same repository as one that was never converted."""
    files = files_of(folder)
    del files["model.safetensors"]
    return files | {"pytorch_model.bin": b"\x80\x02}."}


def test_written_pinned_and_without_the_weights(hub: Hub, tiny: Path, tmp_path: Path) -> None:
    base = hub.add("org/base", tiny)
    commit = hub.add("org/tiny", tiny)
    claims = SubmitterClaims(
        objective="extractive-qa", base="org/base", languages=("eng", "de"),
        datasets=("SQuAD v1.1",), licence="mit", notes=("no: a colon",),
    )  # fmt: skip
    proposal = propose("org/tiny", claims, tmp_path)
    assert not proposal.path.exists()
    write_whole(proposal.path, proposal.text)
    (slug, found), = read_submissions(tmp_path / "submissions").items()  # fmt: skip
    assert slug == "org__tiny"
    assert found == Submission(
        model="org/tiny", revision=commit, base="org/base", base_revision=base,
        objective="extractive-qa", languages=["en", "de"], datasets=["SQuAD v1.1"],
        licence="mit", notes=["no: a colon"],
    )  # fmt: skip
    assert [path.name for path in (tmp_path / "submissions").iterdir()] == ["org__tiny.yaml"]
    assert stat.S_IMODE(proposal.path.stat().st_mode) == 0o644


def large(files: dict[str, bytes], values: int) -> dict[str, bytes]:
    """The repository with one float32 tensor of so many values for its weights."""
    entry = {"dtype": "F32", "shape": [values], "data_offsets": [0, 4 * values]}
    header = json.dumps({"x": entry}).encode()
    weights = len(header).to_bytes(8, "little") + header + bytes(4 * values)
    return files | {"model.safetensors": weights}


@pytest.mark.parametrize("ranges", [True, False])
def test_headers_are_read_and_weights_are_not(
    hub: Hub, tiny: Path, tmp_path: Path, ranges: bool
) -> None:
    files = large(files_of(tiny), 8 << 20)
    hub.add("org/large", files)
    hub.ranges = ranges
    propose("org/large", QA, tmp_path)
    if ranges:
        assert hub.sent < 1 << 18  # of 32 MiB; without ranges the connection is left early
    assert not [request for request in hub.requests if "tokenizer.json" in request]
    assert not list((tmp_path / "home").rglob("*.safetensors"))


def test_a_long_header_is_read_whole(hub: Hub, tiny: Path, tmp_path: Path) -> None:
    entry = {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}
    header = json.dumps({f"{'layer' * 20}.{i}": entry for i in range(3000)}).encode()
    weights = len(header).to_bytes(8, "little") + header
    assert len(weights) > 1 << 18
    hub.add("org/long", files_of(tiny) | {"model.safetensors": weights})
    assert propose("org/long", QA, tmp_path).submission.model == "org/long"


def test_the_branch_moves_between_two_requests(hub: Hub, tiny: Path, tmp_path: Path) -> None:
    commit = hub.add("org/tiny", tiny)
    hub.after_info = lambda: hub.add("org/tiny", {"config.json": b"{}"})
    assert propose("org/tiny", QA, tmp_path).submission.revision == commit


def test_card_facts_are_defaults_and_are_said(hub: Hub, tiny: Path, tmp_path: Path) -> None:
    base = hub.add("org/base", tiny)
    card = {
        "license": "cc-by-4.0", "base_model": "old/base", "datasets": ["squad_v2", "a\x1b[1mb"],
        "language": ["en", "xx-unknown", "multilingual"],
    }  # fmt: skip
    hub.add("org/carded", tiny, card=card)
    hub.renamed["old/base"] = "org/base"
    silent = propose("org/carded", SubmitterClaims("extractive-qa"), tmp_path)
    found = silent.submission
    assert (found.licence, found.base, found.base_revision) == ("cc-by-4.0", "org/base", base)
    assert found.datasets == ["squad_v2", "a[1mb"]  # control characters go
    assert found.languages == ["en", "multilingual"]
    said = "\n".join(silent.remarks)
    for fact in ("cc-by-4.0", "old/base", "squad_v2", "en, xx-unknown", "'xx-unknown' is not"):
        assert fact in said
    claims = SubmitterClaims("extractive-qa", "org/base", ("de",), ("GermanQuAD",), licence="mit")
    spoken = propose("org/carded", claims, tmp_path)
    assert (spoken.submission.licence, spoken.submission.languages) == ("mit", ["de"])
    assert spoken.submission.datasets == ["GermanQuAD"]
    assert spoken.remarks == ()


@pytest.mark.parametrize(
    ("base", "said"),
    [
        ("org/absent", "org/absent is not on"),
        *((name, "") for name in ("@main", "org/base@", "~nobody-of-that-name/base", "a b")),
    ],
)
def test_a_card_base_that_cannot_be_found_is_left_out(
    hub: Hub, tiny: Path, tmp_path: Path, base: str, said: str
) -> None:
    hub.add("org/carded", tiny, card={"base_model": base})
    proposal = propose("org/carded", QA, tmp_path)
    assert proposal.submission.base is None
    assert any(f"the model card's base is left out: {said}" in one for one in proposal.remarks)
    with pytest.raises(
        NotFoundError if said else (UsageError, NotFoundError), match=f"^base: {said}"
    ):
        propose("org/carded", SubmitterClaims("extractive-qa", base, ("en",)), tmp_path)


def test_the_base_is_pinned_as_it_is_submitted(hub: Hub, tiny: Path, tmp_path: Path) -> None:
    folder = tmp_path / "submissions"
    folder.mkdir()
    now = hub.add("org/base", tiny)
    hub.add("org/tiny", tiny)
    claims = SubmitterClaims("nli", "org/base", ("en",))
    assert propose("org/tiny", claims, tmp_path).submission.base_revision == now
    base = folder / "base.yaml"
    base.write_text("model: org/base\nobjective: none\n")
    assert propose("org/tiny", claims, tmp_path).submission.base_revision is None
    base.write_text(f"model: org/base\nobjective: none\nrevision: {'a' * 40}\n")
    assert propose("org/tiny", claims, tmp_path).submission.base_revision == "a" * 40
    with pytest.raises(UsageError, match=r"org/base is submitted at aaaaaaaaaaaa"):
        propose("org/tiny", SubmitterClaims("nli", f"org/base@{now}", ("en",)), tmp_path)


def test_contamination_by_name_and_by_base(hub: Hub, tiny: Path, tmp_path: Path) -> None:
    folder = tmp_path / "submissions"
    folder.mkdir()
    (folder / "base.yaml").write_text(
        "model: org/base\nobjective: extractive-qa\nlanguages: [ar]\ncontaminated: [tydiqa]\n"
    )
    hub.add("org/base", tiny)
    hub.add("org/tiny", tiny)
    claims = SubmitterClaims("extractive-qa", "org/base", ("en",), ("XQuAD, translated",))
    proposal = propose("org/tiny", claims, tmp_path)
    assert proposal.submission.contaminated == ["xquad"]
    assert proposal.remarks == (
        "contaminated: xquad, since 'XQuAD, translated' is its data",
        "also contaminated: lareqa, tydiqa, by base or same data",
    )


@pytest.mark.parametrize(
    ("claims", "words"),
    [
        (
            SubmitterClaims("extractive_qa"),
            r"unknown value 'extractive_qa': did you mean extractive-qa",
        ),
        (SubmitterClaims("nli", languages=("eng", "germann")), r"unknown language 'germann'"),
        (SubmitterClaims("nli", languages=("en",), contaminated=("xnly",)), "did you mean xnli"),
        (SubmitterClaims("nli", languages=("en",), protocol="nativ"), "did you mean native"),
        (SubmitterClaims("nli", languages=("en",), seed=-1), "seed"),
    ],
)
def test_what_is_stated_is_checked_before_anything_is_asked(
    hub: Hub, tmp_path: Path, claims: SubmitterClaims, words: str
) -> None:
    with pytest.raises(UsageError, match=words):
        propose("org/tiny", claims, tmp_path)
    assert hub.requests == []


def test_what_does_not_go_together(hub: Hub, tiny: Path, tmp_path: Path) -> None:
    hub.add("org/tiny", tiny)
    with pytest.raises(UsageError, match="needs the languages"):
        propose("org/tiny", SubmitterClaims("nli"), tmp_path)
    with pytest.raises(UsageError, match="seed is missing"):
        propose("org/tiny", SubmitterClaims("nli", None, ("en",), recipe="r1"), tmp_path)


def test_refused_as_eval_would(hub: Hub, tiny: Path, tmp_path: Path) -> None:
    files = files_of(tiny)
    config = json.loads(files["config.json"])
    broken = {
        "empty": ({".gitattributes": b"x"}, "has no weights: it holds .gitattributes"),
        "code": (files | {"config.json": json.dumps(
            config | {"auto_map": {"AutoModel": "m.M"}}).encode()}, "code of its own"),
        "deep": (files | {"config.json": json.dumps(
            config | {"num_hidden_layers": 10**6}).encode()}, "num_hidden_layers"),
        "cut": (files | {"model.safetensors": files["model.safetensors"][:-4]}, "truncated"),
        "junk": (files | {"model.safetensors": b"\xff" * 100}, "not a whole safetensors file"),
        "tokenless": ({k: v for k, v in files.items() if "token" not in k}, "has no tokenizer"),
        "onnx": ({"config.json": b"{}", "model.onnx": b"x"}, "only model.onnx"),
    }  # fmt: skip
    for name, (content, words) in broken.items():
        hub.add(f"org/{name}", content)
        with pytest.raises(RefusedError, match=words) as caught:
            propose(f"org/{name}", QA, tmp_path)
        assert "\n" not in str(caught.value)
    assert not (tmp_path / "submissions").exists()


def test_gated_private_absent(hub: Hub, tiny: Path, tmp_path: Path) -> None:
    hub.add("org/gated", tiny, gated=True)
    hub.add("org/private", tiny, needs_login=True)
    for name in ("org/gated", "org/private", "org/none"):
        with pytest.raises(NotFoundError, match="hf auth login"):
            propose(name, QA, tmp_path)
    hub.add("org/tiny", tiny)
    with pytest.raises(NotFoundError, match="has no revision 'v9'"):
        propose("org/tiny@v9", QA, tmp_path)


def test_submitted_already(hub: Hub, tiny: Path, tmp_path: Path) -> None:
    commit = hub.add("org/tiny", tiny)
    folder = tmp_path / "submissions"
    folder.mkdir()
    mine = folder / "my-name.yaml"
    mine.write_text("model: org/tiny\nobjective: none\n")
    with pytest.raises(UsageError, match=r"my-name\.yaml submits org/tiny already: give --force"):
        propose("org/tiny", QA, tmp_path)
    proposal = propose("org/tiny", QA, tmp_path, replace=True)
    write_whole(proposal.path, proposal.text)
    assert read_submissions(folder)["my-name"].revision == commit
    assert [path.name for path in folder.iterdir()] == ["my-name.yaml"]


def test_a_failed_write_leaves_the_old_file(
    hub: Hub, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.add("org/tiny", tiny)
    proposal = propose("org/tiny", QA, tmp_path)
    write_whole(proposal.path, proposal.text)
    before = proposal.path.read_bytes()

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="No space"):
        write_whole(proposal.path, proposal.text)
    assert [path.name for path in proposal.path.parent.iterdir()] == ["org__tiny.yaml"]
    assert proposal.path.read_bytes() == before


def conversion(hub: Hub, name: str, files: dict[str, bytes], num: int, **fields: Any) -> str:
    """An open conversion pull request with these files; returns its commit."""
    pull = Pull(num, fields.pop("title", TITLE), fields.pop("author", BOT), **fields)
    hub.pulls.setdefault(("models", name), []).append(pull)
    return hub.add(name, files, branch=f"refs/pr/{num}")


def test_the_conversion_pull_request_is_pinned(hub: Hub, tiny: Path, tmp_path: Path) -> None:
    old = pickled(tiny)
    hub.add("org/old", old)
    commit = conversion(hub, "org/old", old | files_of(tiny), 7)
    for proposal in (propose("org/old", QA, tmp_path), propose("org/old@refs/pr/7", QA, tmp_path)):
        assert proposal.submission.revision == commit
        assert proposal.submission.conversion == "refs/pr/7"
    assert "only pickles: pinned at refs/pr/7" in propose("org/old", QA, tmp_path).remarks[0]


def test_conversion_pull_requests_that_do_not_count(hub: Hub, tiny: Path, tmp_path: Path) -> None:
    old, new = pickled(tiny), files_of(tiny)
    for name, files, fields, words in (
        ("none", None, {}, "no conversion pull request is open"),
        ("closed", new, {"status": "closed"}, "no conversion pull request is open"),
        ("stranger", new, {"author": "somebody"}, "no conversion pull request is open"),
        ("other", new, {"title": "Fix a typo"}, "no conversion pull request is open"),
        ("empty", {}, {}, "refs/pr/2 adds no safetensors"),
        ("changed", new | {"config.json": b"{}"}, {}, "refs/pr/2 has another config.json than"),
    ):
        hub.add(f"org/{name}", old)
        if files is not None:
            conversion(hub, f"org/{name}", old | files, 2, **fields)
        with pytest.raises(RefusedError, match=words) as caught:
            propose(f"org/{name}", QA, tmp_path)
        assert f"`xharness convert org/{name} FOLDER`" in str(caught.value)
    # An older one that fits is taken where the newest does not.
    commit = conversion(hub, "org/changed", old | new, 1)
    assert propose("org/changed", QA, tmp_path).submission.revision == commit


def test_discussions_that_are_switched_off(hub: Hub, tiny: Path, tmp_path: Path) -> None:
    hub.add("org/old", pickled(tiny))
    hub.fail("/discussions", 403)
    with pytest.raises(RefusedError, match="no conversion pull request is open"):
        propose("org/old", QA, tmp_path)


def test_sentence_transformers_and_adapters(hub: Hub, tiny: Path, tmp_path: Path) -> None:
    pytest.importorskip("peft")
    hub.add("org/st", build_sentence_transformer(tmp_path / "st", dense=(16,)))
    hub.add("org/lora", build_adapter(tmp_path / "lora", "org/base", tiny))
    with pytest.raises(NotFoundError, match="its base cannot be used: org/base is not on"):
        propose("org/lora", QA, tmp_path)
    hub.add("org/base", tiny)
    for name in ("org/st", "org/lora"):
        assert propose(name, QA, tmp_path).submission.model == name
    assert not list((tmp_path / "home").rglob("*.safetensors"))


def test_a_folder_by_its_digest(tiny: Path, tmp_path: Path) -> None:
    proposal = propose(str(tiny), QA, tmp_path)
    assert proposal.path.name == "local__tiny.yaml"
    assert proposal.submission.model == "tiny"
    assert str(proposal.submission.revision).startswith("local:")
    assert proposal.submission.conversion is None


TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=30)
ODD = st.sampled_from(
    ["- a", "a: b", "#", "\x85", "'", '"', " x", "[", "&a", "*a", "!t", "%", "|", ">"]
)
ODD |= st.sampled_from(["no", "1e3", "0x1f", "1_000", "~", "2020-01-01", "true", "1.", "5" * 40])


@given(st.lists(TEXT | ODD, max_size=5), TEXT | ODD)
def test_any_text_reads_back_as_it_was(texts: list[str], licence: str) -> None:
    submission = Submission(
        model="org/x", objective="nli", languages=["id", "en"], datasets=texts, licence=licence,
        notes=texts,
    )  # fmt: skip
    # as_yaml itself compares what it reads back.
    assert as_yaml(submission).startswith("model: org/x\n")
