"""Moments of the monotonic clock that a thread can wake at exactly."""

from __future__ import annotations

import ctypes
import time

_ABSOLUTE = 1
NS_PER_S = 1_000_000_000
#: Nanoseconds. Many of the kernel's ticks, so that whoever comes a step too late finds the same
#: tick there.
_STEP = 100_000_000


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
