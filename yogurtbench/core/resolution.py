"""The resolution of values: how far rounding by a tool's clock or print moved them. Pure.

What a trial reported stands for every value from ``value - rounding`` to ``value + rounding``. The
bounds are hard ones: nothing is assumed of where between two steps the truth lies, so that no
average over blocks makes them narrower (quantisation noise averages out only where the values vary
by more than a step [1], which a quiet lab's do not, and least those of an exact clock).

ping (iputils, ping_common.c)
    takes the time of day at both ends of a round trip in whole microseconds, each cut off: their
    difference is off by up to a microsecond either way. It prints that whole below 1 ms, and rounds
    to 10 µs from there, to 100 µs from 10 ms and to 1 ms from 100 ms on.
sockperf
    prints every nanosecond, of the processor's counter: nothing is lost of a round trip, and on the
    instruction clock an instruction is one. A mean is rounded to a nanosecond.
iperf3
    takes its times in whole microseconds, cut off, and counts bytes and packets exactly. What stops
    by time has a packet more or fewer in it by chance.
netperf
    takes the time of day in whole microseconds, and sorts the differences into steps of 1 µs below
    100 µs, of 10 µs below 1 ms and so on (HIST_add in its src/netlib.c). Its mean is the whole
    run's time by the number of transactions, to a nanosecond.
counts
    A share of n packets has the steps 1/n. A quantile that fewer values than its own tail hold (the
    99th percentile of 50 round trips is their slowest) tells nothing of it.
CPU time
    iperf3 reads its own in microseconds at both ends; where a kernel keeps interrupts apart,
    /proc/stat tells them in ticks of 10 ms.

[1] Widrow, Kollár: Quantization Noise, Cambridge University Press (2008), ch. 4 and 19.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from yogurtbench.core.load_specs import LOADS
from yogurtbench.core.metrics import METRICS
from yogurtbench.core.records import Attempt, Details

#: Seconds: iperf3's and ping's clocks, whose readings are cut off, so that what lies between two is
#: off by up to this.
_STAMP = 1e-6
#: The same in ns: both readings are whole nanoseconds of the kernel's, of which at most 999 are cut
#: off.
_STAMP_NS = 999.0
#: Seconds of a tick of /proc/stat (USER_HZ is 100 on every architecture), and the columns that are
#: read of each CPU.
_TICK, _TICK_COLUMNS = 0.01, 2
#: From so many ns on ping rounds, to steps of so many.
_PING_STEPS = ((1e8 - 5e4, 1e6), (1e7 - 5e3, 1e5), (1e6, 1e4))
#: The widest of these steps, halved, as a share of what it is a step of: 5 µs at 1 ms, 50 at 10,
#: 500 at 100.
_PING_SHARE = 0.005_1
#: Below so many ns netperf's histogram has a bucket for each microsecond.
_NETPERF_FINE = 1e5
#: Seconds that sockperf measures nothing in, at a run's beginning and end.
_WARM_UP = 0.45
#: What the loads do where a matrix does not say.
_COUNT, _SECONDS = 100, 1.0

#: Quantiles that need so many values to be more than the slowest of them.
FEWEST_FOR = {"rtt_p90": 10, "rtt_p99": 100, "rtt_p999": 1_000, "rtt_p9999": 10_000}
_SOCKPERF = frozenset(name for name, spec in LOADS.items() if spec.nanoseconds)


@dataclass(frozen=True, slots=True)
class ResolutionSource:
    """The trial that a value comes from: ``values`` are its other metrics.

    Of a run or a baseline stored by an older version the details may be empty.
    """

    load: str
    clock: str
    payload: int | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    values: Mapping[str, float] = field(default_factory=dict)
    details: Details = field(default_factory=Details)


def resolution_of_attempt(attempt: Attempt) -> tuple[float, ...]:
    """Return the rounding of each of an attempt's observations, in their order.

    Of what is no number, 0.
    """
    trial = attempt.trial
    values = {one.metric: one.value for one in attempt.observations if one.value is not None}
    source = ResolutionSource(
        trial.cell.load, trial.clock, trial.cell.payload, trial.options, values, attempt.details
    )
    return tuple(
        0.0 if one.value is None else rounding_of(one.metric, one.value, source)
        for one in attempt.observations
    )


def rounding_of(metric: str, value: float, source: ResolutionSource) -> float:
    """Return how far rounding can have moved this value, up or down, in its unit.

    Infinite where it tells nothing.

    >>> rounding("rtt_p50", 11_000.0, Source("ping", "wall"))
    999.0
    >>> rounding("rtt_p50", 28_113.0, Source("sockperf", "instructions"))
    0.0
    """
    if not math.isfinite(value) or value < 0:
        return 0.0
    if is_of_few(metric, source):
        return math.inf
    if source.load in _OF_TOOL and metric.startswith("rtt_"):
        return _OF_TOOL[source.load](metric, value, source)
    if metric in _OF:
        return _OF[metric](value, source)
    return METRICS[metric].rounding if metric in METRICS else 0.0


def is_of_few(metric: str, source: ResolutionSource) -> bool:
    """Return whether a quantile is asked of fewer values than it takes to have one."""
    if metric not in FEWEST_FOR:
        return False
    asked = _round_trips(source)
    return (
        asked is not None
        and asked * (1 - source.values.get("loss", 0.0)) < FEWEST_FOR[metric] - 0.5
    )


def _of_ping(metric: str, value: float, _source: ResolutionSource) -> float:
    """Return ping's rounding of a round trip, and of its neighbours where it lies between two."""
    if (
        metric in ("rtt_p50", "rtt_min") and value < 5e5
    ):  # the neighbour of a median is below 1 ms then, too
        return _STAMP_NS
    printed = next((step / 2 for least, step in _PING_STEPS if value >= least), 0.0)
    return _STAMP_NS + (printed if metric == "rtt_min" else max(printed, _PING_SHARE * value))


def _of_netperf(metric: str, value: float, source: ResolutionSource) -> float:
    """Return a step of netperf's histogram, or of the time that its mean is made of."""
    if metric == "rtt_mean":
        return 0.5 + _STAMP_NS / max(1.0, _round_trips(source) or 1.0)
    if metric == "rtt_min" or value < _NETPERF_FINE:
        return _STAMP_NS
    return _STAMP_NS + _netperf_step(value)


def _netperf_step(value: float) -> float:
    """Return the width of the histogram's bucket: a tenth of the power of ten below (ns)."""
    return float(10.0 ** (math.floor(math.log10(value)) - 1))


_OF_TOOL: dict[str, Callable[[str, float, ResolutionSource], float]] = {
    "ping": _of_ping,
    "netperf_tcp_rr": _of_netperf,
}


def _of_rate(value: float, source: ResolutionSource) -> float:
    """Bytes or packets over seconds: the seconds are printed to the microsecond."""
    return value * _STAMP / _seconds(source)


def _of_throughput(value: float, source: ResolutionSource) -> float:
    last = (
        8.0 * (source.payload or 0) / _seconds(source)
        if source.load == "iperf3_udp" and _by_time(source)
        else 0.0
    )
    return _of_rate(value, source) + last


def _of_packets(value: float, source: ResolutionSource) -> float:
    return _of_rate(value, source) + (1 / _seconds(source) if _by_time(source) else 0.0)


def _of_loss(value: float, source: ResolutionSource) -> float:
    """Half a packet of those that were sent."""
    sent = (
        _round_trips(source)
        if source.load != "iperf3_udp"
        else _packets(source) / max(1 - value, 1e-9)
    )
    return 0.5 / max(1.0, sent or _COUNT)


def _of_cpu(value: float, amount: float, source: ResolutionSource) -> float:
    cpu = source.details.get("cpu")
    apart = cpu is not None and cpu.get("interrupts_apart", False)
    seconds = 2 * _STAMP + (_TICK * _TICK_COLUMNS * _cpus(source) if apart else 0.0)
    return seconds * 1e9 / max(1.0, amount) + _of_rate(value, source)


def _cpus(source: ResolutionSource) -> int:
    """CPUs whose ticks were read: as the counters by CPU have it, else those of two ends."""
    columns = source.details.get("softnet") or {}
    return max((len(column) for column in columns.values()), default=2)


_OF: dict[str, Callable[[float, ResolutionSource], float]] = {
    "throughput": _of_throughput,
    "packets_per_second": _of_packets,
    "loss": _of_loss,
    "cpu_ns_per_byte": lambda value, source: _of_cpu(value, _bytes(source), source),
    "cpu_ns_per_packet": lambda value, source: _of_cpu(value, _packets(source), source),
    "instructions_per_byte": _of_rate,
    "instructions_per_packet": _of_rate,
}


# --- how much there was of it ---------------------------------------------------------------------


def _round_trips(source: ResolutionSource) -> float | None:
    """Return how many a request-response load measured; None where nobody can tell."""
    options, counted = source.options, source.details.get("counted")
    if counted is not None:
        return float(counted)
    if source.load == "ping":
        return float(options["count"]) if "count" in options else None
    if source.load not in _SOCKPERF or source.clock == "instructions":
        return None
    mean = source.values.get("rtt_mean", 0.0)
    return (
        max(0.0, _seconds(source) - _WARM_UP) * 1e9 / mean
        if mean > 0 and "duration" in options
        else None
    )


def _by_time(source: ResolutionSource) -> bool:
    return not source.options.get("bytes") or "--time" in source.details.get("argv", ())


def _seconds(source: ResolutionSource) -> float:
    """Return how long a load took: by what it moved, else as it was asked."""
    moved = source.details.get("delivered_bytes") or source.options.get("bytes")
    rate = source.values.get("throughput", 0.0)
    if moved and rate > 0:
        return max(_STAMP, float(moved) * 8 / rate)
    return max(_STAMP, float(source.options.get("duration") or _SECONDS))


def _bytes(source: ResolutionSource) -> float:
    return source.values.get("throughput", 0.0) * _seconds(source) / 8


def _packets(source: ResolutionSource) -> float:
    return source.values.get("packets_per_second", 0.0) * _seconds(source)


# --- words ----------------------------------------------------------------------------------------


def explain_rounding(metric: str, load: str, clock: str, value: float, rounding: float) -> str:
    """Return what of a value is not known, and what would show it.

    >>> because("rtt_p50", "ping", "wall", 11_000.0, 999.0)
    'ping prints whole microseconds; sockperf prints nanoseconds'
    """
    if math.isinf(rounding):
        share = {"rtt_p90": "90th", "rtt_p99": "99th"}.get(metric, "so high a")
        return (
            f"too few round trips for a {share} percentile: it takes "
            f"{FEWEST_FOR.get(metric, 100):,} or more"
        )
    if metric == "loss":
        return (
            f"a packet more or less is {2 * rounding:.2g} of those sent; send more (count, "
            "duration)"
        )
    if load in _WORDS_OF_TOOL:
        return _WORDS_OF_TOOL[load](metric, clock, value)
    if METRICS[metric].whole:
        return "one more or less is chance; a longer transfer (duration, bytes) has more of them"
    if metric == "rtt_mean":
        return "sockperf rounds a mean to a nanosecond; its median is exact"
    return (
        f"{load.partition('_')[0]}'s clocks and counts end there; a longer transfer "
        "(duration, bytes) shows more"
    )


def _of_ping_in_words(_metric: str, clock: str, value: float) -> str:
    exact = clock == "instructions"
    finer = "sockperf counts each instruction" if exact else "sockperf prints nanoseconds"
    step = next((step for least, step in _PING_STEPS if value >= least), 0.0)
    if step:
        return f"ping prints steps of {step / 1e3:,.0f} µs from {_decade(step):,.0f} ms on; {finer}"
    return f"ping prints whole microseconds{' (1,000 instructions)' if exact else ''}; {finer}"


def _of_netperf_in_words(metric: str, _clock: str, value: float) -> str:
    if metric == "rtt_mean":
        return "netperf's mean is its time, in microseconds, by its transactions; send more"
    step = 1_000 if value < _NETPERF_FINE else _netperf_step(value)
    return f"netperf counts in steps of {step / 1e3:,.0f} µs; its mean is finer"


_WORDS_OF_TOOL: dict[str, Callable[[str, str, float], str]] = {
    "ping": _of_ping_in_words,
    "netperf_tcp_rr": _of_netperf_in_words,
}


def _decade(step: float) -> float:
    return step / 1e4
