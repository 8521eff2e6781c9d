"""What the tests share: where the real data lies, and the environment without a network."""

from __future__ import annotations

import os
import random
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from tests.hub.inprocess import point
from tests.hub.server import Hub
from tests.workflows.reading import commit_all

os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
# The models of the tests are tiny, and pytest has a worker for each core: more threads, here and in
# the commands that tests start, would only wait for each other.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# Python compiles a module once, not again in each process that tests start.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False
# A test means the same on a person's machine and in continuous integration, where `convert` opens
# no pickle; the one about that sets it.
os.environ.pop("CI", None)

ROOT = Path(__file__).resolve().parent.parent

# A machine under load is no failure: the first example of a test may import scipy.
settings.register_profile("xharness", deadline=None)
settings.load_profile("xharness")


def pytest_addoption(parser: pytest.Parser) -> None:
    """``--shuffle [SEED]``: files in random order, and the tests of each."""
    parser.addoption("--shuffle", nargs="?", type=int, const=random.randrange(1 << 20))


def pytest_report_header(config: pytest.Config) -> str:
    """The seed, to run the same order again."""
    seed = config.getoption("shuffle")
    return "" if seed is None else f"--shuffle={seed}"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """No test may need another one before it. What a file sets up is set up once all the same."""
    seed = config.getoption("shuffle")
    if seed is not None:
        order = random.Random(seed)
        place = {path: order.random() for path in sorted({item.path for item in items})}
        items.sort(key=lambda item: (place[item.path], order.random()))


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """What tests compute is not kept beside what the person at this machine has."""
    os.environ["XHARNESS_CACHE"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="session")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bare repository with this checkout as one commit, for clones."""
    return commit_all(tmp_path_factory.mktemp("checkout"))


@pytest.fixture
def hub() -> Iterator[Hub]:
    """A loopback Hub with nothing on it."""
    with Hub() as server:
        yield server


@pytest.fixture
def asks_hub(hub: Hub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """This process asks the loopback Hub, with ``tmp_path / "home"`` for its cache."""
    point(monkeypatch, hub, tmp_path / "home")


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """Torch with one thread, for all tests of a module."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder with the official files, or a skip where it is not there."""
    folder = Path(os.environ.get("XHARNESS_DATA", ROOT / ".." / "shared" / "data")).resolve()
    if not (folder / "SHA256SUMS").is_file():
        pytest.skip(f"no official data at {folder} (set XHARNESS_DATA)")
    return folder


@pytest.fixture(scope="session")
def oracles_dir(data_dir: Path) -> Path:
    """Golden values computed with independent code, beside the data."""
    folder = data_dir.parent / "oracles"
    if not folder.is_dir():
        pytest.skip(f"no golden values at {folder}")
    return folder


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say how many tests were skipped, 0 too; their reasons are in the list above."""
    skipped = len(terminalreporter.stats.get("skipped", []))
    terminalreporter.write_line(f"skipped: {skipped}")


@pytest.fixture(scope="module")
def rows_by_hand() -> Iterator[None]:
    """For tests of what follows from rows: a few invented ones may stand for a task's examples."""
    from harness.results import checks

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checks, "_refuse", lambda wrong: None)
        yield
