"""The levels of cells without a baseline: the deciding metric's median and spread."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from yogurtbench.core.labels import load_name, metric_name
from yogurtbench.core.metrics import HEADLINE, METRICS, YES_NO
from yogurtbench.report.format import format_number
from yogurtbench.report.run_data import RunData


@dataclass(frozen=True, slots=True)
class Level:
    """A cell's values in ``unit``, of its blocks: ``heading`` names metric, load and traffic."""

    wire: str
    heading: str
    median: float
    low: float
    high: float
    blocks: int
    unit: str

    @property
    def value(self) -> str:
        """The median with its unit."""
        return format_number(self.median, self.unit)

    @property
    def spread(self) -> str:
        """From the smallest block to the largest; empty of a single one."""
        return (
            f"{format_number(self.low, self.unit)} … {format_number(self.high, self.unit)}"
            if self.blocks > 1
            else ""
        )


def levels(story: RunData) -> list[Level]:
    """Return the level of every cell without a baseline, by metric, best first."""
    frame = story.frame
    ok = frame[(frame["status"] == "ok") & (frame["role"] == "cell") & frame["value"].notna()]
    deciding = ok[(ok["metric"] == ok["load"].map(HEADLINE)) & ~ok["load"].isin(YES_NO)]
    values = {str(cell): mine for cell, mine in deciding.groupby("cell", sort=False)}
    found: dict[str, list[tuple[float, Level]]] = {}
    for cell in story.cells:
        if cell in values and cell not in story.main:
            level, metric = _level(story, cell, values[cell]), HEADLINE[story.cells[cell].load]
            rank = level.median if METRICS[metric].better == "lower" else -level.median
            found.setdefault(level.heading, []).append((rank, level))
    ordered: list[Level] = []
    for mine in found.values():
        ordered += [level for _, level in sorted(mine, key=lambda one: one[0])]
    return ordered


def _level(story: RunData, cell: str, rows: pd.DataFrame) -> Level:
    load, blocks = story.cells[cell].load, rows.groupby("block")["value"].median()
    heading = ", ".join(
        filter(None, (metric_name(HEADLINE[load]), load_name(load), story.traffic[cell]))
    )
    median, low, high = float(blocks.median()), float(blocks.min()), float(blocks.max())
    return Level(
        story.wire(cell).name, heading, median, low, high, len(blocks), str(rows["unit"].iloc[0])
    )
