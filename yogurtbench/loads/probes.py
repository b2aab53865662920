"""The probes: ICMP echo over IPv4 and IPv6, and a TCP exchange, by sockets of our own.

Our own sockets and not ping(8): a probe has to cost milliseconds, because it also stands before
every other load. What kept us from asking is raised as CannotAsk and never taken for an answer that
did not come (see loads.asking).
"""

from __future__ import annotations

import errno
import os
import socket
from contextlib import ExitStack, suppress
from dataclasses import dataclass

from yogurtbench.core.patience import SLICE, Patience
from yogurtbench.ebpf import tracer
from yogurtbench.ebpf.tracer import Tracer
from yogurtbench.lab import Lab, Unsupported
from yogurtbench.loads.asking import CannotAsk, error_of, explain_error, is_answer, probing
from yogurtbench.loads.packets import ECHO, ICMP, echo_request

#: Tries, and how long each waits for its answer (seconds). A wire that is alive answers within
#: milliseconds.
PROBES = 3
TIMEOUT = 0.5
#: How often the tracer is read while waiting, and how long an answer may still come after a drop
#: (seconds).
_LOOK = 0.005
_AFTER_DROP = 0.03
#: How long nothing may move in a TCP exchange (seconds): more than the fifth wait of a sender whose
#: segments were lost (0.2 s, doubled each time, RFC 6298), as small ones are on a busy machine.
_STALLED = 4.0
#: Below this MTU (RFC 791) no more bytes than that are under way at once: 64 KiB in
#: pieces of 36 overflow a CPU's backlog (net.core.netdev_max_backlog, 1,000 packets). Then Linux
#: 6.18's TCP now and then counts as unsent what arrived, and takes no further acknowledgement.
_SMALL_MTU, _SMALL_WINDOW = 576, 8192

_TCP_PORT = 7007


@dataclass(frozen=True, slots=True)
class Echo:
    """Whether an echo came back.

    The drop site of each request that did not, where the tracer saw one.
    """

    answered: bool
    sites: tuple[str, ...] = ()


def is_reachable(lab: Lab, ip: int) -> bool:
    """Return whether yogurt-2 answers an ICMP echo from yogurt-1, within three tries.

    Raises as :func:`ask`.
    """
    return ping(lab, ip, None).answered


def ping(lab: Lab, ip: int, seen: Tracer | None, probes: int = PROBES) -> Echo:
    """Send echo requests until one is answered.

    With a tracer a request seen dropped is not waited for.

    Raises Unsupported where the lab has no IPv6, CannotAsk where what is missing is not the answer.
    """
    if ip == 6 and lab.no_ipv6:
        raise Unsupported(lab.no_ipv6)
    sites: list[str] = []
    with open_icmp_socket(lab, ip) as sender:
        for sequence in range(1, probes + 1):
            if seen:
                seen.reset()
            if echo_once(sender, lab.server.address(ip), ip, sequence, seen):
                return Echo(answered=True)
            drop = tracer.find_drop(seen.events(), ip, sequence) if seen else None
            if drop:
                sites.append(tracer.drop_label(drop))
            if seen and seen.overflowed:
                break
            if sequence < probes:
                lab.flush_neighbours(ip)
    return Echo(answered=False, sites=tuple(sites))


def open_icmp_socket(lab: Lab, ip: int) -> socket.socket:
    """Return a raw ICMP socket in the client's namespace.

    Raises CannotAsk where there is none to be had.
    """
    family, protocol = (
        (socket.AF_INET6, socket.IPPROTO_ICMPV6)
        if ip == 6
        else (socket.AF_INET, socket.IPPROTO_ICMP)
    )
    with lab.client.namespace.entered(), probing(f"IPv{ip}", "a raw ICMP socket"):
        return socket.socket(family, socket.SOCK_RAW, protocol)


def echo_once(
    sender: socket.socket, address: str, ip: int, sequence: int, seen: Tracer | None
) -> bool:
    """Send one echo request; whether its answer came.

    With a tracer a request seen dropped is not waited for.

    Raises CannotAsk where it could not be sent, or what came could not be read.
    """
    identifier = os.getpid() & 0xFFFF
    try:
        with probing(f"IPv{ip}", f"an echo request to {address}"):
            sender.sendto(echo_request(ip, identifier, sequence), (address, 0))
    except OSError:  # the network says that nobody is there
        return False
    patience = Patience(TIMEOUT)
    while patience.left > 0:
        if patience.wait_a_slice([sender], longest=_LOOK if seen else SLICE)[0]:
            if _is_reply(_received(sender, ip), ip, identifier, sequence):
                return True
        elif seen and (seen.overflowed or tracer.find_drop(seen.events(), ip, sequence)):
            # Seen dropped: no answer will come, unless what was dropped was a copy.
            patience, seen = Patience(_AFTER_DROP), None
    return False


def _received(sender: socket.socket, ip: int) -> bytes:
    """Return what the socket has; empty where that is an error of the network's."""
    try:
        with probing(f"IPv{ip}", "receiving"):
            return sender.recv(2048)
    except OSError:
        return b""


def _is_reply(packet: bytes, ip: int, identifier: int, sequence: int) -> bool:
    if ip == 4 and packet:
        packet = packet[(packet[0] & 0x0F) * 4 :]  # a raw IPv4 socket is given the IP header too
    if len(packet) < ICMP.size:
        return False
    kind, _, _, its_identifier, its_sequence = ICMP.unpack(packet[: ICMP.size])
    return (kind, its_identifier, its_sequence) == (ECHO[ip][1], identifier, sequence)


def exchanges_tcp(lab: Lab) -> bool:
    """Return whether a TCP connection opens and carries 64 KiB there and one byte back.

    It is given up when nothing has moved for as long as the probes wait. Raises CannotAsk where the
    sockets themselves are refused.
    """
    with ExitStack() as undo:
        with lab.server.namespace.entered(), probing("TCP", f"listening on {lab.server.ipv4}"):
            listener = undo.enter_context(socket.create_server((lab.server.ipv4, _TCP_PORT)))
            if lab.cell.mtu < _SMALL_MTU:
                listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_WINDOW_CLAMP, _SMALL_WINDOW)
        with lab.client.namespace.entered(), probing("TCP", "a socket"):
            client = undo.enter_context(socket.socket())
        client.setblocking(False)
        try:
            with probing("TCP", f"connecting to {lab.server.ipv4}"):
                _connect(client, lab.server.ipv4)
                if not _ready(listener, client):
                    return False
                served = undo.enter_context(listener.accept()[0])
                return _talk(client, served)
        except OSError:  # the network refused it, or ended it
            return False


def _connect(client: socket.socket, address: str) -> None:
    number = client.connect_ex((address, _TCP_PORT))
    if number not in (0, errno.EINPROGRESS):
        raise error_of(number)


def _ready(listener: socket.socket, client: socket.socket) -> bool:
    """Return whether the listener has a connection in time.

    Raises CannotAsk for a pending error that is not the network's.
    """
    if not Patience(_STALLED).is_readable(listener):
        return False
    pending = error_of(client.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR))
    if pending.errno and not is_answer(pending, later=True):
        raise CannotAsk(f"could not ask over TCP: connecting: {explain_error(pending)}")
    return not pending.errno


def _talk(client: socket.socket, served: socket.socket) -> bool:
    """Send full packets there (offloads must hold), a byte back; return whether both arrived.

    A small MTU on a busy machine takes its time, so only a stall counts. Raises OSError where the
    connection breaks.
    """
    expected, sent, got = 65_536, 0, 0
    served.setblocking(False)
    while got < expected:
        waiting = [client] if sent < expected else []
        readable, writable = Patience(_STALLED).wait([served], waiting)
        if not readable and not writable:
            return False
        with suppress(BlockingIOError):
            sent += client.send(bytes(expected - sent)) if writable else 0
            piece = served.recv(expected) if readable else b""
            got += len(piece)
            if readable and not piece:
                return False
    served.send(b"!")
    return Patience(_STALLED).is_readable(client) and client.recv(1) == b"!"
