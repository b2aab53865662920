"""Does anything arrive? ICMP echo over IPv4 and IPv6, and a TCP exchange, by sockets of our own.

Our own sockets and not ping(8): a probe has to cost milliseconds, because it also stands before every other load.
"""

from __future__ import annotations

import os
import select
import socket
import struct
import time
from contextlib import ExitStack
from dataclasses import dataclass

from yogurtbench import witness
from yogurtbench.lab import Lab
from yogurtbench.loads.common import Bench, Measured
from yogurtbench.witness import Witness

#: Tries, and how long each waits for its answer (seconds). A wire that is alive answers within milliseconds.
PROBES = 3
PATIENCE = 0.5
#: How often the witness is asked while waiting, and how long an answer may still come after a drop (seconds).
_LOOK = 0.005
_AFTER_DROP = 0.03

_TCP_PORT = 7007
_ECHO = {4: (8, 0), 6: (128, 129)}  # ICMP types of request and reply (RFC 792, RFC 4443)


def run(bench: Bench) -> Measured:
    """Whether anything arrives, where it dies, and what a round trip passes. Never fails: a dead wire is a result.

    ``reachable``, ``reachable_v6``, ``tcp_ok`` (0 or 1); for a wire that carries nothing ``dropped_at``, of the IPv4
    request where that died, else of the IPv6 one; for a live one the ``hops_*`` of a round trip, IPv4 where it can.
    """
    lab, seen = bench.lab, bench.witness
    echoes = {4: ask(lab, 4, seen)}
    # Where IPv4 is dead and a witness watches, one IPv6 request seen dropped is enough: dead wires are tried twice.
    echoes[6] = ask(lab, 6, seen, PROBES if echoes[4].answered or not seen else 1)
    alive = [ip for ip, echo in echoes.items() if echo.answered]
    values: dict[str, float | str | None] = {
        "reachable": float(echoes[4].answered),
        "reachable_v6": float(echoes[6].answered),
        "tcp_ok": float(echoes[4].answered and exchanges_tcp(lab)),
    }
    way: list[str] = []
    if alive and seen:
        hops, way = _way(bench, alive[0], seen)
        values |= hops
    dead = next((echo for echo in echoes.values() if not echo.answered), None)
    if dead and dead.sites:
        values["dropped_at"] = witness.majority(dead.sites)
    details = {f"ipv{ip}": list(echo.sites) for ip, echo in echoes.items() if echo.sites}
    return Measured(values, details={"dropped": details, "path": way, "witness": seen is not None})


@dataclass(frozen=True, slots=True)
class Echo:
    """Whether an echo came back; the drop site of each request that did not, where the witness saw one."""

    answered: bool
    sites: tuple[str, ...] = ()


def answers(lab: Lab, ip: int) -> bool:
    """Whether yogurt-2 answers an ICMP echo from yogurt-1, within three tries."""
    return ask(lab, ip, None).answered


def ask(lab: Lab, ip: int, seen: Witness | None, probes: int = PROBES) -> Echo:
    """Send echo requests until one is answered. With a witness a request seen dropped is not waited for."""
    ready = opened(lab, ip)
    if ready is None:
        return Echo(answered=False)
    sites: list[str] = []
    with ready as sender:
        for sequence in range(1, probes + 1):
            if seen:
                seen.reset()
            if echoed(sender, lab.server.address(ip), ip, sequence, seen):
                return Echo(answered=True)
            drop = witness.drop_of(seen.events(), ip, sequence) if seen else None
            if drop:
                sites.append(witness.site(drop))
            if seen and seen.overflowed:
                break
            if sequence < probes:
                lab.forget_neighbours(ip)
    return Echo(answered=False, sites=tuple(sites))


def opened(lab: Lab, ip: int) -> socket.socket | None:
    """A raw ICMP socket in the client's namespace; None where the kernel has no IPv6."""
    family, protocol = (socket.AF_INET6, socket.IPPROTO_ICMPV6) if ip == 6 else (socket.AF_INET, socket.IPPROTO_ICMP)
    with lab.client.namespace.entered():
        try:
            return socket.socket(family, socket.SOCK_RAW, protocol)
        except OSError:
            return None


def _way(bench: Bench, ip: int, seen: Witness) -> tuple[dict[str, float], list[str]]:
    """What one more echo passes, now that the neighbours are known: the ``hops_*``, and its way step by step."""
    ready = opened(bench.lab, ip)
    assert ready  # it was, a moment ago
    with ready as sender:
        seen.reset()
        answered = echoed(sender, bench.server.address(ip), ip, PROBES + 1, None)
    events = seen.events()
    devices = {1: "lo", **{end.ifindex: end.name for end in bench.lab.ends}}
    if not answered:
        return {}, []
    return witness.hops(events, ip, PROBES + 1), witness.path(events, devices, bench.places)


def echo_request(ip: int, identifier: int, sequence: int) -> bytes:
    """An ICMP echo request. Over IPv6 the kernel fills in the checksum (RFC 3542), over IPv4 we do."""
    body = b"yogurtbench-probe"
    header = struct.pack("!BBHHH", _ECHO[ip][0], 0, 0, identifier, sequence)
    if ip == 6:
        return header + body
    return header[:2] + struct.pack("!H", checksum(header + body)) + header[4:] + body


def checksum(data: bytes) -> int:
    """The Internet checksum (RFC 1071)."""
    data += b"\0" * (len(data) % 2)
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def echoed(sender: socket.socket, address: str, ip: int, sequence: int, seen: Witness | None) -> bool:
    """Send one echo request; whether its answer came. With a witness a request seen dropped is not waited for."""
    identifier = os.getpid() & 0xFFFF
    try:
        sender.sendto(echo_request(ip, identifier, sequence), (address, 0))
    except OSError:  # no neighbour, no buffer: not answered
        return False
    deadline = time.monotonic() + PATIENCE
    while (left := deadline - time.monotonic()) > 0:
        if select.select([sender], [], [], min(left, _LOOK) if seen else left)[0]:
            if _is_reply(sender.recv(2048), ip, identifier, sequence):
                return True
        elif seen and (seen.overflowed or witness.drop_of(seen.events(), ip, sequence)):
            # Seen dropped: no answer will come, unless what was dropped was a copy.
            deadline, seen = time.monotonic() + _AFTER_DROP, None
    return False


def _is_reply(packet: bytes, ip: int, identifier: int, sequence: int) -> bool:
    if ip == 4:
        packet = packet[(packet[0] & 0x0F) * 4 :]  # a raw IPv4 socket is given the IP header too
    kind, _, _, its_identifier, its_sequence = struct.unpack("!BBHHH", packet[:8])
    return (kind, its_identifier, its_sequence) == (_ECHO[ip][1], identifier, sequence)


def exchanges_tcp(lab: Lab) -> bool:
    """Whether a TCP connection opens and carries 64 KiB there and one byte back within the time of the probes."""
    deadline = time.monotonic() + PROBES * PATIENCE
    with ExitStack() as undo:
        with lab.server.namespace.entered():
            listener = undo.enter_context(socket.create_server((lab.server.ipv4, _TCP_PORT)))
        with lab.client.namespace.entered():
            client = undo.enter_context(socket.socket())
        client.setblocking(False)
        client.connect_ex((lab.server.ipv4, _TCP_PORT))
        if not _ready(listener, client, deadline):
            return False
        served = undo.enter_context(listener.accept()[0])
        return _talk(client, served, deadline)


def _ready(listener: socket.socket, client: socket.socket, deadline: float) -> bool:
    left = max(0.0, deadline - time.monotonic())
    return (
        bool(select.select([listener], [], [], left)[0]) and client.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0
    )


def _talk(client: socket.socket, served: socket.socket, deadline: float) -> bool:
    """Full packets there (offloads must hold), a byte back."""
    expected, sent, got = 65_536, 0, 0
    served.setblocking(False)
    while got < expected and (left := deadline - time.monotonic()) > 0:
        readable, writable, _ = select.select([served], [client] if sent < expected else [], [], left)
        if writable:
            try:
                sent += client.send(bytes(expected - sent))
            except OSError:
                return False
        if readable:
            got += len(served.recv(expected))
    if got < expected:
        return False
    served.send(b"!")
    left = max(0.0, deadline - time.monotonic())
    return bool(select.select([client], [], [], left)[0]) and client.recv(1) == b"!"
