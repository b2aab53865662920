"""Warnings to read before a run's numbers."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Literal

import numpy as np

from yogurtbench.analysis.comparison import why_rounded
from yogurtbench.analysis.values import rows_of
from yogurtbench.matrix.axes import PAYLOAD
from yogurtbench.report.format import format_change, format_interval
from yogurtbench.report.run_data import RunData
from yogurtbench.report.sections import counters


@dataclass(frozen=True, slots=True)
class ReportWarning:
    """Something to know before believing a number. ``grave`` ones change what the numbers mean."""

    kind: Literal[
        "emulated",
        "canary",
        "drift",
        "failures",
        "unfinished",
        "mixed",
        "packets",
        "resolution",
        "lost",
        "unchecked",
    ]
    text: str
    grave: bool = True


def collect_warnings(story: RunData) -> list[ReportWarning]:
    """Return what a reader must know, the gravest first."""
    found = [ask(story) for ask in _ALL]
    return [one for one in found if one is not None]


def _emulated(story: RunData) -> ReportWarning | None:
    if not story.emulated:
        return None
    if story.exact:
        text = (
            "Emulated (TCG): values are counts of guest instructions, without caches, "
            "contention or a second CPU. "
        )
        return ReportWarning(
            "emulated",
            text + "They are exact, and not a statement about time on hardware.",
            grave=False,
        )
    text = (
        "Emulated (TCG): not a statement about hardware. Which wires work is true of this "
        "kernel; how fast is not."
    )
    return ReportWarning("emulated", text)


#: Below so much (as a log-ratio) a difference is smaller than any that is shown.
_TINY = 0.001


def _canary(story: RunData) -> ReportWarning | None:
    seen = story.canaries[story.canaries["verdict"].isin(["faster", "slower"])]
    if seen.empty:
        return None
    worst = seen.iloc[int(np.argmax(np.abs(np.log(seen["ratio"].to_numpy(dtype=float)))))]
    tiny = abs(float(np.log(worst["ratio"]))) < _TINY
    change = "less than 0.1 %" if tiny else format_change(worst["ratio"])
    text = (
        f"The baseline differs from itself by {change} ({worst['metric']}, {worst['load']}): "
        "something other than the wires moves these numbers; do not trust differences of that size."
    )
    return ReportWarning("canary", text, grave=not tiny)


def _lost(story: RunData) -> ReportWarning | None:
    if not story.lost:
        return None
    more = f", and {len(story.lost) - 3} more" if len(story.lost) > 3 else ""
    text = (
        f"Damaged, and left out: {len(story.lost)} line{'s' if len(story.lost) > 1 else ''} of "
        f"trials.jsonl ({'; '.join(story.lost[:3])}{more})."
    )
    return ReportWarning("lost", text)


def _unchecked(story: RunData) -> ReportWarning | None:
    if not story.unchecked:
        return None
    text = (
        f"{story.unchecked} of {len(story.attempts)} trials have no check sum, since an earlier "
        "version stored them: a changed digit would not be noticed."
    )
    return ReportWarning("unchecked", text, grave=False)


def _drift(story: RunData) -> ReportWarning | None:
    seen = story.drift[story.drift["verdict"] == "drift"]
    if seen.empty:
        return None
    worst = seen.loc[np.log(seen["ratio"]).abs().idxmax()]
    span = format_interval(worst["ratio_low"], worst["ratio_high"])
    text = (
        f"The baseline drifted within the blocks: {format_change(worst['ratio'])} ({span}) "
        "from first to last."
    )
    return ReportWarning("drift", text, grave=False)


def _failures(story: RunData) -> ReportWarning | None:
    counts = Counter(
        attempt.status
        for attempt in story.attempts
        if attempt.status in ("failed", "crashed", "looping")
    )
    if not counts:
        return None
    said = ", ".join(f"{count} {status}" for status, count in counts.most_common())
    return ReportWarning(
        "failures", f"Of {len(story.attempts)} trials: {said}. See Failures.", grave=False
    )


def _unfinished(story: RunData) -> ReportWarning | None:
    planned = story.plan.blocks.min
    absent = int((story.headlines["verdict"] == "not_run").sum())
    if story.blocks >= planned and not absent:
        return None
    lost = f"; {absent} cells have no trial" if absent else ""
    return ReportWarning(
        "unfinished",
        f"The run is not complete: {story.blocks} of at least {planned} blocks{lost}.",
        grave=False,
    )


def _mixed(story: RunData) -> ReportWarning | None:
    mixed = [
        name for name in ("host", "lab", "accelerator", "clock") if story.frame[name].nunique() > 1
    ]
    return (
        ReportWarning(
            "mixed", f"Trials differ in {', '.join(mixed)}; cells are only compared within a block."
        )
        if mixed
        else None
    )


def _resolution(story: RunData) -> ReportWarning | None:
    """Return what no number of blocks decides, since the tool tells it too coarsely."""
    asked = [row for row in rows_of(story.headlines) if row["role"] == "cell" and row["n"] > 0]
    found = Counter(why.rpartition(": ")[2] for row in asked if (why := why_rounded(row["note"])))
    if not found:
        return None
    undecided = (
        f"Of {len(asked)} comparisons, {found.total()} are undecided whatever the number of blocks"
    )
    return ReportWarning(
        "resolution", f"{undecided}, for they could be rounding: {'; '.join(found)}.", grave=False
    )


def _packets(story: RunData) -> ReportWarning | None:
    # TCP's default payload is as much as a write takes: no packet of that size is expected.
    asked_for = [
        key
        for key in counters.warned(story)
        if story.cells[key].payload != PAYLOAD[story.cells[key].load]
    ]
    warned, measured = len(asked_for), counters.sized(story)
    if not warned:
        return None
    text = (
        f"In {warned} of {measured} cells the packets are not of the size that the payload "
        "says (see Counters): "
    )
    return ReportWarning(
        "packets",
        text + "go by their packet size. To choose it, use UDP and payloads that fit the MTU.",
        grave=False,
    )


_ALL = (
    _lost,
    _emulated,
    _canary,
    _drift,
    _failures,
    _unfinished,
    _mixed,
    _resolution,
    _packets,
    _unchecked,
)
