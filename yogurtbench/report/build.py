"""All files of a report, in order."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from yogurtbench.core import files, leftovers
from yogurtbench.report.charts import ecdf, forest, hook_helper_grid, levels
from yogurtbench.report.charts.base import Chart
from yogurtbench.report.export import markdown, pyperf, verdicts
from yogurtbench.report.pages import run
from yogurtbench.report.run_data import RunData
from yogurtbench.results.frame import write_tables

#: Each draws the charts it has data for, in the order of the page.
DRAWERS = (forest.draw, levels.draw, ecdf.draw, hook_helper_grid.draw)


def write_report(folder: Path) -> list[Path]:
    """Write every file of the report; returns their paths."""
    story = RunData.read(folder)
    leftovers.remove_parts(folder)
    charts: list[Chart] = []
    for draw in DRAWERS:
        charts += draw(story)
    written = [
        *write_tables(folder, story.frame, story.comparison),
        *_write_charts(folder / "charts", charts),
    ]
    written += [
        _write(folder / "report.html", run.render(story, charts)),
        _write(folder / "report.md", markdown.render(story)),
        verdicts.write(story, folder / "verdicts.json"),
    ]
    return written + pyperf.write(story, folder / "pyperf.json")


def _write_charts(folder: Path, charts: list[Chart]) -> list[Path]:
    with files.explaining_errors(folder):
        if folder.is_symlink():
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(folder))
        folder.mkdir(exist_ok=True)
        files.give_to_owner_of(folder.parent, folder)
        for old in folder.glob("*.svg"):
            old.unlink()
    return [_write(folder / f"{chart.name}.svg", chart.svg) for chart in charts]


def _write(path: Path, text: str) -> Path:
    return files.write_text(path, text, follow=False)
