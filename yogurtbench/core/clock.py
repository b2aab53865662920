"""Moments of the monotonic clock that a thread can wake at exactly, and whether the time of day was
set meanwhile.
"""

from __future__ import annotations

import ctypes
import time
from collections.abc import Iterator
from contextlib import contextmanager

from yogurtbench.core.errors import HostError

_ABSOLUTE = 1
NS_PER_S = 1_000_000_000
#: Nanoseconds. Many of the kernel's ticks, so that whoever comes a step too late finds the same
#: tick there.
_STEP = 100_000_000
#: Nanoseconds that the time of day may have moved against the monotonic clock, beside what reading
#: both leaves open. Slewing (adjtimex(2)) moves them alike; only a step moves one alone.
_UNMOVED = 1_000_000
#: Looks at both clocks, of which the closest pair counts: we can be interrupted between them.
_LOOKS = 10


def sleep_until(moment: int) -> None:
    """Sleep until exactly this many nanoseconds of the monotonic clock.

    By clock_nanosleep(2) with an absolute time.

    time.sleep takes a length, and computing it takes a different time each time.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    libc.clock_nanosleep(
        time.CLOCK_MONOTONIC, _ABSOLUTE, (ctypes.c_long * 2)(*divmod(moment, NS_PER_S)), None
    )


def align_to_step() -> None:
    """Sleep until the next whole tenth of a second: what came before moves nothing of what comes
    after.
    """
    sleep_until((time.monotonic_ns() // _STEP + 1) * _STEP)


@contextmanager
def refuse_set_clock() -> Iterator[None]:
    """Raise HostError, whatever else went wrong, where the time of day was set in this block.

    ping and netperf time by it (gettimeofday(2)), and a machine that slept looks the same.
    """
    before = _time_of_day()
    cause: Exception | None = None
    try:
        yield
    except Exception as error:
        cause = error
    now = _time_of_day()
    moved = now[0] - before[0]
    if abs(moved) > _UNMOVED + before[1] + now[1]:
        raise HostError(
            f"the machine's clock was set by {moved / NS_PER_S:+.3f} s while the load ran (or the "
            "machine slept): its times mean nothing"
        ) from cause
    if cause:
        raise cause


def _time_of_day() -> tuple[int, int]:
    """Return how far the time of day is from the monotonic clock, and by how much that may be off;
    nanoseconds.
    """
    return min((_look() for _ in range(_LOOKS)), key=lambda look: look[1])


def _look() -> tuple[int, int]:
    early, now, late = time.monotonic_ns(), time.time_ns(), time.monotonic_ns()
    return now - (early + late) // 2, late - early
