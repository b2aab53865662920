"""A host: a machine with an agent per trial under way, deadlines, and new ones for dead ones."""

from __future__ import annotations

import os
import select
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Any, Protocol

from yogurtbench.agent.channel import Channel
from yogurtbench.core.errors import HostError
from yogurtbench.core.records import Attempt, Environment, Trial
from yogurtbench.hosts.machine import Machine

#: Seconds beyond a trial's own deadline before its machine is given up.
_GRACE = 10.0


@dataclass(frozen=True, slots=True)
class RunningTrial:
    """A requested trial: its machine, and its deadline (monotonic seconds)."""

    trial: Trial
    machine: Machine
    ends: float
    repeated: bool = False


class InputSource(Protocol):
    """Somebody who talks to an agent while an order is carried out."""

    @property
    def descriptors(self) -> Sequence[int]:
        """Those that become readable when the person has something to say."""
        ...

    def said(self, descriptor: int) -> dict[str, Any]:
        """Return what was said there, as a message for the agent."""
        ...


#: How a kernel dies that the emulator runs on several CPUs at once: one of them patches the
#: kernel's text while another runs it. It is the emulator's fault and no wire's: 1 of 32 boots.
EMULATORS_FAULT = "Oops: int3"
_AGAIN = "once more: the emulator's fault ended the guest"


def _ignore(_trial: Trial, _phase: str) -> None:
    return None


class AgentHost:
    """A host whose agent is reached over a channel.

    Use as a context manager; the machine starts on entry.

    ``start`` makes a machine whose agent has said that it is ready, the environment it lives in and
    its features.
    """

    #: How many trials it runs side by side.
    jobs = 1

    def __init__(self, start: Callable[[], tuple[Machine, Environment, dict[str, bool]]]) -> None:
        self._start = start
        self._machine: Machine | None = None
        self.environment: Environment
        #: What the agent found its kernel to have, by name (see hosts.features).
        self.features: dict[str, bool] = {}

    def __enter__(self) -> AgentHost:
        self._machine, self.environment, self.features = self._start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._machine:
            self._give_up(self._machine)

    def attempts(
        self, due: Callable[[], Trial | None], phase: Callable[[Trial, str], None] = _ignore
    ) -> Generator[Attempt, None, None]:
        """Yield attempts as they end, of up to ``jobs`` trials side by side.

        A machine that dies costs the trial it died in; the next gets a new machine. Where it died
        by the emulator's own fault, the trial is made once more.

        ``due`` gives the next trial whenever one could start, None where none may start now; the
        end is when none is under way either. ``phase`` hears what a trial does now, where its agent
        says so. Close the generator (contextlib.closing) to give up what is under way.
        """
        under_way: list[RunningTrial] = []
        try:
            while True:
                while len(under_way) < self.jobs and (trial := due()):
                    under_way.append(self._begin(trial))
                if not under_way:
                    return
                ended = _first_ready(under_way)
                under_way.remove(ended)
                if attempt := self._end(ended, phase):
                    yield self.with_host(attempt)
                else:
                    phase(ended.trial, _AGAIN)
                    under_way.append(replace(self._begin(ended.trial), repeated=True))
        finally:
            for each in under_way:
                self._give_up(each.machine)

    def cannot_ask(self) -> dict[str, str]:
        """Return the questions that cannot be asked there, each with the reason (loads.control)."""
        reasons: dict[str, str] = {}
        self.ordered({"op": "control"}, lambda event: reasons.update(event["control"]))
        return reasons

    def lab(self, trial: Trial, argv: Sequence[str], output: Callable[[str, str], None]) -> int:
        """Run ``argv`` in a cell's lab; ``output(stream, text)`` is called as it prints.

        Returns its exit code.

        Raises HostError where the lab could not be built or the machine died.
        """

        def heard(event: dict[str, Any]) -> None:
            output(event["stream"], event["text"])

        return self.ordered({"op": "lab", "trial": trial.to_json(), "argv": list(argv)}, heard)

    def ordered(
        self,
        order: dict[str, Any],
        heard: Callable[[dict[str, Any]], None],
        person: Callable[[], InputSource | None] = lambda: None,
    ) -> int:
        """Give an order; ``heard`` gets each event until its end.

        Returns the exit code it ended with.

        Whoever ``person`` gives, asked anew after every event, speaks to the agent meanwhile.
        Raises HostError where the lab could not be built or the machine died.
        """
        machine = self._alive()
        channel = machine.channel
        try:
            channel.send(order)
            while True:
                _receive(channel, person())
                for event in channel.waiting():
                    if event["event"] == "exit":
                        return _code(event)
                    heard(event)
        except EOFError:
            why = self._close_and_explain(machine)
            advice = (
                "the emulator's fault, which comes now and then, try again: "
                if self._is_emulators_fault(why)
                else ""
            )
            raise HostError(f"the lab died: {advice}{why}") from None

    def _begin(self, trial: Trial) -> RunningTrial:
        machine = self._ordered(trial)
        # more guests than CPUs: each takes longer
        crowd = max(1.0, self.jobs / len(os.sched_getaffinity(0)))
        return RunningTrial(trial, machine, time.monotonic() + crowd * trial.deadline + _GRACE)

    def _ordered(self, trial: Trial) -> Machine:
        """Return a machine that has its order."""
        machine = self._alive()
        with suppress(
            EOFError
        ):  # that it is dead is noticed, and reported, where its answer is waited for
            machine.channel.send({"op": "trial", "trial": trial.to_json()})
        return machine

    def _end(self, one: RunningTrial, phase: Callable[[Trial, str], None]) -> Attempt | None:
        """Return what came of a trial, None where it has to be made once more.

        A machine without an answer is given up.
        """
        try:
            attempt = Attempt.from_json(_answer(one, phase))
        except TimeoutError:
            why = self._close_and_explain(one.machine)
            error = f"no result within {one.trial.deadline:g} s: the machine was given up; {why}"
        except EOFError:
            why = self._close_and_explain(one.machine)
            if self._is_emulators_fault(why) and not one.repeated:
                return None
            error = f"the machine died in this trial: {why}"
        except BaseException:  # an interrupt, most of all
            self._give_up(one.machine)
            raise
        else:
            self._release(one.machine)
            return attempt
        return Attempt.without_values(one.trial, "crashed", error)

    def _is_emulators_fault(self, why: str) -> bool:
        return self.environment.accelerator == "tcg" and EMULATORS_FAULT in why

    def _alive(self) -> Machine:
        if self._machine is None:
            self._machine, _, _ = self._start()
        return self._machine

    def _release(self, machine: Machine) -> None:
        """Keep the machine of a trial that ended well for the next."""

    def _give_up(self, machine: Machine) -> None:
        self._machine = None
        machine.close()

    def _close_and_explain(self, machine: Machine) -> str:
        """End a machine; returns why it died."""
        why = machine.failure_reason()
        self._give_up(machine)
        return why

    def with_host(self, attempt: Attempt) -> Attempt:
        """Return the attempt with where it was made written on it."""
        where = self.environment
        return replace(
            attempt,
            host=where.host,
            lab=where.lab,
            accelerator=where.accelerator,
            kernel=where.kernel,
        )


def _answer(one: RunningTrial, phase: Callable[[Trial, str], None]) -> dict[str, Any]:
    while (event := one.machine.channel.receive(one.ends - time.monotonic()))["event"] != "attempt":
        if event["event"] == "phase":
            phase(one.trial, event["phase"])
    attempt: dict[str, Any] = event["attempt"]
    return attempt


def _code(event: dict[str, Any]) -> int:
    if event["code"] is None:
        raise HostError(event["error"])
    return int(event["code"])


def _receive(channel: Channel, person: InputSource | None) -> None:
    """Wait until the agent has spoken, and pass on what the person says meanwhile.

    Raises EOFError.
    """
    while True:
        descriptors = person.descriptors if person else ()
        ready, _, _ = select.select([channel.fileno(), *descriptors], [], [])
        for descriptor in set(ready) & set(descriptors):
            assert person
            channel.send(person.said(descriptor))
        if channel.fileno() in ready:
            channel.look()
            return


def _first_ready(under_way: Sequence[RunningTrial]) -> RunningTrial:
    """Return the trial whose machine has output or died.

    After the timeout, the one with the earliest deadline.
    """
    if len(under_way) == 1:
        return under_way[0]
    by_line = {one.machine.channel.fileno(): one for one in under_way}
    overdue = min(under_way, key=lambda one: one.ends)
    speaking, _, _ = select.select(list(by_line), [], [], max(0.0, overdue.ends - time.monotonic()))
    return by_line[speaking[0]] if speaking else overdue
