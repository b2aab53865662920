"""Sentences on sweeps: of payloads, of offloads, and of runs without a baseline."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from yogurtbench.analysis.values import rows_of
from yogurtbench.core.labels import load_name, metric_name, wire_name
from yogurtbench.core.metrics import HEADLINE
from yogurtbench.core.records import Cell
from yogurtbench.report.format import format_number
from yogurtbench.report.measured import Level, levels
from yogurtbench.report.run_data import RunData
from yogurtbench.report.sections.summary.effects import TELL_LEVELS, reference_words
from yogurtbench.report.sections.summary.wording import (
    differing_axes,
    format_bytes,
    join_words,
    verdict_state,
)

#: Axes that switch a kernel's batching, whatever the wire.
_SWITCHES = ("mtu", "gso", "gro", "checksum")


def describe_payload(story: RunData) -> str:
    """Return the payload from which on the wires equal their baselines, by load."""
    rows = story.headlines[story.headlines["ratio"].notna() & story.headlines["payload"].notna()]
    said: dict[str, list[str]] = {}
    for load, mine in rows.groupby("load", sort=False):
        if mine["payload"].nunique() > 1:
            said.setdefault(_turn(mine), []).append(load_name(str(load)))
    parts = [f"{join_words(loads)} {turn}" for turn, loads in said.items()]
    return f"Where every wire equals {reference_words(story)}: {'; '.join(parts)}." if parts else ""


def _turn(rows: pd.DataFrame) -> str:
    """Return in words the smallest payload from which on every wire was judged equal."""
    states = {
        size: verdict_state(set(rows.loc[rows["payload"] == size, "verdict"]))
        for size in map(int, rows["payload"])
    }
    sizes = sorted(states)
    equal: list[int] = []
    for size in reversed(sizes):
        if states[size] != "equal":
            break
        equal.append(size)
    if len(equal) == len(sizes):
        return f"at all payloads tried ({format_bytes(sizes[0])} to {format_bytes(sizes[-1])})"
    below = sizes[len(sizes) - len(equal) - 1]
    if equal:
        doubt = (
            f" at the latest (at {format_bytes(below)} we don't know)"
            if states[below] == "unknown"
            else ""
        )
        return f"from {format_bytes(equal[-1])} on{doubt}"
    return (
        f"we don't know, not even at {format_bytes(below)}"
        if states[below] == "unknown"
        else f"not at {format_bytes(below)}"
    )


def describe_offloads(story: RunData) -> str:
    """Say how far the baseline itself moves with offloads and MTU: what is not the wire."""
    for load in dict.fromkeys(story.headlines["load"]):
        rows = story.headlines[
            (story.headlines["load"] == load) & story.headlines["baseline_median"].notna()
        ]
        found = {
            str(row["baseline"]): row for row in rows_of(rows) if row["baseline"] in story.cells
        }
        cells = {base: story.cells[base] for base in found}
        names, wires = (
            {wire_name(cell) for cell in cells.values()},
            {cell.wire_id for cell in cells.values()},
        )
        if len(names) == 1 and len(wires) > 1:
            return _span_of_switches(names.pop(), HEADLINE[load], found, cells)
    return ""


def _span_of_switches(
    name: str, metric: str, found: Mapping[str, Mapping[str, Any]], cells: Mapping[str, Cell]
) -> str:
    """Return the least and the most that was measured of a baseline, and under which switches."""
    axes = [axis for axis in differing_axes(cells.values()) if axis in _SWITCHES]
    ordered = sorted(found, key=lambda base: float(found[base]["baseline_median"]))
    least, most = (
        f"{format_number(found[base]['baseline_median'], found[base]['unit'])} "
        f"({_switched(cells[base], axes)})"
        for base in (ordered[0], ordered[-1])
    )
    return (
        f"{name} itself was measured with a {metric_name(metric)} from {least} to {most}, "
        "by the switches alone."
    )


def _switched(cell: Cell, axes: list[str]) -> str:
    return ", ".join(f"{axis} {getattr(cell, axis)}" for axis in axes)


def describe_levels(story: RunData) -> str:
    """Return the best wire of each load where nothing is compared.

    Exact where the clock is, else no more than a figure.
    """
    by_heading: dict[str, list[Level]] = {}
    for level in levels(story):
        by_heading.setdefault(level.heading, []).append(level)
    leaders = [
        _leading(story, heading, mine) for heading, mine in list(by_heading.items())[:TELL_LEVELS]
    ]
    return "; ".join(leaders)


def _leading(story: RunData, heading: str, mine: list[Level]) -> str:
    first, rest = mine[0], mine[1:]
    if not rest:
        return f"{first.wire} was measured with {first.value} ({heading})"
    equal = [one.wire for one in rest if one.median == first.median]
    if story.exact and equal:
        more = f" and {len(equal) - 1} more" if len(equal) > 1 else ""
        return f"{first.wire} is cheapest, as is {equal[0]}{more}, with {first.value} ({heading})"
    lead = "is cheapest" if story.exact else "came first, not held to a baseline,"
    return (
        f"{first.wire} {lead} with {first.value}, then {rest[0].wire} with {rest[0].value} "
        f"({heading})"
    )
