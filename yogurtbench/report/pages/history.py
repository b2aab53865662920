"""An experiment over time: the table for a terminal, the charts, and the page that holds them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime
from itertools import chain
from pathlib import Path

from yogurtbench.report import settings  # isort: skip  # noqa: F401  # before Matplotlib

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter
from rich.table import Table
from rich.text import Text

from yogurtbench.analysis.change_points import FEWEST, why_unavailable
from yogurtbench.analysis.history import PAGE, History, LevelChange, RatioSeries, Setup
from yogurtbench.core import files
from yogurtbench.core.labels import INK, load_name, metric_name
from yogurtbench.core.metrics import METRICS
from yogurtbench.report.charts.base import (
    MOST,
    WIDTH,
    Chart,
    emulation_label,
    light_grid,
    slug,
    style,
    to_svg,
)
from yogurtbench.report.format import format_change
from yogurtbench.report.pages.run import fill

#: Columns of text from which a line of the runs has room.
ROOM_FOR_LINE = 100
_LINE, _BARS = 30, "▁▂▃▄▅▆▇█"
_TICKS = 6
#: Changes in the answer: more are in the table.
_MOST_NAMED = 3


def shown(history: History) -> list[RatioSeries]:
    """Return what people look at.

    The deciding metrics, and others of a cell that changed where the deciding one did not.
    """
    decided = {(one.where, one.cell.id) for one in history.series if one.deciding and one.changes}
    return [
        one
        for one in history.series
        if one.deciding or (one.changes and (one.where, one.cell.id) not in decided)
    ]


def heading(one: RatioSeries) -> str:
    """Return what a series measured."""
    return f"{metric_name(one.metric)}, " + ", ".join(
        filter(None, (load_name(one.cell.load), one.traffic))
    )


def sections(series: Iterable[RatioSeries]) -> dict[tuple[Setup, str], list[RatioSeries]]:
    """Series that belong side by side: of one place, load, traffic and metric."""
    found: dict[tuple[Setup, str], list[RatioSeries]] = {}
    for one in series:
        found.setdefault((one.where, heading(one)), []).append(one)
    return found


# --- words ----------------------------------------------------------------------------------------


def describe_change(one: RatioSeries, what: LevelChange) -> str:
    """Return a change in a sentence's part.

    When, how much, for the better or worse, and what else changed with that run.
    """
    word = "worse" if one.is_worse(what) else "better"
    beside = f" (with it: {'; '.join(what.beside)})" if what.beside else ""
    return f"{format_change(what.ratio)} ({word}) from {what.run} on{beside}"


def unchanged(one: RatioSeries) -> str:
    """Return what stands where a series has no changes: none, or why none was looked for."""
    if one.more_needed:
        return f"{one.more_needed} more runs needed"
    return "not looked for" if one.where.clock == "wall" and why_unavailable() else "none"


def answer(history: History) -> str:
    """Return what happened, in a sentence or two: the newest changes, or that there are none."""
    found: dict[tuple[str, str], list[str]] = {}
    for one in shown(history):
        for what in one.changes:
            said = (
                f"{heading(one)} {format_change(what.ratio)} "
                f"({'worse' if one.is_worse(what) else 'better'})"
            )
            found.setdefault((what.run, one.wire), []).append(said)
    newest = sorted(found, key=lambda key: key[0], reverse=True)
    sentences = [
        f"{wire} changed with {run}: {'; '.join(found[run, wire])}."
        for run, wire in newest[:_MOST_NAMED]
    ]
    left = len(newest) - len(sentences)
    if sentences:
        return " ".join(
            [*sentences, *([f"{left} earlier changes are in the table."] if left else [])]
        )
    searched = sum(not one.more_needed for one in shown(history))
    return (
        f"No change in {searched} series over {len(history.runs)} runs."
        if searched and not history.note
        else ""
    )


def sentences(history: History) -> list[str]:
    """Return what is to be said below the table."""
    found = [f"left out: {run}: {why}" for run, why in history.left_out.items()]
    places = history.places
    if len(places) > 1:
        found.append(
            f"{len(places)} series that are not compared with each other: "
            + "; ".join(place.name for place in places)
        )
    return [
        *found,
        *_waiting(history),
        *([history.note] if history.note else []),
        *_nothing(history),
    ]


def _waiting(history: History) -> Iterator[str]:
    for place in history.places:
        most = min(one.more_needed for one in history.series if one.where == place)
        if most:
            where = f" of {place.name}" if len(history.places) > 1 else ""
            yield f"changes are looked for from {FEWEST} runs on: {most} more{where}"


def _nothing(history: History) -> Iterator[str]:
    if not history.runs:
        yield f"{history.name}: no finished run"
    elif not history.series:
        yield (
            f"{history.name}: no cell has a ratio to a baseline, so there is nothing to "
            "follow over time"
        )


# --- terminal -------------------------------------------------------------------------------------


def tables(history: History, width: int) -> Iterator[Table]:
    """Yield a table a place.

    A row a series: how many runs, the ratio to the baseline now, its line over them, changes.
    """
    found = sections(shown(history))
    for place in history.places:
        yield _table(
            place, {name: mine for (where, name), mine in found.items() if where == place}, width
        )


def _table(place: Setup, named: dict[str, list[RatioSeries]], width: int) -> Table:
    title = Text(
        ": ".join(filter(None, (place.name, place.emulated))),
        "bold red" if place.emulated else "bold",
    )
    found = Table(title=title, title_justify="left", box=None, pad_edge=False, header_style="dim")
    for head, right in (
        ("wire", False),
        ("runs", True),
        ("now", True),
        *((("", False),) if _is_wide(width) else ()),
    ):
        found.add_column(
            head, justify="right" if right else "left", no_wrap=head != "wire", overflow="fold"
        )
    found.add_column("changes", overflow="fold")
    for name, mine in named.items():
        found.add_row(Text(name, style="bold"))
        for one in mine:
            found.add_row(*_cells(one, width))
    return found


def _is_wide(width: int) -> bool:
    return width >= ROOM_FOR_LINE


def _cells(one: RatioSeries, width: int) -> list[Text]:
    worse = any(one.is_worse(what) for what in one.changes[-1:])
    said = "\n".join(describe_change(one, what) for what in one.changes) or unchanged(one)
    cells = [Text(f"  {one.wire}"), Text(str(len(one.runs))), Text(format_change(one.ratio[-1]))]
    line = [Text(sparkline(one))] if _is_wide(width) else []
    style = "green" if one.changes else "dim"
    return [*cells, *line, Text(said, "red" if worse else style)]


def sparkline(one: RatioSeries) -> str:
    """Return the newest ratios as bars, from their least to their greatest.

    Changes show as a gap.
    """
    values, first = one.ratio[-_LINE:], max(0, len(one.ratio) - _LINE)
    low, high = min(values), max(values)
    steps = [
        round((value - low) / (high - low) * (len(_BARS) - 1)) if high > low else 0
        for value in values
    ]
    gaps = {what.place - first for what in one.changes}
    return "".join(
        (" " if place in gaps and place else "") + _BARS[step] for place, step in enumerate(steps)
    )


# --- charts ---------------------------------------------------------------------------------------


def charts(history: History) -> list[Chart]:
    """Return one chart a place, load, traffic and metric."""
    return [
        _chart(number, place, name, mine)
        for number, ((place, name), mine) in enumerate(sections(shown(history)).items())
    ]


def _chart(number: int, place: Setup, name: str, series: list[RatioSeries]) -> Chart:
    drawn = sorted(series, key=lambda one: -len(one.changes))[:MOST]
    caption = f"{place.name}. Each mark is a run, lines are the levels between changes."
    caption += f" Better is {METRICS[drawn[0].metric].better}."
    left = len(series) - len(drawn)
    caption += f" {left} more wires are in the table." if left else ""
    title, file = f"{name}: against {drawn[0].baseline}", f"history-{number}-{slug(name)}"
    with style():
        return Chart(file, "history", title, caption, to_svg(_figure(place, drawn)))


def _figure(place: Setup, series: list[RatioSeries]) -> Figure:
    """Return the ratios of some series over their runs.

    A level a stretch, an upright line a change.
    """
    runs = sorted(set(chain.from_iterable(one.runs for one in series)))
    rows = []
    for one in series:
        changes = (np.asarray(one.ratio) - 1) * 100
        places = map(runs.index, one.runs)
        rows += [(place, change, one.wire) for place, change in zip(places, changes, strict=True)]
    frame = pd.DataFrame(rows, columns=["run", "change", "wire"])
    figure = Figure(figsize=(WIDTH, 3.4))
    axes = figure.subplots()
    names = [one.wire for one in series]
    sns.scatterplot(
        data=frame,
        x="run",
        y="change",
        hue="wire",
        style="wire",
        hue_order=names,
        style_order=names,
        palette={one.wire: one.colour for one in series},
        markers={one.wire: one.mark for one in series},
        s=16,
        linewidth=0,
        alpha=0.75,
        ax=axes,
    )
    for one in series:
        _levels(axes, one, runs)
    _frame(axes, runs)
    emulation_label(figure, place.emulated)
    return figure


def _levels(axes: Axes, one: RatioSeries, runs: list[str]) -> None:
    edges = [0, *(what.place for what in one.changes), len(one.runs)]
    for level, first, after in zip(one.levels, edges, edges[1:], strict=False):
        ends = [runs.index(one.runs[first]) - 0.4, runs.index(one.runs[after - 1]) + 0.4]
        axes.plot(ends, [(level - 1) * 100] * 2, color=one.colour, lw=1.4)
    for what in one.changes:
        at = runs.index(what.run) - 0.5
        axes.axvline(at, color=one.colour, lw=0.8, ls=":")
        axes.annotate(
            format_change(what.ratio),
            (at, 1),
            xycoords=("data", "axes fraction"),
            xytext=(2, -2),
            va="top",
            textcoords="offset points",
            fontsize=8,
            color=one.colour,
        )


def _frame(axes: Axes, runs: list[str]) -> None:
    axes.axhline(0, color=INK, lw=0.8)
    ticks = sorted({round(place * (len(runs) - 1) / (_TICKS - 1)) for place in range(_TICKS)})
    axes.set_xticks(ticks, [_day(runs[place]) for place in ticks])
    axes.set_xlim(-0.6, max(len(runs), 2) - 0.4)
    axes.set_xlabel(f"run ({len(runs)}, in the order of their start, UTC)")
    axes.set_ylabel("change against the baseline")
    axes.yaxis.set_major_formatter(
        FuncFormatter(
            lambda value, _: format_change(1 + value / 100, 0 if value == int(value) else 1)
        )
    )
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.24), ncols=2, handlelength=1.4)
    light_grid(axes, "y")


def _day(run: str) -> str:
    """Return the time at which a run began, from its name."""
    try:
        return datetime.strptime(run.partition("-")[0], "%Y%m%dT%H%M%SZ").strftime(
            "%Y-%m-%d\n%H:%M"
        )
    except ValueError:
        return run


# --- page -----------------------------------------------------------------------------------------


def write(history: History) -> Path:
    """Put the page beside the runs; its path.

    Raises MatrixError or HostError where it cannot be written.
    """
    return files.write_text(history.folder / PAGE, render(history), follow=False)


def render(history: History) -> str:
    """Return the page as text: one file, nothing fetched, no script, all text escaped."""
    return fill(
        "history.html",
        history=history,
        answer=answer(history),
        charts=charts(history),
        sections=sections(shown(history)),
        sentences=sentences(history),
        change=format_change,
        describe_change=describe_change,
        unchanged=unchanged,
    )
