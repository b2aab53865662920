"""An A/B run: the programs before and after a change, measured in one guest.

A stored figure rots: every update of kernel, compiler or package moves the count of instructions.
So both sides are measured today, on the instruction clock, each trial woken from one saved guest
that carries both.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path

from yogurtbench import report
from yogurtbench.analysis import gate, measured_run
from yogurtbench.analysis.findings import Decision
from yogurtbench.analysis.measured_run import MeasuredCell, MeasuredRun
from yogurtbench.core import files, wire_source
from yogurtbench.core.builds import BASE
from yogurtbench.core.errors import MatrixError
from yogurtbench.hosts.base import AgentHost
from yogurtbench.hosts.vm.host import SnapshotHost
from yogurtbench.plan.plan import Plan, narrow_plan
from yogurtbench.results import run_folder
from yogurtbench.runner.progress import NoProgress
from yogurtbench.runner.sweep import Sweep


@dataclass(frozen=True, slots=True)
class ProgramChange:
    """The plans of before and now, and the folder of the old programs where they differ."""

    new: Plan
    old: Plan
    base: Path | None = None

    def host(self, say: Callable[[str], None], jobs: int | None = 1) -> SnapshotHost:
        """Return the guest that carries and compiles both sides.

        Raises MatrixError where the cells are of several kernels.
        """
        kernels = sorted({one.cell.kernel for one in self.new.cells})
        if len(kernels) > 1:
            raise MatrixError(
                f"both sides run in one guest and the matrix has kernels {', '.join(kernels)}: "
                "use --only"
            )
        return SnapshotHost(kernels[0], say, self.old.texts | self.new.texts, self.base, jobs=jobs)


def change_of_programs(plan: Plan, folder: Path) -> ProgramChange:
    """Return the programs of bpf/ against those of another folder, in every cell that has a
    program.
    """
    now = narrow_plan(
        plan, [one for one in plan.cells if one.cell.has_programs and one.cell.program == "builtin"]
    )
    if not now.cells:
        raise MatrixError(
            f"{plan.path}: no cell uses a program of bpf/, so there is nothing to hold "
            f"against {folder}"
        )
    return ProgramChange(now, replace(now, side=BASE), folder)


def change_of_user_program(plan: Plan, file: Path) -> ProgramChange:
    """Return a custom wire against an older text of it.

    Raises MatrixError where the matrix has none, or several.
    """
    mine = sorted(plan.programs)
    if len(mine) != 1:
        has = (
            f"{len(mine)} ({', '.join(mine)}): choose one with --only program=…" if mine else "none"
        )
        raise MatrixError(
            f"{plan.path}: --base-program is an older text of the matrix's one own program; "
            f"it has {has}"
        )
    try:
        text = wire_source.read(file)
        wire_source.check(text)
        wire_source.check_ordered(text)
    except OSError as error:
        raise files.raise_unwritable(file, error, "read") from error
    except ValueError as error:
        raise MatrixError(f"{file}: {error}") from error
    now = narrow_plan(plan, [one for one in plan.cells if one.cell.program == mine[0]])
    return ProgramChange(now, replace(now, programs={mine[0]: text}))


@dataclass(frozen=True, slots=True)
class AbRuns:
    """The run folders of before and of now."""

    old: Path
    new: Path


def measure_both(
    change: ProgramChange,
    out: Path,
    say: Callable[[str], None],
    show: Callable[[Plan], NoProgress],
    jobs: int | None = 1,
) -> AbRuns:
    """Run both sides in one guest, ``jobs`` trials at a time.

    Raises HostError where the guest cannot be had, MatrixError where nothing can be written.
    """
    with change.host(say, jobs) as host:
        return AbRuns(*(_run(plan, host, out, show) for plan in (change.old, change.new)))


def _run(plan: Plan, host: AgentHost, out: Path, show: Callable[[Plan], NoProgress]) -> Path:
    with (
        run_folder.StoredRun.create(out, plan.name, plan.source, plan, host.environment) as stored,
        show(plan) as shown,
    ):
        Sweep(plan, host, stored, shown).run()
    report.make(stored.path)
    return stored.path


def decide_change(change: ProgramChange, found: AbRuns) -> Decision:
    """Return what became of each cell.

    A cell whose program is new has no past, and decides nothing.
    """
    before, now = (
        replace(measured_run.read_run(path), name=f"{name} ({path.name})")
        for path, name in ((found.old, "before"), (found.new, "now"))
    )
    return gate.decide(before, now, margins=change.new.margins, gate=_with_a_past(before, now))


def _with_a_past(before: MeasuredRun, now: MeasuredRun) -> frozenset[str]:
    new = {one.cell.id for one in before.entries.values() if "unsupported" in _statuses(one)}
    return frozenset(cell for cell in now.gate if cell not in new)


def _statuses(entry: MeasuredCell) -> set[str]:
    return set(chain.from_iterable(by_block.values() for by_block in entry.missing.values()))


def compare_with_baseline(stored: MeasuredRun, new: Path, renew: str) -> str:
    """Return what a stored baseline says of now, in a sentence.

    One of another guest says nothing.
    """
    decision = gate.decide(stored, measured_run.read_run(new))
    if decision.unlike:
        return (
            f"the stored baseline is stale ({'; '.join(map(str, decision.unlike))}): renew "
            f"it with {renew}"
        )
    moved = sum(one.difference != 0 for one in decision.deciding)
    return (
        f"the stored baseline is of this very guest: {moved} of {len(decision.deciding)} "
        "values differ from it"
    )
