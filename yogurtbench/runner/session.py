"""A run: choose a host, sweep the plan on it, write a report."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from rich.console import Console

from yogurtbench import report
from yogurtbench.core import allowance, output
from yogurtbench.core.errors import HostError, MatrixError, YogurtError
from yogurtbench.core.sayer import Sayer, sayer_on
from yogurtbench.hosts.base import AgentHost
from yogurtbench.hosts.choose import choose_plan_and_host
from yogurtbench.matrix.clocks import Begun, Plans
from yogurtbench.matrix.units import seconds
from yogurtbench.plan.estimate import estimate_seconds
from yogurtbench.plan.plan import Plan
from yogurtbench.results import run_folder
from yogurtbench.runner import clock_check, lab_session, progress
from yogurtbench.runner.ab import AbRuns, ProgramChange, measure_both
from yogurtbench.runner.sweep import Sweep, SweepTotals

FAILED, INTERRUPTED = 3, 130


@dataclass(frozen=True, slots=True)
class RunOptions:
    """The command line's requests for a run beside its plan.

    ``jobs``: None for as many as may be side by side.
    """

    out: Path
    resume: Path | None
    budget: str | None
    quiet: bool
    jobs: int | None = None


@dataclass(frozen=True, slots=True)
class RunResult:
    """The end of a run: its folder and exit code."""

    folder: Path
    exit_code: int


def run(plans: Plans, wishes: RunOptions) -> RunResult:
    """Sweep the plan that fits where the trials run, and report it.

    Interrupted, it keeps and reports what it has.

    Raises MatrixError or HostError before anything is created.
    """
    budget = seconds("--budget", wishes.budget) if wishes.budget else None
    console = output.console(stderr=True)
    say = sayer_on(console, quiet=wishes.quiet)
    for note in plans.likely.notes:
        say(f"warning: {note}")
    check_resumable(plans.likely, wishes.resume)
    with ExitStack() as undo:
        plan, host = choose_plan_and_host(plans, undo, say, wishes.jobs)
        say(_output_folder(host))
        stored = undo.enter_context(_run_folder(plan, wishes, host))
        if stored.repeated:
            say(f"{stored.repeated} trials of interrupted blocks are run again, their blocks whole")
        tally, code = _sweep(plan, host, stored, wishes, console, budget)
    _log_outcome(tally, code, stored.path, say)
    say("writing the report")
    return RunResult(stored.path, code if _write_report(stored.path) else code or FAILED)


def _write_report(folder: Path) -> bool:
    """Write the report.

    Where the machine does not let us, say so: what was measured is there, and is reported.
    """
    try:
        report.make(folder)
    except YogurtError as error:
        print(
            f"yogurtbench: {error}; yogurtbench report {folder} makes the report", file=sys.stderr
        )
        return False
    return True


def run_both_sides(
    change: ProgramChange, out: Path, *, quiet: bool, jobs: int | None = None
) -> AbRuns:
    """Measure both sides of a change in one guest, ``jobs`` trials at a time (None: as many as may
    be).
    """
    console = output.console(stderr=True)
    say = sayer_on(console, quiet=quiet)
    return measure_both(change, out, say, _shown(console, jobs, quiet=quiet), jobs)


def check_clock(jobs: int | None) -> clock_check.ClockCheckResult:
    """Return whether the instruction clock repeats itself on this machine.

    Raises HostError where there is no guest.
    """
    console = output.console(stderr=True)
    return clock_check.check_clock(
        clock_check.clock_plan(), Sayer(console), _shown(console, jobs, quiet=False), jobs
    )


def _shown(
    console: Console, jobs: int | None, *, quiet: bool
) -> Callable[[Plan], progress.NoProgress]:
    """Return the progress of a plan in the guest, ``jobs`` trials at a time."""

    def shown(plan: Plan) -> progress.NoProgress:
        expected = estimate_seconds(plan, "vm", jobs=jobs or allowance.available_cpus())
        return progress.progress_for(console, plan, expected, quiet=quiet)

    return shown


def lab(plan: Plan, cell: str, wishes: lab_session.LabOptions) -> int:
    """Visit a cell's lab; the exit code."""
    return lab_session.open_lab(plan, cell, wishes, Sayer(output.console(stderr=True)))


def _sweep(
    plan: Plan,
    host: AgentHost,
    stored: run_folder.StoredRun,
    wishes: RunOptions,
    console: Console,
    budget: float | None,
) -> tuple[SweepTotals, int]:
    expected = estimate_seconds(plan, host.environment.lab, jobs=host.jobs)
    with progress.progress_for(
        console, plan, expected, quiet=wishes.quiet, done=stored.done
    ) as shown:
        sweep = Sweep(plan, host, stored, shown, budget=budget, earlier=stored.attempts)
        try:
            sweep.run()
        except KeyboardInterrupt:
            signal.signal(signal.SIGINT, _on_second_interrupt)
            return sweep.tally, INTERRUPTED
        # a machine died and no new one came up: what was measured stays and is reported
        except HostError as error:
            print(f"yogurtbench: {error}", file=sys.stderr)
            return sweep.tally, FAILED
    return sweep.tally, FAILED if sweep.tally.bad or not sweep.tally.values else 0


def how_it_began(resume: Path | None) -> Begun | None:
    """Return how a run to resume was begun; None where there is none.

    Raises MatrixError where it is no run.
    """
    if resume is None:
        return None
    run_folder.check_folder(resume)
    where = run_folder.read_environment(resume)
    return Begun(where.lab, where.clock)


#: What makes two plans one, by its key in plan.json, and how a person calls it.
_SAME = {
    "name": "name",
    "question": "question",
    "seed": "seed",
    "blocks": "blocks",
    "margins": "margins",
    "programs": "text of a program",
    "side": "programs of bpf/",
    "cells": "cells, baselines or loads",
}


def check_resumable(plan: Plan, resume: Path | None) -> None:
    """Raise MatrixError where a run to resume is not one of this plan, with what differs."""
    if resume is None:
        return
    run_folder.check_folder(resume)
    # As stored: cells hide defaults when compared.
    theirs, ours = run_folder.read_plan(resume).to_json(), plan.to_json()
    if other := [name for key, name in _SAME.items() if theirs[key] != ours[key]]:
        raise MatrixError(
            f"{resume}: this run was made from another plan (with other: {', '.join(other)}); "
            "resume it with the matrix and options it had"
        )


def _run_folder(plan: Plan, wishes: RunOptions, host: AgentHost) -> run_folder.StoredRun:
    if wishes.resume:
        there = run_folder.read_environment(wishes.resume)
        if there.identity != host.environment.identity:
            changed = sorted(
                k
                for k in there.identity | host.environment.identity
                if there.identity.get(k) != host.environment.identity.get(k)
            )
            raise MatrixError(
                f"{wishes.resume}: it was begun elsewhere ({', '.join(changed)} differ): "
                "start a new run"
            )
        return run_folder.StoredRun.resume(wishes.resume)
    return run_folder.StoredRun.create(wishes.out, plan.name, plan.source, plan, host.environment)


def _output_folder(host: AgentHost) -> str:
    where = host.environment
    chosen = where.reasons.get("lab", "")
    words = [f"{where.lab} lab, Linux {where.kernel} ({chosen})"]
    if where.accelerator != "none":
        words.append(f"accelerator {where.accelerator} ({where.reasons.get('accelerator', '')})")
    beside = f", {host.jobs} trials side by side" if host.jobs > 1 else ""
    words.append(f"clock {where.clock} ({where.reasons.get('clock', '')}){beside}")
    return "; ".join(words)


def _log_outcome(tally: SweepTotals, code: int, folder: Path, say: Callable[[str], None]) -> None:
    if code == INTERRUPTED:
        say(f"interrupted; what was measured is kept, go on with --resume {folder}")
    if tally.out_of_budget:
        say("the budget is used up: the verdicts rest on the blocks that were run")
    if not tally.values and code != INTERRUPTED:
        say(f"nothing could be measured: {tally.lacking or 'no trial was run'}")
    elif tally.bad:
        say(f"{tally.bad} trials failed; the report lists them with their errors")


def _on_second_interrupt(_number: int, _frame: FrameType | None) -> None:
    """Keep a second Ctrl-C from tearing the report that the first one asked for."""
    print("yogurtbench: finishing the report of what was measured", file=sys.stderr)
