"""The watchdog: loops end in less than two seconds, whatever the probe waits for.

Dead and slow wires are left be.
"""

from __future__ import annotations

import math
import signal
import time
from collections.abc import Callable
from typing import Any

import pytest
from trials import WIRE, trial

from yogurtbench.agent.trial import run_trial
from yogurtbench.ebpf.loop_guard import PERIOD, LoopGuard, Looping
from yogurtbench.ebpf.programs import Programs
from yogurtbench.ebpf.wire import Counters, Wire
from yogurtbench.lab import Lab

InRoom = Callable[..., Any]
LOOP = {**WIRE, "helper": "redirect_ingress"}


class Paced:
    """A wire that has seen so many packets after so many seconds."""

    def __init__(self, packets: Callable[[float], float]) -> None:
        self._packets, self._began, self._end = packets, time.monotonic(), math.inf
        self.detached = False

    def counters(self) -> dict[str, Counters]:
        seen = self._packets(min(time.monotonic(), self._end) - self._began)
        return {"wire.forward": Counters(int(seen), 0), "wire.return": Counters(0, 0)}

    def silence(self) -> None:
        self._end = time.monotonic()

    def detach(self) -> None:
        self.detached = True

    @property
    def silent_after(self) -> float:
        return self._end - self._began


def probed(wire: Paced | None, seconds: float) -> LoopGuard:
    """A probe that waits for its answer, uninterrupted."""
    watchdog = LoopGuard(wire)
    began = time.monotonic()
    with watchdog.watching():
        time.sleep(seconds)
    assert time.monotonic() - began >= seconds
    return watchdog


@pytest.mark.parametrize("rate", [10_000, 1_000_000])
def test_a_loop_is_silenced_while_the_probe_still_waits(rate: int) -> None:
    wire = Paced(lambda t: rate * t)
    with pytest.raises(Looping) as caught:
        probed(wire, 1.0)
    assert wire.detached
    assert PERIOD <= wire.silent_after < 0.9
    assert caught.value.seconds == pytest.approx(wire.silent_after, abs=0.2)


def test_a_loop_that_begins_late_is_reported_with_its_own_length() -> None:
    wire = Paced(lambda t: 100_000 * max(0.0, t - 0.7))
    with pytest.raises(Looping) as caught:
        probed(wire, 1.5)
    assert wire.silent_after > 0.7
    assert caught.value.seconds < wire.silent_after - 0.4


@pytest.mark.parametrize(
    "packets",
    [lambda _: 0, lambda t: 3 * t, lambda t: 150 * t, lambda t: 5000 * min(t, 0.245)],
    ids=["dead", "slow", "steady", "a burst until shortly before the look"],
)
def test_what_does_not_go_round_is_left_alone(packets: Callable[[float], float]) -> None:
    wire = Paced(packets)
    probed(wire, 0.8).look()
    assert wire.silent_after == math.inf and not wire.detached


def test_a_probe_that_is_answered_before_the_first_look_hides_no_loop() -> None:
    wire = Paced(lambda t: 100_000 * t)
    with pytest.raises(Looping):
        probed(wire, PERIOD / 5)
    assert wire.silent_after < PERIOD


def test_a_probe_that_fails_over_a_loop_has_met_a_loop() -> None:
    wire = Paced(lambda t: 100_000 * t)
    with pytest.raises(Looping), LoopGuard(wire).watching():
        raise OSError("network is down")
    assert wire.detached


def test_a_failure_over_a_quiet_wire_stays_what_it_is() -> None:
    with pytest.raises(OSError, match="broken"), LoopGuard(Paced(lambda _: 0)).watching():
        raise OSError("broken")


def test_the_timer_ends_with_the_probe() -> None:
    handler, timer = signal.getsignal(signal.SIGALRM), signal.getitimer(signal.ITIMER_REAL)
    probed(Paced(lambda _: 0), 0.3)
    assert signal.getsignal(signal.SIGALRM) == handler
    assert (signal.getitimer(signal.ITIMER_REAL)[0] > 0) == (timer[0] > 0)


def test_without_programs_there_is_nothing_to_watch() -> None:
    probed(None, 0.0).look()


# Real packets that loop on this kernel.


def went_round(load: str, axes: dict[str, Any]) -> dict[str, Any]:
    """A trial, and beside its own account: seconds from the wire's attachment to silence, and
    packets from then on.
    """
    seen: dict[str, float] = {}
    settle, silence, detach = Lab.settle, Wire.silence, Wire.detach

    def packets(wire: Wire) -> int:
        return sum(c.packets for c in wire.counters().values())

    def timed_settle(lab: Lab) -> None:
        seen["attached"] = time.monotonic()
        settle(lab)

    def timed_silence(wire: Wire) -> None:
        silence(wire)
        seen.setdefault("silent", time.monotonic())
        time.sleep(0.05)  # another CPU may have a packet or two in its hands
        seen.setdefault("packets", packets(wire))

    def late_detach(wire: Wire) -> None:
        time.sleep(0.05)
        seen["more"] = packets(wire) - seen["packets"]
        detach(wire)

    Lab.settle, Wire.silence, Wire.detach = timed_settle, timed_silence, late_detach  # type: ignore[method-assign]
    try:
        attempt = run_trial(trial(load, **axes), Programs())
    finally:
        Lab.settle, Wire.silence, Wire.detach = settle, silence, detach  # type: ignore[method-assign]
    return {**attempt.to_json(), "seen": seen}


@pytest.mark.root
@pytest.mark.parametrize("load", ["reachability", "isolation", "ping"])
def test_real_packets_that_go_round_are_silenced_in_less_than_two_seconds(
    in_room: InRoom, load: str
) -> None:
    made = in_room(went_round, load, LOOP)
    seen = made["seen"]
    assert (made["status"], {o["status"] for o in made["observations"]}) == ("looping", {"looping"})
    assert seen["silent"] - seen["attached"] < 2
    assert 0 < made["details"]["looped_seconds"] < 2
    assert seen["packets"] > 1000
    assert seen["more"] == 0
