"""A stored run as notebooks see it: the tidy dataframe, the comparison, and what the charts are
drawn from.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from html import escape
from pathlib import Path

import pandas as pd

from yogurtbench.core.records import Environment
from yogurtbench.report.run_data import RunData
from yogurtbench.report.sections.summary import summarise


@dataclass(frozen=True, slots=True)
class Run:
    """A stored run.

    ``story`` is everything the report is made of; :mod:`yogurtbench.plot` draws from it.
    """

    folder: Path
    story: RunData

    @property
    def observations(self) -> pd.DataFrame:
        """One row a measured value: observations.parquet
        (:data:`yogurtbench.results.frame.COLUMNS`).

        One more, ``rounding``, is how far its tool's rounding can have moved the value, in
        ``unit``.

        ``value`` is in ``unit``: ns on the wall clock, guest instructions on the instruction clock,
        bit/s …; where ``status`` is not ok there is none. Change a copy, not this.
        """
        return self.story.frame

    @property
    def comparison(self) -> pd.DataFrame:
        """One row a cell, metric and baseline: comparison.csv
        (:data:`yogurtbench.analysis.comparison.COLUMNS`).

        ``ratio`` is cell over baseline, ``ratio_low`` and ``ratio_high`` its 95 % interval,
        ``verdict`` the word.
        """
        return self.story.comparison

    @property
    def environment(self) -> Environment:
        """The machine and kernel of the run."""
        return self.story.environment

    @property
    def answer(self) -> str:
        """The report's answer, in words."""
        return summarise(self.story)

    @property
    def emulated(self) -> str:
        """The label that figures from emulation must carry; empty where they are not."""
        return self.story.emulated

    def __repr__(self) -> str:
        return (
            f"<run {self.story.plan.name} {self.story.run}: {len(self.observations)} observations>"
        )

    def _repr_html_(self) -> str:
        """Return what a notebook shows: the question, the answer, and the label of emulated
        figures.
        """
        asked = self.story.plan.question or self.story.plan.name
        label = f"<p><em>{escape(self.emulated)}</em></p>" if self.emulated else ""
        return f"<p><strong>{escape(asked)}</strong></p><p>{escape(self.answer)}</p>{label}"


def load(folder: str | os.PathLike[str]) -> Run:
    """Return the run of a folder. Raises MatrixError where it is none."""
    path = Path(folder)
    return Run(path, RunData.read(path))
