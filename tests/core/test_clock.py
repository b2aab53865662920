"""Moments: never too early, and one for all who come within the same tenth of a second."""

from __future__ import annotations

import threading
import time

from yogurtbench.core.clock import align_to_step, sleep_until

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
