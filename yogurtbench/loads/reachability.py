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

from yogurtbench.lab import Lab
from yogurtbench.loads.common import Bench, Measured

#: Tries, and how long each waits for its answer (seconds). A wire that is alive answers within milliseconds.
PROBES = 3
PATIENCE = 0.5

_TCP_PORT = 7007
_ECHO = {4: (8, 0), 6: (128, 129)}  # ICMP types of request and reply (RFC 792, RFC 4443)


def run(bench: Bench) -> Measured:
    """``reachable``, ``reachable_v6`` and ``tcp_ok`` (0 or 1). Never fails: a dead wire is a result."""
    lab = bench.lab
    values: dict[str, float | str | None] = {
        "reachable": float(answers(lab, 4)),
        "reachable_v6": float(answers(lab, 6)),
    }
    values["tcp_ok"] = float(bool(values["reachable"]) and exchanges_tcp(lab))
    return Measured(values)


def answers(lab: Lab, ip: int, probes: int = PROBES) -> bool:
    """Whether yogurt-2 answers an ICMP echo from yogurt-1."""
    with lab.client.namespace.entered():
        family, protocol = (
            (socket.AF_INET6, socket.IPPROTO_ICMPV6) if ip == 6 else (socket.AF_INET, socket.IPPROTO_ICMP)
        )
        try:
            opened = socket.socket(family, socket.SOCK_RAW, protocol)
        except OSError:  # no IPv6 in this kernel
            return False
    with opened as sender:
        return any(_echoed(sender, lab.server.address(ip), ip, sequence) for sequence in range(1, probes + 1))


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


def _echoed(sender: socket.socket, address: str, ip: int, sequence: int) -> bool:
    identifier = os.getpid() & 0xFFFF
    try:
        sender.sendto(echo_request(ip, identifier, sequence), (address, 0))
    except OSError:  # no neighbour, no buffer: not answered
        return False
    deadline = time.monotonic() + PATIENCE
    while (left := deadline - time.monotonic()) > 0:
        if not select.select([sender], [], [], left)[0]:
            return False
        packet = sender.recv(2048)
        if ip == 4:
            packet = packet[(packet[0] & 0x0F) * 4 :]  # a raw IPv4 socket is given the IP header too
        kind, _, _, its_identifier, its_sequence = struct.unpack("!BBHHH", packet[:8])
        if (kind, its_identifier, its_sequence) == (_ECHO[ip][1], identifier, sequence):
            return True
    return False


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
