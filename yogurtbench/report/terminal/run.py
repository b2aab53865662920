"""The result on a terminal: effects with bars and intervals, or which wires live; for wide and narrow screens.

Everything is lines of text: signs and words carry all that colour does, so that it reads the same without.
"""

from __future__ import annotations

import math
import textwrap
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
from rich.cells import cell_len
from rich.text import Text

from yogurtbench.analysis.comparison import EMULATED, decided_minima, why_rounded
from yogurtbench.analysis.statistics import ratio_of
from yogurtbench.analysis.values import rows_of
from yogurtbench.core.labels import (
    format_change,
    format_interval,
    format_number,
    load_name,
    metric_name,
    traffic_names,
    wire_names,
)
from yogurtbench.core.metrics import HEADLINE
from yogurtbench.core.records import AXES, Attempt, Cell
from yogurtbench.core.wording import count_of
from yogurtbench.report.export import wire_catalogue
from yogurtbench.report.export.wire_catalogue import WireOutcome
from yogurtbench.report.measured import Level

#: Columns of text that a bar takes: odd, for the baseline stands in its middle.
_BAR, _WIDEST_BAR = 21, 41
_GAP, _INDENT = "  ", "  "
_STYLES = {
    "faster": "green", "slower": "red", "failed": "bold red", "crashed": "bold red", "incomplete": "yellow",
    "inconclusive": "dim", "too_few_blocks": "dim", "dead": "dim",
}  # fmt: skip


_VALUES = ("baseline", "measured")
#: The richest first: whether the wire stands on a line of its own, and which columns are left out.
_LAYOUTS: tuple[tuple[bool, tuple[str, ...]], ...] = (
    (False, ()),
    (False, _VALUES),
    (True, ()),
    (True, _VALUES),
    (False, (*_VALUES, "95 % interval")),
    (True, (*_VALUES, "95 % interval")),
)


@dataclass(frozen=True, slots=True)
class _Columns:
    """Which columns there is room for, ``widths`` of each by its head; ``stacked``: the wire on a line of its own."""

    widths: Mapping[str, int]
    stacked: bool


def comparisons(comparison: pd.DataFrame, width: int) -> list[Text]:
    """Return the deciding comparisons of a run (analysis.comparison) in lines ``width`` wide, best wire first.

    Maybe none.
    """
    rows = _deciding(comparison)
    if not rows:
        return []
    names, traffic = _names(rows)
    cells = [_cells(row, names[row["cell"]]) for row in rows]
    columns = _fitting(cells, width)
    reach = max(0.01, *(abs(math.log(value)) for value in [1.0, *_bounds(rows)]))
    lines = [Text(EMULATED, style="bold red")] if (comparison["accelerator"] == "tcg").any() else []
    lines.append(_line(_heads(columns, reach), columns))
    for heading, mine in _sections(rows, traffic).items():
        lines += _heading(heading, width)
        for row in mine:
            lines += _row(row, names[row["cell"]], columns, reach, width)
        lines += _undecided(mine, width)
    return lines


def _undecided(rows: Iterable[Mapping[str, Any]], width: int) -> Iterator[Text]:
    """Why rounding leaves some of these undecided, and what would decide: below them, each reason once."""
    for why, times in Counter(why for row in rows if (why := why_rounded(row["note"]))).items():
        lines = textwrap.wrap(f"{times} undecided: {why}", width, initial_indent=_INDENT, subsequent_indent=_INDENT * 2)
        yield from (Text(line, style="dim") for line in lines)


def _fitting(cells: Sequence[Mapping[str, Text]], width: int) -> _Columns:
    """Return the richest layout that there is room for, with bars; else the change and the verdict alone."""
    lengths = {head: max(one[head].cell_len for one in cells) for head in cells[0]}
    needed = {head: max(cell_len(head), length) for head, length in lengths.items() if length}
    for stacked, left_out in _LAYOUTS:
        widths = {head: size for head, size in needed.items() if head not in left_out}
        if stacked:
            widths["wire"] = len(_INDENT)
        room = width - sum(widths.values()) - len(_GAP) * len(widths)
        if room >= _BAR:
            return _Columns(_with_bar(widths, min(room, _WIDEST_BAR)), stacked)
    return _Columns({"wire": len(_INDENT), **{head: needed[head] for head in ("change", "verdict")}}, stacked=True)


def _with_bar(widths: Mapping[str, int], room: int) -> dict[str, int]:
    """Return the columns with a bar before the verdict."""
    return {**{k: v for k, v in widths.items() if k != "verdict"}, "bar": room - 1 + room % 2,
            "verdict": widths["verdict"]}  # fmt: skip


def _heads(columns: _Columns, reach: float) -> dict[str, Text]:
    """Return the columns' heads; that of the bars says what their ends stand for."""
    size = columns.widths.get("bar", 0)
    low, high = (format_change(ratio_of(end), 1 if reach < 0.1 else 0) for end in (-reach, reach))
    scale = f"{low:<{size // 2}}0{high:>{size // 2}}"
    own = {"wire": "" if columns.stacked else "wire", "bar": scale if len(scale) == size else ""}
    return {head: Text(own.get(head, head), style="dim") for head in columns.widths}


def _row(row: Mapping[str, Any], name: str, columns: _Columns, reach: float, width: int) -> Iterator[Text]:
    cells = _cells(row, name)
    if columns.stacked:
        yield from _hanging(name, width)
        cells["wire"] = Text("")
    style = _STYLES.get(row["verdict"], "")
    yield _line({**cells, "bar": Text(_bar(row, reach, columns.widths.get("bar", 0)), style)}, columns)


def _hanging(name: str, width: int) -> list[Text]:
    lines = textwrap.wrap(name, width, initial_indent=_INDENT, subsequent_indent=_INDENT * 2, break_on_hyphens=False)
    return [Text(line) for line in lines]


def _heading(text: str, width: int) -> list[Text]:
    return [Text(line, style="bold") for line in textwrap.wrap(text, width, subsequent_indent=_INDENT)]


def _line(cells: Mapping[str, Text], columns: _Columns) -> Text:
    """Return a line of columns: words to the left, numbers to the right."""
    padded = []
    for head, size in columns.widths.items():
        cell = cells[head].copy()
        cell.align("right" if head in _RIGHT else "left", size)
        padded.append(cell)
    line = Text(_GAP).join(padded)
    line.rstrip()
    return line


_RIGHT = ("baseline", "measured", "change", "95 % interval")


def _cells(row: Mapping[str, Any], name: str) -> dict[str, Text]:
    """Return every column but the bar, by its head."""
    style = _STYLES.get(row["verdict"], "")
    return {
        "wire": Text(f"{_INDENT}{name}"),
        "baseline": Text(format_number(row["baseline_median"], row["unit"])),
        "measured": Text(format_number(row["cell_median"], row["unit"])),
        "change": Text(format_change(row["ratio"]), style),
        "95 % interval": Text(format_interval(row["ratio_low"], row["ratio_high"])),
        "verdict": Text(str(row["verdict"]).replace("_", " "), style),
    }


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


def _deciding(comparison: pd.DataFrame) -> list[dict[str, Any]]:
    asked = comparison[(comparison["role"] == "cell") & comparison["baseline"].notna()]
    rows = pd.concat([asked[asked["metric"] == asked["load"].map(HEADLINE)], decided_minima(asked)])
    return rows_of(rows.drop_duplicates(["cell", "metric"]))


def _names(rows: Sequence[Mapping[str, Any]]) -> tuple[dict[str, str], dict[str, str]]:
    cells = {row["cell"]: Cell(**{axis: _value(row[axis]) for axis in AXES}) for row in rows}
    wires = wire_names(cells.values(), ())
    return {key: wires[cell.wire_id].name for key, cell in cells.items()}, traffic_names(cells)


def _value(value: Any) -> Any:
    return None if pd.isna(value) else value


def _bounds(rows: Sequence[Mapping[str, Any]]) -> list[float]:
    numbers = [float(row[key]) for row in rows for key in ("ratio", "ratio_low", "ratio_high")]
    return [value for value in numbers if value > 0 and math.isfinite(value)]


def _bar(row: Mapping[str, Any], reach: float, size: int) -> str:
    """Return the interval as a line around the estimate, the baseline as a bar in the middle."""
    if math.isnan(row["ratio"]) or not size:
        return ""
    marks = [" "] * size
    low, high = (row[key] if row[key] > 0 else row["ratio"] for key in ("ratio_low", "ratio_high"))
    for place in range(_place(low, reach, size), _place(high, reach, size) + 1):
        marks[place] = "─"
    marks[size // 2] = "┼" if marks[size // 2] == "─" else "│"
    marks[_place(row["ratio"], reach, size)] = "●"
    return "".join(marks)


def _place(ratio: float, reach: float, size: int) -> int:
    return round((math.log(ratio) / reach + 1) / 2 * (size - 1))


# -- what was measured where nothing is compared -----------------------------------------------------------------------


def measured(levels: Sequence[Level], width: int, emulated: str = "") -> list[Text]:
    """Return each wire's value and its spread, below what was measured.

    A wire above its numbers where there is no room.
    """
    if not levels:
        return []
    told = [(one, f"{one.value}{_spread(one)}") for one in levels]
    names = max(cell_len(one.wire) for one in levels)
    beside = len(_INDENT) + names + len(_GAP) + max(cell_len(numbers) for _, numbers in told) <= width
    lines = [Text(emulated, style="bold red")] if emulated else []
    heading = ""
    for one, numbers in told:
        if one.heading != heading:
            heading = one.heading
            lines += _heading(heading, width)
        if beside:
            lines.append(Text(f"{_INDENT}{one.wire}{' ' * (names - cell_len(one.wire))}{_GAP}{numbers}"))
        else:
            lines += [*_hanging(one.wire, width), *_hanging(f"{_INDENT}{numbers}", width)]
    return lines


def _spread(one: Level) -> str:
    return f"{_GAP}({one.spread}, {count_of(one.blocks, 'block')})" if one.spread else ""


# -- what gave no value -----------------------------------------------------------------------------------------------

#: More kinds of trouble than this are left to the report.
_TROUBLES = 5


def failures(attempts: Iterable[Attempt], width: int) -> list[Text]:
    """Why trials failed, crashed or could not be made, alike ones counted, most frequent first."""
    counts = Counter((one.status, " ".join(one.error.split())) for one in attempts if one.status in _TOLD)
    lines: list[Text] = []
    for (status, error), times in counts.most_common(_TROUBLES):
        said = f"{status}, {count_of(times, 'trial')}: {textwrap.shorten(error, 300, placeholder=' …')}"
        wrapped = textwrap.wrap(said, width, subsequent_indent=_INDENT)
        lines += [Text(line, style=_STYLES.get(status, "dim")) for line in wrapped]
    left = len(counts) - _TROUBLES
    return [*lines, Text(f"and {left} more: see Failures in the report")] if left > 0 else lines


_TOLD = ("failed", "crashed", "unsupported")


# -- which wires live --------------------------------------------------------------------------------------------------

_ARRIVES = {"reachable": "IPv4", "reachable_v6": "IPv6", "tcp_ok": "TCP"}


def reachability(wires: Sequence[WireOutcome], width: int) -> list[Text]:
    """Return which wires carry packets, and where the others die: for runs that ask that.

    Wires by their fate, live first.
    """
    fates: dict[tuple[bool, str], list[str]] = {}
    for one in wires:
        fates.setdefault((not one.alive, _outcome(one)), []).append(wire_catalogue.spoken(one.cell))
    lines: list[Text] = []
    for (dead, fate), names in sorted(fates.items(), key=lambda item: (item[0][0], -len(item[1]), item[0][1])):
        lines += _heading(f"{fate}: {len(names)} wire{'s' if len(names) > 1 else ''}", width)
        for name in sorted(names):
            lines += [Text(line.plain, style="dim" if dead else "") for line in _hanging(name, width)]
    return lines


def _outcome(one: WireOutcome) -> str:
    arrived = [name for metric, name in _ARRIVES.items() if one.values.get(metric) == 1.0]
    lost = [name for metric, name in _ARRIVES.items() if one.values.get(metric) == 0.0]
    site = str(one.values.get("dropped_at") or "" if one.status == "ok" else one.status)
    what = f"{', '.join(arrived)} arrive{'s' if len(arrived) == 1 else ''}" if arrived else "nothing arrives"
    missing = f", not {' and '.join(lost)}" if arrived and lost else ""
    return f"{what}{missing}{f' ({site})' if site else ''}"
