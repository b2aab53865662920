"""One recorded probe of a cell's wire: the tracer's events and every frame on the devices.

Runs in the lab; returns a JSON-serialisable dict. An echo for each IP version, each in a fresh lab:
what one has done to it (a neighbour learned, a loop silenced) must not be the other's evidence.
"""

from __future__ import annotations

import base64
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from yogurtbench.agent.trial import attached_wire
from yogurtbench.core import install_hints
from yogurtbench.core.builds import user_program
from yogurtbench.core.errors import HostError
from yogurtbench.core.records import Trial
from yogurtbench.ebpf import tracer
from yogurtbench.ebpf.loop_guard import LoopGuard, Looping
from yogurtbench.ebpf.programs import Programs
from yogurtbench.ebpf.tracer import Event, Tracer
from yogurtbench.ebpf.wire import Wire, attachment_point
from yogurtbench.lab import Lab, bring_up
from yogurtbench.lab.inventory import read_inventory
from yogurtbench.lab.packet_socket import MOST_FRAMES, Tap, tapping
from yogurtbench.loads import probes

_SEQUENCE = 1
#: A namespace's name and a device's.
Place = tuple[str, str]
_NOWHERE: tuple[Place, str] = ("", ""), ""
_KINDS = {
    tracer.QUEUE: "net_dev_queue",
    tracer.XMIT: "net_dev_xmit",
    tracer.RX: "netif_rx",
    tracer.RECEIVE: "netif_receive_skb",
    tracer.HIT: "program",
    tracer.DROP: "kfree_skb",
}
_WORDS = {
    (0x0806, 1): "ARP request",
    (0x0806, 2): "ARP reply",
    (0x0800, 8): "echo request",
    (0x0800, 0): "echo reply",
    (0x0800, 3): "ICMP unreachable",
    (0x86DD, 128): "echo request",
    (0x86DD, 129): "echo reply",
    (0x86DD, 135): "neighbour solicitation",
    (0x86DD, 136): "neighbour advertisement",
    (0x86DD, 1): "ICMPv6 unreachable",
}
#: What a driver's ndo_start_xmit gives back (include/linux/netdevice.h), 0 being fine.
_CODES = {1: "NET_XMIT_DROP", 2: "NET_XMIT_CN", 16: "NETDEV_TX_BUSY"}


def record_probe(trial: Trial, programs: Programs) -> dict[str, Any]:
    """Send one echo for each IP version that the lab has, and record it.

    ``probes``, a dictionary each: ``ip, source, destination, answered, dropped`` (where, as in the
    metric dropped_at), ``looped`` (seconds, None), ``overflowed``, ``events`` and ``taps``. An
    event: ``ns`` since the echo was sent, ``what``, ``namespace``, ``device``, ``packet``, ``skb``
    (a number for each packet's address), ``note``. A tap: ``namespace``, ``device``, ``frames``,
    each its time (ns since 1970), whether outgoing, and its bytes in base64, and ``cut``, whether
    there may have been more.

    Raises HostError where this kernel shows no packets.
    """
    if not tracer.layout():
        raise HostError(
            "a probe is recorded by the kernel's tracepoints, and this kernel has no BTF that "
            "describes them"
        )
    made = (_record_probe(trial, programs, ip) for ip in (4, 6))
    return {"probes": [probe for probe in made if probe]}


def _record_probe(trial: Trial, programs: Programs, ip: int) -> dict[str, Any] | None:
    """Return the record of one echo; None where the lab has no such IP version."""

    def compiled() -> Any:
        return programs.ours(traced=True)

    with (
        bring_up(trial.cell) as network,
        attached_wire(programs, network, user_program(trial), traced=True) as wire,
    ):
        if ip == 6 and network.no_ipv6:
            return None
        beside, watchdog = wire.records() if wire else [], LoopGuard(wire)
        with (
            tapping(network) as taps,
            tracer.tracing(compiled, network.namespaces, beside, closely=True) as seen,
        ):
            if seen is None:
                how = install_hints.how_to_get("bcc")
                raise HostError(
                    f"a probe is recorded with bcc, whose Python binding is missing: {how}"
                )
            made: dict[str, Any] = {"looped": None}
            try:
                with watchdog.watching():
                    network.settle()
                    sent_at = time.time_ns()
                    made |= _probe(network, ip, seen, wire)
                watchdog.look()
            except Looping as loop:
                made["looped"] = loop.seconds
            return {**made, "taps": [_describe_events(tap, sent_at) for tap in taps]}


def _probe(network: Lab, ip: int, seen: Tracer, wire: Wire | None) -> dict[str, Any]:
    """Send the echo; what came of it, and its events from then on."""
    client, address = network.client, network.server.address(ip)
    with probes.open_icmp_socket(network, ip) as sender:
        seen.reset()
        sent = time.monotonic_ns()
        answered = probes.echo_once(sender, address, ip, _SEQUENCE, seen)
    events = [event for event in seen.events() if event.time >= sent]
    drop = None if answered else tracer.find_drop(events, ip, _SEQUENCE)
    return {
        "ip": ip,
        "source": client.address(ip),
        "destination": address,
        "answered": answered,
        "dropped": tracer.drop_label(drop) if drop else None,
        "overflowed": seen.overflowed,
        "events": list(_events(events, sent, _devices(network), _programs(network, wire))),
    }


def _programs(network: Lab, wire: Wire | None) -> dict[int, tuple[Place, str]]:
    """Return where each program is attached, and its hook and name, by its row."""
    ends = {a: attachment_point(a, network)[0] for a in (wire.attached if wire else ())}
    return {
        a.row: ((end.namespace.name or "host", end.name), f"{a.hook}: {a.program}")
        for a, end in ends.items()
    }


def _devices(network: Lab) -> dict[int, Place]:
    """Namespace and name by ifindex.

    No two devices of a lab share one but lo, which is the client's if anybody's.
    """
    through_lo = network.client.namespace.name or ""
    found: dict[int, Place] = {}
    for namespace in read_inventory(network):
        for device in namespace["devices"]:
            index = device["ifindex"]
            found[index] = (through_lo if index == 1 else namespace["name"], device["name"])
    return found


def _events(
    events: Sequence[Event],
    sent: int,
    devices: Mapping[int, Place],
    programs: Mapping[int, tuple[Place, str]],
) -> Iterator[dict[str, Any]]:
    """Yield the events for people.

    Events of net_dev_xmit carry no packet data: report only those whose skb was seen before.
    """
    packets: dict[int, str] = {}
    numbers: dict[int, int] = {}
    for event in events:
        if event.kind == tracer.XMIT and event.skb not in packets:
            continue
        if event.kind not in (tracer.XMIT, tracer.HIT):
            packets[event.skb] = _packet(event)
            numbers.setdefault(event.skb, len(numbers) + 1)
        hit, note = (
            programs.get(event.type, _NOWHERE)
            if event.kind == tracer.HIT
            else (None, _describe_event(event))
        )
        namespace, device = hit or devices.get(event.ifindex, ("", ""))
        yield {
            "ns": event.time - sent,
            "what": _KINDS[event.kind],
            "namespace": namespace,
            "device": device,
            "packet": packets.get(event.skb, ""),
            "skb": numbers.get(event.skb),
            "note": note,
        }


def _packet(event: Event) -> str:
    return _WORDS.get(event.shape, f"EtherType {event.protocol:#06x}, type {event.type}")


def _describe_event(event: Event) -> str:
    if event.kind == tracer.DROP:
        return f"{event.where}: {event.reason}"
    return _CODES.get(event.code, f"returned {event.code}") if event.code else ""


def _describe_events(tap: Tap, sent_at: int) -> dict[str, Any]:
    carried = tap.frames()
    frames = [frame for frame in carried if frame.time >= sent_at]
    return {
        "namespace": tap.namespace,
        "device": tap.device,
        "frames": [[f.time, f.outgoing, base64.b64encode(f.content).decode()] for f in frames],
        "cut": len(carried) == MOST_FRAMES,
    }
