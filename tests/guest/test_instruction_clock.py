"""The instruction clock, in real guests: equal on every boot, side by side too, and one helper call
more is seen.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pandas as pd
import psutil
import pytest
from neighbours import neighbours
from own_program import DEARER, NOW
from trials import DIRECT, trial

from yogurtbench import __main__ as command
from yogurtbench.core.builds import ProgramBuilds
from yogurtbench.core.metrics import metrics_of
from yogurtbench.hosts.vm import snapshot
from yogurtbench.hosts.vm.host import SnapshotHost
from yogurtbench.matrix.planner import load, make_plan
from yogurtbench.plan.plan import Plan
from yogurtbench.results import run_folder
from yogurtbench.results.frame import frame_digest
from yogurtbench.runner import clock_check
from yogurtbench.runner.progress import NoProgress
from yogurtbench.runner.sweep import Sweep

pytestmark = pytest.mark.vm

#: Of the wires that test_guest_ab.py compiles too: their saved guest serves both.
MATRIX = """
name: clock
clock: instructions
axes: {device: netkit, hook: netkit_peer, helper: redirect, program: [./mine.c, ./dearer/mine.c]}
loads: [{kind: sockperf, duration: 1s}, {kind: iperf3_udp, duration: 1s}]
exclude: [{program: ./dearer/mine.c, load: iperf3_udp}]
"""
#: Two boots of this tell as much as two of the whole (which tests/runner/test_clock_check.py looks
#: at).
SMALL = """
name: clock
clock: instructions
include:
  - {device: veth, topology: direct, hook: none, helper: none}
  - {device: netkit, hook: tcx_ingress, helper: redirect_peer}
loads: [reachability, {kind: sockperf, duration: 1s}, netperf_tcp_rr]
"""


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> Plan:
    where = tmp_path_factory.mktemp("clock")
    (where / "dearer").mkdir()
    for name, text in (("clock.yaml", MATRIX), ("mine.c", NOW), ("dearer/mine.c", DEARER)):
        (where / name).write_text(text)
    return replace(make_plan(load(where / "clock.yaml")), asides=False)


@pytest.fixture(scope="module")
def host(plan: Plan) -> Iterator[SnapshotHost]:
    """A saved guest, two of which may be awake side by side."""
    with SnapshotHost("host", print, plan.texts, jobs=2) as started:
        yield started


@pytest.fixture(scope="module")
def runs(plan: Plan, host: SnapshotHost, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The same plan twice: side by side; then one trial after the other, beside busy neighbours.

    Two boots are what doctor holds together, see below.
    """
    first = swept(plan, host, tmp_path_factory.mktemp("run"))
    with neighbours(), SnapshotHost("host", print, plan.texts) as other:
        return [first, swept(plan, other, tmp_path_factory.mktemp("run"))]


def swept(plan: Plan, host: SnapshotHost, out: Path) -> Path:
    with run_folder.StoredRun.create(out, plan.name, plan.source, plan, host.environment) as run:
        assert Sweep(plan, host, run, NoProgress()).run().bad == 0
    return run.path


def guests() -> set[psutil.Process]:
    """The guests of this process; other modules' may stay up beside ours."""
    return {one for one in psutil.Process().children(recursive=True) if "qemu" in one.name()}


def frame(run: Path) -> pd.DataFrame:
    return run_folder.load(run)[1]


def value(rows: pd.DataFrame, program: str, load: str, metric: str) -> float:
    chosen = rows[
        (rows["metric"] == metric) & (rows["program"] == program) & (rows["load"] == load)
    ]
    (found,) = chosen["value"]
    return float(found)


def test_the_same_plan_has_the_same_digest_whatever_runs_beside_it(runs: list[Path]) -> None:
    first, second = (frame_digest(frame(run)) for run in runs)
    assert first == second


def test_one_helper_call_more_costs_more(runs: list[Path]) -> None:
    """Of the median round trip.

    What a datagram of a bulk transfer costs repeats as exactly, and moves either way.
    """
    rows = frame(runs[0])
    more = value(rows, "./dearer/mine.c", "sockperf", "rtt_p50") - value(
        rows, "./mine.c", "sockperf", "rtt_p50"
    )
    assert 0 < more < 200


def test_no_datagram_is_lost_and_none_of_the_metrics_is_missing(runs: list[Path]) -> None:
    rows = frame(runs[0])
    assert set(rows["status"]) == {"ok"}
    assert value(rows, "./mine.c", "iperf3_udp", "loss") == 0
    for traffic in ("sockperf", "iperf3_udp"):
        assert set(metrics_of(traffic, "instructions")) <= set(
            rows[rows["load"] == traffic]["metric"]
        )


def test_instructions_are_never_called_time(runs: list[Path]) -> None:
    rows = frame(runs[0])
    assert not set(rows["unit"]) & {"ns", "s", "bit/s"}
    assert set(rows["clock"]) == {"instructions"}


def test_a_comparison_of_both_runs_finds_nothing(runs: list[Path]) -> None:
    argv = [sys.executable, "-P", "-m", "yogurtbench", "compare", *map(str, runs)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "identical" in done.stdout


def test_doctor_tries_the_clock_in_two_boots_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    before = guests()
    (tmp_path / "clock.yaml").write_text(SMALL)
    monkeypatch.setattr(clock_check, "MATRIX", tmp_path / "clock.yaml")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    code = command.run(["doctor", "--clock", "--jobs", "2", "--json"])
    told = json.loads(capfd.readouterr().out)
    assert (code, told["passed"], told["differences"], told["bad"]) == (0, True, [], [])
    first, second = told["digests"]
    assert first == second
    assert [path.name for path in tmp_path.iterdir()] == ["clock.yaml"]
    assert guests() <= before


def test_nothing_but_the_guest_wakes_qemus_main_loop(host: SnapshotHost) -> None:
    """A woken guest that announces itself (five timers of the machine's own time) was off by some
    instructions in 1 trial of some hundreds; with 1,000 such timers in 19 of 59.
    """
    with snapshot.resume(host._saved, snapshot._compile_request(ProgramBuilds())) as guest:
        assert guest.monitor.execute("query-migrate-parameters")["announce-rounds"] == 0


def test_giving_up_the_attempts_ends_every_guest_under_way(host: SnapshotHost) -> None:
    """What an interrupt does, in the middle of a sweep.

    The first ends while we are busy waking the second.
    """
    before = guests()
    asked = (
        replace(trial(load, **DIRECT), clock="instructions", deadline=60.0)
        for load in ("ping", "sockperf")
    )
    with closing(host.attempts(lambda: next(asked, None))) as attempts:
        first = next(attempts)
        assert first.status == "ok", first.error
        assert len(guests() - before) == 1
    assert guests() <= before
