"""The data of a report, read once: plan, environment, attempts, frames, labels."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import pandas as pd

from yogurtbench.analysis import comparison as analysis
from yogurtbench.analysis import precision
from yogurtbench.core.labels import WireLabel, traffic_names, wire_names
from yogurtbench.core.metrics import HEADLINE
from yogurtbench.core.records import ASIDE, Attempt, Cell, Environment
from yogurtbench.plan.plan import Plan
from yogurtbench.results import run_folder
from yogurtbench.results.frame import to_frame


@dataclass(frozen=True, slots=True, eq=False)
class RunData:
    """Everything a section may use.

    ``cells`` maps cell ids to cells, ``wires`` wire ids to names and colours, ``traffic`` cell ids
    to what is sent, ``main`` cell ids to the id of their main baseline. ``emulated`` is the label
    that every chart, table and export of emulated numbers carries, empty where they are not;
    ``exact``: the clock counted guest instructions.
    """

    run: str
    matrix: str
    plan: Plan
    environment: Environment
    attempts: list[Attempt]
    frame: pd.DataFrame
    comparison: pd.DataFrame
    words: pd.DataFrame
    drift: pd.DataFrame
    cells: dict[str, Cell]
    wires: dict[str, WireLabel]
    traffic: dict[str, str]
    main: dict[str, str]
    emulated: str
    exact: bool
    #: Attempts without a check sum, and a sentence for each line that a salvage left out.
    unchecked: int = 0
    lost: tuple[str, ...] = ()

    @classmethod
    def salvage(cls, folder: Path) -> RunData:
        """Return what is whole of a damaged run, from now on in this process.

        Raises MatrixError where nothing can be made of it.
        """
        _SALVAGED.add(folder)
        return cls.read(folder)

    @classmethod
    def read(cls, folder: Path) -> RunData:
        """From a run folder. Raises MatrixError where it is none."""
        run_folder.check_folder(folder)
        files = (
            folder / name
            for name in (
                run_folder.PLAN,
                run_folder.ENVIRONMENT,
                run_folder.TRIALS,
                run_folder.MATRIX,
            )
        )
        states = tuple(
            (one.stat().st_size, one.stat().st_mtime_ns) for one in files if one.exists()
        )
        return _read(folder, folder.resolve().name, states, folder in _SALVAGED)

    @classmethod
    def tell(
        cls,
        run: str,
        matrix: str,
        plan: Plan,
        environment: Environment,
        attempts: list[Attempt],
        frame: pd.DataFrame,
    ) -> RunData:
        """From what was read."""
        cells = {planned.cell.id: planned.cell for planned in plan.cells}
        reference = {planned.cell.wire_id for planned in plan.cells if planned.role == "baseline"}
        return cls(
            run=run,
            matrix=matrix,
            plan=plan,
            environment=environment,
            attempts=attempts,
            frame=frame,
            comparison=analysis.compare(frame, plan),
            words=analysis.categorical_metrics(frame),
            drift=precision.drift(frame, plan.margins),
            cells=cells,
            wires=wire_names(cells.values(), reference),
            traffic=traffic_names(cells),
            main={
                planned.cell.id: planned.baselines[0] for planned in plan.cells if planned.baselines
            },
            emulated=analysis.EMULATED
            if "tcg" in {environment.accelerator, *frame["accelerator"].unique()}
            else "",
            exact=plan.clock == "instructions",
        )

    def wire(self, cell: str) -> WireLabel:
        """Name and colour of a cell's wire."""
        return self.wires[self.cells[cell].wire_id]

    @property
    def headlines(self) -> pd.DataFrame:
        """The deciding comparisons: each cell's main metric against its main baseline."""
        rows = self.comparison[self.comparison["role"] == "cell"]
        return rows[
            (rows["metric"] == rows["load"].map(HEADLINE))
            & (rows["baseline"] == rows["cell"].map(self.main))
        ]

    @property
    def deciding(self) -> pd.DataFrame:
        """The headlines, and the fastest round trips that are decided where the medians are not."""
        minima = analysis.decided_minima(self.comparison)
        main = minima[minima["baseline"] == minima["cell"].map(self.main)]
        return pd.concat([self.headlines, main])

    @property
    def canaries(self) -> pd.DataFrame:
        """The baseline under another name, compared with itself.

        On the instruction clock in its loads' deciding metrics alone: the timer's interrupts fall
        into means and tails, and another name in the order moves them.
        """
        seen = self.comparison[self.comparison["role"] == "canary"]
        return seen[seen["metric"] == seen["load"].map(HEADLINE)] if self.exact else seen

    @property
    def blocks(self) -> int:
        """The number of blocks that began; diagnostic trials belong to none."""
        return int(self.frame["block"][~self.frame["role"].isin(ASIDE)].nunique())


#: Folders whose damaged lines are left out, since a person asked for that.
_SALVAGED: set[Path] = set()


@lru_cache(maxsize=1)
def _read(folder: Path, run: str, _states: tuple[tuple[int, int], ...], salvage: bool) -> RunData:
    """Cache the last run (keyed by file size and mtime): page and terminal read it in turn."""
    plan, environment = run_folder.read_plan(folder), run_folder.read_environment(folder)
    trials = run_folder.read_trials(folder, plan, salvage=salvage)
    frame = to_frame(trials.attempts, run)
    matrix = run_folder.read_matrix(folder)
    story = RunData.tell(run, matrix, plan, environment, trials.attempts, frame)
    return replace(story, unchecked=trials.unchecked, lost=trials.lost)
