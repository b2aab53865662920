"""All files of a report, in order."""

from __future__ import annotations

from pathlib import Path

from yogurtbench import files, store
from yogurtbench.report import ecdf, export, forest, levels, markdown, page, truth, verdicts
from yogurtbench.report.charts import Chart
from yogurtbench.report.story import Story

#: Each draws the charts it has data for, in the order of the page.
DRAWERS = (forest.draw, levels.draw, ecdf.draw, truth.draw)


def everything(folder: Path) -> list[Path]:
    """Write every file of the report; returns their paths."""
    story = Story.read(folder)
    charts = [chart for draw in DRAWERS for chart in draw(story)]
    written = [*store.write_tables(folder, story.frame, story.comparison), *_write_charts(folder / "charts", charts)]
    written += [
        _write(folder / "report.html", page.render(story, charts)),
        _write(folder / "report.md", markdown.render(story)),
        verdicts.write(story, folder / "verdicts.json"),
    ]
    return written + export.write(story, folder / "pyperf.json")


def _write_charts(folder: Path, charts: list[Chart]) -> list[Path]:
    with files.telling(folder):
        folder.mkdir(exist_ok=True)
        for old in folder.glob("*.svg"):
            old.unlink()
    return [_write(folder / f"{chart.name}.svg", chart.svg) for chart in charts]


def _write(path: Path, text: str) -> Path:
    return files.write_text(path, text)
