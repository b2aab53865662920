"""The table of loads: one entry each, from which every other table of loads is derived.

A new load is an entry here, a class of options (matrix.load_options), a module in ``loads`` with
``run`` and a pure ``parse``, and a recorded output with its test.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

Kind = Literal["request_response", "bulk", "yes_no"]
Options = Mapping[str, Any]

#: sockperf 3.7 sleeps 2 s and warms up 0.45 s by itself.
SOCKPERF_SECONDS = 2.45
#: What a bulk load moves at most in a second, in bit, where the matrix names no bitrate.
_BITRATE = 8e8


@dataclass(frozen=True, slots=True)
class Tool:
    """A program that loads start.

    ``version``: the command that prints its version; ``maker`` and ``says`` (a pattern) tell it
    from others of the same name. Its package is that of the same word in packages.txt.
    """

    executable: str
    version: tuple[str, ...]
    maker: str
    says: str


@dataclass(frozen=True, slots=True)
class Payload:
    """Bytes that a load hands to its socket at once: the fewest, the most, and the default."""

    low: int
    high: int
    default: int


def _briefly(_options: Options) -> float:
    return 0.3


def _ping_seconds(options: Options) -> float:
    # The kernel's tick makes a ping at 10 ms intervals take 16 ms.
    return float(options["count"]) * max(float(options["interval"]), 0.016)


def _sockperf_seconds(options: Options) -> float:
    return SOCKPERF_SECONDS + float(options.get("duration") or 0.0)


def _under_load_seconds(options: Options) -> float:
    return 2 * _sockperf_seconds(options)  # the bulk transfer has to outlast sockperf


def _netperf_seconds(options: Options) -> float:
    return 0.3 + float(options.get("duration") or 0.0)


def _bulk_seconds(options: Options) -> float:
    if duration := float(options.get("duration") or 0.0):
        return duration + 0.3
    bits_a_second = min(_BITRATE, float(options.get("bitrate") or _BITRATE))
    return 0.3 + float(options["bytes"]) * 8 / bits_a_second


@dataclass(frozen=True, slots=True)
class LoadSpec:
    """A load. ``metrics``: the deciding one first.

    ``module``: that of ``yogurtbench.loads`` which runs it. ``rank``: among the loads of its kind,
    the one that shows a wire's cost best is 1. ``header_bytes``: above IP.
    ``packets_per_round_trip``: None where it depends on the transport. ``nanoseconds``: whether its
    tool prints quantiles in nanoseconds. ``seconds``: how long its processes live, by its options.
    """

    name: str
    label: str
    summary: str
    kind: Kind
    metrics: tuple[str, ...]
    module: str
    rank: int = 0
    payload: Payload | None = None
    header_bytes: int = 8
    packets_per_round_trip: int | None = None
    nanoseconds: bool = False
    tools: tuple[str, ...] = ()
    seconds: Callable[[Options], float] = _briefly

    @property
    def over_tcp(self) -> bool:
        """Whether its messages are parts of a stream."""
        return self.header_bytes > _UDP_HEADER


#: UDP's header, and ICMP's (RFC 768, RFC 792); TCP's with its time stamps (RFC 9293, RFC 7323).
_UDP_HEADER, _TCP_HEADER = 8, 32
#: A UDP datagram's most (RFC 768 over RFC 791).
_DATAGRAM = 65_507

_LATENCY = ("rtt_p50", "rtt_p90", "rtt_p99", "rtt_mean", "rtt_min", "loss")
_CPU = ("cpu_ns_per_byte", "cpu_ns_per_packet")

TOOLS: dict[str, Tool] = {
    "ping": Tool("ping", ("ping", "-V"), "iputils", r"\biputils\b"),
    "sockperf": Tool(
        "sockperf", ("sockperf", "--version"), "Mellanox", r"\bsockperf\b.*\bversion \d"
    ),
    "iperf3": Tool("iperf3", ("iperf3", "--version"), "ESnet", r"^iperf 3\."),
    "netperf": Tool("netperf", ("netperf", "-V"), "Hewlett Packard", r"^Netperf version \d"),
}

#: Payloads: sockperf has a header of 14 bytes, ping needs 16 for its time stamp, iperf3's largest
#: buffer is 1 MiB.
LOADS: dict[str, LoadSpec] = {
    spec.name: spec
    for spec in (
        LoadSpec(
            "reachability",
            label="reachability",
            summary="does anything arrive, over IPv4, IPv6 and TCP; where do packets die",
            kind="yes_no",
            metrics=("reachable", "reachable_v6", "tcp_ok"),
            module="reachability",
        ),
        LoadSpec(
            "ping",
            label="ping",
            summary="round trips of ICMP echoes: familiar and coarse",
            kind="request_response",
            metrics=_LATENCY,
            module="ping",
            rank=4,
            payload=Payload(16, _DATAGRAM, 56),
            packets_per_round_trip=2,
            tools=("ping",),
            seconds=_ping_seconds,
        ),
        LoadSpec(
            "sockperf",
            label="sockperf UDP",
            summary="round trips over UDP, in nanoseconds",
            kind="request_response",
            metrics=_LATENCY,
            module="sockperf",
            rank=1,
            payload=Payload(14, _DATAGRAM, 64),
            packets_per_round_trip=2,
            nanoseconds=True,
            tools=("sockperf",),
            seconds=_sockperf_seconds,
        ),
        LoadSpec(
            "sockperf_tcp",
            label="sockperf TCP",
            summary="round trips over TCP, in nanoseconds",
            kind="request_response",
            metrics=_LATENCY,
            module="sockperf",
            rank=2,
            payload=Payload(14, _DATAGRAM, 64),
            header_bytes=_TCP_HEADER,
            nanoseconds=True,
            tools=("sockperf",),
            seconds=_sockperf_seconds,
        ),
        LoadSpec(
            "iperf3_tcp",
            label="iperf3 TCP",
            summary="throughput over TCP",
            kind="bulk",
            metrics=("throughput", "packets_per_second", "retransmits", "bytes_per_skb", *_CPU),
            module="iperf3",
            rank=1,
            payload=Payload(1, 1_048_576, 131_072),
            header_bytes=_TCP_HEADER,
            tools=("iperf3",),
            seconds=_bulk_seconds,
        ),
        LoadSpec(
            "iperf3_udp",
            label="iperf3 UDP",
            summary="throughput, packet rate and loss over UDP",
            kind="bulk",
            metrics=("throughput", "packets_per_second", "loss", "bytes_per_skb", *_CPU),
            module="iperf3",
            rank=2,
            payload=Payload(1, _DATAGRAM, 1400),
            tools=("iperf3",),
            seconds=_bulk_seconds,
        ),
        LoadSpec(
            "rtt_under_load",
            label="round trip under load",
            summary="round trips over UDP while a TCP transfer fills the wire",
            kind="request_response",
            metrics=(*_LATENCY, "throughput"),
            module="rtt_under_load",
            rank=5,
            payload=Payload(14, _DATAGRAM, 64),
            nanoseconds=True,
            tools=("sockperf", "iperf3"),
            seconds=_under_load_seconds,
        ),
        LoadSpec(
            "netperf_tcp_rr",
            label="netperf TCP_RR",
            summary="round trips over TCP; quantiles in microseconds",
            kind="request_response",
            metrics=("rtt_mean", "rtt_p50", "rtt_p90", "rtt_p99", "rtt_min"),
            module="netperf",
            rank=3,
            payload=Payload(1, 1_048_576, 64),
            header_bytes=_TCP_HEADER,
            tools=("netperf",),
            seconds=_netperf_seconds,
        ),
        LoadSpec(
            "isolation",
            label="isolation",
            summary="who on the host can capture packets, and who can inject some",
            kind="yes_no",
            metrics=(
                "eavesdrop_host_a",
                "eavesdrop_host_b",
                "eavesdrop_any",
                "inject_raw",
                "inject_raw_a",
                "inject_bypass",
                "inject_unprivileged",
                "host_ping",
            ),
            module="isolation",
        ),
    )
}


def loads_of(kind: Kind) -> tuple[str, ...]:
    """Return the loads of a kind, the one that shows a wire's cost best first."""
    specs = [spec for spec in LOADS.values() if spec.kind == kind]
    return tuple(spec.name for spec in sorted(specs, key=lambda spec: spec.rank))
