"""One trial: the lab, then the wire, then the load; everything undone on the way out."""

from __future__ import annotations

import shutil
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path

from pyroute2.netlink.exceptions import NetlinkError

from yogurtbench import lab, loads
from yogurtbench.agent.recorder import TrialObserver
from yogurtbench.core import install_hints
from yogurtbench.core.builds import UserProgram, user_program
from yogurtbench.core.clock import align_to_step, refuse_set_clock
from yogurtbench.core.errors import HostError
from yogurtbench.core.load_specs import LOADS
from yogurtbench.core.metrics import DIAGNOSTIC_METRIC, YES_NO, metrics_of
from yogurtbench.core.process import CommandFailed
from yogurtbench.core.records import Attempt, Details, Observation, ProgramRuns, Trial
from yogurtbench.ebpf import run_time
from yogurtbench.ebpf.drops import Drops, counting
from yogurtbench.ebpf.loop_guard import LoopGuard, Looping
from yogurtbench.ebpf.programs import Programs
from yogurtbench.ebpf.run_time import RunTime
from yogurtbench.ebpf.tracer import Tracer, layout, tracing
from yogurtbench.ebpf.wire import Counters, Wire, attach_wire, attachments
from yogurtbench.loads import Flow, LoadContext, LoadFailed, LoadResult, control
from yogurtbench.loads.probes import is_reachable, ping

_PACKAGE = Path(__file__).parents[1]


class _Dead(Exception):
    """The wire carries nothing: no load but reachability and isolation can give values.

    Carries what was seen.
    """

    def __init__(self, seen: Observation) -> None:
        super().__init__("the wire is dead: nothing answered")
        self.seen = seen


def _ignore(_phase: str) -> None:
    return None


class Phases:
    """Seconds of wall time by phase; ``tell`` hears of each as it begins."""

    def __init__(self, first: str, tell: Callable[[str], None]) -> None:
        self.seconds: dict[str, float] = {}
        self._tell = tell
        self._begin(first)

    def begin(self, name: str) -> None:
        """End the phase so far and begin another."""
        self.end()
        self._begin(name)

    def end(self) -> None:
        """End the last phase."""
        self.seconds[self._name] = (
            self.seconds.get(self._name, 0.0) + time.monotonic() - self._since
        )

    def _begin(self, name: str) -> None:
        self._name, self._since = name, time.monotonic()
        self._tell(name)


def run_trial(
    trial: Trial,
    programs: Programs,
    tell: Callable[[str], None] = _ignore,
    observer: TrialObserver | None = None,
) -> Attempt:
    """Run a trial in a fresh lab.

    What goes wrong there is the attempt's status, never an exception.

    ``tell`` hears the name of each phase as it begins (lab, wire, probe, load, undo). The first
    trial of a process is preceded by the probes' positive control (loads.control), unless that was
    made before.
    """
    control.unmeasurable()
    phases = Phases("lab", tell)
    try:
        try:
            measured, counted = _measure(trial, programs, phases, observer or TrialObserver())
            if measured.values.get("reachable") == 0:
                phases.begin("lab")
                _confirm_dead(trial, programs, phases)
        finally:
            phases.end()
        assert_path(measured.flow, counted)
    except _Dead as dead:
        skipped = Attempt.without_values(trial, "skipped", str(dead), seconds=phases.seconds)
        return replace(skipped, observations=(dead.seen, *skipped.observations))
    except Looping as loop:
        length: Details = {"looped_seconds": loop.seconds}
        return Attempt.without_values(
            trial, "looping", str(loop), seconds=phases.seconds, details=length
        )
    except lab.Unsupported as reason:
        return Attempt.without_values(trial, "unsupported", str(reason), seconds=phases.seconds)
    except (LoadFailed, CommandFailed, HostError, NetlinkError, OSError) as error:
        return Attempt.without_values(trial, "failed", str(error), seconds=phases.seconds)
    # whatever a tool or a kernel did that was not foreseen: one row, and the agent lives
    except Exception as error:
        return Attempt.without_values(
            trial, "failed", describe_internal_error(error), seconds=phases.seconds
        )
    counters = {name: [count.packets, count.bytes] for name, count in counted.items()}
    details: Details = {**measured.details, "counters": counters}
    observations = tuple(_observations(trial, measured, counted))
    # One answer that could not be had fails the trial, and its other answers stand.
    why = next((o.error for o in observations if o.status == "failed"), "")
    return Attempt(
        trial, "failed" if why else "ok", observations, why, seconds=phases.seconds, details=details
    )


def describe_internal_error(error: Exception) -> str:
    """Return an error that should not have been, in a sentence.

    Its type, and the last place of ours that it came through.
    """
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if _PACKAGE in Path(frame.filename).parents
    ]
    where = (
        f" in {Path(frames[-1].filename).relative_to(_PACKAGE)}:{frames[-1].lineno}"
        if frames
        else ""
    )
    return f"an error of ours: {type(error).__name__}{where}: {error}"


def _confirm_dead(trial: Trial, programs: Programs, phases: Phases) -> None:
    """Ask a wire that carries nothing once more, in another lab.

    Raises LoadFailed where it answers.
    """
    traced = bool(layout())
    with lab.bring_up(trial.cell) as network:
        phases.begin("wire")
        with attached_wire(programs, network, user_program(trial), traced=traced) as wire:
            phases.begin("probe")
            with _tracer_for(network, programs, wire, traced=traced) as seen:
                phases.begin("load")
                answered = ping(network, 4, seen, probes=1).answered
                phases.begin("undo")
    if answered:
        raise LoadFailed(
            "the wire carried nothing in one lab and answered in the next: neither can be believed"
        )


def _measure(
    trial: Trial, programs: Programs, phases: Phases, observer: TrialObserver
) -> tuple[LoadResult, dict[str, Counters]]:
    traced = trial.cell.load == "reachability" and bool(layout())
    _require_tools(trial)
    with lab.bring_up(trial.cell) as network:
        phases.begin("wire")
        with attached_wire(programs, network, user_program(trial), traced=traced) as wire:
            phases.begin("probe")
            watchdog, probes = LoopGuard(wire), trial.cell.load in YES_NO
            with watchdog.watching():
                network.settle()
                if not probes:
                    _require_reply(LoadContext(network, trial), wire, observer)
            before, noted = (wire.counters(), wire.tallies()) if wire else ({}, {})
            with _tracer_for(network, programs, wire, traced=traced) as seen:
                phases.begin("load")
                bench = LoadContext(network, trial, seen, wire.places(network) if wire else {})
                if trial.clock == "instructions":
                    align_to_step()
                try:
                    with watchdog.watching() if probes else refuse_set_clock():
                        measured = _run_load(bench, wire, programs)
                        observer.load_ended(wire)
                finally:
                    phases.begin("undo")
                # Blind programs count nothing: there is no path to assert.
                counted = _since(before, wire) if trial.role != "blind" else {}
                # Before the tracer leaves: the kernel does not like its code patched where packets
                # loop.
                watchdog.look()
            return _with_tallies(measured, noted, wire), counted


def _require_tools(trial: Trial) -> None:
    """Raise Unsupported where the load's tool is not here, nor in the distribution's packages.

    One that can be installed was there when the run began: without it the load fails.
    """
    for tool in LOADS[trial.cell.load].tools:
        if not shutil.which(tool) and (why := install_hints.no_package(tool)):
            raise lab.Unsupported(f"no {tool} here for the load {trial.cell.load}: {why}")


def _with_tallies(
    measured: LoadResult, noted: Mapping[str, list[Counters]], wire: Wire | None
) -> LoadResult:
    """Add what a wire of the user counted by itself during the load.

    Packets and bytes by slot.
    """
    if not noted or wire is None:
        return measured
    new = {
        way: [now - then for now, then in zip(slots, noted[way], strict=True)]
        for way, slots in wire.tallies().items()
    }
    tallies = {way: [[c.packets, c.bytes] for c in slots] for way, slots in new.items()}
    return replace(measured, details={**measured.details, "tallies": tallies})


def _run_load(bench: LoadContext, wire: Wire | None, programs: Programs) -> LoadResult:
    run = loads.RUN[bench.trial.cell.load]
    if bench.trial.role != "diagnostic" or wire is None:
        return run(bench)
    with _drop_counter(bench.lab, programs) as dropping, run_time.statistics_enabled():
        before = wire.run_times()
        measured = run(bench)
        spent = {name: now - before[name] for name, now in wire.run_times().items()}
        dropped: Details = {"drops": dropping.counted()} if dropping else {}
    return _diagnosed(replace(measured, details={**measured.details, **dropped}), spent)


def _drop_counter(network: lab.Lab, programs: Programs) -> AbstractContextManager[Drops | None]:
    """Return the count of drops, where the kernel says how its packets are laid out."""
    return counting(programs.drops(), network.namespaces) if layout() else nullcontext()


def _diagnosed(measured: LoadResult, spent: Mapping[str, RunTime]) -> LoadResult:
    """Only the run times: what the load measured was slowed by looking.

    The value is the wire's, both ways together.
    """
    wires = [time for name, time in spent.items() if name.startswith("wire.")]
    whole = RunTime(sum(time.ns for time in wires), sum(time.runs for time in wires))
    programs: dict[str, ProgramRuns] = {
        name: {"ns": time.ns, "runs": time.runs, "ns_per_run": time.mean}
        for name, time in spent.items()
    }
    details: Details = {**measured.details, "run_times": programs}
    return LoadResult({DIAGNOSTIC_METRIC: whole.mean}, measured.flow, details)


@contextmanager
def attached_wire(
    programs: Programs, network: lab.Lab, theirs: UserProgram | None, *, traced: bool
) -> Iterator[Wire | None]:
    """Yield the attached wire; None where the cell has no programs.

    A plain veth baseline needs neither bcc nor headers.
    """
    if not attachments(network.cell):
        yield None
        return
    with attach_wire(programs, network, theirs, traced=traced) as wire:
        yield wire


def _tracer_for(
    network: lab.Lab, programs: Programs, wire: Wire | None, *, traced: bool
) -> AbstractContextManager[Tracer | None]:
    """Return the tracer for reachability; no other load pays for it."""
    if not traced:
        return nullcontext()
    return tracing(
        lambda: programs.ours(traced=True), network.namespaces, wire.records() if wire else ()
    )


def _require_reply(bench: LoadContext, wire: Wire | None, observer: TrialObserver) -> None:
    """Resolve neighbours, and end the trial where the wire is dead: then nothing else can be
    measured.
    """
    cell = bench.trial.cell
    ip = cell.ip or 4
    if not is_reachable(bench.lab, ip):
        control.require_measurable(f"IPv{ip}")
        observer.found_dead(bench.lab, wire)
        metric = "reachable_v6" if cell.ip == 6 else "reachable"
        raise _Dead(Observation.of(metric, 0.0, bench.trial.clock))


def _since(before: Mapping[str, Counters], wire: Wire | None) -> dict[str, Counters]:
    return {name: now - before[name] for name, now in wire.counters().items()} if wire else {}


def assert_path(flow: Flow | None, counted: Mapping[str, Counters]) -> None:
    """Assert the path: the wire's programs carried what arrived.

    Raises LoadFailed where they did not.
    """
    for name, bounds in (
        ("wire.forward", flow and flow.forward),
        ("wire.return", flow and flow.back),
    ):
        if not bounds or name not in counted:
            continue
        low, high = bounds
        seen = counted[name].packets
        if seen < low or (high is not None and seen > high):
            raise LoadFailed(
                f"path assertion: {name} counted {seen} packets where the load had "
                f"{_range_words(low, high)}"
            )


def _range_words(low: int, high: int | None) -> str:
    if high is None:
        return f"at least {low}"
    return f"exactly {low}" if high == low else f"{low} to {high}"


def _observations(
    trial: Trial, measured: LoadResult, counted: Mapping[str, Counters]
) -> Iterator[Observation]:
    for metric, value in measured.values.items():
        yield Observation.measured(metric, value, trial.clock)
    for metric, (status, error) in measured.missing.items():
        yield Observation.missing(metric, status, error, trial.clock)
    # What yes/no loads answer depends on what the topology has.
    if trial.role != "diagnostic" and trial.cell.load not in YES_NO:
        for metric in metrics_of(trial.cell.load, trial.clock):
            if metric not in measured.values and metric not in measured.missing:
                yield Observation.missing(
                    metric, "failed", f"the load came to no {metric}", trial.clock
                )
    carried = [c for name, c in counted.items() if name.startswith("wire.")]
    if carried:
        yield Observation.measured("bpf_packets", sum(c.packets for c in carried), trial.clock)
        yield Observation.measured("bpf_bytes", sum(c.bytes for c in carried), trial.clock)
