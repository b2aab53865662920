"""The result on a terminal: effects with bars and intervals, or which wires live.

For wide and narrow screens.

Everything is lines of text: signs and words carry all that colour does, so that it reads the same
without.
"""

from __future__ import annotations

import math
import textwrap
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, Literal

from rich.cells import cell_len
from rich.text import Text

from yogurtbench.analysis.comparison import why_rounded
from yogurtbench.analysis.statistics import ratio_of
from yogurtbench.analysis.values import rows_of
from yogurtbench.core.labels import load_name, metric_name
from yogurtbench.core.records import Attempt
from yogurtbench.core.wording import count_of
from yogurtbench.report.export import wire_catalogue
from yogurtbench.report.export.wire_catalogue import WireOutcome
from yogurtbench.report.format import format_change, format_interval, format_number
from yogurtbench.report.measured import Level, levels
from yogurtbench.report.run_data import RunData
from yogurtbench.report.sections.reachability import PROTOCOLS
from yogurtbench.report.terminal.lines import lines_of, make_grid

#: Columns of text that a bar takes: odd, for the baseline stands in its middle.
_BAR, _WIDEST_BAR = 21, 41
_GAP, _INDENT = "  ", "  "
_STYLES = {
    "faster": "green",
    "slower": "red",
    "failed": "bold red",
    "crashed": "bold red",
    "incomplete": "yellow",
    "inconclusive": "dim",
    "too_few_blocks": "dim",
    "dead": "dim",
}


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
    """Return the columns that there is room for, by their ``widths``.

    ``stacked``: the wire on a line of its own.
    """

    widths: Mapping[str, int]
    stacked: bool


def comparisons(story: RunData, width: int) -> list[Text]:
    """Return the deciding comparisons of a run in lines ``width`` wide, best wire first, maybe
    none.
    """
    rows = rows_of(story.deciding)
    if not rows:
        return []
    columns = _fit_columns([_cells(story, row) for row in rows], width)
    reach = max(0.01, *(abs(math.log(value)) for value in [1.0, *_bounds(rows)]))
    lines = [Text(story.emulated, style="bold red")] if story.emulated else []
    lines += _lines([_heads(columns, reach)], columns)
    for heading, mine in _sections(story, rows).items():
        lines += _heading(heading, width)
        shown = [_with_bar(story, row, columns, reach) for row in mine]
        if columns.stacked:
            for row, cells in zip(mine, shown, strict=True):
                lines += _hanging(story.wire(row["cell"]).name, width)
                lines += _lines([{**cells, "wire": Text("")}], columns)
        else:
            lines += _lines(shown, columns)
        lines += _undecided(mine, width)
    return lines


def _undecided(rows: Iterable[Mapping[str, Any]], width: int) -> Iterator[Text]:
    """Return each reason for which rounding leaves comparisons undecided, once."""
    for why, times in Counter(why for row in rows if (why := why_rounded(row["note"]))).items():
        lines = textwrap.wrap(
            f"{times} undecided: {why}",
            width,
            initial_indent=_INDENT,
            subsequent_indent=_INDENT * 2,
        )
        yield from (Text(line, style="dim") for line in lines)


def _fit_columns(cells: Sequence[Mapping[str, Text]], width: int) -> _Columns:
    """Return the richest layout that there is room for, with bars.

    Else the change and the verdict alone.
    """
    lengths = {head: max(one[head].cell_len for one in cells) for head in cells[0]}
    needed = {head: max(cell_len(head), length) for head, length in lengths.items() if length}
    for stacked, left_out in _LAYOUTS:
        widths = {head: size for head, size in needed.items() if head not in left_out}
        if stacked:
            widths["wire"] = len(_INDENT)
        room = width - sum(widths.values()) - len(_GAP) * len(widths)
        if room >= _BAR:
            return _Columns(_make_room(widths, min(room, _WIDEST_BAR)), stacked)
    return _Columns(
        {"wire": len(_INDENT), **{head: needed[head] for head in ("change", "verdict")}},
        stacked=True,
    )


def _make_room(widths: Mapping[str, int], room: int) -> dict[str, int]:
    """Return the columns with a bar before the verdict."""
    others = {head: size for head, size in widths.items() if head != "verdict"}
    return {**others, "bar": room - 1 + room % 2, "verdict": widths["verdict"]}


def _heads(columns: _Columns, reach: float) -> dict[str, Text]:
    """Return the columns' heads; that of the bars says what their ends stand for."""
    size = columns.widths.get("bar", 0)
    low, high = (format_change(ratio_of(end), 1 if reach < 0.1 else 0) for end in (-reach, reach))
    scale = f"{low:<{size // 2}}0{high:>{size // 2}}"
    own = {"wire": "" if columns.stacked else "wire", "bar": scale if len(scale) == size else ""}
    return {head: Text(own.get(head, head), style="dim") for head in columns.widths}


def _with_bar(
    story: RunData, row: Mapping[str, Any], columns: _Columns, reach: float
) -> dict[str, Text]:
    bar = _bar(row, reach, columns.widths.get("bar", 0))
    return {**_cells(story, row), "bar": Text(bar, _STYLES.get(row["verdict"], ""))}


def _hanging(name: str, width: int) -> list[Text]:
    lines = textwrap.wrap(
        name, width, initial_indent=_INDENT, subsequent_indent=_INDENT * 2, break_on_hyphens=False
    )
    return [Text(line) for line in lines]


def _heading(text: str, width: int) -> list[Text]:
    return [
        Text(line, style="bold") for line in textwrap.wrap(text, width, subsequent_indent=_INDENT)
    ]


def _lines(rows: Iterable[Mapping[str, Text]], columns: _Columns) -> list[Text]:
    """Return rows as lines of columns: words to the left, numbers to the right."""
    table = make_grid()
    for head, size in columns.widths.items():
        side: Literal["right", "left"] = "right" if head in _RIGHT else "left"
        table.add_column(width=size, justify=side, no_wrap=True)
    for cells in rows:
        table.add_row(*(cells[head] for head in columns.widths))
    return lines_of(table)


_RIGHT = ("baseline", "measured", "change", "95 % interval")


def _cells(story: RunData, row: Mapping[str, Any]) -> dict[str, Text]:
    """Return every column but the bar, by its head."""
    style = _STYLES.get(row["verdict"], "")
    return {
        "wire": Text(f"{_INDENT}{story.wire(row['cell']).name}"),
        "baseline": Text(format_number(row["baseline_median"], row["unit"])),
        "measured": Text(format_number(row["cell_median"], row["unit"])),
        "change": Text(format_change(row["ratio"]), style),
        "95 % interval": Text(format_interval(row["ratio_low"], row["ratio_high"])),
        "verdict": Text(str(row["verdict"]).replace("_", " "), style),
    }


def _sections(story: RunData, rows: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """Rows by what was sent and measured, each section from best to worst, those without a ratio
    last.
    """
    found: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        parts = (metric_name(row["metric"]), load_name(row["load"]), story.traffic[row["cell"]])
        found.setdefault(", ".join(filter(None, parts)), []).append(row)
    return {heading: sorted(mine, key=_rank) for heading, mine in found.items()}


def _rank(row: Mapping[str, Any]) -> float:
    ratio = float(row["ratio"])
    if math.isnan(ratio):
        return math.inf
    return ratio if row["better"] == "lower" else -ratio


def _bounds(rows: Sequence[Mapping[str, Any]]) -> list[float]:
    numbers: list[float] = []
    for row in rows:
        numbers += [float(row[key]) for key in ("ratio", "ratio_low", "ratio_high")]
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


# -- what was measured where nothing is compared ---------------------------------------------------


def measured(story: RunData, width: int) -> list[Text]:
    """Return each wire's value and its spread, below what was measured.

    A wire above its numbers where there is no room.
    """
    by_heading: dict[str, list[Level]] = {}
    for one in levels(story):
        by_heading.setdefault(one.heading, []).append(one)
    if not by_heading:
        return []
    shown = list(chain.from_iterable(by_heading.values()))
    names = max(cell_len(one.wire) for one in shown)
    numbers = max(cell_len(_numbers(one)) for one in shown)
    beside = len(_INDENT) + names + len(_GAP) + numbers <= width
    lines = [Text(story.emulated, style="bold red")] if story.emulated else []
    for heading, mine in by_heading.items():
        lines += _heading(heading, width)
        if beside:
            lines += _level_lines(mine, names)
        else:
            for one in mine:
                lines += _hanging(one.wire, width) + _hanging(f"{_INDENT}{_numbers(one)}", width)
    return lines


def _level_lines(levels: Sequence[Level], names: int) -> list[Text]:
    table = make_grid(len(_INDENT))
    table.add_column(width=names, no_wrap=True)
    table.add_column(no_wrap=True)
    for one in levels:
        table.add_row("", Text(one.wire), Text(_numbers(one)))
    return lines_of(table)


def _numbers(one: Level) -> str:
    return f"{one.value}{_spread(one)}"


def _spread(one: Level) -> str:
    return f"{_GAP}({one.spread}, {count_of(one.blocks, 'block')})" if one.spread else ""


# -- what gave no value ----------------------------------------------------------------------------

#: More kinds of trouble than this are left to the report.
_TROUBLES = 5


def failures(attempts: Iterable[Attempt], width: int) -> list[Text]:
    """Return the kinds of failed trials, most frequent first."""
    counts = Counter(
        (one.status, " ".join(one.error.split())) for one in attempts if one.status in _LISTED
    )
    lines: list[Text] = []
    for (status, error), times in counts.most_common(_TROUBLES):
        said = (
            f"{status}, {count_of(times, 'trial')}: "
            f"{textwrap.shorten(error, 300, placeholder=' …')}"
        )
        wrapped = textwrap.wrap(said, width, subsequent_indent=_INDENT)
        lines += [Text(line, style=_STYLES.get(status, "dim")) for line in wrapped]
    left = len(counts) - _TROUBLES
    return [*lines, Text(f"and {left} more: see Failures in the report")] if left > 0 else lines


_LISTED = ("failed", "crashed", "unsupported")


# -- which wires live ------------------------------------------------------------------------------


def reachability(wires: Sequence[WireOutcome], width: int) -> list[Text]:
    """Return which wires carry packets, and where the others die: for runs that ask that.

    Wires by their fate, live first.
    """
    fates: dict[tuple[bool, str], list[str]] = {}
    for one in wires:
        fates.setdefault((not one.alive, _outcome(one)), []).append(wire_catalogue.spoken(one.cell))
    lines: list[Text] = []
    for (dead, fate), names in sorted(
        fates.items(), key=lambda item: (item[0][0], -len(item[1]), item[0][1])
    ):
        lines += _heading(f"{fate}: {len(names)} wire{'s' if len(names) > 1 else ''}", width)
        for name in sorted(names):
            lines += [
                Text(line.plain, style="dim" if dead else "") for line in _hanging(name, width)
            ]
    return lines


def _outcome(one: WireOutcome) -> str:
    arrived = [name for metric, name in PROTOCOLS.items() if one.values.get(metric) == 1.0]
    lost = [name for metric, name in PROTOCOLS.items() if one.values.get(metric) == 0.0]
    site = str(one.values.get("dropped_at") or "" if one.status == "ok" else one.status)
    verb = "arrives" if len(arrived) == 1 else "arrive"
    what = f"{', '.join(arrived)} {verb}" if arrived else "nothing arrives"
    missing = f", not {' and '.join(lost)}" if arrived and lost else ""
    return f"{what}{missing}{f' ({site})' if site else ''}"
