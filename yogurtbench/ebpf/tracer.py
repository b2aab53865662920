"""The tracer: what the kernel did to a lab's own packets, from bpf/trace.c at its tracepoints.

Two questions are answered from its record: where did a request die, and through how many queues
does a round trip go.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cache
from itertools import chain
from typing import Any

from yogurtbench.core.errors import HostError
from yogurtbench.ebpf import btf
from yogurtbench.ebpf.kernel_symbols import symbol_at
from yogurtbench.lab.namespace import Namespace

QUEUE, RX, RECEIVE, DROP, HIT, XMIT = 1, 2, 3, 4, 5, 6
_TRACEPOINTS = {
    "net_dev_queue": "on_queue",
    "netif_rx": "on_rx",
    "netif_receive_skb": "on_receive",
    "kfree_skb": "on_drop",
}
#: Only for who looks closely: it says nothing that a queue and a receive do not say about a packet
#: that gets through.
_CLOSELY = {"net_dev_xmit": "on_xmit"}
#: YB_EVENTS of trace.c.
_CAPACITY = 1024

_ARP, _IPV4, _IPV6 = 0x0806, 0x0800, 0x86DD
#: What stands for a resolving request per EtherType: ARP operation 1, ICMPv6 neighbour
#: solicitation.
_ASKS = {(_ARP, 1), (_IPV6, 135)}
_REQUESTS = {4: (_IPV4, 8), 6: (_IPV6, 128)}
_REPLIES = {4: (_IPV4, 0), 6: (_IPV6, 129)}

#: Where a request is freed whose neighbour never answered: ndisc_error_report gives no reason, and
#: where the compiler made its last call a jump, its caller is seen.
_GIVES_UP = {"neigh_invalidate", "arp_error_report", "ndisc_error_report"}

_STEPS = {QUEUE: "queue", RX: "backlog", RECEIVE: "receive", DROP: "drop"}


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened to one packet.

    ``time`` in ns (CLOCK_MONOTONIC), ``where`` a kernel function and ``reason`` for drops, ``skb``
    the packet's address (0 for hits), ``code`` what a driver returned.
    """

    kind: int
    time: int
    ifindex: int
    protocol: int
    type: int
    sequence: int
    where: str = ""
    reason: str = ""
    skb: int = 0
    code: int = 0

    @property
    def shape(self) -> tuple[int, int]:
        """EtherType and ICMP type or ARP operation."""
        return self.protocol, self.type


def find_drop(events: Sequence[Event], ip: int, sequence: int) -> Event | None:
    """Return the first drop of an echo request, or of the neighbour request made for it, in order
    of time.
    """
    for event in sorted(events, key=lambda e: e.time):
        if event.kind == DROP and _belongs(event, ip, sequence):
            return event
    return None


def drop_label(drop: Event) -> str:
    """Return a drop in the contract's words.

    ``function:REASON``, ``arp:`` (IPv6: ``nd:``) in front where resolving died.
    """
    died_resolving = drop.shape in _ASKS or drop.reason == "NEIGH_FAILED" or drop.where in _GIVES_UP
    site = f"{drop.where}:{drop.reason}"
    if not died_resolving:
        return site
    return f"nd:{site}" if drop.protocol == _IPV6 else f"arp:{site}"


def most_common_site(sites: Sequence[str]) -> str | None:
    """Return the word said most often; among equals the one said first."""
    return max(sites, key=sites.count) if sites else None


def count_hops(events: Sequence[Event], ip: int, sequence: int) -> dict[str, float]:
    """Return how often one echo's request and reply passed each tracepoint, by metric."""
    of_echo = [
        e for e in events if e.shape in (_REQUESTS[ip], _REPLIES[ip]) and e.sequence == sequence
    ]
    counted = {"hops_netif_rx": RX, "hops_receive": RECEIVE, "hops_queue": QUEUE}
    return {metric: float(sum(e.kind == kind for e in of_echo)) for metric, kind in counted.items()}


def packet_path(
    events: Sequence[Event], devices: Mapping[int, str], programs: Mapping[int, str]
) -> list[str]:
    """Return an echo's path there and back: a step an event, in order of time.

    ``devices`` names ifindexes, ``programs`` the rows of attached programs. The events must be one
    echo's alone.
    """
    echo, steps = {*_REQUESTS.values(), *_REPLIES.values()}, []
    for event in sorted(events, key=lambda e: e.time):
        if event.kind == HIT:
            steps.append(f"program {programs.get(event.type, event.type)}")
        elif event.shape in echo and not (event.kind == DROP and event.shape in _REPLIES.values()):
            # A reply is freed like a dropped packet once the asking socket has its copy.
            steps.append(f"{_STEPS[event.kind]} {devices.get(event.ifindex, event.ifindex)}")
    return steps


def _belongs(event: Event, ip: int, sequence: int) -> bool:
    if event.shape in _ASKS:
        return (event.protocol == _ARP) == (ip == 4)
    return event.shape == _REQUESTS[ip] and event.sequence == sequence


def function(symbol: str) -> str:
    """Return a kernel symbol without offset and suffix: ``f.constprop.0+0x1b`` is ``f``."""
    return re.split(r"[.+ ]", symbol.strip(), maxsplit=1)[0]


def reason(number: int) -> str:
    """Return a value of enum skb_drop_reason by name, without the common prefix.

    As a number where the kernel has no name.
    """
    return _names.get(number, str(number))


#: The members that netns.h and trace.c read, by structure.
_READ = {
    "sk_buff": ["head", "network_header", "protocol", "dev", "sk"],
    "net_device": ["ifindex", "nd_net"],
    "sock_common": ["skc_net"],
    "net": ["net_cookie"],
}
#: kfree_skb's parameters before Linux 6.11: its own data, packet, location, reason. The receiving
#: socket came after.
_WITHOUT_SOCKET = 4


@cache
def layout() -> tuple[str, ...]:
    """Compiler flags that tell netns.h where the running kernel's fields lie.

    Empty where it has no BTF.
    """
    try:
        types = btf.running()
        found = {name: types.offsets(name, members) for name, members in _READ.items()}
        _reasons(types)
        names_socket = types.parameters("btf_trace_kfree_skb") > _WITHOUT_SOCKET
    except (OSError, ValueError, KeyError):
        return ()
    flags: list[str] = []
    for structure, members in found.items():
        for member, at in members.items():
            flags.append(f"-DYB_{structure.upper()}_{member.upper()}={at}")
    return (*flags, *["-DYB_DROP_SOCKET"] * names_socket)


_names: dict[int, str] = {}


def _reasons(types: btf.BTF) -> None:
    """Learn the names of enum skb_drop_reason, without their common prefix."""
    _names.update(
        {
            n: name.removeprefix("SKB_DROP_REASON_")
            for n, name in types.enumerators("skb_drop_reason").items()
        }
    )


class _EventBuffer:
    """The record that one compiled text keeps: at most 1024 events."""

    def __init__(self, bpf: Any) -> None:
        self._bpf = bpf
        self._read: list[Event] = []

    def events(self) -> list[Event]:
        table, new = self._bpf["yb_events"], min(self.happened, _CAPACITY)
        self._read += [self._event(table[at]) for at in range(len(self._read), new)]
        return self._read

    @property
    def happened(self) -> int:
        return int(self._bpf["yb_next"][0].value)

    def reset(self) -> None:
        self._read = []
        self._bpf["yb_next"][self._bpf["yb_next"].Key(0)] = self._bpf["yb_next"].Leaf(0)

    def _event(self, raw: Any) -> Event:
        where = why = ""
        if raw.kind == DROP:
            where, why = function(symbol_at(raw.location)), reason(raw.reason)
        code = raw.reason if raw.kind == XMIT else 0
        return Event(
            raw.kind,
            raw.time,
            raw.ifindex,
            raw.protocol,
            raw.type,
            raw.sequence,
            where,
            why,
            raw.skb,
            code,
        )


class Tracer:
    """The tracepoints, attached. ``events`` may be read at any time."""

    def __init__(self, bpf: Any, *beside: Any) -> None:
        self._records = [_EventBuffer(handle) for handle in (bpf, *beside)]

    def events(self) -> list[Event]:
        """Everything recorded since it was attached, in order of time.

        Of a loop, the first 1024 events.
        """
        recorded = chain.from_iterable(record.events() for record in self._records)
        return sorted(recorded, key=lambda event: event.time)

    @property
    def overflowed(self) -> bool:
        """Whether more happened than the record holds: packets that loop inside the kernel do
        that.
        """
        return any(record.happened > _CAPACITY for record in self._records)

    def reset(self) -> None:
        """Forget what was recorded."""
        for record in self._records:
            record.reset()


@contextmanager
def tracing(
    bpf: Callable[[], Any],
    namespaces: Iterable[Namespace],
    beside: Iterable[Any] = (),
    *,
    closely: bool = False,
) -> Iterator[Tracer | None]:
    """Yield a tracer of these namespaces for the length of the block; None without bcc.

    ``beside``: handles that record hits of their own (wire.Wire.records). ``closely``: net_dev_xmit
    too.
    """
    try:
        handle = bpf()
    except HostError:  # no bcc: reachability is measured all the same
        yield None
        return
    with ExitStack() as undo:
        filter_namespaces(handle, namespaces)
        for tracepoint, name in (_TRACEPOINTS | (_CLOSELY if closely else {})).items():
            handle.attach_raw_tracepoint(tp=tracepoint.encode(), fn_name=name.encode())
            undo.callback(handle.detach_raw_tracepoint, tracepoint.encode())
        made = Tracer(handle, *beside)
        made.reset()
        yield made


def filter_namespaces(handle: Any, namespaces: Iterable[Namespace]) -> None:
    """Have the programs of a handle look at these namespaces and no other."""
    table = handle["yb_netns"]
    table.clear()
    for namespace in namespaces:
        table[table.Key(namespace.cookie())] = table.Leaf(1)
