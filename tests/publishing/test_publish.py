"""Publishing against a loopback Hub: what is sent, what is not, and that it is sent once."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import yaml

from tests.board.boards import bitext, measure, revision
from tests.hub.server import Hub
from tests.publishing.conftest import CARD, DATA_SET, MODEL, Ran, lay

Publish = Callable[..., Ran]
WRITES = ("POST", "PUT")


def written(hub: Hub) -> list[str]:
    return [line for line in hub.requests if line.split()[0] in WRITES]


def test_a_dry_run_shows_the_exact_changes_and_sends_nothing(publish: Publish, hub: Hub) -> None:
    ran = publish("--dry-run", token=None)
    assert ran.code == 0, ran.err
    assert written(hub) == []
    lines = ran.out.splitlines()
    assert "+- dataset:" in lines
    assert "+    id: tester/results" in lines
    assert "+  value: 1.0" in lines
    assert "+++ b/.eval_results/xharness.yaml" in lines
    assert f"+++ b/results/maker__model/{revision(MODEL)[:12]}/lareqa." in ran.out
    assert "bytes, sha256 " in ran.out
    assert "new data set" in ran.out
    card = lines[lines.index("+++ b/README.md", lines.index("+++ b/.eval_results/xharness.yaml")) :]
    assert not [line for line in card if line.startswith("-")]  # nothing of the card is removed


def test_without_yes_and_a_terminal_nothing_is_sent(publish: Publish, hub: Hub) -> None:
    ran = publish()
    assert (ran.code, ran.err) == (
        2, "error: nothing was sent: give --yes to send it, --dry-run to only look\n"
    )  # fmt: skip
    assert written(hub) == []


@pytest.mark.parametrize(("answer", "sent"), [("y\n", 3), ("n\n", 0), ("\n", 0), ("", 0)])
def test_on_a_terminal_it_asks(
    publish: Publish, hub: Hub, monkeypatch: pytest.MonkeyPatch, answer: str, sent: int
) -> None:
    from harness.commands import publishing

    ask = publishing._confirm

    def at_a_terminal(what: str) -> None:
        assert what == "send 3 pull requests"
        monkeypatch.setattr(sys.stdin, "isatty", lambda: True)
        ask(what)

    monkeypatch.setattr(publishing, "_confirm", at_a_terminal)
    ran = publish(keys=answer)
    assert ran.code == (0 if sent else 2)
    assert ran.out.count("sent: ") == sent
    assert sum(len(pulls) for pulls in hub.pulls.values()) == sent


def test_without_a_token_nothing_is_sent(publish: Publish, hub: Hub) -> None:
    ran = publish("--yes", token=None)
    assert ran.code == 3
    assert "hf auth login" in ran.err
    assert hub.requests == []


def test_each_part_is_a_pull_request(publish: Publish, hub: Hub, root: Path) -> None:
    ran = publish(MODEL, "--yes")
    assert ran.code == 0, ran.err
    titles = [pull.title for pull in hub.pulls["models", MODEL]]
    assert titles == ["xharness: evaluation results", "xharness: scores in the model card"]
    assert len(hub.pulls["datasets", DATA_SET]) == 1
    assert hub.files(MODEL) == {"README.md": CARD, "config.json": b"{}"}  # main is as it was

    (one,) = yaml.safe_load(
        hub.files(MODEL, branch="refs/pr/1")[".eval_results/xharness.yaml"].decode()
    )
    assert one["dataset"] == {"id": DATA_SET, "task_id": "lareqa_frozen"}
    assert one["value"] == 1.0
    assert one["date"] == "2026-01-01T00:00:00Z"
    assert one["source"] == {"url": f"{hub.url}/datasets/{DATA_SET}", "name": "xharness"}
    assert "recall@10 in [0, 1], mean over 11 languages" in one["notes"]

    card = hub.files(MODEL, branch="refs/pr/2")["README.md"]
    assert card.startswith(CARD)
    assert b"| LAReQA (XQuAD-R) | frozen | recall@10 | **100.0** |" in card
    assert card.count(b"\n") == card.count(b"\r\n")  # the card's own line breaks

    rows = hub.files(DATA_SET, "datasets", "refs/pr/1")
    folder = f"maker__model/{revision(MODEL)[:12]}"
    (path,) = [name for name in rows if name.startswith(f"results/{folder}/lareqa.")]
    assert rows[path] == (root / "leaderboard" / path).read_bytes()
    scores = pq.read_table(io.BytesIO(rows[f"scores/{folder}.parquet"])).to_pylist()
    assert {row["model"] for row in scores} == {MODEL}
    assert [r["value"] for r in scores if (r["lang"], r["metric"]) == ("macro", "recall@10")] == [1]
    front = yaml.safe_load(rows["README.md"].split(b"---\n")[1])
    assert [one["config_name"] for one in front["configs"]] == ["scores", "lareqa"]


def test_sent_once(publish: Publish, hub: Hub) -> None:
    assert publish("--yes").code == 0
    before = len(written(hub))
    ran = publish("--yes")
    assert ran.code == 0
    assert ran.out.count("nothing to send: proposed already in") == 3
    assert "sent:" not in ran.out
    assert len(written(hub)) == before

    for num in (1, 2):
        hub.close(MODEL, num, merge=True)
    hub.close(DATA_SET, 1, "datasets", merge=True)
    # Merging the second over the first loses what the first had, as this Hub merges.
    hub.add(MODEL, hub.files(MODEL, branch="refs/pr/1") | hub.files(MODEL, branch="refs/pr/2"))
    ran = publish("--yes")
    assert ran.out.count("nothing to send: all of it is there") == 3
    assert len(written(hub)) == before


def test_other_scores_update_the_open_pull_request(
    publish: Publish, hub: Hub, tmp_path: Path
) -> None:
    assert publish("--yes").code == 0
    other = lay(tmp_path / "other", hit=False)
    ran = publish("--yes", board=other)
    assert ran.code == 0, ran.err
    assert ran.out.count("update of") == 3
    assert "-  value: 1.0" in ran.out
    assert "+  value: 0.5" in ran.out
    assert [len(pulls) for pulls in hub.pulls.values()] == [1, 2]
    found = hub.files(MODEL, branch="refs/pr/1")[".eval_results/xharness.yaml"]
    assert yaml.safe_load(found.decode())[0]["value"] == 0.5
    assert hub.files(MODEL, branch="refs/pr/2")["README.md"].count(b"xharness:start") == 1


def test_what_was_declined_is_not_sent_again(publish: Publish, hub: Hub) -> None:
    assert publish("--yes", "--part", "card").code == 0
    hub.close(MODEL, 1)
    hub.add(MODEL, {"README.md": CARD + b"Edited since.\r\n"})
    ran = publish("--yes", "--part", "card")
    assert "it was declined in" in ran.out
    assert len(hub.pulls["models", MODEL]) == 1


def test_pull_requests_of_others_are_not_ours(publish: Publish, hub: Hub) -> None:
    assert publish("--yes", "--part", "card").code == 0
    hub.pulls["models", MODEL][0].author = "somebody"
    assert "new pull request" in publish("--yes", "--part", "card").out
    assert [pull.author for pull in hub.pulls["models", MODEL]] == ["somebody", "tester"]


def test_only_verified_scores_are_published(publish: Publish, hub: Hub, root: Path) -> None:
    path = root / "leaderboard" / "scores.parquet"
    table = pq.read_table(path)
    values = [value / 2 for value in table.column("value").to_pylist()]
    at = table.schema.get_field_index("value")
    pq.write_table(table.set_column(at, "value", [values]), path)
    ran = publish("--yes")
    assert ran.code == 1
    assert "recomputed 1.0" in ran.err
    assert hub.pulls == {}


def test_a_local_checkpoint_has_no_repository(publish: Publish, hub: Hub, tmp_path: Path) -> None:
    board = lay(tmp_path / "local", "folder", revision=f"local:{'a' * 64}")
    ran = publish("folder-" + "a" * 12, "--yes", board=board)
    assert (ran.code, ran.err.count("\n")) == (2, 1)
    assert "measured from a folder" in ran.err
    assert hub.pulls == {}
    assert publish("folder-" + "a" * 12, "--yes", "--part", "results", board=board).code == 0
    assert list(hub.pulls) == [("datasets", DATA_SET)]


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("none/x",), 3, "not on the board"),
        (("--part", "cards"), 2, "did you mean card"),
        (("demo/only",), 2, "demo tasks are invented"),
        (("cut/short",), 2, "first 5 queries"),
    ],
)
def test_what_cannot_be_published(
    publish: Publish, hub: Hub, root: Path, words: tuple[str, ...], code: int, said: str
) -> None:
    from harness.board.build import leaderboard
    from tests.publishing.conftest import passages

    measure(root, "demo/only", bitext("hand/base"))
    measure(root, "cut/short", passages(), task="lareqa", limit=5)
    leaderboard(root)
    ran = publish(*words, "--yes")
    assert (ran.code, ran.err.count("\n")) == (code, 1)
    assert said in ran.err
    assert written(hub) == []


def test_a_damaged_card_is_left_alone(publish: Publish, hub: Hub) -> None:
    hub.add(MODEL, {"README.md": b"<!-- xharness:end --> <!-- xharness:start -->"})
    ran = publish("--yes", "--part", "card")
    assert ran.code == 2
    assert "leave one of each" in ran.err
    assert hub.pulls == {}


def test_a_card_cannot_write_to_the_terminal(publish: Publish, hub: Hub) -> None:
    hub.add(MODEL, {"README.md": b"\x1b[2J title\n"})
    out = publish("--dry-run", "--part", "card").out
    assert "\x1b" not in out
    assert "title" in out


def test_a_model_that_is_not_there(publish: Publish, hub: Hub) -> None:
    del hub.repositories["models", MODEL]
    ran = publish("--yes", "--part", "card")
    assert (ran.code, ran.err.count("\n")) == (3, 1)
    assert f"{MODEL} is not on" in ran.err


def test_of_a_model_only_the_submitted_revision_is_published(
    publish: Publish, hub: Hub, root: Path
) -> None:
    lay(root, hit=False, revision="b" * 40)  # its score is 0.5, that of the submitted one 1.0
    for words in ((), (MODEL,)):
        ran = publish("--dry-run", "--part", "eval-results", *words)
        assert (ran.code, ran.out.count("new pull request")) == (0, 1), ran.err
        assert "+  value: 1.0" in ran.out.splitlines()
    ran = publish("--dry-run", "--part", "eval-results", f"{MODEL}@{'b' * 12}")
    assert (ran.code, "+  value: 0.5" in ran.out.splitlines()) == (0, True)


@pytest.mark.parametrize("words", [(), (MODEL,), (f"{MODEL}@{'a' * 40}", f"{MODEL}@{'b' * 12}")])
def test_one_revision_of_several_has_to_be_named(
    publish: Publish, hub: Hub, tmp_path: Path, words: tuple[str, ...]
) -> None:
    board = lay(tmp_path / "two", revision="a" * 40)
    lay(board, hit=False, revision="b" * 40)
    ran = publish("--yes", *words, board=board)
    assert (ran.code, ran.err) == (
        2,
        f"error: {MODEL} would be published at 2 revisions ({'a' * 12}, {'b' * 12}): name one, as"
        f" {MODEL}@revision\n",
    )
    assert written(hub) == []


def test_a_model_that_is_gone_leaves_the_others(publish: Publish, hub: Hub, root: Path) -> None:
    lay(root, "a/gone")  # it comes before the other
    ran = publish("--yes", "--part", "card")
    assert ran.code == 5
    first, second = ran.err.splitlines()
    assert first.startswith("error: 1 of 2 pull requests cannot be made")
    assert second.startswith("error: a/gone is not on")
    assert "a/gone — xharness: scores in the model card: cannot be made: a/gone is not" in ran.out
    assert [pull.title for pull in hub.pulls["models", MODEL]] == [
        "xharness: scores in the model card"
    ]


def test_a_refused_write_leaves_the_others(publish: Publish, hub: Hub) -> None:
    hub.fail("/commit/", 403)  # once
    ran = publish(MODEL, "--yes")
    assert (ran.code, ran.out.count("sent: ")) == (5, 2)
    assert [line.split(" cannot")[0] for line in ran.err.splitlines()][:1] == [
        "error: 1 of 3 pull requests"
    ]
    assert "HTTP 403" in ran.err.splitlines()[1]


def test_a_refused_write_is_one_line(publish: Publish, hub: Hub) -> None:
    hub.fail("/commit/", 403)
    ran = publish("--yes", "--part", "card")
    assert (ran.code, ran.err.count("\n")) == (3, 1)
    assert "HTTP 403" in ran.err


def test_the_tokens_hub_sees(publish: Publish, hub: Hub) -> None:
    from tests.hub.writing import TOKEN

    publish("--yes")
    sent: list[Any] = [t for t, r in zip(hub.tokens, hub.requests, strict=True) if "/lfs/" not in r]
    assert set(sent) == {TOKEN}
