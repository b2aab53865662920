"""The report's charts for notebooks: same colours, same marks, same labels, as matplotlib figures to go on with.

Each function draws one chart of a run. Where a run has several (one a load, one a kind of device) the first in the
report's order is drawn; name another with ``load``, ``traffic`` or ``device``. :func:`charts` lists them all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from matplotlib.figure import Figure

from yogurtbench.notebook import Run
from yogurtbench.records import MatrixError
from yogurtbench.report import ecdf as _ecdf
from yogurtbench.report import forest as _forest
from yogurtbench.report import levels as _levels
from yogurtbench.report import truth as _truth
from yogurtbench.report.charts import Picture
from yogurtbench.report.story import Story
from yogurtbench.words import nearest

__all__ = ["charts", "ecdf", "forest", "levels", "truth"]


def forest(run: Run, load: str | None = None) -> Figure:
    """Each wire's effect against its baseline with the 95 % interval: the deciding metric of a load.

    Ratios on a logarithmic axis, labelled in percent. Raises MatrixError where there is no such chart.
    """
    return _one(run, "effect", _forest.pictures, load)


def levels(run: Run, load: str | None = None) -> Figure:
    """A load's deciding metric as measured, in its unit: a dot a block, or a mark a payload where several were sent."""
    return _one(run, "level", _levels.pictures, load)


def ecdf(run: Run, load: str | None = None, traffic: str | None = None) -> Figure:
    """The distribution of round trips, tail included; ``traffic`` as the chart's title has it, such as ``64 B``."""
    return _one(run, "distribution", _ecdf.pictures, load, traffic)


def truth(run: Run, device: str | None = None) -> Figure:
    """Which hook with which helper carries packets: the truth table of a kind of device, such as ``netkit l3``."""
    return _one(run, "truth table", _truth.pictures, device)


def charts(run: Run) -> Iterator[tuple[str, str, str]]:
    """What can be drawn of a run: (function, load or device, traffic)."""
    for name, pictures in _ALL.items():
        yield from ((name, picture.subject, picture.traffic) for picture in pictures(run.story))


_ALL: dict[str, Callable[[Story], Iterator[Picture]]] = {
    "forest": _forest.pictures,
    "levels": _levels.pictures,
    "ecdf": _ecdf.pictures,
    "truth": _truth.pictures,
}


def _one(
    run: Run, kind: str, pictures: Callable[[Story], Iterator[Picture]], subject: str | None, traffic: str | None = None
) -> Figure:
    there = list(pictures(run.story))
    if not there:
        raise MatrixError(f"{run.folder}: nothing was measured that a chart of this kind ({kind}) could show")
    about = [one for one in there if subject in (None, one.subject)]
    if subject and not about:
        raise MatrixError(
            f"no {kind} of {subject} in this run{nearest(subject, dict.fromkeys(one.subject for one in there))}"
        )
    sent = [one for one in about if traffic is None or _plain(traffic) == _plain(one.traffic)]
    if not sent:
        raise MatrixError(
            f"no {kind} of {traffic} in this run{nearest(str(traffic), dict.fromkeys(one.traffic for one in about))}"
        )
    return sent[0].figure()


def _plain(traffic: str) -> str:
    """Without the thin space between digits, which nobody can type."""
    return "".join(traffic.split())
