"""Let QEMU's main loop preempt its vCPU thread under -icount.

Else the virtual clock can skip ahead.

When a guest halts, QEMU's main loop lets the clock leap to the next timer
(icount_start_warp_timer), and looks once more right after, since the leap itself wakes it. If that
second look falls between a halt (helper_hlt) and the moment when the instructions before it are
counted (icount_process_data), the clock leaps too far by these. Side by side this happens in one
trial of fifteen on a busy machine; on one CPU only where the main loop is interrupted between its
two looks, which busy neighbours bring about in one trial of some hundreds; never where it may
finish first.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress

import psutil

#: Seconds for which the CPUs are watched before one is chosen.
_WATCHED = 0.05
#: What it means where :func:`is_permitted` is not so.
REFUSED = (
    "no realtime priority for QEMU here: beside busy cores one trial in some hundreds "
    "is off by some instructions"
)


@contextmanager
def pin_to_idle_cpu() -> Iterator[None]:
    """Keep what is started in this block on one CPU, the least busy of ours."""
    ours = os.sched_getaffinity(0)
    busy = dict(enumerate(psutil.cpu_percent(_WATCHED, percpu=True)))
    os.sched_setaffinity(0, {min(ours, key=lambda cpu: busy.get(cpu, 0.0))})
    try:
        yield
    finally:
        os.sched_setaffinity(0, ours)


def prioritise_main_thread(process: int) -> None:
    """Give a process's main thread alone realtime priority (sched(7)), where that is permitted."""
    with suppress(
        PermissionError, ProcessLookupError
    ):  # one that is dead already is reported elsewhere
        _go_first(process)


def is_permitted() -> bool:
    """Return whether realtime priority can be had here.

    Tried, by a thread of ours that ends with it.
    """
    with ThreadPoolExecutor(1) as passing:
        return passing.submit(_go_first, 0).exception() is None


def _go_first(thread: int) -> None:
    """Give a thread, 0 for the calling one, its CPU whenever it has something to do."""
    os.sched_setscheduler(thread, os.SCHED_FIFO | os.SCHED_RESET_ON_FORK, os.sched_param(1))
