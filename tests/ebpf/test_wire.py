"""The wire on real veth pairs: compiled by bcc, accepted by the verifier, and counting exactly what
it carries.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any

import pytest
from trials import DIRECT, WIRE, cell

from yogurtbench.core import process
from yogurtbench.core.errors import HostError
from yogurtbench.ebpf import programs as compiled
from yogurtbench.ebpf.programs import Programs
from yogurtbench.ebpf.wire import ROLE_ROWS, WAYS, Attachment, Counters, attach_wire, attachments
from yogurtbench.lab import Lab, Unsupported, bring_up
from yogurtbench.loads.probes import is_reachable

InRoom = Callable[..., Any]


# What goes where: pure.


def placed(**axes: Any) -> set[tuple[str, str, str]]:
    return {(a.end, a.hook, a.program) for a in attachments(cell(**axes))}


def test_the_seeds_wire_hangs_on_both_peer_hooks_and_opens_both_primaries() -> None:
    assert placed(device="netkit", hook="netkit_peer", helper="redirect") == {
        ("a", "netkit_primary", "primary_pass_return"),
        ("a", "netkit_peer", "redirect_forward"),
        ("b", "netkit_primary", "primary_pass_forward"),
        ("b", "netkit_peer", "redirect_return"),
    }


def test_a_veth_wire_is_two_programs() -> None:
    assert placed(**WIRE) == {
        ("a", "tcx_ingress", "redirect_forward"),
        ("b", "tcx_ingress", "redirect_return"),
    }


def test_a_baseline_without_hooks_has_no_programs() -> None:
    assert placed(**DIRECT) == set()


def test_the_way_back_may_differ() -> None:
    assert placed(**WIRE, return_helper="redirect_peer") == {
        ("a", "tcx_ingress", "redirect_forward"),
        ("b", "tcx_ingress", "redirect_peer_return"),
    }


def test_redirect_container_is_redirect_with_another_target() -> None:
    assert ("a", "tcx_ingress", "redirect_forward") in placed(
        **{**WIRE, "helper": "redirect_container"}
    )


def test_a_guard_gets_a_wire_that_stamps() -> None:
    found = placed(device="netkit", hook="netkit_peer", helper="redirect", primary="guard_cb")
    assert ("a", "netkit_peer", "redirect_guard_cb_forward") in found
    assert ("b", "netkit_primary", "primary_guard_cb_forward") in found


def test_each_role_and_way_has_a_row_of_its_own() -> None:
    rows = {Attachment("a", "-", role, way, "-").row for role in ROLE_ROWS for way in WAYS}
    assert len(rows) == len(ROLE_ROWS) * len(WAYS)


# Real programs on real devices.


def names_in_bpf() -> list[tuple[str, str]]:
    """Every program of bpf/ by C name and kind, from the macros of the files that make them."""
    folder = compiled.source_folder()
    found = []
    for path in sorted(folder.glob("*.c")):
        for macro, name in re.findall(
            r"^(YB_WIRE|YB_WAYS|YB_XDP_WAYS)\((\w+),", path.read_text(), re.MULTILINE
        ):
            stamps = ("", "_guard_cb", "_guard_mark") if macro == "YB_WIRE" else ("",)
            kind = "XDP" if macro == "YB_XDP_WAYS" else "SCHED_CLS"
            found += [(f"{name}{stamp}_{way}", kind) for stamp in stamps for way in WAYS]
    return found


def load_all(names: list[tuple[str, str]], traced: bool) -> list[str]:
    programs = Programs()
    handle = programs.ours(traced=traced)
    return [name for name, kind in names if programs.load(handle, name, kind).fd > 0]


@pytest.mark.root
@pytest.mark.parametrize("traced", [False, True])
def test_every_program_of_bpf_compiles_and_passes_the_verifier(
    in_room: InRoom, traced: bool
) -> None:
    names = names_in_bpf()
    assert len(names) > 40
    assert in_room(load_all, names, traced) == [name for name, _ in names]


def load_nonsense() -> str:
    programs = Programs()
    try:
        programs.load(programs.ours(traced=False), "no_such_program", "SCHED_CLS")
    except HostError as error:
        return str(error)
    return ""


@pytest.mark.root
def test_a_program_that_is_not_there_is_a_host_error_that_names_it(in_room: InRoom) -> None:
    assert "no_such_program" in in_room(load_nonsense)


@cache
def programs() -> Programs:
    return Programs()


def ping(lab: Lab, count: int, ip: int = 4, size: int = 56) -> None:
    argv = ["ping", "-n", "-c", str(count), "-i", "0.002", "-s", str(size), lab.server.address(ip)]
    process.run(lab.client.namespace.command(argv), timeout=10)


def sent_by(lab: Lab) -> int:
    (link,) = lab.client.namespace.ip.get_links(lab.client.end.ifindex)
    return int(link.get_attr("IFLA_STATS64")["tx_packets"])


def carried(helper: str) -> dict[str, Any]:
    """Two kinds of pings over a wire: what the programs counted, and what the device says."""
    with bring_up(cell(**{**WIRE, "helper": helper})) as lab, attach_wire(programs(), lab) as wire:
        lab.settle()
        alive = [is_reachable(lab, ip) for ip in (4, 6)]
        before, device = wire.counters(), sent_by(lab)
        ping(lab, 10)
        ping(lab, 3, size=3000)
        now = wire.counters()
        counted = {name: [c.packets, c.bytes] for name, c in ((n, now[n] - before[n]) for n in now)}
        return {"alive": alive, "counted": counted, "device": sent_by(lab) - device}


@pytest.mark.root
@pytest.mark.parametrize("helper", ["redirect", "redirect_peer"])
def test_counters_are_exactly_the_packets_and_bytes(in_room: InRoom, helper: str) -> None:
    """Ten echoes in a packet each and three in three fragments each, both ways.

    Bytes with their Ethernet header.
    """
    seen = in_room(carried, helper)
    total = 10 * (14 + 20 + 8 + 56) + 3 * (3 * (14 + 20) + 8 + 3000)
    assert seen["alive"] == [True, True]
    assert seen["counted"] == {"wire.forward": [19, total], "wire.return": [19, total]}
    assert seen["device"] == 19


def lives() -> dict[str, bool]:
    """Which helpers carry IPv4 over veth at tcx ingress, all in one room with one compile."""
    alive = {}
    for helper in ("redirect", "redirect_peer", "redirect_container"):
        with bring_up(cell(**{**WIRE, "helper": helper})) as lab, attach_wire(programs(), lab):
            lab.settle()
            alive[helper] = is_reachable(lab, 4)
    return alive


@pytest.mark.root
def test_redirect_and_redirect_peer_live_and_a_container_index_is_not_found_in_the_host(
    in_room: InRoom,
) -> None:
    assert in_room(lives) == {"redirect": True, "redirect_peer": True, "redirect_container": False}


def aimed_at_nobody() -> dict[str, Any]:
    with bring_up(cell(**WIRE)) as lab, attach_wire(programs(), lab) as wire:
        lab.settle()
        targets = programs().ours(traced=False)["targets"]
        row = targets.Key(ROLE_ROWS["wire"])
        nobody = targets[row]
        nobody.ifindex = 4711
        targets[row] = nobody
        before = wire.counters()  # a new device says something of its own accord
        alive = is_reachable(lab, 4)
        counted = {name: (c - before[name]).packets for name, c in wire.counters().items()}
        return {"alive": alive, "packets": counted}


@pytest.mark.root
def test_a_wire_with_a_wrong_target_is_dead_and_its_counters_say_where(in_room: InRoom) -> None:
    seen = in_room(aimed_at_nobody)
    assert not seen["alive"]
    assert seen["packets"]["wire.forward"] > 0
    assert seen["packets"]["wire.return"] == 0


def attached_without_its_device(hook: str) -> str:
    """What attaching says where something else removed the pair meanwhile."""
    with bring_up(cell(**{**WIRE, "hook": hook})) as lab:
        assert lab.a
        lab.a.namespace.ip.link("del", index=lab.a.ifindex)
        try:
            with attach_wire(programs(), lab):
                return "attached"
        except HostError as error:
            return str(error)


@pytest.mark.root
@pytest.mark.parametrize("hook", ["tc_ingress", "tcx_ingress", "xdp_generic"])
def test_a_device_that_is_gone_is_no_kernel_that_cannot_attach(in_room: InRoom, hook: str) -> None:
    assert in_room(attached_without_its_device, hook) == (
        f"yg1-host was removed by something else before {hook} was attached"
    )


def two_ways() -> dict[str, Any]:
    with (
        bring_up(cell(**WIRE, return_helper="redirect_peer")) as lab,
        attach_wire(programs(), lab) as wire,
    ):
        lab.settle()
        alive = is_reachable(lab, 4)
        before = wire.counters()
        ping(lab, 4)
        return {
            "alive": alive,
            "packets": {n: (c - before[n]).packets for n, c in wire.counters().items()},
        }


@pytest.mark.root
def test_the_way_back_can_be_another_program(in_room: InRoom) -> None:
    assert in_room(two_ways) == {"alive": True, "packets": {"wire.forward": 4, "wire.return": 4}}


def one_way_only() -> dict[str, Any]:
    """There by redirect, back by an index that does not exist in the host."""
    with (
        bring_up(cell(**WIRE, return_helper="redirect_container")) as lab,
        attach_wire(programs(), lab) as wire,
    ):
        lab.settle()
        argv = ["ping", "-n", "-c1", "-W1", lab.server.ipv4]
        code = process.run(lab.client.namespace.command(argv), check=False).code
        return {"code": code, "packets": {n: c.packets > 0 for n, c in wire.counters().items()}}


@pytest.mark.root
def test_a_wire_that_is_dead_on_the_way_back_alone_is_dead(in_room: InRoom) -> None:
    seen = in_room(one_way_only)
    assert seen["code"] != 0
    assert seen["packets"] == {"wire.forward": True, "wire.return": True}


def detached() -> dict[str, Any]:
    with bring_up(cell(**WIRE)) as lab, attach_wire(programs(), lab) as wire:
        lab.settle()
        alive = is_reachable(lab, 4)
        wire.detach()
        wire.detach()
        before = wire.counters()
        return {"alive": alive, "after": is_reachable(lab, 4), "silent": wire.counters() == before}


@pytest.mark.root
def test_a_detached_wire_carries_and_counts_nothing_and_detaching_twice_is_fine(
    in_room: InRoom,
) -> None:
    assert in_room(detached) == {"alive": True, "after": False, "silent": True}


def fresh_counters() -> list[int]:
    seen = []
    for _ in range(2):
        with bring_up(cell(**WIRE)) as lab, attach_wire(programs(), lab) as wire:
            seen.append(sum(c.packets for c in wire.counters().values()))
            lab.settle()
            ping(lab, 2)
    return seen


@pytest.mark.root
def test_each_wire_starts_at_zero_though_its_programs_are_compiled_once(in_room: InRoom) -> None:
    # what a new l2 device says of its own accord
    assert all(packets <= 4 for packets in in_room(fresh_counters))


def on_a_hook_that_is_not_there() -> str:
    strange = replace(cell(**WIRE), hook="netkit_peer", return_hook="netkit_peer")
    with bring_up(strange) as lab:
        try:
            with attach_wire(programs(), lab):
                return "attached"
        except Unsupported as reason:
            return str(reason)


@pytest.mark.root
def test_a_hook_that_the_device_does_not_have_is_unsupported(in_room: InRoom) -> None:
    assert "does not attach to netkit_peer on yg1-host" in in_room(on_a_hook_that_is_not_there)


def test_without_the_binding_the_error_names_the_package_and_the_trap(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "bcc", None)
    with pytest.raises(HostError, match=r"PyPI's bcc is something else.*python3-bpfcc"):
        Programs().ours(traced=False)


def test_counters_subtract() -> None:
    assert Counters(5, 500) - Counters(2, 150) == Counters(3, 350)
