"""Profile cells: record a trial of each in the emulator, and write where its instructions go."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from yogurtbench.analysis.findings import Decision
from yogurtbench.core.builds import COMMON, ProgramBuilds
from yogurtbench.core.errors import HostError, MatrixError
from yogurtbench.core.labels import wire_name
from yogurtbench.core.load_specs import LOADS
from yogurtbench.core.metrics import HEADLINE
from yogurtbench.core.records import Cell, Trial
from yogurtbench.hosts.vm.host import SnapshotHost
from yogurtbench.matrix.load_options import Sockperf
from yogurtbench.matrix.selector import find_cell
from yogurtbench.plan.plan import Plan, PlannedCell, first_block, narrow_plan
from yogurtbench.profile.profile import Profile, differences, distinguished
from yogurtbench.profile.recording import Recording
from yogurtbench.profile.round_trips import NoRoundTrips
from yogurtbench.profile.symbols import Symbols
from yogurtbench.report.export import profile as profile_files
from yogurtbench.report.export.profile_catalogue import ProfiledWire
from yogurtbench.report.sections.profile import difference_words
from yogurtbench.runner.ab import ProgramChange

Say = Callable[[str], None]
#: The loads whose round trips can be found in a recording, the one that is taken first.
_PROFILED = ("sockperf", "sockperf_tcp")
_PROGRAM, _AGENT = "sockperf", "python3"
#: What a profile explains; of how many cells, and by how many functions.
_ROUND_TRIP = "rtt_p50"
_EXPLAINED, _NAMED = 3, 4


@dataclass(frozen=True, slots=True)
class Profiles:
    """The profile of a cell, and of the one that it was set against, if any."""

    cell: Profile
    against: Profile | None


def profile_cells(plan: Plan, cell: str, against: str, say: Say) -> Profiles:
    """Profile the cell that a selector or an id names, and another where ``against`` names one.

    Raises MatrixError where one names no cell, HostError where a guest cannot be had or the cell
    carries nothing.
    """
    if not cell:
        raise MatrixError(
            "profile: name a cell with --cell: its id, or axes as in hook=tcx_ingress"
        )
    first = with_round_trips(plan, find_cell(plan, cell))
    other = _other(plan, first, against) if against else None
    chosen = [first, *([other] if other else [])]
    profiles = _profile_each(plan, chosen, say)
    named = distinguished([profiles[one.cell] for one in chosen])
    return Profiles(named[0], named[1] if other else None)


def _other(plan: Plan, first: PlannedCell, against: str) -> PlannedCell:
    """Return the cell that the first is set against. Raises MatrixError."""
    if against != "baseline":
        return with_round_trips(plan, find_cell(plan, against))
    planned = next((one for one in plan.cells if one.cell.wire_id == first.cell.wire_id), first)
    if not planned.baselines:
        raise MatrixError(f"--against: {wire_name(first.cell)} has no baseline in {plan.name}")
    cell = next(one.cell for one in plan.cells if one.cell.id == planned.baselines[0])
    return with_round_trips(plan, cell)


def write(found: Profiles, folder: Path) -> Path:
    """Write a profile's files below a folder; returns theirs. Raises HostError, MatrixError."""
    names = [one.cell.id for one in (found.cell, found.against) if one]
    target = folder / "-".join(["profile", *names])
    profile_files.write(found.cell, found.against, target)
    return target


def profile_wires(plan: Plan, say: Say) -> list[ProfiledWire]:
    """Profile every wire of a plan, the baselines first.

    A dead wire's request is followed to its drop. Raises HostError where a guest cannot be had.
    """
    wanted = {
        one.cell.wire_id: with_round_trips(plan, one.cell)
        for one in sorted(plan.cells, key=lambda one: one.role != "baseline")
        if one.role != "canary"
    }
    wires = {one.cell.id: one.cell.wire_id for one in plan.cells}
    profiles = distinguished(list(_profile_each(plan, wanted.values(), say).values()))
    found = {one.cell.wire_id: one for one in profiles}
    return [
        ProfiledWire(found[wire], found[wires[one.baselines[0]]] if one.baselines else None)
        for wire, one in wanted.items()
    ]


def _profile_each(plan: Plan, cells: Iterable[PlannedCell], say: Say) -> dict[Cell, Profile]:
    """Return the profiles of cells, those that need the same guest in one. Raises HostError."""
    guests: dict[tuple[str, ProgramBuilds], list[Trial]] = {}
    for planned in cells:
        alone = narrow_plan(plan, [planned])
        guests.setdefault((planned.cell.kernel, alone.texts | COMMON), []).extend(
            first_block(alone)
        )
    found = {}
    for (kernel, texts), trials in guests.items():
        with SnapshotHost(kernel, say, texts) as host:
            for trial in trials:
                say(f"recording {wire_name(trial.cell)}")
                found[trial.cell] = profile_trial(host, trial)
    return found


def profile_trial(host: SnapshotHost, trial: Trial) -> Profile:
    """Run a trial, recorded, and profile it. Raises HostError."""
    recorded, name = host.record(trial), wire_name(trial.cell)
    attempt = recorded.attempt
    values = {one.metric: one.value for one in attempt.observations}
    median, dead = values.get(HEADLINE[trial.cell.load]), attempt.status == "skipped"
    if median is None and not dead:
        raise HostError(f"{name} is {attempt.status}: {attempt.error}")
    recording = Recording.parse(recorded.blocks, recorded.steps)
    program = _AGENT if dead else _PROGRAM
    symbols = Symbols.parse(recorded.symbols, program, recorded.programs)
    kernel = host.environment.kernel
    try:
        return Profile.of_recording(trial.cell, kernel, recording, symbols, median)
    except NoRoundTrips as error:
        raise HostError(f"{name} could not be profiled: {error}") from None


def explain_regressions(change: ProgramChange, decision: Decision, say: Say) -> Decision:
    """Return a decision whose regressions of round trips name the functions that grew.

    Both sides are recorded, of the first few cells. Where that cannot be done, ``say`` gets the
    reason, and the decision is as it was.
    """
    cells = {one.cell.id: one.cell for one in decision.regressions if one.metric == _ROUND_TRIP}
    profiled = [one for one in cells.values() if one.load in _PROFILED][:_EXPLAINED]
    try:
        grown = dict(_grown(change, profiled, say)) if profiled else {}
    except HostError as error:
        say(f"which functions grew is not known: {error}")
        return decision
    findings = tuple(
        replace(one, note="; ".join(filter(None, (one.note, grown.get(one.cell.id)))))
        if one in decision.regressions and one.metric == _ROUND_TRIP
        else one
        for one in decision.findings
    )
    return replace(decision, findings=findings)


def _grown(change: ProgramChange, cells: Iterable[Cell], say: Say) -> Iterator[tuple[str, str]]:
    """Yield each cell's id and the functions that grew, in words."""
    sides = [{one.cell.id: one for one in plan.cells} for plan in (change.new, change.old)]
    with change.host(say) as host:
        for cell in cells:
            say(f"recording both sides of {wire_name(cell)}")
            new, old = (
                profile_trial(host, first_block(narrow_plan(plan, [side[cell.id]]))[0])
                for plan, side in zip((change.new, change.old), sides, strict=True)
            )
            grown = [one for one in differences(new, old) if one.self > 0]
            yield cell.id, ", ".join(map(difference_words, grown[:_NAMED]))


def with_round_trips(plan: Plan, cell: Cell) -> PlannedCell:
    """Return the cell of the same wire with a load that is profiled.

    Made where the matrix has none.
    """
    same = {one.cell.load: one for one in plan.cells if one.cell.wire_id == cell.wire_id}
    if cell.load in _PROFILED:
        return next(one for one in plan.cells if one.cell == cell)
    if found := next((same[load] for load in _PROFILED if load in same), None):
        return found
    payload = LOADS["sockperf"].payload
    size = payload.default if payload else None
    options = Sockperf(kind="sockperf").options("instructions", size)
    asked = replace(cell, load="sockperf", payload=size, streams=None)
    return replace(same[cell.load], cell=asked, options=options)
