"""The wires ranked: their rows of the comparison, the best first."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd

from yogurtbench.core.labels import WireLabel
from yogurtbench.core.metrics import METRICS
from yogurtbench.report.format import format_change, format_interval
from yogurtbench.report.run_data import RunData


@dataclass(frozen=True, slots=True)
class WireRank:
    """A wire's effects: load -> its rows of the comparison.

    ``gain`` > 0 is better than the baseline (log ratio).
    """

    wire: WireLabel
    loads: dict[str, pd.DataFrame]
    gain: float

    @property
    def verdicts(self) -> set[str]:
        """Every verdict among its effects."""
        found: set[str] = set()
        for rows in self.loads.values():
            found.update(map(str, rows["verdict"]))
        return found


def rank_wires(story: RunData, rows: pd.DataFrame | None = None) -> list[WireRank]:
    """Return the wires with effects, best first by mean gain over the loads.

    ``rows``: those of the comparison to stand by, the deciding ones where not given. What has no
    ratio (dead, failed, not run) counts neither for nor against a wire.
    """
    return _ranked(story, rows) if rows is not None else _headlined(story)


@lru_cache(maxsize=1)
def _headlined(story: RunData) -> list[WireRank]:
    """Asked for by the answer, the tables and the Markdown, one after another."""
    return _ranked(story, story.headlines)


def _ranked(story: RunData, rows: pd.DataFrame) -> list[WireRank]:
    rows = rows[rows["ratio"].notna()]
    found: dict[str, dict[str, pd.DataFrame]] = {}
    wires = rows["cell"].map(lambda cell: story.wire(cell).id)
    for (wire, load), mine in rows.groupby([wires, rows["load"]], sort=False):
        found.setdefault(str(wire), {})[str(load)] = mine
    ranks = [
        WireRank(story.wires[wire], loads, float(np.mean([_gain(r) for r in loads.values()])))
        for wire, loads in found.items()
    ]
    return sorted(ranks, key=lambda one: -one.gain)


def _gain(rows: pd.DataFrame) -> float:
    sign = -1 if METRICS[str(rows["metric"].iloc[0])].better == "lower" else 1
    return sign * float(np.log(rows["ratio"]).mean())


def effect(row: Mapping[str, Any]) -> tuple[str, str]:
    """Return a row of the comparison as (change, interval) in percent."""
    return format_change(float(row["ratio"])), format_interval(
        float(row["ratio_low"]), float(row["ratio_high"])
    )
