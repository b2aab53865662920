"""Markers, and rooms to run a test's own functions in."""

from __future__ import annotations

import os
import shutil
import sys
import sysconfig
import tempfile
from collections.abc import Callable, Iterator
from itertools import chain, zip_longest
from pathlib import Path
from typing import Any, Protocol

import guest_pool
import pytest
import rooms
from cli_runner import Said, caller
from hypothesis import settings
from private_mounts import with_private_mounts

from yogurtbench import __main__ as command
from yogurtbench.core import install_hints
from yogurtbench.hosts.vm import host as vm
from yogurtbench.plan.plan import Plan
from yogurtbench.results import run_folder

HERE = Path(__file__).parent

# How fast a test is says more about the machine than about us; and the same examples everywhere, so
# that a change is judged by the change. Look further with --hypothesis-profile=explore.
settings.register_profile("steady", deadline=None, derandomize=True)
settings.register_profile("explore", deadline=None, max_examples=1000)
#: For ``nox -s fuzz``: others each time.
FUZZED = int(os.environ.get("YOGURTBENCH_FUZZ", "100000"))
settings.register_profile("fuzz", deadline=None, max_examples=FUZZED)
settings.load_profile("steady")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty current folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def call(here: Path, capfd: pytest.CaptureFixture[str]) -> Callable[..., Said]:
    """A command line, called in this process."""
    return caller(capfd)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Without root, leave out what needs it; where CI is set it is not left out but fails."""
    for item in items:
        if item.get_closest_marker("vm") and HERE / "guest" not in item.path.parents:
            raise pytest.UsageError(f"{item.nodeid}: tests marked vm belong into tests/guest")
        if item.get_closest_marker("vm") and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(900))  # the first one may build the guest
        if item.get_closest_marker("root") and os.geteuid() != 0 and not os.environ.get("CI"):
            item.add_marker(pytest.mark.skip(reason="needs root"))
    items.sort(key=_order(items).__getitem__)


def _order(items: list[pytest.Item]) -> dict[pytest.Item, int]:
    """The place of each item in a session of several processes, which take file after file.

    In turns one that waits a lot and one whose guest keeps a core busy; the small ones at the end.
    """
    files = list(dict.fromkeys(item.path for item in items))
    marked = {
        item.path for item in items if {"root", "commands"} & {m.name for m in item.iter_markers()}
    }
    guests = [path for path in files if HERE / "guest" in path.parents]
    waiting = [path for path in files if path in marked and path not in guests]
    in_turns = chain.from_iterable(zip_longest(waiting, [None, *guests]))
    ordered = [path for path in dict.fromkeys([*in_turns, *files]) if path]
    places = {path: place for place, path in enumerate(ordered)}
    return {item: places[item.path] for item in items}


@pytest.fixture(scope="session")
def in_room() -> Callable[..., Any]:
    """``in_room(function, *arguments)``: arguments and answer travel as JSON."""
    return rooms.call_in_room


@pytest.fixture(scope="session")
def shelf() -> Iterator[None]:
    """Guests that stay up between commands end with the tests."""
    yield
    guest_pool.clear()


@pytest.fixture(scope="module")
def warm_guest(shelf: None) -> Iterator[type[guest_pool.WarmHost]]:
    """Commands called in this process find their guest up."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(vm, "host", guest_pool.WarmHost)
        yield guest_pool.WarmHost


class Swept(Protocol):
    """Runs a matrix in the guest: what lies beside it by name, and the run folder it leaves.

    ``asides``: whether diagnostic trials end it, which take longer than the others.
    """

    def __call__(
        self, folder: Path, matrix: str, *, asides: bool = True, **beside: str
    ) -> Path: ...


@pytest.fixture(scope="module")
def swept(warm_guest: object) -> Swept:
    """``swept(folder, matrix)``: the folder of a run of it, which ended well, by a command called
    in this process.

    On the wall clock, whose guest serves many commands.
    """

    def sweeping(folder: Path, matrix: str, *, asides: bool = True, **beside: str) -> Path:
        for name, text in {"m.yaml": matrix, **beside}.items():
            (folder / name).write_text(text)
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(folder)
            if not asides:
                patch.setattr(Plan, "diagnostics", lambda _: [])
            code = command.run(["run", "m.yaml", "--clock", "wall"])
        (run,) = folder.glob("results/*/*-*")
        bad = [
            (a.trial.cell, a.error)
            for a in run_folder.read_attempts(run)
            if a.status in ("failed", "crashed")
        ]
        assert (code, bad) == (0, [])
        return run

    return sweeping


@pytest.fixture
def recorded() -> Callable[[str], str]:
    """The text of a recorded output in tests/data."""
    return lambda name: (HERE / "data" / name).read_text()


@pytest.fixture
def everybodys() -> Iterator[Path]:
    """A folder that other users may enter: pytest's own are closed to them."""
    with tempfile.TemporaryDirectory(prefix="yogurtbench-test-") as folder:
        Path(folder).chmod(0o777)
        yield Path(folder)


_SEEN_BY_NOBODY = """
mount -t tmpfs tmpfs /mnt && mkdir /mnt/project /mnt/packages
mount --bind "$1" /mnt/project && mount --bind "$2" /mnt/packages
shift 2
exec setpriv --reuid=65534 --regid=65534 --clear-groups env PYTHONPATH=/mnt/project:/mnt/packages "$@"
"""


@pytest.fixture(scope="session")
def nobodys_python() -> list[str]:
    """A command line's beginning: Python as uid 65534, which sees this project wherever it lies,
    even below /root.
    """
    packages = sysconfig.get_path("purelib")
    folders = [str(HERE.parent), packages]
    return [*with_private_mounts(_SEEN_BY_NOBODY), *folders, os.path.realpath(sys.executable), "-P"]


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    """The distribution's Chromium, driven by Playwright."""
    from playwright.sync_api import sync_playwright

    found = shutil.which("chromium") or shutil.which("chromium-browser")
    if not found:
        pytest.skip(f"no chromium: {install_hints.how_to_get('chromium')}")
    with sync_playwright() as play:
        browser = play.chromium.launch(
            executable_path=found, args=["--no-sandbox", "--disable-gpu"]
        )
        yield browser
        browser.close()
