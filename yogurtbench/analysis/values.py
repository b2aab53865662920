"""A tidy frame as one value a cell, role, metric and block, and how far rounding can have moved
it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from yogurtbench.core import resolution
from yogurtbench.core.metrics import METRICS
from yogurtbench.plan.plan import Plan
from yogurtbench.results.frame import ROUNDING

Series = dict[int, float]  # block -> value
Key = tuple[str, str, str]  # cell id, role, metric


class BlockValues:
    """The frame as one value a (cell, role, metric) and block, and the statuses of the blocks
    without one.
    """

    def __init__(self, frame: pd.DataFrame) -> None:
        self.series, self.roundings = _series(frame)
        self.statuses = _statuses(frame)
        self.metrics: dict[tuple[str, str], list[str]] = {}
        for cell, role, metric in dict.fromkeys((*self.series, *self.statuses)):
            self.metrics.setdefault((cell, role), []).append(metric)

    def of(self, cell: str, role: str, metric: str) -> Series:
        """Block to value."""
        return self.series.get((cell, role, metric), {})

    def rounding(self, cell: str, role: str, metric: str) -> Series:
        """Block to how far rounding can have moved the value."""
        return self.roundings.get((cell, role, metric), {})

    def missing(self, cell: str, role: str, metric: str) -> dict[int, str]:
        """Block to status, for the blocks that gave no value."""
        found, given = self.statuses.get((cell, role, metric), {}), self.of(cell, role, metric)
        return {block: status for block, status in found.items() if block not in given}


def _series(frame: pd.DataFrame) -> tuple[dict[Key, Series], dict[Key, Series]]:
    """Return the values, and how far rounding can have moved each."""
    ok = frame[(frame["status"] == "ok") & np.isfinite(frame["value"])]
    ok = ok if ROUNDING in ok else ok.assign(**{ROUNDING: 0.0})
    found: dict[Key, dict[int, list[tuple[float, float]]]] = {}
    for cell, role, metric, block, *roundings in tuples_of(
        ok, "cell", "role", "metric", "block", "value", ROUNDING
    ):
        found.setdefault((cell, role, metric), {}).setdefault(int(block), []).append(
            (roundings[0], roundings[1])
        )
    values = {
        key: {b: _middle([one for one, _ in roundings]) for b, roundings in one.items()}
        for key, one in found.items()
    }
    return values, {
        key: {b: _middle_rounding(roundings) for b, roundings in one.items()}
        for key, one in found.items()
    }


def _middle_rounding(roundings: list[tuple[float, float]]) -> float:
    """Return how far the middle lies from that of the least values, or of the most, that rounding
    leaves.
    """
    if len(roundings) == 1:
        return roundings[0][1]
    values, least = (
        [value for value, _ in roundings],
        [max(0.0, value - moved) for value, moved in roundings],
    )
    low = 0.0 if min(least) == 0 < min(values) else _middle(least)
    return max(
        _middle(values) - low,
        _middle([value + moved for value, moved in roundings]) - _middle(values),
    )


def _middle(values: list[float]) -> float:
    """Divide by a baseline that ran first and last: its geometric mean (arithmetic where there are
    zeros).
    """
    if len(values) == 1:
        return values[0]
    return (
        math.exp(math.fsum(map(math.log, values)) / len(values))
        if min(values) > 0
        else math.fsum(values) / len(values)
    )


def _statuses(frame: pd.DataFrame) -> dict[Key, dict[int, str]]:
    """Whatever is neither a word nor a finite number, by block.

    An ok row with neither has failed to measure.
    """
    found: dict[Key, dict[int, str]] = {}
    without = frame[
        (frame["status"] != "ok") | (~np.isfinite(frame["value"]) & frame["text"].isna())
    ]
    for cell, role, metric, block, status in tuples_of(
        without, "cell", "role", "metric", "block", "status"
    ):
        found.setdefault((cell, role, metric), {})[int(block)] = (
            "failed" if status == "ok" else status
        )
    return found


def tuples_of(frame: pd.DataFrame, *columns: str) -> Iterator[tuple[Any, ...]]:
    """Yield the rows of some columns."""
    # By way of objects: pandas takes texts out of Arrow one by one otherwise, and its to_dict is
    # slower still.
    return zip(*(frame[column].astype(object).tolist() for column in columns), strict=True)


def drop_unresolved(frame: pd.DataFrame, plan: Plan) -> pd.DataFrame:
    """Return the frame with its column ROUNDING.

    As it is, or made from the plan's options where it was read from a file.
    """
    if ROUNDING in frame:
        return frame
    options = {(planned.cell.id, planned.role): planned.options for planned in plan.cells}
    values: dict[str, dict[str, float]] = {}
    for trial, metric, value in tuples_of(
        frame[frame["value"].notna()], "trial", "metric", "value"
    ):
        values.setdefault(trial, {})[metric] = value
    moved = []
    for trial, cell, role, load, clock, payload, metric, value in tuples_of(
        frame, "trial", "cell", "role", "load", "clock", "payload", "metric", "value"
    ):
        size = None if pd.isna(payload) else int(payload)
        source = resolution.ResolutionSource(
            load, clock, size, options.get((cell, role), {}), values.get(trial, {})
        )
        moved.append(resolution.rounding_of(metric, value, source))
    return frame.assign(**{ROUNDING: moved})


def rows_of(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Return a frame's rows as dicts by column name."""
    return [
        dict(zip(table.columns, values, strict=True)) for values in tuples_of(table, *table.columns)
    ]


def comparable(metric: str) -> bool:
    """Return whether a ratio of this metric means something: a quantity with a direction."""
    known = METRICS.get(metric)
    return known is not None and known.better != "none" and known.unit != "bool"
