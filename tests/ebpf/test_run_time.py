"""BPF run times: diagnostic trials, planned apart, run last, kept out of the results."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from matrices import planned
from trials import WIRE, trial

from yogurtbench.agent.trial import run_trial
from yogurtbench.core.records import Attempt
from yogurtbench.ebpf import run_time
from yogurtbench.ebpf.run_time import RunTime
from yogurtbench.ebpf.wire import Programs
from yogurtbench.lab import Unsupported
from yogurtbench.plan.plan import NO_BLOCK

FDINFO = "pos:\t0\nflags:\t02000002\nprog_type:\t3\nrun_time_ns:\t4200\nrun_cnt:\t100\nrecursion_misses:\t0\n"
MATRIX = """
name: m
axes: {device: veth, hook: tcx_ingress, helper: [redirect, redirect_peer], payload: [64, 1400]}
baseline: {device: veth, topology: direct, hook: none, helper: none}
loads: %s
"""


def test_a_programs_fdinfo_says_how_long_it_ran() -> None:
    assert run_time.parse_run_time(FDINFO) == RunTime(4200, 100)
    assert (RunTime(4200, 100) - RunTime(200, 20)).mean == 50
    assert RunTime(0, 0).mean is None


def test_a_kernel_without_statistics_is_unsupported() -> None:
    with pytest.raises(Unsupported, match="run_time_ns"):
        run_time.parse_run_time("pos:\t0\nprog_type:\t3\n")


@pytest.mark.parametrize(
    ("loads", "diagnosed", "count"),
    [
        ("[reachability, ping, sockperf, iperf3_tcp]", "sockperf", 4),
        ("[ping, iperf3_udp]", "ping", 4),
        ("[iperf3_udp]", "iperf3_udp", 4),
        ("[reachability]", None, 0),
    ],
)
def test_each_wire_with_programs_is_diagnosed_once(
    tmp_path: Path, loads: str, diagnosed: str | None, count: int
) -> None:
    trials = planned(tmp_path, MATRIX % loads).diagnostics()
    assert len(trials) == count == len({one.cell.id for one in trials})
    for one in trials:
        assert (one.role, one.block, one.cell.load) == ("diagnostic", NO_BLOCK, diagnosed)
        assert one.cell.hook != "none"


def test_diagnostics_never_share_an_id_with_a_block(tmp_path: Path) -> None:
    plan = planned(tmp_path, MATRIX % "[ping]", blocks=2)
    blocks = {
        one.id for group in plan.groups for block in range(2) for one in plan.trials(group, block)
    }
    assert blocks.isdisjoint(one.id for one in plan.diagnostics())


def test_where_it_cannot_be_had_there_is_one_row_with_the_reason() -> None:
    attempt = Attempt.without_values(
        replace(trial("ping", **WIRE), role="diagnostic"), "unsupported", "no"
    )
    assert [(o.metric, o.status, o.error) for o in attempt.observations] == [
        ("bpf_run_ns", "unsupported", "no")
    ]


def diagnosed(refused: bool) -> dict[str, Any]:
    if refused:
        run_time._BPF_ENABLE_STATS = 10_000  # a command that no kernel knows
    attempt = run_trial(replace(trial("ping", **WIRE), role="diagnostic"), Programs())
    switch = Path("/proc/sys/kernel/bpf_stats_enabled").read_text().strip()
    values = {o.metric: o.value for o in attempt.observations}
    return {
        "status": attempt.status,
        "error": attempt.error,
        "values": values,
        "switch": switch,
        **attempt.details,
    }


@pytest.mark.root
def test_run_times_are_reported_by_program_and_nothing_else_is(
    in_room: Callable[..., dict[str, Any]],
) -> None:
    before = Path("/proc/sys/kernel/bpf_stats_enabled").read_text().strip()
    found = in_room(diagnosed, False)
    assert found["status"] == "ok", found["error"]
    assert found["values"].keys() == {"bpf_run_ns", "bpf_packets", "bpf_bytes"}
    assert {name: one["runs"] for name, one in found["run_times"].items()} == {
        "wire.forward": 5,
        "wire.return": 5,
    }
    assert 5 < found["values"]["bpf_run_ns"] < 100_000
    assert found["switch"] == before


@pytest.mark.root
def test_a_kernel_that_refuses_gives_an_unsupported_row(
    in_room: Callable[..., dict[str, Any]],
) -> None:
    found = in_room(diagnosed, True)
    assert found["status"] == "unsupported" and "BPF_ENABLE_STATS" in found["error"]
