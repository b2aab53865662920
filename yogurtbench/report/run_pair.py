"""Two runs, the old and the new, side by side."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from yogurtbench.analysis import gate, measured_run
from yogurtbench.analysis.findings import Decision
from yogurtbench.core.labels import WireLabel, traffic_names, wire_names
from yogurtbench.core.records import Cell
from yogurtbench.report.run_data import RunData


@dataclass(frozen=True, slots=True, eq=False)
class RunPair:
    """Two runs and what the gate says of them; names and colours are those of both together."""

    old: RunData
    new: RunData
    decision: Decision
    cells: dict[str, Cell]
    wires: dict[str, WireLabel]
    traffic: dict[str, str]

    @classmethod
    def read(cls, old: Path, new: Path) -> RunPair:
        """From two run folders. Raises MatrixError where one is none."""
        decision = gate.decide(measured_run.read_run(old), measured_run.read_run(new))
        return cls.of(RunData.read(old), RunData.read(new), decision)

    @classmethod
    def of(cls, old: RunData, new: RunData, decision: Decision) -> RunPair:
        """From what was read."""
        cells = {**old.cells, **new.cells}
        wires = (*old.wires.values(), *new.wires.values())
        reference = {wire.id for wire in wires if wire.reference}
        return cls(
            old, new, decision, cells, wire_names(cells.values(), reference), traffic_names(cells)
        )

    @property
    def exact(self) -> bool:
        """True where both counted guest instructions."""
        return self.old.exact and self.new.exact

    @property
    def emulated(self) -> str:
        """The label of emulated numbers, where either side has some."""
        return self.old.emulated or self.new.emulated

    def wire(self, cell: str) -> WireLabel:
        """Name and colour of a cell's wire."""
        return self.wires[self.cells[cell].wire_id]
