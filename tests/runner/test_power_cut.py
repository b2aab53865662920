"""A cut of the power in the middle of a run, on a real file system: what was told is on the disk.

The run writes to an ext4 on a loop device. The device's file holds what was written to the disk and
nothing that the kernel still had in memory: a copy of it is the disk after the cut.
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
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

MATRIX = """
name: cut
lab: native
clock: wall
axes: {device: veth, hook: tcx_ingress, helper: [redirect, redirect_peer]}
baseline: {device: veth, topology: direct, hook: none, helper: none}
loads: [reachability, {kind: ping, count: 10, interval: 2ms}]
blocks: {min: 3, max: 3}
seed: 1
"""
#: What a resume needs beside the trials.
NEEDED = ("plan.json", "matrix.yaml", "environment.json")
#: The kernel writes nothing by itself while the test lasts: only what was asked for is on the disk.
LAZY = "loop,commit=300,noauto_da_alloc"
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


def run_until_cut(folder: Path, results: Path, image: Path, trials: int) -> list[str]:
    """Start the run and cut the power after so many trials; return what it had said by then."""
    said = folder / "said"
    with said.open("wb") as out:
        command = subprocess.Popen(
            [*COMMAND, results], cwd=folder, stdout=out, stderr=out, process_group=0
        )
    ends = time.monotonic() + 120
    while said.read_text().count("\nblock ") < trials:
        assert command.poll() is None and time.monotonic() < ends, said.read_text()
        time.sleep(0.01)
    os.killpg(command.pid, signal.SIGSTOP)
    shutil.copyfile(image, folder / "after.img")
    os.killpg(command.pid, signal.SIGKILL)
    command.wait()
    return [line for line in said.read_text().splitlines() if line.startswith("block ")]


@pytest.mark.root
@pytest.mark.parametrize("trials", [1, 7])
def test_what_was_told_before_the_power_went_is_on_the_disk(tmp_path: Path, trials: int) -> None:
    (tmp_path / "m.yaml").write_text(MATRIX)
    image = tmp_path / "disk.img"
    with image.open("wb") as file:
        file.truncate(64 << 20)
    subprocess.run(["mkfs.ext4", "-q", image], check=True)
    with disk(image, tmp_path / "mnt") as results:
        told = run_until_cut(tmp_path, results, image, trials)
    with disk(tmp_path / "after.img", tmp_path / "mnt") as results:
        (run,) = (results / "cut").glob("2*")
        assert all((run / name).stat().st_size for name in NEEDED)
        lines = (run / "trials.jsonl").read_text().splitlines()
        assert len(lines) >= len(told) >= trials
        done = subprocess.run(
            [*COMMAND, results, "--resume", run, "--quiet"],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        after = [json.loads(line) for line in (run / "trials.jsonl").read_text().splitlines()]
        blocks = Counter(
            one["trial"]["block"]
            for one in after
            if not one.get("superseded") and one["trial"]["block"] >= 0
        )
        assert len(after) > len(lines) and set(blocks) == {0, 1, 2} and blocks[1] == blocks[2]
        assert (run / "report.html").stat().st_size
