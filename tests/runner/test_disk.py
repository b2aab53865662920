"""A run whose disk loses its power, fills up or fails, or that is stopped: a real file system.

The run writes to an ext4 on a loop device. The device's file holds what was written to the disk and
nothing that the kernel still had in memory: a copy of it is the disk after a cut of the power.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from private_mounts import DISK

pytestmark = pytest.mark.root

MATRIX = """
name: cut
lab: native
clock: wall
axes: {device: veth, hook: tcx_ingress, helper: [redirect, redirect_peer]}
baseline: {device: veth, topology: direct, hook: none, helper: none}
loads: [reachability, {kind: ping, count: 10, interval: 2ms}]
blocks: {min: 2, max: 2}
seed: 1
"""
#: Trials by block: two wires and their baseline with two loads, the canary with one.
PLANNED = {0: 7, 1: 7}
#: What a resume needs beside the trials.
NEEDED = ("plan.json", "matrix.yaml", "environment.json")
#: The kernel writes nothing by itself while the test lasts: only what was asked for is on the disk.
LAZY = "loop,commit=300,noauto_da_alloc"
#: Seconds for which a run is stopped; a minute is the same (tried by hand).
STOPPED = float(os.environ.get("YOGURTBENCH_STOPPED", "5"))
COMMAND = [sys.executable, "-P", "-m", "yogurtbench", "run", "m.yaml", "--out"]


@contextmanager
def disk(file: Path, place: Path) -> Iterator[Path]:
    """Yield the place where the file system in a file is mounted."""
    place.mkdir(exist_ok=True)
    subprocess.run(["mount", "-o", LAZY, file, place], check=True)
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", place], check=True)


@dataclass(frozen=True, slots=True)
class RunOnDisk:
    """A run under way: its command in a group of its own, and what it says."""

    folder: Path
    results: Path
    command: subprocess.Popen[bytes]

    @property
    def said(self) -> str:
        return (self.folder / "said").read_text()

    @property
    def told(self) -> list[str]:
        """The trials that it has told of."""
        return [line for line in self.said.splitlines() if line.startswith("block ")]

    @property
    def run(self) -> Path:
        (found,) = (self.results / "cut").glob("2*")
        return found

    def wait_for(self, trials: int) -> None:
        ends = time.monotonic() + 120
        while len(self.told) < trials:
            assert self.command.poll() is None and time.monotonic() < ends, self.said
            time.sleep(0.01)

    def signal(self, number: int) -> None:
        os.killpg(self.command.pid, number)


def start(folder: Path, results: Path) -> RunOnDisk:
    with (folder / "said").open("wb") as out:
        argv = [*COMMAND, results]
        command = subprocess.Popen(argv, cwd=folder, stdout=out, stderr=out, process_group=0)
    return RunOnDisk(folder, results, command)


def resume(folder: Path, results: Path, run: Path) -> None:
    """Go on with a run to its end, and look whether every block of it is whole."""
    before = len((run / "trials.jsonl").read_text().splitlines())
    argv = [*COMMAND, results, "--resume", run, "--quiet"]
    done = subprocess.run(argv, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    after = [json.loads(line) for line in (run / "trials.jsonl").read_text().splitlines()]
    live = [one["trial"]["block"] for one in after if not one.get("superseded")]
    blocks = Counter(block for block in live if block >= 0)
    assert len(after) > before
    assert blocks == PLANNED
    assert (run / "report.html").stat().st_size


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """The file of an empty disk, beside the matrix."""
    (tmp_path / "m.yaml").write_text(MATRIX)
    with (tmp_path / "disk.img").open("wb") as file:
        file.truncate(64 << 20)
    subprocess.run(["mkfs.ext4", "-q", tmp_path / "disk.img"], check=True)
    return tmp_path / "disk.img"


def test_what_was_reported_before_the_power_went_is_on_the_disk(
    tmp_path: Path, image: Path
) -> None:
    with disk(image, tmp_path / DISK) as results:
        cut = start(tmp_path, results)
        cut.wait_for(3)
        cut.signal(signal.SIGSTOP)
        shutil.copyfile(image, tmp_path / "after.img")
        cut.signal(signal.SIGKILL)
        cut.command.wait()
    with disk(tmp_path / "after.img", tmp_path / DISK) as results:
        assert all((cut.run / name).stat().st_size for name in NEEDED)
        lines = (cut.run / "trials.jsonl").read_text().splitlines()
        assert len(lines) >= len(cut.told) >= 3
        resume(tmp_path, results, cut.run)


@contextmanager
def no_room_on(place: Path) -> Iterator[None]:
    """Fill a disk to its last block."""
    filler = place / "filler"
    with filler.open("wb") as file, suppress(OSError):
        while True:
            os.write(file.fileno(), bytes(4096))
    yield
    filler.unlink()
    subprocess.run(["sync", "-f", place], check=True)


@contextmanager
def failing(place: Path) -> Iterator[None]:
    """Let the file system give up, as it does after an error of the disk's (ext4(5), abort)."""
    subprocess.run(["mount", "-o", "remount,abort", place], check=True)
    yield


@pytest.mark.parametrize(
    ("fault", "why"),
    [(no_room_on, "No space left on device"), (failing, "Read-only file system")],
)
def test_a_disk_that_fails_in_the_middle_is_one_sentence_and_the_way_on(
    tmp_path: Path, image: Path, fault: Callable[[Path], Any], why: str
) -> None:
    with disk(image, tmp_path / DISK) as results:
        broken = start(tmp_path, results)
        broken.wait_for(5)
        with fault(results):
            assert broken.command.wait(120) == 3, broken.said
            run = broken.run
            kept = (run / "trials.jsonl").read_text().splitlines()
    assert "Traceback" not in broken.said and "an error of ours" not in broken.said
    assert why in broken.said and str(run) in broken.said and "--resume" in broken.said
    assert len(kept) >= len(broken.told) - 1
    # A copy: a sandbox that another test begins meanwhile may hold the first one's mount.
    shutil.copy(image, tmp_path / "after.img")
    with disk(tmp_path / "after.img", tmp_path / DISK) as results:
        resume(tmp_path, results, run)


def test_a_run_that_is_stopped_for_a_while_goes_on(tmp_path: Path, image: Path) -> None:
    with disk(image, tmp_path / DISK) as results:
        stopped = start(tmp_path, results)
        stopped.wait_for(3)
        stopped.signal(signal.SIGSTOP)
        time.sleep(STOPPED)
        stopped.signal(signal.SIGCONT)
        code = stopped.command.wait(120)
        lines = [json.loads(one) for one in (stopped.run / "trials.jsonl").open()]
        assert (stopped.run / "report.html").stat().st_size
    bad = [one["error"] for one in lines if one["status"] != "ok"]
    assert len(bad) <= 1 and code == (3 if bad else 0), (code, bad, stopped.said)
