"""The result on a terminal: a table of effects with bars and intervals, for wide and narrow screens."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
from rich.table import Table
from rich.text import Text

from yogurtbench.analysis import EMULATED, rows_of
from yogurtbench.records import AXES, HEADLINE, Cell
from yogurtbench.report import which_wire
from yogurtbench.report.names import change, interval, load_name, metric_name, number, traffic_names, wire_names
from yogurtbench.report.which_wire import Tried

#: Columns of text from which there is room for the measured values, and for the bars.
ROOM_FOR_VALUES, ROOM_FOR_BARS = 125, 95
_BAR = 21
_STYLES = {
    "faster": "green", "slower": "red", "failed": "bold red", "incomplete": "yellow",
    "inconclusive": "dim", "dead": "dim",
}  # fmt: skip


def table(comparison: pd.DataFrame, width: int) -> Table:
    """The deciding comparisons of a run (analysis.compare) for a terminal ``width`` columns wide, best wire first.

    Signs and words carry all that colour does, so that it reads the same without colour.
    """
    rows = _deciding(comparison)
    names, traffic = _names(rows)
    found = Table(title=_title(comparison), title_justify="left", box=None, pad_edge=False, header_style="dim")
    for head, right in _heads(width):
        found.add_column(head, justify="right" if right else "left", no_wrap=head != "wire", overflow="fold")
    reach = max(0.01, *(abs(math.log(value)) for value in [1.0, *_bounds(rows)]))
    for heading, mine in _sections(rows, traffic).items():
        found.add_row(Text(heading, style="bold"))
        for row in mine:
            found.add_row(*_cells(row, names[row["cell"]], width, reach))
    return found


def _sections(rows: list[dict[str, Any]], traffic: Mapping[str, str]) -> dict[str, list[dict[str, Any]]]:
    """Rows by what was sent and measured, each section from best to worst, those without a ratio last."""
    found: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        sent = ", ".join(filter(None, (load_name(row["load"]), traffic[row["cell"]])))
        found.setdefault(f"{metric_name(row['metric'])}, {sent}", []).append(row)
    return {heading: sorted(mine, key=_rank) for heading, mine in found.items()}


def _rank(row: Mapping[str, Any]) -> float:
    ratio = float(row["ratio"])
    return math.inf if math.isnan(ratio) else ratio if row["better"] == "lower" else -ratio


def truths(wires: Sequence[Tried]) -> Table:
    """Which wires carry packets, and where the others die: for runs that ask that. Live ones first, dead by site."""
    found = Table(box=None, pad_edge=False, header_style="bold")
    for head in ("wire", "IPv4", "IPv6", "TCP", "dies at"):
        found.add_column(head, overflow="fold")
    for one in sorted(wires, key=_fate):
        marks = [_YES_NO.get(one.values.get(metric), "–") for metric in ("reachable", "reachable_v6", "tcp_ok")]
        site = str(one.values.get("dropped_at", "" if one.status == "ok" else one.status))
        found.add_row(which_wire.spoken(one.cell), *marks, site, style=None if one.alive else "dim")
    return found


#: Metric value -> mark.
_YES_NO: dict[Any, str] = {1.0: "yes", 0.0: "no"}


def _fate(one: Tried) -> tuple[bool, str, str]:
    return not one.alive, str(one.values.get("dropped_at", one.status)), which_wire.spoken(one.cell)


def _deciding(comparison: pd.DataFrame) -> list[dict[str, Any]]:
    asked = comparison[(comparison["role"] == "cell") & comparison["baseline"].notna()]
    rows = asked[asked["metric"] == asked["load"].map(HEADLINE)]
    return rows_of(rows.drop_duplicates(["cell", "metric"]))


def _names(rows: Sequence[Mapping[str, Any]]) -> tuple[dict[str, str], dict[str, str]]:
    cells = {row["cell"]: Cell(**{axis: _value(row[axis]) for axis in AXES}) for row in rows}
    wires = wire_names(cells.values(), ())
    return {key: wires[cell.wire_id].name for key, cell in cells.items()}, traffic_names(cells)


def _value(value: Any) -> Any:
    return None if pd.isna(value) else value


def _title(comparison: pd.DataFrame) -> Text | None:
    return Text(EMULATED, style="bold red") if (comparison["accelerator"] == "tcg").any() else None


def _heads(width: int) -> list[tuple[str, bool]]:
    heads = [("wire", False), ("change", True), ("95 % interval", True), ("", False), ("verdict", False)]
    if width < ROOM_FOR_BARS:
        return [heads[0], heads[1], heads[4]]
    values = [("baseline", True), ("measured", True)] if width >= ROOM_FOR_VALUES else []
    return [heads[0], *values, *heads[1:]]


def _cells(row: Mapping[str, Any], name: str, width: int, reach: float) -> list[Text]:
    style = _STYLES.get(row["verdict"], "")
    effect, verdict = Text(change(row["ratio"]), style), Text(str(row["verdict"]).replace("_", " "), style)
    if width < ROOM_FOR_BARS:
        return [Text(f"  {name}"), effect, verdict]
    values = [Text(number(row[key], row["unit"])) for key in ("baseline_median", "cell_median")]
    span, bar = Text(interval(row["ratio_low"], row["ratio_high"])), Text(_bar(row, reach), style)
    return [Text(f"  {name}"), *(values if width >= ROOM_FOR_VALUES else []), effect, span, bar, verdict]


def _bounds(rows: Sequence[Mapping[str, Any]]) -> list[float]:
    numbers = [float(row[key]) for row in rows for key in ("ratio", "ratio_low", "ratio_high")]
    return [value for value in numbers if value > 0 and math.isfinite(value)]


def _bar(row: Mapping[str, Any], reach: float) -> str:
    """The interval as a line around the estimate, the baseline as a bar in the middle."""
    if math.isnan(row["ratio"]):
        return ""
    marks = [" "] * _BAR
    low, high = (row[key] if row[key] > 0 else row["ratio"] for key in ("ratio_low", "ratio_high"))
    for place in range(_place(low, reach), _place(high, reach) + 1):
        marks[place] = "─"
    marks[_BAR // 2] = "┼" if marks[_BAR // 2] == "─" else "│"
    marks[_place(row["ratio"], reach)] = "●"
    return "".join(marks)


def _place(ratio: float, reach: float) -> int:
    return round((math.log(ratio) / reach + 1) / 2 * (_BAR - 1))
