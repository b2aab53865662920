"""Which clock a matrix is measured on: what is named, else what fits where the trials run.

Decided without a guest.
"""

from __future__ import annotations

import json
import os
import re
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from fake_runs import Invented, cell, environment, stored
from matrices import written

from yogurtbench import __main__ as command
from yogurtbench.core import allowance
from yogurtbench.core.errors import HostError, MatrixError
from yogurtbench.hosts import choose
from yogurtbench.hosts.vm import accelerator, image
from yogurtbench.hosts.vm import host as vm
from yogurtbench.hosts.vm.accelerator import AcceleratorChoice
from yogurtbench.matrix import clocks
from yogurtbench.matrix.clocks import Begun, Plans
from yogurtbench.matrix.planner import load, make_plan
from yogurtbench.results import run_folder
from yogurtbench.runner import session

MATRIX = """\
name: t
axes: {hook: [netkit_peer, tcx_ingress]}
baseline: {device: veth, topology: direct, hook: none, helper: none}
loads: [sockperf, {kind: iperf3_tcp, duration: 1s}]
"""
UDP = "name: t\naxes: {device: veth}\nloads: [{kind: iperf3_udp, duration: 1s, bitrate: 1Mbit}]\n"


def plans_of(folder: Path, text: str = MATRIX, **wishes: Any) -> Plans:
    return clocks.plans_by_clock(load(written(folder, text)), **wishes)


def clocks_of(found: Plans) -> list[str]:
    return [plan.clock for plan in (found.wall, found.exact) if plan]


@pytest.mark.parametrize(
    ("text", "wishes", "expected"),
    [
        (MATRIX, {}, ["wall", "instructions"]),
        (MATRIX + "clock: auto\n", {}, ["wall", "instructions"]),
        (MATRIX + "clock: wall\n", {}, ["wall"]),
        (MATRIX + "clock: instructions\n", {}, ["instructions"]),
        (MATRIX + "clock: wall\n", {"clock": "auto"}, ["wall", "instructions"]),
        (MATRIX, {"clock": "wall"}, ["wall"]),
        (MATRIX, {"clock": "instructions"}, ["instructions"]),
        (MATRIX, {"lab": "vm"}, ["wall", "instructions"]),
        (MATRIX, {"lab": "native"}, ["wall"]),
        (MATRIX + "lab: native\nclock: auto\n", {}, ["wall"]),
        (MATRIX, {"begun": Begun("vm", "wall")}, ["wall"]),
        (MATRIX, {"begun": Begun("vm", "instructions")}, ["instructions"]),
        (MATRIX, {"begun": Begun("vm", "instructions"), "clock": "wall"}, ["wall"]),
        (MATRIX + "clock: wall\n", {"begun": Begun("vm", "instructions")}, ["wall"]),
    ],
)
def test_what_is_named_is_taken_and_else_both_are_planned(
    tmp_path: Path, text: str, wishes: dict[str, Any], expected: list[str]
) -> None:
    found = plans_of(tmp_path, text, **wishes)
    assert clocks_of(found) == expected
    assert all(plan.clock != "auto" for plan in (found.wall, found.exact) if plan)
    assert bool(found.named) == (len(expected) == 1)


def test_a_run_that_is_resumed_keeps_its_lab_too(tmp_path: Path) -> None:
    assert plans_of(tmp_path, begun=Begun("vm", "wall")).likely.lab == "vm"
    assert plans_of(tmp_path, begun=Begun("native", "wall")).likely.lab == "native"
    assert plans_of(tmp_path, begun=Begun("native", "wall"), lab="vm").likely.lab == "vm"


def test_the_plan_for_instructions_takes_one_block_whatever_the_matrix_says(tmp_path: Path) -> None:
    found = plans_of(tmp_path, MATRIX + "blocks: {min: 6, max: 6}\n")
    assert found.wall and found.exact
    assert (found.wall.blocks.min, found.exact.blocks.min, found.exact.blocks.max) == (6, 1, 1)
    assert {one.cell.id for one in found.wall.cells} == {one.cell.id for one in found.exact.cells}


def test_an_unplanned_auto_is_the_wall_clock_and_no_plan_says_auto(tmp_path: Path) -> None:
    assert (
        make_plan(load(written(tmp_path, MATRIX))).clock
        == make_plan(load(written(tmp_path, MATRIX)), clock="auto").clock
        == "wall"
    )


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (
            MATRIX.replace("axes: {hook:", "axes: {cpus: [same, split], hook:"),
            "one CPU, and the matrix names cpus split",
        ),
        (
            MATRIX.replace("axes: {hook:", "axes: {cpus: [[0, 1]], hook:"),
            "one CPU, and the matrix names cpus 0:1",
        ),
        (MATRIX + "include: [{cpus: free}]\n", "one CPU, and the matrix names cpus free"),
        (
            UDP,
            "cannot measure this matrix: .*m.yaml:3:.* bytes at 1Mbit take .* and the timeout "
            "is 10 s",
        ),
    ],
)
def test_what_the_instruction_clock_cannot_do_stays_on_the_wall_clock(
    tmp_path: Path, text: str, why: str
) -> None:
    found = plans_of(tmp_path, text)
    assert clocks_of(found) == ["wall"] and not found.named
    assert re.search(why, found.refused), found.refused


def test_cpus_that_it_has_are_no_reason(tmp_path: Path) -> None:
    text = MATRIX.replace("axes: {hook:", "axes: {cpus: same, hook:")
    assert clocks_of(plans_of(tmp_path, text)) == ["wall", "instructions"]


def test_a_mistake_is_reported_once_and_the_same_on_every_clock(tmp_path: Path) -> None:
    for clock in ("auto", "wall", "instructions"):
        with pytest.raises(MatrixError, match="--only: no cell"):
            plans_of(tmp_path, clock=clock, only="hook=tcx_egress")


# --- chosen by probing ----------------------------------------------------------------------------


class Started:
    """A host that says what it was started as."""

    def __init__(self, clock: str, accelerator: str, jobs: int | None = 1) -> None:
        run = Invented((cell(),), clock=clock, accelerator=accelerator)
        self.environment = replace(environment(run), reasons={"accelerator": "of the host"})
        self.features = {"netkit": True, "veth": True, "tcx": True}
        self.jobs = jobs

    def __enter__(self) -> Started:
        return self

    def __exit__(self, *_: object) -> None:
        return None


@pytest.fixture
def guests(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A machine whose guests are not booted: the accelerators that it has, the last one counts."""
    has = ["tcg"]
    monkeypatch.setattr(image, "ensure", lambda kernel, say: None)
    monkeypatch.setattr(
        accelerator,
        "probe_accelerator",
        lambda image, say: AcceleratorChoice(has[-1], f"tried: {has[-1]}"),
    )
    monkeypatch.setattr(vm, "host", lambda kernel, say: Started("wall", has[-1]))
    monkeypatch.setattr(
        vm,
        "SnapshotHost",
        lambda kernel, say, texts, jobs, anew: Started("instructions", "tcg", jobs),
    )
    return has


def settled(plans: Plans, jobs: int | None = None) -> tuple[str, Any]:
    with ExitStack() as undo:
        plan, host = choose.choose_plan_and_host(plans, undo, print, jobs)
        assert plan.clock == host.environment.clock
        return plan.clock, host


def test_emulation_counts_instructions_and_kvm_takes_time(
    tmp_path: Path, guests: list[str]
) -> None:
    plans = plans_of(tmp_path, lab="vm")
    clock, host = settled(plans)
    assert (clock, host.jobs) == ("instructions", None)
    assert host.environment.reasons["clock"] == clocks.EMULATED
    assert host.environment.reasons["accelerator"] == "tried: tcg"
    guests.append("kvm")
    clock, host = settled(plans)
    assert (clock, host.environment.reasons["clock"]) == ("wall", clocks.KVM)


def test_a_clock_that_is_named_is_never_changed(tmp_path: Path, guests: list[str]) -> None:
    for accelerator_word in ("kvm", "tcg"):
        guests.append(accelerator_word)
        for clock in ("wall", "instructions"):
            found, host = settled(plans_of(tmp_path, lab="vm", clock=clock))
            assert (found, host.environment.reasons["clock"]) == (clock, clocks.NAMED)


def test_an_emulated_matrix_beyond_the_instruction_clock_says_why_it_takes_time(
    tmp_path: Path, guests: list[str]
) -> None:
    clock, host = settled(
        plans_of(tmp_path, MATRIX.replace("axes: {hook:", "axes: {cpus: split, hook:"), lab="vm")
    )
    assert clock == "wall" and "names cpus split" in host.environment.reasons["clock"]


def test_several_jobs_are_refused_where_the_wall_clock_was_chosen(
    tmp_path: Path, guests: list[str]
) -> None:
    plans = plans_of(tmp_path, lab="vm")
    assert settled(plans, 2)[1].jobs == 2
    guests.append("kvm")
    with pytest.raises(MatrixError, match="--jobs 2: on the wall clock"):
        settled(plans, 2)
    assert settled(plans, None)[1].jobs == 1


@pytest.mark.root
def test_natively_it_is_time_and_nothing_of_a_guest_is_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: object, **__: object) -> None:
        raise AssertionError("a guest was asked for")

    monkeypatch.setattr(image, "ensure", never)
    monkeypatch.setattr(accelerator, "probe_accelerator", never)
    direct = (
        "name: t\naxes: {device: veth, topology: direct, hook: none, helper: "
        "none}\nloads: [sockperf]\n"
    )
    plans = plans_of(tmp_path, direct)
    clock, host = settled(plans)
    assert (clock, host.environment.lab, host.environment.reasons["clock"]) == (
        "wall",
        "native",
        clocks.NATIVE,
    )
    assert choose.foresee_host(plans).reason == clocks.NATIVE


# --- foreseen -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("known", "clock", "lab", "otherwise"),
    [
        (AcceleratorChoice("tcg", "no KVM here"), "instructions", "vm", None),
        (AcceleratorChoice("kvm", "it booted"), "wall", "vm", None),
        (None, "wall", "vm", "instructions"),
    ],
)
def test_a_plan_goes_by_what_is_known_of_kvm(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    known: AcceleratorChoice | None,
    clock: str,
    lab: str,
    otherwise: str | None,
) -> None:
    monkeypatch.setattr(accelerator, "known_accelerator", lambda find: known)
    seen = choose.foresee_host(plans_of(tmp_path, lab="vm"))
    assert (seen.plan.clock, seen.lab, seen.otherwise and seen.otherwise.clock) == (
        clock,
        lab,
        otherwise,
    )
    assert not known or clock == "wall" or known.reason in seen.reason


def test_plan_says_the_clock_the_reason_and_the_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    written(tmp_path, MATRIX)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(
        accelerator, "known_accelerator", lambda find: AcceleratorChoice("tcg", "no KVM here")
    )
    assert command.run(["plan", "m.yaml", "--lab", "vm", "--jobs", "2"]) == 0
    said = capfd.readouterr().out
    assert "1 block each" in said and "on vm, 2 trials side by side" in said
    assert f"clock instructions: {clocks.EMULATED}: no KVM here" in said
    monkeypatch.setattr(accelerator, "known_accelerator", lambda find: None)
    assert command.run(["plan", "m.yaml", "--lab", "vm", "--json"]) == 0
    found = json.loads(capfd.readouterr().out)
    assert (found["clock"], found["choice"]["otherwise"]["clock"]) == ("wall", "instructions")
    assert found["choice"]["otherwise"]["seconds"]["vm"][0] > 0


def test_what_is_not_there_needs_no_guest_to_be_known(tmp_path: Path) -> None:
    def never() -> None:
        raise AssertionError("a guest was looked for")

    found = accelerator.known_accelerator(never, tmp_path / "kvm")
    assert found and found.accelerator == "tcg" and "no hardware virtualisation" in found.reason


def test_an_empty_cache_keeps_no_guest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("YOGURTBENCH_CACHE", str(tmp_path))
    assert image.kept() is None and not any(tmp_path.iterdir())


# --- resumed --------------------------------------------------------------------------------------


def test_how_a_run_was_begun_is_read_from_it(tmp_path: Path) -> None:
    run = stored(Invented((cell(),), clock="instructions", accelerator="tcg", blocks=1), tmp_path)
    assert session.how_it_began(run) == Begun("vm", "instructions")
    assert session.how_it_began(None) is None
    assert run_folder.read_environment(run).clock == "instructions"


# --- jobs -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("given", ["0", "-1", "two", "", "1.5", "²", "Auto"])
def test_jobs_are_a_number_or_auto(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], given: str
) -> None:
    written(tmp_path, MATRIX)
    monkeypatch.chdir(tmp_path)
    assert command.run(["plan", "m.yaml", f"--jobs={given}"]) == 2
    assert "a number of trials side by side, 1 or more, or auto" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("cpus", "memory", "jobs"), [(4, 9, 4), (4, 3, 3), (4, 1, 1), (1, 9, 1), (4, 0, 1)]
)
def test_as_many_guests_as_cpus_and_memory_allow(
    monkeypatch: pytest.MonkeyPatch, cpus: int, memory: int, jobs: int
) -> None:
    said: list[str] = []
    monkeypatch.setattr(allowance, "available_cpus", lambda: cpus)
    monkeypatch.setattr(allowance, "available_memory", lambda: memory << 30)
    assert vm._as_many_as_fit(1 << 30, said.append) == jobs
    assert bool(said) == (jobs < cpus)
    assert not said or f"{memory * 1024} MiB are available" in said[0]


def test_a_machine_without_memory_for_one_guest_says_so(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from yogurtbench.hosts.vm import qemu

    (tmp_path / "overlay").write_bytes(b"")
    monkeypatch.setattr(qemu.psutil, "virtual_memory", lambda: SimpleNamespace(available=1 << 20))
    with pytest.raises(
        HostError, match=r"the guest needs .* MiB of memory and this machine has 1 MiB available"
    ):
        qemu.memory_for(SimpleNamespace(size=1), tmp_path / "overlay")  # type: ignore[arg-type]


def test_a_container_is_given_what_its_group_is_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inner = tmp_path / "outer/inner"
    inner.mkdir(parents=True)
    (tmp_path / "ours").write_text("1:cpu:/x\n0::/outer/inner\n")
    folders = list(allowance._folders(tmp_path, tmp_path / "ours"))
    assert folders == [inner, inner.parent, tmp_path]
    (inner / "cpu.max").write_text("max 100000\n")
    (inner.parent / "cpu.max").write_text("150000 100000\n")
    (inner.parent / "memory.max").write_text(str(3 << 20))
    (inner.parent / "memory.current").write_text(str(2 << 20))
    (inner.parent / "memory.stat").write_text(f"anon 5\ninactive_file {1 << 20}\n")
    monkeypatch.setattr(allowance, "_folders", lambda: folders)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))
    assert (allowance.available_cpus(), allowance.available_memory()) == (1, 2 << 20)
    (inner.parent / "cpu.max").write_text("10000 100000\n")
    assert allowance.available_cpus() == 1


# --- with a guest ---------------------------------------------------------------------------------
