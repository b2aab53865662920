"""Run a plan on a host: block after block, until every group is precise enough or out of blocks."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import Protocol

from yogurtbench.analysis import precision
from yogurtbench.core.records import Attempt, Trial
from yogurtbench.hosts.base import AgentHost
from yogurtbench.plan.plan import Plan
from yogurtbench.results.frame import to_frame
from yogurtbench.results.run_folder import StoredRun

#: A wire so often found dead is not asked again by loads that need it alive; reachability still
#: asks in each block.
_DEAD_AFTER = 2


class Progress(Protocol):
    """The listener of a sweep's progress."""

    def trial(self, trial: Trial) -> None:
        """Announce a trial that is about to run."""
        ...

    def phase(self, trial: Trial, phase: str) -> None:
        """Announce the phase that it has come to (lab, wire, probe, load, undo)."""
        ...

    def attempt(self, attempt: Attempt) -> None:
        """Announce that it ended."""
        ...


@dataclass(slots=True)
class SweepTotals:
    """A sweep's result: attempts by status, seconds, and whether its budget ended it.

    ``values``: how many values there are, those of a run that was resumed among them; ``lacking``:
    why there are none, in the words of the last attempt that gave none.
    """

    statuses: dict[str, int] = field(default_factory=dict)
    load_seconds: float = 0.0
    seconds: float = 0.0
    out_of_budget: bool = False
    values: int = 0
    lacking: str = ""

    def add(self, attempt: Attempt) -> None:
        """Count one attempt."""
        self.statuses[attempt.status] = self.statuses.get(attempt.status, 0) + 1
        self.load_seconds += attempt.seconds.get("load", 0.0)

    def count_values(self, attempt: Attempt) -> None:
        """Count what an attempt measured."""
        self.values += sum(
            o.status == "ok" and (o.value is not None or o.text is not None)
            for o in attempt.observations
        )
        self.lacking = attempt.error or self.lacking

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
        run: StoredRun,
        progress: Progress,
        *,
        budget: float | None = None,
        earlier: Iterable[Attempt] = (),
    ) -> None:
        """``budget``: seconds after which no further trial starts.

        ``earlier``: what a resumed run already has.
        """
        self.plan, self.host, self.store, self.progress = plan, host, run, progress
        self.tally = SweepTotals()
        self._budget = budget
        self._began = time.monotonic()
        self._dead: Counter[str] = Counter()
        #: Of the stage that runs now, by id and in the plan's order.
        self._waiting: dict[str, Trial] = {}
        self._under_way: dict[str, Trial] = {}
        #: What decides whether a group needs a further block; nothing where their number is fixed.
        self._seen: dict[str, list[Attempt]] = {}
        for attempt in earlier:
            self.tally.add(attempt)
            self._remember(attempt)

    def run(self) -> SweepTotals:
        """Run every block that is due, then what runs aside.

        Each attempt is on disk as soon as it has ended.
        """
        self._began = time.monotonic()
        for block in range(self.plan.blocks.max):
            due = [group for group in self.plan.groups if self._is_due(group, block)]
            if not due or self.tally.out_of_budget:
                break
            self._trials(chain.from_iterable(self.plan.trials(group, block) for group in due))
        self._trials(self.plan.diagnostics())
        self.tally.seconds = time.monotonic() - self._began
        return self.tally

    def _trials(self, trials: Iterable[Trial]) -> None:
        """Run trials, as many side by side as the host takes at once."""
        self._waiting = {trial.id: trial for trial in trials if trial.id not in self.store.done}
        self._under_way = {}
        with closing(self.host.attempts(self._next, self.progress.phase)) as attempts:
            for attempt in attempts:
                del self._under_way[attempt.trial.id]
                self._keep(attempt)

    def _next(self) -> Trial | None:
        """Return the first waiting trial whose result cannot depend on a running one, or None.

        Those of a wire start in the plan's order, and wait where what is under way could find the
        wire dead. So the order in which trials end decides nothing: side by side or one after
        another, the same ones are skipped.
        """
        could: Counter[str] = Counter()
        for trial in self._under_way.values():
            could[trial.cell.wire_id] += _weight(trial)
        held: set[str] = set()
        for trial in list(self._waiting.values()):
            wire = trial.cell.wire_id
            if wire in held:
                continue
            if self._is_over_budget():
                return None
            if trial.cell.load == "reachability" or self._dead[wire] + could[wire] < _DEAD_AFTER:
                return self._started(trial)
            if self._dead[wire] >= _DEAD_AFTER:
                self._skip(trial)
            else:
                held.add(wire)
        return None

    def _is_over_budget(self) -> bool:
        over = self._budget is not None and time.monotonic() - self._began > self._budget
        self.tally.out_of_budget |= over
        return over

    def _started(self, trial: Trial) -> Trial:
        self._under_way[trial.id] = self._waiting.pop(trial.id)
        self.progress.trial(trial)
        return trial

    def _skip(self, trial: Trial) -> None:
        del self._waiting[trial.id]
        self.progress.trial(trial)
        why = "the wire is dead: it answered nothing, or looped, when it was tried before"
        self._keep(self.host.with_host(Attempt.without_values(trial, "skipped", why)))

    def _keep(self, attempt: Attempt) -> None:
        self.store.append(attempt)
        self.tally.add(attempt)
        self._remember(attempt)
        self.progress.attempt(attempt)

    def _remember(self, attempt: Attempt) -> None:
        self.tally.count_values(attempt)
        if self.plan.blocks.min < self.plan.blocks.max:
            # Without the details, most of an attempt: kept, a long sweep grew by 11 KiB a trial.
            bare = replace(attempt, details={})
            self._seen.setdefault(self._group_of(attempt.trial), []).append(bare)
        silent = any(o.metric == "reachable" and o.value == 0 for o in attempt.observations)
        if silent or attempt.status == "looping":
            self._dead[attempt.trial.cell.wire_id] += _weight(attempt.trial)

    def _group_of(self, trial: Trial) -> str:
        return "" if trial.id.startswith("none-") else trial.id.partition("-b")[0]

    def _is_due(self, group: str, block: int) -> bool:
        """Return whether a group needs this block.

        Below the minimum always, then until its intervals are narrow enough.
        """
        if block < self.plan.blocks.min:
            return True
        attempts = self._seen.get(group, [])
        return not precision.precision_reached(
            to_frame(attempts, ""), self.plan.blocks.precision, group or None
        )


def _weight(trial: Trial) -> int:
    """Return how often a trial that finds its wire dead has tried it.

    Reachability does so twice by itself.
    """
    return 2 if trial.cell.load == "reachability" else 1
