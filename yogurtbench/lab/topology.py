"""Builds a cell's network: pots (namespaces with an address), pairs, and what joins their host
ends.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from typing import Any

from pyroute2.netlink.exceptions import NetlinkError

from yogurtbench.core.records import Cell
from yogurtbench.lab import namespace, offload, pair
from yogurtbench.lab.endpoint import Endpoint, Interface
from yogurtbench.lab.namespace import Namespace
from yogurtbench.lab.network import Lab, StaticNeighbour, neighbours_of_each_other
from yogurtbench.lab.pair import GROUP, Unsupported

IFA_F_NODAD = 0x02
RT_SCOPE_LINK = 253
#: What a gateway is reached by: its IPv4 and its IPv6 address.
Addresses = tuple[str, str]


@contextmanager
def bring_up(cell: Cell) -> Iterator[Lab]:
    """Yield the cell's network for the length of the block; on the way out all of it is gone.

    Where IPv6 cannot be had it has IPv4 only (``Lab.no_ipv6``).

    Raises Unsupported where the kernel lacks a feature the cell names, NetlinkError where it
    refuses otherwise.
    """
    with ExitStack() as undo:
        host = namespace.open_host()
        undo.callback(host.close)
        lab = _TOPOLOGIES[cell.topology](cell, host, undo)
        for end in lab.ends:
            offload.apply_offloads(end, cell)
        if cell.neighbours == "static":
            for acquaintance in lab.acquaintances:
                acquaintance.add_entries()
        lab.no_ipv6 = lab.client.end.lacks_ipv6() or lab.server.end.lacks_ipv6()
        yield lab


def _removing_devices(of: Namespace, undo: ExitStack) -> None:
    """Remove a namespace's lab devices at the end, and with them peers and programs."""
    undo.callback(_remove_devices, of)


def _remove_devices(of: Namespace) -> None:
    try:
        of.ip.link("del", group=GROUP)
    except NetlinkError as error:
        if (
            error.code != errno.ENODEV
        ):  # the very first device was refused: there is nothing to remove
            raise


def _pot_namespace(name: str, undo: ExitStack) -> Namespace:
    made = namespace.create(name)
    undo.callback(made.close)
    return made


def _add_address(end: Interface, ipv4: str, ipv6: str, lengths: tuple[int, int] = (24, 64)) -> None:
    end.namespace.ip.addr("add", index=end.ifindex, address=ipv4, prefixlen=lengths[0])
    if not end.lacks_ipv6():
        _add_ipv6_address(end, ipv6, lengths[1])


def _add_ipv6_address(end: Interface, address: str, length: int) -> None:
    end.namespace.ip.addr(
        "add", index=end.ifindex, address=address, prefixlen=length, flags=IFA_F_NODAD
    )


def _pot(end: Interface, ipv4: str, ipv6: str) -> Endpoint:
    """Give an end its addresses, once it is up."""
    end.await_up()
    _add_address(end, ipv4, ipv6)
    return Endpoint(end.namespace, end, ipv4, ipv6)


def _yogurt(end: Interface, number: int) -> Endpoint:
    """Pot ``number`` of the seed's drawing."""
    return _pot(end, f"10.42.0.{number}", f"fd42::{number}")


def _two_pairs(cell: Cell, host: Namespace, undo: ExitStack) -> Lab:
    """Return the seed's drawing, without what joins the host ends."""
    one, two = _pot_namespace("yogurt-1", undo), _pot_namespace("yogurt-2", undo)
    _removing_devices(host, undo)
    a, cont1 = pair.make_pair(cell, (host, "yg1-host", 1001), (one, "yg1-cont", 1002))
    b, cont2 = pair.make_pair(cell, (host, "yg2-host", 1003), (two, "yg2-cont", 1004))
    client, server = _yogurt(cont1, 1), _yogurt(cont2, 2)
    return Lab(
        cell,
        host,
        client,
        server,
        a,
        b,
        [a, cont1, b, cont2],
        neighbours_of_each_other(client, server),
    )


def _direct(cell: Cell, host: Namespace, undo: ExitStack) -> Lab:
    """Set up one pair that spans both namespaces."""
    one, two = _pot_namespace("yogurt-1", undo), _pot_namespace("yogurt-2", undo)
    return _one_pair(cell, host, one, two, undo)


def _loopback(cell: Cell, host: Namespace, undo: ExitStack) -> Lab:
    """Set up both ends in one namespace: the kernel delivers over lo, and no pair can beat it."""
    one = _pot_namespace("yogurt-1", undo)
    return _one_pair(cell, host, one, one, undo)


def _one_pair(cell: Cell, host: Namespace, one: Namespace, two: Namespace, undo: ExitStack) -> Lab:
    _removing_devices(one, undo)
    near, far = pair.make_pair(cell, (one, "yg1-cont", 1002), (two, "yg2-cont", 1004))
    client, server = _yogurt(near, 1), _yogurt(far, 2)
    return Lab(
        cell,
        host,
        client,
        server,
        ends=[near, far],
        acquaintances=neighbours_of_each_other(client, server),
    )


def _bridge(cell: Cell, host: Namespace, undo: ExitStack) -> Lab:
    """Two pairs, their host ends ports of a Linux bridge without spanning tree or multicast
    snooping.
    """
    lab = _two_pairs(cell, host, undo)
    bridge = {
        "kind": "bridge",
        "ifname": "yg-bridge",
        "index": 1005,
        "mtu": cell.mtu,
        "group": GROUP,
    }
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
    """Build two pairs and IP forwarding between host ends that are gateways with addresses."""
    lab = _two_pairs(cell, host, undo)
    assert lab.a and lab.b
    _forwarding(host)
    lab.acquaintances = []
    for pot, end, number in ((lab.client, lab.a, 1), (lab.server, lab.b, 2)):
        gateway = _serve(pot, end, number)
        lab.acquaintances += _gateway_and(pot, end, gateway)
        _route_through(pot, lab.server if pot is lab.client else lab.client, gateway)
    return lab


def _uplink(cell: Cell, host: Namespace, undo: ExitStack) -> Lab:
    """Build north-south: a client outside, the host's uplink, and a container behind it.

    namespace "outside"          the lab's host namespace           namespace "yogurt-2"
      up-out ──veth── up-host ═══ eBPF wire, or IP forwarding ═══ yg2-host ──pair── yg2-cont

      up-out 10.43.0.1/24, fd43::1/64         yg2-host 10.42.255.2
      up-host 10.43.0.254/24, fd43::fe/64     yg2-cont 10.42.0.2/24, fd42::2/64

    The container has a default route through its host end, the host a route to the container,
    outside one through the host. No frame is rewritten but by the helpers themselves: redirect_peer
    hands the container what was addressed to the uplink, and the container takes it, because the
    uplink has already found it to be for this host (PACKET_HOST); redirect would have it looked at
    again and dropped (PACKET_OTHERHOST); redirect_neigh writes the next hop's address.

    Outside and host know each other for good: a wire on the uplink carries off all that arrives
    there, ARP and neighbour discovery too, and so nothing can be asked across it. Between the
    container and its host end the axis ``neighbours`` says; it defaults to static here, as network
    plugins set it, for the same reason.
    """
    outside, two = _pot_namespace("outside", undo), _pot_namespace("yogurt-2", undo)
    _removing_devices(host, undo)
    veth = replace(cell, device="veth")
    a, out = pair.make_pair(veth, (host, "up-host", 1001), (outside, "up-out", 1002))
    b, cont = pair.make_pair(cell, (host, "yg2-host", 1003), (two, "yg2-cont", 1004))
    client, server = _pot(out, "10.43.0.1", "fd43::1"), _yogurt(cont, 2)
    uplink = _pot(a, "10.43.0.254", "fd43::fe")
    for known in neighbours_of_each_other(client, uplink):
        known.add_entries()
    _forwarding(host)
    gateway = _serve(server, b, 2)
    _route(server, ("0.0.0.0/0", "::/0"), gateway)
    _route(client, (f"{server.ipv4}/32", f"{server.ipv6}/128"), (uplink.ipv4, uplink.ipv6))
    return Lab(
        cell, host, client, server, a, b, [a, out, b, cont], _gateway_and(server, b, gateway)
    )


def _forwarding(where: Namespace) -> None:
    where.sysctl("ipv4/ip_forward", 1)
    with suppress(FileNotFoundError):  # a kernel without IPv6
        where.sysctl("ipv6/conf/all/forwarding", 1)


def _serve(pot: Endpoint, end: Interface, number: int) -> Addresses:
    """Make the host end the pot's gateway: its addresses, and routes to each other."""
    gateway = f"10.42.255.{number}", f"fd42:ff::{number}"
    _add_address(end, *gateway, lengths=(32, 128))
    if not end.lacks_ipv6():
        # A forwarder solicits neighbours from its link-local address only (ndisc_send_ns).
        _add_ipv6_address(end, f"fe80::{number}", 64)
    for where, (ipv4, ipv6) in ((end, (pot.ipv4, pot.ipv6)), (pot.end, gateway)):
        where.namespace.ip.route("add", dst=f"{ipv4}/32", oif=where.ifindex, scope=RT_SCOPE_LINK)
        if not where.lacks_ipv6():
            where.namespace.ip.route("add", dst=f"{ipv6}/128", oif=where.ifindex)
    return gateway


def _gateway_and(pot: Endpoint, end: Interface, gateway: Addresses) -> list[StaticNeighbour]:
    """Return a pot and the host end that is its gateway."""
    return neighbours_of_each_other(pot, Endpoint(end.namespace, end, *gateway))


def _route_through(pot: Endpoint, other: Endpoint, gateway: Addresses) -> None:
    _route(pot, (f"{other.ipv4}/32", f"{other.ipv6}/128"), gateway)


def _route(pot: Endpoint, destinations: Addresses, gateway: Addresses) -> None:
    route: Callable[..., Any] = pot.namespace.ip.route
    versions = 1 if pot.end.lacks_ipv6() else 2
    for destination, through in list(zip(destinations, gateway, strict=True))[:versions]:
        route("add", dst=destination, gateway=through, oif=pot.end.ifindex)


_TOPOLOGIES: dict[str, Callable[[Cell, Namespace, ExitStack], Lab]] = {
    "wire": _two_pairs,
    "direct": _direct,
    "loopback": _loopback,
    "bridge": _bridge,
    "routed": _routed,
    "uplink": _uplink,
}
