"""The probes' positive control.

What they use is tried once where it has to work, whatever the wires do.

One pair of devices without any program joins two namespaces; over it go an ICMP echo of each IP
version, a TCP exchange, a datagram, and a frame that an AF_PACKET socket sends and another one
hears. What does not get through there could not be asked anywhere: a trial whose probe stays
without an answer has failed then, and its wire is not dead.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from contextlib import closing
from functools import cache
from pathlib import Path

from pyroute2.netlink.exceptions import NetlinkError

from yogurtbench.core.process import CommandFailed
from yogurtbench.core.records import Cell
from yogurtbench.lab import Lab, Unsupported, bring_up
from yogurtbench.loads import probes, raw
from yogurtbench.loads.asking import CannotAsk
from yogurtbench.loads.mailbox import UdpReceiver, send

#: What can be asked, by the word in its sentences.
IPV4, IPV6, TCP, UDP, PACKETS = "IPv4", "IPv6", "TCP", "UDP", "packet sockets"

_TIMEOUT = 0.5
_LAB_IS_UP = Path("/run/netns/yogurt-2")
_PLAIN: dict[str, object] = {
    "topology": "direct",
    "hook": "none",
    "helper": "none",
    "return_hook": "none",
    "return_helper": "none",
    "program": "builtin",
    "ip": None,
    "payload": None,
    "mtu": 1500,
    "streams": None,
    "gso": "on",
    "gro": "off",
    "checksum": "on",
    "cpus": None,
    "kernel": "host",
    "load": "reachability",
}
_VETH: dict[str, object] = {
    "device": "veth",
    "mode": "l2",
    "policy": None,
    "scrub": None,
    "headroom": None,
}
_NETKIT: dict[str, object] = {
    "device": "netkit",
    "mode": "l3",
    "policy": "forward",
    "scrub": "default",
    "headroom": 0,
}


def unmeasurable() -> Mapping[str, str]:
    """Return what cannot be asked on this machine, each with the reason; empty where all can.

    Found out once, by trying, and kept for the life of this process. It needs the sandbox for
    itself: while a lab is up it says nothing.
    """
    return {} if _LAB_IS_UP.exists() and not _examine.cache_info().currsize else _examine()


@cache
def _examine() -> Mapping[str, str]:
    """Say nothing where no pair of devices can be made at all: every trial will say that itself."""
    for device in (_VETH, _NETKIT):
        neighbours = "arp" if device is _VETH else None
        beside = None if device is _VETH else "none"
        axes = {**_PLAIN, **device, "neighbours": neighbours, "primary": beside, "peer": beside}
        cell = Cell(**axes)  # type: ignore[arg-type]
        try:
            with bring_up(cell) as lab:
                return _try_control(lab)
        except (Unsupported, NetlinkError, CommandFailed, OSError):
            continue
    return {}


def require_measurable(*questions: str) -> None:
    """Raise CannotAsk where the control of one of these found that it cannot be asked."""
    found = unmeasurable()
    for question in questions:
        if question in found:
            raise CannotAsk(found[question])


def _try_control(lab: Lab) -> dict[str, str]:
    found: dict[str, str] = {}
    for question, attempt in _ATTEMPTS.items():
        try:
            answered = attempt(lab)
        except Unsupported as absent:
            found[question] = str(absent)
        except (CannotAsk, OSError) as error:
            found[question] = str(error)
        else:
            if not answered:
                plain = f"a plain {lab.cell.device} pair without any program"
                found[question] = (
                    f"could not ask over {question}: over {plain} there is no answer either"
                )
    return found


def _hears_packets(lab: Lab) -> bool:
    """Return whether a packet socket hears what another one sends."""
    sent, heard = lab.server.end, lab.client.end
    mark = secrets.token_bytes(16)
    with lab.client.namespace.entered():
        sniffer = raw.Sniffer(heard)
    with closing(sniffer):
        with closing(raw.Transmitter(lab.server.namespace)) as transmitter:
            transmitter.send(sent, raw.ETH_P_EXPERIMENT, mark, heard.mac())
        return mark in sniffer.hear([], [mark], _TIMEOUT)


def _takes_datagrams(lab: Lab) -> bool:
    token = secrets.token_bytes(16)
    with closing(UdpReceiver(lab.server)) as mailbox:
        return send(lab.client, lab.server.ipv4, mailbox.port, token) and mailbox.receives(
            token, _TIMEOUT
        )


_ATTEMPTS: dict[str, Callable[[Lab], bool]] = {
    IPV4: lambda lab: probes.is_reachable(lab, 4),
    IPV6: lambda lab: probes.is_reachable(lab, 6),
    TCP: probes.exchanges_tcp,
    UDP: _takes_datagrams,
    PACKETS: _hears_packets,
}
