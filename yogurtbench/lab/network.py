"""A running lab: its endpoints, host-side interfaces and static neighbour entries."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from pyroute2.netlink.exceptions import NetlinkError

from yogurtbench.core.patience import Patience
from yogurtbench.core.records import Cell
from yogurtbench.lab.endpoint import Endpoint, Interface
from yogurtbench.lab.namespace import Namespace

NUD_PERMANENT = 0x80


@dataclass(frozen=True, slots=True)
class StaticNeighbour:
    """Enter ``neighbour``'s link-layer address for what ``end`` sends to ``addresses``."""

    end: Interface
    addresses: tuple[str, str]
    neighbour: Interface

    def add_entries(self) -> None:
        """Add permanent neighbour entries, so that no ARP or ND is needed."""
        mac, table = self.neighbour.mac(), self.end.namespace.ip.neigh
        for address in self.addresses[: 1 if self.end.lacks_ipv6() else 2]:
            table("replace", dst=address, lladdr=mac, ifindex=self.end.ifindex, state=NUD_PERMANENT)

    def forget(self, ip: int) -> None:
        """Let its address of IP version 4 or 6 be asked for anew."""
        address = self.addresses[ip == 6]
        with suppress(NetlinkError):  # it may know nobody
            self.end.namespace.ip.neigh("del", dst=address, ifindex=self.end.ifindex)


def neighbours_of_each_other(one: Endpoint, other: Endpoint) -> list[StaticNeighbour]:
    """Two pots that share a link."""
    return [
        StaticNeighbour(one.end, (other.ipv4, other.ipv6), other.end),
        StaticNeighbour(other.end, (one.ipv4, one.ipv6), one.end),
    ]


@dataclass(slots=True)
class Lab:
    """A network that is up. ``a`` and ``b`` are the host ends (None where the topology has none).

    ``acquaintances`` are those that the axis ``neighbours`` speaks of. ``no_ipv6``: why the lab has
    IPv4 only; empty where it has both.
    """

    cell: Cell
    host: Namespace
    client: Endpoint
    server: Endpoint
    a: Interface | None = None
    b: Interface | None = None
    ends: list[Interface] = field(default_factory=list)
    acquaintances: list[StaticNeighbour] = field(default_factory=list)
    no_ipv6: str = ""

    @property
    def namespaces(self) -> tuple[Namespace, ...]:
        """Every namespace the lab's packets pass."""
        return tuple(
            {id(n): n for n in (self.host, self.client.namespace, self.server.namespace)}.values()
        )

    def flush_neighbours(self, ip: int) -> None:
        """Let those who found each other by asking (l2 only) ask anew; permanent entries stay."""
        if self.cell.neighbours != "arp":
            return
        for known in self.acquaintances:
            known.forget(ip)

    def settle(self) -> None:
        """Return when the pots have said what they say of their own accord: their multicast reports
        (l2 only).

        Until then a wire would count packets that no load sent. Bounded: a kernel that reports
        nothing costs a second. Without IPv6 they have nothing to say.
        """
        if self.no_ipv6:
            return
        patience = Patience(_SETTLE_SECONDS)
        for pot in (self.client, self.server):
            if self._has_link_layer(pot):
                while _multicast_reports(pot.namespace) < _REPORTS and patience.pause(0.001):
                    pass

    def _has_link_layer(self, pot: Endpoint) -> bool:
        """NOARP devices join no solicited-node groups (addrconf_join_solict).

        Outside is always behind a veth.
        """
        return self.cell.mode == "l2" or (self.cell.topology == "uplink" and pot is self.client)


_SETTLE_SECONDS = 1.0
#: A membership is reported as often as the robustness variable says, 2 (RFC 3810, 9.1; sysctl
#: mld_qrv).
_REPORTS = 2
#: Counters of a report that was sent, and of one that the device refused, as netkit does by its
#: policy (mld_sendpack).
_SAID = ("Icmp6OutMLDv2Reports", "Ip6OutDiscards")


def _multicast_reports(where: Namespace) -> int:
    """MLDv2 reports a namespace has sent or tried to (proc(5): /proc/net/snmp6)."""
    with where.entered():
        try:
            table = Path("/proc/thread-self/net/snmp6").read_text()
        except FileNotFoundError:  # no IPv6: nothing to wait for
            return _REPORTS
    return sum(int(value) for name, value in map(str.split, table.splitlines()) if name in _SAID)
