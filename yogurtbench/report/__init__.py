"""Reports, made from a run folder's stored files alone: no root, no bcc, no Linux needed."""

from __future__ import annotations

from pathlib import Path


def make(run_folder: Path) -> list[Path]:
    """Write report.html, report.md, charts/*.svg, comparison.csv, observations.parquet, verdicts.json and pyperf.json.

    Returns their paths. Raises MatrixError where the folder is no run folder or is damaged.
    """
    from yogurtbench.report import build  # matplotlib and pandas are slow to import: only when a report is made

    return build.everything(run_folder)
