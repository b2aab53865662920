"""Sweeps on an invented host: what is asked, what is not asked again, and what stays on disk."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from matrices import planned

from yogurtbench.progress import Quiet
from yogurtbench.records import METRICS_OF, Attempt, Environment, Observation, Trial
from yogurtbench.store import Run, read_attempts
from yogurtbench.sweep import Sweep

MATRIX = """
name: m
axes: {device: veth, hook: tcx_ingress, helper: [redirect, redirect_ingress, redirect_container]}
loads: [reachability, isolation]
blocks: {min: 1, max: 1}
"""


@dataclass
class Host:
    """Answers at once; ``fates`` by helper: ok, dead or looping."""

    fates: dict[str, str]
    asked: list[Trial] = field(default_factory=list)
    environment: Environment = field(default_factory=lambda: Environment("h", "native", "none", "wall", "6.12"))

    def run(self, trials: Iterable[Trial]) -> Iterator[Attempt]:
        for trial in trials:
            self.asked.append(trial)
            yield self._attempt(trial)

    def stamped(self, attempt: Attempt) -> Attempt:
        return attempt

    def _attempt(self, trial: Trial) -> Attempt:
        fate = self.fates.get(trial.cell.helper, "ok")
        if fate == "looping":
            return Attempt.without_values(trial, "looping", "round and round")
        value = 0.0 if fate == "dead" and trial.cell.load == "reachability" else 1.0
        rows = tuple(Observation.of(metric, value) for metric in METRICS_OF[trial.cell.load])
        return Attempt(trial, "ok", rows)


Swept = Callable[[Host], list[Attempt]]


@pytest.fixture
def swept(tmp_path: Path) -> Swept:
    def sweep(host: Host) -> list[Attempt]:
        plan = planned(tmp_path, MATRIX)
        with Run.create(tmp_path / "out", plan.name, plan.source, plan.to_json(), host.environment) as run:
            Sweep(plan, host, run, Quiet()).run()  # type: ignore[arg-type]  # an invented host
        return list(read_attempts(run.path))

    return sweep


@pytest.mark.parametrize("fate", ["dead", "looping"])
def test_what_was_found_dead_or_looping_is_not_asked_by_other_loads(swept: Swept, fate: str) -> None:
    host = Host({"redirect_ingress": fate})
    attempts = swept(host)
    asked = {(trial.cell.helper, trial.cell.load) for trial in host.asked}
    assert ("redirect_ingress", "reachability") in asked
    assert ("redirect_ingress", "isolation") not in asked
    skipped = [a for a in attempts if a.status == "skipped"]
    assert [(a.trial.cell.helper, a.trial.cell.load) for a in skipped] == [("redirect_ingress", "isolation")]


def test_every_attempt_is_on_disk_and_live_wires_are_asked_everything(swept: Swept) -> None:
    host = Host({})
    attempts = swept(host)
    assert len(attempts) == len(host.asked) == 6
    assert {a.status for a in attempts} == {"ok"}
