"""How building the guest shows itself: phases as mmdebstrap tells them, time spent, time left."""

from __future__ import annotations

import io
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from yogurtbench.core.errors import HostError
from yogurtbench.core.sayer import Sayer
from yogurtbench.hosts.vm import build_progress, cache
from yogurtbench.hosts.vm.build_progress import USUAL, BuildProgress
from yogurtbench.hosts.vm.image import mmdebstrap

#: What mmdebstrap 1.3.5 printed, with the seconds since it was started.
RECORDED = (
    (
        0.6,
        "I: skipping emulation check for extract variant\nI: using /tmp/mmdebstrap.23DSnuB6Ac "
        "as tempdir\n",
    ),
    (
        0.9,
        'I: running --setup-hook in shell: sh -c \'for d in bin; do ln -s "usr/$d" "$1/$d"; '
        "done' exec /tmp/x\n",
    ),
    (1.0, "I: running apt-get upd"),
    (1.0, "ate...\n"),
    (4.3, "I: downloading packages with apt...\n"),
    (7.2, "I: extracting archives...\n"),
    (24.2, "W: skipping mounting of proc because the /proc directory is missing in the target\n"),
    (
        24.2,
        "I: running --extract-hook in shell: sh -c 'set -eu\nls "
        '"$1/var/cache/apt/archives"\n\' exec /tmp/x\n',
    ),
    (30.4, "I: cleaning package lists and apt cache...\n"),
    (31.2, "I: creating tarball...\nI: done\n"),
    (36.2, "I: removing tempdir /tmp/mmdebstrap.23DSnuB6Ac...\nI: success in 35.6491 seconds\n"),
)


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_the_phases_are_those_that_mmdebstrap_tells() -> None:
    clock = Clock()
    progress = BuildProgress("userland", clock)
    told = []
    for seconds, text in RECORDED:
        clock.now = 100 + seconds
        if progress.heard(text):
            told.append(progress.doing)
    assert told == [
        "reading what packages there are",
        "downloading packages",
        "unpacking packages",
        "compiling Python's bytecode",
        "packing them",
        "making archives for the guest",
    ]
    assert 1 < progress.left < 20


def test_a_machine_half_as_fast_is_given_twice_the_time() -> None:
    clock = Clock()
    progress = BuildProgress("kernel", clock)
    assert progress.line().endswith("starting; 0 s, about 30 s left")
    clock.now = 100 + 2 * USUAL["kernel"][2]  # downloaded and unpacked
    progress.heard("I: running --extract-hook in shell: x\n")
    assert progress.left == 2 * (USUAL["kernel"][-1] - USUAL["kernel"][2])
    clock.now += 1000
    assert progress.line().endswith("longer than usual")


@given(
    st.sampled_from(["kernel", "userland", "another"]),
    st.lists(
        st.tuples(
            st.floats(0, 1e4),
            st.sampled_from([text for _, text in RECORDED] + ["", "\n", "E: x\n"]),
        )
    ),
)
def test_whatever_is_heard_time_left_is_a_number_and_phases_go_forward(
    kind: str, heard: list[tuple[float, str]]
) -> None:
    clock = Clock()
    progress = BuildProgress(kind, clock)
    for seconds, text in heard:
        clock.now += seconds
        before = progress.phase
        progress.heard(text)
        assert progress.phase >= before
        assert progress.line().count(";") == 1 and "nan" not in progress.line()


def built(
    say: Callable[[str], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str
) -> None:
    """A part of the guest, built by an mmdebstrap that is this script."""
    monkeypatch.setenv("YOGURTBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(mmdebstrap, "_mode", lambda: "root")
    monkeypatch.setattr(
        mmdebstrap.apt_sources,
        "machine_sources",
        lambda: ("deb http://mirror.invalid/debian x main",),
    )
    (tmp_path / "mmdebstrap").write_text(f"#!/bin/sh\n{script}")
    (tmp_path / "mmdebstrap").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    cache.ensure_folder(
        "userland", "x", lambda into: mmdebstrap.extract(into / "x.tar", ["bash"], "true"), say
    )


SCRIPT = """
echo 'I: running apt-get update...' >&2; sleep 0.2
echo 'I: downloading packages with apt...' >&2; sleep 1
echo 'I: success in 1 seconds' >&2
"""


def test_elsewhere_than_on_a_terminal_there_is_a_line_a_phase(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    built(told.append, tmp_path, monkeypatch, SCRIPT)
    phases = [line.partition(";")[0] for line in told]
    assert phases == [
        "building the guest's userland (x), once",
        "the guest's userland: reading what packages there are",
        "the guest's userland: downloading packages",
        "the guest's userland: making archives for the guest",
        "the guest's userland: built in 1 s",
    ]
    assert all(" s left" in line or "longer than usual" in line for line in told[1:-1])


@pytest.mark.parametrize("terminal", [True, False])
def test_on_a_terminal_there_is_one_live_line(
    terminal: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "xterm" if terminal else "dumb")
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, width=100)
    built(Sayer(console), tmp_path, monkeypatch, SCRIPT)
    lines = out.getvalue().split("\n")
    assert any("downloading packages; " in line and " s left" in line for line in lines)
    assert ("\x1b[2K" in out.getvalue()) == terminal, "a live line is cleared"


def test_quiet_says_nothing_and_fails_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    built(lambda _: None, tmp_path, monkeypatch, SCRIPT)
    build_progress.heard("nobody listens now")


@pytest.mark.parametrize(
    "words",
    [
        "E: Failed to fetch http://mirror.invalid/InRelease  Temporary failure resolving "
        "'mirror.invalid'",
        "E: Failed to fetch http://mirror.invalid/InRelease  Could not connect to "
        "mirror.invalid:80 (192.0.2.1).",
        "E: Failed to fetch http://192.0.2.1/InRelease  Cannot initiate the connection to "
        "192.0.2.1:80 (192.0.2.1). "
        "- connect (101: Network is unreachable)",
    ],
)
def test_no_network_is_one_clear_sentence_and_leaves_nothing(
    words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(
        HostError, match="the guest could not be built: there is no network, or none that reaches"
    ):
        built(lambda _: None, tmp_path, monkeypatch, f'echo "{words}" >&2; exit 25')
    assert [path.name for path in (tmp_path / "cache").rglob("*") if path.is_file()] == ["x.lock"]
    built(lambda _: None, tmp_path, monkeypatch, SCRIPT)


def test_another_failure_is_not_blamed_on_the_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(HostError) as error:
        built(
            lambda _: None, tmp_path, monkeypatch, 'echo "E: No space left on device" >&2; exit 1'
        )
    assert "network" not in str(error.value) and "No space left on device" in str(error.value)


def test_killed_it_asks_mmdebstrap_to_clear_its_files_away_and_the_next_run_begins_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """kill -9 of a run that builds, with an mmdebstrap that tidies up on SIGTERM, as the real one
    does.
    """
    script = f"""
trap 'touch {tmp_path}/tidied; exit 1' TERM
echo 'I: running apt-get update...' >&2; touch {tmp_path}/under-way
while :; do sleep 0.1; done
"""
    here = Path(__file__)
    folders = [
        str(folder) for folder in (here.parent, here.parents[2] / "helpers", here.parents[3])
    ]
    program = f"""
import sys
sys.path[:0] = {folders!r}
from pathlib import Path
import pytest, test_build_progress as ours
with pytest.MonkeyPatch.context() as patch:
    ours.built(print, Path({str(tmp_path)!r}), patch, {script!r})
"""
    with subprocess.Popen([sys.executable, "-P", "-c", program], stdout=subprocess.DEVNULL) as run:
        wait_for(tmp_path / "under-way")
        run.kill()
    wait_for(tmp_path / "tidied")
    told: list[str] = []
    built(told.append, tmp_path, monkeypatch, SCRIPT)
    kept = tmp_path / "cache/guest/userland"
    assert sorted(path.name for path in kept.iterdir()) == ["x", "x.lock"], (
        "nothing half made is left"
    )


def wait_for(path: Path) -> None:
    deadline = time.monotonic() + 60
    while not path.exists():
        assert time.monotonic() < deadline, path
        time.sleep(0.05)
