"""The metrics: unit, better direction, possible values, and the loads that measure each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from yogurtbench.core.load_specs import LOADS, loads_of
from yogurtbench.core.printable import printable

Better = Literal["higher", "lower", "none"]


#: Whole numbers beyond this are not exact as float64, which values are stored as.
MOST = 2.0**53


class ImpossibleValue(ValueError):
    """No measurement can give this value; the text says what can be."""


@dataclass(frozen=True, slots=True)
class Metric:
    """A measured quantity: its contract name, unit, better direction and possible values.

    Numbers are finite, from 0 to ``high``, and ``whole`` where they count or answer yes or no.
    ``rounding`` is how far its tools' rounding can move a value, in its unit, where that depends on
    nothing else (see resolution.rounding).
    """

    name: str
    unit: str
    better: Better
    high: float = MOST
    whole: bool = False
    rounding: float = 0.0

    def check(self, value: object) -> None:
        """Raise ImpossibleValue where this cannot have been measured."""
        if self.unit == "text":
            if not isinstance(value, str) or not value:
                raise ImpossibleValue(f"{self.name} is a word, not {printable(repr(value), 60)}")
        elif (
            isinstance(value, str)
            or not isinstance(value, int | float)
            or not self._is_possible(value)
        ):
            kind = "whole numbers" if self.whole else "numbers"
            most = f"from 0 to {self.high:g}" if self.high < MOST else "from 0"
            raise ImpossibleValue(
                f"{self.name} cannot be {printable(repr(value), 60)}: it takes {kind} {most}"
            )

    def _is_possible(self, value: float) -> bool:
        return 0 <= value <= self.high and (not self.whole or value == int(value))


#: The highest value of a unit, where there is one that no measurement passes.
_HIGHEST = {"bool": 1.0, "ratio": 1.0}
#: Units whose values are counts or answers.
_WHOLE = frozenset({"bool", "hops", "segments", "packets"})


def _metrics(unit: str, better: Better, *names: str, rounding: float = 0.0) -> dict[str, Metric]:
    high, whole = _HIGHEST.get(unit, MOST), unit in _WHOLE
    return {name: Metric(name, unit, better, high, whole, rounding) for name in names}


#: Every metric of the contract by name. Latency is in ns of the trial's clock; on the instruction
#: clock the unit is replaced by ``instructions`` (see :func:`unit_on`).
METRICS: dict[str, Metric] = {
    **_metrics("bool", "higher", "reachable", "reachable_v6", "tcp_ok"),
    **_metrics("text", "none", "dropped_at"),
    **_metrics("hops", "lower", "hops_netif_rx", "hops_receive", "hops_queue"),
    **_metrics("ns", "lower", "rtt_p50", "rtt_p90", "rtt_p99"),
    **_metrics("ns", "lower", "rtt_mean", rounding=0.5),
    **_metrics("ns", "lower", "rtt_min"),
    **_metrics("ratio", "lower", "loss"),
    **_metrics("bit/s", "higher", "throughput"),
    **_metrics("packets/s", "higher", "packets_per_second"),
    **_metrics("segments", "lower", "retransmits", rounding=0.5),
    **_metrics("B/skb", "none", "bytes_per_skb"),
    **_metrics("B", "none", "packet_size"),
    **_metrics("ns/B", "lower", "cpu_ns_per_byte"),
    **_metrics("ns/packet", "lower", "cpu_ns_per_packet"),
    **_metrics("instructions/B", "lower", "instructions_per_byte"),
    **_metrics("instructions/packet", "lower", "instructions_per_packet"),
    **_metrics("packets", "none", "bpf_packets"),
    **_metrics("B", "none", "bpf_bytes"),
    **_metrics("ns/run", "lower", "bpf_run_ns"),
    **_metrics(
        "bool",
        "lower",
        "eavesdrop_host_a",
        "eavesdrop_host_b",
        "eavesdrop_any",
        "inject_raw",
        "inject_raw_a",
        "inject_bypass",
        "inject_unprivileged",
        "host_ping",
    ),
}

#: What each load measures, the deciding metric first. A failed or skipped trial has one row for
#: each.
METRICS_OF: dict[str, tuple[str, ...]] = {name: spec.metrics for name, spec in LOADS.items()}

#: Where the clock counts instructions, time is no CPU time in ns: the cost of a transfer is in
#: instructions.
_COUNTED = {
    "cpu_ns_per_byte": "instructions_per_byte",
    "cpu_ns_per_packet": "instructions_per_packet",
}


def metrics_of(load: str, clock: str) -> tuple[str, ...]:
    """METRICS_OF a load, on a clock."""
    return tuple(
        _COUNTED.get(name, name) if clock == "instructions" else name for name in METRICS_OF[load]
    )


#: Loads whose messages go back and forth one at a time; the others are bulk or yes/no.
REQUEST_RESPONSE = frozenset(loads_of("request_response"))
BULK = frozenset(loads_of("bulk"))
#: Loads that answer yes or no: neither payload, ip, streams nor cpus applies to them.
YES_NO = frozenset(loads_of("yes_no"))

#: How many main (first-named) metrics decide per load: what tables and charts show when room is
#: short.
HEADLINE: dict[str, str] = {load: metrics[0] for load, metrics in METRICS_OF.items()}
#: Where the first is too noisy to decide, the second may still: what disturbs a round trip
#: lengthens it, so that the fastest is the least disturbed (Chen, Revels: Robust benchmarking in
#: noisy environments, arXiv:1608.04295).
FLOORED, FLOOR = "rtt_p50", "rtt_min"


#: What a trial of role ``diagnostic`` measures, whatever its load.
DIAGNOSTIC_METRIC = "bpf_run_ns"


def unit_on(clock: str, unit: str) -> str:
    """Return the unit a metric has on a clock.

    Guest instructions are never called nanoseconds, nor 10^9 of them a second.
    """
    if clock != "instructions":
        return unit
    if unit.endswith("/s"):
        return f"{unit.removesuffix('/s')}/Ginstructions"
    return unit.replace("ns", "instructions", 1) if unit.startswith("ns") else unit
