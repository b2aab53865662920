"""Builds a cell's network: pots (namespaces with an address), pairs, and what joins their host ends."""

from __future__ import annotations

import errno
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pyroute2.netlink.exceptions import NetlinkError

from yogurtbench.lab import namespace, netkit, offload
from yogurtbench.lab.namespace import Namespace
from yogurtbench.lab.pot import End, Pot
from yogurtbench.records import Cell

IFA_F_NODAD = 0x02
RT_SCOPE_LINK = 253
NUD_PERMANENT = 0x80
#: All devices of a lab are in one group, so that one request takes them all down: one RCU grace period, not four.
_GROUP = 42
_UNKNOWN = {errno.EOPNOTSUPP, errno.EINVAL, errno.ENOTSUP, errno.ERANGE}


class Unsupported(Exception):
    """The kernel cannot make what the cell asks for; the text says what."""


@dataclass(slots=True)
class Lab:
    """A network that is up. ``a`` and ``b`` are the host ends (None where the topology has none)."""

    cell: Cell
    host: Namespace
    client: Pot
    server: Pot
    a: End | None = None
    b: End | None = None
    ends: list[End] = field(default_factory=list)

    @property
    def namespaces(self) -> tuple[Namespace, ...]:
        """Every namespace the lab's packets pass."""
        return tuple({id(n): n for n in (self.host, self.client.namespace, self.server.namespace)}.values())

    def forget_neighbours(self) -> None:
        """Let the pots resolve each other anew; permanent entries stay."""
        if self.cell.neighbours == "static":
            return
        for pot, other in ((self.client, self.server), (self.server, self.client)):
            for address in (other.ipv4, other.ipv6):
                with suppress(NetlinkError):  # it may know nobody
                    pot.namespace.ip.neigh("del", dst=address, ifindex=pot.end.ifindex)

    def settle(self) -> None:
        """Return when the pots have said what they say of their own accord: their multicast reports (l2 only).

        Until then a wire would count packets that no load sent. Bounded: a kernel that reports nothing costs 0.2 s.
        """
        if self.cell.mode == "l3":  # NOARP devices join no solicited-node groups (addrconf_join_solict)
            return
        deadline = time.monotonic() + _SETTLE_SECONDS
        for pot in (self.client, self.server):
            while _multicast_reports(pot.namespace) < _REPORTS and time.monotonic() < deadline:
                time.sleep(0.001)


_SETTLE_SECONDS = 0.2
#: A membership is reported as often as the robustness variable says, 2 (RFC 3810, 9.1; sysctl mld_qrv).
_REPORTS = 2


def _multicast_reports(where: Namespace) -> int:
    """MLDv2 reports a namespace has sent (proc(5): /proc/net/snmp6)."""
    with where.entered():
        try:
            table = Path("/proc/thread-self/net/snmp6").read_text()
        except FileNotFoundError:  # no IPv6: nothing to wait for
            return _REPORTS
    return next(
        (int(line.split()[1]) for line in table.splitlines() if line.startswith("Icmp6OutMLDv2Reports")), _REPORTS
    )


@contextmanager
def bring_up(cell: Cell) -> Iterator[Lab]:
    """The cell's network for the length of the block; on the way out all of it is gone.

    Raises Unsupported where the kernel lacks a feature the cell names, NetlinkError where it refuses otherwise.
    """
    with ExitStack() as undo:
        host = namespace.host()
        undo.callback(host.close)
        lab = _TOPOLOGIES[cell.topology](cell, host, undo)
        for end in lab.ends:
            offload.apply(end, cell)
        if cell.neighbours == "static":
            _know_each_other(lab)
        yield lab


def _removing_devices(of: Namespace, undo: ExitStack) -> None:
    """On the way out remove the lab's devices of a namespace, and with them their peers and the programs on them."""
    undo.callback(of.ip.link, "del", group=_GROUP)


def _pot_namespace(name: str, undo: ExitStack) -> Namespace:
    made = namespace.create(name)
    undo.callback(made.close)
    return made


def _pair(cell: Cell, near: tuple[Namespace, str, int], far: tuple[Namespace, str, int]) -> list[End]:
    """Make a pair of the cell's device and set both ends up; whoever made the near namespace's devices removes them."""
    (near_ns, near_name, near_index), (far_ns, far_name, far_index) = near, far
    peer = netkit.peer_info(far_name, far_index, far_ns.fd, cell.mtu)
    if cell.device == "veth":
        request = netkit.veth_request(near_name, near_index, cell.mtu, peer)
    else:
        assert cell.policy and cell.scrub and cell.headroom is not None  # a netkit cell has them by construction
        shape = {"mode": cell.mode, "policy": cell.policy, "scrub": cell.scrub, "headroom": cell.headroom}
        request = netkit.netkit_request(near_name, near_index, cell.mtu, peer, **shape)  # type: ignore[arg-type]
    try:
        near_ns.ip.link("add", group=_GROUP, **request)
    except NetlinkError as error:
        if error.code in _UNKNOWN:
            raise Unsupported(_what_is_unsupported(cell, error)) from error
        raise
    ends = [End(near_ns, near_name, near_index), End(far_ns, far_name, far_index)]
    for end in ends:
        namespace.settle_neighbours(end.namespace, end.name)
        end.namespace.ip.link("set", index=end.ifindex, state="up")
    return ends


def _what_is_unsupported(cell: Cell, error: NetlinkError) -> str:
    extras = [f"scrub {cell.scrub}"] if cell.scrub not in (None, "default") else []
    extras += [f"headroom {cell.headroom}"] if cell.headroom else []
    what = f"{cell.device} with {' and '.join(extras)}" if extras else f"{cell.device} devices"
    return f"this kernel does not support {what} ({error})"


def _addressed(where: Namespace, end: End, number: int) -> Pot:
    """Give an end the addresses of pot ``number``."""
    ipv4, ipv6 = f"10.42.0.{number}", f"fd42::{number}"
    where.ip.addr("add", index=end.ifindex, address=ipv4, prefixlen=24)
    where.ip.addr("add", index=end.ifindex, address=ipv6, prefixlen=64, flags=IFA_F_NODAD)
    return Pot(where, end, ipv4, ipv6)


def _two_pairs(cell: Cell, host: Namespace, undo: ExitStack) -> Lab:
    """The seed's drawing, without what joins the host ends."""
    one, two = _pot_namespace("yogurt-1", undo), _pot_namespace("yogurt-2", undo)
    _removing_devices(host, undo)
    a, cont1 = _pair(cell, (host, "yg1-host", 1001), (one, "yg1-cont", 1002))
    b, cont2 = _pair(cell, (host, "yg2-host", 1003), (two, "yg2-cont", 1004))
    return Lab(cell, host, _addressed(one, cont1, 1), _addressed(two, cont2, 2), a, b, [a, cont1, b, cont2])


def _direct(cell: Cell, host: Namespace, undo: ExitStack) -> Lab:
    """One pair spanning both namespaces."""
    one, two = _pot_namespace("yogurt-1", undo), _pot_namespace("yogurt-2", undo)
    _removing_devices(one, undo)
    near, far = _pair(cell, (one, "yg1-cont", 1002), (two, "yg2-cont", 1004))
    return Lab(cell, host, _addressed(one, near, 1), _addressed(two, far, 2), ends=[near, far])


def _loopback(cell: Cell, host: Namespace, undo: ExitStack) -> Lab:
    """Both ends in one namespace: the kernel delivers over lo. What no pair can beat."""
    one = _pot_namespace("yogurt-1", undo)
    _removing_devices(one, undo)
    near, far = _pair(cell, (one, "yg1-cont", 1002), (one, "yg2-cont", 1004))
    return Lab(cell, host, _addressed(one, near, 1), _addressed(one, far, 2), ends=[near, far])


def _bridge(cell: Cell, host: Namespace, undo: ExitStack) -> Lab:
    """Two pairs, their host ends ports of a Linux bridge without spanning tree or multicast snooping."""
    lab = _two_pairs(cell, host, undo)
    bridge = {"kind": "bridge", "ifname": "yg-bridge", "index": 1005, "mtu": cell.mtu, "group": _GROUP}
    host.ip.link("add", **bridge, br_stp_state=0, br_mcast_snooping=0)
    for end in (lab.a, lab.b):
        assert end
        try:
            host.ip.link("set", index=end.ifindex, master=1005)
        except NetlinkError as error:
            raise Unsupported(
                f"this kernel takes no {cell.device} {cell.mode} device as a bridge port ({error})"
            ) from error
    host.ip.link("set", index=1005, state="up")
    return lab


def _routed(cell: Cell, host: Namespace, undo: ExitStack) -> Lab:
    """Two pairs and IP forwarding between the host ends, each host end a gateway with an address of its own."""
    lab = _two_pairs(cell, host, undo)
    assert lab.a and lab.b
    _forwarding(host)
    for pot, end, number in ((lab.client, lab.a, 1), (lab.server, lab.b, 2)):
        gateway4, gateway6 = f"10.42.255.{number}", f"fd42:ff::{number}"
        host.ip.addr("add", index=end.ifindex, address=gateway4, prefixlen=32)
        host.ip.addr("add", index=end.ifindex, address=gateway6, prefixlen=128, flags=IFA_F_NODAD)
        # A forwarder solicits neighbours from its link-local address only (ndisc_send_ns).
        host.ip.addr("add", index=end.ifindex, address=f"fe80::{number}", prefixlen=64, flags=IFA_F_NODAD)
        host.ip.route("add", dst=f"{pot.ipv4}/32", oif=end.ifindex, scope=RT_SCOPE_LINK)
        host.ip.route("add", dst=f"{pot.ipv6}/128", oif=end.ifindex)
        other = lab.server if pot is lab.client else lab.client
        _route_through(pot, other, gateway4, gateway6)
    return lab


def _forwarding(where: Namespace) -> None:
    where.sysctl("ipv4/ip_forward", 1)
    where.sysctl("ipv6/conf/all/forwarding", 1)


def _route_through(pot: Pot, other: Pot, gateway4: str, gateway6: str) -> None:
    route: Callable[..., Any] = pot.namespace.ip.route
    oif = pot.end.ifindex
    route("add", dst=f"{gateway4}/32", oif=oif, scope=RT_SCOPE_LINK)
    route("add", dst=f"{gateway6}/128", oif=oif)
    route("add", dst=f"{other.ipv4}/32", gateway=gateway4, oif=oif)
    route("add", dst=f"{other.ipv6}/128", gateway=gateway6, oif=oif)


def _know_each_other(lab: Lab) -> None:
    """Permanent neighbour entries on both pots (neighbours: static)."""
    for pot, other in ((lab.client, lab.server), (lab.server, lab.client)):
        mac = other.end.mac()
        for address in (other.ipv4, other.ipv6):
            pot.namespace.ip.neigh("replace", dst=address, lladdr=mac, ifindex=pot.end.ifindex, state=NUD_PERMANENT)


_TOPOLOGIES: dict[str, Callable[[Cell, Namespace, ExitStack], Lab]] = {
    "wire": _two_pairs,
    "direct": _direct,
    "loopback": _loopback,
    "bridge": _bridge,
    "routed": _routed,
}
