"""The lab, in a room of its own: exactly the drawing of its docstring, every topology, and nothing
left behind.
"""

from __future__ import annotations

import gc
import os
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from offloads import switches
from trials import DIRECT, WIRE, cell

from yogurtbench.lab import Lab, bring_up
from yogurtbench.lab.endpoint import Interface
from yogurtbench.lab.namespace import Namespace
from yogurtbench.loads.probes import exchanges_tcp, is_reachable

pytestmark = pytest.mark.root

TOPOLOGIES = ("wire", "direct", "bridge", "routed", "loopback")
InRoom = Callable[..., Any]


def axes_of(topology: str) -> dict[str, Any]:
    return WIRE if topology == "wire" else {**DIRECT, "topology": topology}


def devices(namespace: Namespace) -> dict[str, dict[str, Any]]:
    """What is in a namespace, by name, lo apart."""
    addresses: dict[int, list[str]] = {}
    for address in namespace.ip.get_addr():
        text = f"{address.get_attr('IFA_ADDRESS')}/{address['prefixlen']}"
        addresses.setdefault(address["index"], []).append(text)
    found = {}
    for link in namespace.ip.get_links():
        name, info = link.get_attr("IFLA_IFNAME"), link.get_attr("IFLA_LINKINFO")
        if name != "lo":
            found[name] = {
                "index": link["index"],
                "kind": info.get_attr("IFLA_INFO_KIND"),
                "mtu": link.get_attr("IFLA_MTU"),
                "up": link[
                    "state"
                ],  # the operational state follows when the kernel gets round to it (linkwatch)
                "addresses": sorted(addresses.get(link["index"], [])),
            }
    return found


def namespaces(lab: Lab) -> dict[str, Namespace]:
    return {n.name or "host": n for n in (lab.host, lab.client.namespace, lab.server.namespace)}


def drawing(axes: dict[str, Any]) -> dict[str, Any]:
    with bring_up(cell(**axes)) as lab:
        return {name: devices(namespace) for name, namespace in namespaces(lab).items()}


def pot(number: int) -> list[str]:
    return [f"10.42.0.{number}/24", f"fd42::{number}/64"]


@pytest.mark.parametrize("mtu", [1500, 9000])
def test_the_wire_is_the_drawing(in_room: InRoom, mtu: int) -> None:
    def device(index: int, addresses: list[str]) -> dict[str, Any]:
        return {"index": index, "kind": "veth", "mtu": mtu, "up": "up", "addresses": addresses}

    assert in_room(drawing, {**WIRE, "mtu": mtu}) == {
        "host": {"yg1-host": device(1001, []), "yg2-host": device(1003, [])},
        "yogurt-1": {"yg1-cont": device(1002, pot(1))},
        "yogurt-2": {"yg2-cont": device(1004, pot(2))},
    }


def test_the_direct_pair_spans_both_pots_and_leaves_the_host_alone(in_room: InRoom) -> None:
    drawn = in_room(drawing, DIRECT)
    assert {
        place: {name: d["addresses"] for name, d in there.items()} for place, there in drawn.items()
    } == {
        "host": {},
        "yogurt-1": {"yg1-cont": pot(1)},
        "yogurt-2": {"yg2-cont": pot(2)},
    }


def test_loopback_has_both_ends_in_one_pot(in_room: InRoom) -> None:
    drawn = in_room(drawing, axes_of("loopback"))
    assert {name: d["addresses"] for name, d in drawn["yogurt-1"].items()} == {
        "yg1-cont": pot(1),
        "yg2-cont": pot(2),
    }
    assert set(drawn) == {"host", "yogurt-1"}


def test_a_bridge_joins_the_host_ends(in_room: InRoom) -> None:
    assert set(in_room(drawing, axes_of("bridge"))["host"]) == {"yg1-host", "yg2-host", "yg-bridge"}


def indexes(topology: str) -> list[int]:
    with bring_up(cell(**axes_of(topology))) as lab:
        return [d["index"] for n in namespaces(lab).values() for d in devices(n).values()]


@pytest.mark.parametrize("topology", TOPOLOGIES)
def test_ifindexes_are_from_1000_up_and_unique_across_namespaces(
    in_room: InRoom, topology: str
) -> None:
    found = in_room(indexes, topology)
    assert min(found) >= 1000
    assert len(found) == len(set(found))


def talks(axes: dict[str, Any]) -> dict[str, bool]:
    with bring_up(cell(**axes)) as lab:
        lab.settle()
        return {"v4": is_reachable(lab, 4), "v6": is_reachable(lab, 6), "tcp": exchanges_tcp(lab)}


@pytest.mark.parametrize("topology", ["direct", "bridge", "routed", "loopback"])
@pytest.mark.parametrize("neighbours", ["arp", "static"])
def test_what_needs_no_program_talks(in_room: InRoom, topology: str, neighbours: str) -> None:
    assert in_room(talks, {**axes_of(topology), "neighbours": neighbours}) == {
        "v4": True,
        "v6": True,
        "tcp": True,
    }


def crosses_without_programs() -> list[bool]:
    with bring_up(cell(**WIRE)) as lab:
        return [is_reachable(lab, ip) for ip in (4, 6)]


def test_without_its_programs_the_wire_is_cut(in_room: InRoom) -> None:
    assert in_room(crosses_without_programs) == [False, False]


def pair_is_unknown_to_arp() -> list[str]:
    with bring_up(cell(**DIRECT, neighbours="static")) as lab:
        return [
            str(n["state"]) for n in lab.client.namespace.ip.get_neighbours(dst=lab.server.ipv4)
        ]


def test_static_neighbours_are_permanent(in_room: InRoom) -> None:
    assert in_room(pair_is_unknown_to_arp) == ["128"]


def addresses_before_up(topology: str) -> dict[str, int]:
    """How many addresses each pot's device had when the lab began to wait for it to be up."""
    had: dict[str, int] = {}
    await_up = Interface.await_up

    def looking(end: Interface) -> None:
        had[end.name] = len(devices(end.namespace)[end.name]["addresses"])
        await_up(end)

    Interface.await_up = looking  # type: ignore[method-assign]
    with bring_up(cell(**axes_of(topology))) as lab:
        return {pot.end.name: had[pot.end.name] for pot in (lab.client, lab.server)}


@pytest.mark.parametrize("topology", TOPOLOGIES)
def test_a_device_is_up_before_it_has_addresses(in_room: InRoom, topology: str) -> None:
    """Told late that a link carries, IPv6 reports its groups again: a wire counted 6 packets where
    ping had sent 5.
    """
    assert in_room(addresses_before_up, topology) == {"yg1-cont": 0, "yg2-cont": 0}


def what_is_left(topology: str) -> dict[str, Any]:
    """What a lab leaves in its room: names, devices, descriptors and threads."""
    with bring_up(cell(**DIRECT)):
        pass  # what is made once is made now: caches, modules
    before = len(os.listdir("/proc/self/fd"))
    with bring_up(cell(**axes_of(topology))) as lab:
        lab.settle()
    return {
        "names": os.listdir("/run/netns"),
        "devices": sorted(os.listdir("/sys/class/net")),
        "descriptors": len(os.listdir("/proc/self/fd")) - before,
    }


@pytest.mark.parametrize("topology", TOPOLOGIES)
def test_nothing_is_left_after_leaving(in_room: InRoom, topology: str) -> None:
    left = in_room(what_is_left, topology)
    assert {name for name in left["devices"] if name.startswith("yg")} == set()
    assert (left["names"], left["descriptors"]) == ([], 0)


def left_after_failing() -> list[str]:
    try:
        with bring_up(cell(**WIRE)):
            raise KeyboardInterrupt
    except KeyboardInterrupt:
        return os.listdir("/run/netns") + [
            n for n in os.listdir("/sys/class/net") if n.startswith("yg")
        ]


def test_nothing_is_left_after_an_interrupt(in_room: InRoom) -> None:
    assert in_room(left_after_failing) == []


def again_and_again(times: int) -> int:
    for _ in range(times):
        with bring_up(cell(**WIRE)):
            pass
    return times


def test_a_lab_can_be_rebuilt_at_once_under_the_same_names(in_room: InRoom) -> None:
    assert in_room(again_and_again, 10) == 10


@pytest.mark.parametrize(
    ("axis", "names"),
    [
        (
            "gso",
            [
                "tx-generic-segmentation",
                "tx-tcp-segmentation",
                "tx-tcp6-segmentation",
                "tx-udp-segmentation",
            ],
        ),
        ("gro", ["rx-gro", "rx-gro-list"]),
        ("checksum", ["tx-checksum-ip-generic"]),
    ],
)
def test_offloads_that_are_off_are_off_on_every_end(
    in_room: InRoom, axis: str, names: list[str]
) -> None:
    ends = in_room(switches, {axis: "off"})
    assert set(ends) == {"yg1-host", "yg1-cont", "yg2-host", "yg2-cont"}
    assert [(end, name) for end, features in ends.items() for name in names if features[name]] == []


def test_offloads_that_are_on_are_as_the_kernel_made_them(in_room: InRoom) -> None:
    for features in in_room(switches, {}).values():
        assert features["tx-generic-segmentation"]
        assert features["tx-checksum-ip-generic"]


def room_itself() -> dict[str, Any]:
    return {
        "pid": os.getpid(),
        "devices": sorted(os.listdir("/sys/class/net")),
        "names": os.listdir("/run/netns"),
        "processes": [int(name) for name in os.listdir("/proc") if name.isdigit()],
    }


def test_a_room_is_empty_and_its_first_process_is_ours(in_room: InRoom) -> None:
    room = in_room(room_itself)
    assert room["pid"] == 1
    assert "lo" in room["devices"]
    assert not [name for name in room["devices"] if name.startswith(("eth", "en", "yg"))]
    assert (room["names"], room["processes"]) == ([], [1])


def settings() -> dict[str, str]:
    with bring_up(cell(**{**DIRECT, "topology": "routed"})) as lab, lab.host.entered():
        return {"inside": Path("/proc/sys/net/ipv4/ip_forward").read_text().strip()}


def test_sysctls_are_the_rooms_own(in_room: InRoom) -> None:
    outside = Path("/proc/sys/net/ipv4/ip_forward").read_text()
    assert in_room(settings) == {"inside": "1"}
    assert Path("/proc/sys/net/ipv4/ip_forward").read_text() == outside


def kept_by_labs() -> int:
    """Bytes that forty labs leave in this process, where a link is asked for again and again."""

    def use_labs(count: int) -> int:
        for _ in range(count):
            with bring_up(cell(**WIRE)) as lab:
                for _ in range(50):
                    list(lab.host.ip.get_links(1))
        gc.collect()
        return tracemalloc.get_traced_memory()[0]

    tracemalloc.start()
    before = use_labs(10)
    return use_labs(40) - before


def test_labs_leave_nothing_in_the_process_that_makes_them(in_room: InRoom) -> None:
    # An answer that is kept takes over 100 bytes, and forty labs ask two thousand times.
    assert in_room(kept_by_labs) < 100_000
