"""The forest plot: each wire's effect with its interval against the baseline, one chart a load."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from yogurtbench.report import settings  # isort: skip  # noqa: F401  # before Matplotlib

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from yogurtbench.analysis.values import rows_of
from yogurtbench.core.labels import INK, WireLabel, load_name, metric_name
from yogurtbench.core.metrics import METRICS
from yogurtbench.report.charts.base import (
    BAND,
    PAPER,
    WIDTH,
    Chart,
    emulation_label,
    light_grid,
    row_name,
    slug,
    style,
    to_svg,
)
from yogurtbench.report.format import format_change
from yogurtbench.report.run_data import RunData

#: Ratio, low, high.
Effect = tuple[float, float, float]
#: Rows in one chart; what is nearer to the baseline than these is in the table.
ROWS = 24


def draw(story: RunData) -> Iterator[Chart]:
    """Yield one chart a load that has effects."""
    rows = story.headlines[story.headlines["ratio"].notna()]
    for load, mine in rows.groupby("load", sort=False):
        yield _chart(story, str(load), mine)


def _chart(story: RunData, load: str, rows: pd.DataFrame) -> Chart:
    metric = str(rows["metric"].iloc[0])
    best_first = rows.sort_values("ratio", ascending=METRICS[metric].better == "lower")
    shown = (
        best_first
        if len(rows) <= ROWS
        else pd.concat([best_first[: ROWS // 2], best_first[-ROWS // 2 :]])
    )
    title = f"{load_name(load)}: {metric_name(metric)} against {_baseline(story, rows)}"
    return Chart(
        f"effect-{slug(load)}", "effects", title, _caption(story, rows, shown), _svg(story, shown)
    )


def _baseline(story: RunData, rows: pd.DataFrame) -> str:
    names = dict.fromkeys(story.wire(cell).name for cell in rows["baseline"])
    return next(iter(names)) if len(names) == 1 else "its baseline"


def _caption(story: RunData, rows: pd.DataFrame, shown: pd.DataFrame) -> str:
    better = METRICS[str(rows["metric"].iloc[0])].better
    side = "left" if better == "lower" else "right"
    delta = float(rows["delta"].max())
    said = [f"Better is to the {side}."]
    said.append(
        "Exact: no interval, a difference is a difference."
        if story.exact
        else "Lines: 95 % intervals."
    )
    said.append("Filled marks are decided, hollow ones are not.")
    said += [f"Band: ±{delta * 100:g} %, counted as equivalent."] if delta else []
    left = len(rows) - len(shown)
    said += (
        [f"The {len(shown) // 2} best and worst of {len(rows)}; all are in the table."]
        if left
        else []
    )
    return " ".join(said)


def _svg(story: RunData, rows: pd.DataFrame) -> str:
    with style():
        figure = Figure(figsize=(WIDTH, 0.95 + 0.36 * len(rows)))
        axes = figure.subplots()
        _band(axes, rows)
        for place, row in enumerate(rows_of(rows)):
            _effect(axes, story, place, row)
        _frame(axes, story, rows)
        emulation_label(figure, story.emulated)
        return to_svg(figure)


def _band(axes: Axes, rows: pd.DataFrame) -> None:
    margin = np.log1p(float(rows["delta"].max()))
    if margin:
        axes.axvspan(-margin, margin, color=BAND, lw=0)
    axes.axvline(0, color=INK, lw=0.8)


def _effect(axes: Axes, story: RunData, place: int, row: dict[str, Any]) -> None:
    wire = story.wire(str(row["cell"]))
    ratio, low, high = (float(row[name]) for name in ("ratio", "ratio_low", "ratio_high"))
    decided = row["verdict"] in ("faster", "slower", "equivalent", "identical")
    mark(axes, wire, place, (ratio, low, high), filled=decided)
    change_beside(axes, place, ratio)


def mark(axes: Axes, wire: WireLabel, at: float, effect: Effect, *, filled: bool) -> None:
    """Draw a wire's effect and, where there is one, its interval, in its colour.

    Hollow where it is not ``filled``.
    """
    ratio, low, high = effect
    if np.isfinite(low) and np.isfinite(high) and low > 0:
        axes.plot(np.log([low, high]), [at, at], color=wire.colour, lw=1.6, solid_capstyle="butt")
    fill = wire.colour if filled else PAPER
    axes.plot(
        np.log(ratio), at, marker=wire.mark, ms=5.5, color=wire.colour, mfc=fill, mew=1.2, ls=""
    )


def change_beside(axes: Axes, place: int, ratio: float) -> None:
    """Write a change to the right of its row."""
    axes.annotate(
        format_change(ratio),
        (1, place),
        xycoords=("axes fraction", "data"),
        xytext=(4, 0),
        textcoords="offset points",
        va="center",
        fontsize=8,
    )


def _frame(axes: Axes, story: RunData, rows: pd.DataFrame) -> None:
    names = [(story.wire(cell).name, story.traffic[cell]) for cell in rows["cell"]]
    frame(axes, names, f"change of the {metric_name(str(rows['metric'].iloc[0]))}", below=0.5)


def frame(axes: Axes, names: Sequence[tuple[str, str]], label: str, *, below: float) -> None:
    """Rows of (wire, traffic), an axis of log-ratios in percent, ``below`` a row's height under the
    last.
    """
    for place, (wire, traffic) in enumerate(names):
        row_name(axes, place, f"{wire}, {traffic}".rstrip(", "))
    axes.set_yticks([])
    axes.set_ylim(len(names) - below, -0.85)
    percent_axis(axes)
    axes.set_xlabel(f"{label} (logarithmic scale)")
    light_grid(axes, "x")
    axes.spines["left"].set_visible(False)


def percent_axis(axes: Axes) -> None:
    """Name an axis of log-ratios in percent of change."""
    ticks = _ticks(*axes.get_xlim())
    axes.set_xticks(
        [np.log(ratio) for ratio in ticks],
        [format_change(ratio, 0 if _whole(ratio) else 1) for ratio in ticks],
    )


def _ticks(low: float, high: float) -> list[float]:
    """Round percentages, as ratios, within an axis of logarithms."""
    if high - low > np.log(
        6
    ):  # percentages crowd on the left and leap on the right: factors read better
        return [
            2.0**power for power in range(int(np.ceil(low / np.log(2))), int(high / np.log(2)) + 1)
        ]
    percents = MaxNLocator(6, steps=[1, 2, 5, 10]).tick_values(
        np.expm1(low) * 100, np.expm1(high) * 100
    )
    return [1 + at / 100 for at in percents if at > -100 and low <= np.log1p(at / 100) <= high]


def _whole(ratio: float) -> bool:
    return bool(abs((ratio - 1) * 100 - round((ratio - 1) * 100)) < 1e-6)
