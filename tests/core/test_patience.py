"""What a pause of the whole machine uses up of a wait."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Any

import pytest

from yogurtbench.core import patience
from yogurtbench.core.patience import SLICE, Patience


class Machine:
    """A clock that jumps by ``pauses``, one each time that somebody waits."""

    def __init__(self, pauses: Iterator[float]) -> None:
        self.now, self.waits, self.pauses = 0.0, 0, pauses

    def monotonic(self) -> float:
        return self.now

    def select(self, readers: list[Any], writers: Any, _: Any, length: float) -> Any:
        self.waits += 1
        self.now += length + next(self.pauses, 1e-6)
        return [], [], []


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    stands_still = Machine(iter([5.0, 1e-6, 60.0]))
    monkeypatch.setattr(patience, "time", stands_still)
    monkeypatch.setattr(patience, "select", stands_still)
    return stands_still


def test_a_pause_uses_up_one_slice(machine: Machine) -> None:
    waiting = Patience(0.3)
    with socket.socket() as silent:
        assert not waiting.is_readable(silent)
    assert machine.waits == pytest.approx(0.3 / SLICE, abs=1)
    assert machine.now > 65


def test_no_wait_is_longer_than_what_is_left(machine: Machine) -> None:
    waiting = Patience(0.01)
    assert not waiting.pause(1.0)
    assert (machine.waits, machine.now) == (1, 5.01)


def test_what_is_there_is_read_though_no_patience_is_spent() -> None:
    here, there = socket.socketpair()
    with here, there:
        there.send(b"!")
        waiting = Patience(0.5)
        assert waiting.is_readable(here)
        assert waiting.left > 0.4


def test_a_wait_that_is_over_asks_once_and_does_not_wait() -> None:
    """Left may be less than nothing after a slice that took too long, and a pause in the past."""
    here, there = socket.socketpair()
    with here, there:
        there.send(b"!")
        waiting = Patience(0.5)
        waiting.left = -0.01
        assert waiting.wait_a_slice([here]) == ([here], [])
        assert not waiting.pause(1.0)
        waiting.left = 0.5
        assert waiting.pause(-0.01)
