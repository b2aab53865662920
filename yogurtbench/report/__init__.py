"""Reports, made from a run folder's stored files alone: no root, no bcc, no Linux needed."""

from __future__ import annotations

import gc
import logging
from pathlib import Path

# Where it may not write a cache, Matplotlib says so for two lines, in front of the one sentence
# that a mistake gets.
logging.getLogger("matplotlib").setLevel(logging.ERROR)


def summary(run_folder: Path) -> str:
    """Return the short report as Markdown, at most forty lines: for a pull request or a job's
    summary.

    Raises MatrixError where the folder is no run folder or is damaged.
    """
    from yogurtbench.report.export import markdown
    from yogurtbench.report.run_data import RunData

    return markdown.render(RunData.read(run_folder))


def make(run_folder: Path) -> list[Path]:
    """Write a run's report: HTML, Markdown, charts, CSV, parquet, verdicts and pyperf.

    Returns their paths. Raises MatrixError where the folder is no run folder or is damaged.
    """
    # matplotlib and pandas are slow to import: only when a report is made
    from yogurtbench.report import build

    collecting = gc.isenabled()
    # a large run is a million live objects, and looking through them for cycles is a fifth of the
    # time
    gc.disable()
    try:
        return build.write_report(run_folder)
    finally:
        if collecting:
            gc.enable()
