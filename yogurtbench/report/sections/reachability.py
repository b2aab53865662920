"""The one definition of live, dead and looping wires."""

from __future__ import annotations

from collections.abc import Iterable

import pandas as pd

from yogurtbench.core.records import Attempt
from yogurtbench.report.run_data import RunData

#: Metric -> what gets through where it is 1.
PROTOCOLS = {"reachable": "IPv4", "reachable_v6": "IPv6", "tcp_ok": "TCP"}


def answers(share: float) -> bool:
    """Return whether a wire with this share of answered probes is live; one never asked is not."""
    return share > 0.5


def looping(attempts: Iterable[Attempt]) -> set[str]:
    """Return the ids of the wires whose packets loop in the kernel."""
    return {one.trial.cell.wire_id for one in attempts if one.status == "looping"}


def reachable_shares(story: RunData) -> dict[str, float]:
    """Return each reachability cell's share of answered probes; one that looped counts as 0."""
    found: dict[str, float] = {}
    if "reachable" in story.words:
        found = {str(key): float(share) for key, share in story.words["reachable"].dropna().items()}
    for attempt in story.attempts:
        if attempt.status == "looping" and attempt.trial.cell.load == "reachability":
            found[attempt.trial.cell.id] = 0.0
    cells = {key for key, cell in story.cells.items() if cell.load == "reachability"}
    return {key: share for key, share in found.items() if key in cells}


def drop_sites(story: RunData) -> pd.Series[str]:
    """Return where the requests of each cell were dropped, of the cells where that was seen."""
    if "dropped_at" not in story.words:
        return pd.Series(dtype=object)
    return story.words["dropped_at"].dropna()


def liveness(story: RunData) -> dict[str, bool]:
    """Wire id -> whether it carries IPv4, of the wires that were asked.

    Reachability decides; where it was not asked any other load does, and a looping wire does not
    count as alive.
    """
    by_load: dict[str, bool] = {}
    for attempt in story.attempts:
        cell = attempt.trial.cell
        if attempt.status == "looping":
            by_load.setdefault(cell.wire_id, False)
        elif cell.load == "isolation" and attempt.status != "skipped":
            carried = attempt.details.get("isolation", {}).get("carried")
            if carried is not None:
                by_load[cell.wire_id] = bool(carried)
        elif cell.load != "reachability" and attempt.status in ("ok", "skipped"):
            by_load[cell.wire_id] = attempt.status == "ok" or by_load.get(cell.wire_id, False)
    for key, share in reachable_shares(story).items():
        by_load[story.cells[key].wire_id] = answers(share)
    return by_load


def states(story: RunData) -> dict[str, str]:
    """Wire id -> whether it carries packets, in a word, of the wires that were tried."""
    loops = looping(story.attempts)
    found = {one.trial.cell.wire_id: str(one.status) for one in story.attempts}
    for wire, alive in liveness(story).items():
        dead = "looping" if wire in loops else "dead"
        found[wire] = "alive" if alive else dead
    return found
