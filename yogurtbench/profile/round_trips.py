"""The round trips in a recording, cut where the client reads the clock."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from itertools import pairwise
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from yogurtbench.profile.recording import End, Recording

#: Round trips that are followed before the one that is taken, so that every stack is known.
LED_IN = 3

_WORD = 1 << 64
_Number = TypeVar("_Number", np.int64, np.uint64)


class NoRoundTrips(ValueError):
    """A recording in which no client exchanged messages."""


@dataclass(frozen=True, slots=True)
class RoundTrip:
    """Executed blocks ``begin`` to ``end`` (exclusive) and their ``instructions``."""

    begin: int
    end: int
    instructions: int


@dataclass(frozen=True, slots=True)
class RoundTrips:
    """The round trips of a recording; none where the wire is dead.

    ``typical``: one of the median number of instructions, or the request that was not answered;
    ``equal`` of them executed the same instructions, each as often. ``led_in``: executed blocks
    from which calls are followed up to it. ``total``: instructions between the marks; ``between``:
    those of them that belong to no round trip.
    """

    all: tuple[RoundTrip, ...]
    typical: RoundTrip
    equal: int
    led_in: int
    total: int

    @property
    def between(self) -> int:
        """Instructions before, between and after the round trips."""
        return self.total - sum(trip.instructions for trip in self.all)

    @property
    def ticks(self) -> float:
        """How many instructions a round trip has on average beyond the typical one.

        Timer ticks, and what they had the scheduler decide otherwise.
        """
        instructions = [trip.instructions for trip in self.all or (self.typical,)]
        return float(np.mean(instructions)) - self.typical.instructions


def find_round_trips(recording: Recording) -> RoundTrips:
    """Find the round trips. Raises NoRoundTrips.

    sockperf reads the time stamp counter just before it sends and just after it has received
    (TicksTime::now in its client.cpp), and now and then beside; a round trip lies between the two
    reads that are farthest apart, always by the same instructions.
    """
    reads = [at for at in recording.positions(End.CLOCK).tolist() if recording.block(at).is_users]
    sums = _sums(recording.lengths)
    spans: dict[tuple[int, int], list[RoundTrip]] = defaultdict(list)
    for before, after in pairwise(reads):
        trip = RoundTrip(before + 1, after + 1, int(sums[after + 1] - sums[before + 1]))
        spans[_address(recording, before), _address(recording, after)].append(trip)
    found = max(spans.values(), key=_median, default=[])
    if len(found) <= LED_IN:
        raise NoRoundTrips("nothing in it was sent and answered")
    typical, equal = _typical(_sums(recording.digests), found)
    led_in = found[found.index(typical) - LED_IN].begin
    return RoundTrips(tuple(found), typical, equal, led_in, int(sums[-1]))


def find_request(recording: Recording) -> RoundTrips:
    """Find the one request in a recording over a dead wire: the system call that takes longest.

    Raises NoRoundTrips.
    """
    sums = _sums(recording.lengths)
    leaves = [
        at + 1
        for at in recording.positions(End.LEAVE).tolist()
        if at + 1 == len(recording.executed) or recording.block(at + 1).is_users
    ]
    begins = recording.positions(End.SYSCALL) + 1
    calls = [
        RoundTrip(begin, end, int(sums[end] - sums[begin]))
        for begin in begins.tolist()
        if (end := next((one for one in leaves if one > begin), None))
    ]
    if not calls:
        raise NoRoundTrips("no system call is in it")
    longest = max(calls, key=lambda call: call.instructions)
    return RoundTrips((), longest, 1, max(0, longest.begin - 1), int(sums[-1]))


def _sums(numbers: npt.NDArray[_Number]) -> npt.NDArray[_Number]:
    """Return the sums of the first none, one, two … of the numbers."""
    return np.concatenate([np.zeros(1, dtype=numbers.dtype), np.cumsum(numbers)])


def _address(recording: Recording, position: int) -> int:
    return recording.block(position).address


def _median(trips: list[RoundTrip]) -> int:
    return sorted(trip.instructions for trip in trips)[(len(trips) - 1) // 2]


def _typical(digests: npt.NDArray[np.uint64], trips: list[RoundTrip]) -> tuple[RoundTrip, int]:
    """Return a round trip of the most frequent kind among those of median length.

    ``digests``: the sum of all blocks' up to each.
    """
    median = _median(trips)
    kinds = {
        trip: (int(digests[trip.end]) - int(digests[trip.begin])) % _WORD
        for trip in trips[LED_IN:]
        if trip.instructions == median
    }
    if not kinds:  # only the first have it
        raise NoRoundTrips("its round trips are too few")
    kind, equal = Counter(kinds.values()).most_common(1)[0]
    return next(trip for trip in kinds if kinds[trip] == kind), equal
