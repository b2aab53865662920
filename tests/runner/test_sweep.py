"""Sweeps on an invented host: what is asked, what is not asked again, and what stays on disk."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

import pytest
from matrices import planned

from yogurtbench.core.metrics import METRICS_OF, YES_NO
from yogurtbench.core.records import Attempt, Environment, Observation, Trial
from yogurtbench.plan.plan import first_block
from yogurtbench.results.run_folder import StoredRun, read_attempts
from yogurtbench.runner.progress import NoProgress
from yogurtbench.runner.sweep import Sweep

MATRIX = """
name: m
axes: {device: veth, hook: tcx_ingress, helper: [redirect, redirect_ingress, redirect_container]}
loads: [reachability, isolation]
blocks: {min: 1, max: 1}
"""


@dataclass
class Host:
    """Runs ``jobs`` trials side by side, and lets ``chance`` say which ends first.

    ``fates`` by helper: ok, dead or looping. ``most`` is how many were under way at once.
    """

    fates: dict[str, str]
    jobs: int = 1
    chance: random.Random = field(default_factory=random.Random)
    asked: list[Trial] = field(default_factory=list)
    most: int = 0
    given_up: list[Trial] = field(default_factory=list)
    environment: Environment = field(
        default_factory=lambda: Environment("h", "native", "none", "wall", "6.12")
    )

    def attempts(
        self, due: Callable[[], Trial | None], phase: Callable[[Trial, str], None]
    ) -> Iterator[Attempt]:
        under_way: list[Trial] = []
        try:
            while True:
                while len(under_way) < self.jobs and (trial := due()):
                    under_way.append(trial)
                self.most = max(self.most, len(under_way))
                self.asked += [trial for trial in under_way if trial not in self.asked]
                if not under_way:
                    return
                for trial in under_way:
                    phase(trial, "load")
                yield self._attempt(under_way.pop(self.chance.randrange(len(under_way))))
        finally:
            self.given_up += under_way

    def with_host(self, attempt: Attempt) -> Attempt:
        return attempt

    def _attempt(self, trial: Trial) -> Attempt:
        fate = self.fates.get(trial.cell.helper, "ok")
        if fate == "looping":
            return Attempt.without_values(trial, "looping", "round and round")
        if fate == "dead" and trial.cell.load not in YES_NO:
            seen = Observation.of("reachable", 0.0)
            skipped = Attempt.without_values(trial, "skipped", "nothing answered")
            return replace(skipped, observations=(seen, *skipped.observations))
        value = 0.0 if fate == "dead" and trial.cell.load == "reachability" else 1.0
        rows = tuple(Observation.of(metric, value) for metric in METRICS_OF[trial.cell.load])
        return Attempt(trial, "ok", rows)


class Swept(Protocol):
    """A sweep of a matrix on a host, watched: what is stored in the end."""

    def __call__(
        self, host: Host, matrix: str = MATRIX, progress: NoProgress | None = None
    ) -> list[Attempt]: ...


@pytest.fixture
def swept(tmp_path: Path) -> Swept:
    def sweep(
        host: Host, matrix: str = MATRIX, progress: NoProgress | None = None
    ) -> list[Attempt]:
        plan = planned(tmp_path, matrix)
        run = StoredRun.create(tmp_path / "out", plan.name, plan.source, plan, host.environment)
        with run, suppress(KeyboardInterrupt):
            Sweep(plan, host, run, progress or NoProgress()).run()  # type: ignore[arg-type]  # an invented host
        return list(read_attempts(run.path))

    return sweep


@pytest.mark.parametrize("fate", ["dead", "looping"])
def test_what_was_found_dead_or_looping_is_not_asked_by_other_loads(
    swept: Swept, fate: str
) -> None:
    host = Host({"redirect_ingress": fate})
    attempts = swept(host)
    asked = {(trial.cell.helper, trial.cell.load) for trial in host.asked}
    assert ("redirect_ingress", "reachability") in asked
    assert ("redirect_ingress", "isolation") not in asked
    skipped = [a for a in attempts if a.status == "skipped"]
    assert [(a.trial.cell.helper, a.trial.cell.load) for a in skipped] == [
        ("redirect_ingress", "isolation")
    ]


def test_every_attempt_is_on_disk_and_live_wires_are_asked_everything(swept: Swept) -> None:
    host = Host({})
    attempts = swept(host)
    assert len(attempts) == len(host.asked) == 6
    assert {a.status for a in attempts} == {"ok"}


SWEEPS = {
    "reachability asks": MATRIX.replace("isolation]", "isolation, ping, sockperf]"),
    "the loads find out": """
name: m
axes:
  device: veth
  hook: tcx_ingress
  helper: [redirect, redirect_ingress, redirect_container]
  payload: [64, 200, 900]
baseline: {device: veth, topology: direct, hook: none, helper: none}
loads: [sockperf, ping]
blocks: {min: 2, max: 2}
""",
}


def told(attempts: list[Attempt]) -> list[tuple[str, str, str, int]]:
    return sorted((a.trial.id, a.status, a.error, len(a.observations)) for a in attempts)


@pytest.mark.parametrize("matrix", SWEEPS)
def test_side_by_side_is_equal_to_one_after_another_whatever_ends_first(
    swept: Swept, matrix: str
) -> None:
    fates = {"redirect_ingress": "dead", "redirect_container": "looping"}
    alone = Host(fates)
    expected = told(swept(alone, SWEEPS[matrix]))
    assert {"ok", "skipped", "looping"} == {status for _, status, _, _ in expected}
    for seed in range(20):
        crowd = Host(fates, jobs=2 + seed % 2, chance=random.Random(seed))
        assert told(swept(crowd, SWEEPS[matrix])) == expected
        assert {one.id for one in crowd.asked} == {one.id for one in alone.asked}
        assert crowd.most == crowd.jobs


class Stoppable(NoProgress):
    """Notes what it is told, and interrupts after so many attempts."""

    def __init__(self, interrupt: int = 10**6) -> None:
        self.under_way: list[str] = []
        self.at_work: set[str] = set()
        self.most = self.ended = 0
        self._interrupt = interrupt

    def trial(self, trial: Trial) -> None:
        self.under_way.append(trial.id)
        self.most = max(self.most, len(self.under_way))

    def phase(self, trial: Trial, phase: str) -> None:
        assert phase == "load" and trial.id in self.under_way
        self.at_work.add(trial.id)

    def attempt(self, attempt: Attempt) -> None:
        self.under_way.remove(attempt.trial.id)
        self.ended += 1
        if self.ended == self._interrupt:
            raise KeyboardInterrupt


def test_progress_hears_of_each_trial_once_when_it_starts_and_once_when_it_ends(
    swept: Swept,
) -> None:
    watched = Stoppable()
    attempts = swept(Host({"redirect_ingress": "dead"}, jobs=3), progress=watched)
    assert (watched.under_way, watched.ended) == ([], len(attempts))
    assert 3 <= watched.most <= 4  # a skipped one beside
    assert watched.at_work == {one.trial.id for one in attempts if one.status != "skipped"}


def test_an_interrupt_keeps_what_has_ended_and_gives_up_what_is_under_way(swept: Swept) -> None:
    host = Host({}, jobs=3)
    attempts = swept(host, progress=Stoppable(interrupt=2))
    assert len(attempts) == 2
    assert len(host.given_up) == 2
    assert not {one.id for one in host.given_up} & {attempt.trial.id for attempt in attempts}


def test_past_its_budget_nothing_starts_and_what_is_under_way_ends(tmp_path: Path) -> None:
    plan = planned(tmp_path, MATRIX)
    host = Host({}, jobs=3)
    with StoredRun.create(tmp_path / "out", plan.name, plan.source, plan, host.environment) as run:
        slow = Slow()
        tally = Sweep(plan, host, run, slow, budget=0.02).run()  # type: ignore[arg-type]  # an invented host
    assert tally.out_of_budget
    assert sum(tally.statuses.values()) == len(host.asked) == 3
    assert host.given_up == []


class Slow(NoProgress):
    """The third trial starts when the budget is spent."""

    def __init__(self) -> None:
        self._started = 0

    def trial(self, trial: Trial) -> None:
        self._started += 1
        if self._started == 3:
            time.sleep(0.05)


@pytest.mark.parametrize("matrix", SWEEPS)
def test_a_resumed_sweep_ends_as_an_unbroken_one(tmp_path: Path, swept: Swept, matrix: str) -> None:
    fates = {"redirect_ingress": "dead", "redirect_container": "looping"}
    expected = told(swept(Host(fates), SWEEPS[matrix]))
    plan = planned(tmp_path, SWEEPS[matrix])
    for seed in range(20):
        host = Host(fates, jobs=3, chance=random.Random(seed))
        broken = Stoppable(interrupt=1 + seed % len(expected))
        run = StoredRun.create(tmp_path / "out", plan.name, plan.source, plan, host.environment)
        with run, suppress(KeyboardInterrupt):
            Sweep(plan, host, run, broken).run()  # type: ignore[arg-type]  # an invented host
        with StoredRun.resume(run.path) as again:
            Sweep(plan, host, again, NoProgress(), earlier=again.attempts).run()  # type: ignore[arg-type]
        assert told(list(read_attempts(run.path))) == expected


def test_a_resumed_sweep_counts_what_failed_before(tmp_path: Path) -> None:
    plan = planned(tmp_path, MATRIX)
    host = Host({})
    with StoredRun.create(tmp_path / "out", plan.name, plan.source, plan, host.environment) as run:
        for trial in first_block(plan):
            run.append(Attempt.without_values(trial, "failed", "the tool broke"))
    with StoredRun.resume(run.path) as again:
        assert again.repeated == 0
        tally = Sweep(plan, host, again, NoProgress(), earlier=again.attempts).run()  # type: ignore[arg-type]
    assert tally.bad == len(first_block(plan)) > 0
