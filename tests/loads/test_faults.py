"""Faults while a load runs, made by hand in a lab that is up: the right row, and the next is fine."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from typing import Any

import pytest
from trials import DIRECT, WIRE, trial

from yogurtbench.agent.trial import run_trial
from yogurtbench.ebpf.programs import Programs, program_sets

pytestmark = pytest.mark.root
InRoom = Callable[..., Any]
SECONDS = {"duration": 3.0, "timeout": 3.0}


def disturbed(fault: str, load: str, axes: dict[str, Any]) -> list[str]:
    """Status and error of a trial in which a fault happens, and the status of the next one."""
    programs = program_sets()["head"] if axes.get("hook") != "none" else Programs()
    when = "for try in $(seq 500); do pgrep -f -- '{}' >/dev/null && break; sleep 0.02; done"
    # In brackets, or the shell that looks would find itself.
    tool = "[p]ing -n" if load == "ping" else f"[{load[0]}]{load.partition('_')[0][1:]}"
    script = f"{when.format(tool)}; sleep 1; {fault}"
    options = {"count": 60, "interval": 0.05, "timeout": 8.0} if load == "ping" else SECONDS
    with subprocess.Popen(["sh", "-c", script]) as happening:
        made = run_trial(trial(load, options=options, **axes), programs)
        happening.wait(20)
    after = run_trial(trial("ping", **DIRECT), Programs())
    return [made.status, made.error, after.status]


@pytest.mark.parametrize(
    ("fault", "load", "words"),
    [
        ("pkill -KILL -f -- '[i]perf3 --client'", "iperf3_tcp", "iperf3 was ended by SIGKILL"),
        ("pkill -KILL -f -- '[i]perf3 --server'", "iperf3_tcp", ""),
        ("pkill -KILL -f -- '[s]ockperf ping-pong'", "sockperf", "sockperf was ended by SIGKILL"),
        ("pkill -KILL -f -- '[s]ockperf server'", "sockperf", ""),
        ("pkill -STOP -f -- '[s]ockperf ping-pong'", "sockperf", "did not end within"),
        ("pkill -KILL -x ping", "ping", "ping was ended by SIGKILL"),
        ("ip -n yogurt-1 link del yg1-cont", "sockperf", ""),
        ("ip -n yogurt-1 link del yg1-cont", "iperf3_tcp", ""),
        ("ip -n yogurt-2 link del yg2-cont", "ping", ""),
    ],
)
def test_a_fault_in_the_middle_of_a_load_is_a_failed_row(
    in_room: InRoom, fault: str, load: str, words: str
) -> None:
    status, error, after = in_room(disturbed, fault, load, DIRECT)
    assert (status, after) == ("failed", "ok"), error
    assert words in error and error.isprintable()
    assert "an error of ours" not in error


@pytest.mark.parametrize("device", ["yg1-host", "yg2-host"])
def test_a_wire_whose_device_is_removed_under_it_is_a_failed_row(
    in_room: InRoom, device: str
) -> None:
    status, error, after = in_room(disturbed, f"ip link del {device}", "sockperf", WIRE)
    assert (status, after) == ("failed", "ok"), error
    assert error.isprintable() and "an error of ours" not in error


def test_a_namespace_whose_name_is_removed_lives_until_the_trial_ends(in_room: InRoom) -> None:
    assert in_room(disturbed, "ip netns del yogurt-2", "sockperf", DIRECT) == ["ok", "", "ok"]
