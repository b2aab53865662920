"""The page of two runs: what changed, both environments, every value of either.

Runs that were not measured in the same way (two kernels, say) are shown beside each other and not
judged.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from statistics import median
from typing import Any

from yogurtbench.analysis.findings import FINE, Finding
from yogurtbench.analysis.measured_run import MeasuredRun
from yogurtbench.core import files
from yogurtbench.core.labels import load_name, metric_name
from yogurtbench.core.metrics import METRICS, unit_on
from yogurtbench.report.charts import run_pair
from yogurtbench.report.format import format_change, format_interval
from yogurtbench.report.pages import run
from yogurtbench.report.run_pair import RunPair
from yogurtbench.report.sections import gate as decisions
from yogurtbench.report.sections import warnings
from yogurtbench.report.sections.environment import environment_items
from yogurtbench.report.sections.table import Column, Grid
from yogurtbench.report.sections.tables import or_none

#: Stands in the head of every such page.
_MARK = "two runs · yogurtbench</title>".encode()
#: Changes shown before the table of all.
_FIRST = 8
_NOT_COMPARED = "not compared"
_SIGNS = {
    "regression": "▼",
    "improvement": "▲",
    "identical": "=",
    "equivalent": "=",
    "unchanged": "=",
}


def check(file: Path) -> None:
    """Raise MatrixError unless the page may be written there: nothing but such a page is
    overwritten.
    """
    files.check_target(
        file, lambda there: files.starts_with(there, _MARK), "a page that compare has written"
    )


def put(pair: RunPair, file: Path) -> None:
    """Write the page. Raises MatrixError or HostError where it cannot be written."""
    with files.explaining_errors(file):
        file.parent.mkdir(parents=True, exist_ok=True)
    files.write_text(file, render(pair))


def render(pair: RunPair) -> str:
    """Return the page as text."""
    findings = sorted(pair.decision.findings, key=_interest) or list(
        _beside(pair.decision.old, pair.decision.new)
    )
    return run.fill(
        "compare.html",
        pair=pair,
        answer=decisions.answer(pair.decision),
        unlike=pair.decision.unlike,
        warnings=list(_warnings(pair)),
        changes=_changes(pair),
        environments=list(_environments(pair)),
        charts=list(run_pair.draw(pair)),
        palette=[
            [wire.name, "var(--ink)" if wire.reference else wire.colour]
            for wire in pair.wires.values()
        ],
        grids={"findings": _grid(pair, findings)},
    )


def _beside(old: MeasuredRun, new: MeasuredRun) -> Iterator[Finding]:
    """Yield the values that both sides have where they must not be compared."""
    for key, before in old.entries.items():
        now = new.entries.get(key)
        for metric in before.values if now and before.role == "cell" else ():
            values = [
                list(entry.values.get(metric, {}).values()) for entry in (before, now) if entry
            ]
            if metric in METRICS and all(values):
                unit = METRICS[metric].unit
                units = {unit_on(side.environment.clock, unit) for side in (old, new)}
                if len(units) == 1:
                    a, b = map(median, values)
                    yield Finding(
                        before.cell,
                        before.role,
                        metric,
                        units.pop(),
                        "exploratory",
                        math.nan,
                        _NOT_COMPARED,
                        "",
                        old=a,
                        new=b,
                    )


def _interest(one: Finding) -> tuple[bool, bool, bool]:
    """Return what decides first, and of that what moved."""
    return (
        not one.deciding,
        one.verdict not in ("regression", "improvement"),
        one.verdict in FINE,
    )


def _warnings(pair: RunPair) -> Iterator[tuple[str, bool]]:
    """(text, whether it is grave): of the two together, then of each by itself."""
    cautions = [*pair.decision.cautions, *(f"failed: {one}" for one in pair.decision.failed[:3])]
    left = len(pair.decision.failed) - 3
    yield from (
        (text, True) for text in [*cautions, *([f"{left} more trials failed"] if left > 0 else [])]
    )
    before, now = warnings.collect_warnings(pair.old), warnings.collect_warnings(pair.new)
    for name, found in (
        ("both", [one for one in now if one in before]),
        ("old", [one for one in before if one not in now]),
        ("new", [one for one in now if one not in before]),
    ):
        yield from ((f"{name}: {one.text}", one.grave) for one in found)


def _changes(pair: RunPair) -> list[dict[str, str]]:
    """Return what decides: first worse, then better, then unknown, the first of each in full."""
    decision = pair.decision
    found = [*decision.regressions, *decision.improvements, *decision.undecided]
    return [_line(pair, one) for one in found[:_FIRST]]


def _line(pair: RunPair, one: Finding) -> dict[str, Any]:
    return {
        "wire": pair.wires[one.cell.wire_id],
        "what": ", ".join(
            filter(
                None, (load_name(one.cell.load), pair.traffic[one.cell.id], metric_name(one.metric))
            )
        ),
        "old": decisions.shown(one.old, one, exact=pair.exact),
        "new": decisions.shown(one.new, one, exact=pair.exact),
        "change": _change(one, exact=pair.exact),
        "kind": one.verdict,
        "verdict": f"{_SIGNS.get(one.verdict, '?')} {one.verdict.replace('_', ' ')}",
        "note": one.note,
    }


def _change(one: Finding, *, exact: bool) -> str:
    if not math.isfinite(one.ratio):
        return ""
    return (
        f"{format_change(one.ratio, 2)} ({decisions.signed(one.difference)})"
        if exact
        else format_change(one.ratio)
    )


def _environments(pair: RunPair) -> Iterator[tuple[str, str, str, bool]]:
    """Return (name, old, new, differs) of the runs and their machines."""
    yield "run", pair.old.run, pair.new.run, False
    sides = [
        {fact.name: fact.value for fact in environment_items(story)}
        for story in (pair.old, pair.new)
    ]
    for name in dict.fromkeys((*sides[0], *sides[1])):
        before, now = (side.get(name, "–") for side in sides)
        yield name, before, now, before != now


def _grid(pair: RunPair, findings: list[Finding]) -> Grid:
    columns = [
        Column("wire", "wire"),
        Column("load", pick=True),
        Column("traffic"),
        Column("metric", pick=True),
        Column("old", "number"),
        Column("new", "number"),
        Column("change", "number"),
        *[Column("difference", "number"), Column("per packet", "number")][: 2 * pair.exact],
        *[Column("95 % interval")][: not pair.exact],
        Column("verdict", "verdict", pick=True),
        Column("family", pick=True),
    ]
    places = {wire: place for place, wire in enumerate(pair.wires)}
    return Grid(columns, [_row(pair, one, places) for one in findings])


def _row(pair: RunPair, one: Finding, places: Mapping[str, int]) -> list[Any]:
    exact = pair.exact
    line = _line(pair, one)
    how = (
        [
            [or_none(one.difference), decisions.signed(one.difference)],
            [or_none(one.per_packet), decisions.signed(one.per_packet)],
        ]
        if exact
        else [format_interval(one.low, one.high)]
    )
    return [
        places[one.cell.wire_id], load_name(one.cell.load), pair.traffic[one.cell.id],
        metric_name(one.metric) + (f" ({one.role})" if one.role != "cell" else ""),
        [or_none(one.old), line["old"]], [or_none(one.new), line["new"]],
        [or_none(one.ratio), format_change(one.ratio, 2 if exact else 1)], *how,
        [one.verdict, line["verdict"], one.note], one.family,
    ]  # fmt: skip
