"""Our own speed, printed as ratios (nox -s bench): never asserted, because the machine is shared.

- guest: boot to the agent's readiness over the bare kernel's boot to user space, both under the
  same accelerator
- the instruction clock: the same boot there; the first run of experiments/quickstart.yaml, its
  guest's boot included, over the bare boot; one sockperf cell over a bare restore, a saved guest
  that wakes and answers an empty order
- native: wall time of a sweep over the sum of its load seconds
- help: ``yogurtbench --help`` over a Typer hello-world's
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from yogurtbench.core.builds import COMMON
from yogurtbench.hosts.vm import accelerator, cache, image, snapshot
from yogurtbench.hosts.vm.guest import boot_guest
from yogurtbench.hosts.vm.image import recipe
from yogurtbench.hosts.vm.overlay import build_overlay
from yogurtbench.matrix.planner import load, make_plan

HELLO = (
    "import typer\napp = typer.Typer()\n@app.command()\ndef hello(name: str = 'world'):\n "
    "   print(name)\napp()\n"
)
SWEEP = """
name: bench
lab: native
axes: {device: veth, hook: tcx_ingress, helper: [redirect, redirect_peer]}
baseline: {device: veth, topology: direct, hook: none, helper: none}
loads: [{kind: iperf3_tcp, duration: 1s}]
blocks: {min: 5, max: 5}
"""
CELL = """
name: cell
clock: instructions
include: [{device: netkit, hook: netkit_peer, helper: redirect}]
loads: [{kind: sockperf, duration: 1s}]
"""
ROUNDS = 5


def seconds(argv: list[str], **options: object) -> float:
    began = time.monotonic()
    subprocess.run(argv, check=True, capture_output=True, **options)  # type: ignore[call-overload]
    return time.monotonic() - began


def paired(one: list[str], other: list[str], rounds: int = 9) -> float:
    """Median of the ratios of two commands run in turn."""
    return statistics.median(seconds(one) / seconds(other) for _ in range(rounds))


def help_ratio() -> float:
    with tempfile.TemporaryDirectory() as folder:
        hello = Path(folder, "hello.py")
        hello.write_text(HELLO)
        ours = [sys.executable, "-P", "-m", "yogurtbench", "--help"]
        return paired(ours, [sys.executable, str(hello), "--help"])


def native_ratio() -> float:
    """Sweep seconds over load seconds, of the sweep's own records."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "bench.yaml").write_text(SWEEP)
        seconds(
            [sys.executable, "-P", "-m", "yogurtbench", "run", "bench.yaml", "--quiet"], cwd=folder
        )
        (trials,) = Path(folder).glob("results/bench/*/trials.jsonl")
        attempts = [json.loads(line) for line in trials.read_text().splitlines()]
    everything = sum(sum(attempt["seconds"].values()) for attempt in attempts)
    return everything / sum(attempt["seconds"]["load"] for attempt in attempts)


def guest_ratio(rounds: int = 3) -> float:
    guest = image.ensure(say=print)
    probe = accelerator.probe_accelerator(guest, say=print)
    print(f"accelerator: {probe.accelerator} ({probe.reason})")
    return statistics.median(
        booted(guest, probe.accelerator) / bare(guest, probe.accelerator) for _ in range(rounds)
    )


def booted(guest: image.GuestImage, how: str) -> float:
    overlay = build_overlay(guest)
    began = time.monotonic()
    with boot_guest(guest, how, overlay=overlay):
        return time.monotonic() - began


def exact_seconds(guest: image.GuestImage) -> dict[str, float]:
    """What the instruction clock takes, in seconds: boot, boot until saved, restore, and one
    sockperf cell.
    """
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "cell.yaml").write_text(CELL)
        plan = replace(make_plan(load(Path(folder, "cell.yaml"))), asides=False)
    overlay = build_overlay(guest)
    found: dict[str, list[float]] = {"restore": [], "cell": []}
    order = {"op": "compile", "texts": COMMON.to_json()}
    began = time.monotonic()
    with boot_guest(guest, "tcg", overlay=overlay, order=order):
        found["boot"] = [time.monotonic() - began]
    (trial,) = plan.trials(plan.groups[0], 0)
    with snapshot.ensure_snapshot(guest, overlay, plan.texts, print) as state:
        for _ in range(ROUNDS):
            found["restore"].append(answered(state, {"op": "control"}, "control"))
            found["cell"].append(
                answered(state, {"op": "trial", "trial": trial.to_json()}, "attempt")
            )
    return {name: statistics.median(values) for name, values in found.items()}


def answered(state: snapshot.Snapshot, order: dict[str, object], event: str) -> float:
    """Seconds from starting QEMU with a saved state until it is gone again, its order answered."""
    began = time.monotonic()
    with snapshot.resume(state, order) as guest:
        while guest.channel.receive(120.0)["event"] != event:
            pass
    return time.monotonic() - began


def quickstart_seconds() -> float:
    """Seconds of the first run of the quickstart on the instruction clock, its guest not yet
    saved.
    """
    with tempfile.TemporaryDirectory() as folder:
        matrix = Path(__file__).parent.parent / "experiments/quickstart.yaml"
        shutil.rmtree(cache.cache_path("saved", ""), ignore_errors=True)
        ours = [
            sys.executable,
            "-P",
            "-m",
            "yogurtbench",
            "run",
            str(matrix),
            "--clock",
            "instructions",
            "--quiet",
        ]
        return seconds([*ours, "--jobs", str(min(2, os.cpu_count() or 1))], cwd=folder)


def bare(guest: image.GuestImage, how: str) -> float:
    """Seconds until a busybox initramfs says that user space is reached."""
    argv = accelerator.command(guest)
    argv[argv.index("-accel") + 1] = how
    argv[argv.index("-cpu") + 1] = "host" if how == "kvm" else "max,la57=off"
    began = time.monotonic()
    process = subprocess.Popen(
        argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL, text=True
    )
    assert process.stdout
    try:
        for line in process.stdout:
            if recipe.MARKER in line:
                return time.monotonic() - began
    finally:
        process.kill()
        process.wait()
    raise SystemExit("the bare kernel never reached user space")


def main() -> None:
    print(f"yogurtbench --help over a Typer hello-world: {help_ratio():.2f}")
    print(f"native seconds over load seconds: {native_ratio():.3f}")
    print(f"guest boot to ready over bare boot to user space: {guest_ratio():.2f}")
    guest = image.ensure(say=print)
    bare_boot = statistics.median(bare(guest, "tcg") for _ in range(3))
    exact = exact_seconds(guest)
    print(
        f"on the instruction clock, emulated: bare boot {bare_boot:.2f} s, bare restore "
        f"{exact['restore']:.2f} s"
    )
    print(f"  guest boot to ready over bare boot: {exact['boot'] / bare_boot:.2f}")
    print(f"  a sockperf cell over a bare restore: {exact['cell'] / exact['restore']:.2f}")
    print(f"  the first quickstart over bare boot: {quickstart_seconds() / bare_boot:.1f}")


if __name__ == "__main__":
    main()
