"""The instruction clock, in real guests: equal on every boot, side by side too, and one more map increment is seen."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pandas as pd
import psutil
import pytest

from yogurtbench import __main__ as command
from yogurtbench import selftest, store
from yogurtbench.records import metrics_of

pytestmark = pytest.mark.vm

MATRIX = """
name: clock
clock: instructions
axes: {device: netkit, hook: netkit_peer, helper: redirect, program: [./one.c, ./two.c]}
loads: [{kind: sockperf, duration: 1s}, {kind: iperf3_tcp, bytes: 16M}, {kind: iperf3_udp, bytes: 16M}]
"""
#: Two boots of this tell as much as two of the whole (which tests/test_selftest.py looks at).
SMALL = """
name: clock
clock: instructions
include: [{device: veth, topology: direct, hook: none, helper: none}]
loads: [reachability, {kind: iperf3_tcp, bytes: 16M}]
"""
ONE = """#include "yogurt.h"
int wire(struct __sk_buff *skb)
{
	YB_COUNT(0, skb);
	return bpf_redirect(YB_TARGET, 0);
}
"""
TWO = ONE.replace("\tYB_COUNT(0, skb);\n", "\tYB_COUNT(0, skb);\n\tYB_COUNT(1, skb);\n")


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The same plan twice, each with a boot of its own: two guests side by side, then one after another."""
    where = tmp_path_factory.mktemp("clock")
    for name, text in (("clock.yaml", MATRIX), ("one.c", ONE), ("two.c", TWO)):
        (where / name).write_text(text)
    for out, jobs in (("first", "2"), ("second", "1")):
        argv = [sys.executable, "-P", "-m", "yogurtbench", "run", "clock.yaml", "--quiet", "--out", out, "--jobs", jobs]
        done = subprocess.run(argv, cwd=where, capture_output=True, text=True, timeout=420, check=False)
        assert done.returncode == 0, done.stderr
    return [next((where / out / "clock").iterdir()) for out in ("first", "second")]


def frame(run: Path) -> pd.DataFrame:
    return store.load(run)[1]


def value(rows: pd.DataFrame, program: str, load: str, metric: str) -> float:
    chosen = rows[(rows["metric"] == metric) & (rows["program"] == program) & (rows["load"] == load)]
    (found,) = chosen["value"]
    return float(found)


def test_the_same_plan_has_the_same_digest_on_every_boot(runs: list[Path]) -> None:
    first, second = (store.digest(frame(run)) for run in runs)
    assert first == second


@pytest.mark.parametrize(("load", "metric"), [("sockperf", "rtt_p50"), ("iperf3_udp", "instructions_per_packet")])
def test_one_more_increment_costs_more(runs: list[Path], load: str, metric: str) -> None:
    rows = frame(runs[0])
    more = value(rows, "./two.c", load, metric) - value(rows, "./one.c", load, metric)
    assert 0 < more < 100


def test_no_datagram_is_lost_and_none_of_the_metrics_is_missing(runs: list[Path]) -> None:
    rows = frame(runs[0])
    assert set(rows["status"]) == {"ok"}
    assert value(rows, "./one.c", "iperf3_udp", "loss") == 0
    assert value(rows, "./one.c", "iperf3_tcp", "instructions_per_byte") > 0
    for load in ("iperf3_tcp", "iperf3_udp"):
        assert set(metrics_of(load, "instructions")) <= set(rows[rows["load"] == load]["metric"])


def test_instructions_are_never_called_time(runs: list[Path]) -> None:
    rows = frame(runs[0])
    assert not set(rows["unit"]) & {"ns", "s", "bit/s"}
    assert set(rows["clock"]) == {"instructions"}


def test_a_comparison_of_two_boots_finds_nothing(runs: list[Path]) -> None:
    argv = [sys.executable, "-P", "-m", "yogurtbench", "compare", *map(str, runs)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "identical" in done.stdout


def test_doctor_tries_the_clock_in_two_boots_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "clock.yaml").write_text(SMALL)
    monkeypatch.setattr(selftest, "MATRIX", tmp_path / "clock.yaml")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    code = command.run(["doctor", "--clock", "--jobs", "2", "--json"])
    told = json.loads(capfd.readouterr().out)
    assert (code, told["passed"], told["differences"], told["bad"]) == (0, True, [], [])
    first, second = told["digests"]
    assert first == second
    assert [path.name for path in tmp_path.iterdir()] == ["clock.yaml"]
    assert not [child for child in psutil.Process().children(recursive=True) if child.name().startswith("qemu")]


def test_an_interrupt_with_guests_side_by_side_keeps_what_ended_and_leaves_no_guest(tmp_path: Path) -> None:
    (tmp_path / "clock.yaml").write_text(SMALL)
    argv = [sys.executable, "-P", "-m", "yogurtbench", "run", "clock.yaml", "--jobs", "2", "--blocks", "9"]
    with subprocess.Popen(argv, cwd=tmp_path, stderr=subprocess.PIPE, text=True) as running:
        assert running.stderr
        for line in running.stderr:
            if line.startswith("block"):
                break
        guests = psutil.Process(running.pid).children(recursive=True)
        assert len([one for one in guests if one.name().startswith("qemu")]) in (1, 2)
        running.send_signal(signal.SIGINT)
        said = running.stderr.read()
    assert running.returncode == 130, said
    (run,) = (tmp_path / "results" / "clock").iterdir()
    assert f"--resume {run.relative_to(tmp_path)}" in said
    assert 1 <= len(list(store.read_attempts(run))) < 9
    assert (run / "report.md").is_file()
    assert not any(psutil.pid_exists(one.pid) for one in guests)
