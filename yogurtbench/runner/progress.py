"""The progress of a sweep on stderr: a live line on a terminal, a line a trial elsewhere, or
nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Sequence
from itertools import chain, product
from types import TracebackType
from typing import Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from yogurtbench.core.labels import load_name, traffic_names, wire_name, wire_names
from yogurtbench.core.metrics import DIAGNOSTIC_METRIC, HEADLINE
from yogurtbench.core.records import ASIDE, Attempt, Trial
from yogurtbench.core.wording import format_elapsed
from yogurtbench.plan.plan import Plan, first_block, load_seconds

_STYLES = {
    "ok": "green",
    "skipped": "dim",
    "unsupported": "dim",
    "looping": "yellow",
    "failed": "red",
    "crashed": "red",
}


_MARKS = {
    "baseline": " (baseline)",
    "canary": " (canary)",
    "diagnostic": " (diagnostic)",
    "blind": " (blind)",
}

#: What a trial does in its phases.
_PHASES = {
    "lab": "making the network",
    "wire": "attaching the programs",
    "probe": "asking whether it answers",
    "load": "measuring",
    "undo": "taking it down",
}


class NoProgress:
    """Says nothing."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        return None

    def trial(self, trial: Trial) -> None:
        """Announce a trial that is about to run."""

    def phase(self, trial: Trial, phase: str) -> None:
        """Announce the phase that it has come to."""

    def attempt(self, attempt: Attempt) -> None:
        """Announce that it ended."""


class Names:
    """The names of a plan's trials: wires, with the axes that tell equal names apart."""

    def __init__(self, plan: Plan) -> None:
        cells = {planned.cell.id: planned.cell for planned in plan.cells}
        self._wires, self._traffic = wire_names(cells.values(), ()), traffic_names(cells)
        sent: dict[str, set[str]] = {}
        for key, cell in cells.items():
            sent.setdefault(cell.load, set()).add(self._traffic[key])
        self._varied = {load for load, names in sent.items() if len(names) > 1}

    def wire(self, trial: Trial) -> str:
        """Return the wire, and what the trial is for where it is no cell's."""
        named = self._wires.get(trial.cell.wire_id)
        return (named.name if named else wire_name(trial.cell)) + _MARKS.get(trial.role, "")

    def traffic(self, trial: Trial) -> str:
        """Return what is sent: the payload, and what else differs among the plan's cells of this
        load.
        """
        return self._traffic.get(trial.cell.id, "")

    def load(self, trial: Trial) -> str:
        """Return the load, with the traffic where that is not the same in all the plan's cells of
        it.
        """
        load = trial.cell.load
        return f"{load}, {self.traffic(trial)}" if load in self._varied else load


class LineProgress(NoProgress):
    """One plain line a trial, as it ends."""

    def __init__(self, console: Console, plan: Plan) -> None:
        self._console, self._names = console, Names(plan)

    def attempt(self, attempt: Attempt) -> None:
        """Print what came of it."""
        trial = attempt.trial
        what = (
            _headline(attempt) if attempt.status == "ok" else f"{attempt.status}: {attempt.error}"
        )
        line = (
            f"{_block(trial):<8}  {self._names.wire(trial)}  {self._names.load(trial):<12}  {what}"
        )
        self._console.print(line, markup=False, highlight=False, soft_wrap=True)


class LiveProgress(NoProgress):
    """Two live lines: block, share done, elapsed and remaining time, failures so far.

    The wire, its load and phase.
    """

    def __init__(
        self,
        console: Console,
        plan: Plan,
        seconds: float,
        done: Collection[str] = (),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """``seconds``: what the plan is expected to take.

        ``done``: ids of trials that a resumed run has already.
        """
        self._console, self._blocks, self._expected, self._clock = (
            console,
            plan.blocks,
            seconds,
            clock,
        )
        self._pace, self._names = RateEstimator(plan, done), Names(plan)
        self._count = self._bad = 0
        self._began = clock()
        self._under_way: dict[str, Trial] = {}
        self._phases: dict[str, str] = {}
        self._live = Live(
            get_renderable=self.view, console=console, transient=True, refresh_per_second=4
        )

    def __enter__(self) -> Self:
        self._live.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self._live.__exit__(kind, value, at)

    def trial(self, trial: Trial) -> None:
        """Show a trial that runs now."""
        self._under_way[trial.id] = trial

    def phase(self, trial: Trial, phase: str) -> None:
        """Show what it does now."""
        self._phases = {trial.id: phase}

    def attempt(self, attempt: Attempt) -> None:
        """Count it, and leave a line behind for what went wrong."""
        self._count += 1
        self._pace.ended(attempt)
        self._under_way.pop(attempt.trial.id, None)
        if attempt.status in ("failed", "crashed", "looping"):
            self._bad += attempt.status != "looping"
            what = f"{self._names.wire(attempt.trial)} {self._names.load(attempt.trial)}"
            text = f"{what}: {attempt.status}: {attempt.error}"
            self._console.print(Text(text, style=_STYLES[attempt.status]))

    def view(self) -> RenderableType:
        """Return the lines as they stand, for as many columns as the console has."""
        trials = list(self._under_way.values())
        lines = [
            _cut(f"  {self._describe_trial(trial)}{self._phase_of(trial)}")
            for trial in trials[:_SHOWN]
        ]
        more = [_cut(f"  and {len(trials) - _SHOWN} more", "dim")] if len(trials) > _SHOWN else []
        return Group(*self._head(trials), *lines, *more)

    def _describe_trial(self, trial: Trial) -> str:
        sent = ", ".join(filter(None, (load_name(trial.cell.load), self._names.traffic(trial))))
        return f"{self._names.wire(trial)}  {sent}"

    def _head(self, trials: Sequence[Trial]) -> list[RenderableType]:
        """Block, share, failures and times: in a line where there is room, with a bar where there
        is more.
        """
        where, times = _cut(self._where(trials), "bold"), _cut(self._times(), "dim")
        share = _cut(f"{self._percent:.0f} %")
        failed = [_cut(f"{self._bad} failed", "red")] if self._bad else []
        room = self._console.width - sum(one.cell_len + 2 for one in (where, share, *failed, times))
        if room < 0:
            return [_cut("  ").join([where, share, *failed]), times]
        line = Table.grid(padding=(0, 2, 0, 0))
        bar = ProgressBar(completed=self._percent, width=min(room - 2, _BAR), complete_style="cyan")
        line.add_row(where, *([bar] if room - 2 >= _LEAST_BAR else []), share, *failed, times)
        return [line]

    @property
    def _percent(self) -> float:
        return self._pace.share * 100

    def _where(self, trials: Sequence[Trial]) -> str:
        if not trials:
            return f"trial {self._count + 1}"
        return f"{self._stage(trials[0])}, trial {self._count + 1}"

    def _phase_of(self, trial: Trial) -> str:
        phase = self._phases.get(trial.id, "")
        return f"  {_PHASES.get(phase, phase)}" if phase else ""

    def _stage(self, trial: Trial) -> str:
        if trial.role in ASIDE:
            return "after the blocks"
        fewest, most, block = self._blocks.min, self._blocks.max, trial.block + 1
        if block > fewest:
            return f"block {block} of at most {most}"
        return (
            f"block {block} of {fewest}–{most}" if most > fewest else f"block {block} of {fewest}"
        )

    def _times(self) -> str:
        elapsed = self._clock() - self._began
        return f"{format_elapsed(elapsed)} elapsed, {self._pace.left(elapsed, self._expected)} left"


#: Columns of text that a bar takes at most and at least, and wires under way that are named.
_BAR, _LEAST_BAR, _SHOWN = 40, 8, 4


class RateEstimator:
    """A sweep's progress and remaining time, by its loads' seconds at the pace so far."""

    def __init__(self, plan: Plan, done: Collection[str] = ()) -> None:
        self._asides = sum(map(_weight, plan.diagnostics()))
        block = sum(map(_weight, first_block(plan)))
        self._least, self._most = block * plan.blocks.min, block * plan.blocks.max
        self._blocks = self._diagnosed = self._measured = 0.0
        for trial in _stored(plan, done):
            self._add(trial)

    def ended(self, attempt: Attempt) -> None:
        """Count a trial that ended.

        One that was skipped took no time, and says nothing of the pace.
        """
        self._add(attempt.trial)
        self._measured += _weight(attempt.trial) if attempt.status != "skipped" else 0.0

    def _add(self, trial: Trial) -> None:
        if trial.role in ASIDE:
            self._diagnosed += _weight(trial)
        else:
            self._blocks += _weight(trial)

    @property
    def share(self) -> float:
        """Of what is known to come: the fewest blocks, or the most once those are done."""
        goal = self._least if self._blocks <= self._least else self._most
        if self._diagnosed:
            goal = self._blocks
        whole = goal + self._asides
        return min(1.0, (self._blocks + self._diagnosed) / whole) if whole else 0.0

    def left(self, elapsed: float, expected: float) -> str:
        """``about 2:10``, ``2:10 to 14:00`` while the fewest blocks run, ``at most 9:00`` while
        more do.

        ``expected``: the seconds the whole takes, believed until a trial has ended.
        """
        if not self._measured:
            return f"about {format_elapsed(max(0.0, expected - elapsed))}"
        pace = elapsed / self._measured
        asides = self._asides - self._diagnosed
        if self._diagnosed:
            return f"about {format_elapsed(asides * pace)}"
        fewest, most = ((goal - self._blocks + asides) * pace for goal in (self._least, self._most))
        if self._least == self._most:
            return f"about {format_elapsed(max(0.0, fewest))}"
        if self._blocks < self._least:
            return f"{format_elapsed(fewest)} to {format_elapsed(most)}"
        return f"at most {format_elapsed(max(0.0, most))}"


def _stored(plan: Plan, done: Collection[str]) -> Iterator[Trial]:
    """Yield the trials of a plan that a resumed run has already."""
    if done:
        orders = product(plan.groups, range(plan.blocks.max))
        blocks = (plan.trials(group, block) for group, block in orders)
        trials = chain(*blocks, plan.diagnostics())
        yield from (trial for trial in trials if trial.id in done)


#: Seconds that a trial takes beside its load: lab, wire, probe.
_BESIDE = 0.5


def _weight(trial: Trial) -> float:
    return _BESIDE + load_seconds(trial.cell.load, trial.options)


def progress_for(
    console: Console, plan: Plan, seconds: float, *, quiet: bool, done: Collection[str] = ()
) -> NoProgress:
    """Return the progress that fits.

    ``seconds`` is the plan's estimated duration, ``done`` what a resumed run has already.
    """
    if quiet:
        return NoProgress()
    return (
        LiveProgress(console, plan, seconds, done)
        if console.is_interactive
        else LineProgress(console, plan)
    )


def _block(trial: Trial) -> str:
    return "after" if trial.role in ASIDE else f"block {trial.block + 1:>2}"


def _headline(attempt: Attempt) -> str:
    role, load = attempt.trial.role, attempt.trial.cell.load
    metric = DIAGNOSTIC_METRIC if role == "diagnostic" else HEADLINE[load]
    found = next((o for o in attempt.observations if o.metric == metric), None)
    return (
        f"{metric} {found.value:,.6g} {found.unit}" if found and found.value is not None else "ok"
    )


def _cut(text: str, style: str = "") -> Text:
    """Return a line that is cut where the screen ends."""
    return Text(text, style, no_wrap=True, overflow="ellipsis")
