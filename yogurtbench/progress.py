"""How a sweep looks while it runs, on stderr: a live line on a terminal, a line a trial elsewhere, or nothing."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.live import Live
from rich.text import Text

from yogurtbench.plan import Plan
from yogurtbench.records import ASIDE, DIAGNOSTIC_METRIC, HEADLINE, Attempt, Trial
from yogurtbench.report.names import wire_name

_STYLES = {
    "ok": "green",
    "skipped": "dim",
    "unsupported": "dim",
    "looping": "yellow",
    "failed": "red",
    "crashed": "red",
}


class Quiet:
    """Says nothing."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, at: TracebackType | None) -> None:
        return None

    def trial(self, trial: Trial) -> None:
        """A trial is about to run."""

    def attempt(self, attempt: Attempt) -> None:
        """It ended."""


class Lines(Quiet):
    """One plain line a trial, as it ends."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def attempt(self, attempt: Attempt) -> None:
        """Print what came of it."""
        trial = attempt.trial
        what = _headline(attempt) if attempt.status == "ok" else f"{attempt.status}: {attempt.error}"
        line = f"{_block(trial):<8}  {_name(trial)}  {trial.cell.load:<12}  {what}"
        self._console.print(line, markup=False, highlight=False, soft_wrap=True)


class Bar(Quiet):
    """A live line: block, trial, elapsed and remaining time, the current wire, failures so far."""

    def __init__(self, console: Console, plan: Plan, seconds: float) -> None:
        self._console, self._blocks, self._expected = console, plan.blocks, seconds
        self._total = max(1, len(plan.cells) * plan.blocks.min)
        self._done = self._bad = 0
        self._began = time.monotonic()
        self._under_way: dict[str, Trial] = {}
        self._live = Live(get_renderable=self._line, console=console, transient=True, refresh_per_second=4)

    def __enter__(self) -> Self:
        self._live.__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, at: TracebackType | None) -> None:
        self._live.__exit__(kind, value, at)

    def trial(self, trial: Trial) -> None:
        """Show a trial that runs now."""
        self._under_way[trial.id] = trial

    def attempt(self, attempt: Attempt) -> None:
        """Count it, and leave a line behind for what went wrong."""
        self._done += 1
        self._under_way.pop(attempt.trial.id, None)
        if attempt.status in ("failed", "crashed", "looping"):
            self._bad += attempt.status != "looping"
            text = f"{_name(attempt.trial)} {attempt.trial.cell.load}: {attempt.status}: {attempt.error}"
            self._console.print(Text(text, style=_STYLES[attempt.status]))

    def _line(self) -> Text:
        elapsed = time.monotonic() - self._began
        left = elapsed / self._done * max(0, self._total - self._done) if self._done else self._expected
        text = Text(f"{_clock(elapsed)} elapsed, about {_clock(left)} left  ", style="dim")
        if self._under_way:
            first, *others = self._under_way.values()
            of = f" of {self._blocks.min}–{self._blocks.max}" if first.role not in ASIDE else ""
            text.append(f"{_block(first)}{of}  ", style="bold")
            text.append(f"trial {self._done + 1}  {_name(first)}  {first.cell.load}")
            text.append(f"  and {len(others)} beside it" if others else "")
        if self._bad:
            text.append(f"  {self._bad} failed", style="red")
        return text


def of_console(console: Console, plan: Plan, seconds: float, *, quiet: bool) -> Quiet:
    """The progress that fits: ``seconds`` is the plan's estimated duration."""
    if quiet:
        return Quiet()
    return Bar(console, plan, seconds) if console.is_terminal else Lines(console)


def _block(trial: Trial) -> str:
    return "after" if trial.role in ASIDE else f"block {trial.block + 1:>2}"


def _name(trial: Trial) -> str:
    marks = {"baseline": " (baseline)", "canary": " (canary)", "diagnostic": " (diagnostic)", "blind": " (blind)"}
    return wire_name(trial.cell) + marks.get(trial.role, "")


def _headline(attempt: Attempt) -> str:
    role, load = attempt.trial.role, attempt.trial.cell.load
    metric = DIAGNOSTIC_METRIC if role == "diagnostic" else HEADLINE[load]
    found = next((o for o in attempt.observations if o.metric == metric), None)
    return f"{metric} {found.value:,.6g} {found.unit}" if found and found.value is not None else "ok"


def _clock(seconds: float) -> str:
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"
