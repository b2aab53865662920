"""The loads as a matrix writes them (``{kind: ping, count: 100}``): options, defaults."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from yogurtbench.core.load_specs import LOADS
from yogurtbench.core.wording import kind
from yogurtbench.matrix import axes
from yogurtbench.matrix.document import Step
from yogurtbench.matrix.units import (
    Bitrate,
    Bytes,
    Count,
    Duration,
    Milliseconds,
    WholeSeconds,
    bitrate_text,
)


class Strict(BaseModel):
    """Unknown keys are mistakes."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class PositionedError(ValueError):
    """A complaint about something further down than the value it was found at: its path from
    there.
    """

    def __init__(self, path: tuple[Step, ...], sentence: str, *, key: bool = False) -> None:
        super().__init__(sentence)
        self.path = path
        self.key = key


class _Load(Strict):
    kind: str
    timeout: Duration = 10.0
    """How long to wait for the load beyond its own duration (default 10s)."""

    def options(self, clock: str, payload: int | None) -> dict[str, Any]:
        """Return what a trial with this payload is given on a clock: every option, durations in
        seconds.
        """
        del clock, payload  # only bulk loads depend on them
        return self.model_dump(exclude={"kind"}, exclude_none=True)

    def check(self, clock: str, payload: int | None, streams: int | None) -> None:
        """Raise At where the tool cannot do, or cannot count, what these options and axes ask of it
        together.
        """


class Ping(_Load):
    """ping (iputils), one echo after another: familiar and coarse."""

    kind: Literal["ping"]
    count: Count = 100
    """Echo requests."""
    interval: Milliseconds = 0.01
    """Whole milliseconds between requests (default 10ms); from 10ms on up to the kernel's tick."""
    timeout: WholeSeconds = 30.0
    """The whole load's time limit, whole seconds (default 30s)."""

    @model_validator(mode="after")
    def _has_time(self) -> Ping:
        if self.count * self.interval >= self.timeout:
            raise ValueError(
                f"{self.count} pings every {self.interval:g} s take longer than the timeout "
                f"of {self.timeout:g} s"
            )
        return self


class _PingPong(_Load):
    duration: WholeSeconds = 1.0
    """How long to measure (default 1s); sockperf adds 2.5 s. The instruction clock takes 0.15 s."""


#: The longest transfer that iperf3 takes (MAX_TIME in iperf.h), and the longest time that it is
#: given to beside the duration of sockperf, whose own beginning takes 2.5 s (see
#: loads.rtt_under_load).
_LONGEST_TRANSFER = 86_400
_LONGEST_UNDER_LOAD = _LONGEST_TRANSFER // 2 - 3


class Sockperf(_PingPong):
    """sockperf over UDP: request and response, nanosecond percentiles."""

    kind: Literal["sockperf"]


class SockperfTcp(_PingPong):
    """sockperf over TCP: request and response, nanosecond percentiles."""

    kind: Literal["sockperf_tcp"]


class NetperfTcpRr(_Load):
    """netperf's TCP_RR: request and response over TCP, quantiles in whole microseconds."""

    kind: Literal["netperf_tcp_rr"]
    duration: WholeSeconds = 1.0
    """How long to measure (default 1s). The instruction clock takes 200 transactions."""


class RttUnderLoad(_PingPong):
    """sockperf while iperf3 fills the wire."""

    kind: Literal["rtt_under_load"]

    @model_validator(mode="after")
    def _has_a_transfer(self) -> RttUnderLoad:
        if self.duration > _LONGEST_UNDER_LOAD:
            sentence = (
                "iperf3 fills the wire for at most 24h, twice as long as this: at "
                f"most {_LONGEST_UNDER_LOAD}s"
            )
            raise PositionedError(("duration",), sentence)
        return self


#: What a bulk load moves at most on the instruction clock where the matrix names no bytes: only
#: bytes repeat exactly there. A UDP message costs some 23,000 instructions whatever its size: 8 MiB
#: in messages of 64 bytes would be 3 seconds of guest time and half a minute of emulation.
BYTES_ON_INSTRUCTIONS = 8 * 2**20
MESSAGES_ON_INSTRUCTIONS = 8_192
#: What iperf3 from 3.16 on sends instead: it notices up to a second late that a number of bytes is
#: sent.
SECONDS_ON_INSTRUCTIONS = 1.0


class _Bulk(_Load):
    duration: WholeSeconds | None = None
    """How long to send (default: 3s).

    On the instruction clock iperf3 sends for a guest second (before 3.16: at most 8 MiB)."""
    bytes: Bytes | None = None
    """How much to send at least, instead of a duration: whole payloads until it is reached."""

    @model_validator(mode="after")
    def _one_end(self) -> _Bulk:
        if self.duration is not None and self.bytes is not None:
            raise ValueError("duration and bytes exclude each other: give one")
        return self

    def options(self, clock: str, payload: int | None) -> dict[str, Any]:
        options = super().options(clock, payload)
        if clock == "instructions" and self.bytes is None:
            messages = MESSAGES_ON_INSTRUCTIONS * (payload or BYTES_ON_INSTRUCTIONS)
            return {
                **options,
                "bytes": min(BYTES_ON_INSTRUCTIONS, messages),
                "duration": SECONDS_ON_INSTRUCTIONS,
            }
        return options if self.bytes is not None else {"duration": 3.0, **options}


class IperfTcp(_Bulk):
    """iperf3 over TCP: throughput."""

    kind: Literal["iperf3_tcp"]


#: iperf3 numbers its datagrams, of all streams together, with 32 bits and a sign.
MOST_DATAGRAMS = 2**31 - 1


class IperfUdp(_Bulk):
    """iperf3 over UDP: throughput and loss."""

    kind: Literal["iperf3_udp"]
    bitrate: Bitrate = 0
    """Bits a second to offer, all streams together (default: unlimited)."""

    def check(self, clock: str, payload: int | None, streams: int | None) -> None:
        """Refuse what cannot be offered exactly, and more datagrams than iperf3 can count."""
        options, each = self.options(clock, payload), 8 * (payload or 1)
        if self.bitrate:
            self._check_bitrate(options, each, streams or 1)
        datagrams = math.ceil(options.get("bytes", 0) * 8 / each)
        if self.bitrate and not datagrams:
            datagrams = int(self.bitrate * options["duration"]) // each
        if datagrams > MOST_DATAGRAMS:
            blamed = next(
                (name for name in ("bytes", "duration") if getattr(self, name)), "bitrate"
            )
            raise PositionedError(
                (blamed,),
                f"{datagrams} datagrams are more than iperf3 can count: at most {MOST_DATAGRAMS}",
            )

    def _check_bitrate(self, options: dict[str, Any], each: int, streams: int) -> None:
        """``each``: bits of a datagram."""
        if rest := self.bitrate % streams:
            near = (
                self.bitrate - rest
                if self.bitrate > rest and rest * 2 <= streams
                else self.bitrate - rest + streams
            )
            sentence = (
                f"a bitrate of {bitrate_text(self.bitrate)} cannot be divided among "
                f"{streams} streams exactly"
            )
            raise PositionedError(("bitrate",), f"{sentence}: did you mean {bitrate_text(near)}?")
        duration = float(options.get("duration") or 0)
        if duration and self.bitrate * duration < each * streams:
            least = math.ceil(each / duration) * streams
            sentence = (
                f"a bitrate of {bitrate_text(self.bitrate)} is less than a datagram of "
                f"{each // 8} bytes a stream"
            )
            raise PositionedError(
                ("bitrate",), f"{sentence} in {duration:g} s: at least {bitrate_text(least)}"
            )
        amount = options.get("bytes", 0)
        if (takes := amount * 8 / self.bitrate) >= self.timeout:
            at = bitrate_text(self.bitrate)
            sentence = (
                f"{amount} bytes at {at} take {takes:g} s, and the timeout is {self.timeout:g} s"
            )
            raise PositionedError(
                ("timeout",) if "timeout" in self.model_fields_set else ("bitrate",), sentence
            )


class Reachability(_Load):
    """Try whether packets arrive over IPv4, IPv6 and TCP.

    Find where they die, or which path they take.
    """

    kind: Literal["reachability"]


class Isolation(_Load):
    """Try who on the host can capture packets, and who can inject some."""

    kind: Literal["isolation"]


def _with_kind(value: object) -> object:
    """``ping`` alone is short for ``{kind: ping}``.

    Wrong kinds are reported here, to name the nearest.
    """
    load = {"kind": value} if isinstance(value, str) else value
    if not isinstance(load, dict):
        raise ValueError(
            f"a load is a kind or a mapping, as in {{kind: ping, count: 100}}, not {kind(value)}"
        )
    if "kind" not in load:
        raise ValueError(f"the load has no kind; known: {', '.join(LOADS)}")
    try:
        axes.WORDS["load"].parse(load["kind"])
    except ValueError as error:
        raise PositionedError(("kind",), str(error)) from None
    return load


_Known = (
    Ping
    | Sockperf
    | SockperfTcp
    | NetperfTcpRr
    | IperfTcp
    | IperfUdp
    | RttUnderLoad
    | Reachability
    | Isolation
)
AnyLoad = Annotated[_Known, Field(discriminator="kind"), BeforeValidator(_with_kind)]
#: Every kind of load by its word.
KINDS: dict[str, type[_Load]] = {
    get_args(one.model_fields["kind"].annotation)[0]: one for one in get_args(_Known)
}
