"""The trials' time by phase, and the harness's own share of it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from yogurtbench.report.run_data import RunData

#: The phases of a trial, in their order. What is measured is measured in the load's.
PHASES = ("lab", "wire", "probe", "load", "undo")
_WHAT = {
    "lab": "namespaces and devices are made",
    "wire": "its programs are loaded and attached",
    "probe": "neighbours are resolved, an echo is answered",
    "load": "the load's processes live, their own pauses included",
    "undo": "everything is taken down",
}


@dataclass(frozen=True, slots=True)
class Phase:
    """A phase's seconds in all trials together, its share of them all, and what happens in it."""

    name: str
    seconds: float
    share: float
    what: str


def phases(story: RunData) -> list[Phase]:
    """Return the phases of all trials, asides included, in the order of a trial.

    Empty where nothing ran.
    """
    total: Counter[str] = Counter()
    for attempt in story.attempts:
        total.update(attempt.seconds)
    whole = sum(total.values())
    names = [
        *(name for name in PHASES if name in total),
        *(name for name in total if name not in PHASES),
    ]
    return (
        [Phase(name, total[name], total[name] / whole, _WHAT.get(name, "")) for name in names]
        if whole
        else []
    )


def ratio(story: RunData) -> float | None:
    """Return the share of the trials' time that was no load's (``overhead_ratio``).

    None where nothing ran.
    """
    found = phases(story)
    return 1 - sum(phase.share for phase in found if phase.name == "load") if found else None
