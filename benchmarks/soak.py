"""Does a long run grow? One native run of short trials, watched (nox -s soak).

Prints what the command and its agent hold in memory, descriptors and threads, what the kernel
holds, and how long a trial takes, twelve times at equal distances. Exits 1 where something grew
from the second look on (the first is of a process that still fills its caches), or where the run
left something behind.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
from machine_state import (
    adopt_orphans,
    differences,
    machine_state,
    private_temporary_folder,
    program_ids,
)
from rich.console import Console
from rich.table import Table

MATRIX = """
name: soak
lab: native
clock: wall
axes: {device: veth, hook: tcx_ingress, helper: redirect}
baseline: {device: veth, hook: tcx_ingress, helper: redirect_peer}
loads:
  - {kind: reachability}
  - {kind: ping, count: 20, interval: 2ms}
blocks: {min: BLOCKS, max: BLOCKS}
"""
#: More than are run in any time that somebody waits for.
BLOCKS = 10_000
LOOKS = 12
#: What may be more at the end than at the second look. Memory: what Python's allocator and the C
#: library keep back; kernel memory and time: what else this machine does.
MARGINS = {
    "command MiB": (1.05, 4.0),
    "agent MiB": (1.02, 2.0),
    "descriptors": (1.0, 8.0),
    "threads": (1.0, 1.0),
    "BPF programs": (1.0, 8.0),
    "namespaces": (1.0, 4.0),
    "kernel MiB": (1.25, 64.0),
    "ms a trial": (1.5, 10.0),
}


@dataclass(frozen=True, slots=True)
class Look:
    """What was seen at one time."""

    minutes: float
    trials: int
    seen: dict[str, float]


def look(command: psutil.Process, log: Path, began: float, before: Look | None) -> Look:
    """Return what a run holds now; ``ms a trial`` is the mean since the look before."""
    agents = [child for child in command.children(recursive=True) if _is_agent(child)]
    trials = log.read_bytes().count(b"\n") if log.exists() else 0
    minutes = (time.monotonic() - began) / 60
    since = (minutes - before.minutes, trials - before.trials) if before else (minutes, trials)
    seen = {
        "command MiB": _resident(command),
        "agent MiB": sum(map(_resident, agents)),
        "descriptors": sum(process.num_fds() for process in [command, *agents]),
        "threads": sum(process.num_threads() for process in [command, *agents]),
        "BPF programs": len(program_ids()),
        "namespaces": _namespaces(),
        "kernel MiB": _kernel_memory(),
        "ms a trial": 60_000 * since[0] / max(1, since[1]),
    }
    return Look(minutes, trials, seen)


def _is_agent(process: psutil.Process) -> bool:
    try:
        line = process.cmdline()
    except psutil.Error:
        return False
    return "yogurtbench.agent" in " ".join(line) and "unshare" not in line[0]


def _resident(process: psutil.Process) -> float:
    return float(process.memory_info().rss) / 2**20


def _namespaces() -> int:
    """Return how many network namespaces have a device or a socket (/proc/slabinfo, net_namespace).

    Where that cannot be read, those that a process is in.
    """
    try:
        lines = Path("/proc/slabinfo").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("net_namespace"))
    except (OSError, StopIteration):
        found = set()
        for process in Path("/proc").glob("[0-9]*/ns/net"):
            try:
                found.add(os.readlink(process))
            except OSError:
                continue
        return len(found)


def _kernel_memory() -> float:
    """Return MiB that the kernel cannot give back (SUnreclaim and VmallocUsed, proc(5))."""
    lines = (line.split() for line in Path("/proc/meminfo").read_text().splitlines())
    return sum(int(line[1]) for line in lines if line[0] in ("SUnreclaim:", "VmallocUsed:")) / 1024


def watch(folder: Path, minutes: float) -> Iterator[Look]:
    """Run the matrix for so many minutes, and yield what is seen on the way."""
    (folder / "soak.yaml").write_text(MATRIX.replace("BLOCKS", str(BLOCKS)))
    budget = f"{60 * minutes:.0f}s"
    argv = [sys.executable, "-P", "-m", "yogurtbench", "run", "soak.yaml", "--quiet"]
    with (folder / "said").open("wb") as said:
        run = subprocess.Popen([*argv, "--budget", budget], cwd=folder, stdout=said, stderr=said)
    command, began, last = psutil.Process(run.pid), time.monotonic(), None
    for number in range(1, LOOKS + 1):
        # the last one while trials still run
        due = began + 60 * minutes * number / (LOOKS + 0.2)
        while time.monotonic() < due and run.poll() is None:
            time.sleep(0.2)
        if run.poll() is not None:
            sys.exit(f"the run ended early, with {run.returncode}: {(folder / 'said').read_text()}")
        log = next(iter(folder.glob("results/soak/*/trials.jsonl")), folder / "none")
        last = look(command, log, began, last)
        yield last
    if run.wait():
        sys.exit(f"the run failed, with {run.returncode}: {(folder / 'said').read_text()}")


def grown(looks: list[Look]) -> list[str]:
    """Return a sentence for each quantity that is more at the end than its margin allows."""
    first, last = looks[1].seen, looks[-1].seen
    return [
        f"{name} grew from {first[name]:.0f} to {last[name]:.0f}"
        for name, (ratio, more) in MARGINS.items()
        if last[name] > max(first[name] * ratio, first[name] + more)
    ]


def main() -> None:
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--minutes", type=float, default=120)
    minutes = options.parse_args().minutes
    adopt_orphans()
    table = Table("minutes", "trials", *MARGINS)
    with private_temporary_folder():
        before = machine_state()
        looks = []
        with tempfile.TemporaryDirectory() as name:
            for one in watch(Path(name), minutes):
                looks.append(one)
                figures = [f"{value:.0f}" for value in one.seen.values()]
                table.add_row(f"{one.minutes:.1f}", str(one.trials), *figures)
                print(f"{one.minutes:6.1f} min {one.trials:7} trials", *figures, flush=True)
        wrong = [*grown(looks), *differences(before)]
    Console(width=130).print(table)
    print("\n".join(wrong) or "nothing grew, nothing was left behind")
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
