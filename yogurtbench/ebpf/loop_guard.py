"""The watchdog: it stops packets that loop inside the kernel in less than two seconds.

Whoever waits for an answer cannot look, so a timer does (setitimer(2), SIGALRM): its handler takes
the wire's devices down and lets the probe go on, to end by its own timeout; then :class:`Looping`
is raised. Nothing is thrown out of the handler, so nothing is ever left half done.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Protocol

from yogurtbench.ebpf.wire import Counters

#: Seconds between two looks. With what a look and taking devices down cost, far below the two
#: seconds promised.
PERIOD = 0.25
#: A loop is more packets than this, and some in each of so many looks (seconds each), with nothing
#: sending. Of a probe that is interrupted at most 64 KiB are under way, for less than one look.
_PACKETS = 50
_LOOKS, _LOOK_SECONDS = 3, 0.01


class Looping(Exception):
    """Packets went round; ``seconds``: for how long at most."""

    def __init__(self, seconds: float) -> None:
        super().__init__("packets went round inside the kernel until the programs were detached")
        self.seconds = seconds


class Stoppable(Protocol):
    """The part of a wire that the watchdog uses."""

    def counters(self) -> Mapping[str, Counters]:
        """Packets by program."""
        ...

    def silence(self) -> None:
        """End all traffic, from wherever we are."""
        ...

    def detach(self) -> None:
        """Take the programs off."""
        ...


class LoopGuard:
    """Watches a wire; None: there are no programs, and nothing can loop."""

    def __init__(self, wire: Stoppable | None) -> None:
        self._wire = wire
        self._looped: float | None = None
        self._rest()

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Look every ``PERIOD`` seconds while only a probe sends, and once at its end.

        Raises Looping.
        """
        if self._wire is None:
            yield
            return
        try:
            with _every(PERIOD, self._glance):
                yield
        except Exception:
            self.look()
            raise
        self._glance()
        self._judge()

    def look(self) -> None:
        """Look now, with nothing sending. Raises Looping."""
        if self._wire:
            self._stop_if_looping()
            self._judge()

    def _glance(self) -> None:
        """Cheap where little happens: a dead or a slow wire is not even looked at."""
        if self._looped is None and self._packets() - self._seen > _PACKETS:
            self._stop_if_looping()
        if self._looped is None:
            self._rest()

    def _stop_if_looping(self) -> None:
        if self._looped is None and self._goes_round():
            assert self._wire
            self._wire.silence()
            self._looped = time.monotonic() - self._quiet

    def _goes_round(self) -> bool:
        began = last = self._packets()
        for _ in range(_LOOKS):
            time.sleep(_LOOK_SECONDS)
            now = self._packets()
            if now == last:
                return False
            last = now
        return last - began > _PACKETS

    def _rest(self) -> None:
        """Forget what was seen: nothing looped until now."""
        self._quiet, self._seen = time.monotonic(), self._packets()

    def _packets(self) -> int:
        return (
            sum(counter.packets for counter in self._wire.counters().values()) if self._wire else 0
        )

    def _judge(self) -> None:
        if self._looped is not None:
            assert self._wire
            self._wire.detach()
            raise Looping(self._looped)


@contextmanager
def _every(seconds: float, call: Any) -> Iterator[None]:
    """Call every so many seconds, between two steps of the block.

    Only in the main thread (signal(7)).
    """
    handler = signal.signal(signal.SIGALRM, lambda *_: call())
    timer = signal.setitimer(signal.ITIMER_REAL, seconds, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, *timer)
        signal.signal(signal.SIGALRM, handler)
