"""A plan run to its end on a host: block after block, until every group is precise enough or out of blocks."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Protocol

from yogurtbench import analysis
from yogurtbench.hosts.host import AgentHost
from yogurtbench.plan import Plan
from yogurtbench.records import Attempt, Trial
from yogurtbench.store import Run, to_frame

#: A wire so often found dead is not asked again by loads that need it alive; reachability still asks in each block.
_DEAD_AFTER = 2


class Progress(Protocol):
    """Who is told how the sweep goes."""

    def trial(self, trial: Trial) -> None:
        """A trial is about to run."""
        ...

    def attempt(self, attempt: Attempt) -> None:
        """It ended."""
        ...


@dataclass(slots=True)
class Tally:
    """What a sweep did: attempts by status, seconds spent in loads and in all, whether its budget ended it."""

    statuses: dict[str, int] = field(default_factory=dict)
    load_seconds: float = 0.0
    seconds: float = 0.0
    out_of_budget: bool = False

    def add(self, attempt: Attempt) -> None:
        """Count one attempt."""
        self.statuses[attempt.status] = self.statuses.get(attempt.status, 0) + 1
        self.load_seconds += attempt.seconds.get("load", 0.0)

    @property
    def bad(self) -> int:
        """Attempts that make the run fail (contract: exit code 3)."""
        return self.statuses.get("failed", 0) + self.statuses.get("crashed", 0)


class Sweep:
    """One plan, one host, one run folder."""

    def __init__(
        self,
        plan: Plan,
        host: AgentHost,
        run: Run,
        progress: Progress,
        *,
        budget: float | None = None,
        earlier: Iterable[Attempt] = (),
    ) -> None:
        """``budget``: seconds after which no further trial starts; ``earlier``: what a resumed run already has."""
        self.plan, self.host, self.store, self.progress = plan, host, run, progress
        self.tally = Tally()
        self._budget = budget
        self._dead: dict[str, int] = {}
        self._seen: dict[str, list[Attempt]] = {}
        for attempt in earlier:
            self._remember(attempt)

    def run(self) -> Tally:
        """Run every block that is due, then the diagnostics; each attempt is on disk before the next trial starts."""
        began = time.monotonic()
        for block in range(self.plan.blocks.max):
            due = [group for group in self.plan.groups if self._is_due(group, block)]
            if not due or self.tally.out_of_budget:
                break
            for group in due:
                self._trials(self.plan.trials(group, block), began)
        self._trials(self.plan.diagnostics(), began)
        self.tally.seconds = time.monotonic() - began
        return self.tally

    def _trials(self, trials: Iterable[Trial], began: float) -> None:
        for trial in trials:
            if trial.id in self.store.done:
                continue
            if self._budget is not None and time.monotonic() - began > self._budget:
                self.tally.out_of_budget = True
                return
            self.progress.trial(trial)
            attempt = self._attempt(trial)
            self.store.append(attempt)
            self.tally.add(attempt)
            self._remember(attempt)
            self.progress.attempt(attempt)

    def _attempt(self, trial: Trial) -> Attempt:
        if trial.cell.load != "reachability" and self._dead.get(trial.cell.wire_id, 0) >= _DEAD_AFTER:
            why = "the wire is dead: it answered nothing, or looped, when it was tried before"
            return self.host.stamped(Attempt.without_values(trial, "skipped", why))
        (attempt,) = self.host.run([trial])
        return attempt

    def _remember(self, attempt: Attempt) -> None:
        self._seen.setdefault(self._group_of(attempt.trial), []).append(attempt)
        silent = any(o.metric == "reachable" and o.value == 0 for o in attempt.observations)
        if silent or attempt.status == "looping":
            wire = attempt.trial.cell.wire_id
            # Reachability tries a dead wire twice by itself.
            self._dead[wire] = self._dead.get(wire, 0) + (2 if attempt.trial.cell.load == "reachability" else 1)

    def _group_of(self, trial: Trial) -> str:
        return "" if trial.id.startswith("none-") else trial.id.partition("-b")[0]

    def _is_due(self, group: str, block: int) -> bool:
        """Whether a group needs this block: below the minimum always, then until its intervals are narrow enough."""
        if block < self.plan.blocks.min:
            return True
        attempts = self._seen.get(group, [])
        return not analysis.precision_reached(to_frame(attempts, ""), self.plan.blocks.precision, group or None)
