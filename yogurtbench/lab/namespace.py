"""A network namespace under a name of the private /run/netns, with a netlink socket inside it."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TypeVar

from pyroute2 import netns
from pyroute2.iproute import IPRoute

from yogurtbench.lab import inherited

#: Where this process stood when the room was furnished: the lab's host.
_SELF = "/proc/self/ns/net"
_SO_NETNS_COOKIE = 71


@contextmanager
def inside(netns_fd: int) -> Iterator[None]:
    """Be in another network namespace for the length of the block (setns(2); this process has one
    thread).
    """
    home = os.open(_SELF, os.O_RDONLY)
    try:
        netns.setns(netns_fd)
        yield
    finally:
        netns.setns(home)
        os.close(home)


class Namespace:
    """A namespace of the lab.

    ``name`` is None for the lab's host, the namespace the agent itself lives in.
    """

    def __init__(self, name: str | None, netns_fd: int) -> None:
        self.name = name
        self.fd = netns_fd
        with self.entered():
            self.ip = IPRoute()

    @contextmanager
    def entered(self) -> Iterator[None]:
        """Be in this namespace for the length of the block: sockets made there stay there."""
        with inside(self.fd):
            yield

    def command(self, argv: Sequence[str]) -> list[str]:
        """Return the command line that runs ``argv`` in this namespace (nsenter(1): one exec, no
        new mounts).
        """
        return (
            ["nsenter", f"--net=/run/netns/{self.name}", "--", *argv] if self.name else list(argv)
        )

    def cookie(self) -> int:
        """Return the kernel's own number for this namespace (SO_NETNS_COOKIE, socket(7); Linux
        5.14).
        """
        with self.entered(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
            return int.from_bytes(
                any_socket.getsockopt(socket.SOL_SOCKET, _SO_NETNS_COOKIE, 8), sys.byteorder
            )

    def sysctl(self, key: str, value: int | str) -> None:
        """Write ``net.<key>`` (slashes for dots) of this namespace.

        /proc/sys/net follows the task's namespace.
        """
        with self.entered():
            Path("/proc/sys/net", key).write_text(f"{value}\n")

    def close(self) -> None:
        """Close the sockets; a named namespace loses its name and, with it, its life."""
        self.ip.close()
        os.close(self.fd)
        if self.name:
            with suppress(FileNotFoundError):
                netns.remove(self.name)


@cache
def host() -> Namespace:
    """Return the lab's host namespace: one for the life of this process, which nobody closes."""
    return Namespace(None, os.open(_SELF, os.O_RDONLY))


def open_host() -> Namespace:
    """Return the lab's host namespace with a netlink socket of its own, for its caller to close.

    A socket that lives as long as this process grows: where a request names one link, the kernel
    answers and then acknowledges, and pyroute2 keeps the acknowledgement for a reader who never
    comes (CoreMessageQueue).
    """
    return Namespace(None, os.dup(host().fd))


def create(name: str) -> Namespace:
    """Return a new, quiet namespace: loopback is up and nothing in it sends by itself.

    IPv6 makes no link-local addresses, solicits no routers and repeats its multicast reports at
    once (how often is the whole machine's setting); neighbours stay reachable for an hour. So a
    wire's counters can be compared with the load's packets exactly.
    """
    home = os.open(_SELF, os.O_RDONLY)
    try:
        # O_CREAT: made by this very process, not by a child of its size
        netns.setns(name, fork=False)
    finally:
        netns.setns(home)
        os.close(home)
    made = Namespace(name, os.open(f"/run/netns/{name}", os.O_RDONLY))
    disable_ipv6_chatter(made)
    made.ip.link("set", index=1, state="up")
    return made


Value = TypeVar("Value", int, str)
_QUIET: dict[str, int] = {
    "ipv6/conf/default/addr_gen_mode": 1,
    "ipv6/conf/default/accept_ra": 0,
    "ipv6/conf/default/router_solicitations": 0,
    "ipv6/conf/default/accept_dad": 0,
    "ipv6/conf/default/mldv2_unsolicited_report_interval": 1,
}


#: Per device, because a new device takes the machine's defaults and not its namespace's
#: (neigh_parms_alloc).
_NEIGHBOURS: dict[str, int] = {
    # Known neighbours are not asked again within a trial.
    "base_reachable_time_ms": 3_600_000,
    # Nor one that has asked us: its address is stale from the start, and would be asked for 5 s
    # after its first use.
    "delay_first_probe_time": 3_600,
    # One that does not answer is given up after three times this, not after 3 s: probes of dead
    # wires are short.
    "retrans_time_ms": 60,
}


@dataclass(frozen=True, slots=True)
class _Machine:
    """The machine's settings that differ from the kernel's defaults, and a lab's instead."""

    of_a_namespace: dict[str, str]
    of_neighbours: dict[str, str]


@cache
def _machine() -> _Machine:
    """Compare once, in the lab's host namespace while it is new.

    A guest of ours has no such setting.
    """
    with host().entered():
        of_lo = _of_both_ips("lo", inherited.OF_NEIGHBOURS)
        of_neighbours = {
            key.replace("/lo/", "/{}/"): value
            for key, value in inherited.changed_settings(of_lo).items()
        }
        return _Machine(inherited.changed_settings(inherited.OF_A_NAMESPACE), of_neighbours)


def disable_ipv6_chatter(namespace: Namespace) -> None:
    """Undo in ``namespace`` what it has from the machine, and make devices quiet that will be made
    in it.
    """
    _restore(namespace, _machine().of_a_namespace)
    _write(namespace, _QUIET)


def set_neighbour_timeouts(namespace: Namespace, device: str) -> None:
    """Set how a device of ``namespace`` treats its neighbours."""
    _restore(
        namespace, {key.format(device): value for key, value in _machine().of_neighbours.items()}
    )
    _write(namespace, _of_both_ips(device, _NEIGHBOURS))


def _of_both_ips(device: str, settings: Mapping[str, Value]) -> dict[str, Value]:
    """Return the settings of a device's neighbours, IPv4's and IPv6's."""
    found: dict[str, Value] = {}
    for ip in ("ipv4", "ipv6"):
        found |= {f"{ip}/neigh/{device}/{key}": value for key, value in settings.items()}
    return found


def _restore(namespace: Namespace, settings: Mapping[str, str]) -> None:
    """Give settings back what kernels begin with.

    Where one is refused the run's identity has it (of_the_room).
    """
    with namespace.entered():
        for key, value in settings.items():
            with suppress(OSError):
                Path("/proc/sys/net", key).write_text(f"{value}\n")


def _write(namespace: Namespace, settings: Mapping[str, int]) -> None:
    with namespace.entered():
        for key, value in settings.items():
            # A kernel without IPv6 has none of its keys: that lab has IPv4 alone.
            with suppress(FileNotFoundError):
                Path("/proc/sys/net", key).write_text(f"{value}\n")
