"""Run sockperf for a few hundred round trips on the instruction clock.

Each one executed costs the emulator time.

sockperf 3.7 leaves the first 400 ms and the last 50 ms of its round trips out of its figures
(TEST_START_WARMUP_MSEC and TEST_END_COOLDOWN_MSEC in its defs.h, client_statistics in its
client.cpp), and runs for whole seconds only. Time in which a guest is idle costs next to nothing,
so the client is stopped (SIGSTOP) through most of both. It still reports its own figures of
undisturbed round trips: the two that it is stopped in lie in the parts that it leaves out.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from yogurtbench.core import process
from yogurtbench.core.clock import sleep_until
from yogurtbench.core.process import Background, Completed
from yogurtbench.loads import host_counters
from yogurtbench.loads.base import LoadContext, LoadFailed, packets_per_message
from yogurtbench.loads.marks import marks

_MS = 1_000_000
#: Before its first message the client takes 100 ms to measure the clock's rate, and sleeps for 2 s.
_STARTING = 2100 * _MS
#: How often the device is asked whether messages flow, and how many tell how long a round trip
#: takes.
_POLL, _ENOUGH = 2 * _MS, 20
_WARM_UP, _COOL_DOWN = 400 * _MS, 50 * _MS
#: How many round trips are measured where they are long, and for how long they are measured at
#: least and at most.
_ROUND_TRIPS, _SHORTEST, _LONGEST = 300, 10 * _MS, 100 * _MS
#: Messages a second that the client makes room for (--mps): with sockperf's own 600,000 it clears
#: 19 MB first. It never waits for this rate, since no round trip takes less than ten thousand
#: instructions.
RATE = 100_000


@dataclass(frozen=True, slots=True)
class Stops:
    """The times of a client's stops and its end (ns of the monotonic clock)."""

    first: int
    on: int
    second: int
    on_again: int
    end: int

    @classmethod
    def after(cls, seen: int, now: int, round_trip: int) -> Self:
        """Plan a client's stops from its first message, seen at ``seen``, at most a poll late.

        ``round_trip`` (ns) is rounded up to a power of two, so that wires that cost nearly the same
        are stopped at the same moments. The round trip under way at the second stop began after the
        last 50 ms did, and is left out.
        """
        long = 1 << (round_trip - 1).bit_length()
        margin = max(_MS // 2, 2 * long)
        on = max(now, seen + _WARM_UP - _POLL - max(3 * _MS, 4 * long))
        second = seen + _WARM_UP + min(max(_SHORTEST, _ROUND_TRIPS * long), _LONGEST)
        on_again = second + _COOL_DOWN - 2 * margin
        return cls(now, on, second, on_again, on_again + margin)


def run_client(bench: LoadContext, argv: Sequence[str], lifetime: float) -> Completed:
    """Run sockperf's client for a few hundred round trips.

    Raises LoadFailed where it sends nothing, CommandFailed where it does not end within
    ``lifetime`` seconds.
    """
    before = host_counters.sent_packets(bench)
    started = time.monotonic_ns()
    with process.run_in_background(argv) as client:
        sleep_until(started + _STARTING)
        stops = _wait_for_start(bench, client, before, started + int(lifetime * 1e9))
        if stops:
            _follow(stops, client)
        return client.wait(lifetime)


def _wait_for_start(
    bench: LoadContext, client: Background, before: int, deadline: int
) -> Stops | None:
    """Wait until messages flow and plan the stops; None where the client ended before.

    Raises LoadFailed.
    """
    each = packets_per_message(bench.payload, bench.trial.cell.ip, bench.trial.cell.mtu)
    seen, at_first = 0, 0
    moment = time.monotonic_ns()
    while client.alive:
        messages = (host_counters.sent_packets(bench) - before) // each
        if messages and not seen:
            seen, at_first = moment, messages
        elif messages >= at_first + _ENOUGH:
            return Stops.after(seen, time.monotonic_ns(), (moment - seen) // (messages - at_first))
        if moment > deadline:
            raise LoadFailed(f"sockperf sent {messages} messages, too few to measure")
        moment += _POLL
        sleep_until(moment)
    return None


def _follow(stops: Stops, client: Background) -> None:
    begin, end = marks()
    for moment, number in (
        (stops.first, signal.SIGSTOP),
        (stops.on, signal.SIGCONT),
        (stops.second, signal.SIGSTOP),
        (stops.on_again, signal.SIGCONT),
        (stops.end, signal.SIGINT),
    ):
        sleep_until(moment)
        if moment == stops.second:
            end()
        os.killpg(client.process.pid, number)
        if moment == stops.on:
            begin()
