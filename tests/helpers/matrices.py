"""Matrices for tests: text in, plan out."""

from pathlib import Path
from typing import Any

from yogurtbench.core.records import Cell
from yogurtbench.matrix.defaults import CellBuilder
from yogurtbench.matrix.planner import load, make_plan
from yogurtbench.plan.plan import Plan


def written(folder: Path, text: str | bytes) -> Path:
    path = folder / "m.yaml"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def planned(folder: Path, text: str, **wishes: Any) -> Plan:
    return make_plan(load(written(folder, text)), **wishes)


def cells_of(plan: Plan) -> list[Cell]:
    return [one.cell for one in plan.cells if one.role == "cell"]


def cell(clock: str = "wall", **point: Any) -> Cell:
    return CellBuilder(clock).fill({"load": "sockperf", **point})[0]
