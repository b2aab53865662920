"""A host drives an agent: one trial at a time, a deadline for each, a new machine when one dies."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from types import TracebackType
from typing import Any

from yogurtbench.hosts.machine import Machine
from yogurtbench.records import Attempt, Environment, HostError, Trial

#: Seconds beyond a trial's own deadline before its machine is given up.
_GRACE = 10.0


class AgentHost:
    """A host whose agent is reached over a channel. Use as a context manager; the machine starts on entry.

    ``start`` makes a machine whose agent has said that it is ready, the environment it lives in and its features.
    """

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
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bury()

    def run(self, trials: Iterable[Trial]) -> Iterator[Attempt]:
        """Attempts as they happen. A machine that dies costs the trial it died in; the next gets a new machine."""
        for trial in trials:
            yield self.stamped(self._attempt(trial))

    def lab(self, trial: Trial, argv: Sequence[str], output: Callable[[str, str], None]) -> int:
        """Run ``argv`` in a cell's lab; ``output(stream, text)`` is called as it prints. Returns its exit code.

        Raises HostError where the lab could not be built or the machine died.
        """
        channel = self._alive().channel
        try:
            channel.send({"op": "lab", "trial": trial.to_json(), "argv": list(argv)})
            while (event := channel.receive(None))["event"] != "exit":
                if event["event"] == "output":
                    output(event["stream"], event["text"])
        except EOFError:
            raise HostError(f"the lab died: {self._bury()}") from None
        if event["code"] is None:
            raise HostError(event["error"])
        return int(event["code"])

    def _attempt(self, trial: Trial) -> Attempt:
        machine = self._alive()
        try:
            machine.channel.send({"op": "trial", "trial": trial.to_json()})
            return Attempt.from_json(self._answer(machine, trial))
        except TimeoutError:
            error = f"no result within {trial.deadline:g} s: the machine was given up; {self._bury()}"
        except EOFError:
            error = f"the machine died in this trial: {self._bury()}"
        return Attempt.without_values(trial, "crashed", error)

    def _answer(self, machine: Machine, trial: Trial) -> dict[str, Any]:
        ends = time.monotonic() + trial.deadline + _GRACE
        while (event := machine.channel.receive(ends - time.monotonic()))["event"] != "attempt":
            pass
        attempt: dict[str, Any] = event["attempt"]
        return attempt

    def _alive(self) -> Machine:
        if self._machine is None:
            self._machine, _, _ = self._start()
        return self._machine

    def _bury(self) -> str:
        """End the machine, if there is one; returns why it died."""
        if self._machine is None:
            return ""
        machine, self._machine = self._machine, None
        why = machine.obituary()
        machine.close()
        return why

    def stamped(self, attempt: Attempt) -> Attempt:
        """The attempt with where it was made written on it."""
        where = self.environment
        return replace(attempt, host=where.host, lab=where.lab, accelerator=where.accelerator, kernel=where.kernel)
