"""Profiles of real wires: the same on every boot, and exact to the instruction."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from neighbours import neighbours
from own_program import yogurtbench

from yogurtbench.core.builds import COMMON
from yogurtbench.core.records import Trial
from yogurtbench.hosts.vm.host import SnapshotHost
from yogurtbench.matrix.planner import load, make_plan
from yogurtbench.matrix.selector import find_cell
from yogurtbench.plan.plan import Plan, first_block, narrow_plan
from yogurtbench.profile.profile import differences
from yogurtbench.runner import profiling

pytestmark = pytest.mark.vm

MATRIX = """
name: profiled
axes: {device: netkit, hook: [netkit_peer, tcx_ingress], helper: [redirect, redirect_peer]}
baseline: {device: veth, topology: direct, hook: none, helper: none}
loads: [reachability]
"""
REDIRECT = "hook=netkit_peer,helper=redirect"
PEER = "hook=tcx_ingress,helper=redirect_peer"
DEAD = "hook=netkit_peer,helper=redirect_peer"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("profile")
    (made / "m.yaml").write_text(MATRIX)
    return made


@pytest.fixture(scope="module")
def plan(folder: Path) -> Plan:
    return make_plan(load(folder / "m.yaml"), lab="vm", clock="instructions")


@pytest.fixture(scope="module")
def trial(plan: Plan) -> Trial:
    planned = profiling.with_round_trips(plan, find_cell(plan, REDIRECT))
    return first_block(narrow_plan(plan, [planned]))[0]


def test_it_is_the_same_on_two_boots_beside_busy_cores(trial: Trial) -> None:
    with SnapshotHost("host", print, COMMON) as host:
        first = profiling.profile_trial(host, trial)
    with SnapshotHost("host", print, COMMON, anew=True) as other, neighbours():
        second = profiling.profile_trial(other, trial)
    assert first.to_json() == second.to_json()
    assert first.tree == second.tree
    assert first.median and 0 <= first.instructions - first.median <= 1
    assert first.cut == 0


def test_the_command_names_what_redirect_peer_skips(folder: Path) -> None:
    done = yogurtbench(
        "profile", "m.yaml", "--cell", REDIRECT, "--against", PEER, "--json", cwd=folder
    )
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert sum(one["self"] for one in document["functions"]) == pytest.approx(
        document["instructions_per_round_trip"]
    )
    more = {one["name"]: one for one in document["differences"]}
    assert more["netkit_xmit"]["self"] > 0 and more["dev_hard_start_xmit"]["self"] > 0
    assert more["bpf_prog_redirect_forward"]["self"] > 0
    assert (
        sum(one["self"] for one in document["differences"])
        == document["instructions_per_round_trip"]
        - document["against"]["instructions_per_round_trip"]
    )
    (made,) = folder.glob("results/profiled/profile-*")
    assert json.loads((made / "profile.json").read_text()) == document
    assert {path.name for path in made.iterdir()} == {
        *("profile.html", "profile.json", "profile.callgrind", "profile.folded"),
        "profile.speedscope.json",
    }


def test_a_dead_wires_request_is_followed_to_its_drop(folder: Path) -> None:
    done = yogurtbench("profile", "m.yaml", "--cell", DEAD, "--quiet", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert "carries nothing" in done.stdout and "until skb_do_redirect drops it" in done.stdout


def test_what_the_counting_costs_is_exactly_in_the_programs_that_count(trial: Trial) -> None:
    """The built-in wire with its map increments, and compiled without them."""
    with SnapshotHost("host", print, COMMON) as host:
        counting, blind = (
            profiling.profile_trial(host, replace(trial, role=role)) for role in ("cell", "blind")
        )
    more = {one.name: one.self for one in differences(counting, blind) if one.self}
    assert more.keys() == {
        f"bpf_prog_{role}_{way}"
        for role in ("redirect", "primary_pass")
        for way in ("forward", "return")
    }
    # each counts once; the first row's number, zero, takes a shorter instruction or two
    assert max(more.values()) - min(more.values()) <= 4
    assert sum(more.values()) == counting.instructions - blind.instructions > 0
