"""Try who on the host can capture from the wire or inject into it, over IPv4.

A yes is its own proof: the packet was there. A no is believed only beside a positive control with
the same socket on the same device: the sniffer sees a control frame sent through its device, the
injected frame is in the device's own counters, the receiver gets a datagram that was sent after it.
Where the control fails the metric is missing, never 0.

Nothing here sleeps: with everything on one CPU a packet sent later over the same queues does not
overtake, so once the control has arrived what was sent before it has arrived too, or never will.
"""

from __future__ import annotations

import errno
import os
import secrets
import socket
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from functools import partial

from yogurtbench.core.patience import Patience
from yogurtbench.core.records import IsolationDetails, Status
from yogurtbench.lab import Interface, Lab
from yogurtbench.lab.namespace import Namespace
from yogurtbench.loads import control, raw, unprivileged
from yogurtbench.loads.asking import CannotAsk, probing
from yogurtbench.loads.base import LoadContext, LoadResult
from yogurtbench.loads.mailbox import TIMEOUT, TOKEN_BYTES, UdpReceiver, send
from yogurtbench.loads.packets import echo_request, udp_packet

#: How far a device's counters may lag behind (seconds): some drivers count when the far end polls.
LAG = 0.05
#: How often they are read until then (seconds).
_LOOK = 0.001
_TRIES = 3

EAVESDROPS = ("eavesdrop_host_a", "eavesdrop_host_b", "eavesdrop_any")


@dataclass(slots=True)
class Verdicts:
    """Answers found so far, and why there is none where there is none."""

    values: dict[str, float | str | None] = field(default_factory=dict)
    missing: dict[str, tuple[Status, str]] = field(default_factory=dict)
    details: IsolationDetails = field(default_factory=IsolationDetails)
    carried: bool = False

    @contextmanager
    def or_missing(self, *metrics: str) -> Iterator[None]:
        """Let these metrics fail, with the reason, where the block cannot ask.

        On a dead wire too.
        """
        try:
            yield
        except CannotAsk as reason:
            self.missing |= dict.fromkeys(metrics, ("failed", str(reason)))

    def judge(self, metric: str, seen: bool, doubt: str) -> None:
        """Record an answer: a yes needs no control.

        A no with a ``doubt`` (the control that failed) is no answer.

        On a live wire that is a failure; a dead one may well swallow the controls, and nobody uses
        it.
        """
        if doubt and not seen:
            status: Status = "failed" if self.carried else "skipped"
            self.missing[metric] = (status, f"{metric} cannot be confirmed to be 0: {doubt}")
        else:
            self.values[metric] = float(seen)


def run(bench: LoadContext) -> LoadResult:
    """Return the metrics of the contract that apply to the topology.

    Bounded by a few times ``TIMEOUT``.

    Without host ends (direct, loopback) there is no device to listen or send on: only
    ``eavesdrop_any`` and ``host_ping`` remain.
    """
    verdicts = Verdicts()
    with ExitStack() as undo:
        undo.enter_context(_one_cpu())
        mailbox = undo.enter_context(closing(UdpReceiver(bench.server)))
        transmitter = undo.enter_context(closing(raw.Transmitter(bench.lab.host)))
        _eavesdrop(bench.lab, mailbox, transmitter, verdicts)
        _inject(bench.lab, mailbox, transmitter, verdicts)
        _ping(bench.lab, verdicts)
    details: IsolationDetails = {**verdicts.details, "carried": verdicts.carried}
    return LoadResult(verdicts.values, missing=verdicts.missing, details={"isolation": details})


@contextmanager
def _one_cpu() -> Iterator[None]:
    """Stay on one CPU, so that packets keep their order: each CPU has a backlog of its own."""
    usable = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(usable)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, usable)


def _token() -> bytes:
    return secrets.token_bytes(TOKEN_BYTES)


# -- listening in ----------------------------------------------------------------------------------


def _eavesdrop(
    lab: Lab, mailbox: UdpReceiver, transmitter: raw.Transmitter, verdicts: Verdicts
) -> None:
    """Listen while yogurt-1 talks to yogurt-2, and note whether the wire carried it.

    Raises CannotAsk where nobody can know that.
    """
    traffic, sniffers = _token(), dict[str, raw.Sniffer]()
    with ExitStack() as undo:
        for metric, end in _captures(lab).items():
            with verdicts.or_missing(metric), lab.host.entered():
                sniffers[metric] = undo.enter_context(closing(raw.Sniffer(end)))
        verdicts.carried = _delivered(lab, mailbox, traffic)
        if not verdicts.carried:
            control.require_measurable(control.UDP)
            why = "the wire carries nothing from yogurt-1 to yogurt-2: there is nothing to capture"
            verdicts.missing |= dict.fromkeys(sniffers, ("skipped", why))
            return
        with verdicts.or_missing(*sniffers):
            _judge_sniffers(lab, sniffers, traffic, _send_controls(lab, transmitter), verdicts)


def _captures(lab: Lab) -> dict[str, Interface | None]:
    """Return where to listen, by metric; None: on every device of the host."""
    places = dict(zip(EAVESDROPS, (lab.a, lab.b, None), strict=True))
    return {
        metric: end
        for metric, end in places.items()
        if end is not None or metric == "eavesdrop_any"
    }


def _delivered(lab: Lab, mailbox: UdpReceiver, token: bytes) -> bool:
    """Return whether a datagram from yogurt-1 arrives in yogurt-2."""
    return any(
        send(lab.client, lab.server.ipv4, mailbox.port, token)
        and mailbox.receives(token, TIMEOUT / _TRIES)
        for _ in range(_TRIES)
    )


def _send_controls(lab: Lab, transmitter: raw.Transmitter) -> dict[str, bytes]:
    """Send a control frame through each host end, or where there is none through lo.

    Its token by device.
    """
    devices = [end for end in (lab.a, lab.b) if end] or [Interface(lab.host, "lo", 1)]
    controls = {device.name: _token() for device in devices}
    for device in devices:
        transmitter.send(device, raw.ETH_P_EXPERIMENT, controls[device.name])
    return controls


def _judge_sniffers(
    lab: Lab,
    sniffers: dict[str, raw.Sniffer],
    traffic: bytes,
    controls: dict[str, bytes],
    verdicts: Verdicts,
) -> None:
    """Read what each socket has heard.

    One that is bound to no device must have heard every control frame.
    """
    own = {"eavesdrop_host_a": lab.a, "eavesdrop_host_b": lab.b}
    for metric, sniffer in sniffers.items():
        end = own.get(metric)
        expected = {end.name: controls[end.name]} if end else controls
        heard = sniffer.hear([traffic], list(expected.values()), TIMEOUT)
        deaf = [name for name, token in expected.items() if token not in heard]
        doubt = (
            f"the socket did not see a control frame sent through {deaf[0]} either" if deaf else ""
        )
        verdicts.judge(metric, traffic in heard, doubt)


# -- talking into it -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class InjectionAttempt:
    """One attempt at injection: what was sent for which metric, and why it may not have been sent
    at all.

    ``cannot``: why it could not even be tried.
    """

    metric: str
    tokens: tuple[bytes, ...]
    doubt: str
    cannot: str = ""


def _inject(
    lab: Lab, mailbox: UdpReceiver, transmitter: raw.Transmitter, verdicts: Verdicts
) -> None:
    if not (lab.a and lab.b):
        return
    shoot = partial(_inject_raw_packet, lab, transmitter)
    shots = [
        shoot("inject_raw", lab.b, mailbox.port),
        shoot("inject_bypass", lab.b, mailbox.port, bypass=True),
        shoot("inject_raw_a", lab.a, mailbox.port),
        _inject_unprivileged(lab, lab.b, mailbox.port, verdicts),
    ]
    doubt = (
        ""
        if _receiver_works(lab, mailbox, verdicts.carried)
        else "the receiver got no control datagram either"
    )
    mailbox.settle()
    for shot in shots:
        arrived = bool(mailbox.got.intersection(shot.tokens))
        with verdicts.or_missing(shot.metric):
            if shot.cannot and not arrived:
                raise CannotAsk(shot.cannot)
            verdicts.judge(shot.metric, arrived, shot.doubt or doubt)
    sent = zip(unprivileged.WAYS, shots[-1].tokens, strict=True)
    got = [way for way, token in sent if token in mailbox.got]
    verdicts.details["unprivileged"]["arrived"] = got


def _receiver_works(lab: Lab, mailbox: UdpReceiver, carried: bool) -> bool:
    """Return the receiver's control.

    A datagram from yogurt-1, or where the wire is dead from within yogurt-2 itself.
    """
    token = _token()
    if carried:
        return _delivered(lab, mailbox, token)
    return send(lab.server, lab.server.ipv4, mailbox.port, token) and mailbox.receives(
        token, TIMEOUT
    )


def _inject_raw_packet(
    lab: Lab,
    transmitter: raw.Transmitter,
    metric: str,
    end: Interface,
    port: int,
    *,
    bypass: bool = False,
) -> InjectionAttempt:
    """Return a forged packet, as if from yogurt-1, sent out on a host end by an AF_PACKET
    socket.
    """
    token, before = _token(), _tx_count(end)
    packet = udp_packet(lab.client.ipv4, lab.server.ipv4, port, token)
    try:
        error = transmitter.send(end, raw.ETH_P_IP, packet, lab.server.end.mac(), bypass=bypass)
    except CannotAsk as reason:
        return InjectionAttempt(metric, (token,), "", str(reason))
    return InjectionAttempt(
        metric, (token,), "" if _device_counted(end, before, 1) else _not_taken(end, error)
    )


def _inject_unprivileged(
    lab: Lab, end: Interface, port: int, verdicts: Verdicts
) -> InjectionAttempt:
    """Datagrams of a user without any privilege, from a socket bound to a host end."""
    tokens, before = tuple(_token() for _ in unprivileged.WAYS), _tx_count(end)
    with lab.host.entered():
        sent = unprivileged.send_unprivileged(end.name, lab.server.ipv4, port, tokens)
    verdicts.details["unprivileged"] = {"sent": sent.ways, "errors": sent.errors}
    doubt = f"the sender kept capabilities ({sent.capabilities:x})" if sent.capabilities else ""
    if not sent.ways or not _device_counted(end, before, len(sent.ways)):
        doubt = _not_taken(end, "; ".join(sent.errors))
    return InjectionAttempt("inject_unprivileged", tokens, doubt, sent.failed)


def _tx_count(end: Interface) -> int:
    """Frames ever handed to a device: sent on or dropped by it (rtnl_link_stats64)."""
    (link,) = end.namespace.ip.get_links(end.ifindex)
    stats = link.get_attr("IFLA_STATS64")
    return int(stats["tx_packets"]) + int(stats["tx_dropped"])


def _device_counted(end: Interface, before: int, frames: int) -> bool:
    """Return whether the device counts that many frames more, ``LAG`` seconds later at most."""
    patience = Patience(LAG)
    while _tx_count(end) < before + frames:
        if not patience.pause(_LOOK):
            return False
    return True


def _not_taken(end: Interface, error: str) -> str:
    return f"{end.name} was never handed the frame" + (f" ({error})" if error else "")


# -- a plain ping ----------------------------------------------------------------------------------


def _ping(lab: Lab, verdicts: Verdicts) -> None:
    """Ping yogurt-2 from the lab's host; then, with the same socket, one who is sure to answer."""
    with verdicts.or_missing("host_ping"), ExitStack() as undo:
        outside, inside = (
            undo.enter_context(_icmp_socket(place)) for place in (lab.host, lab.server.namespace)
        )
        error = _ping_error(outside, lab.server.ipv4)
        verdicts.details["host_ping"] = error or "answered"
        doubt = (
            "the same socket cannot ping 127.0.0.1 either"
            if _ping_error(outside, "127.0.0.1")
            else ""
        )
        doubt = doubt or (
            "yogurt-2 does not even answer itself" if _ping_error(inside, lab.server.ipv4) else ""
        )
        if doubt and error:
            raise CannotAsk(f"host_ping cannot be confirmed to be 0: {doubt}")
        verdicts.judge("host_ping", not error, doubt)


def _icmp_socket(where: Namespace) -> socket.socket:
    with where.entered(), probing(control.IPV4, "a raw ICMP socket"):
        return socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)


def _ping_error(sender: socket.socket, address: str) -> str:
    """Return why a ping was not answered; empty where it was.

    Raises CannotAsk where it could not be sent.

    The host has no route to a container behind a wire: ENETUNREACH is an answer here.
    """
    token = _token()
    try:
        with probing(control.IPV4, f"an echo request to {address}", errno.ENETUNREACH):
            sender.sendto(echo_request(4, 0, 1, token), (address, 0))
    except OSError as error:
        return raw.error_name(error)
    patience = Patience(TIMEOUT)
    while patience.is_readable(sender):
        packet = sender.recv(2048)
        message = packet[(packet[0] & 0x0F) * 4 :]  # the IP header comes with it
        if (
            message[0] == 0 and token in message
        ):  # an echo reply; on lo the request comes by as well
            return ""
    return "no answer"
