"""The distribution of round trips, tail included, from the quantiles that the load itself
printed.
"""

from __future__ import annotations

from collections.abc import Iterator
from statistics import median

from yogurtbench.report import settings  # isort: skip  # noqa: F401  # before Matplotlib

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from yogurtbench.core.labels import load_name
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
from yogurtbench.report.format import format_grouped, scale_of
from yogurtbench.report.run_data import RunData

Quantiles = dict[float, float]  # share (0-1) -> ns, or guest instructions
_TICKS = (0.1, 0.5, 0.9, 0.99, 0.999, 0.9999)


def draw(story: RunData) -> Iterator[Chart]:
    """Yield one chart a load and kind of traffic for which quantiles were kept."""
    for (load, traffic), cells in _collected(story).items():
        title = f"{load_name(load)}, {traffic}: distribution of round trips".replace(", :", ":")
        best = dict(sorted(cells.items(), key=lambda item: item[1].get(0.5, 0.0))[:MOST])
        caption = (
            "Further left is better; the scale widens towards the tail. Each quantile "
            "is the median over the blocks."
        )
        yield Chart(
            f"ecdf-{slug(load)}-{slug(traffic)}", "distributions", title, caption, _svg(story, best)
        )


def _collected(story: RunData) -> dict[tuple[str, str], dict[str, Quantiles]]:
    """(load, traffic) -> cell -> quantiles."""
    kept: dict[str, dict[float, list[float]]] = {}
    for attempt in story.attempts:
        if attempt.status == "ok" and attempt.trial.role in ("cell", "baseline"):
            for share, value in attempt.details.get("quantiles", {}).items():
                kept.setdefault(attempt.trial.cell.id, {}).setdefault(
                    float(share) / 100, []
                ).append(float(value))
    found: dict[tuple[str, str], dict[str, Quantiles]] = {}
    for cell, shares in kept.items():
        where = (story.cells[cell].load, story.traffic[cell])
        found.setdefault(where, {})[cell] = {
            share: median(values) for share, values in sorted(shares.items())
        }
    return found


def _svg(story: RunData, cells: dict[str, Quantiles]) -> str:
    unit = "instructions" if story.exact else "ns"
    factor, name = scale_of(unit, median(one.get(0.5, 1.0) for one in cells.values()))
    with style():
        figure = Figure(figsize=(WIDTH, 2.9 + 0.15 * len(cells)))
        axes = figure.subplots()
        for cell, quantiles in cells.items():
            inner = {share: value / factor for share, value in quantiles.items() if 0 < share < 1}
            wire = story.wire(cell)
            axes.plot(
                list(inner.values()),
                list(inner),
                color=wire.colour,
                marker=wire.mark,
                ms=3,
                label=wire.name,
            )
        _frame(axes, name)
        emulation_label(figure, story.emulated)
        return to_svg(figure)


def _frame(axes: Axes, unit: str) -> None:
    axes.set_yscale("logit")
    axes.set_xscale("log")
    axes.yaxis.set_major_locator(FixedLocator(_TICKS))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda share, _: f"{share * 100:g} %"))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: format_grouped(value)))
    axes.xaxis.set_minor_formatter(
        FuncFormatter(lambda value, _: format_grouped(value) if f"{value:.0e}"[0] in "25" else "")
    )
    axes.set_xlabel(f"round trip ({unit}, logarithmic scale)")
    axes.set_ylabel("share at most this long")
    axes.legend(
        loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=1, handlelength=1.4, fontsize=7.5
    )
    light_grid(axes, "both")
