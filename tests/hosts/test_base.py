"""AgentHost: drives whatever agent it is given, survives its death, and charges it to the trial it
died in.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import replace
from typing import Any

import pytest
from trials import run_on, trial

from yogurtbench.agent.channel import Channel
from yogurtbench.core.errors import HostError
from yogurtbench.core.records import Attempt, Environment, Observation, Trial
from yogurtbench.hosts import base as hosts
from yogurtbench.hosts.base import AgentHost

Behaviour = Callable[[dict[str, Any], Channel], bool]
WHERE = Environment("somewhere", "native", "none", "wall", "6.18")


class StandIn:
    """A machine whose agent is a thread: ``behaviour(order, channel)`` answers, and returns False
    to die.
    """

    def __init__(self, behaviour: Behaviour) -> None:
        orders, answers = os.pipe(), os.pipe()
        self.channel = Channel(answers[0], orders[1])
        self._agent = Channel(orders[0], answers[1])
        self._behaviour = behaviour
        self.closed = False
        self.last_words = "Kernel panic - not syncing: stand-in"
        threading.Thread(target=self._live, daemon=True).start()

    def _live(self) -> None:
        with suppress(EOFError):
            while self._behaviour(self._agent.receive(None), self._agent):
                pass
        self._agent.close()

    def failure_reason(self) -> str:
        return self.last_words

    def close(self) -> None:
        self.closed = True
        self.channel.close()


class Emulated:
    """Starts machines of an accelerator, which all die with the same words."""

    def __init__(self, accelerator: str, words: str, *behaviours: Behaviour) -> None:
        self.environment = replace(WHERE, accelerator=accelerator)
        self.words, self.stable = words, Stable(*behaviours)

    def __call__(self) -> tuple[StandIn, Environment, dict[str, bool]]:
        machine, _, features = self.stable()
        machine.last_words = self.words
        return machine, self.environment, features


class Stable:
    """Starts machines and remembers them; each behaves as the next of the given behaviours says."""

    def __init__(self, *behaviours: Behaviour) -> None:
        self.behaviours = list(behaviours)
        self.machines: list[StandIn] = []

    def __call__(self) -> tuple[StandIn, Environment, dict[str, bool]]:
        self.machines.append(StandIn(self.behaviours.pop(0)))
        return self.machines[-1], WHERE, {"netkit": True}


def works(order: dict[str, Any], channel: Channel) -> bool:
    channel.send({"event": "phase", "phase": "load"})
    done = Attempt(Trial.from_json(order["trial"]), "ok", (Observation.of("reachable", 1.0),))
    channel.send({"event": "attempt", "attempt": done.to_json()})
    return True


def dies(_order: dict[str, Any], _channel: Channel) -> bool:
    return False


def is_silent(_order: dict[str, Any], _channel: Channel) -> bool:
    return True


def chatters(_order: dict[str, Any], channel: Channel) -> bool:
    with suppress(EOFError):
        while True:
            channel.send({"event": "note"})
            time.sleep(0.001)
    return False


def test_attempts_come_as_they_happen_stamped_with_where_they_were_made() -> None:
    stable = Stable(works)
    with AgentHost(stable) as host:
        attempts = list(run_on(host, [trial(), trial()]))
    assert [a.status for a in attempts] == ["ok", "ok"]
    assert {(a.host, a.lab, a.kernel) for a in attempts} == {("somewhere", "native", "6.18")}
    assert len(stable.machines) == 1


def test_what_a_trial_does_is_reported_while_it_does_it() -> None:
    told: list[tuple[str, str]] = []
    left = iter([trial()])
    with AgentHost(Stable(works)) as host:
        for attempt in host.attempts(
            lambda: next(left, None), lambda one, phase: told.append((one.id, phase))
        ):
            assert told == [(attempt.trial.id, "load")]
    assert told


def test_features_are_what_the_agent_said() -> None:
    with AgentHost(Stable(works)) as host:
        assert host.features == {"netkit": True}


def test_a_machine_that_dies_costs_its_trial_and_says_why() -> None:
    stable = Stable(dies, works)
    with AgentHost(stable) as host:
        crashed, after = run_on(host, [trial(), trial()])
    assert crashed.status == "crashed"
    assert "Kernel panic - not syncing: stand-in" in crashed.error
    assert [o.metric for o in crashed.observations] == ["reachable", "reachable_v6", "tcp_ok"]
    assert {(o.status, o.value) for o in crashed.observations} == {("crashed", None)}
    assert after.status == "ok"
    assert len(stable.machines) == 2
    assert stable.machines[0].closed


INT3 = "Oops: int3: 0000 [#1] PREEMPT SMP NOPTI | RIP: 0010:netif_rx_internal+0x1c/0x110"


@pytest.mark.parametrize(
    ("accelerator", "words", "behaviours", "status"),
    [
        ("tcg", INT3, (dies, works), ["ok"]),
        ("tcg", INT3, (dies, dies, works), ["crashed"]),
        ("kvm", INT3, (dies, works), ["crashed"]),
        ("none", INT3, (dies, works), ["crashed"]),
        ("tcg", "Oops: general protection fault", (dies, works), ["crashed"]),
    ],
)
def test_a_trial_that_the_emulators_own_fault_ended_is_made_once_more(
    accelerator: str, words: str, behaviours: tuple[Behaviour, ...], status: list[str]
) -> None:
    start = Emulated(accelerator, words, *behaviours)
    with AgentHost(start) as host:
        attempts = list(run_on(host, [trial()]))
    assert [one.status for one in attempts] == status
    assert attempts[0].status == "ok" or words in attempts[0].error


@pytest.mark.parametrize(("accelerator", "advised"), [("tcg", True), ("kvm", False)])
def test_a_lab_that_the_emulators_own_fault_ended_says_that_it_can_be_tried_again(
    accelerator: str, advised: bool
) -> None:
    died = pytest.raises(HostError)
    with AgentHost(Emulated(accelerator, INT3, dies)) as host, died as death:
        host.lab(trial(), ["true"], lambda _stream, _text: None)
    assert INT3 in str(death.value) and ("try again" in str(death.value)) == advised


@pytest.mark.parametrize("behaviour", [is_silent, chatters])
def test_past_its_deadline_a_trial_is_crashed_and_its_machine_given_up(
    behaviour: Behaviour, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hosts, "_GRACE", 0.1)
    stable = Stable(behaviour, works)
    hung = Trial(
        **{**{f: getattr(trial(), f) for f in Trial.__dataclass_fields__}, "deadline": 0.1}
    )
    with AgentHost(stable) as host:
        crashed, after = run_on(host, [hung, trial()])
    assert (crashed.status, after.status) == ("crashed", "ok")
    assert "no result within 0.1 s" in crashed.error
    assert stable.machines[0].closed


def test_the_machine_is_closed_on_the_way_out_however_that_is() -> None:
    stable = Stable(works)
    with pytest.raises(KeyboardInterrupt), AgentHost(stable):
        raise KeyboardInterrupt
    assert stable.machines[0].closed


def test_a_lab_passes_on_output_and_exit_code() -> None:
    def answers(order: dict[str, Any], channel: Channel) -> bool:
        channel.send({"event": "output", "stream": "stdout", "text": " ".join(order["argv"])})
        channel.send({"event": "output", "stream": "stderr", "text": "hm"})
        channel.send({"event": "exit", "code": 7, "error": ""})
        return True

    said: list[tuple[str, str]] = []
    with AgentHost(Stable(answers)) as host:
        code = host.lab(trial(), ["echo", "on"], lambda stream, text: said.append((stream, text)))
    assert (code, said) == (7, [("stdout", "echo on"), ("stderr", "hm")])


def test_a_lab_that_could_not_be_built_is_a_host_error() -> None:
    def refuses(_order: dict[str, Any], channel: Channel) -> bool:
        channel.send(
            {"event": "exit", "code": None, "error": "this kernel does not support netkit devices"}
        )
        return True

    with (
        AgentHost(Stable(refuses)) as host,
        pytest.raises(HostError, match="does not support netkit"),
    ):
        host.lab(trial(), ["true"], lambda _stream, _text: None)


def test_a_lab_whose_machine_dies_is_a_host_error_with_its_last_words() -> None:
    with (
        AgentHost(Stable(dies)) as host,
        pytest.raises(HostError, match="the lab died: Kernel panic"),
    ):
        host.lab(trial(), ["true"], lambda _stream, _text: None)


class Crowd(AgentHost):
    """Runs several trials at once, a machine for each, as the instruction clock's host does."""

    def __init__(self, jobs: int, *behaviours: Behaviour) -> None:
        self.jobs, self.environment, self.stable = jobs, WHERE, Stable(*behaviours)

    def __enter__(self) -> AgentHost:
        return self

    def __exit__(self, *_how: object) -> None:
        return None

    def _ordered(self, trial: Trial) -> StandIn:
        machine, _, _ = self.stable()
        machine.channel.send({"op": "trial", "trial": trial.to_json()})
        return machine

    def _release(self, machine: Any) -> None:
        machine.close()

    def _give_up(self, machine: Any) -> None:
        machine.close()


def after(event: threading.Event) -> Behaviour:
    """Works, once the event has come."""

    def behaves(order: dict[str, Any], channel: Channel) -> bool:
        return event.wait(10) and works(order, channel)

    return behaves


def named(name: str, **changes: Any) -> Trial:
    return replace(trial(), id=name, **changes)


def test_side_by_side_attempts_come_as_they_end_and_each_machine_is_closed() -> None:
    second_ended = threading.Event()
    with Crowd(2, after(second_ended), works, works) as host:
        ended = []
        for attempt in run_on(host, [named("first"), named("second"), named("third")]):
            ended.append(attempt.trial.id)
            if len(ended) == 2:
                assert len(host.stable.machines) == 3
                second_ended.set()
    assert ended == ["second", "third", "first"]
    assert all(machine.closed for machine in host.stable.machines)


def test_one_machines_death_is_its_own_trials_alone() -> None:
    with Crowd(2, dies, works, works) as host:
        statuses = {
            a.trial.id: a.status
            for a in run_on(host, [named("first"), named("second"), named("third")])
        }
    assert statuses == {"first": "crashed", "second": "ok", "third": "ok"}
    assert all(machine.closed for machine in host.stable.machines)


def test_one_that_is_overdue_is_given_up_while_others_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hosts, "_GRACE", 0.1)
    overdue = threading.Event()
    with Crowd(2, is_silent, after(overdue)) as host:
        attempts = run_on(host, [named("silent", deadline=0.05), named("slow")])
        assert next(attempts).status == "crashed"
        overdue.set()
        assert [(a.trial.id, a.status) for a in attempts] == [("slow", "ok")]


def test_closing_the_attempts_gives_up_every_machine_under_way() -> None:
    with Crowd(3, works, is_silent, is_silent) as host:
        left = iter([named("first"), named("second"), named("third")])
        with closing(host.attempts(lambda: next(left, None))) as attempts:
            assert next(attempts).trial.id == "first"
            assert [machine.closed for machine in host.stable.machines] == [True, False, False]
    assert all(machine.closed for machine in host.stable.machines)


def test_an_interrupt_while_waiting_gives_up_every_machine_under_way(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def interrupted(*_arguments: object) -> None:
        raise KeyboardInterrupt

    with Crowd(2, is_silent, is_silent) as host:
        monkeypatch.setattr(hosts, "_first_ready", interrupted)
        with pytest.raises(KeyboardInterrupt):
            next(run_on(host, [named("first"), named("second")]))
        assert [machine.closed for machine in host.stable.machines] == [True, True]


def test_nothing_to_do_now_is_not_the_end() -> None:
    """What is under way may decide what is due: the source is asked again when something has
    ended.
    """
    left, ended = [named("first"), named("second")], [0]

    def due() -> Trial | None:
        return left.pop(0) if left and ended[0] == 2 - len(left) else None

    with Crowd(2, works, works) as host:
        for attempt in host.attempts(due):
            assert attempt.status == "ok"
            ended[0] += 1
    assert ended == [2]
