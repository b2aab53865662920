"""The report's charts for notebooks, as Matplotlib figures.

Each function draws one chart of a run. Where a run has several (one a load, one a kind of device)
the first in the report's order is drawn; name another with ``load``, ``traffic`` or ``device``.
:func:`charts` lists them all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from matplotlib.figure import Figure

from yogurtbench.core.errors import MatrixError
from yogurtbench.core.wording import suggest_nearest
from yogurtbench.notebook import Run
from yogurtbench.report.charts import ecdf as _ecdf
from yogurtbench.report.charts import forest as _forest
from yogurtbench.report.charts import hook_helper_grid as _truth
from yogurtbench.report.charts import levels as _levels
from yogurtbench.report.charts.base import Chart, slug
from yogurtbench.report.run_data import RunData

__all__ = ["charts", "ecdf", "forest", "levels", "truth"]


def forest(run: Run, load: str | None = None) -> Figure:
    """Draw each wire's effect against its baseline in a load's deciding metric.

    Ratios on a logarithmic axis, labelled in percent. Raises MatrixError where there is no such
    chart.
    """
    return _one(run, "forest", load)


def levels(run: Run, load: str | None = None) -> Figure:
    """Return a load's deciding metric as measured, in its unit.

    A dot a block, or a mark a payload where several were sent.
    """
    return _one(run, "levels", load)


def ecdf(run: Run, load: str | None = None, traffic: str | None = None) -> Figure:
    """Return the distribution of round trips, tail included.

    ``traffic`` as the chart's title has it, such as ``64 B``.
    """
    return _one(run, "ecdf", load, traffic)


def truth(run: Run, device: str | None = None) -> Figure:
    """Return which hook with which helper carries packets.

    The truth table of a kind of device, such as ``netkit l3``.
    """
    return _one(run, "truth", device)


def charts(run: Run) -> Iterator[tuple[str, ...]]:
    """Yield what can be drawn of a run: (function, load or device, and for ecdf traffic)."""
    for function in _DRAWERS:
        for words, _ in _drawn(run, function):
            yield (function, *words)


#: Begin the names of charts that are one a load.
_KINDS = ("effect", "level")
_DRAWERS: dict[str, Callable[[RunData], Iterator[Chart]]] = {
    "forest": _forest.draw,
    "levels": _levels.draw,
    "ecdf": _ecdf.draw,
    "truth": _truth.draw,
}


def _one(run: Run, function: str, *wanted: str | None) -> Figure:
    there = []
    for words, chart in _drawn(run, function):
        if all(
            want is None or _plain(want) == _plain(word)
            for want, word in zip(wanted, words, strict=True)
        ):
            return chart.figure
        there.append(" ".join(words))
    if not there:
        raise MatrixError(f"{run.folder}: nothing was measured that {function} could draw")
    asked = " ".join(filter(None, wanted))
    raise MatrixError(
        f"{function}: there is no chart of {asked} in this run{suggest_nearest(asked, there)}"
    )


def _drawn(run: Run, function: str) -> Iterator[tuple[tuple[str, ...], Chart]]:
    """Yield each chart with the words that name it, in the report's order."""
    loads: dict[str, tuple[str, ...]] = {}
    for one in run.story.cells.values():
        loads |= dict.fromkeys((f"{kind}-{slug(one.load)}" for kind in _KINDS), (one.load,))
    traffic = {
        f"ecdf-{slug(one.load)}-{slug(run.story.traffic[key])}": (one.load, run.story.traffic[key])
        for key, one in run.story.cells.items()
    }
    for chart in _DRAWERS[function](run.story):
        # A truth table is called by its device alone.
        yield loads.get(chart.name) or traffic.get(chart.name) or (chart.title,), chart


def _plain(word: str) -> str:
    """Without the thin space between digits, which no keyboard types."""
    return "".join(word.split())
