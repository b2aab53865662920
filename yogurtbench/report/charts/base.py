"""The common part of all charts: style, deterministic SVG, colours for dark mode."""

from __future__ import annotations

import html
import io
import re
import textwrap
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from yogurtbench.report import settings  # isort: skip  # noqa: F401  # before Matplotlib

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from yogurtbench.core.labels import INK

# No backend is chosen here: SVG is written by format, and a notebook has a backend of its own.

PAPER, MUTED, GRID, BAND, ALARM = "#ffffff", "#6a6a73", "#dcdce0", "#eeeef1", "#b3261e"
#: Width of a chart in inches: the page shows two of them side by side at 1:1, and on a phone one at
#: three quarters.
WIDTH = 5.0
#: Letters of a row's name in one line across a chart.
_LINE = 96
#: More wires than this in one chart are a thicket: the best are drawn, the tables have them all.
MOST = 12

_VARIABLES = {
    INK: "var(--ink)",
    PAPER: "var(--paper)",
    MUTED: "var(--muted)",
    GRID: "var(--grid)",
    BAND: "var(--band)",
    ALARM: "var(--bad)",
}

STYLE: dict[str, Any] = {
    "svg.hashsalt": "yogurtbench",
    "svg.fonttype": "none",
    "font.size": 9,
    "axes.titlesize": 9.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelsize": 9,
    "axes.edgecolor": MUTED,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.titlecolor": INK,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "grid.color": GRID,
    "grid.linewidth": 0.6,
    "figure.facecolor": PAPER,
    "axes.facecolor": PAPER,
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "axes.axisbelow": True,
    "lines.linewidth": 1.4,
    "axes.unicode_minus": True,
    "figure.constrained_layout.use": True,
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "text.parse_math": False,  # a program may be called what it likes, dollars and backslashes too
}


class Svg(str):
    """SVG text with the figure that it was drawn from, which notebooks use."""

    __slots__ = ("figure",)
    figure: Figure


@dataclass(frozen=True, slots=True)
class Chart:
    """A chart: file name without suffix, heading, caption, standalone SVG, hover texts."""

    name: str
    section: str
    title: str
    caption: str
    svg: str
    hover: Mapping[str, str] = field(default_factory=dict)

    @property
    def figure(self) -> Figure:
        """The figure that it was drawn from."""
        if not isinstance(self.svg, Svg):
            raise TypeError(f"{self.name} was not drawn by to_svg")
        return self.svg.figure

    @property
    def inline(self) -> str:
        """The SVG as part of a page: no prolog, the page's colours, its own ids apart from other
        charts'.
        """
        body = self.svg[self.svg.index("<svg") :]
        for colour, variable in _VARIABLES.items():
            body = body.replace(colour, variable)
        body = re.sub(r'\b(id="|href="#|url\(#)', rf"\g<1>{self.name}-", body)
        wide = re.search(r'width="([\d.]+)pt"', body)
        width = f'style="--wide:{wide[1]}pt" ' if wide else ""
        return body.replace(
            "<svg ", f'<svg role="img" {width}aria-label="{html.escape(self.title)}" ', 1
        )


@contextmanager
def style() -> Iterator[None]:
    """Draw inside this: Matplotlib's own defaults and our style on them, whatever the user's
    settings are.
    """
    defaults = {key: value for key, value in mpl.rcParamsDefault.items() if key not in _NOT_STYLE}
    with mpl.rc_context(defaults | STYLE):  # type: ignore[arg-type]  # stubs want each key as a literal
        yield


#: Settings of the program that shows a figure, not of the figure.
_NOT_STYLE = ("backend", "backend_fallback", "interactive", "toolbar", "timezone")


def to_svg(figure: Figure, hover: Mapping[str, str] | None = None) -> Svg:
    """Return the figure as SVG text, the same bytes for the same data.

    ``hover`` gives artists' gids a tooltip.
    """
    buffer = io.StringIO()
    # Figure.savefig would draw everything once more, on nothing, before it draws.
    FigureCanvasSVG(figure).print_svg(buffer, metadata={"Date": None, "Creator": "yogurtbench"})  # type: ignore[no-untyped-call]
    text = buffer.getvalue()
    for gid, said in (hover or {}).items():
        text = text.replace(
            f'<g id="{gid}">', f'<g id="{gid}"><title>{html.escape(said)}</title>', 1
        )
    drawn = Svg(text)
    drawn.figure = figure
    return drawn


def emulation_label(figure: Figure, emulated: str) -> None:
    """Say on the chart itself that its numbers come from emulation."""
    if emulated:
        figure.suptitle(emulated, x=0.995, ha="right", fontsize=8, color=ALARM, fontweight="normal")


def light_grid(axes: Axes, which: str) -> None:
    """Thin lines across one direction, no ticks."""
    axes.grid(visible=True, axis=which)  # type: ignore[arg-type]
    axes.tick_params(length=0)


def row_name(axes: Axes, place: int, name: str) -> None:
    """Write a row's name above the row: beside it, long names would leave the numbers no room."""
    behind = {"facecolor": PAPER, "alpha": 0.8, "lw": 0, "pad": 0.5}
    said = axes.annotate(
        textwrap.fill(name, _LINE),
        (0, place - 0.2),
        xycoords=("axes fraction", "data"),
        fontsize=7.5,
        va="bottom",
        linespacing=1.0,
        bbox=behind,
    )
    said.set_in_layout(False)


def slug(text: str) -> str:
    """Return a file name out of words."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")
