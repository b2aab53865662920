"""Charts of two runs: how far each wire moved from the old to the new, and both beside each
other.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from yogurtbench.report import settings  # isort: skip  # noqa: F401  # before Matplotlib

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from yogurtbench.analysis.findings import Finding
from yogurtbench.core.labels import INK, load_name, metric_name
from yogurtbench.core.metrics import HEADLINE, METRICS
from yogurtbench.report.charts.base import BAND, WIDTH, Chart, emulation_label, slug, style, to_svg
from yogurtbench.report.charts.forest import ROWS, Effect, change_beside, frame, mark
from yogurtbench.report.run_pair import RunPair


def draw(pair: RunPair) -> Iterator[Chart]:
    """Yield a load's change from old to new where the two may be compared, and its effects in both
    runs.
    """
    loads = dict.fromkeys(cell.load for cell in pair.cells.values())
    for load in loads:
        moved = [one for one in pair.decision.findings if one.cell.load == load and _is_drawn(one)]
        if moved:
            yield _moved(pair, load, moved)
    for load in loads:
        both = _both(pair, load)
        if both:
            yield _both_runs_chart(pair, load, both)


def _is_drawn(one: Finding) -> bool:
    return (
        one.metric == HEADLINE[one.cell.load]
        and one.role == "cell"
        and np.isfinite(one.ratio)
        and one.ratio > 0
    )


def _moved(pair: RunPair, load: str, found: list[Finding]) -> Chart:
    metric = HEADLINE[load]
    ordered = sorted(found, key=lambda one: one.ratio, reverse=METRICS[metric].better == "lower")
    shown = ordered if len(ordered) <= ROWS else ordered[: ROWS // 2] + ordered[-ROWS // 2 :]
    with style():
        figure = Figure(figsize=(WIDTH, 0.95 + 0.36 * len(shown)))
        axes = figure.subplots()
        margin = np.log1p(max(one.margin for one in shown))
        axes.axvspan(-margin, margin, color=BAND, lw=0)
        for place, one in enumerate(shown):
            fill = one.verdict not in ("inconclusive", "too_few_blocks", "one_block")
            mark(axes, pair.wire(one.cell.id), place, (one.ratio, one.low, one.high), filled=fill)
            change_beside(axes, place, one.ratio)
        _frame(
            pair,
            axes,
            [one.cell.id for one in shown],
            f"change of the {metric_name(metric)}, new against old",
        )
        svg = _finished(figure, pair)
    caption = (
        f"Better is to the {_side(metric)}, the worst comes first. Band: counted as "
        "unchanged. Hollow: undecided."
    )
    return Chart(
        f"moved-{slug(load)}",
        "moved",
        f"{load_name(load)}: {metric_name(metric)}, new against old",
        caption,
        svg,
    )


def _both(pair: RunPair, load: str) -> dict[str, list[Effect | None]]:
    """Cell -> its effect against its main baseline in the old run and in the new."""
    sides: list[dict[str, Effect]] = []
    for story in (pair.old, pair.new):
        rows = story.headlines[(story.headlines["load"] == load) & story.headlines["ratio"].notna()]
        numbers = zip(
            *(rows[name].tolist() for name in ("cell", "ratio", "ratio_low", "ratio_high")),
            strict=True,
        )
        sides.append({cell: (ratio, low, high) for cell, ratio, low, high in numbers})
    return {
        cell: [side.get(cell) for side in sides] for cell in dict.fromkeys((*sides[0], *sides[1]))
    }


def _both_runs_chart(pair: RunPair, load: str, both: dict[str, list[Effect | None]]) -> Chart:
    metric = HEADLINE[load]
    shown = dict(list(both.items())[:ROWS])
    with style():
        figure = Figure(figsize=(WIDTH, 0.95 + 0.42 * len(shown)))
        axes = figure.subplots()
        for place, (cell, effects) in enumerate(shown.items()):
            for lower, effect in enumerate(effects):
                if effect:
                    mark(axes, pair.wire(cell), place + 0.3 * lower, effect, filled=bool(lower))
        _frame(pair, axes, list(shown), f"change of the {metric_name(metric)} against the baseline")
        svg = _finished(figure, pair)
    left = f" The first {len(shown)} of {len(both)}." if len(both) > len(shown) else ""
    caption = "Each run against its own blocks' baseline: old hollow above, new filled below. "
    caption += f"Better is to the {_side(metric)}.{left}"
    return Chart(
        f"beside-{slug(load)}",
        "beside",
        f"{load_name(load)}: {metric_name(metric)}, both runs",
        caption,
        svg,
    )


def _side(metric: str) -> str:
    return "left" if METRICS[metric].better == "lower" else "right"


def _frame(pair: RunPair, axes: Axes, cells: list[str], label: str) -> None:
    axes.axvline(0, color=INK, lw=0.8)
    frame(axes, [(pair.wire(cell).name, pair.traffic[cell]) for cell in cells], label, below=0.4)


def _finished(figure: Figure, pair: RunPair) -> Any:
    emulation_label(figure, pair.emulated)
    return to_svg(figure)
