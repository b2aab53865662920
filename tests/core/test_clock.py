"""Moments: never too early, and one for all who come within the same tenth of a second."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable

import pytest

from yogurtbench.core import clock
from yogurtbench.core.clock import align_to_step, refuse_set_clock, sleep_until
from yogurtbench.core.errors import HostError

TENTH = 100_000_000


def test_nobody_wakes_too_early() -> None:
    moment = time.monotonic_ns() + 5_000_000
    sleep_until(moment)
    assert time.monotonic_ns() >= moment


def test_a_moment_that_is_past_is_not_waited_for() -> None:
    before = time.monotonic_ns()
    sleep_until(before - TENTH)
    assert time.monotonic_ns() - before < TENTH


def test_whoever_falls_in_step_goes_on_in_the_next_tenth() -> None:
    woken = []

    def late(by: float) -> None:
        time.sleep(by)
        came = time.monotonic_ns()
        align_to_step()
        woken.append((came // TENTH, time.monotonic_ns() // TENTH))

    threads = [threading.Thread(target=late, args=(by,)) for by in (0.0, 0.01, 0.02)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(went > came for came, went in woken)


@pytest.fixture
def set_clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Sets the time of day, for this process alone."""
    real, moved = time.time_ns, [0.0]
    monkeypatch.setattr(clock.time, "time_ns", lambda: real() + round(moved[0] * 1e9))
    return lambda seconds: moved.__setitem__(0, moved[0] + seconds)


@pytest.mark.parametrize("seconds", [3600, -3600, 0.25, -0.25])
def test_a_step_of_the_time_of_day_is_refused(
    set_clock: Callable[[float], None], seconds: float
) -> None:
    with pytest.raises(HostError, match=re.escape(f"set by {seconds:+.3f} s")), refuse_set_clock():
        set_clock(seconds)


def fail() -> None:
    with refuse_set_clock():
        raise ValueError("negative round trip")


def test_a_step_is_the_reason_for_whatever_else_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    looks = iter(((0, 0), (-60_000_000_000, 0)))
    monkeypatch.setattr(clock, "_time_of_day", lambda: next(looks))
    with pytest.raises(HostError, match=r"set by -60\.000 s") as caught:
        fail()
    assert isinstance(caught.value.__cause__, ValueError)


def test_without_a_step_an_error_stays_what_it_is() -> None:
    with pytest.raises(ValueError, match="negative"):
        fail()
    with refuse_set_clock():
        time.sleep(0.02)
