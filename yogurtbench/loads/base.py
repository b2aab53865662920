"""Parts that the loads share: context, results, pinning, readiness, packet arithmetic."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from yogurtbench.core.patience import Patience
from yogurtbench.core.printable import quoted
from yogurtbench.core.process import Background, how_ended
from yogurtbench.core.records import Details, Status, Trial
from yogurtbench.ebpf.tracer import Tracer
from yogurtbench.lab import Endpoint, Lab, Unsupported
from yogurtbench.loads.privileges import drop_privileges

#: No skb is larger: GSO_LEGACY_MAX_SIZE in include/linux/netdevice.h (BIG TCP is off in every lab).
LARGEST_SKB = 65_536
#: Readiness is polled this often (seconds); on the instruction clock less often, since each look at
#: the kernel's tables is emulated.
_POLL = 0.002
_POLL_TABLES = {"wall": _POLL, "instructions": 0.025}


class LoadFailed(Exception):
    """The load ran and did not come to a result.

    The text says why, in the tool's own words where it had any.
    """


@dataclass(frozen=True, slots=True)
class Flow:
    """The packets that the wire must have counted each way for the result to be believed.

    Both bounds inclusive; ``None``: no upper bound.
    """

    forward: tuple[int, int | None]
    back: tuple[int, int | None]


@dataclass(frozen=True, slots=True)
class LoadResult:
    """A load's result: contract metrics by name, the flow for the path assertion, and details.

    ``missing``: metrics that came to no value while others did, each with its status and why.
    """

    values: dict[str, float | str | None]
    flow: Flow | None = None
    details: Details = field(default_factory=Details)
    missing: dict[str, tuple[Status, str]] = field(default_factory=dict)


#: A scheduling policy (sched(7)) before all others.
_FIRST = ("chrt", "--fifo", "1")


@dataclass(frozen=True, slots=True)
class LoadContext:
    """A network that is up, and the trial to run over it."""

    lab: Lab
    trial: Trial
    tracer: Tracer | None = None
    #: Where the wire's programs are attached, by row (see wire.Wire.places).
    places: Mapping[int, str] = field(default_factory=dict)

    @property
    def client(self) -> Endpoint:
        """The end that sends requests."""
        return self.lab.client

    @property
    def server(self) -> Endpoint:
        """The end that answers."""
        return self.lab.server

    @property
    def address(self) -> str:
        """The server's address in the cell's IP version."""
        return self.server.address(self.trial.cell.ip)

    @property
    def payload(self) -> int:
        """Bytes per message or write; loads without a payload do not read it."""
        assert self.trial.cell.payload is not None
        return self.trial.cell.payload

    @property
    def cpus(self) -> tuple[int, ...]:
        """Every CPU that the load may run on."""
        return tuple(sorted(set(_pinned(self.trial.cell.cpus)) or os.sched_getaffinity(0)))

    def option(self, name: str) -> float:
        """Return a numeric load option, in seconds where it is a time."""
        return float(self.trial.options[name])

    def client_command(self, argv: Sequence[str], *, raw: bool = False) -> list[str]:
        """Return ``argv`` in the client's namespace, pinned as the cell says, without privileges.

        ``raw``: it keeps the right to raw sockets.
        """
        pinned = [*_pin(self.trial.cell.cpus, 0), *self._unprivileged(argv, raw=raw)]
        return self.client.namespace.command(pinned)

    def server_command(self, argv: Sequence[str], *, first: bool = False) -> list[str]:
        """Return the same in the server's namespace, without any privilege.

        ``first``: it has the CPU whenever it has something to do.
        """
        scheduled = [*(_FIRST if first else ()), *self._unprivileged(argv)]
        return self.server.namespace.command([*_pin(self.trial.cell.cpus, 1), *scheduled])

    def _unprivileged(self, argv: Sequence[str], *, raw: bool = False) -> list[str]:
        """Return ``argv`` without privileges, but for a guest on the instruction clock.

        There is nothing there to protect, and each program more that is executed costs time.
        """
        exact = self.trial.clock == "instructions"
        return list(argv) if exact else drop_privileges(argv, raw=raw)


def _pin(cpus: str | tuple[int, int] | None, side: int) -> list[str]:
    """taskset(1) for the client (side 0) or the server (side 1)."""
    wanted = _pinned(cpus)
    return ["taskset", "-c", str(wanted[side])] if wanted else []


def _pinned(cpus: str | tuple[int, int] | None) -> tuple[int, ...]:
    """Return the client's and the server's CPU, nothing where they are free.

    Raises Unsupported where one does not exist.
    """
    if cpus in (None, "free"):
        return ()
    usable = sorted(os.sched_getaffinity(0))
    wanted = (
        {"same": (usable[0], usable[0]), "split": tuple(usable[:2])}.get(cpus)
        if isinstance(cpus, str)
        else cpus
    )
    if not wanted or len(wanted) < 2:
        raise Unsupported(f"cpus {cpus} needs two CPUs and this host may use {len(usable)}")
    if not set(wanted) <= set(usable):
        raise Unsupported(f"cpus {list(wanted)}: this host may only use {usable}")
    return wanted


def bound_ports(table: str, *, listening: bool) -> set[int]:
    """Local ports of a /proc/net/{tcp,udp,tcp6,udp6} table; ``listening``: only state 0A.

    See proc_net_tcp(5).
    """
    rows = [line.split() for line in table.splitlines()[1:]]
    return {int(row[1].rpartition(":")[2], 16) for row in rows if not listening or row[3] == "0A"}


def wait_until_bound(
    bench: LoadContext, server: Background, protocol: str, port: int, timeout: float
) -> None:
    """Return when the server's port is bound in its namespace.

    Raises LoadFailed when it ends, or time does.
    """
    patience = Patience(timeout)
    tables = (
        Path("/proc/thread-self/net", protocol),
        Path("/proc/thread-self/net", f"{protocol}6"),
    )
    while True:
        with bench.server.namespace.entered():
            bound: set[int] = set()
            for table in filter(Path.exists, tables):
                bound |= set(bound_ports(table.read_text(), listening=protocol == "tcp"))
        if port in bound:
            return
        if not server.alive:
            done = server.end()
            raise LoadFailed(
                f"the server ended before it was ready: {quoted(done.stderr, done.stdout)}"
            )
        if not patience.pause(_POLL_TABLES[bench.trial.clock]):
            raise LoadFailed(f"nothing was bound to {protocol} port {port} after {timeout:g} s")


#: How long a server that serves once is waited for when its load is over (seconds).
_LEAVES = 1.0


@contextmanager
def outlived_by(server: Background, *, once: bool = False) -> Iterator[None]:
    """Yield a block that the server has to outlive, or, where it serves ``once``, to end well with.

    Raises LoadFailed with the server's own words where it died, whatever the client had to say.
    """
    try:
        yield
    except LoadFailed as error:
        if why := _death(server, once=once):
            raise LoadFailed(f"{error}; {why}") from error
        raise
    patience = Patience(_LEAVES)
    while once and server.alive and patience.pause(_POLL):
        pass
    if why := _death(server, once=once):
        raise LoadFailed(why)


def _death(server: Background, *, once: bool) -> str:
    """Return how a server ended that should not have, empty where all is well."""
    if server.alive or (once and server.process.returncode == 0):
        return ""
    done = server.end()
    return f"the server {how_ended(done.code)} during the load: {quoted(done.stderr, done.stdout)}"


def packets_per_message(payload: int, ip: int | None, mtu: int) -> int:
    """IP packets that one datagram of ``payload`` bytes becomes (8 bytes of UDP or ICMP header; RFC
    791, RFC 8200).
    """
    header, extra = (40, 8) if ip == 6 else (20, 0)
    if payload + 8 + header <= mtu:
        return 1
    room = mtu - header - extra
    whole = room // 8 * 8
    # Over IPv4 the last fragment may fill the MTU (__ip_append_data), over IPv6 it may not
    # (__ip6_append_data).
    last = whole if ip == 6 else room
    return 1 - (last - payload - 8) // whole
