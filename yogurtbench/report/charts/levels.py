"""Levels: round trips and throughput as measured, per payload.

Every block a dot, the median a mark.
"""

from __future__ import annotations

from collections.abc import Iterator

from yogurtbench.report import settings  # isort: skip  # noqa: F401  # before Matplotlib

import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from yogurtbench.core.labels import WireLabel, load_name, metric_name
from yogurtbench.core.metrics import HEADLINE, METRICS, YES_NO
from yogurtbench.core.records import ASIDE
from yogurtbench.report.charts.base import (
    MOST,
    WIDTH,
    Chart,
    emulation_label,
    light_grid,
    row_name,
    slug,
    style,
    to_svg,
)
from yogurtbench.report.format import format_grouped, scale_of
from yogurtbench.report.run_data import RunData


def draw(story: RunData) -> Iterator[Chart]:
    """Yield one chart a load, of its deciding metric."""
    frame = story.frame[["cell", "role", "load", "metric", "unit", "value", "payload", "status"]]
    ok = frame[(frame["status"] == "ok") & frame["value"].notna() & ~frame["role"].isin(ASIDE)]
    for load in dict.fromkeys(cell.load for cell in story.cells.values()):
        mine = ok[(ok["load"] == load) & (ok["metric"] == HEADLINE[load])]
        if load not in YES_NO and len(mine):
            yield _chart(story, load, mine)


def _chart(story: RunData, load: str, rows: pd.DataFrame) -> Chart:
    metric = HEADLINE[load]
    rows = rows.assign(wire=rows["cell"].map(lambda cell: story.wire(cell).id))
    wires = _best(rows, metric)
    shown = rows[rows["wire"].isin(wires) | rows["role"].eq("baseline")]
    sweep = shown["payload"].nunique() > 1
    caption = (
        "Median over the blocks, bars from the smallest to the largest."
        if sweep
        else "Each dot is one block, the bar their median."
    )
    left = rows["wire"].nunique() - shown["wire"].nunique()
    caption += f" The {MOST} best wires; {left} more are in the table." if left else ""
    svg = _svg(story, shown, metric, sweep)
    return Chart(
        f"level-{slug(load)}", "levels", f"{load_name(load)}: {metric_name(metric)}", caption, svg
    )


def _best(rows: pd.DataFrame, metric: str) -> list[str]:
    medians = (
        rows.groupby("wire")["value"]
        .median()
        .sort_values(ascending=METRICS[metric].better == "lower")
    )
    return [str(wire) for wire in medians.index[:MOST]]


def _svg(story: RunData, rows: pd.DataFrame, metric: str, sweep: bool) -> str:
    factor, unit = scale_of(str(rows["unit"].iloc[0]), float(rows["value"].median()))
    rows = rows.assign(value=rows["value"] / factor)
    wires = {wire: story.wires[wire] for wire in story.wires if wire in set(rows["wire"])}
    with style():
        height = 2.9 + 0.15 * len(wires) if sweep else 0.9 + 0.38 * len(wires)
        figure = Figure(figsize=(WIDTH, height))
        axes = figure.subplots()
        (_sweep if sweep else _strip)(axes, rows, wires)
        (axes.set_ylabel if sweep else axes.set_xlabel)(f"{metric_name(metric)} ({unit})")
        emulation_label(figure, story.emulated)
        return to_svg(figure)


def _sweep(axes: Axes, rows: pd.DataFrame, wires: dict[str, WireLabel]) -> None:
    payloads = sorted(rows["payload"].unique())
    width = 0.6 / max(1, len(wires))
    for place, (wire, named) in enumerate(wires.items()):
        stats = rows[rows["wire"] == wire].groupby("payload")["value"].agg(["median", "min", "max"])
        x = [
            payloads.index(payload) + (place - (len(wires) - 1) / 2) * width
            for payload in stats.index
        ]
        axes.vlines(x, stats["min"], stats["max"], color=named.colour, lw=1.2)
        axes.plot(
            x,
            stats["median"],
            color=named.colour,
            marker=named.mark,
            ms=5,
            lw=0.8,
            label=named.name,
        )
    axes.set_xticks(range(len(payloads)), [format_grouped(payload) for payload in payloads])
    axes.set_xlabel("payload (bytes)")
    axes.set_ylim(bottom=0)
    axes.legend(
        loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=1, handlelength=1.4, fontsize=7.5
    )
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: format_grouped(value)))
    light_grid(axes, "y")


def _strip(axes: Axes, rows: pd.DataFrame, wires: dict[str, WireLabel]) -> None:
    names = {wire: named.name for wire, named in wires.items()}
    data = rows.assign(name=rows["wire"].map(names))
    colours = {named.name: named.colour for named in wires.values()}
    order = list(names.values())
    sns.stripplot(
        data=data,
        x="value",
        y="name",
        hue="name",
        palette=colours,
        order=order,
        hue_order=order,
        size=3.2,
        alpha=0.55,
        jitter=False,
        legend=False,
        ax=axes,
    )
    medians = data.groupby("name")["value"].median()
    for place, name in enumerate(order):
        axes.plot([medians[name]] * 2, [place - 0.18, place + 0.22], color=colours[name], lw=2)
        row_name(axes, place, name)
    axes.set_ylabel("")
    axes.set_yticks([])
    axes.set_ylim(len(order) - 0.5, -0.85)
    axes.set_xlim(left=0)
    axes.spines["left"].set_visible(False)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: format_grouped(value)))
    light_grid(axes, "x")
