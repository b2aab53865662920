"""Isolation results: who on the host can capture from a live wire or inject into it."""

from __future__ import annotations

from dataclasses import dataclass

from yogurtbench.core.labels import WireLabel
from yogurtbench.report.run_data import RunData
from yogurtbench.report.sections.reachability import liveness

#: Isolation metric -> where packets are captured.
CAPTURES = {
    "eavesdrop_host_a": "host end a",
    "eavesdrop_host_b": "host end b",
    "eavesdrop_any": "an unbound socket",
}
#: Isolation metric -> who injects packets.
INJECTIONS = {
    "inject_raw": "raw packets",
    "inject_bypass": "raw packets past the qdisc",
    "inject_unprivileged": "unprivileged users",
    "inject_raw_a": "raw packets at host end a",
    "host_ping": "the host's ping",
}
#: The same in a word, for a list of many wires.
SHORT_NAMES = {
    "eavesdrop_host_a": "a",
    "eavesdrop_host_b": "b",
    "eavesdrop_any": "any",
    "inject_raw": "raw",
    "inject_bypass": "bypass",
    "inject_unprivileged": "unprivileged",
    "inject_raw_a": "raw at a",
    "host_ping": "ping",
}


@dataclass(frozen=True, slots=True)
class IsolationResult:
    """A live wire's open ends by metric, and the metrics that were asked and not answered."""

    wire: WireLabel
    has_program: bool
    captures: tuple[str, ...]
    injections: tuple[str, ...]
    unknown: frozenset[str]

    @property
    def opens(self) -> int:
        """The number of captures and injections that are open."""
        return len(self.captures) + len(self.injections)

    @property
    def capture_proof(self) -> bool:
        """True where no capture is open and all were measured."""
        return not self.captures and not self.unknown & CAPTURES.keys()

    @property
    def injection_proof(self) -> bool:
        """True where no injection is open and all were measured."""
        return not self.injections and not self.unknown & INJECTIONS.keys()


def isolation_results(story: RunData) -> list[IsolationResult]:
    """Return one entry a live wire whose isolation was measured, in the order of the plan."""
    alive, found, unanswered = liveness(story), _open(story), _unanswered(story)
    measured = [
        (key, cell)
        for key, cell in story.cells.items()
        if cell.load == "isolation" and alive.get(cell.wire_id)
    ]
    return [
        IsolationResult(
            story.wire(key),
            cell.hook != "none",
            tuple(metric for metric in CAPTURES if metric in found[key]),
            tuple(metric for metric in INJECTIONS if metric in found[key]),
            frozenset(unanswered.get(key, ())),
        )
        for key, cell in measured
        if key in found
    ]


def _open(story: RunData) -> dict[str, set[str]]:
    """Cell -> the metrics that were yes in any trial: what is open sometimes is open."""
    metrics = [metric for metric in (*CAPTURES, *INJECTIONS) if metric in story.words]
    shares = story.words[metrics].dropna(how="all")
    return {
        str(key): {metric for metric in metrics if row[metric] > 0}
        for key, row in shares.iterrows()
    }


def _unanswered(story: RunData) -> dict[str, set[str]]:
    """Cell -> the isolation metrics of which some trial gave a row and none an answer."""
    rows = story.frame[story.frame["load"] == "isolation"]
    asked = {(str(c), str(m)) for c, m in zip(rows["cell"], rows["metric"], strict=True)}
    ok = rows[rows["status"] == "ok"]
    answered = {(str(c), str(m)) for c, m in zip(ok["cell"], ok["metric"], strict=True)}
    found: dict[str, set[str]] = {}
    for cell, metric in asked - answered:
        found.setdefault(cell, set()).add(metric)
    return found
