"""The workflows read: valid, pinned, bounded, with no more rights than they need."""

from __future__ import annotations

import re
import shutil
import subprocess
import sysconfig
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest

from tests.workflows.reading import FOLDER, ROOT, WORKFLOWS, Step, read, steps

NAMES = [path.name for path in WORKFLOWS]
EVERY_STEP = [pytest.param(s, id=f"{s.workflow}-{s.job}-{s.index}") for s in steps()]


def tool(name: str) -> str:
    found = shutil.which(name) or shutil.which(name, path=sysconfig.get_path("scripts"))
    assert found, f"{name} is not installed: it is in the extra dev"
    return found


def jobs() -> list[tuple[str, str, dict[str, Any]]]:
    return [(path.name, job, content) for path in WORKFLOWS
            for job, content in read(path)["jobs"].items()]  # fmt: skip


def test_there_are_the_five() -> None:
    assert set(NAMES) == {"ci.yml", "pages.yml", "refresh.yml", "release.yml", "validate.yml"}


def test_zizmor_finds_nothing() -> None:
    strict = ["--offline", "--persona", "auditor", "--no-ignores"]
    done = subprocess.run(
        [tool("zizmor"), *strict, str(ROOT / ".github")],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    ("schema", "files"),
    [
        ("vendor.github-workflows", [f".github/workflows/{name}" for name in NAMES]),
        ("vendor.dependabot", [".github/dependabot.yml"]),
        ("vendor.github-issue-forms", [".github/ISSUE_TEMPLATE/submission.yml"]),
        ("vendor.github-issue-config", [".github/ISSUE_TEMPLATE/config.yml"]),
    ],
)
def test_schemas(schema: str, files: list[str]) -> None:
    done = subprocess.run(
        [tool("check-jsonschema"), "--builtin-schema", schema, *(str(ROOT / f) for f in files)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("path", WORKFLOWS, ids=NAMES)
def test_rights_are_given_job_by_job_and_every_job_ends(path: Path) -> None:
    content = read(path)
    assert content["permissions"] == {}
    assert not {"pull_request_target", "workflow_run", "issue_comment"} & set(content["on"])
    assert "concurrency" in content
    for name, job in content["jobs"].items():
        assert "permissions" in job, name
        if "uses" not in job:  # a called workflow's own jobs have theirs
            assert 1 <= job["timeout-minutes"] <= 350, name


def test_who_may_write_what() -> None:
    written = {
        (workflow, job): {right for right, access in content["permissions"].items()
                          if access == "write"}
        for workflow, job, content in jobs()
    }  # fmt: skip
    assert {key: rights for key, rights in written.items() if rights} == {
        ("refresh.yml", "commit"): {"contents"},
        ("refresh.yml", "pages"): {"pages", "id-token"},
        ("pages.yml", "deploy"): {"pages", "id-token"},
        ("release.yml", "publish"): {"id-token"},
    }


def test_where_secrets_are() -> None:
    """The job that runs strangers' weights has none, nor has anything of a pull request."""
    found = {
        (s.workflow, s.job)
        for s in steps()
        if re.search(r"secrets\.|github\.token", str(s.content))
    }
    assert found == {("refresh.yml", "hand-over"), ("refresh.yml", "commit")}
    text = "".join(path.read_text() for path in WORKFLOWS)
    assert set(re.findall(r"secrets\.(\w+)", text)) == {"HF_TOKEN"}
    assert "secrets: inherit" not in text


@pytest.mark.parametrize("step", EVERY_STEP)
def test_a_step_is_pinned_or_plain(step: Step) -> None:
    content = step.content
    if "run" in content:
        assert "${{" not in content["run"], "untrusted text in a command: pass it by env"
        return
    assert re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40}", content["uses"])
    if content["uses"].startswith("actions/checkout@"):
        assert content["with"]["persist-credentials"] is False


def test_each_action_is_pinned_once_and_its_version_said() -> None:
    pins: defaultdict[str, set[str]] = defaultdict(set)
    for path in WORKFLOWS:
        for action, pin in re.findall(r"uses: ([\w/-]+)@(.*)", path.read_text()):
            assert re.fullmatch(r"[0-9a-f]{40} # v\d+\.\d+\.\d+", pin), pin
            pins[action].add(pin)
    assert {action: pin for action, pin in pins.items() if len(pin) > 1} == {}
    assert len(pins) >= 7


def test_what_starts_the_refresh() -> None:
    content = read(FOLDER / "refresh.yml")
    assert content["on"]["push"] == {"branches": ["main"], "paths": ["submissions/**"]}
    assert set(content["on"]) == {"push", "schedule", "workflow_dispatch"}
    assert content["concurrency"] == {"group": "refresh", "cancel-in-progress": False}


def test_what_was_evaluated_is_kept_whatever_comes_after() -> None:
    jobs = read(FOLDER / "refresh.yml")["jobs"]
    *_, pack, upload = jobs["evaluate"]["steps"]
    assert pack["if"] == upload["if"] == "${{ !cancelled() }}"
    *_, pack, upload = jobs["hand-over"]["steps"]
    assert pack["if"] == "${{ !cancelled() && steps.apply.outcome == 'success' }}"
    assert upload["if"] == "${{ !cancelled() && steps.pack.outcome == 'success' }}"
    assert jobs["hand-over"]["outputs"] == {"uploaded": "${{ steps.upload.outcome }}"}
    assert "hand-over" not in jobs["commit"]["if"]
    _, download, _ = jobs["commit"]["steps"]
    chosen = "needs.hand-over.outputs.uploaded == 'success' && 'handed-over' || 'evaluated'"
    assert download["with"]["name"] == f"${{{{ {chosen} }}}}"
    for name in ("evaluate", "hand-over"):  # a step that is ended is packed, a job is not
        (run,) = [s for s in jobs[name]["steps"] if ".ci/refresh" in s.get("run", "")]
        assert run["timeout-minutes"] < jobs[name]["timeout-minutes"]
        assert "--max-parameters 700000000" in run["run"]


def test_a_submission_is_validated_by_the_base() -> None:
    content = read(FOLDER / "validate.yml")
    assert content["on"] == {"pull_request": {"paths": ["submissions/**", "leaderboard/**"]}}
    base, proposed, *_ = content["jobs"]["validate"]["steps"]
    assert base["with"]["ref"] == "${{ github.event.pull_request.base.sha }}"
    assert "path" not in base["with"]
    assert proposed["with"]["path"] == "proposed"
    assert proposed["with"]["sparse-checkout"].split() == ["submissions", "leaderboard"]
