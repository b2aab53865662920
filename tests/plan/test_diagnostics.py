"""What counting costs: programs without counters, run once a wire, last, on the instruction clock
only.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from matrices import planned
from trials import WIRE, trial

from yogurtbench.agent.trial import run_trial
from yogurtbench.core.builds import BLIND, NOW
from yogurtbench.ebpf.programs import program_sets
from yogurtbench.plan.plan import NO_BLOCK, Plan

MATRIX = """
name: m
axes: {device: veth, hook: tcx_ingress, helper: [redirect, redirect_peer], program: %s, payload: [1400, 64]}
baseline: {device: veth, topology: direct, hook: none, helper: none}
loads: %s
blocks: {min: 2, max: 2}
"""


def plan_of(
    folder: Path, loads: str, clock: str = "instructions", program: str = "builtin"
) -> Plan:
    (folder / "mine.c").write_text("int wire(struct __sk_buff *skb) { return 0; }\n")
    return planned(folder, MATRIX % (program, loads), clock=clock)


def blind_of(plan: Plan) -> list[Any]:
    return [one for one in plan.diagnostics() if one.role == "blind"]


def test_each_built_in_wire_runs_blind_once_whatever_its_blocks_and_payloads(
    tmp_path: Path,
) -> None:
    plan = plan_of(tmp_path, "[reachability, sockperf, iperf3_udp]")
    found = blind_of(plan)
    assert [one.cell.helper for one in found] == ["redirect", "redirect_peer"]
    assert {(one.cell.load, one.cell.payload, one.block, one.clock) for one in found} == {
        ("sockperf", 64, NO_BLOCK, "instructions")
    }
    in_blocks = {
        one.id for group in plan.groups for block in range(2) for one in plan.trials(group, block)
    }
    ids = [one.id for one in plan.diagnostics()]
    assert in_blocks.isdisjoint(ids) and len(set(ids)) == len(ids)


@pytest.mark.parametrize(
    ("loads", "clock", "program"),
    [
        ("[sockperf]", "wall", "builtin"),
        ("[reachability, iperf3_udp]", "instructions", "builtin"),
        ("[sockperf]", "instructions", "./mine.c"),
    ],
    ids=["wall clock", "no sockperf", "one's own"],
)
def test_where_nothing_can_be_reported_nothing_runs_blind(
    tmp_path: Path, loads: str, clock: str, program: str
) -> None:
    assert not blind_of(plan_of(tmp_path, loads, clock, program))


def test_who_wants_no_asides_gets_none(tmp_path: Path) -> None:
    assert not replace(plan_of(tmp_path, "[sockperf]"), asides=False).diagnostics()


def blinded(word: str) -> dict[str, Any]:
    attempt = run_trial(replace(trial("ping", **WIRE), role="blind"), program_sets()[word])
    return {"metrics": [o.metric for o in attempt.observations], **attempt.to_json()}


@pytest.mark.root
def test_blind_programs_carry_packets_and_no_path_is_asserted(in_room: Callable[..., Any]) -> None:
    found = in_room(blinded, BLIND)
    assert found["status"] == "ok", found["error"]
    assert found["details"]["counters"] == {}
    assert "rtt_p50" in found["metrics"] and "bpf_packets" not in found["metrics"]


def refused(word: str) -> str:
    return run_trial(trial("ping", **WIRE), program_sets()[word]).error


@pytest.mark.root
def test_blind_programs_count_nothing_and_any_other_trial_fails_with_them(
    in_room: Callable[..., Any],
) -> None:
    assert in_room(refused, NOW) == ""
    assert "path assertion: wire.forward counted 0 packets" in in_room(refused, BLIND)
