"""The options of `eval`: what they take, and what does not go together."""

from __future__ import annotations

import pytest

import harness
from harness.errors import UsageError
from harness.evaluation.options import Options, make_request


@pytest.mark.parametrize("name", ["prompt_query", "prompt_document", "data", "out", "cache_dir"])
def test_text_that_utf8_cannot_hold(name: str) -> None:
    # As a shell hands on the byte 0xff.
    with pytest.raises(UsageError, match="is not UTF-8") as caught:
        make_request(Options(**{name: "query\udcff: "}))
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    ("option", "value", "why"),
    [
        ("tasks", 5, "tasks = 5 is of type int: give str or Iterable or None"),
        ("tasks", ["demo_bitext", 3], "3 is no name: give text"),
        ("languages", [None], "None is no name"),
        ("suite", ["demo"], "is of type list: give str or None"),
        ("split", 1, "give str or None"),
        ("protocol", None, "is of type NoneType: give str"),
        ("pooling", 3, "give str or None"),
        ("layer", None, "give int or str"),
        ("layer", True, "is of type bool: give int or str"),
        ("layer", 2.0, "give int or str"),
        ("prompt_query", 5, "give str or None"),
        ("dtype", None, "give str"),
        ("device", 3, "give str or None"),
        ("workers", True, "give int or None"),
        ("batch_tokens", "8", "give int or None"),
        ("limit", True, "give int or None"),
        ("limit", 2.5, "give int or None"),
        ("limit", "10", "give int or None"),
        ("smoke", 1, "give bool"),
        ("seed", 1.5, "give int"),
        ("seed", None, "give int"),
        ("data", 5, "give str or Path or None"),
        ("out", None, "give str or Path"),
        ("out", "", "out is empty"),
        ("offline", "no", "give bool"),
        ("engine", None, "give str"),
    ],
    ids=str,
)
def test_a_value_of_another_type_is_refused_before_anything_runs(
    option: str, value: object, why: str
) -> None:
    """Python takes any value; a text as a number ended in a traceback, True as a damaged file."""
    with pytest.raises(UsageError) as caught:
        make_request(Options(**{option: value}))
    assert why in str(caught.value)


@pytest.mark.usefixtures("two_gpus")
@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"device": "cuda:0,cuda:2"}, "'cuda:2' is not on this machine"),
        ({"device": "cuda:0,cuda:0"}, "named twice"),
        ({"device": "cuda:0,cpu"}, "each is a GPU by number"),
        ({"device": "cuda,cuda:1"}, "each is a GPU by number"),
        ({"device": "cuda:0,"}, "unknown device ''"),
        ({"workers": 0}, "--workers 0: give a whole number from 1"),
        ({"workers": 2}, "add --device cpu"),
        ({"device": "all", "workers": 2}, "share the processors"),
        ({"engine": "ray", "workers": 2}, "the cluster has a worker"),
        ({"engine": "ray", "device": "all"}, "Ray deals the GPUs out"),
        ({"engine": "ray", "device": "cuda:0,cuda:1"}, "Ray deals the GPUs out"),
    ],
    ids=str,
)
def test_devices_and_workers_that_do_not_go_together(options: dict[str, object], why: str) -> None:
    if options.get("engine") == "ray":
        pytest.importorskip("ray")
    with pytest.raises(UsageError, match=why) as caught:
        make_request(Options(**options))
    assert "\n" not in str(caught.value)


def test_several_processes_of_torchrun(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(UsageError, match="without torchrun"):
        make_request(Options(device="cpu", workers=2))
    assert make_request(Options(device="cpu", workers=1)).runtime.worker_devices == ()


def test_an_object_stays_in_one_process() -> None:
    class Model:
        def encode(self, texts: list[str]) -> list[list[float]]:
            return [[1.0] for _ in texts]

    with pytest.raises(UsageError, match="an object stays in this process"):
        harness.evaluate(Model(), "demo_bitext", device="cpu", workers=2)
