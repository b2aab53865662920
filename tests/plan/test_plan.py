import dataclasses
import json
import subprocess
import sys
import textwrap
from collections import Counter
from pathlib import Path

import pytest
from matrices import planned

from yogurtbench.core.records import Trial
from yogurtbench.matrix import defaults
from yogurtbench.matrix.planner import load, make_plan
from yogurtbench.plan.describe import defaulted_axes, describe_plan, plan_facts
from yogurtbench.plan.estimate import (
    blocks_needed,
    estimate_seconds,
    max_decidable_cells,
    possible_labs,
    warnings,
)
from yogurtbench.plan.plan import Blocks, Plan, load_seconds

EXPERIMENTS = Path(__file__).parents[2] / "experiments"
FEW = """\
name: t
question: why?
axes: {hook: [netkit_peer, tcx_ingress], helper: [redirect, redirect_peer], payload: [64, 1400]}
baseline: {device: veth, topology: direct}
loads: [sockperf, reachability]
"""
MANY = """\
name: t
axes: {mode: [l3, l2], hook: [netkit_peer, tcx_ingress, tc_ingress], helper: [redirect, redirect_peer]}
baseline: {device: veth, topology: direct}
loads: [sockperf]
"""


def order(plan: Plan, group: str, block: int) -> list[tuple[str, str]]:
    return [(trial.cell.id, trial.role) for trial in plan.trials(group, block)]


def test_reachability_groups_come_first(tmp_path: Path) -> None:
    plan = planned(tmp_path, FEW)
    assert [plan.members(group)[0].cell.load for group in plan.groups] == [
        "reachability",
        "sockperf",
        "sockperf",
    ]


def test_a_block_runs_everything_once(tmp_path: Path) -> None:
    plan = planned(tmp_path, FEW)
    for group in plan.groups:
        trials = plan.trials(group, 0)
        assert Counter((one.cell.id, one.role) for one in plan.members(group)) == Counter(
            order(plan, group, 0)
        )
        assert [trial.position for trial in trials] == list(range(len(trials)))


def test_the_order_is_random_and_the_seeds(tmp_path: Path) -> None:
    plan = planned(tmp_path, FEW)
    group = plan.groups[1]
    orders = {tuple(order(plan, group, block)) for block in range(20)}
    assert len(orders) > 10
    assert order(plan, group, 3) == order(planned(tmp_path, FEW), group, 3)
    other = planned(tmp_path, FEW + "seed: 2\n")
    assert any(order(plan, group, block) != order(other, group, block) for block in range(5))


def test_the_order_is_the_same_in_another_process(tmp_path: Path) -> None:
    """It must not hang on the hashes of strings, which every process salts anew."""
    plan = planned(tmp_path, FEW)
    code = (
        "import sys; from yogurtbench.matrix.planner import load, make_plan; plan = "
        "make_plan(load(sys.argv[1]));"
        "print([t.id + t.cell.id for g in plan.groups for b in range(3) for t in "
        "plan.trials(g, b)])"
    )
    said = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "m.yaml")],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONHASHSEED": "7", "PYTHONPATH": str(Path(__file__).parents[2])},
    )
    ours = [t.id + t.cell.id for g in plan.groups for b in range(3) for t in plan.trials(g, b)]
    assert said.stdout.strip() == str(ours)


def test_every_position_is_as_likely(tmp_path: Path) -> None:
    plan = planned(tmp_path, FEW)
    group = plan.groups[1]
    first = Counter(order(plan, group, block)[0] for block in range(600))
    assert len(first) == 6
    assert all(60 <= count <= 140 for count in first.values())


def test_with_more_than_eight_cells_the_baseline_is_first_and_last(tmp_path: Path) -> None:
    plan = planned(tmp_path, MANY)
    (group,) = plan.groups
    for block in range(5):
        roles = [trial.role for trial in plan.trials(group, block)]
        assert Counter(roles) == {"baseline": 2, "canary": 1, "cell": 12}
        assert roles[0] == roles[-1] == "baseline"


def test_trial_ids_are_unique_and_say_where_they_belong(tmp_path: Path) -> None:
    plan = planned(tmp_path, MANY)
    (group,) = plan.groups
    ids = [trial.id for block in range(3) for trial in plan.trials(group, block)]
    assert len(set(ids)) == len(ids)
    assert ids[0] == f"{group}-b000-p00"
    assert planned(tmp_path, "name: t").trials("", 2)[1].id == "none-b002-p01"


def test_the_canary_is_the_baseline_under_another_name(tmp_path: Path) -> None:
    plan = planned(tmp_path, FEW)
    for group in plan.groups[1:]:
        (canary,) = [trial for trial in plan.trials(group, 0) if trial.role == "canary"]
        assert canary.cell.id == group


def test_without_groups_reachability_is_asked_first(tmp_path: Path) -> None:
    plan = planned(tmp_path, FEW.replace("baseline", "# baseline"))
    loads = [trial.cell.load for trial in plan.trials("", 0)]
    assert loads == sorted(loads)


def test_a_plan_is_its_json(tmp_path: Path) -> None:
    plan = planned(
        tmp_path, MANY + "include: [{cpus: [0, 1]}]\ngate: [mode=l3]\nmargins: {rtt_p50: 2%}\n"
    )
    again = Plan.from_json(json.loads(json.dumps(plan.to_json())))
    assert again == plan
    assert again.to_json() == plan.to_json()
    assert again.trials(plan.groups[0], 1) == plan.trials(plan.groups[0], 1)


def test_a_trial_crosses_borders_as_json(tmp_path: Path) -> None:
    trial = planned(tmp_path, "name: t").trials("", 0)[0]
    assert Trial.from_json(json.loads(json.dumps(trial.to_json()))) == trial


def test_a_deadline_leaves_time_for_the_load(tmp_path: Path) -> None:
    text = (
        "name: t\nloads: [{kind: sockperf, duration: 1m}, {kind: iperf3_tcp, bytes: 1GB}, "
        "ping, reachability]\n"
    )
    for clock in ("wall", "instructions"):
        for trial in planned(tmp_path, text, clock=clock).trials("", 0):
            assert (
                trial.deadline
                > 30 + load_seconds(trial.cell.load, trial.options) + trial.options["timeout"]
            )


def test_the_estimate_counts_loads_and_overhead(tmp_path: Path) -> None:
    plan = planned(tmp_path, MANY)
    # 12 cells, a canary and the baseline twice, each 2.45 s + 1 s; ten blocks, and each wire
    # diagnosed once; three programs (redirect, redirect_peer, pass) to compile.
    assert estimate_seconds(plan, "native") == pytest.approx(1 + 3 * 0.3 + (10 * 15 + 12) * 3.6)
    assert estimate_seconds(plan, "vm", 1) == pytest.approx(12 + 3 * 3 + (15 + 12) * 4.75)


@pytest.mark.parametrize(("name", "minutes"), [("quickstart", 6), ("which_wire", 12)])
def test_estimates_are_near_what_was_measured_under_tcg(name: str, minutes: float) -> None:
    """Dead wires, whose loads are skipped, are planned as if they lived."""
    plan = make_plan(load(EXPERIMENTS / f"{name}.yaml"))
    assert minutes / 1.5 < estimate_seconds(plan, "vm") / 60 < minutes * 1.5


def test_on_the_instruction_clock_a_trial_costs_its_waking_whatever_it_waits_for(
    tmp_path: Path,
) -> None:
    """Measured: 50 to 80 s to boot and save, 1 to 3 s a trial.

    A custom text delays the boot by 20 s.
    """
    text = "name: t\nloads: [{kind: sockperf, duration: 60s}, reachability]\n"
    plan = planned(tmp_path, text, clock="instructions")
    # two cells, a diagnostic and a blind trial
    assert estimate_seconds(plan, "vm") == pytest.approx(65 + 4 * 2.5)
    (tmp_path / "own.c").write_text("int wire(struct __sk_buff *skb) { return 0; }")
    own = planned(tmp_path, text + "axes: {program: ./own.c}\n", clock="instructions")
    # one text looks, one does not
    assert estimate_seconds(own, "vm") == pytest.approx(65 + 2 * 20 + 3 * 2.5)


def test_holm_decides_as_many_as_the_smallest_p_allows() -> None:
    assert [max_decidable_cells(n) for n in (5, 6, 10, 14)] == [0, 1, 25, 409]
    assert [blocks_needed(m) for m in (1, 2, 25, 26, 409)] == [6, 7, 10, 11, 14]


def test_a_gate_beyond_its_blocks_is_warned_of(tmp_path: Path) -> None:
    axes = (
        "axes: {payload: [64, 65, 66, 67, 68, 69, 70], hook: [netkit_peer, tcx_ingress], "
        "mode: [l3, l2]}"
    )
    text = (
        f"name: t\n{axes}\nbaseline: {{device: veth, topology: direct}}\nloads: "
        "[ping]\ngate: device=netkit\n"
    )
    assert warnings(planned(tmp_path, text)) == [
        "10 blocks decide at most 25 gate cells, and the gate has 28: name fewer, or set "
        "blocks min to 11"
    ]
    assert warnings(planned(tmp_path, text, clock="instructions")) == []
    assert warnings(planned(tmp_path, text, blocks=11)) == []


def test_too_few_blocks_for_verdicts_are_warned_of(tmp_path: Path) -> None:
    assert "no 95 % interval" in warnings(planned(tmp_path, FEW, blocks=5))[0]
    assert warnings(planned(tmp_path, FEW, blocks=6)) == []
    assert (
        warnings(
            planned(
                tmp_path, "name: t\nloads: [reachability]\nbaseline: {device: veth}\n", blocks=1
            )
        )
        == []
    )


def test_what_was_filled_in_is_what_the_matrix_leaves_out(tmp_path: Path) -> None:
    filled = defaulted_axes(planned(tmp_path, FEW))
    assert filled["primary"] == ["pass"]
    assert filled["peer"] == ["-", "pass"]
    assert filled["mode"] == ["l3"]
    assert "hook" not in filled
    assert "payload" not in filled


def test_a_description_says_what_runs_and_what_does_not(tmp_path: Path) -> None:
    text = FEW.replace("[netkit_peer,", "[xdp_native, netkit_peer,")
    said = describe_plan(planned(tmp_path, text, blocks=3), "vm")
    assert "12 cells, 3 baselines, 2 A/A canaries" in said
    assert "3 groups, 3 blocks each" in said
    assert "min on vm" in said
    assert "left out: 8 × netkit has no native XDP" in said
    assert "collapsed: 4 combinations" in said
    assert "warning: from 3 blocks" in said
    assert "the first block, 17 trials in this order:" in said


def test_facts_are_what_a_description_says(tmp_path: Path) -> None:
    plan = planned(tmp_path, FEW, blocks=3)
    found = json.loads(json.dumps(plan_facts(plan, "vm")))
    assert found["counts"] == {"cell": 12, "baseline": 3, "canary": 2, "group": 3}
    assert found["seconds"] == {
        "vm": [estimate_seconds(plan, "vm"), estimate_seconds(plan, "vm", 3)]
    }
    assert found["warnings"] == warnings(plan) and found["filled_in"] == defaulted_axes(plan)
    assert len(found["first_block"]) == 17 and {"cell", "role", "axes"} == set(
        found["first_block"][0]
    )


def test_the_instruction_clock_is_planned_for_the_guest_alone(tmp_path: Path) -> None:
    assert possible_labs(planned(tmp_path, FEW)) == ("native", "vm")
    assert possible_labs(planned(tmp_path, FEW, lab="native")) == ("native",)
    assert possible_labs(planned(tmp_path, FEW, clock="instructions")) == ("vm",)


def test_a_long_description_stops_somewhere(tmp_path: Path) -> None:
    payloads = ", ".join(map(str, range(64, 164)))
    said = describe_plan(
        planned(tmp_path, f"name: t\naxes: {{payload: [{payloads}]}}\nloads: [ping]\n"), "native"
    )
    assert said.endswith("… and 40 more")


def test_every_wire_is_worked_out_once_however_many_cells_share_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What makes 10,000 cells plan in a second; counted, not timed."""
    resolved: list[object] = []
    resolve = defaults._resolve
    monkeypatch.setattr(
        defaults, "_resolve", lambda point: resolved.append(point) or resolve(point)
    )
    payloads = ", ".join(map(str, range(64, 564)))
    axes = (
        f"axes: {{payload: [{payloads}], hook: [netkit_peer, tcx_ingress], mode: [l3, l2], "
        f"ip: [4, 6]}}"
    )
    text = f"name: t\n{axes}\nloads: [ping, sockperf, iperf3_udp]\n"
    plan = planned(tmp_path, text)
    assert len(plan.cells) == 500 * 2 * 2 * 2 * 3
    assert len(resolved) == 2 * 2


def test_blocks_are_values() -> None:
    assert dataclasses.asdict(Blocks()) == {"min": 10, "max": 40, "precision": 0.01}


SIX = textwrap.dedent("""\
    name: six
    axes: {kernel: "6.12"}
    include:
      - {hook: netkit_peer}
      - {hook: tcx_ingress}
      - {hook: tc_ingress, helper: redirect_peer}
      - {device: veth, hook: tcx_ingress}
      - {device: veth, hook: xdp_native, helper: redirect_map}
      - {device: veth, hook: xdp_generic}
    loads: [reachability]
""")


def test_includes_that_overwrite_each_other_are_reported_with_their_lines(tmp_path: Path) -> None:
    plan = planned(tmp_path, SIX)
    assert len(plan.cells) == 1
    (note,) = plan.notes
    assert note.startswith(
        f"{tmp_path}/m.yaml:4:5: the includes 1, 2, 3, 4, 5 and 6 (lines 4, 5, 6, 7, 8, 9) "
        "overwrite"
    )
    assert (
        "of hook, helper only the last value" in note
        and "name kernel in each include and leave axes out" in note
    )
    assert f"warning: {note}" in describe_plan(plan, "vm").splitlines()
    assert (
        note in plan_facts(plan, "vm")["warnings"]
        and Plan.from_json(plan.to_json()).notes == plan.notes
    )


def test_what_the_note_on_includes_says_makes_a_cell_of_each(tmp_path: Path) -> None:
    alone = SIX.replace('axes: {kernel: "6.12"}\n', "").replace("- {", '- {kernel: "6.12", ')
    plan = planned(tmp_path, alone)
    assert len(plan.cells) == 6 and plan.notes == ()


@pytest.mark.parametrize(
    ("includes", "told"),
    [
        ("[{mtu: [1300, 1400]}]", "this include overwrites its own values: of mtu only"),
        ("[{mtu: 1300}, {gso: on}]", ""),
        ("[{mtu: 1300}, {mtu: 1300}]", ""),
        ("[{device: veth, mtu: 1300}, {device: netkit, mtu: 1400}]", ""),
        (
            "[{mtu: 1300}, {device: veth, mtu: 1400}]",
            "the includes 1 and 2 (lines 3, 3) overwrite each other: of mtu",
        ),
        (
            "[{mtu: 1300}, {kernel: '6.12', device: [veth, netkit], mtu: 1400}]",
            "the includes 1 and 2",
        ),
        ("[{hook: tcx_egress, mtu: 1300}, {hook: tcx_egress, mtu: 1400}]", ""),
    ],
)
def test_only_includes_that_lose_a_value_are_reported(
    tmp_path: Path, includes: str, told: str
) -> None:
    text = (
        f"name: t\naxes: {{device: [veth, netkit], hook: tcx_ingress}}\ninclude: "
        f"{includes}\nloads: [reachability]\n"
    )
    notes = planned(tmp_path, text).notes
    assert told in notes[0] if told else notes == ()


@pytest.mark.parametrize(
    ("exclude", "told"),
    [
        (
            "{hook: xdp_native}",
            "m.yaml:3:11: this exclude takes nothing out: no combination of the axes has "
            "hook=xdp_native",
        ),
        (
            "{device: veth, mtu: [1400, 1500]}",
            "part of this exclude takes nothing out: no combination of the axes has "
            "device=veth,mtu=1400",
        ),
        ("{device: veth, mtu: 1500}", ""),
        ("{load: ping, mtu: 1400}", "no combination of the axes has mtu=1400,load=ping"),
        ("{device: veth, load: ping}", ""),
    ],
)
def test_an_exclude_that_takes_nothing_out_is_reported(
    tmp_path: Path, exclude: str, told: str
) -> None:
    axes = "{device: [veth, netkit], hook: tcx_ingress, mtu: 1500}"
    text = f"name: t\naxes: {axes}\nexclude: [{exclude}]\nloads: [reachability, ping]\n"
    notes = planned(tmp_path, text).notes
    assert told in notes[0] if told else notes == ()


@pytest.mark.parametrize(
    ("text", "collapsed", "doubles"),
    [
        ("axes: {device: [netkit, netkit]}", 0, 1),
        ("axes: {payload: [64, 64, 64]}\nloads: [sockperf]", 0, 2),
        ("axes: {device: veth, hook: tcx_ingress, scrub: [default, none]}", 1, 0),
        ("include: [{device: netkit}, {hook: netkit_peer}]", 0, 1),
        ("include: [{device: veth, scrub: none}, {device: veth}]", 1, 0),
        ("axes: {payload: [64, 65]}\nloads: [reachability]", 1, 0),
        ("axes: {device: [netkit, netkit], payload: [64, 65]}", 2, 1),
    ],
)
def test_plain_doubles_are_distinguished_from_axes_that_do_not_apply(
    tmp_path: Path, text: str, collapsed: int, doubles: int
) -> None:
    loads = "" if "loads" in text else "\nloads: [reachability]"
    plan = planned(tmp_path, f"name: t\n{text}{loads}\n")
    assert (plan.collapsed, plan.doubles) == (collapsed, doubles)
    said = describe_plan(plan, "vm")
    assert ("only in axes that do not apply" in said) == bool(collapsed)
    assert ("what another says already" in said) == bool(doubles)


def test_bytes_that_are_paced_take_their_time() -> None:
    assert load_seconds("iperf3_udp", {"bytes": 10**8}) == pytest.approx(1.3)
    assert load_seconds("iperf3_udp", {"bytes": 10**8, "bitrate": 0}) == pytest.approx(1.3)
    assert load_seconds("iperf3_udp", {"bytes": 10**8, "bitrate": 10**8}) == pytest.approx(8.3)
